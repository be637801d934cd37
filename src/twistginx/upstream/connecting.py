"""
The way to a server: an address, the socket that we bind, what is said before anything else, TLS.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from errno import EADDRNOTAVAIL, EHOSTUNREACH, ENETDOWN, ENETUNREACH
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
    UnknownHostError,
)
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.config.address import ServerAddress
from twistginx.errors import ConfigError
from twistginx.net.handover import hand_over

#: Seconds; a bound for the system's own attempts, far beyond the timeout of ``connect``, which names its setting.
ATTEMPT: Final = 86400.0

_UNROUTABLE: Final = frozenset((EHOSTUNREACH, ENETUNREACH, ENETDOWN, EADDRNOTAVAIL))


def reason_of(error: BaseException) -> tuple[str, str]:
    """
    The word of the table of failures, and details, for what a client endpoint failed with.
    """
    if isinstance(error, TimeoutError | TCPTimedOutError):
        return "connection_timeout", "no connection in time"
    if isinstance(error, DNSLookupError | UnknownHostError):
        return "dns_error", "the name could not be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "connection_refused", "connection refused"
    number = getattr(error, "osError", None)
    if isinstance(error, NoRouteError) or number in _UNROUTABLE:
        return "destination_ip_unroutable", str(error) or "no route"
    if isinstance(error, ssl.SSLError):
        return "tls_protocol_error", str(error)
    return "connection_refused", str(error) or type(error).__name__


def way_to(address: ServerAddress, reactor: Any, bind: str | None = None) -> IStreamClientEndpoint:
    """
    An endpoint that leads to ``address``, without TLS.

    :param bind: the IP address that we connect from; None: what the system takes.
    :raise ConfigError: when there is no such way.
    """
    if address.kind == "tcp":
        with suppress(ValueError):
            there = ip_address(address.host)
            if bind is not None and ip_address(bind).version != there.version:
                raise ConfigError(f"{address} cannot be reached from {bind}", expected="two addresses of one family")
            return _Straight(reactor, (address.host, address.port), bind)
        # Resolves for each connection, and tries the addresses side by side (RFC 8305).
        return HostnameEndpoint(
            reactor, address.host.encode("ascii"), address.port, timeout=ATTEMPT, bindAddress=bind and (bind, 0)
        )
    if bind is not None:
        raise ConfigError(f"{address} cannot be reached from {bind}", expected="an address such as 127.0.0.1:8000")
    if address.kind == "unix":
        assert address.path is not None
        return _Straight(reactor, address.path)
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, address.text)
    except Exception as error:  # a plugin's parser may raise anything
        raise ConfigError(
            f"{address.text!r} is no client endpoint: {str(error) or type(error).__name__}",
            expected="an endpoint string",
        ) from error
    return endpoint


def unwrapped(protocol: Any) -> Any:
    """
    ``protocol``, without the wrapper that Twisted's endpoints leave between it and its transport, and which costs a
    call per read.
    """
    transport: Any = getattr(protocol, "transport", None)
    between = getattr(transport, "protocol", None)
    if between is not protocol and getattr(between, "_wrappedProtocol", None) is protocol:
        transport.protocol = protocol
    return protocol


@implementer(IStreamClientEndpoint)
class Prefaced:
    """
    A way on which something is said first, before TLS: the header of the PROXY protocol.
    """

    __slots__ = ("_endpoint", "_preface")

    def __init__(self, endpoint: IStreamClientEndpoint, preface: bytes) -> None:
        self._endpoint = endpoint
        self._preface = preface

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        As IStreamClientEndpoint says.
        """
        connecting: Deferred[Any] = self._endpoint.connect(_Speaking(factory, self._preface))
        return connecting.addCallback(lambda spoken: spoken.protocol)


class _Speaking(ClientFactory):
    """
    Builds what says the preface.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory, preface: bytes) -> None:
        self._factory = factory
        self._preface = preface

    def buildProtocol(self, addr: IAddress | None) -> _Spoken | None:
        """
        None when the other factory wants no connection.
        """
        protocol = self._factory.buildProtocol(addr)  # type: ignore[arg-type]
        return None if protocol is None else _Spoken(protocol, self._preface)


class _Spoken(Protocol):
    """
    Says the preface, and hands the transport over.
    """

    def __init__(self, protocol: IProtocol, preface: bytes) -> None:
        self.protocol = protocol
        self._preface = preface

    def connectionMade(self) -> None:
        unwrapped(self)
        self.transport.write(self._preface)  # type: ignore[union-attr]  # it is connected
        hand_over(self, self.protocol)


@implementer(IStreamClientEndpoint)
class _Straight:
    """
    An IP address or a UNIX socket.  There is nothing to look up, and nothing stays between transport and protocol.
    """

    __slots__ = ("_bind", "_reactor", "_to")

    def __init__(self, reactor: Any, to: tuple[str, int] | Path, bind: str | None = None) -> None:
        self._reactor = reactor
        self._to = to
        self._bind = None if bind is None else (bind, 0)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        As IStreamClientEndpoint says.
        """
        arriving = _Arriving(factory)
        if isinstance(self._to, Path):
            arriving.connector = self._reactor.connectUNIX(str(self._to), arriving, timeout=ATTEMPT)
        else:
            host, port = self._to
            arriving.connector = self._reactor.connectTCP(host, port, arriving, ATTEMPT, self._bind)
        return arriving.done


class _Arriving(ClientFactory):
    """
    One attempt to connect.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self.connector: Any = None
        self.factory = factory
        self.done: Deferred[Any] = Deferred(self._cancel)

    def buildProtocol(self, addr: IAddress) -> _Arrival | None:  # type: ignore[override]  # None is for tests
        """
        A protocol that gives way as soon as there is a transport.
        """
        protocol = self.factory.buildProtocol(addr)
        if protocol is None:
            self.done.errback(ConnectError(string="no connection is wanted"))
            return None
        return _Arrival(self, protocol)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """
        There is no connection.
        """
        if not self.done.called:
            self.done.errback(reason)

    def _cancel(self, done: Deferred[Any]) -> None:
        done.errback(CancelledError())
        self.connector.stopConnecting()


class _Arrival(Protocol):
    """
    Hands its transport over to the protocol that it was wanted for.
    """

    def __init__(self, arriving: _Arriving, protocol: IProtocol) -> None:
        self._arriving = arriving
        self._protocol = protocol

    def connectionMade(self) -> None:
        hand_over(self, self._protocol)
        done = self._arriving.done
        if not done.called:
            done.callback(self._protocol)
