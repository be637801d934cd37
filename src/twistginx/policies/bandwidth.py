"""
``bandwidth``: how many bytes a second a response, or a client, may have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import Attribute, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import moduleProvides

from twistginx.config.networks import Entry
from twistginx.config.rates import ByteRate
from twistginx.config.template import Template
from twistginx.config.units import Size
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.message import Record, ResponseHead
from twistginx.http.pacedtransport import PacedTransport
from twistginx.http.pacing import Ask, PacedBody
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.policies.limitkey import CLIENT, LimitKey
from twistginx.shared.verdict import Verdict, judge

moduleProvides(IPolicyModule)

name = "bandwidth"
api = 1
rank = 420
applies_to = frozenset(("http",))
many = True

#: Bytes a second; what is slower looks like a connection that is dead.
_LEAST: Final = 1024

#: Seconds that bytes may have to wait; who comes when the line is longer waits at its end.
_LINE: Final = 3600.0

_SWITCHING: Final = 101


def _check_rate(_: Any, attribute: Attribute[Any], value: ByteRate | None) -> None:
    if value is not None and value.bytes < _LEAST:
        raise ValueError(f'is {value}, and looks like a dead connection; expected "1KiB/s" or more')


@frozen
class Config:
    """
    Limit the bytes a second that are sent, or received.  A text is the ``rate``.  Several may stand in an array; the
    slowest decides.  It does not hold for WebSockets.

    :ivar rate: of responses: "500KiB/s", "1MB/s".
    :ivar upload: of the bodies of requests, the same.
    :ivar after: how much of a response is sent at full speed.
    :ivar key: whose rate it is: all that "{client}" has at the same time shares it, in all workers.  Without it, each
        response, and each body, has the rate for itself.
    :ivar per: a name; limits of the same name are one limit.  Without it, each table that is written is one.
    :ivar exempt: who has no limit: networks, files, and lists of ``[networks]``.
    """

    rate: ByteRate | None = field(default=None, validator=_check_rate)
    upload: ByteRate | None = field(default=None, validator=_check_rate)
    after: Size = Size(0)
    key: Template | None = None
    per: str = ""
    exempt: tuple[Entry, ...] = field(default=(), metadata={"single": True})

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``bandwidth = "1MB/s"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a rate such as "1MB/s", or a table with one')
        return {"rate": value}


def make(config: Config, context: IContext) -> Any:
    """
    As ``IPolicyModule`` says.
    """
    if config.rate is None and config.upload is None:
        raise ConfigError("has neither rate nor upload", expected='expected rate = "1MB/s", for instance')
    if config.rate is None and config.after:
        raise ConfigError("is for responses, and there is no rate", key="after", expected="expected rate as well")
    key = LimitKey(name, config.key or CLIENT, config.per, config.exempt, context)
    if config.upload is None:
        return Download(config, key, context)
    return Upload(config, key, context) if config.rate is None else Both(config, key, context)


class _Bandwidth:
    """
    What both directions have in common.
    """

    __slots__ = ("_after", "_key", "_rate", "_seconds", "_shared", "_store", "_ticker", "_upload")

    def __init__(self, config: Config, key: LimitKey, context: IContext) -> None:
        self._rate: Final = config.rate.bytes if config.rate is not None else 0
        self._upload: Final = config.upload.bytes if config.upload is not None else 0
        self._after: Final = int(config.after)
        self._key: Final = key
        self._shared: Final = config.key is not None
        self._store: Final = context.store if self._shared else None
        self._seconds: Final[Callable[[], float]] = context.reactor.seconds
        self._ticker: Final = context.ticker

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        if self._key.of_request(request) is None:
            return ["the client is exempt"]
        share = ", which all of the same key share" if self._shared else ""
        free = f" after {Size(self._after)}" if self._after else ""
        lines = [f"sends {ByteRate(self._rate)}{free}{share}"] if self._rate else []
        return lines + ([f"takes {ByteRate(self._upload)} of bodies{share}"] if self._upload else [])

    def _limit(self, key: bytes, rate: int) -> Ask:
        """
        A limit for one response, or one body.
        """
        if not self._shared:
            return _Own(rate, self._seconds)
        return _Shared(self._store, key, rate, self._seconds)


class Download(_Bandwidth):
    """
    Paces responses.
    """

    __slots__ = ()

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        See ``IPolicy``.
        """
        key = self._key.of_request(request)
        if key is None or head.status == _SWITCHING or (head.length is not None and head.length < self._after):
            return
        channel = request.channel
        transport = channel.transport
        if not isinstance(transport, PacedTransport):
            transport = PacedTransport(channel, self._ticker, self._seconds)
        transport.add(self._limit(key, self._rate), self._rate, self._after)

    def finished(self, request: Any, record: Record) -> None:
        """
        See ``IPolicy``.
        """
        transport = request.channel.transport
        if isinstance(transport, PacedTransport):
            transport.end()


class Upload(_Bandwidth):
    """
    Paces bodies of requests.
    """

    __slots__ = ()

    def admit(self, request: Any) -> None:
        """
        See ``IPolicy``.
        """
        body = request.body
        key = self._key.of_request(request) if body is not None else None
        if key is None:
            return
        if not isinstance(body, PacedBody):
            body = request.body = PacedBody(body, self._ticker, self._seconds)
        body.add(self._limit(key + b"/up", self._upload))


class Both(Upload, Download):
    """
    Paces both.
    """

    __slots__ = ()


class _Own:
    """
    The bucket of one response alone.
    """

    __slots__ = ("_rate", "_seconds", "_tat")

    def __init__(self, rate: int, seconds: Callable[[], float]) -> None:
        self._rate: Final = float(rate)
        self._seconds: Final = seconds
        self._tat = 0.0

    def __call__(self, size: int) -> float:
        self._tat, verdict = judge(self._tat, self._rate, self._rate / 4, self._seconds(), size, _LINE)
        return verdict.wait


class _Shared:
    """
    A bucket that others take from as well.  While its store is away, and says so, each response has the rate for
    itself: what has been let in is not cut off for it.
    """

    __slots__ = ("_alone", "_key", "_rate", "_seconds", "_store")

    def __init__(self, store: Any, key: bytes, rate: int, seconds: Callable[[], float]) -> None:
        self._store: Final = store
        self._key: Final = key
        self._rate: Final = float(rate)
        self._seconds: Final = seconds
        self._alone: Final = _Own(rate, seconds)

    def __call__(self, size: int) -> float | Deferred[float]:
        try:
            verdict = self._store.take(self._key, self._rate, self._rate / 4, self._seconds(), size, _LINE)
        except ProxyError:
            return self._alone(size)
        if isinstance(verdict, Deferred):
            return verdict.addCallbacks(_wait_of, lambda _: self._alone(size))
        return _wait_of(verdict)


def _wait_of(verdict: Verdict) -> float:
    return verdict.wait if verdict.admitted else verdict.wait + _LINE
