"""
Bytes, at no more than so many a second: the asking, and the bodies of requests.  Responses are in ``pacedtransport``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from twistginx.http.body import BodyReceiver
from twistginx.http.message import Fields
from twistginx.net.timers import NEVER, Ticker

#: ``(bytes)`` to the seconds after which they may be sent, or a Deferred of that.
Ask = Callable[[int], Any]


class Pace:
    """
    Asks several limits, of which the slowest decides.

    :ivar deadline: when the bytes that were asked for may be sent.
    """

    __slots__ = ("_asked", "_asks", "_seconds", "_size", "_ticker", "_waits", "deadline")

    def __init__(self, asks: tuple[Ask, ...], ticker: Ticker, seconds: Callable[[], float]) -> None:
        self._asks = asks
        self._ticker = ticker
        self._seconds = seconds
        self._asked = False  # an answer, or the time for it, is still to come
        self._size = 0  # bytes that were asked for
        self._waits: list[float] = []
        self.deadline = NEVER

    def _ask(self, size: int) -> None:
        """
        ``_given`` is called when ``size`` bytes more may be sent, perhaps at once.
        """
        self._asked = True
        self._size += size
        self._waits = []
        for ask in self._asks:
            wait = ask(size)
            if isinstance(wait, Deferred):
                wait.addBoth(self._told)
            else:
                self._told(wait)

    def _told(self, wait: Any) -> None:
        waits = self._waits
        # A limit that failed holds nothing up: whether that is to be, its store has been asked.
        waits.append(wait if isinstance(wait, (int, float)) else 0.0)
        if len(waits) < len(self._asks) or not self._asked:
            return
        longest = max(waits)
        if longest > 0:
            self.deadline = self._seconds() + longest
            self._ticker.watch(self)
        else:
            self.deadline_passed()

    def deadline_passed(self) -> None:
        """
        Called by the ticker: now.
        """
        size = self._size
        self._forget()
        self._given(size)

    def _forget(self) -> None:
        """
        Nobody waits any more.
        """
        self._asked = False
        self._size = 0
        self.deadline = NEVER
        self._ticker.forget(self)

    def _given(self, size: int) -> None:
        raise NotImplementedError


class PacedBody(Pace):
    """
    The body of a request, taken no faster than it may come; the client is not read from meanwhile.

    It has all that the body has (``http.body.RequestBody``).
    """

    __slots__ = ("_body", "_paused", "_receiver")

    def __init__(self, body: Any, ticker: Ticker, seconds: Callable[[], float]) -> None:
        super().__init__((), ticker, seconds)
        self._body: Final = body
        self._receiver: BodyReceiver | None = None
        self._paused = False  # by the receiver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    @property
    def limit(self) -> int | None:
        """
        See ``RequestBody``; a route that the request is given to sets its own.
        """
        limit: int | None = self._body.limit
        return limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._body.limit = limit

    def add(self, ask: Ask) -> None:
        """
        One more limit.
        """
        self._asks = (*self._asks, ask)

    def start(self, receiver: BodyReceiver) -> None:
        """
        See ``RequestBody``.
        """
        self._receiver = receiver
        self._body.start(self)

    def pause(self) -> None:
        """
        See ``RequestBody``.
        """
        self._paused = True
        self._body.pause()

    def resume(self) -> None:
        """
        See ``RequestBody``.
        """
        self._paused = False
        if not self._asked:
            self._body.resume()

    def discard(self) -> None:
        """
        See ``RequestBody``.
        """
        self._forget()
        self._body.discard()

    def body_data(self, data: bytes) -> None:
        """
        It has come already; what comes next waits until this may have come.
        """
        self._ask(len(data))
        if self._asked:
            self._body.pause()
        self._receiver.body_data(data)  # type: ignore[union-attr]  # it was given before

    def body_end(self, trailers: Fields) -> None:
        """
        It is complete.
        """
        self._forget()
        self._receiver.body_end(trailers)  # type: ignore[union-attr]  # see above

    def _given(self, size: int) -> None:
        if not self._paused:
            self._body.resume()
