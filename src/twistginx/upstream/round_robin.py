"""
``balance = "round_robin"``: peers take turns, as often as their weights say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IBalanceModule
from twistginx.upstream.balance import Candidate, turns

moduleProvides(IBalanceModule)

name = "round_robin"
api = 1


@frozen
class Config:
    """
    Servers take turns; one with ``weight = 2`` has two turns where the others have one.

    There are no options.
    """


def make(config: Config, context: Any) -> RoundRobin:
    """
    As ``IBalanceModule`` says.
    """
    return RoundRobin()


class RoundRobin:
    """
    Whose turn it is.

    It is made for the sequence of peers that it saw last, and starts anew when it sees another object.
    """

    __slots__ = ("_peers", "_turns")

    def __init__(self) -> None:
        self._peers: Sequence[Candidate] = ()
        self._turns: Iterator[int] = iter(())

    def pick(self, peers: Sequence[Candidate], request: Any, tried: Collection[Candidate]) -> Candidate | None:
        """
        The next peer that has not been tried; None when there is none.
        """
        if peers is not self._peers:
            self._peers = peers
            self._turns = turns([peer.share for peer in peers]) if peers else iter(())
        if tried:
            if all(peer in tried for peer in peers):
                return None
        elif not peers:
            return None
        while True:
            peer = peers[next(self._turns)]
            if not tried or peer not in tried:
                return peer
