"""
What a configuration defines for its own templates: maps, variables, captures; and that they do not go in circles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from twistginx.config.regex import Regex
from twistginx.config.scope import Scope
from twistginx.config.tables.map import Map, parse_rules
from twistginx.config.template import Template, Variable


def scope_of(tree: Mapping[str, Any]) -> Scope:
    """
    The scope of a whole file, of which nothing has been looked at yet.
    """
    return Scope(frozenset(_keys(tree.get("map"))), frozenset(_keys(tree.get("variables"))))


def site_scope(site: Mapping[str, Any], outer: Scope) -> Scope:
    """
    The scope of a ``[[site]]``: numbers are of the regex of a route, so of its names only the names of groups count.
    """
    names = site.get("names")
    patterns = [each for each in (names if isinstance(names, list) else [names]) if isinstance(each, str)]
    captures = {name for each in patterns if each.startswith("~") for name in _captures(each[1:])}
    return outer.within(_keys(site.get("variables")), {name for name in captures if not name.isdecimal()})


def route_scope(route: Mapping[str, Any], outer: Scope) -> Scope:
    """
    The scope of a ``[[site.route]]``.
    """
    regex = route.get("regex")
    return outer.within(_keys(route.get("variables")), _captures(regex) if isinstance(regex, str) else ())


def circle(maps: Mapping[str, Map], variables: Mapping[str, Template]) -> tuple[str, ...]:
    """
    Maps and variables that need one another, as ``("var.a", "map.b", "var.a")``; empty when there are none.
    """
    needs = {f"map.{name}": _needed_by_map(each) for name, each in maps.items()}
    needs |= {f"var.{name}": _needed(each) for name, each in variables.items()}
    done: set[str] = set()
    for start in needs:
        found = _circle_from(start, needs, (), done)
        if found:
            return found
    return ()


def _circle_from(name: str, needs: Mapping[str, set[str]], way: tuple[str, ...], done: set[str]) -> tuple[str, ...]:
    if name in way:
        return (*way[way.index(name) :], name)
    if name in done:
        return ()
    for each in sorted(needs.get(name, ())):
        found = _circle_from(each, needs, (*way, name), done)
        if found:
            return found
    done.add(name)
    return ()


def _needed(template: Template) -> set[str]:
    parts = [part for part in template.parts if isinstance(part, Variable)]
    return {f"{part.name}.{part.argument}" for part in parts if part.name in ("map", "var")}


def _needed_by_map(config: Map) -> set[str]:
    return {name for template in _templates_of(config) for name in _needed(template)}


def _templates_of(config: Map) -> Iterator[Template]:
    yield config.of
    yield config.default
    yield from config.exact.values()
    yield from config.prefix.values()
    yield from parse_rules(config.regex).values()


def _keys(table: object) -> Iterable[str]:
    return list(table) if isinstance(table, dict) else []


def _captures(pattern: str) -> frozenset[str]:
    try:
        return Regex.parse(pattern).captures
    except ValueError:
        return frozenset()  # it is reported where it stands
