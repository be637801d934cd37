"""
The attempts of one request: which peer is asked, and when another one is.

What may be sent a second time, and what never:

- A connection that was not made: the next peer, always; no byte of the request has left.
- A connection that had rested, and that dies before the first byte of an answer: once more, on a fresh connection to
  the same peer, if the request may be processed twice.
- What ``retry`` of the upstream says (``upstream.retry``): to another peer, within its budget, if the request may be
  processed twice.
- Nothing else.  In particular, no POST is sent twice, unless that is asked for.

A request may be processed twice by its method, and if all of its body that was taken from the client is still there.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.errors import ProxyError, Retry
from twistginx.http.client import ClientConnection, Patience
from twistginx.http.replay import Replay
from twistginx.http.upload import Upload
from twistginx.resources.forwarding import forwarded_head, forwarded_target, prepared_head
from twistginx.upstream.mirror import Mirror
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream

_log = Logger(namespace="twistginx.proxy")


@frozen(eq=False)
class Manner:
    """
    How a route passes requests on, besides where to.

    :ivar forwarded: they say ``Forwarded``, too.
    :ivar mirror: gets a copy of some of them; None: nobody does.
    """

    forwarded: bool = True
    mirror: Mirror | None = None


#: As is usual.
PLAIN: Final = Manner()


class Attempts:
    """
    The half of an exchange that asks; see ``resources.exchange.Exchange``.

    One of ``_connection`` and ``_connecting`` is set while an attempt is on its way; neither is before and after.
    """

    __slots__ = (
        "_began",
        "_connecting",
        "_connection",
        "_head",
        "_manner",
        "_patience",
        "_peer",
        "_replay",
        "_request",
        "_reused",
        "_sends",
        "_sent_at",
        "_tried",
        "_upgrade",
        "_upload",
        "_upstream",
    )

    def __init__(self, request: Any, upstream: Upstream, patience: Patience, manner: Manner = PLAIN) -> None:
        self._request = request
        self._upstream = upstream
        self._manner = manner
        self._patience = patience
        self._connecting: Deferred[ClientConnection] | None = None
        self._connection: ClientConnection | None = None
        self._peer: Peer | None = None
        self._reused = False
        self._sent_at = 0.0
        self._sends = 0
        self._tried: tuple[Peer, ...] = ()
        self._upload: Upload | None = None
        self._replay: Any = None  # the body, where it can be taken again: a Replay, or one that was spooled

    def begin(self) -> None:
        """
        Make the head that is sent, and the first attempt.
        """
        request = self._request
        head = request.head
        target = forwarded_target(request) if request.route.retargets else head.target
        filters: tuple[Any, ...] = ()
        taps: tuple[Any, ...] = ()
        if request.route.prepare:
            head, filters = prepared_head(request, target)
            target = head.target
        manner = self._manner
        self._head = forwarded_head(request, head, target, manner.forwarded)
        self._upgrade = head.upgrade
        if manner.mirror is not None:
            taps = manner.mirror.taps(request, self._upstream, head, self._head)
        if request.body is not None:
            body = request.body
            retry = self._upstream.retry
            # What filters have changed cannot be had a second time.
            if not filters:
                if body.whole:
                    self._replay = body
                elif retry.body and retry.allow(request):
                    body = self._replay = Replay(body, retry.body)
            self._upload = Upload(body, head.length is None, filters + taps)
        if self._upstream.retry.timed:
            self._began = monotonic()
        request.watcher = self
        self._attempt(None)

    # Attempts.

    def _attempt(self, failed: ProxyError | None) -> None:
        """
        Try a peer.

        :param failed: how the last one failed, or None.
        """
        upstream = self._upstream
        peer = upstream.pick(self._request, self._tried)
        if peer is None:
            error = upstream.wait(self, self._tried, failed)
            if error is not None:
                self._fail(error)
            return
        self._try(peer)

    def _try(self, peer: Peer) -> None:
        upstream = self._upstream
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

    def _connect(self, peer: Peer) -> None:
        self._reused = False
        within = self._upstream.connecting_within(self._left()) if self._upstream.retry.timed else None
        self._connecting = connecting = self._upstream.connect(peer, self._request, within)
        connecting.addCallbacks(self._connected, self._not_connected)
        connecting.addErrback(self._broke)

    def _connected(self, connection: ClientConnection) -> None:
        self._connecting = None
        self._send(connection)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if failure.check(CancelledError):
            return  # the client is gone
        if failure.check(ProxyError) is None:
            failure.raiseException()
        peer = self._peer
        assert peer is not None
        error: Any = failure.value
        self._upstream.failed(peer, error)
        self._done()
        self._tried = (*self._tried, peer)
        if self._upstream.retry.timed and self._left() <= 0:
            self._fail(error)
        else:
            self._attempt(error)

    def place_free(self) -> None:
        """
        Called by the queue of the upstream (``upstream.queue.Waiter``): a server has room again.
        """
        upstream = self._upstream
        if upstream.retry.timed and self._left() <= 0:
            self._fail(ProxyError("connection_limit_reached", "no server had room in time", upstream.total_setting))
        else:
            self._attempt(None)

    def give_up(self, error: ProxyError) -> None:
        """
        Called by the queue of the upstream: no server had room in time.
        """
        self._fail(error)

    def _send(self, connection: ClientConnection) -> None:
        self._connection = connection
        if self._upstream.attentive:
            self._sent_at = monotonic()
        request = self._request
        request.upstream_name = self._peer.label  # type: ignore[union-attr]  # there is an attempt
        self._sends += 1
        patience = self._patience if not self._upstream.retry.timed else self._patience_now()
        head_only = request.head.method == b"HEAD"
        # An Exchange is what receives a response.
        connection.send(self._head, self, patience, head_only, self._upgrade, self._upload)  # type: ignore[arg-type]

    def _patience_now(self) -> Patience:
        """
        How long this try may take.
        """
        usual, retry = self._patience, self._upstream.retry
        seconds, setting = usual.first_byte, usual.first_byte_setting
        left = self._left()
        if left < seconds:
            seconds, setting = max(0.0, left), self._upstream.total_setting
        if (
            retry.per_try is not None
            and retry.per_try < seconds
            and self._sends < retry.attempts
            and retry.allow(self._request)
            and self._upstream.has_another((*self._tried, self._peer))
        ):
            seconds, setting = retry.per_try, self._upstream.per_try_setting
        return Patience(seconds, usual.idle, setting, usual.idle_setting)

    def _left(self) -> float:
        """
        Seconds until all tries together have taken too long.
        """
        total = self._upstream.retry.total
        return inf if total is None else total - (monotonic() - self._began)

    # Again.

    def _may_repeat(self) -> bool:
        """
        May the request be sent to another peer, after a try that has failed?  It is counted, if it may.
        """
        upstream, request = self._upstream, self._request
        retry = upstream.retry
        if self._sends >= retry.attempts or request.started or request.ended or not retry.allow(request):
            return False
        if retry.total is not None and self._left() <= 0:
            return False
        return self._body_is_whole() and upstream.budget.take(upstream.peers)

    def _body_is_whole(self) -> bool:
        """
        Is all there that was taken of the body?
        """
        upload, replay = self._upload, self._replay
        return upload is None or not upload.started or (replay is not None and replay.whole)

    def _renew_upload(self) -> None:
        """
        Have the body sent from its beginning.
        """
        if self._replay is not None:
            assert self._upload is not None
            self._upload = Upload(self._replay, self._upload.chunked)

    def _answered_elsewhere(self, status: int) -> bool:
        """
        An answer that is to be tried again: is there another peer?  The request is on its way there, if there is.
        """
        peer, upstream = self._peer, self._upstream
        assert peer is not None
        tried = (*self._tried, peer)
        other = upstream.pick(self._request, tried)
        if other is None or not self._may_repeat():
            return False
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._done()
        self._tried = tried
        _log.info(
            "{request} is tried again at {other}: {peer} has answered {status}",
            request=self._request.request_id.decode(),
            other=other.label.decode(),
            peer=peer.label.decode(),
            status=status,
        )
        self._renew_upload()
        self._try(other)
        return True

    def response_failed(self, error: ProxyError) -> None:
        """
        No answer, or not all of it.
        """
        connection, self._connection = self._connection, None
        peer = self._peer
        assert connection is not None and peer is not None
        if self._reused and error.reason.retry is Retry.REUSED:
            # It says nothing about the peer, but that it closes connections sooner than we knew.
            self._upstream.found_dead(connection)
            if self._upstream.retry.allow(self._request) and self._body_is_whole():
                self._sends -= 1
                self._renew_upload()
                self._connect(peer)
                return
        else:
            self._upstream.failed(peer, error)
        self._done()
        if error.reason.word in self._upstream.retry.words and self._may_repeat():
            self._tried = (*self._tried, peer)
            other = self._upstream.pick(self._request, self._tried)
            if other is not None:
                _log.info(
                    "{request} is tried again at {other}: {error}",
                    request=self._request.request_id.decode(),
                    other=other.label.decode(),
                    error=error,
                )
                self._renew_upload()
                self._try(other)
                return
        self._fail(error)

    # Ends.

    def _done(self) -> None:
        """
        The attempt is over, however it went.
        """
        peer = self._peer
        if peer is not None:
            self._peer = None
            peer.ended += 1
            if self._upstream.attentive:
                self._upstream.done(peer)

    def _fail(self, error: ProxyError) -> None:
        self._request.fail(error)

    def _broke(self, failure: Failure) -> None:
        """
        A fault of ours (or of a plugin's endpoint), in what the reactor called.
        """
        _log.failure("proxying failed", failure=failure)
        self._done()
        self._fail(ProxyError("proxy_internal_error", failure.type.__name__ if failure.type else ""))
