"""
What stays over a reload, by the whole of a server in memory: whatever is open, and all that has been found out.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.testing import Connection, MemoryServer

CONFIG = """
    [upstream.app]
    servers = ["10.0.0.1:80"]
    {app}

    [[site]]
    listen = "tcp:80"
    {site}
        [[site.route]]
        exact = "/other"
        respond = {{ body = "{body}" }}

        [[site.route]]
        proxy = {{ upstream = "app" }}

    {stream}
"""

STREAM = """
    [[stream]]
    listen = "tcp:81"
    upstream = "app"
"""

#: Where nothing is proxied any more.
NOTHING = """
    [[site]]
    listen = "tcp:80"
        [[site.route]]
        respond = { body = "gone" }
"""

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class StaysTests(SynchronousTestCase):
    """
    A reload goes unnoticed by whoever it is not about.
    """

    def config(self, app: str = "", site: str = "", body: str = "one", stream: str = STREAM) -> str:
        return CONFIG.format(app=app, site=site, body=body, stream=stream)

    def setUp(self) -> None:
        self.server = MemoryServer(self.config())
        self.addCleanup(self.server.close)

    def client(self, endpoint: str = "tcp:80") -> Connection:
        client = self.server.connect(endpoint)
        self.addCleanup(lambda: client.closed or client.close())
        return client

    def accept(self) -> Connection:
        peer = self.server.accept()
        self.addCleanup(lambda: peer.closed or peer.close())
        return peer

    @property
    def upstream(self) -> Any:
        assert self.server.generation is not None
        return self.server.generation.upstreams["app"]

    def test_everything_that_is_open(self) -> None:
        """
        Downloads, uploads, WebSockets and streams go on, and end as they should: also when nothing of what serves them
        is in the configuration any more.
        """
        for after in (
            self.config(body="two"),
            self.config(app="keepalive = 3", site='trusted_proxies = ["10.0.0.0/8"]'),
        ):
            self.check_open(after, b"one" if "one" in after else b"two")
            self.server.load(self.config())
        self.check_open(NOTHING, b"gone", listens=False)

    def check_open(self, after: str, other: bytes, listens: bool = True) -> None:
        """
        Reload in the midst of all that.
        """
        download, upload, websocket = self.client(), self.client(), self.client()
        stream = self.client("tcp:81")
        streamed = self.accept()
        download.send(GET)
        down = self.accept()
        down.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        upload.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        up = self.accept()
        websocket.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        socket = self.accept()
        socket.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        stream.send(b"ping")
        self.assertTrue(websocket.take().startswith(b"HTTP/1.1 101 "))
        socket.take()

        self.server.load(after)

        down.send(b"def")
        answer = download.take()
        self.assertTrue(answer.endswith(b"\r\n\r\nabcdef"))
        self.assertNotIn(b"close", answer.lower())
        upload.send(b"def")
        self.assertTrue(up.take().endswith(b"\r\n\r\nabcdef"))
        up.send(OK)
        self.assertTrue(upload.take().endswith(b"ok"))
        websocket.send(b"\x82\x81\0\0\0\0a")
        self.assertEqual(socket.take(), b"\x82\x81\0\0\0\0a")
        socket.send(b"\x82\x01b")
        self.assertEqual(websocket.take(), b"\x82\x01b")
        stream.send(b" pong")
        self.assertEqual(streamed.take(), b"ping pong")
        streamed.send(b"yes")
        self.assertEqual(stream.take(), b"yes")
        # Kept alive, and served anew.
        download.send(GET.replace(b"/ ", b"/other ", 1))
        self.assertTrue(download.take().endswith(other))
        self.assertEqual("tcp:81" in self.server.listeners, listens)

        for each in (stream, websocket, download, upload, streamed, socket, down, up):
            each.closed or each.close()

    def test_pool(self) -> None:
        """
        An idle connection to a server is used again, whatever else has changed of its upstream.
        """
        client = self.client()
        client.send(GET)
        peer = self.accept()
        for after in (
            self.config(body="two"),
            self.config(app='balance = "least_connections"'),
            self.config(app='timeouts = { connect = "9s" }'),
            self.config().replace('["10.0.0.1:80"]', '["10.0.0.1:80", { to = "10.0.0.2:80", backup = true }]'),
        ):
            peer.send(OK)
            self.assertTrue(client.take().endswith(b"ok"))
            peer.take()
            self.server.load(after)
            client.send(GET)
            self.assertEqual(self.server.connecting(), [])
            self.assertTrue(peer.take().startswith(b"GET / "))
        peer.send(OK)

    def test_server_that_goes(self) -> None:
        """
        Of a server that is not in the configuration any more, idle connections are closed, and the others when done.
        """
        idle, busy = self.client(), self.client()
        idle.send(GET)
        first = self.accept()
        busy.send(GET)
        second = self.accept()
        first.send(OK)
        self.server.load(self.config().replace("10.0.0.1", "10.0.0.2"))
        self.assertTrue(first.closed)
        second.send(OK)
        self.assertTrue(busy.take().endswith(b"ok"))
        self.assertTrue(second.closed)

    def test_health(self) -> None:
        """
        A server that was found ill is not asked again because something else has changed.
        """
        two = self.config().replace('["10.0.0.1:80"]', '["10.0.0.1:80", "10.0.0.2:80"]')
        self.server.load(two)
        for _ in range(20):
            self.client().send(GET)
            ((host, _),) = self.server.connecting()
            if host == "10.0.0.1":
                self.server.refuse()
                self.assertEqual([host for host, _ in self.server.connecting()], ["10.0.0.2"])
            self.accept()
        states = [peer.state for peer in self.upstream.peers]
        self.assertEqual(len(set(states)), 2)
        for app in ("keepalive = 5", 'balance = "random_two"'):
            self.server.load(two.replace("[[site]]", f"{app}\n    [[site]]", 1))
            self.assertEqual([peer.state for peer in self.upstream.peers], states)
            self.client().send(GET)
            self.assertEqual([host for host, _ in self.server.connecting()], ["10.0.0.2"])
            self.accept()

    def test_counts(self) -> None:
        """
        Counters count on: of the process, of a listener, of a server.
        """
        client = self.client()
        client.send(GET)
        peer = self.accept()
        peer.send(OK)
        for after in (self.config(body="two"), self.config(app="keepalive = 3")):
            served, accepted = self.upstream.peers[0].ended, self.server.listeners["tcp:80"].accepted
            self.assertGreater(served, 0)
            self.assertEqual((accepted, len(self.server.listeners["tcp:80"].connections)), (1, 1))
            self.server.load(after)
            self.assertEqual(self.upstream.peers[0].ended, served)
            client.send(GET)
            peer.send(OK)
            self.assertEqual(self.upstream.peers[0].ended, served + 1)
