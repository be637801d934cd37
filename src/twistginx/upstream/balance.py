"""
Choosing a peer, as arithmetic.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace
from itertools import cycle, islice
from math import exp, gcd
from typing import Final, Protocol

#: Steps that may be spent on a period, which is then repeated: one for each weight and turn, so that they take some
#: milliseconds.
_STEPS: Final = 65_536

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


def spaced(weights: Sequence[int]) -> Iterator[int]:
    """
    Turns, for ever, as indices into ``weights``, at the cost of a step through a heap.

    The turns of each are as far apart as its weight says, beginning with half of that; who is due comes next.  Over one
    period each has as many turns as with :func:`smooth`, though they are not spread as well.

    :param weights: at least one, each at least 1.
    """
    due = [(0.5 / weight, index, 0.5) for index, weight in enumerate(weights)]
    heapify(due)
    while True:
        _, index, turn = due[0]
        yield index
        turn += 1.0
        heapreplace(due, (turn / weights[index], index, turn))


def turns(weights: Sequence[int]) -> Iterator[int]:
    """
    The same turns as :func:`smooth`, at the cost of a step through a tuple; where they would take too long to compute,
    because there are many weights that have little in common, those of :func:`spaced`.
    """
    period = sum(weights) // gcd(*weights)
    if period * len(weights) > _STEPS:
        return spaced(weights)
    return cycle(tuple(islice(smooth(weights), period)))
