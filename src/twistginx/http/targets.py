"""
Paths and queries that are put together: what may stand in them as it is, and what is percent-encoded.  Pure.

A path is edited in one form, in which nothing is lost: its percent-escapes are decoded but for ``%2F`` and ``%25``, so
that a slash that is data stays one, and a percent sign is always the beginning of one of these two.
"""

from __future__ import annotations

import re
from typing import Final

from twistginx.http.variables import safe_location

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_KEPT: Final = frozenset((b"2F", b"25"))

# A dot, a slash and a backslash in more bytes than they need.
_OVERLONG: Final = re.compile(rb"(?:\xc0|\xe0\x80)[\xae\xaf]|(?:\xc1|\xe0\x81)\x9c")

# RFC 3986: what is no pchar (section 3.3), nor a slash; in an argument of a query (section 3.4), what would end it is
# encoded too.
_NOT_PATH: Final = re.compile(rb"%2F|%25|[^A-Za-z0-9._~!$&'()*+,;=:@/-]", re.DOTALL)
_NOT_MATCH: Final = re.compile(rb"%2F|[^A-Za-z0-9._~!$&'()*+,;=:@/-]", re.DOTALL)
_NOT_TEXT: Final = re.compile(rb"[^A-Za-z0-9._~!$&'()*+,;=:@/-]", re.DOTALL)
_NOT_ARGUMENT: Final = re.compile(rb"[^A-Za-z0-9._~!$'()*,;:@/?-]", re.DOTALL)
_NOT_URL: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?%-]", re.DOTALL)


def editable(raw: bytes) -> bytes:
    """
    A path as it is edited, from one that was sent.
    """
    if b"%" not in raw:
        return raw

    def decoded(match: re.Match[bytes]) -> bytes:
        digits = match[1].upper()
        return b"%" + digits if digits in _KEPT else bytes.fromhex(digits.decode())

    return _ESCAPE.sub(decoded, raw)


def _encoded(match: re.Match[bytes]) -> bytes:
    found = match[0]
    return found if len(found) > 1 else b"%%%02X" % found[0]


def quoted(path: bytes) -> bytes:
    """
    A path that was edited, as it is sent.
    """
    return _NOT_PATH.sub(_encoded, path)


def quoted_match(path: bytes) -> bytes:
    """
    A part of a normalised path, in which only ``%2F`` is an escape, as it is sent.
    """
    return _NOT_MATCH.sub(_encoded, path)


def quoted_text(text: bytes) -> bytes:
    """
    Any bytes, as a part of a path: a percent sign is one.
    """
    return _NOT_TEXT.sub(_encoded, text)


def quoted_argument(text: bytes) -> bytes:
    """
    Any bytes, as a name or a value in a query.
    """
    return _NOT_ARGUMENT.sub(_encoded, text)


def quoted_url(text: bytes) -> bytes:
    """
    A part of a target, in which what is encoded is so already: what cannot stand in one is encoded.
    """
    return _NOT_URL.sub(_encoded, text)


def climbs(raw: bytes) -> bool:
    """
    Has a path, as it is to be sent, a segment that names another, ``.`` or ``..``, however it is spelled?

    Some servers take ``..;x`` for one, and some the longer UTF-8 of a dot or a slash that nobody may write (RFC 3629
    section 3).
    """
    if b"." not in raw and b"%" not in raw:
        return False
    once = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), raw)
    twice = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), once)
    return any(
        segment.partition(b";")[0] in (b".", b"..")
        for text in (once, twice)
        for segment in re.split(rb"[/\\]", shortest(text))
    )


def shortest(path: bytes) -> bytes:
    """
    A path that has been decoded, with its dots, slashes and backslashes in UTF-8 as it must be: of one byte.
    """
    return _OVERLONG.sub(_shortened, path) if 0xC0 in path or 0xC1 in path or 0xE0 in path else path


def _shortened(match: re.Match[bytes]) -> bytes:
    *_, above, last = match[0]
    return b"%c" % ((above & 0x03) << 6 | last & 0x3F)


def with_slash(path: bytes, query: bytes | None) -> bytes:
    """
    A reference to the same path with a slash at its end.

    It is relative, and begins with a dot: so it can lead to no other host, whatever the path is, and is right under
    whatever prefix a proxy before us has taken away.

    :param path: as it was sent.
    """
    return safe_location(b"./" + path[path.rfind(b"/") + 1 :] + b"/" + (b"" if query is None else b"?" + query))
