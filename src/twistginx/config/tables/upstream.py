"""
``[upstream.NAME]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import Attribute, field, frozen

from twistginx.config.address import ServerAddress
from twistginx.config.tables.fields import COMPOSED, SINGLE, Use, at_least, not_empty, positive
from twistginx.config.units import Duration


@frozen
class Server:
    """
    An entry of ``servers``.  A string is the address.

    :ivar to: the address: "host:port", "[::1]:port", "http://host", "https://host:port", "unix:path", "tcp:host:port",
        "tls:host:port", or a client endpoint string.
    :ivar weight: how much of the load it takes, relative to the others.
    """

    to: ServerAddress
    weight: int = field(default=1, validator=at_least(1))

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

    name: str = field(metadata=COMPOSED)
    servers: tuple[Server, ...] = field(metadata=SINGLE, validator=not_empty)
    balance: Use = field(metadata=COMPOSED)
    keepalive: int = field(default=64, validator=at_least(0))
    tls: UpstreamTLS | None = None
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
