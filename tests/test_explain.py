"""
Tests for L{twistginx.explain}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from twistginx import cli
from twistginx.explain.answer import Answer
from twistginx.explain.explanation import explain
from twistginx.explain.question import Question, QuestionError
from twistginx.registry import Registry
from twistginx.testing import MemoryServer

CONFIG = """
[upstream.app]
servers = ["127.0.0.1:9001", "127.0.0.1:9002"]

[match.debug]
header = { X-Debug = true }

[[site]]
listen = ["tcp:80", "tcp:8080"]
names = ["example.com", "~^shop[0-9]+[.]"]

[[site.route]]
exact = "/ping"
respond = { body = "pong" }

[[site.route]]
name = "admin"
path = "/admin"
match = { client = "10.0.0.0/8", methods = ["GET", "POST"] }
redirect = "/elsewhere"

[[site.route]]
name = "api"
path = "/api"
strip_prefix = true
rewrite = [{ case = "lower" }, { regex = "^/u/(.*)$", to = "/users/{1}" }]
headers = { when = "debug", set = { X = "1" } }
proxy = { upstream = "app" }

[[site.route]]
path = "/old"
redirects = { "/old/a" = "/new" }
respond = {}

[[site]]
listen = "tcp:8081"
[[site.route]]
regex = "^/(?P<all>.*)$"
respond = {}
"""


class ExplainTests(SynchronousTestCase):
    """
    What would become of a request.
    """

    def setUp(self) -> None:
        server = MemoryServer(CONFIG)
        self.addCleanup(server.close)
        self.generation = server.generation

    def ask(self, request: str, *fields: str, client: str = "127.0.0.1") -> Answer:
        """
        Explain one.
        """
        return explain(self.generation, Question.parse(request, fields, client))

    def test_to_the_upstream(self) -> None:
        """
        Which route, why not the others, what is rewritten, which policies do not apply, and which peer gets what.
        """
        answer = self.ask("GET http://example.com/api/U/12?x=1")
        self.assertEqual((answer.listener, answer.site, answer.route), ("tcp:80", "example.com", "api"))
        self.assertEqual(
            [(each.route, each.reason) for each in answer.passed],
            [("#1", "its path is /ping alone"), ("admin", "its path is /admin")],
        )
        steps = {step.policy: step for step in answer.policies}
        self.assertEqual(
            steps["rewrite"].lines, ("rule 0: /U/12?x=1 becomes /u/12?x=1", "rule 1: /u/12?x=1 becomes /users/12?x=1")
        )
        self.assertFalse(steps["headers"].applies)
        self.assertEqual(steps["headers"].lines, ("it is for requests where the header X-Debug is there",))
        self.assertEqual(answer.resource, "proxy")
        self.assertEqual(answer.lines, ("upstream app, peer 127.0.0.1:9001", "is sent GET /users/12?x=1"))
        self.assertEqual(answer.failure, "")
        text = str(answer)
        for piece in ("not       #1 (", "route     api (", "policy    headers does not apply", "is sent GET /users/12"):
            self.assertIn(piece, text)

    def test_fields_and_client(self) -> None:
        """
        Headers and the address of the client count.
        """
        debugged = self.ask("http://example.com/api", "X-Debug: 1")
        self.assertTrue({step.policy: step for step in debugged.policies}["headers"].applies)
        self.assertEqual(self.ask("http://example.com/admin", client="10.1.1.1").route, "admin")
        refused = self.ask("http://example.com/admin")
        self.assertEqual(refused.passed[1].reason, "it is for requests where the client is 10.0.0.0/8")
        self.assertEqual((refused.status, refused.failure), (404, "destination_not_found"))

    def test_answers(self) -> None:
        """
        What answers before the resource, and what the resource answers where that is known.
        """
        moved = self.ask("http://example.com/old/a?q")
        self.assertEqual((moved.resource, moved.status), ("redirects", 301))
        self.assertEqual(moved.lines, ("301 Moved Permanently, Location: /new?q",))
        found = self.ask("http://example.com/admin", client="10.1.1.1")
        self.assertEqual(
            (found.resource, found.status, found.lines[-1]), ("redirect", 302, "302 Found, Location: /elsewhere")
        )

    def test_refused(self) -> None:
        """
        What is refused, and why; and what nobody listens for.
        """
        for request, status, reason in (
            ("http://example.org/", 404, "no site has this name"),
            ("http://example.com/api/..%2fadmin", 400, "the path leads elsewhere where it is read differently"),
            ("http://example.com/%zz", 400, "the path has a percent sign that escapes nothing"),
            ("https://example.com/", 0, "no listener is for it; there are: tcp:80, tcp:8080, tcp:8081"),
            ("http://example.com:9/", 0, "no listener is for it; there are: tcp:80, tcp:8080, tcp:8081"),
        ):
            answer = self.ask(request)
            self.assertEqual((answer.status, answer.reason), (status, reason), request)
        self.assertEqual(self.ask("http://example.com/", "Transfer-Encoding: x").status, 501)
        self.assertEqual(self.ask("http://example.com/", "X_User: me").dropped, ("X_User",))

    def test_listeners(self) -> None:
        """
        A port chooses the listener; the usual one where none is said.
        """
        self.assertEqual(self.ask("http://shop7.org:8080/ping").listener, "tcp:8080")
        self.assertEqual(self.ask("http://shop7.org/ping").route, "#1")
        self.assertEqual(self.ask("http://shop7.org./ping").route, "#1")
        default = self.ask("http://anything:8081/x")
        self.assertEqual((default.site, default.route), ("tcp:8081", "#1"))

    def test_questions(self) -> None:
        """
        What is no request is said to be none.
        """
        for text, fields, client in (
            ("example.com/", (), "127.0.0.1"),
            ("GET ftp://example.com/", (), "127.0.0.1"),
            ("http://example.com:x/", (), "127.0.0.1"),
            ("http://example.com/", ("nothing",), "127.0.0.1"),
            ("http://example.com/", ("X: a\r\nY: b",), "127.0.0.1"),
            ("http://example.com/", (), "me"),
        ):
            self.assertRaises(QuestionError, Question.parse, text, fields, client)
        question = Question.parse("PUT http://u:p@[::1]:81?x#y")
        self.assertEqual(
            (question.method, question.authority, question.port, question.target), ("PUT", "[::1]:81", 81, "/?x")
        )

    def test_a_policy_that_fails(self) -> None:
        """
        What a policy raises when it is asked is told, and the rest as well.
        """
        route = self.generation.sites[0].routes[0]
        broken: Any = type("Broken", (), {"explain": lambda self, request: 1 / 0})()
        silent: Any = type("Silent", (), {"admit": None, "finished": None})()
        object.__setattr__(route, "stack", (("broken", broken, None), ("silent", silent, None)))
        answer = self.ask("http://example.com/ping")
        self.assertEqual(answer.policies[0].lines, ("cannot say: ZeroDivisionError: division by zero",))
        self.assertEqual(answer.policies[1].lines, ("looks at whether the request may go on, the end",))
        self.assertEqual(answer.route, "#1")


MINE = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()

#: For each policy: its value, what a request says beside its target, and what is said of it; of one that lets nobody
#: in, the reason.
POLICIES = {
    "access": ('{ allow = ["10.0.0.0/8"] }', (), "access.allow: the client's address is not in it"),
    "api_key": ('{ keys = { me = "sha256:%s" } }' % ("0" * 64), (), "api_key: there is no key"),
    "bandwidth": ('"1MiB/s"', (), "sends 1MiB/s"),
    "basic_auth": (f'{{ users = {{ me = "{MINE}" }} }}', ("Authorization: Basic bWU6c2VjcmV0",), "lets me in"),
    "compress": ("true", ("Accept-Encoding: gzip",), "compresses text/*"),
    "concurrency": ("4", (), "admits 4 at the same time"),
    "cors": ('"https://a.example"', ("Origin: https://b.example",), "gives no leave to pages of https://b.example"),
    "forward_auth": ('"http://127.0.0.1:9091/verify"', (), "asks 127.0.0.1:9091/verify whether"),
    "headers": ('{ set = { X-A = "{client}" } }', (), "the answer: X-A: {client}"),
    "jwt": ('{ jwks_url = "https://a.example/keys" }', ("Authorization: Bearer x",), "verifies the token by keys"),
    "mount": ('"/app"', (), "X-Forwarded-Prefix: /app"),
    "on_error": ('{ routes = { "502" = "other" } }', (), "replaces our own failures"),
    "rate_limit": ('"10/s"', (), "a second, else answers 429"),
    "redirects": ('{ "/old" = "/new" }', (), "sends the client nowhere else"),
    "rewrite": ('"/b{path}"', (), "rule 0: /"),
    "security_headers": ("true", (), "adds X-Content-Type-Options"),
    "send_file": ('"."', (), "sends the file beneath"),
    "signed_url": ('{ keys = { k = "{env.KEY}" } }', (), "signed_url: "),
    "spool": ("true", (), "takes the body whole"),
    "substitute": ('[{ find = "a", replace = "b" }]', (), "replaces by 1 rule in text/html"),
}


class EveryTests(SynchronousTestCase):
    """
    Whatever has a say says what it would do.
    """

    def ask(
        self, keys: str, target: str, *fields: str, method: str = "GET", files: Mapping[str, bytes] | None = None
    ) -> Answer:
        """
        Explain a request to a route with C{keys}.
        """
        server = MemoryServer(
            f'[[site]]\nlisten = "tcp:80"\n[[site.route]]\n{keys}\n'
            '[[site.route]]\nname = "other"\npath = "/other"\nrespond = 404\n',
            files,
            environment={"KEY": "k" * 32},
        )
        self.addCleanup(server.close)
        return explain(server.generation, Question.parse(f"{method} http://example.com{target}", fields))

    def test_policies(self) -> None:
        """
        Each of ours.
        """
        registry = Registry()
        self.assertEqual(set(registry.names("policy")), set(POLICIES))
        for name, (value, fields, expected) in POLICIES.items():
            answer = self.ask(f'{name} = {value}\nproxy = "http://127.0.0.1:9001"', "/app/x", *fields)
            said = [line for step in answer.policies for line in step.lines]
            self.assertTrue(any(expected in line for line in (*said, answer.reason)), (name, said, answer.reason))

    def test_who_comes_in(self) -> None:
        """
        Passwords, keys and links are looked at as they are when it matters.
        """
        for keys, fields, reason in (
            (f'basic_auth = {{ users = {{ me = "{MINE}" }} }}', (), "basic_auth: no credentials"),
            (
                f'basic_auth = {{ users = {{ me = "{MINE}" }} }}',
                ("Authorization: Basic bWU6eA==",),
                "basic_auth: wrong name or password",
            ),
            ('jwt = { jwks_url = "https://a.example/keys" }', (), "jwt: there is no token"),
            ('access = { deny = ["all"] }', (), "access.deny: the client's address is in it (all)"),
        ):
            answer = self.ask(f"{keys}\nrespond = {{}}", "/", *fields)
            self.assertEqual(answer.reason, reason)
            self.assertIn(answer.status, (401, 403))

    def test_preflight(self) -> None:
        """
        One is answered, and the answer is told.
        """
        answer = self.ask(
            'cors = "https://a.example"\nrespond = {}',
            "/",
            "Origin: https://a.example",
            "Access-Control-Request-Method: PUT",
            method="OPTIONS",
        )
        self.assertEqual((answer.resource, answer.status), ("cors", 204))
        (step,) = answer.policies
        self.assertEqual(step.lines, ("gives leave to pages of https://a.example, and answers their preflight",))

    def test_files(self) -> None:
        """
        Which file answers, and what does where there is none.
        """
        files = {"www/a.txt": b"abc", "www/b/index.html": b"", "www/c/x": b""}
        for manner, target, expected in (
            ("", "/a.txt", "a file of 3 bytes"),
            ("", "/b/", "a directory, for which its index.html answers"),
            ("", "/c/", "a directory without an index file"),
            ("", "/none", "so the answer is 404"),
            ("", "/.git", "no file has such a path"),
            (", listing = true", "/c/", "which is listed"),
            (", spa = true", "/none", "so index.html answers, unless the path is that of a file"),
            (', try_files = ["{path}", "{path}.txt"]', "/a", "/a.txt beneath"),
            (', try_files = ["{path}", "/index.php?{query}"]', "/a?x=1", "so the site is asked for /index.php?x=1"),
            (', try_files = ["{path}", "=410"]', "/a", "so the answer is 410"),
        ):
            answer = self.ask(f'static = {{ root = "www"{manner} }}', target, files=files)
            self.assertTrue(any(expected in line for line in answer.lines), (manner, target, answer.lines))

    def test_resources(self) -> None:
        """
        What is fixed is told; of an application, whose it is.
        """
        answer = self.ask("respond = 418", "/")
        self.assertEqual((answer.status, answer.lines), (418, ("418 I'm a teapot",)))
        answer = self.ask('app = "tests.policies.answering:resource"', "/")
        self.assertIn("tests.policies.answering", answer.lines[0])


class CommandTests(SynchronousTestCase):
    """
    C{twistginx explain}.
    """

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        """
        The status, and what was printed.
        """
        file = Path(self.mktemp())
        file.write_text(CONFIG)
        with patch("sys.stdout", StringIO()) as out, patch("sys.stderr", StringIO()) as err:
            status = cli.main(["explain", "--config", str(file), *arguments])
        return status, out.getvalue(), err.getvalue()

    def test_json(self) -> None:
        """
        For programs.
        """
        status, out, _ = self.run_it("--json", "-H", "X-Debug: 1", "POST http://example.com/api/x")
        self.assertEqual(status, 0)
        answer = json.loads(out)
        self.assertEqual((answer["route"], answer["resource"]), ("api", "proxy"))

    def test_status(self) -> None:
        """
        1 where nobody would answer, 2 where nothing can be said.
        """
        status, out, _ = self.run_it("http://example.com/nothing")
        self.assertEqual(status, 1)
        self.assertIn("answer    404 destination_not_found: no route matches", out)
        status, _, err = self.run_it("nonsense")
        self.assertEqual(status, 2)
        self.assertIn("is no URL", err)
        status, _, err = self.run_it("--config", "/nowhere.toml", "http://example.com/")
        self.assertEqual(status, 2)
