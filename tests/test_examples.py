"""
Every configuration that we ship is one that works.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import trustme
from attrs import fields, has, resolve_types
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

import twistginx
from twistginx.build.generation import Generation, Runtime
from twistginx.build.prepare import build, prepare
from twistginx.config import schema
from twistginx.config.convert import key_of
from twistginx.config.load import load
from twistginx.errors import ConfigError
from twistginx.net.timers import Ticker
from twistginx.registry import BUILT_IN, Registry

ROOT = Path(__file__).parent.parent

PAGE = ROOT / "docs" / "configuration.rst"

#: What examples take from the environment.
ENVIRONMENT = {"STAGE": "staging"}


def shipped() -> list[Path]:
    """
    All configurations, by their path below etc/.
    """
    found = [ROOT / "etc" / "site.toml", *sorted((ROOT / "etc" / "examples").glob("*.toml"))]
    return [path.relative_to(ROOT / "etc") for path in found]


class ShippedTests(SynchronousTestCase):
    """
    etc/site.toml and etc/examples/*.toml.
    """

    def setUp(self) -> None:
        """
        A copy of etc/, with the certificates that users are told to make.
        """
        directory = Path(mkdtemp(prefix="twistginx-"))
        self.addCleanup(shutil.rmtree, directory)
        self.etc = directory / "etc"
        shutil.copytree(ROOT / "etc", self.etc, ignore=shutil.ignore_patterns("logs", "__pycache__"))
        certs = self.etc / "examples" / "certs"
        certs.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(certs / "internal-ca.crt")
        for name, host in (("example.com", "example.com"), ("proxy", "proxy.internal")):
            certificate = authority.issue_cert(host)
            certificate.private_key_pem.write_to_path(certs / f"{name}.key")
            for blob in certificate.cert_chain_pems:
                blob.write_to_path(certs / f"{name}.crt", append=True)

    def build(self, path: Path) -> Generation:
        """
        Load and build a configuration.
        """
        registry = Registry(())
        reactor = MemoryReactorClock()
        return prepare(path, registry, ENVIRONMENT, Runtime(reactor, Ticker(reactor)))

    def test_all_build(self) -> None:
        """
        Each loads and builds, without a warning, and has something to serve.
        """
        for path in shipped():
            try:
                generation = self.build(self.etc / path)
            except ConfigError as error:
                self.fail(f"{path}:\n{error}")
            self.assertEqual(generation.warnings, [], path)
            self.assertTrue(generation.listeners, path)

    def test_defaults_are_shown(self) -> None:
        """
        The demo listens on this machine alone, on ports that need no privilege.
        """
        for endpoint in self.build(self.etc / "site.toml").listeners:
            self.assertRegex(endpoint, r"^tcp:(\d{4,5}):.*interface=127\.0\.0\.1")

    def test_every_example_is_explained(self) -> None:
        """
        A file of examples begins with what it is an example of.
        """
        for path in shipped():
            self.assertTrue((ROOT / "etc" / path).read_text("utf-8").startswith("# "), path)

    def test_missing_certificates(self) -> None:
        """
        Without the certificates, each file that names them is refused, and the message names the file that is missing.
        """
        shutil.rmtree(self.etc / "examples" / "certs")
        refused = set()
        for path in shipped():
            try:
                self.build(self.etc / path)
            except ConfigError as error:
                refused.add(path.name)
                self.assertIn("certs", str(error))
        self.assertEqual(refused, {"tls.toml", "https-upstream.toml", "behind-haproxy.toml"})


class ReadmeTests(SynchronousTestCase):
    """
    The TOML in the README and in the manual is true.
    """

    def test_six_lines(self) -> None:
        """
        The six lines of the README are six, and make a server; the demo page shows the same.
        """
        readme = (ROOT / "README.rst").read_text("utf-8")
        found = re.search(r"\n    \[\[site\]\]\n(?:    .*\n)*?    \]\n", readme)
        assert found is not None
        text = re.sub(r"(?m)^    ", "", found[0].strip("\n")) + "\n"
        self.assertEqual(text.count("\n"), 6)
        self.assertIn(text.strip(), (ROOT / "etc" / "demo" / "index.html").read_text("utf-8"))
        directory = Path(mkdtemp(prefix="twistginx-"))
        self.addCleanup(shutil.rmtree, directory)
        (directory / "www").mkdir()
        (directory / "site.toml").write_text(text)
        registry = Registry(())
        reactor = MemoryReactorClock()
        root = load(directory / "site.toml", registry, {})
        self.assertEqual(list(build(root, registry, Runtime(reactor, Ticker(reactor))).listeners), ["tcp:8080"])

    def test_problems(self) -> None:
        """
        What the README shows of a file with mistakes is what is said of one.
        """
        directory = Path(mkdtemp(prefix="twistginx-"))
        self.addCleanup(shutil.rmtree, directory)
        (directory / "site.toml").write_text(
            '[[site]]\nlisten = ["tcp:8080"]\nroute = [\n    { path = "/api", proxy = { upsteam = "app" } },\n'
            '    { static = { root = "www", hiden = true } },\n]\n'
        )
        error = self.assertRaises(ConfigError, load, directory / "site.toml", Registry(()), {})
        readme = (ROOT / "README.rst").read_text("utf-8")
        for problem in error.problems:
            self.assertIn(f"    site.toml:{problem.line}:{problem.column}: {problem.key}: {problem.message}", readme)
        self.assertEqual(readme.count("    site.toml:"), len(error.problems))


class ReferenceTests(SynchronousTestCase):
    """
    docs/configuration.rst has every key.
    """

    def keys(self) -> set[str]:
        """
        Every key of every table, ours and of the built-in modules.
        """
        registry = Registry(())
        classes = [each for each in vars(schema).values() if isinstance(each, type) and has(each)]
        tables = [each for each in classes if each.__module__.startswith("twistginx.config.tables.")]
        tables += [registry.find(each.kind, each.name).Config for each in BUILT_IN]
        return {
            key_of(attribute)
            for table in tables
            if table not in (schema.Use, schema.Root)
            for attribute in fields(table)
            if not attribute.metadata.get("composed")
        }

    def test_every_key(self) -> None:
        """
        Every key, every resource, policy and balancer is mentioned.
        """
        text = PAGE.read_text("utf-8")
        mentioned = set(re.findall(r"``([a-z0-9_]+)", text))
        self.assertEqual((self.keys() | {each.name for each in BUILT_IN}) - mentioned, set())

    def test_lists(self) -> None:
        """
        Where the page promises it, one value may stand for a list of one: for every key that is a list, but for those
        whose own shorthand does it.
        """
        registry = Registry(())
        tables = [each for each in vars(schema).values() if isinstance(each, type) and has(each)]
        tables = [each for each in tables if each.__module__.startswith("twistginx.config.tables.")]
        tables += [registry.find(each.kind, each.name).Config for each in BUILT_IN]
        plain = {
            f"{table.__module__.rpartition('.')[2]}.{key_of(each)}"
            for table in tables
            if table is not schema.Use
            for each in fields(resolve_types(table))
            if str(each.type).startswith("tuple[")
            and not (each.metadata.get("single") or each.metadata.get("composed"))
        }
        self.assertEqual(plain - {"substitute.rules", "rewrite.rules"}, set())

    def test_made(self) -> None:
        """
        The part that docs/reference.py makes is what it would make now.
        """
        done = subprocess.run(
            [sys.executable, str(PAGE.with_name("reference.py")), "--check"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(twistginx.__file__).parent.parent), *sys.path])},
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
