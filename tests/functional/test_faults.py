"""
Clients and upstream servers that break, on real sockets: what the other side is told, and that nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from tests.functional.faults import Answer, End, FaultTestCase, Rig, Server
from twistginx.net.reactor import TwistginxReactor

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
        await end.turn()
        end.reset()
    else:
        await end.gone()


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


def asks(request: bytes = GET, method: bytes = b"GET") -> Callable[[Rig], Coroutine[Any, Any, Answer]]:
    """
    A client that asks this, and takes the answer.
    """

    async def client(rig: Rig) -> Answer:
        end = await rig.client()
        end.say(request)
        return await end.answer(method)

    return client


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


async def _reads_nothing(end: End) -> None:
    await end.head()
    end.stop_reading()
    await end.turn()
    await end.after(0.6)
    end.go_on_reading()
    await end.gone()


async def _starts_an_answer(end: End) -> None:
    await end.head()
    end.say(LENGTH + b"123")
    await end.take(200_000)
    end.reset()


async def _resets_together(end: End) -> None:
    await end.head()
    await end.after(0.025)
    end.reset()


UPLOADS: list[tuple[str, Server, int, bool]] = [
    ("answers early, and reads on", _answers_and_reads, 413, True),
    ("answers early, and closes", _answers_and_closes, 413, True),
    ("answers early, and resets", _answers_and_resets, 413, True),
    ("answers early, without reading", _answers_and_stops_reading, 413, True),
    ("closes", _closes, 502, True),
    ("resets", _resets, 502, True),
    ("reads nothing", _reads_nothing, 504, True),
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
    ("resets while nobody takes its upload", _reads_nothing, does(UPLOAD_CHUNKED, "flood"), None),
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


class AnswerTests(FaultTestCase):
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
                    self.assertEqual((answer.status, answer.whole), (status, whole))
                    self.assertEqual(rig.told, [(status, reason)])

        self.with_rig(use)

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


class StockReactorTests(AnswerTests):
    """
    The same on Twisted's own.
    """

    make_reactor = EPollReactor
