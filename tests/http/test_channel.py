"""
Tests for L{twistginx.http.channel} and L{twistginx.http.request}: conversations.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import AccumulatingProtocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http.conversation import GET, OK, ConversationTestCase, Stage
from twistginx.http.channel import LINGER
from twistginx.http.frontend import Frontend
from twistginx.http.message import Fields, Reply, ResponseHead
from twistginx.routing.router import Route

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Taker:
    """
    Takes a request's body.
    """

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.trailers = None

    def body_data(self, data: bytes) -> None:
        self.data.append(data)

    def body_end(self, trailers: Fields) -> None:
        assert self.trailers is None
        self.trailers = trailers

    @property
    def all(self) -> bytes:
        return b"".join(self.data)


class KeepAliveTests(ConversationTestCase):
    """
    One connection, several requests.
    """

    def test_two(self) -> None:
        """
        A second request is answered on the connection of the first.
        """
        self.connect(GET)
        self.send(GET)
        self.assertEqual(self.statuses(), [200, 200])
        self.assertIsNone(self.answers()[0].get(b"connection"))
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual([record.sent for record in self.records], [3, 3])

    def test_byte_by_byte(self) -> None:
        """
        It does not matter how the bytes come.
        """
        self.connect()
        data = GET + POST % 3 + b"abc" + CHUNKED + b"1\r\nx\r\n0\r\n\r\n" + GET
        for index in range(len(data)):
            self.send(data[index : index + 1])
        # The stage answers a POST before its body is there, and so the connection ends.
        self.assertEqual(self.statuses(), [200, 200])
        self.assertEqual(self.answers()[1].get(b"connection"), b"close")

    def test_closed_by_client(self) -> None:
        """
        C{Connection: close} is honoured, and said.
        """
        self.connect(GET[:-2] + b"Connection: close\r\n\r\n" + GET)
        self.assertEqual(self.answer().get(b"connection"), b"close")
        self.assertTrue(self.wire.disconnecting)
        self.assertFalse(self.wire.aborted)

    def test_http_1_0(self) -> None:
        """
        HTTP/1.0 is answered once, unless it asked for more; what has no length ends with the connection.
        """
        self.connect(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(self.answer().get(b"connection"), b"close")
        self.assertTrue(self.wire.disconnecting)
        self.lose()
        self.connect(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertEqual(self.answer().get(b"connection"), b"keep-alive")
        self.assertFalse(self.wire.disconnecting)
        self.stage.act = None
        self.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.wire.clear()
        request = self.started()
        request.send(b"abc")
        request.end()
        self.assertEqual(self.answer().get(b"connection"), b"close")
        self.assertIsNone(self.answer().get(b"transfer-encoding"))
        self.assertEqual(self.answer().body, b"abc")
        self.assertTrue(self.wire.disconnecting)

    def test_head(self) -> None:
        """
        A HEAD has the fields of a GET, and no body, whichever way it is answered.
        """
        head = b"HEAD" + GET[3:]
        self.connect(head)
        self.assertEqual((self.answer(b"HEAD").get(b"content-length"), self.answer(b"HEAD").body), (b"3", b""))
        for length in (5, None):
            self.stage.act = None
            self.wire.clear()
            self.send(head)
            request = self.started(length)
            request.send(b"hello")
            request.end()
            self.assertTrue(self.wire.value().endswith(b"\r\n\r\n"))
            self.assertIsNone(self.answer(b"HEAD").get(b"transfer-encoding"))
        self.assertEqual([record.sent for record in self.records], [0, 0, 0])
        self.assertFalse(self.wire.disconnecting)

    def test_bodyless(self) -> None:
        """
        204 and 304 have no body and no framing.
        """
        for status in (204, 304):
            for whole in (True, False):
                self.stage.act = None
                self.connect(GET)
                if whole:
                    self.request().respond(Reply(status, (), b"x"))
                else:
                    self.started(None, status)
                    self.request().send(b"x")
                    self.request().end()
                self.send(GET)
                answer = self.answer()
                self.assertEqual(
                    (answer.status, answer.get(b"content-length"), answer.get(b"transfer-encoding")),
                    (status, None, None),
                )
                self.lose()

    def test_fields_of_ours(self) -> None:
        """
        A response that says its own framing, Date or Server says it once, and cannot lie about it.
        """
        mine = [
            (b"Content-Length", b"7"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Connection", b"close"),
            (b"Date", b"today"),
            (b"Server", b"me"),
        ]
        self.stage.act = lambda request: request.respond(Reply(200, mine, b"abc"))
        self.connect(GET)
        self.stage.act = None
        self.send(GET)
        request = self.request()
        request.start(ResponseHead(200, Fields.of(mine)))
        request.send(b"abc")
        request.end()
        first, second = self.answers()
        self.assertEqual((first.body, second.body), (b"abc", b"abc"))
        self.assertEqual((second.get(b"server"), second.get(b"date")), (b"me", b"today"))
        self.assertIsNone(second.get(b"connection"))

    def test_options_star(self) -> None:
        """
        C{OPTIONS *} is about the server, and answered by it.
        """
        self.connect(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((self.answer().status, self.answer().body), (200, b""))
        self.assertEqual(self.stage.requests, [])


class PipeliningTests(ConversationTestCase):
    """
    Requests that are sent before the answers to those before them.
    """

    def test_order(self) -> None:
        """
        They are answered in order, one at a time, also where the first one takes its time.
        """
        self.stage.act = None
        self.connect(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(3)))
        for number in range(3):
            self.assertEqual(len(self.stage.requests), number + 1)
            self.request().respond(Reply(200, (), self.request().path))
        self.assertEqual([answer.body for answer in self.answers()], [b"/0", b"/1", b"/2"])

    def test_reading_stops(self) -> None:
        """
        While one is answered and another waits, nothing more is read.
        """
        self.stage.act = None
        self.connect(GET)
        self.assertTrue(self.wire.reading)  # so that we hear of a client that leaves
        self.send(GET)
        self.assertFalse(self.wire.reading)
        self.request().respond(OK)
        self.assertTrue(self.wire.reading)
        self.request().respond(OK)

    def test_flood(self) -> None:
        """
        A read full of requests costs no stack, and few of them are held as objects.
        """
        self.stage.act = None
        self.frontend.requests_bound = 10_000
        self.connect(GET * 5000)
        self.assertLess(len(self.channel._parser.messages), 1000)
        self.stage.act = lambda request: request.respond(OK)
        self.request().respond(OK)
        self.assertEqual(len(self.records), 5000)
        self.assertTrue(self.wire.reading)
        self.stage.requests.clear()

    def test_client_does_not_read(self) -> None:
        """
        A client that sends requests and reads no answers is answered no more, and read no more.
        """
        self.connect(GET)
        self.channel.pauseProducing()
        self.send(GET * 100)
        self.assertEqual(len(self.records), 1)
        self.assertFalse(self.wire.reading)
        self.channel.resumeProducing()
        self.assertEqual(len(self.records), 101)
        self.assertTrue(self.wire.reading)

    def test_garbage_behind(self) -> None:
        """
        Garbage behind a request is refused after the request is answered.
        """
        self.stage.act = None
        self.connect(GET + b"\x00\x00")
        self.assertEqual(self.statuses(), [])
        self.request().respond(OK)
        self.assertEqual(self.statuses(), [200, 400])
        self.assertTrue(self.wire.half_closed)

    def test_body_in_one_read(self) -> None:
        """
        Bodies that come with their heads are delivered to the right request.
        """
        taken = []

        def take(request):
            taker = Taker()
            taken.append(taker)
            request.body.start(taker)
            request.respond(OK)

        self.stage.act = take
        self.connect((POST % 3 + b"abc") + CHUNKED + b"2\r\nde\r\n0\r\nT: u\r\n\r\n" + POST % 1 + b"f")
        self.assertEqual([taker.all for taker in taken], [b"abc", b"de", b"f"])
        self.assertEqual(taken[1].trailers, [(b"t", b"T", b"u")])
        self.assertEqual(self.statuses(), [200] * 3)


class BodyTests(ConversationTestCase):
    """
    Request bodies.
    """

    def setUp(self) -> None:
        super().setUp()
        self.taker = Taker()
        self.stage.act = lambda request: request.body.start(self.taker)

    def test_continue(self) -> None:
        """
        C{100 (Continue)} is sent when the body is wanted, once, and not before.
        """
        self.stage.act = None
        self.connect(POST[:-2] % 3 + b"Expect: 100-continue\r\n\r\n")
        self.assertEqual(self.wire.value(), b"")
        self.request().body.start(self.taker)
        self.assertEqual(self.wire.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.request().body.pause()
        self.request().body.resume()
        self.send(b"abc")
        self.request().respond(OK)
        self.assertEqual(self.statuses(), [100, 200])
        self.assertEqual(self.taker.all, b"abc")
        self.assertFalse(self.wire.half_closed)

    def test_continue_is_waited_for(self) -> None:
        """
        A client that waits for us is not late.
        """
        self.stage.act = None
        self.connect(POST[:-2] % 3 + b"Expect: 100-continue\r\n\r\n")
        self.wait(100)
        self.request().body.start(self.taker)
        self.wait(29)
        self.assertEqual(self.statuses(), [100])
        self.wait(2)
        self.assertEqual(self.statuses(), [100, 408])

    def test_continue_refused(self) -> None:
        """
        It is not sent where the answer is no, or the body has come already.
        """
        self.stage.act = lambda request: request.respond(Reply(403))
        self.connect(POST[:-2] % 3 + b"Expect: 100-continue\r\n\r\n")
        self.assertEqual(self.statuses(), [403])
        self.assertEqual(self.answer().get(b"connection"), b"close")
        self.lose()
        self.stage.act = lambda request: (request.body.start(self.taker), request.respond(OK))
        self.connect(POST[:-2] % 3 + b"Expect: 100-continue\r\n\r\nabc")
        self.assertEqual(self.statuses(), [200])
        self.lose()
        self.serve(body_limit=2)
        self.connect(POST[:-2] % 3 + b"Expect: 100-continue\r\n\r\n")
        self.assertEqual(self.statuses(), [413])

    def test_expectation_failed(self) -> None:
        """
        Nothing else can be expected.
        """
        self.connect(POST[:-2] % 3 + b"Expect: much\r\n\r\n")
        self.assertEqual(self.statuses(), [417])

    def test_too_large_by_length(self) -> None:
        """
        A length beyond the limit is refused before anything is rendered.
        """
        self.serve(body_limit=10)
        self.connect(POST % 10)
        self.assertEqual(len(self.stage.requests), 1)
        self.lose()
        self.records.clear()
        self.connect(POST % 11)
        self.assertEqual(len(self.stage.requests), 1)
        self.assertEqual((self.answer().status, self.record.reason), (413, "request_body_too_large"))

    def test_too_large_by_count(self) -> None:
        """
        A chunked body is refused when it has become too large, whether it came at once or in pieces.
        """
        self.serve(body_limit=10)
        chunks = b"6\r\nabcdef\r\n" * 2 + b"0\r\n\r\n"
        for first, second in ((chunks, b""), (b"", chunks), (chunks[:11], chunks[11:])):
            self.connect(CHUNKED + first)
            if second:
                self.send(second)
            self.assertEqual(self.answer().status, 413, first)
            self.lose()

    def test_too_large_when_started(self) -> None:
        """
        When the response has started, the connection is broken.
        """
        self.serve(body_limit=10)
        self.connect(CHUNKED + b"6\r\nabcdef\r\n")
        self.started().send(b"x")
        self.send(b"6\r\nabcdef\r\n")
        self.assertTrue(self.wire.aborted)
        self.assertEqual((self.record.status, self.record.reason), (200, "request_body_too_large"))

    def test_bad_chunk(self) -> None:
        """
        A body that breaks its framing is refused; what was good of it has been delivered.
        """
        for connection in (b"keep-alive", b"close"):
            self.connect(CHUNKED[:-2] + b"Connection: %b\r\n\r\n3\r\nabc\r\n" % connection)
            self.send(b"3\r\ndef\r\nx")
            self.assertEqual(self.answer().status, 400)
            self.assertIsNone(self.taker.trailers)
            self.lose()
        self.assertEqual(self.taker.all, b"abcdef" * 2)

    def test_held(self) -> None:
        """
        What nobody takes is not read: a read's worth is held, and then the client waits.
        """
        self.stage.act = None
        self.connect(POST % 20)
        self.assertTrue(self.wire.reading)
        self.send(b"0123456789")
        self.assertFalse(self.wire.reading)
        self.wait(100)  # it is not the client who is late
        self.request().body.start(self.taker)
        self.assertEqual(self.taker.all, b"0123456789")
        self.assertTrue(self.wire.reading)

    def test_pause(self) -> None:
        """
        A receiver that pauses has the client wait, and resumes without a loss.
        """
        self.connect(POST % 6)
        body = self.request().body
        body.pause()
        self.send(b"abc")
        self.assertEqual((self.taker.all, self.wire.reading), (b"", False))
        body.resume()
        self.assertEqual((self.taker.all, self.wire.reading), (b"abc", True))
        body.pause()
        self.send(b"def")
        self.assertIsNone(self.taker.trailers)
        body.resume()
        self.assertEqual((self.taker.all, self.taker.trailers), (b"abcdef", []))
        self.wait(100)  # the body is whole: nobody is late
        self.request().respond(OK)
        self.assertEqual(self.statuses(), [200])
        self.assertFalse(self.wire.half_closed)

    def test_receiver_resumes_inside(self) -> None:
        """
        A receiver may pause and resume while it is given data: the order stays, and the stack small.
        """
        request_body = []

        class Blinking(Taker):
            def body_data(self, data: bytes) -> None:
                request_body[0].pause()
                request_body[0].resume()
                super().body_data(data)

        taker = Blinking()
        self.stage.act = lambda request: (request_body.append(request.body), request.body.start(taker))
        digits = [b"%d" % (number % 10) for number in range(3000)]
        self.connect(CHUNKED + b"".join(b"1\r\n%b\r\n" % digit for digit in digits) + b"0\r\n\r\n")
        self.assertEqual(taker.all, b"".join(digits))

    def test_receiver_raises(self) -> None:
        """
        A receiver that fails is our fault, and a 500.
        """

        class Broken(Taker):
            def body_data(self, data: bytes) -> None:
                raise ZeroDivisionError

        self.expected_errors = [ZeroDivisionError]
        self.stage.act = lambda request: request.body.start(Broken())
        self.connect(POST % 3)
        self.send(b"abc")
        self.assertEqual(self.statuses(), [500])

    def test_answered_inside(self) -> None:
        """
        A receiver that answers while it is given data gets no more of it.
        """

        class Enough(Taker):
            def body_data(taker, data: bytes) -> None:  # noqa: N805
                super().body_data(data)
                self.request().respond(Reply(403))

        taker = Enough()
        self.stage.act = lambda request: (request.body.pause(), request.body.start(taker))
        self.connect(CHUNKED + b"1\r\na\r\n")
        self.send(b"1\r\nb\r\n")
        self.request().body.resume()
        self.assertEqual(taker.all, b"a")
        self.assertEqual(self.statuses(), [403])

    def test_collected(self) -> None:
        """
        A resource that is not streaming is rendered when its body is whole, however large.
        """
        self.serve(streaming=False)
        seen = []
        self.stage.act = lambda request: (seen.append(request.content.read()), request.respond(OK))
        for size in (0, 1, 99_999, 100_001, 300_000):
            body = b"x" * size
            self.connect(POST % size + body[:10])
            self.send(body[10:50_000]) if body[10:] else None
            self.send(body[50_000:]) if body[50_000:] else None
            self.lose()
            self.connect(CHUNKED)
            self.send(b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n")
            self.lose()
        self.assertEqual([len(each) for each in seen], [0, 0, 1, 1, 99_999, 99_999, 100_001, 100_001, 300_000, 300_000])


class LingerTests(ConversationTestCase):
    """
    A client that is answered before it has sent everything is given the time to read the answer.
    """

    def answered_early(self) -> None:
        self.stage.act = lambda request: request.respond(Reply(401))
        self.connect(POST % 100 + b"x")

    def test_lingers(self) -> None:
        """
        Our side is closed, what still comes is dropped, and after a while the connection is cut.
        """
        self.answered_early()
        self.assertEqual(self.answer().get(b"connection"), b"close")
        self.assertTrue(self.wire.half_closed)
        self.assertFalse(self.wire.disconnecting)
        self.assertTrue(self.wire.reading)
        self.send(b"x" * 1000)
        self.send(GET)
        self.wait(LINGER - 1)
        self.assertFalse(self.wire.aborted)
        self.wait(2)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(len(self.records), 1)

    def test_client_leaves(self) -> None:
        """
        A client that closes is what we were waiting for.
        """
        self.answered_early()
        self.lose()
        self.assertEqual(self.record.status, 401)

    def test_drained(self) -> None:
        """
        Draining changes nothing about it.
        """
        self.answered_early()
        self.channel.drain()
        self.assertFalse(self.wire.disconnecting)

    def test_reading_goes_on(self) -> None:
        """
        Also where reading had stopped.
        """
        self.stage.act = None
        self.connect(POST % 100 + b"x")
        self.assertFalse(self.wire.reading)
        self.request().respond(OK)
        self.assertTrue(self.wire.reading)

    def test_slow_reader(self) -> None:
        """
        A client that has not read the answer yet has the time of a write.
        """
        self.stage.act = None
        self.connect(POST % 100)
        self.channel.pauseProducing()
        self.request().respond(OK)
        self.wait(LINGER + 1)
        self.assertFalse(self.wire.aborted)
        self.wait(60)
        self.assertTrue(self.wire.aborted)


class RefusalTests(ConversationTestCase):
    """
    What is no request is answered with the right status, and the connection ends.
    """

    def test_statuses(self) -> None:
        """
        Each kind of refusal has its status, a page, and a record.
        """
        self.frontend.head_bound = 1000
        for data, status, word in (
            (b"GET / HTTP/1.1\r\n\r\n", 400, "http_request_error"),
            (b"\x16\x03\x01", 400, "http_request_error"),
            (b"FOO / HTTP/1.1\r\n\r\n", 501, "method_not_implemented"),
            (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
            (b"GET / HTTP/3.0\r\n\r\n", 505, "http_version_not_supported"),
            (GET[:-2] + b"X: " + b"x" * 2000 + b"\r\n\r\n", 431, "request_header_too_large"),
            (GET[:-2] + b"X: " + b"x" * 2000, 431, "request_header_too_large"),
            (b"GET /" + b"x" * 2000, 414, "request_target_too_long"),
        ):
            self.records.clear()
            self.connect(data)
            answer = self.answer()
            self.assertEqual((answer.status, answer.get(b"connection")), (status, b"close"), data)
            self.assertEqual((self.record.status, self.record.reason), (status, word))
            self.assertEqual(
                (answer.get(b"proxy-status") or b"").split(b"; ")[:2], [b"twistginx", b"error=" + word.encode()]
            )
            self.assertTrue(self.wire.half_closed)
            self.send(GET)
            self.assertEqual(len(self.records), 1)
            self.lose()

    def test_head(self) -> None:
        """
        A HEAD that is refused has no body.
        """
        self.connect(b"HEAD / HTTP/1.1\r\n\r\n")
        self.assertEqual((self.answer(b"HEAD").status, self.record.sent), (400, 0))

    def test_accept(self) -> None:
        """
        The page is of the form that the refused head asks for.
        """
        self.connect(b"GET / HTTP/1.1\r\nAccept: application/json\r\n\r\n")
        self.assertEqual(self.answer().get(b"content-type"), b"application/problem+json")

    def test_nobody(self) -> None:
        """
        A name that no site has, and a path that no route has, are 404.
        """
        self.serve(Route("x", self.stage, prefix=b"/x", streaming=True))
        self.connect(GET)
        self.assertEqual(self.record.reason, "destination_not_found")
        self.frontend.default = None
        self.frontend.found.clear()
        self.send(GET)
        self.assertEqual(self.statuses(), [404, 404])


class TimeTests(ConversationTestCase):
    """
    A client has its time, and no more.
    """

    def test_silent(self) -> None:
        """
        A connection without a request is closed without words.
        """
        self.connect()
        self.wait(11)
        self.assertEqual((self.wire.value(), self.wire.disconnecting), (b"", True))
        self.assertEqual(self.records, [])

    def test_slow_head(self) -> None:
        """
        A head that comes byte by byte is 408 after its time, however many bytes came.
        """
        self.connect()
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 100:
            if self.wire.half_closed:
                break
            self.send(bytes([byte]))
            self.wait(1)
        self.assertLess(self.clock.seconds(), 12)
        self.assertEqual(self.statuses(), [408])
        self.assertIn(b"timeouts.header = 10s", self.answer().body)

    def test_slow_second_head(self) -> None:
        """
        A later head has its time from its first byte on.
        """
        self.connect(GET)
        self.wait(50)
        self.send(GET[:5])
        self.wait(9)
        self.assertEqual(len(self.answers()), 1)
        self.send(GET[5:8])
        self.wait(2)
        self.assertEqual(self.statuses(), [200, 408])

    def test_head_begins_behind(self) -> None:
        """
        So has one that began in the read of the request before.
        """
        self.connect(GET + GET[:5])
        self.wait(11)
        self.assertEqual(self.statuses(), [200, 408])

    def test_keep_alive(self) -> None:
        """
        An idle connection is closed after its time; empty lines do not prolong it.
        """
        self.connect(GET)
        self.wait(55)
        self.assertFalse(self.wire.disconnecting)
        self.send(b"\r\n")
        self.wait(6)
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.statuses(), [200])

    def test_slow_body(self) -> None:
        """
        A body has its time between two reads.
        """
        self.frontend.min_rate = 0
        self.serve(streaming=False)
        self.connect(POST % 10)
        for _ in range(3):
            self.wait(29)
            self.send(b"x")
        self.wait(29)
        self.assertEqual(self.statuses(), [])
        self.wait(2)
        self.assertEqual(self.statuses(), [408])
        self.assertEqual(self.record.reason, "request_body_timeout")
        self.assertEqual(self.stage.requests, [])

    def test_slow_resource(self) -> None:
        """
        A resource may take its time.
        """
        self.stage.act = None
        self.connect(GET)
        self.wait(1000)
        self.request().respond(OK)
        self.assertEqual(self.statuses(), [200])
        self.wait(59)
        self.assertFalse(self.wire.disconnecting)
        self.wait(2)
        self.assertTrue(self.wire.disconnecting)

    def test_write_stall(self) -> None:
        """
        A client that takes nothing of its answer is thrown out, and whoever produces it told so.
        """
        gone = []
        self.stage.act = None
        self.connect(GET)
        request = self.started()
        request.watcher = Watcher(gone)
        request.send(b"x")
        self.channel.pauseProducing()
        self.wait(59)
        self.assertEqual(gone, [])
        self.wait(2)
        self.assertEqual([error.reason.word for error in gone], ["response_write_timeout"])
        self.assertTrue(self.wire.aborted)
        self.assertEqual((self.record.status, self.record.reason), (200, "response_write_timeout"))
        request.send(b"y")
        request.end()
        self.assertEqual(len(self.records), 1)

    def test_slow_reader(self) -> None:
        """
        One that takes something now and then is not.
        """
        self.frontend.min_rate = 0
        self.stage.act = None
        self.connect(GET)
        self.started().send(b"x")
        left = [1000]
        self.wire.unsent = lambda: left[0]
        self.channel.pauseProducing()
        for _ in range(5):
            self.wait(50)
            left[0] -= 1
        self.assertFalse(self.wire.aborted)
        self.wait(150)
        self.assertTrue(self.wire.aborted)

    def test_resumed(self) -> None:
        """
        A client that reads again has no deadline any more.
        """
        self.stage.act = None
        self.connect(GET)
        self.started().send(b"x")
        self.channel.pauseProducing()
        self.wait(50)
        self.channel.resumeProducing()
        self.wait(100)
        self.assertFalse(self.wire.aborted)

    def test_unread_end(self) -> None:
        """
        An answer that is complete and not read yet has the time of a write, not that of an idle connection; and then
        the connection is idle.
        """
        self.set_timeouts(write=100.0)
        self.stage.act = None
        self.connect(GET)
        self.channel.pauseProducing()
        self.request().respond(OK)
        self.wait(90)
        self.assertFalse(self.wire.disconnecting)
        self.channel.resumeProducing()
        self.wait(59)
        self.assertFalse(self.wire.disconnecting)
        self.wait(2)
        self.assertTrue(self.wire.disconnecting)
        self.assertFalse(self.wire.aborted)

    def test_never_read_end(self) -> None:
        """
        One that is never read is cut.
        """
        self.stage.act = None
        self.connect(GET)
        self.channel.pauseProducing()
        self.request().respond(OK)
        self.wait(61)
        self.assertTrue(self.wire.aborted)

    def test_closing(self) -> None:
        """
        A connection that was closed and whose last bytes nobody takes is cut.
        """
        self.connect(b"GET / HTTP/1.0\r\n\r\n")
        self.send(GET * 1000)
        self.assertEqual(self.channel._parser.messages, [])
        self.wait(61)
        self.assertTrue(self.wire.aborted)


class Watcher:
    """
    Hears that the client is gone.
    """

    def __init__(self, gone: list) -> None:
        self.client_gone = gone.append


class ClientGoneTests(ConversationTestCase):
    """
    The client leaves: whoever works for it is told once, it is recorded as 499, and nothing is sent any more.
    """

    def setUp(self) -> None:
        super().setUp()
        self.gone: list = []

        def watch(request):
            request.watcher = Watcher(self.gone)

        self.stage.act = watch

    def assert_gone(self, status: int) -> None:
        sent = self.wire.value()
        self.lose()
        self.assertEqual([error.reason.word for error in self.gone], ["client_disconnected"])
        self.assertEqual((self.record.status, self.record.reason), (status, "client_disconnected"))
        request = self.request()
        request.send(b"x")
        request.end()
        request.respond(OK)
        request.start(ResponseHead(200, Fields()))
        request.inform(103, Fields())
        request.fail(self.gone[0])
        self.assertEqual(self.wire.value(), sent)
        self.assertEqual((len(self.gone), len(self.records)), (1, 1))

    def test_waiting(self) -> None:
        """
        While it waits for the answer.
        """
        self.connect(GET)
        self.assert_gone(499)

    def test_uploading(self) -> None:
        """
        While it sends.
        """
        self.connect(POST % 10 + b"x")
        self.request().body.start(Taker())
        self.assert_gone(499)

    def test_downloading(self) -> None:
        """
        While it receives.
        """
        self.connect(GET)
        self.started(10).send(b"x")
        self.assert_gone(200)
        self.assertEqual(self.record.sent, 1)

    def test_watcher_fails(self) -> None:
        """
        A watcher that answers, fails or raises in turn changes nothing.
        """
        for act in ("respond", "fail", "raise"):
            self.records.clear()

            class Bad:
                def client_gone(bad, error, act=act):  # noqa: N805
                    if act == "respond":
                        self.request().respond(OK)
                    elif act == "fail":
                        self.request().fail(error)
                    else:
                        raise ZeroDivisionError

            self.stage.act = lambda request: setattr(request, "watcher", Bad())
            self.connect(GET)
            self.lose()
            self.assertEqual((self.wire.value(), self.record.status), (b"", 499))
        self.expected_errors = [ZeroDivisionError]

    def test_answered(self) -> None:
        """
        Nobody is told who has answered.
        """
        self.connect(GET)
        self.request().respond(OK)
        self.lose()
        self.assertEqual((self.gone, self.record.status), ([], 200))

    def test_log_fails(self) -> None:
        """
        A log that fails costs nothing but its line.
        """

        def fail(request, record):
            self._log(request, record)
            raise ZeroDivisionError

        self.frontend.log = fail
        self.expected_errors = [ZeroDivisionError] * 2
        self.stage.act = lambda request: request.respond(OK)
        self.connect(GET)
        self.send(GET)
        self.assertEqual(self.statuses(), [200, 200])


class FlowTests(ConversationTestCase):
    """
    Back-pressure from the client to whoever produces.
    """

    def test_source(self) -> None:
        """
        The source is paused while the client does not read.
        """
        calls = []

        class Source:
            def pauseProducing(self):
                calls.append("pause")

            def resumeProducing(self):
                calls.append("resume")

        self.stage.act = None
        self.connect(GET)
        self.request().source = Source()
        self.started().send(b"x")
        self.channel.pauseProducing()
        self.assertFalse(self.channel.writable)
        self.channel.resumeProducing()
        self.assertEqual(calls, ["pause", "resume"])
        self.request().end()
        self.channel.pauseProducing()
        self.channel.resumeProducing()
        self.assertEqual(calls, ["pause", "resume"])

    def test_pieces_leave_together(self) -> None:
        """
        A head that is followed by its body leaves with it.
        """
        writes = []
        self.stage.act = None
        self.connect(GET)
        self.wire.write = writes.append
        self.request().start(ResponseHead(200, Fields()), more=True)
        self.assertEqual(writes, [])
        self.request().send(b"x")
        self.request().end()
        self.assertEqual(len(writes), 2)
        self.send(GET)
        self.request().start(ResponseHead(200, Fields()), more=True)
        self.request().flush()
        self.assertEqual(len(writes), 3)

    def test_large(self) -> None:
        """
        Large pieces are whole.
        """
        self.stage.act = None
        self.connect(GET * 3)
        body = bytes(range(256)) * 400
        self.request().respond(Reply(200, (), body))
        for length in (len(body), None):
            self.started(length).send(body)
            self.request().end()
        self.assertEqual([answer.body for answer in self.answers()], [body] * 3)


class TakeOverTests(ConversationTestCase):
    """
    Upgrades.
    """

    WEBSOCKET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    def upgraded(self, rest: bytes = b""):
        """
        A connection that has changed its protocol.
        """
        self.stage.act = None
        self.connect(self.WEBSOCKET + rest)
        request = self.request()
        self.assertEqual(request.head.upgrade, b"websocket")
        request.start(ResponseHead(101, Fields.of([(b"Upgrade", b"websocket")])))
        tunnel = AccumulatingProtocol()
        request.take_over(tunnel)
        return tunnel

    def test_take_over(self) -> None:
        """
        The new protocol has the transport, and every byte that followed.
        """
        tunnel = self.upgraded(b"early")
        self.assertEqual((self.answer().status, self.answer().get(b"connection")), (101, b"upgrade"))
        self.assertEqual(tunnel.data, b"early")
        self.send(b" late")
        self.assertEqual(tunnel.data, b"early late")
        self.assertIsNone(self.wire.producer)
        self.assertEqual((self.record.status, self.record.reason), (101, ""))
        self.assertEqual(len(self.ticker), 0)
        self.lose()
        self.assertTrue(tunnel.closed)
        self.assertEqual(len(self.records), 1)

    def test_counted(self) -> None:
        """
        The listener knows of it, whatever has taken over: it is waited for, cut in the end, and forgotten when it ends.
        """
        tunnel = self.upgraded()
        self.assertEqual(len(self.listener.connections), 1)
        (guest,) = self.listener.connections
        guest.drain()
        self.assertFalse(self.wire.disconnecting)
        self.assertIs(guest.transport, tunnel.transport)
        self.lose()
        self.assertTrue(tunnel.closed)
        self.assertEqual(self.listener.connections, set())

    def test_reading_goes_on(self) -> None:
        """
        Also where so much had followed that reading had stopped.
        """
        self.stage.act = None
        self.connect(self.WEBSOCKET)
        self.send(b"x" * 70000)
        self.assertFalse(self.wire.reading)
        self.started(None, 101).take_over(AccumulatingProtocol())
        self.assertTrue(self.wire.reading)
        self.assertEqual(len(self.wire.protocol.data), 70000)

    def test_refused(self) -> None:
        """
        After an upgrade that was not to be, what followed is HTTP.
        """
        self.connect(GET + self.WEBSOCKET + GET + self.WEBSOCKET + GET)
        self.assertEqual(self.statuses(), [200] * 5)
        self.assertTrue(self.wire.reading)

    def test_pipelined(self) -> None:
        """
        An upgrade behind another request waits for its turn, with the bytes behind it.
        """
        self.stage.act = None
        self.connect(GET + self.WEBSOCKET + b"early")
        self.request().respond(OK)
        tunnel = AccumulatingProtocol()
        self.started(None, 101).take_over(tunnel)
        self.assertEqual(tunnel.data, b"early")

    def test_twisted_websocket(self) -> None:
        """
        Twisted's WebSocketResource takes the connection in its own way, and writes the 101 itself.
        """
        tunnel = AccumulatingProtocol()
        self.stage.act = lambda request: (
            request.channel._protocolUpgradeForWebsockets(tunnel),
            tunnel.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        )
        self.connect(self.WEBSOCKET)
        self.send(b"frame")
        self.assertEqual(tunnel.data, b"frame")
        self.assertEqual((self.answer().status, self.record.status), (101, 101))
        (guest,) = self.listener.connections
        codes = []
        tunnel.loseConnection = codes.append
        guest.drain()
        self.assertEqual(codes, [1001])

    def test_taken_away(self) -> None:
        """
        Autobahn's WebSocketResource helps itself to the transport, and leaves None: it is counted, asked to end, and
        forgotten like any other.
        """
        tunnel: Any = AccumulatingProtocol()
        codes: list[int] = []
        tunnel.sendCloseFrame = codes.append

        class Autobahn(Resource):
            isLeaf = True

            def render(self, request: Any) -> Any:
                transport, request.channel.transport = request.channel.transport, None
                transport.protocol = tunnel
                tunnel.makeConnection(transport)
                tunnel.dataReceived(b"GET")
                transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                return NOT_DONE_YET

        self.serve(Route("app", Autobahn()))
        self.connect(self.WEBSOCKET + b" early")
        self.send(b" late")
        self.assertEqual(tunnel.data, b"GET early late")
        self.assertEqual((tunnel.made, self.record.status, len(self.ticker)), (1, 101, 0))
        (guest,) = self.listener.connections
        guest.drain()
        self.assertEqual(codes, [1001])
        self.lose()
        self.assertTrue(tunnel.closed)

    def test_fault_of_an_app(self) -> None:
        """
        An app that cannot be asked to end is logged, and keeps nobody else from ending.
        """
        tunnel = AccumulatingProtocol()
        self.stage.act = lambda request: request.channel._protocolUpgradeForWebsockets(tunnel)
        self.connect(self.WEBSOCKET)
        (guest,) = self.listener.connections
        guest.drain()
        self.expected_errors = [AttributeError]

    def test_not_asked_for(self) -> None:
        """
        A client that did not ask gets no 101.
        """
        self.stage.act = None
        self.connect(GET)
        self.started(None, 101)
        self.assertEqual((self.answer().status, self.record.reason), (502, "http_upgrade_failed"))

    def test_not_taken_over(self) -> None:
        """
        A 101 that nobody takes over is broken off.
        """
        self.stage.act = None
        self.connect(self.WEBSOCKET)
        self.started(None, 101).end()
        self.assertTrue(self.wire.aborted)


class DrainTests(ConversationTestCase):
    """
    A connection ends when its current work is done.
    """

    def test_doing(self) -> None:
        """
        It can say what it is doing, without what is in a query.
        """
        self.stage.act = None
        self.connect()
        self.assertEqual(self.channel.doing, "in no request")
        self.send(b"GET /slow?token=secret HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.channel.doing, "in GET /slow")
        self.request().respond(OK)

    def test_idle(self) -> None:
        """
        At once when there is none.
        """
        self.connect(GET)
        self.channel.drain()
        self.channel.drain()
        self.assertTrue(self.wire.disconnecting)
        self.send(GET)
        self.assertEqual(self.statuses(), [200])

    def test_parting(self) -> None:
        """
        Where there is time, a connection that rests may ask once more, and is told then; it has no longer than that.
        """
        self.connect(GET)
        self.channel.listener.parting = 1.0
        self.channel.drain()
        self.assertFalse(self.wire.disconnecting)
        self.send(GET)
        self.assertEqual(self.statuses(), [200, 200])
        self.assertTrue(self.wire.disconnecting)

    def test_parting_in_silence(self) -> None:
        """
        A connection that goes on resting is closed; so is one that was accepted, and has asked nothing.
        """
        for data in (GET, b""):
            self.connect(data)
            self.channel.listener.parting = 1.0
            self.channel.drain()
            self.clock.pump([0.5] * 5)
            self.assertTrue(self.wire.disconnecting)
            self.lose()

    def test_busy(self) -> None:
        """
        The request that is being answered is, and the client told.
        """
        self.stage.act = None
        self.connect(POST % 3)
        self.channel.drain()
        self.assertFalse(self.wire.disconnecting)
        taker = Taker()
        self.request().body.start(taker)
        self.send(b"abc")
        self.assertEqual(taker.all, b"abc")
        self.request().respond(OK)
        self.assertEqual(self.answer().get(b"connection"), b"close")
        self.assertTrue(self.wire.disconnecting)

    def test_reloaded_to_a_stream(self) -> None:
        """
        When HTTP is not spoken here any more, the next request finds the connection closed.
        """
        self.connect(GET)
        self.listener.frontend = object()
        self.send(GET)
        self.assertEqual(self.statuses(), [200])
        self.assertTrue(self.wire.disconnecting)

    def test_reload(self) -> None:
        """
        A connection that is kept takes the live frontend at its next request; a request keeps its own.
        """
        self.stage.act = None
        self.connect(GET)
        old = self.request()
        new = Stage(lambda request: request.respond(Reply(200, (), b"new")))
        later: list = []
        self.listener.frontend = Frontend(
            self.ticker, log=lambda request, record: (self._log(request, record), later.append(record))
        )
        stage, self.stage = self.stage, new
        self.serve()
        self.frontend.default, self.listener.frontend.default = None, self.frontend.default
        self.stage = stage
        old.respond(OK)
        self.send(GET)
        self.assertEqual([answer.body for answer in self.answers()], [b"ok\n", b"new"])
        self.assertEqual((len(self.records), len(later)), (2, 1))
        self.listener.frontend.default = None
        self.listener.frontend.found.clear()
        new.requests.clear()
