"""
Field names that one server takes for two: ``X_Auth_User`` beside ``X-Auth-User``.

CGI, WSGI and PHP make ``HTTP_X_AUTH_USER`` of both, some servers of ``X.Auth.User`` too.  So a name with anything in it
but letters, digits and hyphens is a way to say what a proxy has made sure that a client cannot say.  Such fields are
taken out by the parser, before anybody sees them, and put back only where the site asks for their names.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final

from twistginx.http.message import Fields

#: In lower case: all that a name may have without being taken for another one.
PLAIN: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-"

#: Different names that a site tells of, and the length up to which it does: the client may invent any number of them.
_TOLD: Final = 100
_TELLING: Final = 64


def doubtful(lowers: Iterable[bytes]) -> bool:
    """
    Is there a name among these, in lower case, that might be taken for another one?
    """
    return bool(b"".join(lowers).translate(None, PLAIN))


def take_out(fields: Fields) -> Fields:
    """
    Take the doubtful ones out of ``fields``.

    :return: what was taken out.
    """
    taken = Fields([field for field in fields if field[0].translate(None, PLAIN)])
    fields[:] = [field for field in fields if not field[0].translate(None, PLAIN)]
    return taken


class DoubtfulNames:
    """
    What a site does with doubtful names: it lets in those that its configuration allows, and tells of the others, of
    each name once.
    """

    __slots__ = ("_allowed", "_tell", "_told")

    def __init__(self, patterns: Iterable[str] = (), tell: Callable[[str], None] | None = None) -> None:
        """
        :param patterns: of names that are let in, as ``config.headernames`` reads them.
        :param tell: called with a name that was dropped for the first time.
        """
        self._allowed = tuple(patterns)
        self._tell = tell
        self._told: set[bytes] = set()

    def sort_out(self, doubtful: Fields) -> tuple[Fields, int]:
        """
        :return: the fields that are let in, and how many are not.
        """
        kept = Fields([field for field in doubtful if self._allows(field[0])])
        for lower, _, _ in doubtful:
            if lower not in self._told and len(self._told) < _TOLD and not self._allows(lower):
                self._told.add(lower)
                if self._tell is not None:
                    self._tell(lower[:_TELLING].decode("latin-1"))
        return kept, len(doubtful) - len(kept)

    def _allows(self, lower: bytes) -> bool:
        name = lower.decode("latin-1")
        return any(fnmatchcase(name, pattern) for pattern in self._allowed)
