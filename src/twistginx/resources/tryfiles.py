"""
``try_files``: where to look for a file, one place after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import frozen

from twistginx.config.template import Template, Variable
from twistginx.errors import ConfigError
from twistginx.http.variables import Getter, compile_template

#: Ends of the names of programs, whose text is not for clients: nginx would look for a ``location`` that runs them.
PROGRAMS: Final = (".php", ".phtml", ".cgi", ".jsp", ".asp", ".aspx")

_STATUS: Final = re.compile(r"=(\d+)\Z")


@frozen(eq=False)
class Place:
    """
    A path beneath the root, or what to ask the site for.

    :ivar path: ``(request, path)`` to the path, decoded; the argument is that of the request, beneath the root.
    :ivar query: the same for what follows a question mark; None where there is none, and where there is one, no file.
    """

    path: Callable[[Any, bytes], bytes]
    query: Callable[[Any, bytes], bytes] | None


@frozen(eq=False)
class TryFiles:
    """
    The list, compiled.

    :ivar places: in order.
    :ivar status: what to answer behind them; None: the site is asked for the last.
    :ivar by_path: the path of a request alone decides what is found, so that it can be kept by it.
    """

    places: tuple[Place, ...]
    status: int | None
    by_path: bool


def compile_try_files(entries: Sequence[Template]) -> TryFiles:
    """
    :raise ConfigError: for what is no path and no status.
    """
    places = []
    status = None
    for position, entry in enumerate(entries):
        key = f"try_files.{position}"
        found = _STATUS.match(entry.text)
        if found:
            status = int(found[1])
            if position != len(entries) - 1:
                raise ConfigError(f'"{entry}" is never gone past', key=key, expected="expected a status as the last")
            if not 400 <= status <= 599:
                raise ConfigError(f"{status} is no failure", key=key, expected='expected one such as "=404"')
            continue
        first = entry.parts[0] if entry.parts else ""
        if isinstance(first, str) and not first.startswith("/"):
            raise ConfigError(f'"{entry}" does not begin with a slash', key=key, expected=f'expected "/{entry}"')
        path, query = _split(entry)
        last = path[-1] if path else ""
        if query is None and isinstance(last, str) and last.endswith(PROGRAMS):
            raise ConfigError(
                f'"{entry}" would be sent as it is, and not run',
                key=key,
                expected=f'expected "{entry}?{{query}}" as the last, and a route that runs it',
            )
        if query is not None and position != len(entries) - 1:
            raise ConfigError("no file has a query", key=key, expected="expected a query at the last only")
        places.append(Place(_filler(entry, path), None if query is None else _filler(entry, query)))
    by_path = all(isinstance(part, str) or part.name == "path" for entry in entries for part in entry.parts)
    return TryFiles(tuple(places), status, by_path)


_Parts = tuple[str | Variable, ...]


def _split(entry: Template) -> tuple[_Parts, _Parts | None]:
    """
    What stands before the first question mark that is written there, and what behind it.
    """
    for position, part in enumerate(entry.parts):
        if isinstance(part, str) and "?" in part:
            before, _, behind = part.partition("?")
            path = (*entry.parts[:position], before)
            return path, (behind, *entry.parts[position + 1 :])
    return entry.parts, None


def _filler(entry: Template, parts: _Parts) -> Callable[[Any, bytes], bytes]:
    """
    What puts the parts together.  ``{path}`` is the path beneath the root here, decoded: a name of a file, and no URL.
    """
    pieces: list[Getter | None] = []
    for part in parts:
        if isinstance(part, Variable) and part.name == "path":
            pieces.append(None)
        else:
            pieces.append(compile_template(Template(entry.text, (part,))))

    def fill(request: Any, path: bytes) -> bytes:
        filled = b"".join([path if piece is None else piece(request) for piece in pieces])
        # "{path}/" of a path that has its slash already is the same directory.
        return filled[:-1] if filled.endswith(b"//") else filled

    return fill
