"""
``servers_file = "servers.txt"``: servers that a file lists, which is watched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from zope.interface import implementer, moduleProvides

from twistginx.config.tables.upstream import Server
from twistginx.interfaces import IContext, IDiscovery, IDiscoveryModule, IFinding
from twistginx.net.timers import NEVER, Ticker
from twistginx.net.watchedfile import INTERVAL, WatchedFile
from twistginx.upstream.discovery.listing import read_json, read_lines, read_toml

moduleProvides(IDiscoveryModule)

name = "file"
api = 1


#: How a file is read, by its suffix; any other is a plain text.
_FORMATS: Final[dict[str, Callable[[bytes, Path], tuple[Server, ...]]]] = {
    ".json": lambda content, base: read_json(content, False, base),
    ".toml": read_toml,
}


@frozen
class Config:
    """
    Servers from a file, which is read again when it changes.  The text alone is its path; ``servers_file = "..."`` in
    the upstream is the same.

    A ``.json`` file has a list as in ``servers``, a ``.toml`` file has ``servers = [...]``, and any other has a server
    to a line, ``10.0.0.1:8000 weight=2 backup``; ``#`` begins a comment.  A file with a mistake, or one that is gone,
    changes nothing, and is logged.

    :ivar path: of the file.
    """

    path: Path = field()

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``file = "servers.txt"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a path, or a table with path = "..."')
        return {"path": value}


def make(config: Config, context: IContext) -> File:
    """
    The provider.

    :raise ConfigError: when the file cannot be read, or is wrong.
    """
    path = config.path
    read = _FORMATS.get(path.suffix.lower(), read_lines)
    watched = WatchedFile(path, lambda content: read(content, path.parent), context.reactor, context.ticker)
    return File(watched, context.ticker)


@implementer(IDiscovery)
class File:
    """
    What the file says now.

    :ivar deadline: of the next look at what was read, on the ticker's clock.
    """

    def __init__(self, watched: WatchedFile[tuple[Server, ...]], ticker: Ticker) -> None:
        self.label = f"file {watched.path}"
        self.deadline = NEVER
        self._watched = watched
        self._ticker = ticker
        self._finding: Any = None
        self._told: object = None

    def begin(self, finding: IFinding) -> None:
        """
        See IDiscovery.
        """
        self._finding = finding
        self._told = None
        self._watched.start()
        self._ticker.watch(self)
        self.deadline_passed()

    def end(self) -> None:
        """
        See IDiscovery.
        """
        self._watched.stop()
        self._ticker.forget(self)

    def deadline_passed(self) -> None:
        """
        Time for a look.
        """
        self.deadline = self._ticker.now + INTERVAL
        value = self._watched.value
        if value is not self._told:
            self._told = value
            self._finding.found(value)
