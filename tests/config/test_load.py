"""
Tests of twistginx.config.load and twistginx.config.source.
"""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent
from time import process_time
from types import SimpleNamespace

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.config.modules import Hash, Headers, Modules, Note, Nothing, Proxy, Static
from twistginx.config.load import load
from twistginx.config.schema import Root, RouteLimits, RouteTimeouts, Use
from twistginx.config.template import ResponseTemplate, Template
from twistginx.config.units import Duration, Size
from twistginx.errors import ConfigError


class LoadCase(SynchronousTestCase):
    """
    Loads what a test writes.
    """

    def setUp(self):
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir(parents=True)

    def write(self, name: str, text: str) -> Path:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        return path

    def load(self, text: str, registry=None, **environment: str) -> Root:
        return load(self.write("main.toml", text), registry or Modules(), environment)


class LoadTests(LoadCase):
    """
    What a configuration becomes.
    """

    def test_objects(self):
        """
        Tables become frozen objects of parsed values; modules are found, and their options are theirs.
        """
        root = self.load(
            """
            [upstream.app]
            servers = ["127.0.0.1:9001", { to = "127.0.0.1:9002", weight = 3 }]
            balance = { hash = { key = "{client}" } }
            [upstream.other]
            servers = "127.0.0.1:1"
            [[site]]
            listen = "tcp:8080"
            [[site.route]]
            path = "/api"
            proxy = { upstream = "app" }
            note = [{ text = "a" }, { text = "b" }]
            [[site.route]]
            static = "www"
            """
        )
        app = root.upstreams["app"]
        self.assertEqual(
            [(str(each.to), each.weight) for each in app.servers], [("127.0.0.1:9001", 1), ("127.0.0.1:9002", 3)]
        )
        self.assertEqual(app.balance.config, Hash(Template.parse("{client}")))
        self.assertEqual(app.balance.where, ("upstream", "app", "balance", "hash"))
        self.assertEqual(root.upstreams["other"].balance.config, Nothing())
        api, files = root.sites[0].routes
        self.assertEqual((api.resource.name, api.resource.config), ("proxy", Proxy(upstream="app")))
        self.assertEqual(api.resource.where, ("site", 0, "route", 0, "proxy"))
        self.assertEqual([use.config for use in api.policies["note"]], [Note("a"), Note("b")])
        self.assertEqual(api.policies["note"][1].where, ("site", 0, "route", 0, "note", 1))
        self.assertEqual(files.resource.config, Static(self.base / "www"))
        self.assertEqual((root.process.drain_timeout, root.log.access.path), (Duration(30), "stdout"))
        self.assertEqual(root.warnings, ())

    def test_inheritance(self):
        """
        A route's own policy replaces, unless its module merges; ``false`` switches off; timeouts and limits go key by
        key.
        """
        root = self.load(
            """
            [defaults]
            headers = { set = { A = "1" } }
            access = ["10.0.0.0/8"]
            timeouts = { idle = "5m" }
            [[site]]
            listen = "tcp:8080"
            [site.defaults]
            headers = { set = { B = "2" } }
            limits = { body = "1MB" }
            [[site.route]]
            path = "/a"
            headers = { set = { B = "3" } }
            timeouts = { first_byte = "1s" }
            access = false
            respond = {}
            [[site.route]]
            headers = false
            access = ["127.0.0.1"]
            limits = { body = "2MB" }
            respond = {}
            """
        )
        site = root.sites[0]
        first, second = site.routes
        one, two, three = map(ResponseTemplate.parse, "123")
        self.assertEqual(root.defaults.policies["headers"].config, Headers({"A": one}))
        self.assertEqual(site.defaults.policies["headers"].config, Headers({"A": one, "B": two}))
        self.assertEqual(first.policies["headers"].config, Headers({"A": one, "B": three}))
        self.assertEqual(first.policies["headers"].where, ("site", 0, "route", 0, "headers"))
        self.assertEqual(set(first.policies), {"headers"})
        self.assertEqual(set(second.policies), {"access"})
        self.assertTrue(second.policies["access"].config.allow.contains("127.0.0.1"))
        self.assertFalse(second.policies["access"].config.allow.contains("10.0.0.1"))
        self.assertEqual(first.timeouts, RouteTimeouts(Duration(1), Duration(300)))
        self.assertEqual((first.limits, second.limits), (RouteLimits(Size(10**6)), RouteLimits(Size(2 * 10**6))))

    def test_stream(self):
        """
        The short form is the route that it stands for.
        """
        root = self.load(
            """
            [upstream.db]
            servers = "127.0.0.1:5432"
            [[stream]]
            listen = "tcp:1"
            upstream = "db"
            [[stream]]
            listen = "tcp:2"
            [[stream.route]]
            proxy = { upstream = "db" }
            """
        )
        short, long = (stream.routes[0].resource for stream in root.streams)
        self.assertEqual(short, long)
        self.assertEqual((short.where, long.where), (("stream", 0), ("stream", 1, "route", 0, "proxy")))

    def test_endpoint_of(self):
        """
        A listener's name stands for its endpoint string.
        """
        root = self.load(
            """
            [listener.edge]
            endpoint = "tcp:9"
            [listener.spare]
            endpoint = "tcp:10"
            [[site]]
            listen = ["edge", "tcp:8"]
            [[site.route]]
            respond = {}
            """
        )
        self.assertEqual([root.endpoint_of(each) for each in root.sites[0].listen], ["tcp:9", "tcp:8"])
        (warning,) = root.warnings
        self.assertEqual((warning.line, warning.key, warning.warning), (4, "listener.spare", True))

    def test_cannot_be_read(self):
        """
        A file that is not there, or is not text, is a problem like any other.
        """
        error = self.assertRaises(ConfigError, load, self.base / "nowhere.toml", Modules(), {})
        self.assertEqual(
            [str(each) for each in error.problems],
            [f"{self.base}/nowhere.toml: cannot be read: No such file or directory"],
        )
        (self.base / "latin.toml").write_bytes(b"# \xe9\n# \xc3\xa9\na = 1\n")
        error = self.assertRaises(ConfigError, load, self.base / "latin.toml", Modules(), {})
        self.assertEqual((error.problems[0].line, error.problems[0].message), (1, "is not UTF-8"))
        deep = self.write("deep.toml", "a = " + "[" * 100_000)
        self.assertRaises(ConfigError, load, deep, Modules(), {})

    def test_windows_line_ends(self):
        """
        Positions are right where lines end with CR LF.
        """
        path = self.base / "dos.toml"
        path.write_bytes(b"[process]\r\n\r\ndrain_timeout = 1\r\n")
        error = self.assertRaises(ConfigError, load, path, Modules(), {})
        self.assertEqual((error.problems[0].line, error.problems[0].column), (3, 17))

    def test_names_as_the_user_would(self):
        """
        Files are named as they were given; included ones relative to that.
        """
        self.write("conf.d/a.toml", "[[site]]\nlistn = 1\n")
        main = os.path.relpath(self.write("main.toml", 'include = ["conf.d/*.toml"]\n'))
        error = self.assertRaises(ConfigError, load, main, Modules(), {})
        included = os.path.join(os.path.dirname(main), "conf.d/a.toml")
        self.assertEqual({each.file for each in error.problems}, {included})

    def test_third_party(self):
        """
        A module that is no attrs class in its options, or raises, names itself and breaks nothing else.
        """

        @frozen
        class Bad:
            value: "NoSuchType"  # noqa: F821, UP037

        bad = SimpleNamespace(name="bad", Config=Bad)
        error = self.assertRaises(
            ConfigError,
            self.load,
            """
            [[site]]
            listen = "tcp:1"
            [[site.route]]
            bad = { value = 1 }
            [[site]]
            listen = 1
            [[site.route]]
            respond = {}
            """,
            Modules(bad=bad),
        )
        first, second = error.problems
        self.assertEqual(first.key, "site[0].route[0].bad")
        self.assertIn("NoSuchType", first.message)
        self.assertEqual(second.key, "site[1].listen")

    def test_thousand_sites(self):
        """
        A large file loads in about a second.
        """
        text = '[upstream.app]\nservers = "127.0.0.1:1"\n'
        for number in range(1000):
            text += f'[[site]]\nlisten = "tcp:80"\nnames = ["{number}.example.com", "www{number}.example.com"]\n'
            text += '[[site.route]]\npath = "/static"\nstatic = "www"\n[[site.route]]\nproxy = { upstream = "app" }\n'
        path = self.write("big.toml", text)
        start = process_time()
        root = load(path, Modules(), {})
        seconds = process_time() - start
        self.assertEqual(len(root.sites), 1000)
        # Far from what it takes, for slow machines: what is quadratic takes much longer.
        self.assertLess(seconds, 10)


class SourceTests(LoadCase):
    """
    What is kept of the files.
    """

    def included(self) -> Root:
        self.write(
            "conf.d/a.toml",
            '[upstream.db]\nservers = "unix:db.sock"\n[[site]]\nlisten = "tcp:2"\n[[site.route]]\nstatic = "www"\n',
        )
        return self.load(
            """
            include = ["conf.d/*.toml"]
            [[site]]
            listen = "tcp:{env.PORT}"
            [[site.route]]
            respond = { body = "{file.secret}", status = 201 }
            """.replace("{file.secret}", "{file.conf.d/secret}"),
            PORT="1",
        )

    def test_base(self):
        """
        Relative paths resolve against the file that contains them.
        """
        self.write("conf.d/secret", "s\n")
        root = self.included()
        self.assertEqual(root.source.base(("site", 0, "route", 0, "respond")), self.base)
        self.assertEqual(root.source.base(("site", 1, "route", 0, "static")), self.base / "conf.d")
        self.assertEqual(root.source.base(("upstream", "db")), self.base / "conf.d")
        self.assertEqual(root.source.base(()), self.base)
        self.assertEqual(root.sites[1].routes[0].resource.config.root, self.base / "conf.d/www")
        self.assertEqual(root.upstreams["db"].servers[0].to.path, self.base / "conf.d/db.sock")

    def test_problem(self):
        """
        A problem that is found at build stands at the value; one with a key that was not written, at the nearest that
        was.
        """
        self.write("conf.d/secret", "s\n")
        source = self.included().source
        for path, file, line, column in (
            (("site", 0, "route", 0, "respond", "status"), "main.toml", 6, 53),
            (("site", 0, "route", 0, "respond", "nothing", 0, "x"), "main.toml", 6, 1),
            (("site", 1, "route", 0, "static", "root"), "conf.d/a.toml", 6, 1),
            (("site", 1, "route", 0, "static"), "conf.d/a.toml", 6, 10),
            (("upstream", "db", "servers", 0, "to"), "conf.d/a.toml", 2, 1),
        ):
            problem = source.problem(path, "is wrong", "expected another")
            self.assertEqual((problem.file, problem.line, problem.column), (f"{self.base}/{file}", line, column))
            self.assertEqual((problem.message, problem.expected), ("is wrong", "expected another"))
        self.assertEqual(source.problem(("a b", 0, "c"), "").key, '"a b"[0].c')
        self.assertEqual(source.problem(("process",), "x").line, 0)

    def test_problem_without_secrets(self):
        """
        Whoever reports a value, what is secret in it is not told.
        """
        self.write("conf.d/secret", "hunter2\n")
        source = self.included().source
        for path in (("site", 0, "route", 0, "respond", "body"), ("site", 0, "route", 0), ("site", 0)):
            problem = source.problem(path, 'cannot use "hunter2"', "not hunter2!")
            self.assertNotIn("hunter2", str(problem))

    def test_same_as(self):
        """
        A reload can tell whether anything has changed: a text, an environment variable, a file that was read.
        """
        self.write("conf.d/secret", "s\n")
        first = self.included().source
        self.assertTrue(first.same_as(self.included().source))
        self.assertEqual(first.variables, {"PORT": "1"})
        self.assertEqual(first.contents, {self.base / "conf.d/secret": b"s\n"})
        self.write("conf.d/secret", "t\n")
        self.assertFalse(first.same_as(self.included().source))

    def test_certificates_are_kept(self):
        """
        The certificates and keys that were read are part of the bundle.
        """
        for name in ("cert.pem", "key.pem"):
            self.write(name, name)
        root = self.load(
            """
            [[site]]
            listen_tls = "tcp:1"
            tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }] }
            [[site.route]]
            respond = {}
            """
        )
        self.assertEqual(root.source.contents[self.base / "key.pem"], b"key.pem")


class UseTests(SynchronousTestCase):
    """
    A module and its options.
    """

    def test_equality(self):
        """
        Two are equal when their options are, wherever they were written.
        """
        self.assertEqual(Use("note", Note("a"), object(), ("a",)), Use("note", Note("a"), object(), ("b",)))
        self.assertNotEqual(Use("note", Note("a"), None, ()), Use("note", Note("b"), None, ()))
