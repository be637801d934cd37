"""
Third parties' plugins, as a user has them: installed beside twistginx, named in the TOML file, run by twistd.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SkipTest

from tests.functional.peers import PeerTestCase, free_port, python_environment

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def setuptools_version() -> int:
    """
    The first number of the version of setuptools; 0 when it is not installed.
    """
    try:
        return int(version("setuptools").partition(".")[0])
    except PackageNotFoundError:
        return 0


class PluginTestCase(PeerTestCase):
    """
    A test with a directory that plugins are installed into.
    """

    def setUp(self) -> None:
        super().setUp()
        self.installed = self.directory / "installed"
        (self.installed / "twisted" / "plugins").mkdir(parents=True)
        self.port = free_port()

    def copy_examples(self) -> None:
        """
        What an installation does, without pip.
        """
        shutil.copytree(EXAMPLES / "src", self.installed, dirs_exist_ok=True)
        shutil.copytree(EXAMPLES / "twisted", self.installed / "twisted", dirs_exist_ok=True)

    def add_plugin(self, name: str, declaration: str, source: str | None = None) -> None:
        """
        A plugin file that declares one plugin, and the module behind it.
        """
        (self.installed / "twisted" / "plugins" / f"{name}_plugin.py").write_text(dedent(declaration))
        if source is not None:
            (self.installed / f"{name}.py").write_text(dedent(source))

    def environment(self) -> dict[str, str]:
        """
        What a program needs to find the plugins.
        """
        environment = python_environment()
        paths = [str(self.installed), environment.get("PYTHONPATH", "")]
        return {**environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def serve(self, config: str) -> None:
        """
        Start twistginx with plugins and a configuration.
        """
        site = self.directory / "site.toml"
        site.write_text(dedent(config))
        twistd = str(Path(sys.executable).with_name("twistd"))
        arguments = (twistd, "--nodaemon", "--pidfile=", "twistginx", "--config", str(site))
        self.server = self.start(*arguments, port=self.port, environment=self.environment())

    def refused(self, config: str, tracebacks: bool = False) -> str:
        """
        What twistd says of a configuration that it refuses.

        @param tracebacks: Twisted's own are expected; else there are to be none.
        """
        site = self.directory / "site.toml"
        site.write_text(dedent(config))
        twistd = str(Path(sys.executable).with_name("twistd"))
        done = subprocess.run(
            (twistd, "--nodaemon", "--pidfile=", "twistginx", "--config", str(site)),
            cwd=self.directory,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        if not tracebacks:
            self.assertNotIn("Traceback", done.stderr)
        return done.stderr

    def get(self, path: str) -> tuple[int, dict[str, str], str]:
        """
        Status, fields and body of an answer.
        """
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read().decode()


class ExampleTests(PluginTestCase):
    """
    The distribution in examples/: a resource, a policy and a balancer.
    """

    def config(self) -> str:
        """
        A site that uses all three.
        """
        one, two = free_port(), free_port()
        return f"""
            [upstream.app]
            servers = ["127.0.0.1:{one}", "127.0.0.1:{two}"]
            balance = "by_path"

            [[site]]
            listen = ["tcp:{self.port}:interface=127.0.0.1"]

                [[site.route]]
                path = "/hello"
                strip_prefix = true
                hello = {{ greeting = "Good morning", times = 2 }}
                stopwatch = {{ slow = "10s" }}

                [[site.route]]
                path = "/short"
                strip_prefix = true
                hello = "Hi"
                stopwatch = {{ slow = "0s" }}

                [[site.route]]
                proxy = {{ upstream = "app" }}

            [[site]]
            listen = ["tcp:{one}:interface=127.0.0.1"]

                [[site.route]]
                respond = {{ body = "one" }}

            [[site]]
            listen = ["tcp:{two}:interface=127.0.0.1"]

                [[site.route]]
                respond = {{ body = "two" }}
        """

    def exercise(self) -> None:
        """
        Use all three.
        """
        self.serve(self.config())
        status, fields, body = self.get("/hello/Ada")
        self.assertEqual((status, body), (200, "Good morning, Ada!\n" * 2))
        self.assertRegex(fields["server-timing"], r"^total;dur=\d+\.\d$")
        self.assertEqual(self.get("/short")[2], "Hi, stranger!\n")
        self.server.wait_for(lambda: "/short took" in self.server.output(), "the stopwatch's line in the log")
        self.assertNotIn("/hello/Ada took", self.server.output())
        self.assertNotIn("server-timing", self.get("/other")[1])
        answers = {path: self.get(path)[2] for path in map("/{}".format, range(20))}
        self.assertEqual(set(answers.values()), {"one", "two"})
        self.assertEqual({path: self.get(path)[2] for path in answers}, answers)

    def test_installed(self) -> None:
        """
        Installed by pip, all three work.
        """
        if setuptools_version() < 77:
            raise SkipTest("building a distribution needs setuptools 77 or later")
        shutil.rmtree(self.installed)
        source = self.directory / "examples"
        shutil.copytree(EXAMPLES, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-cache-dir")
        pip = (sys.executable, "-m", "pip", "install", *options)
        self.run_program(*pip, "--target", str(self.installed), str(source), timeout=120)
        self.exercise()

    def test_on_the_path(self) -> None:
        """
        Copied to a directory of the path, all three work.
        """
        self.copy_examples()
        self.exercise()

    def test_wrong_values(self) -> None:
        """
        A plugin's options are checked like ours: all problems, with their places, in one run.
        """
        self.copy_examples()
        said = self.refused(f"""
            [[site]]
            listen = ["tcp:{self.port}:interface=127.0.0.1"]

                [[site.route]]
                exact = "/1"
                hello = {{ greting = "Hi" }}

                [[site.route]]
                exact = "/2"
                hello = {{ greeting = "Hi" }}
                stopwatch = {{ slow = "soon" }}
        """)
        self.assertRegex(said, r"site\.toml:7:\d+: site\[0\]\.route\[0\]\.hello\.greting: .*greeting")
        self.assertRegex(said, r"site\.toml:12:\d+: site\[0\]\.route\[1\]\.stopwatch\.slow: ")

    def test_values_that_cannot_work(self) -> None:
        """
        What only the plugin can know to be wrong is reported with its place as well.
        """
        self.copy_examples()
        said = self.refused(f"""
            [[site]]
            listen = ["tcp:{self.port}:interface=127.0.0.1"]

                [[site.route]]
                hello = {{ times = 0 }}
        """)
        self.assertRegex(said, r"site\.toml:6:\d+: site\[0\]\.route\[0\]\.hello\.times: .*1 or more")


class BrokenTests(PluginTestCase):
    """
    A plugin that is broken names itself, and breaks nothing else.
    """

    DECLARATION = """
        from twistginx.registry import Plugin
        it = Plugin("policy", "{name}", "{name}")
    """

    def site(self, keys: str = "") -> str:
        """
        A site that greets, with more keys in its route.
        """
        return f"""
            [[site]]
            listen = ["tcp:{self.port}:interface=127.0.0.1"]

                [[site.route]]
                hello = "Hi"
                {keys}
        """

    def setUp(self) -> None:
        super().setUp()
        self.copy_examples()
        # Modules that are not there, that fail, and that are no plugins.
        declare = self.DECLARATION.format
        self.add_plugin("absent", declare(name="absent"))
        self.add_plugin("explosive", declare(name="explosive"), "import no_such_module")
        self.add_plugin("careless", declare(name="careless"), "name = 'careless'")

    def break_files(self) -> None:
        """
        A plugin file that cannot be read, and one that fails.  Twisted logs the traceback of each by itself.
        """
        self.add_plugin("wrong_syntax", "this is not Python")
        self.add_plugin("raises", "raise RuntimeError('no licence key')")

    def test_nothing_else_breaks(self) -> None:
        """
        A configuration that does not use them is served.
        """
        self.break_files()
        self.serve(self.site())
        self.assertEqual(self.get("/")[2], "Hi, stranger!\n")
        self.server.wait_for(lambda: "no licence key" in self.server.output(), "a word about the broken plugin")

    def test_named(self) -> None:
        """
        A configuration that uses one is refused, and the message says which plugin it is and why, with the place.
        """
        for name, reason in (
            ("absent", "No module named 'absent'"),
            ("explosive", "No module named 'no_such_module'"),
            ("careless", "moduleProvides"),
        ):
            said = self.refused(self.site(f"{name} = true"))
            self.assertRegex(said, rf"site\.toml:7:\d+: site\[0\]\.route\[0\]\.{name}: .*{name}.*{reason}")

    def test_file_is_named(self) -> None:
        """
        When a name is unknown and plugin files failed to load, the message says which, because one of them may have
        declared it.
        """
        self.break_files()
        said = self.refused(self.site("licensed = true"), tracebacks=True)
        self.assertIn("licensed", said)
        self.assertIn("raises_plugin", said)
        self.assertIn("no licence key", said)
        self.assertIn("wrong_syntax_plugin", said)

    def test_make_raises(self) -> None:
        """
        A plugin that fails to make its object is named, and the configuration is refused.
        """
        self.add_plugin(
            "late",
            self.DECLARATION.format(name="late"),
            """
            import attrs
            from twistginx.interfaces import IPolicyModule
            from zope.interface import moduleProvides

            moduleProvides(IPolicyModule)
            name, api, rank, applies_to, many = "late", 1, 150, frozenset({"http"}), False

            @attrs.frozen
            class Config:
                size: int = 1

            def make(config, context):
                return 1 / (config.size - 1)
            """,
        )
        said = self.refused(self.site("late = {}"))
        self.assertRegex(said, r"site\.toml:7:\d+: site\[0\]\.route\[0\]\.late: .*late.*ZeroDivisionError")

    def test_phase_raises(self) -> None:
        """
        A policy that fails on a request costs that request, and says so in the log; other routes go on.
        """
        self.add_plugin(
            "shaky",
            self.DECLARATION.format(name="shaky"),
            """
            import attrs
            from twistginx.interfaces import IPolicyModule
            from zope.interface import moduleProvides

            moduleProvides(IPolicyModule)
            name, api, rank, applies_to, many = "shaky", 1, 150, frozenset({"http"}), False

            @attrs.frozen
            class Config:
                phase: str = "admit"

            class Shaky:
                def admit(self, request):
                    raise RuntimeError("admit is shaky")

            def make(config, context):
                return Shaky()
            """,
        )
        self.serve(f"""
            [[site]]
            listen = ["tcp:{self.port}:interface=127.0.0.1"]

                [[site.route]]
                exact = "/shaky"
                hello = "never said"
                shaky = {{}}

                [[site.route]]
                hello = "Hi"
        """)
        status, _, body = self.get("/shaky")
        self.assertEqual(status, 500)
        self.assertNotIn("RuntimeError", body)
        self.assertNotIn("never said", body)
        self.assertEqual(self.get("/")[0], 200)
        self.server.wait_for(lambda: "admit is shaky" in self.server.output(), "the failure in the log")
