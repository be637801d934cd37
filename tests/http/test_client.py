"""
Tests for twistginx.http.client and twistginx.http.upload.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import ProxyError
from twistginx.http.client import ClientConnection, Patience
from twistginx.http.message import Fields, ResponseHead
from twistginx.http.upload import Upload
from twistginx.net.timers import NEVER, Ticker

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = Patience(10.0, 5.0, "first_byte = 10s", "idle = 5s")


class Owner:
    """
    Keeps what is free.
    """

    def __init__(self) -> None:
        self.free: list[ClientConnection] = []
        self.gone: list[bool] = []

    def connection_free(self, connection: ClientConnection) -> None:
        self.free.append(connection)

    def connection_gone(self, connection: ClientConnection, by_server: bool) -> None:
        self.gone.append(by_server)


class Receiver:
    """
    Writes down what it is told.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []

    def response_informational(self, head: ResponseHead) -> None:
        self.events.append(head.status)

    def response_head(self, head: ResponseHead, more: bool) -> None:
        self.events.append(head.status)

    def response_data(self, data: bytes) -> None:
        self.events.append(data)

    def response_end(self, trailers: Fields | None) -> None:
        self.events.append("end")

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        self.response_head(head, True)
        if body:
            self.response_data(body)
        self.response_end(None)

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        self.events.append(("upgraded", rest))

    def response_failed(self, error: ProxyError) -> None:
        self.events.append(error)

    @property
    def word(self) -> str:
        """
        The failure that ended it.
        """
        return self.events[-1].reason.word


class Body:
    """
    A body that a test delivers.
    """

    def __init__(self, *ready: bytes) -> None:
        self.ready = ready
        self.paused = False
        self.receiver: Any = None

    def start(self, receiver: Any) -> None:
        self.receiver = receiver
        for piece in self.ready:
            receiver.body_data(piece)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Transport(StringTransport):
    """
    A StringTransport that knows an abort from a close.
    """

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True


class ConnectionCase(SynchronousTestCase):
    """
    A connection on a memory transport.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock)
        self.owner = Owner()
        self.connection = ClientConnection(self.ticker, self.owner, "peer")
        self.transport = Transport()
        self.connection.makeConnection(self.transport)
        self.receiver = Receiver()

    def send(self, **more: Any) -> None:
        """
        Send a request.
        """
        self.connection.send(HEAD, self.receiver, PATIENCE, **more)

    def lose(self, why: Exception | None = None) -> None:
        """
        The server closes the connection.
        """
        self.connection.connectionLost(Failure(why or ConnectionDone()))

    def advance(self, seconds: float) -> None:
        """
        Time passes.
        """
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)


class ClientConnectionTests(ConnectionCase):
    """
    Requests go out one at a time, and their responses come back.
    """

    def test_one_request(self) -> None:
        """
        A response is told, and the connection is free before its end is.
        """
        self.receiver.response_end = lambda trailers: self.receiver.events.append(len(self.owner.free))  # type: ignore[method-assign]
        self.send()
        self.assertEqual(self.transport.value(), HEAD)
        self.connection.dataReceived(OK)
        self.assertEqual(self.receiver.events, [200, b"ok", 1])

    def test_next_request_within_the_end(self) -> None:
        """
        Whoever hears of the end may send the next request at once.
        """
        second = Receiver()
        self.receiver.response_end = lambda trailers: self.connection.send(HEAD, second, PATIENCE)  # type: ignore[method-assign]
        self.send()
        self.connection.dataReceived(OK)
        self.connection.dataReceived(OK)
        self.assertEqual(second.events, [200, b"ok", "end"])
        self.assertEqual(self.connection.served, 2)

    def test_not_reusable(self) -> None:
        """
        Where the server is done with the connection, it is closed, not kept.
        """
        self.send()
        self.connection.dataReceived(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertEqual(self.receiver.events[-1], "end")
        self.assertEqual(self.owner.free, [])
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)
        self.lose()
        self.assertEqual(self.receiver.events, [200, b"ok", "end"])
        self.assertEqual(len(self.ticker), 0)

    def test_until_close(self) -> None:
        """
        The orderly end of the connection ends an unframed body; a reset breaks it.
        """
        for why, last in ((ConnectionDone(), "end"), (ConnectionLost(), "http_response_incomplete")):
            self.setUp()
            self.send()
            self.connection.dataReceived(b"HTTP/1.1 200 OK\r\n\r\nabc")
            self.lose(why)
            self.assertEqual(self.receiver.events[:2], [200, b"abc"])
            self.assertEqual(last if last == "end" else self.receiver.word, last)

    def test_failures(self) -> None:
        """
        No answer, half an answer and garbage each have their word, and are told once.
        """
        for data, word in (
            (b"", "connection_terminated"),
            (b"HTTP/1.1 2", "http_response_incomplete"),
            (OK[:-1], "http_response_incomplete"),
            (b"SSH-2.0-OpenSSH\r\n", "http_protocol_error"),
        ):
            self.setUp()
            self.send()
            if data:
                self.connection.dataReceived(data)
            self.lose()
            self.assertEqual(self.receiver.word, word)
            self.assertEqual(sum(isinstance(event, ProxyError) for event in self.receiver.events), 1)
            self.assertEqual(self.owner.free, [])

    def test_garbage_breaks_the_connection(self) -> None:
        """
        After garbage there is nothing to wait for.
        """
        self.send()
        self.connection.dataReceived(b"garbage\r\n")
        self.assertTrue(self.transport.aborted)

    def test_abort(self) -> None:
        """
        An aborted request's receiver hears no more, not even of the end of the connection.
        """
        self.send()
        self.connection.dataReceived(OK[:-1])
        self.connection.abort()
        self.assertTrue(self.transport.aborted)
        self.connection.dataReceived(b"k")
        self.lose()
        self.assertEqual(self.receiver.events, [200, b"o"])

    def test_abort_while_told(self) -> None:
        """
        A receiver may abort while it is told something.
        """
        self.receiver.response_head = lambda head, more: self.connection.abort()  # type: ignore[method-assign]
        self.send()
        self.connection.dataReceived(OK[:-1])
        self.assertEqual(self.receiver.events, [])
        self.assertEqual(self.owner.free, [])

    def test_broken_receiver(self) -> None:
        """
        A receiver that raises has its response failed as our own fault.
        """

        def broken(data: bytes) -> None:
            raise RuntimeError("receiver")

        self.receiver.response_data = broken  # type: ignore[method-assign]
        self.send()
        self.connection.dataReceived(OK)
        self.assertEqual(self.receiver.word, "proxy_internal_error")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_unasked_bytes(self) -> None:
        """
        Bytes on a connection at rest end it; they would be taken for the next answer.
        """
        self.send()
        self.connection.dataReceived(OK)
        self.connection.dataReceived(OK)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.owner.gone, [False])
        self.lose()
        self.assertEqual(self.owner.gone, [False])

    def test_closed_at_rest(self) -> None:
        """
        The owner hears that the server closed a connection at rest.
        """
        self.send()
        self.connection.dataReceived(OK)
        self.lose()
        self.assertEqual(self.owner.gone, [True])

    def test_rest_ends(self) -> None:
        """
        When its deadline passes, a connection at rest is closed cleanly, and cut if the server does not take that.
        """
        self.send()
        self.connection.dataReceived(OK)
        self.connection.deadline = self.ticker.now + 2
        self.advance(3)
        self.assertEqual(self.owner.gone, [False])
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)
        self.advance(6)
        self.assertTrue(self.transport.aborted)

    def test_pause(self) -> None:
        """
        A paused response is not read, and nobody is blamed for it; when it is whole the connection reads again.
        """
        self.send()
        self.connection.dataReceived(OK[:-1])
        self.connection.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.advance(100)
        self.assertEqual(self.receiver.events, [200, b"o"])
        self.connection.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")
        self.connection.pauseProducing()
        self.connection.dataReceived(b"k")
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(len(self.owner.free), 1)

    def test_paused_within_the_last_bytes(self) -> None:
        """
        A pause that comes with the last bytes does not outlive the response.
        """
        self.receiver.response_data = lambda data: self.connection.pauseProducing()  # type: ignore[method-assign]
        self.send()
        self.connection.dataReceived(OK)
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(len(self.owner.free), 1)

    def test_head_request(self) -> None:
        """
        The answer to HEAD ends at its head, and the connection goes on.
        """
        for _ in range(2):
            self.send(bodiless=True)
            self.connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        self.assertEqual(self.receiver.events, [200, "end", 200, "end"])
        self.assertEqual(len(self.owner.free), 2)


class TimeTests(ConnectionCase):
    """
    Timeouts measure progress, and say which setting they are.
    """

    def test_first_byte(self) -> None:
        """
        No head in time is a timeout, even if its bytes trickle.
        """
        self.send()
        self.connection.dataReceived(b"HTTP/1.1 ")
        self.advance(9)
        self.connection.dataReceived(b"200")
        self.assertEqual(self.receiver.events, [])
        self.advance(1.5)
        self.assertEqual(self.receiver.word, "http_response_timeout")
        self.assertEqual(self.receiver.events[-1].setting, "first_byte = 10s")
        self.assertTrue(self.transport.aborted)

    def test_processing(self) -> None:
        """
        102 (Processing) gives the server more time.
        """
        self.send()
        for _ in range(4):
            self.advance(8)
            self.connection.dataReceived(b"HTTP/1.1 102 Processing\r\n\r\n")
        self.connection.dataReceived(OK)
        self.assertEqual(self.receiver.events[-1], "end")

    def test_idle(self) -> None:
        """
        A body may take any time in all, but no more than so long between two reads.
        """
        self.send()
        self.connection.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10):
            self.advance(4)
            self.connection.dataReceived(b"x")
        self.advance(6)
        self.assertEqual(self.receiver.word, "connection_read_timeout")
        self.assertEqual(self.receiver.events[-1].setting, "idle = 5s")

    def test_event_stream(self) -> None:
        """
        Silence in a stream of events is no fault.
        """
        self.send()
        self.connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        self.advance(600)
        self.connection.dataReceived(b"data: x\n\n")
        self.assertEqual(self.receiver.events, [200, b"data: x\n\n"])


class UploadTests(ConnectionCase):
    """
    The body of a request goes out as it arrives.
    """

    def upload(self, *ready: bytes, chunked: bool = False, filters: tuple[Any, ...] = ()) -> Body:
        """
        Send a request with a body.
        """
        body = Body(*ready)
        self.send(upload=Upload(body, chunked, filters))
        return body

    def test_known_length(self) -> None:
        """
        A body of known length is passed on as it is; what was there already leaves together with the head.
        """
        writes: list[bytes] = []
        self.transport.write = writes.append  # type: ignore[method-assign]
        body = self.upload(b"hel")
        self.assertEqual(writes, [HEAD + b"hel"])
        body.receiver.body_data(b"lo")
        body.receiver.body_end(Fields())
        self.assertEqual(writes[1:], [b"lo"])

    def test_nothing_there_yet(self) -> None:
        """
        The head does not wait for the body.
        """
        self.upload()
        self.assertEqual(self.transport.value(), HEAD)

    def test_chunked(self) -> None:
        """
        A body of unknown length is framed anew, with its trailers, but for those that would be dangerous.
        """
        body = self.upload(b"ab", chunked=True)
        body.receiver.body_data(b"c" * 20000)
        body.receiver.body_end(Fields.of([(b"X-Sum", b"1"), (b"Host", b"evil"), (b"X-Forwarded-For", b"evil")]))
        self.assertEqual(
            self.transport.value(), HEAD + b"2\r\nab\r\n4e20\r\n" + b"c" * 20000 + b"\r\n0\r\nX-Sum: 1\r\n\r\n"
        )

    def test_empty_chunked(self) -> None:
        """
        A chunked body without bytes is sent as one.
        """
        self.upload(chunked=True).receiver.body_end(Fields())
        self.assertEqual(self.transport.value(), HEAD + b"0\r\n\r\n")

    def test_filters(self) -> None:
        """
        Filters see the body in order, and their last words are framed too.
        """

        class Filter:
            def __init__(self, mark: bytes) -> None:
                self.mark = mark

            def feed(self, data: bytes) -> bytes:
                return data.replace(b"a", b"a" + self.mark)

            def finish(self) -> bytes:
                return b"a"

        body = self.upload(b"a", chunked=True, filters=(Filter(b"1"), Filter(b"2")))
        body.receiver.body_end(Fields())
        self.assertEqual(self.transport.value(), HEAD + b"3\r\na21\r\n3\r\na2a\r\n0\r\n\r\n")

    def test_back_pressure(self) -> None:
        """
        A server that does not read stops the body, and only for so long.
        """
        body = self.upload(b"x")
        self.transport.producer.pauseProducing()
        self.assertTrue(body.paused)
        self.advance(4)
        self.transport.producer.resumeProducing()
        self.assertFalse(body.paused)
        self.advance(100)
        self.assertEqual(self.receiver.events, [], "the client is slow, which is not the server's fault")
        self.transport.producer.pauseProducing()
        self.advance(6)
        self.assertEqual(self.receiver.word, "connection_write_timeout")
        self.assertFalse(body.paused, "the rest of the body was not drained")

    def test_first_byte_from_the_end(self) -> None:
        """
        The time for the answer begins with the end of the request.
        """
        body = self.upload(b"x")
        self.advance(100)
        body.receiver.body_end(Fields())
        self.advance(9)
        self.assertEqual(self.receiver.events, [])
        self.advance(2)
        self.assertEqual(self.receiver.word, "http_response_timeout")

    def test_both_ways_at_once(self) -> None:
        """
        A server may answer while it still reads: the body goes on.
        """
        body = self.upload(b"a", chunked=True)
        self.transport.clear()
        self.connection.dataReceived(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        body.receiver.body_data(b"b")
        self.connection.dataReceived(b"1\r\nb\r\n")
        body.receiver.body_end(Fields())
        self.assertEqual(self.transport.value(), b"1\r\nb\r\n0\r\n\r\n")
        self.connection.dataReceived(b"0\r\n\r\n")
        self.assertEqual(self.receiver.events, [200, b"a", b"b", "end"])
        self.assertEqual(len(self.owner.free), 1)

    def test_early_answer(self) -> None:
        """
        A complete answer to half a request is passed on; the rest is not sent, and the connection not used again.
        """
        body = self.upload(b"a", chunked=True)
        self.transport.producer.pauseProducing()
        self.transport.clear()
        self.connection.dataReceived(OK)
        self.assertEqual(self.receiver.events, [200, b"ok", "end"])
        self.assertFalse(body.paused)
        body.receiver.body_data(b"b")
        body.receiver.body_end(Fields())
        self.assertEqual(self.transport.value(), b"")
        self.assertIsNone(self.transport.producer)
        self.assertEqual(self.owner.free, [])
        self.assertTrue(self.transport.disconnecting)

    def test_abort(self) -> None:
        """
        An aborted request takes no more of its body.
        """
        body = self.upload(b"a")
        self.connection.abort()
        self.transport.clear()
        body.receiver.body_data(b"b")
        self.assertEqual(self.transport.value(), b"")


class UpgradeTests(ConnectionCase):
    """
    A change of protocol that was asked for ends HTTP.
    """

    SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"

    def test_upgraded(self) -> None:
        """
        The receiver has the connection, and what followed; no clock runs.
        """
        self.send(upgrade=b"foo, websocket")
        self.connection.dataReceived(self.SWITCH + b"\x81")
        self.assertEqual(self.receiver.events, [("upgraded", b"\x81")])
        self.assertEqual(len(self.ticker), 0)
        self.assertFalse(self.transport.disconnecting)

    def test_not_asked_for(self) -> None:
        """
        A 101 that nobody asked for, or to something else, is a failure.
        """
        for upgrade in (None, b"foo"):
            self.setUp()
            self.send(upgrade=upgrade)
            self.connection.dataReceived(self.SWITCH)
            self.assertEqual(self.receiver.word, "http_upgrade_failed")
            self.assertTrue(self.transport.aborted)

    def test_declined(self) -> None:
        """
        An ordinary answer to an upgrade is passed on, and the connection kept.
        """
        self.send(upgrade=b"websocket")
        self.connection.dataReceived(OK)
        self.assertEqual(self.receiver.events, [200, b"ok", "end"])
        self.assertEqual(len(self.owner.free), 1)


class AloneTests(SynchronousTestCase):
    """
    A connection works without an owner.
    """

    def test_closed_after_one(self) -> None:
        """
        It is closed after its response.
        """
        ticker = Ticker(Clock())
        connection = ClientConnection(ticker)
        transport = Transport()
        connection.makeConnection(transport)
        receiver = Receiver()
        connection.send(HEAD, receiver, PATIENCE)
        self.assertNotEqual(connection.deadline, NEVER)
        connection.dataReceived(OK)
        self.assertEqual(receiver.events[-1], "end")
        self.assertTrue(transport.disconnecting)
