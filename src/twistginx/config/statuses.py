"""
Sets of HTTP statuses, as they are written: ``404``, ``5xx``, ``502-504``, ``401,403``.
"""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


def parse_statuses(text: str) -> frozenset[int]:
    """
    The statuses that ``text`` means.

    :raise ValueError: when it means none.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f'"{part.strip()}" is no status; expected one such as "404", "5xx" or "502-504"')
        hundred, first, last = match.groups()
        if hundred is not None:
            found.update(range(int(hundred) * 100, int(hundred) * 100 + 100))
        elif last is None:
            found.add(int(first))
        elif int(first) > int(last):
            raise ValueError(f'"{part.strip()}" ends before it begins; expected the smaller status first')
        else:
            found.update(range(int(first), int(last) + 1))
    return frozenset(found)
