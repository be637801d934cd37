"""
The time for which a peer is left out, because requests failed there again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twistginx.net.timers import NEVER

if TYPE_CHECKING:
    from twistginx.upstream.peer import Peer
    from twistginx.upstream.roster import Roster


class Outage:
    """
    One such time.

    :ivar seconds: how long it is.
    """

    __slots__ = ("_peer", "_roster", "deadline", "seconds")

    def __init__(self, roster: Roster, peer: Peer, seconds: float) -> None:
        self.seconds = seconds
        self.deadline = NEVER
        self._roster = roster
        self._peer = peer

    def deadline_passed(self) -> None:
        """
        It is over.
        """
        upstream = self._roster.upstream
        if upstream is not None:
            upstream.back(self._peer)
