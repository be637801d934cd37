"""
Paths as routes see them.  Pure.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def _decoded(match: re.Match[bytes]) -> bytes:
    byte = bytes.fromhex(match.group(1).decode())
    # An encoded slash is data in a segment, never a border between two (RFC 3986 section 2.2).
    return b"%2F" if byte == b"/" else byte


def decoded(path: bytes) -> bytes:
    """
    A path whose percent-escapes are decoded once, except ``%2F``.
    """
    # Faster than to substitute one by one, where there are thousands.
    return unquote_to_bytes(path.replace(b"%2f", b"%2F").replace(b"%2F", b"%252F"))


def normalised(path: bytes) -> bytes:
    """
    A path in the one spelling that matching compares (RFC 3986 section 6.2.2).

    Percent-escapes are decoded once, except ``%2F``; dot segments are resolved, never above the root; empty segments
    vanish.  A path that is plain already, as nearly all are, is returned as it is.

    >>> normalised(b"/a/%2e%2e//b%2Fc/./d")
    b'/b%2Fc/d'
    """
    return resolved(decoded(path) if b"%" in path else path)


def resolved(path: bytes) -> bytes:
    """
    A path without dot segments and empty ones.
    """
    if b"//" not in path and b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    # "/a/", "/a/." and "/a/b/.." name the directory.
    directory = segments[-1] in (b"", b".", b"..") and bool(kept)
    return b"/" + b"/".join(kept) + (b"/" if directory else b"")


def under(path: bytes, prefix: bytes) -> bool:
    """
    Is ``path`` the segment ``prefix``, or below it?  ``/api`` has ``/api`` and ``/api/x``, never ``/apix``.

    :param prefix: without a slash at its end; empty has everything.
    """
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == 0x2F)


def stripped(raw: bytes, path: bytes, prefix: bytes) -> bytes:
    """
    ``raw`` without what of it is ``prefix``, byte for byte as it was sent.

    :param raw: the path as it was sent.
    :param path: the same, normalised; it is under ``prefix``.
    :return: what is left, with its slash; ``/`` when nothing is.
    """
    if raw == path:
        return path[len(prefix) :] or b"/"
    # The prefix was spelled in another way.  Walk down the raw path, once, to the border behind which nothing climbs
    # back over it.
    wanted = prefix.split(b"/")[1:]
    depth = matched = position = 0
    border = -1 if wanted else 0
    for piece in raw[1:].split(b"/"):
        position += 1 + len(piece)
        segment = _ESCAPE.sub(_decoded, piece)
        if segment == b"..":
            depth = max(depth - 1, 0)
            if depth < matched:
                matched = depth
                border = -1
        elif segment not in (b"", b"."):
            if matched == depth and depth < len(wanted) and segment == wanted[depth]:
                matched += 1
                if matched == len(wanted):
                    border = position
            depth += 1
    return raw[border:] or b"/"
