"""
One run of building: the problems it has found so far, what it keeps, and how a module is made.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen
from twisted.logger import Logger
from zope.interface import implementer

from twistginx.build.generation import Generation, Runtime
from twistginx.build.shared import make_store
from twistginx.config import schema
from twistginx.config.address import ServerAddress
from twistginx.config.networks import Entry
from twistginx.config.places import place_of
from twistginx.config.template import Template
from twistginx.errors import ConfigError, Problem
from twistginx.http.variables import compile_template
from twistginx.interfaces import IContext
from twistginx.net.addresslist import AddressList
from twistginx.net.timers import Ticker
from twistginx.net.watchedfile import WatchedFile
from twistginx.registry import Registry
from twistginx.routing.conditions import Condition
from twistginx.shared.local import LocalStore
from twistginx.upstream.pool import Upstream

if TYPE_CHECKING:
    from twistginx.build.definitions import Definitions
    from twistginx.build.networks import Networks
    from twistginx.build.upstreams import Upstreams

Key = tuple[str | int, ...]
T = TypeVar("T")


class Building:
    """
    One run of :func:`twistginx.build.build`; it collects problems, and goes on as long as it can.

    :ivar root: the configuration.
    :ivar runtime: what outlives generations.
    :ivar generation: what is being built.
    :ivar upstreams: those that there are, and those that a route makes for itself.
    :ivar networks: lists of addresses, and files that are watched.
    :ivar definitions: maps, conditions with a name, and variables.
    :ivar problems: each with the key path of the table that was being built.
    """

    upstreams: Upstreams
    networks: Networks
    definitions: Definitions

    def __init__(self, root: schema.Root, registry: Registry, runtime: Runtime) -> None:
        self.root = root
        self.registry = registry
        self.runtime = runtime
        self.generation = Generation(root)
        self.problems: list[tuple[Key, Problem]] = []
        self._store: Any = None

    @property
    def store(self) -> Any:
        """
        What workers and machines share, an ``IStore``; made when it is first asked for.
        """
        if self._store is None:
            self._store = make_store(self)
        return self._store

    def complaints(self) -> list[Problem]:
        """
        What the registry has to say about plugins.
        """
        return [Problem("", 0, 0, "", complaint, warning=True) for complaint in self.registry.complaints]

    def attempt(self, where: Key, make: Callable[[], T], who: str = "") -> T | None:
        """
        What ``make`` returns; None when it cannot, and the problem is noted.

        :param where: the table that is being built; keys of errors are relative to it.
        :param who: the module that is at work, named when it breaks.
        """
        try:
            return make()
        except ConfigError as error:
            for problem in error.problems:
                keys = tuple(int(key) if key.isdigit() else key for key in problem.key.split(".") if key)
                self.report((*where, *keys), problem.message, problem.expected)
        except Exception as error:
            who = who or "building this"
            text = f"{who} failed: {type(error).__name__}: {error}"
            self.report(where, text)
        return None

    def report(self, where: Key, message: str, expected: str = "") -> None:
        self.problems.append((where, self.root.source.problem(where, message, expected)))

    def warn(self, where: Key, message: str) -> None:
        problem = self.root.source.problem(where, message)
        self.generation.warnings.append(
            Problem(problem.file, problem.line, problem.column, problem.key, problem.message, warning=True)
        )

    def keep(self, key: Hashable, factory: Callable[[], T]) -> T:
        kept = self.generation.kept
        try:
            if key not in kept:
                kept[key] = self.runtime.kept[key] if key in self.runtime.kept else factory()
        except TypeError:
            hash(key)  # the error was the factory's, when this does not raise it again
            raise
        value: T = kept[key]
        return value

    def start_and_stop(self, made: Any) -> None:
        """
        Start ``made`` with the generation, and stop it after, if it wants that.
        """
        lives = self.generation.lives
        if callable(getattr(made, "start", None)) and callable(getattr(made, "stop", None)):
            if not any(made is life for life in lives):
                lives.append(made)

    def make(self, use: schema.Use) -> Any:
        """
        The live object of a resource, a policy, a balancer or a stream's table; None when it has a problem.
        """
        module = use.module
        context = Context(
            self.runtime.reactor,
            self.runtime.ticker,
            Logger(namespace=module.__name__),
            self.root.source.base(use.where),
            self,
            use.where,
        )
        made = self.attempt(use.where, lambda: module.make(use.config, context), f"{use.name!r} ({module.__name__})")
        self.start_and_stop(made)
        return made

    def resource(self, name: str, options: dict[str, Any], key: str, context: Context) -> Any:
        """
        The resource that a table ``name`` with ``options`` would make where ``context`` is for.

        :param key: what names it there, for errors.
        :raise ConfigError: when it cannot be made.
        """
        module = self.registry.find("resource", name)
        try:
            made = module.make(module.Config(**options), context)
        except ConfigError as error:
            raise ConfigError(error.message, key, error.expected) from error
        self.start_and_stop(made)
        return made


@implementer(IContext)
@frozen(eq=False)
class Context:
    """
    What one module is given to build with.
    """

    reactor: Any
    ticker: Ticker
    log: Logger
    base: Path
    _building: Building
    _where: Key

    def upstream(self, name: str) -> Upstream:
        return self._building.upstreams.find(name)

    @property
    def upstreams(self) -> Mapping[str, Upstream]:
        return self._building.generation.upstreams

    def inline_upstream(self, servers: Iterable[ServerAddress]) -> Upstream:
        """
        The upstream of one route alone: its ``to``.
        """
        return self._building.upstreams.inline(tuple(servers), self._where)

    @property
    def store(self) -> Any:
        return self._building.store

    @property
    def memory(self) -> Any:
        building = self._building
        shared = building.runtime.memory
        return building.keep(("memory",), LocalStore) if shared is None else shared

    @property
    def place(self) -> str:
        return place_of(self._building.root.source.tree, self._where)

    def keep(self, key: Hashable, factory: Callable[[], T]) -> T:
        return self._building.keep(key, factory)

    def start_and_stop(self, life: Any) -> None:
        self._building.start_and_stop(life)

    def watched(self, path: Path, parse: Callable[[bytes], T]) -> WatchedFile[T]:
        return self._building.networks.watched(path, parse)

    def addresses(self, entries: Sequence[Entry], key: str) -> AddressList:
        return self._building.networks.addresses(entries, key)

    def resource(self, name: str, options: dict[str, Any], key: str) -> Any:
        return self._building.resource(name, options, key, self)

    def template(self, text: Template) -> Callable[..., bytes]:
        return compile_template(text)

    def condition(self, written: schema.Condition, key: str) -> Condition:
        return self._building.definitions.compiled(written, key)


def is_whole(part: Any) -> bool:
    """
    Is it there?  In a draft, None stands in for a part that has a problem, whatever its type says.
    """
    return part is not None
