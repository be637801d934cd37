"""
From a file to a :class:`~twistginx.config.schema.Root`, or to the list of everything that is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from twistginx.config.checks import Checks
from twistginx.config.disk import Disk
from twistginx.config.drafting.draft import Draft, Registry
from twistginx.config.drafting.policies import Policies
from twistginx.config.drafting.sites import Sites
from twistginx.config.drafting.streams import Streams
from twistginx.config.drafting.upstreams import Upstreams, store
from twistginx.config.faults import shown
from twistginx.config.networks import ALL, UNIX
from twistginx.config.reader import read
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Defaults, Listener, Log, Map, Match, Networks, Process, Root, Variables
from twistginx.errors import ConfigError, Problem

#: The tables of a file.
_TABLES: Final = (
    *("process", "log", "defaults", "variables", "map", "match", "upstream", "listener", "networks", "shared"),
    *("site", "stream"),
)

#: A name of a list of addresses, and words that stand for something else among addresses.
_LIST: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS: Final = frozenset((UNIX, ALL))


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
    drafting = Draft(source, registry, problems)
    with drafting.scope.entered():
        root = _root(drafting)
    return Drafted(root, source.sorted(drafting.problems), drafting.touched)


def _root(draft: Draft) -> Root:
    """
    All tables of a file.
    """
    policies = Policies(draft)
    upstreams_of, sites_of, streams_of = Upstreams(draft), Sites(draft, policies), Streams(draft, policies)
    tree = draft.source.tree
    for key in tree:
        if key in _TABLES:
            continue
        if key == "route" or key in draft.resources:
            draft.report((key,), "cannot stand at the top", "expected it in a [[site]]: [[site.route]]", of_key=True)
        elif key in draft.policies:
            hint = f"expected [defaults.{key}], for all sites, or it in [site.defaults] or a [[site.route]]"
            draft.report((key,), "cannot stand at the top", hint, of_key=True)
        else:
            draft.unknown((key,), _TABLES)
    process = draft.table(Process, tree.get("process", {}), ("process",)) or Process()
    log = draft.table(Log, tree.get("log", {}), ("log",)) or Log()
    defaults = sites_of.defaults(tree.get("defaults", {}), ("defaults",), Defaults())
    upstreams = {path: upstreams_of.upstream(table, path) for path, table in draft.named("upstream")}
    listeners = {path: draft.table(Listener, table, path, name=path[-1]) for path, table in draft.named("listener")}
    sites = {
        path: sites_of.site(table, path, defaults) for path, table in draft.listed(("site",), tree.get("site", []))
    }
    streams = {
        path: streams_of.stream(table, path) for path, table in draft.listed(("stream",), tree.get("stream", []))
    }
    root = Root(
        process,
        log,
        defaults,
        {each.name: each for each in upstreams.values() if each is not None},
        {each.name: each for each in listeners.values() if each is not None},
        tuple(each for each in sites.values() if each is not None),
        tuple(each for each in streams.values() if each is not None),
        draft.source,
        networks=_networks(draft, tree.get("networks", {})),
        shared=store(draft, tree.get("shared", {}), ("shared",)),
        maps=draft.tables("map", Map),
        matches=draft.tables("match", Match),
        variables=(draft.table(Variables, {"variables": tree.get("variables", {})}, ()) or Variables()).variables,
    )
    checks = Checks(draft.source, draft.touched)
    checks.listeners({path: each for path, each in listeners.items() if each is not None})
    checks.upstreams({path: each for path, each in upstreams.items() if each is not None})
    checks.sites({path: each for path, each in sites.items() if each is not None})
    checks.streams({path: each for path, each in streams.items() if each is not None}, tree.get("upstream", {}))
    checks.definitions(root, {path: each for path, each in sites.items() if each is not None})
    if not draft.problems:
        checks.whole(root)
    draft.problems += checks.problems
    return evolve(root, warnings=draft.source.sorted(checks.warnings))


def _networks(draft: Draft, value: Any) -> dict[str, Networks]:
    if not isinstance(value, dict):
        draft.report(("networks",), f"is {shown(value)}", "expected a table of lists, by name")
        return {}
    tables = {}
    for name, each in value.items():
        path = ("networks", name)
        if not _LIST.fullmatch(name) or name in _WORDS:
            hint = "expected a letter, and then letters, digits, hyphens and underscores"
            draft.report(path, "cannot be the name of a list", hint, of_key=True)
            continue
        table = each if isinstance(each, dict) else {"addresses": each}
        tables[name] = draft.table(Networks, table, path, name=name)
    return {name: table for name, table in tables.items() if table is not None}
