"""
``warm``: connections that are made before they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from twistginx.errors import ProxyError
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.peer import Peer

if TYPE_CHECKING:
    from twistginx.http.client import ClientConnection
    from twistginx.upstream.pool import Upstream
    from twistginx.upstream.roster import Roster

#: Seconds between two looks at what there is, and without another attempt where one has failed.
_PAUSE: Final = 1.0
_SULK: Final = 10.0


class Warm:
    """
    Keeps so many connections to each server that is up at rest, as far as ``keepalive`` allows.

    :ivar wanted: how many for each server; 0: none.
    """

    def __init__(self, roster: Roster, ticker: Ticker) -> None:
        self.wanted = 0
        self.deadline = NEVER
        self._roster = roster
        self._ticker = ticker
        self._connecting: dict[Peer, list[Any]] = {}
        self._not_before: dict[Peer, float] = {}

    def start(self) -> None:
        """
        Look after it from now on.
        """
        if self.wanted:
            self._ticker.watch(self)  # first, because the ticker may have slept
            self.deadline_passed()
        else:
            self.stop()

    def stop(self) -> None:
        """
        Make no more.
        """
        self.deadline = NEVER
        self._ticker.forget(self)
        for attempts in list(self._connecting.values()):
            for attempt in list(attempts):
                attempt.cancel()
        self._connecting.clear()
        self._not_before.clear()

    def deadline_passed(self) -> None:
        """
        Make what is missing.
        """
        self.deadline = self._ticker.now + _PAUSE
        upstream = self._roster.upstream
        peers = () if upstream is None else upstream.available
        rest = self._roster.rest
        for gone in self._not_before.keys() - set(peers):
            del self._not_before[gone]
        for peer in peers:
            if self._not_before.get(peer, 0.0) > self._ticker.now:
                continue
            attempts = self._connecting.setdefault(peer, [])
            missing = self.wanted - len(peer.resting) - len(attempts)
            room = rest.keepalive - rest.count - sum(map(len, self._connecting.values()))
            for _ in range(min(missing, room)):
                self._make(upstream, peer, attempts)  # type: ignore[arg-type]  # it has peers
            if not attempts:
                del self._connecting[peer]

    def _make(self, upstream: Upstream, peer: Peer, attempts: list[Any]) -> None:
        connecting = upstream.connect(peer)

        def made(connection: ClientConnection) -> None:
            attempts.remove(connecting)
            self._roster.rest.settle(peer, connection)

        def failed(failure: Failure) -> None:
            attempts.remove(connecting)
            if failure.check(CancelledError) is None:
                # Requests will find out, and keep the score.
                failure.trap(ProxyError)
                self._not_before[peer] = self._ticker.now + _SULK

        attempts.append(connecting)
        connecting.addCallbacks(made, failed)
