"""
State in the memory of this process: for one worker alone, and for what need not be shared.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from zope.interface import implementer

from twistginx.interfaces import IStore
from twistginx.shared.verdict import Verdict, judge

#: What an entry takes, in bytes, roughly: a key, a number, and their place.
ENTRY: Final = 256

#: Longer keys, and values, than these have no place here.
LONGEST_KEY: Final = 128
LONGEST_VALUE: Final = 400


@implementer(IStore)
class LocalStore:
    """
    Dictionaries.  What is oldest is forgotten first, when there is too much.
    """

    __slots__ = ("_bound", "_held", "_tats", "_values", "_version")

    def __init__(self, size: int = 16 << 20) -> None:
        """
        :param size: bytes that it may take, roughly.
        """
        self._bound = max(16, size // ENTRY)
        self._tats: OrderedDict[bytes, float] = OrderedDict()  # the one used last is last
        self._held: dict[bytes, int] = {}  # no more than there are requests
        self._values: OrderedDict[bytes, tuple[float, bytes, int]] = OrderedDict()
        self._version = 0

    def __len__(self) -> int:
        return len(self._tats) + len(self._held) + len(self._values)

    def take(self, key: bytes, rate: float, burst: float, now: float, cost: float = 1.0, delay: float = 0.0) -> Verdict:
        """
        See ``IStore``.
        """
        tats = self._tats
        tat = tats.get(key)
        if tat is None:
            self._make_room(now)
            tat = now
        else:
            tats.move_to_end(key)
        tats[key], verdict = judge(tat, rate, burst, now, cost, delay)
        return verdict

    def _make_room(self, now: float) -> None:
        """
        For one more: the oldest ones go, if their buckets are full again, or there are too many.  Two for one, so that
        what nobody asks for any more is gone in time.
        """
        tats = self._tats
        for _ in range(2):
            if not tats:
                return
            oldest = next(iter(tats))
            if tats[oldest] > now and len(tats) < self._bound:
                return
            del tats[oldest]

    def acquire(self, key: bytes, limit: int, now: float) -> bool:
        """
        See ``IStore``.
        """
        held = self._held.get(key, 0)
        if held >= limit:
            return False
        self._held[key] = held + 1
        return True

    def release(self, key: bytes) -> None:
        """
        See ``IStore``.
        """
        held = self._held.get(key, 0)
        if held > 1:
            self._held[key] = held - 1
        elif held:
            del self._held[key]

    def put(self, key: bytes, value: bytes, ttl: float, now: float) -> int:
        """
        See ``IStore``.
        """
        if len(value) > LONGEST_VALUE:
            raise ValueError(f"a value of {len(value)} bytes; {LONGEST_VALUE} are the most")
        self._version += 1
        values = self._values
        values.pop(key, None)
        while len(values) >= self._bound:
            values.popitem(last=False)
        values[key] = (now + ttl, value, self._version)
        return self._version

    def get(self, key: bytes, now: float) -> tuple[bytes, int] | None:
        """
        See ``IStore``.
        """
        found = self._values.get(key)
        if found is None:
            return None
        deadline, value, version = found
        if deadline <= now:
            del self._values[key]
            return None
        return value, version
