"""
Tests for docs/cookbook/edge.rst.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
from pathlib import Path

from twisted.internet.address import IPv4Address

from tests.cookbook.kitchen import KitchenCase, Secure, certificate
from tests.cookbook.pages import recipes
from tests.functional.peers import PeerTestCase, Running, free_port, program, python_environment
from tests.net.authority import asking

WWW = {"www/index.html": b"home"}


class EdgeTests(KitchenCase):
    """
    What comes in, and from whom.
    """

    page = "edge"

    def test_several_sites_under_tls(self) -> None:
        """
        Each name has its certificate and its site; one of them insists on TLS 1.3; others have nothing.
        """
        server = self.serve({**WWW, **certificate("example.com"), **certificate("example.org", "api.example.org")})
        for name, body in (("example.com", b"home"), ("api.example.org", b"9001 /")):
            client = server.connect()
            tls = Secure(client, asking(), name)  # verifies the name
            tls.send(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            self.work()
            self.assertTrue(tls.take().endswith(body))
            client.close()
        self.assertEqual(self.asked[0].fields["x-forwarded-proto"], "https")
        old = asking.__wrapped__()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        for name, welcome in (("example.com", True), ("api.example.org", False), ("other.example", False)):
            client = server.connect()
            tls = Secure(client, old, name)
            self.assertEqual(not client.closed, welcome, name)
            client.close()

    def test_behind_another_proxy(self) -> None:
        """
        The word of the proxy counts, and nobody else's.
        """
        self.serve()
        told = ("X-Forwarded-For: 203.0.113.9, 198.51.100.1, 10.0.0.7", "X-Forwarded-Proto: https")
        for peer, client, scheme in (("10.0.0.2", "198.51.100.1", "https"), ("192.0.2.7", "192.0.2.7", "http")):
            self.says("/", *told, peer=peer)
            fields = self.asked[-1].fields
            self.assertIn(client, fields["x-forwarded-for"])
            self.assertEqual(fields["x-forwarded-proto"], scheme)
            self.assertEqual(self.server.records[-1][0].client_ip.decode(), client)

    def test_the_proxy_protocol(self) -> None:
        """
        The address of the header is the client's; who is no proxy may not connect, and a proxy must say it.
        """
        server = self.serve(certificate("example.com"))
        client = server.connect(peer="10.0.0.2")
        client.send(b"PROXY TCP4 198.51.100.1 203.0.113.1 4711 443\r\n")
        tls = Secure(client, asking(), "example.com")
        tls.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        self.work()
        self.assertTrue(tls.take().endswith(b"9001 /"))
        self.assertEqual(self.asked[0].fields["x-forwarded-for"], "198.51.100.1")
        client.close()
        silent = server.connect(peer="10.0.0.2")
        silent.send(b"GET / HTTP/1.1\r\n")
        self.assertTrue(silent.closed)
        self.assertIsNone(next(iter(server.listeners.values())).buildProtocol(IPv4Address("TCP", "192.0.2.7", 4711)))


class RunningTests(PeerTestCase):
    """
    What takes a real server.  It listens on another port than the page says.
    """

    page = "edge"

    def run_recipe(self, *before: str) -> tuple[Running, int]:
        """
        Start C{twistd} with the recipe that the test is named after; its port.
        """
        self.port = free_port()
        (self.directory / "www").mkdir()
        (self.directory / "www" / "index.html").write_bytes(b"home")
        for name in ("logs", "run"):
            (self.directory / name).mkdir()
        self.write(recipes(self.page)[self._testMethodName.removeprefix("test_")].toml)
        twistd = str(Path(sys.executable).with_name("twistd"))
        arguments = (*before, twistd, "--nodaemon", "--pidfile=", "twistginx", "--config", "site.toml")
        return self.start(*arguments, port=self.port, environment=python_environment()), self.port

    def write(self, config: str) -> None:
        """
        Write the configuration, with the port.
        """
        (self.directory / "site.toml").write_text(config.replace("tcp:80", f"tcp:{self.port}:interface=127.0.0.1"))

    def get(self, target: str) -> bytes:
        """
        What is answered.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b""))

    def test_logs_for_programs(self) -> None:
        """
        Each line is JSON, whatever is asked for, and says what there is to say.
        """
        running, _ = self.run_recipe()
        self.get("/healthz")
        self.assertTrue(self.get('/?a="b').endswith(b"home"))
        log = self.directory / "logs" / "access.json"
        running.wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "a line")
        (line,) = map(json.loads, log.read_text().splitlines())
        self.assertEqual((line["http.response.status_code"], line["client.address"]), (200, "127.0.0.1"), line)
        running.stop()

    def test_all_cores_and_reloads(self) -> None:
        """
        A worker for each core, a mistake that changes nothing, and a change that is taken.
        """
        cores = sorted(os.sched_getaffinity(0))[:2]
        running, _ = self.run_recipe(program("taskset"), "--cpu-list", ",".join(map(str, cores)))
        self.assertTrue(self.get("/").endswith(b"home"))
        if len(cores) > 1:
            running.wait_for(lambda: f"with {len(cores)} workers" in running.output(), "the workers")
        good = recipes(self.page)["all_cores_and_reloads"].toml
        self.write(good.replace("static", "sttic"))
        os.kill(running.pid, signal.SIGHUP)
        running.wait_for(lambda: "was not reloaded" in running.output(), "the mistake")
        self.assertTrue(self.get("/").endswith(b"home"))
        self.write(good.replace('static = "www"', 'respond = { body = "new" }'))
        running.wait_for(lambda: self.get("/").endswith(b"new"), "the change")
        running.stop()
