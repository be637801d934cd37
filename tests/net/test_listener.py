"""
Tests for ``twistginx.net.listener``.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistginx.net.listener import Listener, ListenError, with_backlog


class Greeting(Protocol):
    """
    Says a word, and counts itself among the listener's connections.
    """

    def __init__(self, listener, word):
        self.listener = listener
        self.word = word
        self.drained = False

    def connectionMade(self):
        self.listener.connections.add(self)
        self.transport.write(self.word)

    def connectionLost(self, reason):
        self.listener.connections.discard(self)

    def drain(self):
        self.drained = True


class Greeter:
    """
    A frontend.
    """

    def __init__(self, word=b"hello"):
        self.word = word

    def build_protocol(self, listener, address):
        return Greeting(listener, self.word)


class RefusingReactor(MemoryReactorClock):
    """
    A reactor on which nothing can be bound, for a given reason.
    """

    def __init__(self, error):
        super().__init__()
        self.error = error

    def listenTCP(self, *args, **kwargs):
        raise CannotListenError(None, 80, self.error)

    listenUNIX = listenTCP


class BacklogTests(SynchronousTestCase):
    """
    An endpoint string that says no backlog gets ours, whatever its kind and its quoting.
    """

    def test_added(self):
        """
        Where the kind takes one and the string says none.
        """
        for endpoint in (
            "tcp:80",
            "tcp:80:127.0.0.1",
            r"tcp:80:interface=\:\:1",
            "tcp6:80",
            r"unix:/run/a\:b",
            r"unix:/run/a\=b",
            "unix:/run/a:mode=600",
            "ssl:443:privateKey=k:certKey=c",
        ):
            self.assertEqual(with_backlog(endpoint, 7), f"{endpoint}:backlog=7")

    def test_kept(self):
        """
        Where the string says one, by name or by position, and where the kind takes none.
        """
        for endpoint in (
            "tcp:80:backlog=9",
            "tcp:80:127.0.0.1:9",
            "tcp6:80:9",
            "unix:/run/a:600:9",
            "unix:/run/a:backlog=9:mode=600",
            "systemd:domain=INET:index=0",
            "haproxy:tcp:80",
            "acme:80",
        ):
            self.assertEqual(with_backlog(endpoint, 7), endpoint)

    @given(strategies.text(strategies.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
    @settings(max_examples=50, deadline=None)
    def test_any_path(self, path):
        """
        Twisted understands the result, for any quoted path, as the same path with that backlog.
        """
        clock = MemoryReactorClock()
        quoted = quoteStringArgument(path).replace("=", r"\=")
        serverFromString(clock, with_backlog(f"unix:{quoted}", 7)).listen(Factory())
        (bound,) = clock.unixServers
        self.assertEqual((bound[0], bound[2]), (path, 7))


class ListenerTests(SynchronousTestCase):
    """
    A listener binds an endpoint string, and serves with what is swapped into it.
    """

    def setUp(self):
        self.clock = MemoryReactorClock()
        self.listener = Listener(self.clock, "tcp:8080:interface=127.0.0.1")

    def test_open(self):
        """
        It binds at once, with our backlog.
        """
        self.assertIsNone(self.listener.address)
        self.successResultOf(self.listener.open())
        self.assertEqual(self.clock.tcpServers, [(8080, self.listener, 4096, "127.0.0.1")])
        self.assertIsNotNone(self.listener.address)

    def test_own_backlog(self):
        """
        The configuration's backlog is used, and the endpoint string's own comes first.
        """
        self.successResultOf(Listener(self.clock, "tcp:1", 5).open())
        self.successResultOf(Listener(self.clock, "tcp:1:backlog=6", 5).open())
        self.assertEqual([server[2] for server in self.clock.tcpServers], [5, 6])

    def test_close(self):
        """
        Closing frees the address; doing so twice, or before opening, is harmless.
        """
        self.successResultOf(self.listener.close())
        self.successResultOf(self.listener.open())
        self.successResultOf(self.listener.close())
        self.assertIsNone(self.listener.address)
        self.successResultOf(self.listener.close())

    def test_not_serving_yet(self):
        """
        Before the first commit, connections are turned away.
        """
        self.assertIsNone(self.listener.buildProtocol(None))
        self.assertEqual(self.listener.accepted, 0)

    def test_frontend(self):
        """
        The frontend of the moment answers.
        """
        self.listener.frontend = Greeter(b"one")
        self.assertEqual(self.listener.buildProtocol(None).word, b"one")
        self.listener.frontend = Greeter(b"two")
        self.assertEqual(self.listener.buildProtocol(None).word, b"two")
        self.assertEqual(self.listener.accepted, 2)

    def test_drain(self):
        """
        Every open connection is asked to end.
        """
        self.listener.frontend = Greeter()
        connections = [self.listener.buildProtocol(None) for _ in range(2)]
        for connection in connections:
            connection.makeConnection(StringTransport())
        self.listener.drain()
        self.assertEqual([connection.drained for connection in connections], [True, True])

    def test_abort(self):
        """
        Every open connection is cut, and counted; the log says whose they were, and what they were doing, of so many
        that it can be read.
        """
        self.listener.frontend = Greeter()
        connections = []
        for number in range(25):
            connections.append(self.listener.buildProtocol(None))
            connections[-1].makeConnection(StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", number)))
            connections[-1].doing = f"in GET /{number}"
        with capturedLogs() as logs:
            self.assertEqual(self.listener.abort(), 25)
        for connection in connections:
            self.assertTrue(connection.transport.disconnected or connection.transport.aborting)
        texts = {formatEvent(event) for event in logs}
        every = {f"{self.listener.endpoint}: 192.0.2.7:{number} is cut off, in GET /{number}" for number in range(25)}
        self.assertEqual((len(texts), len(logs)), (20, 20))
        self.assertLess(texts, every)

    def refusal(self, endpoint, error=None):
        """
        What is said when ``endpoint`` cannot be bound because of ``error``.
        """
        clock = MemoryReactorClock() if error is None else RefusingReactor(error)
        return str(self.failureResultOf(Listener(clock, endpoint).open(), ListenError).value)

    def test_refusals(self):
        """
        What the system refuses is said in words, with the endpoint.
        """
        for number, text in (
            (errno.EADDRINUSE, "tcp:80: address already in use"),
            (errno.EACCES, "tcp:80: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE"),
            (errno.EADDRNOTAVAIL, "tcp:80: no interface of this machine has that address"),
            (errno.ENETDOWN, "tcp:80: network is down"),
        ):
            self.assertEqual(self.refusal("tcp:80", OSError(number, os.strerror(number))), text)

    def test_unix_refusals(self):
        """
        A UNIX socket has its own: a lock that is held, a directory that is not there or not ours.
        """
        self.assertEqual(
            self.refusal("unix:/run/a", "Cannot acquire lock"),
            "unix:/run/a: address already in use (Cannot acquire lock)",
        )
        self.assertEqual(
            self.refusal("unix:/no/a", OSError(errno.ENOENT, "No such file or directory")),
            "unix:/no/a: there is no such directory",
        )
        self.assertEqual(
            self.refusal("unix:/root/a", OSError(errno.EACCES, "Permission denied")), "unix:/root/a: permission denied"
        )

    def test_nonsense(self):
        """
        A string that is no endpoint is refused with Twisted's own words.
        """
        self.assertEqual(
            self.refusal("carrier-pigeon:80"), "carrier-pigeon:80: Unknown endpoint type: 'carrier-pigeon'"
        )
        self.assertIn("tcp:eighty: ", self.refusal("tcp:eighty"))

    def test_systemd(self):
        """
        A socket that systemd did not pass is said to be that.
        """
        text = self.refusal("systemd:domain=INET:name=web")
        self.assertIn("systemd:domain=INET:name=web: systemd passed no such socket", text)


class RealListenerTests(TestCase):
    """
    Endpoint strings of every kind, on real sockets.
    """

    def opened(self, endpoint):
        listener = Listener(reactor, endpoint)
        listener.frontend = Greeter()
        self.addCleanup(listener.close)
        return listener.open().addCallback(lambda _: listener)

    def greeting(self, family, address):
        """
        What a client reads from ``address``.
        """
        said = Deferred()

        class Client(Protocol):
            def dataReceived(self, data):
                self.transport.loseConnection()
                self.data = data

            def connectionLost(self, reason):
                said.callback(self.data)

        client = Factory.forProtocol(Client)
        client.noisy = False
        factory = _Once(client)
        if family is socket.AF_UNIX:
            reactor.connectUNIX(address, factory)
        else:
            reactor.connectTCP(*address, factory)
        return said

    async def test_tcp(self):
        """
        ``tcp:`` serves; a second listener on the port is refused, and says why.
        """
        listener = await self.opened("tcp:0:interface=127.0.0.1")
        port = listener.address.port
        self.assertEqual(await self.greeting(socket.AF_INET, ("127.0.0.1", port)), b"hello")
        error = await self.assertFailure(self.opened(f"tcp:{port}:interface=127.0.0.1"), ListenError)
        self.assertEqual(str(error), f"tcp:{port}:interface=127.0.0.1: address already in use")

    async def test_ipv6(self):
        """
        An IPv6 address works in ``tcp:`` and in ``tcp6:``.
        """
        listeners = await gatherResults([self.opened(r"tcp:0:interface=\:\:1"), self.opened(r"tcp6:0:interface=\:\:1")])
        for listener in listeners:
            address = ("::1", listener.address.port)
            self.assertEqual(await self.greeting(socket.AF_INET6, address), b"hello")

    test_ipv6.skip = None if socket.has_ipv6 and Path("/proc/net/if_inet6").exists() else "no IPv6 here"

    @staticmethod
    def mode(path):
        """
        Who may do what with a file; None when it is not there.
        """
        return Path(path).stat().st_mode & 0o777 if Path(path).exists() else None

    async def test_unix(self):
        """
        ``unix:`` serves, with the mode that the string says, and its path is free again when it is closed.
        """
        path = "test_unix.socket"
        listener = await self.opened(f"unix:{path}:mode=600")
        self.assertEqual(self.mode(path), 0o600)
        self.assertEqual(await self.greeting(socket.AF_UNIX, path), b"hello")
        error = await self.assertFailure(self.opened(f"unix:{path}"), ListenError)
        self.assertIn("address already in use", str(error))
        await listener.close()
        self.assertIsNone(self.mode(path))


class _Once(Factory):
    """
    A client factory of the kind that ``connectTCP`` takes.
    """

    noisy = False

    def __init__(self, factory):
        self.factory = factory

    def startedConnecting(self, connector):
        pass

    def buildProtocol(self, addr):
        return self.factory.buildProtocol(addr)

    def clientConnectionFailed(self, connector, reason):
        raise reason.value

    def clientConnectionLost(self, connector, reason):
        pass
