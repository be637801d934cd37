"""
A balancer: the same path goes to the same server, so that each server's cache holds its own share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from typing import Any

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IBalanceModule

moduleProvides(IBalanceModule)

name = "by_path"
api = 1


@frozen
class Config:
    """
    Chooses the server by the path of the request (rendezvous hashing: when a server leaves, only its own paths move).

    :ivar segments: how many segments of the path count, from its beginning; 0: all of them.
    """

    segments: int = 0


def make(config: Config, context: Any) -> Callable[[Sequence[Any], Any, Collection[Any]], Any]:
    """
    See :meth:`twistginx.interfaces.IModule.make`.
    """
    end = config.segments + 1 if config.segments else None

    def pick(peers: Sequence[Any], request: Any, tried: Collection[Any]) -> Any:
        path = b"" if request is None else b"/".join(request.matched_path.split(b"/")[:end])

        def weight(peer: Any) -> bytes:
            return blake2b(path + b" " + peer.label, digest_size=8).digest()

        return max((peer for peer in peers if peer not in tried), key=weight, default=None)

    return pick
