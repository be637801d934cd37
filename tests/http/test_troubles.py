"""
Tests for L{twistginx.http.troubles}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import REASONS, Fault, ProxyError
from twistginx.http.message import Fields, RequestHead
from twistginx.http.troubles import Troubles
from twistginx.testing import MemoryServer

SITE = """
    [upstream.app]
    servers = ["127.0.0.1:9001"]
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    proxy = { upstream = "app" }
"""


def asked() -> Any:
    """
    A request.
    """
    head = RequestHead(b"GET", b"/a?secret=1", b"HTTP/1.1", Fields())
    head.path, head.host = b"/a", b"a.example"
    site, route = SimpleNamespace(label="a.example"), SimpleNamespace(name="all")
    return SimpleNamespace(head=head, request_id=b"01ab", client_ip=b"192.0.2.7", site=site, route=route)


class TroubleTests(SynchronousTestCase):
    """
    What the error log is told.
    """

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.troubles = Troubles()

    @property
    def lines(self) -> list[str]:
        """
        What it has been told, in words.
        """
        return [formatEvent(event) for event in self.events if event.get("log_namespace") == "twistginx.http"]

    def test_line(self) -> None:
        """
        It names the failure, what was wrong, the setting, and the request, but not what its query has in it.
        """
        error = ProxyError("http_response_timeout", "127.0.0.1:9001", "upstream.app.timeouts.first_byte = 60s")
        self.troubles.note(asked(), error, 0)
        (line,) = self.lines
        words, _, whose = line.partition(" (")
        self.assertEqual(
            words,
            "a.example, route all: 504 http_response_timeout: 127.0.0.1:9001; upstream.app.timeouts.first_byte = 60s",
        )
        self.assertEqual(whose, "GET a.example/a, client 192.0.2.7, request 01ab)")
        self.assertEqual(self.events[-1]["log_level"], LogLevel.warn)

    def test_few(self) -> None:
        """
        Of each word about each server there is one line in a while, which says how many there were.
        """
        refused = ProxyError("connection_refused", "127.0.0.1:9001")
        for now in (0.0, 1.0, 9.0):
            self.troubles.note(asked(), refused, now)
        self.troubles.note(asked(), ProxyError("connection_refused", "127.0.0.1:9002"), 9.0)
        self.troubles.note(asked(), ProxyError("dns_error"), 9.0)
        self.assertEqual(len(self.lines), 3)
        self.troubles.note(asked(), refused, 10.0)
        self.assertTrue(self.lines[-1].endswith("; 2 more since the last of these lines"), self.lines)
        self.troubles.note(asked(), refused, 20.0)
        self.assertNotIn("more", self.lines[-1])

    def test_whose(self) -> None:
        """
        What clients do wrong is not told, unless a guard or a limit has said so, nor what has a traceback there.
        """
        for word in REASONS:
            self.troubles.note(asked(), ProxyError(word), 0)
        told = {line.split(" ")[4] for line in self.lines}
        ours = {word for word, reason in REASONS.items() if reason.fault is not Fault.CLIENT}
        refused = {"authentication_required", "http_request_denied", "rate_limited", "concurrency_limited"}
        self.assertEqual(told, (ours | refused) - {"proxy_internal_error"})
        for event in self.events:
            self.assertIs(event["log_level"], LogLevel.info if event["word"] in refused else LogLevel.warn)

    def test_bound(self) -> None:
        """
        However many servers come and go, what is remembered is bounded.
        """
        for number in range(3000):
            self.troubles.note(asked(), ProxyError("dns_error", str(number)), 0)
        self.assertEqual(len(self.lines), 3000)
        self.assertLessEqual(len(self.troubles._next), 1024)

    def test_served(self) -> None:
        """
        A 502 is told of, and so it is in the access log.
        """
        server = MemoryServer(SITE)
        self.addCleanup(server.close)
        client = server.connect()
        client.send(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n")
        server.refuse()
        self.assertIn(b"HTTP/1.1 502 ", client.take())
        ((request, record),) = server.records
        self.assertEqual(record.detail, "127.0.0.1:9001: connection refused")
        name = request.request_id.decode()
        (line,) = self.lines
        self.assertEqual(
            line,
            "tcp:80, route #1: 502 connection_refused: 127.0.0.1:9001: connection refused "
            f"(GET a.example/x, client {request.client_ip.decode()}, request {name})",
        )
