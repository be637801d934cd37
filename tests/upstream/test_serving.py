"""
Upstreams as the configuration makes them: whole requests, and whole reloads, in memory.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.build import upstreams as build_upstreams
from twistginx.config.dump import dump
from twistginx.errors import ConfigError
from twistginx.testing import Connection, MemoryServer
from twistginx.upstream.control import Control

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SITE = """
    [upstream.app]
    {}
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    proxy = {{ upstream = "app" }}
"""
STREAM = """
    [upstream.app]
    {}
    [[stream]]
    listen = "tcp:80"
    upstream = "app"
"""
TWO = 'servers = ["10.0.0.1:80", "10.0.0.2:80"]\n'


class ServingCase(SynchronousTestCase):
    """
    A server with an upstream ``app``.
    """

    frame = SITE

    def serve(self, options: str) -> MemoryServer:
        server = self.server = MemoryServer(self.frame.format(options))
        self.addCleanup(server.close)
        return server

    def reload(self, options: str) -> None:
        self.server.load(self.frame.format(options))

    @property
    def upstream(self) -> Any:
        assert self.server.generation is not None
        return self.server.generation.upstreams["app"]

    @property
    def control(self) -> Control:
        return Control(lambda: self.server.generation.upstreams)  # type: ignore[union-attr]

    def ask(self, fields: bytes = b"", peer: str = "127.0.0.1") -> Connection:
        """
        A client, and its request.
        """
        client = self.server.connect(peer=peer)
        self.addCleanup(lambda: client.closed or client.close())
        self.send(client, fields)
        return client

    def send(self, client: Connection, fields: bytes = b"") -> None:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")

    def accept(self) -> Connection:
        """
        The server that is connected to.
        """
        server = self.server.accept()
        self.addCleanup(lambda: server.closed or server.close())
        return server

    def to(self) -> list[str]:
        """
        Who is connected to.
        """
        return [host for host, _ in self.server.connecting()]


class LimitTests(ServingCase):
    """
    ``max_connections``, ``queue`` and ``backup``.
    """

    def test_queue(self) -> None:
        """
        Who finds every server busy waits, and is served in order; the connections of those before are used.
        """
        self.serve(
            'servers = [{ to = "10.0.0.1:80", max_connections = 1 }, { to = "10.0.0.2:80", max_connections = 1 }]'
        )
        clients = [self.ask(b"X-Number: %d\r\n" % number) for number in range(4)]
        self.assertEqual(self.to(), ["10.0.0.1", "10.0.0.2"])
        self.assertEqual(self.control.state()["app"]["waiting"], 2)
        one, two = self.accept(), self.accept()
        one.take(), two.take()
        two.send(OK)
        self.assertIn(b"X-Number: 2\r\n", two.take())
        one.send(OK)
        self.assertIn(b"X-Number: 3\r\n", one.take())
        two.send(OK)
        one.send(OK)
        self.assertEqual([client.take()[-2:] for client in clients], [b"ok"] * 4)
        self.assertEqual(self.upstream.roster.full, set())
        self.assertEqual([peer.active for peer in self.upstream.peers], [0, 0])
        self.assertEqual(len(self.upstream.roster.queue), 0)

    def test_queue_is_bounded(self) -> None:
        """
        In length, and in time: 503, with the setting; who leaves makes room.
        """
        self.serve('servers = [{ to = "10.0.0.1:80", max_connections = 1 }]\nqueue = { size = 2, timeout = "2s" }')
        self.ask()
        server = self.accept()
        waiting = [self.ask(), self.ask()]
        refused = self.ask().take()
        self.assertIn(b" 503 ", refused)
        self.assertIn(b'error=connection_limit_reached; details="upstream.app.queue.size = 2"', refused)
        waiting[0].close()
        self.assertEqual(len(self.upstream.roster.queue), 1)
        late = self.ask()
        self.server.advance(1)
        self.assertEqual(late.take(), b"")
        self.server.advance(1.5)
        self.assertIn(b'details="upstream.app.queue.timeout = 2s"', waiting[1].take())
        self.assertIn(b" 503 ", late.take())
        server.send(OK)
        self.assertEqual(self.upstream.roster.full, set())

    def test_workers(self) -> None:
        """
        What a server may have is divided among the workers, rounded down; each has one, at least.
        """
        options = """
            servers = [
                { to = "10.0.0.1:80", max_connections = 7 },
                { to = "10.0.0.2:80", max_connections = 1 },
                "10.0.0.3:80",
            ]"""
        self.serve(options)
        for workers, parts in ((3, [2, 1, None]), (1, [7, 1, None])):
            self.server.runtime.workers = workers
            self.reload(options)
            self.assertEqual([peer.max_connections for peer in self.upstream.peers], parts)

    def test_no_queue(self) -> None:
        """
        ``queue = 0`` lets nobody wait.
        """
        self.serve('servers = [{ to = "10.0.0.1:80", max_connections = 1 }]\nqueue = 0')
        self.ask()
        self.assertIn(b" 503 ", self.ask().take())
        self.accept()

    def test_every_end_counts(self) -> None:
        """
        However a request ends, its place is free again: refused, cut off, broken off by the client, timed out.
        """
        self.serve(
            'servers = [{ to = "10.0.0.1:80", max_connections = 1 }]\ntimeouts = { first_byte = "1s" }\nqueue = 0'
        )
        peer = self.upstream.peers[0]

        def free() -> None:
            self.assertEqual((peer.active, self.upstream.roster.full), (0, set()))

        self.ask()
        self.server.refuse()
        free()
        self.ask()
        self.accept().reset()
        free()
        client = self.ask()
        self.accept()
        self.assertEqual(peer.active, 1)
        client.close()
        free()
        client = self.ask()
        self.assertEqual(peer.active, 1)
        client.close()  # while we connect
        self.server.refuse()
        free()
        self.ask()
        self.accept()
        self.server.advance(1.5)
        free()

    def test_upgrade(self) -> None:
        """
        A tunnel takes its place as long as it is open.
        """
        self.serve('servers = [{ to = "10.0.0.1:80", max_connections = 1 }]')
        client = self.ask(b"Connection: upgrade\r\nUpgrade: websocket\r\n")
        server = self.accept()
        server.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(self.upstream.peers[0].active, 1)
        self.assertEqual(len(self.upstream.roster.full), 1)
        client.close()
        self.assertEqual(self.upstream.peers[0].active, 0)
        self.assertEqual(len(self.upstream.roster.full), 0)

    def test_limit_that_comes_by_reload(self) -> None:
        """
        What has begun before there was a limit counts, and its end is heard.
        """
        self.serve('servers = ["10.0.0.1:80"]')
        before = self.ask()
        server = self.accept()
        server.take()
        self.reload('servers = [{ to = "10.0.0.1:80", max_connections = 1 }]')
        after = self.ask()
        self.assertEqual(self.to(), [])
        server.send(OK)
        self.assertTrue(before.take().endswith(b"ok"))
        self.assertTrue(server.take().startswith(b"GET / "))
        server.send(OK)
        self.assertTrue(after.take().endswith(b"ok"))

    def test_backup(self) -> None:
        """
        A backup is used when nobody else can be reached, and not before.
        """
        self.serve('servers = [{ to = "10.0.0.9:80", backup = true }, "10.0.0.1:80", "10.0.0.2:80"]')
        client = self.ask()
        for host in ("10.0.0.1", "10.0.0.2"):
            self.assertEqual(self.to(), [host])
            self.server.refuse()
        self.assertEqual(self.to(), ["10.0.0.9"])
        self.accept().send(OK)
        self.assertTrue(client.take().endswith(b"ok"))
        for server in ("10.0.0.1:80", "10.0.0.2:80"):
            self.control.disable("app", server)
        self.assertEqual([peer.label for peer in self.upstream.available], [b"10.0.0.9:80"])


class StickyTests(ServingCase):
    """
    ``sticky``.
    """

    options = TWO + 'sticky = { secret = "0123456789abcdef" }'

    def cookie(self, answer: bytes) -> bytes:
        """
        The cookie that is set, as it comes back; empty when none is.
        """
        found = re.search(rb"Set-Cookie: ([^;\r]*)", answer)
        return b"" if found is None else b"Cookie: x=1; " + found[1] + b"\r\n"

    def first(self) -> tuple[bytes, str]:
        """
        A client's first request: its cookie, and its server.
        """
        client = self.ask()
        (host,) = self.to()
        self.accept().send(OK + b"")
        return self.cookie(client.take()), host

    def test_comes_back(self) -> None:
        """
        Who has a cookie comes back, and gets no other; who has none, or a forged one, is balanced.
        """
        self.serve(self.options + "\nkeepalive = 0")
        cookie, host = self.first()
        self.assertNotIn(host.encode(), cookie)
        for _ in range(3):
            client = self.ask(cookie)
            self.assertEqual(self.to(), [host])
            self.accept().send(OK)
            self.assertEqual(self.cookie(client.take()), b"")
        forged = cookie[:-4] + b"AA\r\n"
        client = self.ask(forged)
        self.accept().send(OK)
        self.assertNotIn(self.cookie(client.take()), (b"", forged))

    def test_reload_and_death(self) -> None:
        """
        It survives a reload with other servers; when the server is gone, or does not answer, there is another cookie.
        """
        self.serve(self.options + "\nkeepalive = 0")
        cookie, host = self.first()
        self.reload(self.options.replace("[", '["10.0.0.7:80", ') + "\nkeepalive = 0")
        client = self.ask(cookie)
        self.assertEqual(self.to(), [host])
        self.server.refuse()
        (other,) = self.to()
        self.assertNotEqual(other, host)
        self.accept().send(OK)
        second = self.cookie(client.take())
        self.assertNotIn(second, (b"", cookie))
        client = self.ask(second)
        self.assertEqual(self.to(), [other])
        self.accept().send(OK)
        client.take()
        self.control.disable("app", f"{other}:80")
        client = self.ask(second)
        self.assertNotEqual(self.to(), [other])
        self.accept().send(OK)
        self.assertNotIn(self.cookie(client.take()), (b"", second))

    def test_machine_without_a_secret(self) -> None:
        """
        Where the machine has none, it is one that all workers are given.
        """
        self.patch(build_upstreams, "machine_secret", lambda: None)
        codes = []
        for secret in (b"a" * 32, b"a" * 32, b"b" * 32):
            server = self.serve(TWO)
            server.runtime.secret = secret
            self.reload(TWO + "sticky = true")
            codes.append(self.upstream.sticky.code(b"10.0.0.1:80"))
        self.assertEqual(codes[0], codes[1])
        self.assertNotEqual(codes[0], codes[2])

    def test_draining(self) -> None:
        """
        A server that drains keeps its clients, and gets no new ones.
        """
        self.serve(self.options + "\nkeepalive = 0")
        cookie, host = self.first()
        self.control.drain("app", f"{host}:80")
        for fields, same in ((cookie, True), (b"", False), (b"", False)):
            client = self.ask(fields)
            self.assertEqual(self.to() == [host], same)
            self.accept().send(OK)
            client.take()

    def test_attributes(self) -> None:
        """
        What the cookie says beside its value.
        """
        self.serve(TWO + 'sticky = { cookie = "s", ttl = "1h", same_site = "none", secret = "0123456789abcdef" }')
        client = self.ask()
        self.accept().send(OK)
        self.assertRegex(
            client.take(),
            rb"Set-Cookie: s=[\w-]{16}; Path=/; HttpOnly; SameSite=None; Max-Age=3600; Secure\r\n",
        )

    def test_shorthand(self) -> None:
        """
        ``sticky = true`` is enough, and false is not a word for it.
        """
        self.serve(TWO + "sticky = true")
        self.assertIn(b"Set-Cookie: sticky_app=", self.answered(b""))
        self.assertRaises(ConfigError, self.reload, TWO + "sticky = 7")
        error = self.assertRaises(ConfigError, self.reload, TWO + 'sticky = { secret = "short" }')
        self.assertIn("16 characters", str(error))

    def answered(self, fields: bytes) -> bytes:
        client = self.ask(fields)
        self.accept().send(OK)
        return client.take()


class ReloadTests(ServingCase):
    """
    What outlives another configuration of an upstream.
    """

    def test_servers_that_stay(self) -> None:
        """
        Their connections, their counters and what was set by hand; the others are closed when they are done.
        """
        self.serve(TWO)
        clients = [self.ask(), self.ask()]
        one, two = self.accept(), self.accept()
        for server in (one, two):
            server.take()
            server.send(OK)
        self.assertEqual([client.take()[-2:] for client in clients], [b"ok", b"ok"])
        stays, leaves = self.upstream.peers
        self.control.weigh("app", "10.0.0.1:80", 5)
        before = self.upstream
        self.reload('servers = ["10.0.0.1:80", "10.0.0.3:80"]\nkeepalive = 7')
        self.assertIsNot(self.upstream, before)
        self.assertIs(self.upstream.peers[0], stays)
        self.assertEqual((stays.begun, stays.weight), (1, 5))
        self.assertFalse(one.closed)
        self.assertTrue(two.closed)
        self.assertEqual((leaves.state, leaves.leaving), ("draining", True))
        self.send(clients[0])
        self.assertTrue(one.take().startswith(b"GET / "))
        one.send(OK)

    def test_work_goes_on(self) -> None:
        """
        What a server that left was doing is finished, and then its connection is closed.
        """
        self.serve(TWO)
        client = self.ask()
        one = self.accept()
        self.reload('servers = ["10.0.0.2:80"]')
        state = self.control.state("app")["app"]["servers"]
        self.assertEqual([(each["server"], each["active"]) for each in state], [("10.0.0.2:80", 0), ("10.0.0.1:80", 1)])
        one.send(OK)
        self.assertTrue(client.take().endswith(b"ok"))
        self.assertTrue(one.closed)
        # It is forgotten when somebody looks, at the latest with the next change.
        self.reload('servers = ["10.0.0.2:80", "10.0.0.3:80"]')
        self.assertEqual(len(self.control.state("app")["app"]["servers"]), 2)

    def test_refused_reload(self) -> None:
        """
        A configuration that is refused has changed nothing.
        """
        self.serve(TWO)
        before = self.upstream.peers
        broken = self.frame.format('servers = ["10.0.0.1:80"]\nkeepalive = 3') + "[[site]]\nlisten = 7"
        self.assertRaises(ConfigError, self.server.load, broken)
        self.assertEqual(self.upstream.peers, before)
        self.assertEqual([peer.state for peer in before], ["up", "up"])
        self.assertEqual([peer.share for peer in before], [10, 10])

    def test_twice(self) -> None:
        """
        A server that is named twice takes twice its share.
        """
        self.serve('servers = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"]')
        self.assertEqual(
            [(peer.label, peer.weight) for peer in self.upstream.peers], [(b"10.0.0.1:80", 2), (b"10.0.0.2:80", 1)]
        )
        heavy = '{ to = "10.0.0.1:80", weight = 1_000_000 }'
        self.reload(f"servers = [{heavy}, {heavy}]")
        self.assertEqual([peer.weight for peer in self.upstream.peers], [1_000_000])


class OwnTests(SynchronousTestCase):
    """
    Upstreams of routes that name their servers themselves.
    """

    frame = """
        [[site]]
        listen = "tcp:80"
        {}
        [[site.route]]
        path = "/a"
        proxy = ["http://10.0.0.1:80", "http://10.0.0.2:80"]
        [[site.route]]
        path = "/b"
        proxy = {{ to = ["http://10.0.0.1:80", "http://10.0.0.2:80"] }}
        [[site.route]]
        path = "/c"
        proxy = "https://10.0.0.3:80"
        [[site.route]]
        path = "/d"
        proxy = "http://10.0.0.3:80"
        """

    def serve(self, more: str = "") -> MemoryServer:
        server = self.server = MemoryServer(self.frame.format(more))
        self.addCleanup(server.close)
        return server

    @property
    def control(self) -> Control:
        return Control(lambda: self.server.generation.all_upstreams)  # type: ignore[union-attr]

    def test_operated(self) -> None:
        """
        They are seen and steered as others are, and requests cannot choose them by name.
        """
        server = self.serve()
        self.assertEqual(list(self.control.state()), ["10.0.0.1:80, 10.0.0.2:80", "10.0.0.3:80", "10.0.0.3:80 (2)"])
        self.assertEqual(server.generation.upstreams, {})  # type: ignore[union-attr]
        self.control.disable("10.0.0.1:80, 10.0.0.2:80", "10.0.0.1:80")
        for path in (b"/a", b"/b", b"/a"):
            server.connect().send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            server.accept()
        self.assertEqual([each[0] for each in server.reactor.tcpClients], ["10.0.0.2"] * 3)

    def test_shared_and_kept(self) -> None:
        """
        Who names the same servers has the same connections, and a reload that moves a route keeps them.
        """
        server = self.serve()
        client = server.connect()
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        peer = server.accept()
        peer.take()
        peer.send(OK)
        server.load(self.frame.format('[[site.route]]\npath = "/new"\nproxy = "http://10.0.0.9:80"'))
        self.control.disable("10.0.0.1:80, 10.0.0.2:80", "10.0.0.2:80")
        client.send(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"GET /b ", peer.take())
        state = self.control.state()["10.0.0.1:80, 10.0.0.2:80"]["servers"][0]
        self.assertEqual((state["requests"], state["active"]), (2, 1))


class ConnectionTests(ServingCase):
    """
    How connections are made, and how long they are used.
    """

    def answered(self, client: Connection, server: Connection) -> bool:
        """
        One more request; is it on this connection?
        """
        server.take()
        self.send(client)
        came = server.take().startswith(b"GET ")
        if came:
            server.send(OK)
            client.take()
        return came

    def test_max_requests(self) -> None:
        """
        After so many requests another connection is made.
        """
        self.serve('servers = ["10.0.0.1:80"]\nmax_requests = 2')
        client = self.ask()
        server = self.accept()
        server.send(OK)
        self.assertTrue(self.answered(client, server))
        self.assertTrue(server.closed)
        self.assertFalse(self.answered(client, server))
        self.accept().send(OK)

    def test_max_age(self) -> None:
        """
        A connection that is old is closed after its response.
        """
        self.serve('servers = ["10.0.0.1:80"]\nmax_age = "6s"')
        client = self.ask()
        server = self.accept()
        server.send(OK)
        for _ in range(2):
            self.server.advance(2)
            self.assertTrue(self.answered(client, server))
        self.assertFalse(server.closed)
        self.server.advance(2.25)
        self.assertTrue(self.answered(client, server))
        self.assertTrue(server.closed)

    def test_bind(self) -> None:
        """
        Connections come from the address that is wanted; one of another family is told of.
        """
        self.serve('servers = ["10.0.0.1:80"]\nbind = "10.0.0.5"')
        self.ask()
        self.assertEqual(self.server.reactor.tcpClients[0][4], ("10.0.0.5", 0))
        self.accept()
        error = self.assertRaises(ConfigError, self.reload, 'servers = ["[::1]:80"]\nbind = "10.0.0.5"')
        self.assertIn("upstream.app.servers[0]: [::1]:80 cannot be reached from 10.0.0.5", str(error))
        self.assertRaises(ConfigError, self.reload, 'servers = ["unix:/x"]\nbind = "10.0.0.5"')
        self.assertRaises(ConfigError, self.reload, 'servers = ["10.0.0.1:80"]\nbind = "eth0"')

    def test_warm_in_vain(self) -> None:
        """
        More warm connections than are kept, or some that are for nobody, are a mistake.
        """
        self.serve(TWO)
        for options, said in (
            ("warm = 65", "upstream.app.warm: is more than keepalive, which is 64"),
            ('warm = 1\nproxy_protocol = "v1"', "upstream.app.warm: has no effect with proxy_protocol"),
        ):
            self.assertIn(said, str(self.assertRaises(ConfigError, self.reload, TWO + options)))

    def test_dump(self) -> None:
        """
        A dump shows all of it, but no secret, and is read again as it is.
        """
        options = (
            TWO
            + """
            hash_key = "{cookie.user}"
            sticky = { secret = "0123456789abcdef" }
            queue = 7
            slow_start = "10s"
            bind = "10.0.0.5"
            max_age = "1h"
        """
        )
        self.serve(options)
        text = dump(self.server.generation.root)  # type: ignore[union-attr]
        self.assertNotIn("0123456789abcdef", text)
        for part in ('hash_key = "{cookie.user}"', "bounded_load = 1.25", "size = 7", 'slow_start = "10s"', "(hidden)"):
            self.assertIn(part, text)

    def test_warm(self) -> None:
        """
        So many connections to each server are there before anybody asks, and again when they were used or are too old.
        """
        self.serve(TWO + "warm = 2")
        self.assertEqual(sorted(self.to()), ["10.0.0.1"] * 2 + ["10.0.0.2"] * 2)
        servers = [self.accept() for _ in range(4)]
        self.assertEqual(self.upstream.resting, 4)
        client = self.ask()
        self.assertEqual(self.to(), [])
        busy = next(server for server in servers if server.take())
        self.server.advance(1)
        self.assertEqual(len(self.to()), 1)
        self.server.refuse()
        self.server.advance(1)
        self.assertEqual(self.to(), [])  # it is left alone for a while
        busy.send(OK)
        self.assertTrue(client.take().endswith(b"ok"))
        self.server.advance(4)
        self.assertTrue(all(server.closed for server in servers))
        self.assertEqual(len(self.to()), 2)
        self.reload(TWO)
        self.assertEqual(self.upstream.resting, 0)

    def test_proxy_protocol(self) -> None:
        """
        The server is told who the client is, before all else, and no other client's request comes on that connection.
        """
        self.serve('servers = ["10.0.0.1:80"]\nproxy_protocol = "v1"')
        mine = self.ask(peer="192.0.2.1")
        server = self.accept()
        self.assertTrue(server.take().startswith(b"PROXY TCP4 192.0.2.1 127.0.0.1 54321 80\r\nGET / HTTP/1.1\r\n"))
        server.send(OK)
        mine.take()
        self.ask(peer="192.0.2.2")
        other = self.accept()
        self.assertTrue(other.take().startswith(b"PROXY TCP4 192.0.2.2 "))
        self.assertEqual(server.take(), b"")
        self.send(mine)
        self.assertTrue(server.take().startswith(b"GET / HTTP/1.1\r\n"))
        server.send(OK)
        other.send(OK)


class StreamTests(ServingCase):
    """
    Raw streams go by the same rules.
    """

    frame = STREAM

    def ask(self, fields: bytes = b"", peer: str = "127.0.0.1") -> Connection:
        client = self.server.connect(peer=peer)
        self.addCleanup(lambda: client.closed or client.close())
        return client

    def test_least_connections(self) -> None:
        """
        A stream counts as long as it is open.
        """
        self.serve(TWO + 'balance = "least_connections"')
        clients = [self.ask() for _ in range(4)]
        self.assertEqual(sorted(self.to()), ["10.0.0.1"] * 2 + ["10.0.0.2"] * 2)
        for _ in clients:
            self.accept()
        self.assertEqual([peer.active for peer in self.upstream.peers], [2, 2])
        for client, peer in zip(clients, ("10.0.0.1", "10.0.0.2") * 2, strict=True):
            if peer == "10.0.0.1":
                client.close()
        self.assertEqual([peer.active for peer in self.upstream.peers], [0, 2])
        self.ask(), self.ask()
        self.assertEqual(self.to(), ["10.0.0.1"] * 2)
        self.accept(), self.accept()

    def test_queue(self) -> None:
        """
        Streams wait for a place too, and may leave.
        """
        self.serve('servers = [{ to = "10.0.0.1:80", max_connections = 1 }]\nqueue = { timeout = "2s" }')
        first, leaves, second, late = (self.ask() for _ in range(4))
        server = self.accept()
        leaves.close()
        second.send(b"hello")
        self.assertEqual(self.to(), [])
        first.close()
        self.assertTrue(server.closed)
        again = self.accept()
        self.assertEqual(again.take(), b"hello")
        self.server.advance(2.5)
        self.assertTrue(late.closed)
        again.close()
        self.assertEqual(self.upstream.peers[0].active, 0)

    def test_ip_hash(self) -> None:
        """
        A client of a stream has an address.
        """
        self.serve(TWO + 'balance = "ip_hash"')
        for address in ("192.0.2.1", "198.51.100.1", "203.0.113.1"):
            for _ in range(2):
                self.ask(peer=address)
            hosts = self.to()
            self.assertEqual((len(hosts), len(set(hosts))), (2, 1))
            self.accept(), self.accept()

    def test_proxy_protocol(self) -> None:
        """
        Version 2, before what the client says.
        """
        self.serve('servers = ["10.0.0.1:80"]\nproxy_protocol = "v2"')
        client = self.ask(peer="192.0.2.1")
        client.send(b"hello")
        said = self.accept().take()
        self.assertEqual(said[:12], b"\r\n\r\n\0\r\nQUIT\n")
        self.assertTrue(said.endswith(bytes((192, 0, 2, 1, 127, 0, 0, 1)) + (54321).to_bytes(2, "big") + b"\0Phello"))


class BalanceTests(ServingCase):
    """
    Balancers by their names.
    """

    def test_hash_key(self) -> None:
        """
        ``hash_key`` beside ``balance = "hash"``, or alone, or in the table; beside another balancer it is refused.
        """
        key = 'hash_key = "{cookie.user}"'
        for options in (f'balance = "hash"\n{key}', key, f"balance = {{ hash = {{ {key} }} }}"):
            self.serve(TWO + options + "\nkeepalive = 0")
            for user in (b"ann", b"bob"):
                for _ in range(3):
                    self.ask(b"Cookie: user=%b\r\n" % user)
                hosts = self.to()
                self.assertEqual(len(set(hosts)), 1, options)
                for _ in hosts:
                    self.accept()
        error = self.assertRaises(ConfigError, self.reload, TWO + f'balance = "first"\n{key}')
        self.assertIn("upstream.app.hash_key: is of no use to this balancer", str(error))
        error = self.assertRaises(ConfigError, self.reload, TWO + 'balance = "hash"')
        self.assertIn('the key "hash_key" is missing', str(error))
        error = self.assertRaises(ConfigError, self.reload, TWO + 'hash_key = "x"')
        self.assertIn("upstream.app.hash_key: is the same for all requests", str(error))

    def test_least_time(self) -> None:
        """
        Latency is measured where it is wanted, and shown.
        """
        self.serve(TWO + 'balance = "least_time"')
        client = self.ask()
        self.assertIsNone(self.control.state()["app"]["servers"][0]["first_byte"])
        self.accept().send(OK)
        client.take()
        self.assertGreater(sum(peer.latency for peer in self.upstream.peers), 0)
