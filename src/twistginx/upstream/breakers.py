"""
The circuit breakers of the servers of an upstream.
"""

from __future__ import annotations

from typing import Any, Final

from zope.interface import implementer

from twistginx.config.tables.health import Breaker as Config
from twistginx.errors import ProxyError
from twistginx.interfaces import ILife
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.breaker import Breaker, Circuit
from twistginx.upstream.peer import Peer

#: The first status that is a failure.
_FAILED: Final = 500
#: Failures of answers whose heads were there, and were counted.
_BEGUN: Final = frozenset(("http_response_incomplete", "connection_read_timeout"))


@implementer(ILife)
class Breakers:
    """
    An ``Observer`` of an upstream: it counts how requests fare, and cuts off a server that fails too many of them.
    """

    name = "breaker"

    def __init__(self, upstream: Any, config: Config, ticker: Ticker) -> None:
        """
        :param upstream: an ``upstream.pool.Upstream``.
        """
        self._upstream = upstream
        self._config = config
        self._ticker = ticker
        self._cuts: dict[Peer, Cut] = {}
        self._breakers: dict[Peer, Breaker] = {}
        upstream.observe(self)

    # ILife.

    def start(self) -> None:
        """
        Nothing has been counted yet.
        """

    def stop(self) -> None:
        """
        Hold nothing against anybody.
        """
        for peer, breaker in self._breakers.items():
            if self._upstream.roster.rest.stopped:
                peer.tripped = False  # all of it ends: nobody is to be said to be up
            elif breaker.circuit is not Circuit.CLOSED:
                self._upstream.trip(peer, False)
        for cut in self._cuts.values():
            self._ticker.forget(cut)
        self._cuts.clear()
        self._breakers.clear()

    # Observer.

    def answered(self, peer: Peer, status: int) -> None:
        """
        ``peer`` has sent the head of an answer.
        """
        self._count(peer, status >= _FAILED)

    def joined(self, peer: Peer) -> None:
        """
        ``peer`` has accepted the connection of a stream.
        """
        self._count(peer, False)

    def failed(self, peer: Peer, error: ProxyError) -> None:
        """
        ``peer`` has failed a request.
        """
        if error.reason.word in _BEGUN and peer in self._breakers:
            self._breakers[peer].take_back()
        self._count(peer, True)

    def over(self, peer: Peer) -> None:
        """
        ``peer`` has been left alone long enough: one request is to say how it is.
        """
        breaker = self._breakers[peer]
        self._ticker.forget(self._cuts.pop(peer))
        breaker.try_again()
        self._upstream.trip(peer, False, limit=1)

    def report(self) -> list[dict[str, Any]]:
        """
        How each circuit stands, as plain values.
        """
        return [
            {
                "server": peer.label.decode(),
                "circuit": breaker.circuit.value,
                "trips": breaker.trips,
                "failures": breaker.counted[0],
                "answers": breaker.counted[1],
            }
            for peer, breaker in self._breakers.items()
        ]

    def _count(self, peer: Peer, failed: bool) -> None:
        breaker = self._breakers.get(peer)
        if breaker is None:
            self._forget_those_who_left()
            breaker = self._breakers[peer] = Breaker(self._config)
        before = breaker.counted if failed else (0, 0)
        was = breaker.circuit
        if not breaker.count(failed, self._ticker.now):
            return
        if breaker.circuit is Circuit.CLOSED:
            self._upstream.trip(peer, False)
            return
        bad, total = before[0] + 1, before[1] + 1
        if was is Circuit.TRIAL:
            why = "the request that it was tried with has failed, too"
        else:
            why = f"{bad} of {total} requests failed within {self._config.window}"
        peer.last_error = f"{why}; the next try is in {self._config.pause}"
        self._cuts[peer] = cut = Cut(self, peer)
        self._ticker.watch(cut)  # first, because the ticker may have slept
        cut.deadline = self._ticker.now + self._config.pause
        self._upstream.trip(peer, True)

    def _forget_those_who_left(self) -> None:
        for peer in self._breakers.keys() - set(self._upstream.peers):
            del self._breakers[peer]
            cut = self._cuts.pop(peer, None)
            if cut is not None:
                self._ticker.forget(cut)


class Cut:
    """
    The time for which a server is left alone.
    """

    __slots__ = ("_breakers", "_peer", "deadline")

    def __init__(self, breakers: Breakers, peer: Peer) -> None:
        self.deadline = NEVER
        self._breakers = breakers
        self._peer = peer

    def deadline_passed(self) -> None:
        """
        It is over.
        """
        self._breakers.over(self._peer)
