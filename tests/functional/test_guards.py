"""
Guards of a real twistginx, with its threads, its files and its connections.
"""

from __future__ import annotations

import http.client
import socket
from collections import Counter
from contextlib import ExitStack, closing
from threading import Thread
from time import monotonic

import bcrypt

from tests.functional.peers import PeerTestCase, free_port
from tests.policies.guarded import basic

SITE = """
[log]
access = "stdout"

[[site]]
listen = ["tcp:{site}:interface=127.0.0.1"]

    [[site.route]]
    path = "/basic"
    basic_auth = "htpasswd"
    respond = {{ body = "hello {{user}}" }}

    [[site.route]]
    path = "/asked"
    forward_auth = {{ url = "http://127.0.0.1:{site}/verify", copy_headers = "X-Team" }}
    respond = {{ body = "hello {{user}} of {{header.x-team}}" }}

    [[site.route]]
    path = "/verify"
    basic_auth = "quick"
    respond = {{ status = 204, headers = {{ Remote-User = "{{user}}", X-Team = "one" }} }}

    [[site.route]]
    path = "/listed"
    access = {{ deny = "file:blocked.txt" }}
    respond = {{ body = "hello" }}

    [[site.route]]
    respond = {{ body = "pong" }}

[[stream]]
listen = ["tcp:{open}:interface=127.0.0.1"]
access = "127.0.0.0/8"
upstream = "site"

[[stream]]
listen = ["tcp:{closed}:interface=127.0.0.1"]
access = "10.0.0.0/8"
upstream = "site"

[upstream.site]
servers = ["127.0.0.1:{site}"]
"""

#: Many lines, so that they are read beside the reactor.
BLOCKED = "\n".join(f"10.{high}.{low}.0/24" for high in range(16) for low in range(256))


LIMITS = """
[process]
workers = 2

[log]
access = "off"

[listener.few]
endpoint = "tcp:{few}:interface=127.0.0.1"
limits = {{ connections_per_client = 8 }}

[[site]]
listen = ["tcp:{many}:interface=127.0.0.1"]

    [[site.route]]
    rate_limit = {{ rate = "10/s", burst = 20 }}
    respond = {{ body = "pong" }}

[[site]]
listen = ["few"]

    [[site.route]]
    respond = {{ body = "pong" }}
"""


class GuardTests(PeerTestCase):
    """
    One server, asked over sockets.
    """

    def ask(self, path: str, *fields: str, port: int | None = None) -> tuple[int, str]:
        """
        Status and body.
        """
        headers = dict(field.split(": ", 1) for field in fields)
        with closing(http.client.HTTPConnection("127.0.0.1", port or self.ports["site"], timeout=20)) as connection:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def test_all(self) -> None:
        """
        Slow passwords make nobody else wait; a service is asked over a kept connection; a list is read while we run;
        streams know who may come in.
        """
        self.ports = {name: free_port() for name in ("site", "open", "closed")}
        slow = bcrypt.hashpw(b"sesame", bcrypt.gensalt(12))
        (self.directory / "htpasswd").write_bytes(b"ann:" + slow)
        (self.directory / "quick").write_bytes(b"bob:" + bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)))
        (self.directory / "blocked.txt").write_text(BLOCKED)
        server = self.twistginx(SITE.format_map(self.ports), *self.ports.values())

        answers: list[tuple[int, str]] = []
        waiting = Thread(target=lambda: answers.append(self.ask("/basic", basic("ann", "sesame"))))
        waiting.start()
        pongs = 0
        while waiting.is_alive():
            self.assertEqual(self.ask("/"), (200, "pong"))
            pongs += not answers
        waiting.join()
        self.assertEqual(answers, [(200, "hello ann")])
        self.assertGreater(pongs, 5)
        self.assertEqual(self.ask("/basic", basic("ann", "x"))[0], 401)
        self.assertEqual(self.ask("/basic")[0], 401)

        for _ in range(2):
            self.assertEqual(self.ask("/asked", basic("bob", "sesame")), (200, "hello bob of one"))
        self.assertEqual(self.ask("/asked", basic("bob", "x"), "X-Team: two")[0], 401)

        self.assertEqual(self.ask("/listed")[0], 200)
        (self.directory / "blocked.txt").write_text(BLOCKED + "\n127.0.0.0/8\n")
        server.wait_for(lambda: self.ask("/listed")[0] == 403, "reading the list again")
        (self.directory / "blocked.txt").write_text("nonsense\n" * 8192)
        server.wait_for(lambda: "line 1: 'nonsense' is not an IP address" in server.output(), "the complaint")
        self.assertEqual(self.ask("/listed")[0], 403)

        self.assertEqual(self.ask("/", port=self.ports["open"]), (200, "pong"))
        with socket.create_connection(("127.0.0.1", self.ports["closed"]), 20) as stranger:
            self.assertEqual(stranger.recv(1), b"")

        server.wait_for(lambda: "- ann [" in server.output() and "- bob [" in server.output(), "the log")
        self.assertNotIn("Traceback", server.output())


class LimitTests(PeerTestCase):
    """
    Limits that two workers keep together.
    """

    def at_once(self, port: int, number: int) -> tuple[Counter[bytes], float]:
        """
        How often which status is answered to requests that all come in the same moment, each on a connection of its
        own; and the seconds that it took.
        """
        statuses: Counter[bytes] = Counter()
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(number)]
            begin = monotonic()
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            for client in clients:
                statuses[client.recv(12)[9:]] += 1
            return statuses, monotonic() - begin

    def test_exact(self) -> None:
        """
        Of 1,000 requests at once the burst is admitted, and what the rate has brought meanwhile; of 30 connections of
        one client as many as it may have.
        """
        ports = {name: free_port() for name in ("many", "few")}
        server = self.twistginx(LIMITS.format_map(ports), *ports.values())

        statuses, seconds = self.at_once(ports["many"], 1000)
        self.assertEqual(statuses.keys(), {b"200", b"429"})
        self.assertEqual(statuses.total(), 1000)
        self.assertTrue(20 <= statuses[b"200"] <= 20 + 10 * seconds, (statuses, seconds))

        # Whoever has looked whether the port is open may still be there at first, and those before the next ones.
        expected = {b"200": 8, b"503": 22}
        for _ in range(2):
            server.wait_for(lambda: self.at_once(ports["few"], 30)[0] == expected, "eight connections, and no more")
        self.assertNotIn("Traceback", server.output())
