"""
What a pick costs, among a hundred servers: ``python -m bench.picks``.

Each is the least of many rounds of processor time, so that what else the machine does matters little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import process_time
from types import SimpleNamespace
from typing import Any, Final

from twistginx.upstream.first import First
from twistginx.upstream.hash import Hash
from twistginx.upstream.ip_hash import IPHash
from twistginx.upstream.least_connections import LeastConnections
from twistginx.upstream.least_time import LeastTime
from twistginx.upstream.random_two import RandomTwo
from twistginx.upstream.round_robin import RoundRobin

#: How many servers, how many requests are under way, and how often it is measured.
SERVERS: Final = 100
UNDER_WAY: Final = 200
ROUNDS: Final = 40

#: What is measured.
BALANCERS: Final[tuple[tuple[str, Callable[[], Any]], ...]] = (
    ("round_robin", RoundRobin),
    ("first", First),
    ("least_connections", LeastConnections),
    ("random_two", RandomTwo),
    ("least_time", LeastTime),
    ("ip_hash", IPHash),
    ("hash", lambda: Hash(lambda request: request.key, 1.25)),
)

#: The weights of the servers, and what they are called.
WEIGHTS: Final = (("equal", [1] * SERVERS), ("1 to 100", list(range(1, SERVERS + 1))))

#: Requests: the first thousand are of as many networks and users, the others of more than are remembered.
REQUESTS: Final = [
    SimpleNamespace(client_ip=b"10.%d.%d.7" % divmod(number, 256), key=b"user%d" % number, head=True)
    for number in range(6000)
]


class Server:
    """
    A peer, as far as balancers know it.
    """

    __slots__ = ("begun", "ended", "label", "latency", "measured", "share")

    def __init__(self, number: int, weight: int) -> None:
        self.label = b"10.0.0.%d:80" % number
        self.share = 10 * weight
        self.begun = self.ended = 0
        self.latency = 0.001 * (1 + number % 7)
        self.measured = 0.0


def picks(balancer: Any, peers: Sequence[Server], requests: Sequence[Any]) -> float:
    """
    Microseconds of a pick alone, while ``UNDER_WAY`` requests are.
    """
    pick = balancer.pick
    under_way: deque[Server] = deque()
    began, ended = (getattr(balancer, name, lambda peer: None) for name in ("began", "ended"))
    for request in requests[: 2 * UNDER_WAY]:
        peer = pick(peers, request, ())
        peer.begun += 1
        began(peer)
        under_way.append(peer)
        if len(under_way) > UNDER_WAY:
            peer = under_way.popleft()
            peer.ended += 1
            ended(peer)
    least = empty = float("inf")
    for _ in range(ROUNDS):
        begun = process_time()
        for _request in requests:
            pass
        empty = min(empty, process_time() - begun)
        begun = process_time()
        for request in requests:
            pick(peers, request, ())
        least = min(least, process_time() - begun)
    return (least - empty) / len(requests) * 1e6


def change(make: Callable[[], Any], weights: Sequence[int]) -> float:
    """
    Milliseconds of the first pick among peers that have not been seen before.
    """
    least = float("inf")
    for _ in range(5):
        balancer, peers = make(), tuple(Server(number, weight) for number, weight in enumerate(weights))
        begun = process_time()
        balancer.pick(peers, REQUESTS[0], ())
        least = min(least, process_time() - begun)
    return least * 1e3


def main() -> None:
    """
    Print a table.
    """
    print(f"{'':20}{'weights':10}{'a pick':>10}{'of new keys':>14}{'after a change':>18}")
    for name, make in BALANCERS:
        for called, weights in WEIGHTS:
            peers = tuple(Server(number, weight) for number, weight in enumerate(weights))
            known, new = (picks(make(), peers, requests) for requests in (REQUESTS[:1000], REQUESTS))
            print(f"{name:20}{called:10}{known:7.2f} us{new:11.2f} us{change(make, weights):15.2f} ms")


if __name__ == "__main__":
    main()
