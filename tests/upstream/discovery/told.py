"""
Who is told what providers find, for tests.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.logger import Logger

from twistginx.net.timers import Ticker
from twistginx.upstream.discovery.listing import servers_of


class Told:
    """
    An ``IFinding``.

    :ivar news: what it is told, one after the other: a list of addresses, or why there is none.
    """

    def __init__(self, resolver: Any = None) -> None:
        self.resolver = resolver
        self.news: DeferredQueue[list[str] | str] = DeferredQueue()
        self.servers: Any = None

    def found(self, servers: Any) -> None:
        """
        See IFinding.
        """
        servers = list(servers)
        self.servers = servers_of(servers, True) if servers and isinstance(servers[0], (str, dict)) else tuple(servers)
        self.news.put([str(server.to) for server in self.servers])

    def missed(self, reason: str) -> None:
        """
        See IFinding.
        """
        self.news.put(reason)

    def next(self) -> Deferred[list[str] | str]:
        """
        The next news.
        """
        return self.news.get()


def context(reactor: Any, base: Path | None = None) -> Any:
    """
    What a provider is made with.
    """
    return SimpleNamespace(reactor=reactor, ticker=Ticker(reactor), log=Logger(), base=base)
