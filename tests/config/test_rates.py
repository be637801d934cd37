"""
Tests for L{twistginx.config.rates} and L{twistginx.config.places}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.places import place_of
from twistginx.config.rates import ByteRate, Rate


class RateTests(SynchronousTestCase):
    """
    Numbers in a time.
    """

    def test_good(self) -> None:
        """
        What is written, and how it is written again.
        """
        for text, count, period, again in (
            ("10/s", 10, 1, "10/s"),
            ("600/min", 600, 60, "600/min"),
            ("1000/h", 1000, 3600, "1000/h"),
            ("5000/d", 5000, 86400, "5000/d"),
            ("20/10s", 20, 10, "20/10s"),
            ("3/1.5m", 3, 90, "3/90s"),
            ("7 / s", 7, 1, "7/s"),
            ("1/250ms", 1, 0.25, "1/250ms"),
        ):
            rate = Rate.parse(text)
            self.assertEqual((rate.count, rate.period, str(rate)), (count, period, again))
            self.assertEqual(Rate.parse(str(rate)), rate)
        self.assertEqual(Rate.parse("600/min").per_second, 10)

    def test_bad(self) -> None:
        """
        What is wrong, and what was expected.
        """
        for text, said in (
            ("10", "is not a rate"),
            ("", "is not a rate"),
            ("ten/s", "is not a rate"),
            ("-1/s", "is not a rate"),
            ("1.5/s", "is not a rate"),
            ("0/s", "lets nothing pass"),
            ("10/m", 'write "10/min"'),
            ("10/minute", 'write "10/min"'),
            ("10r/s", 'how nginx writes "10/s"'),
            ("10r/m", 'how nginx writes "10/min"'),
            ("10/week", "is not a rate"),
            ("10/0s", "period of no length"),
            ("10/5x", "is not a duration"),
        ):
            self.assertIn(said, str(self.assertRaises(ValueError, Rate.parse, text)), text)

    @given(st.integers(1, 10**9), st.sampled_from(["s", "min", "h", "d", "10s", "90s", "36h"]))
    def test_again(self, count: int, period: str) -> None:
        """
        What is written is read again as the same.
        """
        rate = Rate.parse(f"{count}/{period}")
        self.assertEqual(Rate.parse(str(rate)), rate)

    def test_bytes(self) -> None:
        """
        Bytes a second.
        """
        for text, number in (("1MB/s", 10**6), ("500KiB/s", 512000), ("2048/s", 2048)):
            self.assertEqual(ByteRate.parse(text), ByteRate(number))
            self.assertEqual(ByteRate.parse(str(ByteRate(number))), ByteRate(number))
        for text in ("1MB", "1MB/min", "x/s", "/s"):
            self.assertRaises(ValueError, ByteRate.parse, text)


class PlaceTests(SynchronousTestCase):
    """
    What tables are called.
    """

    TREE = {
        "defaults": {"limit": {}},
        "site": [
            {"listen": "tcp:80", "route": [{}, {}]},
            {
                "names": ["example.com", "www.example.com"],
                "defaults": {"limit": {}},
                "route": [{"path": "/api"}, {"exact": "/x", "limit": [{"rate": 1}, {"per": "all"}]}, {"path": "/api"}],
            },
        ],
    }

    def test_places(self) -> None:
        """
        By names, and by numbers only where there is no other way.
        """
        for path, place in (
            (("defaults", "limit"), "defaults/limit"),
            (("site", 1, "defaults", "limit"), "site(example.com)/defaults/limit"),
            (("site", 1, "route", 0, "limit"), "site(example.com)/route(/api)/limit"),
            (("site", 1, "route", 2, "limit"), "site(example.com)/route(/api#2)/limit"),
            (("site", 1, "route", 1, "limit", 0), "site(example.com)/route(/x)/limit()"),
            (("site", 1, "route", 1, "limit", 1), "site(example.com)/route(/x)/limit(all)"),
            (("site", 0, "route", 1, "limit"), "site(tcp:80)/route(#2)/limit"),
            (("nothing", 3, "there"), "nothing(3)/there"),
        ):
            self.assertEqual(place_of(self.TREE, path), place)
