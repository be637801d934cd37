"""
Tests for L{twistginx.policies.rewrite}.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from tests.policies.answers import Answers
from twistginx.interfaces import IPolicyModule
from twistginx.policies import rewrite


class RewriteTests(Answers):
    """
    What a resource sees.
    """

    def rewritten(self, rules: str, *targets: str, route: str = "") -> list[str]:
        """
        What becomes of the targets.
        """
        server = self.serve(f'[[site.route]]\n{route}\nrewrite = {rules}\nrespond = {{ body = "{{target}}" }}\n')
        return [self.body(server, target) for target in targets]

    def test_module(self) -> None:
        """
        It is a policy's module, and decides nothing about who may come in.
        """
        verifyObject(IPolicyModule, rewrite)
        self.assertFalse(rewrite.decides)

    def test_to(self) -> None:
        """
        A new path, and a new query where one is written; captures of the rule and of the route.
        """
        for rules, target, expected in (
            ('"/index.php{path}"', "/a/b?c", "/index.php/a/b?c"),
            ('"/index.php?q={path}&{query}"', "/a/b?c=1", "/index.php?q=/a/b&c=1"),
            ('"/index.php?q={path}&{query}"', "/a", "/index.php?q=/a"),
            ('"/x?"', "/a?b", "/x"),
            ('{ regex = "^/(?P<l>[a-z]+)/([0-9]+)$", to = "/{2}/{l}" }', "/ab/12", "/12/ab"),
            ('{ regex = "^/(?P<l>[a-z]+)/([0-9]+)$", to = "/{2}/{l}" }', "/ab/x?q", "/ab/x?q"),
            ('{ regex = "b", to = "/{0}" }', "/abc", "/b"),
            ('{ regex = "^/(a)?b", to = "/-{1}-" }', "/b", "/--"),
        ):
            self.assertEqual(self.rewritten(rules, target), [expected], (rules, target))
        route = 'regex = "^/(?P<lang>en|de)/(.*)$"'
        self.assertEqual(
            self.rewritten('"/{2}?lang={lang}"', "/de/a%2Fb/c%20d?x", route=route), ["/a%2Fb/c%20d?lang=de"]
        )

    def test_bytes(self) -> None:
        """
        A target that no rule is for leaves as it came; one that was rewritten is encoded again, C{%2F} and C{%25} kept.
        """
        rules = '{ regex = "^/in/(.*)$", to = "/out/{1}" }'
        for target, expected in (
            ("/%7Ea/%C3%bc//x;y?%41", "/%7Ea/%C3%bc//x;y?%41"),
            ("/in/%7Ea/%c3%bc?%41", "/out/~a/%C3%BC?%41"),
            ("/in/a%2fb", "/out/a%2Fb"),
            ("/in/100%25", "/out/100%25"),
            ("/in/a%252Fb", "/out/a%252Fb"),
            ("/in/a%3Fb%23c", "/out/a%3Fb%23c"),
            ("/in/a%0d%0ab", "/out/a%0D%0Ab"),
            ("/in/a&b=c+d", "/out/a&b=c+d"),
        ):
            self.assertEqual(self.rewritten(rules, target), [expected])

    def test_values(self) -> None:
        """
        What variables put in is encoded as its place wants it, and can neither begin a query nor lead up.
        """
        for rules, target, expected in (
            ('"/f/{arg.p}"', "/x?p=a%20b", "/f/a%20b?p=a%20b"),
            ('"/f/{arg.p}"', "/x?p=a?b", "/f/a%3Fb?p=a?b"),
            ('"/f/{arg.p}"', "/x?p=../../etc", "400"),
            ('"/f/{arg.p}"', "/x?p=%2e%2e%2fetc", "400"),
            ('"/f/{arg.p}"', "/x?p=..%5Cetc", "400"),
            ('"/f/{arg.p}"', "/x?p=..;/etc", "400"),
            ('"/f/{arg.p}"', "/x?p=a%00.png", "400"),
            ('"/f/{arg.p}"', "/x?p=%c0%ae%c0%ae/etc", "400"),
            ('{ add_prefix = "/f" }', "/..%2Fetc", "400"),
            ('{ add_prefix = "/f" }', "/..;/etc", "400"),
            ('"/f/{header.x}"', "/x", "/f/a%25%20%C3%BC&b"),
            ('"/f?x={header.x}"', "/x", "/f?x=a%25%20%C3%BC%26b"),
            ('{ add_prefix = "/{header.x}" }', "/x", "/a%25%20%C3%BC&b/x"),
        ):
            server = self.serve(f'[[site.route]]\nrewrite = {rules}\nrespond = {{ body = "{{target}}" }}\n')
            self.assertEqual(self.body(server, target, "X: a% ü&b\r\n".encode().decode("utf-8")), expected, rules)

    def test_prefixes_case_and_slash(self) -> None:
        """
        The small edits.
        """
        for rules, target, expected in (
            ('{ strip_prefix = "/v1" }', "/v1/a?b", "/a?b"),
            ('{ strip_prefix = "/v1" }', "/v1", "/"),
            ('{ strip_prefix = "/v1" }', "/v12/a", "/v12/a"),
            ('{ add_prefix = "/v1" }', "/a/", "/v1/a/"),
            ('{ strip_prefix = "/a", add_prefix = "/b/" }', "/a/c", "/b/c"),
            ('{ case = "lower" }', "/A%2FB/%C3%9C?Q", "/a%2Fb/%C3%9C?Q"),
            ('{ case = "upper" }', "/a%2fb", "/A%2FB"),
            ('{ trailing_slash = "add" }', "/a", "/a/"),
            ('{ trailing_slash = "add" }', "/a/x.css", "/a/x.css"),
            ('{ trailing_slash = "remove" }', "/a/", "/a"),
            ('{ trailing_slash = "remove" }', "/", "/"),
        ):
            self.assertEqual(self.rewritten(rules, target), [expected], (rules, target))

    def test_query(self) -> None:
        """
        Arguments are renamed, removed, set and added, in this order; the others stay as they were sent.
        """
        for edits, query, expected in (
            ('rename = { a = "b" }', "?a=1&%61=%31&c", "?b=1&b=%31&c"),
            ('remove = "utm_*"', "?utm_a=1&x=%20&utm_b", "?x=%20"),
            ('remove = ["a", "b"]', "?a&b=1", ""),
            ('remove = "*"', "?a&b=1", ""),
            ('set = { a = "1 &2" }', "?a=x&b&a=y", "?b&a=1%20%262"),
            ('set = { a = "{arg.b}" }', "?b=%26", "?b=%26&a=%26"),
            ('add = { a = "2" }', "?a=1", "?a=1&a=2"),
            ('add = { a = "2" }', "", "?a=2"),
            ('rename = { a = "b" }, remove = "b"', "?a=1", ""),
        ):
            self.assertEqual(self.rewritten(f"{{ query = {{ {edits} }} }}", f"/p{query}"), [f"/p{expected}"], edits)

    def test_order(self) -> None:
        """
        One rule after the other, on what the one before has made; C{stop} and C{again}.
        """
        for rules, target, expected in (
            ('[{ case = "lower" }, { regex = "^/a", to = "/b" }]', "/A", "/b"),
            ('[{ regex = "^/a", to = "/b", then = "stop" }, { add_prefix = "/x" }]', "/a", "/b"),
            ('[{ regex = "^/a", to = "/b", then = "stop" }, { add_prefix = "/x" }]', "/c", "/x/c"),
            ('[{ regex = "^/keep", then = "stop" }, { add_prefix = "/x" }]', "/keep/%61", "/keep/%61"),
            ('{ regex = "^(.*)_(.*)$", to = "{1}-{2}", then = "again" }', "/a_b_c_d", "/a-b-c-d"),
            ('{ regex = "^/(.*)$", to = "/{1}x", then = "again" }', "/a", "500"),
            ('[{ when = { query = { v = "2" } }, add_prefix = "/v2" }]', "/a?v=2", "/v2/a?v=2"),
            ('[{ when = { query = { v = "2" } }, add_prefix = "/v2" }]', "/a", "/a"),
            ('[{ when = { path = "/a" }, to = "/b", then = "stop" }, { add_prefix = "/x" }]', "/a", "/b"),
            ('[{ to = "/b" }, { when = { path = "/a" }, add_prefix = "/x" }]', "/a", "/x/b"),
        ):
            self.assertEqual(
                self.rewritten(rules.replace("{1}-{2}", "/{1}-{2}"), target)[0].replace("//", "/"), expected
            )
        self.flushLoggedErrors()

    def test_stripped(self) -> None:
        """
        Where the route strips its prefix, the rules see what is left.
        """
        route = 'path = "/api"\nstrip_prefix = true'
        self.assertEqual(
            self.rewritten('{ regex = "^/u/", to = "/users" }', "/api/u/1", "/api/x", route=route), ["/users", "/x"]
        )

    def test_redirect(self) -> None:
        """
        A rule may send the client there instead, where it has changed something: by the path that clients know.
        """
        server = self.serve(
            '[[site.route]]\npath = "/api"\nstrip_prefix = true\n'
            'rewrite = [{ trailing_slash = "add", redirect = 308 }]\nrespond = { body = "{target}" }\n'
            '[[site.route]]\nrewrite = { regex = "^/(.*)/old$", to = "/{1}", redirect = 301 }\nrespond = {}\n'
        )
        status, fields, _ = self.ask(server, "/api/a?b")
        self.assertEqual((status, fields["location"]), (308, "/api/a/?b"))
        self.assertEqual(self.body(server, "/api/a/"), "/a/")
        status, fields, _ = self.ask(server, "/%0d%0ax:%20y/old")
        self.assertEqual(fields["location"], "/%0D%0Ax:%20y")
        # No capture leads to another host.
        status, fields, _ = self.ask(server, "/%5Cevil.example/old")
        self.assertEqual(fields["location"], "/%5Cevil.example")
        status, fields, _ = self.ask(server, "//evil.example/old")
        self.assertEqual(fields["location"], "/evil.example")

    def test_upstream(self) -> None:
        """
        An upstream gets the new target, and the log the old one.
        """
        server = self.serve('[[site.route]]\nrewrite = "/x{path}?{query}&y"\nproxy = "http://127.0.0.1:9001"\n')
        client = server.connect()
        client.send(b"GET /a%20b?q HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(server.accept().take().startswith(b"GET /x/a%20b?q&y HTTP/1.1\r\n"))

    def test_twisted(self) -> None:
        """
        To a resource of Twisted's, the new target is what was asked for; the prefix of the route is in its prepath.
        """
        server = self.serve(
            '[[site.route]]\npath = "/m"\nstrip_prefix = true\nrewrite = "/n/o?p=1"\n'
            'app = "tests.policies.answering:resource"\n'
        )
        self.assertEqual(self.body(server, "/m/x?q=2"), "uri=/m/n/o?p=1 path=/m/n/o prepath=m,n,o postpath= args=p:1")

    def test_refused(self) -> None:
        """
        What cannot work is said where it stands.
        """
        for rules, key in (
            ('{ to = "x" }', "rewrite.rules[0].to"),
            ('[{ case = "lower" }, { regex = "(" }]', "rewrite[1].regex"),
            ('{ regex = "a", to = "/{2}" }', "rewrite.to"),
            ("{}", "rewrite"),
            ("[]", "rewrite"),
            ("{ query = { foo = 1 } }", "rewrite.query.foo"),
            ('{ to = "/", when = "nobody" }', "rewrite.when"),
            ('[{ to = "/", when = "nobody" }]', "rewrite.rules[0].when"),
            ('{ add_prefix = "/a?b" }', "rewrite.rules[0].add_prefix"),
            ('{ regex = "(?P<host>a)", to = "/" }', "rewrite.regex"),
        ):
            problems = self.refused(f"[[site.route]]\nrewrite = {rules}\nrespond = {{}}\n")
            self.assertEqual([each for each, _ in problems], [f"site[0].route[0].{key}"], rules)
