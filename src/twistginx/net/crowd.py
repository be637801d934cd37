"""
The connections that are open at a listener, and how many of them are a client's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IAddress

from twistginx.config.networks import network_of

#: As many as a store can count.
_ANY_NUMBER: Final = 0xFFFF


@frozen
class Census:
    """
    Counts the connections of each client at one listener, in all workers together.

    :ivar store: that they share (``interfaces.IStore``), which answers at once.
    :ivar prefix: what tells the listener from all others there.
    :ivar seconds: the time, as the store wants it.
    """

    _store: Any
    _prefix: bytes
    _seconds: Callable[[], float]

    def enter(self, client: bytes, limit: int = _ANY_NUMBER) -> bool:
        """
        One more, if there are not so many already.
        """
        entered: bool = self._store.acquire(self._prefix + client, limit, self._seconds())
        return entered

    def leave(self, client: bytes) -> None:
        """
        One fewer.
        """
        self._store.release(self._prefix + client)


class Crowd(set[Any]):
    """
    The protocols that are open at a listener; where it is wanted, counted by client: an IPv4 address, or an IPv6 /64.
    Who comes over a UNIX socket, or has yet to say for whom, is nobody's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._census: Census | None = None
        self._clients: dict[Any, bytes] = {}
        self._counts: dict[bytes, int] = {}
        self._counting = False
        self._expected: list[bytes] = []  # clients that were admitted, and are not in it yet

    def count_in(self, census: Census | None) -> None:
        """
        Count there from now on; None: here alone.
        """
        if census == self._census:
            return
        self._forget_expected()
        before, self._census = self._census, census
        for client in self._clients.values():
            if before is not None:
                before.leave(client)
            if census is not None:
                census.enter(client)

    def admits(self, address: IAddress, limit: int) -> bool:
        """
        May the client at ``address`` have one more, with so many at most?  Then it is to be added in this very turn.
        """
        held = self.count(address)
        client, census = _client_at(address), self._census
        if census is None or not client:
            return held < limit
        self._forget_expected()
        if not census.enter(client, limit):
            return False
        self._expected.append(client)
        return True

    def count(self, address: IAddress) -> int:
        """
        How many are open here of the client at ``address``.  They are counted from the first time on that somebody
        asks.
        """
        if not self._counting:
            self._counting = True
            for each in self:
                self._enter(each)
        return self._counts.get(_client_at(address), 0)

    def add(self, connection: Any) -> None:
        """
        It is open, and so has a transport.
        """
        super().add(connection)
        if self._counting:
            self._enter(connection)

    def discard(self, connection: Any) -> None:
        """
        It is not open any more.
        """
        super().discard(connection)
        client = self._clients.pop(connection, None)
        if client is not None:
            left = self._counts.pop(client) - 1
            if left:
                self._counts[client] = left
            if self._census is not None:
                self._census.leave(client)

    def _enter(self, connection: Any) -> None:
        if connection in self._clients or getattr(connection, "proxied", False):
            return
        client = _client_at(connection.transport.getPeer())
        if client:
            self._clients[connection] = client
            self._counts[client] = self._counts.get(client, 0) + 1
            if client in self._expected:
                self._expected.remove(client)
            elif self._census is not None:
                self._census.enter(client)

    def _forget_expected(self) -> None:
        """
        Nobody has served them after all.
        """
        expected, self._expected = self._expected, []
        for client in expected:
            self._census.leave(client)  # type: ignore[union-attr]  # it has admitted them


def _client_at(address: Any) -> bytes:
    """
    Empty where there is none.
    """
    return network_of((getattr(address, "host", None) or "").encode("ascii", "replace"))
