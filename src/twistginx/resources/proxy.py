"""
``proxy = { upstream = "app" }``: what a route answers is what an upstream answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Attribute, field, frozen
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer, moduleProvides

from twistginx.config.address import ServerAddress
from twistginx.config.template import Template
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.client import Patience
from twistginx.http.variables import Getter, compile_template
from twistginx.interfaces import IResourceModule, IStreaming
from twistginx.resources.exchange import Exchange
from twistginx.resources.forwarding import forwarded_target
from twistginx.upstream.pool import Upstream, patience

moduleProvides(IResourceModule)

name = "proxy"
api = 1


def _named(value: Template | str | None) -> Template | None:
    """
    A name in a template's clothes, for those who make a Config themselves.
    """
    return Template.parse(value) if isinstance(value, str) else value


@frozen
class Config:
    """
    Passes requests on to an upstream, and its answers back; bodies stream both ways, and upgrades (WebSocket) work.

    The request goes out as it came, its Host included; X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are
    added.
    ``proxy = "http://127.0.0.1:9001"``, or a list of servers, is short for ``to``.

    :ivar upstream: the name of an ``[upstream.NAME]``; with variables, "{map.backend}" for one, of the one that a
        request chooses.  Where there is none of that name, the answer is a 503.
    :ivar to: servers for this route alone, instead of a named upstream.
    """

    upstream: Template | None = field(default=None, converter=_named)
    to: tuple[ServerAddress, ...] = field(default=())

    @to.validator
    def _check(self, attribute: Attribute[Any], value: tuple[ServerAddress, ...]) -> None:
        if (self.upstream is None) is (not value):
            raise ValueError("one of upstream and to is needed, and not both")

    @classmethod
    def from_shorthand(cls, value: Any) -> Config:
        """
        One server, or a list of them.
        """
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple) or not value or not all(isinstance(each, str) for each in value):
            raise ValueError('a server such as "http://127.0.0.1:9001" was expected, or a list of them')
        return cls(to=tuple(ServerAddress.parse(each) for each in value))


def make(config: Config, context: Any) -> ProxyResource | ChosenProxy:
    """
    The resource of one route.
    """
    if config.upstream is None:
        return ProxyResource(context.inline_upstream(config.to), context.reactor)
    if not config.upstream.is_constant:
        made = {each.encode(): ProxyResource(there, context.reactor) for each, there in context.upstreams.items()}
        return ChosenProxy(compile_template(config.upstream), made)
    try:
        return ProxyResource(context.upstream(config.upstream.constant), context.reactor)
    except ConfigError as error:
        raise ConfigError(error.message, "upstream", error.expected) from error


@implementer(IStreaming)
class ProxyResource(ReverseProxyResource):
    """
    A leaf that answers what its upstream answers.
    """

    isLeaf = True

    def __init__(self, upstream: Upstream, reactor: Any) -> None:
        super().__init__(upstream.name, 0, b"", reactor)
        self._upstream = upstream
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
        timeouts = request.route.timeouts
        if timeouts is not self._timeouts:
            self._patience = self._patience_of(timeouts)
            self._timeouts = timeouts
        Exchange(request, self._upstream, self._patience).begin()
        return NOT_DONE_YET

    def explain(self, request: Any) -> list[str]:
        """
        Which peer would be sent what.
        """
        upstream = self._upstream
        peer = upstream.pick(request, ())
        chosen = "no peer is known yet" if peer is None else f"peer {peer.label.decode()}"
        target = forwarded_target(request) if request.route.retargets else request.head.target
        sent = f"{request.head.method.decode('latin-1')} {target.decode('latin-1')}"
        return [f"upstream {upstream.name}, {chosen}", f"is sent {sent}"]

    def _patience_of(self, timeouts: Any) -> Patience:
        """
        The route's own timeouts over the upstream's.
        """
        usual = self._upstream.patience
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
