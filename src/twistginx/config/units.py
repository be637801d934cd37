"""
Durations, sizes and shares: numbers that were written with their unit.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")

#: Unit to seconds, the largest first.
_SECONDS: Final = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}

#: Unit to bytes, the largest first; where two are exact, the binary one is the canonical one.
_BYTES: Final = {
    "TiB": 1 << 40,
    "GiB": 1 << 30,
    "MiB": 1 << 20,
    "KiB": 1 << 10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "kB": 10**3,
    "B": 1,
    "": 1,
}

#: Ten years; what is longer is a mistake, and no timer could hold it.
_LONGEST: Final = 3650 * 86400


class Duration(float):
    """
    A length of time, in seconds.

    It is a float to whoever calculates, and its canonical text (``10s``, ``250ms``) to whoever prints.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Duration:
        """
        The duration that ``text`` says: ``10s``, ``1.5m``, ``250ms``, ``1h``, ``2d``.

        :raise ValueError: with a short reason.
        """
        match = _DURATION.fullmatch(text)
        if match is None:
            if _NUMBER.fullmatch(text):
                raise ValueError(f'{text!r} has no unit: write "{text}s" for seconds')
            raise ValueError(f'{text!r} is not a duration such as "10s", "1.5m", "250ms", "1h" or "2d"')
        seconds = Decimal(match[1]) * _SECONDS[match[2]]
        if seconds > _LONGEST:
            raise ValueError(f"{text!r} is longer than ten years")
        return cls(seconds)

    def __str__(self) -> str:
        exact = Decimal(float.__repr__(self))
        for unit, seconds in _SECONDS.items():
            count = exact / seconds
            if count == count.to_integral_value() and count:
                return f"{int(count)}{unit}"
        return f"{exact.normalize():f}s"

    def __repr__(self) -> str:
        return f"Duration({float.__repr__(self)})"


class Size(int):
    """
    A number of bytes.

    It is an int to whoever calculates, and its canonical text (``64KiB``, ``10MB``, ``100``) to whoever prints.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Size:
        """
        The size that ``text`` says: ``64KiB`` (1024), ``10MB`` (1000), ``100``.

        :raise ValueError: with a short reason.
        """
        match = _SIZE.fullmatch(text)
        if match is None:
            raise ValueError(f'{text!r} is not a size such as "64KiB", "10MB" or "100"')
        unit = _BYTES.get(match[2])
        if unit is None:
            letter = match[2][0].upper()
            hint = f'write "{match[1]}{letter}iB"' if letter in "KMGT" else 'the units are "KiB", "MiB", "KB", "MB"'
            raise ValueError(f"{text!r} has an unknown unit: {hint}")
        size = Decimal(match[1]) * unit
        if size != size.to_integral_value():
            raise ValueError(f"{text!r} is not a whole number of bytes")
        return cls(size)

    def __str__(self) -> str:
        if self:
            for unit, size in _BYTES.items():
                if not self % size:
                    return f"{self // size}{unit if size > 1 else ''}"
        return int.__repr__(self)

    def __repr__(self) -> str:
        return f"Size({int.__repr__(self)})"


class Share(float):
    """
    A part of a whole, from 0 to 1.

    It is a float to whoever calculates, and its canonical text (``10%``) to whoever prints.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Share:
        """
        The share that ``text`` says: ``10%``, ``0.5%``.

        :raise ValueError: with a short reason.
        """
        number = text.removesuffix("%").strip()
        if number == text or not _NUMBER.fullmatch(number):
            raise ValueError(f'{text!r} is not a share such as "10%"')
        return cls(Decimal(number) / 100)

    def __str__(self) -> str:
        return f"{(Decimal(float.__repr__(self)) * 100).normalize():f}%"

    def __repr__(self) -> str:
        return f"Share({float.__repr__(self)})"
