"""
Connections over UNIX sockets, which can carry descriptors as well as bytes.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.error import FileDescriptorOverrun
from twisted.internet.interfaces import IFileDescriptorReceiver, IUNIXTransport
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.net.transport import Connection
from twistginx.net.transport_socket import Origin

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor


#: A producer is paused when more descriptors than this wait to be sent.
MANY = 64


class UnixOrigin(Origin, Protocol):
    """
    Where a UNIX connection comes from.
    """

    def adopt_stock(self, connection: UnixConnection, protocol: Any, sock: socket.socket) -> None:
        """
        Have Twisted's own transport serve ``protocol`` on ``sock``.
        """


@implementer(IUNIXTransport)
class UnixConnection(Connection):
    """
    A connection over a UNIX socket.

    It sends descriptors.  asyncio cannot receive any, so that a protocol that provides ``IFileDescriptorReceiver`` is
    given Twisted's own transport, and this object ends before it has begun.
    """

    __slots__ = ("_descriptors", "_pieces")

    def __init__(self, reactor: TwistginxReactor, origin: UnixOrigin) -> None:
        super().__init__(reactor, origin)
        self._descriptors: list[int] = []
        self._pieces: list[bytes] = []

    def __repr__(self) -> str:
        if self.origin.is_client or self.host is None:
            return super().__repr__()
        return f"<{self.logstr.partition(',')[0]} #{self.sessionno} on {os.fsdecode(self.host.name or b'')}>"

    def _open(self, protocol: Any) -> None:
        if IFileDescriptorReceiver.providedBy(protocol):
            sock = socket.socket(fileno=self._dup())
            self.io.abort()
            cast(UnixOrigin, self.origin).adopt_stock(self, protocol, sock)
        else:
            super()._open(protocol)

    def _dup(self) -> int:
        return cast(int, self._sock().dup().detach())

    def getTcpNoDelay(self) -> bool:
        """
        Always False: it means nothing here.
        """
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Does nothing, as in Twisted, whose users set it on whatever they have.
        """

    # Descriptors travel with bytes.  Those written in the same turn are gathered first, as any of them will do.

    def sendFileDescriptor(self, descriptor: int) -> None:
        """
        Send a descriptor, along with a byte of what is written next; it is the caller's, and may be closed when the
        bytes have been sent.

        Descriptors without a byte to travel with end the connection with ``FileDescriptorOverrun``.
        """
        if not self.connected or self.disconnecting:
            return
        if not self._descriptors:
            self.write = self._pieces.append
            self.writeSequence = self._pieces.extend
            self.reactor.loop.call_soon(self._send_descriptors)
        self._descriptors.append(descriptor)
        if len(self._descriptors) > MANY and self.streamingProducer and not self.producerPaused:
            self._pause_producer()

    def _send_descriptors(self) -> None:
        if not self.connected or self._reason is not None:
            return
        if self.unsent():
            self._watch()
            return
        data = b"".join(self._pieces)
        if len(self._descriptors) > len(data):
            self.connectionLost(Failure(FileDescriptorOverrun()))
            return
        with self._sock().dup() as sock:
            for position, descriptor in enumerate(self._descriptors):
                try:
                    sock.sendmsg(
                        [data[position : position + 1]],
                        [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))],
                    )
                except BlockingIOError:
                    del self._descriptors[:position]
                    self._pieces[:] = [data[position:]]
                    self._wait_for_room()
                    return
                except OSError:
                    self.connectionLost(Failure(CONNECTION_LOST))
                    return
        rest = data[len(self._descriptors) :]
        self._descriptors.clear()
        self._pieces.clear()
        self._allow_writing()
        self.write(rest)
        if self.producerPaused and not self._full:
            self._resume_producer()
        if self.disconnecting:
            self._close()
        elif self._write_ending:
            self._watch()

    def _wait_for_room(self) -> None:
        descriptor = self._dup()

        def go_on() -> None:
            self.reactor.loop.remove_writer(descriptor)
            socket.close(descriptor)
            self._send_descriptors()

        self.reactor.loop.add_writer(descriptor, go_on)

    def _drained(self) -> None:
        if self._descriptors:
            self._watching = False
            self._send_descriptors()
        else:
            super()._drained()

    def _close(self) -> None:
        if not self._descriptors:
            super()._close()
