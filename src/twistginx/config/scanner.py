"""
Where each key and value of a TOML text stands.

``tomllib`` reads TOML and tells no positions.  This scanner walks a text that ``tomllib`` has accepted, so it checks
nothing; it runs only when there is something to report.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

from attrs import frozen

#: The keys and indices that lead to a value.
KeyPath = tuple[str | int, ...]

_KEY: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')[ \t]*""")
_BLANK: Final = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")

#: One string.  The end of a multi-line one may follow one or two quotes of its content.
_STRING: Final = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'''
    r"""|'''(?:[^']|'{1,2}(?!'))*'{3,5}"""
    r"""|"(?!"")(?:[^"\\]|\\.)*"|'(?!'')[^']*'""",
    re.DOTALL,
)
#: A number, a boolean or a date (which may hold a space).
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


@frozen
class Place:
    """
    Offsets into a text.

    :ivar key: of the key; for an element of an array, of the element.
    :ivar value: of the value; for a table that was opened by a header or by a dotted key, of the key.
    """

    key: int
    value: int


def scan(text: str) -> dict[KeyPath, Place]:
    r"""
    The places of everything in ``text``, which is TOML 1.0 with ``\n`` line ends.
    """
    return _Scanner(text).document()


class Lines:
    """
    Turns offsets into lines and columns, both counted from 1.
    """

    __slots__ = ("_starts",)

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(self, offset: int) -> tuple[int, int]:
        """
        The line and the column of ``offset``.
        """
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def opener(text: str, end: int) -> int:
    """
    The offset of the innermost string, array or inline table that is open at ``end``; -1 when none is.

    ``text`` is TOML at least up to there.
    """
    brackets: list[int] = []
    offset = 0
    while offset < end:
        character = text[offset]
        if character in "\"'":
            match = _STRING.match(text, offset)
            if match is None or match.end() > end:
                return offset
            offset = match.end()
            continue
        if character == "#":
            offset = text.find("\n", offset, end)
            if offset < 0:
                break
        elif character in "[{":
            brackets.append(offset)
        elif character in "]}" and brackets:
            brackets.pop()
        offset += 1
    return brackets[-1] if brackets else -1


class _Scanner:
    __slots__ = ("lengths", "offset", "places", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0
        self.places: dict[KeyPath, Place] = {}
        #: How many elements each array of tables has so far.
        self.lengths: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, Place]:
        table: KeyPath = ()
        while True:
            self.skip(_BLANK)
            if self.offset >= len(self.text):
                return self.places
            if self.text.startswith("[[", self.offset):
                self.offset += 2
                table = self.header(array=True)
                self.offset += 2
            elif self.text[self.offset] == "[":
                self.offset += 1
                table = self.header(array=False)
                self.offset += 1
            else:
                self.key_value(table)

    def skip(self, blank: re.Pattern[str]) -> None:
        self.offset = blank.match(self.text, self.offset).end()  # type: ignore[union-attr]  # it may be empty

    def keys(self) -> list[tuple[str, int]]:
        """
        A dotted key: its parts and their offsets.
        """
        parts = []
        while True:
            match = _KEY.match(self.text, self.offset)
            assert match is not None, "a key is expected"
            raw = match[1]
            if raw[0] == '"':
                raw = tomllib.loads(f"key = {raw}")["key"]
            elif raw[0] == "'":
                raw = raw[1:-1]
            parts.append((raw, match.start(1)))
            self.offset = match.end()
            if self.text[self.offset] != ".":
                return parts
            self.offset += 1

    def header(self, array: bool) -> KeyPath:
        *parents, (name, offset) = self.keys()
        path: KeyPath = ()
        for parent, start in parents:
            path = (*path, parent)
            self.places.setdefault(path, Place(start, start))
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)
        path = (*path, name)
        here = Place(offset, offset)
        if not array:
            self.places[path] = here
            return path
        self.places.setdefault(path, here)
        index = self.lengths.get(path, 0)
        self.lengths[path] = index + 1
        path = (*path, index)
        self.places[path] = here
        return path

    def key_value(self, table: KeyPath) -> None:
        *parents, (name, offset) = self.keys()
        path = table
        for parent, start in parents:
            path = (*path, parent)
            self.places.setdefault(path, Place(start, start))
        self.offset += 1  # the equals sign
        self.skip(_SPACE)
        path = (*path, name)
        self.places[path] = Place(offset, self.offset)
        self.value(path)

    def value(self, path: KeyPath) -> None:
        character = self.text[self.offset]
        if character == "[":
            self.array(path)
        elif character == "{":
            self.inline_table(path)
        else:
            match = (_STRING if character in "\"'" else _SCALAR).match(self.text, self.offset)
            assert match is not None, "a value is expected"
            self.offset = match.end()

    def array(self, path: KeyPath) -> None:
        self.offset += 1
        index = 0
        while True:
            self.skip(_BLANK)
            if self.text[self.offset] == "]":
                self.offset += 1
                return
            element = (*path, index)
            self.places[element] = Place(self.offset, self.offset)
            self.value(element)
            self.skip(_BLANK)
            if self.text[self.offset] == ",":
                self.offset += 1
            index += 1

    def inline_table(self, path: KeyPath) -> None:
        self.offset += 1
        while True:
            self.skip(_SPACE)
            if self.text[self.offset] == "}":
                self.offset += 1
                return
            if self.text[self.offset] == ",":
                self.offset += 1
                continue
            self.key_value(path)
