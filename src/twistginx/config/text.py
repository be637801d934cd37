"""
The strings of a configuration file, which know where they stand, and what ``{env.X}``, ``{file.P}`` and
``{credential.C}`` put in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: ``{{`` and ``}}`` come first: in a template they are braces, so ``{{env.X}}`` is not for us.
_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{(env|file|credential)\.([^{}]*)\}")


class Text(str):
    """
    A string of a configuration file.

    :ivar base: the directory of that file, absolute; relative paths in the string resolve against it.
    """

    __slots__ = ("base",)

    base: Path

    @classmethod
    def at(cls, value: str, base: Path) -> Text:
        """
        ``value`` as it stands in a file of the directory ``base``.
        """
        text = cls(value)
        text.base = base
        return text


class Secret(Text):
    """
    A string in which something was put by ``{env.X}``, ``{file.P}`` or ``{credential.C}``.

    It is a str that holds what was put in, and its ``repr`` is what was written, so that a message with ``{value!r}``
    tells nothing.

    :ivar pieces: the string in order: ``(text, True)`` for what was put in, ``(text, False)`` for what was written.
    :ivar written: the text as it stands in the file.
    """

    __slots__ = ("pieces", "written")

    pieces: tuple[tuple[str, bool], ...]
    written: str

    def __repr__(self) -> str:
        return repr(self.written)

    def hide_in(self, message: str) -> str:
        """
        ``message`` with what was put in replaced by what was written.
        """
        if self:
            message = message.replace(str.__str__(self), self.written)
        for text, inserted in self.pieces:
            if inserted and text:
                message = message.replace(text, "...")
        return message


def written(value: str) -> str:
    """
    What stands in the file for ``value``.
    """
    return value.written if isinstance(value, Secret) else str(value)


def expand(value: str, base: Path, look_up: Callable[[str, str], str]) -> Text:
    """
    ``value`` with its placeholders replaced, once: what is put in is not looked at again.

    :param look_up: is called with ``"env"``, ``"file"`` or ``"credential"`` and the name, and returns the text.
    """
    if "{env." not in value and "{file." not in value and "{credential." not in value:
        return Text.at(value, base)
    pieces: list[tuple[str, bool]] = []
    end = 0
    for match in _PLACEHOLDER.finditer(value):
        if match[1] is None:
            continue
        pieces.append((value[end : match.start()], False))
        pieces.append((look_up(match[1], match[2]), True))
        end = match.end()
    if not pieces:
        return Text.at(value, base)
    pieces.append((value[end:], False))
    secret = Secret("".join(text for text, _ in pieces))
    secret.base = base
    secret.pieces = tuple(piece for piece in pieces if piece[0])
    secret.written = value
    return secret
