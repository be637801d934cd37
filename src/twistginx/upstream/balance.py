"""
Choosing a peer, as arithmetic.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from math import gcd
from typing import Final

#: A period up to this length is computed once and then repeated; a longer one is computed as it goes.
_PERIOD: Final = 4096


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
