"""
Which fields of a trailer section may be passed on.  Pure.
"""

from __future__ import annotations

from typing import Final

from twistginx.http.message import Fields
from twistginx.http.wire import HOP_BY_HOP

#: Fields that mean nothing in a trailer section, and would be dangerous to whoever merges it into the head
#: (RFC 9110 section 6.5.1): framing, routing, authentication, control of the payload.
FORBIDDEN_TRAILERS: Final = HOP_BY_HOP | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"max-forwards",
    b"range",
    b"set-cookie",
    b"www-authenticate",
    b"x-request-id",
}


def safe_trailers(fields: Fields) -> Fields:
    """
    The fields of a trailer section that may be passed on.

    ``X-Forwarded-*`` and its spellings are not: a late one would be believed by who merges trailers into the head.
    """
    return Fields([field for field in fields if field[0] not in FORBIDDEN_TRAILERS and field[0][2:11] != b"forwarded"])
