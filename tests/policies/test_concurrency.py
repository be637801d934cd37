"""
Tests for L{twistginx.policies.concurrency}.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from tests.http.conversation import answers
from tests.policies.test_rate_limit import LimitCase, SlowStore
from twistginx.errors import ConfigError
from twistginx.interfaces import IPolicyModule
from twistginx.policies import concurrency
from twistginx.registry import Plugin
from twistginx.shared.local import LocalStore
from twistginx.testing import Connection

SITE = """
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    proxy = "http://127.0.0.1:9001"
    concurrency = {limit}
"""

STREAM = """
    [upstream.db]
    servers = ["127.0.0.1:5432"]
    [[stream]]
    listen = "tcp:5000"
    upstream = "db"
    concurrency = {limit}
"""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ConcurrencyTests(LimitCase):
    """
    Requests at the same time.
    """

    def start(self, number: int, **options) -> list[Connection]:
        """
        So many clients that have asked.
        """
        return [self.ask(**options) for _ in range(number)]

    def refused(self, clients: list[Connection]) -> list[bool]:
        """
        Which of them have been refused.
        """
        return [client.take().startswith(b"HTTP/1.1 429 ") for client in clients]

    def held(self) -> int:
        """
        What the store says is held.
        """
        (store,) = [kept for kept in self.server.runtime.kept.values() if isinstance(kept, LocalStore)]
        return sum(store._held.values())

    def test_module(self) -> None:
        """
        It is a policy's module, behind the rate, for requests and for streams.
        """
        verifyObject(IPolicyModule, concurrency)
        self.assertEqual((concurrency.rank, concurrency.many), (410, True))
        self.assertEqual(concurrency.applies_to, {"http", "stream"})

    def test_limit(self) -> None:
        """
        One too many is refused; when one is answered, the next is let in, on the same connection too.
        """
        self.serve("2", SITE)
        clients = self.start(3)
        self.assertEqual(self.refused(clients), [False, False, True])
        self.assertEqual(self.server.records[-1][1].reason, "concurrency_limited")
        upstream = self.server.accept()
        upstream.send(OK)
        (answer,) = answers(clients[0].take())
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.held(), 1)
        clients[0].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.held(), 2)
        self.assertEqual(self.refused(self.start(1)), [True])

    def test_refusal(self) -> None:
        """
        It is told to come again.
        """
        self.serve("{ limit = 1, status = 503 }", SITE)
        self.start(1)
        answer = self.get()
        self.assertEqual((answer.status, answer.get(b"Retry-After")), (503, b"1"))

    def test_each(self) -> None:
        """
        Each client has his own.
        """
        self.serve("1", SITE)
        self.assertEqual(self.refused(self.start(2)), [False, True])
        self.assertEqual(self.refused(self.start(2, peer="192.0.2.2")), [False, True])

    def test_released_once(self) -> None:
        """
        However a request ends, what it held is given back, once.
        """
        self.serve("5", SITE)
        ends = [
            lambda client, upstream: client.reset(),
            lambda client, upstream: client.close(),
            lambda client, upstream: upstream.reset(),
            lambda client, upstream: upstream.send(b"garbage"),
            lambda client, upstream: upstream.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")),
            lambda client, upstream: (upstream.send(OK[:-1]), client.reset()),
            lambda client, upstream: (upstream.send(OK[:-1]), upstream.reset()),
        ]
        other = self.ask()
        self.server.accept()
        for number, end in enumerate(ends):
            client = self.ask()
            self.assertEqual(self.held(), 2, number)
            end(client, self.server.accept())
            self.assertEqual(self.held(), 1, number)
            if not client.closed:
                client.close()
            self.assertEqual(self.held(), 1, number)
        other.reset()
        self.assertEqual(self.held(), 0)

    def test_refused_connection(self) -> None:
        """
        An upstream that cannot be reached is no reason to hold anything.
        """
        self.serve("1", SITE)
        client = self.ask()
        self.server.refuse()
        self.assertEqual(answers(client.take())[0].status, 502)
        self.assertEqual(self.held(), 0)

    def test_later_policy_refuses(self) -> None:
        """
        Nothing is held for who is refused.
        """
        site = SITE + '    rate_limit = "1/h"\n    bandwidth = {{ upload = "1MB/s" }}\n'
        self.serve("5", site)
        self.ask()
        self.assertEqual(self.get().status, 429)
        self.assertEqual(self.held(), 1)

    def test_websocket(self) -> None:
        """
        A WebSocket counts for as long as it is open.
        """
        self.serve("1", SITE)
        upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
        client = self.ask(**upgrade)
        upstream = self.server.accept()
        upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 101 "))
        self.assertEqual(self.held(), 1)
        self.assertEqual(self.refused(self.start(1)), [True])
        client.close()
        upstream.close()
        self.assertEqual(self.held(), 0)

    def test_several(self) -> None:
        """
        Several in an array hold each their own.
        """
        self.serve('[{ limit = 3 }, { limit = 4, key = "all" }]', SITE)
        clients = self.start(4)
        self.assertEqual(self.refused(clients), [False] * 3 + [True])
        others = self.start(3, peer="192.0.2.2")
        self.assertEqual(self.refused(others), [False, True, True])
        for client in clients + others:
            if not client.closed:
                client.reset()
        self.assertEqual(self.held(), 0)

    def test_dry_run(self) -> None:
        """
        A dry run refuses nothing, and holds what it would have held.
        """
        self.serve("{ limit = 1, dry_run = true }", SITE)
        clients = self.start(3)
        self.assertEqual(self.refused(clients), [False] * 3)
        self.assertEqual(self.held(), 1)
        for client in clients:
            client.reset()
        self.assertEqual(self.held(), 0)

    def test_exempt(self) -> None:
        """
        Who is exempt has no limit.
        """
        self.serve('{ limit = 1, exempt = ["192.0.2.0/24"] }', SITE)
        self.assertEqual(self.refused(self.start(3)), [False] * 3)
        self.assertEqual(self.held(), 0)

    def test_reload(self) -> None:
        """
        What is held is held over a reload, and given back to the new limit.
        """
        server = self.serve("1", SITE)
        client = self.ask()
        server.load(SITE.format(limit=1))
        self.assertEqual(self.refused(self.start(1)), [True])
        client.reset()
        self.assertEqual(self.refused(self.start(1)), [False])

    def test_bad(self) -> None:
        """
        What is refused.
        """
        for limit, said in (("0", "is 0"), ("true", "expected a number"), ('"x"', "expected a number")):
            self.assertIn(said, str(self.assertRaises(ConfigError, self.serve, limit, SITE)))


class StreamTests(LimitCase):
    """
    Connections at the same time.
    """

    def test_connections(self) -> None:
        """
        One too many is closed; when one ends, however it does, the next is let in.
        """
        server = self.serve("2", STREAM)
        clients = [server.connect(peer="192.0.2.1") for _ in range(3)]
        self.assertEqual([client.closed for client in clients], [False, False, True])
        clients[0].reset()
        server.accept()  # that of the first, which is not wanted any more
        next_one = server.connect(peer="192.0.2.1")
        self.assertFalse(next_one.closed)
        self.assertTrue(server.connect(peer="192.0.2.1").closed)
        self.assertFalse(server.connect(peer="192.0.2.2").closed)
        peer = server.accept()
        clients[1].close()
        peer.close()
        self.assertFalse(server.connect(peer="192.0.2.1").closed)


class SlowStoreTests(LimitCase):
    """
    A store on another machine.
    """

    def slow(self, site: str) -> SlowStore:
        plugin = Plugin("store", "slow", "tests.policies.slow_store")
        self.serve("1", '    [shared]\n    store = "slow"\n' + site, plugins=[plugin])
        (store,) = [kept for kept in self.server.runtime.kept.values() if isinstance(kept, LocalStore)]
        return store  # type: ignore[return-value]

    def test_waits(self) -> None:
        """
        The request goes on when the store has decided.
        """
        store = self.slow(SITE)
        clients = [self.ask() for _ in range(2)]
        store.answer()
        store.answer()
        self.assertEqual(clients[0].take(), b"")
        self.assertTrue(clients[1].take().startswith(b"HTTP/1.1 429 "))
        clients[0].reset()
        self.assertEqual(store._held, {})

    def test_client_leaves(self) -> None:
        """
        What was given to a client that has left meanwhile is given back.
        """
        store = self.slow(SITE)
        self.ask().reset()
        self.assertEqual(len(store._held), 1)
        store.answer()
        self.assertEqual(store._held, {})

    def test_stream_leaves(self) -> None:
        """
        The same for a raw connection.
        """
        store = self.slow(STREAM)
        self.server.connect().reset()
        store.answer()
        self.assertEqual(store._held, {})
        client = self.server.connect()
        store.answer()
        self.assertEqual(len(store._held), 1)
        client.reset()
        self.assertEqual(store._held, {})
