"""
A request and its response.

To third parties it is a ``twisted.web.server.Request``: all that Twisted documents works, and is made only when somebody
reads it.  Our own resources and policies use the smaller interface of docs/architecture.rst.

The response goes through three doors, and each is taken once: ``respond`` (whole), ``start`` - ``send`` - ``end`` (in
pieces), ``fail`` (an error page, or a visibly broken connection).  Twisted's ``write`` and ``finish`` lead to the second.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, resource, server
from twisted.web.http_headers import Headers

from twistginx.errors import ProxyError
from twistginx.http import errorpage
from twistginx.http.body import RequestBody
from twistginx.http.filebody import FileBody
from twistginx.http.lazy import lazy
from twistginx.http.message import Fields, FileRange, Record, Reply, RequestHead, ResponseHead
from twistginx.http.wire import BODYLESS, CHUNKED_LINE, CLOSE_LINE, KEEP_ALIVE_LINE, SERVER_LINE, UPGRADE_LINE
from twistginx.http.wire import chunk_size, date_line, head_block, last_chunk

if TYPE_CHECKING:
    from twistginx.http.channel import Channel

#: Bodies up to this size, in bytes, are kept in memory for resources that want them whole; larger ones in a file.
CONTENT_IN_MEMORY = 100_000

#: Up to this size, in bytes, two pieces are joined: one copy is cheaper than one more piece to write.
_JOIN = 16384

_NOTHING: tuple[Any, ...] = ()


class Request(server.Request):
    """
    One request, being answered.

    :ivar head: as it was received.
    :ivar body: what is still arriving, or None.
    :ivar site: the virtual host, or None when none answers for the name.
    :ivar route: the route that was chosen, or None.
    :ivar status: what was answered; 0 until then.
    :ivar started: a final head has been written.
    :ivar ended: the response is complete, or given up.
    :ivar sent_bytes: of the response's body.
    :ivar source: what produces the response, or None.
    :ivar watcher: who wants to know that the client is gone, or None.
    :ivar upstream_name: the peer that answered, for the log.
    :ivar matched_path: the path, normalised; what routes match.
    """

    # What Twisted sets per instance, and is the same for all of ours.
    queued = False
    _parsePOSTFormSubmission = True

    # State, until it is set.
    body: RequestBody | None = None
    route: Any = None
    status = 0
    started = False
    ended = False
    sent_bytes = 0
    source: Any = None
    watcher: Any = None
    upstream_name = b""
    matched_path = b""
    _filters: tuple[Any, ...] = _NOTHING
    _chunked = False
    _silent = False  # nothing of the body is sent: HEAD, 204, 304
    _left: int | None = None  # bytes of the announced length that are still to be sent
    _pending = b""
    _error: ProxyError | None = None
    _waiting: Deferred[Any] | None = None
    _collected: Any = None

    _log = Logger(namespace="twistginx.http")

    def __init__(self, channel: Channel, head: RequestHead, body: RequestBody | None) -> None:
        # Not Twisted's: what that makes is made below, when somebody asks.
        self.channel = channel
        self.head = head
        self.fields = head.fields
        self.body = body
        self.method = head.method
        self.uri = head.target
        self.path = head.path
        self.clientproto = head.version
        self._began = monotonic()

    # What is made when it is read.

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
        self.__dict__["received_cookies"] = cookies = {}
        self.parseCookies()
        return cookies

    @lazy
    def cookies(self) -> list[bytes]:
        return []

    @lazy
    def notifications(self) -> list[Deferred[None]]:
        return []

    @lazy
    def args(self) -> dict[bytes, list[bytes]]:
        query = self.head.query
        return http.parse_qs(query, 1) if query else {}

    @lazy
    def content(self) -> Any:
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
        return self._segments[0]

    @lazy
    def postpath(self) -> list[bytes]:
        return self._segments[1]

    @lazy
    def sitepath(self) -> list[bytes]:
        return list(self._segments[0])

    @lazy
    def _segments(self) -> tuple[list[bytes], list[bytes]]:
        segments = [http.unquote(segment) for segment in self.head.path[1:].split(b"/")]
        route = self.route
        if route is None or not route.strip:
            return [], segments
        gone = len(segments) - len(self.target_path[1:].split(b"/"))
        return segments[:gone], segments[gone:]

    @lazy
    def target_path(self) -> bytes:
        route = self.route
        if route is None or not route.strip:
            return self.head.path
        return route.stripped(self.head.path, self.matched_path)

    @lazy
    def peer_ip(self) -> bytes:
        host = getattr(self.channel.address, "host", None)
        return host.encode() if host else b"unix:"

    @lazy
    def from_trusted(self) -> bool:
        site = self.site
        return site is not None and site.trusts(self.peer_ip)

    @lazy
    def client_ip(self) -> bytes:
        if not self.from_trusted:
            return self.peer_ip
        # Right to left: the first address that is not a trusted proxy's is the client's (RFC 7239 section 5.2, for the
        # older field); what stands left of it is the client's own claim.
        trusts = self.site.trusts
        address = self.peer_ip
        for hop in reversed(self.head.fields.joined(b"x-forwarded-for").split(b",")):
            hop = _bare_address(hop.strip())  # noqa: PLW2901
            if not hop:
                break
            address = hop
            if not trusts(address):
                break
        return address

    @lazy
    def scheme(self) -> bytes:
        if self.from_trusted:
            claimed = self.head.fields.first(b"x-forwarded-proto")
            if claimed is not None and claimed.strip().lower() in (b"http", b"https"):
                return claimed.strip().lower()
        return self.channel.scheme

    # From head to resource.

    def begin(self, site: Any) -> None:
        """
        Answer this request.  Called by the channel, once; never raises.
        """
        self.site = site
        try:
            if site is None:
                self.fail(ProxyError("destination_not_found", "no site has this name"))
                return
            route = self.route = site.route_for(self)
            if route is None:
                self.fail(ProxyError("destination_not_found", "no route matches"))
                return
            for received in route.received:
                received(self)
            body = self.body
            if body is not None:
                body.limit = route.body_limit
                if body.length is not None and body.length > route.body_limit:
                    self.fail(self.too_large())
                    return
            if route.admit:
                self._admit(0)
            else:
                self._render()
        except Exception:
            self.processingFailed(Failure())

    def refuse(self, error: ProxyError) -> None:
        """
        Answer what is no valid request.
        """
        self.site = None
        self.fail(error)

    def too_large(self) -> ProxyError:
        """
        The failure of a body that is larger than the route allows.
        """
        return ProxyError("request_body_too_large", setting=f"limits.body = {self.route.body_limit}")

    def _admit(self, index: int) -> None:
        """
        Ask the policies from ``index`` on.
        """
        admit = self.route.admit
        while index < len(admit):
            outcome = admit[index](self)
            index += 1
            if outcome is None:
                continue
            if isinstance(outcome, Deferred):
                self._waiting = outcome
                outcome.addCallback(self._admitted, index)
                outcome.addErrback(self._not_admitted)
                return
            self.respond(outcome)
            return
        self._render()

    def _admitted(self, outcome: Reply | None, index: int) -> None:
        self._waiting = None
        if self.ended:
            return
        if outcome is not None:
            self.respond(outcome)
        else:
            self._admit(index)

    def _not_admitted(self, failure: Failure) -> None:
        """
        A policy that fails, fails closed.
        """
        self._waiting = None
        if not self.ended:
            self.processingFailed(failure)

    def _render(self) -> None:
        route = self.route
        if route.streaming:
            route.resource.render(self)
        elif self.body is None:
            self._render_tree()
        else:
            self._collected = self.content = (
                BytesIO() if (self.body.length or CONTENT_IN_MEMORY) <= CONTENT_IN_MEMORY else tempfile.TemporaryFile()
            )
            self.body.start(self)

    def body_data(self, data: bytes) -> None:
        """
        A piece of a body that is wanted whole.
        """
        content = self._collected
        if isinstance(content, BytesIO) and content.tell() + len(data) > CONTENT_IN_MEMORY:
            self._collected = self.content = tempfile.TemporaryFile()
            self._collected.write(content.getvalue())
            content = self._collected
        content.write(data)

    def body_end(self, trailers: Fields) -> None:
        """
        The body is whole.
        """
        if self.ended:
            return
        try:
            self._render_tree()
        except Exception:
            self.processingFailed(Failure())

    def _render_tree(self) -> None:
        """
        Any IResource, as twisted.web renders it.
        """
        if self.body is not None:
            # Parses forms into args, and calls process().
            http.Request.requestReceived(self, self.method, self.uri, self.clientproto)
        else:
            self.process()

    def process(self) -> None:
        """
        Called by Twisted's requestReceived: find the resource in the tree, and render it.
        """
        if self.path == b"*":
            self._handleStar()
            return
        try:
            found = self.site.getResourceFor(self)
            if resource._IEncodingResource.providedBy(found):
                self._encoder = found.getEncoder(self)
            self.render(found)
        except Exception:
            self.processingFailed(Failure())

    # The response, whole.

    def respond(self, reply: Reply) -> None:
        """
        Answer with ``reply``.
        """
        route = self.route
        if route is not None and route.responding:
            body = reply.body
            self._respond_slowly(ResponseHead(reply.status, Fields(reply.fields), length=reply.length), body)
            return
        self._write_reply(reply)

    def _write_reply(self, reply: Reply) -> None:
        wire = reply.wire
        if wire is None:
            wire = head_block(reply.status, http.RESPONSES.get(reply.status, b""), reply.fields) + SERVER_LINE
            if reply.length is not None and reply.status not in BODYLESS:
                wire += b"Content-Length: %d\r\n" % reply.length
            reply.wire = wire
        body = reply.body
        if not isinstance(body, bytes):
            self._respond_slowly(ResponseHead(reply.status, Fields(reply.fields), length=reply.length), body)
            return
        self.status = reply.status
        self.started = True
        head = wire + date_line() + self._connection_line() + b"\r\n"
        if body and self.method != b"HEAD" and reply.status not in BODYLESS:
            self.sent_bytes = len(body)
            if len(body) <= _JOIN:
                self.channel.write(head + body)
            else:
                self.channel.writeSequence([head, body])
        else:
            self.channel.write(head)
        self._finished()

    def _respond_slowly(self, head: ResponseHead, body: Any) -> None:
        """
        Through the policies, or with a body that is not bytes.
        """
        if isinstance(body, FileRange):
            file_body = FileBody(body, self)
            self.watcher = self.source = file_body
            self.start(head, more=True)
            if self.ended or self.watcher is not file_body:  # a policy answered instead
                file_body.close()
            elif self._silent:
                file_body.close()
                self.end()
            else:
                file_body.resumeProducing()
        elif callable(body):
            self.start(head)
            if not self.ended:
                body(self)
        else:
            self.start(head, more=True)
            if not self.ended:
                if body:
                    self.send(body)
                self.end()

    # The response, in pieces.

    def start(self, head: ResponseHead, more: bool = False) -> None:
        """
        Write the head of the response, through the policies.

        ``head`` is the request's from here on.

        :param more: the caller goes on in this same turn with ``send``, ``end`` or ``flush``, so that head and body
            leave together.
        """
        if self.ended or self.started:
            return
        route = self.route
        if route is not None and route.responding and not self._respond_through(route.responding, head):
            return
        self._write_head(head, more)

    def _respond_through(self, policies: tuple[Any, ...], head: ResponseHead) -> bool:
        """
        Show the head to the policies.  False: one of them has answered with a Reply of its own.
        """
        for index, responding in enumerate(policies):
            outcome = responding(self, head)
            if outcome is None:
                continue
            if isinstance(outcome, Reply):
                self._detach(ProxyError("proxy_internal_error", "a policy answered instead"))
                replaced = ResponseHead(outcome.status, Fields(outcome.fields), length=outcome.length)
                if self._respond_through(policies[index + 1 :], replaced):
                    self._write_head(replaced, more=True)
                    if isinstance(outcome.body, bytes):
                        if outcome.body:
                            self.send(outcome.body)
                        self.end()
                    else:
                        self._continue_with(outcome.body)
                return False
            self._filters = (*self._filters, outcome)
            head.length = None
            head.fields.drop(b"content-length")
        return True

    def _continue_with(self, body: Any) -> None:
        if isinstance(body, FileRange):
            self.watcher = self.source = file_body = FileBody(body, self)
            file_body.resumeProducing()
        else:
            self.flush()
            body(self)

    def _write_head(self, head: ResponseHead, more: bool) -> None:
        status = head.status
        length = head.length
        fields = head.fields
        lines = head_block(status, head.phrase, fields)
        self.status = status
        self.started = True
        self._silent = self.method == b"HEAD" or status in BODYLESS
        if b"server" not in fields:
            lines += SERVER_LINE
        if b"date" not in fields:
            lines += date_line()
        if status == 101:  # noqa: PLR2004
            lines += UPGRADE_LINE + b"\r\n"
            self.channel.write(lines)
            return
        if length is not None:
            if status not in BODYLESS and b"content-length" not in fields:
                lines += b"Content-Length: %d\r\n" % length
            self._left = 0 if self._silent else length
        elif not self._silent:
            if self.head.version == b"HTTP/1.1":
                self._chunked = True
                lines += CHUNKED_LINE
            else:
                self.head.keep_alive = False  # the end of the connection is the end of the body
        if head.close and self._silent is False and length is None and not self._chunked:
            self.head.keep_alive = False
        lines += self._connection_line() + b"\r\n"
        if more:
            self._pending = lines
        else:
            self.channel.write(lines)

    def _connection_line(self) -> bytes:
        """
        The Connection field, decided when the head is written.
        """
        channel = self.channel
        head = self.head
        if channel.closing or not head.keep_alive or channel.body_pending:
            head.keep_alive = False
            return CLOSE_LINE
        return b"" if head.version == b"HTTP/1.1" else KEEP_ALIVE_LINE

    def send(self, data: bytes) -> None:
        """
        Bytes of the response's body.
        """
        if self.ended or self._silent:
            return
        for each in self._filters:
            data = each.feed(data)
            if not data:
                return
        if not data:
            return
        self._write_body(data)

    def _write_body(self, data: bytes) -> None:
        size = len(data)
        self.sent_bytes += size
        channel = self.channel
        left = self._left
        if left is not None:
            if size > left:
                self._broken(ProxyError("proxy_internal_error", "more bytes of body than announced"))
                return
            self._left = left - size
        pending = self._pending
        self._pending = b""
        if self._chunked:
            if size <= _JOIN:
                channel.write(b"%b%x\r\n%b\r\n" % (pending, size, data))
            else:
                channel.writeSequence([pending + chunk_size(data), data, b"\r\n"])
        elif not pending:
            channel.write(data)
        elif size <= _JOIN:
            channel.write(pending + data)
        else:
            channel.writeSequence([pending, data])

    def flush(self) -> None:
        """
        Write a head that ``start(head, more=True)`` has kept back.
        """
        pending = self._pending
        if pending and not self.ended:
            self._pending = b""
            self.channel.write(pending)

    def end(self, trailers: Fields | None = None) -> None:
        """
        The response is complete.
        """
        if self.ended:
            return
        if self._filters and not self._silent:
            self._end_filters()
        if self._left:
            self._broken(ProxyError("proxy_internal_error", "fewer bytes of body than announced"))
            return
        if self._chunked:
            self.channel.write(self._pending + last_chunk(trailers))
            self._pending = b""
        else:
            self.flush()
        self._finished()

    def _end_filters(self) -> None:
        """
        Let each filter say its last words, through those behind it.
        """
        filters, self._filters = self._filters, _NOTHING
        for index, each in enumerate(filters):
            data = each.finish()
            for later in filters[index + 1 :]:
                if data:
                    data = later.feed(data)
            if data:
                self._write_body(data)

    def inform(self, status: int, fields: Fields) -> None:
        """
        Send an informational response (RFC 9110 section 15.2), unless the client speaks HTTP/1.0.
        """
        if not self.started and not self.ended and self.head.version == b"HTTP/1.1":
            self.channel.write(head_block(status, http.RESPONSES.get(status, b""), fields) + b"\r\n")

    def take_over(self, protocol: IProtocol) -> None:
        """
        After a 101 was sent by ``start``: HTTP has ended, ``protocol`` has the connection, with all bytes that followed.
        """
        channel = self.channel
        self.watcher = None
        self._finished(done=False)
        channel.take_over(protocol)

    # Failure.

    def fail(self, error: ProxyError) -> None:
        """
        Answer with the error page of ``error``; when a head has been written, break the connection visibly.
        """
        if self.ended:
            return
        self._error = error
        if self.started:
            self._broken(error)
            return
        self._detach(error)
        try:
            reply = errorpage.reply_for(error, self)
            self.respond(reply)
        except Exception:
            # A policy fails on error pages too: without them, then.
            self._log.failure("a policy failed on the error page of {word}", word=error.reason.word)
            self.route = None
            if not self.started:
                self._write_reply(errorpage.reply_for(error, self))

    def give_up(self, error: ProxyError) -> None:
        """
        The client is as good as gone; nothing more is sent.
        """
        if self.ended:
            return
        self._error = error
        self._detach(error)
        self._disconnected = True
        self._finished(done=False)

    def _broken(self, error: ProxyError) -> None:
        """
        A response that cannot be completed must not look complete.
        """
        self._error = error
        channel = self.channel
        self._detach(error)
        self._finished(done=False)
        channel.abort()

    def _detach(self, error: ProxyError) -> None:
        """
        Whoever produces the response is not wanted any more.
        """
        watcher, self.watcher = self.watcher, None
        self.source = None
        waiting, self._waiting = self._waiting, None
        if watcher is not None:
            watcher.client_gone(error)
        if waiting is not None:
            waiting.cancel()

    def processingFailed(self, reason: Failure) -> Failure:
        """
        A resource or a policy raised.
        """
        self._log.failure("{method} {uri} failed", failure=reason, method=self.method, uri=self.uri)
        self.fail(ProxyError("proxy_internal_error", reason.type.__name__ if reason.type else ""))
        return reason

    def connectionLost(self, reason: Failure) -> None:
        """
        The client is gone.
        """
        if self.ended:
            return
        if self._error is None:
            self._error = ProxyError("client_disconnected")
        self._disconnected = True
        self._detach(self._error)
        self._finished(reason, done=False)

    # The end.

    def _finished(self, reason: Failure | None = None, done: bool = True) -> None:
        """
        The response is over, one way or another: tell everyone, once.
        """
        self.ended = True
        self.finished = 1
        channel = self.channel
        route = self.route
        log = channel.frontend.log
        hooks = route.finished if route is not None else _NOTHING
        if log is not None or hooks:
            error = self._error
            record = Record(
                self.status or (error.reason.status if error is not None else 499),
                self.sent_bytes,
                monotonic() - self._began,
                error.reason.word if error is not None else "",
                str(error) if error is not None else "",
                self.upstream_name.decode("latin-1"),
            )
            for hook in hooks:
                try:
                    hook(self, record)
                except Exception:
                    self._log.failure("a policy failed in finished")
            if log is not None:
                log(self, record)
        self.source = None
        self.watcher = None
        # Only what somebody made has to be cleaned up.
        made = self.__dict__
        if "content" in made:
            self.content.close()
        notifications = made.get("notifications")
        if notifications:
            self.notifications = []
            if reason is None and self._disconnected:
                reason = Failure(self._error or ProxyError("client_disconnected"))
            for deferred in notifications:
                if reason is None:
                    deferred.callback(None)
                else:
                    deferred.errback(reason)
        if done:
            channel.request_done(self)

    # Flow control, from the channel.

    def pause_source(self) -> None:
        """
        The client does not read.
        """
        if self.source is not None:
            self.source.pauseProducing()

    def resume_source(self) -> None:
        """
        The client reads again.
        """
        if self.source is not None:
            self.source.resumeProducing()

    # Twisted's interface, where it leads to ours.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise ValueError(f"registering producer {producer} before previous one ({self.producer}) was unregistered")
        self.streamingProducer = streaming
        self.producer = producer
        if self._disconnected or self.ended:
            producer.stopProducing()
            return
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
        if self.finished and not self._disconnected:
            raise RuntimeError("Request.write called on a request after Request.finish was called.")
        if self._disconnected or self._inFakeHead:
            return
        if not self.started:
            self._start_twisted()
        if self._encoder is not None:
            data = self._encoder.encode(data)
        self.send(data)
        source = self.source
        if source.__class__ is _PullSource:
            source.resumeProducing()

    def _start_twisted(self) -> None:
        """
        Make a head of what was set in Twisted's way.
        """
        headers = self.responseHeaders
        code = self.code
        lengths = headers.getRawHeaders(b"Content-Length")
        if (
            code not in (http.NOT_MODIFIED, http.NO_CONTENT)
            and not headers.hasHeader(b"Content-Type")
            and self.defaultContentType is not None
            and not (lengths and lengths[0] == b"0")
        ):
            headers.setRawHeaders(b"Content-Type", [self.defaultContentType])
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
        self.start(ResponseHead(code, fields, self.code_message, length), more=False)

    def finish(self) -> None:
        if self._disconnected:
            raise RuntimeError(
                "Request.finish called on a request after its connection was lost; "
                "use Request.notifyFinish to keep track of this."
            )
        if self._encoder is not None:
            data = self._encoder.finish()
            if data:
                self.send(data)
        if not self.started:
            self.write(b"")
        self.end()

    def setHost(self, host: bytes, port: int, ssl: bool | int = 0) -> None:
        super().setHost(host, port, ssl)

    def __repr__(self) -> str:
        return f"<Request {self.method!r} {self.uri!r} status={self.status}>"


class _PullSource:
    """
    Twisted's pull producer, as a source: asked for more while the client reads.

    One that writes before it returns is asked in a loop; one that writes later is asked again after its write.
    """

    __slots__ = ("_asking", "_producer", "_request")

    def __init__(self, producer: Any, request: Request) -> None:
        self._producer = producer
        self._request = request
        self._asking = False

    def resumeProducing(self) -> None:
        if self._asking:
            return
        self._asking = True
        request = self._request
        sent = -1
        while request.source is self and request.channel.writable and request.sent_bytes != sent:
            sent = request.sent_bytes
            self._producer.resumeProducing()
        self._asking = False

    def pauseProducing(self) -> None:
        """
        It produces only when it is asked.
        """

    def client_gone(self, error: ProxyError) -> None:
        self._producer.stopProducing()


def _bare_address(hop: bytes) -> bytes:
    """
    An entry of X-Forwarded-For without port and brackets.
    """
    if hop[:1] == b"[":
        return hop[1:].partition(b"]")[0]
    return hop.partition(b":")[0] if hop.count(b":") == 1 else hop
