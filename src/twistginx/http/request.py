"""
A request and its response.

To third parties it is a ``twisted.web.server.Request``: all that Twisted documents works, and is made only when
somebody reads it.  Our own resources and policies use the smaller interface of docs/architecture.rst.

The response goes through one of three doors, once: ``respond`` (whole), ``start`` - ``send`` - ``end`` (in pieces),
``fail`` (an error page, or a visibly broken connection).  Twisted's ``write`` and ``finish`` lead to the second.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

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
from twistginx.http.message import PHRASES, Fields, FileRange, Record, Reply, RequestHead, ResponseHead
from twistginx.http.wire import (
    BODYLESS,
    CHUNKED_LINE,
    CLOSE_LINE,
    FRAMING,
    KEEP_ALIVE_LINE,
    SERVER_LINE,
    UPGRADE_LINE,
    chunk_size,
    date_line,
    head_block,
    last_chunk,
)

if TYPE_CHECKING:
    from twistginx.http.channel import Channel

#: Bodies up to this size, in bytes, are kept in memory for resources that want them whole; larger ones in a file.
CONTENT_IN_MEMORY = 100_000

#: Up to this size, in bytes, two pieces are joined: one copy is cheaper than one more piece to write.
_JOIN = 16384

#: How often a pull producer is asked in one turn of the reactor.
PULL_TURN = 16

#: What a Reply has been promised to be given, and so cannot say itself.
_OURS = FRAMING | {b"date", b"server"}

_SWITCHING = 101

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

    channel: Channel  # type: ignore[assignment]  # it does what Twisted's HTTPChannel does for a request
    site: Any
    _encoder: Any = None

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
    _failing = False  # an error page is under way
    _bare = False  # no policy is to see the response any more
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
        cookies: dict[bytes, bytes] = {}
        self.__dict__["received_cookies"] = cookies
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
        return list(self._segments[0])  # it grows on the way down the tree; sitepath does not

    @lazy
    def postpath(self) -> list[bytes]:
        return self._segments[1]

    @lazy
    def sitepath(self) -> list[bytes]:
        return list(self._segments[0])

    @lazy
    def _segments(self) -> tuple[list[bytes], list[bytes]]:
        segments = [unquote_to_bytes(segment) for segment in self.head.path[1:].split(b"/")]
        route = self.route
        if route is None or not route.strip:
            return [], segments
        target = self.target_path
        # The prefix itself, without a slash behind it, is the resource itself, as where Twisted mounts it.
        whole = target == b"/" and not self.head.path.endswith(b"/")
        gone = len(segments) - (0 if whole else target.count(b"/"))
        return segments[:gone], segments[gone:]

    @lazy
    def target_path(self) -> bytes:
        route = self.route
        if route is None or not route.strip:
            return self.head.path
        left: bytes = route.stripped(self.head.path, self.matched_path)
        return left

    @lazy
    def peer_ip(self) -> bytes:
        host = getattr(self.channel.address, "host", None)
        return host.encode() if host else b"unix"

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
            try:
                ip_address(hop.decode("ascii"))
            except ValueError:
                break  # no address: a claim that nobody can have checked
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
                if self.path == b"*":
                    self._handleStar()
                    return
                self.fail(ProxyError("destination_not_found", "no route matches"))
                return
            for received in route.received:
                received(self)
            body = self.body
            if body is not None:
                body.limit = route.body_limit
                # Of a chunked body, what came with the head has been counted, and no more.
                if (body.received if body.length is None else body.length) > route.body_limit:
                    self.fail(self.too_large())
                    return
            if self.ended:
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
                outcome.addCallbacks(self._admitted, self._not_admitted, callbackArgs=(index,))
                return
            self.respond(outcome)
            return
        self._render()

    def _admitted(self, outcome: Reply | None, index: int) -> None:
        if self.ended:
            if outcome is not None:
                _release(outcome.body)
            return
        self._waiting = None
        try:
            if outcome is not None:
                self.respond(outcome)
            else:
                self._admit(index)
        except Exception:
            self.processingFailed(Failure())

    def _not_admitted(self, failure: Failure) -> None:
        """
        A policy that fails, fails closed.
        """
        if not self.ended:  # else it was cancelled: nobody waits for it
            self._waiting = None
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
        body = reply.body
        if self.started or self.ended:
            _release(body)
            return
        route = self.route
        if (route is not None and route.responding and not self._bare) or not isinstance(body, bytes):
            # Through the policies, or with a body that is not bytes.
            head = ResponseHead(reply.status, Fields(reply.fields), length=reply.length)
            if self._start(head, more=True):
                self._send_whole(body)
            else:
                _release(body)
            return
        wire = reply.wire
        if wire is None:
            try:
                wire = reply.wire = _reply_block(reply)
            except ValueError:
                self.processingFailed(Failure())
                return
        self.status = reply.status
        self.started = True
        lines = wire + date_line() + self._connection_line() + b"\r\n"
        if body and self.method != b"HEAD" and reply.status not in BODYLESS:
            self.sent_bytes = len(body)
            if len(body) <= _JOIN:
                self.channel.write(lines + body)
            else:
                self.channel.writeSequence([lines, body])
        else:
            self.channel.write(lines)
        self._finished()

    def _send_whole(self, body: Any) -> None:
        """
        The body of a Reply, after its head.
        """
        if self._silent:
            _release(body)
            self.end()
        elif isinstance(body, bytes):
            self.send(body)
            self.end()
        elif isinstance(body, FileRange):
            self.watcher = self.source = file_body = FileBody(body, self)
            file_body.resumeProducing()
        else:
            self.flush()
            body(self)

    # The response, in pieces.

    def start(self, head: ResponseHead, more: bool = False) -> None:
        """
        Write the head of the response, through the policies.

        ``head`` is the request's from here on.

        :param more: the caller goes on in this same turn with ``send``, ``end`` or ``flush``, so that head and body
            leave together.
        """
        self._start(head, more)

    def _start(self, head: ResponseHead, more: bool) -> bool:
        """
        See ``start``.  False: the response has been ended instead, or had been started before.
        """
        if self.ended or self.started:
            return False
        route = self.route
        try:
            if (
                route is not None
                and route.responding
                and not self._bare
                and not self._respond_through(route.responding, head)
            ):
                return False
            self._write_head(head, more)
        except Exception:
            # Whose fault it may be: never the caller's, who may be anywhere in the stack of an upstream's connection.
            self.processingFailed(Failure())
            return False
        return True

    def _respond_through(self, policies: tuple[Any, ...], head: ResponseHead) -> bool:
        """
        Show the head to the policies.  False: one of them has ended the response, or answered with a Reply of its own.
        """
        for responding in policies:
            outcome = responding(self, head)
            if self.ended or self.started:
                return False
            if outcome is None:
                continue
            if isinstance(outcome, Reply):
                self._replace(outcome, tuple(each for each in policies if each is not responding))
                return False
            self._filters = (*self._filters, outcome)
            head.length = None
            head.fields.drop(b"content-length")
        return True

    def _replace(self, reply: Reply, policies: tuple[Any, ...]) -> None:
        """
        Answer with ``reply`` instead of what a policy was shown.  All others see it as well: it is a response like any.
        """
        self._filters = _NOTHING
        self._detach(ProxyError("proxy_internal_error", "a policy answered instead"))
        head = ResponseHead(reply.status, Fields(reply.fields), length=reply.length)
        if not self.ended and not self.started and self._respond_through(policies, head):
            self._write_head(head, more=True)
            self._send_whole(reply.body)
        else:
            _release(reply.body)

    def _write_head(self, head: ResponseHead, more: bool) -> None:
        status = head.status
        length = head.length
        fields = head.fields
        silent = self.method == b"HEAD" or status in BODYLESS
        names = {field[0] for field in fields}
        if not names.isdisjoint(FRAMING):
            # To a HEAD, and in a 304, Content-Length says what a GET would have had.
            keep = b"content-length" if silent and length is None else b""
            fields = Fields([field for field in fields if field[0] == keep or field[0] not in FRAMING])
        lines = head_block(status, head.phrase, fields)
        if b"server" not in names:
            lines += SERVER_LINE
        if b"date" not in names:
            lines += date_line()
        if status == _SWITCHING:
            if self.head.upgrade is None:
                raise ProxyError("http_upgrade_failed", "the client did not ask for it")
            self.status = status
            self.started = True
            self.channel.write(lines + UPGRADE_LINE + b"\r\n")
            return
        self.status = status
        self.started = True
        self._silent = silent
        if length is not None:
            if status not in BODYLESS:
                lines += b"Content-Length: %d\r\n" % length
            self._left = 0 if silent else length
        elif not silent:
            if self.head.version == b"HTTP/1.1":
                self._chunked = True
                lines += CHUNKED_LINE
            else:
                self.head.keep_alive = False  # the end of the connection is the end of the body
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
        body = self.body
        if channel.closing or not head.keep_alive or (body is not None and not body.complete):
            head.keep_alive = False
            return CLOSE_LINE
        return b"" if head.version == b"HTTP/1.1" else KEEP_ALIVE_LINE

    def send(self, data: bytes) -> None:
        """
        Bytes of the response's body.
        """
        if self.ended or self._silent:
            return
        if not self.started:
            self.fail(ProxyError("proxy_internal_error", "a body was sent before its head"))
            return
        if self._filters:
            try:
                for each in self._filters:
                    data = each.feed(data)
                    if not data:
                        return
            except Exception:
                self.processingFailed(Failure())
                return
        if data:
            self._write_body(data)

    def _write_body(self, data: bytes) -> None:
        size = len(data)
        channel = self.channel
        left = self._left
        if left is not None:
            if size > left:
                self._broken(ProxyError("proxy_internal_error", "more bytes of body than announced"))
                return
            self._left = left - size
        self.sent_bytes += size
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
        if not self.started:
            self.fail(ProxyError("proxy_internal_error", "a response was ended before its head"))
            return
        if self._filters and not self._silent:
            try:
                self._end_filters()
            except Exception:
                self.processingFailed(Failure())
                return
        if self.ended:  # a filter's last words have failed it
            return  # type: ignore[unreachable]  # mypy does not see that
        if self._left or self.status == _SWITCHING:
            self._broken(ProxyError("proxy_internal_error", "fewer bytes of body than announced"))
            return
        if self._chunked:
            try:
                last = last_chunk(trailers)
            except ValueError:
                self.processingFailed(Failure())
                return
            self.channel.write(self._pending + last)
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
        if self.started or self.ended or self.head.version != b"HTTP/1.1":
            return
        try:
            block = head_block(status, PHRASES.get(status, b""), fields)
        except ValueError:
            return  # it is not worth the response that comes after it
        self.channel.write(block + b"\r\n")

    def take_over(self, protocol: IProtocol) -> None:
        """
        After a 101 was sent by ``start``: HTTP has ended, ``protocol`` has the connection, and all bytes that followed.
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
        if self.started:
            self._broken(error)
            return
        if self._failing:  # a policy that sees the page of the first failure has failed in turn
            return
        self._failing = True
        self._error = error
        self._detach(error)
        self._filters = _NOTHING
        reply = errorpage.reply_for(error, self)
        self.respond(reply)
        if not self.started:
            # A policy fails on error pages too: without any, then.
            self._bare = True
            self._filters = _NOTHING
            self.respond(reply)

    def give_up(self, error: ProxyError) -> None:
        """
        The client is as good as gone; nothing more is sent.
        """
        if self.ended:
            return
        self._error = error
        self._disconnected = True
        self._detach(error)
        self._finished(done=False)

    def _broken(self, error: ProxyError) -> None:
        """
        A response that cannot be completed must not look complete.
        """
        self._error = error
        self._disconnected = True
        self._detach(error)
        self._finished(done=False)
        self.channel.abort()

    def _detach(self, error: ProxyError) -> None:
        """
        Whoever produces the response is not wanted any more, and is told so; nothing it does about it counts.
        """
        ended, self.ended = self.ended, True
        watcher, self.watcher = self.watcher, None
        producer, self.producer = self.producer, None
        waiting, self._waiting = self._waiting, None
        self.source = None
        try:
            if watcher is not None:
                watcher.client_gone(error)
            if producer is not None:
                producer.stopProducing()
            if waiting is not None:
                waiting.cancel()
        except Exception:
            self._log.failure("{watcher} failed as it was told of {word}", watcher=watcher, word=error.reason.word)
        self.ended = ended

    def processingFailed(self, reason: Failure) -> Failure:
        """
        A resource or a policy raised: a ProxyError says what to answer, all else is a fault to be logged.
        """
        error = reason.value
        if not isinstance(error, ProxyError):
            self._log.failure("{method} {uri} failed", failure=reason, method=self.method, uri=self.uri)
            error = ProxyError("proxy_internal_error", type(error).__name__)
        self.fail(error.with_traceback(None))  # its frames lead back to us, and we are going to keep it
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
                try:
                    log(self, record)
                except Exception:
                    self._log.failure("the access log failed")
        self.source = None
        self.watcher = None
        self._filters = _NOTHING
        if self.body is not None:
            self.body.discard()
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
            if self._error is None:
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

    def __init__(self, producer: Any, request: Request) -> None:
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


def _release(body: Any) -> None:
    """
    The body of a Reply that is not sent: what it holds open is closed.
    """
    if isinstance(body, FileRange):
        body.close()


def _reply_block(reply: Reply) -> bytes:
    """
    The head of a Reply, as far as it is the same for all requests.

    :raise ValueError: when it would split the response.
    """
    fields = reply.fields
    names = {field[0] for field in fields}
    if not names.isdisjoint(_OURS):
        fields = Fields([field for field in fields if field[0] not in _OURS])
    block = head_block(reply.status, PHRASES.get(reply.status, b""), fields) + SERVER_LINE
    if reply.length is not None and reply.status not in BODYLESS:
        block += b"Content-Length: %d\r\n" % reply.length
    return block


def _bare_address(hop: bytes) -> bytes:
    """
    An entry of X-Forwarded-For without port and brackets.
    """
    if hop[:1] == b"[":
        return hop[1:].partition(b"]")[0]
    return hop.partition(b":")[0] if hop.count(b":") == 1 else hop
