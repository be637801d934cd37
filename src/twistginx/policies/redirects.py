"""
``redirects``: to HTTPS, to the one name of a site, and from where things were to where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.tables.match import parse_path
from twistginx.errors import ConfigError
from twistginx.http.message import Reply
from twistginx.http.targets import quoted_match
from twistginx.http.variables import safe_location, safe_value
from twistginx.interfaces import IContext, IPolicyModule

moduleProvides(IPolicyModule)

name = "redirects"
api = 1
rank = 150
applies_to = frozenset(("http",))
many = False

#: It decides nothing about who may come in.
decides = False

Status = Literal[301, 302, 303, 307, 308]

_REST: Final = "/*"
_SAFE: Final = frozenset((b"GET", b"HEAD"))


def _check_moved(_: Any, attribute: Attribute[Any], value: Mapping[str, str]) -> None:
    read_moved(value)


@frozen
class Config:
    """
    Send clients elsewhere: all that is to be said about a request in one redirect.  ``redirects = "moved.txt"`` is
    short for ``file``; old paths may stand beside the other keys: ``redirects = { "/old" = "/new", https = true }``.

    :ivar https: requests over plain HTTP are to be made again over TLS.
    :ivar https_port: the port of that.
    :ivar www: "add": to the name with "www." before it; "remove": to that without.
    :ivar moved: old path to new path or address.  "/blog/*" = "/news/*" moves that and all that is below.  The query
        goes along, unless the new address has one.
    :ivar file: the same in a file, which is read again when it changes: two paths in a line, old and new, with white
        space between them; lines that begin with "#" say nothing.  What ``moved`` has goes before.
    :ivar status: 301, 302, 303, 307 or 308.  None: 301, and 308 for what is neither GET nor HEAD, so that a form is
        sent again.
    """

    https: bool = False
    https_port: int = 443
    www: Literal["add", "remove"] | None = None
    moved: dict[str, str] = field(factory=dict, validator=_check_moved)
    file: Path | None = None
    status: Status | None = None

    @classmethod
    def from_shorthand(cls, value: object) -> Mapping[str, object]:
        """
        ``redirects = "moved.txt"``.
        """
        if isinstance(value, dict):
            moved = {old: new for old, new in value.items() if old.startswith("/")}
            return {"moved": moved, **{key: each for key, each in value.items() if key not in moved}}
        if not isinstance(value, str):
            raise ValueError('expected a table, or the path of a file: "moved.txt"')
        return {"file": value}

    @classmethod
    def is_shorthand(cls, table: Mapping[str, object]) -> bool:
        """
        Has it old paths among its keys?
        """
        return any(key.startswith("/") for key in table)


@frozen
class Moved:
    """
    Where things are.

    :ivar exact: new address by old path, both as bytes.
    :ivar below: the same for all that is below a path; new addresses end before what is put behind them.
    """

    exact: Mapping[bytes, bytes]
    below: Mapping[bytes, bytes]

    def find(self, path: bytes) -> bytes | None:
        """
        The new address of a normalised path, or None.
        """
        found = self.exact.get(path)
        if found is not None or not self.below:
            return found
        above = path
        while True:
            to = self.below.get(above)
            if to is not None:
                return to + quoted_match(path[len(above) :]) or b"/"
            if not above:
                return None
            above = above.rpartition(b"/")[0]


def read_moved(table: Mapping[str, str]) -> Moved:
    """
    A table of old and new addresses.

    :raise ValueError: with a short reason.
    """
    exact: dict[bytes, bytes] = {}
    below: dict[bytes, bytes] = {}
    for old, new in table.items():
        path, rest = (old[:-2], True) if old.endswith(_REST) else (old, False)
        parse_path(path or "/")
        encoded = new.encode("utf-8", "surrogateescape")
        if not re.match(r"/(?!/)|https?://[^/]", new) or encoded != safe_value(encoded):
            raise ValueError(f'"{new}" is no path or address; expected "/new" or "https://example.com/new"')
        if rest and not new.endswith(_REST):
            raise ValueError(f'"{old}" moves all that is below; expected "{new.rstrip("/")}/*"')
        if new == old:
            raise ValueError(f'"{old}" moves to where it is')
        to = safe_location(encoded)
        if rest:
            below[path.encode("utf-8", "surrogateescape")] = to[: -len(_REST)]
        else:
            exact[path.encode("utf-8", "surrogateescape")] = to
    return Moved(exact, below)


def parse_file(content: bytes) -> Moved:
    """
    What a file of moved paths says.

    :raise ValueError: with a short reason.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8-sig", "surrogateescape").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            old, new = words
        except ValueError:
            raise ValueError(f"line {number}: expected two paths, old and new") from None
        if old in table:
            raise ValueError(f'line {number}: "{old}" has moved already')
        try:
            read_moved({old: new})
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        table[old] = new
    return read_moved(table)


def make(config: Config, context: IContext) -> Redirects:
    """
    The policy.
    """
    if not (config.https or config.www or config.moved or config.file):
        raise ConfigError("leads nowhere", expected="expected https, www, moved or file")
    tables: list[Callable[[bytes], bytes | None]] = []
    if config.moved:
        tables.append(read_moved(config.moved).find)
    if config.file is not None:
        try:
            watched = context.watched(context.base / config.file, parse_file)
        except ConfigError as error:
            raise ConfigError(error.message, "file", error.expected) from error
        tables.append(_in_file(watched))
    return Redirects(config, tables)


def _in_file(watched: Any) -> Callable[[bytes], bytes | None]:
    def find(path: bytes) -> bytes | None:
        moved: Moved = watched.value  # another, when the file has changed
        return moved.find(path)

    return find


class Redirects:
    """
    The policy of one route.
    """

    __slots__ = ("_https", "_port", "_status", "_tables", "_www")

    def __init__(self, config: Config, tables: list[Callable[[bytes], bytes | None]]) -> None:
        self._https = config.https
        self._port = b"" if config.https_port == 443 else b":%d" % config.https_port  # RFC 9110 4.2.2
        self._www = config.www
        self._tables = tuple(tables)
        self._status = config.status

    def admit(self, request: Any) -> Reply | None:
        """
        Send the client elsewhere, or let it pass.
        """
        to = self._elsewhere(request)
        if to is None:
            return None
        status = self._status or (301 if request.head.method in _SAFE else 308)
        return Reply(status, [(b"Location", to)])

    def explain(self, request: Any) -> list[str | Reply]:
        """
        Where it sends a client, if it does.
        """
        reply = self.admit(request)
        return ["sends the client nowhere else" if reply is None else reply]

    def _elsewhere(self, request: Any) -> bytes | None:
        head = request.head
        path = request.matched_path
        if path[:1] != b"/":
            return None
        moved = next((to for find in self._tables if (to := find(path)) is not None), None)
        origin = self._origin(request) if head.host else None
        if moved is None and origin is None:
            return None
        to = moved or b"/" + safe_location(head.path).lstrip(b"/")
        if head.query is not None and (moved is None or b"?" not in moved):
            to += safe_location(b"?" + head.query)
        return to if origin is None or not to.startswith(b"/") else origin + to

    def _origin(self, request: Any) -> bytes | None:
        """
        The scheme and the authority that are right; None where they are.
        """
        host = request.head.host
        scheme: bytes = request.scheme
        name, port = _parted(host)
        secure = self._https and scheme == b"http"
        plain = name[:1] == b"[" or name.replace(b".", b"").isdigit()  # an address has no www
        wanted = name
        if self._www == "add" and not plain and not name.startswith(b"www."):
            wanted = b"www." + name
        elif self._www == "remove" and name.startswith(b"www."):
            wanted = name[len(b"www.") :]
        if not secure and wanted == name:
            return None
        if secure:
            return b"https://" + safe_location(wanted) + self._port
        return scheme + b"://" + safe_location(wanted) + port


def _parted(host: bytes) -> tuple[bytes, bytes]:
    """
    The name of an authority, and its port with the colon before it.
    """
    end = host.find(b"]") + 1 if host[:1] == b"[" else 0
    colon = host.find(b":", end)
    return (host, b"") if colon < 0 else (host[:colon], host[colon:])
