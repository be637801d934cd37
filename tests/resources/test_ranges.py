"""
Tests for L{twistginx.resources.ranges}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.resources.ranges import MAXIMUM, parse_range

#: Pieces that fields are made of, near enough to valid ones to be interesting.
PIECES = st.sampled_from(
    [b"bytes", b"=", b"-", b",", b" ", b"\t", b"0", b"5", b"99", b"100", b"9" * 30, b"x", b"+1", b"\xb2"]
)


class ParseRangeTests(SynchronousTestCase):
    """
    Which bytes a Range field asks for.
    """

    def test_forms(self):
        """
        From a byte to a byte, to the end, and the last so many (RFC 9110 section 14.1.2).
        """
        for value, expected in (
            (b"bytes=0-499", ((0, 500),)),
            (b"bytes=500-999", ((500, 500),)),
            (b"bytes=9500-", ((9500, 500),)),
            (b"bytes=-500", ((9500, 500),)),
            (b"bytes=0-0,-1", ((0, 1), (9999, 1))),
            (b"bytes= 0-0 ,\t9999-9999 ,", ((0, 1), (9999, 1))),
            (b"BYTES=1-2", ((1, 2),)),
        ):
            self.assertEqual(parse_range(value, 10000), expected, value)

    def test_beyond_the_end(self):
        """
        A range that reaches beyond the end stops there; numbers may have any number of digits.
        """
        self.assertEqual(parse_range(b"bytes=5-1000", 10), ((5, 5),))
        self.assertEqual(parse_range(b"bytes=-1000", 10), ((0, 10),))
        self.assertEqual(parse_range(b"bytes=5-" + b"9" * 20000, 10), ((5, 5),))

    def test_unsatisfiable(self):
        """
        Nothing of what was asked for exists: an empty answer, which is a 416; what exists is enough for an answer.
        """
        for value in (b"bytes=10-", b"bytes=10-20,11-", b"bytes=-0", b"bytes=" + b"9" * 20000 + b"-"):
            self.assertEqual(parse_range(value, 10), (), value[:30])
        self.assertEqual(parse_range(b"bytes=3-4,10-", 10), ((3, 2),))

    def test_ignored(self):
        """
        What is malformed, or of another unit, is as if it were not there.
        """
        for value in (
            b"",
            b"bytes",
            b"bytes=",
            b"bytes=,",
            b"bytes=-",
            b"bytes=a-b",
            b"bytes=2-1",
            b"bytes=0-1;",
            b"bytes=+1-2",
            b"bytes=1 - 2",
            b"bytes=1--2",
            b"bytes=\xb2-",
            b"lines=1-2",
        ):
            self.assertIsNone(parse_range(value, 10), value)

    def test_empty_file(self):
        """
        There is no part of nothing.
        """
        self.assertIsNone(parse_range(b"bytes=0-", 0))
        self.assertIsNone(parse_range(b"bytes=-5", 0))

    def test_order(self):
        """
        Parts come in the order in which they were asked for.
        """
        self.assertEqual(parse_range(b"bytes=6-7,0-1,3-4", 10), ((6, 2), (0, 2), (3, 2)))

    def test_overlaps(self):
        """
        Ranges that overlap are joined; ranges that only touch are as they were asked for.
        """
        self.assertEqual(parse_range(b"bytes=4-6,0-5,8-8", 10), ((0, 7), (8, 1)))
        self.assertEqual(parse_range(b"bytes=0-,0-,0-", 10), ((0, 10),))
        self.assertEqual(parse_range(b"bytes=0-4,5-9", 10), ((0, 5), (5, 5)))

    def test_too_many(self):
        """
        More ranges than are worth parts are not answered in parts.
        """
        several = b"bytes=" + b",".join(b"%d-%d" % (2 * n, 2 * n) for n in range(MAXIMUM))
        self.assertEqual(len(parse_range(several, 1000)), MAXIMUM)
        self.assertIsNone(parse_range(several + b",900-900", 1000))

    @given(st.lists(PIECES, max_size=30).map(lambda pieces: b"bytes=" + b"".join(pieces)), st.integers(0, 120))
    def test_always_inside(self, value, size):
        """
        Whatever is asked for, the parts lie inside the file, are not empty, and have no byte in common.
        """
        ranges = parse_range(value, size)
        seen = set()
        for start, length in ranges or ():
            part = set(range(start, start + length))
            self.assertTrue(part)
            self.assertLessEqual(start + length, size)
            self.assertFalse(part & seen)
            seen |= part

    @given(st.data())
    def test_all_that_was_asked_for(self, data):
        """
        The parts are exactly the bytes that were asked for and exist.
        """
        size = data.draw(st.integers(1, 60))
        number = st.integers(0, 70)
        pairs = data.draw(st.lists(st.tuples(number, number).map(sorted), min_size=1, max_size=6))
        value = b"bytes=" + b",".join(b"%d-%d" % (first, last) for first, last in pairs)
        wanted = {byte for first, last in pairs for byte in range(first, min(last + 1, size))}
        got = {byte for start, length in parse_range(value, size) for byte in range(start, start + length)}
        self.assertEqual(got, wanted)
