"""
What upstream servers and clients do in tests of faults.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.functional.faults import Answer, End, Rig, Server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
EARLY = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"

MEBIBYTE = 1 << 20
#: More than all buffers on the way hold.
MUCH = 24 * MEBIBYTE

# How a server ends.
CLOSE, RESET, STAY = "close", "reset", "stay"


def says(*pieces: bytes, then: str = CLOSE) -> Server:
    """
    A server that has read a head says this, in writes of their own, and ends so.
    """

    async def server(end: End) -> None:
        if not await end.head():
            return
        for piece in pieces:
            end.say(piece)
            await end.turn()
        await ends(end, then)

    return server


async def ends(end: End, how: str) -> None:
    """
    End so.
    """
    if how == CLOSE:
        end.close()
    elif how == RESET:
        await end.after(0.015)
        end.reset()
    else:
        await end.gone()


def asks(request: bytes = GET, method: bytes = b"GET") -> Callable[[Rig], Coroutine[Any, Any, Answer]]:
    """
    A client that asks this, and takes the answer.
    """

    async def client(rig: Rig) -> Answer:
        end = await rig.client()
        end.say(request)
        return await end.answer(method)

    return client


async def reads_nothing(end: End) -> None:
    await end.head()
    end.stop_reading()
    await end.turn()
    await end.after(0.6)
    end.go_on_reading()
    await end.gone()
