"""
``proxy`` of a stream: the bytes of a connection go to a peer of an upstream, and back.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer, moduleProvides

from twistginx.config.units import Duration
from twistginx.errors import ProxyError
from twistginx.interfaces import IContext, IStreamModule
from twistginx.net.announcement import announcement, end_of
from twistginx.net.handover import hand_over
from twistginx.net.relay import LEFT_BROKE, RIGHT_BROKE, Relay, RelayEnd

moduleProvides(IStreamModule)

name = "proxy"
api = 1

#: How relays end, in the words of the table of failures.
_WORDS: Final = {LEFT_BROKE: "client_disconnected", RIGHT_BROKE: "connection_terminated"}


def _positive(_: Any, attribute: Any, value: Duration | None) -> None:
    if value is not None and not value:
        raise ValueError("is 0, so that everything would be too late; expected a duration")


@frozen
class Timeouts:
    """
    How long is waited.

    :ivar connect: for a connection to one server; None: as long as the upstream says.
    :ivar idle: without a byte in either direction, before both sides are closed.
    """

    connect: Duration | None = field(default=None, validator=_positive)
    idle: Duration = field(default=Duration(3600), validator=_positive)


@frozen
class Config:
    """
    Pass the connection on to a server of an upstream.  When a server cannot be reached, the next one is tried.  The end
    of one direction is passed on, and the other goes on (half-close).

    :ivar upstream: the name of the upstream.
    :ivar timeouts: how long is waited.
    """

    upstream: str
    timeouts: Timeouts = Timeouts()

    @classmethod
    def from_shorthand(cls, value: object) -> Config:
        """
        ``proxy = "db"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected the name of an upstream, or a table with upstream = "..."')
        return cls(value)


def make(config: Config, context: IContext) -> StreamProxy:
    """
    As ``IStreamModule`` says.
    """
    upstream = context.upstream(config.upstream)
    return StreamProxy(upstream, config.timeouts, context.ticker, context.log)


class StreamProxy:
    """
    Connects clients with peers.

    :ivar upstream: where the peers are.
    :ivar timeouts: of the configuration.
    :ivar joined: connections that got a peer.
    :ivar failed: connections that got none.
    :ivar left: connections whose client did not wait for one.
    :ivar failovers: peers that could not be reached while another was still to be tried.
    :ivar from_clients: bytes that came from clients, in connections that have ended.
    :ivar from_peers: bytes that came from peers, in connections that have ended.
    """

    def __init__(self, upstream: Any, timeouts: Timeouts, ticker: Any, log: Any) -> None:
        self.upstream = upstream
        self.timeouts = timeouts
        self.ticker = ticker
        self.log = log
        self.joined = self.failed = self.left = self.failovers = 0
        self.from_clients = self.from_peers = 0

    def build_protocol(self, address: IAddress) -> ProxyConnection:
        """
        A protocol for a client's connection.
        """
        return ProxyConnection(self, address)


class _ForPeer(Factory):
    """
    Builds the peer's side of a relay.
    """

    noisy = False

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def buildProtocol(self, addr: IAddress | None) -> RelayEnd:  # type: ignore[override]  # any IProtocol will do
        return self._relay.right


@implementer(IHalfCloseableProtocol)
class ProxyConnection(Protocol):
    """
    A client's connection until a peer is found for it; a relay has it after that.

    One read's worth of what the client says meanwhile is held.  Until it says something it is listened to, because
    that is how one hears that it left.

    It is what balancers see of the client, and what waits when no peer has room (``upstream.queue.Waiter``).

    :ivar client_ip: who is connected, or for whom a proxy is; empty on a UNIX socket.
    """

    def __init__(self, proxy: StreamProxy, address: IAddress) -> None:
        self._proxy = proxy
        self._address = address
        self.client_ip: bytes = getattr(address, "host", "").encode("ascii")
        self._tried: set[Any] = set()
        self._held: list[bytes] = []
        self._read_ended = False
        self._connecting: Deferred[Any] | None = None
        self._peer: Any = None
        self._lost = False
        self._relay: Relay

    def connectionMade(self) -> None:
        """
        Find a peer.
        """
        self._attempt(None)

    def _attempt(self, last: ProxyError | None) -> None:
        """
        Try the next peer.

        :param last: why the one before could not be reached.
        """
        proxy = self._proxy
        upstream = proxy.upstream
        peer = upstream.pick(self, self._tried)
        if peer is None:
            error = upstream.wait(self, self._tried, last)
            if error is not None:
                self.give_up(error)
            return
        self._peer = peer
        peer.begun += 1
        if upstream.attentive:
            upstream.begin(peer)
        if last is not None:
            proxy.failovers += 1
            proxy.log.info("{client}: {error}; trying another", client=self._address, error=last)
        self._tried.add(peer)
        self._relay = Relay(proxy.ticker, proxy.timeouts.idle, self._ended)
        connect = proxy.timeouts.connect
        if connect is None:
            timeout, setting = upstream.connect_timeout, upstream.connect_setting
        else:
            timeout, setting = connect, f"proxy.timeouts.connect = {connect}"
        preface = None
        if upstream.proxy_protocol:
            here, there = end_of(self._address), end_of(self.transport.getHost())  # type: ignore[union-attr]
            preface = announcement(upstream.proxy_protocol, here, there)
        connecting = self._connecting = peer.connect(_ForPeer(self._relay), timeout, setting, preface)
        connecting.addCallbacks(self._connected, self._not_connected, (peer,), None, (peer,))
        connecting.addErrback(self._fault)

    def _connected(self, _: Any, peer: Any) -> None:
        proxy = self._proxy
        self._connecting = None
        proxy.upstream.succeeded(peer)
        if proxy.upstream.attentive:
            proxy.upstream.joined(peer)
        proxy.joined += 1
        relay = self._relay
        hand_over(self, relay.left)
        if self._held:
            relay.left.dataReceived(b"".join(self._held))
            self._held.clear()
        if self._read_ended:
            relay.left.readConnectionLost()

    def _not_connected(self, failure: Failure, peer: Any) -> None:
        self._connecting = None
        error = failure.value
        if self._lost:  # it is we who have cancelled
            return
        if not isinstance(error, ProxyError):
            failure.raiseException()
        self._proxy.upstream.failed(peer, error)
        self._done()
        self._attempt(error)

    def place_free(self) -> None:
        """
        Called by the queue of the upstream (``upstream.queue.Waiter``): a server has room again.
        """
        self._attempt(None)

    def _done(self) -> None:
        """
        The peer has nothing more to do for us.
        """
        peer, self._peer = self._peer, None
        if peer is not None:
            upstream = self._proxy.upstream
            peer.ended += 1
            if upstream.attentive:
                upstream.done(peer)

    def give_up(self, error: ProxyError) -> None:
        """
        There is no peer for this client.
        """
        proxy = self._proxy
        proxy.failed += 1
        proxy.log.warn("{client} was not served: {error}", client=self._address, error=error)
        # Not an orderly end: nobody is to take it for an empty answer.
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _fault(self, failure: Failure) -> None:
        """
        A fault of ours, or of a plugin's.
        """
        self._proxy.log.failure("a connection failed", failure=failure)
        self._done()
        self.give_up(ProxyError("proxy_internal_error", type(failure.value).__name__))

    def _ended(self, relay: Relay) -> None:
        self._done()
        proxy = self._proxy
        proxy.from_clients += relay.left.received
        proxy.from_peers += relay.right.received
        word = _WORDS.get(relay.reason)
        if word is not None:
            proxy.log.info("{client}: {word}", client=self._address, word=word)

    def dataReceived(self, data: bytes) -> None:
        """
        The client is early.
        """
        self._held.append(data)
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        """
        The client has said all it has to say, and may still wait for an answer.
        """
        self._read_ended = True

    def writeConnectionLost(self) -> None:
        """
        Never asked for.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client did not wait.
        """
        self._lost = True
        if self._connecting is not None:
            self._proxy.left += 1
            self._connecting.cancel()
            self._done()
        elif self._peer is None:
            self._proxy.upstream.leave(self)
