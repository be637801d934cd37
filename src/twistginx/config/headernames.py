"""
Which header names, beside the plain ones, a site lets in: ``webhook_*``.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final

#: Names that are made or believed here, and so must have one spelling.
_GUARDED: Final = (
    *("host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect"),
    *("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"),
    *("x-request-id", "authorization", "proxy-authorization", "cookie"),
)

_PATTERN: Final = re.compile(r"[a-z0-9!#$%&'+.^_`|~*\-]+")


def parse_header_pattern(text: str) -> str:
    """
    A pattern such as ``webhook_*``, in lower case.

    :raise ValueError: with a short reason, when it is none, or would let in another spelling of a name that must have
        one.
    """
    pattern = text.lower()
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f'"{text}" is no name of a header; expected a name such as "webhook_id", or "webhook_*"')
    # With the hyphens that all separators may be taken for.
    plain = re.sub(r"[^a-z0-9*]", "-", pattern)
    for name in _GUARDED:
        if fnmatchcase(name, plain):
            raise ValueError(f'"{text}" would let in another spelling of {name}; expected a narrower name')
    return pattern
