"""
What the rules of ``rewrite`` do to a target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import define, field, frozen

from twistginx.config.regex import Spans
from twistginx.config.tables.fields import SINGLE
from twistginx.config.template import Template
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.targets import climbs, editable, quoted_argument
from twistginx.policies.targets import TargetTemplate, compile_argument
from twistginx.routing.match import resolved, under


@frozen
class QueryEdits:
    """
    What is done to the arguments of the query, in this order.  Names are compared decoded.

    :ivar rename: old name to new name.
    :ivar remove: names of arguments that are taken out; one that ends with ``*`` stands for all that begin so, and "*"
        for all.
    :ivar set: name to value: the argument is there once, with this value.
    :ivar add: name to value: one more argument.
    """

    rename: dict[str, str] = field(factory=dict)
    remove: tuple[str, ...] = field(default=(), metadata=SINGLE)
    set: dict[str, Template] = field(factory=dict)
    add: dict[str, Template] = field(factory=dict)


@define
class Target:
    """
    A target while it is edited.

    :ivar path: as ``http.targets.editable`` makes it.
    """

    path: bytes
    query: bytes | None


#: What changes a target: called with it, the request, and what the regex of the rule has found.
Edit = Callable[[Target, Any, Spans | None], None]


def to_template(template: Template, names: Mapping[str, int] | None, key: str) -> Edit:
    """
    The path, and the query where it has one, are what ``template`` makes.

    :param names: of what the regex of the rule captures; None where there is no regex.
    :raise ConfigError: when the path does not begin with a slash.
    """
    compiled = _path_template(template, names, key)

    def edit(target: Target, request: Any, spans: Spans | None) -> None:
        raw, query = compiled.fill(request, target.path, spans)
        target.path = _made(raw)
        if compiled.has_query:
            target.query = query or None

    return edit


def strip(prefix: bytes) -> Edit:
    """
    ``prefix`` is taken away.
    """

    def edit(target: Target, request: Any, spans: Spans | None) -> None:
        if under(target.path, prefix):
            target.path = target.path[len(prefix) :] or b"/"

    return edit


def add_prefix(template: Template, names: Mapping[str, int] | None, key: str) -> Edit:
    """
    What ``template`` makes is put before the path.

    :raise ConfigError: when it does not begin with a slash, or has a query.
    """
    compiled = _path_template(template, names, key)
    if compiled.has_query:
        raise ConfigError(f'"{template}" has a query', key=key, expected="a path, or query beside it")

    def edit(target: Target, request: Any, spans: Spans | None) -> None:
        raw, _ = compiled.fill(request, target.path, spans)
        target.path = _made(raw).rstrip(b"/") + target.path

    return edit


def lower(target: Target, request: Any, spans: Spans | None) -> None:
    """
    The path in lower case.
    """
    target.path = target.path.lower().replace(b"%2f", b"%2F")


def upper(target: Target, request: Any, spans: Spans | None) -> None:
    """
    The path in upper case.
    """
    target.path = target.path.upper()


def add_slash(target: Target, request: Any, spans: Spans | None) -> None:
    """
    A slash at the end of a path whose last segment has no dot in it.
    """
    if not target.path.endswith(b"/") and b"." not in target.path.rpartition(b"/")[2]:
        target.path += b"/"


def remove_slash(target: Target, request: Any, spans: Spans | None) -> None:
    """
    No slash at the end.
    """
    target.path = target.path.rstrip(b"/") or b"/"


def _path_template(template: Template, names: Mapping[str, int] | None, key: str) -> TargetTemplate:
    first = template.parts[0] if template.parts else ""
    if isinstance(first, str) and not first.startswith("/"):
        raise ConfigError(f'"{template}" does not begin with a slash', key=key, expected=f'expected "/{template}"')
    return TargetTemplate(template, names)


def _made(raw: bytes) -> bytes:
    """
    A path that a template has made, as it is edited.

    :raise ProxyError: when what was put in leads up, and so maybe past what the template says; or is a NUL, which no
        path has.
    """
    path = editable(raw)
    if climbs(raw) or b"\0" in path:
        raise ProxyError("http_request_error", "a rewrite would lead out of where it leads")
    return resolved(b"/" + path.lstrip(b"/"))


class QueryEdit:
    """
    The edits of a query.
    """

    __slots__ = ("_added", "_beginnings", "_removed", "_renamed", "_set")

    def __init__(self, edits: QueryEdits, names: Mapping[str, int] | None) -> None:
        self._renamed = {old.encode(): quoted_argument(new.encode()) for old, new in edits.rename.items()}
        self._removed = frozenset(each.encode() for each in edits.remove if not each.endswith("*"))
        self._beginnings = tuple(each[:-1].encode() for each in edits.remove if each.endswith("*"))
        self._set = {each.encode(): compile_argument(value, names) for each, value in edits.set.items()}
        self._added = [(each.encode(), compile_argument(value, names)) for each, value in edits.add.items()]

    def __call__(self, target: Target, request: Any, spans: Spans | None) -> None:
        kept = []
        for pair in (target.query or b"").split(b"&"):
            raw, equals, value = pair.partition(b"=")
            plain = unquote_to_bytes(raw.replace(b"+", b" "))
            new = self._renamed.get(plain)
            if new is not None:
                raw, plain = new, unquote_to_bytes(new)
            if (
                pair
                and plain not in self._removed
                and plain not in self._set
                and not plain.startswith(self._beginnings)
            ):
                kept.append(raw + equals + value)
        for argument, fill in (*self._set.items(), *self._added):
            kept.append(quoted_argument(argument) + b"=" + fill(request, target.path, spans))
        target.query = b"&".join(kept) or None
