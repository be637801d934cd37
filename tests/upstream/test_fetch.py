"""
Tests for twistginx.upstream.fetch.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.options import options, timeouts
from twistginx.config.address import ServerAddress
from twistginx.errors import ProxyError
from twistginx.http.message import Fields
from twistginx.net.timers import Ticker
from twistginx.testing import Connection
from twistginx.upstream.fetch import Answer, Bounds, Question, fetch, fetch_from
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream
from twistginx.upstream.round_robin import RoundRobin

HOST = Fields.of([(b"Host", b"auth.local")])
GET = Question(b"GET", b"/verify?x=1", HOST)
OK = b"HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 2\r\n\r\nok"
BOUNDS = Bounds(5.0, 100, "forward_auth.timeout = 5s")


class FetchCase(SynchronousTestCase):
    """
    An upstream of two peers, in memory.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)
        self.peers = [
            Peer(ServerAddress.parse(f"127.0.0.1:{port}"), self.reactor, self.ticker) for port in (9001, 9002)
        ]
        patient = options(keepalive=4, timeouts=timeouts(60.0))
        self.upstream = Upstream("auth", patient, self.peers, RoundRobin().pick, self.ticker)
        self.taken = 0

    def ask(self, question: Question = GET) -> Deferred[Answer]:
        return fetch(question, self.upstream, self.ticker, BOUNDS)

    def accept(self) -> Connection:
        """
        Be the server, on the oldest connection that is being made.
        """
        host, port, factory = self.reactor.tcpClients[self.taken][:3]
        self.taken += 1
        address: Any = SimpleNamespace(host=host, port=port)
        return Connection(factory.buildProtocol(address), address, address)

    def refuse(self) -> None:
        """
        Be nobody.
        """
        factory = self.reactor.tcpClients[self.taken][2]
        factory.clientConnectionFailed(self.reactor.connectors[self.taken], Failure(ConnectionRefusedError()))
        self.taken += 1

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)

    def failed(self, done: Deferred[Answer]) -> ProxyError:
        """
        How it failed; nothing is left behind of it.
        """
        error: ProxyError = self.failureResultOf(done, ProxyError).value
        return error


class FetchTests(FetchCase):
    """
    L{fetch}.
    """

    def test_answer(self) -> None:
        """
        The request leaves whole; the answer is its status, its fields and its body; no deadline is left behind.
        """
        done = self.ask()
        server = self.accept()
        self.assertEqual(server.take(), b"GET /verify?x=1 HTTP/1.1\r\nHost: auth.local\r\n\r\n")
        server.send(OK)
        answer = self.successResultOf(done)
        self.assertEqual((answer.status, answer.fields.first(b"x-user"), answer.body), (200, b"ann", b"ok"))
        self.assertEqual(len(self.ticker), 1)  # the connection, at rest
        self.upstream.stop()

    def test_every_framing(self) -> None:
        """
        An answer is the same in whatever framing and pieces it comes; a status is no failure.
        """
        for wire in (
            b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nn\r\n1\r\no\r\n0\r\n\r\n",
            b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 403 No\r\nConnection: close\r\n\r\nno",
        ):
            for cut in (0, 1):
                done = self.ask()
                server = self.accept()
                server.send(wire, cut)
                server.close()
                answer = self.successResultOf(done)
                self.assertEqual((answer.status, answer.body), (403, b"no"))
        self.assertEqual(len(self.ticker), 0)

    def test_pooled(self) -> None:
        """
        The next question goes over the connection of the last one.
        """
        self.ask()
        self.ask()
        servers = [self.accept(), self.accept()]
        for server in servers:
            server.send(OK)
        done = [self.ask(), self.ask()]
        self.assertEqual(len(self.reactor.tcpClients), 2)
        for server in servers:
            server.send(OK)
        for each in done:
            self.assertEqual(self.successResultOf(each).status, 200)
        self.upstream.stop()

    def test_body(self) -> None:
        """
        A body is announced, an empty one of a POST too; a HEAD is answered without one.
        """
        self.ask(Question(b"POST", b"/", HOST, b"a=1"))
        self.assertTrue(self.accept().take().endswith(b"\r\nContent-Length: 3\r\n\r\na=1"))
        self.ask(Question(b"POST", b"/", HOST))
        self.assertTrue(self.accept().take().endswith(b"\r\nContent-Length: 0\r\n\r\n"))
        done = self.ask(Question(b"HEAD", b"/", HOST))
        self.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        self.assertEqual(self.successResultOf(done).body, b"")

    def test_next_peer(self) -> None:
        """
        A peer that cannot be reached is followed by the next; the last failure is the answer when there is none left.
        """
        done = self.ask()
        self.refuse()
        self.accept().send(OK)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual([peer.failures for peer in self.peers], [1, 0])
        self.upstream.stop()

    def test_all_refuse(self) -> None:
        """
        Nobody is there.
        """
        done = self.ask()
        self.refuse()
        self.refuse()
        self.assertEqual(self.failed(done).reason.word, "connection_refused")
        self.assertEqual(len(self.ticker), 0)

    def test_stale(self) -> None:
        """
        A connection that had rested and dies is replaced once for a GET, and never for a POST.
        """
        self.ask()
        self.ask()
        servers = [self.accept(), self.accept()]
        for server in servers:
            server.send(OK)
        get, post = self.ask(), self.ask(Question(b"POST", b"/", HOST))
        for server in servers:
            server.close()
        self.assertEqual(len(self.reactor.tcpClients), 3)
        self.accept().send(OK)
        self.assertEqual(self.successResultOf(get).status, 200)
        self.assertEqual(self.failed(post).reason.word, "connection_terminated")
        self.assertEqual(self.upstream.stale, 2)
        self.upstream.stop()

    def test_too_large(self) -> None:
        """
        An answer of more bytes than there is room for is a failure, announced or not, and its connection is broken.
        """
        for wire in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101,
        ):
            done = self.ask()
            server = self.accept()
            server.send(wire)
            error = self.failed(done)
            self.assertEqual((error.reason.word, error.received), ("http_protocol_error", 200))
            self.assertIn("more than 100 bytes", error.detail)
        exact = self.ask()
        self.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)
        self.assertEqual(len(self.successResultOf(exact).body), 100)
        self.upstream.stop()

    def test_time(self) -> None:
        """
        The time is for all of it: connecting, the head, and a body that trickles.
        """
        done = self.ask()
        self.advance(5.25)
        error = self.failed(done)
        self.assertEqual((error.reason.word, error.setting), ("connection_timeout", "forward_auth.timeout = 5s"))
        done = self.ask()
        self.taken += 1
        server = self.accept()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
        for _ in range(6):
            server.send(b"x")
            self.advance(1)
        self.assertEqual(self.failed(done).reason.word, "http_response_timeout")
        self.assertTrue(server.transport.aborted)
        self.assertEqual(len(self.ticker), 0)

    def test_cancel(self) -> None:
        """
        Who is not interested any more cancels: the connection, or the attempt at one, ends.
        """
        done = self.ask()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        done = self.ask()
        self.taken += 1
        server = self.accept()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(server.transport.aborted)
        self.assertEqual(len(self.ticker), 0)

    def test_split(self) -> None:
        """
        A line end in a part would make two requests of one: it is refused before anything leaves.
        """
        for question in (
            Question(b"GET", b"/\r\nX: y", HOST),
            Question(b"GET", b"/", Fields.of([(b"Host", b"a"), (b"X-User", b"a\nb")])),
            Question(b"GET", b"/\0", HOST),
        ):
            self.assertRaises(ValueError, self.ask, question)
        self.assertEqual((len(self.reactor.tcpClients), len(self.ticker)), (0, 0))


class FetchFromTests(FetchCase):
    """
    L{fetch_from}.
    """

    def test_one_peer(self) -> None:
        """
        A fresh connection to this peer, closed after its answer; its failure is told and not counted.
        """
        done = fetch_from(GET, self.peers[1], self.ticker, BOUNDS)
        self.assertEqual(self.reactor.tcpClients[0][1], 9002)
        server = self.accept()
        server.send(OK)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertTrue(server.closed)
        done = fetch_from(GET, self.peers[1], self.ticker, BOUNDS)
        self.refuse()
        self.assertEqual(self.failed(done).reason.word, "connection_refused")
        self.assertEqual((self.peers[1].failures, len(self.ticker)), (0, 0))


class ShareTests(FetchCase):
    """
    A question is work of the peer like any request.
    """

    def test_counted(self) -> None:
        """
        What begins ends, once, however it ends.
        """
        outcomes = [self.ask() for _ in range(4)]
        self.assertEqual(sum(peer.begun - peer.ended for peer in self.peers), 4)
        self.accept().send(OK)
        self.accept().reset()
        outcomes[2].addErrback(lambda _: None)
        outcomes[2].cancel()
        self.advance(6)
        for each in outcomes:
            each.addErrback(lambda _: None)
        self.assertEqual([peer.begun - peer.ended for peer in self.peers], [0, 0])
        self.upstream.stop()

    def test_one_peer_is_not(self) -> None:
        """
        Who asks one peer how it is gives it no work.
        """
        fetch_from(GET, self.peers[0], self.ticker, BOUNDS)
        self.assertEqual(self.peers[0].begun, 0)
        self.accept().send(OK)
        self.assertEqual(self.peers[0].ended, 0)
