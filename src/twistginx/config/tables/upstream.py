"""
``[upstream.NAME]``.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from attrs import Attribute, field, frozen

from twistginx.config.address import ServerAddress
from twistginx.config.resolvconf import parse_nameserver
from twistginx.config.statuses import parse_statuses
from twistginx.config.tables.fields import COMPOSED, SINGLE, Use, at_least, between, positive
from twistginx.config.tables.health import Breaker, Health
from twistginx.config.units import Duration, Size

#: The largest weight of a server; more would say nothing more.
HEAVIEST: Final = 1_000_000

#: A token (RFC 9110 section 5.6.2), which the name of a cookie is.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse_ip_address(text: str) -> str:
    """
    :raise ValueError: when ``text`` is none.
    """
    return str(ip_address(text))


def _nameserver(text: str) -> str:
    parse_nameserver(text)
    return text


class Passphrase(str):
    """
    A secret that stands in the configuration.  It is not shown.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Passphrase:
        """
        :raise ValueError: when it is too short to be a secret.
        """
        if len(text) < 16:
            raise ValueError("is too short to be secret; expected 16 characters or more")
        return cls(text)

    def __str__(self) -> str:
        return "(hidden)"

    def __repr__(self) -> str:
        return "'(hidden)'"


@frozen
class Server:
    """
    An entry of ``servers``.  A string is the address.

    :ivar to: the address: "host:port", "[::1]:port", "http://host", "https://host:port", "unix:path", "tcp:host:port",
        "tls:host:port", or a client endpoint string.
    :ivar weight: how much of the load it takes, relative to the others, from 1 to 1,000,000.
    :ivar backup: it is used only while no other server is up, or has room.
    :ivar max_connections: how many requests and streams it may have at a time; None: any number.  They are divided
        among the workers, each of which has one at least.
    """

    to: ServerAddress
    weight: int = field(default=1, validator=between(1, HEAVIEST))
    backup: bool = False
    max_connections: int | None = field(default=None, validator=at_least(1))

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

    connect: Duration = field(default=Duration(3), validator=positive)
    first_byte: Duration = field(default=Duration(60), validator=positive)
    idle: Duration = field(default=Duration(60), validator=positive)


@frozen
class Sticky:
    """
    The cookie by which a client comes back to its server.  ``sticky = true`` has all defaults.

    A server that is down, or gone, is replaced: the client is given another one, and another cookie.

    :ivar cookie: its name; None: ``sticky_`` and the name of the upstream.
    :ivar ttl: how long the client keeps it; None: until the browser is closed.
    :ivar secure: it is sent over TLS alone; None: when the request came by TLS.
    :ivar same_site: "lax", "strict" or "none": whether it is sent with requests that other sites cause.
    :ivar secret: what the cookie is signed with, so that nobody can choose a server; the same on all machines that
        answer for a site.  None: what is particular to this machine.
    """

    cookie: str | None = field(default=None)
    ttl: Duration | None = field(default=None, validator=positive)
    secure: bool | None = None
    same_site: Literal["lax", "strict", "none"] = "lax"
    secret: Passphrase | None = None

    @cookie.validator
    def _check_cookie(self, attribute: Attribute[Any], value: str | None) -> None:
        if value is not None and not _TOKEN.fullmatch(value):
            raise ValueError(
                f"{value!r} is not the name of a cookie; expected letters, digits, hyphens and underscores"
            )

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``sticky = true``.
        """
        if value is not True:
            raise ValueError("expected true, or a table")
        return {}


@frozen
class Queue:
    """
    Where requests and streams wait while every server has its ``max_connections``.  A number is the size.

    :ivar size: how many may wait, in each worker; 0: none.
    :ivar timeout: how long one may wait.
    """

    size: int = field(default=100, validator=at_least(0))
    timeout: Duration = field(default=Duration(5), validator=positive)

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``queue = 1000``.
        """
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("expected how many may wait, or a table")
        return {"size": value}


def _causes(_: Any, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
    for each in value:
        if each not in ("terminated", "timeout", "protocol"):
            if not each[:1].isdigit():
                raise ValueError(
                    f'has "{each}"; expected "terminated", "timeout", "protocol", or a status such as "503"'
                )
            if min(parse_statuses(each)) < 400:
                raise ValueError(f'has "{each}", which is no failure; expected a status from 400 on')


def _methods(_: Any, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
    for each in value:
        if not _TOKEN.fullmatch(each) or each != each.upper():
            raise ValueError(f'has "{each}", which is no method; expected one such as "POST"')


def _share(_: Any, attribute: Attribute[Any], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"is {value:g}; expected a share from 0 to 1")


@frozen
class Retry:
    """
    What is sent again, to another server.  A number is ``attempts``; ``retry = 1`` sends everything once.

    A connection that cannot be made is nothing of that: the next server is tried then, always.  Without more being
    said, a request is sent again, once, when the server has ended the connection without an answer, and when doing it
    twice is the same as doing it once (GET, HEAD, OPTIONS, PUT, DELETE).  No POST is ever sent twice unless
    ``methods`` or ``idempotency_key`` says so.  When an answer is not to be tried again, or cannot be, the client gets
    that answer.

    :ivar attempts: how often a request is sent, at most.
    :ivar on: what makes it be sent again: "terminated" (no answer), "timeout" (no answer in time), "protocol" (an
        answer that cannot be understood), and statuses, such as "503" or "502-504".
    :ivar methods: those of requests that may be processed twice; none: those that HTTP calls idempotent.
    :ivar idempotency_key: so may one with an Idempotency-Key, whatever its method.
    :ivar body: how much of a request's body is kept so that it can be sent again; a request with more is not.
    :ivar per_try: how long the first byte of an answer may take, but for the last try; None: as for the last.
    :ivar total: how long all tries together may take, connections included, up to the first byte of an answer; None:
        as long as they take.
    :ivar budget: what share of the upstream's requests may be retries, so that they do not become the load that breaks
        it.
    """

    attempts: int = field(default=2, validator=at_least(1))
    on: tuple[str, ...] = field(default=("terminated",), validator=_causes, metadata=SINGLE)
    methods: tuple[str, ...] = field(default=(), validator=_methods, metadata=SINGLE)
    idempotency_key: bool = False
    body: Size = Size(64 << 10)
    per_try: Duration | None = field(default=None, validator=positive)
    total: Duration | None = field(default=None, validator=positive)
    budget: float = field(default=0.2, validator=_share)

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``retry = 3``.
        """
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("expected how often a request is sent, or a table")
        return {"attempts": value}


@frozen
class Upstream:
    """
    ``[upstream.NAME]``: a group of servers.

    :ivar name: the name.
    :ivar servers: its servers.
    :ivar balance: how one is chosen: the name of a balancer, or a table ``{ NAME = { options } }``.
    :ivar keepalive: how many idle connections are kept.
    :ivar max_age: how old a connection may become before it is no longer used for another request; None: any age.
    :ivar max_requests: how many requests a connection may carry; None: any number.
    :ivar warm: how many idle connections to each server are made before they are needed, in each worker.
    :ivar queue: where requests wait when every server has as many as it may.
    :ivar slow_start: how long a server that comes, or comes back, takes to its whole share of the load, beginning with
        a tenth; None: it has it at once.
    :ivar sticky: a client stays with the server that it had first, known by a cookie; None: it does not.
    :ivar bind: the IP address that connections to the servers come from; None: what the system takes.
    :ivar proxy_protocol: servers are told by the PROXY protocol who the client is, in version "v1" or "v2"; None: they
        are not.  A connection then serves one client alone.
    :ivar tls: how TLS is spoken with the servers that have it; None: with what is usual.
    :ivar timeouts: how long is waited.
    :ivar retry: what is sent again, to another server.
    :ivar discover: where more servers are found, by their names in the table: ``{ srv = "..." }``, ``file``, ``http``,
        ``etcd``, or a plugin's.
    :ivar resolver: name servers that names of servers are looked up with, such as "10.0.0.2" or "127.0.0.1:5353"; none:
        as the system does.
    :ivar resolve: "always": names are looked up again when their time to live is over, at least after 5 and at most
        after 60 seconds.  "once": not any more, when they have been found.
    :ivar health: how servers are checked; None: they are not.
    :ivar breaker: the circuit breaker of each server; None: there is none.
    """

    name: str = field(metadata=COMPOSED)
    servers: tuple[Server, ...] = field(metadata=SINGLE)
    balance: Use = field(metadata=COMPOSED)
    keepalive: int = field(default=64, validator=at_least(0))
    max_age: Duration | None = field(default=None, validator=positive)
    max_requests: int | None = field(default=None, validator=at_least(1))
    warm: int = field(default=0, validator=at_least(0))
    queue: Queue = Queue()
    slow_start: Duration | None = field(default=None, validator=positive)
    sticky: Sticky | None = None
    bind: Annotated[str, parse_ip_address] | None = None
    proxy_protocol: Literal["v1", "v2"] | None = None
    tls: UpstreamTLS | None = None
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
    retry: Retry = Retry()
    discover: tuple[Use, ...] = field(default=(), metadata=COMPOSED)
    resolver: tuple[Annotated[str, _nameserver], ...] = field(default=(), metadata=SINGLE)
    resolve: Literal["always", "once"] = "always"
    health: Health | None = None
    breaker: Breaker | None = None

    @servers.validator
    def _check_servers(self, attribute: Attribute[Any], value: tuple[Server, ...]) -> None:
        if not value and not self.discover:
            raise ValueError("is empty; expected at least one")
