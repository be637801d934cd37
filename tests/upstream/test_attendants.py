"""
Tests for twistginx.build.servers: what finds, checks and cuts off servers, from the configuration to the wire.
"""

from __future__ import annotations

from textwrap import dedent
from types import ModuleType
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from tests.upstream.discovery.test_membership import Source
from twistginx.config.dump import dump
from twistginx.errors import ConfigError
from twistginx.interfaces import IDiscoveryModule
from twistginx.registry import Plugin
from twistginx.testing import MemoryServer
from twistginx.upstream.control import Control

SITE = """
[[site]]
listen = "tcp:80"
[[site.route]]
proxy = { upstream = "app" }
"""


class AttendantsCase(SynchronousTestCase):
    """
    A server in memory.
    """

    server: MemoryServer

    def serve(self, upstream: str, files: dict[str, bytes] | None = None, plugins: Any = ()) -> MemoryServer:
        """
        A server with an upstream ``app``.
        """
        self.server = MemoryServer(self.config(upstream), files, plugins)
        self.addCleanup(self.server.close)
        return self.server

    def config(self, upstream: str) -> str:
        """
        The configuration.
        """
        return f"[upstream.app]\n{dedent(upstream)}\n{SITE}"

    @property
    def upstream(self) -> Any:
        """
        The live one.
        """
        assert self.server.generation is not None
        return self.server.generation.upstreams["app"]

    def labels(self) -> list[str]:
        """
        Of its peers.
        """
        return [peer.label.decode() for peer in self.upstream.peers]

    def problems(self, upstream: str) -> list[str]:
        """
        What is said of a configuration that is refused.
        """
        error = self.assertRaises(ConfigError, MemoryServer, self.config(upstream))
        return [f"{each.key}: {each.message}; {each.expected}" for each in error.problems]


class FoundTests(AttendantsCase):
    """
    Servers that are found.
    """

    def test_nothing(self) -> None:
        """
        An upstream of addresses has nobody beside it.
        """
        self.serve('servers = ["127.0.0.1:9001"]')
        self.assertEqual(self.upstream.attendants, {})
        self.assertFalse(self.upstream.attentive)

    def test_system_name(self) -> None:
        """
        ``localhost`` is known when the first request comes.
        """
        server = self.serve('servers = ["localhost:9001"]')
        self.assertIn("127.0.0.1:9001", self.labels())
        client = server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(("127.0.0.1", 9001), server.connecting())
        client.close()
        server.refuse()

    def test_servers_file(self) -> None:
        """
        A file's servers, and what it says later.
        """
        server = self.serve('servers_file = "servers.txt"', {"servers.txt": b"127.0.0.1:9001\n"})
        self.assertEqual(self.labels(), ["127.0.0.1:9001"])
        (first,) = self.upstream.peers
        (server.directory / "servers.txt").write_text("127.0.0.1:9001\n127.0.0.1:9002\n")
        server.advance(4)
        self.assertEqual(self.labels(), ["127.0.0.1:9001", "127.0.0.1:9002"])
        self.assertIs(self.upstream.peers[0], first)

    def test_unchanged_reload(self) -> None:
        """
        Nothing is another when the configuration is not.
        """
        text = 'servers_file = "servers.txt"\nhealth = "/"\nbreaker = true'
        server = self.serve(text, {"servers.txt": b"127.0.0.1:9001\n"})
        before = (self.upstream, self.upstream.peers, self.upstream.attendants)
        server.load(self.config(text))
        self.assertEqual((self.upstream, self.upstream.peers, self.upstream.attendants), before)
        self.assertEqual(list(self.upstream.attendants), ["discovery", "health", "breaker"])

    def test_changed_reload(self) -> None:
        """
        Peers stay, and their health and their counters, when something else about the upstream changes.
        """
        text = 'servers = ["localhost:9009"]\nservers_file = "servers.txt"\nhealth = { connect = true, fall = 1 }'
        server = self.serve(text, {"servers.txt": b"127.0.0.1:9001\n127.0.0.1:9002\n"})
        before = self.upstream
        peers = before.peers
        server.advance(1)
        for peer in peers:
            if peer.label.endswith(b":9001"):
                server.refuse()
            else:
                server.accept()
        ill = [peer for peer in peers if peer.state == "down"]
        self.assertEqual(len(ill), 1)
        ill[0].begun = ill[0].ended = 5
        server.load(self.config(text + "\nkeepalive = 3"))
        self.assertIsNot(self.upstream, before)
        self.assertEqual(self.upstream.peers, peers)
        self.assertEqual([peer.state for peer in peers].count("down"), 1)
        self.assertEqual((ill[0].state, ill[0].begun), ("down", 5))
        server.load(self.config(text.partition("\nhealth")[0]))
        self.assertEqual({peer.state for peer in self.upstream.peers}, {"up"})

    def test_plugin(self) -> None:
        """
        Anybody may find servers.
        """
        source = Source()

        @frozen
        class Config:
            """
            Where.
            """

            where: str

        module: Any = ModuleType("acme_discovery")
        directlyProvides(module, IDiscoveryModule)
        module.name, module.api, module.Config = "acme", 1, Config
        module.make = lambda config, context: source
        import sys

        sys.modules["acme_discovery"] = module
        self.addCleanup(sys.modules.pop, "acme_discovery")
        self.serve('discover = { acme = { where = "here" } }', plugins=[Plugin("discovery", "acme", "acme_discovery")])
        self.assertEqual(self.labels(), [])
        self.assertIn(b"503 ", self.server.get())
        source.finding.found(["127.0.0.1:9001"])
        self.assertEqual(self.labels(), ["127.0.0.1:9001"])

    def test_route_of_its_own(self) -> None:
        """
        The servers of a route's own upstream may have names, too.
        """
        self.server = MemoryServer(
            '[[site]]\nlisten = "tcp:80"\n[[site.route]]\nproxy = { to = ["http://localhost:9001"] }'
        )
        self.addCleanup(self.server.close)
        client = self.server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.server.connecting(), [("127.0.0.1", 9001)])
        client.close()
        self.server.refuse()


class HealthTests(AttendantsCase):
    """
    Servers that are checked.
    """

    def test_check(self) -> None:
        """
        A server that does not pass gets no requests.
        """
        server = self.serve('servers = ["127.0.0.1:9001", "127.0.0.1:9002"]\nhealth = "/healthz"')
        server.advance(1)
        for _ in range(2):
            port = server.connecting()[0][1]
            connection = server.accept()
            self.assertTrue(connection.take().startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port))
            status = b"200 OK" if port == 9001 else b"503 Sorry"
            connection.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual([peer.state for peer in self.upstream.peers], ["up", "down"])
        report = {each["server"]: each["error"] for each in self.upstream.attendants["health"].report()}
        self.assertEqual(report, {"127.0.0.1:9001": "", "127.0.0.1:9002": "it answered 503, not 200-399"})

    def test_elsewhere(self) -> None:
        """
        Another port, and another name.
        """
        server = self.serve('servers = ["127.0.0.1:9001"]\nhealth = { port = 9999, host = "app.internal" }')
        server.advance(1)
        self.assertEqual(server.connecting(), [("127.0.0.1", 9999)])
        self.assertIn(b"\r\nHost: app.internal\r\n", server.accept().take())

    def test_breaker(self) -> None:
        """
        A server that fails too much gets no requests, and clients are answered at once.
        """
        server = self.serve('servers = ["127.0.0.1:9001"]\nbreaker = { minimum = 3 }')
        for _ in range(3):
            client = server.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            server.accept().send(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 500 ", client.take())
        self.assertIn(b" 503 ", server.get())
        self.assertEqual(server.connecting(), [])
        server.advance(5.5)
        (peer,) = self.upstream.peers
        self.assertEqual(peer.max_connections, 1)
        Control(lambda: {"app": self.upstream}).weigh("app", "*", 5)
        self.assertEqual(peer.max_connections, 1)  # it is on trial, whatever else is said of it
        client = server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.assertIsNone(peer.max_connections)


class ConfigTests(AttendantsCase):
    """
    What can be configured.
    """

    def test_mistakes(self) -> None:
        """
        Each is said where it is.
        """
        for upstream, key, reason in (
            ("keepalive = 1", "upstream.app", 'the key "servers" is missing'),
            ("servers = []", "upstream.app.servers", "is empty"),
            ('discover = "x"', "upstream.app.discover", "expected a table"),
            ("discover = {}", "upstream.app.servers", "is empty"),
            (
                'discover = { srw = "x" }',
                "upstream.app.discover.srw",
                'there is no discovery "srw"; expected one of etcd, ',
            ),
            ('discover = { srv = "a b" }', "upstream.app.discover.srv", "is not the name of a host"),
            ('servers_file = "nothing.txt"', "upstream.app.servers_file", "cannot be read"),
            (
                'servers_file = "a"\ndiscover = { file = "b" }',
                "upstream.app.servers_file",
                "stands beside discover.file",
            ),
            (
                'servers = ["a:1"]\nresolver = "ns.internal"',
                "upstream.app.resolver",
                "not the address of a name server",
            ),
            ('servers = ["a:1"]\nresolve = "never"', "upstream.app.resolve", '"always" or "once"'),
            ('servers = ["a:1"]\nbreaker = { ratio = 2 }', "upstream.app.breaker.ratio", "up to 1"),
            ('servers = ["a:1"]\nbreaker = "on"', "upstream.app.breaker", "expected true, or a table"),
            ('servers = ["a:1"]\nhealth = { pth = "/" }', "upstream.app.health.pth", 'did you mean "path"'),
        ):
            with self.subTest(upstream=upstream):
                said = self.problems(upstream)
                self.assertTrue(any(each.startswith(key) and reason in each for each in said), said)

    def test_dump(self) -> None:
        """
        What is written out means the same.
        """
        text = """
            servers_file = "servers.json"
            discover = { srv = "_http._tcp.app", http = { url = "http://a/", headers = { A = "b" } } }
            resolver = "127.0.0.1:5353"
            resolve = "once"
            health = { send = "hex:00ff", expect = "^x", interval = "2s" }
            breaker = { ratio = 0.25 }
        """
        server = self.serve(text, {"servers.json": b"[]"})
        assert server.generation is not None
        before = server.generation.root
        after = server.load(dump(before)).root
        self.assertEqual(
            {(use.name, repr(use.config)) for use in after.upstreams["app"].discover},
            {(use.name, repr(use.config)) for use in before.upstreams["app"].discover},
        )
        for key in ("health", "breaker", "resolver", "resolve", "servers"):
            self.assertEqual(getattr(after.upstreams["app"], key), getattr(before.upstreams["app"], key))
