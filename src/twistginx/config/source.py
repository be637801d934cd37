"""
The text of a configuration: the file, what it includes, and where everything in it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from twistginx.config.disk import Disk
from twistginx.config.scanner import KeyPath, Lines, Place, scan
from twistginx.config.text import Secret
from twistginx.errors import Problem

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def dotted(path: KeyPath) -> str:
    """
    ``path`` as it is written in messages: ``site[0].route[2].static.root``.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{key}" if text else key
    return text


@frozen
class Position:
    """
    A place in a file, for people: line and column are counted from 1.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@define(eq=False)
class SourceFile:
    r"""
    One file of a configuration.

    :ivar path: absolute.
    :ivar name: as the user would write it.
    :ivar text: with ``\n`` line ends.
    """

    path: Path
    name: str
    text: str = field(repr=False)
    _places: dict[KeyPath, Place] | None = field(init=False, default=None, repr=False)
    _lines: Lines | None = field(init=False, default=None, repr=False)

    @property
    def base(self) -> Path:
        """
        The directory that relative paths in this file resolve against.
        """
        return self.path.parent

    def at(self, offset: int) -> Position:
        """
        The position of ``offset`` in the text.
        """
        if self._lines is None:
            self._lines = Lines(self.text)
        return Position(self.name, *self._lines.at(offset))

    def position(self, path: KeyPath, of_key: bool) -> Position | None:
        """
        Where ``path`` (in this file) or the nearest ancestor that is in the text stands; None when not even the first
        key does.
        """
        if self._places is None:
            self._places = scan(self.text)
        for end in range(len(path), 0, -1):
            place = self._places.get(path[:end])
            if place is not None:
                # Of an ancestor, which is there without what is looked for, the key says more.
                return self.at(place.value if end == len(path) and not of_key else place.key)
        return None


@define(eq=False)
class Source:
    """
    A configuration as it was read; all that it was made of is in here.

    :ivar files: the main file, and then the included ones in their order.
    :ivar tree: the tables of all files together; strings are ``Text``, with their placeholders replaced.
    :ivar variables: the environment variables that were used.
    :ivar contents: the files that were read because the configuration names them: those of ``{file.P}``, certificates
        and keys.
    :ivar secrets: the key paths of strings that ``{env.X}`` or ``{file.P}`` put something in.
    :ivar unfilled: the key paths of strings that should hold something that is not there; it was reported.
    :ivar complete: False when a file could not be read, so that something may seem to be missing that is not.
    :ivar disk: reads what the configuration names.
    """

    files: tuple[SourceFile, ...]
    tree: dict[str, Any] = field(repr=False)
    variables: dict[str, str] = field(repr=False)
    contents: dict[Path, bytes] = field(repr=False)
    secrets: dict[KeyPath, Secret] = field(repr=False)
    unfilled: frozenset[KeyPath]
    complete: bool
    #: Whose a table is: the merged path of what was merged to its file and the path there.
    _owners: dict[KeyPath, tuple[SourceFile, KeyPath]] = field(repr=False)
    disk: Disk = field(factory=Disk, repr=False)

    def same_as(self, other: Source) -> bool:
        """
        Was ``other`` made of the same texts, variables and contents?
        """
        return (
            [(file.path, file.text) for file in self.files] == [(file.path, file.text) for file in other.files]
            and self.variables == other.variables
            and self.contents == other.contents
        )

    def owner(self, path: KeyPath) -> tuple[SourceFile, KeyPath]:
        """
        The file in which ``path`` stands, and its path there.
        """
        file, local = self._owners.get(path[:2], (self.files[0], path[:2]))
        return file, local + path[2:]

    def base(self, path: KeyPath) -> Path:
        """
        The directory that relative paths under ``path`` resolve against: that of the file that contains it.
        """
        return self.owner(path)[0].base

    def position(self, path: KeyPath, of_key: bool = False) -> Position:
        """
        Where the value of ``path`` (or its key) stands, or the nearest ancestor that is in the text.
        """
        file, local = self.owner(path)
        return file.position(local, of_key) or Position(file.name, 0, 0)

    def problem(
        self, path: KeyPath, message: str, expected: str = "", *, of_key: bool = False, warning: bool = False
    ) -> Problem:
        """
        A problem with the value of ``path`` (or with its key), placed; what is secret in it is taken out of the words.
        """
        for secret in self._secrets_at(path):
            message, expected = secret.hide_in(message), secret.hide_in(expected)
        position = self.position(path, of_key)
        key = dotted(path)
        return Problem(position.file, position.line, position.column, key, message, expected, warning)

    def sorted(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """
        ``problems`` in the order in which a person would meet them, each once.
        """
        ranks = {file.name: rank for rank, file in enumerate(self.files)}
        last = len(ranks)
        return tuple(sorted(dict.fromkeys(problems), key=lambda p: (ranks.get(p.file, last), p.line, p.column)))

    def secret_above(self, path: KeyPath) -> Secret | None:
        """
        The secret string that stands at ``path``, or that the table at ``path`` was made of.
        """
        for end in range(len(path), 0, -1):
            if path[:end] in self.secrets:
                return self.secrets[path[:end]]
        return None

    def _secrets_at(self, path: KeyPath) -> Iterator[Secret]:
        above = self.secret_above(path)
        if above is not None:
            yield above
        for each, secret in self.secrets.items():
            if len(each) > len(path) and each[: len(path)] == path:
                yield secret


def plain(value: Any) -> Any:
    """
    ``value`` of a tree as plain Python; secrets stay, so that they are not shown.
    """
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value
