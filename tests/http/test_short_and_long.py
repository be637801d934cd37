"""
The short way and the long way agree over whole connections: tests of twistginx.http.plain, stencil and the parsers.

What a connection remembers of the message before must not decide what the next one is.  So each stream here is one of
messages that differ from the one before in a value, a name, a line or a cut, among them all that must not be believed.
"""

from __future__ import annotations

import gc
from random import Random
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.http.smuggling.oracle import proxied
from tests.http.smuggling.test_smuggling import comparable
from tests.http.test_plain import GET, Told
from twistginx.errors import ProxyError
from twistginx.http import parser as parser_module
from twistginx.http import response_parser as response_module
from twistginx.http.parser import RequestParser
from twistginx.http.plain import plain_request
from twistginx.http.response_parser import ResponseParser

#: How many streams; a few milliseconds for each ten.
STREAMS = 1500

_PLAIN_VALUES = (b"", b" 1", b" 2", b" longer", b"3", b" a=b; c=d", b" x ", b"  y")

#: Values, from the colon on, some of which are more than a value.
_VALUES = (
    *_PLAIN_VALUES,
    *(b" a.example", b"A.EXAMPLE", b"a.example\t", b" b.example", b" a b", b" keep-alive", b"close", b"Keep-Alive"),
    *(b"x, close", b" Upgrade", b"X-A", b"0", b" 3", b"03", b"+3", b" chunked", b" trailers", b"100-continue"),
    *(b"websocket", b"h2c", b"\xe9\xff", b"a\tb", b"\ta", b"a\t", b"a\0", b"a\x7f", b"a\x01", b"a\rb", b"a\nb", b"\r"),
    *(b"a\r\n b", b"a\r\nHost: b.example", b"a\r\nContent-Length: 3", b"a\r\nConnection: close", b"a\r\n\r\n"),
    *(b"a\r\n", b"a\r\nTransfer-Encoding: chunked", b"x" * 50, b'"q"', b"a:b", b":", b"a\r\nX_A: b", b"\r\n", b"\n"),
)
_NAMES = (
    *(b"Host", b"host", b"HOST", b"Connection", b"connection", b"Content-Length", b"Transfer-Encoding", b"TE"),
    *(b"Expect", b"Upgrade", b"Cookie", b"X-A", b"x-a", b"X_A", b"X.A", b"If-None-Match", b"Range", b"Authorization"),
    *(b"User-Agent", b"Proxy-Connection", b"Proxy-X", b"Keep-Alive", b"Forwarded", b"X-Forwarded-For", b"Want-Digest"),
    *(b"X-Request-ID", b"Trailer", b"HTTP2-Settings", b"", b"X A", b"Host ", b" Host", b"Hos", b"Hostx", b"If-x"),
)
_USUAL = (b"Cookie", b"Accept", b"X-A", b"X-B", b"If-None-Match", b"User-Agent", b"Referer", b"Authorization")
_STARTS = (
    *(b"GET /a?b=c HTTP/1.1", b"HEAD /x HTTP/1.1", b"OPTIONS * HTTP/1.1", b"DELETE /x HTTP/1.1", b"POST / HTTP/1.1"),
    *(
        b"GET / HTTP/1.0",
        b"GET /#f HTTP/1.1",
        b"GET http://b.example/ HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
    ),
    *(b"GET /\xe9 HTTP/1.1", b"GET /\\ HTTP/1.1", b"GET /\rx HTTP/1.1", b"GET /\nx HTTP/1.1", b"GET /\tx HTTP/1.1"),
    *(b"GET /x\0 HTTP/1.1", b'GET /{}|^`"<> HTTP/1.1', b"TRACE / HTTP/1.1", b"GET / HTTP/1.2", b"get / HTTP/1.1"),
    *(b"GET", b"", b"GET /", b"GET / http/1.1", b"GET /\x7f HTTP/1.1", b"\r\nGET / HTTP/1.1"),
)

_ANSWER_NAMES = (
    *(b"Content-Length", b"content-length", b"Connection", b"Date", b"Server", b"ETag", b"Set-Cookie", b"X-A"),
    *(b"Content-Type", b"Transfer-Encoding", b"TE", b"Trailer", b"Keep-Alive", b"Proxy-X", b"Proxy-Connection"),
    *(b"X-Request-ID", b"Upgrade", b"X_A", b"", b"X A", b"Content-Length ", b" X"),
)
_ANSWER_VALUES = (
    *_PLAIN_VALUES,
    *(b" keep-alive", b" close", b" X-A", b" chunked", b" text/event-stream", b" text/html", b" \xe9", b" a\tb"),
    *(b" a\0", b" a\rb", b" a\nb", b" a\r\n b", b" a\r\nContent-Length: 1", b" a\r\n", b" a\r\n\r\n", b"\r\nX: y"),
    *(b" %d", b" 2", b" 10", b" 0"),
)
_STATUS_LINES = (
    *(b"HTTP/1.1 404 Not Found", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.0 200 OK"),
    *(b"HTTP/1.1 200 Fine", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 200", b"HTTP/1.1 200 O\0K", b"HTTP/1.1  200 OK"),
)
_BODIES = (b"", b"a", b"ok", b"0123456789", b"0123456789abc", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n", b"1\r\n\r\n" * 30)

Lines = list[tuple[bytes, bytes]]


def _section(lines: Lines) -> bytes:
    return b"".join([b"%b:%b\r\n" % line for line in lines]) + b"\r\n"


def _changed(random: Random, lines: Lines, names: tuple[bytes, ...], values: tuple[bytes, ...]) -> Lines:
    """
    ``lines`` with a change or two, or none.
    """
    lines = list(lines)
    for _ in range(random.choice((0, 1, 1, 1, 2))):
        how = random.randrange(8)
        at = random.randrange(len(lines)) if lines else 0
        if how == 5 or not lines:
            lines.insert(at, (random.choice(names), random.choice(values)))
        elif how <= 2:
            lines[at] = lines[at][0], random.choice(_PLAIN_VALUES)
        elif how == 3:
            lines[at] = lines[at][0], random.choice(values)
        elif how == 4:
            lines[at] = random.choice(names), random.choice(values)
        elif how == 6:
            del lines[at]
        else:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
    return lines


def request_reads(random: Random) -> list[bytes]:
    """
    What a client sends, read by read: mostly a request in each.
    """
    lines = [(b"Host", b" a.example")]
    lines += [(random.choice(_USUAL), random.choice(_PLAIN_VALUES)) for _ in range(random.randrange(5))]
    if random.random() < 0.4:
        lines.append((b"Connection", random.choice((b" keep-alive", b" close", b" Keep-Alive"))))
    random.shuffle(lines)
    reads = []
    for _ in range(random.randrange(2, 8)):
        start = random.choice(_STARTS) if random.random() < 0.2 else b"GET / HTTP/1.1"
        reads.append(b"%b\r\n%b" % (start, _section(lines)))
        lines = _changed(random, lines, _NAMES, _VALUES)
    if random.random() < 0.5:
        at = random.randrange(len(reads))
        if random.random() < 0.5:
            cut = random.randrange(len(reads[at]) + 1)
            reads[at : at + 1] = [reads[at][:cut], reads[at][cut:]]
        elif at:
            reads[at - 1 : at + 1] = [reads[at - 1] + reads[at]]
        if random.random() < 0.2:
            reads.insert(at, random.choice((b"\r\n", b"\r", b"\n", b"x")))
    return [read for read in reads if read]


def requests(reads: list[bytes], takes: bool) -> Any:
    """
    What a parser makes of ``reads``, as plain values.

    :param takes: whoever owns the parser takes each request at once.
    """
    parser = RequestParser(2000, 12)
    made: list[Any] = []
    for data in reads:
        parser.feed(data)
        while takes and (parser.messages or parser.leftover or parser.suspended):
            if parser.messages:
                made += parser.messages
                parser.messages.clear()
            else:
                parser.resume()
    made += parser.messages
    told = [
        (
            *(head.method, head.target, head.version, head.host, head.path, head.query, head.length, head.keep_alive),
            *(head.upgrade, head.expects_continue, list(head.fields), head.doubtful),
            None if body is None else (body.length, body.complete, body.received),
        )
        for head, body in made
    ]
    refusal = parser.refusal.reason.word if parser.refusal is not None else None
    return told, refusal, parser.in_head, parser.leftover


def answer_reads(random: Random) -> list[list[bytes]]:
    """
    What a server says, answer by answer, each in the pieces that are read of it; not all are whole.
    """
    lines = [(b"Date", b" 1"), (b"ETag", b" a")][: random.randrange(3)]
    lines.append((b"Content-Length", b" %d"))
    lines += [(b"Set-Cookie", b" s"), (b"Server", b" x")][: random.randrange(3)]
    for line in ((b"Connection", b" keep-alive"), (b"Content-Type", b" text/html")):
        if random.random() < 0.3:
            lines.insert(random.randrange(len(lines) + 1), line)
    answers = []
    for _ in range(random.randrange(2, 7)):
        body = random.choice(_BODIES)
        start = random.choice(_STATUS_LINES) if random.random() < 0.1 else b"HTTP/1.1 200 OK"
        data = b"%b\r\n%b%b" % (start, _section(lines).replace(b"%d", b"%d" % len(body)), body)
        if random.random() < 0.1:
            data += random.choice((b"x", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        chance = random.random()
        # Many a cut is near the end of the head, where what is missing is not much.
        cut = random.randrange(len(data) + 1) if chance < 0.25 else max(0, data.find(b"\r\n\r\n") - random.randrange(6))
        if chance < 0.1:
            answers.append([data[:cut]])
        elif chance < 0.5:
            answers.append([data[:cut], data[cut:]])
        else:
            answers.append([data])
        lines = _changed(random, lines, _ANSWER_NAMES, _ANSWER_VALUES)
    return [[piece for piece in pieces if piece] for pieces in answers]


def answers(said: list[list[bytes]]) -> Any:
    """
    What a parser makes of ``said``, as plain values.
    """
    parser = ResponseParser()
    made: list[Any] = []
    for pieces in said:
        told: Any = Told()
        parser.expect(told)
        complete = False
        try:
            for piece in pieces:
                if complete:
                    return [*made, "bytes behind"]
                complete = parser.feed(piece)
        except ProxyError as error:
            return [*made, str(error)]
        if complete and parser.body is not None:
            told.response_whole(parser.head, parser.body)
        elif complete and parser.upgrade is None:
            told.response_end(parser.trailers)
        body = b"".join([event for event in told.events if isinstance(event, bytes)])
        others = [event for event in told.events if not isinstance(event, bytes)]
        made.append((others, body, complete, parser.reusable, parser.upgrade))
        if not (complete and parser.reusable):
            break
    return made


class StreamTests(SynchronousTestCase):
    """
    One message after the other.
    """

    def test_requests(self) -> None:
        """
        Requests are the same by both ways, and many of them have taken the short one.
        """
        short = 0

        def counted(*arguments: Any) -> Any:
            nonlocal short
            head = plain_request(*arguments)
            short += head is not None
            return head

        requests([GET], True)
        for seed in range(STREAMS):
            reads = request_reads(Random(seed))
            with mock.patch.object(parser_module, "plain_request", lambda *_: None):
                long_way = requests(reads, bool(seed % 3))
            with mock.patch.object(parser_module, "plain_request", counted):
                self.assertEqual(requests(reads, bool(seed % 3)), long_way, (seed, reads))
        self.assertGreater(short, STREAMS)

    def test_what_is_sent_on(self) -> None:
        """
        An upstream server is sent the same requests, whichever way they have come.
        """
        requests([GET], True)
        streams = [request_reads(Random(seed)) for seed in range(60)]
        streams.append([GET, GET.replace(b"Host: a", b"Host:A"), GET.replace(b"Host: a", b"Host: \tA")])
        for reads in streams:
            short = proxied(reads, answers=False)
            with (
                mock.patch.object(parser_module, "plain_request", lambda *_: None),
                mock.patch.object(response_module, "plain_response", lambda *_: None),
            ):
                long_way = proxied(reads, answers=False)
            self.assertEqual(comparable(short.requests), comparable(long_way.requests), reads)
            self.assertEqual((short.ended, short.pending), (long_way.ended, long_way.pending), reads)

    def test_what_is_known_of_a_section(self) -> None:
        """
        What a section is said to have is what would be found in it.
        """
        requests([GET], True)
        known = 0
        for seed in range(STREAMS // 3):
            last = None
            for data in request_reads(Random(seed)):
                head = plain_request(data, 2000, 12, last) if data.endswith(b"\r\n\r\n") else None
                if head is None or head.section is None:
                    continue
                last = head.section
                again = plain_request(data, 2000, 12, None)
                assert again is not None and again.section is not None, (seed, data)
                self.assertEqual(
                    (head.marks, head.host, head.keep_alive, last.connection, last.without_connection()),
                    (
                        *(again.marks, again.host, again.keep_alive),
                        *(again.section.connection, again.section.without_connection()),
                    ),
                    (seed, data),
                )
                known += last.stencil is not None
        self.assertGreater(known, 100)

    def test_answers(self) -> None:
        """
        Answers are the same by both ways.
        """
        for seed in range(STREAMS):
            said = answer_reads(Random(seed))
            with mock.patch.object(response_module, "plain_response", lambda *_: None):
                long_way = answers(said)
            self.assertEqual(answers(said), long_way, (seed, said))

    def test_a_length_that_is_cut(self) -> None:
        """
        Half of a length is no length: where a read ends within it, the answer has not ended.
        """
        whole = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 10\r\n\r\n0123456789"
        for cut in range(1, len(whole)):
            made = answers([[whole], [whole[:cut], whole[cut:]], [whole]])
            self.assertEqual([each[1:4] for each in made], [(b"0123456789", True, True)] * 3, whole[:cut])

    def test_proxy_connection_of_a_server(self) -> None:
        """
        An answer with ``Proxy-Connection`` is not the last of its connection; to llhttp it would be.
        """
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        for value in (b"close", b"upgrade"):
            said = b"HTTP/1.1 200 OK\r\nProxy-Connection: %b\r\nContent-Length: 2\r\n\r\nok" % value
            made = answers([[said], [chunked], [said[:30], said[30:]], [chunked]])
            self.assertEqual([each[1:4] for each in made], [(b"ok", True, True)] * 4, value)

    def test_behind_the_last(self) -> None:
        """
        Nothing is read behind a request that says that it is the last, whichever way came before.
        """
        last = GET.replace(b"User-Agent: x y", b"Connection: close")
        for before in ([], [GET], [GET[:9], GET[9:]], [b"\r\n"]):
            parser = RequestParser(2000, 20)
            for data in (*before, last, GET):
                parser.feed(data)
            self.assertFalse(parser.messages[-1][0].keep_alive)
            self.assertEqual(len(parser.messages), 1 + (b"".join(before) == GET))
            self.assertIsNone(parser.refusal)

    def test_proxy_connection(self) -> None:
        """
        ``Proxy-Connection`` says nothing to us: llhttp would take it for Connection.
        """
        asked = b"GET / HTTP/1.1\r\nHost: a.example\r\nProxy-Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        parser = RequestParser(2000, 20)
        parser.feed(asked)
        self.assertEqual([head.upgrade for head, _ in parser.messages], [None])
        self.assertFalse(parser.suspended)

    def test_no_cycle(self) -> None:
        """
        What a connection remembers goes with it, without the collector.
        """
        requests([GET], True)
        lines = b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: %d\r\n\r\n"
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        last = None
        for number in range(5):
            head = plain_request(lines % number, 2000, 12, last)
            assert head is not None and head.section is not None
            last = head.section
        assert last is not None and last.stencil is not None
        head = last = None
        self.assertEqual(gc.collect(), 0)
