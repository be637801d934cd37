"""
What all tables have in common on their way to objects: how they are read, and how what is wrong is reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeVar

from twistginx.config.convert import structure, structure_table
from twistginx.config.definitions import scope_of
from twistginx.config.faults import Fault, Faults, did_you_mean, shown
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Condition, Match, Use
from twistginx.config.source import Source
from twistginx.errors import ConfigError, Problem

T = TypeVar("T")

#: The key of a policy that says which requests it is for.
WHEN: Final = "when"


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


class Draft:
    """
    A configuration on its way from tables to objects.

    What is wrong is reported, and a default stands in for it, so that the rest can be looked at as well.

    :ivar scope: what templates of the file may name.
    :ivar touched: the key paths at or under which something is wrong.
    """

    def __init__(self, source: Source, registry: Registry, problems: list[Problem]) -> None:
        self.source = source
        self.registry = registry
        self.problems = problems
        self.scope = scope_of(source.tree)
        self.resources = frozenset(registry.names("resource"))
        self.policies = frozenset(registry.names("policy"))
        self.touched: set[KeyPath] = set()
        for path in source.unfilled:
            self.touch(path)

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
        if kind == "policy" and isinstance(value, dict) and WHEN in value:
            when = self.condition(value[WHEN], (*path, WHEN))
            value = {key: each for key, each in value.items() if key != WHEN}
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
