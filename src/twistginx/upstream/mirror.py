"""
Mirroring: some requests are sent to a second upstream as well, whose answers nobody sees.

It is none of the client's business, nor of the first upstream's: what is copied is bounded, and so is how much is under
way and for how long; nothing waits for it, and its failures are counted, and logged once in a while.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from time import monotonic
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.errors import ProxyError, Retry
from twistginx.http.client import ClientConnection, Patience
from twistginx.http.message import Fields, RequestHead, ResponseHead
from twistginx.http.wire import IDEMPOTENT, chunk_size, last_chunk
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream

#: By this a server knows a request that nobody waits for.
_MARK: Final = b"X-Mirror: 1\r\n\r\n"

#: Bytes of an answer that are read, and dropped, so that its connection can be used again.
_READ: Final = 1 << 20

#: Seconds between two lines of the log.
_QUIET: Final = 10.0

_log = Logger(namespace="twistginx.mirror")


class MirrorOptions(Protocol):
    """
    See ``resources.proxy.Mirroring``.
    """

    @property
    def share(self) -> float: ...
    @property
    def body(self) -> int: ...
    @property
    def timeout(self) -> float: ...
    @property
    def in_flight(self) -> int: ...


class Mirror:
    """
    Copies requests of one route to an upstream.

    :ivar sent: copies that were sent.
    :ivar answered: of them, those that were answered, whatever the status.
    :ivar failed: copies that were not, or could not be sent.
    :ivar skipped: requests of which there is no copy: their bodies are too large, or too slow, or there are too many.
    """

    __slots__ = (
        "_applies",
        "_logged",
        "_missed",
        "_options",
        "_patience",
        "_place",
        "_shadows",
        "answered",
        "failed",
        "sent",
        "skipped",
        "ticker",
        "upstream",
    )

    def __init__(
        self,
        upstream: Upstream,
        options: MirrorOptions,
        ticker: Ticker,
        place: str,
        applies: Callable[[Any, bytes], bool] | None = None,
    ) -> None:
        """
        :param place: where it is configured, for the log.
        :param applies: ``(request, path)``: is the request one of those that are copied?  None: all are.
        """
        self.upstream: Final = upstream
        self.ticker: Final = ticker
        self.sent = self.answered = self.failed = self.skipped = 0
        self._options: Final = options
        self._applies: Final = applies
        self._place: Final = place
        # The whole has a limit, which is always the first to pass.
        self._patience: Final = Patience(2 * options.timeout, 2 * options.timeout)
        self._shadows: set[Shadow] = set()
        self._missed = 0
        self._logged = -_QUIET

    def taps(self, request: Any, upstream: Upstream, head: RequestHead, wire: bytes) -> tuple[Shadow, ...]:
        """
        ``request`` is about to be sent to ``upstream``: copy it, perhaps.

        :param head: as it is sent, and ``wire``, the same in bytes.
        :return: what is to see the request's body, the last one of its filters.
        """
        options = self._options
        if (
            (options.share < 1.0 and random() >= options.share)  # noqa: S311  # nobody gains by a guess
            or head.upgrade is not None
            or upstream is self.upstream
            or (self._applies is not None and not self._applies(request, request.matched_path))
        ):
            return ()
        bodied = request.body is not None
        if bodied and head.length is not None and head.length > options.body:
            self.skipped += 1
            return ()
        if len(self._shadows) >= options.in_flight:
            self.skipped += 1
            self.note(f"mirror.in_flight = {options.in_flight}")
            return ()
        shadow = Shadow(self, request, head, wire, options.body, options.timeout)
        self._shadows.add(shadow)
        if bodied:
            return (shadow,)
        self.ticker.soon(shadow.begin)
        return ()

    def report(self) -> dict[str, int]:
        """
        For the state of the upstream; see ``upstream.control``.
        """
        return {
            "sent": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "skipped": self.skipped,
            "in_flight": len(self._shadows),
        }

    # Life.

    def start(self) -> None:
        """
        Be seen in the state of the upstream.
        """
        self.upstream.attendants[f"mirror of {self._place}"] = self

    def stop(self) -> None:
        """
        Break off what is under way: nobody waits for it.
        """
        attendants = self.upstream.attendants
        key = f"mirror of {self._place}"
        if attendants.get(key) is self:
            del attendants[key]
        for shadow in list(self._shadows):
            shadow.drop()

    # What its shadows call.

    @property
    def share(self) -> float:
        """
        The part of the requests that is copied.
        """
        return self._options.share

    @property
    def patience(self) -> Patience:
        return self._patience

    def over(self, shadow: Shadow) -> None:
        """
        There is nothing more to come of this one.
        """
        self._shadows.discard(shadow)

    def note(self, why: str) -> None:
        """
        Say once in a while that requests are not mirrored.
        """
        self._missed += 1
        now = self.ticker.now
        if now - self._logged >= _QUIET:
            self._logged = now
            _log.warn(
                "{place}: {count} requests were not mirrored to {upstream}, the last: {why}",
                place=self._place,
                count=self._missed,
                upstream=self.upstream.name,
                why=why,
            )
            self._missed = 0


class Shadow:
    """
    A copy of one request, on its way.

    It is a filter that sees the body of the request (``interfaces.IBodyFilter``), and then what receives the answer
    (``http.response_parser.ResponseReceiver``).
    """

    __slots__ = (
        "_bound",
        "_chunked",
        "_connecting",
        "_connection",
        "_method",
        "_mirror",
        "_over",
        "_peer",
        "_pieces",
        "_read",
        "_request",
        "_reused",
        "_sent_at",
        "_size",
        "_wire",
        "deadline",
    )

    def __init__(
        self, mirror: Mirror, request: Any, head: RequestHead, wire: bytes, bound: int, timeout: float
    ) -> None:
        """
        :param bound: bytes of body.
        :param timeout: seconds from now to the last byte of the answer.
        """
        self._mirror = mirror
        self._request = request
        self._over = False
        self._method = head.method
        self._chunked = head.length is None
        self._wire = wire[:-2] + _MARK
        self._bound = bound
        self._pieces: list[bytes] = []
        self._size = 0
        self._read = 0
        self._reused = False
        self._sent_at = 0.0
        self._peer: Peer | None = None
        self._connection: ClientConnection | None = None
        self._connecting: Deferred[ClientConnection] | None = None
        self.deadline = NEVER
        mirror.ticker.watch(self)  # first, because the ticker may have slept
        self.deadline = mirror.ticker.now + timeout

    # The body.

    def feed(self, data: bytes) -> bytes:
        """
        Keep a copy, as long as there is room.
        """
        if not self._over:
            self._size += len(data)
            if self._size > self._bound:
                self._skip()
            else:
                self._pieces.append(data)
        return data

    def finish(self) -> bytes:
        """
        The body is complete: send the copy, as soon as all else has been done.
        """
        if not self._over:
            body = b"".join(self._pieces)
            self._pieces.clear()
            if self._chunked:
                body = (chunk_size(body) + body + b"\r\n" if body else b"") + last_chunk(None)
            self._wire += body
            self._mirror.ticker.soon(self.begin)
        return b""

    # The attempt.  There is one: who fails is not asked for again.

    def begin(self) -> None:
        """
        Send it.
        """
        if self._over:
            return
        upstream = self._mirror.upstream
        try:
            peer = upstream.pick(self._request, ())
            if peer is None:
                self._fail("no server has room")
                return
            self._peer = peer
            peer.begun += 1
            if upstream.attentive:
                upstream.begin(peer)
            connection = upstream.take(peer, self._request)
            if connection is None:
                self._connect(peer)
            else:
                self._reused = True
                self._send(connection)
        except Exception:
            self._broke(Failure())

    def _connect(self, peer: Peer) -> None:
        self._reused = False
        self._connecting = connecting = self._mirror.upstream.connect(peer, self._request)
        connecting.addCallbacks(self._connected, self._not_connected)
        connecting.addErrback(self._broke)

    def _connected(self, connection: ClientConnection) -> None:
        self._connecting = None
        self._send(connection)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if failure.check(CancelledError):
            return
        if failure.check(ProxyError) is None:
            failure.raiseException()
        error: Any = failure.value
        assert self._peer is not None
        self._mirror.upstream.failed(self._peer, error)
        self._fail(str(error))

    def _send(self, connection: ClientConnection) -> None:
        self._connection = connection
        if not self._sent_at:  # else it is sent again, on a fresh connection
            self._mirror.sent += 1
        self._sent_at = monotonic()
        connection.send(self._wire, self, self._mirror.patience, self._method == b"HEAD")

    # The answer.

    def response_informational(self, head: ResponseHead) -> None:
        """
        Dropped.
        """

    def response_head(self, head: ResponseHead, more: bool) -> None:
        """
        The server has answered.
        """
        upstream, peer = self._mirror.upstream, self._peer
        assert peer is not None
        upstream.succeeded(peer)
        if upstream.attentive:
            upstream.answered(peer, self._request, head, self._sent_at)

    def response_data(self, data: bytes) -> None:
        """
        Dropped; when it is too much, the connection is given up for it.
        """
        self._read += len(data)
        if self._read > _READ:
            self._mirror.answered += 1
            self.drop()

    def response_end(self, trailers: Fields | None) -> None:
        """
        It has been answered.
        """
        self._connection = None
        self._mirror.answered += 1
        self._end()

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        """
        It has been answered, in one piece.
        """
        self.response_head(head, True)
        self.response_end(None)

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """
        It was not asked for; the connection says so itself.
        """

    def response_failed(self, error: ProxyError) -> None:
        """
        No answer, or not all of it.
        """
        connection, self._connection = self._connection, None
        upstream, peer = self._mirror.upstream, self._peer
        assert connection is not None and peer is not None
        if not self._reused or error.reason.retry is not Retry.REUSED:
            upstream.failed(peer, error)
        else:
            upstream.found_dead(connection)
            if self._method in IDEMPOTENT:
                self._connect(peer)
                return
        self._fail(str(error))

    # Ends.

    def deadline_passed(self) -> None:
        """
        It takes too long, all in all.
        """
        peer = self._peer
        if peer is None:
            self._skip()  # the client is slow, or gone
            return
        error = ProxyError("http_response_timeout", "no whole answer to a mirrored request", "mirror.timeout")
        self._mirror.upstream.failed(peer, error)
        self._fail(str(error))

    def drop(self) -> None:
        """
        Have done with it, wherever it is.
        """
        connection, self._connection = self._connection, None
        connecting, self._connecting = self._connecting, None
        if connection is not None:
            connection.abort()
        if connecting is not None:
            connecting.cancel()
        self._end()

    def _skip(self) -> None:
        self._mirror.skipped += 1
        self._end()

    def _fail(self, why: str) -> None:
        self._mirror.failed += 1
        self._mirror.note(why)
        self.drop()

    def _broke(self, failure: Failure) -> None:
        """
        A fault of ours, or of a plugin's endpoint.
        """
        self._fail(f"{failure.type.__name__ if failure.type else failure}: {failure.getErrorMessage()}")

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self.deadline = NEVER
        self._mirror.ticker.forget(self)
        self._mirror.over(self)
        self._pieces.clear()
        peer, self._peer = self._peer, None
        if peer is not None:
            upstream = self._mirror.upstream
            peer.ended += 1
            if upstream.attentive:
                upstream.done(peer)
