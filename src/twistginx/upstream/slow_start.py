"""
``slow_start``: a server that comes, or comes back, takes its share of the load little by little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.peer import STEPS, Peer

if TYPE_CHECKING:
    from twistginx.upstream.roster import Roster


class SlowStart:
    """
    The peers that are starting, each with a tenth of its share at first, and a tenth more after each tenth of the time.

    :ivar seconds: until a server has its whole share; 0.0: at once.
    """

    def __init__(self, roster: Roster, ticker: Ticker) -> None:
        self.seconds = 0.0
        self.deadline = NEVER
        self._roster = roster
        self._ticker = ticker
        self._began: dict[Peer, float] = {}

    def begin(self, peer: Peer) -> None:
        """
        ``peer`` starts now.
        """
        if self.seconds:
            self._ticker.watch(self)  # first, because the ticker may have slept
            self._began[peer] = self._ticker.now
            self.deadline = min(self.deadline, self._ticker.now + self.seconds / STEPS)

    def forget(self, peer: Peer) -> None:
        """
        ``peer`` is gone, or has its whole share.
        """
        if self._began.pop(peer, None) is not None and not self._began:
            self.deadline = NEVER
            self._ticker.forget(self)

    def steps(self, peer: Peer) -> int:
        """
        How many of the ``STEPS`` ``peer`` has taken.
        """
        began = self._began.get(peer)
        if began is None:
            return STEPS
        # Half a tick more, because ticks are not on time.
        elapsed = self._ticker.now - began + self._ticker.resolution / 2
        return min(STEPS, 1 + int(elapsed / self.seconds * STEPS)) if self.seconds else STEPS

    def stop(self) -> None:
        """
        Nobody starts any more.
        """
        for peer in list(self._began):
            self.forget(peer)

    def deadline_passed(self) -> None:
        """
        The next step.
        """
        for peer in [peer for peer in self._began if self.steps(peer) == STEPS]:
            self.forget(peer)
        if self._began:
            self.deadline = self._ticker.now + self.seconds / STEPS
        if self._roster.upstream is not None:
            self._roster.upstream.assess()
