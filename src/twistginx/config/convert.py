"""
Turns the tables of a configuration into frozen attrs classes, strictly, and finds everything that is wrong with them.

``cattrs`` finds the hook for a type; the hooks are ours, because a person is to read what they say: nothing is
coerced, unknown keys are refused, and every fault is gathered, with the keys that lead to it.

A field may be a str, int, float, bool, ``pathlib.Path`` (resolved against the file that it is written in),
``Literal``, an enum, anything with a classmethod ``parse(text)`` that raises ValueError (``Duration``, ``Template``,
...), ``NetworkSet``, ``Annotated[str, parser]``, ``tuple[T, ...]``, ``dict[str, T]``, another attrs class, ``Any``
(plain TOML values), and unions of these.  The metadata ``{"single": True}`` lets one value stand for a tuple of one;
with ``{"composed": True}`` a field is not a key of the table; ``{"key": "not"}`` is the key of a field that Python
could not call so.  A class with a classmethod ``captures_of(table)`` says what its own templates may name, beside the
variables that there are; one with ``is_shorthand(table)`` says which tables are for its ``from_shorthand``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter

from twistginx.config.address import base_of
from twistginx.config.faults import Fault, Faults, Rejected, did_you_mean, faults_of, wrong
from twistginx.config.networks import Network, NetworkSet
from twistginx.config.scope import current
from twistginx.config.source import plain
from twistginx.config.text import Text
from twistginx.config.units import Duration, Size

T = TypeVar("T")
_Hook = Callable[[Any, Any], Any]


def structure(value: Any, type_: type[T]) -> T:
    """
    ``value`` (of a ``Source.tree``) as a ``type_``.

    :raise Faults: when it cannot be.
    """
    try:
        return _CONVERTER.structure(value, type_)
    except Faults:
        raise
    except Exception as error:
        raise Faults(faults_of(error)) from error


def structure_table(value: dict[str, Any], cls: type[T], **composed: Any) -> T:
    """
    The table ``value`` as an attrs class some of whose fields are put together elsewhere.

    :raise Faults: when it cannot be.
    """
    return _table(cls, value, composed)  # type: ignore[no-any-return]


# Scalars.


def _str(value: Any, type_: Any) -> Any:
    if type_ is not str:
        return _special(type_)(value, type_)
    if not isinstance(value, str):
        raise wrong(value, "a string")
    return plain(value)


def _bool(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(value, "true or false")
    return value


def _int(value: Any, type_: Any) -> Any:
    if type_ is not int:
        return _special(type_)(value, type_)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(value, "an integer")
    return value


def _float(value: Any, type_: Any) -> Any:
    if type_ is not float:
        return _special(type_)(value, type_)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong(value, "a number")
    return float(value)


def _path(value: Any, _: Any) -> Path:
    if not isinstance(value, str):
        raise wrong(value, "a path")
    if not value or "\0" in value:
        raise wrong(value, "a path")
    return base_of(value) / value


def _annotated(type_: Any) -> _Hook:
    """
    The hook of ``Annotated[str, parser]``, and of a type that is annotated with something else.
    """
    parser = next(filter(callable, type_.__metadata__), None)
    if parser is None:
        inner = _CONVERTER.get_structure_hook(type_.__origin__)
        return lambda value, _: inner(value, type_.__origin__)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, str):
            raise wrong(value, "a string")
        return plain(parser(value))

    return hook


def _special(type_: Any) -> _Hook:
    return _enum if issubclass(type_, Enum) else _parsed


def _parsed(value: Any, type_: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and issubclass(type_, Size) and isinstance(value, int):
        if value < 0:
            raise wrong(value, 'a size such as "64KiB" or "10MB"')
        return type_(value)
    if isinstance(value, str):
        return type_.parse(value)
    if issubclass(type_, Duration):
        raise wrong(value, f'a duration with its unit, "{value}s"' if number else 'a duration such as "10s"')
    raise wrong(value, 'a size such as "64KiB" or "10MB"' if issubclass(type_, Size) else "a string")


def _enum(value: Any, type_: Any) -> Any:
    return type_(_choice(value, [member.value for member in type_]))


def _literal(value: Any, type_: Any) -> Any:
    return _choice(value, get_args(type_))


def _choice(value: Any, choices: Iterable[Any]) -> Any:
    choices = list(choices)
    for choice in choices:
        if value == choice and isinstance(value, bool) is isinstance(choice, bool):
            return choice
    named = [f'"{choice}"' if isinstance(choice, str) else str(plain(choice)).lower() for choice in choices]
    raise wrong(value, " or ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0])


# Containers.


def _array(value: Any, element: Any) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(value, "an array")
    hook = _CONVERTER.get_structure_hook(element)
    elements = []
    faults: list[Fault] = []
    for index, each in enumerate(value):
        try:
            elements.append(hook(each, element))
        except Exception as error:  # whatever a plugin's class raises is said of its value
            faults += faults_of(error, index)
            elements.append(_stand_in(error))
    if faults:
        raise Faults(faults, None if None in elements else tuple(elements))
    return elements


def _tuple(value: Any, type_: Any) -> tuple[Any, ...]:
    element, *rest = get_args(type_) or (Any, ...)
    if rest != [...]:
        raise TypeError(f"{type_} is not a type of a field: use tuple[T, ...]")
    return tuple(_array(value, element))


def _networks(value: Any, _: Any) -> NetworkSet:
    return NetworkSet(_array(value, Network))


def _dict(value: Any, type_: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(value, "a table")
    _, element = get_args(type_) or (str, Any)
    hook = _CONVERTER.get_structure_hook(element)
    table = {}
    faults = []
    for key, each in value.items():
        try:
            table[key] = hook(each, element)
        except Exception as error:  # see above
            faults += faults_of(error, key)
    if faults:
        raise Faults(faults)
    return table


def _union(value: Any, type_: Any) -> Any:
    members = [member for member in get_args(type_) if member is not type(None)]
    if len(members) == 1:
        return _CONVERTER.structure(value, members[0])
    expected: list[str] = []
    for member in members:
        try:
            return _CONVERTER.structure(value, member)
        except Faults:
            # A table, and so what it is is clear: say what is wrong in it.
            if isinstance(value, (dict, list)):
                raise
        except Rejected as error:
            expected.append(error.expected.removeprefix("expected "))
        except ValueError as error:
            if member is members[-1]:
                raise
            expected.append(str(error))
    raise wrong(value, " or ".join(expected))


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, UnionType)


def _any(value: Any, _: Any) -> Any:
    return plain(value)


# Tables.


@cache
def _plan(cls: type) -> dict[str, tuple[attrs.Attribute[Any], _Hook]]:
    """
    The keys of the table that ``cls`` describes: their fields, with types resolved, and their hooks.
    """
    attrs.resolve_types(cls)
    return {
        key_of(field): (field, _CONVERTER.get_structure_hook(field.type))
        for field in attrs.fields(cls)
        if field.init and not field.metadata.get("composed")
    }


def key_of(field: attrs.Attribute[Any]) -> str:
    """
    The key of a field.
    """
    return str(field.metadata.get("key") or field.alias or field.name)


def keys_of(cls: type) -> list[str]:
    """
    The keys of the table that ``cls`` describes.
    """
    return list(_plan(cls))


def _class(cls: Any) -> _Hook:
    """
    The hook of an attrs class.
    """
    captures = getattr(cls, "captures_of", None)
    is_shorthand = getattr(cls, "is_shorthand", None)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict) or (is_shorthand is not None and is_shorthand(value)):
            return _from_shorthand(cls, value)
        if captures is None:
            return _table(cls, value, {})
        with current().within(captures=captures(value)).entered():
            return _table(cls, value, {})

    return hook


def _table(cls: Any, table: dict[str, Any], composed: dict[str, Any]) -> Any:
    plan = _plan(cls)
    values = dict(composed)
    stand_ins: dict[str, Any] = {}
    faults = [Fault((key,), "unknown key", did_you_mean(key, plan), True) for key in table if key not in plan]
    for key, (field, hook) in plan.items():
        if key in table:
            raw = table[key]
            single = field.metadata.get("single") and not isinstance(raw, list)
            try:
                values[str(field.alias)] = hook([raw] if single else raw, field.type)
            except Exception as error:  # whatever a plugin's class raises is said of its value
                found = faults_of(error, key)
                # An array that was not written has no place; what is in its one element has.
                faults += [attrs.evolve(each, path=(key, *each.path[2:])) for each in found] if single else found
                stand_ins[str(field.alias)] = _stand_in(error)
        elif field.default is attrs.NOTHING:
            faults.append(Fault((), f'the key "{key}" is missing', "", True))
    if not faults:
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            faults = _invalid(cls, values, table) or faults_of(error)
    else:
        faults += _invalid(cls, values, table)
    raise Faults(faults, _partial(cls, {**values, **stand_ins}, faults, stand_ins))


def _from_shorthand(cls: Any, value: Any) -> Any:
    shorthand = getattr(cls, "from_shorthand", None)
    if shorthand is None:
        raise wrong(value, "a table")
    result = shorthand(value)
    if isinstance(result, dict):
        try:
            return _table(cls, result, {})
        except Faults as error:
            # The keys were not written; the value was, and maybe stands for one of them as it is.
            faults = [
                attrs.evolve(fault, path=fault.path[1:] if fault.path and result.get(fault.path[0]) is value else ())
                for fault in error.faults
            ]
            raise Faults(faults, error.partial) from None
    # What a module made of a string itself knows nothing of the file.
    found = {
        key: base_of(value) / path
        for key, (field, _) in _plan(cls).items()
        if isinstance(value, Text) and isinstance(path := getattr(result, field.name), Path)
    }
    return attrs.evolve(result, **found) if found else result


def _stand_in(error: Exception) -> Any:
    return error.partial if isinstance(error, Faults) else None


def _invalid(cls: Any, values: dict[str, Any], table: dict[str, Any]) -> list[Fault]:
    """
    What the validators of single fields say.

    :param table: as written; of what is there and not among the ``values``, nothing is known.
    """
    stub = object.__new__(cls)
    for field in attrs.fields(cls):
        if field.alias in values:
            object.__setattr__(stub, field.name, values[field.alias])
        # A factory makes nothing that a validator of another field would look at.
        elif not (key_of(field) in table or field.default is attrs.NOTHING or hasattr(field.default, "takes_self")):
            object.__setattr__(stub, field.name, field.default)
    faults = []
    for field in attrs.fields(cls):
        if field.validator is None or field.alias not in values or field.converter is not None:
            continue
        try:
            field.validator(stub, field, values[field.alias])
        except (ValueError, TypeError) as error:
            faults += faults_of(error, key_of(field))
        except AttributeError:
            pass  # It looks at another field, which is wrong itself.
    return faults


def _partial(cls: Any, values: dict[str, Any], faults: list[Fault], stand_ins: dict[str, Any]) -> Any:
    aliases = {key_of(field): field.alias for field in attrs.fields(cls)}
    named = (aliases.get(str(fault.path[0]), fault.path[0]) for fault in faults if fault.path)
    bad = {name for name in named if stand_ins.get(str(name)) is None}
    try:
        return cls(**{key: value for key, value in values.items() if key not in bad})
    except Exception:  # something without a default is wrong
        return None


def _converter() -> Converter:
    converter = Converter()
    # cattrs asks these first, by class and its bases, ...
    by_class: dict[type, _Hook] = {str: _str, int: _int, float: _float, bool: _bool, Path: _path}
    for cls, hook in by_class.items():
        converter.register_structure_hook(cls, hook)
    # ... and then these, the last one first.
    by_type: tuple[tuple[Callable[[Any], bool], _Hook], ...] = (
        (lambda type_: type_ is Any or type_ is object, _any),
        (_is_union, _union),
        (lambda type_: get_origin(type_) is Literal, _literal),
        (lambda type_: type_ is dict or get_origin(type_) is dict, _dict),
        (lambda type_: type_ is tuple or get_origin(type_) is tuple, _tuple),
        (lambda type_: isinstance(type_, type) and issubclass(type_, Enum), _enum),
    )
    for predicate, hook in by_type:
        converter.register_structure_hook_func(predicate, hook)
    converter.register_structure_hook_factory(lambda type_: isinstance(type_, type) and attrs.has(type_), _class)
    converter.register_structure_hook_func(
        lambda type_: isinstance(type_, type) and callable(getattr(type_, "parse", None)), _parsed
    )
    converter.register_structure_hook_factory(lambda type_: hasattr(type_, "__metadata__"), _annotated)
    converter.register_structure_hook(NetworkSet, _networks)
    return converter


#: It keeps nothing of a configuration: what a hook must know of a string, the string knows.
_CONVERTER: Final = _converter()
