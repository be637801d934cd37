"""
Tests for L{twistginx.http.parser}.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.splits import run_splits
from twistginx.http import plain
from twistginx.http.parser import RequestParser

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def parse(pieces: Sequence[bytes], **bounds: int) -> dict[str, Any]:
    """
    All that comes of C{pieces}: requests as C{(method, target, host, body, trailers)}, and the word of a refusal.
    """
    parser = RequestParser(**bounds)
    taken: list[Any] = []

    def take() -> None:
        taken.extend(parser.messages)
        parser.messages.clear()

    for piece in pieces:
        parser.feed(piece)
        take()
        while parser.leftover and not parser.suspended:
            parser.resume()
            take()
    requests = []
    for head, body in taken:
        data = None
        trailers: list[tuple[bytes, bytes]] = []
        if body is not None:
            data = b"".join(body._held)
            trailers = [(name, value) for _, name, value in body.trailers]
            if not body.complete:
                data = (data, "incomplete")
        requests.append((head.method, head.target, head.host, data, trailers))
    return {
        "requests": requests,
        "heads": [head for head, _ in taken],
        "refusal": None if parser.refusal is None else parser.refusal.reason.word,
        "in_head": parser.in_head,
        "suspended": parser.suspended,
        "leftover": parser.leftover,
    }


def facts(pieces: Sequence[bytes]) -> dict[str, Any]:
    """
    L{parse}, comparable.
    """
    result = parse(pieces)
    for head in result.pop("heads"):
        result.setdefault("details", []).append(
            (
                *(head.version, head.path, head.query, head.length, head.keep_alive, head.upgrade),
                head.expects_continue,
                *head.fields,
            )
        )
    return result


class ParserTestCase(SynchronousTestCase):
    """
    What the tables below are run with.
    """

    def one(self, data: bytes, trailing: Sequence[bytes] = ()) -> Any:
        """
        The head of the one request that C{data} is, however it is cut.
        """
        result = run_splits(self, facts, data, trailing)
        self.assertIsNone(result["refusal"], data)
        self.assertEqual(len(result["requests"]), 1, data)
        return parse([data])["heads"][0]

    def refused(self, data: bytes) -> str:
        """
        The word that C{data} is refused with, however it is cut.
        """
        result = run_splits(self, facts, data)
        self.assertEqual(result["requests"], [], data)
        self.assertIsNotNone(result["refusal"], data)
        return str(result["refusal"])


class LineTests(ParserTestCase):
    """
    The request line (RFC 9112 section 3).
    """

    def test_plain(self) -> None:
        """
        Method, target, path, query and version are as they were sent.
        """
        head = self.one(b"DELETE /a%20b/../c?x=1?2 HTTP/1.1\r\nHost: Example.COM:80\r\n\r\n")
        self.assertEqual(head.method, b"DELETE")
        self.assertEqual(head.target, b"/a%20b/../c?x=1?2")
        self.assertEqual((head.path, head.query), (b"/a%20b/../c", b"x=1?2"))
        self.assertEqual((head.version, head.host), (b"HTTP/1.1", b"example.com:80"))
        self.assertEqual((head.length, head.keep_alive, head.upgrade), (0, True, None))

    def test_query(self) -> None:
        """
        An empty query is not the same as none.
        """
        self.assertEqual(self.one(b"GET /? HTTP/1.1\r\nHost: a\r\n\r\n").query, b"")
        self.assertIsNone(self.one(GET).query)

    def test_absolute(self) -> None:
        """
        The authority of an absolute target wins over Host (RFC 9112 section 3.2.2), and the path is never empty.
        """
        for target, host, path, rest in (
            (b"http://B.com/x?y", b"b.com", b"/x", b"/x?y"),
            (b"https://b.com:8443", b"b.com:8443", b"/", b"/"),
            (b"HTTP://b.com?q", b"b.com", b"/", b"/?q"),
            (b"http://[::1]:80/", b"[::1]:80", b"/", b"/"),
        ):
            head = self.one(b"GET %b HTTP/1.1\r\nHost: other\r\n\r\n" % target)
            self.assertEqual((head.host, head.path, head.target), (host, path, rest))

    def test_asterisk(self) -> None:
        """
        OPTIONS has the asterisk form; nobody else has.
        """
        self.assertEqual(self.one(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, b"*")
        self.assertEqual(self.refused(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"), "http_request_error")

    def test_bad_targets(self) -> None:
        """
        What is neither a path nor a URL is refused.
        """
        for target in (
            b"foo",
            b"ftp://a/",
            b"http://",
            b"http:///x",
            b"http://u@b/",
            b"/a#b",
            b"/?#",
            b"/\xff",
            b"http://b c/",
        ):
            self.assertEqual(self.refused(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target), "http_request_error", target)

    def test_versions(self) -> None:
        """
        1.0 and 1.1 are spoken; what else looks like HTTP is told so.
        """
        self.assertEqual(self.one(b"GET / HTTP/1.0\r\n\r\n").version, b"HTTP/1.0")
        for version in (b"0.9", b"1.9", b"2.0", b"3.0", b"1.2"):
            self.assertEqual(
                self.refused(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version), "http_version_not_supported", version
            )
        self.assertEqual(self.refused(b"GET /\r\n\r\n"), "http_version_not_supported")
        self.assertEqual(self.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "http_version_not_supported")
        for line in (b"GET / HTTP/x.y", b"GET / http/1.1", b"GET / HTTP/1.1 ", b"GET / HTTP/11", b"GET / HTP/1.1"):
            self.assertEqual(self.refused(line + b"\r\nHost: a\r\n\r\n"), "http_request_error", line)

    def test_methods(self) -> None:
        """
        What a server may not do is 405, what it does not know 501, and what is no method at all 400.
        """
        for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"OPTIONS", b"PROPFIND", b"M-SEARCH", b"PURGE"):
            self.assertEqual(self.one(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method).method, method)
        for method, target in ((b"CONNECT", b"a:443"), (b"TRACE", b"/")):
            data = b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, target)
            self.assertEqual(self.refused(data), "method_not_allowed")
        for data in (b"FOO / HTTP/1.1", b"get / HTTP/1.1", b"DESCRIBE / RTSP/1.0", b"SOURCE / ICE/1.0"):
            self.assertEqual(self.refused(data + b"\r\nHost: a\r\n\r\n"), "method_not_implemented", data)
        for data in (b"\x16\x03\x01\x02\x00\x01", b" / HTTP/1.1\r\n\r\n", b"\x00", b"\xff\xff", b"{}\r\n"):
            self.assertEqual(self.refused(data), "http_request_error", data)

    def test_empty_lines_before(self) -> None:
        """
        Empty lines before a request are skipped (RFC 9112 section 2.2).
        """
        self.assertEqual(self.one(b"\r\n\r\n" + GET).path, b"/")

    def test_not_a_line_end(self) -> None:
        """
        A bare line feed ends nothing.
        """
        self.assertEqual(self.refused(b"GET / HTTP/1.1\nHost: a\n\n"), "http_request_error")


class FieldTests(ParserTestCase):
    """
    Fields (RFC 9112 section 5).
    """

    def test_fields(self) -> None:
        """
        Names and values are as they were sent, in order, doubles too; white space around values is not theirs.
        """
        head = self.one(b"GET / HTTP/1.1\r\nHost: a\r\nX-A:b \t \r\nx-a:\t c\td\xff\r\nEmpty:\r\n\r\n")
        self.assertEqual(
            head.fields[1:], [(b"x-a", b"X-A", b"b"), (b"x-a", b"x-a", b"c\td\xff"), (b"empty", b"Empty", b"")]
        )

    def test_bad(self) -> None:
        """
        What would mean another thing to the next parser is refused.
        """
        for field in (
            b"X : a",
            b" X: a",
            b"X: a\r\n b",
            b"X: a\r\n\tb",
            b"X: \x00",
            b"X: \x01",
            b"X: \x7f",
            b"X\x00: a",
            b"X",
            b": a",
            b"X: a\rb",
            b"X\xe4: a",
            b"X(: a",
        ):
            self.assertEqual(
                self.refused(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field), "http_request_error", field
            )

    def test_host(self) -> None:
        """
        Exactly one Host in HTTP/1.1, of a form that a name, an address or nothing has (RFC 9112 section 3.2).
        """
        for host in (b"a", b"", b"a_b.c-d", b"127.0.0.1:80", b"[::1]", b"[::1]:8080", b"a:", b"xn--bcher-kva.example"):
            self.assertEqual(self.one(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).host, host)
        for host, same in (
            (b"A.b.", b"a.b"),
            (b"a.b.:80", b"a.b:80"),
            (b"[::1]", b"[::1]"),
        ):
            for _ in range(2):  # the second time from memory
                self.assertEqual(self.one(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).host, same)
        for host in (
            b"a b",
            b"a,b",
            b"a/b",
            b"a@b",
            b"a:b",
            b"[::1",
            b"::1",
            b"a%41",
            b"<a>",
            b"a" * 301,
            b"[::1]x",
            b"a..",
            b".",
        ):
            self.assertEqual(self.refused(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host), "http_request_error", host)
        self.assertEqual(self.refused(b"GET / HTTP/1.1\r\n\r\n"), "http_request_error")
        self.assertEqual(self.refused(b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), "http_request_error")
        self.assertEqual(self.refused(b"GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n"), "http_request_error")
        self.assertEqual(self.one(b"GET / HTTP/1.0\r\n\r\n").host, b"")

    def test_keep_alive(self) -> None:
        """
        HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 the other way round.
        """
        for version, field, kept in (
            (b"1.1", b"", True),
            (b"1.1", b"Connection: close\r\n", False),
            (b"1.1", b"Connection: x, Close\r\n", False),
            (b"1.1", b"Connection: keep-alive\r\n", True),
            (b"1.0", b"", False),
            (b"1.0", b"Connection: Keep-Alive\r\n", True),
            (b"1.0", b"Connection: close\r\n", False),
        ):
            self.assertIs(
                self.one(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, field)).keep_alive, kept, (version, field)
            )

    def test_after_the_last(self) -> None:
        """
        What follows a request that said it was the last is dropped, and no failure.
        """
        last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        self.one(last, trailing=[GET, b"garbage", b"\r\n"])

    def test_expect(self) -> None:
        """
        100-continue means something where there is a body; nothing else can be expected.
        """
        post = b"POST / HTTP/1.%b\r\nHost: a\r\nContent-Length: %d\r\nExpect: %b\r\n\r\n%b"
        self.assertIs(self.one(post % (b"1", 1, b"100-Continue", b"x")).expects_continue, True)
        self.assertIs(self.one(post % (b"0", 1, b"100-continue", b"x")).expects_continue, False)
        self.assertIs(self.one(post % (b"1", 0, b"100-continue", b"")).expects_continue, False)
        self.assertEqual(self.refused(post % (b"1", 1, b"miracles", b"x")), "expectation_failed")


class FramingTests(ParserTestCase):
    """
    Where a body ends (RFC 9112 sections 6 and 7).
    """

    def bodies(self, data: bytes) -> list[Any]:
        """
        The bodies and trailers of all requests of C{data}.
        """
        result = run_splits(self, facts, data)
        self.assertIsNone(result["refusal"], data)
        return [each[3:] for each in result["requests"]]

    def test_content_length(self) -> None:
        """
        So many bytes are the body, and what follows is the next request.
        """
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n"
        self.assertEqual(self.bodies(post % b"5" + b"hello" + GET), [(b"hello", []), (None, [])])
        self.assertEqual(self.bodies(post % b"0" + GET), [(None, [])] * 2)
        self.assertEqual(self.bodies(post % b"005 \t" + b"hello"), [(b"hello", [])])
        self.assertEqual(self.bodies(post % b"6" + b"hello"), [((b"hello", "incomplete"), [])])

    def test_bad_content_length(self) -> None:
        """
        What two parsers could read as two lengths is refused.
        """
        for value in (b"", b"+3", b"-3", b"3a", b"0x3", b"1_0", b"3, 3", b"3 3", b"1.0", b"9" * 30):
            data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\nabc" % value
            self.assertEqual(self.refused(data), "http_request_error", value)
        for fields in (
            b"Content-Length: 3\r\nContent-Length: 3",
            b"Content-Length: 3\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        ):
            self.assertEqual(
                self.refused(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\nabc" % fields), "http_request_error"
            )

    def test_chunked(self) -> None:
        """
        Chunks, extensions and trailers; trailers never become fields of the head, nor of the next one.
        """
        data = (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b'5;a=b;c="d;\\"e"\r\nhello\r\n00B\r\n, it is me.\r\n0\r\nHost: evil\r\nX-T: 1\r\n\r\n'
        )
        self.assertEqual(
            self.bodies(data + GET), [(b"hello, it is me.", [(b"Host", b"evil"), (b"X-T", b"1")]), (None, [])]
        )
        heads = parse([data + GET])["heads"]
        self.assertEqual([len(head.fields) for head in heads], [2, 1])
        self.assertIsNone(heads[0].length)

    def test_bad_chunks(self) -> None:
        """
        A chunk that is no chunk ends it all, also where the connection was to be closed anyway.
        """
        for connection in (b"keep-alive", b"close"):
            for chunk in (
                b"x\r\n",
                b"5\r\nhelloX",
                b"-1\r\n",
                b"5 \r\nhello",
                b"\r\n",
                b"ffffffffffffffffff\r\n",
                b"5\nhello",
            ):
                data = (
                    b"POST / HTTP/1.1\r\nHost: a\r\nConnection: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % connection
                )
                result = run_splits(self, lambda pieces: facts(pieces)["refusal"], data + chunk)
                self.assertEqual(result, "http_request_error", (connection, chunk))

    def test_bad_codings(self) -> None:
        """
        Only chunked is spoken, and not in HTTP/1.0.
        """
        post = b"POST / HTTP/1.%b\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n0\r\n\r\n"
        for coding, word in (
            (b"gzip, chunked", "method_not_implemented"),
            (b"identity", "method_not_implemented"),
            (b"gzip", "method_not_implemented"),
            (b"chunked, chunked", "http_request_error"),
            (b"chunked\r\nTransfer-Encoding: chunked", "http_request_error"),
        ):
            self.assertEqual(self.refused(post % (b"1", coding)), word, coding)
        self.assertEqual(self.refused(post % (b"0", b"chunked")), "http_request_error")

    def test_pipelining(self) -> None:
        """
        Requests come out in the order they came in.
        """
        post = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
        data = b"".join(GET + post % number for number in range(4))
        result = run_splits(self, facts, data)
        self.assertEqual([each[1] for each in result["requests"]], [b"/", b"/0", b"/", b"/1", b"/", b"/2", b"/", b"/3"])

    def test_refusal_behind(self) -> None:
        """
        What came before garbage is served.
        """
        result = run_splits(self, facts, GET + b"GET / HTTP/1.1\r\nHost: <\r\n\r\n" + GET)
        self.assertEqual((len(result["requests"]), result["refusal"]), (1, "http_request_error"))

    def test_pipelining_is_bounded(self) -> None:
        """
        Of many requests in one read, most stay bytes until those before them have been taken; none is lost.
        """
        data = GET * 20000
        parser = RequestParser()
        parser.feed(data)
        self.assertLess(len(parser.messages), 1000)
        self.assertGreater(len(parser.leftover), 400000)
        self.assertEqual(len(parse([data])["requests"]), 20000)

    def test_bodies_are_not_cut(self) -> None:
        """
        A large read of a body comes in few pieces.
        """
        parser = RequestParser()
        parser.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000 + GET)
        body = parser.messages[0][1]
        self.assertLessEqual(len(body._held), 2)
        self.assertTrue(body.complete)
        self.assertEqual([head.method for head, _ in parser.messages], [b"PUT", b"GET"])


class UpgradeTests(ParserTestCase):
    """
    Another protocol is asked for (RFC 9110 section 7.8).
    """

    WEBSOCKET = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"

    def test_wanted(self) -> None:
        """
        The bytes behind it are kept, whatever they are.
        """
        for rest in (b"", b"\x81\x05hello", GET, b"\r\n\r\n"):
            result = run_splits(self, facts, self.WEBSOCKET + rest)
            self.assertEqual((result["suspended"], result["leftover"]), (True, rest))
        self.assertEqual(self.one(self.WEBSOCKET).upgrade, b"websocket")

    def test_not_to_be(self) -> None:
        """
        After C{resume}, what followed is HTTP again.
        """
        parser = RequestParser()
        parser.feed(GET + self.WEBSOCKET + GET)
        self.assertEqual(len(parser.messages), 2)
        parser.messages.clear()
        parser.resume()
        self.assertEqual([head.path for head, _ in parser.messages], [b"/"])
        self.assertFalse(parser.suspended)

    def test_ignored(self) -> None:
        """
        h2c, HTTP/1.0, an upgrade with a body, and one that Connection does not list: plain HTTP goes on.
        """
        for head in (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n",
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc",
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n%b"
            % b"Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: u\r\n\r\n",
        ):
            result = run_splits(self, facts, head + GET)
            self.assertEqual((result["refusal"], result["suspended"]), (None, False))
            self.assertEqual([each[1] for each in result["requests"]], [b"/", b"/"], head)
            self.assertIsNone(result["details"][0][5])
            if head.startswith(b"POST"):
                self.assertEqual(result["requests"][0][3], b"abc")

    def test_many_ignored(self) -> None:
        """
        A read full of them is no deep recursion.
        """
        head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        self.assertEqual(len(parse([head * 5000])["requests"]), 5000)

    def test_smuggled_behind(self) -> None:
        """
        The body of an ignored upgrade is a body: no request comes out of it.
        """
        inner = b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
        data = (
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n"
            % len(inner)
            + inner
        )
        result = run_splits(self, facts, data)
        self.assertEqual([each[3] for each in result["requests"]], [inner])


class BoundTests(SynchronousTestCase):
    """
    No client makes us hold more than we said, nor is one refused that stays below it.
    """

    BOUND = 2000

    def refusal(self, data: bytes) -> object:
        """
        The refusal, the same for all cuts.
        """
        return run_splits(self, lambda pieces: parse(pieces, head_bound=self.BOUND, fields_bound=10)["refusal"], data)

    def test_fields(self) -> None:
        """
        A head that is too large is refused, complete or not; also in the second request of a connection.
        """
        for before in (b"", GET, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"):
            for end in (b"", b"\r\n\r\n"):
                data = before + b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5000 + end
                words = {
                    parse(pieces, head_bound=self.BOUND)["refusal"]
                    for pieces in ([data + b""], [data[index : index + 1] for index in range(len(data))])
                    if end or len(pieces) > 1
                }
                self.assertEqual(words, {"request_header_too_large"})
        self.assertIsNone(self.refusal(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1900 + b"\r\n\r\n"))

    def test_unfinished(self) -> None:
        """
        A head that never ends is refused with the read that goes beyond the bound.
        """
        parser = RequestParser(head_bound=self.BOUND)
        parser.feed(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(50):
            parser.feed(b"x" * 50)
        self.assertEqual(parser.refusal.reason.status, 431)
        self.assertEqual(parser.unfinished().target, b"/")

    def test_target(self) -> None:
        """
        It is 414 where the target is what is too long.
        """
        self.assertEqual(
            self.refusal(b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"), "request_target_too_long"
        )

    def test_count(self) -> None:
        """
        More fields than allowed are refused.
        """
        self.assertIsNone(self.refusal(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 9 + b"\r\n"))
        self.assertEqual(
            self.refusal(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10 + b"\r\n"), "request_header_too_large"
        )

    def test_trailers(self) -> None:
        """
        Trailers, and chunk extensions, are bounded like a head; and what one request used is not held against the next.
        """
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for endless in (b"0\r\n" + b"X: y\r\n" * 1000, b"5;" + b"x" * 6000):
            data = chunked + endless
            pieces = [data[index : index + 1] for index in range(len(data))]
            self.assertEqual(parse(pieces, head_bound=self.BOUND)["refusal"], "request_header_too_large")
        fine = chunked + b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 200 + b"\r\n"
        data = fine * 3
        for size in (1, 7, 1000):
            pieces = [data[index : index + size] for index in range(0, len(data), size)]
            result = parse(pieces, head_bound=self.BOUND)
            self.assertEqual((result["refusal"], len(result["requests"])), (None, 3))

    def test_hosts(self) -> None:
        """
        The names that clients invent are not all remembered.
        """
        for number in range(2 * plain.HOSTS_BOUND):
            parse([b"GET / HTTP/1.1\r\nHost: h%d\r\n\r\n" % number])
        self.assertLessEqual(len(plain.HOSTS), plain.HOSTS_BOUND)

    def test_tiny_chunks(self) -> None:
        """
        Of chunks of one byte each, whoever takes the body does not hear one by one.
        """
        parser = RequestParser()
        parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        (_, body), *_ = parser.messages
        assert body is not None
        told: list[bytes] = []
        receiver: Any = SimpleNamespace(body_data=told.append, body_end=lambda trailers: None)
        body.start(receiver)
        parser.feed(b"1\r\nx\r\n" * 10_000)
        body.deliver()
        self.assertEqual((b"".join(told), body.received), (b"x" * 10_000, 10_000))
        self.assertLess(len(told), 8)


class EndTests(SynchronousTestCase):
    """
    A parser that was closed, or has refused, is deaf.
    """

    def test_closed(self) -> None:
        """
        Nothing comes of bytes after C{close}, and nothing is kept.
        """
        for before in (b"", GET, UpgradeTests.WEBSOCKET, GET[:10]):
            parser = RequestParser()
            parser.feed(before)
            parser.close()
            parser.feed(GET)
            self.assertEqual((parser.messages, parser.leftover, parser.arriving), ([], b"", None))

    def test_refused(self) -> None:
        """
        Nothing comes of bytes after a refusal; what was refused is known as far as it goes.
        """
        parser = RequestParser()
        parser.feed(b"HEAD /x HTTP/1.1\r\nAccept: text/html\r\n\r\n")
        parser.feed(GET)
        self.assertEqual(parser.messages, [])
        refused = parser.unfinished()
        self.assertEqual((refused.method, refused.target), (b"HEAD", b"/x"))
        self.assertEqual(refused.fields.first(b"accept"), b"text/html")


# What h11 and we are asked, both.

_name = st.sampled_from(
    [b"X-A", b"Accept", b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X A", b""]
)
_value = st.sampled_from(
    [b"a", b"", b"3", b"0", b"chunked", b"close", b"gzip", b"a\tb", b"a\x00b", b"+3", b"a\r\n b", b"\xe4"]
)
_good_field = st.sampled_from(
    [b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X-A:", b"Connection: close", b"Accept:a ", b"X: \xe4"]
)
_field = st.one_of(
    _good_field,
    _good_field,
    _good_field,
    st.tuples(_name, st.sampled_from([b": ", b":", b" : "]), _value).map(b"".join),
)
_line = st.one_of(
    st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"PUT / HTTP/1.0"]),
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"PUT", b"OPTIONS", b"G T", b""]),
        st.sampled_from([b"/", b"/a?b", b"*", b"/a b", b"", b"/\x01"]),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1", b"http/1.1"]),
    ).map(b" ".join),
)
_body = st.sampled_from(
    [b"", b"abc", b"ab", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n", b"0\r\nT: u\r\n\r\n", b"zz\r\n"]
)


@st.composite
def _requests(draw: Any) -> bytes:
    host = draw(st.sampled_from([b"Host: a\r\n"] * 9 + [b""]))
    fields = b"".join(field + b"\r\n" for field in draw(st.lists(_field, max_size=3)))
    return draw(_line) + b"\r\n" + host + fields + b"\r\n" + draw(_body)


def by_h11(data: bytes) -> tuple[str, Any]:
    """
    What h11 makes of one request: C{("refused" | "incomplete" | "complete", (method, target, body))}.
    """
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request: Any = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return "complete", (request.method, request.target, body)
            else:
                return "incomplete", None
    except h11.RemoteProtocolError:
        return "refused", None


class DifferentialTests(SynchronousTestCase):
    """
    h11, which was written from the RFC, and llhttp with us around it, agree on what a request is.

    Where they do not, we are the stricter one.  h11 takes, and we refuse:

      - equal Content-Lengths, and folded lines (both allowed by RFC 9110 and 9112, and both used to smuggle);
      - C{Transfer-Encoding} in HTTP/1.0, or beside C{Content-Length};
      - the target C{*} of any method, and a Host that is no host.

    """

    @staticmethod
    def _stricter(data: bytes) -> bool:
        head = data.partition(b"\r\n\r\n")[0]
        lower = head.lower()
        method, _, rest = head.partition(b" ")
        return (
            lower.count(b"\r\ncontent-length:") > 1
            or b"\r\n " in head
            or (b"transfer-encoding" in lower and (b" http/1.0\r\n" in lower or b"content-length" in lower))
            or (rest.startswith(b"* ") and method != b"OPTIONS")
            or b"host:+3" in lower.replace(b" ", b"")
            or any(
                line.startswith(b"host") and line.partition(b":")[2].strip() in (b"a\tb", b"\xe4", b"+3")
                for line in lower.split(b"\r\n")
            )
        )

    @given(_requests())
    @settings(max_examples=400, deadline=None)
    def test_same(self, data: bytes) -> None:
        """
        The same request is seen, or both refuse.
        """
        kind, theirs = by_h11(data)
        result = parse([data])
        ours = "refused" if result["refusal"] is not None else "incomplete"
        if result["requests"] and not isinstance(result["requests"][0][3], tuple):
            ours = "complete"
        if kind == "complete":
            if ours == "refused" and self._stricter(data):
                return
            self.assertEqual(ours, "complete", data)
            method, target, _, body, _ = result["requests"][0]
            self.assertEqual((method, target, body or b""), theirs)
        elif kind == "refused":
            self.assertEqual(ours, "refused", data)
        else:
            self.assertNotEqual(ours, "complete", data)

    @given(st.binary(max_size=200) | st.lists(_requests(), max_size=3).map(b"".join))
    @settings(max_examples=200, deadline=None)
    def test_any_bytes(self, data: bytes) -> None:
        """
        Whatever comes, there is an answer and no traceback, and the same requests are seen however it was cut.
        """
        run_splits(self, lambda pieces: (facts(pieces)["requests"], facts(pieces)["refusal"] is None), data)


class KnownTests(SynchronousTestCase):
    """
    What is known of a request that is refused stands in the log.
    """

    def known(self, *pieces: bytes) -> tuple[bytes, bytes]:
        parser = RequestParser()
        for piece in pieces:
            parser.feed(piece)
        head = parser.unfinished()
        return head.method, head.target

    def test_line(self) -> None:
        """
        Its method and its target, as far as they have come, whatever was wrong; never what is no method.
        """
        for pieces, expected in (
            ((b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",), (b"GET", b"/a")),
            ((b"GET /a HTTP/1.1\r\n", b"Host: a\r\nX : y\r\n\r\n"), (b"GET", b"/a")),
            ((b"GET /a HTTP/3.0\r\n\r\n",), (b"GET", b"/a")),
            ((b"GET /a HTTP/1.1\r\n\r\n",), (b"GET", b"/a")),
            ((b"GET /a HTTP/1.1\r\nHost: a\r\n",), (b"GET", b"/a")),
            ((b"FROBNICATE /a HTTP/1.1\r\n\r\n",), (b"FROBNICATE", b"/a")),
            ((b"F" * 100 + b" /a HTTP/1.1\r\n\r\n",), (b"F" * 32, b"/a")),
            ((b"nonsense\r\n\r\n",), (b"nonsense", b"-")),
            ((b'\x16\x03\x01"\r\n',), (b"-", b"-")),
            ((b"GE",), (b"-", b"-")),
            ((b"GET /" + b"x" * 40000,), (b"GET", b"/" + b"x" * 40000)),
        ):
            self.assertEqual(self.known(*pieces), expected)
