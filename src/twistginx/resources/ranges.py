"""
The Range field: which bytes of a representation were asked for (RFC 9110 section 14).  Pure.
"""

from __future__ import annotations

#: More ranges than this in one field are not worth an answer in parts: the whole is sent.
MAXIMUM = 32

#: Decimal digits that are read; a longer number is larger than any file.
_DIGITS = 18
_BEYOND = 10**_DIGITS


def parse_range(value: bytes, size: int) -> tuple[tuple[int, int], ...] | None:
    """
    The ranges that a Range field asks for.

    Ranges that overlap are joined, so that no byte is sent twice and the parts are never more than the whole (RFC 9110
    section 14.2, and 17.15 for why); such an answer is in the order of the bytes.  Without an overlap it is in the
    order of the field.

    :param value: the field's value.
    :param size: of the representation, in bytes.
    :return: ``(start, length)`` pairs, each inside the representation and not empty; an empty tuple when nothing of
        what was asked for exists (416); None when the field is to be ignored, because it is malformed, of another
        unit, or asks for too many ranges, or because there are no bytes to choose from.
    """
    unit, separator, specifiers = value.partition(b"=")
    if not separator or unit.strip(b" \t").lower() != b"bytes" or size == 0:
        return None
    ranges = []
    listed = specifiers.split(b",", MAXIMUM)
    if len(listed) > MAXIMUM:
        return None
    some = False
    for each in listed:
        specifier = each.strip(b" \t")
        if not specifier:  # An empty list element is allowed (RFC 9110 section 5.6.1.2).
            continue
        first, dash, last = specifier.partition(b"-")
        if not dash or not (first or last) or not all(not number or number.isdigit() for number in (first, last)):
            return None
        some = True
        if not first:
            start, stop = max(0, size - _number(last)), size
        else:
            start = _number(first)
            stop = size if not last else _number(last) + 1
            if last and stop <= start:
                return None
        if start < size:
            ranges.append((start, min(stop, size)))
    if not some:
        return None
    return tuple((start, stop - start) for start, stop in _joined(ranges))


def _number(digits: bytes) -> int:
    return int(digits) if len(digits) <= _DIGITS else _BEYOND


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """
    The same bytes without overlaps.
    """
    ordered = sorted(ranges)
    joined: list[tuple[int, int]] = []
    for start, stop in ordered:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return ranges if len(joined) == len(ranges) else joined
