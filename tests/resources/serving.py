"""
A resource behind the real channel, in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.web.http import _ChunkedTransferDecoder

from twistginx.http.channel import Channel
from twistginx.http.frontend import Frontend
from twistginx.interfaces import IStreaming
from twistginx.net.timers import Ticker
from twistginx.routing.router import Route, Site


@define(eq=False)
class Context:
    """
    What a module is given to build with.
    """

    base: Path = field(factory=Path.cwd)
    reactor: Any = field(factory=MemoryReactorClock)
    kept: dict[Any, Any] = field(factory=dict)
    ticker: Ticker = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ticker = Ticker(self.reactor)

    def keep(self, key, factory):
        if key not in self.kept:
            self.kept[key] = factory()
        return self.kept[key]


class Transport(StringTransportWithDisconnection):
    """
    A transport that can be broken, and that can refuse to take more.

    :ivar aborted: it was broken, not closed.
    :ivar room: bytes that the client takes before the producer is paused; None: any number.
    """

    aborted = False
    room: int | None = None

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.room is not None and self.producer is not None and len(self.value()) > self.room:
            self.producer.pauseProducing()

    def writeSequence(self, pieces) -> None:
        self.write(b"".join(pieces))


class Answer:
    """
    One response, taken apart.
    """

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        self.status = int(line.split(b" ")[1])
        self.fields = [tuple(each.split(b": ", 1)) for each in lines]
        if self[b"Transfer-Encoding"] == b"chunked" and self.body:
            decoded: list[bytes] = []
            decoder = _ChunkedTransferDecoder(decoded.append, lambda rest: None)
            decoder.dataReceived(self.body)
            decoder.noMoreData()
            self.body = b"".join(decoded)

    def __getitem__(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name!r} was sent {len(values)} times"
        return values[0] if values else None

    def every(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Served:
    """
    A site of one route.
    """

    def __init__(self, resource: Any, context: Context, **route: Any) -> None:
        self.context = context
        self.connections: set[Any] = set()
        self.records: list[Any] = []
        self.transport = Transport()
        self.site = Site("test", (), context.reactor)
        self.route(resource, **route)

    def route(self, resource: Any, **route: Any) -> None:
        """
        Serve another resource from now on.
        """
        made = Route("test", resource, streaming=IStreaming.providedBy(resource), **route)
        self.site = Site("test", (made,), self.context.reactor)
        self.frontend = Frontend(self.context.ticker, default=self.site, log=self._log)

    def connect(self) -> Transport:
        """
        A connection of a client.
        """
        address = IPv4Address("TCP", "192.0.2.7", 54321)
        self.transport = Transport(hostAddress=IPv4Address("TCP", "127.0.0.1", 80), peerAddress=address)
        channel = Channel(self, address)
        self.transport.protocol = channel
        channel.makeConnection(self.transport)
        return self.transport

    def send(self, target: bytes, method: bytes = b"GET", body: bytes = b"", **fields: bytes) -> bytes:
        """
        What comes back for one request, on a connection of its own.  ``if_match=b"*"`` sends ``if-match: *``.
        """
        transport = self.connect()
        lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: example.com:8080"]
        lines += [name.replace("_", "-").encode() + b": " + value for name, value in fields.items()]
        if body:
            lines.append(b"Content-Length: %d" % len(body))
        transport.protocol.dataReceived(b"\r\n".join([*lines, b"", body]))
        return transport.value()

    def get(self, target: bytes, method: bytes = b"GET", body: bytes = b"", **fields: bytes) -> Answer:
        """
        The same, taken apart; the connection is closed.
        """
        answer = Answer(self.send(target, method, body, **fields))
        if self.transport.connected:
            self.transport.loseConnection()
        return answer

    def _log(self, request, record):
        self.records.append(record)
