"""
``[listener.NAME]``.
"""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from twistginx.config.address import is_listener_name
from twistginx.config.networks import NetworkSet
from twistginx.config.tables.fields import COMPOSED, SINGLE, Endpoint, at_least, positive
from twistginx.config.units import Duration, Size

#: Endpoints that read what comes first themselves, so that nothing of ours can.
_OWN_LAYERS = ("ssl", "tls", "haproxy")


@frozen
class ListenerTimeouts:
    """
    How long is waited for a client.

    :ivar header: for the whole head of a request, and before that for a PROXY header.
    :ivar idle: between two reads of a request's body.
    :ivar keepalive: for the next request.
    :ivar write: between two writes of a response.
    """

    header: Duration = field(default=Duration(10), validator=positive)
    idle: Duration = field(default=Duration(30), validator=positive)
    keepalive: Duration = field(default=Duration(60), validator=positive)
    write: Duration = field(default=Duration(60), validator=positive)


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
    :ivar connections_per_client: how many connections one client may have; one more is answered in the same way.  IPv6
        addresses count by /64; behind the PROXY protocol, the address in its header does.  None: as many as it likes.
    """

    header: Size = field(default=Size(32 << 10), validator=at_least(1))
    fields: int = field(default=100, validator=at_least(1))
    requests: int = field(default=1000, validator=at_least(1))
    min_rate: Size = field(default=Size(240), validator=at_least(0))
    connections: int | None = field(default=None, validator=at_least(1))
    connections_per_client: int | None = field(default=None, validator=at_least(1))


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

    name: str = field(metadata=COMPOSED)
    endpoint: Endpoint = field()
    tls: bool = False
    proxy_protocol: NetworkSet | None = field(default=None, metadata=SINGLE)
    backlog: int = field(default=4096, validator=at_least(1))
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
