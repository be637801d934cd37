"""
``balance = "first"``: the first server in the order of the file that is up and has room.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IBalanceModule
from twistginx.upstream.balance import Candidate

moduleProvides(IBalanceModule)

name = "first"
api = 1


@frozen
class Config:
    """
    The first server that is up and has room has all the load: the others stand by, in the order of the file.  With
    ``max_connections`` they take what is too much.

    Weights mean nothing here.  There are no options.
    """


def make(config: Config, context: Any) -> First:
    """
    As ``IBalanceModule`` says.
    """
    return First()


class First:
    """
    It remembers nothing.
    """

    __slots__ = ()

    def pick(self, peers: Sequence[Candidate], request: Any, tried: Collection[Candidate]) -> Candidate | None:
        """
        The first that has not been tried.
        """
        for peer in peers:
            if not tried or peer not in tried:
                return peer
        return None
