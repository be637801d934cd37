"""
Tests for twistginx.upstream.breaker and breakers.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.test_pool import PoolCase
from twistginx.config.schema import Breaker as Config
from twistginx.config.units import Duration
from twistginx.errors import ProxyError
from twistginx.upstream.breaker import Breaker, Circuit
from twistginx.upstream.breakers import Breakers

LATE = ProxyError("http_response_timeout")


class BreakerTests(SynchronousTestCase):
    """
    The arithmetic.
    """

    def test_minimum(self) -> None:
        """
        Few answers say nothing.
        """
        breaker = Breaker(Config(minimum=4))
        self.assertEqual([breaker.count(True, 0.0) for _ in range(4)], [False, False, False, True])
        self.assertIs(breaker.circuit, Circuit.OPEN)

    def test_ratio(self) -> None:
        """
        It opens with the failure that makes too many, and not before.
        """
        breaker = Breaker(Config(ratio=0.5, minimum=4))
        for failed in (False, False, False, True, True):
            self.assertFalse(breaker.count(failed, 0.0))
        self.assertTrue(breaker.count(True, 0.0))

    def test_window(self) -> None:
        """
        What is older than the window does not count.
        """
        breaker = Breaker(Config(minimum=4, window=Duration(10)))
        for now in (0.0, 5.0, 10.5, 16.0, 22.0):
            self.assertFalse(breaker.count(True, now))
        self.assertEqual(breaker.counted, (2, 2))

    def test_trial(self) -> None:
        """
        After the pause one answer decides.
        """
        breaker = Breaker(Config(minimum=1))
        breaker.count(True, 0.0)
        self.assertFalse(breaker.count(False, 1.0))
        breaker.try_again()
        self.assertTrue(breaker.count(True, 5.0))
        self.assertIs(breaker.circuit, Circuit.OPEN)
        breaker.try_again()
        self.assertTrue(breaker.count(False, 10.0))
        self.assertIs(breaker.circuit, Circuit.CLOSED)
        self.assertEqual((breaker.trips, breaker.counted), (2, (0, 0)))

    @given(st.lists(st.tuples(st.booleans(), st.floats(0, 3))))
    def test_exact_enough(self, answers: list[tuple[bool, float]]) -> None:
        """
        What is counted is what came within the window, give or take a tenth of it.
        """
        breaker = Breaker(Config(minimum=10**9, window=Duration(10)))
        now = 0.0
        times = []
        for failed, later in answers:
            now += later
            times.append((now, failed))
            breaker.count(failed, now)
        bad, total = breaker.counted
        surely = [failed for time, failed in times if time > now - 8.99]
        maybe = [failed for time, failed in times if time >= now - 10.01]
        self.assertTrue(len(surely) <= total <= len(maybe))
        self.assertTrue(sum(surely) <= bad <= sum(maybe))


class BreakersTests(PoolCase):
    """
    The breakers of an upstream of two.
    """

    def setUp(self) -> None:
        super().setUp()
        self.breakers = Breakers(self.upstream, Config(minimum=3, pause=Duration(5)), self.ticker)

    def test_trip(self) -> None:
        """
        A server that fails too much gets nothing, and the log says why.
        """
        first, second = self.peers
        with capturedLogs() as events:
            self.breakers.answered(first, 200)
            for _ in range(2):
                self.breakers.answered(first, 503)
        self.assertEqual(first.state, "tripped")
        self.assertEqual(self.upstream.available, (second,))
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["app: 127.0.0.1:9001 is left alone: 2 of 3 requests failed within 10s; the next try is in 5s"],
        )

    def test_broken_answers(self) -> None:
        """
        An answer that breaks off after its head is one failure, and no success beside it.
        """
        first, _ = self.peers
        self.breakers = Breakers(self.upstream, Config(ratio=0.9, minimum=3), self.ticker)
        for _ in range(3):
            self.breakers.answered(first, 200)
            self.breakers.failed(first, ProxyError("http_response_incomplete"))
        self.assertEqual(first.state, "tripped")

    def test_all(self) -> None:
        """
        When all have tripped, there is nobody to pick, not even as a last resort.
        """
        for peer in self.peers:
            for _ in range(3):
                self.breakers.failed(peer, LATE)
        self.assertIsNone(self.upstream.pick(None, ()))

    def test_trial(self) -> None:
        """
        After the pause it gets one request at a time, until one has succeeded.
        """
        first, _ = self.peers
        for _ in range(3):
            self.breakers.failed(first, LATE)
        self.advance(4)
        self.assertEqual(first.state, "tripped")
        self.advance(2)
        self.assertEqual((first.state, first.max_connections), ("up", 1))
        first.begun += 1
        self.upstream.begin(first)
        self.assertEqual({self.upstream.pick(None, ()) for _ in range(4)}, {self.peers[1]})
        self.breakers.answered(first, 204)
        first.ended += 1
        self.upstream.done(first)
        self.assertEqual((first.state, first.max_connections), ("up", None))
        self.assertEqual({self.upstream.pick(None, ()) for _ in range(4)}, set(self.peers))

    def test_failed_trial(self) -> None:
        """
        When it fails again, it is left alone again.
        """
        first, _ = self.peers
        for _ in range(3):
            self.breakers.failed(first, LATE)
        self.advance(6)
        self.breakers.answered(first, 500)
        self.assertEqual(first.state, "tripped")
        self.assertIn("has failed, too", first.last_error)
        self.assertEqual(self.breakers.report()[0]["trips"], 2)

    def test_stop(self) -> None:
        """
        Who stops holds nothing against anybody.
        """
        first, _ = self.peers
        for _ in range(3):
            self.breakers.failed(first, LATE)
        self.breakers.stop()
        self.assertEqual(first.state, "up")
        self.assertEqual(len(self.ticker), 0)

    def test_end(self) -> None:
        """
        When the upstream ends, too, nobody is said to be up.
        """
        first, _ = self.peers
        for _ in range(3):
            self.breakers.failed(first, LATE)
        with capturedLogs() as events:
            self.upstream.stop()
            self.breakers.stop()
        self.assertEqual((events, first.tripped), ([], False))
