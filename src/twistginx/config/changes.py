"""
What one configuration has that another has not, in a line for the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import asdict

from twistginx.config.schema import Root


def changes(old: Root, new: Root) -> str:
    """
    What is new (``+``), different (``~``) and gone (``-``): ``listeners +tcp:8081; upstreams ~app -old``.

    Only what is written is compared: a file that is served may have changed without this.
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


def _listeners(root: Root) -> dict[str, Any]:
    sites = [listen for site in root.sites for listen in (*site.listen, *site.listen_tls)]
    streams = [listen for stream in root.streams for listen in stream.listen]
    return dict.fromkeys(root.endpoint_of(listen) for listen in (*sites, *streams))


def _sites(root: Root) -> dict[str, Any]:
    return {", ".join(site.names or (*site.listen, *site.listen_tls)): site for site in root.sites}


def _streams(root: Root) -> dict[str, Any]:
    return {", ".join(stream.listen): stream for stream in root.streams}


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
)
