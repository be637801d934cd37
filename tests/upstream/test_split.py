"""
Tests for L{twistginx.upstream.split}.
"""

from __future__ import annotations

from collections import Counter
from math import sqrt

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.upstream.split import Split

#: Enough to see a share within two per cent or so.
KEYS = [b"client %d" % number for number in range(2000)]

weights = st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(0, 100), min_size=1).filter(
    lambda table: any(table.values())
)


def owners(table: dict[bytes, int]) -> list[bytes | None]:
    """
    Who has each of L{KEYS}.
    """
    split = Split(table)
    return [split.by_key(key) for key in KEYS]


class ByKeyTests(SynchronousTestCase):
    """
    L{Split.by_key}.
    """

    @settings(max_examples=12, deadline=None)
    @given(weights)
    def test_shares(self, table: dict[bytes, int]) -> None:
        """
        Each has its share of all keys, within five times what chance may do; one without a share has nothing.
        """
        counts = Counter(owners(table))
        total = sum(table.values())
        for name, weight in table.items():
            share = weight / total
            spread = sqrt(len(KEYS) * share * (1 - share))
            self.assertLessEqual(abs(counts[name] - len(KEYS) * share), 5 * spread + 1)
            if not weight:
                self.assertEqual(counts[name], 0)

    @settings(max_examples=12, deadline=None)
    @given(weights, st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(0, 100))
    def test_one_weight_changes(self, table: dict[bytes, int], name: bytes, weight: int) -> None:
        """
        Keys come to the one that grows, or leave the one that shrinks; no other key changes hands, in whatever order
        they stand.
        """
        after = {**dict(reversed(table.items())), name: weight}
        if not any(after.values()):
            after[name] = 1
        grows = after[name] > table.get(name, 0)
        for before, now in zip(owners(table), owners(after), strict=True):
            if before != now:
                self.assertEqual(now if grows else before, name)

    def test_as_few_as_possible(self) -> None:
        """
        From 5 to 20 of 100, 15 of 100 clients move, and nobody who had the canary loses it.
        """
        before, after = owners({b"stable": 95, b"canary": 5}), owners({b"stable": 80, b"canary": 20})
        moved = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        self.assertEqual(set(moved), {(b"stable", b"canary")})
        self.assertLess(abs(len(moved) / len(KEYS) - 0.15), 0.03)

    @given(weights, st.binary(), st.sets(st.sampled_from([b"a", b"b", b"c", b"d"])))
    def test_without(self, table: dict[bytes, int], key: bytes, without: set[bytes]) -> None:
        """
        Who cannot be used is passed over; the keys of the others stay where they are.
        """
        split = Split(table)
        usual, now = split.by_key(key), split.by_key(key, without)
        left = {name for name, weight in table.items() if weight and name not in without}
        self.assertEqual(now is None, not left)
        self.assertNotIn(now, without)
        if usual not in without:
            self.assertEqual(now, usual)

    def test_long_names(self) -> None:
        """
        Names may be of any length, and weights of any size.
        """
        table = {b"x" * 300: 10**9, b"x" * 301: 10**9}
        self.assertEqual(set(owners(table)), set(table))


class ByTurnTests(SynchronousTestCase):
    """
    L{Split.by_turn}.
    """

    @given(weights)
    def test_shares(self, table: dict[bytes, int]) -> None:
        """
        Exactly its share, in one period.
        """
        split = Split(table)
        counts = Counter(split.by_turn() for _ in range(sum(table.values())))
        self.assertEqual(counts, {name: weight for name, weight in table.items() if weight})

    @given(weights, st.sets(st.sampled_from([b"a", b"b", b"c", b"d"])))
    def test_without(self, table: dict[bytes, int], without: set[bytes]) -> None:
        """
        Who cannot be used is passed over.
        """
        split = Split(table)
        left = {name for name, weight in table.items() if weight and name not in without}
        self.assertEqual({split.by_turn(without) for _ in range(sum(table.values()))}, left or {None})
