"""
A request's body that can be sent a second time, as long as it is small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twistginx.http.message import Fields

if TYPE_CHECKING:
    from twistginx.http.body import BodyReceiver
    from twistginx.http.upload import BodySource


class Replay:
    """
    Stands between a body and whoever sends it, and keeps what has passed.

    :ivar whole: all that has passed is kept, so that it can be sent again.
    """

    __slots__ = ("_body", "_bound", "_kept", "_receiver", "_size", "_started", "_trailers", "whole")

    def __init__(self, body: BodySource, bound: int) -> None:
        """
        :param bound: bytes that are kept, at most.
        """
        self._body = body
        self._bound = bound
        self._kept: list[bytes] = []
        self._receiver: BodyReceiver | None = None
        self._size = 0
        self._started = False
        self._trailers: Fields | None = None
        self.whole = True

    # For whoever sends it.

    def start(self, receiver: BodyReceiver) -> None:
        """
        Deliver to ``receiver`` from now on: first what has passed already, then what comes.
        """
        self._receiver = receiver
        if not self._started:
            self._started = True
            self._body.start(self)
            return
        for data in tuple(self._kept):
            receiver.body_data(data)
        if self._trailers is not None:
            receiver.body_end(self._trailers)
        else:
            self._body.resume()

    def pause(self) -> None:
        """
        Deliver nothing until ``resume``.
        """
        self._body.pause()

    def resume(self) -> None:
        """
        Go on.
        """
        self._body.resume()

    # The body's receiver.

    def body_data(self, data: bytes) -> None:
        """
        The next bytes.
        """
        if self.whole:
            self._size += len(data)
            if self._size > self._bound:
                self.whole = False
                self._kept.clear()
            else:
                self._kept.append(data)
        if self._receiver is not None:
            self._receiver.body_data(data)

    def body_end(self, trailers: Fields) -> None:
        """
        The body is complete.
        """
        self._trailers = trailers
        if self._receiver is not None:
            self._receiver.body_end(trailers)
