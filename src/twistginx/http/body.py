"""
The body of a request, on its way from the wire to whoever wants it.  Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twistginx.http.identity import IdentityNames
from twistginx.http.message import Fields


class BodyReceiver(Protocol):
    """
    Who takes a body as it arrives.
    """

    def body_data(self, data: bytes) -> None:
        """
        The next bytes; never empty.
        """

    def body_end(self, trailers: Fields) -> None:
        """
        The body is complete.
        """


class RequestBody:
    """
    A body that is still arriving.

    The parser puts bytes in, ``deliver`` takes them out, outside the parser's callbacks.  While nobody takes them
    they are held; the channel stops reading as long as anything is held, so that it is one read's worth at most.

    :ivar length: in bytes, as announced; None when it is chunked.
    :ivar received: bytes that have arrived.
    :ivar limit: more than this is refused by the channel.
    :ivar unsayable: the ``http.identity.IdentityNames`` of what no trailer may say either; None: there are none.
    :ivar complete: the last byte has arrived.
    :ivar ended: the receiver has been told so.
    :ivar whole: never: what has been taken is gone.
    """

    __slots__ = (
        "_delivering",
        "_held",
        "_notify",
        "_paused",
        "_receiver",
        "complete",
        "ended",
        "length",
        "limit",
        "received",
        "trailers",
        "unsayable",
    )

    whole = False

    def __init__(self, length: int | None) -> None:
        self._delivering = False
        self._held: deque[bytes] = deque()
        self._notify: Callable[[], None] | None = None
        self._paused = False
        self._receiver: BodyReceiver | None = None
        self.complete = False
        self.ended = False
        self.length = length
        self.limit: int | None = None
        self.unsayable: IdentityNames | None = None
        self.received = 0
        self.trailers = Fields()

    @property
    def started(self) -> bool:
        """
        Somebody takes it, or has.
        """
        return self._receiver is not None

    # The parser's side.

    def put(self, data: bytes) -> None:
        """
        Bytes have arrived.
        """
        self.received += len(data)
        self._held.append(data)

    # The channel's side.

    @property
    def blocked(self) -> bool:
        """
        Are there bytes that nobody takes now?
        """
        return bool(self._held)

    def watch(self, notify: Callable[[], None]) -> None:
        """
        ``notify`` is called when the receiver is ready for bytes: it has started, or resumed.
        """
        self._notify = notify

    def deliver(self) -> None:
        """
        Hand on what is held, as far as it is wanted.

        The receiver may pause, resume and even end the request meanwhile; whatever it raises is the caller's to catch.
        """
        if self._receiver is None or self._delivering:
            return
        held = self._held
        self._delivering = True
        try:
            while held and not self._paused:
                self._receiver.body_data(held.popleft())
            if self.complete and not held and not self.ended and not self._paused:
                self.ended = True
                if self.trailers and self.unsayable is not None:
                    self.trailers[:] = self.unsayable.without(self.trailers)
                self._receiver.body_end(self.trailers)
        finally:
            self._delivering = False

    def discard(self) -> None:
        """
        Nobody wants the rest: it is dropped as it arrives.
        """
        self._receiver = _NOBODY
        self._notify = None
        self._paused = False
        self._held.clear()
        self.deliver()

    # The receiver's side.

    def start(self, receiver: BodyReceiver) -> None:
        """
        Deliver to ``receiver`` from now on; what has arrived already is delivered before this returns.

        A client that waits for ``100 (Continue)`` is sent it.
        """
        self._receiver = receiver
        if self._notify is not None:
            self._notify()

    def pause(self) -> None:
        """
        Deliver nothing until ``resume``.
        """
        self._paused = True

    def resume(self) -> None:
        """
        Go on; what is held is delivered before this returns.
        """
        self._paused = False
        if self._notify is not None:
            self._notify()


class _Nobody:
    """
    Takes bytes and drops them.
    """

    def body_data(self, data: bytes) -> None:
        pass

    def body_end(self, trailers: Fields) -> None:
        pass


_NOBODY = _Nobody()
