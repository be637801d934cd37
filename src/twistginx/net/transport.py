"""
A stream connection: a Twisted transport above, an asyncio protocol below.

The object that asyncio calls *is* the transport that the Twisted protocol has, so that a read costs one Python call
on its way, and ``write`` is asyncio's own.  Sending is immediate: what the kernel takes has left when ``write``
returns.  All else is as Twisted's own ``tcp.Connection`` does it, whose state names are kept.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python import context
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import directlyProvides, implementer

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor

#: A producer is paused when more than this many bytes wait in the process, and resumed when this few are left.
HIGH_WATER, LOW_WATER = 65536, 16384

_log = Logger()

_DONE, _LOST, _ABORTED = Failure(CONNECTION_DONE), Failure(CONNECTION_LOST), Failure(ConnectionAborted())

#: SO_LINGER on, for no time: close sends a reset.
_RESET = struct.pack("ii", 1, 0)


def inet_address(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """
    The Twisted address of a TCP socket name.

    The host of a link-local IPv6 address has its scope, ``fe80::1%eth0``.
    """
    if len(name) == 2:
        return IPv4Address("TCP", *name)
    host, port, flow, scope = name
    if scope:
        host = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return IPv6Address("TCP", host, port, flow, scope)


def _discard(data: object) -> None:
    """
    The ``write`` and ``writeSequence`` of a connection that can send no more.
    """


def _join(pieces: Iterable[bytes]) -> bytes:
    try:
        return b"".join(pieces)
    except TypeError:
        raise TypeError("Data must be bytes") from None


class Origin(Protocol):
    """
    Where a connection comes from: a port, an attempt to connect, or an adopted descriptor.

    :ivar is_client: we connected, so that we are the client in TLS too.
    """

    is_client: bool

    def admit(self, connection: Connection) -> Any:
        """
        The descriptor is with the loop now.  Sets ``peer`` and the end of ``logstr``, and builds the protocol.

        :return: an IProtocol, or None to close the connection.
        """

    def lost(self, connection: Connection, reason: Failure) -> None:
        """
        The protocol's ``connectionLost`` has been called, or the loop would not have the descriptor at all.
        """


class _Held(asyncio.Protocol):
    """
    What asyncio calls while a connection that was paused in ``connectionMade`` stays so.

    uvloop starts to read after ``connection_made``, whatever was said there, so one read may get through.
    """

    __slots__ = ("connection_lost", "data", "ended", "io", "pause_writing", "resume_writing")

    def __init__(self, connection: Connection, io: asyncio.Transport) -> None:
        self.io = io
        self.data = b""
        self.ended = False
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.io.pause_reading()

    def eof_received(self) -> bool:
        self.ended = True
        return True


@implementer(ITCPTransport, ITLSTransport, ISystemHandle, IPushProducer, IConsumer, ILoggingContext)
class Connection(asyncio.Protocol):
    """
    A TCP connection.

    :ivar protocol: who is told what is read; may be set at any time, and the next bytes are the new one's.  None
        before the connection is made and after it is lost.
    :ivar write: ``write(data)``: send bytes; asyncio's own method while nothing special is going on.
    :ivar writeSequence: the same for an iterable of bytes.
    :ivar disconnecting: ``loseConnection`` has been called.
    :ivar producer: is registered to write to us, or None.
    :ivar sessionno: the how many-th of its port it is, from 0.
    :ivar logstr: what stands before our protocol's lines in the log.
    :ivar io: asyncio's transport; None until the loop has the descriptor.
    :ivar peer: what ``getPeer`` returns.
    :ivar host: what ``getHost`` returns; None: not asked for yet.
    """

    __slots__ = (
        "TLS",
        "__dict__",  # for startTLS, and for those who keep things on other people's objects
        "__weakref__",
        "_context",
        "_contexts",
        "_full",
        "_held",
        "origin",
        "_paused",
        "_read_ended",
        "_reason",
        "_watching",
        "_write_ending",
        "connected",
        "disconnected",
        "disconnecting",
        "host",
        "io",
        "logstr",
        "peer",
        "producer",
        "producerPaused",
        "protocol",
        "reactor",
        "sessionno",
        "streamingProducer",
        "write",
        "writeSequence",
    )

    write: Callable[[bytes], None]
    writeSequence: Callable[[Iterable[bytes]], None]

    def __init__(self, reactor: TwistginxReactor, origin: Origin) -> None:
        self.reactor = reactor
        self.protocol: Any = None
        self.connected = self.disconnected = self.disconnecting = False
        self.producer: Any = None
        self.streamingProducer = self.producerPaused = False
        self.write = self.writeSequence = _discard
        self.logstr = "-"
        self.sessionno = 0
        self.TLS = False
        self.io: asyncio.Transport | None = None
        self.origin = origin
        self.peer: Any = None
        self.host: Any = None
        self._reason: Failure | None = None
        self._held: _Held | None = None
        self._paused = self._full = self._watching = self._read_ended = self._write_ending = False

    def __repr__(self) -> str:
        name = self.logstr.partition(",")[0]
        if self.origin.is_client or self.io is None:
            return f"<{name} to {self.peer}>"
        host = self.getHost()
        return f"<{name} #{self.sessionno} on {getattr(host, 'port', host)}>"

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.io = cast(asyncio.Transport, transport)
        try:
            protocol = self.origin.admit(self)
        except Exception:
            _log.failure("no protocol for {peer}", peer=self.peer)
            protocol = None
        if protocol is None:
            transport.abort()  # type: ignore[attr-defined]  # of every transport that has connections
        else:
            self._open(protocol)

    def data_received(self, data: bytes) -> None:
        # What log.callWithLogger does, at a twentieth of its price.
        contexts = self._contexts
        contexts.append(self._context)
        try:
            self.protocol.dataReceived(data)
        except BaseException:
            self._fail()
        finally:
            contexts.pop()

    def eof_received(self) -> bool:
        self._contexts.append(self._context)
        try:
            half_closeable = IHalfCloseableProtocol(self.protocol, None)
            if half_closeable is None:
                self.connectionLost(_DONE)
            else:
                self._read_ended = True
                half_closeable.readConnectionLost()
        except BaseException:
            self._fail()
        finally:
            self._contexts.pop()
        return True  # asyncio is not to close it

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connected:
            # An error has no face of its own here: Twisted says ConnectionLost for all of them.
            self.connectionLost(self._reason or (_DONE if exc is None else _LOST))

    def pause_writing(self) -> None:
        self._full = True
        if self.producer is not None and self.streamingProducer and not self._watching:
            self._pause_producer()

    def resume_writing(self) -> None:
        self._full = False
        if self._watching:
            cast(asyncio.Transport, self.io).set_write_buffer_limits(HIGH_WATER, LOW_WATER)
            self._drained()
        elif self.producerPaused:
            self._resume_producer()

    # How it begins and ends.

    def _open(self, protocol: Any) -> None:
        """
        The protocol gets its connection.
        """
        io = cast(asyncio.Transport, self.io)
        self.protocol = protocol
        self.connected = True
        prefix = protocol.logPrefix() if ILoggingContext.providedBy(protocol) else type(protocol).__name__
        self.logstr = f"{prefix},{self.logstr}"
        self._context = {ILogContext: {"system": self.logstr, "isError": 0}}
        self._contexts = context.theContextTracker.currentContext().contexts
        self.reactor.connections.add(self)
        io.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._allow_writing()
        try:
            protocol.makeConnection(self)
        except BaseException:
            self._fail()
            return
        if self._reason is not None:
            io.abort()
        elif self.disconnecting:
            self._close()
        elif self._paused:
            self._held = held = _Held(self, io)
            io.set_protocol(held)
            io.pause_reading()

    def _fail(self) -> None:
        """
        The protocol has raised: log it, and end the connection with it.
        """
        failure = Failure()
        _log.failure("in {protocol}", failure=failure, protocol=self.protocol)
        self.connectionLost(failure)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is over, and what has not been sent is lost.  A second call does nothing.
        """
        if not self.connected:
            return
        self.connected = False
        self.disconnected = True
        self.write = self.writeSequence = _discard
        self.reactor.connections.discard(self)
        protocol, self.protocol = self.protocol, None
        producer, self.producer = self.producer, None
        self._held = None
        cast(asyncio.Transport, self.io).abort()
        self._contexts.append(self._context)
        try:
            if producer is not None:
                with _log.failuresHandled("while stopping {producer}", producer=producer):
                    producer.stopProducing()
            with _log.failuresHandled("in {protocol}", protocol=protocol):
                protocol.connectionLost(reason)
            self.origin.lost(self, reason)
        finally:
            self._contexts.pop()

    def loseConnection(self) -> None:
        """
        Close when all has been sent.

        As in Twisted, a pull producer, and a push producer that we have paused, may first finish; one that was free
        to write has had its chance.
        """
        if self.TLS:
            if self.connected and not self.disconnecting:
                self.protocol.loseConnection()
        else:
            self._lose()

    def _lose(self) -> None:
        if self.disconnected or self.disconnecting:
            return
        self.disconnecting = True
        if self.io is None:
            return
        if self.producer is None or (self.streamingProducer and not self.producerPaused):
            self._close()
        else:
            self.io.pause_reading()

    def _close(self) -> None:
        self.write = self.writeSequence = _discard
        cast(asyncio.Transport, self.io).close()

    def abortConnection(self) -> None:
        """
        Drop what has not been sent, and reset the connection.
        """
        if self.disconnected or self._reason is not None:
            return
        self._reason = _ABORTED
        self.write = self.writeSequence = _discard
        if self.io is not None:
            try:
                self.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass  # it is gone already
            self.io.abort()

    def loseWriteConnection(self) -> None:
        """
        Send what there is, then end our side; the other may go on.
        """
        if self.connected and not self.disconnecting and not self._write_ending:
            self._write_ending = True
            if self.producer is None or (self.streamingProducer and not self.producerPaused):
                self._watch()

    def _end_writing(self) -> None:
        self.write = self.writeSequence = _discard
        cast(asyncio.Transport, self.io).write_eof()
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is not None:
            try:
                half_closeable.writeConnectionLost()
            except BaseException:
                self._fail()

    # Sending.

    def _allow_writing(self) -> None:
        if self.TLS:
            return
        io = cast(asyncio.Transport, self.io)
        if self.producer is not None and not self.streamingProducer:
            self.write = self._write_pulled
            self.writeSequence = self._write_sequence_pulled
        else:
            self.write = io.write
            self.writeSequence = self._write_joined

    def _write_joined(self, pieces: Iterable[bytes]) -> None:
        # Not writelines, which leaves behind what stood before a piece that is no bytes.
        cast(asyncio.Transport, self.io).write(_join(pieces))

    def _write_pulled(self, data: bytes) -> None:
        cast(asyncio.Transport, self.io).write(data)
        self._watch()

    def _write_sequence_pulled(self, pieces: Iterable[bytes]) -> None:
        self._write_pulled(_join(pieces))

    def _watch(self) -> None:
        """
        Have ``_drained`` called, from the loop, when nothing is left to send.
        """
        if not self._watching:
            self._watching = True
            io = cast(asyncio.Transport, self.io)
            if io.get_write_buffer_size():
                io.set_write_buffer_limits(0)
            else:
                self.reactor.loop.call_soon(self._drained)

    def _drained(self) -> None:
        self._watching = False
        if not self.connected or self._reason is not None:
            return
        if self.producer is not None and (self.producerPaused or not self.streamingProducer):
            self._resume_producer()
        elif self._write_ending and not self.disconnecting:
            if self.unsent():
                self._watch()
            else:
                self._end_writing()

    def unsent(self) -> int:
        """
        The number of bytes that the kernel has not taken yet.
        """
        return self.io.get_write_buffer_size() if self.io is not None and self.connected else 0

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Have a producer write: a push producer (``streaming``) at its own pace, until it is paused; a pull producer
        whenever it is asked to.

        :raise RuntimeError: when there is one already.
        """
        if self.TLS:
            self.protocol.registerProducer(producer, streaming)
        else:
            self._register(producer, streaming)

    def _register(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer {self.producer} was never unregistered."
            )
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = bool(streaming)
        self.producerPaused = False
        if not streaming:
            if self.write is not _discard:
                self._allow_writing()
            producer.resumeProducing()
            if self.unsent():
                self._watch()
        elif self._full:
            # Not now: who registers a producer does not expect it to be paused before it returns.
            self.reactor.loop.call_soon(self._pause_when_full, producer)

    def unregisterProducer(self) -> None:
        """
        The producer has written all.
        """
        if self.TLS:
            self.protocol.unregisterProducer()
        else:
            self._unregister()

    def _unregister(self) -> None:
        self.producer = None
        self.producerPaused = False
        if not self.connected:
            return
        if self.write is not _discard:
            self._allow_writing()
        if self.disconnecting:
            self._close()
        elif self._write_ending:
            self._watch()

    def stopConsuming(self) -> None:
        """
        A producer that can produce no more says so.
        """
        self.unregisterProducer()
        self.loseConnection()

    def _pause_when_full(self, producer: Any) -> None:
        if self._full and self.producer is producer and not self.producerPaused:
            self._pause_producer()

    def _pause_producer(self) -> None:
        self.producerPaused = True
        with _log.failuresHandled("while pausing {producer}", producer=self.producer):
            self.producer.pauseProducing()

    def _resume_producer(self) -> None:
        self.producerPaused = False
        try:
            self.producer.resumeProducing()
        except BaseException:
            self._fail()
            return
        if self.disconnecting and self.connected and self.streamingProducer and not self.producerPaused:
            self._close()

    # Receiving.

    def pauseProducing(self) -> None:
        """
        Read no more for now.
        """
        self._paused = True
        if self.io is not None:
            self.io.pause_reading()

    def resumeProducing(self) -> None:
        """
        Read again.  What was read before is delivered from the loop, never from within this call.
        """
        if self.disconnected or self.disconnecting or self._read_ended:
            return
        self._paused = False
        if self._held is not None:
            self.reactor.loop.call_soon(self._release)
        elif self.io is not None:
            self.io.resume_reading()

    def _release(self) -> None:
        held = self._held
        if held is None or self._paused or not self.connected:
            return
        self._held = None
        held.io.set_protocol(self)
        held.io.resume_reading()
        if held.data:
            self.data_received(held.data)
        elif held.ended:
            self.eof_received()

    def stopProducing(self) -> None:
        """
        The consumer that we produce for wants no more.
        """
        self.loseConnection()

    startReading = resumeProducing
    stopReading = pauseProducing

    # Names and options.

    def getPeer(self) -> Any:
        """
        The address of the other side.
        """
        return self.peer

    def getHost(self) -> Any:
        """
        The address of our side.
        """
        if self.host is None:
            self.host = inet_address(cast(asyncio.Transport, self.io).get_extra_info("sockname"))
        return self.host

    def getHandle(self) -> Any:
        """
        The socket: asyncio's view of it, on which options may be read and set; it is not to be read, written or closed.
        """
        return cast(asyncio.Transport, self.io).get_extra_info("socket")

    def fileno(self) -> int:
        """
        The descriptor; -1 when the connection is over.
        """
        handle = None if self.io is None or self.disconnected else self.getHandle()
        return -1 if handle is None else cast(int, handle.fileno())

    def duplicate(self) -> int:
        """
        Another descriptor of this connection, which the caller closes.

        The loop refuses ``add_writer`` on a descriptor that is a transport's, and takes this one.  Who writes to it
        (sendfile, splice) does so when ``unsent()`` is 0, and writes nothing here meanwhile.
        """
        return os.dup(self.fileno())

    def logPrefix(self) -> str:
        return self.logstr

    def getTcpNoDelay(self) -> bool:
        """
        Always True at first, which is asyncio's way: a write is sent at once, so there is nothing to wait for.
        """
        return bool(self.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        return bool(self.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    # TLS in the middle of a connection.

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """
        From the next byte on, both ways, speak TLS, by Twisted's own machinery (pyOpenSSL).

        :param normal: the side that connected is the TLS client; False: the other way round.
        """
        from twisted.protocols.tls import TLSMemoryBIOFactory  # costs the import of OpenSSL, which few need here

        producer, streaming = self.producer, self.streamingProducer
        if producer is not None:
            self.unregisterProducer()
        factory = TLSMemoryBIOFactory(contextFactory, self.origin.is_client == bool(normal), None)
        layer = factory.protocol(factory, self.protocol, False)
        self.protocol = layer
        self.TLS = True
        self.write = layer.write
        self.writeSequence = layer.writeSequence
        self.getHandle = layer.getHandle  # type: ignore[method-assign]
        self.getPeerCertificate = layer.getPeerCertificate
        directlyProvides(self, ISSLTransport)
        layer.makeConnection(_BelowTLS(self))
        if producer is not None:
            self.registerProducer(producer, streaming)


class _BelowTLS:
    """
    The transport of the TLS layer: the connection, without the detour through that layer.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.loseConnection = connection._lose
        self.registerProducer = connection._register
        self.unregisterProducer = connection._unregister

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def write(self, data: bytes) -> None:
        connection = self._connection
        if connection.connected and connection._reason is None:
            cast(asyncio.Transport, connection.io).write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))
