"""
Tests for L{twistginx.resources.redirect}, over the real channel.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.resources.serving import Context, Served
from twistginx.config.convert import structure
from twistginx.config.regex import Regex
from twistginx.config.scope import Scope
from twistginx.errors import ConfigError
from twistginx.interfaces import IResourceModule, IStreaming
from twistginx.resources import redirect


def make(table):
    return redirect.make(structure(table, redirect.Config), Context())


def location(to: str, target: bytes, **fields: bytes) -> bytes:
    answer = Served(make({"to": to}), Context()).get(target, **fields)
    assert answer.status == 302
    return answer[b"Location"]


class RedirectTests(SynchronousTestCase):
    """
    Where clients are sent.
    """

    def test_module(self):
        """
        It is a resource's module, and makes a streaming resource.
        """
        verifyObject(IResourceModule, redirect)
        self.assertTrue(IStreaming.providedBy(make("/")))

    def test_constant(self):
        """
        The same place for all; the status is what was asked for.
        """
        for status in (301, 302, 303, 307, 308):
            served = Served(make({"to": "https://example.org/?a b", "status": status}), Context())
            for method in (b"GET", b"POST"):
                answer = served.get(b"/x", method)
                self.assertEqual((answer.status, answer.body), (status, b""))
                self.assertEqual(answer[b"Location"], b"https://example.org/?a%20b")

    def test_shorthand(self):
        """
        A string is where to, for now.
        """
        answer = Served(make("/new"), Context()).get(b"/old")
        self.assertEqual((answer.status, answer[b"Location"]), (302, b"/new"))

    def test_to_https(self):
        """
        The usual one: the same address, under TLS.
        """
        self.assertEqual(location("https://{host}{uri}", b"/a%20b?c=d"), b"https://example.com/a%20b?c=d")

    def test_no_host(self):
        """
        Without a host, the beginning of the path does not become one.
        """
        served = Served(make({"to": "https://{host}{uri}"}), Context())
        transport = served.connect()
        transport.protocol.dataReceived(b"GET //evil.example/x HTTP/1.0\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400 "), transport.value())

    def test_stays(self):
        """
        A path of the client's does not become another host.
        """
        for to in ("{uri}", "{path}", "/{arg.next}", "/"):
            for target in (b"//evil.example/x", b"/?next=/evil.example", b"/?next=\\evil.example", b"/%5Cevil.example"):
                found = location(to, target)
                self.assertTrue(found.startswith(b"/"), found)
                self.assertFalse(found.startswith((b"//", b"/\\")), found)

    def test_other_host_on_purpose(self):
        """
        What the configuration says itself is where it leads.
        """
        self.assertEqual(location("//cdn.example{uri}", b"/a"), b"//cdn.example/a")

    def captured(self, regex: str, to: str, target: bytes) -> bytes:
        """
        Where a redirect leads that has captures of a path.
        """
        pattern = Regex.parse(regex)
        with Scope(captures=pattern.captures).entered():
            resource = make({"to": to})
        served = Served(resource, Context(), pattern=pattern)
        return served.get(target)[b"Location"]

    def test_no_other_host_behind_one(self):
        """
        What stands behind a host does not become a part of it.
        """
        for to, target, expected in (
            ("https://example.org{arg.to}", b"/?to=.evil.example", b"https://example.org/.evil.example"),
            ("https://example.org{arg.to}", b"/?to=@evil.example/x", b"https://example.org/@evil.example/x"),
            ("https://example.org{arg.to}", b"/?to=:80@evil", b"https://example.org/:80@evil"),
            ("https://example.org{arg.to}", b"/?to=/a", b"https://example.org/a"),
            ("https://example.org{arg.to}", b"/", b"https://example.org"),
            ("https://{arg.to}.example.org/", b"/?to=evil.example/x", b"https://evil.example%2Fx.example.org/"),
            ("https://{arg.to}.example.org/", b"/?to=evil.example?", b"https://evil.example%3F.example.org/"),
        ):
            self.assertEqual(location(to, target), expected, (to, target))
        for regex, to, target, expected in (
            ("^/old(.*)$", "https://new.example{1}", b"/old.evil", b"https://new.example/.evil"),
            ("^/old(.*)$", "https://new.example{1}", b"/old/x", b"https://new.example/x"),
            (
                "^/u/([^/]+)$",
                "https://{1}.example.org/",
                b"/u/evil.example%3F",
                b"https://evil.example%3F.example.org/",
            ),
            ("^/u/([^/]+)$", "https://{1}.example.org/", b"/u/a@evil%23", b"https://a%40evil%23.example.org/"),
            ("^/u/([^/]+)$", "https://{1}.example.org/", b"/u/ann", b"https://ann.example.org/"),
            ("^/on/(.+)$", "https://{1}", b"/on/example.net:80/x", b"https://example.net:80/x"),
        ):
            self.assertEqual(self.captured(regex, to, target), expected, (to, target))

    def test_captured(self):
        """
        What is captured of a path is the same in the address: no query begins in it, and nothing is decoded twice.
        """
        for to, target, expected in (
            ("/b/{1}", b"/a/x%3Fy=1", b"/b/x%3Fy=1"),
            ("/b/{1}", b"/a/%2541%2Fz%20%FF", b"/b/%2541%2Fz%20%FF"),
            ("https://example.org/{1}", b"/a/x%23y", b"https://example.org/x%23y"),
            ("/b?p={1}&q", b"/a/x&y=1%2Fz", b"/b?p=x%26y%3D1/z&q"),
        ):
            self.assertEqual(self.captured("^/a/(.*)$", to, target), expected, (to, target))

    def test_split(self):
        """
        No value splits the response, or the address.
        """
        found = location("https://example.org/{header.x}", b"/", x=b'a b\t\xe4"<>\\')
        self.assertEqual(found, b"https://example.org/a%20b%09%E4%22%3C%3E%5C")


class ConfigTests(SynchronousTestCase):
    """
    What cannot be a redirect.
    """

    def refused(self, key: str, **table) -> None:
        error = self.assertRaises(ConfigError, make, table)
        self.assertEqual(error.key, key)

    def test_refused(self):
        """
        Each with its key: a status that is none, no address, and one that the client would choose.
        """
        self.refused("status", to="/", status=200)
        self.refused("status", to="/", status=304)
        self.refused("to", to="")
        self.refused("to", to="/a\r\nSet-Cookie: x")
        self.refused("to", to="/{host}\n")
        for to in (
            "{arg.next}",
            "{header.referer}",
            "{cookie.back}/x",
            "{query}",
            "https://{arg.to}/",
            "//{header.x}{uri}",
        ):
            self.refused("to", to=to)
