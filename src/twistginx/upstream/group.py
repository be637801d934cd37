"""
The peers of an upstream: who they are, how they are, and which of them are to be used.

Those that are to be used come in tiers: the servers that are up, the backups that are up, and, when nobody is up, all
that nobody has taken out by hand: a health check that is wrong, or a bad minute of all servers, must not make an outage
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from time import time
from typing import Any, Final

from attrs import evolve
from twisted.logger import Logger, LogLevel

from twistginx.config.address import ServerAddress
from twistginx.config.tables.upstream import HEAVIEST
from twistginx.net.timers import Ticker
from twistginx.upstream.options import Observer
from twistginx.upstream.peer import Peer, State
from twistginx.upstream.rest import LINGER
from twistginx.upstream.roster import Order, PeerMaker, Roster, Server

#: What the log says when the state of a server is another.
_STATES: Final[dict[State, str]] = {
    "up": "{upstream}: {server} is up",
    "down": "{upstream}: {server} is down: {error}",
    "out": "{upstream}: {server} is left out for {seconds:g} s: {error}",
    "tripped": "{upstream}: {server} is left alone: {error}",
    "draining": "{upstream}: {server} is draining",
    "disabled": "{upstream}: {server} is disabled",
}

#: The same, of one that is down because it has not been checked yet.
_UNKNOWN: Final = "{upstream}: {server} is checked before it is used"

_log = Logger(namespace="twistginx.upstream")


class Group:
    """
    See the module.

    :ivar name: as the configuration calls it.
    :ivar peers: all of them.
    :ivar available: the first tier of those that are to be used now.  It is another object whenever anything about it
        is another thing, the peers' shares included: balancers keep what they have computed for it.
    :ivar roster: what outlives this object.
    """

    def __init__(
        self, name: str, ticker: Ticker, maker: PeerMaker | None, roster: Roster | None, workers: int = 1
    ) -> None:
        """
        :param workers: how many processes share the work, and so what a server may have at a time.
        """
        self.name = name
        self.peers: tuple[Peer, ...] = ()
        self.available: tuple[Peer, ...] = ()
        self.roster = Roster(ticker) if roster is None else roster
        self._maker = maker
        self._ticker = ticker
        self._workers = workers
        self._backups: tuple[Peer, ...] = ()
        self._last_resort: tuple[Peer, ...] = ()
        self._keys: dict[Peer, Hashable] = {}
        self._servers: dict[Peer, Server] = {}
        self._observers: tuple[Observer, ...] = ()
        self._forget: Callable[[Peer], object] | None = None

    # Who they are.

    def members(self, servers: Iterable[Server]) -> None:
        """
        From now on these are the servers, each at its own address.  One that is named twice takes twice its share.

        :raise ConfigError: when an address cannot work.
        """
        named: dict[Peer, Server] = {}
        for server in servers:
            peer = self.peer_for(server.to, server)
            if peer in named:
                twice: Any = named[peer]
                named[peer] = evolve(twice, weight=min(HEAVIEST, twice.weight + server.weight))
            else:
                named[peer] = server
        self._servers.update(named)
        self.replace(list(named))

    def peer_for(self, address: ServerAddress, server: Server) -> Peer:
        """
        The peer at ``address``, which belongs to ``server``: one that there is, or a new one, which ``replace`` is to
        be told of.

        :raise ConfigError: when the address cannot work.
        """
        maker = self._maker
        assert maker is not None, "this upstream was made with its peers"
        key = maker.key(address, server)
        peer = self.roster.find(key) or next((peer for peer, known in self._keys.items() if known == key), None)
        if peer is None:
            peer = maker.make(address, server)
        self._keys[peer] = key
        self._servers[peer] = server
        return peer

    def replace(self, peers: Iterable[Peer]) -> None:
        """
        From now on these are the peers.  Those that stay keep their connections, their health and their counters; those
        that left get nothing new, and finish what they have.
        """
        self.peers = tuple(dict.fromkeys(peers))
        for known in (self._keys, self._servers):
            for peer in known.keys() - set(self.peers):
                del known[peer]
        if self._live is self:
            self._enlist()
        else:
            self.available = self.peers  # until it is started

    def set_health(self, peer: Peer, healthy: bool, why: str = "") -> None:
        """
        What a health check, or a circuit breaker, says of ``peer``.

        :param why: it is not healthy, for the log and the status; empty when nobody knows yet.
        """
        unknown = not peer.last_error
        if not healthy:
            peer.last_error = why
        if peer.healthy is healthy:
            if unknown and why and peer.state == "down":
                self._tell(peer)  # it was down because nobody knew
        else:
            peer.healthy = healthy
            if healthy:
                # Who has passed its checks again is not left out any longer for what requests met before.
                peer.failures = peer.outages = 0
                self._live._end_outage(peer)
            self._live.assess()

    def trip(self, peer: Peer, tripped: bool, limit: int | None = None) -> None:
        """
        What a circuit breaker says of ``peer``: that it gets nothing at all; or else, at most ``limit`` requests at a
        time, until it is said to have its usual number.
        """
        peer.tripped = tripped
        live = self._live
        if limit is None:
            live.roster.trials.pop(peer, None)
        else:
            live.roster.trials[peer] = limit
        peer.max_connections = live._limit_of(peer)
        live._measure(peer)
        live.assess()

    def server_of(self, peer: Peer) -> Server | None:
        """
        The server that ``peer`` belongs to.
        """
        return self._live._servers.get(peer)

    def give_order(self, peer: Peer, order: Order) -> None:
        """
        What is set by hand, for as long as the process lives.
        """
        self.roster.orders[peer.label] = order
        live = self._live
        live._instruct(peer)
        if order.state == "disabled":
            self.roster.rest.close([peer])
        live.assess()

    def observe(self, observer: Observer) -> None:
        """
        ``observer`` hears how requests fare from now on.
        """
        self._observers = (*self._observers, observer)
        self._enlisted()

    def back(self, peer: Peer) -> None:
        """
        A peer that was left out is to be tried again.
        """
        if self._end_outage(peer):
            self._live.assess()

    def assess(self) -> None:
        """
        Say of each peer how it is and what it is to take, and so which are to be used.
        """
        up: list[Peer] = []
        backups: list[Peer] = []
        others: list[Peer] = []
        reweighed = False
        for peer in self.peers:
            state = self._state_of(peer)
            if state != peer.state:
                self._turn(peer, state)
            share = peer.weight * self.roster.slow_start.steps(peer)
            if share != peer.share:
                peer.share = share
                reweighed = True
            if state == "up":
                (backups if peer.backup else up).append(peer)
            elif state in ("out", "down"):
                others.append(peer)
        others.sort(key=lambda peer: peer.backup)
        tiers = [tuple(tier) for tier in (up, backups, others) if tier] or [()]
        if reweighed or tiers[0] != self.available:
            self.available = tiers[0]
        self._backups = tuple(backups) if up else ()
        self._last_resort = tuple(others) if up or backups else ()
        queue = self.roster.queue
        if queue:
            queue.advance(self._has_room)

    # Pieces.

    @property
    def _live(self) -> Group:
        return self.roster.upstream or self

    def _enlist(self) -> None:
        """
        The peers of this upstream are those of the roster: new ones come, others leave.
        """
        roster = self.roster
        first = not roster.peers
        before = dict.fromkeys(roster.peers.values())
        now = set(self.peers)
        for peer in before:
            if peer not in now:
                self._dismiss(peer)
        roster.peers = {self._keys.get(peer, peer): peer for peer in self.peers}
        for peer in self.peers:
            if peer not in before:
                roster.leaving.pop(self._keys.get(peer, peer), None)
                peer.leaving = False
                peer.linger = peer.linger or LINGER
                if not first:
                    roster.slow_start.begin(peer)
            self._instruct(peer)
        self._enlisted()
        self.assess()

    def _enlisted(self) -> None:
        """
        The peers are others; for who inherits.
        """

    def _has_room(self) -> bool:
        full = self.roster.full
        return any(peer not in full for peer in (*self.available, *self._backups))

    def _instruct(self, peer: Peer) -> None:
        """
        What is configured of ``peer``, and what was set by hand.
        """
        order = self.roster.order(peer)
        server = self._servers.get(peer)
        if server is not None:
            peer.weight = server.weight
            peer.backup = server.backup
            peer.max_connections = self._limit_of(peer)
        if order.weight is not None:
            peer.weight = order.weight
        peer.order = order.state
        self._measure(peer)

    def _limit_of(self, peer: Peer) -> int | None:
        """
        How many requests and streams ``peer`` may have at a time from this process; None: any number.

        What is left over when they are divided nobody has, so that a server never has more than it is said to bear; but
        each process has one, at least: it would have to send everybody away otherwise.
        """
        server = self._servers.get(peer)
        limit = None if server is None else server.max_connections
        return self.roster.trials.get(peer, None if limit is None else max(1, limit // self._workers))

    def _measure(self, peer: Peer) -> None:
        """
        Is there room at ``peer``?
        """
        if peer.max_connections is not None and peer.active >= peer.max_connections:
            self.roster.full.add(peer)
        else:
            self.roster.full.discard(peer)

    def _dismiss(self, peer: Peer) -> None:
        roster = self.roster
        peer.leaving = True
        roster.rest.close([peer])
        roster.full.discard(peer)
        roster.trials.pop(peer, None)
        roster.slow_start.forget(peer)
        self._end_outage(peer)
        if self._forget is not None:
            self._forget(peer)
        self._turn(peer, "draining")
        roster.keep_until_done(peer)

    def _end_outage(self, peer: Peer) -> bool:
        """
        True: it was left out, and is not any more.
        """
        outage = self.roster.out.pop(peer, None)
        if outage is not None:
            self._ticker.forget(outage)
        return outage is not None

    def _state_of(self, peer: Peer) -> State:
        if peer.order:
            return peer.order
        if not peer.healthy:
            return "down"
        if peer.tripped:
            return "tripped"
        return "out" if peer in self.roster.out else "up"

    def _turn(self, peer: Peer, state: State) -> None:
        """
        Note, and say in the log, that the state of ``peer`` is another.
        """
        before, peer.state, peer.since = peer.state, state, time()
        if state == "up" and before != "draining":  # who drained had work all the time
            self.roster.slow_start.begin(peer)
        self._tell(peer)

    def _tell(self, peer: Peer) -> None:
        """
        Say in the log how ``peer`` is.
        """
        state, outage = peer.state, self.roster.out.get(peer)
        unknown = state == "down" and not peer.last_error
        _log.emit(
            LogLevel.warn if state in ("out", "down", "tripped") and not unknown else LogLevel.info,
            _UNKNOWN if unknown else _STATES[state],
            upstream=self.name,
            server=peer.label.decode(),
            seconds=0 if outage is None else outage.seconds,
            error=peer.last_error or "unknown",
        )
