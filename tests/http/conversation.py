"""
A client's connection to the real channel, in memory.
"""

from __future__ import annotations

import gc
import os
import re
import weakref
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twistginx.http.channel import Channel
from twistginx.http.frontend import Frontend
from twistginx.http.message import Record, Reply, RequestHead, ResponseHead
from twistginx.interfaces import IStreaming
from twistginx.net.timers import Ticker
from twistginx.routing.router import Route, Site

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = Reply(200, [(b"Content-Type", b"text/plain")], b"ok\n")


class Wire(StringTransport):
    """
    A transport that remembers how it ended.
    """

    aborted = False
    half_closed = False

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    @property
    def reading(self) -> bool:
        return self.producerState == "producing"


class Listener:
    """
    What a channel knows of its listener.
    """

    def __init__(self, frontend: Frontend) -> None:
        self.frontend = frontend
        self.connections: set[Any] = set()
        self.parting = 0.0


@implementer(IStreaming)
class Stage(Resource):
    """
    Does with a request what the test says, and remembers it.
    """

    isLeaf = True

    def __init__(self, act: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.act = act
        self.requests: list[Any] = []

    def render(self, request: Any) -> int:
        self.requests.append(request)
        if self.act is not None:
            self.act(request)
        return NOT_DONE_YET


class Answer:
    """
    One response, as a client reads it.
    """

    def __init__(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body

    def get(self, name: bytes) -> bytes | None:
        """
        The one value of a field, or None.
        """
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None


def answers(data: bytes, methods: tuple[bytes, ...] = ()) -> list[Answer]:
    """
    Parse what a server has sent, plainly and strictly, so that no parser of ours is needed to test ours.

    @param methods: of the requests, where they matter: a HEAD has no body.
    """
    result = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, head
        line, *lines = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 (\d\d\d) [^\r\n]*", line)
        assert match, line
        status = int(match[1])
        fields = [tuple(each.split(b": ", 1)) for each in lines]
        names = [name.lower() for name, _ in fields]
        assert not (b"content-length" in names and b"transfer-encoding" in names), fields
        for name in (b"content-length", b"date", b"server", b"connection", b"transfer-encoding"):
            assert names.count(name) <= 1, fields
        answer = Answer(status, fields, b"")
        final = [each for each in result if each.status >= 200 or each.status == 101]
        method = methods[len(final)] if len(final) < len(methods) else b"GET"
        if status < 200 or status in (204, 304) or method == b"HEAD":
            pass
        elif answer.get(b"transfer-encoding") == b"chunked":
            while True:
                size, separator, data = data.partition(b"\r\n")
                assert separator, "a chunk is missing"
                if size == b"0":
                    trailers, _, data = (b"\r\n" + data).partition(b"\r\n\r\n")
                    answer.fields.extend(tuple(each.split(b": ", 1)) for each in trailers.split(b"\r\n") if each)
                    break
                count = int(size, 16)
                answer.body += data[:count]
                assert data[count : count + 2] == b"\r\n"
                data = data[count + 2 :]
        elif answer.get(b"content-length") is not None:
            count = int(answer.get(b"content-length") or b"")
            assert len(data) >= count, "the body is not whole"
            answer.body, data = data[:count], data[count:]
        else:
            answer.body, data = data, b""
        result.append(answer)
    return result


class ConversationTestCase(SynchronousTestCase):
    """
    Runs conversations, and holds that each of them leaves nothing behind.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock)
        self.stage = Stage(lambda request: request.respond(OK))
        self.records: list[Record] = []
        self.alive: list[Any] = []
        self.frontend = Frontend(self.ticker, log=self._log)
        self.listener = Listener(self.frontend)
        self.descriptors = len(os.listdir("/proc/self/fd"))
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.serve()

    def serve(self, *routes: Route, **settings: Any) -> None:
        """
        Serve C{routes}; without any, the stage, with C{settings} of its route.
        """
        if not routes:
            routes = (Route("stage", self.stage, **{"streaming": True, **settings}),)
        self.frontend.found.clear()
        self.frontend.default = Site("test", routes, self.clock)

    def set_timeouts(self, **seconds: float) -> None:
        self.frontend.timeouts = evolve(self.frontend.timeouts, **seconds)

    def _log(self, request: Any, record: Record) -> None:
        self.records.append(record)
        self.alive.append(weakref.ref(request))

    def connect(self, data: bytes = b"", address: Any = None) -> Wire:
        """
        A new connection, C{self.channel}, that has sent C{data}; C{self.wire}.
        """
        self.wire = wire = Wire()
        self.channel = channel = Channel(self.listener, address or IPv4Address("TCP", "192.0.2.1", 1234))
        self.alive.append(weakref.ref(channel))
        wire.protocol = channel
        channel.makeConnection(wire)
        if data:
            channel.dataReceived(data)
        return wire

    def send(self, data: bytes) -> None:
        self.wire.protocol.dataReceived(data)

    def lose(self) -> None:
        """
        The client is gone.
        """
        # As Twisted's transports do: the producer hears of it, the protocol too, and both are let go.
        wire = self.wire
        producer, wire.producer = wire.producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, wire.protocol = wire.protocol, None
        protocol.connectionLost(Failure(ConnectionDone()))

    def wait(self, seconds: float) -> None:
        """
        Time passes, tick by tick.
        """
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)

    def answers(self, *methods: bytes) -> list[Answer]:
        return answers(self.wire.value(), methods)

    def answer(self, *methods: bytes) -> Answer:
        """
        The one response there is.
        """
        (answer,) = self.answers(*methods)
        return answer

    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers()]

    def request(self) -> Any:
        """
        The request on the stage.
        """
        return self.stage.requests[-1]

    @property
    def record(self) -> Record:
        (record,) = self.records
        return record

    def started(self, length: int | None = None, status: int = 200) -> Any:
        """
        The request on the stage, whose response has started.
        """
        request = self.request()
        request.start(ResponseHead(status, type(request.fields)(), length=length))
        return request

    def tearDown(self) -> None:
        """
        When all is over, nothing is left: no deadline, no timer, no connection, no descriptor, no object, and not even
        a cycle for the collector.
        """
        if self.alive and self.wire.protocol is not None:
            self.lose()
        self.assertEqual(len(self.ticker), 0)
        self.assertEqual(self.listener.connections, set())
        self.clock.advance(0)  # a turn that was waited for
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.flushed = [failure.type for failure in self.flushLoggedErrors()]
        self.assertEqual(self.flushed, self.expected_errors)
        self.wire = self.channel = None
        self.stage.requests.clear()
        self.frontend.default = None
        self.frontend.found.clear()
        self.assertEqual([each() for each in self.alive if each() is not None], [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.descriptors)

    #: Types of the errors that a test has logged.
    expected_errors: list[type] = []


__all__ = ["GET", "OK", "Answer", "ConversationTestCase", "RequestHead", "Stage", "Wire", "answers"]
