"""
Lists of servers, as files and other programs write them.  Pure.

A list is an array of what may stand in ``servers``: addresses, or tables with ``to``; or a table with such an array as
its ``servers``.  In a plain text there is a server to a line: its address, then its keys, ``weight=2 backup``.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final

from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.config.tables.upstream import Server
from twistginx.config.text import Text

#: How many servers a list may have.
MOST: Final = 1000


def servers_of(value: Any, remote: bool, base: Path | None = None) -> tuple[Server, ...]:
    """
    The servers that a list names, each address once.

    :param value: what JSON or TOML has: a list, or a dict with ``servers``.
    :param remote: it comes from another machine: only addresses of TCP are believed.
    :param base: what relative paths of UNIX sockets resolve against; None: the current directory.
    :raise ValueError: with a short reason.
    """
    if isinstance(value, dict):
        if "servers" not in value:
            raise ValueError('it is a table without "servers"')
        value = value["servers"]
    if not isinstance(value, list):
        raise ValueError("it is not a list of servers")
    if len(value) > MOST:
        raise ValueError(f"it has more than {MOST} servers")
    if base is not None:
        value = [_placed(entry, base) for entry in value]
    try:
        found: tuple[Server, ...] = structure(value, tuple[Server, ...])
    except Faults as error:
        fault = error.faults[0]
        where = ".".join(map(str, fault.path))
        raise ValueError(
            " ".join(part for part in (f"servers.{where}:", fault.message, fault.expected) if part)
        ) from None
    for server in found:
        if remote and server.to.kind != "tcp":
            raise ValueError(f'"{server.to}" is not an address such as "10.0.0.1:8000"')
    return tuple({(str(server.to), server.to.secure): server for server in reversed(found)}.values())[::-1]


def read_json(content: bytes, remote: bool, base: Path | None = None) -> tuple[Server, ...]:
    """
    The servers of a list in JSON.  Raises as :func:`servers_of`.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    return servers_of(value, remote, base)


def read_toml(content: bytes, base: Path) -> tuple[Server, ...]:
    """
    The servers of a file in TOML.  Raises as :func:`servers_of`.
    """
    try:
        value = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not TOML: {error}") from None
    return servers_of(value, False, base)


def read_lines(content: bytes, base: Path) -> tuple[Server, ...]:
    """
    The servers of a plain text: one to a line; ``#`` begins a comment.  Raises as :func:`servers_of`.
    """
    entries: list[dict[str, Any]] = []
    for line in content.decode("utf-8", "replace").splitlines():
        address, *words = line.split("#", 1)[0].split() or [""]
        if address:
            entries.append({"to": address} | dict(map(_key_and_value, words)))
    return servers_of(entries, False, base)


def _key_and_value(word: str) -> tuple[str, Any]:
    key, equals, value = word.partition("=")
    if not equals:
        return key, True
    return key, int(value) if value.isdecimal() else {"true": True, "false": False}.get(value, value)


def _placed(entry: Any, base: Path) -> Any:
    """
    ``entry`` with an address that knows where it is written.
    """
    if isinstance(entry, str):
        return Text.at(entry, base)
    if isinstance(entry, dict) and isinstance(entry.get("to"), str):
        return {**entry, "to": Text.at(entry["to"], base)}
    return entry
