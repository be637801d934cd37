"""
The route table of a site: first match in file order wins, and there are no precedence classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from twisted.web import resource, server

from twistginx.config.regex import Regex
from twistginx.errors import ProxyError
from twistginx.http.fieldnames import DoubtfulNames
from twistginx.http.identity import IdentityNames
from twistginx.http.request import Request
from twistginx.net.addresslist import Addresses
from twistginx.routing.conditions import Condition
from twistginx.routing.index import Branch, entry_of
from twistginx.routing.match import decoded, normalised, stripped, under
from twistginx.routing.spelling import impossible, is_doubtful, leads_above, readings, taken_for

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
    :ivar pattern: what is to be found in a path, or None.
    :ivar prefix: the path whose segments match, without a slash at its end; empty: all paths.  Unused with ``exact``
        and ``pattern``.
    :ivar condition: what else a request must have, or None.
    :ivar choose: ``(request, path)`` to this route, or None when the request is not for it; None where a path that
        matches is enough.
    :ivar strip: the resource sees the path without ``prefix``.
    :ivar retargets: the resource may see another target than was sent.
    :ivar variables: of ``{var.NAME}``: a getter by name.
    :ivar streaming: the resource provides IStreaming.
    :ivar body_limit: bytes.
    :ivar received: the policies' methods of that phase, in rank order; and so on.
    :ivar responding: in reverse rank order.
    :ivar guard: what tells the decisions of its ``admit`` from those of another route's: equal where they are the same,
        empty where there are none.
    :ivar judges: the conditions of its decisions that look at the path.
    :ivar kind: the table that describes the resource: ``proxy``.
    :ivar guards: the names of its policies that decide who may come in.
    :ivar stack: its policies, as ``(name, policy, condition or None)``, in rank order; for who explains it.
    """

    name: str
    resource: Any
    exact: bytes | None = None
    prefix: bytes = b""
    pattern: Regex | None = None
    condition: Condition | None = None
    choose: Callable[[Any, bytes], Route | None] | None = field(init=False)
    strip: bool = False
    retargets: bool = field()
    variables: Mapping[str, Callable[..., bytes]] = field(factory=dict)
    streaming: bool = False
    body_limit: int = 104857600
    timeouts: RouteTimeouts = RouteTimeouts()
    received: tuple[Any, ...] = _EMPTY
    admit: tuple[Any, ...] = _EMPTY
    prepare: tuple[Any, ...] = _EMPTY
    responding: tuple[Any, ...] = _EMPTY
    finished: tuple[Any, ...] = _EMPTY
    guard: tuple[Any, ...] = field()
    judges: tuple[Condition, ...] = _EMPTY
    kind: str = ""
    guards: tuple[str, ...] = _EMPTY
    stack: tuple[tuple[str, Any, Condition | None], ...] = _EMPTY

    @choose.default
    def _whether_there_is_a_choice(self) -> Callable[[Any, bytes], Route | None] | None:
        return None if self.pattern is None and self.condition is None else self._chosen

    @retargets.default
    def _whether_it_strips(self) -> bool:
        return self.strip

    @guard.default
    def _guard_of_its_own(self) -> tuple[Any, ...]:
        return self.admit

    def matches(self, path: bytes, request: Any = None) -> bool:
        """
        Is the normalised ``path`` one of ours, if ``request`` asks for it?
        """
        if self.pattern is not None:
            found = path[:1] == b"/" and self.pattern.find(path) is not None
        elif self.exact is not None:
            found = path == self.exact
        else:
            found = under(path, self.prefix)
        return found and (self.condition is None or self.condition(request, path))

    def _chosen(self, request: Any, path: bytes) -> Route | None:
        """
        See ``choose``.  What the pattern captures is the request's from then on.
        """
        pattern, condition = self.pattern, self.condition
        spans = None
        if pattern is not None:
            spans = pattern.find(path)
            if spans is None:
                return None
        if condition is not None and not condition(request, path):
            return None
        if spans is not None:
            request.captured = path, spans, pattern.names  # type: ignore[union-attr]  # spans are of a pattern
        return self

    def why_not(self, request: Any, path: bytes) -> str:
        """
        Why a request is not for this route, in words; empty when it is.
        """
        if self.pattern is not None:
            lacks = "" if self.pattern.find(path) is not None else f"its pattern is {self.pattern}"
        elif self.exact is not None:
            lacks = "" if path == self.exact else f"its path is {_text(self.exact)} alone"
        else:
            lacks = "" if under(path, self.prefix) else f"its path is {_text(self.prefix)}"
        return lacks or ("" if self.condition is None else self.condition.why_not(request, path))

    def stripped(self, raw: bytes, path: bytes) -> bytes:
        """
        The raw path without our prefix.
        """
        return stripped(raw, path, self.prefix)


class Site(server.Site):
    """
    A virtual host, as a ``twisted.web.server.Site``: its tree is its route table.

    :ivar label: its first name, or where it listens, for logs.
    :ivar trusted: the proxies whose forwarding fields are believed; None: nobody's are.
    :ivar terms: what a TLS connection must have been made under to ask for this site (``Frontend.terms``); None: it is
        all the same.
    :ivar names: what it does with field names that might be taken for others.
    :ivar maps: of ``{map.NAME}``: a getter by name.
    :ivar patterns: the regexes among its names.
    :ivar variables: of ``{var.NAME}`` where no route matches.
    """

    #: The fields that only policies may say; None: there are none.
    identity: IdentityNames | None = None

    def __init__(
        self,
        label: str,
        routes: tuple[Route, ...],
        reactor: Any,
        trusted: Addresses | None = None,
        sessions: Any = None,
        terms: Any = None,
        names: DoubtfulNames | None = None,
        maps: Mapping[str, Callable[..., bytes]] | None = None,
        patterns: tuple[Regex, ...] = (),
        variables: Mapping[str, Callable[..., bytes]] | None = None,
    ) -> None:
        """
        :param sessions: the mapping of live sessions, which outlives a reload; None: a new one.
        """
        super().__init__(resource.NoResource(), requestFactory=Request, reactor=reactor)
        self.label = label
        self.routes = routes
        self.trusted = trusted or None
        self.terms = terms
        self.names = DoubtfulNames() if names is None else names
        if sessions is not None:
            self.sessions = sessions
        self.maps = {} if maps is None else maps
        self.patterns = patterns
        self.variables = {} if variables is None else variables
        self._branch = Branch([entry_of(route) for route in routes], 1)
        self._table, self._rest = self._branch.table, self._branch.rest

    def route_for(self, request: Any) -> Route | None:
        """
        The first route that matches, or None.  Sets ``request.matched_path``.

        :raise ProxyError: for a path that cannot be one, or that other servers would take to another route.
        """
        path = request.head.path
        # Percent, semicolon, backslash.  A byte as a number, and a piece by find, are found in a third of the time.
        if 0x25 in path or 0x3B in path or 0x5C in path or path.find(b"//") >= 0 or path.find(b"/.") >= 0:
            path = self._judged(request, path)
        request.matched_path = path
        cut = path.find(b"/", 1)
        for exact, prefix, below, route in self._table.get(path if cut < 0 else path[:cut], self._rest):
            # Route.matches, without a call for each.
            if path == exact if exact is not None else (path.startswith(below) or path == prefix):
                choose = route.choose
                if choose is None:
                    return route  # type: ignore[no-any-return]  # entries hold routes, and branches, which choose one
                found = choose(request, path)
                if found is not None:
                    return found  # type: ignore[no-any-return]  # see above
        return None

    def _judged(self, request: Any, raw: bytes) -> bytes:
        """
        A path that is not plain, normalised.
        """
        problem = impossible(raw)
        if problem:
            raise ProxyError("http_request_error", problem)
        path = normalised(raw)
        if is_doubtful(raw):
            texts = taken_for(raw)
            if leads_above(texts):
                raise ProxyError("http_request_error", "the path leads above the root")
            route = self._first(request, path)
            judges = _EMPTY if route is None else route.judges
            decisions = [judge(request, path) for judge in judges]
            for reading in readings(texts):
                if reading != path and (
                    self._first(request, reading) is not route
                    or [judge(request, reading) for judge in judges] != decisions
                ):
                    raise ProxyError("http_request_error", "the path leads elsewhere where it is read differently")
            # Slashes that are not merged and dots that are not resolved are seldom meant to deceive: they matter where
            # another decision would have been asked for.
            plain = decoded(raw)
            other = self._first(request, plain)
            if other is not None and other.guard:
                same = route is not None and other.guard == route.guard
                skipped = (judge(request, plain) for judge, here in zip(judges, decisions, strict=True) if not here)
                if not same or any(skipped):
                    raise ProxyError("http_request_error", "the path leads elsewhere where it is not normalised")
        return path

    def _first(self, request: Any, path: bytes) -> Route | None:
        """
        The route of a path: what ``route_for`` finds, and nothing else happens.
        """
        return next((route for route in self._branch.candidates(path, request) if route.matches(path, request)), None)

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


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
