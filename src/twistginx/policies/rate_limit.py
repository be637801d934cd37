"""
``rate_limit``: how many requests, or connections, there may be in what time.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final, Literal

from attrs import Attribute, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from zope.interface import moduleProvides

from twistginx.config.networks import Entry
from twistginx.config.rates import Rate
from twistginx.config.template import Template
from twistginx.config.units import Duration
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.message import Record, ResponseHead
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.policies.limitkey import CLIENT, DryRun, LimitKey
from twistginx.shared.verdict import Verdict

moduleProvides(IPolicyModule)

name = "rate_limit"
api = 1
rank = 400
applies_to = frozenset(("http", "stream"))
many = True

_UNAUTHORIZED: Final = 401

#: Nothing waits longer than this.
_LONGEST_DELAY: Final = 60.0


@frozen
class Config:
    """
    Limit the rate of requests; of new connections, in a stream.  A text is the ``rate``.  Several may stand in an
    array; all must agree.

    It is a bucket of ``burst`` tokens for each key, which fills at ``rate``; a request takes one (GCRA).  One that
    finds none is answered 429 with Retry-After, RateLimit and RateLimit-Policy; in a stream, it is closed.  All
    workers count together, and all machines that have a Redis in ``[shared]``.

    :ivar rate: how many in what time: "10/s", "600/min", "1000/h", "5000/d", "20/10s".
    :ivar burst: how many at once, after a pause.  Without it: as many as ``rate`` names.
    :ivar delay: how long one that comes too early is held up, rather than refused.
    :ivar key: whose limit it is.  IPv6 addresses count by /64.  Where all variables of it are empty, the client's
        address stands in.
    :ivar per: a name; limits of the same name are one limit.  Without it, each table that is written is one, so that a
        limit in ``[site.defaults]`` is one for all routes that inherit it.
    :ivar status: what a refusal is answered: 429 or 503.
    :ivar exempt: who has no limit: networks, files, and lists of ``[networks]``.
    :ivar failures: what counts are wrong credentials: requests with an Authorization that were answered 401, by a
        policy or by the app.  Who has made too many is refused before anybody verifies anything, until there is a token
        again.
    :ivar headers: every response carries RateLimit and RateLimit-Policy, not only refusals.
    :ivar dry_run: nothing is refused, or held up; the error log says what would have been.
    """

    rate: Rate
    burst: int | None = field(default=None)
    delay: Duration = field(default=Duration(0))
    key: Template = CLIENT
    per: str = ""
    status: Literal[429, 503] = 429
    exempt: tuple[Entry, ...] = field(default=(), metadata={"single": True})
    failures: bool = field(default=False)
    headers: bool = False
    dry_run: bool = False

    @burst.validator
    def _check_burst(self, attribute: Attribute[Any], value: int | None) -> None:
        if value is not None and value < 1:
            raise ValueError(f"is {value}, so that nothing could pass; expected 1 or more")

    @delay.validator
    def _check_delay(self, attribute: Attribute[Any], value: Duration) -> None:
        if value > _LONGEST_DELAY:
            raise ValueError(f'is {value}, and a client that waits for so long has left; expected "60s" or less')

    @failures.validator
    def _check_failures(self, attribute: Attribute[Any], value: bool) -> None:
        if value and self.delay:
            raise ValueError("goes without delay: what has failed cannot be held up")

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``rate_limit = "10/s"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a rate such as "10/s", or a table with one')
        return {"rate": value}


def make(config: Config, context: IContext) -> RateLimit:
    """
    As ``IPolicyModule`` says.
    """
    key = LimitKey(name, config.key, config.per, config.exempt, context)
    if config.failures:
        if context.place.startswith("stream"):
            raise ConfigError("is for requests, and a stream has none", key="failures", expected="remove it")
        return FailureLimit(config, key, context)
    return (TellingRateLimit if config.headers and not config.dry_run else RateLimit)(config, key, context)


class RateLimit:
    """
    The limit of one table.
    """

    __slots__ = ("_burst", "_delay", "_dry", "_key", "_policy", "_rate", "_reactor", "_setting", "_status", "_take")

    def __init__(self, config: Config, key: LimitKey, context: IContext) -> None:
        self._rate: Final = config.rate.per_second
        self._burst: Final = float(config.rate.count if config.burst is None else config.burst)
        self._delay: Final = 0.0 if config.dry_run else float(config.delay)
        self._key: Final = key
        self._take: Final = context.store.take
        self._reactor: Final[Any] = context.reactor
        self._status: Final = config.status
        self._setting: Final = f"rate_limit = {config.rate}"
        self._dry: Final = DryRun(context) if config.dry_run else None
        label = config.per or "default"
        quoted = "".join(letter for letter in label if " " <= letter <= "~" and letter not in '\\"')
        # draft-ietf-httpapi-ratelimit-headers: the quota, and the time in which it is there again.
        window = max(1, ceil(self._burst / self._rate))
        self._policy: Final = (f'"{quoted}"'.encode(), f'"{quoted}";q={int(self._burst)};w={window}'.encode())

    def admit(self, request: Any) -> Deferred[None] | None:
        """
        See ``IPolicy``.

        :raise ProxyError: for one too many.
        """
        limits = request.limits
        if limits is not None and self._key.prefix in limits:
            return None
        key = self._key.of_request(request)
        if key is None:
            return None
        verdict = self._take(key, self._rate, self._burst, self._reactor.seconds(), 1.0, self._delay)
        if verdict.__class__ is Verdict:
            return self._judged(verdict, request)
        return verdict.addCallback(self._judged, request)  # type: ignore[no-any-return]

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        if self._key.of_request(request) is None:
            return ["the client is exempt"]
        held = f", and holds up what comes up to {self._delay:g} s too early" if self._delay else ""
        dry = " (dry run)" if self._dry is not None else ""
        return [
            f"admits {int(self._burst)} at once and {self._rate:g} a second{held}, else answers {self._status}{dry}"
        ]

    def connected(self, connection: Any) -> Any:
        """
        See ``IPolicy``.
        """
        key = self._key.of_connection(connection)
        if key is None:
            return None
        verdict = self._take(key, self._rate, self._burst, self._reactor.seconds())
        if isinstance(verdict, Deferred):
            return verdict.addCallback(self._welcome, connection)
        return self._welcome(verdict, connection)

    def _welcome(self, verdict: Verdict, connection: Any) -> bool | None:
        if verdict.admitted:
            return None
        if self._dry is not None:
            self._dry.note(connection.client_ip)
            return None
        return False

    def _judged(self, verdict: Verdict, request: Any) -> Deferred[None] | None:
        """
        What becomes of a request.
        """
        if request.limits is None:
            request.limits = {self._key.prefix: verdict}
        else:
            request.limits[self._key.prefix] = verdict
        if verdict.admitted:
            return self._later(verdict.wait) if verdict.wait else None
        if self._dry is not None:
            self._dry.note(request.client_ip)
            return None
        for _, policy, _ in request.route.stack:
            if policy is not self and isinstance(policy, RateLimit):
                policy.take_back(request)
        fields = ((b"Retry-After", b"%d" % max(1, ceil(verdict.wait))), *self._fields(verdict))
        raise ProxyError("rate_limited", setting=self._setting, fields=fields, status=self._status)

    def take_back(self, request: Any) -> None:
        """
        Another limit has refused ``request``: the token that it has of this one is for somebody else.  Else who is
        refused again and again would use up what all share.
        """
        verdict = request.limits.pop(self._key.prefix, None)
        key = self._key.of_request(request) if verdict is not None and verdict.admitted else None
        if key is None:
            return
        try:
            given = self._take(key, self._rate, self._burst, self._reactor.seconds(), -1.0)
        except ProxyError:  # the store is away: nothing was taken there, either
            return
        if isinstance(given, Deferred):
            given.addErrback(lambda _: None)

    def _fields(self, verdict: Verdict) -> tuple[tuple[bytes, bytes], ...]:
        """
        RateLimit and RateLimit-Policy.
        """
        name, policy = self._policy
        left = int(verdict.left + 1e-6)
        if left:
            state = b"%b;r=%d" % (name, left)
        else:
            missing = (1.0 - verdict.left) / self._rate if verdict.admitted else verdict.wait
            state = b"%b;r=0;t=%d" % (name, max(1, ceil(missing)))
        return (b"RateLimit", state), (b"RateLimit-Policy", policy)

    def _later(self, seconds: float) -> Deferred[None]:
        """
        Go on after a while, unless the client leaves.
        """

        def cancel(_: Deferred[None]) -> None:
            call.cancel()

        waiting: Deferred[None] = Deferred(cancel)
        call: IDelayedCall = self._reactor.callLater(seconds, waiting.callback, None)
        return waiting


class TellingRateLimit(RateLimit):
    """
    One that tells every client how it stands.
    """

    __slots__ = ()

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        See ``IPolicy``.
        """
        verdict = None if request.limits is None else request.limits.get(self._key.prefix)
        if verdict is not None and verdict.admitted:  # a refusal says so itself
            for field_name, value in self._fields(verdict):
                head.fields.add(field_name, value)


class FailureLimit(RateLimit):
    """
    One for wrong credentials.

    A failure is known when a request has been answered.  The one that takes the last token shuts the door, by a small
    value in the store that is there until there is a token again; guesses that are under way by then come through.

    :ivar rank: before all that verify.
    """

    rank: Final = 190

    __slots__ = ("_store",)

    def __init__(self, config: Config, key: LimitKey, context: IContext) -> None:
        super().__init__(config, key, context)
        self._store: Final[Any] = context.store

    def admit(self, request: Any) -> Deferred[None] | None:
        """
        See ``IPolicy``.

        :raise ProxyError: for who has guessed too often.
        """
        key = self._key.of_request(request)
        if key is None:
            return None
        shut = self._store.get(key + b"/shut", self._reactor.seconds())
        if isinstance(shut, Deferred):
            return shut.addCallback(self._look, request)
        self._look(shut, request)
        return None

    def _look(self, shut: tuple[bytes, int] | None, request: Any) -> None:
        if shut is None:
            return
        if self._dry is not None:
            self._dry.note(request.client_ip)
            return
        wait = float(shut[0]) - self._reactor.seconds()
        self._judged(Verdict(False, min(max(wait, 0.0), 1 / self._rate), 0.0), request)

    def finished(self, request: Any, record: Record) -> None:
        """
        See ``IPolicy``.
        """
        if record.status != _UNAUTHORIZED or request.head.first(b"authorization") is None:
            return
        key = self._key.of_request(request)
        if key is None:
            return
        now = self._reactor.seconds()
        verdict = self._take(key, self._rate, self._burst, now)
        if isinstance(verdict, Deferred):
            # Who was answered is not to wait for it; where the store is away, it has said so.
            verdict.addCallback(self._shut, key).addErrback(lambda _: None)
        else:
            self._shut(verdict, key)

    def _shut(self, verdict: Verdict, key: bytes) -> None:
        missing = (1.0 - verdict.left) / self._rate if verdict.admitted else verdict.wait
        if missing > 0:
            now = self._reactor.seconds()
            put = self._store.put(key + b"/shut", b"%.3f" % (now + missing), missing, now)
            if isinstance(put, Deferred):
                put.addErrback(lambda _: None)
