"""
The parts of ``bench/scaling.py`` that decide something.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.scaling import HEADS, LOADS, Sample, row, spread, table


class ScalingTests(SynchronousTestCase):
    """
    Medians, shares, and what they come to.
    """

    def test_spread(self):
        """
        The largest share in units of the smallest: the median of the rounds, and the worst; one worker has no share.
        """
        for expected, rounds in (
            ("-", [[5], [6]]),
            ("1.50 (1.50)", [[3, 2]]),
            ("2.00 (4.00)", [[1, 2], [8, 2], [3, 3]]),
            ("1.00 (inf)", [[1, 1], [0, 9], [2, 2]]),
        ):
            self.assertEqual(spread(rounds), expected)

    def test_row(self):
        """
        Two workers carry twice what one does, where a request costs the same.
        """
        samples = [Sample(1000.0, cost, 20.0, 0.0, (3, 3), (1, 2)) for cost in (40.0, 90.0, 50.0)]
        cells = dict(zip(HEADS, row(LOADS[0], 2, samples), strict=True))
        self.assertEqual((cells["server us"], cells["carries"], cells["accepted"]), ("50.0", "40,000", "2.00 (2.00)"))

    def test_table(self):
        """
        It is what docs/scaling.rst can take as it is.
        """
        text = table([row(LOADS[0], 1, [Sample(1.0, 1.0, 1.0, 1.0, (1,), (1,))])]).splitlines()
        self.assertEqual(len(text), 5)
        self.assertEqual(text[0], text[2])
        self.assertEqual({len(each) for each in text[0].split("  ")} & {0}, set())
