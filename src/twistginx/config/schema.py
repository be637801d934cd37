"""
What a configuration can say.  The docstrings are the manual of each table; ``docs`` is made from them.

Everything is frozen, and every value is parsed: a duration is seconds, a size is bytes, a path is absolute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import Attribute, Factory, field, frozen

from twistginx.config.address import HostName, ServerAddress, is_listener_name, parse_endpoint
from twistginx.config.headernames import parse_header_pattern
from twistginx.config.networks import NetworkSet
from twistginx.config.scanner import KeyPath
from twistginx.config.source import Source
from twistginx.config.template import LogTemplate
from twistginx.config.units import Duration, Size
from twistginx.errors import Problem

#: A server endpoint string, or the name of a listener.
Endpoint = Annotated[str, parse_endpoint]

#: The name of a header, or several by ``*``.
HeaderPattern = Annotated[str, parse_header_pattern]

#: The field is not a key of the table: load puts it together.
_COMPOSED = {"composed": True}

#: Endpoints that read what comes first themselves, so that nothing of ours can.
_OWN_LAYERS = ("ssl", "tls", "haproxy")

#: One value may stand for an array of one.
_SINGLE = {"single": True}


def _at_least(smallest: int) -> Any:
    def check(_: Any, attribute: Attribute[Any], value: int | None) -> None:
        if value is not None and value < smallest:
            raise ValueError(f"is {value}; expected {smallest} or more")

    return check


def _positive(_: Any, attribute: Attribute[Any], value: Duration | None) -> None:
    if value is not None and not value:
        raise ValueError("is 0, so that everything would be too late; expected a duration")


def _not_empty(_: Any, attribute: Attribute[Any], value: tuple[Any, ...]) -> None:
    if not value:
        raise ValueError("is empty; expected at least one")


@frozen
class Use:
    """
    A module and its options: what a resource table, a policy table or ``balance`` says.

    :ivar name: of the module.
    :ivar config: an instance of the module's ``Config``.
    :ivar module: the module.
    :ivar where: the key path of the table, for problems that are found at build.
    """

    name: str
    config: Any
    module: Any = field(eq=False, repr=False)
    where: KeyPath = field(eq=False)


#: A policy that is in use: ``many`` of them where its module says so.
Policy = Use | tuple[Use, ...]


@frozen
class Process:
    """
    ``[process]``: the process itself.

    :ivar drain_timeout: how long, at the end, connections may go on with what they are doing.
    :ivar max_connections: how many clients may be connected at once, on all listeners together; one more is answered
        503, or under TLS and in a stream closed.  None: half as many as the process may have open files, because a
        connection that is proxied has two.
    """

    drain_timeout: Duration = Duration(30)
    max_connections: int | None = field(default=None, validator=_at_least(1))


@frozen
class AccessLog:
    """
    ``access`` in ``[log]``: one line for each request.  A string is the path.

    :ivar path: a file, "stdout", or "off".
    :ivar format: "combined" (as nginx writes it), "json", or a template such as "{client} {status} {duration}".
    """

    path: Literal["stdout", "off"] | Path = "stdout"
    format: Literal["combined", "json"] | LogTemplate = field(default="combined")

    @format.validator  # noqa: A003  # the field, not the builtin
    def _check_format(self, attribute: Attribute[Any], value: str | LogTemplate) -> None:
        if isinstance(value, LogTemplate) and value.is_constant:
            raise ValueError(f'is "{value.text}"; expected "combined", "json" or a template such as "{{client}}"')

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``access = "logs/access.log"``.
        """
        return _path_of(value, "off")


@frozen
class ErrorLog:
    """
    ``error`` in ``[log]``: what happens to the server.  A string is the path.

    :ivar path: a file, "stderr" or "stdout".
    :ivar level: the least level that is written.
    """

    path: Literal["stderr", "stdout"] | Path = "stderr"
    level: Literal["debug", "info", "warn", "error", "critical"] = "info"

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``error = "logs/error.log"``.
        """
        return _path_of(value, "stderr")


def _path_of(value: object, word: str) -> dict[str, object]:
    if isinstance(value, str):
        return {"path": value}
    raise ValueError(f'expected a path, "{word}" or a table with a path')


@frozen
class Log:
    """
    ``[log]``: the logs.  SIGUSR1 opens their files again.
    """

    access: AccessLog = AccessLog()
    error: ErrorLog = ErrorLog()


@frozen
class Server:
    """
    An entry of ``servers``.  A string is the address.

    :ivar to: the address: "host:port", "[::1]:port", "http://host", "https://host:port", "unix:path", "tcp:host:port",
        "tls:host:port", or a client endpoint string.
    :ivar weight: how much of the load it takes, relative to the others.
    """

    to: ServerAddress
    weight: int = field(default=1, validator=_at_least(1))

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``servers = ["127.0.0.1:9001"]``.
        """
        if not isinstance(value, str):
            raise ValueError('expected an address such as "127.0.0.1:9001", or a table with to = "..."')
        return {"to": value}


@frozen
class UpstreamTLS:
    """
    How TLS is spoken with the servers that have ``https://`` or ``tls:``.

    :ivar server_name: the name that is asked for and that the certificate must be for; None: the server's host.
    :ivar ca: a PEM file of the authorities that are trusted; None: those of the system.
    :ivar client_cert: a PEM file with the certificate that we show, and its chain.
    :ivar client_key: a PEM file with its key; None: it is in the same file.
    :ivar verify: False accepts any certificate, so that anybody between could read along.
    """

    server_name: str | None = None
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = field(default=None)
    verify: bool = True

    @client_key.validator
    def _check_key(self, attribute: Attribute[Any], value: Path | None) -> None:
        if value is not None and self.client_cert is None:
            raise ValueError("is a key without a certificate; expected client_cert as well")


@frozen
class UpstreamTimeouts:
    """
    How long is waited for a server.

    :ivar connect: for a connection, TLS included.
    :ivar first_byte: from the end of the request to the first byte of its answer.
    :ivar idle: between two reads, or two writes, of a body.
    """

    connect: Duration = field(default=Duration(3), validator=_positive)
    first_byte: Duration = field(default=Duration(60), validator=_positive)
    idle: Duration = field(default=Duration(60), validator=_positive)


@frozen
class Upstream:
    """
    ``[upstream.NAME]``: a group of servers.

    :ivar name: the name.
    :ivar servers: its servers.
    :ivar balance: how one is chosen: the name of a balancer, or a table ``{ NAME = { options } }``.
    :ivar keepalive: how many idle connections are kept.
    :ivar tls: how TLS is spoken with the servers that have it; None: with what is usual.
    :ivar timeouts: how long is waited.
    """

    name: str = field(metadata=_COMPOSED)
    servers: tuple[Server, ...] = field(metadata=_SINGLE, validator=_not_empty)
    balance: Use = field(metadata=_COMPOSED)
    keepalive: int = field(default=64, validator=_at_least(0))
    tls: UpstreamTLS | None = None
    timeouts: UpstreamTimeouts = UpstreamTimeouts()


@frozen
class ListenerTimeouts:
    """
    How long is waited for a client.

    :ivar header: for the whole head of a request, and before that for a PROXY header.
    :ivar idle: between two reads of a request's body.
    :ivar keepalive: for the next request.
    :ivar write: between two writes of a response.
    """

    header: Duration = field(default=Duration(10), validator=_positive)
    idle: Duration = field(default=Duration(30), validator=_positive)
    keepalive: Duration = field(default=Duration(60), validator=_positive)
    write: Duration = field(default=Duration(60), validator=_positive)


@frozen
class ListenerLimits:
    """
    How large the head of a request may be, and how many there may be of what.

    :ivar header: the head of a request, in bytes, request line included.
    :ivar fields: how many fields it may have.
    :ivar requests: how many requests a connection may make; the last is answered with ``Connection: close``.
    :ivar min_rate: how slow a client may be: the bytes per second that it sends of a request's body, averaged over 30
        seconds, and that it takes of a response, averaged over ``timeouts.write``.  0: as slow as it likes.
    :ivar connections: how many clients may be connected at once; one more is answered 503, or under TLS and in a stream
        closed.  None: as many as the process may have.
    """

    header: Size = field(default=Size(32 << 10), validator=_at_least(1))
    fields: int = field(default=100, validator=_at_least(1))
    requests: int = field(default=1000, validator=_at_least(1))
    min_rate: Size = field(default=Size(240), validator=_at_least(0))
    connections: int | None = field(default=None, validator=_at_least(1))


@frozen
class Listener:
    """
    ``[listener.NAME]``: an address that needs options.

    :ivar name: what ``listen`` and ``listen_tls`` call it.
    :ivar endpoint: a server endpoint string.
    :ivar tls: everything on it is under TLS, so that ``listen`` is enough to use it.
    :ivar proxy_protocol: the proxies that connect to it, and must begin with a PROXY header (version 1 or 2), before
        TLS.  The address in it is the client's.  Nobody else may connect.  None: whoever connects is the client.
    :ivar backlog: how many connections the kernel holds until they are accepted.
    """

    name: str = field(metadata=_COMPOSED)
    endpoint: Endpoint = field()
    tls: bool = False
    proxy_protocol: NetworkSet | None = field(default=None, metadata=_SINGLE)
    backlog: int = field(default=4096, validator=_at_least(1))
    timeouts: ListenerTimeouts = ListenerTimeouts()
    limits: ListenerLimits = ListenerLimits()

    @endpoint.validator
    def _check_endpoint(self, attribute: Attribute[Any], value: str) -> None:
        if is_listener_name(value):
            raise ValueError(f'"{value}" is not an endpoint such as "tcp:8080"')

    @proxy_protocol.validator
    def _check_proxy_protocol(self, attribute: Attribute[Any], value: NetworkSet | None) -> None:
        if value is None:
            return
        if not value:
            raise ValueError('is empty, so that nobody could connect; expected networks such as "10.0.0.0/8"')
        kind = str(self.endpoint).partition(":")[0]
        if kind in _OWN_LAYERS:
            raise ValueError(f'cannot be under the layer that "{kind}:" brings along; expected "tcp:" and listen_tls')


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

    certificates: tuple[Certificate, ...] = field(validator=_not_empty)
    min_version: Literal["1.2", "1.3"] = "1.2"
    client_ca: Path | None = None


@frozen
class RouteTimeouts:
    """
    The waits for an upstream, where a route needs others than the upstream has.  None: those of the upstream.

    :ivar first_byte: from the end of the request to the first byte of its answer.
    :ivar idle: between two reads, or two writes, of a body, or of a connection that was upgraded.
    """

    first_byte: Duration | None = field(default=None, validator=_positive)
    idle: Duration | None = field(default=None, validator=_positive)


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
    policies: dict[str, Policy] = field(default=Factory(dict), metadata=_COMPOSED)


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

    resource: Use = field(metadata=_COMPOSED)
    name: str = ""
    path: str | None = field(default=None, validator=_check_route_path)
    exact: str | None = field(default=None, validator=_check_route_path)
    strip_prefix: bool = field(default=False)
    timeouts: RouteTimeouts = RouteTimeouts()
    limits: RouteLimits = RouteLimits()
    policies: dict[str, Policy] = field(default=Factory(dict), metadata=_COMPOSED)

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

    listen: tuple[Endpoint, ...] = field(default=(), metadata=_SINGLE)
    listen_tls: tuple[Endpoint, ...] = field(default=(), metadata=_SINGLE)
    names: tuple[HostName, ...] = field(default=(), metadata=_SINGLE)
    tls: SiteTLS | None = None
    trusted_proxies: NetworkSet = NetworkSet()
    allow_header_names: tuple[HeaderPattern, ...] = field(default=(), metadata=_SINGLE)
    defaults: Defaults = field(default=Defaults(), metadata=_COMPOSED)
    routes: tuple[Route, ...] = field(default=(), metadata=_COMPOSED)


@frozen
class StreamRoute:
    """
    ``[[stream.route]]``: which connections, and what takes them: it has exactly one stream resource (``proxy``, ...).

    :ivar name: for messages and logs; may be empty.
    """

    resource: Use = field(metadata=_COMPOSED)
    name: str = ""


@frozen
class Stream:
    """
    ``[[stream]]``: raw connections.

    :ivar listen: endpoint strings, or names of listeners.
    :ivar name: for messages and logs; may be empty.
    :ivar routes: in the order of the file.  ``upstream = "db"`` is short for one with ``proxy = { upstream = "db" }``.
    """

    listen: tuple[Endpoint, ...] = field(default=(), metadata=_SINGLE)
    name: str = ""
    routes: tuple[StreamRoute, ...] = field(default=(), metadata=_COMPOSED)


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
