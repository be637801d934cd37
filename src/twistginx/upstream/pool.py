"""
An upstream: its peers, the connections to them that rest, and the score of their failures.

Connections are used last in, first out, so that as few as possible are kept, and those that are kept are warm.  How
long one may rest is the server's to say: a server closes connections that rest, and a request that crosses such a close
on its way is lost.  So we close first: 1.5 s before the time that the server announces (``Keep-Alive: timeout=``),
after four seconds when it announces nothing, and sooner where a peer has been seen to close sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from twistginx.errors import Fault, ProxyError
from twistginx.http.client import ClientConnection, Patience
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.peer import Peer

#: Seconds that a connection rests, where nothing better is known.
LINGER: Final = 4.0
#: Seconds before the announced end of a connection at rest, at which we end it.
_MARGIN: Final = 1.5
#: A close of the server's after less rest (seconds) than this is a restart, or a limit of requests: no lesson.
_LESSON: Final = 1.0
#: The least rest (seconds) that can be learned.
_LEAST: Final = 0.5

#: Failures in a row after which a peer is left out for a while.
_FAILURES: Final = 5
#: Seconds of the first while, and of the longest; each is twice the one before.
_WHILE: Final = 10.0
_LONGEST_WHILE: Final = 300.0


class TimeoutOptions(Protocol):
    """
    Seconds; see ``http.client.Patience``.
    """

    @property
    def connect(self) -> float: ...
    @property
    def first_byte(self) -> float: ...
    @property
    def idle(self) -> float: ...


class UpstreamOptions(Protocol):
    """
    What is configured of an upstream, beside its servers.

    :ivar keepalive: how many connections may rest, over all peers.
    """

    @property
    def keepalive(self) -> int: ...
    @property
    def timeouts(self) -> TimeoutOptions: ...


Pick = Callable[[Sequence[Peer], Any, Collection[Peer]], Peer | None]


class Upstream:
    """
    A named group of peers.

    It is a value of what it is made with, so that it can be kept over a reload that leaves its configuration unchanged.

    :ivar name: as the configuration calls it.
    :ivar peers: all of them.
    :ivar available: those that are not left out now.
    :ivar patience: how long peers may take, for requests whose route says nothing else.
    :ivar connect_timeout: seconds for a connection to a peer; ``connect_setting`` is the key that says so, for errors.
    :ivar stale: how many connections at rest were found dead by a request.
    """

    def __init__(self, name: str, config: UpstreamOptions, peers: Sequence[Peer], pick: Pick, ticker: Ticker) -> None:
        """
        :param config: the limits; ``config.schema.Upstream`` has them.
        :param pick: a balance module's.
        """
        self.name = name
        self.peers = tuple(peers)
        self.available = self.peers
        self.stale = 0
        # An upstream of one route alone is named by its servers, and its timeouts are set in that route.
        key = "timeouts" if ":" in name else f"upstream.{name}.timeouts"
        timeouts = config.timeouts
        self.patience = patience(key, timeouts.first_byte, timeouts.idle)
        self.connect_timeout = timeouts.connect
        self.connect_setting = f"{key}.connect = {timeouts.connect:g}s"
        self._keepalive = config.keepalive
        self._balance = pick
        self._ticker = ticker
        self._stopped = False
        self._resting_count = 0
        self._resting: dict[Peer, list[ClientConnection]] = {peer: [] for peer in self.peers}
        self._makers = {peer: _ConnectionMaker(self, peer, ticker) for peer in self.peers}
        self._out: dict[Peer, _Outage] = {}
        for peer in self.peers:
            peer.linger = LINGER

    # What requests call.

    def pick(self, request: Any, tried: Collection[Peer]) -> Peer | None:
        """
        The peer for one attempt; None when all have been tried.

        Peers that are left out are the last resort.
        """
        peer = self._balance(self.available, request, tried)
        if peer is None and self._out:
            for out in self._out:
                if out not in tried:
                    return out
        return peer

    def take(self, peer: Peer) -> ClientConnection | None:
        """
        A connection at rest, the one that came to rest last; None when there is none.
        """
        resting = self._resting[peer]
        if not resting:
            return None
        self._resting_count -= 1
        return resting.pop()

    def connect(self, peer: Peer) -> Deferred[ClientConnection]:
        """
        A new connection, which comes to rest here after its first response.  Fails and cancels as ``Peer.connect``.
        """
        return peer.connect(self._makers[peer], self.connect_timeout, self.connect_setting)

    def failed(self, peer: Peer, error: ProxyError) -> None:
        """
        A request failed on ``peer``.  What a client did, or we, is not held against it.
        """
        if error.reason.fault is not Fault.UPSTREAM:
            return
        peer.failures += 1
        if peer.failures >= _FAILURES and peer not in self._out and len(self.available) > 1:
            self._leave_out(peer)

    def succeeded(self, peer: Peer) -> None:
        """
        A peer has answered.
        """
        peer.failures = peer.outages = 0
        self.back(peer)

    def found_dead(self, connection: ClientConnection) -> None:
        """
        A connection that had rested died before the first byte of an answer.
        """
        self.stale += 1
        self._learn(connection)

    # What connections call (http.client.ConnectionOwner).

    def connection_free(self, connection: ClientConnection) -> None:
        """
        Let it rest, or close it.
        """
        peer = connection.label
        linger = peer.linger
        announced = connection.parser.linger
        if announced is not None:
            linger = announced - _MARGIN if announced >= 2 * _MARGIN else announced / 2
        if self._resting_count >= self._keepalive or self._stopped or not linger:
            connection.close()
            return
        connection.deadline = self._ticker.now + linger
        self._resting_count += 1
        self._resting[peer].append(connection)

    def connection_gone(self, connection: ClientConnection, by_server: bool) -> None:
        """
        Forget it.
        """
        resting = self._resting[connection.label]
        if connection in resting:
            resting.remove(connection)
            self._resting_count -= 1
            if by_server:
                self._learn(connection)

    # Life.

    def start(self) -> None:
        """
        Connections may rest here (again).
        """
        self._stopped = False

    def stop(self) -> None:
        """
        Close all connections at rest, and the others when they are done.
        """
        self._stopped = True
        for peer in list(self._out):
            self.back(peer)
        for resting in self._resting.values():
            closing, resting[:] = resting[:], []
            for connection in closing:
                connection.close()
        self._resting_count = 0

    @property
    def resting(self) -> int:
        """
        How many connections rest.
        """
        return self._resting_count

    # Pieces.

    def _learn(self, connection: ClientConnection) -> None:
        """
        The server closed a connection at rest: rest less the next time.
        """
        rested = self._ticker.now - connection.rested_since
        if rested >= _LESSON:
            peer = connection.label
            peer.linger = max(_LEAST, min(peer.linger, rested - _LEAST))

    def _leave_out(self, peer: Peer) -> None:
        seconds = min(_LONGEST_WHILE, _WHILE * 2**peer.outages)
        peer.outages += 1
        # Back on trial: the next failure puts it out again, for longer.
        peer.failures = _FAILURES - 1
        self._out[peer] = outage = _Outage(self, peer)
        self._ticker.watch(outage)  # first, because the ticker may have slept
        outage.deadline = self._ticker.now + seconds
        self._assess()

    def back(self, peer: Peer) -> None:
        """
        A peer that was left out is to be tried again.
        """
        outage = self._out.pop(peer, None)
        if outage is not None:
            self._ticker.forget(outage)
            self._assess()

    def _assess(self) -> None:
        # A new object only when something changed: balancers keep what they have computed for it.
        self.available = tuple(peer for peer in self.peers if peer not in self._out)

    def __repr__(self) -> str:
        return f"<Upstream {self.name} {len(self.available)}/{len(self.peers)} peers, {self._resting_count} resting>"


class _Outage:
    """
    The time for which a peer is left out.
    """

    __slots__ = ("_peer", "_upstream", "deadline")

    def __init__(self, upstream: Upstream, peer: Peer) -> None:
        self._upstream = upstream
        self._peer = peer
        self.deadline = NEVER

    def deadline_passed(self) -> None:
        """
        It is over.
        """
        self._upstream.back(self._peer)


class _ConnectionMaker(Factory):
    """
    Builds the connections to one peer.
    """

    noisy = False

    def __init__(self, upstream: Upstream, peer: Peer, ticker: Ticker) -> None:
        self._upstream = upstream
        self._peer = peer
        self._ticker = ticker

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        """
        A connection, at rest here when it is done.
        """
        return ClientConnection(self._ticker, self._upstream, self._peer)


def patience(key: str, first_byte: float, idle: float) -> Patience:
    """
    Timeouts in seconds, and the settings that say so: ``key`` is ``upstream.app.timeouts``, say.
    """
    return Patience(first_byte, idle, f"{key}.first_byte = {first_byte:g}s", f"{key}.idle = {idle:g}s")
