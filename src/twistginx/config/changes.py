"""
What one configuration has that another has not, in a line for the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict, fields

from twistginx.config.address import is_listener_name
from twistginx.config.schema import Listener, Root, Site, Stream


def changes(old: Root, new: Root) -> str:
    """
    What is new (``+``), different (``~``) and gone (``-``): ``listeners +tcp:8081; upstreams ~app -old``.

    Compared is what is written, and what is in the files that it names: certificates, keys, passwords.  What is served
    may have changed without this.
    """
    found = []
    for kind, named in _PARTS:
        before, after = named(old), named(new)
        words = [f"+{name}" for name in after if name not in before]
        words += [f"~{name}" for name in after if name in before and before[name] != after[name]]
        words += [f"-{name}" for name in before if name not in after]
        if words:
            found.append(" ".join([kind, *words]))
    return "; ".join(found) or "nothing is another"


#: What makes an address another listener than it was; not what it is called.
_OPTIONS: Final = tuple(each for each in fields(Listener) if each.name not in ("name", "endpoint"))

#: The options of one that has no table.
_PLAIN: Final = tuple(each.default for each in _OPTIONS)


def _listeners(root: Root) -> dict[str, Any]:
    sites = [listen for site in root.sites for listen in (*site.listen, *site.listen_tls)]
    streams = [listen for stream in root.streams for listen in stream.listen]
    return {root.endpoint_of(listen): _options(root, listen) for listen in (*sites, *streams)}


def _options(root: Root, listen: str) -> tuple[Any, ...]:
    if not is_listener_name(listen):
        return _PLAIN
    return tuple(getattr(root.listeners[listen], each.name) for each in _OPTIONS)


def _named(served: Iterable[tuple[Sequence[str], Site | Stream]]) -> dict[str, Any]:
    """
    By what they are called; where several are called the same, all together.
    """
    found: dict[str, Any] = {}
    for words, each in served:
        found.setdefault(", ".join(words), []).append(each)
    return found


def _sites(root: Root) -> dict[str, Any]:
    return _named((site.names or (*site.listen, *site.listen_tls), site) for site in root.sites)


def _streams(root: Root) -> dict[str, Any]:
    return _named((stream.listen, stream) for stream in root.streams)


def _files(root: Root) -> dict[str, Any]:
    base = root.source.files[0].base if root.source.files else Path()
    return {
        str(path.relative_to(base) if path.is_relative_to(base) else path): content
        for path, content in root.source.contents.items()
    }


#: The kinds of things there are, and how each finds its own by name.
_PARTS: Final[tuple[tuple[str, Callable[[Root], dict[str, Any]]], ...]] = (
    ("process", lambda root: asdict(root.process, recurse=False)),
    ("log", lambda root: asdict(root.log, recurse=False)),
    ("listeners", _listeners),
    ("upstreams", lambda root: root.upstreams),
    ("networks", lambda root: root.networks),
    ("maps", lambda root: root.maps),
    ("matches", lambda root: root.matches),
    ("variables", lambda root: root.variables),
    ("shared", lambda root: {} if root.shared is None else {root.shared.name: root.shared}),
    ("sites", _sites),
    ("streams", _streams),
    ("files", _files),
)
