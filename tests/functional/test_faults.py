"""
Upstream servers that break, on real sockets: what the client is told, and that nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from tests.functional.faults import TLS, Answer, End, FaultTestCase, Rig, Server
from tests.functional.scripts import (
    CHUNKED,
    CLOSE,
    EARLY,
    GET,
    LENGTH,
    MUCH,
    OK,
    OLD,
    RESET,
    STAY,
    SWITCH,
    UNTIL_CLOSE,
    asks,
    ends,
    reads_nothing,
    says,
)
from twistginx.net.reactor import TwistginxReactor

# What an upstream server does to a GET: (name, server, status, whole, reason).  The status is 0 where nothing may come.
ANSWERS: list[tuple[str, Server, int, bool, str]] = [
    ("closes", says(), 502, True, "connection_terminated"),
    ("resets", says(then=RESET), 502, True, "connection_terminated"),
    ("closes within the status line", says(b"HTTP/1.1 20"), 502, True, "http_response_incomplete"),
    ("resets within the status line", says(b"HTTP/1.1 20", then=RESET), 502, True, "http_response_incomplete"),
    ("closes within a field", says(b"HTTP/1.1 200 OK\r\nConte"), 502, True, "http_response_incomplete"),
    ("resets within a field", says(b"HTTP/1.1 200 OK\r\nConte", then=RESET), 502, True, "http_response_incomplete"),
    ("closes before the empty line", says(LENGTH[:-2]), 502, True, "http_response_incomplete"),
    ("closes behind an interim", says(b"HTTP/1.1 103 Early\r\n\r\n"), 502, True, "http_response_incomplete"),
    ("closes before the body", says(LENGTH), 200, False, "http_response_incomplete"),
    ("closes within the body", says(LENGTH, b"12345"), 200, False, "http_response_incomplete"),
    ("closes within the body, in one write", says(LENGTH + b"12345"), 200, False, "http_response_incomplete"),
    ("resets within the body", says(LENGTH, b"12345", then=RESET), 200, False, "http_response_incomplete"),
    ("closes between chunks", says(CHUNKED, b"3\r\nabc\r\n"), 200, False, "http_response_incomplete"),
    ("resets between chunks", says(CHUNKED, b"3\r\nabc\r\n", then=RESET), 200, False, "http_response_incomplete"),
    ("closes within a chunk", says(CHUNKED, b"5\r\nabc"), 200, False, "http_response_incomplete"),
    ("resets within a chunk", says(CHUNKED, b"5\r\nabc", then=RESET), 200, False, "http_response_incomplete"),
    ("closes within a chunk's size", says(CHUNKED, b"3\r\nabc\r\n1"), 200, False, "http_response_incomplete"),
    ("closes behind the last size", says(CHUNKED, b"3\r\nabc\r\n0"), 200, False, "http_response_incomplete"),
    ("closes before the last line end", says(CHUNKED, b"3\r\nabc\r\n0\r\n"), 200, False, "http_response_incomplete"),
    ("closes within the trailers", says(CHUNKED, b"1\r\na\r\n0\r\nX: y\r\n"), 200, False, "http_response_incomplete"),
    ("sends a bad chunk", says(CHUNKED, b"3\r\nabc\r\nzz\r\n"), 200, False, "http_protocol_error"),
    ("sends a bad chunk in the same write", says(CHUNKED + b"3\r\nabc\r\nzz\r\n"), 502, True, "http_protocol_error"),
    ("ends by closing", says(UNTIL_CLOSE, b"all"), 200, True, ""),
    ("ends by closing, without a body", says(UNTIL_CLOSE), 200, True, ""),
    (
        "would end by closing, but resets",
        says(UNTIL_CLOSE, b"part", then=RESET),
        200,
        False,
        "http_response_incomplete",
    ),
    ("never answers", says(then=STAY), 504, True, "http_response_timeout"),
    ("never ends its head", says(b"HTTP/1.1 200 OK\r\nX: y\r\n", then=STAY), 504, True, "http_response_timeout"),
    ("stops within the body", says(LENGTH, b"12345", then=STAY), 200, False, "connection_read_timeout"),
    ("stops within a chunk", says(CHUNKED, b"5\r\nabc", then=STAY), 200, False, "connection_read_timeout"),
    ("sends a few bytes at a time", says(*[OK[at : at + 5] for at in range(0, len(OK), 5)], then=STAY), 200, True, ""),
    ("sends no HTTP", says(b"\x15\x03\x01\x00\x02\x02\x46", then=STAY), 502, True, "http_protocol_error"),
    ("greets", says(b"220 mail ESMTP\r\n", then=STAY), 502, True, "http_protocol_error"),
    (
        "speaks HTTP/2",
        says(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", then=STAY),
        502,
        True,
        "http_protocol_error",
    ),
    (
        "has two lengths",
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n" + LENGTH[17:], then=STAY),
        502,
        True,
        "http_protocol_error",
    ),
    (
        "has a length and chunks",
        says(LENGTH[:-2] + CHUNKED[17:] + b"0\r\n\r\n", then=STAY),
        502,
        True,
        "http_protocol_error",
    ),
    (
        "has a head of 100 KiB",
        says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 102400 + b"\r\n\r\n", then=STAY),
        502,
        True,
        "http_response_header_section_size",
    ),
    ("changes the protocol unasked", says(SWITCH, then=STAY), 502, True, "http_upgrade_failed"),
    (
        "sends bytes behind the body",
        says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", then=STAY),
        200,
        True,
        "",
    ),
    ("sends bytes behind the body, later", says(OK, b"evil", then=STAY), 200, True, ""),
    (
        "has a body where there is none",
        says(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", then=STAY),
        204,
        True,
        "",
    ),
    ("closes behind a whole answer", says(OK), 200, True, ""),
    ("resets behind a whole answer", says(OK, then=RESET), 200, True, ""),
]


# What an upstream server does while it is sent a body that does not end: (name, server, statuses).


async def _answers_and_reads(end: End) -> None:
    await end.head()
    end.say(EARLY)
    await end.gone()


async def _answers_and_closes(end: End) -> None:
    await end.head()
    end.stop_reading()
    end.say(EARLY)
    end.close()


async def _answers_and_resets(end: End) -> None:
    await end.head()
    end.say(EARLY)
    await end.turn()
    end.reset()


async def _answers_and_stops_reading(end: End) -> None:
    await end.head()
    end.stop_reading()
    end.say(EARLY)
    await end.turn()
    end.go_on_reading()
    await end.gone()


async def _closes(end: End) -> None:
    await end.take(200_000)
    end.close()


async def _resets(end: End) -> None:
    await end.take(200_000)
    end.reset()


async def _starts_an_answer(end: End) -> None:
    await end.head()
    end.say(LENGTH + b"123")
    await end.take(200_000)
    end.reset()


UPLOADS: list[tuple[str, Server, int, bool]] = [
    ("answers early, and reads on", _answers_and_reads, 413, True),
    ("answers early, and closes", _answers_and_closes, 413, True),
    ("answers early, and resets", _answers_and_resets, 413, True),
    ("answers early, without reading", _answers_and_stops_reading, 413, True),
    ("closes", _closes, 502, True),
    ("resets", _resets, 502, True),
    ("reads nothing", reads_nothing, 504, True),
    ("starts an answer, and resets", _starts_an_answer, 200, False),
]


def uploads(chunked: bool) -> Callable[[Rig], Coroutine[Any, Any, Answer]]:
    """
    A client that sends more than fits anywhere, and takes the answer meanwhile.
    """

    async def client(rig: Rig) -> Answer:
        end = await rig.client()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % MUCH
        end.say(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        end.flood(b"10000\r\n%b\r\n" % (b"x" * 65536) if chunked else b"x" * 65536, MUCH // 65536)
        return await end.answer(b"POST")

    return client


# What becomes of a connection at rest when it is used again: (name, request, what the server does on its first
# connection, status of the second answer, how many connections were made).


def second(*pieces: bytes, then: str = CLOSE) -> Server:
    """
    A server that answers the first request on its connection, and does this to the second.
    """

    async def server(end: End) -> None:
        if await end.head():
            end.say(OK)
            await says(*pieces, then=then)(end)

    return server


def at_rest(*pieces: bytes, then: str = CLOSE) -> Server:
    """
    A server that answers the first request on its connection, and does this when that is at rest.
    """

    async def server(end: End) -> None:
        if await end.head():
            end.say(OK)
            await end.turn()
            for piece in pieces:
                end.say(piece)
            await ends(end, then)

    return server


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"

REUSES: list[tuple[str, bytes, Server, int, int]] = [
    ("closes on a GET", GET, second(), 200, 2),
    ("resets on a GET", GET, second(then=RESET), 200, 2),
    ("closes on a POST", POST, second(), 502, 1),
    ("resets on a POST", POST, second(then=RESET), 502, 1),
    ("closes within the second head", GET, second(b"HTTP/1.1 2"), 502, 1),
    ("resets within the second head", GET, second(b"HTTP/1.1 2", then=RESET), 502, 1),
    ("closes at rest", GET, at_rest(), 200, 2),
    ("resets at rest", GET, at_rest(then=RESET), 200, 2),
    ("closes at rest, before a POST", POST, at_rest(), 200, 2),
    ("answers unasked at rest", GET, at_rest(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", then=STAY), 200, 2),
    ("sends an empty line at rest", GET, at_rest(b"\r\n", then=STAY), 200, 2),
    ("says 408 and closes at rest", GET, at_rest(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"), 200, 2),
]


# What a server does to a GET over TLS: (name, server, status, whole).


def cuts(*pieces: bytes) -> Server:
    """
    A server that says this, and ends the connection below TLS, in order.
    """

    async def server(end: End) -> None:
        await end.head()
        for piece in pieces:
            end.say(piece)
            await end.turn()
        end.cut()

    return server


OVER_TLS: list[tuple[str, Server, int, bool]] = [
    ("ends by closing", says(UNTIL_CLOSE, b"all"), 200, True),
    ("is cut off, where closing would end it", cuts(UNTIL_CLOSE, b"part"), 200, False),
    ("is reset, where closing would end it", says(UNTIL_CLOSE, b"part", then=RESET), 200, False),
    ("is cut off within the body", cuts(LENGTH, b"12345"), 200, False),
    ("is cut off within a chunk", cuts(CHUNKED, b"5\r\nabc"), 200, False),
    ("is cut off behind a whole answer", cuts(OK), 200, True),
    ("is cut off within the head", cuts(LENGTH[:20]), 502, True),
    ("is cut off", cuts(), 502, True),
    ("closes", says(), 502, True),
    ("never answers", says(then=STAY), 504, True),
]


class ServerFaultTests(FaultTestCase):
    """
    Upstream servers that break, on our reactor.
    """

    make_reactor = TwistginxReactor

    def test_answers(self) -> None:
        """
        Whatever a server does to a GET, the client gets the right status, or an answer that is visibly broken.
        """

        async def use(rig: Rig) -> None:
            for name, server, status, whole, reason in ANSWERS:
                with self.naming(name):
                    answer = await rig.play(server, asks())
                    # The head of an answer that breaks may be cut off with it.
                    self.assertIn(answer.status, (status,) if whole else (status, 0))
                    self.assertEqual(answer.whole, whole)
                    self.assertEqual(rig.told, [(status, reason)])

        self.with_rig(use)

    def test_uploads(self) -> None:
        """
        Whatever a server does while it is sent a body, the client gets the answer that was sent, or the right status.
        """

        async def use(rig: Rig) -> None:
            for name, server, status, whole in UPLOADS:
                for chunked in (False, True):
                    with self.naming(f"{name}, {'chunked' if chunked else 'of known length'}"):
                        answer = await rig.play(server, uploads(chunked))
                        self.assertEqual((answer.status, answer.whole), (status, whole))

        self.with_rig(use)

    def test_over_tls(self) -> None:
        """
        Over TLS an end without close_notify is no orderly one, on either side.
        """

        async def use(rig: Rig) -> None:
            for name, server, status, whole in OVER_TLS:
                for request in (GET, OLD):
                    with self.naming(f"{name}, {request[6:14]!r}"):
                        answer = await rig.play(server, asks(request))
                        self.assertIn(answer.status, (status,) if whole else (status, 0))
                        self.assertEqual(answer.whole, whole)

        self.with_rig(use, TLS)


class StockReactorTests(ServerFaultTests):
    """
    The same on Twisted's own.
    """

    make_reactor = EPollReactor


class AsyncioTests(FaultTestCase):
    """
    And what is asyncio's part of it, where there is no uvloop.
    """

    def setUp(self) -> None:
        super().setUp()
        # It warns of writes to a connection that has just been lost, which is what this is about.
        self.patch(asyncio.log.logger, "disabled", True)

    @staticmethod
    def make_reactor() -> TwistginxReactor:
        return TwistginxReactor(asyncio.SelectorEventLoop())

    test_uploads = ServerFaultTests.test_uploads


class ConnectionFaultTests(FaultTestCase):
    """
    What becomes of connections that broke, and of what came over them, on our reactor.
    """

    make_reactor = TwistginxReactor

    def test_old_clients(self) -> None:
        """
        To an HTTP/1.0 client, to which the end of the connection is the end of the body, a broken answer ends with a
        reset, and never in order.
        """

        async def use(rig: Rig) -> None:
            for name, server, status, whole, _ in ANSWERS:
                if status != 200:
                    continue
                with self.naming(name):
                    answer = await rig.play(server, asks(OLD))
                    self.assertEqual((answer.status, answer.whole), (status, whole))

        self.with_rig(use)

    def test_nothing_is_used_again(self) -> None:
        """
        After what is not exactly one answer, the next request goes to a fresh connection, and gets its own answer.
        """

        async def use(rig: Rig) -> None:
            for name, server, status, whole, _ in ANSWERS:
                if not whole or status >= 500:
                    continue
                with self.naming(name):
                    first = [True]

                    async def either(end: End, server: Server = server, first: list[bool] = first) -> None:
                        if first.pop() if first else False:
                            await server(end)
                        else:
                            await says(b"HTTP/1.1 203 Mine\r\nContent-Length: 4\r\n\r\nmine", then=STAY)(end)

                    async def twice(rig: Rig) -> tuple[Answer, bytes]:
                        end = await rig.client()
                        end.say(GET)
                        answer = await end.answer()
                        await rig.settled()
                        if end.lost is not None:
                            end = await rig.client()
                        end.say(GET)
                        return answer, (await end.answer()).body

                    answer, body = await rig.play(either, twice)
                    self.assertEqual(answer.status, status)
                    if "a few bytes" not in name:
                        self.assertEqual(body, b"mine")

        self.with_rig(use)

    def test_reuse(self) -> None:
        """
        A request that meets the end of a connection at rest is sent once more if it may be, and never twice if not.
        """

        async def use(rig: Rig) -> None:
            for name, request, server, status, connections in REUSES:
                with self.naming(name):
                    outcome = await rig.play(_first(server), _twice(request))
                    self.assertEqual(outcome, (status, connections))

        self.with_rig(use)


def _first(server: Server) -> Server:
    """
    This for the first connection, a plain answer on all others.
    """
    seen: list[End] = []

    async def either(end: End) -> None:
        seen.append(end)
        if len(seen) == 1:
            await server(end)
            return
        while await end.head():
            end.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")

    return either


def _twice(request: bytes) -> Callable[[Rig], Coroutine[Any, Any, tuple[int, int]]]:
    """
    A client that asks for something, and then this; the status of the second answer, and how many connections it took.
    """

    async def client(rig: Rig) -> tuple[int, int]:
        end = await rig.client()
        end.say(GET)
        assert (await end.answer()).body == b"ok"
        await rig.settled()
        end.say(request)
        answer = await end.answer()
        assert answer.whole
        assert answer.body == b"mine" or answer.status != 200, answer.body
        return answer.status, len(rig.servers)

    return client
