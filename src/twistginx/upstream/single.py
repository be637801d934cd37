"""
One peer, asked for its own sake.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from twistginx.errors import ProxyError
from twistginx.http.client import ClientConnection
from twistginx.net.timers import Ticker
from twistginx.upstream.peer import Peer


class Single:
    """
    One peer, whose connections are made for one question each, and whose score nobody keeps.
    """

    attentive = False
    sticky = None

    def __init__(self, peer: Peer, ticker: Ticker, timeout: float, setting: str) -> None:
        self._peer = peer
        self._factory = _ConnectionMaker(ticker, peer)
        self._timeout = timeout
        self._setting = setting

    def pick(self, request: Any, tried: Collection[Peer]) -> Peer | None:
        return None if self._peer in tried else self._peer

    def wait(self, waiter: Any, tried: Collection[Peer], failed: ProxyError | None = None) -> ProxyError | None:
        return failed or ProxyError("destination_unavailable", "there is no server to ask")

    def leave(self, waiter: Any) -> None:
        pass

    def begin(self, peer: Peer) -> None:
        pass

    def answered(self, peer: Peer, request: Any, head: Any, sent_at: float) -> None:
        pass

    def done(self, peer: Peer) -> None:
        pass

    def take(self, peer: Peer, request: Any = None) -> ClientConnection | None:
        return None

    def connect(self, peer: Peer, request: Any = None) -> Deferred[ClientConnection]:
        return peer.connect(self._factory, self._timeout, self._setting)

    def failed(self, peer: Peer, error: ProxyError) -> None:
        pass

    def succeeded(self, peer: Peer) -> None:
        pass

    def found_dead(self, connection: ClientConnection) -> None:
        pass


class _ConnectionMaker(Factory):
    """
    Builds connections that are closed after their first response.
    """

    noisy = False

    def __init__(self, ticker: Ticker, peer: Peer) -> None:
        self._ticker = ticker
        self._peer = peer

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        """
        A connection that nobody owns.
        """
        return ClientConnection(self._ticker, None, self._peer)
