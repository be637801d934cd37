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
from twistginx.config.tables.listener import Listener, ListenerLimits, ListenerTimeouts
from twistginx.config.tables.process import AccessLog, ErrorLog, Log, Process
from twistginx.config.tables.site import Certificate, Defaults, Route, RouteLimits, RouteTimeouts, Site, SiteTLS
from twistginx.config.tables.stream import Stream, StreamRoute
from twistginx.config.tables.upstream import Server, Upstream, UpstreamTimeouts, UpstreamTLS
from twistginx.errors import Problem

__all__ = [
    "AccessLog",
    "Certificate",
    "Defaults",
    "Endpoint",
    "ErrorLog",
    "HeaderPattern",
    "Listener",
    "ListenerLimits",
    "ListenerTimeouts",
    "Log",
    "Policy",
    "Process",
    "Root",
    "Route",
    "RouteLimits",
    "RouteTimeouts",
    "Server",
    "Site",
    "SiteTLS",
    "Stream",
    "StreamRoute",
    "Upstream",
    "UpstreamTLS",
    "UpstreamTimeouts",
    "Use",
]


@frozen
class Root:
    """
    A whole configuration, the included files in it.

    :ivar upstreams: by name.
    :ivar listeners: those that have a name, by it.
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

    def endpoint_of(self, listen: str) -> str:
        """
        The endpoint string that an entry of ``listen`` or ``listen_tls`` stands for.
        """
        return self.listeners[listen].endpoint if is_listener_name(listen) else listen
