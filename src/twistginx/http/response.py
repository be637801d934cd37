"""
A response, on its way to the client.

It goes through one of three doors, once: ``respond`` (whole), ``start`` - ``send`` - ``end`` (in pieces), ``fail`` (an
error page, or a visibly broken connection).  Twisted's ``write`` and ``finish`` lead to the second.  Behind each door
stand the policies of the route, and behind them the channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from twistginx.errors import ProxyError
from twistginx.http import errorpage, requestid
from twistginx.http.ending import NOTHING, Ending
from twistginx.http.filebody import FileBody
from twistginx.http.message import PHRASES, Diversion, Fields, FileRange, Reply, ResponseHead
from twistginx.http.wire import (
    BODYLESS,
    CHUNKED_LINE,
    CLOSE_LINE,
    FRAMING,
    KEEP_ALIVE_LINE,
    SERVER_LINE,
    STATUS_LINES,
    UPGRADE_LINE,
    chunk_size,
    date_line,
    head_block,
    last_chunk,
)
from twistginx.net.sendfile import FileSending

#: Up to this size, in bytes, two pieces are joined: one copy is cheaper than one more piece to write.
_JOIN = 16384

#: What a Reply has been promised to be given, and so cannot say itself.
_OURS = FRAMING | {b"date", b"server"}

_SWITCHING = 101


class Response(Ending):
    """
    The half of a request that answers it; see ``http.request.Request``.
    """

    # State, until it is set.
    request_id: bytes
    from_trusted: bool
    started = False
    split = b""  # the upstream that a split has chosen
    remote_user = b""  # who has proved to be somebody
    vouched: frozenset[bytes] = frozenset()  # names of fields that policies of ours have put into the head
    admitted = False  # the policies of the route have all let it in; not set where there are none to ask
    limits: dict[bytes, Any] | None = None  # what limits have granted, by their prefix: one request counts once
    shown: dict[str, Any] | None = None  # credentials, by the policy that they were for; the head may not have them
    tunnel: list[Callable[[], object]] | None = None  # to be called when it ends, where somebody knows of the end
    matched_path = b""
    routed_path = b""  # the same before a rewrite; empty where there was none
    captured: Any = None  # what the route's pattern has found: the path, the spans, the numbers of the names
    retargeted = False
    decided: dict[Any, bool] | None = None  # which policies with ``when`` apply, as far as that has been asked
    _chunked = False
    _silent = False  # nothing of the body is sent: HEAD, 204, 304
    _left: int | None = None  # bytes of the announced length that are still to be sent
    _pending = b""
    diverted: ResponseHead | None = None  # the response in whose place another route answers
    _failing = False  # an error page is under way
    _bare = False  # no policy is to see the response any more
    _collected: Any = None

    # The response, whole.

    def respond(self, reply: Reply) -> None:
        """
        Answer with ``reply``.
        """
        body = reply.body
        if self.started or self.ended:
            release(body)
            return
        route = self.route
        if (route is not None and route.responding and not self._bare) or not isinstance(body, bytes):
            # Through the policies, or with a body that is not bytes.
            head = ResponseHead(reply.status, Fields(reply.fields), length=reply.length)
            if self._start(head, more=True):
                self._send_whole(body)
            else:
                release(body)
            return
        wire = reply.wire
        if wire is None:
            try:
                wire = reply.wire = _reply_block(reply)
            except ValueError:
                self.processingFailed(Failure())
                return
        status = self.status = reply.status
        self.started = True
        asked = self.head
        if body and (asked.method == b"HEAD" or status in BODYLESS):
            body = b""
        channel = self.channel
        if self.body is None and asked.keep_alive and not channel.closing and asked.version == b"HTTP/1.1":
            ended = b"\r\n"
        else:
            ended = self._connection_line() + b"\r\n"
        self.sent_bytes = len(body)
        if len(body) <= _JOIN:
            channel.transport.write(b"".join((wire, date_line(), ended, body)))
        else:
            channel.writeSequence([b"".join((wire, date_line(), ended)), body])
        self._finished()

    def _send_whole(self, body: Any) -> None:
        """
        The body of a Reply, after its head.
        """
        if self._silent:
            release(body)
            self.end()
        elif isinstance(body, bytes):
            self.send(body)
            self.end()
        elif isinstance(body, FileRange):
            self.watcher = self.source = file_body = FileBody(body, self)
            file_body.begin()
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
            if isinstance(outcome, Diversion):
                self._divert(outcome.route, head)
                return False
            self._filters = (*self._filters, outcome)
            head.length = None
            head.fields.drop(b"content-length")
        return True

    def _replace(self, reply: Reply, policies: tuple[Any, ...]) -> None:
        """
        Answer with ``reply`` instead of what a policy was shown.  All others see it as well: it is a response like any.
        """
        self._drop_filters()
        self._detach(ProxyError("proxy_internal_error", "a policy answered instead"))
        head = ResponseHead(reply.status, Fields(reply.fields), length=reply.length)
        if not self.ended and not self.started and self._respond_through(policies, head):
            self._write_head(head, more=True)
            self._send_whole(reply.body)
        else:
            release(reply.body)

    def _divert(self, route: Any, head: ResponseHead) -> None:
        """
        Have ``route`` answer instead of ``head``; once.
        """
        self._drop_filters()
        self.diverted = head
        self._detach(self.error or ProxyError("proxy_internal_error", "another route answers instead"))
        if self.ended or self.started:
            return
        self._failing = False
        self.route = route
        self._render()

    def _render(self) -> None:
        """
        Have the resource of the route answer; see ``http.request.Request``.
        """
        raise NotImplementedError

    def _write_head(self, head: ResponseHead, more: bool) -> None:
        status = head.status
        length = head.length
        silent = self.head.method == b"HEAD" or status in BODYLESS
        fields = head.fields
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

    def pass_on(self, head: ResponseHead, body: bytes) -> None:
        """
        Answer with a plain answer of an upstream (``http.plain``), whole, and the request's id: nobody has looked at
        its fields, and they pass in one piece.
        """
        route = self.route
        asked = self.head
        if route.responding or head.block is None or self.started or self.ended or asked.method == b"HEAD":
            head.put(requestid.LOWER, requestid.NAME, self.request_id)
            if self._start(head, more=True):
                self.send(body)
                self.end()
            return
        status = self.status = head.status
        self.started = True
        block = head.block
        if head.stamped is block:
            server = date = b""
        else:
            lowered = head.lowered
            server = b"" if b"\nserver:" in lowered else SERVER_LINE
            date = b"" if b"\ndate:" in lowered else date_line()
        self.sent_bytes = len(body)
        channel = self.channel
        if self.body is None and asked.keep_alive and not channel.closing and asked.version == b"HTTP/1.1":
            connection = b""
        else:
            connection = self._connection_line()
        lines = b"%b%bX-Request-ID: %b\r\n%b%b%b\r\n" % (
            STATUS_LINES[status],
            block[2:],
            self.request_id,
            server,
            date,
            connection,
        )
        if len(body) <= _JOIN:
            channel.transport.write(lines + body)
        else:
            channel.writeSequence([lines, body])
        self._finished()

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

    # What filters call that need time.

    def push(self, origin: Any, data: bytes) -> None:
        """
        Bytes that the filter ``origin`` has kept back, and lets go now.
        """
        filters = self._filters
        if self.ended or origin not in filters:
            return
        try:
            for each in filters[filters.index(origin) + 1 :]:
                if not data:
                    return
                data = each.feed(data)
        except Exception:
            self.processingFailed(Failure())
            return
        if data:
            self._write_body(data)

    def hold(self) -> None:
        """
        A filter has more than it can do: whatever produces the response is to wait until ``go_on``.
        """
        if not self.held:
            self.held = True
            self.pause_source()

    def go_on(self) -> None:
        """
        The filter that has held the response has done what it had.
        """
        if not self.held or any(getattr(each, "busy", False) for each in self._filters):
            return
        self.held = False
        ending, self._ending = self._ending, None
        if ending is not None:
            self.end(ending[0])
        elif self.channel.writable:
            self.resume_source()

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

    def send_file(self, part: FileRange) -> FileSending | None:
        """
        Send the whole body past this process, if this is a connection that can do that, and a body that needs nothing
        done to it.  The caller says by ``passed`` how much of it was sent.

        :return: None where the bytes are to be sent by ``send``.
        """
        # Twisted's TLS passes on what it does not have itself: sent like this, a file would go past TLS, in the clear.
        if self._left != part.length or self._filters or self.channel.scheme != b"http":
            return None
        send_file = getattr(self.channel.transport, "send_file", None)
        if send_file is None:
            return None
        self.flush()
        sending: FileSending | None = send_file(part.descriptor, part.start, part.length)
        return sending

    def passed(self, size: int) -> None:
        """
        So many bytes of the body have been sent past this process.
        """
        self.sent_bytes += size
        self._left -= size  # type: ignore[operator]  # ``send_file`` has seen that it is a number

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
            if self.held:
                self._ending = (trailers,)
                return
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
        filters, self._filters = self._filters, NOTHING
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

    def take_over(self, protocol: IProtocol, leave: Callable[[], object] | None = None) -> None:
        """
        After a 101 was sent by ``start``: HTTP has ended, ``protocol`` has the connection, and all bytes that followed.

        :param leave: asks ``protocol`` to end, when the listener drains; None: it ends when it likes, or is cut.
        """
        channel = self.channel
        self.watcher = None
        self._finished(done=False)
        channel.take_over(protocol, leave)

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
        self.error = error
        self._detach(error)
        self._drop_filters()
        reply = errorpage.reply_for(error, self)
        route = self.route
        self.respond(reply)
        if not self.started and self.route is route:  # type: ignore[redundant-expr]  # respond has changed it
            # A policy fails on error pages too: without any, then.
            self._bare = True
            self._drop_filters()
            self.respond(reply)

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


def release(body: Any) -> None:
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
