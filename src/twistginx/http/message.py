"""
The nouns of HTTP: fields, heads, replies, records.  Pure data; bytes as they are on the wire.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.web.http import RESPONSES

if TYPE_CHECKING:
    from twistginx.http.stencil import Stencil

#: Status code to reason phrase, the registered ones.
PHRASES: dict[int, bytes] = {**RESPONSES, 103: b"Early Hints", 418: b"I'm a teapot", 421: b"Misdirected Request"}
PHRASES.update({425: b"Too Early", 426: b"Upgrade Required", 429: b"Too Many Requests"})
PHRASES.update({431: b"Request Header Fields Too Large", 499: b"Client Closed Request"})
# As RFC 9110 has them now.
PHRASES.update({408: b"Request Timeout", 413: b"Content Too Large", 414: b"URI Too Long"})
PHRASES.update({416: b"Range Not Satisfiable", 422: b"Unprocessable Content", 504: b"Gateway Timeout"})
PHRASES.update({505: b"HTTP Version Not Supported"})


class Fields(list[tuple[bytes, bytes, bytes]]):
    """
    A field section in wire order: ``(lower, name, value)`` triples.

    ``lower`` is the name in lower case, which is what lookups compare; ``name`` is as it was sent, and is what is
    sent on.  It is a plain list, so that the hot path appends and walks at C speed; all ``name`` arguments below are
    in lower case.
    """

    __slots__ = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Fields:
        """
        Fields from ``(name, value)`` pairs.
        """
        return cls([(name.lower(), name, value) for name, value in pairs])

    def first(self, lower: bytes) -> bytes | None:
        """
        The value of the first field of that name, or None.
        """
        for key, _, value in self:
            if key == lower:
                return value
        return None

    def every(self, lower: bytes) -> list[bytes]:
        """
        The values of all fields of that name, in order.
        """
        return [value for key, _, value in self if key == lower]

    def joined(self, lower: bytes) -> bytes:
        """
        All values of that name as one list value (RFC 9110 section 5.3); empty when there is none.
        """
        return b", ".join(self.every(lower))

    def add(self, name: bytes, value: bytes) -> None:
        """
        Append a field; earlier ones of the name stay.
        """
        self.append((name.lower(), name, value))

    def put(self, name: bytes, value: bytes) -> None:
        """
        Append a field; earlier ones of the name go.
        """
        self.drop(name.lower())
        self.append((name.lower(), name, value))

    def drop(self, lower: bytes) -> None:
        """
        Remove all fields of that name.
        """
        if any(field[0] == lower for field in self):
            self[:] = [field for field in self if field[0] != lower]

    def __contains__(self, lower: object) -> bool:
        return any(field[0] == lower for field in self)


class _Head:
    """
    A field section that is parsed when somebody looks at it.

    Most heads are looked at for two or three names, and passed on; those are found in the section as it was received.
    Whoever wants ``fields`` gets a list that may be changed, and from then on the list is the truth.

    :ivar block: the section as it was received, from the line end of the first line to that of the last field, or None
        when it is not known or the list has been made.  llhttp has accepted it: there is no line end in it but between
        fields, and no space before a colon.
    """

    __slots__ = ("_fields", "_lowered", "block")

    block: bytes | None
    _fields: Fields | None
    _lowered: bytes | None

    @property
    def lowered(self) -> bytes:
        """
        ``block`` in lower case, while there is a block.
        """
        lowered = self._lowered
        if lowered is None:
            assert self.block is not None
            lowered = self._lowered = self.block.lower()
        return lowered

    @lowered.setter
    def lowered(self, lowered: bytes) -> None:
        self._lowered = lowered

    @property
    def fields(self) -> Fields:
        """
        The fields, in wire order.
        """
        fields = self._fields
        if fields is None:
            block = self.block
            assert block is not None
            fields = self._fields = Fields()
            for line in block[2:-2].split(b"\r\n"):
                name, _, value = line.partition(b":")
                fields.append((name.lower(), name, value.strip(b" \t")))
            self.block = None
        return fields

    @fields.setter
    def fields(self, fields: Fields) -> None:
        self._fields = fields
        self.block = None

    def put(self, lower: bytes, name: bytes, value: bytes) -> None:
        """
        Append a field; earlier ones of the name go.  The list is not made for it, where there are none.
        """
        block = self.block
        if block is None or b"\r\n%b:" % lower in self.lowered:
            fields = self.fields
            fields.drop(lower)
            fields.append((lower, name, value))
        else:
            line = b"%b: %b\r\n" % (name, value)
            self._lowered = self.lowered + line.lower()
            self.block = block + line

    def drop(self, lower: bytes) -> None:
        """
        Remove all fields of that name.  The list is not made for it.
        """
        block = self.block
        if block is None:
            self.fields.drop(lower)
            return
        mark = b"\r\n%b:" % lower
        lowered = self.lowered
        start = lowered.find(mark)
        while start >= 0:
            end = lowered.find(b"\r\n", start + 2)
            block = block[:start] + block[end:]
            lowered = lowered[:start] + lowered[end:]
            start = lowered.find(mark, start)
        self.block, self._lowered = block, lowered

    def first(self, lower: bytes) -> bytes | None:
        """
        The value of the first field of that name, or None; the list is not made for it.
        """
        block = self.block
        if block is None:
            return self.fields.first(lower)
        start = self.lowered.find(b"\r\n%b:" % lower)
        if start < 0:
            return None
        start += len(lower) + 3
        return block[start : block.find(b"\r\n", start)].strip(b" \t")


class Section:
    """
    The field section of a plain request (``http.plain``), and what has been found out about it.

    A client says the same again with most of its requests: those that follow each other on a connection share it then.
    It is not to be changed.

    :ivar block: as in :class:`RequestHead`; and so ``marks``, ``host`` and ``keep_alive``.
    :ivar connection: the line of its Connection field, with the line end before it; empty: it has none.
    :ivar stencil: what it has in common with the one before, where that was not the same; None: that is not known.
    :ivar passed: as it is passed on: without Connection; None: nobody has asked yet.
    :ivar told: what the access log says of it; None: nothing yet.
    """

    __slots__ = ("block", "connection", "host", "keep_alive", "marks", "passed", "stencil", "told")

    def __init__(self, block: bytes, marks: list[bytes], host: bytes, keep_alive: bool) -> None:
        self.block = block
        self.marks = marks
        self.host = host
        self.keep_alive = keep_alive
        self.connection = b""
        self.stencil: Stencil | None = None
        self.passed: bytes | None = None
        self.told: bytes | None = None

    def without_connection(self) -> bytes:
        """
        The block without its Connection field, if it has one.
        """
        passed = self.passed
        if passed is None:
            passed = self.block
            if self.connection:
                passed = passed.replace(self.connection, b"", 1)
            self.passed = passed
        return passed


#: Names, or beginnings of names, that ``RequestHead.marks`` says the presence of: what makes a request conditional or
#: partial, asks for a digest, names a user, or is not to be passed on as it is.
MARKS = (
    *(b"if-", b"range:", b"want-", b"authorization:"),
    *(
        b"te:",
        b"trailer:",
        b"keep-alive:",
        b"proxy-",
        b"http2-settings:",
        b"forwarded:",
        b"x-forwarded-",
        b"x-request-id:",
    ),
)


class RequestHead(_Head):
    """
    A request's line and fields, and what the framing rules (RFC 9112 section 6) made of them.

    :ivar method: as sent, ``b"GET"``.
    :ivar target: the request-target as sent; never decoded.
    :ivar version: ``b"HTTP/1.1"`` or ``b"HTTP/1.0"``.
    :ivar host: the authority that the request is for: of an absolute target, or the Host field; lower case, with its
        port; empty when an HTTP/1.0 client sent none.
    :ivar path: the path of the target, without query, as sent; ``b"*"`` for the asterisk form.
    :ivar query: what follows the first ``?``; None when there is no ``?``.
    :ivar length: of the body in bytes; None when it is chunked.  0 when there is none.
    :ivar keep_alive: may the connection be used again after this message?
    :ivar upgrade: the value of the Upgrade field when the client asks to change the protocol; None otherwise.
    :ivar doubtful: fields that the parser has taken out, because their names might be taken for others
        (``http.fieldnames``); None where there are none.
    :ivar expects_continue: the client waits for ``100 (Continue)`` before it sends the body.
    :ivar marks: which of the names that many ask for it has, as in :data:`MARKS`; None when nobody has looked.
    :ivar section: what ``block`` was taken from, where that is known; it is the truth while it has the same ``block``.
    """

    __slots__ = (
        "doubtful",
        "expects_continue",
        "host",
        "keep_alive",
        "length",
        "marks",
        "method",
        "path",
        "query",
        "section",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, method: bytes, target: bytes, version: bytes, fields: Fields | None) -> None:
        """
        :param fields: None: ``block`` is set by the caller.
        """
        self.method = method
        self.target = target
        self.version = version
        self._fields = fields
        self._lowered = None
        self.block = None
        self.host = b""
        self.path = target
        self.doubtful: Fields | None = None
        self.query: bytes | None = None
        self.length: int | None = 0
        self.keep_alive = True
        self.upgrade: bytes | None = None
        self.expects_continue = False
        self.marks: list[bytes] | None = None
        self.section: Section | None = None

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r}>"


class ResponseHead(_Head):
    """
    A response's status and fields, and its framing.

    Whoever makes one sets no ``Connection`` and no ``Transfer-Encoding``: framing is the channel's.

    :ivar phrase: the reason phrase, without meaning; empty is allowed.
    :ivar length: of the body in bytes, when it is known; None: chunked, or until the connection closes.
    :ivar close: of a head that was read: the message says that the connection ends after it.  Where it is written, it
        decides nothing.
    :ivar stamped: a block that is known to have Server and Date; None: nobody has looked.
    """

    __slots__ = ("close", "length", "phrase", "stamped", "status")

    def __init__(
        self,
        status: int,
        fields: Fields | None,
        phrase: bytes | None = None,
        length: int | None = None,
        close: bool = False,
    ) -> None:
        """
        :param fields: None: ``block`` is set by the caller.
        """
        self.status = status
        self._fields = fields
        self._lowered = None
        self.block = None
        self.phrase = PHRASES.get(status, b"") if phrase is None else phrase
        self.length = length
        self.close = close
        self.stamped: bytes | None = None

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} length={self.length}>"


class FileRange:
    """
    Bytes of an open file, as a body.  Whoever is handed it owns the descriptor, and closes it.

    :ivar descriptor: open for reading; positioned reads only, its offset is not used.  -1 when it has been closed.
    :ivar start: of the first byte.
    :ivar length: in bytes.
    """

    __slots__ = ("descriptor", "length", "start")

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        self.descriptor = descriptor
        self.start = start
        self.length = length

    def close(self) -> None:
        """
        Release the file; again does nothing.
        """
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Reply:
    """
    A whole response.

    A Reply whose body is bytes may be kept and used for any number of requests; it is not to be changed after its
    first use, because its wire form is made once.

    :ivar status: 200 to 599.
    :ivar fields: without framing, Date, Server and Connection.
    :ivar body: bytes, a :class:`FileRange` (which belongs to this one response), or a callable that is given the
        request after the head was written, and goes on with ``request.send`` and ``request.end``.  It is dropped
        uncalled when no body is sent: to a HEAD, or when a policy answers instead.
    :ivar length: of the body; None for a callable that does not know it.
    :ivar wire: the head's cached wire form; the channel's.
    """

    __slots__ = ("body", "fields", "length", "status", "wire")

    def __init__(
        self,
        status: int,
        fields: Fields | Iterable[tuple[bytes, bytes]] = (),
        body: Any = b"",
        length: int | None = None,
    ) -> None:
        self.status = status
        self.fields = fields if isinstance(fields, Fields) else Fields.of(fields)
        self.body = body
        if length is None and not callable(body):
            length = len(body) if isinstance(body, bytes) else body.length
        self.length = length
        self.wire: bytes | None = None

    def __repr__(self) -> str:
        return f"<Reply {self.status} {len(self.fields)} fields>"


class Diversion:
    """
    Another route answers instead: what a policy's ``responding`` may return.

    :ivar route: resolved, with the path, the body and the end of the request that it is given.
    """

    __slots__ = ("route",)

    def __init__(self, route: Any) -> None:
        self.route = route


class Record:
    """
    What became of a request; what the access log and ``finished`` see.

    :ivar status: that was sent; 499 when the client left before a head was.
    :ivar sent: bytes of body written to the client, without chunk framing.
    :ivar seconds: from the first byte of the request to the last of the response.
    :ivar reason: the word of a failure, or empty.
    :ivar detail: what went wrong, in words, and the setting that decided it, for the log; empty when nothing did.
    :ivar upstream: the peer that answered, ``127.0.0.1:9001``, or empty.
    """

    __slots__ = ("detail", "reason", "seconds", "sent", "status", "upstream")

    def __init__(self, status: int, sent: int, seconds: float, reason: str, detail: str, upstream: str) -> None:
        self.status = status
        self.sent = sent
        self.seconds = seconds
        self.reason = reason
        self.detail = detail
        self.upstream = upstream
