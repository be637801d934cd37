"""
A tunnel of WebSocket frames (RFC 6455), which can be ended so that the client knows why, and comes again.
"""

from __future__ import annotations

import os
from typing import Any, Final

from twisted.internet.error import ConnectionDone

from twistginx.net.relay import DONE, Relay, RelayEnd

#: Close, with status 1001, "going away": to a client, and to a server (masked, as all from a client; section 5.3).
_GOING_AWAY: Final = b"\x03\xe9"
_CLOSE: Final = b"\x88\x02" + _GOING_AWAY

#: Seconds for the client to answer the close.
_LINGER: Final = 5.0

#: Bytes of a frame's head, by the low seven bits of its second byte, where it is not 2.
_LONG_HEADS: Final = {126: 4, 127: 10}


class Frames:
    """
    Counts its way through the frames of one direction (section 5.2).

    :ivar whole: has every frame that began ended?  Control frames may come between the frames of a message, so that is
        where one can be put.
    """

    __slots__ = ("_head", "_rest")

    def __init__(self) -> None:
        self._head = b""  # of a frame whose head is not whole yet
        self._rest = 0  # bytes of the frame that are to come

    @property
    def whole(self) -> bool:
        return not self._rest and not self._head

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes.
        """
        rest, size = self._rest, len(data)
        if rest >= size:
            self._rest = rest - size
            return
        if self._head:
            data = self._head + data
            self._head = b""
            size = len(data)
        while size - rest >= 2:
            second = data[rest + 1]
            length = second & 0x7F
            head = _LONG_HEADS.get(length, 2)
            if size - rest < head:
                break
            if head > 2:
                length = int.from_bytes(data[rest + 2 : rest + head], "big")
            rest += head + length + (4 if second & 0x80 else 0)
            if rest >= size:
                self._rest = rest - size
                return
        self._head = data[rest:]
        self._rest = 0


class WebSocketRelay(Relay):
    """
    A relay that says goodbye to both sides when it is drained: at the end of the frame that is on its way, if there is
    one.
    """

    __slots__ = ("_gone",)

    def __init__(self, *args: Any) -> None:
        """
        See :class:`Relay`.
        """
        self._gone = False
        super().__init__(*args)

    def end_of(self, broke: str) -> RelayEnd:
        """
        See :class:`Relay`.
        """
        return _WebSocketEnd(self, broke)

    def go_away(self) -> None:
        """
        Close, if both directions are between two frames.
        """
        left: Any = self.left
        right: Any = self.right
        if not (left.going and left.frames.whole and right.frames.whole) or self.reason or left.lost or right.lost:
            return
        mask = os.urandom(4)
        masked = bytes(byte ^ key for byte, key in zip(_GOING_AWAY, mask, strict=False))
        left.transport.write(_CLOSE)
        right.transport.write(b"\x88\x82" + mask + masked)
        for end in (left, right):
            end.mute()  # after a close, no more data (section 5.5.1)
        self._gone = True
        self.reason = DONE
        self.deadline = self.ticker.now + _LINGER

    def _lost(self, end: RelayEnd, error: BaseException | None) -> None:
        # Who has been told is not cut off, however the other one takes it.
        super()._lost(end, ConnectionDone() if self._gone else error)


class _WebSocketEnd(RelayEnd):
    """
    One side; it knows where a frame ends.

    :ivar going: are we to go away?
    """

    __slots__ = ("frames", "going")

    relay: WebSocketRelay

    def __init__(self, relay: Relay, broke: str) -> None:
        super().__init__(relay, broke)
        self.frames = Frames()
        self.going = False

    def dataReceived(self, data: bytes) -> None:
        """
        See :class:`RelayEnd`.
        """
        self.frames.feed(data)
        super().dataReceived(data)
        if self.relay.left.going:  # type: ignore[attr-defined]  # it is one of these
            self.relay.go_away()

    def drain(self) -> None:
        """
        Close, now or at the end of a frame.
        """
        self.relay.left.going = True  # type: ignore[attr-defined]  # it is one of these
        self.relay.go_away()

    def mute(self) -> None:
        """
        What comes from this side goes nowhere.
        """
        self._send = _nowhere


def _nowhere(data: bytes) -> None:
    pass
