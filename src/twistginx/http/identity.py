"""
Fields that say who asks, and that only policies of ours may say.

They are taken out of what the client has sent before anything is done with it, on all routes of a site that has a
policy that sets them, and under every name that a server could take for theirs (``X_Auth_User``, ``X.Auth.User``).
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from twistginx.http.fieldnames import PLAIN

#: Whatever is not plain in a name is a hyphen to somebody.
_ALIASES: Final = bytes(byte if byte in PLAIN else 0x2D for byte in range(256))


class IdentityNames:
    """
    The names of these fields, on one site.
    """

    __slots__ = ("_marks", "_names")

    def __init__(self, names: Iterable[bytes]) -> None:
        """
        :param names: in lower case.
        """
        self._names: Final = frozenset(names)
        self._marks: Final = tuple(b"\r\n%b:" % lower for lower in self._names)

    def take_out(self, head: Any) -> None:
        """
        Take what the client says about itself out of ``head``, a ``RequestHead``.
        """
        if head.block is not None:
            # Names that might be taken for others make no block (http.plain).
            lowered = head.lowered
            for mark in self._marks:
                if mark in lowered:
                    break
            else:
                return
        fields = head.fields
        kept = self.without(fields)
        if len(kept) != len(fields):
            fields[:] = kept

    def without(self, fields: Iterable[tuple[bytes, bytes, bytes]]) -> list[tuple[bytes, bytes, bytes]]:
        """
        The same of trailers, which some servers merge into the head.
        """
        names = self._names
        return [field for field in fields if field[0] not in names and field[0].translate(_ALIASES) not in names]
