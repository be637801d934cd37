"""
What HTTP/1.1 heads look like in bytes.  Pure; RFC 9110 and 9112.
"""

from __future__ import annotations

import re
from time import time

from twisted.web.http import datetimeToString

from twistginx import __version__
from twistginx.http.message import PHRASES, Fields

SERVER_NAME = b"twistginx/" + __version__.encode()

SERVER_LINE = b"Server: " + SERVER_NAME + b"\r\n"
CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n"
CLOSE_LINE = b"Connection: close\r\n"
KEEP_ALIVE_LINE = b"Connection: keep-alive\r\n"
UPGRADE_LINE = b"Connection: upgrade\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

#: ``HTTP/1.1 200 OK``, with its line end, for the registered status codes.
STATUS_LINES = {status: b"HTTP/1.1 %d %s\r\n" % (status, phrase) for status, phrase in PHRASES.items()}

#: Fields of one connection, which are never passed on (RFC 9110 section 7.6.1); names in lower case.
#: Proxy-Authenticate and Proxy-Authorization are for a forward proxy, so a gateway that is none passes neither.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

#: Fields that the channel makes itself: those of a response's maker are not sent beside them.
FRAMING = frozenset((b"connection", b"content-length", b"keep-alive", b"transfer-encoding"))

#: Statuses whose responses have no body, whatever their fields say (RFC 9112 section 6.3).
BODYLESS = frozenset((*range(100, 200), 204, 304))

#: Methods that do the same when they are done twice (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")

_CONTROLS = bytes((*range(9), *range(10, 32), 127))

# The date line of the current second: (second, line).
_date = (0, b"")


def date_line() -> bytes:
    """
    The Date field (RFC 9110 section 6.6.1) of now, with its line end; made once a second.
    """
    global _date  # noqa: PLW0603  # a cache of one value, in a process with one thread of HTTP
    now = int(time())
    second, line = _date
    if second != now:
        line = b"Date: " + datetimeToString(now) + b"\r\n"
        _date = (now, line)
    return line


def is_token(name: bytes) -> bool:
    """
    Is this a token (RFC 9110 section 5.6.2), as field names and methods are?
    """
    return _TOKEN.match(name) is not None


def connection_options(fields: Fields) -> frozenset[bytes]:
    """
    The names, in lower case, that the Connection fields list: they are hop-by-hop as well (RFC 9110 section 7.6.1).
    """
    options = fields.joined(b"connection")
    if not options:
        return frozenset()
    return frozenset(option.strip(b" \t") for option in options.lower().split(b","))


def printable(phrase: bytes) -> bytes:
    """
    A reason phrase as it may be passed on (RFC 9112 section 4): without the control bytes that llhttp lets through.
    """
    return phrase.translate(None, _CONTROLS)


def status_line(status: int, phrase: bytes) -> bytes:
    """
    The status line, with its line end.
    """
    if PHRASES.get(status) == phrase:
        return STATUS_LINES[status]
    if not 100 <= status <= 999:  # three digits (RFC 9112 section 4)
        raise ValueError(f"{status} is no status code")
    return b"HTTP/1.1 %d %s\r\n" % (status, phrase)


def head_block(status: int, phrase: bytes, fields: Fields) -> bytes:
    """
    A status line and fields, each with its line end; the empty line is left to the caller.

    :raise ValueError: when a name, a value or the phrase has a line end or a NUL in it, which would split the response.
    """
    lines = [name + b": " + value for _, name, value in fields]
    lines.append(b"")
    block = status_line(status, phrase) + b"\r\n".join(lines)
    # One count over the block is cheaper than a look at every value.
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
        raise ValueError("a response field has a line end or a NUL in it")
    return block


def chunk_size(data: bytes) -> bytes:
    """
    The line before a chunk (RFC 9112 section 7.1).
    """
    return b"%x\r\n" % len(data)


def last_chunk(trailers: Fields | None) -> bytes:
    """
    The end of a chunked body, with its trailer section.
    """
    if not trailers:
        return LAST_CHUNK
    section = b"".join([name + b": " + value + b"\r\n" for _, name, value in trailers])
    if section.count(b"\n") != len(trailers) or section.count(b"\r") != len(trailers) or b"\0" in section:
        raise ValueError("a trailer field has a line end or a NUL in it")
    return b"0\r\n" + section + b"\r\n"
