"""
Reads the files of a configuration into a :class:`~twistginx.config.source.Source`.
"""

from __future__ import annotations

import glob
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from twistginx.config.disk import Disk
from twistginx.config.scanner import KeyPath, opener
from twistginx.config.source import Source, SourceFile, dotted
from twistginx.config.text import Secret, expand
from twistginx.errors import ConfigError, Problem

#: What an included file may hold: tables by name, and arrays of tables.
_NAMED: Final = frozenset({"upstream"})
_LISTED: Final = frozenset({"site", "stream"})

#: The directory with the credentials of a service of systemd.
_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"

_POSITION: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

#: What tomllib says, and what that usually means.
_HINTS: Final = (
    ("Invalid value", 'a string stands in quotes, as in "10s"'),
    ("Expected newline or end of document", 'a string stands in quotes, as in "10s"'),
    ("Illegal character '\\n'", "a string ends on the line that it begins on: is a quote missing?"),
    ("Cannot overwrite a value", "this key is already there"),
    ("Cannot declare", "this table is already there; tables of an array have two brackets, as in [[site]]"),
    ("Unescaped '\\'", "a backslash is written \\\\, or the string stands in single quotes"),
    ("Expected '=' after a key", 'write key = "value"'),
)


def read(path: str | Path, environment: Mapping[str, str], disk: Disk | None = None) -> tuple[Source, list[Problem]]:
    """
    Read the file at ``path`` and what it includes.

    :param environment: where ``{env.X}`` is looked up.
    :param disk: what files are read from; None: a new one.
    :return: the source, and what is wrong with it so far.
    :raise ConfigError: when the main file cannot be read or is not TOML.
    """
    reading = _Reading(environment, Disk() if disk is None else disk)
    reading.main(Path(path))
    return reading.source(), reading.problems


class _Reading:
    """
    A configuration of which some files have been read.
    """

    def __init__(self, environment: Mapping[str, str], disk: Disk) -> None:
        self.environment = environment
        self.disk = disk
        self.problems: list[Problem] = []
        self.files: list[SourceFile] = []
        self.tree: dict[str, Any] = {}
        self.variables: dict[str, str] = {}
        self.contents: dict[Path, bytes] = {}
        self.secrets: dict[KeyPath, Secret] = {}
        self.owners: dict[KeyPath, tuple[SourceFile, KeyPath]] = {}
        #: Problems whose place is known when all has been read.
        self.later: list[tuple[KeyPath, str, str]] = []
        self.complete = True

    def source(self) -> Source:
        source = Source(
            tuple(self.files),
            self.tree,
            self.variables,
            self.contents,
            self.secrets,
            frozenset(path for path, _, _ in self.later),
            self.complete,
            self.owners,
            self.disk,
        )
        self.problems += [source.problem(*each) for each in self.later]
        return source

    def main(self, path: Path) -> None:
        read = self.open(path.absolute(), str(path))
        if read is None:
            raise ConfigError(problems=tuple(self.problems))
        file, tree = read
        include = tree.pop("include", [])
        for key, value in tree.items():
            self.tree[key] = self.wrap(value, (key,), file)
        self.include(file, include)

    def include(self, main: SourceFile, patterns: Any) -> None:
        if isinstance(patterns, str):
            patterns = [patterns]
        if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
            self.later.append((("include",), "is not an array of strings", 'expected include = ["conf.d/*.toml"]'))
            return
        seen = {main.path}
        for index, pattern in enumerate(patterns):
            found = self.disk.find(main.base, pattern)
            if not found and not glob.has_magic(pattern):
                self.later.append((("include", index), f'there is no file "{pattern}"', ""))
                self.complete = False
            for each in found:
                if each not in seen and (each.is_file() or not glob.has_magic(pattern)):
                    seen.add(each)
                    self.included(main, each, os.path.isabs(pattern))

    def included(self, main: SourceFile, path: Path, absolute: bool) -> None:
        name = str(path) if absolute else os.path.join(os.path.dirname(main.name), os.path.relpath(path, main.base))
        read = self.open(path, name)
        if read is None:
            self.complete = False
            return
        file, tree = read
        for key, value in tree.items():
            if key in _NAMED and isinstance(value, dict):
                for each, table in value.items():
                    self.named(key, each, table, file)
            elif key in _LISTED and isinstance(value, list):
                for index, table in enumerate(value):
                    self.listed(key, index, table, file)
            else:
                self.refuse(key, file)

    def named(self, key: str, name: str, table: Any, file: SourceFile) -> None:
        tables = self.tree.setdefault(key, {})
        path = (key, name)
        if not isinstance(tables, dict):
            return  # The main file's is wrong, and is reported.
        if name in tables:
            other, local = self.owners.get(path, (self.files[0], path))
            self.place(path, file, f"is already defined at {other.position(local, True)}", "every name is used once")
            return
        self.owners[path] = (file, path)
        tables[name] = self.wrap(table, path, file)

    def listed(self, key: str, index: int, table: Any, file: SourceFile) -> None:
        tables = self.tree.setdefault(key, [])
        if not isinstance(tables, list):
            return  # The main file's is wrong, and is reported.
        path = (key, len(tables))
        self.owners[path] = (file, (key, index))
        tables.append(self.wrap(table, path, file))

    def refuse(self, key: str, file: SourceFile) -> None:
        if key == "include":
            self.place((key,), file, "an included file includes no other", "")
        elif key in _NAMED:
            self.place((key,), file, "is not a table of tables", f"expected [{key}.NAME]")
        elif key in _LISTED:
            self.place((key,), file, "is not an array of tables", f"expected [[{key}]]")
        else:
            allowed = "[upstream.NAME], [[site]] and [[stream]]"
            self.place((key,), file, "does not belong into an included file", f"expected {allowed}")

    def place(self, path: KeyPath, file: SourceFile, message: str, expected: str) -> None:
        position = file.position(path, True)
        line, column = (position.line, position.column) if position else (0, 0)
        self.problems.append(Problem(file.name, line, column, dotted(path), message, expected))

    def open(self, path: Path, name: str) -> tuple[SourceFile, dict[str, Any]] | None:
        try:
            text = self.disk.read(path).decode("utf-8").replace("\r\n", "\n")
        except OSError as error:
            self.problems.append(Problem(name, 0, 0, "", f"cannot be read: {error.strerror}"))
            return None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            self.problems.append(Problem(name, line, 1, "", "is not UTF-8", "save the file as UTF-8"))
            return None
        file = SourceFile(path, name, text)
        self.files.append(file)
        try:
            return file, tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(_syntax_error(file, str(error)))
        except RecursionError:
            self.problems.append(Problem(name, 1, 1, "", "is nested too deeply"))
        return None

    def wrap(self, value: Any, path: KeyPath, file: SourceFile) -> Any:
        if isinstance(value, str):
            text = expand(value, file.base, lambda kind, name: self.look_up(kind, name, path, file))
            if isinstance(text, Secret):
                self.secrets[path] = text
            return text
        if isinstance(value, dict):
            return {key: self.wrap(each, (*path, key), file) for key, each in value.items()}
        if isinstance(value, list):
            return [self.wrap(each, (*path, index), file) for index, each in enumerate(value)]
        return value

    def look_up(self, kind: str, name: str, path: KeyPath, file: SourceFile) -> str:
        if kind == "env":
            if name not in self.environment:
                close = get_close_matches(name, self.environment, 1)
                hint = f"did you mean {{env.{close[0]}}}?" if close else ""
                self.later.append((path, f'the environment has no variable "{name}"', hint))
                return ""
            self.variables[name] = self.environment[name]
            return self.environment[name]
        where = file.base / name if kind == "file" else self.credential(name, path)
        if where is None:
            return ""
        try:
            content = self.disk.read(where)
            self.contents[where] = content
            return re.sub(r"\r?\n\Z", "", content.decode("utf-8"))
        except OSError as error:
            self.later.append((path, f'the {kind} "{name}" cannot be read: {error.strerror}', ""))
        except ValueError:
            self.later.append((path, f'the {kind} "{name}" is not UTF-8 text', ""))
        return ""

    def credential(self, name: str, path: KeyPath) -> Path | None:
        """
        The file of a credential that systemd has passed to the service (``LoadCredential=``, systemd.exec(5)); None
        when there can be none, which is reported.
        """
        directory = self.environment.get(_CREDENTIALS)
        if not name or "/" in name or name in (".", ".."):
            self.later.append((path, f'"{name}" is not the name of a credential', "expected one name, without slashes"))
        elif not directory:
            hint = "it is set for services with LoadCredential= or SetCredential="
            self.later.append((path, f"the environment has no variable {_CREDENTIALS}", hint))
        else:
            self.variables[_CREDENTIALS] = directory
            return Path(directory) / name
        return None


def _syntax_error(file: SourceFile, message: str) -> Problem:
    match = _POSITION.search(message)
    message = _POSITION.sub("", message)
    text = file.text
    offset = len(text)
    if match is not None and match[1]:
        lines = text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: int(match[1]) - 1]) + int(match[2]) - 1
    hint = _hint(text, offset, message)
    if message.startswith("Cannot "):
        # It is said at the end of the statement; the statement is meant.
        start = text.rfind("\n", 0, offset) + 1
        offset = start + len(text[start:]) - len(text[start:].lstrip(" \t"))
    elif not text[offset:].strip():
        # It is said at the end of the text; what was never closed is meant.
        offset = max(opener(text, offset), 0)
    position = file.at(offset)
    return Problem(file.name, position.line, position.column, "", message, hint)


def _hint(text: str, offset: int, message: str) -> str:
    character = text[offset : offset + 1]
    if text.startswith("\ufeff"):
        return "the file begins with a byte order mark: save it without"
    if character and character in "“”„‘’":  # noqa: RUF001  # these are what is looked for
        return "quotes are plain: \" or '"
    opened = opener(text, offset)
    if opened >= 0 and text[opened] == "[" and "\n" in text[opened:offset]:
        return f"the array that begins in line {text.count(chr(10), 0, opened) + 1} is not closed before this"
    if opened >= 0 and text[opened] == "{":
        if character in ("\n", "#"):
            return "an inline table stands on one line: join the lines, or give the table a [header] of its own"
        if character == "}":
            return "no comma stands after the last key of an inline table"
    return next((hint for beginning, hint in _HINTS if message.startswith(beginning)), "")
