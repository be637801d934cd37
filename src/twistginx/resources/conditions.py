"""
Conditional requests (RFC 9110 section 13): is the answer the representation, 304, or 412?  Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from twistginx.http.message import Fields

#: The fields, in lower case, that can make the answer something else than the whole representation.
CONDITIONAL: Final = frozenset(
    (b"if-match", b"if-unmodified-since", b"if-none-match", b"if-modified-since", b"if-range", b"range")
)

#: Answers of :func:`evaluate`.
GO_ON: Final = 200
NOT_MODIFIED: Final = 304
PRECONDITION_FAILED: Final = 412

_TAG = re.compile(rb'[ \t,]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|\Z)')
_REST = re.compile(rb"[ \t,]*\Z")

_MONTHS = {
    month: number
    for number, month in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_TIME = rb"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d):(?P<second>[0-5]\d|60)"
_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
# RFC 9110 section 5.6.7: the preferred format, and the two obsolete ones that a recipient must accept.
_DATES = (
    re.compile(
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" GMT\Z"
    ),
    re.compile(
        rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-"
        + _MONTH
        + rb"-(?P<year>\d\d) "
        + _TIME
        + rb" GMT\Z"
    ),
    re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) " + _MONTH + rb" (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})\Z"),
)


def parse_date(value: bytes, now: float) -> int | None:
    """
    An HTTP-date as seconds since the epoch; None when it is none.

    :param now: seconds since the epoch; a year of two digits that would lie more than 50 years ahead is of the
        century before (RFC 9110 section 5.6.7).
    """
    for form in _DATES:
        found = form.match(value)
        if found is not None:
            break
    else:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:  # digits
        this = 1970 + int(now / 31556952)
        year += this - this % 100
        if year > this + 50:
            year -= 100
    parts = (year, _MONTHS[found["month"]], int(found["day"]), int(found["hour"]), int(found["minute"]))
    # A leap second is allowed, and is the end of its minute to us.
    second = min(int(found["second"]), 59)
    try:
        return int(datetime(*parts, second, tzinfo=UTC).timestamp())
    except ValueError:  # 31 June, or the year 0.
        return None


def parse_tags(value: bytes) -> list[bytes] | None:
    """
    The entity tags of a list (RFC 9110 section 8.8.3), with their quotes and ``W/``; None when it is malformed.
    """
    tags: list[bytes] = []
    position = 0
    while True:
        found = _TAG.match(value, position)
        if found is None:
            return tags if tags and _REST.match(value, position) else None
        tags.append(found[1])
        position = found.end()


def conditions_in(fields: Fields) -> dict[bytes, bytes]:
    """
    The conditions of a request: the values of the fields of :data:`CONDITIONAL`, by their names in lower case.

    Several lines of one name are one list (RFC 9110 section 5.3); of a field that is no list that makes nonsense, which
    is ignored as nonsense is.
    """
    found: dict[bytes, bytes] = {}
    for lower, _, value in fields:
        if lower in CONDITIONAL:
            found[lower] = found[lower] + b", " + value if lower in found else value.strip(b" \t")
    return found


def evaluate(conditions: dict[bytes, bytes], tag: bytes, modified: int | None, now: float) -> int:
    """
    The preconditions of a GET or HEAD, in the order of RFC 9110 section 13.2.2.

    A list of tags that is malformed matches nothing; a date that is none is as if it were not there.

    :param conditions: from :func:`conditions_in`.
    :param tag: the strong entity tag of the representation, which exists.
    :param modified: when it was modified, in seconds since the epoch; None when that is not known.
    :param now: in seconds since the epoch.
    :return: ``GO_ON``, ``NOT_MODIFIED`` or ``PRECONDITION_FAILED``.
    """
    tags = conditions.get(b"if-match")
    if tags is not None:
        if not _matches(tags, tag, weakly=False):
            return PRECONDITION_FAILED
    elif modified is not None and b"if-unmodified-since" in conditions:
        since = parse_date(conditions[b"if-unmodified-since"], now)
        if since is not None and modified > since:
            return PRECONDITION_FAILED
    tags = conditions.get(b"if-none-match")
    if tags is not None:
        if _matches(tags, tag, weakly=True):
            return NOT_MODIFIED
    elif modified is not None and b"if-modified-since" in conditions:
        since = parse_date(conditions[b"if-modified-since"], now)
        if since is not None and modified <= since:
            return NOT_MODIFIED
    return GO_ON


def range_holds(conditions: dict[bytes, bytes], tag: bytes, modified: int | None, now: float) -> bool:
    """
    May the Range be answered with a part?  True without an If-Range (RFC 9110 section 13.1.5).

    A date must be the very date, and old enough to be a strong validator: a file may have changed twice within the
    second that it names (section 8.8.2.2).
    """
    condition = conditions.get(b"if-range")
    if condition is None:
        return True
    if b'"' in condition:
        return condition == tag
    return modified is not None and parse_date(condition, now) == modified and modified + 1 <= now


def _matches(value: bytes, tag: bytes, weakly: bool) -> bool:
    if value in (tag, b"*"):  # as nearly all are
        return True
    tags = parse_tags(value) or ()
    if weakly:
        return any(each.removeprefix(b"W/") == tag for each in tags)
    return tag in tags
