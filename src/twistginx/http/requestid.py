"""
Names for requests, by which one is found again in the logs of everyone who had to do with it.
"""

from __future__ import annotations

import os
import re
from typing import Final

#: The field that says it, upstream and to the client.
NAME: Final = b"X-Request-ID"
LOWER: Final = b"x-request-id"

#: What we take over from a trusted proxy: a token of at most 128 bytes, so that it can stand in any log and any field.
_VALID: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}\Z")

#: Bytes of randomness in a name, as in a UUID.
_SIZE: Final = 16

#: Names that are made at once: one call of the kernel for all of them.
_BATCH: Final = 256

_made: list[bytes] = []

# A child process must not go on with the names of its parent.
os.register_at_fork(after_in_child=_made.clear)


def accepted(value: bytes | None) -> bytes | None:
    """
    A name that somebody else gave, if it can be one.
    """
    return value if value is not None and _VALID.match(value) else None


def made() -> bytes:
    """
    A new name, that nobody else has and nobody can guess: 32 hexadecimal digits.  It costs a tenth of a microsecond.
    """
    if not _made:
        digits = os.urandom(_SIZE * _BATCH).hex().encode()
        _made.extend(digits[start : start + 2 * _SIZE] for start in range(0, len(digits), 2 * _SIZE))
    return _made.pop()
