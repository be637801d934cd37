"""
Tests for L{twistginx.errors}.
"""

from __future__ import annotations

from http import HTTPStatus

from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import REASONS, ConfigError, Fault, Problem, ProxyError, Retry, TwistginxError


class ReasonTests(SynchronousTestCase):
    """
    The table of failures.
    """

    #: The error types of RFC 9209 section 2.3 that are ours too.
    REGISTERED = frozenset(
        (
            *("dns_error", "destination_not_found", "destination_unavailable", "destination_ip_unroutable"),
            *("connection_refused", "connection_terminated", "connection_timeout", "connection_read_timeout"),
            *("connection_write_timeout", "tls_protocol_error", "tls_certificate_error", "http_request_error"),
            *("http_request_denied", "http_response_incomplete", "http_response_header_section_size"),
            *("http_response_timeout", "http_upgrade_failed", "http_protocol_error", "proxy_internal_error"),
            *("http_response_trailer_section_size", "http_response_transfer_coding", "tls_alert_received"),
        )
    )

    def test_rows(self) -> None:
        """
        A client's fault is 4xx or 501 and 505, an upstream's a gateway's, ours 500, 503 or 507; each says a sentence.
        """
        allowed = {
            Fault.CLIENT: {*range(400, 500), 501, 505},
            Fault.UPSTREAM: {502, 504},
            Fault.US: {500, 503, 507},
        }
        for word, reason in REASONS.items():
            self.assertEqual(reason.word, word)
            self.assertIn(reason.status, allowed[reason.fault], word)
            self.assertTrue(reason.text.endswith("."))
            if reason.status != 499:
                HTTPStatus(reason.status)

    def test_words(self) -> None:
        """
        Where RFC 9209 has a word, it is that word.
        """
        self.assertEqual(self.REGISTERED - set(REASONS), frozenset())

    def test_retry(self) -> None:
        """
        What a client did is never tried again, and what times out in the middle neither.
        """
        for word, reason in REASONS.items():
            if reason.fault is Fault.CLIENT or (word.endswith("_timeout") and word != "connection_timeout"):
                self.assertIs(reason.retry, Retry.NEVER, word)
        self.assertIs(REASONS["connection_refused"].retry, Retry.UNSENT)
        self.assertIs(REASONS["connection_terminated"].retry, Retry.REUSED)


class ProxyErrorTests(SynchronousTestCase):
    """
    A failed request.
    """

    def test_text(self) -> None:
        """
        It reads as word, detail and setting.
        """
        self.assertEqual(str(ProxyError("dns_error")), "dns_error")
        error = ProxyError("dns_error", "no such name", "upstream.app")
        self.assertEqual(str(error), "dns_error: no such name: upstream.app")
        self.assertIsInstance(error, TwistginxError)
        self.assertEqual(error.fields, ())

    def test_unknown(self) -> None:
        """
        There is no failure without a row.
        """
        self.assertRaises(KeyError, ProxyError, "bad_luck")


class ConfigErrorTests(SynchronousTestCase):
    """
    Problems of a configuration.
    """

    def test_problem(self) -> None:
        """
        A problem reads as file:line:column, key, what, and what was expected, as far as they are known.
        """
        self.assertEqual(
            str(Problem("a.toml", 3, 7, "site[0].x", "is wrong", "something right")),
            "a.toml:3:7: site[0].x: is wrong; something right",
        )
        self.assertEqual(str(Problem("a.toml", 0, 0, "", "is wrong")), "a.toml: is wrong")
        self.assertEqual(str(Problem("", 0, 0, "k", "is wrong")), "k: is wrong")
        self.assertEqual(str(Problem("f", 1, 1, "k", "is risky", warning=True)), "f:1:1: warning: k: is risky")

    def test_one(self) -> None:
        """
        A module raises one, without a place.
        """
        error = ConfigError("is wrong", key="root", expected="a directory")
        self.assertEqual(error.problems, (Problem("", 0, 0, "root", "is wrong", "a directory"),))
        self.assertEqual(str(error), "root: is wrong; a directory")

    def test_many(self) -> None:
        """
        What leaves has them all, a line each.
        """
        problems = (Problem("a", 1, 2, "x", "m"), Problem("b", 3, 4, "y", "n"))
        self.assertEqual(str(ConfigError(problems=problems)), "a:1:2: x: m\nb:3:4: y: n")
