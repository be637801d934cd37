"""
Plain messages, taken whole.  Pure.

Nearly all requests, and most small answers, come in one read, have nothing about them that needs thought, and are
passed on as they are.  llhttp judges them like all others, but calls nothing back, which takes a sixth of the time of
taking a head of twelve fields apart.  What is looked for here is what decides; the rest is left as it is, for whoever
wants it (``message.RequestHead.block``).  Whatever is not plain, and whatever is wrong, takes the long way
(``http.parser``, ``http.response_parser``), which gives the same result for a plain message: tests hold that.

And both sides repeat themselves.  A client says the same fields with most requests of a connection (HPACK lives on
that), and a server the same with most answers of a second, but for their length.  So each connection remembers what
was found out about the last field section, and where the next one is the same, byte for byte, nothing is looked for
again: what has been judged once needs no second judgement.  Where only values differ, nothing but these is looked at
(``http.stencil``).
"""

from __future__ import annotations

import re
from typing import Any

from httptools import HttpParserError, HttpRequestParser, HttpResponseParser

from twistginx.http.message import MARKS, RequestHead, ResponseHead, Section
from twistginx.http.stencil import VALUE, Stencil
from twistginx.http.wire import BODYLESS, STATUS_LINES

#: Host values that have been checked, as sent and in lower case -> in lower case.  ``http.parser`` fills it, and clears
#: it when it is full.
HOSTS: dict[bytes, bytes] = {}
HOSTS_BOUND = 4096

_END = b"\r\n\r\n"

_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"DELETE"))

#: What a path and a query are made of (RFC 3986), which nobody has to be asked about.
_TARGET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()*+,;=:@/?"

#: In a field section in lower case: names that might be taken for others (``http.fieldnames``), the lines that decide
#: what a request is, those that RequestHead.marks tells of, and an end of a head before the end.
_REQUEST_LINES = re.compile(
    rb"\n([a-z0-9\-]*+[^a-z0-9\-:\r]|\r\n|host:|connection:|content-length:|transfer-encoding:|upgrade:|expect:|"
    + b"|".join(MARKS)
    + rb")"
)
_HOST_ONLY = [b"host:"]
_HOST_AND_CONNECTION = [b"host:", b"connection:"]
#: What a plain request may say in Connection, and whether the connection is kept alive then.
_CONNECTION = {b"keep-alive": True, b"close": False}
_REQUEST_MARKS = frozenset((b"host:", b"connection:", *MARKS))

#: The same for a response: what decides, what is not passed on, and what the channel adds where it is missing.
_RESPONSE_LINES = re.compile(
    rb"\n(content-length:|connection:|server:|date:|transfer-encoding:|upgrade:|trailer:|te:|keep-alive:|proxy-|"
    rb"x-request-id:|content-type:[ \t]*text/event-stream)"
)
_RESPONSE_MARKS = frozenset((b"content-length:", b"connection:", b"server:", b"date:"))
#: Of the lines of a plain answer, those whose values decide.
_DECIDING = frozenset((b"content-length:", b"connection:", b"content-type:"))
#: The status lines of plain answers.
_STATUSES = {line[:-2]: status for status, line in STATUS_LINES.items() if status >= 200 and status not in BODYLESS}


class _Judge:
    """
    llhttp, without a word about what it finds: is this one whole message?

    One is enough for the process, because it is between messages whenever it has accepted one.
    """

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind
        # The one callback is a method in C; it empties the set when a message is complete.
        self._pending: set[int] = set()
        self.on_message_complete = self._pending.clear
        self._parser = kind(self)

    def accepts(self, data: bytes) -> bool:
        """
        Does llhttp take ``data`` for one whole message?
        """
        self._pending.add(1)
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            pass
        else:
            if not self._pending:
                return True
        self.renew()
        return False

    def renew(self) -> None:
        """
        Begin anew: after what was no message, or the last one of a connection.
        """
        self._parser = self._kind(self)


_requests = _Judge(HttpRequestParser)
_responses = _Judge(HttpResponseParser)


def plain_request(data: bytes, head_bound: int, fields_bound: int, last: Section | None) -> RequestHead | None:
    """
    The request that ``data`` is, if it is a plain one: HTTP/1.1, without a body, with nothing said about the connection
    but whether it is kept alive, and its Host is a known one.  None: take the long way.

    :param data: ends with an empty line.
    :param head_bound: bytes that a head may have.
    :param fields_bound: how many fields it may have.
    :param last: of a plain request that came before, under the same bounds; None: none did.  Where the client says the
        same again, byte for byte, only the request line is new.
    """
    if last is not None and data.endswith(last.block, 0, -2):
        section: Section | None = last
        line = len(data) - len(last.block) - 2
    else:
        line = data.find(b"\r\n")
        section = None if last is None or last.stencil is None else last.stencil.section(data, line)
    words = data[:line].split(b" ")
    if len(words) != 3:
        return None
    method, target, version = words
    # A line feed ends the line of HTTP/0.9, which llhttp takes, and fields may follow it.  (A byte is found in a third
    # of the time as a number.)
    if (
        version != b"HTTP/1.1"
        or method not in _METHODS
        or target[:1] != b"/"
        or 0x23 in target
        or 0x0A in target
        or len(data) > head_bound
    ):
        return None
    lowered = None
    if section is None:
        lowered = data[line:-2].lower()
        section = _plain_section(data, line, lowered, fields_bound)
        if section is None:
            return None
        if last is not None:
            section.stencil = Stencil.of(last, section)
    elif target.translate(None, _TARGET) and not _requests.accepts(data[:line] + _END):
        return None
    head = RequestHead(method, target, version, None)
    head.section = section
    head.block = section.block
    head.marks = section.marks
    head.host = section.host
    head.keep_alive = section.keep_alive
    if lowered is not None:
        head.lowered = lowered
    if 0x3F in target:
        head.path, _, head.query = target.partition(b"?")
    return head


def _plain_section(data: bytes, line: int, lowered: bytes, fields_bound: int) -> Section | None:
    """
    The section behind the request line of ``data``, which ends at ``line``, if all of it is plain.

    :param lowered: the section in lower case.
    """
    # One scan for all that decides costs as much as two searches for one name each.
    marks = _REQUEST_LINES.findall(lowered)
    keep_alive = True
    connection = b""
    if marks != _HOST_ONLY:
        if marks.count(b"host:") != 1 or not _REQUEST_MARKS.issuperset(marks):
            return None
        if b"connection:" in marks:
            if marks.count(b"connection:") != 1:
                return None
            start = lowered.find(b"\r\nconnection:")
            end = lowered.find(b"\r", start + 13)
            connection = data[line + start : line + end]
            said = _CONNECTION.get(lowered[start + 13 : end].strip(b" \t"))
            if said is None:
                return None
            keep_alive = said
            if marks == _HOST_AND_CONNECTION:
                marks = _HOST_AND_CONNECTION  # one list for many connections
    else:
        marks = _HOST_ONLY
    start = lowered.find(b"\r\nhost:") + 7
    host = data[line + start : line + lowered.find(b"\r", start)].strip(b" \t")
    # One that is spelled otherwise (in capitals, with the dot of the root) goes on as it is read, always.
    if HOSTS.get(host) != host:
        return None
    # To count single bytes takes three times as long as to split.
    if len(lowered.split(b"\n")) > fields_bound + 2 or not _requests.accepts(data):
        return None
    if not keep_alive:
        _requests.renew()  # which expects no other message now
    section = Section(data[line:-2], marks, host, keep_alive)
    section.connection = connection
    return section


class Shape:
    """
    What plain answers have in common that differ in their length and their body only, as those of a server within a
    second mostly do.

    Where other values differ as well, a date or an entity tag, it follows: from then on it is the shape of the answer
    with the new ones.

    :ivar start: the answer, up to the length; ``rest``: from behind the length to the end of the head.
    :ivar around: what stands before and behind the length in ``ResponseHead.block``.
    """

    __slots__ = (
        "_at",
        "_bound",
        "_connection",
        "_lines",
        "_names",
        "_stamped",
        "around",
        "phrase",
        "rest",
        "size",
        "start",
        "status",
    )

    def __init__(self, start: bytes, rest: bytes, head: ResponseHead, connection: bytes, bound: int) -> None:
        """
        :param head: of an answer that has been found plain.
        :param connection: the line of its Connection field, with the line end before it; empty: it has none.
        :param bound: bytes that a head may have.
        """
        self.status = head.status
        self.phrase = head.phrase
        self._connection = connection
        self._bound = bound
        # The lines of the head, and what those begin with that may have another value; made when needed.
        self._lines: list[bytes] = []
        self._names: list[bytes | None] = []
        self._at = 0  # which of them is that of the length, which it has up to the length
        self._set(start, rest)

    def _set(self, start: bytes, rest: bytes) -> None:
        self.start = start
        self.rest = rest
        self.size = len(start) + len(rest)
        before, behind = start[start.find(b"\r") :], rest[:-2]
        if self._connection:
            before, behind = before.replace(self._connection, b"", 1), behind.replace(self._connection, b"", 1)
        self.around = before, behind
        lowered = before.lower() + b"\n" + behind.lower()
        self._stamped = b"\nserver:" in lowered and b"\ndate:" in lowered

    def head(self, data: bytes) -> ResponseHead | None:
        """
        The head of ``data``, if that is an answer of this shape, whole.
        """
        start = self.start
        end = data.find(b"\r", len(start))
        if not (data.startswith(start) and data.startswith(self.rest, end)):
            if not self._follow(data):
                return None
            start = self.start
            end = data.find(b"\r", len(start))
        digits = data[len(start) : end]
        if not digits.isdigit() or len(digits) > 9:
            return None
        length = int(digits)
        if self.size + len(digits) + length != len(data):
            return None
        head = ResponseHead(self.status, None, self.phrase, length)
        before, behind = self.around
        block = head.block = before + digits + behind
        if self._stamped:
            head.stamped = block
        return head

    def _follow(self, data: bytes) -> bool:
        """
        Become the shape of ``data``, if that differs in values only that nobody has to be asked about.
        """
        lines = self._lines or self._outline()
        end = data.find(_END)
        said = data[:end].split(b"\r\n")
        if len(said) != len(lines) or end >= self._bound - 12:
            return False
        prefix = lines[self._at]
        length = said[self._at]
        if not length.startswith(prefix):
            return False
        said[self._at] = prefix
        for line, last, name in zip(said, lines, self._names, strict=True):
            if line != last and (not name or not line.startswith(name) or line.translate(None, VALUE)):
                return False
        self._lines = said
        start = data.find(b"\r\n" + length) + 2
        self._set(data[: start + len(prefix)], data[start + len(length) : end + 4])
        return True

    def _outline(self) -> list[bytes]:
        """
        Take the head apart.
        """
        lines = self._lines = (self.start + self.rest[:-4]).split(b"\r\n")
        names = [line[: line.find(b":") + 1] for line in lines]
        self._names = [None if name.lower() in _DECIDING else name for name in names]
        self._at = self.start.count(b"\r\n")
        return lines


def plain_response(data: bytes, head_bound: int) -> tuple[ResponseHead, Shape] | None:
    """
    The final response that ``data`` is, if it is a plain one: HTTP/1.1, a status with its usual phrase, a body of a
    known length, which is all that follows the head, and nothing said about the connection but that it is kept alive.
    None: take the long way.

    The head's block is what is passed on: without Connection.  It has no X-Request-ID.

    :param head_bound: bytes that a head may have.
    """
    line = data.find(b"\r\n")
    end = data.find(_END, line)
    status = _STATUSES.get(data[:line])
    # Nine digits more must not matter.
    if status is None or not 0 < end < head_bound - 12:
        return None
    block = data[line : end + 2]
    lowered = block.lower()
    marks = _RESPONSE_LINES.findall(lowered)
    if not _RESPONSE_MARKS.issuperset(marks) or marks.count(b"content-length:") != 1:
        return None
    start = lowered.find(b"\r\ncontent-length:") + 17
    start += lowered[start : start + 1] == b" "  # no more than one: it is passed on as it is
    stop = lowered.find(b"\r", start)
    digits = lowered[start:stop]
    if not digits.isdigit() or len(digits) > 9 or end + 4 + int(digits) != len(data):
        return None
    connection = b""
    if b"connection:" in marks:
        cut = lowered.find(b"\r\nconnection:")
        behind = lowered.find(b"\r\n", cut + 2)
        if lowered[cut + 13 : behind].strip(b" \t") != b"keep-alive" or marks.count(b"connection:") != 1:
            return None
        connection = block[cut:behind]
        block = block[:cut] + block[behind:]
    if not _responses.accepts(data):  # asked last: behind the last message of a connection llhttp accepts no other
        return None
    head = ResponseHead(status, None, None, int(digits))
    head.block = block
    return head, Shape(data[: line + start], data[line + stop : end + 4], head, connection, head_bound)
