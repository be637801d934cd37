"""
Consistent hashing: whose a key is, so that few keys change hands when peers come and go.  Pure.

Each peer has points on a ring, as many as its share says; a key is whose point comes next.  When a peer leaves, its
keys alone go to others, and they are spread over all of them.  All workers and machines with the same peers agree.

With a bound, nobody has more than so many times what would be its part of all that is under way: what is too much goes
to the next on the ring (Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads, 2016).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from typing import Final
from zlib import crc32

from twistginx.upstream.balance import Candidate

#: Points for each tenth of a weight (``peer.STEPS``): 160 for a weight of 1 keep shares within about eight per cent.
_POINTS: Final = 16
#: More points than this, over all peers, are thinned out.
_MOST: Final = 65_536
#: So many at once are never too many, so that a client's parallel requests stay together.
FREE: Final = 16

#: A key that has made so many busy is popular: it is remembered, for so many keys, who comes next after whom.
_POPULAR: Final = 4
_ORDERS: Final = 64

#: The lower bits of a point say whose it is.
_OWNER: Final = 0xFFFF


def position(key: bytes) -> int:
    """
    Where on the ring ``key`` is: 64 bits.

    A checksum is enough to spread keys, is the same in every process, and costs a tenth of a cryptographic hash.  The
    factor, the golden part of 2**64, draws neighbours apart.
    """
    return crc32(key) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF


class Ring:
    """
    A ring of peers.

    :ivar bound: how many times its part one may have; 0.0: there is no bound.
    :ivar active: how much is under way at them, in all; true where ``began`` and ``ended`` are called.
    """

    __slots__ = ("_known", "_members", "_orders", "_peers", "_points", "_total", "active", "bound")

    def __init__(self, bound: float = 0.0) -> None:
        self.bound = bound
        self.active = 0
        self._peers: Sequence[Candidate] = ()
        self._members: frozenset[Candidate] = frozenset()
        self._points: list[int] = []
        self._total = 0
        self._known: dict[bytes, list[int]] = {}
        self._orders: dict[int, tuple[int, ...]] = {}

    def began(self, peer: Candidate) -> None:
        """
        ``peer`` has more to do.
        """
        if peer in self._members:
            self.active += 1

    def ended(self, peer: Candidate) -> None:
        """
        ``peer`` has less to do.
        """
        if peer in self._members:
            self.active -= 1

    def forget(self, peer: Candidate) -> None:
        """
        ``peer`` has left.
        """
        self._known.pop(peer.label, None)

    def owner(self, peers: Sequence[Candidate], at: int, tried: Collection[Candidate]) -> Candidate | None:
        """
        Whose the key ``at`` that position is; None when all have been tried.
        """
        if peers is not self._peers:
            self._make(peers)
        points = self._points
        if not points:
            return None
        start = bisect(points, at)
        peer = peers[points[start if start < len(points) else 0] & _OWNER]
        if not tried or peer not in tried:
            active = peer.begun - peer.ended
            if active < FREE or not self.bound or active < self.bound * (self.active + 1) * peer.share / self._total:
                return peer
        return self._next(start, tried)

    def _next(self, start: int, tried: Collection[Candidate]) -> Candidate | None:
        """
        The next on the ring that is not busy; when all are, the next that has not been tried.
        """
        peers = self._peers
        # How much each tenth of a weight may have under way.
        part = self.bound * (self.active + 1) / self._total
        second = None
        passed = 0
        order = self._orders.get(start)
        for index in self._after(start) if order is None else order:
            peer = peers[index]
            if not tried or peer not in tried:
                active = peer.begun - peer.ended
                if not part or active < FREE or active < part * peer.share:
                    break
                second = second or peer
            passed += 1
        else:
            peer = second  # type: ignore[assignment]  # it may be None
        if order is None and passed >= _POPULAR:
            if len(self._orders) >= _ORDERS:
                self._orders.clear()
            self._orders[start] = tuple(self._after(start))
        return peer

    def _after(self, start: int) -> Iterator[int]:
        """
        All peers, as their indices, in the order in which they come on the ring.
        """
        points = self._points
        seen = set()
        for at in range(start - len(points), start):
            index = points[at] & _OWNER
            if index not in seen:
                yield index
                seen.add(index)
                if len(seen) == len(self._peers):
                    return

    def _make(self, peers: Sequence[Candidate]) -> None:
        """
        Put the points of all peers in order.
        """
        self._peers = peers
        self._members = frozenset(peers)
        self.active = sum(peer.begun - peer.ended for peer in peers)
        self._total = total = sum(peer.share for peer in peers)
        thin = max(1, -(-total * _POINTS // _MOST))
        points: list[int] = []
        for index, peer in enumerate(peers):
            count = max(1, peer.share * _POINTS // thin)
            points += [point | index for point in self._points_of(peer.label, count)]
        points.sort()
        self._points = points
        self._orders.clear()

    def _points_of(self, label: bytes, count: int) -> list[int]:
        """
        The first ``count`` points of a peer: more of them are the same ones and others.
        """
        known = self._known.setdefault(label, [])
        while len(known) < count:
            digest = blake2b(b"%b %d" % (label, len(known))).digest()
            known += [int.from_bytes(digest[at : at + 8]) & ~_OWNER for at in range(0, 64, 8)]
        return known[:count]
