"""
Choosing a peer, as arithmetic.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from math import exp, gcd
from typing import Final, Protocol

#: A period up to this length is computed once and then repeated; a longer one is computed as it goes.
_PERIOD: Final = 4096

#: Seconds in which what was measured loses all but a third of its weight.
_MEMORY: Final = 5.0


class Candidate(Protocol):
    """
    What balancers know of a peer (``upstream.peer.Peer``).
    """

    @property
    def label(self) -> bytes: ...
    @property
    def share(self) -> int: ...
    @property
    def begun(self) -> int: ...
    @property
    def ended(self) -> int: ...
    @property
    def latency(self) -> float: ...
    @property
    def measured(self) -> float: ...


def load(peer: Candidate) -> float:
    """
    What a peer has to do, in proportion to its share.
    """
    return (peer.begun - peer.ended) / peer.share


def moving_average(average: float, sample: float, elapsed: float) -> float:
    """
    ``average`` with one more sample, exponentially weighted by time: however many samples there are in a second, those
    of the last few seconds count.

    :param average: 0.0: there is none yet.
    :param elapsed: seconds since the sample before.
    """
    if not average:
        return sample
    return average + (sample - average) * (1.0 - exp(-elapsed / _MEMORY))


def smooth(weights: Sequence[int]) -> Iterator[int]:
    """
    The turns, for ever, as indices into ``weights``.

    In each turn every one gains its weight, the first of those who have most takes the turn, and pays what all have
    gained.  Over one period (the sum of the weights, divided by what they have in common) each has as many turns as its
    weight says, and they are spread: 5, 1, 1 gives 0 0 1 0 2 0 0 and never five in a row.

    :param weights: at least one, each at least 1.
    """
    total = sum(weights)
    standing = [0] * len(weights)
    everyone = range(len(weights))
    while True:
        for index in everyone:
            standing[index] += weights[index]
        best = max(everyone, key=standing.__getitem__)
        standing[best] -= total
        yield best


def turns(weights: Sequence[int]) -> Iterator[int]:
    """
    The same turns as :func:`smooth`, at the cost of a step through a tuple.
    """
    period = sum(weights) // gcd(*weights)
    if period > _PERIOD:
        return smooth(weights)
    return cycle(tuple(islice(smooth(weights), period)))
