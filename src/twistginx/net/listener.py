"""
A bound address, whatever serves it.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.errors import TwistginxError
from twistginx.net.activation import mismatch
from twistginx.net.capacity import Capacity, Limit, Refusals, name_of
from twistginx.net.crowd import Crowd
from twistginx.net.proxyprotocol import ProxyHeader

#: Connections that the kernel may hold for us; Twisted's own default is 50.  Linux takes no more than this unless told.
BACKLOG: Final = 4096

#: Seconds that a connection without work is left open when it is drained, where there are as many.
PARTING: Final = 1.0

#: Connections that are named when a listener cuts all, at most.
_TOLD: Final = 20

#: Seconds between two looks at whether the last connection has ended.
_LOOK: Final = 0.05

#: The endpoint kinds that take a backlog, and how many values without a name stand before it.
_TAKES_BACKLOG: Final = {"tcp": 2, "tcp6": 1, "unix": 2, "ssl": 5}

#: Somebody else has the address, or another listener.
IN_USE: Final = "address already in use"

#: What the errors of bind(2) mean to whoever wrote the configuration.
_MEANINGS: Final = {
    errno.EADDRINUSE: IN_USE,
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EAFNOSUPPORT: "this machine does not have that address family",
    errno.EBADF: "the inherited socket is not open",
    errno.EMFILE: "too many open files; raise the limit of the process",
    errno.ENOENT: "there is no such directory",
    errno.ENOTDIR: "there is no such directory",
}


_log = Logger(namespace="twistginx.net")


class ListenError(TwistginxError):
    """
    An address that cannot be had; the text names the endpoint and says why, in a sentence.
    """


@implementer(IProtocolNegotiationFactory)
class Listener(Factory):
    """
    A bound address.  It owns a port, and outlives generations.

    :ivar endpoint: the server endpoint string.
    :ivar backlog: how many connections the kernel holds, unless the endpoint string says so itself.
    :ivar frontend: what serves its connections (``build_protocol(listener, address)``), swapped at commit.  None before
        the first commit: connections that come so early are closed.
    :ivar tls: the ``net.tls.TLSServer`` that stands between, swapped at commit; None for plain text.
    :ivar proxy_protocol: the ``net.proxied.ProxyProtocol`` that stands under that, swapped at commit; None: whoever
        connects is the client.
    :ivar limit: how many connections there may be, swapped at commit; None: as many as the process may have.
    :ivar client_limit: how many of them one client may have, swapped at commit; None: as many as it likes.
    :ivar connections: the protocols that are open.  They add and remove themselves.
    :ivar leaving: protocols that only tell their client that there are too many.  They add and remove themselves.
    :ivar parting: seconds that a connection without work is left open when it is drained.
    :ivar accepted: how many connections came, ever.
    :ivar refusals: those of them that were turned away.
    """

    noisy = False

    def __init__(self, reactor: Any, endpoint: str, backlog: int = BACKLOG, capacity: Capacity | None = None) -> None:
        """
        :param capacity: of the process; None: it has no limit.
        """
        self.endpoint = endpoint
        self.backlog = backlog
        self.frontend: Any = None
        self.tls: Any = None
        self.proxy_protocol: Any = None
        self.limit: Limit | None = None
        self.client_limit: Limit | None = None
        self.connections = Crowd()
        self.leaving: set[Any] = set()
        self.parting = 0.0
        self.accepted = 0
        self.refusals = Refusals(endpoint, reactor)
        self._capacity = capacity
        if capacity is not None:
            capacity.include(self)
        self._reactor = reactor
        self._port: IListeningPort | None = None

    def __repr__(self) -> str:
        return f"<Listener {self.endpoint}>"

    @property
    def address(self) -> IAddress | None:
        """
        Where it is bound, once it is.
        """
        return None if self._port is None else self._port.getHost()

    @property
    def port(self) -> Any:
        """
        What the endpoint has made, once it has; None after the listener was closed.
        """
        return self._port

    def open(self) -> Deferred[None]:
        """
        Bind.  Twisted's own endpoints answer at once, others may take their time.

        :return: fires with None, or fails with :exc:`ListenError`.
        """
        return maybeDeferred(self._listen).addCallbacks(self._opened, self._refused)

    def close(self) -> Deferred[None]:
        """
        Accept no more; connections that are open go on.

        :return: fires when the address is free.
        """
        port, self._port = self._port, None
        if port is None:
            return maybeDeferred(lambda: None)
        return maybeDeferred(port.stopListening).addCallback(lambda _: None)

    def queue(self, backlog: int) -> bool:
        """
        Have the kernel hold so many connections from now on, where the endpoint string does not say how many.

        :return: False when that takes another socket, because it is not known here.
        """
        sock = getattr(self._port, "socket", None)
        if not isinstance(sock, socket.socket):
            return False
        self.backlog = backlog
        if with_backlog(self.endpoint, backlog) != self.endpoint:
            sock.listen(backlog)
            self._port.backlog = backlog  # type: ignore[union-attr]  # for the next time that it begins to accept
        return True

    def drain(self) -> None:
        """
        Ask every connection to end when its current work is done.
        """
        for connection in tuple(self.connections):
            connection.drain()

    def abort(self) -> int:
        """
        Cut every connection, and say whose they were, and what they were doing.

        :return: how many there were.
        """
        connections = tuple(self.connections)
        for number, connection in enumerate(connections):
            if number < _TOLD:
                _log.info(
                    "{endpoint}: {peer} is cut off, {doing}",
                    endpoint=self.endpoint,
                    peer=name_of(connection.transport.getPeer()),
                    doing=getattr(connection, "doing", "connected"),
                )
            # One that knows what it is doing has a last word to log.
            getattr(connection, "cut", connection.transport.abortConnection)()
        for connection in tuple(self.leaving):
            connection.transport.abortConnection()
        return len(connections)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]  # any IProtocol will do
        frontend = self.frontend
        if frontend is None:
            return None
        self.accepted += 1
        proxy_protocol = self.proxy_protocol
        if proxy_protocol is not None and not proxy_protocol.admits(addr):
            self.refusals.note("proxy_protocol_denied", addr, "it is not one of those in proxy_protocol")
            return None
        reached = self._reached()
        if reached is not None:
            self.refusals.note("connection_limit", addr, f"{reached.setting} is reached", LogLevel.warn)
            farewell: IProtocol | None = frontend.turn_away(self) if self.tls is None else None
            return farewell
        if proxy_protocol is not None:
            proxied: IProtocol = proxy_protocol.wrap(self, addr)
            return proxied
        return self.protocol_for(addr)

    def protocol_for(self, address: IAddress, header: ProxyHeader | None = None) -> IProtocol | None:
        """
        What serves a connection.

        :param address: the client's.
        :param header: of the PROXY protocol, where that has said who the client is.
        :return: None where nobody wants to.
        """
        limit = self.client_limit
        if limit is not None and not self.connections.admits(address, limit.connections):
            self.refusals.note("client_connection_limit", address, f"{limit.setting} is reached")
            farewell: IProtocol | None = self.frontend.turn_away(self) if self.tls is None else None
            return farewell
        protocol = self.frontend.build_protocol(self, address)
        if protocol is None:
            return None
        if header is not None:
            protocol.proxy_header = header
        served: IProtocol = protocol if self.tls is None else self.tls.wrap(protocol, self.connections)
        return served

    def _reached(self) -> Limit | None:
        """
        The limit that a connection more would break.
        """
        limit = self.limit
        if limit is not None and len(self.connections) >= limit.connections:
            return limit
        return None if self._capacity is None else self._capacity.reached

    def acceptableProtocols(self) -> list[bytes]:
        """
        Asked by Twisted's own TLS (``ssl:`` endpoints), which ends handshakes with clients that offer others only.
        """
        return list(getattr(self.frontend, "alpn", ()))

    def _listen(self) -> Deferred[IListeningPort]:
        endpoint: Any = serverFromString(self._reactor, with_backlog(self.endpoint, self.backlog))
        if isinstance(endpoint, AdoptedStreamServerEndpoint):
            wrong = mismatch(endpoint.fileno, endpoint.addressFamily)
            if wrong:
                raise ListenError(wrong)
            # It closes what it has adopted.  systemd's own descriptor stays open, for a later reload, for workers and
            # for an upgrade.
            endpoint.fileno = os.dup(endpoint.fileno)
        listening: Deferred[IListeningPort] = endpoint.listen(self)
        return listening

    def _opened(self, port: IListeningPort) -> None:
        self._port = port

    def _refused(self, failure: Failure) -> None:
        raise ListenError(f"{self.endpoint}: {_meaning(failure.value, self.endpoint)}") from failure.value


async def open_all(listeners: Iterable[Listener]) -> list[str]:
    """
    Bind all of these, or none.

    :return: why those that could not be bound were not, a sentence each; empty when all are bound.
    """
    listeners = tuple(listeners)
    outcomes: list[tuple[bool, Any]] = await DeferredList([each.open() for each in listeners], consumeErrors=True)
    reasons = [outcome.getErrorMessage() for bound, outcome in outcomes if not bound]
    if reasons:
        await gatherResults([each.close() for each in listeners])
    return reasons


async def end_connections(clock: IReactorTime, listeners: Iterable[Listener], seconds: float) -> int:
    """
    Drain these, and cut what has not ended after ``seconds``.

    :return: how many connections were cut.
    """
    listeners = tuple(listeners)
    told: set[Any] = set()
    for listener in listeners:
        listener.parting = PARTING if seconds > PARTING else 0.0
    deadline = clock.seconds() + seconds
    while True:
        for listener in listeners:
            # Some were accepted when the listener was closed, some have done a handshake since.
            for connection in listener.connections - told:
                connection.drain()
        told = set().union(*(listener.connections for listener in listeners))
        if not told or clock.seconds() >= deadline:
            break
        await deferLater(clock, _LOOK)
    cut = sum(listener.abort() for listener in listeners)
    if cut:
        await deferLater(clock, _LOOK)  # they hear of it, and say so where they have to
    return cut


def with_backlog(endpoint: str, backlog: int) -> str:
    r"""
    The endpoint string with a backlog, where it says none and its kind takes one.

    >>> with_backlog("tcp:8080:interface=\\:\\:1", 4096)
    'tcp:8080:interface=\\:\\:1:backlog=4096'
    """
    # A colon or an equals sign after a backslash belongs to the value.
    kind, *values = re.split(r"(?<!\\):", endpoint)
    named = {value.partition("=")[0] for value in values if re.search(r"(?<!\\)=", value)}
    before = _TAKES_BACKLOG.get(kind)
    if before is None or "backlog" in named or len(values) - len(named) > before:
        return endpoint
    return f"{endpoint}:backlog={backlog}"


def _meaning(error: BaseException | None, endpoint: str) -> str:
    """
    Why an address cannot be had, for people.
    """
    if isinstance(error, CannotListenError):
        error = error.socketError
        if not isinstance(error, OSError):
            # The UNIX port's lock file: its holder is alive.
            return f"{IN_USE} ({error})"
    if isinstance(error, OSError):
        if error.errno in (errno.EACCES, errno.EPERM):
            unix = endpoint.startswith("unix:")
            return "permission denied" + ("" if unix else "; ports below 1024 need root or CAP_NET_BIND_SERVICE")
        return _MEANINGS.get(error.errno or 0) or (error.strerror or str(error)).lower()
    if endpoint.startswith("systemd:") and isinstance(error, (LookupError, ValueError)):
        return f"systemd passed no such socket ({error})"
    return str(error) or type(error).__name__
