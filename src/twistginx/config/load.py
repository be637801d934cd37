"""
From a file to a :class:`~twistginx.config.schema.Root`, or to the list of everything that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from attrs import evolve, frozen

from twistginx.config.checks import Checks
from twistginx.config.convert import keys_of, structure, structure_table
from twistginx.config.faults import Fault, Faults, did_you_mean, shown
from twistginx.config.reader import read
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import (
    Defaults,
    Listener,
    Log,
    Policy,
    Process,
    Root,
    Route,
    Site,
    Stream,
    StreamRoute,
    Upstream,
    Use,
)
from twistginx.config.source import Source
from twistginx.errors import ConfigError, Problem

T = TypeVar("T")

#: The tables of a file.
_TABLES: Final = ("process", "log", "defaults", "upstream", "listener", "site", "stream")

#: What balances where nothing else is said.
_BALANCE: Final = "round_robin"

#: What takes the connections of a stream that names its upstream.
_STREAM_PROXY: Final = "proxy"


class Registry(Protocol):
    """
    What load must know of modules; ``twistginx.registry.Registry`` is one.
    """

    def find(self, kind: str, name: str) -> Any:
        """
        The module of that name; None when there is none.

        :param kind: "resource", "policy", "balance" or "stream".
        :raise ConfigError: when it cannot be used.
        """

    def names(self, kind: str) -> Iterable[str]:
        """
        The names of that kind.
        """


def load(path: str | Path, registry: Registry, environment: Mapping[str, str]) -> Root:
    """
    Read the configuration at ``path``.

    Nothing is opened but files that are named, for reading; nothing is built.

    :param environment: where ``{env.X}`` is looked up.
    :raise ConfigError: with every problem that there is.
    """
    drafted = draft(path, registry, environment)
    if drafted.problems:
        raise ConfigError(problems=drafted.problems)
    return drafted.root


@frozen
class Drafted:
    """
    What could be made of a configuration, whatever is wrong with it.

    :ivar root: defaults, or nothing, stand in for what is wrong.
    :ivar problems: what that is; empty when ``root`` is what the file says.
    :ivar touched: the key paths at or under which something is wrong.
    """

    root: Root
    problems: tuple[Problem, ...]
    touched: AbstractSet[KeyPath]


def draft(path: str | Path, registry: Registry, environment: Mapping[str, str]) -> Drafted:
    """
    As :func:`load`, for who wants to look further than the first problems.
    """
    source, problems = read(path, environment)
    drafting = _Draft(source, registry, problems)
    root = drafting.root()
    return Drafted(root, source.sorted(drafting.problems), drafting.touched)


class _Draft:
    """
    A configuration on its way from tables to objects.

    What is wrong is reported, and a default stands in for it, so that the rest can be looked at as well.
    """

    def __init__(self, source: Source, registry: Registry, problems: list[Problem]) -> None:
        self.source = source
        self.registry = registry
        self.problems = problems
        self.resources = frozenset(registry.names("resource"))
        self.policies = frozenset(registry.names("policy"))
        #: The key paths at or under which something is wrong.
        self.touched: set[KeyPath] = set()
        for path in source.unfilled:
            self.touch(path)

    def root(self) -> Root:
        tree = self.source.tree
        for key in tree:
            if key not in _TABLES:
                self.unknown((key,), _TABLES)
        process = self.table(Process, tree.get("process", {}), ("process",)) or Process()
        log = self.table(Log, tree.get("log", {}), ("log",)) or Log()
        defaults = self.defaults(tree.get("defaults", {}), ("defaults",), Defaults())
        upstreams = {path: self.upstream(table, path) for path, table in self.named("upstream")}
        listeners = {path: self.table(Listener, table, path, name=path[-1]) for path, table in self.named("listener")}
        sites = {path: self.site(table, path, defaults) for path, table in self.listed(("site",), tree.get("site", []))}
        streams = {path: self.stream(table, path) for path, table in self.listed(("stream",), tree.get("stream", []))}
        root = Root(
            process,
            log,
            defaults,
            {each.name: each for each in upstreams.values() if each is not None},
            {each.name: each for each in listeners.values() if each is not None},
            tuple(each for each in sites.values() if each is not None),
            tuple(each for each in streams.values() if each is not None),
            self.source,
        )
        checks = Checks(self.source, self.touched)
        checks.listeners({path: each for path, each in listeners.items() if each is not None})
        checks.upstreams({path: each for path, each in upstreams.items() if each is not None})
        checks.sites({path: each for path, each in sites.items() if each is not None})
        checks.streams({path: each for path, each in streams.items() if each is not None}, tree.get("upstream", {}))
        if not self.problems:
            checks.whole(root)
        self.problems += checks.problems
        return evolve(root, warnings=self.source.sorted(checks.warnings))

    # Reporting.

    def report(self, path: KeyPath, message: str, expected: str = "", of_key: bool = False) -> None:
        if path not in self.source.unfilled:
            self.problems.append(self.source.problem(path, message, expected, of_key=of_key))
        self.touch(path)

    def touch(self, path: KeyPath) -> None:
        self.touched.update(path[:end] for end in range(1, len(path) + 1))

    def report_all(self, path: KeyPath, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.report((*path, *fault.path), fault.message, fault.expected, fault.of_key)

    def unknown(self, path: KeyPath, known: Iterable[str]) -> str:
        """
        Report an unknown key.

        :return: the hint that was given.
        """
        hint = did_you_mean(str(path[-1]), known)
        if path[-1] == "include":
            hint = "include stands at the top of the file, before any table"
        self.report(path, "unknown key", hint, of_key=True)
        return hint

    # Tables.

    def table(self, cls: type[T], value: Any, path: KeyPath, **composed: Any) -> T | None:
        """
        A table as an object; None when not even defaults can make one.
        """
        if not isinstance(value, dict):
            self.report(path, f"is {shown(value)}", "expected a table")
            return None
        try:
            return structure_table(value, cls, **composed)
        except Faults as error:
            for fault in error.faults:
                if fault.path == ("include",):
                    self.unknown((*path, "include"), ())
                else:
                    self.report_all(path, [fault])
            return error.partial  # type: ignore[no-any-return]

    def named(self, key: str) -> Iterable[tuple[tuple[str, str], Any]]:
        """
        The tables ``[key.NAME]``.
        """
        tables = self.source.tree.get(key, {})
        if not isinstance(tables, dict):
            self.report((key,), f"is {shown(tables)}", f"expected tables with a name, as in [{key}.app]")
            return
        for name, table in tables.items():
            if isinstance(table, dict):
                yield (key, name), table
            else:
                hint = f"expected tables with a name, as in [{key}.app]"
                self.report((key, name), f"is {shown(table)}", hint, of_key=True)

    def listed(self, path: KeyPath, tables: Any) -> Iterable[tuple[KeyPath, dict[str, Any]]]:
        """
        The tables ``[[key]]``.
        """
        header = ".".join(str(part) for part in path if isinstance(part, str))
        if not isinstance(tables, list):
            self.report(path, f"is {shown(tables)}", f"expected an array of tables: [[{header}]]", of_key=True)
            return
        for index, table in enumerate(tables):
            if isinstance(table, dict):
                yield (*path, index), table
            else:
                self.report((*path, index), f"is {shown(table)}", f"expected a table: [[{header}]]")

    def upstream(self, value: dict[str, Any], path: tuple[str, str]) -> Upstream | None:
        own = {key: each for key, each in value.items() if key != "balance"}
        balance = self.balance(value.get("balance", _BALANCE), (*path, "balance"))
        return self.table(Upstream, own, path, name=path[-1], balance=balance)

    def balance(self, value: Any, path: KeyPath) -> Use | None:
        if isinstance(value, str):
            name, where = str(value), path
            options: Any = {}
        elif isinstance(value, dict) and len(value) == 1:
            ((name, options),) = value.items()
            where = (*path, name)
        else:
            self.report(path, f"is {shown(value)}", 'expected a name such as "round_robin", or { NAME = { options } }')
            return None
        if name not in self.registry.names("balance"):
            hint = did_you_mean(name, self.registry.names("balance"))
            self.report(path, f'there is no balancer "{name}"', hint)
            return None
        return self.use("balance", name, options, where)

    def defaults(self, value: Any, path: KeyPath, inherited: Defaults) -> Defaults:
        if not isinstance(value, dict):
            self.report(path, f"is {shown(value)}", "expected a table")
            return inherited
        own, policies = {}, {}
        known = keys_of(Defaults)
        for key, each in value.items():
            if key in known:
                own[key] = each
            elif key in self.policies:
                policies[key] = each
            elif key in self.resources:
                self.report((*path, key), "is a resource, which only a route can have", "", of_key=True)
            else:
                self.unknown((*path, key), {*known, *self.policies})
        defaults = self.table(Defaults, own, path) or Defaults()
        return _inherit(defaults, own, inherited, self.policies_of(policies, path, inherited.policies))

    def site(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Site | None:
        known = {*keys_of(Site), "defaults", "route"}
        own = {}
        for key, each in value.items():
            if key in known:
                own[key] = each
            elif key in self.policies or key in keys_of(Defaults):
                hint = "expected it in [site.defaults], for all routes, or in a [[site.route]]"
                self.report((*path, key), "cannot stand directly in a [[site]]", hint, of_key=True)
            elif key in self.resources or key in keys_of(Route):
                hint = "expected it in a [[site.route]]"
                self.report((*path, key), "cannot stand directly in a [[site]]", hint, of_key=True)
            else:
                self.unknown((*path, key), known)
        defaults = self.defaults(own.pop("defaults", {}), (*path, "defaults"), defaults)
        routes = [
            self.route(table, where, defaults) for where, table in self.listed((*path, "route"), own.pop("route", []))
        ]
        return self.table(Site, own, path, defaults=defaults, routes=tuple(routes))

    def route(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Route | None:
        known = keys_of(Route)
        own, resources, policies = {}, {}, {}
        hints = ""
        for key, each in value.items():
            if key in known:
                own[key] = each
            elif key in self.resources:
                resources[key] = each
            elif key in self.policies:
                policies[key] = each
            else:
                hints += self.unknown((*path, key), {*known, *self.resources, *self.policies})
        uses = [self.use("resource", name, each, (*path, name)) for name, each in resources.items()]
        expected = f"expected exactly one of {', '.join(sorted(self.resources))}"
        if len(uses) > 1:
            first, *others = resources
            for name in others:
                self.report((*path, name), f"stands beside {first}, and both are resources", expected, of_key=True)
        elif not uses and not any(f'"{name}"' in hints for name in self.resources):
            self.report(path, "has no resource, which would answer the requests", expected)
        route = self.table(Route, own, path, resource=uses[0] if uses else None)
        merged = self.policies_of(policies, path, defaults.policies)
        return None if route is None else _inherit(route, own, defaults, merged)

    def stream(self, value: dict[str, Any], path: KeyPath) -> Stream | None:
        own = {key: each for key, each in value.items() if key not in ("upstream", "route")}
        for key in own.keys() - {*keys_of(Stream)}:
            del own[key]
            self.unknown((*path, key), {*keys_of(Stream), "upstream", "route"})
        routes: list[StreamRoute | None] = []
        if "upstream" in value:
            if "route" in value:
                self.report((*path, "upstream"), "stands beside [[stream.route]]", "expected one of the two", True)
            use = self.use("stream", _STREAM_PROXY, {"upstream": value["upstream"]}, path)
            routes.append(None if use is None else StreamRoute(use))
        elif "route" in value:
            listed = self.listed((*path, "route"), value["route"])
            routes += [self.stream_route(table, where) for where, table in listed]
        else:
            self.report(path, "goes nowhere", 'expected upstream = "NAME", or a [[stream.route]]')
        return self.table(Stream, own, path, routes=tuple(routes))

    def stream_route(self, value: dict[str, Any], path: KeyPath) -> StreamRoute | None:
        names = frozenset(self.registry.names("stream"))
        known = keys_of(StreamRoute)
        own = {key: each for key, each in value.items() if key in known}
        uses = []
        for key, each in value.items():
            if key in names:
                uses.append(self.use("stream", key, each, (*path, key)))
            elif key not in known:
                self.unknown((*path, key), {*known, *names})
        if len(uses) != 1:
            message = "has more than one resource" if uses else "has no resource, which would take the connections"
            self.report(path, message, f"expected exactly one of {', '.join(sorted(names))}")
        return self.table(StreamRoute, own, path, resource=uses[0] if uses else None)

    # Modules.

    def use(self, kind: str, name: str, value: Any, path: KeyPath) -> Use | None:
        """
        A module and its options; ``path`` is that of the table.
        """
        try:
            module = self.registry.find(kind, name)
        except ConfigError as error:
            for problem in error.problems:
                self.report(path, problem.message, problem.expected, of_key=True)
            return None
        if module is None:
            self.report(path, f'there is no {kind} "{name}"', did_you_mean(name, self.registry.names(kind)), True)
            return None
        try:
            return Use(name, structure(value, module.Config), module, path)
        except Faults as error:
            self.report_all(path, error.faults)
            return None

    def policies_of(self, tables: dict[str, Any], path: KeyPath, inherited: Mapping[str, Policy]) -> dict[str, Policy]:
        """
        The inherited policies with those of ``tables`` over them.
        """
        policies = dict(inherited)
        for name, value in tables.items():
            if value is False:
                policies.pop(name, None)
                continue
            policy = self.policy(name, value, (*path, name))
            if policy is not None:
                policies[name] = self.merged(inherited.get(name), policy)
        return policies

    def policy(self, name: str, value: Any, path: KeyPath) -> Policy | None:
        first = self.use("policy", name, value, path) if not isinstance(value, list) else None
        if first is not None:
            return (first,) if first.module.many else first
        if not isinstance(value, list):
            return None
        try:
            many = self.registry.find("policy", name).many
        except ConfigError:
            many = False  # It is reported below.
        if not many:
            return self.use("policy", name, value, path)
        uses = [self.use("policy", name, each, (*path, index)) for index, each in enumerate(value)]
        return tuple(use for use in uses if use is not None)

    def merged(self, inherited: Policy | None, own: Policy) -> Policy:
        """
        ``own`` with what it takes from ``inherited``: nothing, unless its module has ``merge(inherited, own)``.
        """
        merge = getattr(own.module, "merge", None) if isinstance(own, Use) else None
        if merge is None or not isinstance(own, Use) or not isinstance(inherited, Use):
            return own
        try:
            return evolve(own, config=merge(inherited.config, own.config))
        except ValueError as error:
            self.report(own.where, f"does not go with what is inherited: {error}")
            return own


_Inheriting = TypeVar("_Inheriting", Defaults, Route)


def _inherit(
    own: _Inheriting, written: dict[str, Any], inherited: Defaults, policies: dict[str, Policy]
) -> _Inheriting:
    """
    ``own`` with what was not written taken from ``inherited``.
    """
    changes = {}
    for key in ("timeouts", "limits"):
        table = written.get(key)
        mine, above = getattr(own, key), getattr(inherited, key)
        said = {each: getattr(mine, each) for each in keys_of(type(mine)) if isinstance(table, dict) and each in table}
        changes[key] = evolve(above, **said)
    return evolve(own, policies=policies, **changes)
