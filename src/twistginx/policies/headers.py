"""
``headers``: fields of the request and of the response, renamed, edited, removed, set and added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

from attrs import field, frozen
from zope.interface import moduleProvides

from twistginx.config.template import ResponseTemplate, Template
from twistginx.errors import ConfigError
from twistginx.http.fields import ConfiguredFields, field_name
from twistginx.http.message import Fields, RequestHead, ResponseHead
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.policies.replacement import Replacement, Replacements, RequestReplacement

moduleProvides(IPolicyModule)

name = "headers"
api = 1
rank = 700
applies_to = frozenset(("http",))
many = False

Value = TypeVar("Value")


class Edits(Protocol):
    """
    What both directions have.
    """

    @property
    def rename(self) -> Mapping[str, str]: ...
    @property
    def replace(self) -> Mapping[str, Any]: ...
    @property
    def remove(self) -> tuple[str, ...]: ...
    @property
    def set(self) -> Mapping[str, Any]: ...
    @property
    def add(self) -> Mapping[str, Any]: ...


@frozen
class RequestEdits:
    """
    What is changed in the request, before an upstream sees it.

    :ivar rename: old name to new name; the values stay.
    :ivar replace: name to what is replaced in its values: ``{ regex = "...", to = "..." }``, or a list of these.
    :ivar remove: names of fields that are not passed on; one that ends with ``*`` stands for all that begin so.
    :ivar set: name to value: the field has this value, whatever the client said.  ``Host`` may be set, too.
    :ivar add: name to value, or to a list of values: further fields, beside those that there are.
    """

    rename: dict[str, str] = field(factory=dict)
    replace: dict[str, tuple[RequestReplacement, ...] | RequestReplacement] = field(factory=dict)
    remove: tuple[str, ...] = field(default=(), metadata={"single": True})
    set: dict[str, Template] = field(factory=dict)
    add: dict[str, tuple[Template, ...] | Template] = field(factory=dict)


@frozen
class Config:
    """
    Change the header fields of every response, our own error pages included, and under ``request`` those of the request
    that an upstream gets.

    What is renamed is renamed first; then values are edited, then fields are removed, then set, then added. The
    values are templates; one whose variables are all empty is not sent. A route's own table and the inherited one
    are merged name by name: a name that the route's table mentions is the route's to decide.

    :ivar rename: old name to new name; the values stay.
    :ivar replace: name to what is replaced in its values: ``{ regex = "...", to = "..." }``, or a list of these.
    :ivar remove: names of fields that are not sent; one that ends with ``*`` stands for all that begin so.
    :ivar set: name to value: the field has this value, whatever the resource said.
    :ivar add: name to value, or to a list of values: further fields, beside those that there are.
    :ivar request: the same five, for the request on its way to an upstream.
    """

    rename: dict[str, str] = field(factory=dict)
    replace: dict[str, tuple[Replacement, ...] | Replacement] = field(factory=dict)
    remove: tuple[str, ...] = field(default=(), metadata={"single": True})
    set: dict[str, ResponseTemplate] = field(factory=dict)
    add: dict[str, tuple[ResponseTemplate, ...] | ResponseTemplate] = field(factory=dict)
    request: RequestEdits = RequestEdits()


def merge(inherited: Config, own: Config) -> Config:
    """
    One table of two, name by name.

    What ``own`` mentions, in whichever of its tables and however it is capitalised, is not inherited.
    """
    return Config(**_merged(inherited, own), request=RequestEdits(**_merged(inherited.request, own.request)))


def _merged(inherited: Edits, own: Edits) -> dict[str, Any]:
    mentioned = {each.lower() for each in (*own.set, *own.add, *own.remove, *own.rename, *own.replace)}
    return {
        "rename": {**_without(inherited.rename, mentioned), **own.rename},
        "replace": {**_without(inherited.replace, mentioned), **own.replace},
        "remove": (*(each for each in inherited.remove if each.lower() not in mentioned), *own.remove),
        "set": {**_without(inherited.set, mentioned), **own.set},
        "add": {**_without(inherited.add, mentioned), **own.add},
    }


def _without(table: Mapping[str, Value], mentioned: Collection[str]) -> dict[str, Value]:
    return {each: value for each, value in table.items() if each.lower() not in mentioned}


def make(config: Config, context: IContext) -> ResponseHeaders | RequestHeaders | Headers:
    """
    The policy, with a phase for each direction that has something to change, so that the other costs nothing.
    """
    response, request = FieldEdits(config), FieldEdits(config.request, "request.")
    if not request:
        return ResponseHeaders(response)
    if not response:
        return RequestHeaders(request)
    return Headers(response, request)


class FieldEdits:
    """
    What one direction's table does to fields.
    """

    __slots__ = ("_added", "_begun", "_dropped", "_renamed", "_replaced", "constant", "names", "words")

    def __init__(self, config: Edits, key: str = "") -> None:
        """
        :param key: what stands before the keys of this table, for errors.
        :raise ConfigError: for a name that cannot be one, or that is mentioned twice.
        """
        _check_mentions(f"{key}set", [(each, f"{key}set.{each}") for each in config.set])
        _check_mentions(f"{key}add", [(each, f"{key}add.{each}") for each in config.add])
        # What is removed and added is set; what is removed and set is a mistake.
        removed = [(each, f"{key}remove.{position}") for position, each in enumerate(config.remove)]
        _check_mentions(f"{key}set or remove", [(each, "") for each in config.set] + removed)
        for each, where in removed:
            if each == "*" or "*" in each[:-1]:
                raise ConfigError(
                    f'"{each}" is not a name, nor the beginning of one',
                    key=where,
                    expected='expected a name such as "X-Debug", or "X-Debug-*"',
                )
        plain = [(each, where) for each, where in removed if not each.endswith("*")]
        self._renamed: Final = {
            field_name(old, f"{key}rename.{old}").lower(): field_name(new, f"{key}rename.{old}")
            for old, new in config.rename.items()
        }
        _check_mentions(f"{key}replace", [(each, f"{key}replace.{each}") for each in config.replace])
        self._replaced: Final = Replacements(
            {
                field_name(each, f"{key}replace.{each}").lower(): rules if isinstance(rules, tuple) else (rules,)
                for each, rules in config.replace.items()
            }
        )
        #: Beginnings of names, in lower case.
        self._begun: Final = tuple(
            field_name(each[:-1], where).lower() for each, where in removed if each.endswith("*")
        )
        self._added: Final = ConfiguredFields(_entries(config, key))
        taken = {field_name(each, where).lower() for each, where in plain}
        self._dropped: Final = frozenset(taken | {each.encode().lower() for each in config.set})
        self.constant: Final = self._added.constant
        #: What it does, in words.
        self.words: Final = tuple(_words(config))
        #: What the fields that it writes are called, in lower case.
        self.names: Final = self._added.names | {new.lower() for new in self._renamed.values()}

    def __bool__(self) -> bool:
        return bool(self._renamed or self._replaced or self._begun or self._dropped or self._added.names)

    def apply(self, fields: Fields, request: Any, outcome: Any = None) -> None:
        """
        Change ``fields`` in place.

        :param outcome: the head of the response, where there is one.
        """
        renamed = self._renamed
        if renamed:
            for position, (lower, _, value) in enumerate(fields):
                new = renamed.get(lower)
                if new is not None:
                    fields[position] = (new.lower(), new, value)
        if self._replaced:
            self._replaced.apply(fields, request, outcome)
        dropped, begun = self._dropped, self._begun
        for each in fields:
            if each[0] in dropped or (begun and each[0].startswith(begun)):
                fields[:] = [
                    kept for kept in fields if kept[0] not in dropped and not (begun and kept[0].startswith(begun))
                ]
                break
        constant = self.constant
        fields.extend(self._added.fill(request, outcome) if constant is None else constant)


class ResponseHeaders:
    """
    The policy of a route that changes its responses.
    """

    __slots__ = ("_response",)

    def __init__(self, response: FieldEdits) -> None:
        self._response = response

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        Change the fields of a response.
        """
        self._response.apply(head.fields, request, head)

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return [f"the answer: {each}" for each in self._response.words]


class RequestHeaders:
    """
    The policy of a route that changes its requests.
    """

    __slots__ = ("_request",)

    def __init__(self, request: FieldEdits) -> None:
        self._request = request

    def prepare(self, request: Any, head: RequestHead) -> None:
        """
        Change the fields of what leaves for an upstream.
        """
        edits = self._request
        edits.apply(head.fields, request)
        # No client has them taken out again by naming them in Connection.
        request.vouched |= edits.names

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return [f"what an upstream gets: {each}" for each in self._request.words]


class Headers:
    """
    The policy of a route that changes both.
    """

    __slots__ = ("_ways", "prepare", "responding")

    def __init__(self, response: FieldEdits, request: FieldEdits) -> None:
        self._ways: Final = RequestHeaders(request), ResponseHeaders(response)
        self.prepare = self._ways[0].prepare
        self.responding = self._ways[1].responding

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return [line for way in self._ways for line in way.explain(request)]


def _words(config: Edits) -> Iterator[str]:
    """
    What a table does to fields; values are as they are written, because what is put into them may be a secret.
    """
    for old, new in config.rename.items():
        yield f"{old} is renamed to {new}"
    for each, rules in config.replace.items():
        yield from (
            f"in {each}, {one.regex} becomes {one.to}" for one in (rules if isinstance(rules, tuple) else (rules,))
        )
    if config.remove:
        yield f"{', '.join(config.remove)} taken out"
    for each, value in config.set.items():
        yield f"{each}: {value}"
    for each, value in config.add.items():
        yield from (f"{each}: {one}, beside what there is" for one in (value if isinstance(value, tuple) else (value,)))


def _check_mentions(where: str, mentions: Iterable[tuple[str, str]]) -> None:
    """
    :param mentions: names and their keys.
    :raise ConfigError: when a name is mentioned twice.
    """
    seen = set()
    for each, key in mentions:
        if each.lower() in seen:
            raise ConfigError(
                f'"{each}" is in {where} already', key=key, expected="mention each name once, in any letter case"
            )
        seen.add(each.lower())


def _entries(config: Edits, key: str) -> Iterator[tuple[str, Template, str]]:
    """
    Name, value and key of each field to send.
    """
    for each, template in config.set.items():
        yield each, template, f"{key}set.{each}"
    for each, value in config.add.items():
        if isinstance(value, Template):
            yield each, value, f"{key}add.{each}"
        else:
            for position, template in enumerate(value):
                yield each, template, f"{key}add.{each}.{position}"
