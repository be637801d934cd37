"""
A stream connection: a Twisted transport above, an asyncio protocol below.

The object that asyncio calls *is* the transport that the Twisted protocol has, so that a read costs one Python call
on its way.  What is written in a turn of the loop is sent at its end.  All else is as Twisted's own ``tcp.Connection``
does it, whose state names are kept.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python import context
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import implementer

from twistginx.net.transport_sending import HIGH_WATER, LOW_WATER, discard
from twistginx.net.transport_socket import OnSocket, Origin

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor

_log = Logger()

_DONE, _LOST, _ABORTED = Failure(CONNECTION_DONE), Failure(CONNECTION_LOST), Failure(ConnectionAborted())

#: How much, in bytes, and how often is read of a connection that is gone: more than the kernel keeps of one.
_READ, _READS = 1 << 18, 64

#: SO_LINGER on, for no time: close sends a reset.
_RESET = struct.pack("ii", 1, 0)


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
class Connection(OnSocket):
    """
    A TCP connection.

    :ivar protocol: who is told what is read; may be set at any time, and the next bytes are the new one's.  None
        before the connection is made and after it is lost.
    :ivar disconnecting: ``loseConnection`` has been called.
    """

    __slots__ = (
        "__dict__",  # for startTLS, and for those who keep things on other people's objects
        "__weakref__",
        "_contexts",
        "_held",
        "_paused",
        "_read_ended",
    )

    def __init__(self, reactor: TwistginxReactor, origin: Origin) -> None:
        super().__init__(reactor, origin)
        self._held: _Held | None = None
        self._paused = self._read_ended = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.io = transport
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
        contexts.append(self)
        try:
            self.protocol.dataReceived(data)
        except BaseException:
            self._fail()
        finally:
            contexts.pop()

    def later(self, call: Callable[[], object]) -> None:
        """
        Call when this turn of the loop has read all that there is; an exception ends the connection, as when the
        protocol raises.
        """
        self.reactor.loop.call_soon(self._call, call)

    def _call(self, call: Callable[[], object]) -> None:
        if self.connected:
            self._contexts.append(self)
            try:
                call()
            except BaseException:
                self._fail()
            finally:
                self._contexts.pop()

    def eof_received(self) -> bool:
        self._contexts.append(self)
        try:
            half_closeable: Any = IHalfCloseableProtocol(self.protocol, None)
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
        if exc is not None and self.connected and self.reading:
            self._read_rest()
        if self.connected:
            # An error has no face of its own here: Twisted says ConnectionLost for all of them.
            self._lost(self._reason or (_DONE if exc is None else _LOST))

    def _read_rest(self) -> None:
        """
        A write has failed, because the other side has closed: but what it said before that has arrived, and may explain
        it (an answer to an upload that was too large).  The descriptor is still open in this call.
        """
        with suppress(OSError):
            for _ in range(_READS):
                data = os.read(self.fileno(), _READ)
                if not data:
                    return  # which says nothing: a socket that was reset says it as well, once the error was told
                self.data_received(data)
                if not (self.connected and self.reading):
                    return

    def __getitem__(self, key: object) -> dict[str, Any]:
        """
        As a context of ``twisted.python.context``, which asks when something is logged while we are called: the dict
        would be half a kilobyte for each connection.
        """
        if key is ILogContext:
            return {"system": self.logstr, "isError": 0}
        raise KeyError(key)

    # How it begins and ends.

    def _open(self, protocol: Any) -> None:
        """
        The protocol gets its connection.
        """
        io = self.io
        self.protocol = protocol
        self.connected = True
        prefix = protocol.logPrefix() if ILoggingContext.providedBy(protocol) else type(protocol).__name__
        self.logstr = f"{prefix},{self.logstr}"
        self._contexts = context.theContextTracker.currentContext().contexts
        self.reactor.connections.add(self)
        io.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._allow_writing()
        ended_early = self.disconnecting
        try:
            protocol.makeConnection(self)
        except BaseException:
            self._fail()
            return
        if self._reason is not None:  # meanwhile
            io.abort()
        elif ended_early:
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
        if self.connected:
            self.send_held()
            self.io.abort()
            self._lost(reason)

    def _lost(self, reason: Failure) -> None:
        self.connected = False
        self.disconnected = True
        self._held_bytes = b""
        self.write = self.writeSequence = discard
        self.reactor.connections.discard(self)
        protocol, self.protocol = self.protocol, None
        producer, self.producer = self.producer, None
        self._held = None
        if self._file is not None:
            self._file.stop()
        self._contexts.append(self)
        try:
            if producer is not None:
                try:
                    producer.stopProducing()
                except BaseException:
                    _log.failure("while stopping {producer}", producer=producer)
            try:
                protocol.connectionLost(reason)
            except BaseException:
                _log.failure("in {protocol}", protocol=protocol)
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
            self.lose_below()

    def lose_below(self) -> None:
        """
        ``loseConnection`` for the TLS layer.
        """
        if self.disconnected or self.disconnecting:
            return
        self.disconnecting = True
        if self.io is None:
            return
        if self._may_still_write():
            self.pauseProducing()
        else:
            self._close()

    def abortConnection(self) -> None:
        """
        Drop what the kernel has not taken, and reset the connection.
        """
        if self.disconnected or self._reason is not None:
            return
        if self.io is not None:
            self.send_held()
        self._reason = _ABORTED
        self.write = self.writeSequence = discard
        if self.io is not None:
            with suppress(OSError):  # it may be gone already
                self._sock().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.io.abort()

    # Receiving.

    @property
    def reading(self) -> bool:
        """
        What arrives is read.
        """
        return not (self._paused or self.disconnecting or self._read_ended or self._reason is not None)

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

    # TLS from the middle of a connection on.

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """
        From the next byte on, both ways, speak TLS.

        :param normal: the side that connected is the TLS client; False: the other way round.
        """
        from twistginx.net.transport_tls import start_tls  # imports OpenSSL, which few need

        start_tls(self, contextFactory, self.origin.is_client == bool(normal))

    def write_below(self, data: bytes) -> None:
        """
        ``write`` for the TLS layer.
        """
        if self.connected and self._reason is None:
            self.hold(data)
