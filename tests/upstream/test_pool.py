"""
Tests for twistginx.upstream.pool.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.options import options, timeouts
from twistginx.config.address import ServerAddress
from twistginx.errors import ProxyError
from twistginx.http.client import ClientConnection, Patience
from twistginx.net.timers import Ticker
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream
from twistginx.upstream.round_robin import RoundRobin

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = ProxyError("connection_refused")


class PoolCase(SynchronousTestCase):
    """
    An upstream of two peers.
    """

    keepalive = 3

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)
        self.peers = [
            Peer(ServerAddress.parse(f"127.0.0.1:{port}"), self.reactor, self.ticker) for port in (9001, 9002)
        ]
        self.upstream = Upstream("app", options(keepalive=self.keepalive), self.peers, RoundRobin().pick, self.ticker)

    def advance(self, seconds: float) -> None:
        """
        Time passes.
        """
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)

    def connected(self, peer: Peer) -> ClientConnection:
        """
        A new connection.
        """
        connecting = self.upstream.connect(peer)
        factory = self.reactor.tcpClients[-1][2]
        transport: Any = StringTransport()
        transport.protocol = factory.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return self.successResultOf(connecting)

    def served(self, connection: ClientConnection, answer: bytes = OK) -> None:
        """
        A request and its response.
        """
        receiver: Any = SimpleNamespace(
            response_head=lambda head, more: None,
            response_end=lambda trailers: None,
            response_whole=lambda head, body: None,
        )
        connection.send(HEAD, receiver, Patience())
        connection.dataReceived(answer)

    def resting(self, peer: Peer, answer: bytes = OK) -> ClientConnection:
        """
        A connection that has come to rest.
        """
        connection = self.connected(peer)
        self.served(connection, answer)
        return connection


class RestTests(PoolCase):
    """
    Connections rest between requests, as long as their server keeps them.
    """

    def test_last_in_first_out(self) -> None:
        """
        The warmest connection is used first, and each only once; peers have their own.
        """
        a, b = self.peers
        first, second = self.resting(a), self.resting(a)
        self.assertIsNone(self.upstream.take(b))
        self.assertIs(self.upstream.take(a), second)
        self.assertIs(self.upstream.take(a), first)
        self.assertIsNone(self.upstream.take(a))
        self.assertEqual(self.upstream.resting, 0)

    def test_bound(self) -> None:
        """
        No more than ``keepalive`` connections rest, over all peers.
        """
        a, b = self.peers
        connections = [self.connected(peer) for peer in (a, a, b, b)]
        for connection in connections:
            self.served(connection)
        self.assertEqual([connection.transport.disconnecting for connection in connections], [False] * 3 + [True])
        self.assertEqual(self.upstream.resting, 3)

    def test_closed_by_server(self) -> None:
        """
        A connection that the server closes at rest is not used again.
        """
        a, _ = self.peers
        first, second = self.resting(a), self.resting(a)
        second.connectionLost(Failure(ConnectionDone()))
        self.assertIs(self.upstream.take(a), first)
        self.assertEqual(self.upstream.resting, 0)

    def test_time(self) -> None:
        """
        Rest ends after four seconds where nothing better is known.
        """
        connection = self.resting(self.peers[0])
        self.advance(3.5)
        self.assertFalse(connection.transport.disconnecting)
        self.advance(1)
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(self.upstream.resting, 0)

    def test_announced(self) -> None:
        """
        Rest ends 1.5 s before the server says that it ends it; before half the time where that is short.
        """
        for timeout, until in ((10, 8.5), (2, 1), (1, 0.5)):
            answer = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=%d\r\n\r\n" % timeout)
            connection = self.resting(self.peers[0], answer)
            self.assertEqual(connection.deadline - self.ticker.now, until)
            self.upstream.take(self.peers[0])
        connection = self.resting(self.peers[0], OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=0\r\n\r\n"))
        self.assertTrue(connection.transport.disconnecting)

    def test_learned(self) -> None:
        """
        A server that closes sooner than we do teaches us to be sooner; one that restarts teaches nothing.
        """
        a, b = self.peers
        connection = self.resting(a)
        self.advance(0.5)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(a.linger, 4.0)
        connection = self.resting(a)
        self.advance(2)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(a.linger, 1.5)
        self.assertEqual(b.linger, 4.0)
        connection = self.resting(b)
        self.advance(1.25)
        self.upstream.found_dead(connection)
        self.assertEqual(b.linger, 0.75)
        self.assertEqual(self.upstream.stale, 1)

    def test_our_close_teaches_nothing(self) -> None:
        """
        Our own end of a rest is no lesson.
        """
        connection = self.resting(self.peers[0])
        self.advance(5)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.peers[0].linger, 4.0)

    def test_stop(self) -> None:
        """
        Stopping closes what rests, cleanly, and what comes to rest later; starting again keeps them again.
        """
        a, b = self.peers
        resting, busy = self.resting(a), self.connected(b)
        self.upstream.stop()
        self.assertTrue(resting.transport.disconnecting)
        self.assertEqual(self.upstream.resting, 0)
        self.assertFalse(busy.transport.disconnecting)
        self.served(busy)
        self.assertTrue(busy.transport.disconnecting)
        self.upstream.start()
        self.resting(a)
        self.assertEqual(self.upstream.resting, 1)

    def test_no_clock_left(self) -> None:
        """
        When all connections are gone, nothing is watched.
        """
        connection = self.resting(self.peers[0])
        self.upstream.stop()
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.ticker), 0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class NothingKeptTests(PoolCase):
    """
    ``keepalive = 0``.
    """

    keepalive = 0

    def test_closed(self) -> None:
        """
        No connection rests.
        """
        self.assertTrue(self.resting(self.peers[0]).transport.disconnecting)


class ScoreTests(PoolCase):
    """
    A peer that fails again and again is left out for a while.
    """

    def let_fail(self, peer: Peer, times: int = 5, error: ProxyError = REFUSED) -> None:
        """
        Requests fail on ``peer``.
        """
        for _ in range(times):
            self.upstream.failed(peer, error)

    def test_left_out(self) -> None:
        """
        Five failures in a row, and for ten seconds others answer; then one more failure makes it twenty.
        """
        a, b = self.peers
        self.let_fail(a, 4)
        self.assertEqual(self.upstream.available, (a, b))
        self.let_fail(a, 1)
        self.assertEqual(self.upstream.available, (b,))
        self.assertEqual([self.upstream.pick(None, ()) for _ in range(3)], [b] * 3)
        self.advance(10.5)
        self.assertEqual(self.upstream.available, (a, b))
        self.let_fail(a, 1)
        self.advance(19.5)
        self.assertEqual(self.upstream.available, (b,))
        self.advance(1)
        self.assertEqual(self.upstream.available, (a, b))

    def test_bounded(self) -> None:
        """
        The while never grows beyond five minutes.
        """
        a, b = self.peers
        self.let_fail(a, 4)
        for _ in range(10):
            self.let_fail(a, 1)
            self.advance(301)
            self.assertEqual(self.upstream.available, (a, b))

    def test_success(self) -> None:
        """
        An answer forgives all, and brings a peer back.
        """
        a, b = self.peers
        self.let_fail(a, 4)
        self.upstream.succeeded(a)
        self.let_fail(a, 4)
        self.assertEqual(self.upstream.available, (a, b))
        self.let_fail(a, 1)
        self.upstream.succeeded(a)
        self.assertEqual(self.upstream.available, (a, b))
        self.assertEqual((a.failures, a.outages), (0, 0))

    def test_end(self) -> None:
        """
        When the upstream ends nobody is said to be up again; when it begins again, those that were left out are.
        """
        first, _ = self.peers
        for _ in range(5):
            self.upstream.failed(first, REFUSED)
        with capturedLogs() as events:
            self.upstream.stop()
        self.assertEqual(events, [])
        self.assertEqual(len(self.ticker), 0)
        self.upstream.start()
        self.assertEqual(first.state, "up")

    def test_never_the_last(self) -> None:
        """
        The last peer is not left out, however it fails; when it was tried, those that are left out are.
        """
        a, b = self.peers
        self.let_fail(a)
        self.let_fail(b, 50)
        self.assertEqual(self.upstream.available, (b,))
        self.assertIs(self.upstream.pick(None, [b]), a)
        self.assertIsNone(self.upstream.pick(None, [a, b]))

    def test_not_its_fault(self) -> None:
        """
        What a client did, or we, is not held against a peer.
        """
        for word in ("client_disconnected", "request_body_timeout", "proxy_internal_error"):
            self.let_fail(self.peers[0], 10, ProxyError(word))
        self.assertEqual(self.peers[0].failures, 0)

    def test_settings(self) -> None:
        """
        Timeouts are known by their settings; those of a nameless upstream are the route's.
        """
        self.assertEqual(self.upstream.patience.first_byte_setting, "upstream.app.timeouts.first_byte = 60s")
        connecting = self.upstream.connect(self.peers[0])
        self.reactor.advance(3.5)
        self.assertEqual(
            self.failureResultOf(connecting, ProxyError).value.setting, "upstream.app.timeouts.connect = 3s"
        )
        inline = Upstream("127.0.0.1:1", self.upstream_options(), self.peers, RoundRobin().pick, self.ticker)
        self.assertEqual(inline.patience.idle_setting, "timeouts.idle = 1.5s")

    def upstream_options(self) -> Any:
        return options(keepalive=1, timeouts=timeouts(1.0, 1.0, 1.5))
