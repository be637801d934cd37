"""
Ports, attempts to connect and sockets made elsewhere, of twistginx.net.reactor.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import stat
import tempfile
import time
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionRefusedError,
    UnsupportedAddressFamily,
    UserError,
)
from twisted.internet.interfaces import IFileDescriptorReceiver, IListeningPort, IUNIXTransport
from twisted.internet.protocol import ClientFactory, Factory
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.lockfile import FilesystemLock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.net.reactors import LIMIT, OnAsyncio, OnUvloop, ReactorCase, Recorder


@implementer(IFileDescriptorReceiver)
class Receiver(Recorder):
    """
    Receives descriptors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.descriptors: list[int] = []

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self.descriptors.append(descriptor)


class Refused(ClientFactory):
    """
    Notes why it did not connect.
    """

    def __init__(self, case: Any) -> None:
        self.case = case
        self.reason: Any = None

    def buildProtocol(self, address: Any) -> Any:
        raise AssertionError("there is no connection")

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.reason = reason
        self.case.later(self.case.stop)


class Ports(ReactorCase):
    """
    Listening.
    """

    def test_port(self) -> None:
        """
        A port says where it listens, has a descriptor, and stops.
        """
        factory = Factory.forProtocol(Recorder)
        stopped: list[Any] = []
        factory.stopFactory = lambda: stopped.append("factory")  # type: ignore[method-assign]
        port = self.reactor.listenTCP(0, factory, backlog=7, interface="127.0.0.1")
        verifyObject(IListeningPort, port)
        address = ("127.0.0.1", port.getHost().port)
        self.assertEqual(os.fstat(port.fileno()).st_ino, os.fstat(port.socket.fileno()).st_ino)
        self.assertIn(port, self.reactor.getReaders())

        def refused(ignored: Any) -> None:
            stopped.append("port")
            self.assertRaises(OSError, socket.create_connection, address)
            self.stop()

        self.reactor.callWhenRunning(lambda: port.stopListening().addCallback(refused))
        self.go()
        self.assertEqual(stopped, ["factory", "port"])
        self.assertNotIn(port, self.reactor.getReaders())

    def test_in_use(self) -> None:
        """
        A port that is taken is reported.
        """
        taken = self.listen(Recorder).getHost().port
        factory = Factory.forProtocol(Recorder)
        error = self.assertRaises(CannotListenError, self.reactor.listenTCP, taken, factory, interface="127.0.0.1")
        self.assertEqual(error.port, taken)

    def test_ipv6(self) -> None:
        """
        IPv6 addresses are named as such.
        """
        server = Recorder()
        factory = Factory()
        factory.buildProtocol = lambda address: (seen.append(address), server)[1]  # type: ignore[func-returns-value]
        seen: list[Any] = []
        try:
            port = self.reactor.listenTCP(0, factory, interface="::1")
        except CannotListenError:
            raise self.skipTest("no IPv6 here") from None
        sock = socket.create_connection(("::1", port.getHost().port), LIMIT)
        self.addCleanup(sock.close)
        server.on_made = self.stop
        self.go()
        self.assertEqual((seen[0].host, seen[0].port), sock.getsockname()[:2])
        self.assertEqual(server.transport.getHost().host, "::1")

    def test_accepting_is_paused(self) -> None:
        """
        While a port does not read, connections wait; when it reads again, they are served.
        """
        server = Recorder()
        port = self.listen(server)
        port.stopReading()
        early: list[bool] = []
        self.raw(port)
        self.later(lambda: (early.append(server.transport is None), port.startReading()))
        server.on_made = self.stop
        self.go()
        self.assertEqual(early, [True])

    def test_no_protocol(self) -> None:
        """
        A factory that builds no protocol, or raises, has the connection closed; the next one is served.
        """
        answers = [lambda: None, lambda: 1 / 0, Recorder]
        factory = Factory()
        factory.buildProtocol = lambda address: answers.pop(0)()
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        socks = [self.raw(port) for _ in range(3)]
        self.later(self.stop)
        self.go()
        self.assertEqual([socks[0].recv(1), socks[1].recv(1)], [b"", b""])
        self.assertEqual(answers, [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_out_of_descriptors(self) -> None:
        """
        When the process may open no more descriptors, a connection that waits does not make the loop spin.
        """
        address = ("127.0.0.1", self.listen(Recorder).getHost().port)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        waiting = socket.socket()
        self.addCleanup(waiting.close)

        def exhaust() -> None:
            spare = os.dup(0)
            os.close(spare)
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare, before[1]))
            waiting.connect(address)

        times: list[float] = []
        self.reactor.loop.set_exception_handler(lambda loop, context: None)  # asyncio's own complains, once
        self.reactor.callLater(0, exhaust)
        self.reactor.callLater(0.02, lambda: times.append(time.process_time()))
        self.reactor.callLater(0.22, lambda: (times.append(time.process_time()), self.stop()))
        try:
            self.go()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        self.assertLess(times[1] - times[0], 0.05)

    def test_inherited(self) -> None:
        """
        A listening socket that another process has bound is used instead of binding, and stays open for the others.
        """
        bound = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(bound.close)
        number = bound.getsockname()[1]
        server = Recorder()
        factory = Factory()
        factory.buildProtocol = lambda address: server
        self.reactor.inherited["tcp", "127.0.0.1", number] = os.dup(bound.fileno())
        port = self.reactor.listenTCP(number, factory, interface="127.0.0.1")
        self.assertEqual(port.key, ("tcp", "127.0.0.1", number))
        self.assertEqual(self.reactor.inherited, {})
        self.assertEqual(port.getHost().port, number)
        self.raw(port)
        server.on_made = lambda protocol: port.stopListening().addCallback(self.stop)
        self.go()
        # It still listens: whoever shares the socket accepts.
        with socket.create_connection(("127.0.0.1", number), LIMIT), bound.accept()[0]:
            pass

    def test_adopted_port(self) -> None:
        """
        A listening socket can be adopted by its descriptor, which stays the caller's.
        """
        bound = socket.create_server(("127.0.0.1", 0))
        server = Recorder()
        factory = Factory()
        factory.buildProtocol = lambda address: server
        port = self.reactor.adoptStreamPort(bound.fileno(), socket.AF_INET, factory)
        self.assertEqual(port.getHost().port, bound.getsockname()[1])
        bound.close()
        self.raw(port)
        server.on_made = self.stop
        self.go()
        self.assertRaises(UnsupportedAddressFamily, self.reactor.adoptStreamPort, 0, 12345, factory)

    def test_adopted_connection(self) -> None:
        """
        A connected socket can be adopted; what is written before the loop has it is sent first.
        """
        here, there = tcp_pair()
        self.addCleanup(there.close)
        server = Recorder()
        factory = Factory()
        factory.buildProtocol = lambda address: server
        server.on_made = lambda protocol: protocol.transport.write(b"made")
        server.on_data = lambda protocol, data: self.stop()
        transport = self.reactor.adoptStreamConnection(here.fileno(), socket.AF_INET, factory)
        here.close()
        self.assertEqual(transport.getPeer().port, there.getsockname()[1])
        self.assertEqual(transport.getHost().port, there.getpeername()[1])
        transport.write(b"early ")
        there.sendall(b"data")
        self.go()
        self.assertEqual(there.recv(100), b"early made")
        self.assertEqual(server.data, b"data")

    def test_adopted_and_left(self) -> None:
        """
        An adopted connection that is to be lost, or aborted, before the loop has it is made and then ended.
        """
        for end, expected in (("loseConnection", ConnectionDone), ("abortConnection", Exception)):
            here, there = tcp_pair()
            server = Recorder()
            server.on_lost = self.stop
            factory = Factory()
            factory.buildProtocol = lambda address, server=server: server  # type: ignore[misc]
            getattr(self.reactor.adoptStreamConnection(here.fileno(), socket.AF_INET, factory), end)()
            here.close()
            self.go()
            self.assertIsInstance(server.reason.value, expected)
            there.close()
            self.renew()

    def test_descriptor_taken_away(self) -> None:
        """
        Who takes a connection's descriptor to give it to somebody else can, as from under Twisted's own transports.
        """
        first = Recorder()
        sock = self.raw(self.listen(first))

        def made(protocol: Any) -> None:
            self.reactor.removeReader(protocol.transport)
            taken.append(protocol.transport.duplicate())
            protocol.transport.socket.close()

        taken: list[int] = []
        first.on_made = made
        first.on_lost = self.stop
        self.go()
        with socket.socket(fileno=taken[0]) as rest:
            rest.setblocking(True)
            sock.sendall(b"still here")
            self.assertEqual(rest.recv(100), b"still here")


class Attempts(ReactorCase):
    """
    Connecting.
    """

    def test_refused(self) -> None:
        """
        A refused connection is reported, and the factory stopped.
        """
        port = self.listen(Recorder)
        number = port.getHost().port
        factory = Refused(self)
        stopped: list[bool] = []
        factory.stopFactory = lambda: stopped.append(True)  # type: ignore[method-assign]
        self.reactor.callWhenRunning(
            lambda: port.stopListening().addCallback(
                lambda ignored: self.reactor.connectTCP("127.0.0.1", number, factory)
            )
        )
        self.go()
        self.assertIsInstance(factory.reason.value, ConnectionRefusedError)
        self.assertEqual(stopped, [True])

    def test_stop_connecting(self) -> None:
        """
        An attempt can be given up, even between the connection and its protocol.
        """
        server = Recorder()
        factory = Refused(self)
        attach = self.reactor.attach

        def give_up(connection: Any, sock: Any) -> None:
            attach(connection, sock)
            connector.stopConnecting()

        self.reactor.attach = give_up  # type: ignore[method-assign]
        connector = self.reactor.connectTCP("127.0.0.1", self.listen(server).getHost().port, factory)
        self.go()
        self.assertIsInstance(factory.reason.value, UserError)
        self.assertIsNotNone(server.reason, "our end of the connection is closed")

    def test_no_protocol(self) -> None:
        """
        A factory that builds no protocol has made a connection, which is lost at once.
        """
        server = Recorder()
        factory = ClientFactory()
        factory.buildProtocol = lambda address: None
        lost: list[Any] = []
        factory.clientConnectionLost = lambda connector, reason: lost.append(reason.value)
        server.on_lost = self.stop
        self.reactor.connectTCP("127.0.0.1", self.listen(server).getHost().port, factory)
        self.go()
        self.assertIsInstance(lost[0], ConnectionDone)

    def test_build_protocol_raises(self) -> None:
        """
        A factory that raises has failed to connect.
        """
        factory = Refused(self)
        factory.buildProtocol = lambda address: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        self.reactor.connectTCP("127.0.0.1", self.listen(Recorder).getHost().port, factory)
        self.go()
        self.assertIn("division", str(factory.reason.value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_connector(self) -> None:
        """
        A connector disconnects the connection that it has made, and can connect again.
        """
        clients = [Recorder(), Recorder()]
        factory = ClientFactory()
        todo = list(clients)
        factory.buildProtocol = lambda address: todo.pop(0)
        factory.clientConnectionLost = lambda connector, reason: connector.connect() if todo else self.stop()
        for client in clients:
            client.on_made = lambda protocol: self.later(connector.disconnect)
        connector = self.reactor.connectTCP("127.0.0.1", self.listen(Recorder).getHost().port, factory)
        self.go()
        self.assertEqual([type(client.reason.value) for client in clients], [ConnectionDone] * 2)
        self.assertEqual(connector.state, "disconnected")


class UnixSockets(ReactorCase):
    """
    UNIX sockets.
    """

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "socket")

    def talk(self, server: Any, client: Any, address: str, check: bool = False, **options: Any) -> Any:
        """
        Connect the two, and run until somebody stops it.
        """
        listening, connecting = Factory(), ClientFactory()
        listening.buildProtocol = lambda address: server
        connecting.buildProtocol = lambda address: client
        port = self.reactor.listenUNIX(address, listening, **options)
        self.reactor.connectUNIX(address, connecting, checkPID=check)
        self.go()
        return port

    def test_conversation(self) -> None:
        """
        The path has the mode and the lock that were asked for, and both are gone when the port stops.
        """
        server, client = Recorder(), Recorder()
        seen: list[Any] = []

        def made(protocol: Any) -> None:
            verifyObject(IUNIXTransport, protocol.transport)
            protocol.transport.setTcpNoDelay(True)
            self.assertFalse(protocol.transport.getTcpNoDelay())
            seen.extend([stat.S_IMODE(os.stat(self.path).st_mode), os.path.islink(self.path + ".lock")])
            seen.extend([server.transport.getHost(), client.transport.getPeer(), client.transport.getHost()])

        server.on_data = lambda protocol, data: (made(protocol), protocol.transport.write(data.upper()))
        client.on_made = lambda protocol: protocol.transport.write(b"hello")
        client.on_data = lambda protocol, data: protocol.transport.loseConnection()
        server.on_lost = self.stop
        port = self.talk(server, client, self.path, check=True, mode=0o600, wantPID=True)
        self.assertEqual(client.data, b"HELLO")
        here = UNIXAddress(self.path)
        self.assertEqual(seen, [0o600, True, here, here, UNIXAddress(None)])
        self.assertFalse(port.connected)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [])

    def test_may_not_remove(self) -> None:
        """
        Who has given up root may not remove what root has bound: the port stops nevertheless, and says so.
        """
        server, client = Recorder(), Recorder()

        def made(protocol: Any) -> None:
            self.patch(os, "unlink", refuse)
            self.patch(FilesystemLock, "unlock", refuse)
            self.stop()

        def refuse(*_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        said: list[str] = []

        def observe(event: Any) -> None:
            said.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        server.on_made = made
        port = self.talk(server, client, self.path, wantPID=True)
        self.assertFalse(port.connected)
        self.assertEqual(said.count(f"{self.path} is left behind: permission denied"), 2)

    def test_abstract(self) -> None:
        """
        A name of the abstract name space is nothing in the file system.
        """
        server, client = Recorder(), Recorder()
        server.on_made = lambda protocol: protocol.transport.write(b"x")
        client.on_data = lambda protocol, data: self.stop()
        self.talk(server, client, "\0" + self.path)
        self.assertEqual(client.data, b"x")

    def test_inherited(self) -> None:
        """
        An inherited socket's path stays when the port stops.
        """
        bound = socket.socket(socket.AF_UNIX)
        self.addCleanup(bound.close)
        bound.bind(self.path)
        bound.listen()
        self.reactor.inherited["unix", os.fsencode(self.path)] = bound
        server, client = Recorder(), Recorder()
        server.on_made = self.stop
        port = self.talk(server, client, self.path, wantPID=True)
        self.assertFalse(port.connected)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["socket"])

    def test_descriptors(self) -> None:
        """
        Descriptors travel in both roles, with the bytes that are written with them; a protocol that can receive them
        sees the same bytes as any other.
        """
        inputs = [os.pipe() for _ in range(3)]
        for reading, writing in inputs:
            self.addCleanup(os.close, reading)
            self.addCleanup(os.close, writing)
        for receiver_listens in (True, False):
            sender, receiver = Recorder(), Receiver()

            def made(protocol: Any) -> None:
                for _, writing in inputs:
                    protocol.transport.sendFileDescriptor(writing)
                protocol.transport.write(b"abc")
                protocol.transport.write(b"def")
                protocol.transport.loseConnection()

            sender.on_made = made
            receiver.on_lost = self.stop
            self.talk(*((receiver, sender) if receiver_listens else (sender, receiver)), self.path)
            self.assertEqual(receiver.data, b"abcdef")
            for number, descriptor in enumerate(receiver.descriptors):
                os.write(descriptor, b"%d" % number)
                os.close(descriptor)
            self.assertEqual([os.read(reading, 9) for reading, _ in inputs], [b"0", b"1", b"2"])
            self.renew()

    def test_descriptor_for_nobody(self) -> None:
        """
        A descriptor sent to a protocol that takes none is not leaked.
        """
        sender, other = Recorder(), Recorder()

        def made(protocol: Any) -> None:
            counts.append(len(os.listdir("/proc/self/fd")))
            for _ in range(10):
                protocol.transport.sendFileDescriptor(0)
            protocol.transport.write(b"x" * 10)

        counts: list[int] = []
        sender.on_made = made
        other.on_data = lambda protocol, data: self.later(
            lambda: (gc.collect(), counts.append(len(os.listdir("/proc/self/fd"))), self.stop())
        )
        self.talk(other, sender, self.path)
        self.assertEqual(other.data, b"x" * 10)
        self.assertLessEqual(counts[1], counts[0] + 2)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """
    Two TCP sockets that are connected to each other.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = socket.create_connection(listening.getsockname(), LIMIT)
        return listening.accept()[0], there


class UvloopPortsTests(OnUvloop, Ports):
    """
    Ports on uvloop.
    """


class AsyncioPortsTests(OnAsyncio, Ports):
    """
    Ports on asyncio's own loop.
    """


class UvloopAttemptsTests(OnUvloop, Attempts):
    """
    Attempts on uvloop.
    """


class AsyncioAttemptsTests(OnAsyncio, Attempts):
    """
    Attempts on asyncio's own loop.
    """


class UvloopUnixSocketsTests(OnUvloop, UnixSockets):
    """
    UNIX sockets on uvloop.
    """


class AsyncioUnixSocketsTests(OnAsyncio, UnixSockets):
    """
    UNIX sockets on asyncio's own loop.
    """


# Only the classes with a loop are tests.
del Ports, Attempts, UnixSockets
