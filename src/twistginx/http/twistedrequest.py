"""
What ``twisted.web.server.Request`` promises, kept.

All that Twisted documents works, and is made only when somebody reads it: a response that none of it is needed for pays
for none of it.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.http_headers import Headers

from twistginx.errors import ProxyError
from twistginx.http.lazy import lazy
from twistginx.http.message import Fields, RequestHead, ResponseHead

if TYPE_CHECKING:
    from twistginx.http.channel import Channel

#: How often a pull producer is asked in one turn of the reactor.
PULL_TURN = 16


class TwistedRequest(server.Request):
    """
    Twisted's interface, where it leads to ours: ``http.response.Response`` has the ``start``, ``send`` and ``end``.
    """

    channel: Channel  # type: ignore[assignment]  # it does what Twisted's HTTPChannel does for a request
    site: Any
    head: RequestHead
    route: Any = None
    target_path: bytes
    target_query: bytes | None
    scheme: bytes
    status = 0
    started = False
    ended = False
    source: Any = None
    error: ProxyError | None = None
    _encoder: Any = None
    _untidy = False  # there is something to be cleaned up in the end

    # What Twisted sets per instance, and is the same for all of ours.
    queued = False
    _parsePOSTFormSubmission = True

    if TYPE_CHECKING:

        def start(self, head: ResponseHead, more: bool = False) -> None: ...
        def send(self, data: bytes) -> None: ...
        def flush(self) -> None: ...
        def end(self, trailers: Fields | None = None) -> None: ...

    # What is made when it is read.

    @lazy
    def method(self) -> bytes:
        return self.head.method

    @lazy
    def uri(self) -> bytes:
        return self.head.target

    @lazy
    def path(self) -> bytes:
        return self.head.path

    @lazy
    def clientproto(self) -> bytes:
        return self.head.version

    @lazy
    def requestHeaders(self) -> Headers:
        headers = Headers()
        for _, name, value in self.head.fields:
            headers.addRawHeader(name, value)
        return headers

    @lazy
    def responseHeaders(self) -> Headers:
        return Headers()

    @lazy
    def received_cookies(self) -> dict[bytes, bytes]:
        cookies: dict[bytes, bytes] = {}
        self.__dict__["received_cookies"] = cookies
        self.parseCookies()
        return cookies

    @lazy
    def cookies(self) -> list[bytes]:
        return []

    @lazy
    def notifications(self) -> list[Deferred[None]]:
        self._untidy = True
        return []

    @lazy
    def args(self) -> dict[bytes, list[bytes]]:
        query = self.target_query
        return http.parse_qs(query, 1) if query else {}

    @lazy
    def content(self) -> Any:
        self._untidy = True
        return BytesIO()

    @lazy
    def client(self) -> Any:
        return self.channel.getPeer()

    @lazy
    def host(self) -> Any:
        return self.channel.getHost()

    @lazy
    def transport(self) -> Any:
        return self.channel.transport

    @lazy
    def _adapterCache(self) -> dict[str, Any]:
        return {}

    @lazy
    def prepath(self) -> list[bytes]:
        return list(self._segments[0])  # it grows on the way down the tree; sitepath does not

    @lazy
    def postpath(self) -> list[bytes]:
        return self._segments[1]

    @lazy
    def sitepath(self) -> list[bytes]:
        return list(self._segments[0])

    @lazy
    def _segments(self) -> tuple[list[bytes], list[bytes]]:
        path = self.path
        segments = [unquote_to_bytes(segment) for segment in path[1:].split(b"/")]
        route = self.route
        if route is None or not route.strip:
            return [], segments
        target = self.target_path
        # The prefix itself, without a slash behind it, is the resource itself, as where Twisted mounts it.
        whole = target == b"/" and not path.endswith(b"/")
        gone = len(segments) - (0 if whole else target.count(b"/"))
        return segments[:gone], segments[gone:]

    # The response, as Twisted's resources give it.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer:
            raise ValueError(f"registering producer {producer} before previous one ({self.producer}) was unregistered")
        if self._disconnected or self.ended:
            producer.stopProducing()
            return
        self.streamingProducer = streaming
        self.producer = producer
        if streaming:
            self.source = producer
            if not self.channel.writable:
                producer.pauseProducing()
        else:
            self.source = pull = _PullSource(producer, self)
            pull.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        self.source = None

    def write(self, data: bytes) -> None:
        if self.ended:
            if self.error is None:
                raise RuntimeError("Request.write called on a request after Request.finish was called.")
            return  # it has failed, and whoever writes may not know it yet
        source = self.source
        if not self._inFakeHead:
            if not self.started:
                self._give_type()
            if self._encoder is not None:
                data = self._encoder.encode(data)  # which takes the Content-Length away, before the first write
            if not self.started:
                self._start_twisted()
            self.send(data)
            self.flush()
        if source.__class__ is _PullSource:
            source.written()

    def _give_type(self) -> None:
        """
        What says no type is of Twisted's, unless it has no body to be of one.
        """
        headers = self.responseHeaders
        lengths = headers.getRawHeaders(b"Content-Length")
        if (
            self.code not in (http.NOT_MODIFIED, http.NO_CONTENT)
            and not headers.hasHeader(b"Content-Type")
            and self.defaultContentType is not None
            and not (lengths and lengths[0] == b"0")
        ):
            headers.setRawHeaders(b"Content-Type", [self.defaultContentType])

    def _start_twisted(self) -> None:
        """
        Make a head of what was set in Twisted's way.
        """
        headers = self.responseHeaders
        code = self.code
        if self.lastModified is not None and not headers.hasHeader(b"Last-Modified"):
            headers.setRawHeaders(b"Last-Modified", [http.datetimeToString(self.lastModified)])
        if self.etag is not None:
            headers.setRawHeaders(b"ETag", [self.etag])
        if self.cookies:
            headers.setRawHeaders(b"Set-Cookie", self.cookies)
        fields = Fields()
        length: int | None = None
        for name, values in headers.getAllRawHeaders():
            lower = name.lower()
            if lower == b"content-length":
                if values[-1].isdigit():
                    length = int(values[-1])
            elif lower == b"connection":
                if b"close" in b",".join(values).lower():
                    self.head.keep_alive = False
            elif lower != b"transfer-encoding":
                fields.extend((lower, name, value) for value in values)
        self.startedWriting = 1
        self.start(ResponseHead(code, fields, self.code_message, length), more=True)

    def finish(self) -> None:
        if self._disconnected:
            raise RuntimeError(
                "Request.finish called on a request after its connection was lost; "
                "use Request.notifyFinish to keep track of this."
            )
        if self.producer and not self.ended:
            self._log.error("a producer was not unregistered for {request}", request=self)
            self.unregisterProducer()
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            data = encoder.finish()
            if data:
                if not self.started:
                    self._start_twisted()
                self.send(data)
        if not self.started and not self.ended:
            self._give_type()
            self._start_twisted()
        self.end()

    def isSecure(self) -> bool:
        return bool(self._forceSSL) or self.scheme == b"https"

    def __repr__(self) -> str:
        return f"<Request {self.method!r} {self.uri!r} status={self.status}>"


class _PullSource:
    """
    Twisted's pull producer, as a source: asked for more while the client reads.

    One that writes before it returns is asked in a loop, of a turn's length; one that writes later is asked again after
    its write.
    """

    __slots__ = ("_asking", "_producer", "_request", "_waiting", "_written")

    def __init__(self, producer: Any, request: TwistedRequest) -> None:
        self._producer = producer
        self._request = request
        self._asking = False
        self._waiting = False
        self._written = True

    @property
    def _wanted(self) -> bool:
        request = self._request
        return self._written and request.source is self and request.channel.writable

    def resumeProducing(self) -> None:
        if self._asking:
            return
        self._asking = True
        left = PULL_TURN
        try:
            while left and self._wanted:
                left -= 1
                self._written = False
                self._producer.resumeProducing()
        except Exception:
            self._request.processingFailed(Failure())
        self._asking = False
        if self._wanted and not self._waiting:
            self._waiting = True
            self._request.channel.ticker.soon(self._next_turn)

    def written(self) -> None:
        """
        The producer has written.
        """
        self._written = True
        if not self._asking:
            self.resumeProducing()

    def pauseProducing(self) -> None:
        """
        It produces only when it is asked.
        """

    def _next_turn(self) -> None:
        self._waiting = False
        self.resumeProducing()
