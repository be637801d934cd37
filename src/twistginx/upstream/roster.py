"""
What of an upstream outlives its configuration: the peers, the connections to them, who waits, what was set by hand.
"""

from __future__ import annotations

import ssl
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import field, frozen

from twistginx.config.address import ServerAddress
from twistginx.net.timers import Ticker
from twistginx.upstream.outage import Outage
from twistginx.upstream.peer import Peer
from twistginx.upstream.queue import Queue
from twistginx.upstream.rest import Rest
from twistginx.upstream.slow_start import SlowStart
from twistginx.upstream.warm import Warm

if TYPE_CHECKING:
    from twistginx.upstream.pool import Upstream


class Server(Protocol):
    """
    What is configured of a server; ``config.schema.Server`` has it.
    """

    @property
    def to(self) -> ServerAddress: ...
    @property
    def weight(self) -> int: ...
    @property
    def backup(self) -> bool: ...
    @property
    def max_connections(self) -> int | None: ...


@frozen
class Order:
    """
    What was set by hand for one server.

    :ivar state: ``draining``, ``disabled``, or nothing.
    :ivar weight: instead of the configured one; None: the configured one.
    """

    state: Literal["", "draining", "disabled"] = ""
    weight: int | None = None


@frozen
class PeerMaker:
    """
    Makes the peers of one upstream.

    :ivar context: of TLS; None where no server is spoken to under TLS, or with what is usual.
    :ivar server_name: what all certificates must be for; None: the name of the server.
    :ivar bind: the IP address that connections come from, or None.
    :ivar preface: what connections begin with that are made for no client (PROXY protocol).
    """

    reactor: Any = field(eq=False)
    ticker: Ticker = field(eq=False)
    context: ssl.SSLContext | None = None
    server_name: str | None = None
    bind: str | None = None
    preface: bytes = b""

    def key(self, address: ServerAddress, server: Server) -> Hashable:
        """
        What a peer is known by: two with the same key are one.
        """
        return (self, address, self._name(address, server))

    def make(self, address: ServerAddress, server: Server) -> Peer:
        """
        :param address: of the peer; that of the server, or one of those that its name stands for.
        :raise ConfigError: when it cannot work.
        """
        name = self._name(address, server)
        return Peer(
            address, self.reactor, self.ticker, server.weight, self.context, name, bind=self.bind, preface=self.preface
        )

    def _name(self, address: ServerAddress, server: Server) -> str | None:
        if not address.secure:
            return None
        return self.server_name or server.to.host or address.host or None


class Roster:
    """
    One for each upstream of the configuration, kept over reloads under its name.

    :ivar upstream: the one that serves now; None before the first.
    :ivar peers: of that one, by their keys.
    :ivar leaving: those that have left and may still have work.
    :ivar orders: by label.
    :ivar full: peers that have as many requests as they may.
    :ivar trials: peers that a circuit breaker tries, and how many requests each may have meanwhile.
    :ivar out: peers that are left out for a while.
    """

    def __init__(self, ticker: Ticker) -> None:
        self.upstream: Upstream | None = None
        self.peers: dict[Hashable, Peer] = {}
        self.leaving: dict[Hashable, Peer] = {}
        self.orders: dict[bytes, Order] = {}
        self.full: set[Peer] = set()
        self.trials: dict[Peer, int] = {}
        self.out: dict[Peer, Outage] = {}
        self.rest = Rest(ticker)
        self.queue = Queue(ticker)
        self.slow_start = SlowStart(self, ticker)
        self.warm = Warm(self, ticker)

    def find(self, key: Hashable) -> Peer | None:
        """
        The peer that is there, or is just leaving.
        """
        return self.peers.get(key) or self.leaving.get(key)

    def keep_until_done(self, peer: Peer) -> None:
        """
        ``peer`` has left; as long as it has work, it is known.
        """
        for key in [key for key, each in self.leaving.items() if not each.active]:
            del self.leaving[key]
        if peer.active:
            self.leaving.update((key, each) for key, each in self.peers.items() if each is peer)

    def drop(self, peer: Peer) -> None:
        """
        ``peer`` has left, and has done its work.
        """
        for key in [key for key, each in self.leaving.items() if each is peer]:
            del self.leaving[key]

    def order(self, peer: Peer) -> Order:
        """
        What was set by hand for ``peer``.
        """
        return self.orders.get(peer.label, _NOTHING)


_NOTHING = Order()
