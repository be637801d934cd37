"""
Connecting.

The attempt (name resolution, binding, time limit, errors) is Twisted's own; the socket that it has connected goes to
the loop.
"""

# Most methods of Twisted's ports and reactors are not typed.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp, unix
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from twistginx.net.transport import Connection
from twistginx.net.transport_unix import UnixConnection

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor


class _Attempt(tcp.BaseClient):
    """
    An attempt to connect, and then the origin of the connection.
    """

    is_client = True
    reactor: TwistginxReactor
    connector: Any
    connection_class: type[Connection] = Connection

    def _connectDone(self) -> None:
        sock = self.socket
        del self.socket, self.fileno
        self.reactor.attach(self.connection_class(self.reactor, self), sock)

    def admit(self, connection: Connection) -> Any:
        """
        Build the protocol of the connection that we have made.
        """
        if not hasattr(self, "connector"):
            return None  # it was too late, or nobody wanted it any more
        self.connected = True  # from here on the time limit is without meaning
        connector = self.connector
        connector.transport = connection
        connection.peer = self.getPeer()
        connection.logstr = "client"
        try:
            protocol = connector.buildProtocol(connection.peer)
        except Exception as error:
            connector.connectionFailed(Failure(ConnectError(string=str(error))))
            raise
        if protocol is None:
            # Twisted's factories may; it counts as a connection that is closed at once.
            protocol = Protocol()
            connection.loseConnection()
        return protocol

    def lost(self, connection: Connection, reason: Failure) -> None:
        """
        Tell the connector, and it the factory.
        """
        if self.connected:
            self.connector.connectionLost(reason)
        else:
            self.failIfNotConnected(ConnectError(string=reason.getErrorMessage()))


class _TCPAttempt(_Attempt, tcp.Client):
    """
    An attempt over TCP.
    """


class _UnixAttempt(_Attempt, unix.Client):
    """
    An attempt over a UNIX socket.
    """

    connection_class = UnixConnection

    def admit(self, connection: Connection) -> Any:
        """
        Build the protocol of the connection that we have made.
        """
        connection.host = UNIXAddress(None)
        return super().admit(connection)

    def adopt_stock(self, connection: UnixConnection, protocol: Any, sock: socket.socket) -> None:
        """
        Serve a protocol that receives descriptors: we are the transport ourselves.
        """
        sock.setblocking(False)
        self.socket = sock
        self.fileno = sock.fileno
        self.protocol = protocol
        self.logstr = f"{self._getLogPrefix(protocol)},client"
        self.connector.transport = self
        self.startReading()
        protocol.makeConnection(self)


class TCPConnector(tcp.Connector):
    """
    The IConnector of ``connectTCP``.
    """

    def _makeTransport(self) -> _TCPAttempt:
        return _TCPAttempt(self.host, self.port, self.bindAddress, self, self.reactor)


class UnixConnector(unix.Connector):
    """
    The IConnector of ``connectUNIX``.
    """

    def _makeTransport(self) -> Any:
        return _UnixAttempt(self.address, self, self.reactor, self.checkPID)
