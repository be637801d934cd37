"""
One request and what upstream peers make of it: the attempts, the answer on its way back, and every way to fail.

What may be sent a second time, and what never:

- A connection that was not made: the next peer, always; no byte of the request has left.
- A connection that had rested, and that dies before the first byte of an answer: once more, on a fresh connection to
  the same peer, if the request is idempotent (RFC 9110 section 9.2.2) and nothing of a body was taken from the client.
- Nothing else.  In particular, no POST is sent twice.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.errors import ProxyError, Retry
from twistginx.http import requestid
from twistginx.http.client import QUIET, ClientConnection, Patience
from twistginx.http.message import Fields, ResponseHead
from twistginx.http.upload import Upload
from twistginx.net.handover import hand_over
from twistginx.net.relay import Relay
from twistginx.resources.forwarding import forwarded_head, forwarded_target, prepared_head
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream

#: Methods that do the same when they are done twice (RFC 9110 section 9.2.2).
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))

_log = Logger(namespace="twistginx.proxy")


@implementer(IPushProducer)
class Exchange:
    """
    It receives the response (``http.response_parser.ResponseReceiver``), is what produces it for the client
    (``request.source``), and hears that the client is gone (``request.watcher``).

    One of ``_connection`` and ``_connecting`` is set while an attempt is on its way; neither is before and after.
    """

    __slots__ = (
        "_connecting",
        "_connection",
        "_head",
        "_patience",
        "_peer",
        "_request",
        "_reused",
        "_tried",
        "_upgrade",
        "_upload",
        "_upstream",
    )

    def __init__(self, request: Any, upstream: Upstream, patience: Patience) -> None:
        self._request = request
        self._upstream = upstream
        self._patience = patience
        self._connecting: Deferred[ClientConnection] | None = None
        self._connection: ClientConnection | None = None
        self._peer: Peer | None = None
        self._reused = False
        self._tried: tuple[Peer, ...] = ()
        self._upload: Upload | None = None

    def begin(self) -> None:
        """
        Make the head that is sent, and the first attempt.
        """
        request = self._request
        head = request.head
        target = forwarded_target(request) if request.route.strip else head.target
        filters: tuple[Any, ...] = ()
        if request.route.prepare:
            head, filters = prepared_head(request, target)
            target = head.target
        self._head = forwarded_head(request, head, target)
        self._upgrade = head.upgrade
        if request.body is not None:
            self._upload = Upload(request.body, head.length is None, filters)
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
            self._fail(failed or ProxyError("destination_unavailable", f"upstream {upstream.name} has no peer"))
            return
        self._peer = peer
        connection = upstream.take(peer)
        if connection is None:
            self._connect(peer)
        else:
            self._reused = True
            self._send(connection)

    def _connect(self, peer: Peer) -> None:
        self._reused = False
        self._connecting = connecting = self._upstream.connect(peer)
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
        self._tried = (*self._tried, peer)
        self._attempt(error)

    def _send(self, connection: ClientConnection) -> None:
        self._connection = connection
        request = self._request
        request.upstream_name = self._peer.label  # type: ignore[union-attr]  # there is an attempt
        connection.send(self._head, self, self._patience, request.head.method == b"HEAD", self._upgrade, self._upload)

    # The response.

    def response_informational(self, head: ResponseHead) -> None:
        """
        Passed on; 100 (Continue) is between us and the client.
        """
        if head.status != 100:
            self._request.inform(head.status, head.fields)

    def response_head(self, head: ResponseHead, more: bool) -> None:
        """
        The first byte of the answer is as good as its last: this peer it is.
        """
        peer = self._peer
        if peer.failures:  # type: ignore[union-attr]
            self._upstream.succeeded(peer)  # type: ignore[arg-type]
        request = self._request
        request.source = self
        head.put(requestid.LOWER, requestid.NAME, request.request_id)
        request.start(head, more)
        if not request.channel.writable:
            self.pauseProducing()

    def response_data(self, data: bytes) -> None:
        """
        Passed on as it comes.
        """
        self._request.send(data)

    def response_end(self, trailers: Fields | None) -> None:
        """
        Complete.
        """
        self._connection = None
        try:
            self._request.end(trailers)
        except Exception:
            self._broke(Failure())

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        """
        Passed on in one piece.
        """
        self._connection = None
        peer = self._peer
        if peer.failures:  # type: ignore[union-attr]
            self._upstream.succeeded(peer)  # type: ignore[arg-type]
        request = self._request
        try:
            head.put(requestid.LOWER, requestid.NAME, request.request_id)
            request.pass_on(head, body)
        except Exception:
            self._broke(Failure())

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """
        From here on, bytes go both ways until one side ends.
        """
        connection, self._connection = self._connection, None
        assert connection is not None
        request = self._request
        head.put(requestid.LOWER, requestid.NAME, request.request_id)
        request.start(head)
        if request.ended:  # a policy has answered instead
            connection.abort()
            return
        # The listener knows of its tunnels, so that a stop waits for them, and cuts them in the end.
        tunnels = request.channel.listener.connections
        relay = Relay(connection.ticker, max(QUIET, self._patience.idle), lambda relay: tunnels.discard(relay.left))
        tunnels.add(relay.left)
        hand_over(connection, relay.right)
        if rest:
            relay.right.dataReceived(rest)
        request.take_over(relay.left)

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
            if self._request.method in IDEMPOTENT and self._upload is None:
                self._connect(peer)
                return
        else:
            self._upstream.failed(peer, error)
        self._fail(error)

    # Flow control: the client reads, or does not.

    def pauseProducing(self) -> None:
        """
        The client does not read.
        """
        if self._connection is not None:
            self._connection.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The client reads.
        """
        if self._connection is not None:
            self._connection.resumeProducing()

    def stopProducing(self) -> None:
        """
        The client is gone; ``client_gone`` says so too.
        """

    # Ends.

    def client_gone(self, error: ProxyError) -> None:
        """
        Nobody wants the answer: have the peer stop working on it.
        """
        connection, self._connection = self._connection, None
        connecting, self._connecting = self._connecting, None
        if connection is not None:
            connection.abort()
        if connecting is not None:
            connecting.cancel()

    def _fail(self, error: ProxyError) -> None:
        self._request.fail(error)

    def _broke(self, failure: Failure) -> None:
        """
        A fault of ours (or of a plugin's endpoint), in what the reactor called.
        """
        _log.failure("proxying failed", failure=failure)
        self._fail(ProxyError("proxy_internal_error", failure.type.__name__ if failure.type else ""))
