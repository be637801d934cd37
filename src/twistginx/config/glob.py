"""
Globs for the paths of requests: ``/img/**/*.png``.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

from twistginx.config.regex import Regex

# The pieces that mean something; all else means itself.
_TOKEN: Final = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|\{[^{}/]*,[^{}/]*\}")

_MEANINGS: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@frozen
class Glob:
    """
    A pattern for a whole path.

    ``*`` is anything within a segment, ``?`` one character of it, ``[a-z]`` and ``[!a-z]`` one of these and one of the
    others, ``{a,b}`` one of two or more texts, ``**`` anything, over segments; ``/**/`` may be a single slash.

    :ivar text: as written.
    :ivar regex: the same.
    """

    text: str
    regex: Regex = field(eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Glob:
        """
        The glob that ``text`` says.

        :raise ValueError: with a short reason.
        """
        text = str.__str__(text)
        if not text.startswith(("/", "*")):
            raise ValueError(f'"{text}" does not begin with a slash; expected "/{text}"')
        pattern = ""
        end = 0
        for found in _TOKEN.finditer(text):
            pattern += _literal(text[end : found.start()]) + _meaning(found[0])
            end = found.end()
        pattern += _literal(text[end:])
        try:
            return cls(text, Regex.parse(f"^{pattern}$"))
        except ValueError:
            raise ValueError(f'"{text}" is no pattern for paths, such as "/img/**/*.png"') from None

    def __str__(self) -> str:
        return self.text


def _literal(text: str) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


def _meaning(token: str) -> str:
    if token in _MEANINGS:
        return _MEANINGS[token]
    inside = token[1:-1]
    if token[0] == "{":
        return f"(?:{'|'.join(map(_literal, inside.split(',')))})"
    negated = inside.startswith("!")
    members = re.sub(r"[\\\[\]^]", r"\\\g<0>", inside[1:] if negated else inside)
    return f"[^/{members}]" if negated else f"[{members}]"
