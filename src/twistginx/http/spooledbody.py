"""
The body of a request that has been taken whole, in memory or in a file without a name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import IO, Final

from twistginx.errors import ProxyError
from twistginx.http.body import BodyReceiver
from twistginx.http.identity import IdentityNames
from twistginx.http.message import Fields
from twistginx.net.timers import Ticker

#: Bytes of one read, and how many there are in one turn of the reactor.
_READ: Final = 131072
_TURN: Final = 8


class SpooledBody:
    """
    It has all that a body has that is still arriving (``http.body.RequestBody``), and can be taken more than once.

    :ivar length: in bytes; None when it is to be sent chunked, because it has trailers.
    :ivar received: bytes.
    :ivar started: never: whoever begins to take it, begins at the beginning.
    :ivar trailers: what came behind it.
    :ivar whole: always: it can be taken again.
    """

    __slots__ = (
        "_delivering",
        "_fail",
        "_file",
        "_offset",
        "_paused",
        "_pieces",
        "_receiver",
        "_release",
        "_ticker",
        "ended",
        "length",
        "limit",
        "received",
        "trailers",
        "unsayable",
    )

    complete = True
    blocked = False
    started = False
    whole = True

    def __init__(
        self,
        pieces: Sequence[bytes],
        file: IO[bytes] | None,
        size: int,
        trailers: Fields,
        ticker: Ticker,
        release: Callable[[], None],
        fail: Callable[[ProxyError], None],
    ) -> None:
        """
        :param pieces: all of it, when there is no file.
        :param file: is closed with the body.
        :param release: called when it is closed.
        :param fail: called when it cannot be read.
        """
        self._pieces = list(pieces)
        self._file = file
        self._ticker = ticker
        self._release = release
        self._fail = fail
        self._receiver: BodyReceiver | None = None
        self._offset = 0  # bytes, or pieces where there is no file
        self._paused = False
        self._delivering = False
        self.ended = False
        self.length = None if trailers else size
        self.limit: int | None = None
        self.unsayable: IdentityNames | None = None  # what no trailer says: they came through a body that saw to it
        self.received = size
        self.trailers = trailers

    def start(self, receiver: BodyReceiver) -> None:
        """
        Deliver to ``receiver`` from the beginning; what it takes at once is delivered before this returns.
        """
        self._receiver = receiver
        self._offset = 0
        self._paused = False
        self.ended = False
        self._deliver()

    def pause(self) -> None:
        """
        Deliver nothing until ``resume``.
        """
        self._paused = True

    def resume(self) -> None:
        """
        Go on.
        """
        self._paused = False
        self._deliver()

    def discard(self) -> None:
        """
        Nobody wants it any more: it is gone.  Again does nothing.
        """
        self._receiver = None
        self._pieces.clear()
        file, self._file = self._file, None
        if file is not None:
            file.close()
        release, self._release = self._release, _nothing
        release()

    def _deliver(self) -> None:
        """
        Hand on what is wanted, for one turn.
        """
        receiver = self._receiver
        if self._delivering or receiver is None or self.ended:
            return
        self._delivering = True
        try:
            for _ in range(_TURN):
                if self._paused or self._receiver is not receiver:
                    break
                data = self._next()
                if data is None:
                    return
                if not data:
                    self.ended = True
                    receiver.body_end(self.trailers)
                    return
                receiver.body_data(data)
        finally:
            self._delivering = False
        if self._receiver is not receiver:  # it was started anew, or dropped, by whoever took it
            self._deliver()
        elif not self._paused:
            self._ticker.soon(self._deliver)

    def _next(self) -> bytes | None:
        """
        The next bytes; empty behind the last; None when they cannot be read.
        """
        if self._file is None:
            self._offset += 1
            return self._pieces[self._offset - 1] if self._offset <= len(self._pieces) else b""
        try:
            data = os.pread(self._file.fileno(), min(_READ, self.received - self._offset), self._offset)
        except OSError as error:
            self._fail(ProxyError("proxy_internal_error", f"reading a spooled body: {error.strerror}"))
            return None
        self._offset += len(data)
        return data


def _nothing() -> None:
    pass
