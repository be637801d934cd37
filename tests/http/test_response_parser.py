"""
Tests for twistginx.http.response_parser.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import ProxyError
from twistginx.http.message import Fields, ResponseHead
from twistginx.http.response_parser import HEAD_BOUND, ResponseParser, announced_linger

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Heard:
    """
    Writes down what it is told; pieces of a body are joined.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []

    def response_informational(self, head: ResponseHead) -> None:
        self.events.append((head.status, _pairs(head.fields)))

    def response_head(self, head: ResponseHead, more: bool) -> None:
        self.events.append((head.status, head.phrase, _pairs(head.fields), head.length, head.close))

    def response_data(self, data: bytes) -> None:
        assert data
        if isinstance(self.events[-1], bytes):
            data = self.events.pop() + data
        self.events.append(data)

    def response_end(self, trailers: Fields | None) -> None:
        self.events.append(_pairs(trailers or Fields()))

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        self.response_head(head, True)
        if body:
            self.response_data(body)
        self.response_end(None)


def end(heard: Heard, parser: ResponseParser) -> None:
    """
    Tell the end, as the connection does.
    """
    if parser.body is None:
        heard.response_end(parser.trailers)
    else:
        assert parser.head is not None
        heard.response_whole(parser.head, parser.body)


def _pairs(fields: Fields) -> list[tuple[bytes, bytes]]:
    for lower, name, _ in fields:
        assert lower == name.lower()
    return [(name, value) for _, name, value in fields]


def conversation(pieces: list[bytes], bodiless: bool = False, eof: bool = True) -> tuple[list[Any], bool]:
    """
    What a receiver hears of one response in these pieces, its end or its failure last; and can the connection go on?
    """
    parser = ResponseParser()
    heard = Heard()
    parser.expect(heard, bodiless)
    try:
        complete = False
        for piece in pieces:
            if complete:
                return heard.events, False  # bytes that nobody asked for: the connection closes
            complete = parser.feed(piece)
            if complete:
                end(heard, parser)
        if not complete and eof:
            parser.eof(True)
            end(heard, parser)
    except ProxyError as error:
        heard.events.append(error.reason.word)
    return heard.events, parser.reusable


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(data) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a != b]


class ResponseParserTests(SynchronousTestCase):
    """
    One response becomes a head, a body and an end, however its bytes are cut.
    """

    def hears(self, data: bytes, *events: Any, reusable: bool = True, bodiless: bool = False) -> None:
        """
        Whole, byte by byte, and cut in two anywhere, ``data`` is heard as ``events``.
        """
        ways = [[data], bytewise(data)] + [[data[:i], data[i:]] for i in range(1, len(data), 1 + len(data) // 100)]
        for pieces in ways:
            heard, can_go_on = conversation(pieces, bodiless)
            self.assertEqual(heard, list(events), pieces)
            self.assertEqual(can_go_on, reusable, pieces)

    def fails(self, data: bytes, word: str, bodiless: bool = False) -> None:
        """
        Whole and byte by byte, ``data`` is a failure of that word; nothing but a fault behind its head lets that pass.
        """
        for pieces in ([data], bytewise(data)):
            heard, _ = conversation(pieces, bodiless)
            self.assertEqual(heard[-1], word, pieces)
            self.assertFalse(any(isinstance(event, list) for event in heard), "an end was heard")

    def test_length(self) -> None:
        """
        A body with a Content-Length ends with its last byte.
        """
        self.hears(OK, (200, b"OK", [(b"Content-Length", b"2")], 2, False), b"ok", [])

    def test_no_body(self) -> None:
        """
        Content-Length: 0 is a response without data.
        """
        self.hears(
            b"HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n",
            (404, b"Nope", [(b"Content-Length", b"0")], 0, False),
            [],
        )

    def test_chunked_with_trailers(self) -> None:
        """
        Chunks are joined, extensions dropped, and trailers come with the end, without those that would be dangerous.
        """
        self.hears(
            CHUNKED + b"2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nX-Sum: 1\r\nAuthorization: 9\r\nX_Forwarded_For: z\r\n\r\n",
            (200, b"OK", [], None, False),
            b"abcde",
            [(b"X-Sum", b"1")],
        )

    def test_until_close(self) -> None:
        """
        Without framing, an orderly end of the connection is the end of the body.
        """
        self.hears(b"HTTP/1.1 200 OK\r\n\r\nabc", (200, b"OK", [], None, False), b"abc", [], reusable=False)

    def test_until_close_broken(self) -> None:
        """
        A reset is no end of a body.
        """
        parser = ResponseParser()
        parser.expect(Heard())
        self.assertFalse(parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc"))
        error = self.assertRaises(ProxyError, parser.eof, False)
        self.assertEqual(error.reason.word, "http_response_incomplete")

    def test_head_has_no_body(self) -> None:
        """
        A response to HEAD ends at its head, whatever the head says.
        """
        for framing, length, reusable in (
            (b"Content-Length: 5\r\n", 5, True),
            (b"Content-Length: 0\r\n", 0, True),
            (b"", None, True),
            (b"Transfer-Encoding: chunked\r\n", None, False),
            (b"Content-Length: 5\r\nConnection: close\r\n", 5, False),
        ):
            heard, can_go_on = conversation([b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"], bodiless=True)
            self.assertEqual([event[0] for event in heard if event], [200])
            self.assertEqual(heard[0][3], length)
            self.assertEqual(heard[-1], [])
            self.assertEqual(can_go_on, reusable, framing)

    def test_body_after_head(self) -> None:
        """
        A server that sends a body after HEAD all the same cannot be asked again on that connection.
        """
        for framing in (b"Content-Length: 5\r\n", b"", b"Transfer-Encoding: chunked\r\n"):
            heard, can_go_on = conversation([b"HTTP/1.1 200 OK\r\n" + framing + b"\r\nhello"], bodiless=True)
            self.assertEqual(len(heard), 2)
            self.assertFalse(can_go_on)

    def test_statuses_without_body(self) -> None:
        """
        204 and 304 have no body; 204 has no length either.
        """
        self.hears(b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", (204, b"No", [], 0, False), [])
        self.hears(
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
            (304, b"Not Modified", [(b"Content-Length", b"3")], 3, False),
            [],
        )

    def test_informational(self) -> None:
        """
        Informational responses, of any status, come before the answer.
        """
        self.hears(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 150 x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK,
            (103, [(b"Link", b"</a>")]),
            (150, []),
            (100, []),
            (200, b"OK", [(b"Content-Length", b"2")], 2, False),
            b"ok",
            [],
        )

    def test_informational_with_body(self) -> None:
        """
        An informational response that says it has a body is a fault.
        """
        self.fails(b"HTTP/1.1 104 x\r\nContent-Length: 3\r\n\r\nabc" + OK, "http_protocol_error")
        self.fails(b"HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n" + OK, "http_protocol_error")

    def test_upgrade(self) -> None:
        """
        A 101 ends HTTP: what follows it is left over, and no head is told.
        """
        data = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\nX: y\r\n\r\n\x81\x00HTTP"
        for size in (1, 3, len(data)):
            parser = ResponseParser()
            heard = Heard()
            parser.expect(heard)
            rest = b""
            for start in range(0, len(data), size):
                if parser.complete:
                    rest += data[start : start + size]
                else:
                    parser.feed(data[start : start + size])
            self.assertTrue(parser.complete)
            self.assertEqual(parser.upgrade, b"websocket")
            self.assertEqual(parser.rest + rest, b"\x81\x00HTTP")
            self.assertEqual(_pairs(parser.head.fields), [(b"X", b"y"), (b"Upgrade", b"websocket")])
            self.assertEqual(heard.events, [])
            self.assertFalse(parser.reusable)

    def test_upgrade_to_nothing(self) -> None:
        """
        A 101 without Upgrade, or without Connection: upgrade, is none.
        """
        self.fails(b"HTTP/1.1 101 x\r\n\r\n", "http_upgrade_failed")
        self.fails(b"HTTP/1.1 101 x\r\nUpgrade: a\r\n\r\n", "http_upgrade_failed")

    def test_hop_by_hop(self) -> None:
        """
        Fields of the connection are taken out, and those that Connection names; all others stay, in order, twice if
        they came twice.
        """
        self.hears(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nKeep-Alive: timeout=5\r\n"
            b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nSet-Cookie: b\r\n"
            b"Proxy-Authenticate: c\r\nUpgrade: h2\r\nTrailer: x\r\nContent-Length: 0\r\n\r\n",
            (
                200,
                b"OK",
                [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Content-Length", b"0")],
                0,
                False,
            ),
            [],
        )

    def test_trailing_tab(self) -> None:
        """
        Whitespace around a value is no part of it.
        """
        self.hears(
            b"HTTP/1.1 200 OK\r\nX: \ty \t\r\nEmpty:\r\nContent-Length: 0\r\n\r\n",
            (200, b"OK", [(b"X", b"y"), (b"Empty", b""), (b"Content-Length", b"0")], 0, False),
            [],
        )

    def test_closing(self) -> None:
        """
        Connection: close, and HTTP/1.0 without keep-alive, end the connection.
        """
        for head, close in (
            (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", True),
            (b"HTTP/1.0 200 OK\r\n", True),
            (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", False),
            (b"HTTP/1.1 200 OK\r\n", False),
        ):
            heard, reusable = conversation([head + b"Content-Length: 0\r\n\r\n"])
            self.assertEqual((heard[0][4], reusable), (close, not close), head)

    def test_excess(self) -> None:
        """
        Bytes behind a response are dropped with the connection, whether they look like another response or not; the
        response itself is whole.
        """
        heads = (
            OK,
            CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 304 x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        )
        for response in heads:
            expected, _ = conversation([response])
            for excess in (b"H", b"x", b"\r\nx", OK, b"HTTP/1.1 200", b"\0"):
                for pieces in ([response + excess], bytewise(response + excess), [response, excess]):
                    heard, reusable = conversation(pieces)
                    self.assertEqual(heard, expected, pieces)
                    self.assertFalse(reusable, pieces)

    def test_empty_line_behind(self) -> None:
        """
        An empty line behind a response, which old servers send, is skipped before the next one.
        """
        parser = ResponseParser()
        for _ in range(2):
            heard = Heard()
            parser.expect(heard)
            self.assertTrue(parser.feed(OK + b"\r\n"))
            self.assertTrue(parser.reusable)
            self.assertEqual(heard.events[-1], b"ok")

    def test_incomplete(self) -> None:
        """
        A response that is cut short says where.
        """
        self.assertEqual(conversation([])[0], ["connection_terminated"])
        self.assertEqual(conversation([b"HTTP/1.1 200 OK\r\nA"])[0], ["http_response_incomplete"])
        self.assertEqual(conversation([OK[:-1]])[0][-1], "http_response_incomplete")
        for end in range(len(CHUNKED), len(CHUNKED) + 11):
            data = (CHUNKED + b"2\r\nab\r\n0\r\n\r\n")[:end]
            self.assertEqual(conversation([data])[0][-1], "http_response_incomplete")

    def test_faults(self) -> None:
        """
        What is no HTTP/1 response, or whose end two readers could place differently, is refused.
        """
        for data in (
            b"garbage\r\n\r\n",
            b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 000 x\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 2000 x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            b"HTTP/1.1 200 OK\nA: b\n\n",
            CHUNKED + b"zz\r\nab\r\n",
            CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
        ):
            self.fails(data, "http_protocol_error")
        for data in (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ):
            self.fails(data, "http_response_transfer_coding")

    def test_fault_beside_the_head(self) -> None:
        """
        A fault in the same bytes as the head is told instead of the head, so that it can still become an error page.
        """
        self.assertEqual(conversation([CHUNKED + b"zz\r\n"])[0], ["http_protocol_error"])

    def test_head_bound(self) -> None:
        """
        A head may have 64 KiB, informational ones included, to the byte, however it is cut; the body is not counted.
        """
        start = b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\nX: "
        room = HEAD_BOUND - len(start) - 4
        body = b"b" * 70000
        for size, word in ((room, None), (room + 1, "http_response_header_section_size")):
            data = start + b"x" * size + b"\r\n\r\n" + body
            for pieces in ([data], [data[:100], data[100:]], [data[:HEAD_BOUND], data[HEAD_BOUND:]]):
                heard, _ = conversation(pieces)
                if word is None:
                    self.assertEqual(heard[1:], [body, []])
                else:
                    self.assertEqual(heard, [word])
        hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3000
        self.assertEqual(conversation([hints + OK])[0][-1], "http_response_header_section_size")

    def test_endless_trailers(self) -> None:
        """
        A trailer section is bounded too, and so is what surrounds chunks.
        """
        trailers = b"".join(b"X-%d: %s\r\n" % (i, b"y" * 100) for i in range(1000))
        heard, _ = conversation([CHUNKED + b"0\r\n" + trailers + b"\r\n"])
        self.assertEqual(heard[-1], "http_response_trailer_section_size")
        heard, _ = conversation([CHUNKED + b"0\r\nX: ", *[b"y" * 10000] * 20])
        self.assertEqual(heard[-1], "http_response_trailer_section_size")
        heard, _ = conversation([CHUNKED + b"1;x=", *[b"y" * 10000] * 20])
        self.assertEqual(heard[-1], "http_response_trailer_section_size")

    def test_endless_extensions(self) -> None:
        """
        Chunks of one byte each, with far more extension than body, are a flood; small chunks are none.
        """
        flood = b"1;" + b"x" * 200 + b"\r\na\r\n"
        heard, _ = conversation([CHUNKED, *[flood * 50] * 20])
        self.assertEqual(heard[-1], "http_response_trailer_section_size")
        heard, _ = conversation([CHUNKED, *[b"1\r\na\r\n" * 50] * 2000, b"0\r\n\r\n"])
        self.assertEqual(heard[1:], [b"a" * 100000, []])

    def test_one_after_the_other(self) -> None:
        """
        The same parser takes response after response, of every kind; nothing of one is left in the next.
        """
        parser = ResponseParser()
        answers = (
            (OK, False),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nKeep-Alive: timeout=7\r\n\r\n", True),
            (b"HTTP/1.1 103 x\r\nLink: a\r\n\r\n" + CHUNKED + b"1\r\na\r\n0\r\nA: b\r\n\r\n", False),
            (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", False),
            (b"HTTP/1.1 204 x\r\n\r\n", False),
            (OK, False),
        )
        for data, bodiless in answers:
            heard = Heard()
            parser.expect(heard, bodiless)
            self.assertTrue(parser.feed(data))
            end(heard, parser)
            self.assertTrue(parser.reusable)
            self.assertEqual(heard.events, conversation([data], bodiless)[0])
        self.assertEqual(parser.linger, 7.0)

    def test_dropped_receiver(self) -> None:
        """
        A receiver that is dropped while it is told something hears no more.
        """
        parser = ResponseParser()
        heard = Heard()
        heard.response_head = lambda head, more: parser.drop()  # type: ignore[method-assign]
        parser.expect(heard)
        parser.feed(OK)
        self.assertEqual(heard.events, [])

    def test_event_stream(self) -> None:
        """
        Streams of events are known by their type.
        """
        for value, expected in ((b"text/event-stream; charset=utf-8", True), (b"text/html", False)):
            parser = ResponseParser()
            parser.expect(Heard())
            parser.feed(b"HTTP/1.1 200 OK\r\nContent-Type: " + value + b"\r\n\r\n")
            self.assertIs(parser.event_stream, expected)

    def test_announced_linger(self) -> None:
        """
        Keep-Alive: timeout=5, max=100 announces five seconds.
        """
        self.assertEqual(announced_linger(b"timeout=5, max=100"), 5.0)
        self.assertEqual(announced_linger(b"max=1, Timeout = 15"), 15.0)
        self.assertIsNone(announced_linger(b"max=100"))
        self.assertIsNone(announced_linger(b"timeout=soon"))


_token = st.text("abcdefgHIJ-", min_size=1, max_size=8).map(str.encode)
_value = st.text("abc XYZ;=,/\t\xe9", max_size=12).map(lambda text: text.encode("latin-1"))
_header = st.tuples(_token.map(lambda name: b"X-" + name), _value)
_body = st.binary(max_size=40)


@st.composite
def responses(draw: Any) -> tuple[bytes, bool]:
    """
    A response, mostly right, and whether it is to HEAD.
    """
    lines = [
        b"HTTP/1."
        + draw(st.sampled_from([b"1", b"1", b"1", b"0"]))
        + b" %d OK" % draw(st.sampled_from([200, 204, 304, 404]))
    ]
    lines += [name + b": " + value for name, value in draw(st.lists(_header, max_size=4))]
    body = draw(_body)
    framing = draw(st.sampled_from(["length", "chunked", "close", "both", "twice"]))
    if framing in ("length", "both", "twice"):
        lines.append(b"Content-Length: %d" % len(body))
    if framing == "twice":
        lines.append(b"Content-Length: %d" % (len(body) + 1))
    if framing in ("chunked", "both"):
        lines.append(b"Transfer-Encoding: chunked")
        places = draw(st.lists(st.integers(0, 40), max_size=3))
        pieces = cut(body, places) if body else []
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    if draw(st.booleans()):
        lines.append(b"Connection: " + draw(st.sampled_from([b"close", b"keep-alive"])))
    data = b"\r\n".join([*lines, b"", b""]) + body
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + 1 :]
    return data, draw(st.sampled_from([False, False, False, True]))


def by_h11(data: bytes, bodiless: bool) -> tuple[int, bytes] | None:
    """
    Status and body as h11 reads them, or None.
    """
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="HEAD" if bodiless else "GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    status = 0
    body = b""
    try:
        connection.receive_data(data)
        ended = False
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    return None
                ended = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif isinstance(event, h11.InformationalResponse):
                continue
            else:
                return None
    except h11.RemoteProtocolError:
        return None


class DifferentialTests(SynchronousTestCase):
    """
    Responses mean what they mean to h11, and the cuts never matter.
    """

    @settings(max_examples=300, deadline=None)
    @given(responses(), st.lists(st.integers(0, 10000), max_size=6))
    def test_same_as_h11(self, response: tuple[bytes, bool], places: list[int]) -> None:
        """
        What we take for a whole response is what h11 takes for the same response; we may be the stricter one.
        """
        data, bodiless = response
        heard, reusable = conversation([data], bodiless)
        again, reusable_again = conversation(cut(data, places), bodiless)
        whole = bool(heard) and isinstance(heard[-1], list)
        self.assertEqual(whole, bool(again) and isinstance(again[-1], list))
        if whole:
            self.assertEqual(again, heard)
            self.assertFalse(reusable_again and not reusable)
            status = heard[-2][0] if isinstance(heard[-2], tuple) else heard[-3][0]
            body = heard[-2] if isinstance(heard[-2], bytes) else b""
            self.assertEqual((status, body), by_h11(data, bodiless))

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.booleans())
    def test_garbage(self, pieces: list[bytes], headed: bool) -> None:
        """
        Any bytes are a response, or one of our errors.
        """
        if headed:
            pieces = [b"HTTP/1.1 200 OK\r\n", *pieces]
        conversation(pieces)
