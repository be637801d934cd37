"""
Tests for twistginx.config.serviceurl.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.serviceurl import ServiceURL
from twistginx.config.text import expand


class ServiceURLTests(SynchronousTestCase):
    """
    URLs of services.
    """

    def test_parse(self) -> None:
        """
        An address, what stands in Host, and what is asked for.
        """
        for text, address, secure, authority, target in (
            ("http://a.internal", "a.internal:80", False, b"a.internal", b"/"),
            ("http://127.0.0.1:9091/verify?x=/y", "127.0.0.1:9091", False, b"127.0.0.1:9091", b"/verify?x=/y"),
            ("https://id.example/certs", "id.example:443", True, b"id.example", b"/certs"),
            ("http://[::1]:81?x", "[::1]:81", False, b"[::1]:81", b"/?x"),
        ):
            url = ServiceURL.parse(text)
            self.assertEqual((f"{url.server}", url.server.secure), (address, secure))
            self.assertEqual((url.authority, url.target), (authority, target))
            self.assertEqual(ServiceURL.parse(str(url)), url)

    def test_secret(self) -> None:
        """
        What was put in is asked for, and not told.
        """
        text = expand("http://a/?token={env.T}", Path(), lambda kind, name: "sesame")
        url = ServiceURL.parse(text)
        self.assertEqual(url.target, b"/?token=sesame")
        self.assertEqual((str(url), repr(url)), ("http://a/?token={env.T}", "<ServiceURL http://a/?token={env.T}>"))

    def test_wrong(self) -> None:
        """
        What is no URL, has a user in it or a fragment, or characters that cannot stand in a request.
        """
        for text in (
            "",
            "a.internal",
            "ftp://a/",
            "http://",
            "http://u:p@a/",
            "http://a/#b",
            "http://a/ b",
            "http://a/\xfc",
        ):
            self.assertRaises(ValueError, ServiceURL.parse, text)
