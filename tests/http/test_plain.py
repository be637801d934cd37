"""
Tests of twistginx.http.plain: the short way gives what the long way gives, and is taken for plain messages only.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.http import parser as parser_module
from twistginx.http import plain as plain_module
from twistginx.http import response_parser as response_module
from twistginx.http.message import Fields, ResponseHead
from twistginx.http.parser import RequestParser
from twistginx.http.plain import plain_request, plain_response
from twistginx.http.response_parser import HEAD_BOUND, ResponseParser

GET = b"GET /a?b HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x y\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok"

#: Lines that heads are made of: plain ones, and all that must not be taken for plain.
REQUEST_LINES = st.sampled_from(
    [
        *(b"Host: a.example", b"host:  A.Example \t", b"Host: b.example", b"Host:", b"Host: a b"),
        *(b"Accept: */*", b"Cookie: a=1; b=2", b"X-Empty:", b"X-Tab: a\t", b"If-None-Match: *", b"Range: bytes=0-1"),
        *(b"Connection: keep-alive", b"Connection: Keep-Alive", b"Connection: close", b"Connection: x, close"),
        *(b"Content-Length: 0", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Expect: 100-continue"),
        *(b"Upgrade: websocket", b"Connection: upgrade", b"X_Y: 1", b"X.Y: 1", b"Bad Name: 1", b" folded", b"novalue"),
        *(b"X: a\rb", b"X: a\0b", b"TE: trailers", b"X-Forwarded-For: 1.2.3.4", b": x", b"X-Obs: \xe9"),
    ]
)
STARTS = st.sampled_from(
    [
        *(b"GET / HTTP/1.1", b"GET /a?b=c HTTP/1.1", b"HEAD /%2F HTTP/1.1", b"POST / HTTP/1.1", b"FOO / HTTP/1.1"),
        *(b"GET / HTTP/1.0", b"GET /a#b HTTP/1.1", b"GET http://b.example/ HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        *(
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET /",
            b"GET / HTTP/2.0",
            b"get / HTTP/1.1",
            b"GET /\xe9 HTTP/1.1",
        ),
    ]
)
#: Values, from the colon on.
VALUES = st.sampled_from(
    [
        *(
            b"",
            b" ",
            b" 2",
            b" x",
            b" longer, and more",
            b"\ty",
            b" z \t",
            b" \xe9",
            b" a\0",
            b" a\rb",
            b" a\nb",
            b" \x7f",
        ),
        *(b" x\r\n", b" x\r\n folded", b" x\r\nHost: b.example", b" x\r\nX-New: 1", b" close", b" keep-alive"),
        *(b" b.example", b" text/event-stream", b" chunked", b" 3"),
    ]
)
RESPONSE_LINES = st.sampled_from(
    [
        *(
            b"Content-Length: 2",
            b"content-length: 2",
            b"Content-Length: 3",
            b"Content-Length: 02",
            b"Content-Length: +2",
        ),
        *(b"Connection: keep-alive", b"Connection: close", b"Connection: X-A", b"Keep-Alive: timeout=5", b"X-A: 1"),
        *(b"Transfer-Encoding: chunked", b"Date: x", b"Server: y", b"Trailer: Z", b"Upgrade: a", b"X-Request-ID: 1"),
        *(
            b"Content-Type: text/event-stream",
            b"Content-Type: text/html",
            b"Set-Cookie: a",
            b"Set-Cookie: b",
            b"Bad : 1",
        ),
    ]
)
STATUSES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Gone Fishing", b"HTTP/1.1 204 x", b"HTTP/1.1 304 x", b"HTTP/1.1 103 x"),
        *(b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 2000 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 99 x"),
        *(b"HTTP/1.1 404 Not Found", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 503 Service Unavailable"),
    ]
)


def requests(*reads: bytes) -> Any:
    """
    What a parser makes of what it reads, as plain values.
    """
    parser = RequestParser(2000, 20)
    for data in reads:
        parser.feed(data)
    made = [
        (
            *(head.method, head.target, head.version, head.host, head.path, head.query, head.length, head.keep_alive),
            *(head.upgrade, head.expects_continue, list(head.fields)),
            None if body is None else (body.length, body.complete, body.received),
        )
        for head, body in parser.messages
    ]
    refusal = parser.refusal.reason.word if parser.refusal is not None else None
    return made, refusal, parser.in_head, parser.leftover


class Told:
    """
    What a receiver is told of a response.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []

    def response_informational(self, head: ResponseHead) -> None:
        self.events.append((head.status, list(head.fields)))

    def response_head(self, head: ResponseHead, more: bool) -> None:
        self.events.append((head.status, head.phrase, sorted(head.fields), head.length))

    def response_data(self, data: bytes) -> None:
        self.events.append(data)

    def response_end(self, trailers: Fields | None) -> None:
        self.events.append(trailers)

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        self.response_head(head, True)
        if body:
            self.response_data(body)
        self.response_end(None)


def response(*reads: bytes) -> Any:
    """
    What a parser makes of what it reads, each an answer, as plain values.
    """
    parser = ResponseParser()
    made = []
    for data in reads:
        told: Any = Told()
        parser.expect(told)
        try:
            complete = parser.feed(data)
        except Exception as error:
            return made, str(error)
        if complete and parser.body is not None:
            told.response_whole(parser.head, parser.body)
        elif complete and parser.upgrade is None:
            told.response_end(parser.trailers)
        made.append((told.events, complete, parser.reusable, parser.upgrade))
        if not (complete and parser.reusable):
            break  # nobody expects another answer
    return made


class RequestTests(SynchronousTestCase):
    """
    Requests.
    """

    def test_plain(self) -> None:
        """
        A browser's request is plain, once its Host is known.
        """
        self.assertEqual(requests(GET), requests(GET))
        head = plain_request(GET, 2000, 20, None)
        assert head is not None
        self.assertEqual((head.host, head.path, head.query, head.marks), (b"a.example", b"/a", b"b", [b"host:"]))
        self.assertEqual(head.first(b"user-agent"), b"x y")
        self.assertIsNone(head.first(b"x-none"))
        self.assertIsNotNone(head.block)
        self.assertEqual([name for _, name, _ in head.fields], [b"Host", b"User-Agent"])

    def test_judge_recovers(self) -> None:
        """
        What was refused leaves nothing behind for the next request, whoever's it is.
        """
        requests(GET)
        for bad in (
            GET[:-4] + b"\r\nBad Name: 1\r\n\r\n",
            GET[:-4] + b"\r\nX: a\0\r\n\r\n",
            b"GET /\x01 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ):
            self.assertIsNone(plain_request(bad, 2000, 20, None))
            self.assertIsNotNone(plain_request(GET, 2000, 20, None))

    def test_bounds(self) -> None:
        """
        A head that is too large, or has too many fields, is not plain.
        """
        requests(GET)
        self.assertIsNone(plain_request(GET, len(GET) - 1, 20, None))
        self.assertIsNone(plain_request(GET, 2000, 1, None))
        head = plain_request(GET, len(GET), 2, None)
        assert head is not None
        self.assertIsNone(plain_request(GET.replace(b"/a", b"/aa"), len(GET), 2, head.section))

    def test_said_again(self) -> None:
        """
        A request with the field section of the one before shares what was found out about that, and has its own list.
        """
        requests(GET)
        first = plain_request(GET, 2000, 20, None)
        assert first is not None
        again = plain_request(GET.replace(b"/a?b", b"/other"), 2000, 20, first.section)
        assert again is not None and again.section is not None
        self.assertIs(again.section, first.section)
        self.assertEqual((again.target, again.path, again.query), (b"/other", b"/other", None))
        self.assertEqual(
            [again.first(b"user-agent"), again.first(b"user-agent"), again.first(b"x")], [b"x y"] * 2 + [None]
        )
        again.put(b"x", b"X", b"1")
        self.assertEqual((again.first(b"x"), first.first(b"x")), (b"1", None))
        again.fields.drop(b"user-agent")
        self.assertEqual((again.first(b"user-agent"), first.first(b"user-agent")), (None, b"x y"))

    def test_the_last(self) -> None:
        """
        ``Connection: close`` is plain, and what follows such a request is none.
        """
        requests(GET)
        last = GET.replace(b"User-Agent: x y", b"Connection: close")
        parser = RequestParser(2000, 20)
        parser.feed(last)
        self.assertEqual([head.keep_alive for head, _ in parser.messages], [False])
        self.assertIsNotNone(parser.messages[0][0].block)
        parser.feed(GET)
        self.assertEqual((len(parser.messages), parser.refusal), (1, None))
        self.assertIsNotNone(plain_request(GET, 2000, 20, None))

    @given(STARTS, st.lists(REQUEST_LINES, max_size=6), st.sampled_from([b"", b"", GET, b"x", b"\r\n"]))
    @example(b"GET / HTTP/1.1", [b"Host: a.example", b"Connection: keep-alive", b"Connection: close"], b"")
    @example(b"GET / HTTP/1.1", [b"Host: a.example"], GET)
    @settings(max_examples=400, deadline=None)
    def test_as_the_long_way(self, start: bytes, lines: list[bytes], rest: bytes) -> None:
        """
        Whatever comes, a parser that takes the short way where it can makes of it what one makes that never does.
        """
        requests(GET)
        data = b"\r\n".join([start, *lines, b"", b""]) + rest
        with mock.patch.object(parser_module, "plain_request", lambda *_: None):
            long_way = requests(data)
        self.assertEqual(requests(data), long_way)

    @given(STARTS, STARTS, st.lists(REQUEST_LINES, max_size=4), st.sampled_from([b"", b"", GET, b"x", b"\r\n"]))
    @example(b"GET / HTTP/1.1", b"HEAD /%2F HTTP/1.1", [b"Host: a.example", b"Connection: keep-alive"], b"")
    @example(b"GET / HTTP/1.1", b"GET / HTTP/1.1", [b"Host: a.example", b"Connection: close"], b"")
    @settings(max_examples=400, deadline=None)
    def test_the_same_section(self, start: bytes, other: bytes, lines: list[bytes], rest: bytes) -> None:
        """
        So it does where the section before comes once more.
        """
        requests(GET)
        reads = [b"\r\n".join([each, *lines, b"", b""]) for each in (start, other, start)]
        reads[-1] += rest
        with mock.patch.object(parser_module, "plain_request", lambda *_: None):
            long_way = requests(*reads)
        self.assertEqual(requests(*reads), long_way)

    def test_other_values(self) -> None:
        """
        A section in which values differ only, and not those that decide, is not judged again.
        """
        lines = b"GET / HTTP/1.1\r\nAccept: *\r\nCookie: %b\r\nHost: a.example\r\nConnection: %b\r\nX-Trace: %b\r\n\r\n"
        requests(GET)
        last = None
        for values in ((b"a", b"keep-alive", b"1"), (b"b", b"keep-alive", b"1"), (b"c", b"keep-alive", b"2")):
            head = plain_request(lines % values, 2000, 20, last)
            assert head is not None
            last = head.section
        with mock.patch.object(plain_module, "_plain_section", lambda *_: None):
            head = plain_request(lines % (b"longer", b"keep-alive", b""), 2000, 20, last)
            assert head is not None and head.section is not None
            self.assertEqual((head.first(b"cookie"), head.first(b"x-trace"), head.host), (b"longer", b"", b"a.example"))
            self.assertNotIn(b"Connection", head.section.without_connection())
            self.assertEqual(head.section.without_connection().count(b"\r\n"), 5)
            for wrong in (
                (b"a", b"close", b"1"),
                (b"\0", b"keep-alive", b"1"),
                (b"a\r\nExpect: x", b"keep-alive", b"1"),
            ):
                self.assertIsNone(plain_request(lines % wrong, 2000, 20, last), wrong)

    @given(
        st.lists(REQUEST_LINES, max_size=4, unique_by=lambda line: line.partition(b":")[0].lower()),
        st.lists(st.tuples(st.integers(0, 4), VALUES), min_size=2, max_size=6),
        st.booleans(),
    )
    @example(
        [b"Cookie: a=1; b=2", b"Connection: keep-alive"], [(1, b" x"), (1, b" yy"), (1, b" z"), (2, b" close")], True
    )
    @example([b"Cookie: a=1; b=2", b"X-Empty:"], [(1, b" x"), (2, b" yy"), (2, b"\r\nHost: b"), (1, b"\r\n")], False)
    @settings(max_examples=400, deadline=None)
    def test_values_as_the_long_way(self, lines: list[bytes], changes: list[tuple[int, bytes]], hosted: bool) -> None:
        """
        So it does where values change from request to request.
        """
        requests(GET)
        lines = [b"Host: a.example", *lines] if hosted else [*lines, b"Host: a.example"]
        reads = []
        for index, value in changes:
            lines = list(lines)
            index %= len(lines)  # noqa: PLW2901
            lines[index] = lines[index].partition(b":")[0] + b":" + value
            reads.append(b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""]))
        with mock.patch.object(parser_module, "plain_request", lambda *_: None):
            long_way = requests(*reads)
        self.assertEqual(requests(*reads), long_way)


class ResponseTests(SynchronousTestCase):
    """
    Responses.
    """

    def test_plain(self) -> None:
        """
        A small answer is plain; Connection is not in what is passed on.
        """
        for data in (OK, OK.replace(b"X-A", b"Connection: keep-alive\r\nX-A")):
            plain = plain_response(data, HEAD_BOUND)
            assert plain is not None
            head, _ = plain
            self.assertEqual((head.status, head.phrase, head.length), (200, b"OK", 2))
            self.assertEqual(head.block, b"\r\nServer: s\r\nContent-Length: 2\r\nX-A: b\r\n")

    def test_not_plain(self) -> None:
        """
        More or fewer bytes than announced, and heads that are too large.
        """
        plain = plain_response(OK, HEAD_BOUND)
        assert plain is not None
        _, shape = plain
        for data in (OK + b"x", OK[:-1], OK[:30], b"", OK.replace(b"OK", b"O\0K", 1)):
            self.assertIsNone(plain_response(data, HEAD_BOUND))
            self.assertFalse(data.startswith(shape.start) and shape.head(data))
        self.assertIsNone(plain_response(OK, len(OK) - 3))

    @given(
        STATUSES,
        st.lists(RESPONSE_LINES, max_size=5),
        st.sampled_from([b"ok", b"ok", b"", b"o", b"okay", b"0\r\n\r\n"]),
    )
    @settings(max_examples=400, deadline=None)
    def test_as_the_long_way(self, start: bytes, lines: list[bytes], body: bytes) -> None:
        """
        Whatever comes, the receiver is told the same.
        """
        data = b"\r\n".join([start, *lines, b"", b""]) + body
        with mock.patch.object(response_module, "plain_response", lambda *_: None):
            long_way = response(data)
        self.assertEqual(response(data), long_way)

    def test_same_shape(self) -> None:
        """
        An answer that differs in length and body only is as it would be if it were the first.
        """
        for lines in (
            b"X-A: b\r\nContent-Length: 2",
            b"Content-Length:2",
            b"Connection: keep-alive\r\nContent-Length: 2",
        ):
            data = b"HTTP/1.1 404 Not Found\r\n%b\r\nServer: S\r\n\r\nok" % lines
            other = data[:-2].replace(b"2\r", b"10\r") + b"0123456789"
            plain = plain_response(data, HEAD_BOUND)
            fresh = plain_response(other, HEAD_BOUND)
            assert plain is not None and fresh is not None
            head = plain[1].head(other)
            assert head is not None
            self.assertEqual(
                (head.status, head.phrase, head.length, head.block, head.lowered),
                (fresh[0].status, fresh[0].phrase, fresh[0].length, fresh[0].block, fresh[0].lowered),
            )

    @given(
        STATUSES,
        st.lists(RESPONSE_LINES, max_size=4),
        st.sampled_from([b"Content-Length: %d", b"content-length:%d", b"Content-Length:  %d", b"Content-Length: %d "]),
        st.lists(RESPONSE_LINES, max_size=2),
        st.lists(
            st.sampled_from([b"", b"ok", b"0123456789", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n"]), min_size=2, max_size=4
        ),
        st.sampled_from([b"", b"", b"x", OK]),
    )
    @settings(max_examples=400, deadline=None)
    def test_shapes_as_the_long_way(
        self, start: bytes, lines: list[bytes], length: bytes, more: list[bytes], bodies: list[bytes], rest: bytes
    ) -> None:
        """
        So it is for answers of one shape after each other.
        """
        reads = [b"\r\n".join([start, *lines, length % len(body), *more, b"", body]) for body in bodies]
        reads[-1] += rest
        with mock.patch.object(response_module, "plain_response", lambda *_: None):
            long_way = response(*reads)
        self.assertEqual(response(*reads), long_way)

    def test_other_values(self) -> None:
        """
        An answer in which other values differ as well is as if it were the first; and no other is taken for one.
        """
        lines = (
            b"HTTP/1.1 200 OK\r\nDate: %b\r\nConnection: %b\r\nX-Content-Length: 2\r\nContent-Length: 2\r\n"
            b"ETag: %b\r\n\r\nok"
        )
        plain = plain_response(lines % (b"1", b"keep-alive", b"a"), HEAD_BOUND)
        assert plain is not None
        shape = plain[1]
        for values in ((b"2", b"keep-alive", b"a"), (b"2", b"keep-alive", b"b"), (b"33", b"keep-alive", b"")):
            data = lines % values
            fresh = plain_response(data, HEAD_BOUND)
            assert fresh is not None
            for _ in range(2):
                head = shape.head(data)
                assert head is not None
                self.assertEqual((head.status, head.length, head.block), (200, 2, fresh[0].block))
        for wrong in ((b"2", b"close", b"a"), (b"2", b"keep-alive", b"\0"), (b"2\r\nTE: x", b"keep-alive", b"a")):
            self.assertIsNone(shape.head(lines % wrong), wrong)

    @given(
        st.lists(RESPONSE_LINES, max_size=4),
        st.lists(st.tuples(st.integers(0, 4), VALUES), min_size=2, max_size=6),
        st.booleans(),
    )
    @example([b"Date: x", b"Connection: keep-alive"], [(0, b" y"), (0, b" z"), (1, b" close")], True)
    @example([b"Content-Type: text/html"], [(0, b" text/html"), (0, b" text/event-stream")], True)
    @settings(max_examples=400, deadline=None)
    def test_values_as_the_long_way(self, lines: list[bytes], changes: list[tuple[int, bytes]], first: bool) -> None:
        """
        So it is for answers in which values change.
        """
        lines = [b"Content-Length: 2", *lines] if first else [*lines, b"Content-Length: 2"]
        reads = []
        for index, value in changes:
            lines = list(lines)
            index %= len(lines)  # noqa: PLW2901
            lines[index] = lines[index].partition(b":")[0] + b":" + value
            reads.append(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b"ok"]))
        with mock.patch.object(response_module, "plain_response", lambda *_: None):
            long_way = response(*reads)
        self.assertEqual(response(*reads), long_way)
