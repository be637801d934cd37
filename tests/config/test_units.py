"""
Tests of twistginx.config.units.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.units import Duration, Size


class DurationTests(SynchronousTestCase):
    """
    Lengths of time.
    """

    def test_parse(self):
        """
        A number and a unit are seconds.
        """
        for text, seconds in (
            ("10s", 10.0),
            ("1.5m", 90.0),
            ("250ms", 0.25),
            ("1h", 3600.0),
            ("2d", 172800.0),
            ("0s", 0.0),
            ("1.1m", 66.0),
        ):
            self.assertEqual(Duration.parse(text), seconds)

    def test_canonical(self):
        """
        The text has the largest unit of which it is a whole number.
        """
        for seconds, text in (
            (0, "0s"),
            (0.25, "250ms"),
            (0.0005, "0.0005s"),
            (1e-7, "0.0000001s"),
            (90, "90s"),
            (120, "2m"),
            (7200, "2h"),
            (86400, "1d"),
            (1.5, "1500ms"),
        ):
            self.assertEqual(str(Duration(seconds)), text)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.floats(0, 10**8))
    def test_round_trip(self, seconds):
        """
        The canonical text says exactly the same.
        """
        self.assertEqual(Duration.parse(str(Duration(seconds))), seconds)

    def test_refused(self):
        """
        Without a unit, or with an unknown one, nothing is guessed.
        """
        for text, reason in (
            ("10", 'write "10s"'),
            ("", "is not a duration"),
            ("10 s", "is not a duration"),
            ("-1s", "is not a duration"),
            ("1m30s", "is not a duration"),
            ("1e3s", "is not a duration"),
            ("10S", "is not a duration"),
            ("9" * 400 + "s", "longer than ten years"),
            ("٣s", "is not a duration"),
        ):
            error = self.assertRaises(ValueError, Duration.parse, text)
            self.assertIn(reason, str(error))


class SizeTests(SynchronousTestCase):
    """
    Numbers of bytes.
    """

    def test_parse(self):
        """
        Binary and decimal units are told apart.
        """
        for text, size in (("64KiB", 65536), ("10MB", 10**7), ("100", 100), ("1.5GiB", 3 << 29), ("7 B", 7), ("0", 0)):
            self.assertEqual(Size.parse(text), size)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.integers(0, 1 << 60) | st.integers(0, 1 << 20).map(lambda count: count << 20))
    def test_round_trip(self, size):
        """
        The canonical text says exactly the same.
        """
        self.assertEqual(Size.parse(str(Size(size))), size)

    def test_canonical(self):
        """
        A binary unit comes before a decimal one, and the largest first.
        """
        for size, text in ((0, "0"), (100, "100"), (1 << 20, "1MiB"), (10**6, "1MB"), (1500, "1500"), (2000, "2KB")):
            self.assertEqual(str(Size(size)), text)

    def test_refused(self):
        """
        What nginx would understand is told how it is written here.
        """
        for text, reason in (
            ("10m", 'write "10MiB"'),
            ("32k", 'write "32KiB"'),
            ("5x", "unknown unit"),
            ("1.5", "not a whole number"),
            ("-1", "is not a size"),
            ("", "is not a size"),
        ):
            error = self.assertRaises(ValueError, Size.parse, text)
            self.assertIn(reason, str(error))
