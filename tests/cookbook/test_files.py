"""
Tests for docs/cookbook/files.rst.
"""

from __future__ import annotations

import gzip
import json
from time import time

from tests.cookbook.kitchen import KitchenCase, ok
from twistginx.http.signature import Signer

KEY = b"0123456789abcdef0123456789abcdef"


class FileTests(KitchenCase):
    """
    What is sent of files, and of what passes.
    """

    page = "files"

    def test_assets_that_never_change(self) -> None:
        """
        A year for assets, none for pages, and none for what is not there.
        """
        self.serve({"www/index.html": b"home", "www/404.html": b"lost", "www/app.1f.css": b"css"})
        self.assertEqual(self.ask("/app.1f.css").get(b"cache-control"), b"public, max-age=31536000, immutable")
        self.assertEqual(self.ask("/").get(b"cache-control"), b"no-cache")
        lost = self.ask("/app.0e.css")
        self.assertEqual((lost.status, lost.body), (404, b"lost"))
        self.assertNotIn(b"max-age", lost.get(b"cache-control") or b"")

    def test_compressed_beforehand(self) -> None:
        """
        What the client likes best, and the file itself for who likes none.
        """
        self.serve({"www/app.js": b"plain", "www/app.js.br": b"brotli", "www/app.js.gz": b"gzip"})
        for accepted, coding, body in (
            ("gzip, br", b"br", b"brotli"),
            ("gzip", b"gzip", b"gzip"),
            ("br;q=0.5, gzip", b"gzip", b"gzip"),
            ("identity", None, b"plain"),
        ):
            answer = self.ask("/app.js", f"Accept-Encoding: {accepted}")
            self.assertEqual((answer.get(b"content-encoding"), answer.body), (coding, body))
            self.assertEqual(answer.get(b"vary"), b"Accept-Encoding")
            self.assertIn(b"javascript", answer.get(b"content-type") or b"")

    def test_compression(self) -> None:
        """
        Files and answers, but not where it is switched off, nor what is small.
        """
        self.serve({"www/a.txt": b"words " * 1000, "www/b.txt": b"word"})
        self.replies = lambda asked: ok(b"[1] " * 1000, "Content-Type: application/json")
        for target, body in (("/a.txt", b"words " * 1000), ("/api/x", b"[1] " * 1000)):
            answer = self.ask(target, "Accept-Encoding: gzip")
            self.assertEqual((answer.get(b"content-encoding"), gzip.decompress(answer.body)), (b"gzip", body))
        for target in ("/account/x", "/b.txt"):
            self.assertIsNone(self.ask(target, "Accept-Encoding: gzip").get(b"content-encoding"))

    def test_a_download_area(self) -> None:
        """
        A list, as a page and as JSON; ten megabytes at once, and the rest in its time; the fifth download is too much.
        """
        server = self.serve({"downloads/films/a.iso": b"x" * (12 << 20), "downloads/b.txt": b"b"})
        host = "downloads.example.com"
        self.assertIn(b"films/", self.ask("/", host=host).body)
        listed = json.loads(self.ask("/", "Accept: application/json", host=host).body)
        self.assertEqual(sorted(each["name"] for each in listed["entries"]), ["b.txt", "films"])
        clients = [self.client("/films/a.iso", host=host) for _ in range(4)]
        for _ in range(80):
            server.reactor.advance(0)
        at_once = len(clients[0].take())
        self.assertTrue(10 << 20 <= at_once <= 11 << 20, at_once)
        self.assertEqual(self.status("/b.txt", host=host), 429)
        server.advance(1)
        later = len(clients[0].take())
        self.assertTrue(1 << 19 <= later <= 3 << 19, later)
        for client in clients:
            client.reset()

    def test_downloads_that_an_app_releases(self) -> None:
        """
        What the app names is sent, in parts too, and nothing is had without it.
        """
        self.serve({"protected/a.pdf": b"0123456789", "secret": b"secret"})
        self.assertEqual(self.says("/protected/a.pdf"), b"9001 /protected/a.pdf")
        self.replies = lambda asked: ok(b"", "X-Accel-Redirect: /protected/a.pdf", "Content-Disposition: attachment")
        answer = self.ask("/invoice/7")
        self.assertEqual((answer.status, answer.body), (200, b"0123456789"))
        self.assertEqual(answer.get(b"content-disposition"), b"attachment")
        self.assertEqual(self.ask("/invoice/7", "Range: bytes=0-3").body, b"0123")
        self.replies = lambda asked: ok(b"no", "X-Accel-Redirect: /protected/../secret")
        self.assertEqual(self.status("/invoice/7"), 404)

    def test_links_that_expire(self) -> None:
        """
        A link that we have signed is good, until its time; another one, and none, is not.
        """
        self.serve({"shop/files/book.pdf": b"book", "links.key": KEY})
        good, late = (Signer({b"a": KEY}).sign(b"/files/book.pdf", b"a", int(time()) + more) for more in (60, -60))
        self.assertEqual(self.says(good.decode()), b"book")
        for target in (late.decode(), good.decode() + "x", "/files/book.pdf", good.decode().replace("book", "film")):
            self.assertEqual(self.status(target), 403, target)
        self.assertEqual(self.says("/shop"), b"9001 /shop")

    def test_words_in_pages(self) -> None:
        """
        In pages and style sheets, and nowhere else.
        """
        self.serve()
        page = b"<head></head><a href=http://app.internal:8000/x></head>"
        self.replies = lambda asked: ok(page, "Content-Type: text/html; charset=utf-8")
        self.assertEqual(
            self.says("/"),
            b"<head><script src=/banner.js></script></head><a href=https://example.com/x></head>",
        )
        self.replies = lambda asked: ok(page, "Content-Type: application/json")
        self.assertEqual(self.says("/"), page)
