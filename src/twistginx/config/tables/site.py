"""
``[[site]]``, its routes, and what they inherit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from attrs import Attribute, Factory, field, frozen

from twistginx.config.address import HostName
from twistginx.config.glob import Glob
from twistginx.config.networks import Entry
from twistginx.config.regex import Regex
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
from twistginx.config.tables.map import check_names
from twistginx.config.tables.match import Match, check_captures, parse_path
from twistginx.config.template import Template
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

    certificates: tuple[Certificate, ...] = field(validator=not_empty, metadata=SINGLE)
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

    :ivar satisfy: as in a route.
    :ivar policies: by name; what ``NAME = false`` switches off is not there.
    """

    timeouts: RouteTimeouts = RouteTimeouts()
    limits: RouteLimits = RouteLimits()
    satisfy: Literal["all", "any"] = "all"
    policies: dict[str, Policy] = field(default=Factory(dict), metadata=COMPOSED)


def _check_route_path(_: Any, attribute: Attribute[Any], value: str | None) -> None:
    if value is not None:
        parse_path(value)


#: The keys of a route that say which paths it is for; it has one of them, or none.
PATHS: Final = ("path", "exact", "glob", "regex")


def _check_alone(route: Any, attribute: Attribute[Any], value: object) -> None:
    """
    A validator of the keys that say which paths a route is for.
    """
    others = [name for name in PATHS[: PATHS.index(attribute.name)] if getattr(route, name) is not None]
    if value is not None and others:
        raise ValueError(f"stands beside {others[0]}; expected one of {', '.join(PATHS)}")


@frozen
class Route:
    """
    ``[[site.route]]``: which requests, and what answers them.  The first route that matches is taken, in the order of
    the file.

    Beside these keys it has exactly one resource (``proxy``, ``static``, ...) and any number of policies.

    :ivar name: for messages and logs; may be empty.
    :ivar path: the path, or anything below it: "/api" has "/api" and "/api/x", never "/apix".  A slash at its end says
        nothing.
    :ivar exact: this path alone.
    :ivar glob: a pattern for the whole path: ``"/img/**/*.png"``.  ``*`` is anything within a segment, ``?`` one
        character, ``[a-z]`` one of these, ``{a,b}`` one of two texts, ``**`` anything.
    :ivar regex: a regular expression (RE2) that is found in the path, decoded.  What it captures is ``{1}``, ``{name}``
        in the templates of the route.  With none of these four, every path matches.
    :ivar match: what else a request must have: a table, or the name of a ``[match.NAME]``.
    :ivar internal: no client gets here by asking for it: the route is for what ``try_files`` asks the site for, and for
        ``on_error``, which names it.
    :ivar strip_prefix: the resource sees the path without ``path``.
    :ivar variables: templates by name, for ``{var.NAME}``; they are filled where they are used.
    :ivar timeouts: what was inherited is in it.
    :ivar limits: what was inherited is in it.
    :ivar satisfy: "all": a request must satisfy ``access`` and each of the authentications that the route has.  "any":
        one of them is enough.
    :ivar resource: what answers.
    :ivar policies: by name, inherited ones included; what ``NAME = false`` switches off is not there.
    """

    resource: Use = field(metadata=COMPOSED)
    name: str = ""
    path: str | None = field(default=None, validator=_check_route_path)
    exact: str | None = field(default=None, validator=[_check_route_path, _check_alone])
    glob: Glob | None = field(default=None, validator=_check_alone)
    regex: Regex | None = field(default=None, validator=[_check_alone, check_captures])
    match: Match | str | None = None
    internal: bool = False
    strip_prefix: bool = field(default=False)
    variables: dict[str, Template] = field(factory=dict, validator=check_names)
    timeouts: RouteTimeouts = RouteTimeouts()
    limits: RouteLimits = RouteLimits()
    satisfy: Literal["all", "any"] = "all"
    policies: dict[str, Policy] = field(default=Factory(dict), metadata=COMPOSED)

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
    :ivar names: the names that it answers to: "example.com", "*.example.com", or a regex,
        "~^(?<shop>[a-z]+)[.]example[.]com$".
        Whole names are looked at first, then wildcards, the longest first, then regexes in the order of the file.
        Empty: it is the default site of its listeners.
    :ivar tls: its certificates.
    :ivar trusted_proxies: whose word about the client is taken: networks, "file:PATH", or names of [networks].
    :ivar allow_header_names: names of headers with other characters than letters, digits and hyphens, such as
        "webhook_id" or "webhook_*".  All others of that kind are dropped from requests, because many servers take
        X_Auth_User for X-Auth-User.
    :ivar variables: templates by name, for ``{var.NAME}`` in its routes.
    :ivar defaults: what its routes inherit.
    :ivar routes: in the order of the file.
    """

    listen: tuple[Endpoint, ...] = field(default=(), metadata=SINGLE)
    listen_tls: tuple[Endpoint, ...] = field(default=(), metadata=SINGLE)
    names: tuple[HostName, ...] = field(default=(), metadata=SINGLE)
    tls: SiteTLS | None = None
    trusted_proxies: tuple[Entry, ...] = field(default=(), metadata=SINGLE)
    allow_header_names: tuple[HeaderPattern, ...] = field(default=(), metadata=SINGLE)
    variables: dict[str, Template] = field(factory=dict, validator=check_names)
    defaults: Defaults = field(default=Defaults(), metadata=COMPOSED)
    routes: tuple[Route, ...] = field(default=(), metadata=COMPOSED)
