"""
Tests for twistginx.upstream.discovery.http, with a real server.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.upstream.discovery.told import Told, context
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.upstream.discovery import http


class List(Resource):
    """
    Says what the test has set.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.content = b'["10.0.0.1:80"]'
        self.asked: list[Any] = []

    def render_GET(self, request: Any) -> bytes:
        """
        The list.
        """
        self.asked.append((request.uri, request.getHeader("Authorization"), request.getHeader("Host")))
        request.setResponseCode(self.status)
        return self.content


class PollTests(TestCase):
    """
    A list that is asked for.
    """

    timeout = 10

    def setUp(self) -> None:
        self.list = List()
        self.port: Any = reactor.listenTCP(0, Site(self.list), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.host = f"127.0.0.1:{self.port.getHost().port}"
        self.told = Told()

    def tearDown(self) -> Deferred[Any]:
        return maybeDeferred(self.port.stopListening)

    def begin(self, path: str = "/", **config: Any) -> None:
        """
        Begin to ask.
        """
        table = {"url": f"http://{self.host}{path}", "interval": "20ms", **config}
        provider = http.make(structure(table, http.Config), context(reactor))
        self.assertNotIn("secret", provider.label)
        told: Any = self.told
        provider.begin(told)
        self.addCleanup(provider.end)

    async def test_found(self) -> None:
        """
        The list is told, again and again, as it is.
        """
        self.begin("/app?token=secret", headers={"Authorization": "Bearer secret"})
        self.assertEqual(await self.told.next(), ["10.0.0.1:80"])
        self.list.content = b'{"servers": ["10.0.0.2:80", {"to": "https://app.internal", "weight": 2}]}'
        self.assertEqual(await self.told.next(), ["10.0.0.2:80", "app.internal:443"])
        self.assertEqual(self.list.asked[0], (b"/app?token=secret", "Bearer secret", self.host))

    async def test_failures(self) -> None:
        """
        What is no list is said.
        """
        self.list.status = 500
        self.begin()
        self.assertEqual(await self.told.next(), "the answer is 500")
        self.list.status, self.list.content = 200, b"<html>"
        self.assertIn("it is not JSON", await self.told.next())
        self.list.content = b'["unix:/run/docker.sock"]'
        self.assertIn("is not an address", await self.told.next())
        await self.port.stopListening()
        while "connection_refused" not in await self.told.next():
            pass


class ConfigTests(SynchronousTestCase):
    """
    What can be configured.
    """

    def test_shorthand(self) -> None:
        """
        A URL.
        """
        self.assertEqual(structure("https://a/b", http.Config), http.Config("https://a/b"))

    def test_url(self) -> None:
        """
        A URL says where, and for what, to ask.
        """
        address, target = http.split_url("https://Registry.internal:8443/a/b?c=d#e")
        self.assertEqual((str(address), address.secure, target), ("registry.internal:8443", True, b"/a/b?c=d"))
        self.assertEqual(http.split_url("http://[::1]")[1], b"/")

    def test_mistakes(self) -> None:
        """
        What cannot be asked is refused.
        """
        for wrong in ("registry.internal", "ftp://a/", "http://", "http://a/b c", "http://u:p@a/", 7):
            self.assertRaises(Faults, structure, wrong, http.Config)
        for headers in ({"a b": "c"}, {"a": "b\nc"}):
            self.assertRaises(Faults, structure, {"url": "http://a", "headers": headers}, http.Config)
