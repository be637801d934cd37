"""
A request of our own, whole, and its answer, whole: what health checks, discovery, forward authentication and key sets
ask for.

Both are bounded: the answer in bytes, and all of it in time.  Connections are those of the upstream's pool, so that who
asks often does not connect often::

    asked = fetch(Question(b"GET", b"/verify", Fields.of([(b"Host", b"auth.local")])), upstream, ticker, Bounds(5.0))
    asked.addCallback(lambda answer: answer.status)

What may be sent a second time is what ``resources.exchange`` says of requests that are passed on.
"""

from __future__ import annotations

from collections.abc import Collection
from time import monotonic
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twistginx.errors import ProxyError, Retry
from twistginx.http.client import ClientConnection, Patience
from twistginx.http.message import Fields, ResponseHead
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.peer import Peer
from twistginx.upstream.single import Single

#: Methods that do the same when they are done twice (RFC 9110 section 9.2.2).
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))

#: Methods that say how long their body is, even when there is none (RFC 9110 section 8.6).
_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))


@frozen
class Question:
    """
    A request, whole.

    :ivar target: the request-target: path and query.
    :ivar fields: with a Host; without framing.
    """

    method: bytes
    target: bytes
    fields: Fields
    body: bytes = b""

    def wire(self) -> bytes:
        """
        The bytes that are sent.

        :raise ValueError: when a part has a line end or a NUL in it, which would make two requests of it.
        """
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target)]
        lines += [b"%b: %b" % (name, value) for _, name, value in self.fields]
        if self.body or self.method in _WITH_BODY:
            lines.append(b"Content-Length: %d" % len(self.body))
        for line in lines:
            if b"\n" in line or b"\r" in line or b"\0" in line:
                raise ValueError("a request of our own has a line end or a NUL in its head")
        return b"\r\n".join([*lines, b"", self.body])


@frozen
class Answer:
    """
    A response, whole.

    :ivar fields: without those of the one connection.
    :ivar body: without chunk framing; compressed, where the server chose to.
    """

    status: int
    fields: Fields
    body: bytes


@frozen
class Bounds:
    """
    What an answer may take.

    :ivar timeout: seconds from the call to the last byte.
    :ivar size: bytes of its body.
    :ivar setting: the key that says the time, for the error, such as ``forward_auth.timeout = 5s``.
    """

    timeout: float
    size: int = 65536
    setting: str = ""


class Source(Protocol):
    """
    Where connections come from; ``upstream.pool.Upstream`` is one.
    """

    attentive: bool
    sticky: Any

    def pick(self, request: Any, tried: Collection[Peer]) -> Peer | None: ...
    def wait(self, waiter: Any, tried: Collection[Peer], failed: ProxyError | None = None) -> ProxyError | None: ...
    def leave(self, waiter: Any) -> None: ...
    def take(self, peer: Peer, request: Any = None) -> ClientConnection | None: ...
    def connect(self, peer: Peer, request: Any = None) -> Deferred[ClientConnection]: ...
    def begin(self, peer: Peer) -> None: ...
    def answered(self, peer: Peer, request: Any, head: Any, sent_at: float) -> None: ...
    def done(self, peer: Peer) -> None: ...
    def failed(self, peer: Peer, error: ProxyError) -> None: ...
    def succeeded(self, peer: Peer) -> None: ...
    def found_dead(self, connection: ClientConnection) -> None: ...


def fetch(question: Question, source: Source, ticker: Ticker, bounds: Bounds, request: Any = None) -> Deferred[Answer]:
    """
    Ask ``source``, and wait for the whole answer, whatever its status.

    :param request: that it is asked for, where there is one: balancers may want to know.
    :return: a Deferred that fails with a ``ProxyError``, and may be cancelled.
    :raise ValueError: see :meth:`Question.wire`.
    """
    fetching = _Fetching(question, source, ticker, bounds, request)
    fetching.attempt(None)
    return fetching.done


def fetch_from(question: Question, peer: Peer, ticker: Ticker, bounds: Bounds) -> Deferred[Answer]:
    """
    Ask this one peer, on a connection that is made for it and closed after it, and keep no score: what a health check
    wants.  Returns and raises as :func:`fetch`.
    """
    return fetch(question, Single(peer, ticker, bounds.timeout, bounds.setting), ticker, bounds)


class _Fetching:
    """
    One question on its way.  It receives the response (``http.response_parser.ResponseReceiver``).
    """

    __slots__ = (
        "_bounds",
        "_connecting",
        "_connection",
        "_counts",
        "_head",
        "_peer",
        "_pieces",
        "_question",
        "_request",
        "_reused",
        "_sent_at",
        "_size",
        "_source",
        "_ticker",
        "_tried",
        "_wire",
        "deadline",
        "done",
    )

    def __init__(self, question: Question, source: Source, ticker: Ticker, bounds: Bounds, request: Any) -> None:
        self._wire = question.wire()
        self._question = question
        self._source = source
        # What one asks a peer for its own sake is none of the work that it is given.
        self._counts = not isinstance(source, Single)
        self._ticker = ticker
        self._bounds = bounds
        self._request = request
        self._connecting: Deferred[ClientConnection] | None = None
        self._connection: ClientConnection | None = None
        self._head: ResponseHead | None = None
        self._peer: Peer | None = None
        self._pieces: list[bytes] = []
        self._reused = False
        self._sent_at = 0.0
        self._size = 0
        self._tried: tuple[Peer, ...] = ()
        self.done: Deferred[Answer] = Deferred(self._cancelled)
        self.deadline = NEVER
        ticker.watch(self)  # first, because the ticker may have slept
        self.deadline = ticker.now + bounds.timeout

    # Attempts.

    def attempt(self, failed: ProxyError | None) -> None:
        """
        Try a peer.

        :param failed: how the last one failed, or None.
        """
        source = self._source
        peer = source.pick(self._request, self._tried)
        if peer is None:
            error = source.wait(self, self._tried, failed)
            if error is not None:
                self._end(error)
            return
        self._peer = peer
        if self._counts:
            peer.begun += 1
        if source.attentive:
            source.begin(peer)
        connection = source.take(peer, self._request)
        if connection is None:
            self._connect(peer)
        else:
            self._reused = True
            self._send(connection)

    def place_free(self) -> None:
        """
        Called by the queue of the upstream (``upstream.queue.Waiter``): a server has room again.
        """
        self.attempt(None)

    def give_up(self, error: ProxyError) -> None:
        """
        Called by the queue of the upstream: no server had room in time.
        """
        self._end(error)

    def _connect(self, peer: Peer) -> None:
        self._reused = False
        self._connecting = connecting = self._source.connect(peer, self._request)
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
        peer, error = self._peer, failure.value
        assert peer is not None and isinstance(error, ProxyError)
        self._source.failed(peer, error)
        self._done()
        self._tried = (*self._tried, peer)
        self.attempt(error)

    def _send(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._sent_at = monotonic()
        # There is a limit to the whole, which is always the first to pass.
        patience = Patience(2 * self._bounds.timeout, 2 * self._bounds.timeout)
        connection.send(self._wire, self, patience, self._question.method == b"HEAD")

    # The response.

    def response_informational(self, head: ResponseHead) -> None:
        """
        Not of interest.
        """

    def response_head(self, head: ResponseHead, more: bool) -> None:
        """
        The peer has answered; is there room for what it says?
        """
        source, peer = self._source, self._peer
        assert peer is not None
        source.succeeded(peer)
        if source.attentive and (self._request is not None or source.sticky is None):
            source.answered(peer, self._request, head, self._sent_at)
        self._head = head
        if self._question.method != b"HEAD":
            self._check_size(head.length or 0)

    def response_data(self, data: bytes) -> None:
        """
        Kept, as long as there is room.
        """
        self._size += len(data)
        self._pieces.append(data)
        self._check_size(self._size)

    def response_end(self, trailers: Fields | None) -> None:
        """
        Complete.
        """
        self._connection = None
        head = self._head
        assert head is not None
        self._end(Answer(head.status, head.fields, b"".join(self._pieces)))

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        """
        Complete, at once.
        """
        self.response_head(head, True)
        if self._connection is not None:
            self.response_data(body)
        if self._connection is not None:
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
        peer = self._peer
        assert connection is not None and peer is not None
        if self._reused and error.reason.retry is Retry.REUSED:
            self._source.found_dead(connection)
            if self._question.method in _IDEMPOTENT:
                self._connect(peer)
                return
        else:
            self._source.failed(peer, error)
        self._end(error)

    # Ends.

    def deadline_passed(self) -> None:
        """
        It has taken too long, all in all.
        """
        word = "http_response_timeout" if self._connecting is None else "connection_timeout"
        self._give_up(ProxyError(word, "no whole answer in time", self._bounds.setting))

    def _check_size(self, size: int) -> None:
        if size > self._bounds.size:
            received = self._head.status  # type: ignore[union-attr]  # there is a body, so there is a head
            detail = f"the body of the answer has more than {self._bounds.size} bytes"
            self._give_up(ProxyError("http_protocol_error", detail, received=received))

    def _give_up(self, error: ProxyError) -> None:
        """
        The answer is not wanted any more, and that is the peer's doing.
        """
        if self._peer is not None:
            self._source.failed(self._peer, error)
        self._drop()
        self._end(error)

    def _cancelled(self, done: Deferred[Answer]) -> None:
        self._ticker.forget(self)
        self._drop()
        self._done()

    def _done(self) -> None:
        """
        The attempt is over, however it went.
        """
        peer, self._peer = self._peer, None
        if peer is None:
            self._source.leave(self)
            return
        if self._counts:
            peer.ended += 1
        if self._source.attentive:
            self._source.done(peer)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        connecting, self._connecting = self._connecting, None
        if connection is not None:
            connection.abort()
        if connecting is not None:
            connecting.cancel()

    def _broke(self, failure: Failure) -> None:
        """
        A fault of ours, or of a plugin's endpoint.
        """
        self._drop()
        self._finish(failure)

    def _end(self, outcome: Answer | ProxyError) -> None:
        self._finish(Failure(outcome) if isinstance(outcome, ProxyError) else outcome)

    def _finish(self, outcome: Answer | Failure) -> None:
        self._ticker.forget(self)
        self._done()
        if not self.done.called:
            self.done.callback(outcome)
