"""
Which of several upstreams a request is given to: in turn, or always the same one for the same key.  Pure.

By key it is weighted rendezvous hashing: each upstream draws a number for the key, and the best one has it.  What an
upstream draws depends on its own name and weight alone.  So when a weight grows, keys come to that upstream and to no
other; when one shrinks, or an upstream goes, its own keys alone change hands; and all workers and machines agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from math import log
from typing import Any, Final

from twistginx.upstream.balance import turns

#: One more than the largest number that is drawn.
_DRAWS: Final = 1 << 64

#: Bytes of a key that blake2b takes; longer names are told apart by their beginnings and their lengths.
_SALT: Final = 56


class Split:
    """
    The shares of some upstreams.

    :ivar names: of all of them, those without a share included.
    """

    __slots__ = ("_draws", "_sharers", "_turns", "names")

    def __init__(self, weights: Mapping[bytes, int]) -> None:
        """
        :param weights: by name; 0: nothing is given to it.  At least one is more.
        """
        self.names: Final = tuple(weights)
        sharers = {name: weight for name, weight in weights.items() if weight}
        self._sharers: Final = tuple(sharers)
        self._turns: Final[Iterator[int]] = turns(list(sharers.values()))
        self._draws: Final[tuple[tuple[bytes, int, Any], ...]] = tuple(
            (name, weight, blake2b(digest_size=8, key=b"%d %b" % (len(name), name[:_SALT])))
            for name, weight in sharers.items()
        )

    def by_key(self, key: bytes, without: Collection[bytes] = ()) -> bytes | None:
        """
        The upstream that ``key`` is always given to.

        :param without: names that are of no use.
        :return: None when nothing is left.
        """
        chosen = None
        best = 0.0
        for name, weight, salted in self._draws:
            if name in without:
                continue
            draw = salted.copy()
            draw.update(key)
            # The time to an event that comes ``weight`` times a second, at random: the first one wins.
            time = -log((int.from_bytes(draw.digest()) + 1) / (_DRAWS + 1)) / weight
            if chosen is None or time < best:
                chosen, best = name, time
        return chosen

    def by_turn(self, without: Collection[bytes] = ()) -> bytes | None:
        """
        The upstream whose turn it is; arguments and result as of ``by_key``.
        """
        sharers = self._sharers
        if without and all(name in without for name in sharers):
            return None
        while True:
            name = sharers[next(self._turns)]
            if name not in without:
                return name
