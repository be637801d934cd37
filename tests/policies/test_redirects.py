"""
Tests for L{twistginx.policies.redirects}.
"""

from __future__ import annotations

from pathlib import Path

from zope.interface.verify import verifyObject

from tests.policies.answers import Answers
from twistginx.interfaces import IPolicyModule
from twistginx.policies import redirects
from twistginx.policies.redirects import parse_file


class RedirectsTests(Answers):
    """
    Where clients are sent.
    """

    def where(self, table: str, target: str, fields: str = "", method: str = "GET") -> tuple[int, str]:
        """
        Status and Location.
        """
        server = self.serve(f'trusted_proxies = ["127.0.0.1"]\n[[site.route]]\nredirects = {table}\nrespond = {{}}\n')
        status, found, _ = self.ask(server, target, fields, method)
        return status, found.get("location", "")

    def test_module(self) -> None:
        """
        It is a policy's module, and decides nothing about who may come in.
        """
        verifyObject(IPolicyModule, redirects)
        self.assertFalse(redirects.decides)

    def test_moved(self) -> None:
        """
        One path, or all that is below one; the query goes along.
        """
        table = '{ "/old" = "/new", "/b/*" = "/n/*", "/b/c/*" = "https://x.org/*", "/q" = "/r?s=1", "/ü x" = "/y z" }'
        for target, expected in (
            ("/old", "/new"),
            ("/old?a=1&b", "/new?a=1&b"),
            ("/%6Fld", "/new"),
            ("/old/", ""),
            ("/b", "/n"),
            ("/b/x%20y/%2Fz?q", "/n/x%20y/%2Fz?q"),
            ("/b/c/d", "https://x.org/d"),
            ("/bc", ""),
            ("/q?t", "/r?s=1"),
            ("/%C3%BC%20x", "/y%20z"),
            ("/b/%0d%0aX:y", "/n/%0D%0AX:y"),
        ):
            self.assertEqual(self.where(table, target), (301 if expected else 200, expected), target)

    def test_origin(self) -> None:
        """
        To HTTPS and to one name, in one redirect with what has moved.
        """
        secure = "X-Forwarded-Proto: https\r\n"
        for table, target, fields, expected in (
            ("{ https = true }", "/a?b", "", "https://example.com/a?b"),
            ("{ https = true }", "/a?b", secure, ""),
            ("{ https = true }", "/", "X-Host: example.com:8080\r\n", "https://example.com/"),
            ("{ https = true, https_port = 8443 }", "/", "", "https://example.com:8443/"),
            ('{ www = "add" }', "/", "", "http://www.example.com/"),
            ('{ www = "add" }', "/", "X-Host: www.example.com\r\n", ""),
            ('{ www = "add" }', "/", "X-Host: 127.0.0.1:80\r\n", ""),
            ('{ www = "add" }', "/", "X-Host: [::1]:80\r\n", ""),
            ('{ www = "remove" }', "/x", "X-Host: www.example.com:81\r\n" + secure, "https://example.com:81/x"),
            ('{ www = "remove" }', "/x", "", ""),
            ('{ www = "add", https = true, "/a" = "/b" }', "/a", "", "https://www.example.com/b"),
            ('{ www = "add", https = true, "/a" = "http://y.org/" }', "/a", "", "http://y.org/"),
            ("{ https = true }", "//evil.example/x", "", "https://example.com/evil.example/x"),
        ):
            self.assertEqual(self.where(table, target, fields), (301 if expected else 200, expected), (table, target))

    def test_status(self) -> None:
        """
        A form is sent again, unless another status is asked for.
        """
        self.assertEqual(self.where("{ https = true }", "/", method="POST")[0], 308)
        self.assertEqual(self.where("{ https = true, status = 302 }", "/", method="POST")[0], 302)
        self.assertEqual(self.where("{ https = true }", "/", method="HEAD")[0], 301)

    def test_file(self) -> None:
        """
        A file of old and new paths.
        """
        base = Path(self.mktemp())
        base.mkdir()
        file = base / "moved.txt"
        file.write_text("# old and new\n/a  /b\n\n/c/*\t/d/*\n")
        table = f'"{file.absolute()}"'
        self.assertEqual(self.where(table, "/a"), (301, "/b"))
        self.assertEqual(self.where(table, "/c/x"), (301, "/d/x"))
        both = f'{{ file = {table}, "/a" = "/z" }}'
        self.assertEqual(self.where(both, "/a"), (301, "/z"))
        for content, reason in (
            (b"/a\n", "line 1: expected two paths"),
            (b"/a /b\n/a /c\n", 'line 2: "/a" has moved already'),
            (b"x /b\n", "line 1"),
            (b"/a b\n", "line 1"),
            (b"/a/* /b\n", '"/b/*"'),
        ):
            self.assertIn(reason, str(self.assertRaises(ValueError, parse_file, content)))

    def test_refused(self) -> None:
        """
        What cannot work is said where it stands.
        """
        for table, key in (
            ("{}", "redirects"),
            ('{ "/a" = "/a" }', "redirects"),
            ('{ "/a" = "//x" }', "redirects"),
            ('{ "/a" = "/b\\nX: y" }', "redirects"),
            ('{ moved = { "a" = "/b" } }', "redirects.moved"),
            ("{ https = true, status = 200 }", "redirects.status"),
            ('{ www = "yes" }', "redirects.www"),
            ('"nowhere.txt"', "redirects.file"),
        ):
            problems = self.refused(f"[[site.route]]\nredirects = {table}\nrespond = {{}}\n")
            self.assertEqual([each for each, _ in problems], [f"site[0].route[0].{key}"], table)
