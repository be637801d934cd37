"""
From a file to a :class:`~twistginx.config.schema.Root`, or to the list of everything that is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from attrs import evolve, frozen

from twistginx.config.checks import Checks
from twistginx.config.convert import keys_of, structure, structure_table
from twistginx.config.definitions import route_scope, scope_of, site_scope
from twistginx.config.disk import Disk
from twistginx.config.faults import Fault, Faults, did_you_mean, shown
from twistginx.config.networks import ALL, UNIX
from twistginx.config.reader import read
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import (
    Condition,
    Defaults,
    Listener,
    Log,
    Map,
    Match,
    Networks,
    Policy,
    Process,
    Root,
    Route,
    Site,
    Stream,
    StreamRoute,
    Upstream,
    Use,
    Variables,
)
from twistginx.config.scope import current
from twistginx.config.source import Source
from twistginx.config.tables.site import PATHS
from twistginx.errors import ConfigError, Problem

T = TypeVar("T")

#: The tables of a file.
_TABLES: Final = (
    *("process", "log", "defaults", "variables", "map", "match", "upstream", "listener", "networks", "shared"),
    *("site", "stream"),
)

#: A name of a list of addresses, and words that stand for something else among addresses.
_LIST: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS: Final = frozenset((UNIX, ALL))

#: What balances where nothing else is said.
_BALANCE: Final = "round_robin"

#: The balancer whose one option may stand beside it.
_HASH: Final = "hash"
_HASH_KEY: Final = "hash_key"

#: Where shared state is where nothing else is said, and the schemes of URLs that are not the names of modules.
_STORE: Final = "memory"
_STORES: Final = {"rediss": "redis"}

#: The key of a policy that says which requests it is for.
_WHEN: Final = "when"

#: Short for ``discover = { file = ... }``.
_SERVERS_FILE: Final = "servers_file"

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


def draft(path: str | Path, registry: Registry, environment: Mapping[str, str], disk: Disk | None = None) -> Drafted:
    """
    As :func:`load`, for who wants to look further than the first problems.

    :param disk: what files are read from; None: a new one.
    """
    source, problems = read(path, environment, disk)
    drafting = _Draft(source, registry, problems)
    with drafting.scope.entered():
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
        self.scope = scope_of(source.tree)
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
            networks=self.networks(tree.get("networks", {})),
            shared=self.shared(tree.get("shared", {}), ("shared",)),
            maps=self.tables("map", Map),
            matches=self.tables("match", Match),
            variables=(self.table(Variables, {"variables": tree.get("variables", {})}, ()) or Variables()).variables,
        )
        checks = Checks(self.source, self.touched)
        checks.listeners({path: each for path, each in listeners.items() if each is not None})
        checks.upstreams({path: each for path, each in upstreams.items() if each is not None})
        checks.sites({path: each for path, each in sites.items() if each is not None})
        checks.streams({path: each for path, each in streams.items() if each is not None}, tree.get("upstream", {}))
        checks.definitions(root, {path: each for path, each in sites.items() if each is not None})
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

    def tables(self, key: str, cls: type[T]) -> dict[str, T]:
        """
        The tables ``[key.NAME]`` as objects.
        """
        tables = {path: self.table(cls, table, path) for path, table in self.named(key)}
        return {path[-1]: table for path, table in tables.items() if table is not None}

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

    def networks(self, value: Any) -> dict[str, Networks]:
        if not isinstance(value, dict):
            self.report(("networks",), f"is {shown(value)}", "expected a table of lists, by name")
            return {}
        tables = {}
        for name, each in value.items():
            path = ("networks", name)
            if not _LIST.fullmatch(name) or name in _WORDS:
                hint = "expected a letter, and then letters, digits, hyphens and underscores"
                self.report(path, "cannot be the name of a list", hint, of_key=True)
                continue
            table = each if isinstance(each, dict) else {"addresses": each}
            tables[name] = self.table(Networks, table, path, name=name)
        return {name: table for name, table in tables.items() if table is not None}

    def shared(self, value: Any, path: KeyPath) -> Use | None:
        """
        The store of ``[shared]``: its module describes the whole table.
        """
        if not isinstance(value, dict):
            self.report(path, f"is {shown(value)}", "expected a table")
            return None
        store = value.get("store", _STORE)
        if not isinstance(store, str):
            self.report((*path, "store"), f"is {shown(store)}", 'expected "memory", or a URL such as "redis://..."')
            return None
        scheme = re.split("[:+]", store, maxsplit=1)[0]
        name = _STORES.get(scheme, scheme)
        if name not in self.registry.names("store"):
            hint = did_you_mean(name, self.registry.names("store"))
            self.report((*path, "store"), "names no store that there is", hint)
            return None
        return self.use("store", name, value, path)

    def upstream(self, value: dict[str, Any], path: tuple[str, str]) -> Upstream | None:
        elsewhere = ("balance", _HASH_KEY, "discover", _SERVERS_FILE)
        own = {key: each for key, each in value.items() if key not in elsewhere}
        if "servers" not in own and ("discover" in value or _SERVERS_FILE in value):
            own["servers"] = []
        if _HASH_KEY in value:
            balance = self.hash(value, path)
        else:
            balance = self.balance(value.get("balance", _BALANCE), (*path, "balance"))
        discover = self.discover(value, path)
        return self.table(Upstream, own, path, name=path[-1], balance=balance, discover=discover)

    def hash(self, value: dict[str, Any], path: KeyPath) -> Use | None:
        """
        The balancer of an upstream with ``hash_key``, which is short for a table.
        """
        if value.get("balance", _HASH) != _HASH:
            hint = f'expected balance = "{_HASH}" beside it, or {{ {_HASH} = {{ {_HASH_KEY} = "..." }} }} alone'
            self.report((*path, _HASH_KEY), "is of no use to this balancer", hint, True)
            return None
        return self.use("balance", _HASH, {_HASH_KEY: value[_HASH_KEY]}, path)

    def discover(self, value: dict[str, Any], path: KeyPath) -> tuple[Use | None, ...]:
        """
        What finds servers for the upstream ``value``.
        """
        tables = value.get("discover", {})
        if not isinstance(tables, dict):
            expected = 'expected a table such as { srv = "_http._tcp.app" }'
            self.report((*path, "discover"), f"is {shown(tables)}", expected)
            return (None,)
        uses = [self.use("discovery", name, each, (*path, "discover", name)) for name, each in tables.items()]
        if _SERVERS_FILE in value:
            if "file" in tables:
                self.report((*path, _SERVERS_FILE), "stands beside discover.file", "expected one of the two", True)
            uses.append(self.use("discovery", "file", value[_SERVERS_FILE], (*path, _SERVERS_FILE)))
        return tuple(uses)

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
        with site_scope(value, current()).entered():
            return self.site_in_scope(value, path, defaults)

    def site_in_scope(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Site | None:
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
        with route_scope(value, current()).entered():
            return self.route_in_scope(value, path, defaults)

    def route_in_scope(self, value: dict[str, Any], path: KeyPath, defaults: Defaults) -> Route | None:
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
        if route is None:
            return None
        # Where a policy stands at a path, that is the path of a route that names none.
        if _takes_any_path(value):
            route = evolve(route, path=next(filter(None, map(self.place, merged.values())), None))
        return _inherit(route, own, defaults, merged)

    def place(self, policy: Policy) -> str | None:
        if not isinstance(policy, Use) or not hasattr(policy.module, "path_of"):
            return None
        return str(policy.module.path_of(policy.config))

    def stream(self, value: dict[str, Any], path: KeyPath) -> Stream | None:
        own = {key: each for key, each in value.items() if key not in ("upstream", "route")}
        policies = {key: own.pop(key) for key in self.policies & own.keys()}
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
        stand = self.stream_policies(policies, path)
        return self.table(Stream, own, path, routes=tuple(routes), policies=stand)

    def stream_policies(self, tables: dict[str, Any], path: KeyPath) -> dict[str, Policy]:
        """
        What stands before the connections of a stream.
        """
        policies = {}
        for name, value in tables.items():
            if not self.is_for_streams(name):
                known = ", ".join(sorted(filter(self.is_for_streams, self.policies)))
                hint = f"expected one of {known}"
                self.report((*path, name), "is for requests, and a stream has none", hint, of_key=True)
                continue
            policies[name] = value
            tables_of = value if isinstance(value, list) else [value]
            if any(isinstance(each, dict) and _WHEN in each for each in tables_of):
                self.report((*path, name), f"has {_WHEN}, which is about requests, and a stream has none")
        return self.policies_of(policies, path, {})

    def is_for_streams(self, name: str) -> bool:
        """
        Can the policy of that name stand before a raw connection?  One that cannot be imported says so where it is used.
        """
        try:
            return "stream" in self.registry.find("policy", name).applies_to
        except ConfigError:
            return True

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
        when = None
        if kind == "policy" and isinstance(value, dict) and _WHEN in value:
            when = self.condition(value[_WHEN], (*path, _WHEN))
            value = {key: each for key, each in value.items() if key != _WHEN}
        try:
            return Use(name, structure(value, module.Config), module, path, when)
        except Faults as error:
            self.report_all(path, error.faults)
            return None

    def condition(self, value: Any, path: KeyPath) -> Match | str | None:
        """
        ``when``: a table, or the name of one.
        """
        try:
            condition: Match | str = structure(value, Condition)  # type: ignore[arg-type]  # a union is a type here
        except Faults as error:
            self.report_all(path, error.faults)
            return None
        return condition

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
        if not isinstance(value, list):
            use = self.use("policy", name, value, path)
            return use if use is None or not use.module.many else (use,)
        try:
            module = self.registry.find("policy", name)
        except ConfigError:
            return self.use("policy", name, value, path)  # which reports it
        # Where only one makes sense, there may be several for different requests, and one for all others; unless the
        # module makes one of an array.
        conditional = [isinstance(each, dict) and _WHEN in each for each in value]
        several = True in conditional and not getattr(module, "takes_arrays", False)
        if not module.many and not several:
            return self.use("policy", name, value, path)
        if not module.many and conditional.count(False) > 1:
            self.report(path, f"more than one {name} is for all requests", "expected when in all but one of them")
        uses = [self.use("policy", name, each, (*path, index)) for index, each in enumerate(value)]
        return tuple(use for use in uses if use is not None)

    def merged(self, inherited: Policy | None, own: Policy) -> Policy:
        """
        ``own`` with what it takes from ``inherited``: nothing, unless its module has ``merge(inherited, own)``.  What
        is for other requests stays beside it.
        """
        above = inherited if isinstance(inherited, tuple) else (inherited,) if inherited is not None else ()
        mine = own if isinstance(own, tuple) else (own,)
        merge = getattr(mine[0].module, "merge", None) if mine else None
        if merge is None or not above:
            return own
        kept = {repr(use.when): use for use in above}
        result = []
        for use in mine:
            other = kept.pop(repr(use.when), None)
            try:
                result.append(use if other is None else evolve(use, config=merge(other.config, use.config)))
            except ValueError as error:
                self.report(use.where, f"does not go with what is inherited: {error}")
        result += kept.values()
        return result[0] if len(result) == 1 and not isinstance(own, tuple) else tuple(result)


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
