"""
Clients that break, on real sockets: that their servers are let go, and that nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from tests.functional.faults import End, FaultTestCase, Rig, Server
from tests.functional.scripts import (
    CHUNKED,
    CLOSE,
    GET,
    RESET,
    STAY,
    SWITCH,
    UNTIL_CLOSE,
    UPGRADE,
    ends,
    reads_nothing,
)
from twistginx.net.reactor import TwistginxReactor

# What clients do: (name, server, client, what is logged; None: nobody looks).  The client's part ends when it is done;
# the server's connections have to end by themselves then.


async def _waits(end: End) -> None:
    await end.head()
    await end.gone()


async def _floods(end: End) -> None:
    await end.head()
    end.say(UNTIL_CLOSE)
    end.flood(b"x" * 65536, 1 << 20)
    await end.gone()


async def _floods_chunks(end: End) -> None:
    await end.head()
    end.say(CHUNKED)
    end.flood(b"10000\r\n%b\r\n" % (b"x" * 65536), 1 << 20)
    await end.gone()


async def _switches(end: End) -> None:
    await end.head()
    end.say(SWITCH + b"hello")
    await end.gone()


async def _switches_and_floods(end: End) -> None:
    await end.head()
    end.say(SWITCH)
    end.flood(b"x" * 65536, 1 << 20)
    await end.gone()


async def _switches_and_resets(end: End) -> None:
    await end.head()
    end.say(SWITCH + b"hello")
    await end.turn()
    end.reset()


async def _resets_together(end: End) -> None:
    await end.head()
    await end.after(0.025)
    end.reset()


async def _switches_and_closes(end: End) -> None:
    await end.head()
    end.say(SWITCH + b"hello")
    end.close()


def does(*words: bytes | str, ends_as: str = RESET) -> Callable[[Rig], Coroutine[Any, Any, None]]:
    """
    A client that says these words, each when the one before has arrived, and ends so.

    A str is not said: "body" waits for some of the answer, "stop" reads no more, "flood" sends without end.
    """

    async def client(rig: Rig) -> None:
        end = await rig.client()
        for word in words:
            if word == "body":
                await end.head()
                await end.take(1)
            elif word == "stop":
                end.stop_reading()
                await end.after(0.05)
            elif word == "flood":
                end.flood(b"10000\r\n%b\r\n" % (b"x" * 65536), 1 << 20)
                await end.after(0.05)
            else:
                assert isinstance(word, bytes)
                end.say(word)
                await end.turn()
        await rig.settled()
        if ends_as != STAY:
            await ends(end, ends_as)
            await end.gone()
        for server in rig.servers:
            await server.gone()
            assert not server.data.endswith(b"0\r\n\r\n"), "a broken body was made whole"
        if ends_as == STAY:
            end.go_on_reading()
            await end.gone()

    return client


UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
UPLOAD_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
LEFT = (499, "client_disconnected")
BROKE = (200, "client_disconnected")
STALLED = (200, "response_write_timeout")

CLIENTS: list[tuple[str, Server, Callable[[Rig], Coroutine[Any, Any, None]], list[tuple[int, str]] | None]] = [
    ("resets while it waits", _waits, does(GET), [LEFT]),
    ("closes while it waits", _waits, does(GET, ends_as=CLOSE), [LEFT]),
    ("resets within its head", _waits, does(GET[:20]), []),
    ("resets before it says anything", _waits, does(), []),
    ("resets within its body", _waits, does(UPLOAD, b"12345"), [LEFT]),
    ("closes within its body", _waits, does(UPLOAD, b"12345", ends_as=CLOSE), [LEFT]),
    ("resets between chunks", _waits, does(UPLOAD_CHUNKED, b"3\r\nabc\r\n"), [LEFT]),
    ("closes between chunks", _waits, does(UPLOAD_CHUNKED, b"3\r\nabc\r\n", ends_as=CLOSE), [LEFT]),
    ("closes within a chunk", _waits, does(UPLOAD_CHUNKED, b"5\r\nabc", ends_as=CLOSE), [LEFT]),
    ("closes before the end of the trailers", _waits, does(UPLOAD_CHUNKED, b"0\r\nX: y\r\n", ends_as=CLOSE), [LEFT]),
    ("resets while it uploads much", _waits, does(UPLOAD_CHUNKED, "flood"), [LEFT]),
    # Of who is not read from nobody hears that he is gone: the server's time runs out, or it reads on.
    ("resets while nobody takes its upload", reads_nothing, does(UPLOAD_CHUNKED, "flood"), None),
    ("sends a bad chunk", _waits, does(UPLOAD_CHUNKED, b"3\r\nabc\r\nzz\r\n"), [(400, "http_request_error")]),
    ("resets while it downloads", _floods, does(GET, "body"), [BROKE]),
    ("closes while it downloads", _floods, does(GET, "body", ends_as=CLOSE), [BROKE]),
    ("resets while it downloads chunks", _floods_chunks, does(GET, "body"), [BROKE]),
    ("resets when it has stopped reading", _floods, does(GET, "body", "stop"), [BROKE]),
    ("stops reading", _floods, does(GET, "body", "stop", ends_as=STAY), [STALLED]),
    ("stops reading chunks", _floods_chunks, does(GET, "body", "stop", ends_as=STAY), [STALLED]),
    ("asks for three and resets", _waits, does(GET * 3), None),
    ("asks for three, never reads, and resets", _floods, does("stop", GET * 3), [BROKE]),
    ("sends garbage behind a request", _waits, does(GET + b"\x16\x03\x01", ends_as=RESET), [LEFT]),
    ("resets when it is upgraded", _switches, does(UPGRADE, "body"), None),
    ("closes when it is upgraded", _switches, does(UPGRADE, "body", ends_as=CLOSE), None),
    ("resets when it is upgraded and flooded", _switches_and_floods, does(UPGRADE, "body"), None),
    ("resets when it is upgraded and does not read", _switches_and_floods, does(UPGRADE, "body", "stop"), None),
    ("resets when it waits for an upgrade", _waits, does(UPGRADE), [LEFT]),
    ("is upgraded by a server that resets", _switches_and_resets, does(UPGRADE, "body", ends_as=STAY), None),
    ("is upgraded by a server that closes", _switches_and_closes, does(UPGRADE, "body", ends_as=CLOSE), None),
    ("resets together with the server", _resets_together, does(GET), None),
]


class ClientFaultTests(FaultTestCase):
    """
    Clients that break, on our reactor.
    """

    make_reactor = TwistginxReactor

    def test_clients(self) -> None:
        """
        Whatever a client does, its server is let go, and no body that broke is passed on as a whole one.
        """

        async def use(rig: Rig) -> None:
            for name, server, client, told in CLIENTS:
                with self.naming(name):
                    await rig.play(server, client)
                    if told is not None:
                        self.assertEqual(rig.told, told)

        self.with_rig(use)

    def test_slow_clients(self) -> None:
        """
        A head and a body that do not come are answered 408, and the connection ends.
        """

        async def use(rig: Rig) -> None:
            for said in (GET[:-2], UPLOAD + b"12345", UPLOAD_CHUNKED + b"5\r\nab"):

                async def client(rig: Rig, said: bytes = said) -> tuple[int, bool]:
                    end = await rig.client()
                    end.say(said)
                    answer = await end.answer()
                    await end.gone()
                    return answer.status, answer.whole

                with self.naming(repr(said)):
                    self.assertEqual(await rig.play(_waits, client), (408, True))

        self.with_rig(use)


class StockReactorTests(ClientFaultTests):
    """
    The same on Twisted's own.
    """

    make_reactor = EPollReactor
