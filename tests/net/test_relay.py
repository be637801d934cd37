"""
A relay joins two wires, and nobody on either end can tell.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ISSLTransport
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from tests.net.authority import asking, serving
from tests.net.wire import BUFFER, HalfCloser, Recorder, Wire
from twistginx.net.handover import hand_over
from twistginx.net.relay import ABORTED, DONE, IDLE, LEFT_BROKE, RIGHT_BROKE, Relay
from twistginx.net.timers import Ticker
from twistginx.net.tls import TLSServer, client_factory
from twistginx.net.tlscontext import TLSTable

IDLE_TIME = 60.0


class RelayTestCase(SynchronousTestCase):
    """
    A client, a relay, a server.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock)
        self.client: Any = HalfCloser()
        self.server: Any = HalfCloser()
        self.ended: list[str] = []
        self.relay = Relay(self.ticker, IDLE_TIME, lambda relay: self.ended.append(relay.reason))

    def join(self, chunk: int = 2**16) -> None:
        """
        Both sides are there.
        """
        self.left = Wire(self.client, self.relay.left, chunk)
        self.right = Wire(self.relay.right, self.server, chunk)

    def flush(self) -> None:
        """
        Until nothing moves.
        """
        self.left.flush(self.right)

    def assertEnded(self, reason: str) -> None:
        """
        It ended once, for that reason, and left nothing behind.
        """
        self.assertEqual(self.ended, [reason])
        self.assertEqual(len(self.ticker), 0)
        self.assertFalse(self.left.right.connected)
        self.assertFalse(self.right.left.connected)


class DataTests(RelayTestCase):
    """
    Bytes go through.
    """

    def test_both_ways(self) -> None:
        """
        Each side hears the other, and the bytes are counted by who sent them.
        """
        self.join()
        self.client.transport.write(b"question")
        self.server.transport.write(b"answer!")
        self.flush()
        self.assertEqual((self.server.received, self.client.received), (b"question", b"answer!"))
        self.assertEqual((self.relay.left.received, self.relay.right.received), (8, 7))

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.tuples(st.booleans(), st.binary(max_size=100_000), st.booleans()), max_size=10),
        st.integers(500, 100_000),
    )
    def test_any(self, writes: list[tuple[bool, bytes, bool]], chunk: int) -> None:
        """
        Any conversation, delivered at any time, arrives whole on both sides.
        """
        self.setUp()
        self.join(chunk)
        sent: dict[bool, bytes] = {True: b"", False: b""}
        for from_client, data, deliver in writes:
            (self.client if from_client else self.server).transport.write(data)
            sent[from_client] += data
            if deliver:
                self.left.left.step()
                self.right.right.step()
                self.right.left.step()
        self.flush()
        self.assertEqual((self.server.received, self.client.received), (sent[True], sent[False]))

    def test_back_pressure(self) -> None:
        """
        A side that does not read pauses the other, so that memory stays bounded; and it goes on where it stopped.
        """
        self.join(chunk=2**14)
        data = bytes(range(256)) * 8192
        self.server.transport.pauseProducing()
        self.client.transport.write(data)
        self.flush()
        self.assertTrue(self.left.right.paused)
        self.assertLess(len(self.right.left.buffer), BUFFER + 2**15)
        self.server.transport.resumeProducing()
        self.flush()
        self.assertEqual(self.server.received, data)

    def test_handed_over(self) -> None:
        """
        It takes connections over, with the bytes that had been read and were not meant for who read them.
        """
        first = Recorder()
        self.left = Wire(self.client, first)
        self.client.transport.write(b"GET")
        self.left.flush()
        self.right = Wire(self.relay.right, self.server)
        self.server.transport.write(b"early")
        self.flush()
        hand_over(first, self.relay.left)
        self.relay.left.dataReceived(b"rest")
        self.client.transport.write(b", more")
        self.flush()
        self.assertEqual(self.server.received, b"rest, more")
        self.assertEqual(self.client.received, b"early")
        self.client.transport.loseWriteConnection()
        self.server.transport.loseConnection()
        self.flush()
        self.assertEqual(first.events, ["made"])
        self.assertEnded(DONE)

    def test_waits(self) -> None:
        """
        The first side waits, paused, in whichever order they come; a read's worth that comes all the same is held.
        """
        self.left = Wire(self.client, self.relay.left)
        self.assertTrue(self.left.right.paused)
        self.relay.left.dataReceived(b"held, ")
        self.client.transport.write(b"waiting")
        self.client.transport.loseWriteConnection()
        self.left.flush()
        self.right = Wire(self.relay.right, self.server)
        self.flush()
        self.assertEqual(self.server.received, b"held, waiting")
        self.assertEqual(self.server.events, ["made", "read lost"])

    def test_much_is_held(self) -> None:
        """
        What was held may fill the other side at once.
        """
        self.left = Wire(self.client, self.relay.left)
        self.relay.left.dataReceived(b"x" * (2 * BUFFER))
        self.right = Wire(self.relay.right, self.server)
        self.assertTrue(self.left.right.paused)
        self.flush()
        self.assertFalse(self.left.right.paused)
        self.assertEqual(len(self.server.received), 2 * BUFFER)

    def test_interfaces(self) -> None:
        """
        The ends are protocols that know half-close.
        """
        for end in (self.relay.left, self.relay.right):
            verifyObject(IProtocol, end)
            verifyObject(IHalfCloseableProtocol, end)


class EndTests(RelayTestCase):
    """
    The end of one side is the end of the other, in kind.
    """

    def test_half_close(self) -> None:
        """
        Who has said everything is still answered; when both have, both are closed.
        """
        self.join()
        self.client.transport.write(b"question")
        self.client.transport.loseWriteConnection()
        self.flush()
        self.assertEqual((self.server.received, self.server.events), (b"question", ["made", "read lost"]))
        self.server.transport.write(b"answer")
        self.flush()
        self.assertEqual((self.client.received, self.ended), (b"answer", []))
        self.server.transport.loseWriteConnection()
        self.flush()
        self.assertEqual(self.client.events, ["made", "write lost", "read lost"])
        self.assertEnded(DONE)

    def test_close_flushes(self) -> None:
        """
        What was sent before the end arrives before the end, also at a side that reads late.
        """
        self.join()
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * BUFFER)
        self.client.transport.loseConnection()
        self.flush()
        self.server.transport.resumeProducing()
        self.server.transport.loseWriteConnection()
        self.flush()
        self.assertEqual(len(self.server.received), BUFFER)
        self.assertEnded(DONE)

    def test_close_without_half_close(self) -> None:
        """
        Where an end of file is the end of the connection at once, the other side is closed, with what it is still owed.
        """
        self.join()
        self.client.transport.write(b"last words")
        self.left.left.step()
        self.left.right.lost(ConnectionDone())
        self.flush()
        self.assertEqual((self.server.received, self.server.events), (b"last words", ["made", "read lost"]))
        self.server.transport.loseConnection()
        self.flush()
        self.assertEnded(DONE)

    def test_reset(self) -> None:
        """
        A reset goes through as a reset, from either side.
        """
        for side, reason in (("client", LEFT_BROKE), ("server", RIGHT_BROKE)):
            self.setUp()
            self.join()
            self.client.transport.write(b"x" * 100)
            getattr(self, side).transport.abortConnection()
            self.flush()
            other = self.server if side == "client" else self.client
            self.assertIsInstance(other.reason, ConnectionLost)
            self.assertEnded(reason)

    def test_abort(self) -> None:
        """
        It can be cut, as a whole or by one of its transports, as a listener does at the end.
        """
        for whole in (True, False):
            self.setUp()
            self.join()
            if whole:
                self.relay.abort()
            else:
                self.relay.left.transport.abortConnection()
            self.flush()
            self.assertIsInstance(self.client.reason, ConnectionLost)
            self.assertIsInstance(self.server.reason, ConnectionLost)
            self.assertEnded(ABORTED)

    def test_drain(self) -> None:
        """
        Draining leaves it alone: only its sides know when they are done.
        """
        self.join()
        self.relay.left.drain()
        self.flush()
        self.assertEqual(self.ended, [])

    def test_first_leaves(self) -> None:
        """
        A side that leaves before the other has come ends it; if the other comes after all, it is turned away.
        """
        self.left = Wire(self.client, self.relay.left)
        self.client.transport.abortConnection()
        self.left.flush()
        self.assertEqual(self.ended, [LEFT_BROKE])
        self.right = Wire(self.relay.right, self.server)
        self.right.flush()
        self.assertIsInstance(self.server.reason, ConnectionLost)
        self.assertEnded(LEFT_BROKE)

    def test_both_at_once(self) -> None:
        """
        Both sides end at the same time.
        """
        self.join()
        self.client.transport.write(b"a")
        self.server.transport.write(b"b")
        self.client.transport.loseConnection()
        self.server.transport.loseConnection()
        self.flush()
        self.assertEnded(DONE)


class IdleTests(RelayTestCase):
    """
    A relay in which nothing moves is closed.
    """

    def test_idle(self) -> None:
        """
        Both sides are closed, in order.
        """
        self.join()
        self.clock.pump([1.0] * 61)
        self.flush()
        self.assertEqual((self.client.events, self.server.events), (["made", "read lost"],) * 2)
        self.assertEnded(IDLE)

    def test_busy(self) -> None:
        """
        A byte in either direction puts it off.
        """
        self.join()
        for side in (self.client, self.server) * 4:
            self.clock.pump([1.0] * 50)
            side.transport.write(b"x")
            self.flush()
        self.assertEqual(self.ended, [])
        self.clock.pump([1.0] * 61)
        self.flush()
        self.assertEnded(IDLE)

    def test_stuck(self) -> None:
        """
        A side that does not take the rest is cut off.
        """
        self.join()
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 1000)
        self.flush()
        self.clock.pump([1.0] * 61)
        self.flush()
        self.assertEqual(self.ended, [])
        self.clock.pump([1.0] * 6)
        self.flush()
        self.assertEnded(IDLE)

    def test_waiting_is_not_idle(self) -> None:
        """
        While one side has not come, time is somebody else's matter.
        """
        self.left = Wire(self.client, self.relay.left)
        self.clock.pump([1.0] * 100)
        self.assertEqual(self.ended, [])


class TLSTests(RelayTestCase):
    """
    One side under TLS, the other in the clear.
    """

    def join(self, chunk: int = 2**16) -> None:
        layer = client_factory(Factory.forProtocol(lambda: self.client), asking(), "a.test", self.ticker).buildProtocol(
            None
        )
        server = TLSServer(TLSTable(default=serving("a.test")), self.ticker)
        self.left = Wire(layer, server.wrap(self.relay.left), chunk)
        self.right = Wire(self.relay.right, self.server, chunk)
        self.flush()

    def test_half_close(self) -> None:
        """
        A close_notify of TLS 1.3 becomes a half-close, and the other way round.
        """
        self.join()
        self.client.transport.write(b"question")
        self.client.transport.loseWriteConnection()
        self.flush()
        self.assertEqual((self.server.received, self.server.events), (b"question", ["made", "read lost"]))
        self.server.transport.write(b"answer")
        self.server.transport.loseConnection()
        self.flush()
        self.assertEqual(self.client.received, b"answer")
        self.assertIn("read lost", self.client.events)
        self.assertEnded(DONE)

    def test_cut_off(self) -> None:
        """
        TLS that is cut off resets the other side; a reset there cuts TLS off.
        """
        for from_client in (True, False):
            self.setUp()
            self.join()
            if from_client:
                self.left.left.disconnecting = True
            else:
                self.server.transport.abortConnection()
            self.flush()
            other = self.server if from_client else self.client
            self.assertIsInstance(other.reason, ConnectionLost)
            self.assertEnded(LEFT_BROKE if from_client else RIGHT_BROKE)

    def test_back_pressure(self) -> None:
        """
        TLS is paused while the other side is full.
        """
        self.join()
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 1_000_000)
        self.flush()
        self.assertTrue(self.left.right.paused)
        self.assertLess(len(self.right.left.buffer), BUFFER + 2**17)
        self.server.transport.resumeProducing()
        self.flush()
        self.assertEqual(len(self.server.received), 1_000_000)

    def test_others(self) -> None:
        """
        TLS of Twisted's own has no half-close that could be used: it is closed.
        """
        RelayTestCase.setUp(self)
        RelayTestCase.join(self)
        directlyProvides(self.right.left, ISSLTransport)
        self.client.transport.loseWriteConnection()
        self.flush()
        self.assertNotIn("loseWriteConnection", self.right.left.calls)
        self.assertIn("loseConnection", self.right.left.calls)
