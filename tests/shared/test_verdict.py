"""
Tests for L{twistginx.shared.verdict}.
"""

from __future__ import annotations

from math import floor

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.shared.verdict import judge


class Reference:
    """
    A token bucket as everybody draws it.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.then = 0.0

    def take(self, now: float, cost: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.then) * self.rate)
        self.then = now
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


class Bucket:
    """
    The one that is tested.
    """

    def __init__(self, rate: float, burst: float, delay: float = 0.0) -> None:
        self.rate = rate
        self.burst = burst
        self.delay = delay
        self.tat = 0.0

    def take(self, now: float, cost: float = 1.0):
        self.tat, verdict = judge(self.tat, self.rate, self.burst, now, cost, self.delay)
        return verdict

    def count(self, number: int, now: float) -> int:
        """
        How many of so many requests are admitted.
        """
        return sum(self.take(now).admitted for _ in range(number))


class JudgeTests(SynchronousTestCase):
    """
    The arithmetic.
    """

    def test_burst(self) -> None:
        """
        Of 1,000 at once the burst is admitted, and then what the rate has brought since, at any point of any clock.
        """
        for start in (0.0, 1e5, 1.7e9):
            for rate, burst in ((10.0, 20), (1 / 3, 7), (600 / 60, 1), (1000.0, 1000), (7.0, 3)):
                bucket = Bucket(rate, burst)
                self.assertEqual(bucket.count(1000, start), burst)
                self.assertEqual(bucket.count(1000, start), 0)
                later = start + 2.5 / rate
                self.assertEqual(bucket.count(1000, later), min(2, burst))
                self.assertEqual(bucket.count(1000, start + 1000 * burst / rate), burst)

    def test_steady(self) -> None:
        """
        Who asks at the rate itself is never refused, however long he goes on.
        """
        bucket = Bucket(10.0, 1)
        self.assertTrue(all(bucket.take(1e6 + index / 10).admitted for index in range(20000)))

    def test_retry(self) -> None:
        """
        Who is refused and waits as long as he was told to is admitted; a moment before that, he is not.
        """
        bucket = Bucket(10.0, 20)
        bucket.count(20, 5.0)
        refused = bucket.take(5.03)
        self.assertFalse(refused.admitted)
        self.assertAlmostEqual(refused.wait, 0.07)
        self.assertFalse(bucket.take(5.03 + refused.wait - 0.001).admitted)
        self.assertTrue(bucket.take(5.03 + refused.wait).admitted)

    def test_left(self) -> None:
        """
        What is left is told, to who is admitted and to who is not.
        """
        bucket = Bucket(10.0, 20)
        self.assertAlmostEqual(bucket.take(1.0).left, 19)
        self.assertAlmostEqual(bucket.take(1.0, cost=18).left, 1)
        refused = bucket.take(1.0, cost=3)
        self.assertEqual((refused.admitted, round(refused.left, 6)), (False, 1))

    def test_delay(self) -> None:
        """
        With a delay, those that come too early are given the moment at which they may go on, one after the other.
        """
        bucket = Bucket(10.0, 2, delay=0.3)
        verdicts = [bucket.take(7.0) for _ in range(10)]
        self.assertEqual([each.admitted for each in verdicts], [True] * 5 + [False] * 5)
        self.assertEqual([round(each.wait, 6) for each in verdicts[:5]], [0.0, 0.0, 0.1, 0.2, 0.3])
        self.assertAlmostEqual(verdicts[5].wait, 0.1)

    def test_other_numbers(self) -> None:
        """
        A bucket that a slower limit has left empty for a day is empty for the new one, and no more than that.
        """
        slow = Bucket(1 / 86400, 1)
        slow.take(100.0)
        fast = Bucket(10.0, 5)
        fast.tat = slow.tat
        self.assertFalse(fast.take(100.0).admitted)
        self.assertTrue(fast.take(100.2).admitted)

    def test_clock_that_goes_back(self) -> None:
        """
        A clock that is a little behind, another worker's, gives nothing away.
        """
        bucket = Bucket(10.0, 20)
        bucket.count(20, 100.0)
        self.assertEqual(bucket.count(20, 99.9), 0)
        self.assertEqual(bucket.count(20, 100.0), 0)
        self.assertEqual(bucket.count(20, 100.1), 1)

    @given(
        st.integers(1, 500),
        st.integers(1, 100),
        st.lists(st.tuples(st.integers(0, 400), st.integers(1, 5)), max_size=60),
    )
    def test_reference(self, rate: int, burst: int, steps: list[tuple[int, int]]) -> None:
        """
        It admits what a token bucket admits.
        """
        # A clock of 2**-10 seconds and a rate that divides: the reference is exact.
        bucket, reference = Bucket(rate, burst), Reference(rate, burst)
        now = 0.0
        for pause, cost in steps:
            now += pause / 1024
            tokens = min(reference.burst, reference.tokens + (now - reference.then) * rate)
            if abs(tokens - cost) < 1e-3:
                continue  # as good as equal: rounding may say either
            self.assertEqual(bucket.take(now, cost).admitted, reference.take(now, cost), (now, cost))

    @given(st.integers(1, 1000), st.integers(1, 50), st.lists(st.integers(0, 50), min_size=1, max_size=100))
    def test_never_more(self, rate: int, burst: int, pauses: list[int]) -> None:
        """
        In no stretch of time are more admitted than the burst and what the rate brings in it.
        """
        bucket, now, admitted = Bucket(rate, burst), 50.0, []
        for pause in pauses:
            now += pause / 1000
            if bucket.take(now).admitted:
                admitted.append(now)
        for first in range(len(admitted)):
            for last in range(first, len(admitted)):
                allowed = burst + (admitted[last] - admitted[first]) * rate
                self.assertLessEqual(last - first + 1, floor(allowed + 1e-3))
