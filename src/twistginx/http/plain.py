"""
Plain messages, taken whole.  Pure.

Nearly all requests, and most small answers, come in one read, have nothing about them that needs thought, and are
passed on as they are.  llhttp judges them like all others, but calls nothing back, which takes a sixth of the time of
taking a head of twelve fields apart.  What is looked for here is what decides; the rest is left as it is, for whoever
wants it (``message.RequestHead.block``).  Whatever is not plain, and whatever is wrong, takes the long way
(``http.parser``, ``http.response_parser``), which gives the same result for a plain message: tests hold that.
"""

from __future__ import annotations

import re
from typing import Any

from httptools import HttpParserError, HttpRequestParser, HttpResponseParser

from twistginx.http.message import MARKS, PHRASES, RequestHead, ResponseHead
from twistginx.http.wire import BODYLESS

#: Host values that have been checked, as sent and in lower case -> in lower case.  ``http.parser`` fills it, and clears
#: it when it is full.
HOSTS: dict[bytes, bytes] = {}
HOSTS_BOUND = 4096

_END = b"\r\n\r\n"

_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"DELETE"))

#: In a field section in lower case: names that might be taken for others (``http.fieldnames``), the lines that decide
#: what a request is, those that RequestHead.marks tells of, and an end of a head before the end.
_REQUEST_LINES = re.compile(
    rb"\n([a-z0-9\-]*+[^a-z0-9\-:\r]|\r\n|host:|connection:|content-length:|transfer-encoding:|upgrade:|expect:|"
    + b"|".join(MARKS)
    + rb")"
)
_HOST_ONLY = [b"host:"]
_REQUEST_MARKS = frozenset((b"host:", b"connection:", *MARKS))

#: The same for a response: what decides, what is not passed on, and what the channel adds where it is missing.
_RESPONSE_LINES = re.compile(
    rb"\n(content-length:|connection:|server:|date:|transfer-encoding:|upgrade:|trailer:|te:|keep-alive:|proxy-|"
    rb"x-request-id:|content-type:[ \t]*text/event-stream)"
)
_RESPONSE_MARKS = frozenset((b"content-length:", b"connection:", b"server:", b"date:"))


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
        self._parser = self._kind(self)
        return False


_requests = _Judge(HttpRequestParser)
_responses = _Judge(HttpResponseParser)


def plain_request(data: bytes, head_bound: int, fields_bound: int) -> RequestHead | None:
    """
    The request that ``data`` is, if it is a plain one: HTTP/1.1, without a body, with nothing said about the connection
    but that it is kept alive, and its Host is a known one.  None: take the long way.

    :param data: ends with an empty line.
    :param head_bound: bytes that a head may have.
    :param fields_bound: how many fields it may have.
    """
    line = data.find(b"\r\n")
    words = data[:line].split(b" ")
    if len(words) != 3 or words[2] != b"HTTP/1.1":
        return None
    method, target, version = words
    # A line feed ends the line of HTTP/0.9, which llhttp takes, and fields may follow it.
    if method not in _METHODS or target[:1] != b"/" or b"#" in target or b"\n" in target or len(data) > head_bound:
        return None
    lowered = data[line:-2].lower()
    # One scan for all that decides costs as much as two searches for one name each.
    marks = _REQUEST_LINES.findall(lowered)
    if marks != _HOST_ONLY:
        if marks.count(b"host:") != 1 or not _REQUEST_MARKS.issuperset(marks):
            return None
        if b"connection:" in marks and not _keeps_alive(lowered, marks):
            return None
    start = lowered.find(b"\r\nhost:") + 7
    host = HOSTS.get(lowered[start : lowered.find(b"\r", start)].strip(b" \t"))
    if host is None or lowered.count(b"\n") > fields_bound + 1 or not _requests.accepts(data):
        return None
    head = RequestHead(method, target, version, None)
    head.block = data[line:-2]
    head.lowered = lowered
    head.marks = marks
    head.host = host
    path, mark, query = target.partition(b"?")
    head.path = path
    if mark:
        head.query = query
    return head


def plain_response(data: bytes, head_bound: int) -> tuple[ResponseHead, bytes] | None:
    """
    The final response that ``data`` is, and its body, if it is a plain one: HTTP/1.1, a status with its usual phrase, a
    body of a known length, and nothing said about the connection but that it is kept alive.  None: take the long way.

    The head's block is what is passed on: without Connection.

    :param head_bound: bytes that a head may have.
    """
    line = data.find(b"\r\n")
    end = data.find(_END)
    code = data[9:12]
    if not 0 < end < head_bound - 3 or data[:9] != b"HTTP/1.1 " or data[12:13] != b" " or not code.isdigit():
        return None
    status = int(code)
    if status < 200 or status in BODYLESS or PHRASES.get(status) != data[13:line]:
        return None
    block = data[line : end + 2]
    lowered = block.lower()
    marks = _RESPONSE_LINES.findall(lowered)
    if marks.count(b"content-length:") != 1 or not _RESPONSE_MARKS.issuperset(marks):
        return None
    start = lowered.find(b"\r\ncontent-length:") + 17
    digits = lowered[start : lowered.find(b"\r", start)].removeprefix(b" ")
    if not digits.isdigit() or len(digits) > 9 or end + 4 + int(digits) != len(data) or not _responses.accepts(data):
        return None
    if b"connection:" in marks:
        if not _keeps_alive(lowered, marks):
            return None
        start = lowered.find(b"\r\nconnection:")
        stop = lowered.find(b"\r\n", start + 2)
        block = block[:start] + block[stop:]
        lowered = lowered[:start] + lowered[stop:]
    head = ResponseHead(status, None, None, int(digits))
    head.block = block
    head.lowered = lowered
    return head, data[end + 4 :]


def _keeps_alive(lowered: bytes, marks: list[bytes]) -> bool:
    """
    Is all that Connection says ``keep-alive``?
    """
    start = lowered.find(b"\r\nconnection:") + 13
    value = lowered[start : lowered.find(b"\r", start)].strip(b" \t")
    return value == b"keep-alive" and marks.count(b"connection:") == 1
