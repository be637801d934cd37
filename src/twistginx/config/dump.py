"""
The effective configuration, as TOML that means the same: shorthands written out, defaults filled in, files put
together.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

import attrs
import toml

from twistginx.config.address import HostName, ServerAddress
from twistginx.config.convert import key_of
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Defaults, Match, Policy, Root, Route, Stream, Upstream, Use
from twistginx.config.source import Source
from twistginx.config.template import Template
from twistginx.config.text import Secret
from twistginx.errors import TwistginxError

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")

#: What cannot stand in a basic string as it is.
_ESCAPES: Final = {code: f"\\u{code:04X}" for code in (*range(0x20), 0x7F)} | {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\b"): "\\b",
    ord("\t"): "\\t",
    ord("\n"): "\\n",
    ord("\f"): "\\f",
    ord("\r"): "\\r",
}


class DumpError(TwistginxError):
    """
    What was written does not read back: a fault of ours.
    """


def dump(root: Root) -> str:
    """
    ``root`` as TOML.

    Paths are absolute.  Where ``{env.X}`` or ``{file.P}`` stood, it stands again.

    :raise DumpError: when the text does not read back as what it was made of.
    """
    return write(_Plain(root.source).root(root))


def write(data: Mapping[str, Any]) -> str:
    """
    Tables as TOML, verified by reading them back.

    :param data: what ``tomllib`` returns: dict, list, str, int, float, bool, dates and times.
    :raise DumpError: when the text does not read back as ``data``.
    """
    text: str = toml.dumps(data, encoder=Encoder())
    try:
        text.encode()
        read = tomllib.loads(text)
    except ValueError as error:
        raise DumpError(f"the dump is not TOML: {error}") from error
    # As texts, because nan is not equal to itself.
    if _canonical(read) != _canonical(data):
        raise DumpError("the dump reads back as something else")
    return text


def _canonical(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, default=repr)


class Encoder(toml.TomlEncoder):
    """
    Writes what ``toml`` alone does not: every string, key and empty table, and arrays of tables and other values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dump_funcs[str] = _string
        self.dump_funcs[dict] = self._inline

    def dump_list(self, v: Iterable[Any]) -> str:
        """
        An array, on one line.
        """
        return f"[{', '.join(str(self.dump_value(each)) for each in v)}]"

    def dump_sections(self, o: Mapping[str, Any], sup: str) -> tuple[str, dict[str, Any]]:
        """
        A table with all that is below it; nothing is left to the caller.
        """
        return self._section(o, sup).lstrip("\n"), {}

    def _section(self, table: Mapping[str, Any], prefix: str) -> str:
        lines = ""
        below = ""
        for key, value in table.items():
            name = f"{prefix}.{_key(key)}" if prefix else _key(key)
            if isinstance(value, dict):
                body = self._section(value, name)
                # A header is needed where something stands right below it.
                below += body if body.startswith("\n[") else f"\n[{name}]\n{body}"
            elif _is_array_of_tables(value):
                below += "".join(f"\n[[{name}]]\n{self._section(each, name)}" for each in value)
            else:
                lines += f"{_key(key)} = {self.dump_value(value)}\n"
        return lines + below

    def _inline(self, table: Mapping[str, Any]) -> str:
        pairs = ", ".join(f"{_key(key)} = {self.dump_value(value)}" for key, value in table.items())
        return f"{{ {pairs} }}" if pairs else "{}"


def _string(value: str) -> str:
    return f'"{value.translate(_ESCAPES)}"'


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


class _Plain:
    """
    Turns the objects of a configuration back into tables.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    def root(self, root: Root) -> dict[str, Any]:
        return {
            "process": self.value(root.process, ("process",)),
            "log": self.value(root.log, ("log",)),
            "defaults": self.defaults(root.defaults, {}, ("defaults",)),
            "variables": self.value(root.variables, ("variables",)),
            "map": {name: self.value(each, ("map", name)) for name, each in root.maps.items()},
            "match": {name: self.value(each, ("match", name)) for name, each in root.matches.items()},
            "upstream": {name: self.upstream(each) for name, each in root.upstreams.items()},
            "listener": {name: self.value(each, ("listener", name)) for name, each in root.listeners.items()},
            "networks": {name: self.value(each, ("networks", name)) for name, each in root.networks.items()},
            "shared": {} if root.shared is None else self.use(root.shared),
            "site": [self.site(root, index) for index in range(len(root.sites))],
            "stream": [self.stream(each, ("stream", index)) for index, each in enumerate(root.streams)],
        }

    def upstream(self, upstream: Upstream) -> dict[str, Any]:
        table = self.table(upstream, ("upstream", upstream.name))
        table["balance"] = {upstream.balance.name: self.use(upstream.balance)}
        if upstream.discover:
            table["discover"] = {each.name: self.use(each) for each in upstream.discover}
        return table

    def site(self, root: Root, index: int) -> dict[str, Any]:
        site = root.sites[index]
        path = ("site", index)
        table = self.table(site, path)
        table["defaults"] = self.defaults(site.defaults, root.defaults.policies, (*path, "defaults"))
        table["route"] = [self.route(each, site.defaults, (*path, "route", i)) for i, each in enumerate(site.routes)]
        return table

    def defaults(self, defaults: Defaults, inherited: Mapping[str, Policy], path: KeyPath) -> dict[str, Any]:
        return {**self.table(defaults, path), **self.policies(defaults.policies, inherited)}

    def route(self, route: Route, defaults: Defaults, path: KeyPath) -> dict[str, Any]:
        return {
            **self.table(route, path),
            route.resource.name: self.use(route.resource),
            **self.policies(route.policies, defaults.policies),
        }

    def stream(self, stream: Stream, path: KeyPath) -> dict[str, Any]:
        routes = [
            {**self.table(route, (*path, "route", index)), route.resource.name: self.use(route.resource)}
            for index, route in enumerate(stream.routes)
        ]
        return {**self.table(stream, path), "route": routes, **self.policies(stream.policies, {})}

    def policies(self, policies: Mapping[str, Policy], inherited: Mapping[str, Policy]) -> dict[str, Any]:
        tables: dict[str, Any] = {name: False for name in inherited if name not in policies}
        for name, policy in policies.items():
            tables[name] = self.policy(policy) if isinstance(policy, Use) else [self.policy(each) for each in policy]
        return tables

    def policy(self, use: Use) -> Any:
        table = self.use(use)
        return table if use.when is None else {**table, "when": self.value(use.when, (*use.where, "when"))}

    def use(self, use: Use) -> Any:
        return self.value(use.config, use.where)

    def value(self, value: Any, path: KeyPath) -> Any:
        """
        Anything that a field may hold, as what TOML has.
        """
        if attrs.has(type(value)) and not hasattr(type(value), "parse"):
            return self.table(value, path)
        if isinstance(value, dict):
            return {str(key): self.value(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, (tuple, list)):
            return [self.value(each, (*path, index)) for index, each in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            return sorted(self.value(each, path) for each in value)
        return self.secret(value, self.scalar(value), path)

    def table(self, value: Any, path: KeyPath) -> dict[str, Any]:
        """
        An object of an attrs class, without what load put together.
        """
        table: dict[str, Any] = {}
        for field in attrs.fields(type(value)):
            each = getattr(value, field.name)
            if isinstance(value, Match) and not each:
                continue  # It has many keys, of which one or two are used.
            if field.init and not field.metadata.get("composed") and each is not None:
                key = key_of(field)
                table[key] = self.value(each, (*path, key))
        return table

    def scalar(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return self.scalar(value.value)
        if isinstance(value, (bool, Secret)):
            return value
        if isinstance(value, ServerAddress):
            return value.written or value.text
        if isinstance(value, Template):
            return value.text
        if isinstance(value, (PurePath, str)) or hasattr(type(value), "parse"):
            return str(value)
        return value

    def secret(self, value: Any, scalar: Any, path: KeyPath) -> Any:
        """
        ``scalar``, or what was written where something secret may be in it.
        """
        text = getattr(value, "text", value)
        if isinstance(text, Secret):
            return text.written
        above = self.source.secret_above(path)
        if above is None:
            return scalar
        if path in self.source.secrets:
            return above.written
        # A table or an array was made of it, and this may be the part in which it is, in another spelling.
        shown = str(scalar).casefold()
        found = any(inserted and text.casefold() in shown for text, inserted in above.pieces)
        return above.written if found or isinstance(value, (HostName, PurePath)) else scalar
