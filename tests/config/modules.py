"""
A registry of modules that do nothing, to load configurations with.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from attrs import Factory, evolve, field, frozen, validators

from twistginx.config.networks import NetworkSet
from twistginx.config.schema import Server
from twistginx.config.template import ResponseTemplate, Template
from twistginx.errors import ConfigError


@frozen
class Proxy:
    """
    A resource with a shorthand that is a table.
    """

    upstream: str | None = None
    to: tuple[Server, ...] = field(default=(), metadata={"single": True})

    @classmethod
    def from_shorthand(cls, value):
        if not isinstance(value, str):
            raise ValueError('expected an address, or upstream = "NAME"')
        return {"to": value}


@frozen
class Static:
    """
    A resource with a shorthand that is an object with a path.
    """

    root: Path
    index: tuple[str, ...] = ("index.html",)
    symlinks: Literal["inside", "all", "none"] = "inside"

    @classmethod
    def from_shorthand(cls, value):
        if not isinstance(value, str):
            raise ValueError("expected a directory")
        return cls(Path(value))


@frozen
class Respond:
    """
    A resource with a template and any value.
    """

    body: Template = Template("", ())
    status: int = field(default=200, validator=validators.and_(validators.ge(200), validators.le(599)))
    json: Any = None


@frozen
class Headers:
    """
    A policy that merges.
    """

    set: dict[str, ResponseTemplate] = Factory(dict)


def _merge(inherited: Headers, own: Headers) -> Headers:
    return evolve(own, set={**inherited.set, **own.set})


@frozen
class Access:
    """
    A policy with a shorthand that is an array.
    """

    allow: NetworkSet = NetworkSet()

    @classmethod
    def from_shorthand(cls, value):
        return {"allow": value}


@frozen
class Note:
    """
    A policy of which a route may have many.
    """

    text: str


@frozen
class Hash:
    """
    A balancer with an option.
    """

    key: Template


@frozen
class Nothing:
    """
    No options.
    """


@frozen
class StreamProxy:
    """
    Where a stream goes.
    """

    upstream: str


@frozen
class Memory:
    """
    Where shared state is.
    """

    store: str = "memory"


def _module(name, config, **more):
    return SimpleNamespace(name=name, Config=config, **more)


MODULES = {
    ("resource", "proxy"): _module("proxy", Proxy),
    ("resource", "static"): _module("static", Static),
    ("resource", "respond"): _module("respond", Respond),
    ("policy", "headers"): _module("headers", Headers, many=False, merge=_merge, applies_to={"http"}),
    ("policy", "access"): _module("access", Access, many=False, applies_to={"http", "stream"}),
    ("policy", "note"): _module("note", Note, many=True, applies_to={"http"}),
    ("balance", "round_robin"): _module("round_robin", Nothing),
    ("balance", "hash"): _module("hash", Hash),
    ("stream", "proxy"): _module("proxy", StreamProxy),
    ("store", "memory"): _module("memory", Memory),
}


class Modules:
    """
    A registry; ``broken`` is a resource whose module cannot be imported.
    """

    def __init__(self, **resources: Any) -> None:
        self.modules = {**MODULES, **{("resource", name): module for name, module in resources.items()}}

    def find(self, kind: str, name: str) -> Any:
        if name == "broken":
            raise ConfigError('the plugin "broken" cannot be imported: ImportError: no module named acme')
        return self.modules.get((kind, name))

    def names(self, kind: str) -> Iterable[str]:
        broken = ["broken"] if kind == "resource" else []
        return [name for each, name in self.modules if each == kind] + broken
