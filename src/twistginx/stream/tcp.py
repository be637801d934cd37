"""
A raw TCP listener's frontend: who may connect, what takes the connection, what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.config.networks import unmapped
from twistginx.errors import ProxyError
from twistginx.net.proxyprotocol import ProxyHeader

_log = Logger()


class StreamFrontend:
    """
    What serves the connections of a stream's listeners.

    :ivar resource: what a stream module made: ``build_protocol(address)``.
    :ivar policies: ``connected(connection)`` of each policy, in order; one that returns False, or a Deferred of it,
        closes the connection.
    :ivar accepted: connections that came.
    :ivar refused: those that a policy, or the resource, did not want.
    :ivar active: those that are open now.
    """

    __slots__ = ("accepted", "active", "policies", "refused", "resource")

    def __init__(self, resource: Any, policies: Sequence[Callable[[Any], object]] = ()) -> None:
        self.resource = resource
        self.policies = tuple(policies)
        self.accepted = self.refused = self.active = 0

    def build_protocol(self, listener: Any, address: IAddress) -> StreamConnection | None:
        """
        A protocol for a connection that ``listener`` has accepted; None, where the resource has none for it, closes it.
        """
        self.accepted += 1
        protocol = self.resource.build_protocol(address)
        if protocol is None:
            self.refused += 1
            return None
        kind = HalfClosingStreamConnection if IHalfCloseableProtocol.providedBy(protocol) else StreamConnection
        return kind(self, listener, address, protocol)

    def turn_away(self, listener: Any) -> None:
        """
        A connection too many is closed without a word: who knows what would be understood.
        """


@implementer(IProtocol)
class StreamConnection:
    """
    One connection: in the listener's set while it is open, and shown to the policies before the resource sees it.

    The protocol of the resource has the transport itself, so writing costs nothing here, and reading one call.

    :ivar listener: the one that accepted it.
    :ivar client_ip: who is connected, or for whom a proxy is; empty on a UNIX socket.
    :ivar proxy_header: what a proxy before us has said by the PROXY protocol; None where that is not spoken.
    :ivar protocol: the resource's; None when it was refused.
    :ivar transport: None before there is one.
    """

    __slots__ = (
        "__weakref__",
        "_at_end",
        "_frontend",
        "_waiting",
        "client_ip",
        "factory",
        "listener",
        "protocol",
        "proxy_header",
        "transport",
    )

    #: For the log.
    doing = "in a stream"

    def __init__(self, frontend: StreamFrontend, listener: Any, address: IAddress, protocol: Any) -> None:
        self.listener = listener
        self.client_ip: bytes = unmapped(getattr(address, "host", "")).encode("ascii")
        self.proxy_header: ProxyHeader | None = None
        self.protocol = protocol
        self.transport: Any = None
        self.factory: object = None
        self._frontend = frontend
        self._at_end: tuple[Callable[[], object], ...] = ()
        self._waiting: list[bytes] | None = None  # what was said before a policy had decided

    def at_end(self, call: Callable[[], object]) -> None:
        """
        ``call`` when the connection is over; at once, if it is.
        """
        if self in self.listener.connections:
            self._at_end = (*self._at_end, call)
        else:
            call()

    def makeConnection(self, transport: ITransport) -> None:
        """
        The connection is there: may it stay?
        """
        self.transport = transport
        frontend = self._frontend
        frontend.active += 1
        self.listener.connections.add(self)
        if frontend.policies:
            self._ask(0)
        else:
            self.protocol.makeConnection(transport)

    def _ask(self, index: int) -> None:
        """
        Ask the policies from ``index`` on.
        """
        policies = self._frontend.policies
        while index < len(policies):
            try:
                outcome = policies[index](self)
            except Exception:
                self._answered(Failure(), index)  # who fails, fails closed
                return
            index += 1
            if isinstance(outcome, Deferred):
                self._waiting = []
                self.transport.pauseProducing()
                outcome.addBoth(self._answered, index)
                return
            if outcome is not None and outcome is not True:
                self._answered(outcome, index)
                return
        self.protocol.makeConnection(self.transport)

    def _answered(self, outcome: Any, index: int) -> None:
        """
        A policy has decided, late or against the connection.
        """
        if isinstance(outcome, Failure):
            if outcome.check(ProxyError) is None:
                _log.failure("a policy failed, and a connection was refused", failure=outcome)
            outcome = False
        elif outcome is not None and not isinstance(outcome, bool):
            # A coroutine that nobody has waited for, for instance, has looked at nothing.
            _log.error("a policy has decided {kind}, and a connection was refused", kind=type(outcome).__name__)
            outcome = False
        if self not in self.listener.connections:
            return
        waiting, self._waiting = self._waiting, None
        if outcome is False:
            self._refuse()
            return
        if waiting is None:
            self._ask(index)
            return
        self.transport.resumeProducing()
        self._ask(index)
        for data in waiting:
            self.dataReceived(data)

    def _refuse(self) -> None:
        self._frontend.refused += 1
        self.protocol = None
        self.transport.loseConnection()

    def connectionMade(self) -> None:
        """
        Nothing: ``makeConnection`` has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Passed on.
        """
        # Looked up each time, because a relay may have taken over (net.handover).
        if self._waiting is not None:
            self._waiting.append(data)
        elif self.protocol is not None:
            self.protocol.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """
        Passed on.
        """
        self._frontend.active -= 1
        self.listener.connections.discard(self)
        for call in self._at_end:
            call()
        if self.protocol is not None and self._waiting is None:
            self.protocol.connectionLost(reason)

    def drain(self) -> None:
        """
        Where the protocol can end its work, it is asked to; a relay goes on until its sides end it.
        """
        drain = getattr(self.protocol, "drain", None)
        if drain is not None:
            drain()


@implementer(IHalfCloseableProtocol)
class HalfClosingStreamConnection(StreamConnection):
    """
    A connection whose resource knows about half-close.
    """

    __slots__ = ()

    def readConnectionLost(self) -> None:
        """
        Passed on.
        """
        if self.protocol is None:
            self.transport.loseConnection()
        else:
            self.protocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """
        Passed on.
        """
        if self.protocol is not None:
            self.protocol.writeConnectionLost()
