"""
``proxy = { split = { stable = 95, canary = 5 } }``: a route whose requests go to several upstreams, by shares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from secrets import token_urlsafe
from time import monotonic
from typing import Any, Final, Literal, Protocol

from attrs import Attribute, field, frozen
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twistginx.config.units import Duration
from twistginx.errors import ProxyError, Retry
from twistginx.http.client import Patience
from twistginx.http.message import ResponseHead
from twistginx.http.variables import Getter
from twistginx.interfaces import IStreaming
from twistginx.resources.attempts import Manner
from twistginx.resources.exchange import Exchange
from twistginx.resources.forwarding import forwarded_head, forwarded_target, prepared_head
from twistginx.upstream.pool import Upstream
from twistginx.upstream.split import Split
from twistginx.upstream.sticky import CookieAttributes

#: Bytes of what a client is known by.
_MARK: Final = 12

#: A token (RFC 9110 section 5.6.2), which the name of a cookie is.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_log = Logger(namespace="twistginx.proxy")


@frozen
class Cookie:
    """
    The cookie of a split.  ``sticky = true`` has all defaults.

    It holds a number that was drawn for the client, and nothing else.  The number decides, together with the shares:
    all routes of a host that split between the same upstreams, by the same shares, give a client the same one.

    :ivar cookie: its name.
    :ivar ttl: how long the client keeps it, from its first visit on; None: until the browser is closed.
    :ivar secure: it is sent over TLS alone; None: when the request came by TLS.
    :ivar same_site: "lax", "strict" or "none": whether it is sent with requests that other sites cause.
    """

    cookie: str = field(default="split")
    ttl: Duration | None = field(default=None)
    secure: bool | None = None
    same_site: Literal["lax", "strict", "none"] = "lax"

    @cookie.validator
    def _check_cookie(self, attribute: Attribute[Any], value: str) -> None:
        if not _TOKEN.fullmatch(value):
            raise ValueError(
                f"{value!r} is not the name of a cookie; expected letters, digits, hyphens and underscores"
            )

    @ttl.validator
    def _check_ttl(self, attribute: Attribute[Any], value: Duration | None) -> None:
        if value is not None and not value:
            raise ValueError("is 0, so that nobody would be known; expected a duration")

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``sticky = true``.
        """
        if value is not True:
            raise ValueError("expected true, or a table")
        return {}


class Side(Protocol):
    """
    One of the upstreams of a split; ``resources.proxy.ProxyResource`` is one.
    """

    @property
    def upstream(self) -> Upstream: ...
    def patience_for(self, request: Any) -> Patience: ...
    def explain(self, request: Any) -> list[str]: ...


class Mark:
    """
    Knows clients by what their cookies hold.
    """

    def __init__(self, options: Cookie) -> None:
        name = options.cookie.encode("ascii")
        self._start = name + b"="
        self._attributes = CookieAttributes(options)
        self._find = re.compile(
            rb'(?:^|[; ])%b="?([A-Za-z0-9_-]{%d})"?(?:$|[; ])' % (re.escape(name), _MARK * 4 // 3)
        ).search

    def of(self, request: Any) -> bytes | None:
        """
        What the client is known by; None when it has no cookie yet.
        """
        said = request.head.first(b"cookie")
        found = self._find(said) if said else None
        return None if found is None else found[1]

    def set_cookie(self, request: Any, drawn: bytes) -> bytes:
        """
        The value of the Set-Cookie by which the client is known from now on.
        """
        return self._start + drawn + self._attributes.of(request)


@implementer(IStreaming)
class SplitProxy(Resource):
    """
    A leaf that gives each request to one of its sides.

    Whose it is, the first of these decides that has something to say: an override that names one of the sides; the
    key; the cookie; the turn.  A side without a server that is up is passed over, unless it was asked for by name, or
    all are without one.
    """

    isLeaf = True

    def __init__(
        self,
        weights: Mapping[bytes, int],
        sides: Mapping[bytes, Side],
        manner: Manner,
        key: Getter | None = None,
        mark: Mark | None = None,
        overrides: tuple[Getter, ...] = (),
    ) -> None:
        """
        :param weights: the shares of the sides, by name.
        """
        super().__init__()
        self._split = Split(weights)
        self._sides = sides
        self._manner = manner
        self._key = key
        self._mark = mark
        self._overrides = overrides

    def render(self, request: Any) -> int:
        """
        Pass the request on.
        """
        name = self._asked_for(request)
        drawn: bytes | None = None
        follow: Callable[[set[bytes]], bytes | None] | None = None
        if name is None:
            key, drawn = self._key_of(request)
            follow = self._split.by_turn if key is None else partial(self._split.by_key, key)
            name = self._first(follow)
        side = self._sides[name]
        request.split = name
        exchange = SplitExchange(request, side.upstream, side.patience_for(request), self._manner)
        exchange.follow = follow
        exchange.sides = self._sides
        if drawn is not None and self._mark is not None:
            exchange.cookie = self._mark.set_cookie(request, drawn)
        exchange.begin()
        return NOT_DONE_YET

    def explain(self, request: Any) -> list[str]:
        """
        Which upstream it would be, and which peer would be sent what.
        """
        name = self._asked_for(request)
        if name is not None:
            why = "as it asks for"
        else:
            key, drawn = self._key_of(request)
            if drawn is not None:
                return [f"goes to one of {self._listed()}, and gets a cookie that decides from then on"]
            if key is None:
                return [f"goes to {self._listed()}, in turn"]
            name = self._first(partial(self._split.by_key, key))
            why = "by its key"
        request.split = name
        return [f"goes to {name.decode()}, of {self._listed()}, {why}", *self._sides[name].explain(request)]

    def _listed(self) -> str:
        return ", ".join(name.decode() for name in self._split.names)

    def _asked_for(self, request: Any) -> bytes | None:
        """
        The name of the side that an override names.
        """
        for get in self._overrides:
            name = get(request)
            if name in self._sides:
                return name
        return None

    def _key_of(self, request: Any) -> tuple[bytes | None, bytes | None]:
        """
        What decides for the client, and what was drawn for it just now; None: nothing does, or was.
        """
        key = None if self._key is None else self._key(request)
        if key or self._mark is None:
            return key or None, None
        known = self._mark.of(request)
        if known is not None:
            return known, None
        drawn = token_urlsafe(_MARK).encode("ascii")
        return drawn, drawn

    def _first(self, follow: Callable[[set[bytes]], bytes | None]) -> bytes:
        """
        The first choice that has a server that is up; the first choice, where none has.
        """
        name = follow({each for each, side in self._sides.items() if not _is_up(side.upstream)}) or follow(set())
        assert name is not None
        return name


class SplitExchange(Exchange):
    """
    A request on its way to one of several upstreams.

    :ivar follow: finds the upstream of the request when some are of no use; None: it has asked for this one.
    :ivar sides: by name.
    :ivar cookie: the value of the Set-Cookie that the answer is to have; None: none.
    """

    __slots__ = ("_without", "cookie", "follow", "sides")

    follow: Callable[[set[bytes]], bytes | None] | None
    sides: Mapping[bytes, Side]

    def __init__(self, request: Any, upstream: Upstream, patience: Patience, manner: Manner) -> None:
        super().__init__(request, upstream, patience, manner)
        self.cookie: bytes | None = None
        self._without: set[bytes] = set()

    def response_head(self, head: ResponseHead, more: bool) -> None:
        """
        See ``Exchange``.
        """
        self._introduce(head)
        super().response_head(head, more)

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        """
        See ``Exchange``.
        """
        self._introduce(head)
        super().response_whole(head, body)

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """
        See ``Exchange``.
        """
        self._introduce(head)
        super().response_upgraded(head, rest)

    def _introduce(self, head: ResponseHead) -> None:
        if self.cookie is not None:
            head.fields.add(b"Set-Cookie", self.cookie)

    def _fail(self, error: ProxyError) -> None:
        """
        Go to another upstream, when no server of this one could be reached.
        """
        request = self._request
        if self.follow is not None and not self._sends and error.reason.retry is Retry.UNSENT and not request.ended:
            self._without.add(request.split)
            self._without.update(name for name, side in self.sides.items() if not _is_up(side.upstream))
            name = self.follow(self._without)
            if name is not None:
                _log.info(
                    "{request} is given to {other} instead of {upstream}: {error}",
                    request=request.request_id.decode(),
                    other=name.decode(),
                    upstream=self._upstream.name,
                    error=error,
                )
                request.split = name
                side = self.sides[name]
                self._upstream = side.upstream
                self._patience = side.patience_for(request)
                self._tried = ()
                if side.upstream.retry.timed:
                    self._began = monotonic()
                if request.route.prepare:  # what policies have put into the head may name the upstream
                    head, _ = prepared_head(request, forwarded_target(request))
                    self._head = forwarded_head(request, head, head.target, self._manner.forwarded)
                self._attempt(None)
                return
        super()._fail(error)


def _is_up(upstream: Upstream) -> bool:
    """
    Has it a server that is up?
    """
    # Those that are to be used are of one tier: when the first is up, it is not the last resort.
    available = upstream.available
    return bool(available) and available[0].state == "up"
