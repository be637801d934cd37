"""
Active health checks: the servers of an upstream are asked, again and again, whether they are well.

Where several workers serve, the one that leads checks, and tells the others what it has concluded.  Each finds servers
by itself, so that one may have some that the leader does not know (yet): these it checks itself.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from time import time
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.config.tables.health import Health as Config
from twistginx.errors import ConfigError, ProxyError
from twistginx.interfaces import ILife
from twistginx.net.board import Board
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.causes import Causes
from twistginx.upstream.health_check import Check, IllError
from twistginx.upstream.peer import Peer
from twistginx.upstream.standing import Standing, pause

#: Seconds over which the first checks are spread.
_FIRST: Final = 0.5
#: What speaks against a peer.
_CAUSE: Final = "health"

_log = Logger(namespace="twistginx.upstream")


@implementer(ILife)
class HealthChecks:
    """
    Of all peers that an upstream has, whoever named them.

    A server that was there at the start counts as well until its first check says otherwise; one that joins others that
    are up is used when it has passed its first check.

    :ivar deadline: of the next look at who the peers are, on the ticker's clock.
    """

    name = "health"

    def __init__(
        self,
        upstream: Any,
        config: Config,
        check: Check,
        ticker: Ticker,
        causes: Causes,
        board: Board,
        target: Callable[[Peer], tuple[Peer, bytes]],
    ) -> None:
        """
        :param upstream: an ``upstream.pool.Upstream``.
        :param target: where a peer is checked, and the Host that it is asked for; it may raise ConfigError.
        """
        self.upstream = upstream
        self.config = config
        self.check = check
        self.ticker = ticker
        self.causes = causes
        self.board = board
        self.target = target
        self.topic = f"health/{upstream.name}/"
        self.deadline = NEVER
        self._patients: dict[Peer, Patient] = {}
        self._seen: object = None

    # ILife.

    def start(self) -> None:
        """
        Begin.
        """
        self.ticker.watch(self)
        self.deadline = self.ticker.now
        self._admit(first=True)
        self.board.subscribe(f"{self.topic}*", self._heard)

    def stop(self) -> None:
        """
        Check no more, and hold nothing against anybody.
        """
        self.board.unsubscribe(f"{self.topic}*", self._heard)
        self.ticker.forget(self)
        for patient in self._patients.values():
            patient.stop()
        self._patients.clear()
        self._seen = None
        if not self.upstream.roster.rest.stopped:
            self.causes.take_all_back(self.upstream, _CAUSE, self)

    def deadline_passed(self) -> None:
        """
        Called by the ticker, at each tick.
        """
        self.deadline = self.ticker.now
        if self.upstream.peers is not self._seen:
            self._admit(first=False)

    def report(self) -> list[dict[str, Any]]:
        """
        How each server is, as plain values.
        """
        return [patient.report() for patient in self._patients.values()]

    # What patients call.

    def concluded(self, peer: Peer, why: str) -> None:
        """
        ``peer`` is well or ill from now on, where it was not.

        :param why: it is ill; empty when it is well.
        """
        if why:
            self.causes.speak(self.upstream, peer, _CAUSE, self, why)
        else:
            self.causes.take_back(self.upstream, peer, _CAUSE, self)

    def topic_of(self, peer: Peer) -> str:
        """
        Where the others hear of it.
        """
        return f"{self.topic}{peer.label.decode()}"

    # Pieces.

    def _admit(self, first: bool) -> None:
        """
        The peers are others.
        """
        peers = self._seen = self.upstream.peers
        # Where nobody else is there, a server that may be well is better than none.
        used = any(peer.state == "up" for peer in self._patients.keys() & set(peers))
        for peer in self._patients.keys() - set(peers):
            self._patients.pop(peer).stop()
            self.causes.forget(peer)
            if self.board.leads:
                self.board.broadcast(self.topic_of(peer), None)
        for peer in peers:
            if peer in self._patients:
                continue
            patient = self._patients[peer] = Patient(self, peer)
            if self.causes.against(peer, _CAUSE):
                # Under another configuration it was ill; the first check decides.
                self.causes.speak(self.upstream, peer, _CAUSE, self, peer.last_error)
            elif not first and used:
                self.causes.speak(self.upstream, peer, _CAUSE, self, "")
            patient.start(spread=first)
            topic = self.topic_of(peer)
            self._heard((topic, self.board.latest.get(topic)))

    def _heard(self, said: tuple[str, str | None]) -> None:
        if self.board.leads:
            return  # It is what we said ourselves, or somebody before us.
        topic, why = said
        label = topic.removeprefix(self.topic).encode()
        for peer, patient in self._patients.items():
            if peer.label == label and why is not None:
                patient.hear(why)


class Patient:
    """
    One peer that is checked.

    :ivar deadline: of the next check, on the ticker's clock.
    :ivar error: what the last check said; empty when it was good, or there was none.
    """

    def __init__(self, checks: HealthChecks, peer: Peer) -> None:
        self.deadline = NEVER
        self.error = ""
        self._checks = checks
        self._peer = peer
        self._standing = Standing(checks.config.rise, checks.config.fall)
        self._checking: Deferred[None] | None = None
        self._passed = 0
        self._failed = 0
        self._last: float | None = None
        self._waited = False

    def start(self, spread: bool) -> None:
        """
        Have it checked soon.
        """
        checks = self._checks
        checks.ticker.watch(self)  # first, because the ticker may have slept
        soon = random() * min(_FIRST, checks.config.interval) if spread else 0.0  # noqa: S311  # it only spreads
        self.deadline = checks.ticker.now + soon

    def stop(self) -> None:
        """
        Check it no more.
        """
        self._checks.ticker.forget(self)
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()

    def deadline_passed(self) -> None:
        """
        Called by the ticker: it is time for a check.
        """
        checks = self._checks
        if not checks.board.leads and not self._is_left_to_us():
            self._plan()
            return
        try:
            peer, host = checks.target(self._peer)
        except ConfigError as error:  # its address and what is configured do not go together
            self._checked(str(error))
            return
        self._checking = checking = checks.check(peer, host)
        checking.addCallbacks(lambda _: self._checked(""), self._failed_check)
        checking.addErrback(self._broke)

    def _is_left_to_us(self) -> bool:
        """
        Has the one that leads said nothing of it, for a whole interval?
        """
        board = self._checks.board
        waited, self._waited = self._waited, self._checks.topic_of(self._peer) not in board.latest
        return waited and self._waited

    def hear(self, why: str) -> None:
        """
        The worker that leads has come to a conclusion.
        """
        self.error = why
        self._last = time()
        self._standing.take(not why)
        self._checks.concluded(self._peer, why)

    def report(self) -> dict[str, Any]:
        """
        As plain values; times are seconds since 1970.
        """
        well = self._standing.well
        return {
            "server": self._peer.label.decode(),
            "health": "unknown" if well is None else "up" if well else "down",
            "passed": self._passed,
            "failed": self._failed,
            "last_check": self._last,
            "error": self.error,
        }

    def _failed_check(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            failure.trap(ProxyError, IllError)
            # The log says whose it is.
            self._checked(failure.getErrorMessage().replace(f"{self._peer.label.decode()}: ", ""))

    def _checked(self, why: str) -> None:
        self._plan()
        before, self.error = self.error, why
        self._last = time()
        if why:
            self._failed += 1
        else:
            self._passed += 1
        changed = self._standing.judge(not why)
        if changed or (why and not self._standing.well):
            self._checks.concluded(self._peer, why)
        board, topic, well = self._checks.board, self._checks.topic_of(self._peer), self._standing.well
        if board.leads and (changed or (why != before and not well) or topic not in board.latest):
            board.broadcast(topic, "" if well else why)

    def _broke(self, failure: Failure) -> None:
        _log.failure("a health check went wrong, which is a fault of ours", failure)
        self._plan()

    def _plan(self) -> None:
        self._checking = None
        self.deadline = self._checks.ticker.now + pause(self._checks.config.interval)
