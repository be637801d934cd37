"""
One address of a server, and how to get there.
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
    ConnectingCancelledError,
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
from twistginx.errors import ConfigError, ProxyError
from twistginx.net.handover import hand_over
from twistginx.net.timers import Ticker
from twistginx.net.tls import ClientEndpoint
from twistginx.net.tlscontext import client_context

#: Seconds; a bound for the system's own attempts, far beyond the timeout of ``connect``, which names its setting.
_ATTEMPT: Final = 86400.0

_UNROUTABLE: Final = frozenset((EHOSTUNREACH, ENETUNREACH, ENETDOWN, EADDRNOTAVAIL))


class Peer:
    """
    One address of a server.

    :ivar label: for logs and people, ``b"127.0.0.1:9001"``.
    :ivar weight: at least 1.
    :ivar linger: seconds that a connection to it may rest; learned (see ``upstream.pool``).
    :ivar failures: in a row, up to now.
    :ivar outages: how often, in a row, it has been left out for a while.
    """

    __slots__ = ("_endpoint", "_reactor", "failures", "label", "linger", "outages", "weight")

    def __init__(
        self,
        address: ServerAddress,
        reactor: Any,
        ticker: Ticker,
        weight: int = 1,
        context: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        """
        :param context: of TLS, where ``address.secure``; None: ``net.tlscontext.client_context()``, which verifies.
        :param server_name: to ask for, and to verify, instead of the address's host.
        :raise ConfigError: when the address cannot work.
        """
        self._reactor = reactor
        self.label = str(address).encode()
        self.weight = weight
        self.linger = 0.0
        self.failures = 0
        self.outages = 0
        endpoint = _endpoint(address, reactor)
        if address.secure:
            if context is None:
                context = client_context(alpn=("http/1.1",))
            try:
                endpoint = ClientEndpoint(endpoint, context, server_name or address.host or None, ticker, _ATTEMPT)
            except ValueError as error:
                raise ConfigError(str(error), "server_name", "a host name or an IP address") from error
        self._endpoint = endpoint

    def connect(self, factory: IProtocolFactory, timeout: float, setting: str = "") -> Deferred[Any]:
        """
        :param timeout: seconds for all of it: the name, the connection, the handshake of TLS.
        :param setting: the key that says so, for the error.
        :return: a Deferred of the protocol, connected.  It fails with a ``ProxyError``, or a ``CancelledError`` when
            it is cancelled.
        """

        def timed_out(result: Any, seconds: float) -> Any:
            if isinstance(result, Failure):
                raise ProxyError("connection_timeout", f"{self.label.decode()}: no connection in time", setting)
            return result

        connecting: Deferred[Any] = self._endpoint.connect(factory)
        connecting.addTimeout(timeout, self._reactor, timed_out)
        return connecting.addCallbacks(_unwrapped, self._failed)

    def _failed(self, failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, ProxyError | CancelledError):
            return failure
        if isinstance(error, ConnectingCancelledError):
            return Failure(CancelledError())
        word, detail = reason_of(error or ConnectError())
        return Failure(ProxyError(word, f"{self.label.decode()}: {detail}"))

    def __repr__(self) -> str:
        return f"<Peer {self.label.decode()}>"


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


def _endpoint(address: ServerAddress, reactor: Any) -> IStreamClientEndpoint:
    if address.kind == "unix":
        assert address.path is not None
        return _Straight(reactor, address.path)
    if address.kind == "endpoint":
        try:
            endpoint: IStreamClientEndpoint = clientFromString(reactor, address.text)
        except Exception as error:  # a plugin's parser may raise anything
            raise ConfigError(
                f"{address.text!r} is no client endpoint: {str(error) or type(error).__name__}",
                expected="an endpoint string",
            ) from error
        return endpoint
    with suppress(ValueError):
        ip_address(address.host)
        return _Straight(reactor, (address.host, address.port))
    # Resolves for each connection, and tries the addresses side by side (RFC 8305).
    return HostnameEndpoint(reactor, address.host.encode("ascii"), address.port, timeout=_ATTEMPT)


def _unwrapped(protocol: Any) -> Any:
    """
    Twisted's endpoints leave a wrapper between transport and protocol, which costs a call per read.
    """
    transport: Any = getattr(protocol, "transport", None)
    between = getattr(transport, "protocol", None)
    if between is not protocol and getattr(between, "_wrappedProtocol", None) is protocol:
        transport.protocol = protocol
    return protocol


@implementer(IStreamClientEndpoint)
class _Straight:
    """
    An IP address or a UNIX socket.  There is nothing to look up, and nothing stays between transport and protocol.
    """

    __slots__ = ("_reactor", "_to")

    def __init__(self, reactor: Any, to: tuple[str, int] | Path) -> None:
        self._reactor = reactor
        self._to = to

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        As IStreamClientEndpoint says.
        """
        arriving = _Arriving(factory)
        if isinstance(self._to, Path):
            arriving.connector = self._reactor.connectUNIX(str(self._to), arriving, timeout=_ATTEMPT)
        else:
            host, port = self._to
            arriving.connector = self._reactor.connectTCP(host, port, arriving, timeout=_ATTEMPT)
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
