"""
A proxied site on memory transports: what clients and upstream servers say is written down in the tests.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from tests.upstream.options import options, timeouts
from twistginx.config.address import ServerAddress
from twistginx.config.networks import NetworkSet
from twistginx.http.channel import Channel
from twistginx.http.frontend import Frontend
from twistginx.net.timers import Ticker
from twistginx.resources.proxy import ProxyResource
from twistginx.routing.router import Route, Site
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream
from twistginx.upstream.round_robin import RoundRobin

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Wire(StringTransport):
    """
    One side's transport.

    :ivar gone: the connection was closed or aborted by our side.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 1000) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, port))
        self.protocol: Any = None

    @property
    def gone(self) -> bool:
        """
        Has our side ended it, one way or the other?
        """
        return bool(self.disconnecting)

    @property
    def aborted(self) -> bool:
        """
        Has our side broken it?
        """
        return bool(self.disconnected) or self.abortCalled

    abortCalled = False

    def abortConnection(self) -> None:
        """
        As a real one, connectionLost comes later.
        """
        self.abortCalled = True
        self.disconnecting = True

    def taken(self) -> bytes:
        """
        What was written since this was asked last.
        """
        data = self.value()
        self.clear()
        return data

    def says(self, data: bytes) -> None:
        """
        The other side sends.
        """
        self.protocol.dataReceived(data)

    def leaves(self, why: type[Exception] = ConnectionDone) -> None:
        """
        The other side is gone.
        """
        self.protocol.connectionLost(Failure(why()))


class Conversation:
    """
    A proxied site, its clients, and its upstream servers.

    :ivar upstream: the real one; its peers are 127.0.0.1:9001 and so on.
    :ivar accepted: the connections that upstream servers have accepted, in order.
    """

    def __init__(
        self,
        peers: int = 1,
        weights: tuple[int, ...] = (),
        trusted: tuple[str, ...] = (),
        first_byte: float = 60.0,
        idle: float = 60.0,
        keepalive: int = 64,
        **route: Any,
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)
        self.options = options(keepalive=keepalive, timeouts=timeouts(3.0, first_byte, idle))
        self.peers = [
            Peer(
                ServerAddress.parse(f"127.0.0.1:{9001 + index}"),
                self.reactor,
                self.ticker,
                weights[index] if weights else 1,
            )
            for index in range(peers)
        ]
        self.upstream = Upstream("app", self.options, self.peers, RoundRobin().pick, self.ticker)
        self.resource = ProxyResource(self.upstream, self.reactor)
        self.route = Route("all", self.resource, streaming=True, **route)
        self.records: list[Any] = []
        networks = NetworkSet.parse(list(trusted)) if trusted else None
        self.site = Site("test", (self.route,), self.reactor, networks)
        frontend = Frontend(self.ticker, default=self.site, log=lambda request, record: self.records.append(record))
        self.listener = SimpleNamespace(frontend=frontend, connections=set())
        self.accepted: list[Wire] = []

    def client(self, host: str = "10.0.0.1") -> Wire:
        """
        A client connects.
        """
        wire = Wire(host)
        wire.protocol = Channel(self.listener, wire.getPeer())
        wire.protocol.makeConnection(wire)
        return wire

    @property
    def attempts(self) -> list[int]:
        """
        The ports that were tried.
        """
        return [attempt[1] for attempt in self.reactor.tcpClients]

    def accept(self) -> Wire:
        """
        The server that was tried last accepts the connection.
        """
        host, port, factory, _, _ = self.reactor.tcpClients[-1]
        wire = Wire(host, port)
        wire.protocol = factory.buildProtocol(wire.getPeer())
        wire.protocol.makeConnection(wire)
        self.accepted.append(wire)
        return wire

    def refuse(self, error: type[Exception] = ConnectionRefusedError) -> None:
        """
        The server that was tried last is not there.
        """
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(error()))

    def advance(self, seconds: float) -> None:
        """
        Time passes, a tick at a time.
        """
        for _ in range(int(seconds / 0.25)):
            self.reactor.advance(0.25)
