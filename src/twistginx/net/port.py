"""
Listening sockets.

Binding, locking and naming are Twisted's own, inherited; accepting is the loop's.  A port keeps its descriptor to
itself and gives the loop a duplicate, so that accepting can be paused (``stopReading``) and taken up again
(``startReading``), and so that the descriptor can be handed to a child process.
"""

# Most methods of Twisted's ports and reactors are not typed.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import os
import socket
from asyncio import AbstractServer, BaseEventLoop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet import tcp, unix
from twisted.internet.address import UNIXAddress
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from twisted.python.lockfile import FilesystemLock

from twistginx.net.transport import Connection
from twistginx.net.transport_socket import inet_address
from twistginx.net.transport_unix import UnixConnection

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor

_T = TypeVar("_T")

_log = Logger(namespace="twistginx.net")


def without_waiting(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """
    Run a coroutine that waits for nothing.

    ``create_server`` on a socket is one: at most it yields once to let others run.
    """
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value


class _Accepting(tcp.Port):
    """
    What ports of all families have in common.

    :ivar backlog: None stands for the system's maximum, because an adopted socket's own cannot be asked for.
    """

    is_client = False
    reactor: TwistginxReactor
    factory: Any
    connection_class: type[Connection] = Connection

    @property
    def key(self) -> tuple[Any, ...]:
        """
        What names the port in ``reactor.inherited``.
        """
        raise NotImplementedError

    def admit(self, connection: Connection) -> Any:
        """
        Build the protocol of an accepted connection.
        """
        raise NotImplementedError

    # Others may have the same open socket: shutdown would end it for them too.
    _shouldShutdown = False

    #: Does another process accept from the same queue?
    is_shared = False

    _server: AbstractServer | None = None

    def startListening(self) -> None:
        """
        Listen, on a socket of our own or on the inherited one.

        :raise CannotListenError: when binding fails.
        """
        inherited = self.reactor.inherited.pop(self.key, None) if self._preexistingSocket is None else None
        if inherited is None:
            self.is_shared = self._preexistingSocket is not None
            super().startListening()
        else:
            self._take_over(inherited if isinstance(inherited, socket.socket) else socket.socket(fileno=inherited))

    def _take_over(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.set_inheritable(False)
        self.is_shared = True
        self.factory.doStart()
        self.connected = True
        self.socket = sock
        self.fileno = sock.fileno  # type: ignore[method-assign]  # Twisted's way
        self.startReading()

    def startReading(self) -> None:
        """
        Accept connections.
        """
        if self._server is None:
            loop, backlog = self.reactor.loop, self.backlog or socket.SOMAXCONN
            # asyncio's own loop tries to accept a whole backlog at once, and if descriptors run out complains as often.
            at_once = 1 if isinstance(loop, BaseEventLoop) else backlog
            server = loop.create_server(self._accepted, sock=self.socket.dup(), backlog=at_once)
            self._server = without_waiting(server)
            self.socket.listen(backlog)
            self.reactor.ports.add(self)

    def stopReading(self) -> None:
        """
        Accept no connections for now; the system goes on to queue them.
        """
        if self._server is not None:
            self._server.close()
            self._server = None
            self.reactor.ports.discard(self)

    def connectionLost(self, reason: Failure) -> None:
        self.stopReading()
        self.serve_queue()
        super().connectionLost(reason)

    def serve_queue(self) -> None:
        """
        Serve those who have connected and were not accepted yet: the system would reset them when the socket is closed.
        Where others have the socket, they do that.
        """
        if self.is_shared or not self.reactor.running:
            return
        for _ in range(self.backlog or socket.SOMAXCONN):
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            self.reactor.attach(self._accepted(), sock)

    def _accepted(self) -> Connection:
        connection = self.connection_class(self.reactor, self)
        connection.sessionno = self.sessionno
        self.sessionno += 1
        return connection

    def lost(self, connection: Connection, reason: Failure) -> None:
        """
        Nobody asks a port what became of its connections.
        """


class TCPPort(_Accepting):
    """
    A listening TCP socket, IPv4 or IPv6.
    """

    @property
    def key(self) -> tuple[str, str, int | None]:
        """
        ``("tcp", interface, port)``, as they were asked for.
        """
        return ("tcp", self.interface, self.port)

    def createInternetSocket(self) -> socket.socket:
        """
        A socket to bind; it may have an address that another of ours has, while ``reactor.sharing``.
        """
        sock = super().createInternetSocket()
        if self.reactor.sharing:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return sock

    def admit(self, connection: Connection) -> Any:
        """
        Build the protocol of an accepted connection.
        """
        name = connection.io.get_extra_info("peername")
        if name is None:
            return None  # it was reset while it waited to be accepted
        connection.peer = inet_address(name)
        connection.logstr = f"{connection.sessionno},{connection.peer.host}"
        return self.factory.buildProtocol(connection.peer)

    def _take_over(self, sock: socket.socket) -> None:
        self._realPortNumber = sock.getsockname()[1]
        super()._take_over(sock)


class UnixPort(_Accepting, unix.Port):
    """
    A listening UNIX socket.

    :ivar owns_path: the path goes when the port stops.  True where we have bound it; False for an inherited socket.
        Set it to False when another process, or another port, goes on with the socket.
    """

    connection_class = UnixConnection
    owns_path = True

    @property
    def key(self) -> tuple[str, bytes]:
        """
        ``("unix", path)``.
        """
        return ("unix", self._bindPath)

    def admit(self, connection: Connection) -> Any:
        """
        Build the protocol of an accepted connection.
        """
        name = connection.io.get_extra_info("peername")
        if name is None:
            return None
        connection.peer = UNIXAddress(name or None)
        connection.host = self.getHost()
        connection.logstr = f"{connection.sessionno},{name}"
        return self.factory.buildProtocol(connection.peer)

    def adopt_stock(self, connection: UnixConnection, protocol: Any, sock: socket.socket) -> None:
        """
        Serve a protocol that receives descriptors.
        """
        name = os.fsdecode(connection.peer.name or b"")
        protocol.makeConnection(unix.Server(sock, protocol, name, self, self.sessionno, self.reactor))

    def startListening(self) -> None:
        """
        Listen, on a socket of our own or on the inherited one.

        :raise CannotListenError: when binding fails.
        """
        sock, self._preexistingSocket = self._preexistingSocket, None
        if sock is None:
            super().startListening()
        else:
            log.msg(f"{self._getLogPrefix(self.factory)} starting on {os.fsdecode(self._bindPath)!r}")
            self._take_over(sock)  # the path and its mode are systemd's, or whose ever the socket is

    def own(self, other: UnixPort | None = None) -> None:
        """
        From now on the path is ours, and its lock with it.

        :param other: whose they were; None: a process that is gone.
        """
        self.owns_path = True
        if other is not None:
            self.lockFile = other.lockFile
            other.disown()
        elif self.wantPID:
            # The lock names a process that gives the path away: it is not waited for.
            lock = FilesystemLock(self._bindPath + b".lock")
            with suppress(PermissionError):  # then it goes on to name one that is gone, which is as good
                with suppress(FileNotFoundError):
                    os.unlink(lock.name)
                lock.lock()
                self.lockFile = lock

    def disown(self) -> None:
        """
        From now on the path is another port's, of this process or of another.
        """
        self.owns_path = False
        self.lockFile = None

    def _take_over(self, sock: socket.socket) -> None:
        self.owns_path = False
        super()._take_over(sock)

    def connectionLost(self, reason: Failure) -> None:
        self.stopReading()
        self.serve_queue()
        # Who has given up root may not remove what root has bound; the next start does.
        if self.owns_path and not self._bindPath.startswith(b"\0"):
            self._remove(lambda: os.unlink(self._bindPath))
        if self.lockFile is not None:
            self._remove(self.lockFile.unlock)
        # Not by way of unix.Port, which always unlinks.
        tcp.Port.connectionLost(self, reason)

    def _remove(self, remove: Callable[[], object]) -> None:
        try:
            remove()
        except FileNotFoundError:
            pass
        except OSError as error:
            path = os.fsdecode(self._bindPath)
            _log.warn("{path} is left behind: {error}", path=path, error=(error.strerror or str(error)).lower())


class Adopted:
    """
    The origin of a connection that was made elsewhere.

    What is written to the connection before the loop has it is kept, and sent first.
    """

    is_client = False

    def __init__(self, protocol: Any, peer: Any, host: Any) -> None:
        self._protocol = protocol
        self._peer = peer
        self._host = host
        self._pieces: list[bytes] = []

    def attach(self, connection: Connection, sock: socket.socket) -> None:
        """
        Give the loop the socket.
        """
        connection.peer, connection.host = self._peer, self._host
        connection.sessionno = getattr(self._peer, "port", 0)
        place = self._peer.host if hasattr(self._peer, "host") else os.fsdecode(self._host.name or b"")
        connection.logstr = f"{connection.sessionno},{place}"
        connection.write, connection.writeSequence = self._pieces.append, self._pieces.extend
        connection.reactor.attach(connection, sock)

    def admit(self, connection: Connection) -> Any:
        """
        The protocol has been built already.
        """
        if self._pieces:
            connection.io.write(b"".join(self._pieces))
        return self._protocol

    def lost(self, connection: Connection, reason: Failure) -> None:
        """
        Nobody asks.
        """
