"""
Tests for ``twistginx.workers.backoff``.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twistginx.workers.backoff import MOST, WELL, Backoff


class BackoffTests(SynchronousTestCase):
    """
    The more often, the longer.
    """

    def test_well(self) -> None:
        """
        What has lived is replaced at once, each time.
        """
        backoff = Backoff()
        self.assertEqual([backoff.died(WELL), backoff.died(1000)], [0, 0])

    def test_crash_loop(self) -> None:
        """
        What dies at once is waited for longer and longer, up to a bound.
        """
        backoff = Backoff()
        self.assertEqual([backoff.died(0.1) for _ in range(7)], [1, 2, 4, 8, 16, MOST, MOST])
        for _ in range(2000):
            backoff.died(0)
        self.assertEqual(backoff.died(0), MOST)

    def test_recovered(self) -> None:
        """
        A life that was long enough makes up for everything.
        """
        backoff = Backoff()
        backoff.died(0)
        backoff.died(0)
        self.assertEqual([backoff.died(WELL), backoff.died(0)], [0, 1])
