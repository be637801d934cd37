"""
An upstream: who gets the next request, the connections to servers, and the score of their failures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Any, Final

from twisted.internet.defer import Deferred

from twistginx.errors import Fault, ProxyError
from twistginx.http.client import ClientConnection, Patience
from twistginx.net.announcement import announcement, end_of
from twistginx.net.timers import Ticker
from twistginx.upstream.balance import moving_average
from twistginx.upstream.group import Group
from twistginx.upstream.options import UpstreamOptions
from twistginx.upstream.outage import Outage
from twistginx.upstream.peer import Peer
from twistginx.upstream.queue import Waiter
from twistginx.upstream.retry import Budget, Rules
from twistginx.upstream.roster import PeerMaker, Roster
from twistginx.upstream.sticky import Sticky

#: Failures in a row after which a peer is left out for a while.
_FAILURES: Final = 5
#: Seconds of the first while, and of the longest; each is twice the one before.
_WHILE: Final = 10.0
_LONGEST_WHILE: Final = 300.0

Pick = Callable[[Sequence[Peer], Any, Collection[Peer]], Peer | None]


class Upstream(Group):
    """
    A named group of peers, and the way to them.

    It is a value of what it is made with, so that it can be kept over a reload that leaves its configuration unchanged.
    One that is to replace another is given the other's roster, and takes it over when it is started.

    :ivar patience: how long peers may take, for requests whose route says nothing else.
    :ivar connect_timeout: seconds for a connection to a peer; ``connect_setting`` is the key that says so, for errors.
    :ivar attendants: what finds, checks and cuts off its servers, by name; each has ``report()``.
    :ivar retry: what is sent again, and ``budget`` how much of it.
    :ivar attentive: somebody wants to hear of requests: ``begin``, ``answered`` and ``done`` are to be called.
    """

    def __init__(
        self,
        name: str,
        config: UpstreamOptions,
        peers: Sequence[Peer],
        balancer: Any,
        ticker: Ticker,
        maker: PeerMaker | None = None,
        roster: Roster | None = None,
        sticky: Sticky | None = None,
        workers: int = 1,
    ) -> None:
        """
        :param config: the limits; ``config.schema.Upstream`` has them.
        :param peers: those that there are at first, besides what ``members`` will say.
        :param balancer: a balance module's.
        :param maker: makes the peers of ``members`` and ``peer_for``.
        :param roster: of the upstream that this one is to replace.
        :param sticky: the cookies by which clients come back; None: they do not.
        :param workers: how many processes share the work.
        """
        super().__init__(name, ticker, maker, roster, workers)
        # An upstream of one route alone is named by its servers, and its timeouts are set in that route.
        self._key = "" if ":" in name else f"upstream.{name}."
        timeouts = config.timeouts
        self.patience = patience(f"{self._key}timeouts", timeouts.first_byte, timeouts.idle)
        self.connect_timeout = timeouts.connect
        self.connect_setting = f"{self._key}timeouts.connect = {timeouts.connect:g}s"
        self.take: Callable[..., ClientConnection | None] = self.roster.rest.take
        self.retry = rules = Rules.of(config.retry)
        # What errors name when time is up.
        self.per_try_setting = "" if rules.per_try is None else f"{self._key}retry.per_try = {rules.per_try:g}s"
        self.total_setting = "" if rules.total is None else f"{self._key}retry.total = {rules.total:g}s"
        self.budget = Budget(config.retry.budget)
        self.attentive = False
        self.sticky = sticky
        self.proxy_protocol = config.proxy_protocol
        if config.proxy_protocol:
            self.take = self._take_own
        self.attendants: dict[str, Any] = {}
        self._config = config
        self._balance: Pick = getattr(balancer, "pick", balancer)
        self._began: Callable[[Peer], object] | None = getattr(balancer, "began", None)
        self._ended: Callable[[Peer], object] | None = getattr(balancer, "ended", None)
        self._forget = getattr(balancer, "forget", None)
        self._timed = bool(getattr(balancer, "timed", False))
        if self.roster.upstream is None:
            self._take_over()
        if peers:
            self.replace(peers)

    # What requests and streams call.

    def pick(self, request: Any, tried: Collection[Peer]) -> Peer | None:
        """
        The peer for one attempt; None when none is left that has not been tried and has room: ``wait`` says what then.

        :param request: a request, or a stream's connection: it has at least ``client_ip``; None: for nobody.
        """
        full = self.roster.full
        if full:
            tried = full.union(tried)
        if self.sticky is not None:
            held = self.sticky.peer_of(request)
            if held is not None and held not in tried:
                return held
        return self._balance(self.available, request, tried) or self._pick_other(tried)

    def has_another(self, tried: Collection[Peer | None]) -> bool:
        """
        Is there one that is to be used, and has not been tried?
        """
        return any(peer not in tried for tier in (self.available, self._backups) for peer in tier)

    def wait(self, waiter: Waiter, tried: Collection[Peer], failed: ProxyError | None = None) -> ProxyError | None:
        """
        What to do when ``pick`` has found nobody.

        :param failed: how the last attempt failed.
        :return: None: ``waiter`` is in the queue, and hears when there is room.  Else what to fail with.
        """
        if all(peer in tried for peer in self.roster.full if peer.state == "up"):
            return failed or ProxyError("destination_unavailable", f"upstream {self.name} has no server to try")
        queue = self.roster.queue
        if queue.enter(waiter):
            return None
        setting = f"{self._key}queue.size = {queue.size}"
        return ProxyError("connection_limit_reached", f"all servers of upstream {self.name} are busy", setting)

    def leave(self, waiter: Waiter) -> None:
        """
        ``waiter`` waits no more, if it did.
        """
        self.roster.queue.leave(waiter)

    def connect(
        self, peer: Peer, request: Any = None, within: tuple[float, str] | None = None
    ) -> Deferred[ClientConnection]:
        """
        A new connection, which comes to rest here after its first response.  Fails and cancels as ``Peer.connect``.

        :param request: that it is for; None: for any.
        :param within: seconds that it may take, and the setting that says so; None: as is configured.
        """
        preface = self._announced(request) if self.proxy_protocol and request is not None else None
        timeout, setting = within or (self.connect_timeout, self.connect_setting)
        return self.roster.rest.connect(peer, timeout, setting, preface)

    def connecting_within(self, left: float) -> tuple[float, str] | None:
        """
        How long a connection may take, for ``connect``, when all tries together have so many seconds left.
        """
        return None if left >= self.connect_timeout else (max(0.0, left), self.total_setting)

    def begin(self, peer: Peer) -> None:
        """
        An attempt begins at ``peer``; ``peer.begun`` has been counted.
        """
        limit = peer.max_connections
        if limit is not None and peer.begun - peer.ended >= limit:
            self.roster.full.add(peer)
        began = self._live._began
        if began is not None:
            began(peer)

    def answered(self, peer: Peer, request: Any, head: Any, sent_at: float) -> None:
        """
        The head of an answer is there.

        :param head: the ``ResponseHead``, which may be changed.
        :param sent_at: when the request was sent, on the clock of ``time.monotonic``.
        """
        if self._timed:
            now = monotonic()
            peer.latency = moving_average(peer.latency, now - sent_at, now - peer.measured)
            peer.measured = now
        if self.sticky is not None:
            self.sticky.hold(request, peer, head, self.roster.full)
        for observer in self._observers:
            observer.answered(peer, head.status)

    def joined(self, peer: Peer) -> None:
        """
        A stream has its connection.
        """
        for observer in self._observers:
            observer.joined(peer)

    def done(self, peer: Peer) -> None:
        """
        An attempt is over, however it went; ``peer.ended`` has been counted.
        """
        live = self._live
        if live._ended is not None:
            live._ended(peer)
        roster = self.roster
        if peer in roster.full:
            live._measure(peer)
        if peer.leaving and peer.begun == peer.ended:
            roster.drop(peer)
        if roster.queue:
            roster.queue.advance(live._has_room)

    def failed(self, peer: Peer, error: ProxyError) -> None:
        """
        A request failed on ``peer``.  What a client did, or we, is not held against it.
        """
        if error.reason.fault is not Fault.UPSTREAM:
            return
        peer.failed += 1
        peer.failures += 1
        peer.last_error = str(error)
        live = self._live
        if peer.failures >= _FAILURES and peer not in self.roster.out and live._may_spare(peer):
            live._leave_out(peer)
        for observer in live._observers:
            observer.failed(peer, error)

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
        self.roster.rest.found_dead(connection)

    # Life.

    def start(self) -> None:
        """
        This is the upstream from now on (again); connections may rest.
        """
        if self._live is not self:
            self._take_over()
            self._enlist()
        elif self.roster.rest.stopped:
            self.assess()
        self.roster.rest.stopped = False
        self.roster.warm.start()

    def stop(self) -> None:
        """
        Close all connections at rest, and the others when they are done; unless another upstream has them now.
        """
        roster = self.roster
        if self._live is not self:
            return
        roster.rest.stopped = True
        roster.slow_start.stop()
        roster.warm.stop()
        for peer in list(roster.out):
            self._end_outage(peer)  # without a word: nothing is known to be better
        roster.rest.close(self.peers)

    @property
    def resting(self) -> int:
        """
        How many connections rest.
        """
        return self.roster.rest.count

    @property
    def stale(self) -> int:
        """
        How many connections at rest were found dead by a request.
        """
        return self.roster.rest.stale

    # Pieces.

    def _take_over(self) -> None:
        """
        The roster is this upstream's: its limits hold.
        """
        roster = self.roster
        config = self._config
        if roster.upstream is not None:
            # What has begun there is to be known here when it is over.
            roster.upstream.attentive = True
        roster.upstream = self
        roster.rest.limit(config.keepalive, config.max_age, config.max_requests)
        roster.queue.size = config.queue.size
        roster.queue.timeout = config.queue.timeout
        roster.queue.setting = f"{self._key}queue.timeout = {config.queue.timeout:g}s"
        roster.slow_start.seconds = config.slow_start or 0.0
        roster.warm.wanted = 0 if config.proxy_protocol else config.warm

    @property
    def _live(self) -> Upstream:
        return self.roster.upstream or self

    def _enlisted(self) -> None:
        limited = any(peer.max_connections is not None for peer in self.peers)
        self.attentive = bool(
            limited or self._began or self._ended or self._timed or self._observers or self.sticky is not None
        )
        if self.sticky is not None:
            self.sticky.know(self.peers)

    def _announced(self, request: Any) -> bytes:
        """
        The header of the PROXY protocol for a request.
        """
        channel = request.channel
        client = request.client_ip.decode("ascii", "replace")
        # The port is that of who is connected to us, and of nobody else.
        source = (client, getattr(channel.getPeer(), "port", 0) if client.encode() == request.peer_ip else 0)
        return announcement(self.proxy_protocol or "", source, end_of(channel.getHost()))

    def _take_own(self, peer: Peer, request: Any = None) -> ClientConnection | None:
        if request is None or not peer.resting:
            return None
        return self.roster.rest.take_own(peer, self._announced(request))

    def _may_spare(self, peer: Peer) -> bool:
        """
        Is somebody else up?  The last one is not left out.
        """
        return any(other.state == "up" for other in self.peers if other is not peer)

    def _leave_out(self, peer: Peer) -> None:
        seconds = min(_LONGEST_WHILE, _WHILE * 2**peer.outages)
        peer.outages += 1
        # Back on trial: the next failure puts it out again, for longer.
        peer.failures = _FAILURES - 1
        self.roster.out[peer] = outage = Outage(self.roster, peer, seconds)
        self._ticker.watch(outage)  # first, because the ticker may have slept
        outage.deadline = self._ticker.now + seconds
        self.assess()

    def _pick_other(self, tried: Collection[Peer]) -> Peer | None:
        """
        Nobody of the first tier: a backup, the one with the least to do; else, when there is nobody to wait for, one
        that is left out.
        """
        left = [peer for peer in self._backups if peer not in tried]
        if left:
            return min(left, key=lambda peer: peer.active / peer.share)
        if not self.roster.full:
            for peer in self._last_resort:
                if peer not in tried:
                    return peer
        return None

    def __repr__(self) -> str:
        return f"<Upstream {self.name} {len(self.available)}/{len(self.peers)} peers, {self.resting} resting>"


def patience(key: str, first_byte: float, idle: float) -> Patience:
    """
    Timeouts in seconds, and the settings that say so: ``key`` is ``upstream.app.timeouts``, say.
    """
    return Patience(first_byte, idle, f"{key}.first_byte = {first_byte:g}s", f"{key}.idle = {idle:g}s")
