"""
What is packed is what is needed: the distribution's metadata, its wheel and its sdist.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import twistginx

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "twistginx"

#: What a build makes and a clone does not have.
_MADE = shutil.ignore_patterns(
    ".git", ".venv*", ".bench", "dist", "*.egg-info", "__pycache__", "_trial_temp*", ".*_cache", ".hypothesis", "logs"
)


def made(directory: str, names: list[str]) -> set[str]:
    """
    What a run leaves in the repository; ``build`` is that at the top, and a package of ours elsewhere.
    """
    return _MADE(directory, names) | ({"build"} if Path(directory) == ROOT else set())


def setup_cfg() -> ConfigParser:
    """
    The distribution's metadata.

    @raise SkipTest: when the tests run without the repository around them.
    """
    if not (ROOT / "setup.cfg").exists():
        raise SkipTest("these tests run without the repository around them")
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def lines(text: str) -> list[str]:
    """
    The lines of a value that are not empty.
    """
    return [line.strip() for line in text.splitlines() if line.strip()]


class MetadataTests(SynchronousTestCase):
    """
    setup.cfg says what is there.
    """

    def test_packages(self) -> None:
        """
        The packages, which are named one by one, are those that there are.
        """
        named = lines(setup_cfg()["options"]["packages"])
        found = [".".join(path.parent.relative_to(ROOT / "src").parts) for path in SOURCES.rglob("__init__.py")]
        self.assertEqual(sorted(named), sorted([*found, "twisted.plugins"]))

    def test_plugins_directory_is_no_package(self) -> None:
        """
        An __init__.py in twisted/ or twisted/plugins/ would hide Twisted.
        """
        setup_cfg()
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_requirements(self) -> None:
        """
        Every package that we import is required, and every required one is imported, but for uvloop and those that
        Twisted imports for us.
        """
        required = {
            canonicalize_name(Requirement(line).name) for line in lines(setup_cfg()["options"]["install_requires"])
        }
        imported = set()
        for path in SOURCES.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module)
        # Several distributions share these two.
        owners = {**packages_distributions(), "zope": ["zope.interface"], "twisted": ["twisted"]}
        used = {
            canonicalize_name(owner)
            for name in imported
            if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("twistginx")
            # zope is a namespace that several distributions share.
            for owner in (
                ["zope.interface"] if name.startswith("zope.interface") else owners.get(name.split(".")[0], [name])
            )
        }
        # What some features need is an extra, and imported when they are used.
        extras = setup_cfg()["options.extras_require"]
        optional = {
            canonicalize_name(Requirement(line).name)
            for extra in extras.keys() - {"test", "fuzz", "release"}
            for line in lines(extras[extra])
        }
        self.assertEqual(used - required - optional, set(), "imported, and not required")
        self.assertEqual(required - used - {"uvloop"}, set(), "required, and not imported")


class DistributionTests(SynchronousTestCase):
    """
    The sdist, and the wheel that is built from it.
    """

    _built: Path | None = None

    @classmethod
    def dist(cls) -> Path:
        """
        The directory that holds both; they are built once.
        """
        setup_cfg()
        if find_spec("build") is None:
            raise SkipTest("the Python package build is not installed")
        try:
            if int(version("setuptools").partition(".")[0]) < 77:
                raise SkipTest("building needs setuptools 77 or later")
        except PackageNotFoundError:
            raise SkipTest("setuptools is not installed") from None
        if cls._built is None:
            cls._temporary = Path(mkdtemp(prefix="twistginx-"))
            copy = cls._temporary / "copy"
            shutil.copytree(ROOT, copy, ignore=made)
            done = subprocess.run(
                [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(cls._temporary / "dist"), str(copy)],
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode:
                raise AssertionError(done.stdout + done.stderr)
            cls._built = cls._temporary / "dist"
        return cls._built

    @classmethod
    def tearDownClass(cls) -> None:
        """
        Remove what was built.
        """
        if cls._built is not None:
            shutil.rmtree(cls._temporary, ignore_errors=True)
            cls._built = None

    def wheel(self) -> Path:
        """
        The wheel.
        """
        (path,) = self.dist().glob("*.whl")
        return path

    def test_wheel(self) -> None:
        """
        The wheel is pure Python, and holds every module, the plugin file, the mark of typed packages and the licence,
        and nothing else.
        """
        path = self.wheel()
        self.assertEqual(path.name, f"twistginx-{twistginx.__version__}-py3-none-any.whl")
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
        expected = {f"twistginx/{source.relative_to(SOURCES).as_posix()}" for source in SOURCES.rglob("*.py")}
        expected |= {"twistginx/py.typed", "twisted/plugins/twistginx_plugin.py"}
        self.assertEqual({name for name in names if ".dist-info/" not in name}, expected)
        self.assertTrue(any(name.endswith("/LICENSE") for name in names))

    def test_sdist(self) -> None:
        """
        The sdist holds what the repository holds: it can be read, tested and run like a clone.
        """
        (path,) = self.dist().glob("*.tar.gz")
        with tarfile.open(path) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for name in (
            "twisted/plugins/twistginx_plugin.py",
            "src/twistginx/py.typed",
            "etc/site.toml",
            "etc/demo/index.html",
            "etc/examples/tls.toml",
            "examples/setup.cfg",
            "examples/twisted/plugins/twistginx_example_plugin.py",
            "tests/test_packaging.py",
            "docs/index.rst",
            "Makefile",
            "LICENSE",
            ".ci/run",
        ):
            self.assertIn(name, names)
        self.assertEqual([name for name in names if "dropin.cache" in name or "__pycache__" in name], [])

    def test_twistd_finds_it(self) -> None:
        """
        With the wheel installed, and nothing else of ours in sight, C{twistd} lists the server and the reactor.
        """
        site = Path(mkdtemp(prefix="twistginx-"))
        self.addCleanup(shutil.rmtree, site, ignore_errors=True)
        with zipfile.ZipFile(self.wheel()) as archive:
            archive.extractall(site)
        # -S: no site, so that no editable installation steps in.
        paths = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
        program = (
            "import sys; sys.path[:0] = sys.argv[1:]; import twisted.plugins.twistginx_plugin as plugin;"
            "print(plugin.__file__, flush=True);"
            "from twisted.scripts.twistd import run; sys.argv[1:] = {arguments}; run()"
        )
        for arguments, expected in ((["--help"], "twistginx"), (["--help-reactors"], "twistginx")):
            done = subprocess.run(
                [sys.executable, "-S", "-c", program.format(arguments=arguments), str(site), *paths],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                cwd=site,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )
            self.assertIn(str(site), done.stdout.splitlines()[0] if done.stdout else "", done.stderr)
            said = done.stdout.partition("\n")[2]
            self.assertRegex(said, rf"(?m)^\s+{expected}\s", done.stderr)
