"""
What a configuration can say.  The docstrings are the manual of each table; ``docs`` is made from them.

Everything is frozen, and every value is parsed: a duration is seconds, a size is bytes, a path is absolute.  The tables
are in ``tables``; here is what they make together.
"""

from __future__ import annotations

from attrs import field, frozen

from twistginx.config.address import is_listener_name
from twistginx.config.source import Source
from twistginx.config.tables.fields import Endpoint, HeaderPattern, Policy, Use
from twistginx.config.tables.health import Breaker, Health
from twistginx.config.tables.listener import Listener, ListenerLimits, ListenerTimeouts
from twistginx.config.tables.map import Map, Variables
from twistginx.config.tables.match import Condition, Match
from twistginx.config.tables.networks import Networks
from twistginx.config.tables.process import AccessLog, ErrorLog, Log, Process
from twistginx.config.tables.site import Certificate, Defaults, Route, RouteLimits, RouteTimeouts, Site, SiteTLS
from twistginx.config.tables.stream import Stream, StreamRoute
from twistginx.config.tables.upstream import Retry, Server, Sticky, Upstream, UpstreamTimeouts, UpstreamTLS
from twistginx.config.template import Template
from twistginx.errors import Problem

__all__ = [
    "AccessLog",
    "Breaker",
    "Certificate",
    "Condition",
    "Defaults",
    "Endpoint",
    "ErrorLog",
    "HeaderPattern",
    "Health",
    "Listener",
    "ListenerLimits",
    "ListenerTimeouts",
    "Log",
    "Map",
    "Match",
    "Networks",
    "Policy",
    "Process",
    "Retry",
    "Root",
    "Route",
    "RouteLimits",
    "RouteTimeouts",
    "Server",
    "Site",
    "SiteTLS",
    "Sticky",
    "Stream",
    "StreamRoute",
    "Upstream",
    "UpstreamTLS",
    "UpstreamTimeouts",
    "Use",
    "Variables",
]


@frozen
class Root:
    """
    A whole configuration, the included files in it.

    :ivar upstreams: by name.
    :ivar listeners: those that have a name, by it.
    :ivar maps: by name, for ``{map.NAME}``.
    :ivar matches: what requests must have, by name.
    :ivar variables: of all sites, by name, for ``{var.NAME}``.
    :ivar networks: lists of addresses, by name.
    :ivar shared: the store that workers and machines share; None when there is something wrong with it.
    :ivar source: what it was read from; places problems.
    :ivar warnings: what is valid, and yet may not be meant.
    """

    process: Process
    log: Log
    defaults: Defaults
    upstreams: dict[str, Upstream]
    listeners: dict[str, Listener]
    sites: tuple[Site, ...]
    streams: tuple[Stream, ...]
    source: Source = field(eq=False, repr=False)
    warnings: tuple[Problem, ...] = field(default=(), eq=False, repr=False)
    maps: dict[str, Map] = field(factory=dict)
    matches: dict[str, Match] = field(factory=dict)
    variables: dict[str, Template] = field(factory=dict)
    networks: dict[str, Networks] = field(factory=dict)
    shared: Use | None = None

    def endpoint_of(self, listen: str) -> str:
        """
        The endpoint string that an entry of ``listen`` or ``listen_tls`` stands for.
        """
        return self.listeners[listen].endpoint if is_listener_name(listen) else listen
