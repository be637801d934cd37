"""
Tests for L{twistginx.policies.mount}.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from tests.policies.answers import Answers
from twistginx.http.message import Fields, ResponseHead
from twistginx.interfaces import IPolicyModule
from twistginx.policies import mount


class Asked:
    """
    A request, as far as the policy looks.
    """

    class head:
        host = b"example.com:8080"

    admitted = True


class MountTests(Answers):
    """
    An application that thinks it is at the root.
    """

    def test_module(self) -> None:
        """
        It is a policy's module, and decides nothing about who may come in.
        """
        verifyObject(IPolicyModule, mount)
        self.assertFalse(mount.decides)

    def test_request(self) -> None:
        """
        The route is for the path; an upstream is asked without it, and told of it, behind what a trusted proxy says.
        """
        server = self.serve(
            'trusted_proxies = ["127.0.0.1"]\n[[site.route]]\nmount = "/app/"\nproxy = "http://127.0.0.1:9001"\n'
        )
        for target, fields, expected, prefix in (
            ("/app/x%2Fy?q", "", "/x%2Fy?q", "/app"),
            ("/app/", "", "/", "/app"),
            ("/app/", "X-Forwarded-Prefix: /outer/\r\n", "/", "/outer/app"),
        ):
            client = server.connect()
            client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
            upstream = server.accept()
            lines = upstream.take().decode().split("\r\n")
            self.assertEqual(lines[0], f"GET {expected} HTTP/1.1")
            said = [line for line in lines if line.lower().startswith("x-forwarded-prefix")]
            self.assertEqual(said, [f"X-Forwarded-Prefix: {prefix}"])
            client.close()
        self.assertEqual(self.body(server, "/apple"), "404")

    def test_nobody_claims(self) -> None:
        """
        Who is not trusted says nothing of prefixes.
        """
        server = self.serve('[[site.route]]\nmount = "/app"\nproxy = "http://127.0.0.1:9001"\n')
        client = server.connect()
        client.send(b"GET /app/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /evil\r\n\r\n")
        self.assertNotIn(b"evil", server.accept().take())

    def test_answer(self) -> None:
        """
        Paths of an answer begin with the prefix, unless they do already, or are of elsewhere.
        """
        policy = mount.Mount(b"/a b")
        for name, value, expected in (
            (b"Location", b"/login?next=/x", b"/a%20b/login?next=/x"),
            (b"Location", b"/a%20b/login", b"/a%20b/login"),
            (b"Location", b"/a%20b?x", b"/a%20b?x"),
            (b"Location", b"/a%20bc", b"/a%20b/a%20bc"),
            (b"Location", b"login", b"login"),
            (b"Location", b"?x", b"?x"),
            (b"Location", b"http://example.com:8080/x", b"http://example.com:8080/a%20b/x"),
            (b"Location", b"//example.com:8080/x", b"//example.com:8080/a%20b/x"),
            (b"Location", b"http://example.com/x", b"http://example.com/x"),
            (b"Location", b"HTTPS://EXAMPLE.com:8080", b"HTTPS://EXAMPLE.com:8080/a%20b/"),
            (b"Location", b"https://example.org/x", b"https://example.org/x"),
            (b"Location", b"//example.org/x", b"//example.org/x"),
            (b"Location", b"//example.com:8080/x", b"//example.com:8080/a%20b/x"),
            (b"Content-Location", b"/x.html", b"/a%20b/x.html"),
            (b"Set-Cookie", b"a=b; Path=/; Secure", b"a=b; Path=/a%20b; Secure"),
            (b"Set-Cookie", b"a=b;path=/x ;Secure", b"a=b;path=/a%20b/x;Secure"),
            (b"Set-Cookie", b"a=b; Path=/x/", b"a=b; Path=/a%20b/x/"),
            (b"Set-Cookie", b"a=b; Path=/a%20b/", b"a=b; Path=/a%20b/"),
            (b"Set-Cookie", b"a=b; Path=/a%20b/x", b"a=b; Path=/a%20b/x"),
            (b"Set-Cookie", b"a=b", b"a=b"),
            (b"Set-Cookie", b"__Host-a=b; Path=/; Secure", b"__Host-a=b; Path=/; Secure"),
            (b"Link", b"</x>", b"</x>"),
        ):
            head = ResponseHead(200, Fields.of([(name, value)]))
            policy.responding(Asked, head)
            self.assertEqual(head.fields[0][1:], (name, expected))

    def test_slash(self) -> None:
        """
        A page at the root of the application has a slash at its end, so that what is beside it is found; what is no
        page is passed on.
        """
        server = self.serve('[[site.route]]\nmount = "/app"\nrewrite = { add_prefix = "/v2" }\nrespond = "{target}"\n')
        for target, location in (
            ("/app", "./app/"),
            ("/app?x=1", "./app/?x=1"),
            ("/x/..//app", "./app/"),
            ("/%61pp", "./%61pp/"),
        ):
            for method in ("GET", "HEAD"):
                status, fields, _ = self.ask(server, target, method=method)
                self.assertEqual((status, fields["location"]), (308, location))
        self.assertEqual(self.body(server, "/app/"), "/v2/")
        self.assertEqual(self.ask(server, "/app", method="POST")[::2], (200, "/v2/"))
        self.assertEqual(self.body(server, "/app", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), "/v2/")

    def test_usual_port(self) -> None:
        """
        An address of the same site is one, whether its usual port is said or not.
        """
        server = self.serve('[[site.route]]\nmount = "/app"\nproxy = "http://127.0.0.1:9001"\n')
        for host, location, expected in (
            ("a", "http://a:80/x", "http://a:80/app/x"),
            ("a:80", "http://a/x", "http://a/app/x"),
            ("a", "https://a:443/x", "https://a:443/app/x"),
            ("a", "//a:443/x", "//a:443/app/x"),
            ("a", "http://a:443/x", "http://a:443/x"),
            ("a", "http://b/x", "http://b/x"),
        ):
            client = server.connect()
            client.send(f"GET /app/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            upstream = server.accept()
            upstream.send(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
            self.assertIn(f"\r\nLocation: {expected}\r\n".encode(), client.take(), (host, location))
            client.close()
            upstream.close()

    def test_policies(self) -> None:
        """
        Where a policy sends clients is not beneath the application.
        """
        server = self.serve(
            '[[site.route]]\nmount = "/app"\nredirects = { "/app/old" = "/new" }\n'
            'respond = { headers = { Location = "/x" } }\n'
        )
        self.assertEqual(self.ask(server, "/app/old")[1]["location"], "/new")
        self.assertEqual(self.ask(server, "/app/other")[1]["location"], "/app/x")

    def test_in_process(self) -> None:
        """
        A resource of Twisted's, and so a WSGI application, has the prefix in its prepath.
        """
        server = self.serve('[[site.route]]\nmount = "/app"\napp = "tests.policies.answering:resource"\n')
        self.assertEqual(
            self.body(server, "/app/x/y?q=1"), "uri=/app/x/y?q=1 path=/app/x/y prepath=app,x,y postpath= args=q:1"
        )

    def test_refused(self) -> None:
        """
        The path of the route is that of the mount.
        """
        for keys, key in (
            ('mount = "/app"\npath = "/other"', "mount"),
            ('mount = "/app"\nregex = "x"', "mount"),
            ('mount = "/"', "mount.prefix"),
            ('mount = "app"', "mount"),
            ('mount = { prefix = "/app", when = { methods = "GET" } }', "mount.when"),
        ):
            problems = self.refused(f"[[site.route]]\n{keys}\nrespond = {{}}\n")
            self.assertEqual([each for each, _ in problems], [f"site[0].route[0].{key}"], keys)
        self.serve('[[site.route]]\nmount = "/app"\npath = "/app/"\nrespond = {}\n')
