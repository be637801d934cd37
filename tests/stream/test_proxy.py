"""
The stream proxy: a peer is found, and then it is not there any more.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.net.wire import BUFFER, HalfCloser, Wire
from tests.stream.test_tcp import ADDRESS, FakeListener
from twistginx.config.units import Duration
from twistginx.errors import ProxyError
from twistginx.interfaces import IStreamModule
from twistginx.net.timers import Ticker
from twistginx.stream import proxy
from twistginx.stream.tcp import StreamFrontend


class FakePeer:
    """
    A peer that can be reached when the test says so.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.server = HalfCloser()
        self.attempts: list[tuple[Any, float, str]] = []
        self.connecting: Deferred[Any] = Deferred()
        self.cancelled = False
        self.refuses: Exception | None = None
        self.begun = self.ended = 0

    def __repr__(self) -> str:
        return self.label

    def connect(self, factory: Any, timeout: float, setting: str, preface: bytes | None) -> Deferred[Any]:
        self.attempts.append((factory, timeout, setting))
        if self.refuses is not None:
            return fail(self.refuses)
        self.connecting = Deferred(self.cancel)
        return self.connecting

    def cancel(self, _: Any) -> None:
        self.cancelled = True

    def accept(self) -> Wire:
        """
        The connection is made.
        """
        protocol = self.attempts[-1][0].buildProtocol(None)
        wire = Wire(protocol, self.server)
        self.connecting.callback(protocol)
        return wire


class FakeUpstream:
    """
    Peers in order, and what is said about them.
    """

    name = "db"
    attentive = False
    proxy_protocol = None
    connect_timeout = 3.0
    connect_setting = "upstream.db.timeouts.connect = 3s"

    def __init__(self, *peers: FakePeer) -> None:
        self.peers = peers
        self.score: list[tuple[str, str]] = []

    def pick(self, request: Any, tried: Any) -> FakePeer | None:
        assert isinstance(request.client_ip, bytes)
        return next((peer for peer in self.peers if peer not in tried), None)

    def wait(self, waiter: Any, tried: Any, failed: ProxyError | None) -> ProxyError:
        return failed or ProxyError("destination_unavailable")

    def leave(self, waiter: Any) -> None:
        pass

    def failed(self, peer: FakePeer, error: ProxyError) -> None:
        self.score.append((peer.label, error.reason.word))

    def succeeded(self, peer: FakePeer) -> None:
        self.score.append((peer.label, "ok"))


class FakeContext:
    """
    What a module is built with.
    """

    log = Logger()

    def __init__(self, upstream: Any, clock: Any) -> None:
        self.ticker = Ticker(clock)
        self._upstream = upstream

    def upstream(self, name: str) -> Any:
        assert name == "db"
        return self._upstream


class ModuleTests(SynchronousTestCase):
    """
    The module keeps the contract.
    """

    def test_interface(self) -> None:
        """
        It is a stream module.
        """
        verifyObject(IStreamModule, proxy)
        self.assertEqual((proxy.name, proxy.api), ("proxy", 1))

    def test_config(self) -> None:
        """
        The name of an upstream is enough; times are positive.
        """
        self.assertEqual(proxy.Config.from_shorthand("db"), proxy.Config("db"))
        self.assertEqual(proxy.Config("db").timeouts.idle, 3600)
        self.assertRaises(ValueError, proxy.Config.from_shorthand, 7)
        self.assertRaises(ValueError, proxy.Timeouts, idle=Duration(0))
        self.assertRaises(ValueError, proxy.Timeouts, connect=Duration(0))


class ProxyTestCase(SynchronousTestCase):
    """
    A client, the proxy behind a frontend, and two peers.
    """

    timeouts = proxy.Timeouts()

    def setUp(self) -> None:
        self.clock = Clock()
        self.peers = FakePeer("one"), FakePeer("two")
        self.upstream = FakeUpstream(*self.peers)
        self.proxy = proxy.make(proxy.Config("db", self.timeouts), FakeContext(self.upstream, self.clock))
        self.frontend = StreamFrontend(self.proxy)
        self.listener = FakeListener()
        self.client = HalfCloser()

    def accept(self) -> Wire:
        """
        A client connects.
        """
        return Wire(self.client, self.frontend.build_protocol(self.listener, ADDRESS))

    def counts(self) -> tuple[int, int, int, int]:
        """
        Joined, failed, left, failovers.
        """
        return self.proxy.joined, self.proxy.failed, self.proxy.left, self.proxy.failovers


class JoinTests(ProxyTestCase):
    """
    A client gets its peer.
    """

    def test_conversation(self) -> None:
        """
        Bytes go both ways and are counted; half-closes are passed on; at the end nothing is left.
        """
        left = self.accept()
        right = self.peers[0].accept()
        server = self.peers[0].server
        self.assertEqual(self.peers[0].attempts[0][1:], (3.0, "upstream.db.timeouts.connect = 3s"))
        self.client.transport.write(b"question")
        self.client.transport.loseWriteConnection()
        left.flush(right)
        self.assertEqual((server.received, server.events), (b"question", ["made", "read lost"]))
        server.transport.write(b"answer!")
        server.transport.loseWriteConnection()
        left.flush(right)
        self.assertEqual(self.client.received, b"answer!")
        self.assertEqual((self.proxy.from_clients, self.proxy.from_peers), (8, 7))
        self.assertEqual((self.upstream.score, self.counts()), ([("one", "ok")], (1, 0, 0, 0)))
        self.assertEqual((self.listener.connections, self.frontend.active), (set(), 0))
        self.assertFalse(right.left.connected)

    def test_early_client(self) -> None:
        """
        What the client says before there is a peer is held, one read of it at most, and its end too.
        """
        left = self.accept()
        self.client.transport.write(b"x" * (3 * BUFFER))
        self.client.transport.loseWriteConnection()
        left.flush()
        self.assertTrue(left.right.paused)
        self.assertEqual(len(left.left.buffer), 2 * BUFFER)
        right = self.peers[0].accept()
        left.flush(right)
        server = self.peers[0].server
        self.assertEqual((len(server.received), server.events), (3 * BUFFER, ["made", "read lost"]))

    def test_early_end(self) -> None:
        """
        A client that has nothing to say is connected all the same: it may want to listen.
        """
        left = self.accept()
        self.client.transport.loseWriteConnection()
        left.flush()
        right = self.peers[0].accept()
        self.peers[0].server.transport.write(b"Tue Nov 22")
        left.flush(right)
        self.assertEqual(self.client.received, b"Tue Nov 22")
        self.assertEqual(self.peers[0].server.events, ["made", "read lost"])

    def test_cut_off(self) -> None:
        """
        A peer that is cut off cuts the client off, and that is logged with its word.
        """
        left = self.accept()
        right = self.peers[0].accept()
        self.peers[0].server.transport.abortConnection()
        with capturedLogs() as logs:
            left.flush(right)
        self.assertIsInstance(self.client.reason, ConnectionLost)
        self.assertEqual([event["word"] for event in logs], ["connection_terminated"])
        self.assertEqual(self.listener.connections, set())

    def test_listener_aborts(self) -> None:
        """
        When the listener cuts its connections, the peer's goes too.
        """
        left = self.accept()
        right = self.peers[0].accept()
        (connection,) = self.listener.connections
        connection.drain()
        left.flush(right)
        self.assertEqual(self.peers[0].server.events, ["made"])
        connection.transport.abortConnection()
        left.flush(right)
        self.assertIsInstance(self.peers[0].server.reason, ConnectionLost)


class IdleTests(ProxyTestCase):
    """
    Times of the configuration are kept.
    """

    timeouts = proxy.Timeouts(connect=Duration(1.5), idle=Duration(10))

    def test_idle(self) -> None:
        """
        A connection in which nothing moves is closed on both sides.
        """
        left = self.accept()
        right = self.peers[0].accept()
        self.assertEqual(self.peers[0].attempts[0][1:], (1.5, "proxy.timeouts.connect = 1500ms"))
        self.clock.pump([1.0] * 12)
        left.flush(right)
        self.assertEqual(self.client.events, ["made", "read lost"])
        self.assertEqual(self.peers[0].server.events, ["made", "read lost"])
        self.assertEqual(self.listener.connections, set())


class FailureTests(ProxyTestCase):
    """
    Peers that cannot be reached, clients that do not wait.
    """

    def test_failover(self) -> None:
        """
        The next peer is tried, the first has it on its score, and the client does not notice.
        """
        left = self.accept()
        self.client.transport.write(b"hello")
        left.flush()
        with capturedLogs() as logs:
            self.peers[0].connecting.errback(ProxyError("connection_refused", "one: connection refused"))
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.info])
        right = self.peers[1].accept()
        left.flush(right)
        self.assertEqual(self.peers[1].server.received, b"hello")
        self.assertEqual(self.upstream.score, [("one", "connection_refused"), ("two", "ok")])
        self.assertEqual(self.counts(), (1, 0, 0, 1))

    def test_nobody(self) -> None:
        """
        When no peer can be reached, the client is cut off, and the last reason is logged once.
        """
        for peer in self.peers:
            peer.refuses = ProxyError("connection_refused", f"{peer.label}: connection refused")
        with capturedLogs() as logs:
            left = self.accept()
            left.flush()
        self.assertIsInstance(self.client.reason, ConnectionLost)
        warnings = [event for event in logs if event["log_level"] is LogLevel.warn]
        self.assertEqual([event["error"].reason.word for event in warnings], ["connection_refused"])
        self.assertEqual((self.counts(), self.listener.connections), ((0, 1, 0, 1), set()))

    def test_no_peer(self) -> None:
        """
        An upstream without a peer that may be asked.
        """
        self.upstream.peers = ()
        with capturedLogs() as logs:
            self.accept().flush()
        self.assertEqual([event["error"].reason.word for event in logs], ["destination_unavailable"])

    def test_client_leaves(self) -> None:
        """
        A client that leaves while a peer is being connected cancels that; nobody's score suffers.
        """
        left = self.accept()
        self.client.transport.abortConnection()
        left.flush()
        self.assertTrue(self.peers[0].cancelled)
        self.assertEqual((self.upstream.score, self.counts()), ([], (0, 0, 1, 0)))
        self.assertEqual((self.peers[1].attempts, self.listener.connections), ([], set()))

    def test_fault(self) -> None:
        """
        An exception that should not be is logged as a failure, and the client does not hang.
        """
        self.peers[0].refuses = ZeroDivisionError()
        with capturedLogs() as logs:
            self.accept().flush()
        self.assertEqual(logs[0]["log_level"], LogLevel.critical)
        self.assertIsInstance(self.client.reason, ConnectionLost)
        self.assertEqual(self.proxy.failed, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_cancelled_by_others(self) -> None:
        """
        An attempt that is cancelled, though not by us, does not leave the client waiting.
        """
        left = self.accept()
        self.peers[0].connecting.errback(CancelledError())
        left.flush()
        self.assertIsInstance(self.client.reason, ConnectionLost)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)


class SocketTests(TestCase):
    """
    Over real sockets: a megabyte each way, and half-close.
    """

    def test_echo(self) -> Deferred[None]:
        """
        What the client sends before its end comes back after it.
        """

        class Reverse(HalfCloser):
            def readConnectionLost(self) -> None:
                self.transport.write(self.received[::-1])
                self.transport.loseConnection()

        class Client(HalfCloser):
            def __init__(self) -> None:
                super().__init__()
                self.done: Deferred[bytes] = Deferred()

            def readConnectionLost(self) -> None:
                self.done.callback(self.received)
                self.transport.loseConnection()

        class RealPeer:
            def __init__(self, port: int) -> None:
                self.endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)

            begun = ended = 0

            def connect(self, factory: Any, timeout: float, setting: str, preface: bytes | None) -> Deferred[Any]:
                return self.endpoint.connect(factory).addErrback(self.refused)

            def refused(self, _: Any) -> None:
                raise ProxyError("connection_refused")

        class Listener(Factory, FakeListener):
            noisy = False

            def __init__(self, frontend: StreamFrontend) -> None:
                FakeListener.__init__(self)
                self.frontend = frontend

            def buildProtocol(self, addr: Any) -> Any:
                return self.frontend.build_protocol(self, addr)

        async def run() -> None:
            data = bytes(range(256)) * 4096
            local = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
            closed = await local.listen(Factory.forProtocol(Reverse))
            dead = closed.getHost().port
            await closed.stopListening()
            port = await local.listen(Factory.forProtocol(Reverse))
            self.addCleanup(port.stopListening)
            upstream: Any = FakeUpstream()
            upstream.peers = RealPeer(dead), RealPeer(port.getHost().port)
            upstream.failed = upstream.succeeded = lambda *_: None
            made = proxy.make(proxy.Config("db"), FakeContext(upstream, reactor))
            listener = Listener(StreamFrontend(made))
            ours = await local.listen(listener)
            self.addCleanup(ours.stopListening)
            client = Client()
            await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", ours.getHost().port), client)
            client.transport.write(data)
            client.transport.loseWriteConnection()
            self.assertEqual(await client.done, data[::-1])
            self.assertEqual((made.joined, made.failovers), (1, 1))
            while listener.connections:
                tick: Deferred[None] = Deferred()
                reactor.callLater(0, tick.callback, None)  # type: ignore[attr-defined]
                await tick
            self.assertEqual((made.from_clients, made.from_peers), (len(data), len(data)))

        return Deferred.fromCoroutine(run())
