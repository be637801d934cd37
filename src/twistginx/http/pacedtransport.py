"""
Responses at no more than so many bytes a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from twistginx.http.pacing import Ask, Pace
from twistginx.net.timers import NEVER, Ticker


class PacedTransport(Pace):
    """
    Stands between a channel and its transport, and holds back what is written too early.

    The channel is paused while there is enough for a quarter of a second, so that what is held is little more than the
    channel's source writes in one turn.  It goes away when the response has ended and all of it is sent; the next one
    has its own.
    """

    __slots__ = (
        "_channel",
        "_closing",
        "_ended",
        "_flowing",
        "_free",
        "_full",
        "_held",
        "_holding",
        "_paused",
        "_quantum",
        "_transport",
        "_unregistered",
    )

    #: Files are sent by reads.
    send_file = None

    def __init__(self, channel: Any, ticker: Ticker, seconds: Callable[[], float]) -> None:
        super().__init__((), ticker, seconds)
        self._channel = channel
        self._transport = channel.transport
        self._held: deque[bytes] = deque()
        self._holding = 0  # bytes
        self._free: float = inf  # bytes that may be sent now
        self._quantum = 0  # bytes that are asked for at once
        self._flowing = False
        self._full = False  # the client does not read
        self._paused = False  # the channel is
        self._ended = False
        self._closing: Callable[[], object] | None = None
        self._unregistered = False
        self._transport.unregisterProducer()
        self._transport.registerProducer(_Room(self), True)
        channel.transport = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def add(self, ask: Ask, rate: int, free: int) -> None:
        """
        One more limit.

        :param rate: bytes a second.
        :param free: bytes that are sent before it begins.
        """
        self._asks = (*self._asks, ask)
        quantum = max(1024, rate // 4)
        self._quantum = min(self._quantum, quantum) if self._quantum else quantum
        self._free = min(self._free, free)

    # What the channel calls.

    def write(self, data: bytes) -> None:
        """
        Send it, when it is time.
        """
        if not self._held and len(data) <= self._free:
            self._free -= len(data)
            self._transport.write(data)
        elif data:
            self._held.append(data)
            self._holding += len(data)
            self._flow()

    def writeSequence(self, pieces: list[bytes]) -> None:
        """
        The same.
        """
        self.write(b"".join(pieces))

    def unsent(self) -> int:
        """
        The number of bytes that the kernel has not taken yet.
        """
        below = getattr(self._transport, "unsent", None)
        return self._holding + (0 if below is None else below())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        The channel is it already.
        """
        raise RuntimeError("a paced transport has its producer")

    def unregisterProducer(self) -> None:
        """
        The channel wants to hear no more.
        """
        self._unregistered = True
        if not self._held:
            self._transport.unregisterProducer()

    def loseConnection(self) -> None:
        """
        Close when all is sent.
        """
        self._close(self._transport.loseConnection)

    def loseWriteConnection(self) -> None:
        """
        The same for our half.
        """
        half_close = getattr(self._transport, "loseWriteConnection", None)
        if half_close is not None:
            self._close(half_close)

    def abortConnection(self) -> None:
        """
        Close now.
        """
        self.drop()
        self._transport.abortConnection()

    def _close(self, close: Callable[[], object]) -> None:
        if self._held:
            self._closing = close
        else:
            close()

    def end(self) -> None:
        """
        The response has ended: go away when it is sent.
        """
        self._ended = True
        if self._channel not in self._channel.listener.connections:
            self.drop()  # the client is gone
        elif not self._held and not self._full:
            self._leave()
        else:
            self._pass_on()

    # What the transport tells.

    def fill(self, full: bool) -> None:
        """
        The client does not read, or reads again.
        """
        self._full = full
        if full:
            self._pass_on()
        else:
            self._flow()

    def drop(self) -> None:
        """
        The connection is gone.
        """
        self._forget()
        self._held.clear()
        self._holding = 0
        self._closing = None
        self._unregistered = True

    # The flow.

    def _flow(self) -> None:
        """
        Send what may be sent, and ask for more.
        """
        if self._flowing:
            return
        self._flowing = True
        while self._held and not self._full:
            if self._free > 0:
                self._send()
            elif not self._want():
                break
        self._flowing = False
        if self._held:
            self._pass_on()
            return
        closing, self._closing = self._closing, None
        if self._unregistered:
            self._transport.unregisterProducer()
        if closing is not None:
            closing()
        elif self._ended and not self._full:
            self._leave()
        else:
            self._pass_on()

    def _want(self) -> bool:
        """
        Ask for more.

        :return: False when there is nothing to ask for now.
        """
        if self._asked:
            # What was written since is asked for as well, unless the answer itself is still to come.
            more = min(self._quantum, self._holding) - self._size
            if more <= 0 or self.deadline == NEVER:
                return False
            self._ask(more)
            return True
        if self._holding < self._quantum:
            self._flowing = False
            self._pass_on()  # so that more is asked for than the end of what was read last
            self._flowing = True
        if not self._asked:
            self._ask(min(self._quantum, self._holding))
        return True

    def _send(self) -> None:
        data = self._held.popleft()
        free = int(min(self._free, len(data)))
        if free < len(data):
            self._held.appendleft(data[free:])
            data = data[:free]
        self._free -= free
        self._holding -= free
        self._transport.write(data)

    def _given(self, size: int) -> None:
        if self._channel not in self._channel.listener.connections:
            self.drop()
            return
        self._free = size
        if not self._flowing:
            self._flow()
            if self._held and not self._full:
                self._channel.pace()

    def _pass_on(self) -> None:
        """
        Have the channel know whether there is room.
        """
        # When the response has ended, no other one begins before it is sent.
        paused = self._full or (bool(self._held) if self._ended else self._holding >= self._quantum)
        if paused is self._paused or self._unregistered:
            return
        self._paused = paused
        if paused:
            self._channel.pauseProducing()
        else:
            self._channel.resumeProducing()

    def _leave(self) -> None:
        """
        The channel has its transport for itself again.
        """
        self._forget()
        channel, transport = self._channel, self._transport
        if channel.transport is not self:
            return
        channel.transport = transport
        if self._unregistered:
            return
        transport.unregisterProducer()
        transport.registerProducer(channel, True)
        if self._paused:
            channel.resumeProducing()


@implementer(IPushProducer)
class _Room:
    """
    The transport's producer: hears whether there is room.  Apart from the paced transport, whose own methods of these
    names are the transport's, and about reading.
    """

    __slots__ = ("_paced",)

    def __init__(self, paced: PacedTransport) -> None:
        self._paced = paced

    def pauseProducing(self) -> None:
        self._paced.fill(full=True)

    def resumeProducing(self) -> None:
        self._paced.fill(full=False)

    def stopProducing(self) -> None:
        self._paced.drop()
