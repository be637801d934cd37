"""
What L{twistginx.explain} says of requests, against what becomes of them.
"""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.resources.serving import Answer
from twistginx.explain.explanation import explain
from twistginx.explain.question import Question
from twistginx.testing import MemoryServer

CONFIG = """
[variables]
who = "{arg.who}"

[match.phone]
header = { User-Agent = "~Mobile" }

[[site]]
listen = "tcp:80"
names = ["a.test", "*.a.test", "~^b[0-9]+[.]test$"]
[site.defaults]
headers = { set = { X-Site = "{site}", X-Route = "{route}", X-Target = "{target}" } }
access = { deny = ["203.0.113.0/24"] }

[[site.route]]
name = "exact"
exact = "/api/x"
respond = {}

[[site.route]]
name = "phone"
path = "/api"
match = "phone"
respond = {}

[[site.route]]
name = "post"
path = "/api"
match = { methods = "POST", query = { v = ["1", "2"] } }
strip_prefix = true
respond = {}

[[site.route]]
name = "none"
path = "/api"
match = { not = [{ cookie = { c = true } }, { client = "10.0.0.0/8" }] }
rewrite = [{ regex = "^/api/(.+)$", to = "/v2/{1}" }, { trailing_slash = "remove", redirect = 308 }]
respond = {}

[[site.route]]
name = "glob"
glob = "/img/**/*.{png,gif}"
respond = {}

[[site.route]]
name = "regex"
regex = "^/u/(?P<id>[0-9]+)$"
redirects = { "/u/7" = "/u/8" }
respond = {}

[[site.route]]
name = "guarded"
path = "/admin"
access = { allow = ["10.0.0.0/8"], deny = ["all"] }
respond = {}

[[site.route]]
name = "either"
path = "/either"
satisfy = "any"
access = { allow = ["10.0.0.0/8"] }
api_key = { keys = { me = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" } }
respond = {}

[[site.route]]
name = "elsewhere"
path = "/old"
redirect = "https://new.test{uri}"

[[site.route]]
name = "rest"
path = "/pub"
respond = {}

[[site]]
listen = "tcp:80"
[site.defaults]
headers = { set = { X-Site = "{site}", X-Route = "{route}", X-Target = "{target}" } }
[[site.route]]
name = "default"
respond = {}
"""

HOSTS = ("a.test", "A.test:80", "x.a.test", "b12.test", "bx.test", "a.test.")
PATHS = (
    *(
        "/",
        "/api",
        "/api/",
        "/api/x",
        "/api/x/y?v=1",
        "/api/y?v=%31",
        "/apix",
        "/%61pi/y",
        "/api/..%2fpub",
        "/api/../pub/x",
    ),
    *(
        "/img/a/b/c.png",
        "/img/c.gif?x",
        "/img/c.jpg",
        "/u/12",
        "/u/7",
        "/u/x",
        "/u/1%32",
        "/admin",
        "/admin/x",
        "/old/a?b",
    ),
    *(
        "/pub",
        "/pub/../admin",
        "/pub/%2e%2e/admin",
        "/pub;x/y",
        "/pub/..;/admin",
        "//admin",
        "/pub%00",
        "/pub/%c0%ae./admin",
    ),
)
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
FIELDS: tuple[tuple[str, ...], ...] = ((), ("User-Agent: Mobile X",), ("Cookie: c=1",))
CLIENTS = ("127.0.0.1", "10.1.2.3", "203.0.113.9")

PIECES = ("/", "api", "pub", "admin", "x", "..", "%2e%2e", "%2F", ";", "%5c", "//", "?v=1", "u/7", "%25", "%c0%af")


class DifferentialTests(SynchronousTestCase):
    """
    Both are asked, and say the same.
    """

    def setUp(self) -> None:
        self.server = MemoryServer(CONFIG)
        self.addCleanup(self.server.close)

    def assertSame(self, method: str, host: str, target: str, fields: tuple[str, ...], client: str) -> None:
        """
        The site, the route, what the resource sees and the status are those that were foretold.
        """
        said = explain(self.server.generation, Question.parse(f"{method} http://{host}{target}", fields, client))
        connection = self.server.connect(peer=client)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
        connection.send("\r\n".join(lines).encode())
        served = connection.take()
        answer = Answer(served)
        asked = (method, host, target, fields, client, str(said))
        route, site = ((answer[name] or b"").decode() for name in (b"X-Route", b"X-Site"))
        if said.route:
            self.assertEqual((route, site), (said.route, said.site), asked)
        else:
            self.assertEqual(route, "", asked)
        if said.status:
            self.assertEqual(answer.status, said.status, asked)
        elif not said.failure:
            self.assertEqual(answer.status, 200, asked)
        location = (answer[b"Location"] or b"").decode()
        if location:
            self.assertTrue(any(line.endswith(location) for line in said.lines), asked)
        connection.close()

    def test_table(self) -> None:
        """
        All hosts, paths and methods, as everybody and as somebody.
        """
        for host, target, method in product(HOSTS, PATHS, METHODS):
            self.assertSame(method, host, target, (), "127.0.0.1")
        for target, method, fields, client in product(PATHS, METHODS[:3], FIELDS, CLIENTS):
            self.assertSame(method, "a.test", target, fields, client)

    @given(st.lists(st.sampled_from(PIECES), max_size=6).map(lambda pieces: "/" + "".join(pieces)))
    @settings(max_examples=200, deadline=None)
    def test_any_path(self, target: str) -> None:
        """
        However a path is spelled.
        """
        self.assertSame("GET", "a.test", target, (), "127.0.0.1")

    def test_either(self) -> None:
        """
        Where one of several ways in is enough, a closed one does not end it, and an open one does.
        """
        for client in CLIENTS:
            said = explain(self.server.generation, Question.parse("GET http://a.test/either", (), client))
            inside = client.startswith("10.")
            failure = "" if inside else "authentication_required"
            self.assertEqual((said.route, said.failure), ("either", failure), said)
            lines = "".join(line for step in said.policies for line in step.lines)
            self.assertEqual("another may" in lines, not inside, said)
            self.assertEqual("is asked only where access does not let the request in" in lines, inside, said)
            self.assertSame("GET", "a.test", "/either", (), client)
