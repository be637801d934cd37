"""
``[[site]]``, its routes, and what they inherit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import Attribute, Factory, field, frozen

from twistginx.config.address import HostName
from twistginx.config.networks import NetworkSet
from twistginx.config.tables.fields import (
    COMPOSED,
    SINGLE,
    Endpoint,
    HeaderPattern,
    Policy,
    Use,
    not_empty,
    positive,
)
from twistginx.config.units import Duration, Size


@frozen
class Certificate:
    """
    A certificate and its key, both PEM files.

    :ivar cert: the certificate, and the chain below it.
    :ivar key: its private key.
    """

    cert: Path
    key: Path


@frozen
class SiteTLS:
    """
    ``tls`` of a site.

    :ivar certificates: its certificates; the one is used that the client can use.
    :ivar min_version: the oldest version of TLS that is spoken: "1.2" or "1.3".
    :ivar client_ca: a PEM file of authorities: clients must show a certificate of one of them.  None: they need none.
    """

    certificates: tuple[Certificate, ...] = field(validator=not_empty)
    min_version: Literal["1.2", "1.3"] = "1.2"
    client_ca: Path | None = None


@frozen
class RouteTimeouts:
    """
    The waits for an upstream, where a route needs others than the upstream has.  None: those of the upstream.

    :ivar first_byte: from the end of the request to the first byte of its answer.
    :ivar idle: between two reads, or two writes, of a body, or of a connection that was upgraded.
    """

    first_byte: Duration | None = field(default=None, validator=positive)
    idle: Duration | None = field(default=None, validator=positive)


@frozen
class RouteLimits:
    """
    How large a request may be.

    :ivar body: in bytes.
    """

    body: Size = Size(100 << 20)


@frozen
class Defaults:
    """
    ``[defaults]`` and ``[site.defaults]``: what holds for all routes that do not say otherwise.  Those of a site have
    taken in those of all sites.

    :ivar policies: by name; what ``NAME = false`` switches off is not there.
    """

    timeouts: RouteTimeouts = RouteTimeouts()
    limits: RouteLimits = RouteLimits()
    policies: dict[str, Policy] = field(default=Factory(dict), metadata=COMPOSED)


def _check_route_path(_: Any, attribute: Attribute[Any], value: str | None) -> None:
    if value is None:
        return
    if not value.startswith("/"):
        raise ValueError(f'"{value}" does not begin with a slash; expected "/{value}"')
    if "?" in value or "#" in value:
        raise ValueError(f'"{value}" has a query or a fragment, which no path has')
    if "%" in value.replace("%2F", ""):
        raise ValueError(f'"{value}" is encoded; expected the decoded path, in which only "%2F" may stand')
    segments = value.split("/")[1:]
    if "" in segments[:-1] or "." in segments or ".." in segments:
        raise ValueError(f'"{value}" matches nothing, because "//", "." and ".." are resolved before')


@frozen
class Route:
    """
    ``[[site.route]]``: which requests, and what answers them.  The first route that matches is taken, in the order of
    the file.

    Beside these keys it has exactly one resource (``proxy``, ``static``, ...) and any number of policies.

    :ivar name: for messages and logs; may be empty.
    :ivar path: the path, or anything below it: "/api" has "/api" and "/api/x", never "/apix".  A slash at its end says
        nothing.
    :ivar exact: this path alone.  With neither, everything matches.
    :ivar strip_prefix: the resource sees the path without ``path``.
    :ivar timeouts: what was inherited is in it.
    :ivar limits: what was inherited is in it.
    :ivar resource: what answers.
    :ivar policies: by name, inherited ones included; what ``NAME = false`` switches off is not there.
    """

    resource: Use = field(metadata=COMPOSED)
    name: str = ""
    path: str | None = field(default=None, validator=_check_route_path)
    exact: str | None = field(default=None, validator=_check_route_path)
    strip_prefix: bool = field(default=False)
    timeouts: RouteTimeouts = RouteTimeouts()
    limits: RouteLimits = RouteLimits()
    policies: dict[str, Policy] = field(default=Factory(dict), metadata=COMPOSED)

    @exact.validator
    def _check_exact(self, attribute: Attribute[Any], value: str | None) -> None:
        if value is not None and self.path is not None:
            raise ValueError("stands beside path; expected one of the two")

    @strip_prefix.validator
    def _check_strip_prefix(self, attribute: Attribute[Any], value: bool) -> None:
        if value and self.path is None:
            raise ValueError("has no prefix to strip; expected path as well")


@frozen
class Site:
    """
    ``[[site]]``: a virtual host.

    :ivar listen: endpoint strings, or names of listeners.
    :ivar listen_tls: the same, under TLS with the table ``tls`` of this site.
    :ivar names: the names that it answers to; empty: it is the default site of its listeners.
    :ivar tls: its certificates.
    :ivar trusted_proxies: whose word about the client is taken.
    :ivar allow_header_names: names of headers with other characters than letters, digits and hyphens, such as
        "webhook_id" or "webhook_*".  All others of that kind are dropped from requests, because many servers take
        X_Auth_User for X-Auth-User.
    :ivar defaults: what its routes inherit.
    :ivar routes: in the order of the file.
    """

    listen: tuple[Endpoint, ...] = field(default=(), metadata=SINGLE)
    listen_tls: tuple[Endpoint, ...] = field(default=(), metadata=SINGLE)
    names: tuple[HostName, ...] = field(default=(), metadata=SINGLE)
    tls: SiteTLS | None = None
    trusted_proxies: NetworkSet = NetworkSet()
    allow_header_names: tuple[HeaderPattern, ...] = field(default=(), metadata=SINGLE)
    defaults: Defaults = field(default=Defaults(), metadata=COMPOSED)
    routes: tuple[Route, ...] = field(default=(), metadata=COMPOSED)
