"""
``[[site]]`` and ``[[stream]]`` -> what answers at their addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from twistginx.build.building import Building, Key, is_whole
from twistginx.build.definitions import Definitions, patterns_of
from twistginx.build.endpoints import Endpoints
from twistginx.config import schema
from twistginx.http.fieldnames import DoubtfulNames
from twistginx.http.frontend import Frontend, Timeouts
from twistginx.http.identity import IdentityNames
from twistginx.http.message import Record
from twistginx.interfaces import IStreaming
from twistginx.net import certificates, tlscontext
from twistginx.policies.satisfy import AnyOf
from twistginx.routing.conditional import Conditional
from twistginx.routing.conditions import INTERNAL, All
from twistginx.routing.match import normalised
from twistginx.routing.router import Route, RouteTimeouts, Site
from twistginx.stream.tcp import StreamFrontend

#: The protocols that a TLS listener offers (ALPN, RFC 7301).
_ALPN = ("http/1.1",)

_PHASES = ("received", "admit", "prepare", "responding", "finished")

#: Why a policy that decides who may come in cannot have ``when`` where one of several is enough.
_NOT_OF_ANY = (
    'cannot stand beside satisfy = "any": where it does not apply, nobody would be asked',
    'expected satisfy = "all", or a route of its own with the same match',
)

_log = Logger(namespace="twistginx.http")


class Sites:
    """
    The sites and streams of one generation.
    """

    def __init__(self, building: Building, endpoints: Endpoints) -> None:
        self._building = building
        self._endpoints = endpoints
        self._definitions = Definitions(building)
        self._log = self._access_log()
        self._certificates: dict[tuple[Path, Path], certificates.Certificate] = {}
        #: ``link`` of the policies that want to see all routes, by the route that has them, and where they stand.
        self._links: dict[Route, list[tuple[Key, Any]]] = {}

    def add(self, config: schema.Site) -> None:
        # A draft may lack sites and routes, so their numbers are those of what is there: ("site", 0, "route", 2, ...).
        drafted = [route for route in config.routes if is_whole(route.resource)]
        if not drafted:
            return
        where = drafted[0].resource.where[:2]
        routes = [made for route in drafted if (made := self._route(config, route)) is not None]
        named = {route.name: route for route in routes}
        for route in routes:
            for table, link in self._links.pop(route, ()):
                self._building.attempt(table, partial(link, route, named))
        label = config.names[0] if config.names else ", ".join((*config.listen, *config.listen_tls))
        sessions: dict[bytes, Any] = self._building.keep(("sessions", label), dict)
        context, terms = None, None
        if config.tls is not None:
            pair = self._building.attempt((*where, "tls"), lambda: self._server_context(config, where, label))
            context, terms = pair or (None, None)
        site = Site(
            label,
            tuple(routes),
            self._building.runtime.reactor,
            self._building.attempt(where, lambda: self._building.networks.trusted(config.trusted_proxies, where)),
            sessions,
            terms,
            self._doubtful_names(label, config.allow_header_names),
            self._definitions.maps,
            patterns_of(config),
            self._definitions.variables(config.variables),
        )
        policies = [policy for route in routes for _, policy, _ in route.stack]
        identity = {name for policy in policies for name in getattr(policy, "identity", ())}
        # On all routes, because the app that is told by one of them who asks would believe it on the others.
        site.identity = IdentityNames(identity) if identity else None
        self._building.generation.sites.append(site)
        for key, addresses in (("listen", config.listen), ("listen_tls", config.listen_tls)):
            for index, address in enumerate(addresses):
                place = self._endpoints.place(address, (*where, key, index), tls=key == "listen_tls")
                if place.frontend is None:
                    place.frontend = self._frontend(place.options)
                place.add(site, config.names, context)

    def _doubtful_names(self, label: str, allowed: tuple[str, ...]) -> DoubtfulNames:
        """
        It outlives reloads, so that a name is told of once.
        """

        def tell(name: str) -> None:
            _log.warn(
                "{site}: header {name!r} was dropped, because servers may take it for another one; "
                "allow_header_names lets it in",
                site=label,
                name=name,
            )

        names: DoubtfulNames = self._building.keep(
            ("header names", label, allowed), lambda: DoubtfulNames(allowed, tell)
        )
        return names

    def _access_log(self) -> Callable[[Any, Record], None] | None:
        """
        What adds the line of a request that is over, if it is to have one; None: there is no log.
        """
        log = self._building.generation.access_log
        config = self._building.root.log.access
        condition = self._definitions.condition(config.when, ("log", "access", "when"))
        statuses = config.status
        if log is None or (condition is None and statuses is None):
            return None if log is None else log.log

        def log_some(request: Any, record: Record) -> None:
            if statuses is not None and record.status not in statuses:
                return
            # What is no request for any site cannot be asked what it has.
            path = request.routed_path or request.matched_path
            if request.reroutes:  # the head is again what was received
                path = normalised(request.head.path)
            if condition is None or request.site is None or condition(request, path):
                log.log(request, record)

        return log_some

    def _frontend(self, options: schema.Listener) -> Frontend:
        times = options.timeouts
        return Frontend(
            self._building.runtime.ticker,
            timeouts=Timeouts(times.header, times.idle, times.keepalive, times.write),
            head_bound=options.limits.header,
            fields_bound=options.limits.fields,
            requests_bound=options.limits.requests,
            min_rate=options.limits.min_rate,
            # A listener that has no name yet needs one to have a setting.
            key=f"listener.{'NAME' if ':' in options.name else options.name}.",
            tally=self._building.runtime.counters,
            log=self._log,
        )

    def _route(self, site: schema.Site, config: schema.Route) -> Route | None:
        links: list[tuple[Key, Any]] = []
        with self._definitions.scope(site, config).entered():
            made = self._building.make(config.resource)
            policies = self._policies(config, links)
        if made is None:
            return None
        exact = config.exact
        where = config.resource.where[:4]
        stack = [policy for _, policy, _ in policies["stack"]]
        condition = self._definitions.condition(config.match, (*where, "match"))
        if config.internal:
            condition = INTERNAL if condition is None else All((INTERNAL, condition))
        strip = config.strip_prefix or any(getattr(policy, "strips", False) for policy in stack)
        route = Route(
            name=config.name or f"#{int(config.resource.where[3]) + 1}",
            resource=made,
            kind=config.resource.name,
            exact=exact.encode() if exact is not None else None,
            prefix=(config.path or "").rstrip("/").encode(),
            pattern=config.glob.regex if config.glob is not None else config.regex,
            condition=condition,
            strip=strip,
            retargets=strip or any(getattr(policy, "retargets", False) for policy in stack),
            variables=self._definitions.variables(site.variables, config.variables),
            streaming=IStreaming.providedBy(made),
            body_limit=config.limits.body,
            timeouts=RouteTimeouts(config.timeouts.first_byte, config.timeouts.idle),
            **policies,
        )
        self._links[route] = links
        return route

    def _policies(self, config: schema.Route, links: list[tuple[Key, Any]]) -> dict[str, tuple[Any, ...]]:
        """
        The phases of a route: each a flat tuple of bound methods, in the order of the published ranks.
        """
        ranked = []
        guards: list[Any] = []  # ``admit`` of those that decide who may come in
        names: list[str] = []  # and what they are called
        stack: list[tuple[int, str, Any, Any]] = []
        judges: list[Any] = []
        guard: list[Any] = []  # what is decided, however many routes have a policy of their own that decides so
        for uses in config.policies.values():
            for use in uses if isinstance(uses, tuple) else (uses,):
                policy = self._building.make(use)
                if policy is not None:
                    if hasattr(policy, "link"):
                        links.append((use.where, policy.link))
                    condition = self._definitions.condition(use.when, (*use.where, "when"))
                    acting: Any = policy if condition is None else Conditional(policy, condition, _PHASES)
                    # One that does another thing, as its table says, may have another place than its kind.
                    rank = getattr(policy, "rank", use.module.rank)
                    ranked.append((rank, use.name, acting))
                    self._check_place(config, use)
                    stack.append((rank, use.name, policy, condition))
                    if hasattr(policy, "admit") and getattr(use.module, "decides", True):
                        guard.append((use.name, use.config, use.when))
                        if condition is not None and condition.reads_path:
                            judges.append(condition)
                        if getattr(use.module, "guards", False):
                            guards.append(acting.admit)
                            names.append(use.name)
                            if condition is not None and config.satisfy == "any":
                                self._building.report((*use.where, "when"), *_NOT_OF_ANY)
        ranked.sort(key=lambda entry: entry[:2])
        stack.sort(key=lambda entry: entry[:2])
        phases = {}
        for phase in _PHASES:
            hooks = [getattr(policy, phase) for _, _, policy in ranked if hasattr(policy, phase)]
            phases[phase] = tuple(reversed(hooks) if phase == "responding" else hooks)
        guards = [admit for admit in phases["admit"] if admit in guards]
        if config.satisfy == "any" and len(guards) > 1:
            any_of = AnyOf(guards).admit
            phases["admit"] = tuple(
                any_of if admit == guards[0] else admit for admit in phases["admit"] if admit not in guards[1:]
            )
            guard.append("any")
        phases["guard"] = tuple(guard)
        phases["guards"] = tuple(names)
        phases["judges"] = tuple(judges)
        phases["stack"] = tuple(entry[1:] for entry in stack)
        return phases

    def _check_place(self, config: schema.Route, use: schema.Use) -> None:
        """
        A policy that stands at a path stands at that of its route.
        """
        path_of = getattr(use.module, "path_of", None)
        if path_of is None:
            return
        path = path_of(use.config)
        if config.path is None or config.path.rstrip("/") != path.rstrip("/"):
            hint = f'expected path = "{path}", or no path at all'
            self._building.report(use.where, f'"{path}" is not the path of the route', hint)
        if use.when is not None:
            message = "is for some of the requests, but the path is of all"
            self._building.report((*use.where, "when"), message, "remove it")

    # TLS.

    def _server_context(self, config: schema.Site, where: Key, label: str) -> tuple[Any, Any]:
        """
        The site's own context, made of all its certificates, and what it insists on (``Site.terms``).
        """
        tls = config.tls
        assert tls is not None
        read = self._building.root.source.disk.read
        loaded = []
        for index, pair in enumerate(tls.certificates):
            place = (*where, "tls", "certificates", index)
            certificate = self._building.attempt(place, partial(self._certificate, pair.cert, pair.key))
            if certificate is not None:
                loaded.append(certificate)
                for warning in certificate.warnings():
                    self._building.warn((*place, "cert"), warning)
        if len(loaded) != len(tls.certificates):
            return None, None
        names = [name for name in config.names if name.regex is None]
        for name in certificates.uncovered(names, loaded):
            self._building.warn((*where, "tls"), f"no certificate of this site is for the name {name!r}")
        client_ca = certificates.load_authorities(tls.client_ca, "client_ca", read) if tls.client_ca else None
        terms = tls.min_version, client_ca
        # The same context for the same files, so that a client's ticket is good after a reload.
        context = self._building.keep(
            ("tls", label, *terms, *((each.pem, each.key_pem) for each in loaded)),
            lambda: tlscontext.server_context(loaded, tls.min_version, client_ca, _ALPN),
        )
        return context, terms

    def _certificate(self, cert: Path, key: Path) -> certificates.Certificate:
        found = self._certificates.get((cert, key))
        if found is None:
            found = self._certificates[cert, key] = certificates.load_certificate(
                cert, key, self._building.root.source.disk.read
            )
        return found

    # Streams.

    def add_stream(self, config: schema.Stream) -> None:
        if not config.routes or not is_whole(config.routes[0].resource):
            return
        where = config.routes[0].resource.where[:2]
        made = [self._building.make(route.resource) for route in config.routes]
        policies = self._connected(config)
        for index, address in enumerate(config.listen):
            place = self._endpoints.place(address, (*where, "listen", index), tls=False)
            place.frontend = StreamFrontend(made[0], policies)

    def _connected(self, config: schema.Stream) -> tuple[Any, ...]:
        """
        What stands before the connections of a stream, in the order of the published ranks.
        """
        ranked = []
        for uses in config.policies.values():
            for use in uses if isinstance(uses, tuple) else (uses,):
                policy = self._building.make(use)
                if use.when is not None:
                    self._building.report((*use.where, "when"), "is for requests, and a stream has none", "remove it")
                if policy is not None:
                    ranked.append((use.module.rank, use.name, policy.connected))
        return tuple(connected for _, _, connected in sorted(ranked, key=lambda entry: entry[:2]))
