"""
Tests for L{twistginx.http.errorpage}.
"""

from __future__ import annotations

import json
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import REASONS, ProxyError
from twistginx.http.errorpage import reply_for
from twistginx.http.message import Fields, Reply, RequestHead


def page(
    error: ProxyError, accept: bytes = b"", target: bytes = b"/", route: Any = None, trusted: bool = False
) -> Reply:
    """
    The answer to a request that failed.
    """
    fields = Fields.of([(b"Host", b"a"), (b"Accept", accept), (b"Referer", b"<secret>")])
    head = RequestHead(b"GET", target, b"HTTP/1.1", fields)
    request = SimpleNamespace(head=head, route=route, request_id=b"0123abcd", from_trusted=trusted)
    return reply_for(error, request)  # type: ignore[arg-type]


class PageTests(SynchronousTestCase):
    """
    What a failure looks like.
    """

    def test_every_reason(self) -> None:
        """
        Each has a page of its status, that says its word, in each form, and is not to be stored.
        """
        for word, reason in REASONS.items():
            for accept in (b"text/html", b"application/json", b"*/*"):
                reply = page(ProxyError(word), accept)
                self.assertEqual(reply.status, 400 if reason.status == 499 else reason.status)
                self.assertIn(word.encode(), reply.body)
                self.assertEqual(reply.fields.first(b"proxy-status"), b"twistginx; error=" + word.encode())
                self.assertEqual(reply.fields.first(b"cache-control"), b"no-store")
                self.assertIn(b"0123abcd", reply.body)
                self.assertEqual(reply.fields.every(b"x-request-id"), [b"0123abcd"])

    def test_forms(self) -> None:
        """
        A browser is given HTML, a program JSON (RFC 9457), and whoever does not say, text.
        """
        for accept, kind in (
            (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", b"text/html; charset=utf-8"),
            (b"application/json", b"application/problem+json"),
            (b"application/problem+json, */*", b"application/problem+json"),
            (b"TEXT/HTML", b"text/html; charset=utf-8"),
            (b"application/json, text/html;q=0.5", b"application/problem+json"),
            (b"application/json;q=0.5, text/html", b"text/html; charset=utf-8"),
            (b"application/vnd.api+json", b"application/problem+json"),
            (b"text/html;q=0, */*;q=0.1", b"text/plain; charset=utf-8"),
            (b"text/html;q=nan, application/json;q=x;q=, ;;,", b"text/plain; charset=utf-8"),
            (b"*/*", b"text/plain; charset=utf-8"),
            (b"", b"text/plain; charset=utf-8"),
        ):
            self.assertEqual(page(ProxyError("http_request_denied"), accept).fields.first(b"content-type"), kind)

    def test_json(self) -> None:
        """
        The JSON is JSON.
        """
        error = ProxyError("request_header_timeout", setting='timeouts.header = "10s"')
        problem = json.loads(page(error, b"application/json").body)
        self.assertEqual((problem["status"], problem["reason"]), (408, "request_header_timeout"))
        self.assertEqual(problem["setting"], 'timeouts.header = "10s"')

    def test_html(self) -> None:
        """
        The HTML is well formed, and a setting cannot break out of it.
        """
        opened: list[str] = []

        class Checker(HTMLParser):
            def handle_starttag(self, tag: str, attrs: object) -> None:
                if tag != "meta":
                    opened.append(tag)

            def handle_endtag(self, tag: str) -> None:
                self_test.assertEqual(opened.pop(), tag)

        self_test = self
        body = page(ProxyError("http_request_denied", setting="<script>&x</script>"), b"text/html").body
        self.assertNotIn(b"<script>", body)
        self.assertIn(b"&lt;script&gt;&amp;x", body)
        Checker().feed(body.decode())
        self.assertEqual(opened, [])

    def test_nothing_of_the_client(self) -> None:
        """
        Nothing that the client has sent comes back, nor the details, which are for the log.
        """
        for accept in (b"text/html, <marker>", b"application/json, <marker>", b"<marker>"):
            reply = page(ProxyError("http_request_error", "marker 10.0.0.1"), accept, b"/<marker>?marker")
            for text in (reply.body, *(name + value for _, name, value in reply.fields)):
                self.assertNotIn(b"marker", text)
                self.assertNotIn(b"secret", text)

    def test_proxy_status(self) -> None:
        """
        Proxy-Status (RFC 9209) names the setting to everybody, the details to a trusted proxy, and what the upstream
        had said; whatever the details are, it is a well-formed string.
        """
        error = ProxyError("http_upgrade_failed", 'to "10.0.0.1:91" \\ \u20ac', "a.b = 3s", received=101)
        self.assertEqual(
            page(error).fields.every(b"proxy-status"),
            [b'twistginx; error=http_upgrade_failed; received-status=101; details="a.b = 3s"'],
        )
        self.assertEqual(
            page(error, trusted=True).fields.first(b"proxy-status"),
            rb'twistginx; error=http_upgrade_failed; received-status=101; details="to \"10.0.0.1:91\" \\ ?; a.b = 3s"',
        )
        unheard_of = ProxyError("http_protocol_error", received=42)
        self.assertEqual(page(unheard_of).fields.first(b"proxy-status"), b"twistginx; error=http_protocol_error")

    def test_allow(self) -> None:
        """
        405 says what is allowed: what the error says, or what a server does at all.
        """
        plain = page(ProxyError("method_not_allowed"))
        self.assertIn(b"GET", plain.fields.first(b"allow"))
        error = ProxyError("method_not_allowed", fields=((b"Allow", b"GET, HEAD"),))
        self.assertEqual(page(error, route=object()).fields.every(b"allow"), [b"GET, HEAD"])
