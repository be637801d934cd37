"""
A Twisted reactor whose TCP and UNIX sockets run on asyncio's transports: uvloop's where it is installed.

Everything that runs on Twisted runs on it unchanged, at about a third of the price.  Datagrams, processes, threads and
timers are Twisted's own, on the same loop.  ``twistd --reactor=twistginx`` chooses it.  ``tests/twisted_suite.py``
compares it with Twisted's epoll reactor, and ``docs/reactor.rst`` says what differs.
"""

# Most methods of Twisted's ports and reactors are not typed.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

from twisted.internet import unix
from twisted.internet._signals import SignalHandling, _MultiSignalHandling
from twisted.internet.address import UNIXAddress
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import ReactorBase
from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.interfaces import IFileDescriptorReceiver, IReactorDaemonize, IReadDescriptor
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.net import process
from twistginx.net.connector import TCPConnector, UnixConnector
from twistginx.net.outbox import Outbox
from twistginx.net.port import Adopted, TCPPort, UnixPort
from twistginx.net.transport import Connection
from twistginx.net.transport_socket import inet_address
from twistginx.net.transport_unix import UnixConnection

_log = Logger()


def new_loop() -> asyncio.AbstractEventLoop:
    """
    A new event loop: uvloop's where it is installed, otherwise asyncio's own.
    """
    try:
        import uvloop  # it is optional
    except ImportError:
        return asyncio.SelectorEventLoop()
    return uvloop.new_event_loop()


@implementer(IReactorDaemonize)
class TwistginxReactor(AsyncioSelectorReactor):
    """
    The reactor.

    :ivar loop: the asyncio loop that we run on; another one after daemonising, so that it is not to be kept.
    :ivar inherited: listening sockets that another process has bound, to be used instead of binding: from the ``key``
        of a port (``("tcp", interface, port)`` or ``("unix", path as bytes)``) to a socket or a descriptor.
        ``listenTCP`` and ``listenUNIX`` take what they use out of it, and own it from then on.
    :ivar sharing: may a socket that is bound now have the address of another one?  It takes ``SO_REUSEPORT`` on both.
    :ivar connections: the open ones.
    :ivar outbox: what they send at the end of this turn.
    :ivar ports: the ones that accept.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._own_loop = loop is None
        self.inherited: dict[tuple[Any, ...], socket.socket | int] = {}
        self.sharing = False
        self.connections: set[Connection] = set()
        self.outbox = Outbox(self)
        self.ports: set[Any] = set()
        self._attaching: set[asyncio.Task[Any]] = set()
        super().__init__(loop or new_loop())
        self._prepare_loop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._asyncioEventloop

    def _prepare_loop(self) -> None:
        if self._own_loop:
            self.loop.set_exception_handler(_log_loop_error)

    # TCP.

    def listenTCP(self, port: Any, factory: Any, backlog: int = 50, interface: str = "") -> TCPPort:
        """
        See ``IReactorTCP.listenTCP``.
        """
        listening = TCPPort(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> TCPConnector:
        """
        See ``IReactorTCP.connectTCP``.
        """
        connector = TCPConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    # UNIX sockets.

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> UnixPort:
        """
        See ``IReactorUNIX.listenUNIX``.
        """
        listening = UnixPort(address, factory, backlog, mode, self, wantPID)
        listening.startListening()
        return listening

    def connectUNIX(self, address: Any, factory: Any, timeout: float = 30, checkPID: bool = False) -> UnixConnector:
        """
        See ``IReactorUNIX.connectUNIX``.
        """
        connector = UnixConnector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector

    # Sockets that were made elsewhere.

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> TCPPort | UnixPort:
        """
        See ``IReactorSocket.adoptStreamPort``.
        """
        self._check_family(addressFamily)
        if addressFamily == socket.AF_UNIX:
            listening = UnixPort._fromListeningDescriptor(self, fileDescriptor, factory)
        else:
            listening = TCPPort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        listening.startListening()
        return listening

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """
        See ``IReactorSocket.adoptStreamConnection``.

        The protocol is built at once; its connection is made from the loop.
        """
        self._check_family(addressFamily)
        sock = socket.fromfd(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        sock.setblocking(False)
        is_unix = addressFamily == socket.AF_UNIX
        host: Any = UNIXAddress(sock.getsockname()) if is_unix else inet_address(sock.getsockname())
        peer: Any = UNIXAddress(sock.getpeername() or None) if is_unix else inet_address(sock.getpeername())
        # Twisted names a UNIX connection by our side's address here.
        protocol: Any = factory.buildProtocol(host if is_unix else peer)
        if protocol is None:
            sock.close()
            return None
        if is_unix and IFileDescriptorReceiver.providedBy(protocol):
            transport = unix.Server(sock, protocol, sock.getpeername(), None, 0, self)
            transport.protocol.makeConnection(transport)
            return transport
        origin = Adopted(protocol, peer, host)
        connection = UnixConnection(self, origin) if is_unix else Connection(self, origin)  # type: ignore[arg-type]
        origin.attach(connection, sock)
        return connection

    def _check_family(self, family: int) -> None:
        if family not in self._supportedAddressFamilies:
            raise UnsupportedAddressFamily(family)

    def attach(self, connection: Connection, sock: socket.socket) -> None:
        """
        Give a connected socket to the loop, which owns it from then on and calls ``connection``.
        """

        def attached(task: asyncio.Task[Any]) -> None:
            self._attaching.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                sock.close()
                connection.origin.lost(connection, Failure(error))

        task = self.loop.create_task(self.loop.connect_accepted_socket(lambda: connection, sock))
        self._attaching.add(task)
        task.add_done_callback(attached)

    # What is open, for those who clean up.

    def getReaders(self) -> list[Any]:
        """
        See ``IReactorFDSet.getReaders``; our own connections and ports are among them.
        """
        reading = [connection for connection in self.connections if connection.reading]
        return [*super().getReaders(), *reading, *self.ports]

    def removeReader(self, reader: Any) -> None:
        """
        See ``IReactorFDSet.removeReader``.
        """
        if isinstance(reader, Connection):
            reader.stopReading()
        else:
            super().removeReader(reader)

    def removeAll(self) -> list[Any]:
        """
        See ``IReactorFDSet.removeAll``; our own connections and ports stop reading, and are returned too.
        """
        ours = [*self.connections, *self.ports]
        for each in ours:
            each.stopReading()
        self.connections.clear()
        return ours + super().removeAll()

    def add_internal_reader(self, reader: IReadDescriptor) -> None:
        """
        Read, for a purpose of the reactor's own: ``removeAll`` leaves it alone.
        """
        self._addInternalReader(reader)

    def remove_internal_reader(self, reader: IReadDescriptor) -> None:
        """
        The opposite of ``add_internal_reader``.
        """
        self._removeInternalReader(reader)

    # Processes and signals.

    def spawnProcess(self, *args: Any, **kwargs: Any) -> Any:
        """
        See ``IReactorProcess.spawnProcess``.
        """
        spawned = super().spawnProcess(*args, **kwargs)
        process.watch(self, spawned)
        return spawned

    def _signalsFactory(self) -> SignalHandling:
        # Without PosixReactorBase's SIGCHLD.
        return _MultiSignalHandling((ReactorBase._signalsFactory(self), _Waking(self)))

    def crash(self) -> None:
        """
        See ``IReactorCore.crash``.  What is closed in this turn is closed before the loop stops.
        """
        ReactorBase.crash(self)
        self.loop.call_soon(self.loop.stop)

    # twistd forks after it has chosen the reactor, and a loop does not survive that in general.

    def beforeDaemonize(self) -> None:
        """
        See ``IReactorDaemonize.beforeDaemonize``: give up the loop, unless it was given to us.
        """
        if self._own_loop:
            self._suspended = [*self._readers], [*self._writers]
            for reader in self._suspended[0]:
                self.removeReader(reader)
            for writer in self._suspended[1]:
                self.removeWriter(writer)
            self._suspended_ports = [*self.ports]
            for port in self._suspended_ports:
                port.stopReading()
            self._timerHandle = self._scheduledAt = None
            self.loop.close()

    def afterDaemonize(self) -> None:
        """
        See ``IReactorDaemonize.afterDaemonize``: go on with a new loop.
        """
        if self._own_loop:
            self._asyncioEventloop = new_loop()
            self._prepare_loop()
            asyncio.set_event_loop(self.loop)
            for reader in self._suspended[0]:
                self.addReader(reader)
            for writer in self._suspended[1]:
                self.addWriter(writer)
            for port in self._suspended_ports:
                port.startReading()
            self._reschedule()


class _Waking:
    """
    Signals wake the loop, so that Python's handlers run at once, whichever thread the system chose to tell.

    uvloop sees to that itself while it runs.  asyncio's own loop does so only for handlers that it knows of.
    """

    def __init__(self, reactor: TwistginxReactor) -> None:
        self._reactor = reactor
        self._descriptors: tuple[socket.socket, socket.socket] | None = None

    def install(self) -> None:
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
            # An ignored child leaves nothing to reap, its status included.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if not isinstance(self._reactor.loop, asyncio.BaseEventLoop):
            return
        ours, theirs = self._descriptors = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._reactor.loop.add_reader(ours.fileno(), self._woken)

    def _woken(self) -> None:
        if self._descriptors is not None:
            self._descriptors[0].recv(4096)

    def uninstall(self) -> None:
        if self._descriptors is not None:
            ours, theirs = self._descriptors
            self._descriptors = None
            self._reactor.loop.remove_reader(ours.fileno())
            signal.set_wakeup_fd(self._before)
            ours.close()
            theirs.close()


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    Errors that asyncio would log, in Twisted's log.
    """
    error = context.get("exception")
    if error is None:
        _log.error("asyncio: {message}", message=context.get("message"))
    else:
        _log.failure("asyncio: {message}", failure=Failure(error), message=context.get("message"))


def install(loop: asyncio.AbstractEventLoop | None = None) -> TwistginxReactor:
    """
    Make a reactor, and make it the one.

    :param loop: to run on; None: a new one, of the fastest kind there is.
    """
    reactor = TwistginxReactor(loop)
    asyncio.set_event_loop(reactor.loop)
    installReactor(reactor)
    return reactor
