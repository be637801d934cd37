"""
Tests for L{twistginx.policies.bandwidth}, and of L{twistginx.http.pacing} and L{twistginx.http.pacedtransport}.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from tests.http.conversation import answers
from tests.policies.test_rate_limit import LimitCase, SlowStore
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.pacedtransport import PacedTransport
from twistginx.interfaces import IPolicyModule
from twistginx.policies import bandwidth
from twistginx.registry import Plugin
from twistginx.testing import Connection

SITE = """
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    path = "/files"
    strip_prefix = true
    static = "www"
    bandwidth = {limit}
    [[site.route]]
    path = "/app"
    proxy = "http://127.0.0.1:9001"
    bandwidth = {limit}
    [[site.route]]
    path = "/words"
    respond = {{ body = "%s" }}
    bandwidth = {limit}
    [[site.route]]
    respond = {{ body = "ok" }}
""" % ("x" * 30000)

KIB = 1024

#: A store that answers when the test says so.
SLOW = Plugin("store", "slow", "tests.policies.slow_store")


class BandwidthTests(LimitCase):
    """
    Responses.
    """

    def serve(self, limit: str, site: str = SITE, **options):
        return super().serve(limit, site, files={"www/big": bytes(400 * KIB)}, **options)

    def curve(self, client: Connection, steps: int) -> list[int]:
        """
        How many bytes the client has, after each quarter of a second.
        """
        got = [len(client.take())]
        for _ in range(steps):
            self.server.advance(0.25)
            got.append(got[-1] + len(client.take()))
        return got

    def assert_rate(self, curve: list[int], rate: int, free: int = 0, slack: int = 1) -> None:
        """
        It is never above the rate, and what came first, and as long as there is something, not much below.
        """
        for step, got in enumerate(curve):
            self.assertLessEqual(got, free + rate / 4 * (step + 1) + 1, curve)
            if got < curve[-1]:
                self.assertGreaterEqual(got, free + rate / 4 * (step + 1) - slack, curve)

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, bandwidth)
        self.assertEqual((bandwidth.rank, bandwidth.applies_to), (420, {"http"}))

    def test_file(self) -> None:
        """
        A file comes at the rate, and whole.
        """
        self.serve('"100KiB/s"')
        client = self.ask("/files/big")
        curve = self.curve(client, 20)
        self.assert_rate(curve, 100 * KIB)
        self.assertGreater(curve[-1], 400 * KIB)
        self.assertEqual(self.server.records[-1][1].sent, 400 * KIB)

    def test_fast(self) -> None:
        """
        A rate of more than a read of the file in a quarter of a second is kept too.
        """
        for rate in (300, 600, 800):
            self.serve(f'"{rate}KiB/s"')
            curve = self.curve(self.ask("/files/big"), 8)
            self.assert_rate(curve, rate * KIB, slack=128 * KIB)
            self.assertGreater(curve[-1], 400 * KIB)

    def test_words(self) -> None:
        """
        So does what is in memory; the next request on the connection is answered in its turn, at its own rate.
        """
        self.serve('"10KiB/s"')
        client = self.ask("/words")
        client.send(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
        data = client.take()
        self.assertLessEqual(len(data), 10 * KIB / 4)
        self.assertIsInstance(client.protocol.transport, PacedTransport)
        for _ in range(16):
            self.server.advance(0.25)
            data += client.take()
        first, second = answers(data)
        self.assertEqual((len(first.body), second.body), (30000, b"ok"))
        self.assertIs(client.protocol.transport, client.transport)

    def test_after(self) -> None:
        """
        What is free comes at once.
        """
        self.serve('{ rate = "20KiB/s", after = "300KiB" }')
        curve = self.curve(self.ask("/files/big"), 30)
        self.assertGreaterEqual(curve[0], 300 * KIB)
        self.assert_rate(curve, 20 * KIB, 300 * KIB)

    def test_upstream(self) -> None:
        """
        An upstream that is faster is read no faster than the client is sent to.
        """
        self.serve('"100KiB/s"')
        client = self.ask("/app")
        upstream = self.server.accept()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        sent = 0
        got = len(client.take())
        for _ in range(8):
            while upstream.reading and sent < 100000:
                upstream.send(bytes(10000))
                sent += 10000
            self.assertLessEqual(sent - got, 10000 + 2 * 100 * KIB // 4 + 200)
            self.server.advance(0.25)
            got += len(client.take())
        self.assertEqual(sent, 100000)
        self.assertGreater(got, 100000)

    def test_close(self) -> None:
        """
        A connection that is to be closed is closed when all is sent, and not before.
        """
        self.serve('"10KiB/s"')
        client = self.ask("/words", connection="close")
        data = client.take()
        for _ in range(14):
            self.assertFalse(client.closed and len(data) < 30000)
            self.server.advance(0.25)
            data += client.take()
        self.assertTrue(client.closed)
        self.assertEqual(len(answers(data)[0].body), 30000)

    def test_drain(self) -> None:
        """
        A drain lets it come to its end.
        """
        self.serve('"10KiB/s"')
        client = self.ask("/words")
        for listener in self.server.listeners.values():
            listener.drain()
        data = client.take()
        for _ in range(14):
            self.server.advance(0.25)
            data += client.take()
        self.assertEqual(len(answers(data)[0].body), 30000)
        self.assertTrue(client.closed)

    def test_client_leaves(self) -> None:
        """
        A client that leaves leaves nothing behind, whether the response had ended for the resource or not.
        """
        self.serve('"10KiB/s"')
        for target in ("/words", "/files/big"):
            client = self.ask(target)
            self.server.advance(0.5)
            client.reset()
            self.server.advance(0.5)
        self.assertEqual(len(self.server.runtime.ticker), 0)

    def test_slow_client(self) -> None:
        """
        A client that does not read is waited for, and told off after its time; one that is paced is not.
        """
        self.serve('"10KiB/s"')
        client = self.ask("/files/big")
        for _ in range(40 * 4):
            self.server.advance(0.25)
        self.assertGreater(len(client.take()), 390 * KIB)
        client.close()
        client = self.ask("/files/big")
        client.stall()
        client.take()
        self.server.advance(59)
        self.assertEqual(client.take(), b"")
        self.assertFalse(client.closed)
        self.server.advance(2)
        self.assertTrue(client.closed)
        self.assertEqual(self.server.records[-1][1].reason, "response_write_timeout")

    def test_stalls_and_reads(self) -> None:
        """
        A client that stops for a while gets the rest.
        """
        self.serve('"100KiB/s"')
        client = self.ask("/files/big")
        self.server.advance(1)
        client.stall()
        got = len(client.take())
        self.server.advance(5)
        self.assertEqual(client.take(), b"")
        client.unstall()
        self.server.advance(5)
        self.assertGreater(got + len(client.take()), 400 * KIB)

    def test_head(self) -> None:
        """
        A response without a body comes as ever.
        """
        self.serve('"1KiB/s"')
        client = self.server.connect()
        client.send(b"HEAD /words HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual([each.status for each in answers(client.take(), (b"HEAD", b"GET"))], [200, 200])

    def test_shared(self) -> None:
        """
        With a key, all that a client asks for at the same time shares the rate.
        """
        self.serve('{ rate = "40KiB/s", key = "{client}" }')
        clients = [self.ask("/files/big") for _ in range(4)]
        other = self.ask("/files/big", peer="192.0.2.2")
        got = [0] * 4
        others = 0
        for step in range(20):
            for index, client in enumerate(clients):
                got[index] += len(client.take())
            others += len(other.take())
            self.assertLessEqual(sum(got), 40 * KIB / 4 * (step + 1) + 1)
            self.server.advance(0.25)
        self.assertGreater(sum(got), 40 * KIB * 4)
        self.assertGreater(min(got), 0.6 * max(got))
        self.assertGreater(others, 40 * KIB * 4)
        for client in [*clients, other]:
            client.reset()

    def test_slowest(self) -> None:
        """
        Of several the slowest decides.
        """
        self.serve('["1MB/s", { rate = "40KiB/s", key = "all" }]')
        curve = self.curve(self.ask("/files/big"), 8)
        self.assert_rate([*curve, curve[-1] + 1], 40 * KIB)

    def test_exempt(self) -> None:
        """
        Who is exempt gets all.
        """
        self.serve('{ rate = "1KiB/s", exempt = ["192.0.2.1"] }')
        self.assertEqual(len(self.get("/words").body), 30000)

    def test_websocket(self) -> None:
        """
        A WebSocket is not paced.
        """
        self.serve('"1KiB/s"')
        client = self.ask("/app", connection="Upgrade", upgrade="websocket")
        upstream = self.server.accept()
        upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        client.take()
        upstream.send(bytes(10000))
        self.assertEqual(len(client.take()), 10000)
        client.close()
        upstream.close()

    def test_slow_store(self) -> None:
        """
        A store on another machine is asked, and while it is away each response has the rate for itself.
        """
        self.serve(
            '{ rate = "40KiB/s", key = "{client}" }', '    [shared]\n    store = "slow"\n' + SITE, plugins=[SLOW]
        )
        (store,) = [kept for kept in self.server.runtime.kept.values() if isinstance(kept, SlowStore)]
        client = self.ask("/words")
        self.assertEqual(client.take(), b"")
        store.answer()
        self.assertEqual(len(client.take()), 10 * KIB)
        got = 10 * KIB
        store.answer()  # what it says is waited for
        self.assertEqual(client.take(), b"")
        self.server.advance(0.25)
        got += len(client.take())
        self.assertEqual(got, 20 * KIB)
        store.asked.pop(0)[0].errback(ProxyError("store_away"))

        def take(*_: object) -> None:
            raise ProxyError("store_away")

        self.patch(store, "take", take)
        self.server.advance(1)
        self.assertGreater(got + len(client.take()), 30000)
        self.assertFalse(client.closed)
        self.assertEqual(self.server.records[-1][1].sent, 30000)

    def test_bad(self) -> None:
        """
        What is refused.
        """
        for limit, said in (
            ('"1MB"', "is not a rate of bytes"),
            ('"10B/s"', 'expected "1KiB/s" or more'),
            ('{ after = "1MB" }', "has neither rate nor upload"),
            ('{ upload = "1MB/s", after = "1MB" }', "is for responses"),
            ("5", 'expected a rate such as "1MB/s"'),
        ):
            self.assertIn(said, str(self.assertRaises(ConfigError, self.serve, limit)))


class UploadTests(LimitCase):
    """
    Bodies of requests.
    """

    SITE = """
        [[site]]
        listen = "tcp:80"
        [[site.route]]
        proxy = "http://127.0.0.1:9001"
        bandwidth = {limit}
    """

    def upload(self, limit: str, size: int) -> tuple[list[int], Connection, Connection]:
        """
        How much the upstream has, after each quarter of a second.
        """
        self.serve(limit, self.SITE)
        client = self.server.connect(peer="192.0.2.1")
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        upstream = self.server.accept()
        upstream.take()
        curve, sent = [0], 0
        for _ in range(60):
            while client.reading and sent < size:
                client.send(bytes(min(KIB, size - sent)))
                sent += KIB
            curve.append(curve[-1] + len(upstream.take()))
            if curve[-1] >= size:
                break
            self.server.advance(0.25)
        return curve, client, upstream

    def test_rate(self) -> None:
        """
        A body is taken at the rate, the client is not read from faster, and it is whole.
        """
        curve, client, upstream = self.upload('{ upload = "10KiB/s" }', 50 * KIB)
        for step, got in enumerate(curve[1:]):
            self.assertLessEqual(got, 10 * KIB / 4 * (step + 1) + 2 * KIB, curve)
        self.assertEqual(curve[-1], 50 * KIB)
        self.assertTrue(16 <= len(curve) <= 24, len(curve))
        self.server.advance(5)
        upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 204 "))

    def test_slow_is_no_fault(self) -> None:
        """
        A client that is kept waiting by us is not held to be slow, however long it takes.
        """
        curve, client, _ = self.upload('{ upload = "1KiB/s", rate = "1MB/s" }', 14 * KIB)
        self.assertEqual(curve[-1], 14 * KIB)
        self.assertFalse(client.closed)

    def test_client_leaves(self) -> None:
        """
        A client that leaves leaves nothing behind.
        """
        self.serve('{ upload = "1KiB/s" }', self.SITE)
        client = self.server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + bytes(5000))
        self.server.accept()
        client.reset()
        self.assertEqual(len(self.server.runtime.ticker), 0)

    def test_shared(self) -> None:
        """
        With a key, all uploads of a client share the rate.
        """
        self.serve('{ upload = "4KiB/s", key = "{client}" }', self.SITE)
        clients = [self.server.connect(peer="192.0.2.1") for _ in range(2)]
        for client in clients:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")
        upstreams = [self.server.accept() for _ in clients]
        for upstream in upstreams:
            upstream.take()
        got = 0
        for step in range(12):
            for client in clients:
                if client.reading:
                    client.send(bytes(512))
            got += sum(len(upstream.take()) for upstream in upstreams)
            self.assertLessEqual(got, KIB * (step + 1) + 2 * KIB)
            self.server.advance(0.25)
        self.assertGreater(got, 6 * KIB)
        for client in clients:
            client.reset()
