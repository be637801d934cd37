"""
One request and what upstream peers make of it: the answer on its way back, and every way to fail.

How peers are chosen, and what is sent a second time, is in ``attempts``.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.errors import ProxyError
from twistginx.http import requestid
from twistginx.http.client import QUIET
from twistginx.http.message import Fields, ResponseHead
from twistginx.net.handover import hand_over
from twistginx.net.relay import Relay
from twistginx.net.websocket import WebSocketRelay
from twistginx.resources.attempts import Attempts


@implementer(IPushProducer)
class Exchange(Attempts):
    """
    It receives the response (``http.response_parser.ResponseReceiver``), is what produces it for the client
    (``request.source``), and hears that the client is gone (``request.watcher``).
    """

    __slots__ = ()

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
        if self._upstream.attentive:
            self._upstream.answered(peer, request, head, self._sent_at)  # type: ignore[arg-type]
        if head.status in self._upstream.retry.statuses and self._answered_elsewhere(head.status):
            return
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
        self._done()
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
        upstream = self._upstream
        if upstream.attentive:
            upstream.answered(peer, request, head, self._sent_at)  # type: ignore[arg-type]
        if head.status in upstream.retry.statuses and self._answered_elsewhere(head.status):
            return
        self._peer = None
        peer.ended += 1  # type: ignore[union-attr]
        if upstream.attentive:
            upstream.done(peer)  # type: ignore[arg-type]
        try:
            request.pass_on(head, body)
        except Exception:
            self._broke(Failure())

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """
        From here on, bytes go both ways until one side ends.
        """
        connection, self._connection = self._connection, None
        peer = self._peer
        assert connection is not None and peer is not None
        if peer.failures:
            self._upstream.succeeded(peer)
        request = self._request
        head.put(requestid.LOWER, requestid.NAME, request.request_id)
        if self._upstream.attentive:
            self._upstream.answered(peer, request, head, self._sent_at)
        request.start(head)
        if request.ended:  # a policy has answered instead
            connection.abort()
            self._done()
            return
        # The listener knows of its tunnels, so that a stop waits for them, and cuts them in the end.
        tunnels = request.channel.listener.connections
        over: list[Callable[[], object]] = [self._done]

        def ended(relay: Relay) -> None:
            tunnels.discard(relay.left)
            for call in over:
                call()

        made = WebSocketRelay if (head.first(b"upgrade") or b"").lower() == b"websocket" else Relay
        relay = made(connection.ticker, max(QUIET, self._patience.idle), ended)
        request.tunnel = over
        hand_over(connection, relay.right)
        if rest:
            relay.right.dataReceived(rest)
        request.take_over(relay.left)
        if not relay.left.lost:
            tunnels.add(relay.left)  # who is at its far end is known now

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
        if self._peer is None:
            self._upstream.leave(self)
        else:
            self._done()
