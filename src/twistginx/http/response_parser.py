"""
Bytes to one response after another: llhttp, and everything that llhttp leaves to us (RFC 9112).

Facts about llhttp (httptools 0.9) that shape this file, each held by a test:

- It cannot be told that the response is to a HEAD request, and then waits for a body that never comes: such a response
  ends at its head, and a fresh parser goes on.
- A body that lasts until the connection closes has no end event; a body that is cut short has none either.
- Bytes behind a response are parsed as the next response: ``on_message_begin`` is the first that is heard of them, and
  an error in them is raised although the response before is whole.  An empty line is skipped.
- It takes ``HTTP/2.0``, status 000, Transfer-Encoding on HTTP/1.0, any coding, several codings; it refuses
  Content-Length together with Transfer-Encoding, and Content-Length that is malformed or repeated.
- It knows no size limit.  Trailers come through ``on_header``, after the head.
- A 101 is HttpParserUpgrade when its fields say so, and an HttpParserError when they do not.

Nothing is told to anyone from within a callback: the callbacks note what they saw, ``feed`` speaks afterwards.  So a
receiver may do what it likes, even send the next request on the connection.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from twistginx.errors import ProxyError
from twistginx.http.message import Fields, ResponseHead
from twistginx.http.plain import Shape, plain_response
from twistginx.http.trailers import safe_trailers
from twistginx.http.wire import HOP_BY_HOP, printable

#: Bytes that the heads of one answer (the informational ones included), or its trailer section, may have.
HEAD_BOUND: Final = 65536

#: How many bytes on the wire one byte of a body may take: more, for long, and it is a flood of chunk extensions.
_CHUNK_SLACK: Final = 8

#: Fields that decide framing, or how the connection goes on; all others pass through unread.
_DECIDING = HOP_BY_HOP | {b"content-length", b"content-type"}

_NO_OPTIONS: frozenset[bytes] = frozenset()


class ResponseReceiver(Protocol):
    """
    Who is told about a response.  After ``response_end``, ``response_upgraded`` or ``response_failed`` nothing more
    is called.
    """

    def response_informational(self, head: ResponseHead) -> None:
        """
        A 1xx response other than 101 came; the answer is still to come.
        """

    def response_head(self, head: ResponseHead, more: bool) -> None:
        """
        The answer's head, which belongs to the receiver.  ``head.fields`` has no hop-by-hop fields any more.

        :param more: data or the end follow in this same turn of the reactor.
        """

    def response_data(self, data: bytes) -> None:
        """
        The next bytes of the body, without chunk framing; never empty.
        """

    def response_end(self, trailers: Fields | None) -> None:
        """
        The answer is complete; ``trailers`` are None when it has none.
        """

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        """
        Head, data and end in one: a plain answer (``http.plain``) that came in one read.
        """

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """
        The protocol was changed as asked for (101): the connection belongs to the receiver, which is to hand it over
        before it returns.  ``rest`` are the bytes behind the head.
        """

    def response_failed(self, error: ProxyError) -> None:
        """
        There will be no (complete) answer; the connection is gone.
        """


class ResponseParser:
    """
    The responses of one connection.

    ``expect`` a response, ``feed`` bytes until it says that the response is complete; then expect the next one if
    ``reusable``.

    :ivar head: of the answer, once it is complete; None before.
    :ivar complete: the last byte of the answer has arrived.
    :ivar body: of a plain answer that came whole (``http.plain``), of which nothing has been told; None otherwise.
    :ivar reusable: the connection may be used again when the answer is complete: it ended where its framing says.
    :ivar interim: how many informational responses have come.
    :ivar linger: the seconds of ``Keep-Alive: timeout=``, by which a server announces when it closes an idle
        connection; None when it did not.
    :ivar event_stream: the body is ``text/event-stream``, in which silence is not a fault.
    :ivar upgrade: the protocols of a 101 (the value of Upgrade); None for any other answer.
    :ivar rest: what follows a 101.
    :ivar trailers: of the answer, when it is complete; None when it has none.
    """

    __slots__ = (
        "_begun",
        "_bodiless",
        "_cut",
        "_deciding",
        "_failure",
        "_fields",
        "_informational",
        "_modern",
        "_parser",
        "_phrase",
        "_pieces",
        "_quiet",
        "_receiver",
        "_seen",
        "_shape",
        "_stale",
        "_told",
        "_until_close",
        "body",
        "complete",
        "event_stream",
        "head",
        "interim",
        "linger",
        "on_body",
        "on_message_begin",
        "rest",
        "reusable",
        "trailers",
        "upgrade",
    )

    def __init__(self) -> None:
        self._begun: list[None] = []
        self.body: bytes | None = None
        self._deciding: list[tuple[bytes, bytes]] = []
        self._fields = Fields()
        self._pieces: list[bytes] = []
        self._stale = False
        self._shape: Shape | None = None  # of the last plain answer
        self.linger: float | None = None
        # Of these two callbacks llhttp makes calls of C only.
        self.on_body = self._pieces.append
        self.on_message_begin = partial(self._begun.append, None)
        self._parser: Any = HttpResponseParser(self)

    def expect(self, receiver: ResponseReceiver, bodiless: bool = False) -> None:
        """
        The next bytes are the response to a request that is being sent.

        :param bodiless: the request is HEAD: whatever the head says, no body follows.
        """
        if self._stale:
            self._parser = HttpResponseParser(self)
            self._stale = False
        self._bodiless = bodiless
        self._receiver: ResponseReceiver | None = receiver
        self._seen = 0
        self.body = None
        self.complete = False
        self.head: ResponseHead | None = None
        self.interim = 0
        self.reusable = False
        self.trailers: Fields | None = None
        self.upgrade: bytes | None = None

    def _begin(self) -> None:
        """
        Forget what is noted of the answer before, where one is taken apart.
        """
        self._cut = 0
        self._failure: ProxyError | None = None
        self._informational: list[ResponseHead] | None = None
        self._modern = False
        self._phrase = b""
        self._quiet = 0
        self._told = False
        self._until_close = False
        self.event_stream = False
        self.rest = b""

    def feed(self, data: bytes) -> bool:
        """
        Parse ``data``, and tell the receiver what it made.

        The end is not told: that it has come is what this returns, so that whoever owns the connection can see to the
        connection first, and then call ``response_end`` (or ``response_upgraded``).

        :return: True when the response is complete.
        :raise ProxyError: when this is no response, or too large a one.  Nothing is told of what came in the same
            bytes as the fault, so that a client who has heard nothing yet can still be told of the fault.
        """
        if self.head is None:
            seen = self._seen
            if not seen:
                if not (self._bodiless or self._stale):
                    shape = self._shape
                    head = shape.head(data) if shape is not None else None
                    if head is None:
                        plain = plain_response(data, HEAD_BOUND)
                        if plain is not None:
                            head, self._shape = plain
                    if head is not None:
                        self.head = head
                        self.body = data[len(data) - head.length :]  # type: ignore[operator]  # a plain one has a length
                        self._seen = len(data)
                        self.complete = self.reusable = True
                        return True
                self._begin()
                # Asking llhttp for the version costs half a microsecond.
                self._modern = data.startswith(b"HTTP/1.1 ")
                if data[:1] == b"R":  # RTSP, which llhttp takes for HTTP/1.0
                    raise ProxyError("http_protocol_error", "not HTTP")
            self._seen = seen + len(data)
            if self._seen > HEAD_BOUND:
                # Is it the head that these bytes are of?  The answer is not to depend on how they were cut.
                room = HEAD_BOUND - seen
                self._parse(data[:room])
                if self.head is None and self._failure is None:  # type: ignore[redundant-expr]  # _parse sets it
                    raise _too_large("head")
                data = data[room:]
                if self.upgrade is not None:
                    self.rest += data
                    data = b""
        if data:
            self._parse(data)
        if self._failure is not None:
            raise self._failure
        return self._tell(len(data))

    def eof(self, clean: bool) -> None:
        """
        The connection has ended before the answer was complete.  Returns when that completes it.

        :param clean: the end is an orderly one; a reset, or TLS without its closing alert, may have cut off anything.
        :raise ProxyError: when the answer is cut short.
        """
        if not self._seen:
            raise ProxyError("connection_terminated", "closed before the first byte of an answer")
        if self.head is None:
            raise ProxyError("http_response_incomplete", "closed within the head")
        if not self._until_close:
            raise ProxyError("http_response_incomplete", "closed within the body")
        if not clean:
            raise ProxyError("http_response_incomplete", "broken off, where only an orderly end ends the body")
        self.complete = True

    def drop(self) -> None:
        """
        Tell the receiver nothing more.
        """
        self._receiver = None

    def close(self) -> None:
        """
        Parse nothing any more.  The parser and this object hold each other: this lets both go without a collection.
        """
        self._receiver = None
        self._parser = None

    # Callbacks of llhttp.

    def on_status(self, piece: bytes) -> None:
        self._phrase += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head these are trailers, and stay in the new Fields.
        lower = name.lower()
        if lower in _DECIDING:
            self._deciding.append((lower, value))
            if lower in HOP_BY_HOP:
                return
        # llhttp leaves a trailing tab.
        self._fields.append((lower, name, value.rstrip()))

    def on_headers_complete(self) -> None:
        if self.head is not None or self._failure is not None:
            return  # bytes behind the answer, which happen to look like another one
        fields, self._fields = self._fields, Fields()
        phrase, self._phrase = self._phrase, b""
        parser = self._parser
        status = parser.get_status_code()
        modern = self._modern
        if not modern:
            version = parser.get_http_version()
            modern = version == "1.1"
            if not modern and version != "1.0":
                self._failure = ProxyError("http_protocol_error", f"HTTP/{version}")
                return
        head = ResponseHead(status, fields, printable(phrase))
        length: int | None = None
        coding = upgrade = None
        options = _NO_OPTIONS
        for lower, value in self._deciding:
            if lower == b"content-length":
                length = int(value)
            elif lower == b"content-type":
                self.event_stream = value[:17].lower() == b"text/event-stream"
            elif lower == b"transfer-encoding":
                coding = value if coding is None else coding + b"," + value
            elif lower == b"connection":
                options |= frozenset([option.strip() for option in value.lower().split(b",")])
            elif lower == b"keep-alive":
                self.linger = announced_linger(value)
            elif lower == b"proxy-connection":
                self._stale = True  # llhttp takes it for Connection, and would read nothing behind a "close"
            elif lower == b"upgrade":
                upgrade = value if upgrade is None else upgrade + b", " + value
        self._deciding.clear()
        if options:
            # Whatever Connection names is hop-by-hop as well (RFC 9110 section 7.6.1), but for what it may not name.
            kept = [field for field in fields if field[0] not in options or field[0] in _DECIDING]
            if len(kept) != len(fields):
                fields[:] = kept
        if status < 200:  # RFC 9110 section 15.2
            self._interim_head(head, length, coding, upgrade)
            return
        if coding is not None and not (modern and coding.strip().lower() == b"chunked"):
            # Neither undone here nor described to the client, who would take it for plain (RFC 9112 section 6.1).
            self._failure = ProxyError(
                "http_response_transfer_coding",
                "a Transfer-Encoding that is not chunked, or in HTTP/1.0",
                received=status,
            )
            return
        framed = True
        head.length = length
        if self._bodiless:
            # Of bytes behind it, a part of a chunk's size would go unseen.
            framed = coding is None
            self._stale = self.complete = True
            self._begun.clear()
        elif status == 204:
            head.length = 0
            fields.drop(b"content-length")
        elif status != 304:
            framed = length is not None or coding is not None
            self._until_close = not framed
        head.close = b"close" in options or not (modern or b"keep-alive" in options)
        self.reusable = framed and not head.close
        self.head = head

    def on_message_complete(self) -> None:
        if self.head is None or self.complete:
            return
        self.complete = True
        self._cut = len(self._pieces)
        # What is noted from here on lies behind the answer.
        self._begun.clear()
        if self._fields:
            self.trailers, self._fields = self._fields, Fields()

    # Pieces.

    def _interim_head(
        self, head: ResponseHead, length: int | None, coding: bytes | None, upgrade: bytes | None
    ) -> None:
        """
        A 1xx.  101 is an answer, after which there is no HTTP; the others only come before one.
        """
        self._modern = False
        head.length = 0
        if head.status < 100 or length or coding is not None:
            detail = f"a {head.status:03d} with a body, or no such status"
            self._failure = ProxyError("http_protocol_error", detail, received=head.status)
        elif head.status != 101:
            head.fields.drop(b"content-length")
            if self._informational is None:
                self._informational = []
            self._informational.append(head)
        elif upgrade is None:
            self._failure = ProxyError("http_upgrade_failed", "101 without Upgrade", received=101)
        else:
            head.fields.add(b"Upgrade", upgrade)
            self.upgrade = upgrade
            self.head = head

    def _parse(self, data: bytes) -> None:
        """
        Have llhttp parse ``data``, and take its exceptions for what they mean.
        """
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as stopped:
            self._stale = True
            self.rest = data[stopped.args[0] :]
        except HttpParserError as error:
            self._stale = True
            if self.upgrade is not None:
                self._failure = ProxyError("http_upgrade_failed", "101 without Connection: Upgrade", received=101)
            elif self.complete:
                self.reusable = False  # the error is in what lies behind the answer
            elif self._failure is None:
                self._failure = ProxyError("http_protocol_error", str(error))

    def _tell(self, size: int) -> bool:
        """
        Tell what the callbacks have noted of ``size`` bytes.
        """
        receiver = self._receiver
        if self._informational is not None:
            informational, self._informational = self._informational, None
            for interim in informational:
                self.interim += 1
                if self._receiver is receiver and receiver is not None:
                    receiver.response_informational(interim)
        head = self.head
        if head is not None and not self._told:
            self._told = True
            if self.upgrade is None and self._receiver is receiver and receiver is not None:
                receiver.response_head(head, self.complete or bool(self._pieces))
        pieces = self._pieces
        if self.complete:
            if self._begun or len(pieces) > self._cut:
                self.reusable = False
                del pieces[self._cut :]
            if self.trailers is not None:
                self._check_trailers(self.trailers)
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            if not self.complete and (self._quiet or size > _CHUNK_SLACK * len(data)):
                self._count(size - _CHUNK_SLACK * len(data))
            if self._receiver is receiver and receiver is not None:
                receiver.response_data(data)
        elif head is not None and not self.complete:
            self._count(size)
        return self.complete

    def _count(self, size: int) -> None:
        """
        Chunk extensions, chunk sizes, trailers: whatever is no body is bounded like a head, with slack.

        :param size: bytes that are no body; each byte of body pays for a few of them.
        """
        self._quiet = max(0, self._quiet + size)
        if self._quiet > 2 * HEAD_BOUND:
            raise _trailers_too_large("trailer section, or what surrounds a chunk,")

    def _check_trailers(self, trailers: Fields) -> None:
        if sum([len(name) + len(value) + 4 for _, name, value in trailers]) > HEAD_BOUND:
            raise _trailers_too_large("trailer section")
        trailers[:] = safe_trailers(trailers)


def announced_linger(value: bytes) -> float | None:
    """
    The seconds that a ``Keep-Alive`` field announces (RFC 2068 section 19.7.1.1), or None.
    """
    for parameter in value.split(b","):
        name, _, number = parameter.partition(b"=")
        if name.strip().lower() == b"timeout" and number.strip().isdigit():
            return float(number)
    return None


def _too_large(what: str) -> ProxyError:
    return ProxyError("http_response_header_section_size", f"the {what} has more than {HEAD_BOUND} bytes")


def _trailers_too_large(what: str) -> ProxyError:
    return ProxyError("http_response_trailer_section_size", f"the {what} has more than {HEAD_BOUND} bytes")
