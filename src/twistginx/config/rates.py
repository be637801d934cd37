"""
Rates: how many, or how many bytes, in what time.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from twistginx.config.units import Duration, Size

_RATE: Final = re.compile(r"([0-9]+)\s*/\s*([0-9.]*[a-z]+)")

_PERIODS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

#: What other programs call a period.
_SPELLINGS: Final = {"m": "min", "sec": "s", "second": "s", "minute": "min", "hour": "h", "day": "d"}

_FORM: Final = 'a rate such as "10/s", "600/min", "1000/h", "5000/d" or "20/10s"'


@frozen
class Rate:
    """
    A number of things in a period.

    :ivar count: how many; 1 or more.
    :ivar period: in how many seconds.
    """

    count: int
    period: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """
        The rate that ``text`` says: ``10/s``, ``600/min``, ``1000/h``, ``5000/d``, ``20/10s``.

        :raise ValueError: with a short reason.
        """
        match = _RATE.fullmatch(text)
        if match is None:
            other = re.fullmatch(r"([0-9]+)r/([sm])", text)
            if other is not None:
                raise ValueError(f'{text!r} is how nginx writes "{other[1]}/{"s" if other[2] == "s" else "min"}"')
            raise ValueError(f"{text!r} is not {_FORM}")
        count, period = int(match[1]), match[2]
        if not count:
            raise ValueError(f"{text!r} lets nothing pass; expected {_FORM}")
        if period in _SPELLINGS:
            raise ValueError(f'{text!r} has an unknown period: write "{count}/{_SPELLINGS[period]}"')
        if period in _PERIODS:
            return cls(count, _PERIODS[period])
        if not period[0].isdigit():
            raise ValueError(f"{text!r} is not {_FORM}")
        seconds = Duration.parse(period)
        if not seconds:
            raise ValueError(f"{text!r} has a period of no length")
        return cls(count, float(seconds))

    @property
    def per_second(self) -> float:
        """
        How many in a second.
        """
        return self.count / self.period

    def __str__(self) -> str:
        for name, seconds in _PERIODS.items():
            if seconds == self.period:
                return f"{self.count}/{name}"
        return f"{self.count}/{Duration(self.period)}"


@frozen
class ByteRate:
    """
    Bytes a second.

    :ivar bytes: how many in a second.
    """

    bytes: int

    @classmethod
    def parse(cls, text: str) -> ByteRate:
        """
        The rate that ``text`` says: ``500KiB/s``, ``1MB/s``.

        :raise ValueError: with a short reason.
        """
        size, slash, period = text.partition("/")
        if not slash or period.strip() != "s":
            raise ValueError(f'{text!r} is not a rate of bytes such as "500KiB/s" or "1MB/s"')
        return cls(int(Size.parse(size.strip())))

    def __str__(self) -> str:
        return f"{Size(self.bytes)}/s"
