"""
How long to wait until what has died is started again.
"""

from __future__ import annotations

from typing import Final

#: Seconds; what has lived so long was well, and its death is the first.
WELL: Final = 5.0

#: Seconds to wait at most.
MOST: Final = 30.0


class Backoff:
    """
    Counts deaths in a row.

    :ivar deaths: so many.
    """

    def __init__(self) -> None:
        self.deaths = 0

    def died(self, lived: float) -> float:
        """
        One more death.

        :param lived: seconds.
        :return: seconds to wait: none after a life that was long enough, then 1, 2, 4, ... to :data:`MOST`.
        """
        if lived >= WELL:
            self.deaths = 0
            return 0.0
        self.deaths += 1
        return min(MOST, 2.0 ** min(self.deaths - 1, 10))
