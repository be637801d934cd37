"""
Tests of twistginx.build: what a configuration becomes, and what building finds wrong.
"""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from twistginx.build.prepare import prepare
from twistginx.errors import ConfigError
from twistginx.observe.accesslog import AccessLog
from twistginx.registry import Plugin
from twistginx.testing import MemoryServer

PING = """
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    exact = "/ping"
    respond = { body = "pong" }
"""


class GenerationTests(SynchronousTestCase):
    """
    What is built serves what the configuration says.
    """

    def serve(self, config: str, **options: object) -> MemoryServer:
        """
        A server that is closed at the end, and then has left nothing behind.
        """
        server = MemoryServer(config, **options)  # type: ignore[arg-type]
        self.addCleanup(server.close)
        return server

    def test_route(self) -> None:
        """
        A route answers what it matches, and nothing else.
        """
        server = self.serve(PING)
        self.assertIn(b" 200 OK\r\n", server.get("/ping"))
        self.assertIn(b" 404 Not Found\r\n", server.get("/ping/x"))

    def test_first_match_wins(self) -> None:
        """
        Routes are tried in file order, whatever they match by.
        """
        server = self.serve("""
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/a/b"
            respond = { body = "one" }
            [[site.route]]
            exact = "/a/c"
            respond = { body = "two" }
            [[site.route]]
            path = "/a"
            respond = { body = "three" }
            [[site.route]]
            respond = { body = "four" }
        """)
        for target, answer in (("/a/b/x", b"one"), ("/a/c", b"two"), ("/a/c/", b"three"), ("/ab", b"four")):
            self.assertTrue(server.get(target).endswith(answer), target)

    def test_some_are_logged(self) -> None:
        """
        Only requests and statuses that the access log is for get a line; what is no request is one, too.
        """
        server = self.serve("""
            [log]
            access = { path = "access.log", when = { not = { path = "/healthz" } }, status = "200, 4xx" }
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/broken"
            respond = 500
            [[site.route]]
            path = "/none"
            respond = 404
            [[site.route]]
            path = "/files"
            static = { root = ".", try_files = ["{path}", "/healthz"] }
            [[site.route]]
            respond = {}
        """)
        lines: list[tuple[bytes, int]] = []
        with patch.object(
            AccessLog, "log", lambda log, request, record: lines.append((request.head.path, record.status))
        ):
            generation = prepare(server.directory / "site.toml", server.registry, {}, server.runtime)
            (plan,) = generation.listeners.values()
            plan.give_to(next(iter(server.listeners.values())))
            for target in ("/", "/healthz", "/healthz/x", "/x/../healthz", "/broken", "/none", "/files/x", "/healthy"):
                server.get(target)
            client = server.connect()
            client.send(b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n")
        self.assertEqual(lines[:-1], [(b"/", 200), (b"/none", 404), (b"/files/x", 200), (b"/healthy", 200)])
        self.assertEqual(lines[-1], (b"/healthz", 400))

    def test_sites_share_a_listener(self) -> None:
        """
        Sites on one address are told apart by name: exact, then the longest wildcard, then the default site.
        """
        config = "".join(
            f"""
            [[site]]
            listen = "tcp:80"
            names = {names}
            [[site.route]]
            respond = {{ body = "{body}" }}
            """
            for names, body in (
                ('["example.com"]', "exact"),
                ('["*.example.com"]', "wild"),
                ('["*.eu.example.com"]', "wilder"),
                ("[]", "default"),
            )
        )
        server = self.serve(config)
        for host, answer in (
            ("example.com", b"exact"),
            ("EXAMPLE.com:80", b"exact"),
            ("example.com.", b"exact"),
            ("a.example.com", b"wild"),
            ("a.b.example.com", b"wild"),
            ("a.eu.example.com", b"wilder"),
            ("eu.example.com", b"wild"),
            ("badexample.com", b"default"),
            ("[::1]:80", b"default"),
        ):
            self.assertTrue(server.get("/", host).endswith(answer), host)

    def test_unknown_name_without_default_site(self) -> None:
        """
        A name that no site has is answered 404, and by no accidental site.
        """
        server = self.serve("""
            [[site]]
            listen = "tcp:80"
            names = ["example.com"]
            [[site.route]]
            respond = { body = "x" }
        """)
        self.assertIn(b" 404 Not Found\r\n", server.get("/", "other.org"))

    def test_defaults_and_switching_off(self) -> None:
        """
        A policy in ``[site.defaults]`` is in force on all routes but those that switch it off; ``headers`` merge.
        """
        server = self.serve("""
            [[site]]
            listen = "tcp:80"
            [site.defaults.headers.set]
            X-One = "site"
            X-Two = "site"
            [[site.route]]
            path = "/off"
            headers = false
            respond = { body = "x" }
            [[site.route]]
            path = "/own"
            headers = { set = { X-Two = "route" } }
            respond = { body = "x" }
        """)
        off, own = server.get("/off"), server.get("/own")
        self.assertNotIn(b"X-One", off)
        self.assertIn(b"X-One: site\r\n", own)
        self.assertIn(b"X-Two: route\r\n", own)
        self.assertNotIn(b"X-Two: site", own)

    def test_strip_prefix(self) -> None:
        """
        With ``strip_prefix`` the upstream sees the rest of the path, byte for byte; the query stays.
        """
        server = self.serve("""
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/api"
            strip_prefix = true
            proxy = "http://127.0.0.1:9001"
        """)
        for target, seen in (
            ("/api", b"/"),
            ("/api/", b"/"),
            ("/api?x=/api", b"/?x=/api"),
            ("/api/a%2Fb//c;d?e", b"/a%2Fb//c;d?e"),
            ("/%61pi/x", b"/x"),
        ):
            client = server.connect()
            client.send(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target.encode())
            upstream = server.accept()
            self.assertEqual(upstream.take().split()[1], seen, target)
            upstream.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    def test_body_limit_of_route(self) -> None:
        """
        A body larger than the route allows is refused before it is read.
        """
        server = self.serve("""
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            limits = { body = "1KiB" }
            proxy = "http://127.0.0.1:9001"
        """)
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 413 "))
        self.assertEqual(server.connecting(), [])
        client.close()

    def test_upstream_outlives_reload(self) -> None:
        """
        An upstream whose configuration has not changed keeps its connections over a reload.
        """
        config = """
            [upstream.app]
            servers = ["127.0.0.1:9001"]
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/{path}"
            proxy = {{ upstream = "app" }}
        """
        server = self.serve(config.format(path="a"))
        client = server.connect()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        upstream = server.accept()
        upstream.send(answer)
        server.load(config.format(path="b"))
        upstream.take()
        client.take()
        client.send(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(upstream.take().startswith(b"GET /b "))
        self.assertEqual(server.connecting(), [])
        upstream.send(answer)
        self.assertTrue(client.take().endswith(b"ok"))
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b" 404 ", client.take())
        client.close()
        upstream.close()


class ProblemTests(SynchronousTestCase):
    """
    What only building can find is reported as what loading finds: all of it, with its place.
    """

    def problems(self, config: str, **options: object) -> list[str]:
        """
        What is said about ``config``.
        """
        error = self.assertRaises(ConfigError, MemoryServer, config, **options)
        return [f"{problem.line}:{problem.key}: {problem.message}" for problem in error.problems]

    def test_all_at_once(self) -> None:
        """
        Endpoints, roots, upstreams and names of modules that are wrong are all reported, each at its line.
        """
        problems = self.problems(
            """[[site]]
            listen = ["tcp:eighty", "carrier:pigeon"]
            [[site.route]]
            path = "/a"
            static = "nowhere"
            [[site.route]]
            path = "/b"
            proxy = { upstream = "ghost" }
            [[site.route]]
            app = "no_such_module:app"
            """
        )
        text = "\n".join(problems)
        for place in ("2:site[0].listen[0]", "2:site[0].listen[1]", "5:site[0].route[0].static", "8:site[0].route[1]"):
            self.assertIn(place, text)
        self.assertIn("10:site[0].route[2].app", text)
        self.assertEqual(len(problems), 5, text)

    def test_with_what_cannot_be_read(self) -> None:
        """
        A typo does not hide what only building can find; and what is wrong is not said twice.
        """
        problems = self.problems(
            """[upstream.app]
            servers = ["127.0.0.1"]
            [[site]]
            listen = "tcp:eighty"
            [[site.route]]
            path = "/a"
            static = "nowhere"
            [[site.route]]
            path = "/b"
            proxy = { upstrem = "app" }
            [[site.route]]
            path = "/c"
            proxy = { upstream = "app" }
            """
        )
        keys = [problem.split(": ")[0] for problem in problems]
        self.assertEqual(
            keys,
            [
                "2:upstream.app.servers[0]",
                "4:site[0].listen[0]",
                "7:site[0].route[0].static.root",
                "10:site[0].route[1].proxy.upstrem",
            ],
        )

    def test_broken_upstream_is_reported_once(self) -> None:
        """
        A route that uses an upstream with a problem does not report it again.
        """
        problems = self.problems(
            """[upstream.app]
            servers = ["https://127.0.0.1:9001"]
            tls = { ca = "missing.pem" }
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            proxy = { upstream = "app" }
            """
        )
        self.assertEqual(len(problems), 1, problems)
        self.assertIn("3:upstream.app.tls.ca", problems[0])

    def test_broken_plugin_names_itself(self) -> None:
        """
        A third party's module that raises is named; the rest of the file is checked all the same.
        """
        problems = self.problems(
            """[[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/a"
            explode = {}
            [[site.route]]
            static = "nowhere"
            """,
            plugins=[Plugin("resource", "explode", "tests.broken_module")],
        )
        self.assertEqual(len(problems), 2, problems)
        self.assertIn("'explode' (tests.broken_module) failed: RuntimeError: boom", problems[0])
