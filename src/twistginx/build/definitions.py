"""
``[map.NAME]``, ``[match.NAME]`` and ``[variables]`` -> what requests are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from twistginx.build.building import Building, Key
from twistginx.config import schema
from twistginx.config.definitions import scope_of
from twistginx.config.regex import Regex
from twistginx.config.scope import Scope
from twistginx.config.template import Template
from twistginx.http.maps import compile_map
from twistginx.http.variables import Getter, compile_template
from twistginx.routing.conditions import Condition, Conditions


class Definitions:
    """
    The definitions of one generation.

    :ivar maps: of ``{map.NAME}``: a getter by name.
    """

    def __init__(self, building: Building) -> None:
        self._building = building
        building.definitions = self
        root = building.root
        # Of a draft, some that are named may not be there.
        with scope_of(root.source.tree).entered():
            self.maps: dict[str, Getter] = {name: compile_map(config) for name, config in root.maps.items()}
        self._conditions = Conditions(root.matches, building.networks.addresses)
        for name, match in root.matches.items():
            building.attempt(("match", name), partial(self._conditions.compiled, match))

    def condition(self, written: schema.Condition | None, where: Key) -> Condition | None:
        """
        A condition, compiled; None when there is none, or it has a problem.
        """
        if written is None or (isinstance(written, schema.Match) and written.is_empty):
            return None
        return self._building.attempt(where, lambda: self._conditions.compiled(written))

    def compiled(self, written: schema.Condition, key: str) -> Condition:
        """
        A condition that a module has in its own table.

        :raise ConfigError: for a name that nothing has.
        """
        return self._conditions.compiled(written, key)

    def variables(self, *tables: Mapping[str, Template]) -> dict[str, Getter]:
        """
        The getters of ``{var.NAME}``; a later table goes before an earlier one.
        """
        merged = {**self._building.root.variables}
        for table in tables:
            merged |= table
        return {name: compile_template(template) for name, template in merged.items()}

    def scope(self, site: schema.Site, route: schema.Route) -> Scope:
        """
        What the templates may name that the modules of a route make themselves.
        """
        captures = {name for pattern in patterns_of(site) for name in pattern.names}
        captures |= route.regex.captures if route.regex is not None else set()
        return scope_of(self._building.root.source.tree).within((*site.variables, *route.variables), captures)


def patterns_of(site: schema.Site) -> tuple[Regex, ...]:
    """
    The regexes among the names of a site.
    """
    return tuple(regex for name in site.names if (regex := name.regex) is not None)
