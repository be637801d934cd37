"""
One address of a server: how to get there, how it fares, and what it has to do.
"""

from __future__ import annotations

import ssl
from time import time
from typing import TYPE_CHECKING, Any, Final, Literal

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from twistginx.config.address import ServerAddress
from twistginx.errors import ConfigError, ProxyError
from twistginx.net.timers import Ticker
from twistginx.net.tls import ClientEndpoint
from twistginx.net.tlscontext import client_context
from twistginx.upstream.connecting import ATTEMPT, Prefaced, reason_of, unwrapped, way_to

if TYPE_CHECKING:
    from twistginx.http.client import ClientConnection

#: What a peer is: to be used; found ill by a health check; left out for a while, because requests failed; not to be
#: used at all for a while, because a circuit breaker says so; to be left to those who have a session there; not to be
#: used.
State = Literal["up", "down", "out", "tripped", "draining", "disabled"]

#: How much of its share each unit of weight is: a server that starts slowly begins with one of these.
STEPS: Final = 10


class Peer:
    """
    One address of a server.

    The counters are of this process.

    :ivar address: where it is.
    :ivar label: for logs and people, ``b"127.0.0.1:9001"``.
    :ivar weight: as it is configured, or set by hand; at least 1.
    :ivar share: what it takes of the load now, in proportion to others (int, at least 1): what balancers go by.
    :ivar backup: it is for when no other is up.
    :ivar max_connections: how many requests and streams it may have at a time from this process; None: any number.
    :ivar linger: seconds that a connection to it may rest; learned (see ``upstream.rest``).
    :ivar resting: the connections to it that rest; the last one came last.
    :ivar leaving: no connection to it is to rest any more.

    :ivar state: see ``State``.
    :ivar since: when that began, in seconds since 1970.
    :ivar last_error: what went wrong there the last time; empty when nothing has.
    :ivar healthy: what health checks say; True where there are none.
    :ivar tripped: what a circuit breaker says.
    :ivar order: what was ordered by hand: ``draining``, ``disabled``, or nothing.
    :ivar failures: in a row, up to now.
    :ivar outages: how often, in a row, it has been left out for a while.

    :ivar begun: attempts that were made here: requests and streams.
    :ivar ended: of them, those that are over.
    :ivar failed: of them, those that the peer has failed.
    :ivar latency: seconds from the request to the head of its answer, a moving average; 0.0 while nothing is known, or
        nobody wants to know.
    :ivar measured: when the latency was measured the last time, on the clock of ``time.monotonic``.
    """

    __slots__ = (
        "_endpoint",
        "_reactor",
        "_tls",
        "address",
        "backup",
        "begun",
        "ended",
        "failed",
        "failures",
        "healthy",
        "label",
        "last_error",
        "latency",
        "leaving",
        "linger",
        "max_connections",
        "measured",
        "order",
        "outages",
        "preface",
        "resting",
        "share",
        "since",
        "state",
        "tripped",
        "weight",
    )

    def __init__(
        self,
        address: ServerAddress,
        reactor: Any,
        ticker: Ticker,
        weight: int = 1,
        context: ssl.SSLContext | None = None,
        server_name: str | None = None,
        bind: str | None = None,
        preface: bytes = b"",
    ) -> None:
        """
        :param context: of TLS, where ``address.secure``; None: ``net.tlscontext.client_context()``, which verifies.
        :param server_name: to ask for, and to verify, instead of the address's host.
        :param bind: the IP address that we connect from; None: what the system takes.
        :param preface: what a connection begins with when ``connect`` is told nothing else.
        :raise ConfigError: when the address cannot work.
        """
        self._reactor = reactor
        self.address = address
        self.label = str(address).encode()
        self.weight = weight
        self.share = weight * STEPS
        self.backup = False
        self.max_connections: int | None = None
        self.linger = 0.0
        self.resting: list[ClientConnection] = []
        self.leaving = False
        self.state: State = "up"
        self.since = time()
        self.last_error = ""
        self.healthy = True
        self.tripped = False
        self.order: Literal["", "draining", "disabled"] = ""
        self.failures = self.outages = 0
        self.begun = self.ended = self.failed = 0
        self.latency = self.measured = 0.0
        self.preface = preface
        self._endpoint = endpoint = way_to(address, reactor, bind)
        self._tls: ClientEndpoint | None = None
        if address.secure:
            if context is None:
                context = client_context(alpn=("http/1.1",))
            try:
                self._tls = ClientEndpoint(endpoint, context, server_name or address.host or None, ticker, ATTEMPT)
            except ValueError as error:
                raise ConfigError(str(error), "server_name", "a host name or an IP address") from error

    @property
    def active(self) -> int:
        """
        How many requests and streams are under way here.
        """
        return self.begun - self.ended

    @property
    def secure(self) -> bool:
        """
        Is TLS spoken with it?
        """
        return self._tls is not None

    def connect(
        self, factory: IProtocolFactory, timeout: float, setting: str = "", preface: bytes | None = None
    ) -> Deferred[Any]:
        """
        :param timeout: seconds for all of it: the name, the connection, the handshake of TLS.
        :param setting: the key that says so, for the error.
        :param preface: what the connection begins with, before TLS; None: what the peer usually gets.
        :return: a Deferred of the protocol, connected.  It fails with a ``ProxyError``, or a ``CancelledError`` when
            it is cancelled.
        """

        def timed_out(result: Any, seconds: float) -> Any:
            if isinstance(result, Failure):
                raise ProxyError("connection_timeout", f"{self.label.decode()}: no connection in time", setting)
            return result

        if preface is None:
            preface = self.preface
        way: Any = self._endpoint if self._tls is None else self._tls
        if preface:
            way = Prefaced(self._endpoint, preface)
            if self._tls is not None:
                way = self._tls.over(way)
        connecting: Deferred[Any] = way.connect(factory)
        connecting.addTimeout(timeout, self._reactor, timed_out)
        return connecting.addCallbacks(unwrapped, self._failed)

    def _failed(self, failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, ProxyError | CancelledError):
            return failure
        if isinstance(error, ConnectingCancelledError):
            return Failure(CancelledError())
        word, detail = reason_of(error or ConnectError())
        return Failure(ProxyError(word, f"{self.label.decode()}: {detail}"))

    def __repr__(self) -> str:
        return f"<Peer {self.label.decode()} {self.state}>"
