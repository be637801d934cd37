"""
Sites and their routes, and what these inherit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import evolve

from twistginx.config.convert import keys_of
from twistginx.config.definitions import route_scope, site_scope
from twistginx.config.drafting.draft import Draft
from twistginx.config.drafting.policies import Policies
from twistginx.config.faults import shown
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Defaults, Policy, Route, Site, Use
from twistginx.config.scope import current
from twistginx.config.tables.site import PATHS


class Sites:
    """
    Makes sites of their tables.
    """

    def __init__(self, draft: Draft, policies: Policies) -> None:
        self._draft = draft
        self._policies = policies

    def defaults(self, value: Any, path: KeyPath, inherited: Defaults) -> Defaults:
        if not isinstance(value, dict):
            self._draft.report(path, f"is {shown(value)}", "expected a table")
            return inherited
        own, policies = {}, {}
        known = keys_of(Defaults)
        for key, each in value.items():
            if key in known:
                own[key] = each
            elif key in self._draft.policies:
                policies[key] = each
            elif key in self._draft.resources:
                self._draft.report((*path, key), "is a resource, which only a route can have", "", of_key=True)
            else:
                self._draft.unknown((*path, key), {*known, *self._draft.policies})
        defaults = self._draft.table(Defaults, own, path) or Defaults()
        return _inherit(defaults, own, inherited, self._policies.of(policies, path, inherited.policies))

    def site(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Site | None:
        with site_scope(value, current()).entered():
            return self._site(value, path, defaults)

    def _site(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Site | None:
        known = {*keys_of(Site), "defaults", "route"}
        own = {}
        for key, each in value.items():
            if key in known:
                own[key] = each
            elif key in self._draft.policies or key in keys_of(Defaults):
                hint = "expected it in [site.defaults], for all routes, or in a [[site.route]]"
                self._draft.report((*path, key), "cannot stand directly in a [[site]]", hint, of_key=True)
            elif key in self._draft.resources or key in keys_of(Route):
                hint = "expected it in a [[site.route]]"
                self._draft.report((*path, key), "cannot stand directly in a [[site]]", hint, of_key=True)
            else:
                self._draft.unknown((*path, key), known)
        defaults = self.defaults(own.pop("defaults", {}), (*path, "defaults"), defaults)
        routes = [
            self._route(table, where, defaults)
            for where, table in self._draft.listed((*path, "route"), own.pop("route", []))
        ]
        return self._draft.table(Site, own, path, defaults=defaults, routes=tuple(routes))

    def _route(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Route | None:
        with route_scope(value, current()).entered():
            return self._route_in_scope(value, path, defaults)

    def _route_in_scope(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Route | None:
        known = keys_of(Route)
        own, resources, policies = {}, {}, {}
        hints = ""
        for key, each in value.items():
            if key in known:
                own[key] = each
            elif key in self._draft.resources:
                resources[key] = each
            elif key in self._draft.policies:
                policies[key] = each
            else:
                hints += self._draft.unknown((*path, key), {*known, *self._draft.resources, *self._draft.policies})
        uses = [self._draft.use("resource", name, each, (*path, name)) for name, each in resources.items()]
        expected = f"expected exactly one of {', '.join(sorted(self._draft.resources))}"
        if len(uses) > 1:
            first, *others = resources
            for name in others:
                self._draft.report(
                    (*path, name), f"stands beside {first}, and both are resources", expected, of_key=True
                )
        elif not uses and not any(f'"{name}"' in hints for name in self._draft.resources):
            self._draft.report(path, "has no resource, which would answer the requests", expected)
        route = self._draft.table(Route, own, path, resource=uses[0] if uses else None)
        merged = self._policies.of(policies, path, defaults.policies)
        if route is None:
            return None
        # Where a policy stands at a path, that is the path of a route that names none.
        if _takes_any_path(value):
            route = evolve(route, path=next(filter(None, map(_place, merged.values())), None))
        return _inherit(route, own, defaults, merged)


def _place(policy: Policy) -> str | None:
    if not isinstance(policy, Use) or not hasattr(policy.module, "path_of"):
        return None
    return str(policy.module.path_of(policy.config))


def _takes_any_path(route: Mapping[str, Any]) -> bool:
    return not any(key in route for key in PATHS)


_Inheriting = TypeVar("_Inheriting", Defaults, Route)


def _inherit(
    own: _Inheriting, written: dict[str, Any], inherited: Defaults, policies: dict[str, Policy]
) -> _Inheriting:
    """
    ``own`` with what was not written taken from ``inherited``.
    """
    changes: dict[str, Any] = {}
    for key in ("timeouts", "limits"):
        table = written.get(key)
        mine, above = getattr(own, key), getattr(inherited, key)
        said = {each: getattr(mine, each) for each in keys_of(type(mine)) if isinstance(table, dict) and each in table}
        changes[key] = evolve(above, **said)
    if "satisfy" not in written:
        changes["satisfy"] = inherited.satisfy
    return evolve(own, policies=policies, **changes)
