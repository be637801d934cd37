"""
Tests for L{twistginx.policies.on_error}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.resources.serving import Answer
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.config.statuses import parse_statuses
from twistginx.errors import ConfigError
from twistginx.interfaces import IPolicyModule
from twistginx.policies import on_error
from twistginx.testing import MemoryServer

TWO_UPSTREAMS = """
[upstream.app]
servers = ["127.0.0.1:9001"]
[upstream.spare]
servers = ["127.0.0.1:9002"]
[[site]]
listen = "tcp:80"
"""


class StatusesTests(SynchronousTestCase):
    """
    L{parse_statuses}.
    """

    def test_parse(self) -> None:
        """
        One, a range, a hundred, and several of them.
        """
        self.assertEqual(parse_statuses("404"), {404})
        self.assertEqual(parse_statuses("502-504"), {502, 503, 504})
        self.assertEqual(parse_statuses("5xx"), set(range(500, 600)))
        self.assertEqual(parse_statuses("401, 403"), {401, 403})

    def test_refused(self) -> None:
        """
        What means nothing.
        """
        for text in ("", "x", "99", "600", "504-502", "40x", "404,", "6xx", "404-"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                parse_statuses(text)


class OnErrorTests(SynchronousTestCase):
    """
    What is answered in place of a failure.
    """

    def serve(self, config: str, **files: str) -> MemoryServer:
        """
        A server with that configuration; C{files} lie beside it.
        """
        self.files = Path(self.mktemp())
        self.files.mkdir()
        for name, text in files.items():
            (self.files / name.replace("_", ".")).write_text(text)
        server = MemoryServer(config.replace("FILES", str(self.files.absolute())))
        self.addCleanup(server.close)
        return server

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, on_error)

    def test_page(self) -> None:
        """
        A page of one's own, with the status, and the reason, of the failure.
        """
        server = self.serve(
            """
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/files"
            static = { root = "FILES" }
            on_error = { pages = { "4xx" = "FILES/lost.html" } }
            """,
            lost_html="<p>lost</p>",
        )
        answer = Answer(server.get("/files/nothing"))
        self.assertEqual((answer.status, answer.body), (404, b"<p>lost</p>"))
        self.assertEqual(answer[b"Content-Type"], b"text/html; charset=utf-8")
        self.assertIn(b"destination_not_found", answer[b"Proxy-Status"] or b"")

    def test_route(self) -> None:
        """
        Another route answers a failure of ours; the status stays what it was, and other policies see the answer.
        """
        server = self.serve(
            TWO_UPSTREAMS
            + """
            [[site.route]]
            name = "sorry"
            exact = "/sorry"
            respond = { body = "back soon, {path}" }
            [[site.route]]
            proxy = { upstream = "app" }
            on_error = { routes = { "502-504" = "sorry" } }
            """
        )
        client = server.connect()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        server.refuse()
        answer = Answer(client.take())
        self.assertEqual((answer.status, answer.body), (502, b"back soon, /x"))
        self.assertIn(b"connection_refused", answer[b"Proxy-Status"] or b"")
        # The connection is good for another request.
        client.send(b"GET /sorry HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(Answer(client.take()).status, 200)

    def test_redirect(self) -> None:
        """
        A route that redirects sends the client elsewhere, without what belongs to the failure.
        """
        server = self.serve(
            TWO_UPSTREAMS
            + """
            [[site.route]]
            name = "login"
            exact = "/to-login"
            redirect = "/login?next={uri}"
            [[site.route]]
            path = "/login"
            respond = { body = "who are you?" }
            [[site.route]]
            proxy = { upstream = "app" }
            on_error = { routes = { "401" = "login" }, status = { "401" = 403 }, intercept = true }
            """
        )
        client = server.connect()
        client.send(b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n")
        server.accept().send(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
        answer = Answer(client.take())
        self.assertEqual((answer.status, answer[b"Location"]), (302, b"/login?next=/x?y"))
        self.assertIsNone(answer[b"WWW-Authenticate"])

    def test_other_status(self) -> None:
        """
        Pages and routes may say another status.
        """
        server = self.serve(
            """
            [[site]]
            listen = "tcp:80"
            [site.defaults]
            on_error = { routes = { 403 = "calm" }, status = { 4xx = 503 } }
            [[site.route]]
            name = "calm"
            exact = "/calm"
            respond = { body = "calm" }
            [[site.route]]
            path = "/closed"
            access = { deny = ["all"] }
            respond = {}
            """,
            e_html="nothing",
        )
        self.assertTrue(server.get("/closed").startswith(b"HTTP/1.1 503 Service Unavailable\r\n"))
        server = self.serve(
            """
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            static = "FILES"
            on_error = { pages = { 404 = "FILES/e.html" }, status = { 404 = 200 } }
            """,
            e_html="nothing",
        )
        answer = server.get("/none")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"nothing"), answer)

    def failing(self, fallback: str, request: bytes, **files: str) -> tuple[MemoryServer, Answer]:
        """
        What is answered to C{request}, whose upstream fails, by the route "page".
        """
        server = self.serve(
            TWO_UPSTREAMS
            + f"""
            [[site.route]]
            path = "/a"
            match = {{ header = {{ X-Fail = true }} }}
            strip_prefix = true
            proxy = {{ upstream = "app" }}
            on_error = {{ routes = {{ "5xx" = "page" }} }}
            [[site.route]]
            name = "page"
            {fallback}
            """,
            **files,
        )
        client = server.connect()
        client.send(request)
        server.refuse()
        return server, Answer(client.take())

    def test_no_part_of_a_failure(self) -> None:
        """
        Conditions and ranges are for what was asked for, not for what stands in its place: that is sent whole.
        """
        for line in (
            b"Range: bytes=0-1",
            b"If-None-Match: *",
            b'If-Match: "other"',
            b"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
        ):
            with self.subTest(line=line):
                _, answer = self.failing(
                    'static = { alias = "FILES/sorry.html" }',
                    b"GET /a/x HTTP/1.1\r\nHost: a\r\nX-Fail: 1\r\n%b\r\n\r\n" % line,
                    sorry_html="back soon",
                )
                self.assertEqual((answer.status, answer.body), (502, b"back soon"))
                self.assertIsNone(answer[b"Content-Range"])

    def test_page_for_any_method(self) -> None:
        """
        A file stands for the failure of a form, too.
        """
        _, answer = self.failing(
            'static = { alias = "FILES/sorry.html" }',
            b"POST /a/x HTTP/1.1\r\nHost: a\r\nX-Fail: 1\r\nContent-Length: 1\r\n\r\nx",
            sorry_html="back soon",
        )
        self.assertEqual((answer.status, answer.body), (502, b"back soon"))

    def test_files_of_two_routes(self) -> None:
        """
        What has answered a failure, by the path as the route that failed sees it, is not kept as the file of that path.
        """
        server, answer = self.failing(
            'static = "FILES"', b"GET /a/x HTTP/1.1\r\nHost: a\r\nX-Fail: 1\r\n\r\n", x="the wrong one"
        )
        self.assertEqual((answer.status, answer.body), (502, b"the wrong one"))
        (self.files / "a").mkdir()
        (self.files / "a" / "x").write_text("the right one")
        client = server.connect()
        for expected in ((200, b"the right one"), (200, b"the right one")):
            client.send(b"GET /a/x HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = Answer(client.take())
            self.assertEqual((answer.status, answer.body), expected)
        client.send(b"GET /a/x HTTP/1.1\r\nHost: a\r\nX-Fail: 1\r\n\r\n")
        server.refuse()
        answer = Answer(client.take())
        self.assertEqual((answer.status, answer.body), (502, b"the wrong one"))

    def upstreams(self, head: bytes, intercept: str = "") -> tuple[MemoryServer, Any]:
        """
        A request that has just reached the first of two upstreams.
        """
        server = self.serve(
            TWO_UPSTREAMS
            + f"""
            [[site.route]]
            proxy = {{ upstream = "app" }}
            on_error = {{ upstreams = {{ "5xx" = "spare" }}{intercept} }}
            """
        )
        client = server.connect()
        client.send(head)
        return server, client

    def test_upstream(self) -> None:
        """
        Another upstream gets the request, and what it answers is the answer.
        """
        server, client = self.upstreams(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        server.refuse()
        spare = server.accept()
        self.assertTrue(spare.take().startswith(b"GET /x HTTP/1.1\r\n"))
        spare.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(Answer(client.take()).body, b"ok")

    def test_upstream_fails_too(self) -> None:
        """
        Nothing goes round in circles.
        """
        server, client = self.upstreams(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        server.refuse()
        server.refuse()
        self.assertEqual(Answer(client.take()).status, 502)
        self.assertEqual(server.connecting(), [])

    def test_post_is_not_sent_twice(self) -> None:
        """
        One that may have been processed is not given to another upstream.
        """
        server, client = self.upstreams(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
        app = server.accept()
        app.take()
        app.close()
        self.assertEqual(Answer(client.take()).status, 502)
        self.assertEqual(server.connecting(), [])

    def test_post_that_was_not_sent(self) -> None:
        """
        One that has not left is.
        """
        server, client = self.upstreams(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
        server.refuse()
        spare = server.accept()
        self.assertTrue(spare.take().endswith(b"\r\n\r\nab"))
        spare.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(Answer(client.take()).status, 201)

    def test_own_answers_pass(self) -> None:
        """
        What the upstream answers itself is its own affair.
        """
        server, client = self.upstreams(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        server.accept().send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
        answer = Answer(client.take())
        self.assertEqual((answer.status, answer.body), (503, b"busy"))

    def test_intercept(self) -> None:
        """
        Unless it is to be intercepted; in one piece or in many.
        """
        for pieces in (
            [b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"],
            [b"HTTP/1.1 503 Busy\r\n\r\n", b"bu", b"sy"],
        ):
            server, client = self.upstreams(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", ", intercept = true")
            app = server.accept()
            for piece in pieces:
                app.send(piece)
            spare = server.accept()
            spare.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            answer = Answer(client.take())
            self.assertEqual((answer.status, answer.body), (200, b"ok"))

    def test_client_leaves(self) -> None:
        """
        A client that leaves while the second upstream is asked ends that, too.
        """
        server, client = self.upstreams(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        server.refuse()
        spare = server.accept()
        client.close()
        self.assertTrue(spare.closed)


class ConfigTests(SynchronousTestCase):
    """
    What the table can say.
    """

    def problems(self, policy: str, resource: str = 'respond = { body = "" }') -> str:
        """
        What is wrong with that table.
        """
        config = f"""
        [[site]]
        listen = "tcp:80"
        [[site.route]]
        name = "here"
        {resource}
        on_error = {policy}
        """
        return str(self.assertRaises(ConfigError, MemoryServer, config))

    def test_refused(self) -> None:
        """
        Statuses that are no failures.
        """
        for table in (
            {"status": {"404": 204}},
            {"status": {"404": 700}},
            {"pages": {"200": "/x"}},
            {"routes": {"nothing": "x"}},
            {"upstreams": {"3xx": "x"}},
            "x",
        ):
            with self.subTest(table=table), self.assertRaises(Faults):
                structure(table, on_error.Config)

    def test_names(self) -> None:
        """
        What is named must be there.
        """
        self.assertIn(
            'on_error.routes[404]: there is no route "gone"', self.problems('{ routes = { "404" = "gone" } }')
        )
        self.assertIn("there is no upstream", self.problems('{ upstreams = { "404" = "gone" } }'))
        self.assertIn("on_error.pages[404]", self.problems('{ pages = { "404" = "/nowhere/x.html" } }'))
        self.assertIn("on_error.status: is for pages", self.problems('{ upstreams = {}, status = { "404" = 200 } }'))
        self.assertIn("replaces nothing", self.problems("{ intercept = true }"))
