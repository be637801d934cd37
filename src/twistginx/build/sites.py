"""
``[[site]]`` and ``[[stream]]`` -> what answers at their addresses.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from twistginx.build.building import Building, Key, is_whole
from twistginx.build.endpoints import Endpoints
from twistginx.config import schema
from twistginx.http.channel import Frontend, Timeouts
from twistginx.http.fieldnames import DoubtfulNames
from twistginx.interfaces import IStreaming
from twistginx.net import certificates, tlscontext
from twistginx.routing.router import Route, RouteTimeouts, Site
from twistginx.stream.tcp import StreamFrontend

#: The protocols that a TLS listener offers (ALPN, RFC 7301).
_ALPN = ("http/1.1",)

_PHASES = ("received", "admit", "prepare", "responding", "finished")

_log = Logger(namespace="twistginx.http")


class Sites:
    """
    The sites and streams of one generation.
    """

    def __init__(self, building: Building, endpoints: Endpoints) -> None:
        self._building = building
        self._endpoints = endpoints
        self._certificates: dict[tuple[Path, Path], certificates.Certificate] = {}

    def add(self, config: schema.Site) -> None:
        # A draft may lack sites and routes, so their numbers are those of what is there: ("site", 0, "route", 2, ...).
        drafted = [route for route in config.routes if is_whole(route.resource)]
        if not drafted:
            return
        where = drafted[0].resource.where[:2]
        routes = [made for route in drafted if (made := self._route(route)) is not None]
        label = config.names[0] if config.names else ", ".join((*config.listen, *config.listen_tls))
        sessions: dict[bytes, Any] = self._building.keep(("sessions", label), dict)
        context, terms = None, None
        if config.tls is not None:
            context, terms = self._building.attempt((*where, "tls"), lambda: self._server_context(config, where)) or (
                None,
                None,
            )
        site = Site(
            label,
            tuple(routes),
            self._building.runtime.reactor,
            config.trusted_proxies,
            sessions,
            terms,
            self._doubtful_names(label, config.allow_header_names),
        )
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

    def _frontend(self, options: schema.Listener) -> Frontend:
        log = self._building.generation.access_log
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
            log=log.log if log is not None else None,
        )

    def _route(self, config: schema.Route) -> Route | None:
        made = self._building.make(config.resource)
        policies = self._policies(config)
        if made is None:
            return None
        exact = config.exact
        return Route(
            name=config.name or f"#{int(config.resource.where[3]) + 1}",
            resource=made,
            exact=exact.encode() if exact is not None else None,
            prefix=(config.path or "").rstrip("/").encode(),
            strip=config.strip_prefix,
            streaming=IStreaming.providedBy(made),
            body_limit=config.limits.body,
            timeouts=RouteTimeouts(config.timeouts.first_byte, config.timeouts.idle),
            **policies,
        )

    def _policies(self, config: schema.Route) -> dict[str, tuple[Any, ...]]:
        """
        The phases of a route: each a flat tuple of bound methods, in the order of the published ranks.
        """
        ranked = []
        guard: list[Any] = []  # what is decided, however many routes have a policy of their own that decides so
        for uses in config.policies.values():
            for use in uses if isinstance(uses, tuple) else (uses,):
                policy = self._building.make(use)
                if policy is not None:
                    ranked.append((use.module.rank, use.name, policy))
                    if hasattr(policy, "admit"):
                        guard.append((use.name, use.config))
        ranked.sort(key=lambda entry: entry[:2])
        phases = {}
        for phase in _PHASES:
            hooks = [getattr(policy, phase) for _, _, policy in ranked if hasattr(policy, phase)]
            phases[phase] = tuple(reversed(hooks) if phase == "responding" else hooks)
        phases["guard"] = tuple(guard)
        return phases

    # TLS.

    def _server_context(self, config: schema.Site, where: Key) -> tuple[Any, Any]:
        """
        The site's own context, made of all its certificates, and what it insists on (``Site.terms``).
        """
        tls = config.tls
        assert tls is not None
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
        for name in certificates.uncovered(config.names, loaded):
            self._building.warn((*where, "tls"), f"no certificate of this site is for the name {name!r}")
        client_ca = certificates.load_authorities(tls.client_ca, "client_ca") if tls.client_ca else None
        return tlscontext.server_context(loaded, tls.min_version, client_ca, _ALPN), (tls.min_version, client_ca)

    def _certificate(self, cert: Path, key: Path) -> certificates.Certificate:
        found = self._certificates.get((cert, key))
        if found is None:
            found = self._certificates[cert, key] = certificates.load_certificate(cert, key)
        return found

    # Streams.

    def add_stream(self, config: schema.Stream) -> None:
        if not config.routes or not is_whole(config.routes[0].resource):
            return
        where = config.routes[0].resource.where[:2]
        made = [self._building.make(route.resource) for route in config.routes]
        for index, address in enumerate(config.listen):
            place = self._endpoints.place(address, (*where, "listen", index), tls=False)
            place.frontend = StreamFrontend(made[0])
