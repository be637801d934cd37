"""
A wire in memory: two transports that behave as TCP's do, and move bytes only when told.

Unlike ``twisted.test.iosim`` it has back-pressure, half-close and resets, which are what a layer or a relay is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

#: What a transport holds before it pauses its producer.
BUFFER = 2**16


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Transport:
    """
    One end of a wire.

    :ivar writes: every write that was made, as it was made.
    :ivar calls: what was asked of the transport, by name.
    """

    def __init__(self, name: str, address: IPv4Address, peer: IPv4Address) -> None:
        self.name = name
        self.protocol: Any = None
        self.other: Transport
        self.writes: list[bytes] = []
        self.calls: list[str] = []
        self.buffer = bytearray()
        self.producer: Any = None
        self.streaming = False
        self.producer_paused = False
        self.paused = False
        self.connected = True
        self.disconnecting = False
        self.aborting = False
        self.write_closing = self.write_closed = False
        self.read_closed = False
        self._addresses = address, peer

    # ITCPTransport.

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"bytes, not {type(data)}")
        if not self.connected or self.write_closing or self.aborting or not data:
            return
        self.writes.append(data)
        self.buffer += data
        if self.producer is not None and self.streaming and len(self.buffer) > BUFFER:
            self.producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, iovec: list[bytes]) -> None:
        for data in iovec:
            self.write(data)

    def loseConnection(self) -> None:
        self.calls.append("loseConnection")
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.calls.append("abortConnection")
        self.aborting = True
        self.buffer.clear()

    def loseWriteConnection(self) -> None:
        self.calls.append("loseWriteConnection")
        self.write_closing = True

    def getPeer(self) -> IPv4Address:
        return self._addresses[1]

    def getHost(self) -> IPv4Address:
        return self._addresses[0]

    def getTcpNoDelay(self) -> bool:
        return "nodelay" in self.calls

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.calls.append("nodelay")

    def getTcpKeepAlive(self) -> bool:
        return "keepalive" in self.calls

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.calls.append("keepalive")

    # IConsumer, IPushProducer.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("there is a producer")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self.streaming, self.producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        if self.connected and not self.disconnecting:
            self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    # The wire.

    def lost(self, error: Exception) -> None:
        """
        The connection is gone.
        """
        self.connected = False
        if self.producer is not None:
            producer, self.producer = self.producer, None
            producer.stopProducing()
        self.protocol.connectionLost(Failure(error))

    def step(self) -> bool:
        """
        One turn of the reactor for this end: was there anything to do?
        """
        other = self.other
        if not self.connected:
            return False
        if self.aborting:
            self.lost(ConnectionAborted())
            if other.connected:
                other.lost(ConnectionLost("reset"))
            return True
        reads = other.connected and not other.disconnecting and not other.aborting
        if self.buffer and (not reads or not other.paused):
            data = bytes(self.buffer[: self.chunk])
            del self.buffer[: self.chunk]
            if reads:
                other.protocol.dataReceived(data)
            return True
        if not self.buffer and self.producer is not None and (not self.streaming or self.producer_paused):
            self.producer_paused = False
            self.producer.resumeProducing()
            return self.streaming or bool(self.buffer)
        if not self.buffer and self.disconnecting and self.producer is None:
            self.lost(ConnectionDone())
            other.end_of_file(gone=True)
            return True
        if not self.buffer and self.write_closing and not self.write_closed:
            self.write_closed = True
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()
            other.end_of_file()
            return True
        return False

    chunk = 2**16

    def end_of_file(self, gone: bool = False) -> None:
        """
        The other end sends no more.
        """
        if not self.connected or self.read_closed or self.disconnecting:
            return
        self.read_closed = True
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.lost(ConnectionDone())


class Wire:
    """
    Two connected transports.
    """

    def __init__(self, left: Any, right: Any, chunk: int = 2**16) -> None:
        addresses = IPv4Address("TCP", "192.0.2.1", 50000), IPv4Address("TCP", "192.0.2.2", 443)
        self.left = Transport("left", *addresses)
        self.right = Transport("right", *reversed(addresses))
        self.left.other, self.right.other = self.right, self.left
        self.left.chunk = self.right.chunk = chunk
        self.left.protocol, self.right.protocol = left, right
        right.makeConnection(self.right)
        left.makeConnection(self.left)

    def flush(self, *others: Wire, limit: int = 100_000) -> None:
        """
        Move bytes, on the ``others`` too, until nothing moves.
        """
        wires = (self, *others)
        for _ in range(limit):
            moved = [end.step() for wire in wires for end in (wire.left, wire.right)]
            if not any(moved):
                return
        raise AssertionError("the wire does not come to rest")


class Recorder(Protocol):
    """
    A protocol that remembers what happened to it.

    :ivar events: the names of the calls, data left out.
    :ivar received: the data.
    :ivar reads: the data, call by call.
    :ivar reason: why the connection was lost.
    """

    def __init__(self, on_data: Callable[[Recorder, bytes], None] | None = None) -> None:
        self.events: list[str] = []
        self.reads: list[bytes] = []
        self.reason: Any = None
        self.on_connect: Callable[[Recorder], None] = lambda _: None
        self.on_data = on_data

    @property
    def received(self) -> bytes:
        return b"".join(self.reads)

    def connectionMade(self) -> None:
        self.events.append("made")
        self.on_connect(self)

    def dataReceived(self, data: bytes) -> None:
        self.reads.append(data)
        if self.on_data is not None:
            self.on_data(self, data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.events.append("lost")
        self.reason = reason.value


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """
    A recorder that is told of half-closes.
    """

    def readConnectionLost(self) -> None:
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write lost")
