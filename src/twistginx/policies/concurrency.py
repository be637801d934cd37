"""
``concurrency``: how many requests, or connections, there may be at the same time.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import Attribute, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import moduleProvides

from twistginx.config.networks import Entry
from twistginx.config.template import Template
from twistginx.errors import ProxyError
from twistginx.http.message import Record
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.policies.limitkey import CLIENT, DryRun, LimitKey

moduleProvides(IPolicyModule)

name = "concurrency"
api = 1
rank = 410
applies_to = frozenset(("http", "stream"))
many = True

_SWITCHING: Final = 101


@frozen
class Config:
    """
    Limit how many requests of a key are being answered at the same time; how many connections are open, in a stream.  A
    number is the ``limit``.  Several may stand in an array; all must agree.

    One too many is answered 429 with Retry-After; in a stream, it is closed.  A WebSocket that is proxied counts for
    as long as it is open.  All workers count together, and all machines that have a Redis in ``[shared]``; what a
    worker that dies has held is given back.

    :ivar limit: how many.
    :ivar key: whose limit it is.  IPv6 addresses count by /64.  Where all variables of it are empty, the client's
        address stands in.
    :ivar per: a name; limits of the same name are one limit.  Without it, each table that is written is one, so that a
        limit in ``[site.defaults]`` is one for all routes that inherit it.
    :ivar status: what a refusal is answered: 429 or 503.
    :ivar exempt: who has no limit: networks, files, and lists of ``[networks]``.
    :ivar dry_run: nothing is refused; the error log says what would have been.
    """

    limit: int = field()
    key: Template = CLIENT
    per: str = ""
    status: Literal[429, 503] = 429
    exempt: tuple[Entry, ...] = field(default=(), metadata={"single": True})
    dry_run: bool = False

    @limit.validator
    def _check_limit(self, attribute: Attribute[Any], value: int) -> None:
        if value < 1:
            raise ValueError(f"is {value}, so that nothing could pass; expected 1 or more")

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``concurrency = 10``.
        """
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("expected a number, or a table with a limit")
        return {"limit": value}


def make(config: Config, context: IContext) -> Concurrency:
    """
    As ``IPolicyModule`` says.
    """
    return Concurrency(config, LimitKey(name, config.key, config.per, config.exempt, context), context)


class Concurrency:
    """
    The limit of one table.
    """

    __slots__ = ("_dry", "_key", "_limit", "_seconds", "_setting", "_status", "_store")

    def __init__(self, config: Config, key: LimitKey, context: IContext) -> None:
        self._limit: Final = config.limit
        self._key: Final = key
        self._store: Final = context.store
        self._seconds: Final = context.reactor.seconds
        self._status: Final = config.status
        self._setting: Final = f"concurrency.limit = {config.limit}"
        self._dry: Final = DryRun(context) if config.dry_run else None

    # Requests.

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
        held = self._store.acquire(key, self._limit, self._seconds())
        if isinstance(held, Deferred):
            return self._when_known(held, key, request)
        self._judged(held, key, request)
        return None

    def _judged(self, held: bool, key: bytes, request: Any) -> None:
        if held:
            if request.limits is None:
                request.limits = {}
            request.limits[self._key.prefix] = key
        elif self._dry is not None:
            self._dry.note(request.client_ip)
        else:
            fields = ((b"Retry-After", b"1"),)
            raise ProxyError("concurrency_limited", setting=self._setting, fields=fields, status=self._status)

    def _when_known(self, held: Deferred[bool], key: bytes, request: Any) -> Deferred[None]:
        """
        The same, later.  A client that does not wait for it holds nothing.
        """

        def known(held: bool) -> None:
            if not request.ended:
                self._judged(held, key, request)
            elif held:
                self._store.release(key)

        # Not cancelled with the request: the store may have given what nobody would give back.
        waiting: Deferred[None] = Deferred(lambda _: None)
        held.addCallback(known).addBoth(lambda result: None if waiting.called else waiting.callback(result))
        return waiting

    def finished(self, request: Any, record: Record) -> None:
        """
        See ``IPolicy``.
        """
        key = None if request.limits is None else request.limits.pop(self._key.prefix, None)
        if key is None:
            return
        if record.status == _SWITCHING and request.tunnel is not None:
            request.tunnel.append(lambda: self._store.release(key))
        else:
            self._store.release(key)

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        if self._key.of_request(request) is None:
            return ["the client is exempt"]
        dry = " (dry run)" if self._dry is not None else ""
        return [f"admits {self._limit} at the same time, else answers {self._status}{dry}"]

    # Connections.

    def connected(self, connection: Any) -> Any:
        """
        See ``IPolicy``.
        """
        key = self._key.of_connection(connection)
        if key is None:
            return None
        held = self._store.acquire(key, self._limit, self._seconds())
        if isinstance(held, Deferred):
            return held.addCallback(self._welcome, key, connection)
        return self._welcome(held, key, connection)

    def _welcome(self, held: bool, key: bytes, connection: Any) -> bool | None:
        if held:
            connection.at_end(lambda: self._store.release(key))
            return None
        if self._dry is not None:
            self._dry.note(connection.client_ip)
            return None
        return False
