"""
The route table of a site: first match in file order wins, and there are no precedence classes.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.web import resource, server

from twistginx.config.networks import NetworkSet
from twistginx.http.request import Request
from twistginx.routing.match import normalised, stripped, under

_EMPTY: tuple[Any, ...] = ()


@frozen(eq=False)
class RouteTimeouts:
    """
    A route's own, in seconds, over its upstream's; None: the upstream's.
    """

    first_byte: float | None = None
    idle: float | None = None


@frozen(eq=False)
class Route:
    """
    A route, resolved: what a request meets is all here, flat.

    :ivar exact: the one path that matches, or None.
    :ivar prefix: the path whose segments match, without a slash at its end; empty: all paths.  Unused with ``exact``.
    :ivar strip: the resource sees the path without ``prefix``.
    :ivar streaming: the resource provides IStreaming.
    :ivar body_limit: bytes.
    :ivar received: the policies' methods of that phase, in rank order; and so on.
    :ivar responding: in reverse rank order.
    """

    name: str
    resource: Any
    exact: bytes | None = None
    prefix: bytes = b""
    strip: bool = False
    streaming: bool = False
    body_limit: int = 104857600
    timeouts: RouteTimeouts = RouteTimeouts()
    received: tuple[Any, ...] = _EMPTY
    admit: tuple[Any, ...] = _EMPTY
    prepare: tuple[Any, ...] = _EMPTY
    responding: tuple[Any, ...] = _EMPTY
    finished: tuple[Any, ...] = _EMPTY

    def matches(self, path: bytes) -> bool:
        """
        Is the normalised ``path`` one of ours?
        """
        if self.exact is not None:
            return path == self.exact
        return under(path, self.prefix)

    def stripped(self, raw: bytes, path: bytes) -> bytes:
        """
        The raw path without our prefix.
        """
        return stripped(raw, path, self.prefix)


class Site(server.Site):
    """
    A virtual host, as a ``twisted.web.server.Site``: its tree is its route table.

    :ivar label: its first name, or where it listens, for logs.
    """

    def __init__(
        self,
        label: str,
        routes: tuple[Route, ...],
        reactor: Any,
        trusted: NetworkSet | None = None,
        sessions: Any = None,
    ) -> None:
        """
        :param sessions: the mapping of live sessions, which outlives a reload; None: a new one.
        """
        super().__init__(resource.NoResource(), requestFactory=Request, reactor=reactor)
        self.label = label
        self.routes = routes
        self._trusted = trusted
        if sessions is not None:
            self.sessions = sessions
        # By first segment, so that a thousand routes cost what those of one segment do.
        self._rooted = tuple(route for route in routes if not _first_segment(route))
        self._by_segment = {
            segment: tuple(route for route in routes if _first_segment(route) in (b"", segment))
            for segment in {_first_segment(route) for route in routes}
        }

    def trusts(self, address: bytes) -> bool:
        """
        Is this the address of a proxy whose forwarding fields are believed?
        """
        return self._trusted is not None and self._trusted.contains(address)

    def route_for(self, request: Any) -> Route | None:
        """
        The first route that matches, or None.  Sets ``request.matched_path``.
        """
        path = request.matched_path = normalised(request.head.path)
        cut = path.find(b"/", 1)
        for route in self._by_segment.get(path[1:] if cut < 0 else path[1:cut], self._rooted):
            if route.matches(path):
                return route
        return None

    def getResourceFor(self, request: Any) -> Any:
        """
        As Twisted asks: choose the route, set prepath and postpath, and go down the resource's own tree.
        """
        request.site = self
        route = request.route or self.route_for(request)
        if route is None:
            return self.resource
        request.route = route
        return resource.getChildForRequest(route.resource, request)


def _first_segment(route: Route) -> bytes:
    """
    The first segment of what a route matches; empty for one that may match any.
    """
    path = route.exact if route.exact is not None else route.prefix
    return path[1:].partition(b"/")[0]
