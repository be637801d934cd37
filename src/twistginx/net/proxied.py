"""
Connections that a proxy makes for somebody else: its PROXY header is read before anything, TLS too.

Nothing stands between afterwards.  What the header says is given to the transport below, and the protocol that comes
next is built when the client's address is known, so that it costs nothing per read.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from twistginx.config.networks import UNIX, NetworkSet
from twistginx.net.handover import hand_over
from twistginx.net.proxyprotocol import NotProxyHeader, ProxyHeader, ProxyHeaderReader
from twistginx.net.timers import NEVER, Ticker


@frozen
class ProxyProtocol:
    """
    The PROXY protocol, for a listener.  Immutable: a reload makes another.

    :ivar peers: who must send a header; nobody else may connect, since anybody could write one.
    :ivar timeout: seconds that a header may take.
    """

    peers: NetworkSet
    ticker: Ticker
    timeout: float = 10.0

    def admits(self, address: IAddress) -> bool:
        """
        Is ``address`` that of one who may connect?
        """
        return self.peers.contains(getattr(address, "host", None) or UNIX)

    def wrap(self, listener: Any, address: IAddress) -> ProxiedConnection:
        """
        The protocol of an accepted connection.
        """
        return ProxiedConnection(self, listener, address)


class ProxiedConnection(Protocol):
    """
    A connection until its header has been read; then the listener's next protocol has it.

    :ivar address: of the proxy.
    """

    transport: Any
    proxied = True  # whose it is has yet to be said

    def __init__(self, settings: ProxyProtocol, listener: Any, address: IAddress) -> None:
        self.listener = listener
        self.address = address
        self.deadline = NEVER
        self._settings = settings
        self._reader = ProxyHeaderReader()
        self._ended = False

    def connectionMade(self) -> None:
        """
        The header comes first, whoever speaks first in the protocol behind it.
        """
        self.listener.connections.add(self)
        ticker = self._settings.ticker
        ticker.watch(self)
        self.deadline = ticker.now + self._settings.timeout

    def dataReceived(self, data: bytes) -> None:
        """
        The header, and what comes with it.
        """
        if self._ended:
            return
        try:
            header = self._reader.feed(data)
        except NotProxyHeader as error:
            self._refuse("proxy_protocol_error", str(error))
        else:
            if header is not None:
                self._hand_on(header)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The proxy is gone.  One that has said nothing has only looked whether we are there.
        """
        ended = self._ended
        self._end()
        if not ended and self._reader.received:
            self._note("proxy_protocol_error", "the header was broken off")

    def deadline_passed(self) -> None:
        """
        Called by the ticker.
        """
        seconds = self._settings.timeout
        self._refuse("proxy_protocol_timeout", f"no PROXY header within timeouts.header = {seconds:g}s")

    def drain(self) -> None:
        """
        Who comes here has something to ask, and is told to go after that, where there is time.
        """
        if not self.listener.parting:
            self.transport.loseConnection()

    def _end(self) -> None:
        self._ended = True
        self._settings.ticker.forget(self)
        self.listener.connections.discard(self)

    def _note(self, word: str, why: str) -> None:
        self.listener.refusals.note(word, self.address, why)

    def _refuse(self, word: str, why: str) -> None:
        self._end()
        self._note(word, why)
        self.transport.abortConnection()

    def _hand_on(self, header: ProxyHeader) -> None:
        self._end()
        transport = self.transport
        address = self.address
        if header.source is not None:
            address = stand_for(transport, header)
        protocol = self.listener.protocol_for(address, header)
        if protocol is None:
            transport.loseConnection()
            return
        hand_over(self, protocol)
        rest = self._reader.rest
        if rest:
            protocol.dataReceived(rest)


def stand_for(transport: Any, header: ProxyHeader) -> IAddress:
    """
    From now on the addresses of ``transport`` are those of a header that has some.

    They are put on the object itself, which works for every transport of Twisted's and of ours, and puts no other
    object in between.

    :return: the client's address.
    """
    peer, host = _address_of(header.source), _address_of(header.destination)
    transport.getPeer = lambda: peer
    transport.getHost = lambda: host
    return peer


def _address_of(end: Any) -> IAddress:
    if isinstance(end, bytes):
        return UNIXAddress(end or None)
    host, port = end
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
