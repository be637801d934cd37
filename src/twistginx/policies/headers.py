"""
``headers``: fields of the response, set, added and removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from attrs import field, frozen
from zope.interface import moduleProvides

from twistginx.config.template import ResponseTemplate
from twistginx.errors import ConfigError
from twistginx.http.fields import ConfiguredFields, field_name
from twistginx.http.message import ResponseHead
from twistginx.interfaces import IContext, IPolicyModule

moduleProvides(IPolicyModule)

name = "headers"
api = 1
rank = 700
applies_to = frozenset(("http",))
many = False

Value = TypeVar("Value")


@frozen
class Config:
    """
    Change the header fields of every response, our own error pages included.

    The values are templates; one whose variables are all empty is not sent.  A route's own table and the inherited one
    are merged name by name: a name that the route's table mentions is the route's to decide.

    :ivar set: name to value: the field has this value, whatever the resource said.
    :ivar add: name to value, or to a list of values: further fields, beside those that there are.
    :ivar remove: names of fields that are not sent.
    """

    set: dict[str, ResponseTemplate] = field(factory=dict)
    add: dict[str, tuple[ResponseTemplate, ...] | ResponseTemplate] = field(factory=dict)
    remove: tuple[str, ...] = ()


def merge(inherited: Config, own: Config) -> Config:
    """
    One table of two, name by name.

    What ``own`` mentions, in whichever of its tables and however it is capitalised, is not inherited.
    """
    mentioned = {each.lower() for each in (*own.set, *own.add, *own.remove)}
    return Config(
        set={**_without(inherited.set, mentioned), **own.set},
        add={**_without(inherited.add, mentioned), **own.add},
        remove=(*(each for each in inherited.remove if each.lower() not in mentioned), *own.remove),
    )


def _without(table: Mapping[str, Value], mentioned: Collection[str]) -> dict[str, Value]:
    return {each: value for each, value in table.items() if each.lower() not in mentioned}


def make(config: Config, context: IContext) -> Headers:
    """
    The policy.
    """
    _check_mentions("set", [(each, f"set.{each}") for each in config.set])
    _check_mentions("add", [(each, f"add.{each}") for each in config.add])
    # What is removed and added is set; what is removed and set is a mistake.
    removed = [(each, f"remove.{position}") for position, each in enumerate(config.remove)]
    _check_mentions("set or remove", [(each, "") for each in config.set] + removed)
    return Headers(config)


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


class Headers:
    """
    The policy of one route.
    """

    __slots__ = ("_added", "_constant", "_dropped")

    def __init__(self, config: Config) -> None:
        removed = {field_name(each, f"remove.{position}").lower() for position, each in enumerate(config.remove)}
        self._added: Final = ConfiguredFields(_entries(config))
        self._dropped: Final = frozenset(removed | {each.encode().lower() for each in config.set})
        self._constant: Final = self._added.constant

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        Change the fields of a response.
        """
        fields = head.fields
        dropped = self._dropped
        for each in fields:
            if each[0] in dropped:
                fields[:] = [kept for kept in fields if kept[0] not in dropped]
                break
        constant = self._constant
        fields.extend(self._added.fill(request, head) if constant is None else constant)


def _entries(config: Config) -> Iterator[tuple[str, ResponseTemplate, str]]:
    """
    Name, value and key of each field to send.
    """
    for each, template in config.set.items():
        yield each, template, f"set.{each}"
    for each, value in config.add.items():
        if isinstance(value, ResponseTemplate):
            yield each, value, f"add.{each}"
        else:
            for position, template in enumerate(value):
                yield each, template, f"add.{each}.{position}"
