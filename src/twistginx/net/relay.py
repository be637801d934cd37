"""
Two connections that became one: bytes of either go to the other until both have ended.

It does not know what the bytes are.  Streams use it, and tunnels that began as HTTP (WebSocket).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ISSLTransport, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.net.timers import NEVER, Ticker
from twistginx.net.tlslayer import TLSLayer

#: Why a relay ended: in order; nothing moved for too long; we cut it; one of the sides was cut off.
DONE: Final = "done"
IDLE: Final = "idle"
ABORTED: Final = "aborted"
LEFT_BROKE: Final = "left_broke"
RIGHT_BROKE: Final = "right_broke"

#: Seconds to send what is left, for a relay that was idle.
_LINGER: Final = 5.0


class Relay:
    """
    Joins the transport of ``left`` and that of ``right``.

    Give each end to its transport, in any order: as the protocol that a factory builds, or by ``net.handover``.  The
    first waits, paused, for the second.  Whoever had a transport before has unregistered its producer; each transport
    becomes the producer of the other, so that it is paused while the other is full.

    An end of file on one side becomes a half-close of the other; where the transport has no half-close, it is closed.
    When both sides have ended, both are closed.  A side that is cut off has the other one aborted, so that nobody takes
    a part for the whole.

    :ivar left: a protocol; by custom the client's side.
    :ivar right: a protocol; by custom the upstream's side.
    :ivar idle: seconds without a byte in either direction after which it is closed.
    :ivar reason: why it ended, one of the words above; empty while it has not.
    """

    __slots__ = ("_joined", "_on_end", "deadline", "idle", "left", "reason", "right", "ticker")

    def __init__(self, ticker: Ticker, idle: float, on_end: Callable[[Relay], object] | None = None) -> None:
        """
        :param on_end: is called once, when both sides are gone, or one while the other has not come.
        """
        self.ticker = ticker
        self.idle = idle
        self.deadline = NEVER
        self.reason = ""
        self.left = self.end_of(LEFT_BROKE)
        self.right = self.end_of(RIGHT_BROKE)
        self.left.other, self.right.other = self.right, self.left
        self._on_end = on_end
        self._joined = False

    def end_of(self, broke: str) -> RelayEnd:
        """
        A new end; ``broke`` is the reason when it breaks.
        """
        return RelayEnd(self, broke)

    def abort(self) -> None:
        """
        Cut both sides.
        """
        self.reason = self.reason or ABORTED
        for end in (self.left, self.right):
            if end.transport is not None and not end.lost:
                end.transport.abortConnection()

    def deadline_passed(self) -> None:
        """
        Nothing moved: close; and if the rest cannot be sent either, cut.
        """
        if self.reason:
            self.abort()
            return
        self.reason = IDLE
        self.deadline = self.ticker.now + _LINGER
        for end in (self.left, self.right):
            if not end.lost:
                end.transport.unregisterProducer()
                end.transport.loseConnection()

    # What the ends tell.

    def _connected(self, end: RelayEnd) -> None:
        if end.other.lost:
            end.transport.abortConnection()
        elif end.other.transport is None:
            end.transport.pauseProducing()
        else:
            self._join()

    def _join(self) -> None:
        self._joined = True
        self.ticker.watch(self)
        self.deadline = self.ticker.now + self.idle
        ends = (self.left, self.right)
        for end in ends:
            end.join()
        for end in ends:
            if end.read_ended and not end.lost:
                self._pass_on_end(end)

    def _read_ended(self, end: RelayEnd) -> None:
        end.read_ended = True
        if self._joined:
            self._pass_on_end(end)

    def _pass_on_end(self, end: RelayEnd) -> None:
        other = end.other
        if other.lost:
            return
        other.transport.unregisterProducer()
        if not other.read_ended:
            _half_close(other.transport)
            return
        for each in (other, end):
            each.transport.loseConnection()

    def _lost(self, end: RelayEnd, error: BaseException | None) -> None:
        other = end.other
        clean = isinstance(error, ConnectionDone)
        if not self.reason:
            self.reason = DONE if clean else ABORTED if isinstance(error, ConnectionAborted) else end.broke
        if other.transport is not None and not other.lost:
            # The cut goes first: to unregister the producer could let the transport say that it ends in order.
            if not clean:
                other.transport.abortConnection()
            if self._joined and not end.read_ended:
                other.transport.unregisterProducer()
            other.transport.loseConnection()
            return
        self.deadline = NEVER
        self.ticker.forget(self)
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)


@implementer(IProtocol, IHalfCloseableProtocol)
class RelayEnd:
    """
    The protocol on one side of a relay.

    :ivar received: bytes that were read on this side.
    :ivar transport: None before it has one.
    :ivar broke: the relay's reason, should this side be cut off.
    """

    __slots__ = (
        "__weakref__",
        "_held",
        "_send",
        "broke",
        "factory",
        "lost",
        "other",
        "read_ended",
        "received",
        "relay",
        "transport",
    )

    other: RelayEnd

    #: For the log.
    doing = "in a tunnel"

    def __init__(self, relay: Relay, broke: str) -> None:
        self.relay = relay
        self.broke = broke
        self.factory: object = None
        self.transport: Any = None
        self.received = 0
        self.read_ended = False
        self.lost = False
        self._held: list[bytes] = []
        self._send: Callable[[bytes], object] = self._held.append  # until there is somewhere to send it

    def makeConnection(self, transport: ITransport) -> None:
        """
        This side has its transport.
        """
        self.transport = transport
        self.relay._connected(self)

    def connectionMade(self) -> None:
        """
        Nothing: ``makeConnection`` has done it.
        """

    def join(self) -> None:
        """
        The other side has its transport too.
        """
        self._send = self.other.transport.write
        self.other.transport.registerProducer(self.transport, True)
        # First this: what was held may fill the other side, which pauses us.
        self.transport.resumeProducing()
        if self._held:
            self._send(b"".join(self._held))
            self._held.clear()

    def dataReceived(self, data: bytes) -> None:
        """
        The whole work.  What came before the other side did is held; that is what one read has brought, at most.
        """
        relay = self.relay
        self.received += len(data)
        relay.deadline = relay.ticker.now + relay.idle
        self._send(data)

    def readConnectionLost(self) -> None:
        """
        This side sends no more.
        """
        self.relay._read_ended(self)

    def writeConnectionLost(self) -> None:
        """
        The end of file that was passed on has been sent.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        This side is gone.
        """
        self.lost = True
        self.relay._lost(self, reason.value)

    def drain(self) -> None:
        """
        Nothing: the work of a relay is done when its sides say so.
        """


def _half_close(transport: Any) -> None:
    if isinstance(transport, TLSLayer):
        transport.loseWriteConnection()
    elif ISSLTransport.providedBy(transport) or getattr(transport, "TLS", False):
        # Twisted's own TLS would half-close the socket below it, which is to cut the connection off.
        transport.loseConnection()
    else:
        getattr(transport, "loseWriteConnection", transport.loseConnection)()
