"""
``balance = "least_connections"``: who has the least to do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IBalanceModule
from twistginx.upstream.balance import Candidate, load

moduleProvides(IBalanceModule)

name = "least_connections"
api = 1

#: How many that have been tried, or are full, are set aside before all are looked at.
_ASIDE: Final = 16

#: Entries of the heap for each peer, old ones included, up to which it is not worth to make it anew.
_ENTRIES: Final = 4


@frozen
class Config:
    """
    The server with the fewest requests and streams under way, in proportion to its weight.  Where several have equally
    few, they take turns by their weights, so that an idle group is used evenly.

    For requests of very different length, and for WebSockets and other long connections.

    There are no options.
    """


def make(config: Config, context: Any) -> LeastConnections:
    """
    As ``IBalanceModule`` says.
    """
    return LeastConnections()


class LeastConnections:
    """
    A heap of peers, by load and then by virtual time: each pick moves a peer's by what a turn of it is worth.

    An entry is put right when it comes to the top and the peer has more to do by then.  That it has less is told
    (``ended``), by a new entry; then the older one is void.
    """

    __slots__ = ("_heap", "_index", "_last", "_now", "_peers", "_times", "_valid")

    def __init__(self) -> None:
        self._peers: Sequence[Candidate] = ()
        self._heap: list[tuple[float, float, int, int]] = []  # load, virtual time, number, index of the peer
        self._index: dict[Candidate, int] = {}
        self._times: list[float] = []
        self._valid: list[int] = []
        self._now = 0.0
        self._last = 0

    def pick(self, peers: Sequence[Candidate], request: Any, tried: Collection[Candidate]) -> Candidate | None:
        """
        Who has the least to do of those that have not been tried.
        """
        if peers is not self._peers:
            self._take(peers)
        heap = self._heap
        while heap:
            said, time, number, index = heap[0]
            if self._valid[index] != number:
                heappop(heap)
                continue
            peer = peers[index]
            active = peer.begun - peer.ended
            if active / peer.share > said:
                heapreplace(heap, (active / peer.share, time, number, index))
                continue
            if tried and peer in tried:
                return self._other(tried)
            self._now = time
            self._times[index] = time = time + 1 / peer.share
            heapreplace(heap, ((active + 1) / peer.share, time, number, index))
            return peer
        return None

    def _other(self, tried: Collection[Candidate]) -> Candidate | None:
        """
        Who has the least to do, where the one at the top has been tried: those that have are set aside meanwhile, if
        they are few.
        """
        heap, peers = self._heap, self._peers
        aside: list[tuple[float, float, int, int]] = []
        try:
            while heap and len(aside) < _ASIDE:
                said, time, number, index = heap[0]
                peer = peers[index]
                if self._valid[index] != number:
                    heappop(heap)
                elif load(peer) > said:
                    heapreplace(heap, (load(peer), time, number, index))
                elif peer in tried:
                    aside.append(heappop(heap))
                else:
                    return self.pick(peers, None, ())
        finally:
            for entry in aside:
                heappush(heap, entry)
        left = [peer for peer in peers if peer not in tried]
        return min(left, key=load) if left else None

    def ended(self, peer: Candidate) -> None:
        """
        ``peer`` has less to do.
        """
        index = self._index.get(peer)
        if index is None:
            return
        if len(self._heap) > _ENTRIES * len(self._peers):
            self._make()
        self._last += 1
        self._valid[index] = self._last
        # Who has rested has no credit for it.
        self._times[index] = time = max(self._times[index], self._now)
        heappush(self._heap, ((peer.begun - peer.ended) / peer.share, time, self._last, index))

    def forget(self, peer: Candidate) -> None:
        """
        ``peer`` has left; those that stay are told by the next pick.
        """
        self._index.pop(peer, None)

    def _take(self, peers: Sequence[Candidate]) -> None:
        before = {peer: self._times[index] for peer, index in self._index.items()}
        self._peers = peers
        self._index = {peer: index for index, peer in enumerate(peers)}
        self._times = [max(before.get(peer, 0.0), self._now) for peer in peers]
        self._make()

    def _make(self) -> None:
        """
        The heap, without the void.
        """
        count = len(self._peers)
        self._valid = list(range(self._last + 1, self._last + 1 + count))
        self._last += count
        self._heap = [
            (load(peer), self._times[index], self._valid[index], index) for index, peer in enumerate(self._peers)
        ]
        heapify(self._heap)
