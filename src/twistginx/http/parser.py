"""
Bytes to requests: llhttp, and everything that llhttp leaves to us (RFC 9112).

Facts about llhttp (httptools 0.9) that shape this file, each held by a test:

- It takes any number of Host fields, no size limits, Transfer-Encoding on HTTP/1.0, HTTP/0.9 and 2.0, the methods of
  RTSP and Icecast, fragments in targets.  All of that is decided in ``on_headers_complete``.
- ``on_url`` comes in pieces.  Trailers come through ``on_header``, after the head.
- Pipelined requests are all delivered in one ``feed_data``.  So a feed fills ``messages``, and the channel takes them
  one at a time, outside the callbacks.  A large read is fed in slices, and stays bytes behind the first slice that has
  given a message: heads cost forty times their bytes.
- A value keeps white space at its end.
- An exception raised in a callback ends the parsing there and comes back as the ``__context__`` of an
  HttpParserCallbackError.  That is how a refusal leaves ``on_headers_complete``.
- For an Upgrade it takes the body to be empty, whatever the fields say, and raises HttpParserUpgrade after the head.
  Where the upgrade is not to be (``h2c``, or the request has a body), a fresh parser goes on, primed with the framing.
- ``should_keep_alive`` is right inside the callbacks only.
"""

from __future__ import annotations

import re

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from twistginx.config.units import Size
from twistginx.errors import ProxyError
from twistginx.http.body import RequestBody
from twistginx.http.fieldnames import doubtful, take_out
from twistginx.http.message import Fields, RequestHead, Section
from twistginx.http.plain import HOSTS, HOSTS_BOUND, plain_request
from twistginx.http.wire import connection_options, is_token

#: Fields that decide framing, routing or the connection; all others pass through unread.
_DECIDING = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"),
)

#: A name, IPv4 or [IPv6], with an optional port (RFC 3986 section 3.2.2), nothing percent-encoded.  No label is empty
#: (RFC 1034 section 3.1), but for the root's at the end: a name may become a directory's.
_HOST = re.compile(rb"(?:[a-z0-9_~\-]+(?:\.[a-z0-9_~\-]+)*+\.?|\[[0-9a-f:.]+\])(?::[0-9]{0,5})?\Z")
#: Protocols of an Upgrade field in which further requests would be made.
_CARRIES_HTTP = re.compile(rb"h2|http|tls", re.IGNORECASE)
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)\Z", re.IGNORECASE | re.DOTALL)

#: A Host that is longer is no name of ours, nor worth remembering: a DNS name has 253 bytes at most.
_HOST_BOUND = 300

#: Methods that llhttp knows and we refuse, with the word of the failure.  Those of RTSP and Icecast come with versions
#: that look like HTTP/1.0 to us.
_REFUSED_METHODS = dict.fromkeys((b"CONNECT", b"TRACE"), "method_not_allowed") | dict.fromkeys(
    (
        *(b"ANNOUNCE", b"DESCRIBE", b"FLUSH", b"GET_PARAMETER", b"PAUSE", b"PLAY", b"PRI", b"RECORD", b"REDIRECT"),
        *(b"SETUP", b"SET_PARAMETER", b"SOURCE", b"TEARDOWN"),
    ),
    "method_not_implemented",
)

#: llhttp's words for a version that it does not know, and for the preface of HTTP/2.
_OTHER_VERSIONS = frozenset(("Invalid HTTP version", "Pause on PRI/Upgrade"))

#: What is told in logs of a method that nobody knows, in bytes.
_WORD_BOUND = 32

#: How many bytes on the wire one byte of a body may take: more, for long, and it is a flood of chunk extensions.
_CHUNK_SLACK = 8

#: Digits that a Content-Length may have; 2**64 has as many.
_LENGTH_DIGITS = 20

#: Bytes that are parsed before the channel is asked to take what has come of them.
_SLICE = 16384


def _checked_host(value: bytes) -> bytes:
    """
    The authority in lower case, and without the dot of the root: ``example.com.`` is ``example.com``.

    :raise ProxyError: for what is no host (RFC 9112 section 3.2).
    """
    host = value.strip(b" \t").lower()
    if len(value) > _HOST_BOUND or (host and not _HOST.match(host)):
        raise ProxyError("http_request_error", "the Host is not valid")
    name, colon, port = host.partition(b":")
    if len(name) > 1 and name.endswith(b"."):
        host = name[:-1] + colon + port
    if len(HOSTS) >= HOSTS_BOUND:
        HOSTS.clear()
    HOSTS[value] = HOSTS[host] = host
    return host


class RequestParser:
    """
    One connection's requests.

    ``feed`` bytes, then look at ``messages`` (heads, in order; each has its ``body``), ``refusal`` and ``leftover``.

    :ivar messages: requests that have arrived and that nobody has taken yet, as ``(head, body)``; ``body`` is None
        for a request without one, else a RequestBody that may still be arriving.
    :ivar arriving: the body that is being received, or None.
    :ivar refusal: why the bytes after the last message are no request; nothing is parsed after it.
    :ivar in_head: some bytes of a head have arrived, and its end has not.
    :ivar refused: the request that was refused, as far as it is known.
    :ivar leftover: bytes that are not parsed before ``resume``: there are ``messages`` to be taken first.
    :ivar suspended: the last of ``messages`` asks for an upgrade: all that follows it goes to ``leftover``.
    """

    __slots__ = (
        "_closed",
        "_fields",
        "_fields_bound",
        "_head_bound",
        "_head_size",
        "_idle_bytes",
        "_key",
        "_last",
        "_parser",
        "_pieces",
        "_primed",
        "_section",
        "_target",
        "arriving",
        "in_head",
        "leftover",
        "messages",
        "on_body",
        "refusal",
        "refused",
        "suspended",
    )

    def __init__(self, head_bound: int = 32768, fields_bound: int = 100, key: str = "") -> None:
        """
        :param head_bound: bytes that a head, or a trailer section, may have.
        :param fields_bound: how many fields a head may have.
        :param key: what stands before the names of these settings, for errors: ``listener.edge.``, say.
        """
        self._key = key
        self._head_bound = head_bound
        self._fields_bound = fields_bound
        self._closed = False  # or refused: nothing is parsed any more
        self._parser: HttpRequestParser | None = None  # made for the first message that is not plain
        self._target = b""
        self._fields = Fields()
        self._head_size = 0
        self._idle_bytes = 0  # read since the last byte of the body, and no part of it
        self._last = False
        self._primed = False
        self._section: Section | None = None  # of the last plain request
        self.arriving: RequestBody | None = None
        self.in_head = False
        self.leftover = b""
        self.messages: list[tuple[RequestHead, RequestBody | None]] = []
        self.refusal: ProxyError | None = None
        self.refused: RequestHead | None = None
        self.suspended = False

    def feed(self, data: bytes) -> None:
        """
        Parse ``data``.  Never raises for what a client can send.
        """
        if self.suspended or self.leftover:
            self.leftover += data
            return
        if data[-4:] == b"\r\n\r\n" and not (self.in_head or self._closed or self._last) and self.arriving is None:
            head = plain_request(data, self._head_bound, self._fields_bound, self._section)
            if head is not None:
                self._section = head.section
                if not head.keep_alive:
                    self._last = True
                    self._parser = None  # which knows nothing of this one, and would go on
                self.messages.append((head, None))
                return
        position = 0
        size = len(data)
        while position < size:
            parser = self._parser
            if parser is None:
                if self._closed or self._last:
                    self._drop()
                    return
                parser = self._renew()
            piece = data if size <= _SLICE and not position else data[position : position + self._appetite()]
            position += len(piece)
            arriving = self.arriving
            before = arriving.received if arriving is not None else 0
            continuing = self.in_head
            taken = len(self.messages)
            try:
                parser.feed_data(piece)
            except HttpParserUpgrade as upgrade:
                position -= len(piece) - upgrade.args[0]
                if self._upgraded():
                    self.leftover = data[position:]
                    return
            except HttpParserCallbackError as error:
                context = error.__context__
                if not isinstance(context, ProxyError):
                    raise
                self.refused = RequestHead(parser.get_method(), self._target, b"HTTP/1.1", self._fields)
                self._refuse(context)
                return
            except HttpParserError as error:
                if self._pieces:
                    self._gather()
                if self._last and self.arriving is None:
                    self._drop()  # bytes after a request that said it was the last
                else:
                    wrong = piece if taken == len(self.messages) else b""
                    self._refuse(self._meaning(error, wrong), b"" if continuing else wrong)
                return
            if self._pieces:
                self._gather()
            if self.in_head:
                # What began behind another message is counted from its second read on: a read of slack, no more.
                if continuing or (arriving is None and taken == len(self.messages)):
                    self._head_size += len(piece)
                    if self._head_size > self._head_bound:
                        self._refuse(self._too_large())
            elif arriving is not None and arriving is self.arriving:
                # Chunk extensions, chunk sizes, trailers: whatever is no body is bounded like a head, except that each
                # byte of body pays for a few others: chunks may be small, but not all extension.
                self._idle_bytes += len(piece) - _CHUNK_SLACK * (arriving.received - before)
                self._idle_bytes = max(self._idle_bytes, 0)
                if self._idle_bytes > self._head_bound:
                    self._refuse(self._too_large())
            if position < size and self.messages and self.arriving is None:
                self.leftover = data[position:]
                return

    def resume(self) -> None:
        """
        Go on with what was left over: all messages have been taken, and an upgrade that was asked for was not to be.
        """
        if self.suspended:
            self.suspended = False
            self._renew()
        data, self.leftover = self.leftover, b""
        self.feed(data)

    def unfinished(self) -> RequestHead:
        """
        The request that was refused, or whose head has not ended, as far as it is known: a failure's answer and log go
        by it.
        """
        return self.refused or self._known(b"")

    def _known(self, begin: bytes) -> RequestHead:
        """
        What is known of the request that is arriving.

        :param begin: its first bytes, where they are at hand.
        """
        method, target = b"-", self._target
        if target and self._parser is not None:
            method = self._parser.get_method()
        else:
            words = begin.partition(b"\r\n")[0].split(b" ")
            if is_token(words[0]):
                method, target = words[0][:_WORD_BOUND], b"".join(words[1:2])
        return RequestHead(method, target or b"-", b"HTTP/1.1", self._fields)

    def close(self) -> None:
        """
        Parse nothing any more.  The parser and this object hold each other: this lets both go without a collection.
        """
        self._drop()
        self.arriving = None
        self.suspended = False
        self.leftover = b""
        self.messages.clear()

    def _drop(self) -> None:
        self._closed = True
        self._parser = None
        self._section = None

    # Callbacks of llhttp.

    def on_message_begin(self) -> None:
        self.in_head = True
        self._head_size = 0

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head these are trailers, and stay in the new Fields until on_message_complete.
        self._fields.append((name.lower(), name, value.rstrip()))

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self._primed:
            self._fields = Fields()
            self._target = b""
            return
        parser = self._parser
        assert parser is not None
        fields = self._fields
        target = self._target
        version = parser.get_http_version()
        method = parser.get_method()
        head = RequestHead(method, target, b"HTTP/1.1", fields)
        if version != "1.1":
            if version != "1.0":
                raise ProxyError("http_version_not_supported", f"HTTP/{version}")
            head.version = b"HTTP/1.0"
        if len(fields) > self._fields_bound:
            setting = f"{self._key}limits.fields = {self._fields_bound}"
            raise ProxyError("request_header_too_large", "too many fields", setting)
        size = len(target)
        host = length = coding = expect = upgrade = None
        for lower, name, value in fields:
            size += len(name) + len(value)
            if lower in _DECIDING:
                if lower == b"host":
                    if host is not None:
                        raise ProxyError("http_request_error", "several Host fields")
                    host = HOSTS.get(value)
                    if host is None:
                        host = _checked_host(value)
                elif lower == b"content-length":
                    length = value
                elif lower == b"transfer-encoding":
                    coding = value if coding is None else coding + b"," + value
                elif lower == b"expect":
                    expect = value if expect is None else expect + b", " + value
                elif lower == b"upgrade":
                    upgrade = value if upgrade is None else upgrade + b", " + value
        if size + 4 * len(fields) > self._head_bound:
            raise self._too_large()
        if method in _REFUSED_METHODS:
            raise ProxyError(_REFUSED_METHODS[method], method.decode())
        if host is None:
            if head.version == b"HTTP/1.1":
                raise ProxyError("http_request_error", "no Host field")
            host = b""
        head.host = host
        if doubtful([field[0] for field in fields]):
            head.doubtful = take_out(fields)
        self._split_target(head, target)
        head.keep_alive = parser.should_keep_alive()
        self._last = not head.keep_alive
        if coding is None and length is None:
            body = None
        else:
            body = self._framing(head, length, coding)
        if expect is not None:
            if expect.strip(b" \t").lower() != b"100-continue":
                raise ProxyError("expectation_failed", "only 100-continue can be expected")
            head.expects_continue = body is not None and head.version == b"HTTP/1.1"
        # llhttp asks for an upgrade only where Connection lists it too, or Proxy-Connection, which it takes for that.
        # h2c, and TLS (RFC 2817), are refused by ignoring them: a tunnel would carry requests that nobody sees.  So
        # is an upgrade with a body, and one in HTTP/1.0 (RFC 9110 section 7.8).
        if (
            upgrade is not None
            and body is None
            and version == "1.1"
            and parser.should_upgrade()
            and b"upgrade" in connection_options(fields)
            and not _CARRIES_HTTP.search(upgrade)
        ):
            head.upgrade = upgrade
        self._fields = Fields()
        self._target = b""
        self.arriving = body
        self.messages.append((head, body))

    def on_message_complete(self) -> None:
        if self._pieces:
            self._gather()
        body = self.arriving
        if body is not None:
            if self._primed or not self._parser.should_upgrade():  # type: ignore[union-attr]  # we are called by it
                self._primed = False
                body.trailers, self._fields = self._fields, Fields()
                if body.trailers:
                    take_out(body.trailers)
                body.complete = True
                self.arriving = None
            # Else llhttp skipped the body for an upgrade that we ignore: see _upgraded.

    # Pieces.

    def _renew(self) -> HttpRequestParser:
        """
        Have a fresh llhttp, which most connections never need.
        """
        # Chunks may have one byte each: what a slice has of a body is gathered by calls of C, and put into it at once.
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append
        parser = self._parser = HttpRequestParser(self)
        return parser

    def _gather(self) -> None:
        """
        Put what has come of the body into it.
        """
        pieces = self._pieces
        if self.arriving is not None:
            self.arriving.put(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        pieces.clear()

    def _appetite(self) -> int:
        """
        How many bytes to feed at once: the rest of a body whose length is known is not cut.
        """
        body = self.arriving
        if body is None or body.length is None:
            return _SLICE
        return _SLICE + body.length - body.received

    def _framing(self, head: RequestHead, length: bytes | None, coding: bytes | None) -> RequestBody | None:
        """
        RFC 9112 section 6.3 for requests; llhttp has refused both together, and malformed or repeated lengths.
        """
        self._idle_bytes = 0
        if coding is not None:
            if head.version == b"HTTP/1.0":
                raise ProxyError("http_request_error", "Transfer-Encoding in HTTP/1.0")
            if coding.strip(b" \t").lower() != b"chunked":
                raise ProxyError("method_not_implemented", "a transfer coding other than chunked")
            head.length = None
            return RequestBody(None)
        assert length is not None
        digits = length.strip(b" \t")
        if len(digits) > _LENGTH_DIGITS:
            raise ProxyError("http_request_error", "a Content-Length of too many digits")
        head.length = int(digits)
        if digits[:1] == b"0" and len(digits) > 1:
            # It is sent on without the zeros, in which some see an octal number, or too many digits.
            plain = b"%d" % head.length
            head.fields[:] = [
                (lower, name, plain if lower == b"content-length" else value) for lower, name, value in head.fields
            ]
        return RequestBody(head.length) if head.length else None

    @staticmethod
    def _split_target(head: RequestHead, target: bytes) -> None:
        """
        RFC 9112 section 3.2: origin-form, absolute-form, and ``*`` for OPTIONS.
        """
        if target[:1] != b"/":
            absolute = _ABSOLUTE.match(target)
            if absolute is not None:
                # The authority of the target wins over Host (section 3.2.2).
                host, target = absolute.groups()
                head.host = HOSTS.get(host) or _checked_host(host)
                if not head.host:
                    raise ProxyError("http_request_error", "the target has no host")
                if target[:1] != b"/":
                    target = b"/" + target
                head.target = target
            elif target != b"*" or head.method != b"OPTIONS":
                raise ProxyError("http_request_error", "the target is neither a path nor a URL")
        if b"#" in target:
            raise ProxyError("http_request_error", "the target has a fragment")
        path, mark, query = target.partition(b"?")
        head.path = path
        head.query = query if mark else None

    def _upgraded(self) -> bool:
        """
        llhttp stopped after a head that asks for an upgrade: is that to be?
        """
        head, body = self.messages[-1]
        if head.upgrade is not None:
            self.suspended = True
            return True
        parser = self._renew()
        if body is not None:
            # The body is still to come: tell a fresh parser its framing.
            self.arriving = body
            self._primed = True
            framing = b"Transfer-Encoding: chunked" if body.length is None else b"Content-Length: %d" % body.length
            parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        return False

    def _refuse(self, error: ProxyError, begin: bytes = b"") -> None:
        if self.refused is None and self.arriving is None:
            self.refused = self._known(begin)
        self._drop()
        self.arriving = None
        self.in_head = False
        self.refusal = error.with_traceback(None)  # whose frames lead back to us

    def _too_large(self) -> ProxyError:
        # What the larger half is decides, so that it does not matter how the head was cut.
        word = "request_target_too_long" if 2 * len(self._target) > self._head_bound else "request_header_too_large"
        return ProxyError(word, setting=f"{self._key}limits.header = {Size(self._head_bound)}")

    @staticmethod
    def _meaning(error: HttpParserError, data: bytes) -> ProxyError:
        """
        llhttp's words, as a row of our table.

        :param data: that was fed, when the error is about its begin.
        """
        text = str(error)
        if isinstance(error, HttpParserInvalidMethodError):
            if is_token(data[:1]):
                return ProxyError("method_not_implemented", "an unknown method")
            return ProxyError("http_request_error", "this is not HTTP")
        if text in _OTHER_VERSIONS:
            return ProxyError("http_version_not_supported", text)
        return ProxyError("http_request_error", text)
