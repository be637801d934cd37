"""
The socket of a connection: names, options, descriptors.
"""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.python.failure import Failure

from twistginx.net.sendfile import FileSending
from twistginx.net.transport_sending import Sending

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor
    from twistginx.net.transport import Connection


def inet_address(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """
    The Twisted address of a TCP socket name.

    The host of a link-local IPv6 address has its scope, ``fe80::1%eth0``.
    """
    if len(name) == 2:  # host and port: IPv4
        return IPv4Address("TCP", *name)
    host, port, flow, scope = name
    if scope:
        host = sockets.getnameinfo(name, sockets.NI_NUMERICHOST | sockets.NI_NUMERICSERV)[0]
    return IPv6Address("TCP", host, port, flow, scope)


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


class OnSocket(Sending):
    """
    What of a connection concerns its socket.

    :ivar origin: where it comes from.
    :ivar sessionno: the how many-th of its port it is, from 0.
    :ivar logstr: what stands before our protocol's lines in the log.
    :ivar peer: what ``getPeer`` returns.
    :ivar host: what ``getHost`` returns; None: not asked for yet.
    """

    __slots__ = ("host", "logstr", "origin", "peer", "sessionno")

    def __init__(self, reactor: TwistginxReactor, origin: Origin) -> None:
        super().__init__(reactor)
        self.origin = origin
        self.peer: Any = None
        self.host: Any = None
        self.logstr = "-"
        self.sessionno = 0

    def __repr__(self) -> str:
        if self.origin.is_client or self.io is None:
            return f"<{self.__class__} to {self.addr} at {id(self):x}>"
        return f"<{self.logstr.partition(',')[0]} #{self.sessionno} on {self.getHost().port}>"

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
            self.host = inet_address(self.io.get_extra_info("sockname"))
        return self.host

    @property
    def addr(self) -> Any:
        """
        What a client was told to connect to, with the name not yet resolved.
        """
        return getattr(self.origin, "addr", self.peer)

    def getHandle(self) -> Any:
        """
        The socket: asyncio's view of it, on which options may be read and set; it is not to be read, written or closed.
        """
        return self._sock()

    def _sock(self) -> Any:
        return self.io.get_extra_info("socket")

    @property
    def socket(self) -> _Socket:
        """
        As Twisted's own transports have it: for those who take the descriptor away from under a transport, which is to
        duplicate it and to close this.
        """
        return _Socket(self.io)

    def fileno(self) -> int:
        """
        The descriptor; -1 when the connection is over.
        """
        handle = None if self.io is None or self.disconnected else self._sock()
        return -1 if handle is None else cast(int, handle.fileno())

    def duplicate(self) -> int:
        """
        Another descriptor of this connection, which the caller closes.

        The loop refuses ``add_writer`` on a descriptor that is a transport's, and takes this one.  Who writes to it
        (sendfile, splice) does so when ``unsent()`` is 0, and writes nothing here meanwhile.
        """
        return os.dup(self.fileno())

    def send_file(self, descriptor: int, start: int, length: int) -> FileSending | None:
        """
        Send a part of a file behind what was written, past this process.  What does not leave at once is ``unsent``
        like any other bytes: the producer is paused, and resumed at the end.  Nothing may be written until then.

        :param descriptor: of the file.  It is the caller's, and is closed only when the sending has ended or was
            stopped.
        :return: what tells how far it has come; None when only bytes can be written here.
        """
        if self.io is None or self.write != self.hold:  # something special is going on
            return None
        self.send_held()
        sending = FileSending(self, descriptor, start, length)
        if not sending.begin():
            self._file = sending
            self.pause_writing()
        return sending

    def logPrefix(self) -> str:
        return self.logstr

    def getTcpNoDelay(self) -> bool:
        """
        Always True at first, which is asyncio's way: a write is sent at once, so there is nothing to wait for.
        """
        return bool(self._sock().getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._sock().setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        return bool(self._sock().getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._sock().setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, int(enabled))


class _Socket:
    """
    The socket of a connection, which can be closed.
    """

    def __init__(self, io: asyncio.Transport) -> None:
        self._io = io

    def __getattr__(self, name: str) -> Any:
        return getattr(self._io.get_extra_info("socket"), name)

    def close(self) -> None:
        """
        Close our descriptor only: no shutdown, so that a duplicate is as good as before.
        """
        self._io.abort()
