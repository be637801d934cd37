"""
A circuit breaker: it counts failures among the answers of one server, and says when there are too many.  Pure.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

#: In how many slices a window is counted, the oldest of which is forgotten at a time.
_SLICES: Final = 10


class BreakerOptions(Protocol):
    """
    See ``config.tables.health.Breaker``; times are seconds.
    """

    @property
    def ratio(self) -> float: ...
    @property
    def window(self) -> float: ...
    @property
    def minimum(self) -> int: ...


class Circuit(Enum):
    """
    Closed: requests pass.  Open: none does.  Trial: one does, and what comes of it decides.
    """

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


class Breaker:
    """
    The circuit of one server.

    :ivar circuit: how it stands.
    :ivar trips: how often it has opened.
    """

    __slots__ = ("_bad", "_good", "_index", "_options", "_slice", "circuit", "trips")

    def __init__(self, options: BreakerOptions) -> None:
        self._options = options
        self._slice = options.window / _SLICES
        self._index = 0
        self._good = [0] * _SLICES
        self._bad = [0] * _SLICES
        self.circuit = Circuit.CLOSED
        self.trips = 0

    def count(self, failed: bool, now: float) -> bool:
        """
        One more answer, or the lack of one.

        :param now: seconds, never less than before.
        :return: does the circuit stand otherwise from now on?
        """
        if self.circuit is Circuit.OPEN:
            return False  # It was under way when the circuit opened.
        if self.circuit is Circuit.TRIAL:
            if failed:
                self._open()
            else:
                self.circuit = Circuit.CLOSED
            return True
        self._turn(int(now / self._slice))
        slot = self._index % _SLICES
        if not failed:
            self._good[slot] += 1
            return False
        self._bad[slot] += 1
        bad, total = self.counted
        if total < self._options.minimum or bad < self._options.ratio * total:
            return False
        self._open()
        return True

    def take_back(self) -> None:
        """
        An answer that was counted as good turned out not to be: ``count`` it as a failure next.
        """
        slot = self._index % _SLICES
        if self._good[slot]:
            self._good[slot] -= 1

    def try_again(self) -> None:
        """
        The pause of an open circuit is over.
        """
        self.circuit = Circuit.TRIAL

    @property
    def counted(self) -> tuple[int, int]:
        """
        How many failures there were in the window, and how many answers in all.
        """
        bad = sum(self._bad)
        return bad, bad + sum(self._good)

    def _open(self) -> None:
        self.circuit = Circuit.OPEN
        self.trips += 1
        # What was counted belongs to the time before.
        self._good = [0] * _SLICES
        self._bad = [0] * _SLICES

    def _turn(self, index: int) -> None:
        """
        Forget the slices that have left the window.
        """
        for slot in range(self._index + 1, min(index, self._index + _SLICES) + 1):
            self._good[slot % _SLICES] = self._bad[slot % _SLICES] = 0
        self._index = index
