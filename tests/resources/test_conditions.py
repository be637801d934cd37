"""
Tests for L{twistginx.resources.conditions}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import datetimeToString

from twistginx.http.message import Fields
from twistginx.resources.conditions import (
    GO_ON,
    NOT_MODIFIED,
    PRECONDITION_FAILED,
    conditions_in,
    evaluate,
    parse_date,
    parse_tags,
    range_holds,
)

#: 6 November 1994, 08:49:37: the date of RFC 9110's examples.
THEN = 784111777
NOW = 1_800_000_000.0
TAG = b'"a-1"'


def conditions(**pairs: bytes) -> dict[bytes, bytes]:
    """
    ``if_match=b"*"`` is If-Match: *.
    """
    return conditions_in(Fields.of((name.replace("_", "-").encode(), value) for name, value in pairs.items()))


class DateTests(SynchronousTestCase):
    """
    HTTP-dates.
    """

    def test_formats(self):
        """
        All three formats of RFC 9110 section 5.6.7 are the same second.
        """
        for value in (b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"):
            self.assertEqual(parse_date(value, NOW), THEN, value)

    def test_short_years(self):
        """
        A year of two digits is the one that is nearest without being more than 50 years ahead.
        """
        self.assertEqual(parse_date(b"Sunday, 06-Nov-94 08:49:37 GMT", NOW), THEN)
        year = parse_date(b"Sunday, 06-Nov-40 08:49:37 GMT", NOW) // 31556952
        self.assertEqual(1970 + year, 2040)

    def test_no_dates(self):
        """
        What is nearly a date is none.
        """
        for value in (
            b"",
            b"yesterday",
            b"Sun, 06 Nov 1994 08:49:37",
            b"Sun, 06 Nov 1994 08:49:37 +0000",
            b"Sun, 6 Nov 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 24:49:37 GMT",
            b"Fri, 31 Jun 1994 08:49:37 GMT",
            b"Sun, 06 Nov 0000 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 GMT, ",
            b"784111777",
        ):
            self.assertIsNone(parse_date(value, NOW), value)

    @given(st.integers(0, 253402300799))
    def test_what_is_written_is_read(self, seconds):
        """
        The dates that we send are understood when they come back.
        """
        self.assertEqual(parse_date(datetimeToString(seconds), NOW), seconds)


class TagTests(SynchronousTestCase):
    """
    Lists of entity tags.
    """

    def test_lists(self):
        """
        Strong and weak tags, commas inside the quotes, empty elements.
        """
        for value, expected in (
            (b'"xyzzy"', [b'"xyzzy"']),
            (b'"a", W/"b" ,"c"', [b'"a"', b'W/"b"', b'"c"']),
            (b', "a,b",, ""', [b'"a,b"', b'""']),
        ):
            self.assertEqual(parse_tags(value), expected, value)

    def test_malformed(self):
        """
        Anything else makes the list no list.
        """
        for value in (b"", b",", b"abc", b'"a" "b"', b'"a', b'w/"a"', b'"a"x', b'"a b"', b'"a",*'):
            self.assertIsNone(parse_tags(value), value)


class EvaluateTests(SynchronousTestCase):
    """
    The preconditions of a GET.
    """

    def check(self, expected, modified=THEN, **pairs):
        self.assertEqual(evaluate(conditions(**pairs), TAG, modified, NOW), expected, pairs)

    def test_none(self):
        """
        Without conditions there is nothing to fail.
        """
        self.check(GO_ON)

    def test_if_none_match(self):
        """
        A client that has the file already, under this tag, is told so; a weak tag is as good.
        """
        self.check(NOT_MODIFIED, if_none_match=b'"a-1"')
        self.check(NOT_MODIFIED, if_none_match=b'"x", W/"a-1"')
        self.check(NOT_MODIFIED, if_none_match=b" * ")
        self.check(GO_ON, if_none_match=b'"x"')
        self.check(GO_ON, if_none_match=b"a-1")

    def test_if_none_match_over_the_date(self):
        """
        With a tag, the date does not count (RFC 9110 section 13.1.3).
        """
        self.check(GO_ON, if_none_match=b'"x"', if_modified_since=datetimeToString(THEN))

    def test_several_lines(self):
        """
        A list may be sent in several fields.
        """
        lines = Fields.of([(b"If-None-Match", b'"x"'), (b"If-None-Match", TAG)])
        self.assertEqual(evaluate(conditions_in(lines), TAG, THEN, NOW), NOT_MODIFIED)
        dates = Fields.of([(b"If-Modified-Since", datetimeToString(THEN))] * 2)
        self.assertEqual(evaluate(conditions_in(dates), TAG, THEN, NOW), GO_ON)

    def test_if_modified_since(self):
        """
        A client whose copy is as new is told so; what is no date, and a file without a date, have no effect.
        """
        self.check(NOT_MODIFIED, if_modified_since=datetimeToString(THEN))
        self.check(NOT_MODIFIED, if_modified_since=datetimeToString(THEN + 1))
        self.check(GO_ON, if_modified_since=datetimeToString(THEN - 1))
        self.check(GO_ON, if_modified_since=b"yesterday")
        self.check(GO_ON, modified=None, if_modified_since=datetimeToString(THEN))

    def test_if_match(self):
        """
        A client that wants this very state gets it or 412; a weak tag is not enough.
        """
        self.check(GO_ON, if_match=b'"x", "a-1"')
        self.check(GO_ON, if_match=b"*")
        self.check(PRECONDITION_FAILED, if_match=b'"x"')
        self.check(PRECONDITION_FAILED, if_match=b'W/"a-1"')
        self.check(PRECONDITION_FAILED, if_match=b"a-1")

    def test_if_unmodified_since(self):
        """
        The same, by date; it does not count beside If-Match.
        """
        self.check(GO_ON, if_unmodified_since=datetimeToString(THEN))
        self.check(PRECONDITION_FAILED, if_unmodified_since=datetimeToString(THEN - 1))
        self.check(GO_ON, if_match=TAG, if_unmodified_since=datetimeToString(THEN - 1))
        self.check(GO_ON, if_unmodified_since=b"never")

    def test_both(self):
        """
        If-Match is asked first (RFC 9110 section 13.2.2).
        """
        self.check(PRECONDITION_FAILED, if_match=b'"x"', if_none_match=TAG)
        self.check(NOT_MODIFIED, if_match=TAG, if_none_match=TAG)


class IfRangeTests(SynchronousTestCase):
    """
    May the answer be a part?
    """

    def check(self, expected, condition, modified=THEN, now=NOW):
        self.assertIs(range_holds(conditions(if_range=condition), TAG, modified, now), expected)

    def test_absent(self):
        """
        Without a condition a part is what was asked for.
        """
        self.assertTrue(range_holds({}, TAG, THEN, NOW))

    def test_tags(self):
        """
        Only the same strong tag will do.
        """
        self.check(True, TAG)
        self.check(False, b'"x"')
        self.check(False, b'W/"a-1"')

    def test_dates(self):
        """
        Only the very date will do, and only when it is more than a second old.
        """
        self.check(True, datetimeToString(THEN))
        self.check(False, datetimeToString(THEN + 1))
        self.check(False, datetimeToString(THEN - 1))
        self.check(False, datetimeToString(THEN), now=THEN + 0.5)
        self.check(False, datetimeToString(THEN), modified=None)
        self.check(False, b"yesterday")
