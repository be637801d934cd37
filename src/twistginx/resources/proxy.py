"""
``proxy = { upstream = "app" }``: what a route answers is what an upstream answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import Attribute, field, frozen
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer, moduleProvides

from twistginx.config.address import ServerAddress
from twistginx.config.tables.fields import SINGLE, at_least, positive
from twistginx.config.tables.match import Condition
from twistginx.config.template import Template
from twistginx.config.units import Duration, Share, Size
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.client import Patience
from twistginx.http.variables import Getter, compile_template
from twistginx.interfaces import IResourceModule, IStreaming
from twistginx.resources.attempts import PLAIN, Manner
from twistginx.resources.exchange import Exchange
from twistginx.resources.forwarding import forwarded_target
from twistginx.resources.split import Cookie, Mark, SplitProxy
from twistginx.upstream.mirror import Mirror
from twistginx.upstream.pool import Upstream, patience

moduleProvides(IResourceModule)

name = "proxy"
api = 1

#: The largest share of a split; more would say nothing more.
_HEAVIEST: Final = 1_000_000

#: What is more likely the name of an upstream than a host.
_BARE: Final = re.compile(r"[A-Za-z0-9_-]*[A-Za-z][A-Za-z0-9_-]*")


def _named(value: Template | str | None) -> Template | None:
    """
    A name in a template's clothes, for those who make a Config themselves.
    """
    return Template.parse(value) if isinstance(value, str) else value


@frozen
class Mirroring:
    """
    Copies of requests for a second upstream, whose answers are dropped.  A text is its name.

    Nobody waits for them, and nobody hears of their failures but the log, once in a while, and the state of that
    upstream.  They carry ``X-Mirror: 1``, and the same X-Request-ID as what they are copies of.  Upgrades (WebSocket)
    are not copied.

    :ivar upstream: its name.
    :ivar share: which part of the requests: a number from 0 to 1, or a text such as "10%".
    :ivar body: bytes of a body that are copied; a request with more is not.
    :ivar timeout: from the beginning of the request to the end of the second answer.
    :ivar in_flight: how many there are at a time, in each worker; what comes when there are so many is not copied.
    :ivar when: which requests are meant, as in ``match`` of a route, or the name of a match; None: all.
    """

    upstream: str
    share: Share | float = field(default=1.0)
    body: Size = Size(64 << 10)
    timeout: Duration = field(default=Duration(10), validator=positive)
    in_flight: int = field(default=100, validator=at_least(1))
    when: Condition | None = None

    @share.validator
    def _check_share(self, attribute: Attribute[Any], value: float) -> None:
        if not 0 < value <= 1:
            raise ValueError(f'is {value:g}; expected more than 0, and at most 1, which is "100%"')

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``mirror = "shadow"``.
        """
        if not isinstance(value, str):
            raise ValueError("expected the name of an upstream, or a table")
        return {"upstream": value}


@frozen
class Config:
    """
    Passes requests on to an upstream, and its answers back; bodies stream both ways, and upgrades (WebSocket) work.

    The request goes out as it came, its Host included, which is in lower case; X-Forwarded-For, X-Forwarded-Proto,
    X-Forwarded-Host and Forwarded are added.
    ``proxy = "http://127.0.0.1:9001"``, or a list of servers, is short for ``to``.

    With ``split``, each request goes to one of several upstreams.  Without more being said they take turns; ``key`` and
    ``sticky`` make a client stay.  An upstream that has no server that is up, or none that can be reached, is passed
    over.

    :ivar upstream: the name of an ``[upstream.NAME]``; with variables, "{map.backend}" for one, of the one that a
        request chooses.  Where there is none of that name, the answer is a 503.
    :ivar to: servers for this route alone, instead of a named upstream.
    :ivar split: several upstreams, and the share of each, ``{ stable = 95, canary = 5 }``, instead of one.  One with 0
        gets only what ``override`` gives to it.
    :ivar key: requests with the same key go to the same upstream of the split.  When shares change, as few keys as
        possible change hands.  Where it is empty, ``sticky`` decides.
    :ivar sticky: a client that comes back goes to the same upstream of the split, known by a cookie; None: it need not.
    :ivar override: requests that say the name of an upstream of the split here go there: "{header.x-canary}", or
        several templates.  What is no such name is ignored.
    :ivar mirror: a second upstream gets copies of requests; None: none does.
    :ivar forwarded: servers are told of the client by Forwarded (RFC 7239), too, beside X-Forwarded-For, -Proto and
        -Host.
    """

    upstream: Template | None = field(default=None, converter=_named)
    to: tuple[ServerAddress, ...] = field(default=(), metadata=SINGLE)
    split: dict[str, int] | None = field(default=None)
    key: Template | None = field(default=None)
    sticky: Cookie | None = field(default=None)
    override: tuple[Template, ...] = field(default=(), metadata=SINGLE)
    mirror: Mirroring | None = None
    forwarded: bool = True

    @to.validator
    def _check(self, attribute: Attribute[Any], value: tuple[ServerAddress, ...]) -> None:
        if self.split is not None and self.upstream is None and not value:
            return
        if self.split is not None or (self.upstream is None) is (not value):
            raise ValueError("one of upstream, to and split is needed, and no two of them")

    @split.validator
    def _check_split(self, attribute: Attribute[Any], value: dict[str, int] | None) -> None:
        if value is None:
            return
        for name, weight in value.items():
            if not 0 <= weight <= _HEAVIEST:
                raise ValueError(f'gives {weight} to "{name}"; expected a share from 0 to {_HEAVIEST}')
        if not any(value.values()):
            raise ValueError("gives nothing to anybody; expected a share that is not 0")

    @key.validator
    @sticky.validator
    @override.validator
    def _check_of_split(self, attribute: Attribute[Any], value: Any) -> None:
        if value and self.split is None:
            raise ValueError("has no effect without split; expected split = { stable = 95, canary = 5 }, for one")
        if any(each.is_constant for each in ([value] if isinstance(value, Template) else self.override)):
            raise ValueError('is the same for all requests; expected variables, as in "{header.x-canary}"')

    @classmethod
    def from_shorthand(cls, value: Any) -> Config:
        """
        One server, or a list of them.
        """
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple) or not value or not all(isinstance(each, str) for each in value):
            raise ValueError('a server such as "http://127.0.0.1:9001" was expected, or a list of them')
        for each in value:
            if _BARE.fullmatch(each):
                raise ValueError(
                    f'{each!r} is no server; expected one such as "http://127.0.0.1:9001", or, where there is an '
                    f'[upstream.{each}], {{ upstream = "{each}" }}'
                )
        return cls(to=tuple(ServerAddress.parse(each) for each in value))


def make(config: Config, context: Any) -> ProxyResource | ChosenProxy | SplitProxy:
    """
    The resource of one route.
    """
    manner = PLAIN
    if config.mirror is not None or not config.forwarded:
        manner = Manner(config.forwarded, _mirror(config, context))
    if config.split is not None:
        return _split(config, config.split, context, manner)
    if config.upstream is None:
        return ProxyResource(context.inline_upstream(config.to), context.reactor, manner)
    if not config.upstream.is_constant:
        made = {
            each.encode(): ProxyResource(there, context.reactor, manner) for each, there in context.upstreams.items()
        }
        return ChosenProxy(compile_template(config.upstream), made)
    return ProxyResource(_upstream(context, config.upstream.constant, "upstream"), context.reactor, manner)


def _upstream(context: Any, name: str, key: str) -> Upstream:
    """
    :raise ConfigError: with ``key``, when there is none of that name.
    """
    try:
        found: Upstream = context.upstream(name)
    except ConfigError as error:
        raise ConfigError(error.message, key, error.expected) from error
    return found


def _mirror(config: Config, context: Any) -> Mirror | None:
    written = config.mirror
    if written is None:
        return None
    primary = config.split or ({config.upstream.constant: 1} if config.upstream and config.upstream.is_constant else {})
    if written.upstream in primary:
        raise ConfigError("is where the requests go already", "mirror.upstream", "expected another upstream")
    applies = None if written.when is None else context.condition(written.when, "mirror.when")
    upstream = _upstream(context, written.upstream, "mirror.upstream")
    mirror = Mirror(upstream, written, context.ticker, context.place, applies)
    context.start_and_stop(mirror)
    return mirror


def _split(config: Config, weights: dict[str, int], context: Any, manner: Manner) -> SplitProxy:
    sides = {
        name.encode(): ProxyResource(_upstream(context, name, f"split.{name}"), context.reactor, manner)
        for name in weights
    }
    return SplitProxy(
        {name.encode(): weight for name, weight in weights.items()},
        sides,
        manner,
        None if config.key is None else compile_template(config.key),
        None if config.sticky is None else Mark(config.sticky),
        tuple(compile_template(each) for each in config.override),
    )


@implementer(IStreaming)
class ProxyResource(ReverseProxyResource):
    """
    A leaf that answers what its upstream answers.

    :ivar upstream: that one.
    """

    isLeaf = True

    def __init__(self, upstream: Upstream, reactor: Any, manner: Manner = PLAIN) -> None:
        super().__init__(upstream.name, 0, b"", reactor)
        self.upstream = upstream
        self._manner = manner
        self._timeouts: Any = None
        self._patience = upstream.patience

    def getChild(self, path: bytes, request: Any) -> ProxyResource:
        """
        All that is below is the upstream's, too.
        """
        return self

    def render(self, request: Any) -> int:
        """
        Pass the request on.
        """
        if request.route.timeouts is not self._timeouts:
            self.patience_for(request)
        Exchange(request, self.upstream, self._patience, self._manner).begin()
        return NOT_DONE_YET

    def patience_for(self, request: Any) -> Patience:
        """
        How long the upstream may take for ``request``.
        """
        timeouts = request.route.timeouts
        if timeouts is not self._timeouts:
            self._patience = self._patience_of(timeouts)
            self._timeouts = timeouts
        return self._patience

    def explain(self, request: Any) -> list[str]:
        """
        Which peer would be sent what.
        """
        upstream = self.upstream
        peer = upstream.pick(request, ())
        chosen = "no peer is known yet" if peer is None else f"peer {peer.label.decode()}"
        target = forwarded_target(request) if request.route.retargets else request.head.target
        sent = f"{request.head.method.decode('latin-1')} {target.decode('latin-1')}"
        mirror = self._manner.mirror
        copied = (
            [] if mirror is None else [f"{Share(mirror.share)} of all are copied to upstream {mirror.upstream.name}"]
        )
        return [f"upstream {upstream.name}, {chosen}", f"is sent {sent}", *copied]

    def _patience_of(self, timeouts: Any) -> Patience:
        """
        The route's own timeouts over the upstream's.
        """
        usual = self.upstream.patience
        own = patience(
            "timeouts",
            usual.first_byte if timeouts.first_byte is None else timeouts.first_byte,
            usual.idle if timeouts.idle is None else timeouts.idle,
        )
        return Patience(
            own.first_byte,
            own.idle,
            usual.first_byte_setting if timeouts.first_byte is None else own.first_byte_setting,
            usual.idle_setting if timeouts.idle is None else own.idle_setting,
        )


@implementer(IStreaming)
class ChosenProxy(Resource):
    """
    A leaf that answers what the upstream answers that a request chooses.
    """

    isLeaf = True

    def __init__(self, name_of: Getter, by_name: Mapping[bytes, ProxyResource]) -> None:
        super().__init__()
        self._name_of = name_of
        self._by_name = by_name

    def render(self, request: Any) -> int:
        """
        Pass the request on.
        """
        self._chosen(request).render(request)
        return NOT_DONE_YET

    def explain(self, request: Any) -> list[str]:
        """
        Which upstream it would be, and which peer would be sent what.
        """
        return self._chosen(request).explain(request)

    def _chosen(self, request: Any) -> ProxyResource:
        """
        :raise ProxyError: when no upstream is called so.
        """
        chosen = self._by_name.get(self._name_of(request))
        if chosen is None:
            raise ProxyError("destination_unavailable", "no upstream has the name that the request chooses")
        return chosen
