"""
Requests and streams that wait for a place, because every server has as many as it may.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from twistginx.errors import ProxyError
from twistginx.net.timers import NEVER, Ticker

#: How many that cannot use a place that is free (they have tried that server) are passed over for the next.
_PASSED_OVER: Final = 16


class Waiter(Protocol):
    """
    Who waits.
    """

    def place_free(self) -> None:
        """
        A place is free: try again, and enter the queue again if it was no use.
        """

    def give_up(self, error: ProxyError) -> None:
        """
        No place was free in time.
        """


class Queue:
    """
    First come, first served.  All wait the same time at most, so that the first is the first whose time is up.

    :ivar size: how many may wait.
    :ivar timeout: seconds that one may wait.
    :ivar setting: the key that says so, for the error.
    :ivar deadline: of the first.
    """

    def __init__(self, ticker: Ticker) -> None:
        self.size = 0
        self.timeout = 0.0
        self.setting = ""
        self.deadline = NEVER
        self._ticker = ticker
        self._waiting: OrderedDict[Waiter, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, waiter: Waiter) -> bool:
        """
        Wait at the end of the queue; False when it is full.
        """
        if len(self._waiting) >= self.size:
            return False
        if not self._waiting:
            self._ticker.watch(self)  # first, because the ticker may have slept
        self._waiting[waiter] = self._ticker.now + self.timeout
        self._set_deadline()
        return True

    def leave(self, waiter: Waiter) -> None:
        """
        Wait no more; who does not wait may leave, too.
        """
        if self._waiting.pop(waiter, None) is not None:
            self._set_deadline()

    def advance(self, has_room: Callable[[], bool]) -> None:
        """
        While there is room, it is the first one's turn.
        """
        waiting = self._waiting
        passed_over: list[tuple[Waiter, float]] = []
        while waiting and len(passed_over) < _PASSED_OVER and has_room():
            waiter, deadline = waiting.popitem(last=False)
            waiter.place_free()
            if waiting.pop(waiter, None) is not None:
                passed_over.append((waiter, deadline))
        for waiter, deadline in reversed(passed_over):
            waiting[waiter] = deadline
            waiting.move_to_end(waiter, last=False)
        self._set_deadline()

    def deadline_passed(self) -> None:
        """
        Called by the ticker: the first has waited too long, and maybe others.
        """
        now = self._ticker.now
        waiting = self._waiting
        while waiting:
            waiter, deadline = next(iter(waiting.items()))
            if deadline > now:
                break
            del waiting[waiter]
            waiter.give_up(ProxyError("connection_limit_reached", "no server had room in time", self.setting))
        self._set_deadline()

    def _set_deadline(self) -> None:
        if self._waiting:
            self.deadline = next(iter(self._waiting.values()))
        else:
            self.deadline = NEVER
            self._ticker.forget(self)
