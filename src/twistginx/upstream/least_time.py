"""
``balance = "least_time"``: who answers soonest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf
from random import random
from time import monotonic
from typing import Any, Final

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IBalanceModule
from twistginx.upstream.balance import Candidate

moduleProvides(IBalanceModule)

name = "least_time"
api = 1

#: Up to so many are all compared; of more, two.
_COMPARED: Final = 4

#: How often two are drawn, until neither has been tried, before it is found out who has not.
_DRAWS: Final = 4

#: Seconds without an answer after which half of the latency is left of it, so that who was slow is tried again.
_FORGIVENESS: Final = 30.0


@frozen
class Config:
    """
    The server that is likely to answer soonest: by the time that it took, of late, to begin with its answers, and by
    how much it has under way, in proportion to its weight.  Of more than four servers, two are compared that are chosen
    at random.  A server that was slow is tried again in a while.

    Raw streams have no answers: for them the server with less under way is taken.

    There are no options.
    """


def make(config: Config, context: Any) -> LeastTime:
    """
    As ``IBalanceModule`` says.
    """
    return LeastTime()


class LeastTime:
    """
    It remembers nothing: peers know their latencies.

    :cvar timed: latencies are to be measured.
    """

    __slots__ = ("_clock",)

    timed = True

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """
        :param clock: returns seconds, of the clock that latencies were measured on.
        """
        self._clock = clock

    def pick(self, peers: Sequence[Candidate], request: Any, tried: Collection[Candidate]) -> Candidate | None:
        """
        The best of some that have not been tried.
        """
        if len(peers) > _COMPARED:
            peers = self._some(peers, tried)
        elif tried:
            peers = [peer for peer in peers if peer not in tried]
        if len(peers) < 2:
            return peers[0] if peers else None
        now = self._clock()
        best = None
        least = idlest = inf
        for peer in peers:
            active = peer.begun - peer.ended
            work = (active + 1) / peer.share
            if peer.latency:
                cost = peer.latency * work / (1.0 + (now - peer.measured) / _FORGIVENESS)
            else:
                # Nothing is known: one request at a time finds out.
                cost = inf if active else 0.0
            if cost < least or (cost == least and work < idlest):
                best, least, idlest = peer, cost, work
        return best

    def _some(self, peers: Sequence[Candidate], tried: Collection[Candidate]) -> Sequence[Candidate]:
        """
        Two of many, or more where few are left.
        """
        count = len(peers)
        # Mostly few of many have been tried, or are full.
        for _ in range(_DRAWS):
            one = int(random() * count)  # noqa: S311  # no secret
            other = int(random() * (count - 1))  # noqa: S311  # no secret
            first, second = peers[one], peers[other if other < one else other + 1]
            if not tried or (first not in tried and second not in tried):
                return first, second
        left = [peer for peer in peers if peer not in tried]
        return left if len(left) <= _COMPARED else self._some(left, ())
