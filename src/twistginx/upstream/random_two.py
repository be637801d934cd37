"""
``balance = "random_two"``: two at random, and of them who has less to do.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Sequence
from itertools import accumulate
from random import random
from typing import Any, Final

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IBalanceModule
from twistginx.upstream.balance import Candidate, load

moduleProvides(IBalanceModule)

name = "random_two"
api = 1

#: How often two are drawn, until neither has been tried, before it is found out who has not.
_DRAWS: Final = 4


@frozen
class Config:
    """
    Of two servers, chosen at random by their weights, the one with less under way.  Many machines that balance over the
    same servers, each knowing its own requests alone, do not all choose the same one.

    There are no options.
    """


def make(config: Config, context: Any) -> RandomTwo:
    """
    As ``IBalanceModule`` says.
    """
    return RandomTwo()


class RandomTwo:
    """
    The power of two choices.
    """

    __slots__ = ("_peers", "_steps", "_total")

    def __init__(self) -> None:
        self._peers: Sequence[Candidate] = ()
        self._steps: list[int] = []
        self._total = 0

    def pick(self, peers: Sequence[Candidate], request: Any, tried: Collection[Candidate]) -> Candidate | None:
        """
        One that has not been tried.
        """
        if peers is not self._peers:
            self._peers = peers
            self._steps = list(accumulate(peer.share for peer in peers))
            self._total = self._steps[-1] if peers else 0
        if len(peers) < 2:
            return peers[0] if peers and peers[0] not in tried else None
        if not tried:
            first, second = self._draw()
            return first if load(first) <= load(second) else second
        # Mostly few of many have been tried, or are full.
        for _ in range(_DRAWS):
            first, second = self._draw()
            if first not in tried and second not in tried:
                return first if load(first) <= load(second) else second
        left = [peer for peer in peers if peer not in tried]
        return RandomTwo().pick(left, request, ()) if left else None

    def _draw(self) -> tuple[Candidate, Candidate]:
        """
        Two of the peers.
        """
        peers, steps, total = self._peers, self._steps, self._total
        one = bisect(steps, random() * total)  # noqa: S311  # no secret
        # Of what is left when the first one is taken out.
        share = peers[one].share
        where = random() * (total - share)  # noqa: S311  # no secret
        start = steps[one] - share
        other = bisect(steps, where if where < start else where + share)
        return peers[one], peers[other]
