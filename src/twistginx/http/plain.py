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
again: what has been judged once needs no second judgement.
"""

from __future__ import annotations

import re
from typing import Any

from httptools import HttpParserError, HttpRequestParser, HttpResponseParser

from twistginx.http.message import MARKS, RequestHead, ResponseHead, Section
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
        section = None
        line = data.find(b"\r\n")
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
    if section is None:
        section = _plain_section(data, line, fields_bound)
        if section is None:
            return None
    elif target.translate(None, _TARGET) and not _requests.accepts(data[:line] + _END):
        return None
    head = RequestHead(method, target, version, None)
    head.section = section
    head.block = section.block
    head.marks = section.marks
    head.host = section.host
    head.keep_alive = section.keep_alive
    if 0x3F in target:
        head.path, _, head.query = target.partition(b"?")
    return head


def _plain_section(data: bytes, line: int, fields_bound: int) -> Section | None:
    """
    The section behind the request line of ``data``, which ends at ``line``, if all of it is plain.
    """
    lowered = data[line:-2].lower()
    # One scan for all that decides costs as much as two searches for one name each.
    marks = _REQUEST_LINES.findall(lowered)
    keep_alive = True
    if marks != _HOST_ONLY:
        if marks.count(b"host:") != 1 or not _REQUEST_MARKS.issuperset(marks):
            return None
        if b"connection:" in marks:
            if marks.count(b"connection:") != 1:
                return None
            start = lowered.find(b"\r\nconnection:") + 13
            said = _CONNECTION.get(lowered[start : lowered.find(b"\r", start)].strip(b" \t"))
            if said is None:
                return None
            keep_alive = said
            if marks == _HOST_AND_CONNECTION:
                marks = _HOST_AND_CONNECTION  # one list for many connections
    else:
        marks = _HOST_ONLY
    start = lowered.find(b"\r\nhost:") + 7
    host = HOSTS.get(lowered[start : lowered.find(b"\r", start)].strip(b" \t"))
    if host is None or lowered.count(b"\n") > fields_bound + 1 or not _requests.accepts(data):
        return None
    if not keep_alive:
        _requests.renew()  # which expects no other message now
    return Section(data[line:-2], marks, host, keep_alive)


class Shape:
    """
    What plain answers have in common that differ in their length and their body only, as those of a server within a
    second mostly do.

    :ivar start: the answer, up to the length; ``rest``: from behind the length to the end of the head.
    :ivar around: what stands before and behind the length in ``ResponseHead.block``.
    """

    __slots__ = ("around", "phrase", "rest", "size", "start", "status")

    def __init__(self, start: bytes, rest: bytes, head: ResponseHead) -> None:
        """
        :param head: of an answer that has been found plain.
        """
        self.start = start
        self.rest = rest
        self.size = len(start) + len(rest)
        self.status = head.status
        self.phrase = head.phrase
        block = head.block
        assert block is not None
        at = head.lowered.find(b"\r\ncontent-length:") + 17
        at += block[at : at + 1] == b" "
        end = block.find(b"\r", at)
        self.around = block[:at], block[end:]

    def head(self, data: bytes) -> ResponseHead | None:
        """
        The head of ``data``, if that is an answer of this shape, whole.
        """
        start = len(self.start)
        end = data.find(b"\r", start)
        digits = data[start:end]
        if not data.startswith(self.rest, end) or not digits.isdigit() or len(digits) > 9:
            return None
        length = int(digits)
        if self.size + len(digits) + length != len(data):
            return None
        head = ResponseHead(self.status, None, self.phrase, length)
        before, behind = self.around
        head.block = before + digits + behind
        return head


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
    if b"connection:" in marks:
        cut = lowered.find(b"\r\nconnection:")
        behind = lowered.find(b"\r\n", cut + 2)
        if lowered[cut + 13 : behind].strip(b" \t") != b"keep-alive" or marks.count(b"connection:") != 1:
            return None
        block = block[:cut] + block[behind:]
    if not _responses.accepts(data):  # asked last: behind the last message of a connection llhttp accepts no other
        return None
    head = ResponseHead(status, None, None, int(digits))
    head.block = block
    return head, Shape(data[: line + start], data[line + stop : end + 4], head)
