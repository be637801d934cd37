"""
Tests for twistginx.upstream.standing.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.upstream.standing import Standing, pause


class StandingTests(SynchronousTestCase):
    """
    What results in a row say.
    """

    def follow(self, results: str, rise: int = 2, fall: int = 3) -> str:
        """
        What is said after each result: ``+`` well, ``-`` ill.
        """
        standing = Standing(rise, fall)
        said = ""
        for result in results:
            before = standing.well
            changed = standing.judge(result == "+")
            self.assertEqual(changed, standing.well is not before)
            said += "+" if standing.well else "-"
        return said

    def test_tables(self) -> None:
        """
        The first decides alone; then it takes so many in a row.
        """
        for results, said in (
            ("+", "+"),
            ("-", "-"),
            ("+--+--+", "+++++++"),
            ("+---", "+++-"),
            ("-+-++", "----+"),
            ("+---++---", "+++--+++-"),
        ):
            self.assertEqual(self.follow(results), said, results)

    def test_at_once(self) -> None:
        """
        With one of each, each result decides.
        """
        self.assertEqual(self.follow("+-++-", 1, 1), "+-++-")

    def test_taken(self) -> None:
        """
        What somebody else has concluded holds, and the counting begins anew.
        """
        standing = Standing(2, 3)
        standing.judge(True)
        standing.judge(False)
        standing.judge(False)
        standing.take(True)
        self.assertEqual([standing.judge(False) for _ in range(3)], [False, False, True])

    @given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
    def test_any(self, results: list[bool], rise: int, fall: int) -> None:
        """
        Where all of the last results are the same, and enough, they are believed.
        """
        standing = Standing(rise, fall)
        for result in results:
            standing.judge(result)
        needed = max(rise, fall)
        if len(results) >= needed and len(set(results[-needed:])) == 1:
            self.assertIs(standing.well, results[-1])


class PauseTests(SynchronousTestCase):
    """
    When the next check is.
    """

    @given(st.floats(0.001, 1e6), st.none() | st.floats(0, 1))
    def test_jitter(self, interval: float, chance: float | None) -> None:
        """
        A tenth sooner, or later.
        """
        self.assertTrue(0.899 * interval <= pause(interval, chance) <= 1.101 * interval)
