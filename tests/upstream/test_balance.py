"""
Tests for twistginx.upstream.balance and twistginx.upstream.round_robin.
"""

from __future__ import annotations

from itertools import islice
from math import gcd
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twistginx.interfaces import IBalanceModule
from twistginx.upstream import round_robin
from twistginx.upstream.balance import smooth, spaced, turns

weights = st.lists(st.integers(1, 20), min_size=1, max_size=8)


class TurnsTests(SynchronousTestCase):
    """
    Weighted turns are fair, and spread.
    """

    def test_example(self) -> None:
        """
        5, 1, 1 is spread as it is documented.
        """
        self.assertEqual(list(islice(turns([5, 1, 1]), 14)), [0, 0, 1, 0, 2, 0, 0] * 2)

    @settings(max_examples=100, deadline=None)
    @given(weights)
    def test_fair(self, weights: list[int]) -> None:
        """
        In one period each has exactly the turns of its weight, and in any stretch at most one and a bit more than its
        share.
        """
        total = sum(weights)
        share = gcd(*weights)
        period = total // share
        taken = list(islice(turns(weights), 3 * period))
        for index, weight in enumerate(weights):
            self.assertEqual(taken[:period].count(index), weight // share)
        for end in range(1, period + 1):
            for index, weight in enumerate(weights):
                self.assertLess(abs(taken[:end].count(index) - end * weight / total), len(weights))
        self.assertEqual(taken[:period], taken[period : 2 * period])

    @settings(max_examples=20, deadline=None)
    @given(weights)
    def test_same_without_memory(self, weights: list[int]) -> None:
        """
        The repeated period is what computing on would give.
        """
        self.assertEqual(list(islice(turns(weights), 500)), list(islice(smooth(weights), 500)))

    @settings(max_examples=50, deadline=None)
    @given(weights)
    def test_spaced(self, weights: list[int]) -> None:
        """
        Those that are not computed at once are as fair: exact over a period, and near their share at any time.
        """
        total = sum(weights)
        period = total // gcd(*weights)
        taken = list(islice(spaced(weights), 2 * period))
        for index, weight in enumerate(weights):
            self.assertEqual(taken[:period].count(index), weight * period // total)
            for end in range(1, 2 * period + 1):
                self.assertLess(abs(taken[:end].count(index) - end * weight / total), len(weights))

    def test_long_period(self) -> None:
        """
        Weights whose period is long cost no memory.
        """
        taken = list(islice(turns([99991, 99989]), 10))
        self.assertEqual(taken, [0, 1] * 5)

    def test_many(self) -> None:
        """
        A hundred weights that have little in common are neither added up at each turn, nor computed all at once.
        """
        weights = [Weight(number) for number in range(1, 101)]
        following = turns(weights)
        Weight.added = 0
        taken = list(islice(following, 5050))
        self.assertLess(Weight.added, 300)
        self.assertEqual([taken.count(index) for index in range(100)], list(range(1, 101)))


class Weight(int):
    """
    One that counts how often any is calculated with.
    """

    added = 0

    def __radd__(self, other: int) -> int:
        Weight.added += 1
        return int(other) + int(self)

    __add__ = __radd__


class Weighted:
    """
    A peer, as far as balancing knows it.
    """

    share = 10


class RoundRobinTests(SynchronousTestCase):
    """
    ``balance = "round_robin"``.
    """

    def setUp(self) -> None:
        self.pick = round_robin.make(round_robin.Config(), None).pick
        self.peers: Any = (Weighted(), Weighted(), Weighted())

    def test_module(self) -> None:
        """
        The module is what the contract says.
        """
        self.assertTrue(verifyObject(IBalanceModule, round_robin))
        self.assertEqual((round_robin.name, round_robin.api), ("round_robin", 1))

    def test_turns(self) -> None:
        """
        Peers take turns.
        """
        a, b, c = self.peers
        self.assertEqual([self.pick(self.peers, None, ()) for _ in range(6)], [a, b, c, a, b, c])

    def test_tried(self) -> None:
        """
        What was tried is passed over, and when all were there is none.
        """
        a, b, c = self.peers
        self.pick(self.peers, None, ())
        self.assertIs(self.pick(self.peers, None, [b]), c)
        self.assertIs(self.pick(self.peers, None, [a, b]), c)
        self.assertIsNone(self.pick(self.peers, None, [a, b, c]))

    def test_nobody(self) -> None:
        """
        Of no peers there is none.
        """
        self.assertIsNone(self.pick((), None, ()))
        self.assertIsNone(self.pick((), None, self.peers))

    def test_change(self) -> None:
        """
        Another set of peers is taken up at once.
        """
        _, b, c = self.peers
        self.pick(self.peers, None, ())
        fewer = (b, c)
        self.assertEqual([self.pick(fewer, None, ()) for _ in range(4)], [b, c, b, c])
        self.assertIsNone(self.pick((), None, ()))
