"""
The house's floors: imports go down only, and what is pure stays pure.

The map is in L{twistginx}'s docstring.  Every import counts, those inside functions and under TYPE_CHECKING too: what
a module cannot name, it cannot come to depend on.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import twistginx

ROOT = Path(twistginx.__file__).parent

#: The rank of each module of the first level; a module imports from lower ranks and from its own package only.
RANKS = {
    "twistginx.__main__": 11,
    "twistginx.tap": 10,
    "twistginx.cli": 10,
    "twistginx.workers": 9,
    "twistginx.service": 8,
    "twistginx.explain": 8,
    "twistginx.testing": 8,
    "twistginx.build": 7,
    "twistginx.registry": 6,
    "twistginx.policies": 5,
    "twistginx.resources": 5,
    "twistginx.stream": 5,
    # An app of one's own, such as anybody may write: it stands where resources do.
    "twistginx.demo": 5,
    "twistginx.routing": 4,
    "twistginx.upstream": 4,
    "twistginx.cache": 4,
    "twistginx.shared": 4,
    "twistginx.observe": 4,
    "twistginx.http": 3,
    "twistginx.net": 2,
    "twistginx.config": 1,
    "twistginx.interfaces": 0,
    "twistginx.errors": 0,
    # The package itself holds words and a version, and imports nothing.
    "twistginx": -1,
}

#: Modules (and packages) that turn bytes and values into decisions, and so never import Twisted.
PURE = (
    "twistginx.config",
    "twistginx.errors",
    "twistginx.interfaces",
    "twistginx.http.identity",
    "twistginx.http.message",
    "twistginx.http.parser",
    "twistginx.http.response_parser",
    "twistginx.http.signature",
    "twistginx.http.stencil",
    "twistginx.http.wire",
    "twistginx.http.coding",
    "twistginx.net.clienthello",
    "twistginx.net.proxyprotocol",
    "twistginx.policies.encoders",
    "twistginx.policies.substitution",
    "twistginx.resources.cachecontrol",
    "twistginx.resources.listing",
    "twistginx.resources.mediatypes",
    "twistginx.resources.tryfiles",
    "twistginx.policies.passwords",
    "twistginx.http.maps",
    "twistginx.http.targets",
    "twistginx.policies.targets",
    "twistginx.routing.conditional",
    "twistginx.routing.conditions",
    "twistginx.routing.index",
    "twistginx.routing.match",
    "twistginx.routing.spelling",
    "twistginx.shared.redis_scripts",
    "twistginx.shared.table",
    "twistginx.shared.verdict",
    "twistginx.net.announcement",
    "twistginx.upstream.balance",
    "twistginx.upstream.breaker",
    "twistginx.upstream.discovery.listing",
    "twistginx.upstream.first",
    "twistginx.upstream.hash",
    "twistginx.upstream.ip_hash",
    "twistginx.upstream.least_connections",
    "twistginx.upstream.least_time",
    "twistginx.upstream.random_two",
    "twistginx.upstream.ring",
    "twistginx.upstream.round_robin",
    "twistginx.upstream.split",
    "twistginx.upstream.standing",
)

#: Twisted's tables and pure functions: no reactor, no I/O.
PURE_MAY_IMPORT = {
    "twistginx.http.message": {"twisted.web.http.RESPONSES"},
    "twistginx.http.wire": {"twisted.web.http.datetimeToString"},
}

#: These may not be imported before the reactor is chosen: they install one, or Twisted's module of the name does.
INSTALL_A_REACTOR = {"twistginx.tap", "twistginx.cli", "twistginx.workers.worker", "twistginx.resources.proxy"}

#: Where a process starts, and what it starts.
MAY_IMPORT_THE_REACTOR = {"twistginx.tap", "twistginx.cli", "twistginx.workers.worker", "twistginx.net.reactor"}


def module_name(path: Path, root: Path = ROOT) -> str:
    """
    The dotted name of a file under C{root}.
    """
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def first_level(name: str) -> str:
    """
    C{twistginx.http} for C{twistginx.http.parser}.
    """
    return ".".join(name.split(".")[:2])


def imports(source: str) -> Iterator[tuple[int, str]]:
    """
    The line and the dotted name of everything that C{source} imports, wherever it stands in it; C{a.b.c} for
    C{from a.b import c}, whether C{c} is a module or not.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
                continue
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def within(name: str, package: str) -> bool:
    """
    Is C{name} C{package}, or something in it?
    """
    return name == package or name.startswith(package + ".")


def complaints(name: str, source: str) -> list[str]:
    """
    What is wrong with the imports of one module.
    """
    wrong = []
    home = first_level(name)
    if home not in RANKS:
        return [f"{name} has no rank: add it to RANKS, and to the map in twistginx/__init__.py"]
    for line, imported in imports(source):
        place = f"{name}:{line}"
        if imported.startswith("."):
            wrong.append(f"{place} imports {imported}; imports are absolute, so that a crossing can be seen")
        elif within(imported, "twistginx"):
            there = first_level(imported)
            there = there if there in RANKS else "twistginx"
            if there != home and RANKS[there] >= RANKS[home]:
                wrong.append(f"{place} imports {imported}, which is not below {home}")
        elif within(imported, "twisted.internet.reactor"):
            if name not in MAY_IMPORT_THE_REACTOR:
                wrong.append(f"{place} imports the reactor; take it as an argument")
        elif within(imported, "twisted") and any(within(name, pure) for pure in PURE):
            allowed = PURE_MAY_IMPORT.get(name, ())
            if not any(within(imported, each) for each in allowed):
                wrong.append(f"{place} imports {imported}; {name} is pure")
    return wrong


class LayerTests(SynchronousTestCase):
    """
    Every file under src/twistginx keeps to its floor.
    """

    def test_imports(self) -> None:
        """
        Imports go down, packages of one rank do not know each other, the reactor is an argument, pure is pure.
        """
        wrong = []
        for path in sorted(ROOT.rglob("*.py")):
            wrong += complaints(module_name(path), path.read_text("utf-8"))
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_pure_modules_exist(self) -> None:
        """
        The table of pure modules names modules that there are, so that a rename does not empty it.
        """
        there = {module_name(path) for path in ROOT.rglob("*.py")}
        self.assertEqual([name for name in PURE if name not in there], [])

    def test_no_reactor_is_installed(self) -> None:
        """
        Everything but the few that may can be imported, together, without a reactor coming into the world: the choice
        is the user's.
        """
        names = {module_name(path) for path in ROOT.rglob("*.py")} - INSTALL_A_REACTOR
        program = (
            "import importlib, sys\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            "    if 'twisted.internet.reactor' in sys.modules:\n"
            "        sys.exit(f'{name} installs a reactor')\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT.parent), *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", program, *sorted(names)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_trial(self) -> None:
        """
        What Twisted has for tests imports all of trial, which no process that serves is to load.
        """
        for path in sorted(ROOT.rglob("*.py")):
            if module_name(path) != "twistginx.testing":
                found = {imported for _, imported in imports(path.read_text("utf-8"))}
                wrong = [
                    each for each in found if within(each, "twisted.trial") or within(each, "twisted.internet.testing")
                ]
                self.assertEqual(wrong, [], path)

    def test_package_files_are_empty(self) -> None:
        """
        A package's __init__ holds its docstring and no code: what one imports is what one names.
        """
        for path in sorted(ROOT.rglob("__init__.py")):
            if path.parent == ROOT:
                continue
            body = ast.parse(path.read_text("utf-8")).body
            code = [node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
            self.assertEqual(code, [], f"{path} holds code")

    def test_interfaces_are_light(self) -> None:
        """
        Every run of twistd may import the interfaces: they import zope.interface, and nothing else.
        """
        found = {name for _, name in imports((ROOT / "interfaces.py").read_text("utf-8"))}
        self.assertEqual({name for name in found if not within(name, "zope.interface")}, set())


class ComplaintTests(SynchronousTestCase):
    """
    The rules themselves, on modules that break them.
    """

    def refused(self, name: str, source: str) -> None:
        """
        Check that one complaint is made.
        """
        self.assertEqual(len(complaints(name, source)), 1, source)

    def test_upwards(self) -> None:
        """
        Nobody imports what stands above, not even for its types, and not even late.
        """
        self.refused("twistginx.net.tls", "from twistginx.http.message import Fields")
        self.refused("twistginx.net.tls", "import twistginx.service")
        self.refused("twistginx.http.channel", "def f():\n    from twistginx import build")
        self.refused("twistginx.http.channel", "if TYPE_CHECKING:\n    from twistginx.routing.router import Route")

    def test_sideways(self) -> None:
        """
        Packages of one rank do not know each other; modules of one package do.
        """
        self.refused("twistginx.policies.headers", "from twistginx.resources import static")
        self.assertEqual(complaints("twistginx.http.channel", "from twistginx.http.message import Reply"), [])

    def test_downwards(self) -> None:
        """
        What is below is free to use.
        """
        self.assertEqual(complaints("twistginx.http.channel", "from twistginx.net.timers import Ticker"), [])
        self.assertEqual(complaints("twistginx.tap", "from twistginx import __version__, service"), [])

    def test_reactor(self) -> None:
        """
        Only who starts a process imports the reactor, in either spelling.
        """
        for source in ("from twisted.internet import reactor", "import twisted.internet.reactor"):
            self.refused("twistginx.net.listener", source)
            self.assertEqual(complaints("twistginx.cli", source), [])

    def test_pure(self) -> None:
        """
        A pure module imports no Twisted, but for the constants that it is allowed.
        """
        self.refused("twistginx.config.load", "from twisted.logger import Logger")
        self.refused("twistginx.http.message", "from twisted.internet import defer")
        self.assertEqual(complaints("twistginx.http.message", "from twisted.web.http import RESPONSES"), [])
        self.refused("twistginx.http.message", "from twisted.web.http import HTTPChannel")

    def test_others(self) -> None:
        """
        Relative imports, and modules that nobody has given a rank.
        """
        self.refused("twistginx.http.channel", "from .message import Reply")
        self.refused("twistginx.misc", "")
