"""
Names that are looked up again and again, in the background.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.discovery.lookup import Found, Resolver, reachable
from twistginx.upstream.discovery.nameservers import ResolveError
from twistginx.upstream.standing import pause

#: Seconds between two looks at a name: at least, and at most, whatever its time to live.
SHORTEST: Final = 5.0
LONGEST: Final = 60.0

_log = Logger(namespace="twistginx.discovery")


class Watcher(Protocol):
    """
    Who wants to know what a name is.
    """

    def name_changed(self, host: str) -> None:
        """
        Its addresses have changed, or are known, or it has turned out that they cannot be.
        """


def next_look(ttl: float, failures: int = 0, chance: float | None = None) -> float:
    """
    Seconds until the next look at a name.

    :param ttl: of the answer, in seconds.
    :param failures: in a row; each doubles the time.
    :param chance: from 0 to 1, of the jitter; None: drawn.
    """
    seconds = SHORTEST * 2.0 ** min(failures - 1, 8) if failures else ttl
    return max(SHORTEST, min(LONGEST, pause(min(LONGEST, max(SHORTEST, seconds)), chance)))


class Names:
    """
    The names of a process that are looked up by one resolver; each has one question under way, whoever wants to know.
    """

    def __init__(self, resolver: Resolver, ticker: Ticker, once: bool = False) -> None:
        """
        :param once: a name that was found is not looked up again.
        """
        self.resolver = resolver
        self.ticker = ticker
        self.once = once
        self._names: dict[str, Name] = {}

    def watch(self, host: str, watcher: Watcher) -> Name:
        """
        ``watcher`` hears of changes from now on, never within this call.
        """
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = Name(host, self)
            name.look()
        name.watchers.append(watcher)
        return name

    def unwatch(self, host: str, watcher: Watcher) -> None:
        """
        ``watcher`` does not want to hear of it any more.
        """
        name = self._names[host]
        name.watchers.remove(watcher)
        if not name.watchers:
            del self._names[host]
            name.stop()


class Name:
    """
    A name, and what it is.

    :ivar addresses: those that were found last, in order; None when none was found ever.
    :ivar error: why the last look found nothing; empty when it did, or is still under way.
    :ivar deadline: of the next look, on the ticker's clock.
    :ivar looks: how many there were.
    """

    def __init__(self, host: str, names: Names) -> None:
        self.host = host
        self.addresses: tuple[str, ...] | None = None
        self.error = ""
        self.watchers: list[Watcher] = []
        self.deadline = NEVER
        self.looks = 0
        self._names = names
        self._families: tuple[tuple[str, ...] | None, ...] = ((), ())
        self._failures = 0
        self._looking: Deferred[Any] | None = None

    def look(self) -> None:
        """
        Look it up.  What a file says is known when this returns.
        """
        self.looks += 1
        self._names.ticker.watch(self)
        looking = Deferred.fromCoroutine(self._names.resolver.look_up(self.host))
        self._looking = looking
        looking.addCallbacks(self._found, self._missed)
        looking.addErrback(self._broke)

    def deadline_passed(self) -> None:
        """
        Time for a look.
        """
        self.look()

    def stop(self) -> None:
        """
        It is of no interest any more.
        """
        self._names.ticker.forget(self)
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()

    def _found(self, found: Found) -> None:
        # A family that could not be looked up is as it was.
        known = zip(found.families, self._families, strict=True)
        self._families = tuple(old if new is None else new for new, old in known)
        addresses = reachable(address for family in self._families for address in family or ())
        failed, self.error, self._failures = self._failures, "", 0
        if failed:
            _log.info("{host} can be resolved again", host=self.host)
        changed = addresses != self.addresses
        self.addresses = addresses
        self._plan(found.ttl)
        if changed:
            self._tell()

    def _missed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        failure.trap(ResolveError)
        first = not self._failures
        self._failures += 1
        self.error = failure.getErrorMessage()
        self._plan(0)
        if first:
            known = ", ".join(self.addresses or ())
            rest = f"what is known of it stays: {known}" if known else "its servers are down until it can be"
            _log.warn("{host} cannot be resolved: {error}; {rest}", host=self.host, error=self.error, rest=rest)
            self._tell()

    def _broke(self, failure: Failure) -> None:
        _log.failure("{host} was not looked up, which is a fault of ours", failure, host=self.host)
        self._failures += 1
        self._plan(0)

    def _plan(self, ttl: float) -> None:
        self._looking = None
        names = self._names
        if names.once and self.addresses is not None and not self._failures:
            names.ticker.forget(self)
            return
        self.deadline = names.ticker.now + next_look(ttl, self._failures)

    def _tell(self) -> None:
        for watcher in tuple(self.watchers):
            watcher.name_changed(self.host)
