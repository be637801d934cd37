"""
What the results of checks, in a row, say of a server, and when the next one is.  Pure.
"""

from __future__ import annotations

from random import random
from typing import Final

#: How far, of itself, an interval is drawn out or cut short, so that the checks of many servers spread.
_JITTER: Final = 0.1


class Standing:
    """
    Well, ill, or not known yet.

    The first result decides alone.  After that it takes ``rise`` good ones in a row to be well again, and ``fall`` bad
    ones to be ill.

    :ivar well: None before the first result.
    :ivar streak: how many results, in a row, have spoken against ``well``.
    """

    __slots__ = ("_fall", "_rise", "streak", "well")

    def __init__(self, rise: int, fall: int) -> None:
        self._rise = rise
        self._fall = fall
        self.well: bool | None = None
        self.streak = 0

    def judge(self, good: bool) -> bool:
        """
        One more result.

        :return: is the server well or ill from now on, where it was not?
        """
        if good is self.well:
            self.streak = 0
            return False
        self.streak += 1
        if self.well is not None and self.streak < (self._rise if good else self._fall):
            return False
        self.take(good)
        return True

    def take(self, well: bool) -> None:
        """
        Somebody else has concluded it.
        """
        self.well = well
        self.streak = 0


def pause(interval: float, chance: float | None = None) -> float:
    """
    Seconds until the next time of what is done every ``interval`` seconds, give or take a tenth.

    :param chance: from 0 to 1; None: drawn.
    """
    if chance is None:
        chance = random()  # noqa: S311  # no secret: it spreads what would come at once
    return interval * (1 + _JITTER * (2 * chance - 1))
