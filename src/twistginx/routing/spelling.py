"""
Paths that are spelled so that two servers read them differently.  Pure.

Routes match the normalised path, and what an upstream is sent is the path as it came.  A server that reads it in
another way (it decodes ``%2F``, takes a backslash for a slash, cuts off ``;parameters``, decodes twice, takes UTF-8
that is none) may find something else behind it than the route that was chosen was meant for, and whose policies have
judged the request.  So the readings that are known of servers are tried, and when they lead to different routes, the
request is refused.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from twistginx.http.targets import shortest

#: What a path can have in it that somebody reads in another way than we do.
_DOUBTFUL: Final = re.compile(
    rb"[;\\]|//|/\.|%(?:2[eEfF5]|3[bB]|5[cC]|(?:[cC]0|[eE]0%80)%[aA][eEfF]|(?:[cC]1|[eE]0%81)%9[cC])"
)

#: What no path can have: an encoded NUL, where files' names would end (llhttp refuses a bare one); a backslash (RFC
#: 3986 section 3.3), which browsers send as a slash; a percent sign that escapes nothing.
_IMPOSSIBLE: Final = re.compile(rb"%00|\\|%(?![0-9A-Fa-f]{2})")

_PARAMETERS: Final = re.compile(rb";[^/]*")

_MEANINGS: Final = {
    b"%00": "the path has a NUL in it",
    b"\\": "the path has a backslash in it",
    b"%": "the path has a percent sign that escapes nothing",
}


def impossible(path: bytes) -> str:
    """
    Why ``path``, as it was sent, can be no path; empty when it can.
    """
    found = _IMPOSSIBLE.search(path)
    return "" if found is None else _MEANINGS[found[0]]


def is_doubtful(path: bytes) -> bool:
    """
    Can ``path``, as it was sent, be read in more than one way?
    """
    return _DOUBTFUL.search(path) is not None


def taken_for(path: bytes) -> list[bytes]:
    """
    What ``path``, which was sent so, may be taken for before dot segments are looked at: decoded, once and twice, and
    without parameters.
    """
    once = unquote_to_bytes(path)
    texts = []
    for decoded in dict.fromkeys((once, unquote_to_bytes(once))):
        plain = shortest(decoded).replace(b"\\", b"/")
        texts += [decoded, plain, _PARAMETERS.sub(b"", plain)]
    return list(dict.fromkeys(texts))  # most are the same


def readings(texts: list[bytes]) -> set[bytes]:
    """
    How other servers may read the path that is ``taken_for`` these: dot segments resolved.
    """
    # Of "/a//../b", those that merge slashes first make "/b", all others "/a/b" (RFC 3986 section 5.2.4).
    found = set()
    for text in texts:
        found.add(_resolved(text, merge=True))
        if b"/.." in text and b"//" in text:
            found.add(_resolved(text, merge=False))
    return found


def leads_above(texts: list[bytes]) -> bool:
    """
    Would somebody who takes a path for one of these leave the root by its dot segments?

    Who resolves them stays at the root (RFC 3986 section 5.2.4); who does not is led to what is not served.
    """
    return any(map(_leaves, texts))


def _leaves(path: bytes) -> bool:
    if b"/.." not in path:
        return False
    depth = 0
    for segment in path.split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif segment not in (b"", b"."):
            depth += 1
    return False


def _resolved(path: bytes, merge: bool) -> bytes:
    """
    Dot segments resolved, never above the root.

    :param merge: empty segments are none; else each is one.
    """
    kept: list[bytes] = []
    segments = path[1:].split(b"/")
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b"." and (segment or not merge):
            kept.append(segment)
    kept = [segment for segment in kept if segment]
    directory = segments[-1] in (b"", b".", b"..") and bool(kept)
    return b"/" + b"/".join(kept) + (b"/" if directory else b"")
