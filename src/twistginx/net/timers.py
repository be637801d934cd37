"""
The coarse clock: one timer for all timeouts of a process.

A ``callLater`` per event costs about a microsecond to make and another to cancel.  Here an event costs one attribute
(``self.deadline = ticker.now + seconds``), and a scan of everything that has a deadline runs four times a second, in
turns: 0.7 microseconds for each where there are thousands, so that 7,000 idle connections cost two hundredths of a
core, and nobody waits for more than a fraction of a millisecond behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger(namespace="twistginx.timers")

#: How many are looked at in one turn of the reactor, and how many may have passed: thousands of connections must not
#: make all others wait.
_AT_ONCE: Final = 256
_LATE: Final = 4

#: A deadline that never passes.
NEVER = inf


class Watched(Protocol):
    """
    Something with a deadline.
    """

    #: Seconds on the ticker's clock, or ``NEVER``.
    deadline: float

    def deadline_passed(self) -> None:
        """
        The deadline lies in the past.  It has been set to ``NEVER`` before the call.
        """


class Ticker:
    """
    Watches deadlines, at the precision of one tick.

    It ticks only while it watches something, so that an idle process sleeps.

    :ivar now: seconds on the reactor's monotonic clock, as of the last tick.
    """

    __slots__ = ("_call", "_clock", "_left", "_pause", "_watched", "now", "resolution")

    def __init__(self, clock: IReactorTime, resolution: float = 0.25) -> None:
        self._clock = clock
        self._watched: set[Watched] = set()
        self._left: list[Watched] = []  # still to be looked at in this round
        self._pause = resolution
        self._call: IDelayedCall | None = None
        self.resolution = resolution
        self.now: float = clock.seconds()

    def watch(self, watched: Watched) -> None:
        """
        From now on ``watched.deadline_passed()`` is called when its deadline passes.
        """
        self._watched.add(watched)
        if self._call is None:
            self.now = self._clock.seconds()
            self._call = self._clock.callLater(self.resolution, self._tick)

    def forget(self, watched: Watched) -> None:
        """
        Stop watching; forgetting what is not watched does nothing.
        """
        self._watched.discard(watched)
        if not self._watched and self._call is not None:
            self._left.clear()
            self._call.cancel()
            self._call = None

    def soon(self, call: Callable[[], object]) -> None:
        """
        ``call`` in the next turn of the reactor, so that others have theirs before a long work goes on.
        """
        self._clock.callLater(0, call)

    def __len__(self) -> int:
        return len(self._watched)

    def _tick(self) -> None:
        """
        Look at all, or at the next of very many: a round takes ``resolution``, whatever there is.
        """
        self._call = None
        now = self.now = self._clock.seconds()
        left = self._left
        if not left:
            left.extend(self._watched)
            self._pause = self.resolution / (1 + (len(left) - 1) // _AT_ONCE)
        late = [each for each in left[-_AT_ONCE:] if each.deadline <= now]
        del left[-_AT_ONCE:]
        pause = self._pause
        if len(late) > _LATE:
            left.extend(late[_LATE:])
            pause = 0.0
        for watched in late[:_LATE]:
            # An earlier one of this very tick may have ended this one.
            if watched in self._watched and watched.deadline <= now:
                watched.deadline = NEVER
                try:
                    watched.deadline_passed()
                except Exception:
                    # One that fails must not stop the clock of all others.
                    _log.failure("a deadline that passed was not taken well by {watched}", watched=watched)
        if self._watched and self._call is None:
            self._call = self._clock.callLater(pause, self._tick)
