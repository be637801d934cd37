"""
Tests for docs/cookbook/applications.rst.
"""

from __future__ import annotations

import gzip
import json
from typing import ClassVar

from tests.cookbook.kitchen import KitchenCase, ok
from tests.http.conversation import answers


class ApplicationTests(KitchenCase):
    """
    Applications, and what stands beside and before them.
    """

    page = "applications"

    def test_a_single_page_app_and_its_api(self) -> None:
        """
        The API, assets, the page for all else, and no page in place of an asset that is gone.
        """
        self.serve({"dist/index.html": b"<app>" * 400, "dist/assets/app.1f.js": b"js", "dist/logo.svg": b"<svg>"})
        self.assertEqual(self.says("/api/users"), b"9001 /api/users")
        self.assertEqual(self.asked[0].fields["x-forwarded-for"], "192.0.2.7")
        page = self.ask("/users/12", "Accept-Encoding: gzip")
        self.assertEqual(gzip.decompress(page.body), b"<app>" * 400)
        self.assertEqual((page.status, page.get(b"cache-control")), (200, b"no-cache"))
        self.assertIn(b"immutable", self.ask("/assets/app.1f.js").get(b"cache-control") or b"")
        gone = self.ask("/assets/app.0e.js")
        self.assertEqual((gone.status, gone.get(b"cache-control")), (404, b"no-store"))
        self.assertEqual(self.ask("/apix").body, b"<app>" * 400)

    def test_a_front_controller(self) -> None:
        """
        Files are sent, programs are run, all else is for index.php, and uploads are never run.
        """
        self.serve(
            {
                "www/index.php": b"<?php secret",
                "www/wp-login.php": b"<?php secret",
                "www/wp-admin/index.php": b"<?php secret",
                "www/style.css": b"css",
                "www/.env": b"secret",
                "www/wp-content/uploads/2024/evil.php": b"<?php secret",
                "www/wp-content/uploads/cat.jpg": b"cat",
            }
        )
        for target, expected in (
            ("/", b"9000 /index.php"),
            ("/2024/hello/?page=2", b"9000 /index.php?page=2"),
            ("/index.php?p=1", b"9000 /index.php?p=1"),
            ("/wp-login.php?a=b", b"9000 /wp-login.php?a=b"),
            ("/wp-admin/?x=1", b"9000 /wp-admin/index.php?x=1"),
            ("/wp-admin/post.php?x=1", b"9000 /wp-admin/post.php?x=1"),
            ("/style.css", b"css"),
            ("/wp-content/uploads/cat.jpg", b"cat"),
        ):
            self.assertEqual(self.says(target), expected, target)
        for target in ("/wp-content/uploads/evil.php", "/wp-content/uploads/2024/evil.php"):
            self.assertEqual(self.status(target), 403, target)
        self.assertNotIn(b"secret", self.ask("/.env").body)

    def test_static_and_media_beside_an_app(self) -> None:
        """
        Two folders and the application, which gets bodies up to the limit.
        """
        self.serve({"shop/static/a.css": b"css", "shop/media/cat.jpg": b"cat", "shop/settings.py": b"secret"})
        css = self.ask("/static/a.css")
        self.assertEqual((css.body, css.get(b"cache-control")), (b"css", b"max-age=2592000"))
        self.assertEqual(self.says("/media/cat.jpg"), b"cat")
        self.assertEqual(self.says("/cart"), b"8000 /cart")
        self.assertNotIn(b"secret", self.ask("/static../settings.py").body)
        self.assertNotIn(b"secret", self.ask("/static/../settings.py").body)
        large = self.client("/cart", "Content-Length: 20971521", method="POST")
        self.assertTrue(large.take().startswith(b"HTTP/1.1 413 "))
        large.close()

    def test_an_app_with_websockets(self) -> None:
        """
        A connection becomes a WebSocket, which may be silent for most of an hour.
        """
        server = self.serve()
        client = self.client(
            "/chat", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: a2V5", "Sec-WebSocket-Version: 13"
        )
        app = server.accept()
        self.assertIn(b"\r\nUpgrade: websocket\r\n", app.take())
        app.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 101 "))
        server.advance(3500)
        for sender, receiver in ((client, app), (app, client)):
            sender.send(b"\x81\x02hi")
            self.assertEqual(receiver.take(), b"\x81\x02hi")
        client.close()

    def test_server_sent_events(self) -> None:
        """
        Each event is there when it was sent, compressed or not, also after half an hour.
        """
        server = self.serve()
        client = self.client("/events", "Accept: text/event-stream")
        app = server.accept()
        app.take()
        app.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        self.assertTrue(client.take().endswith(b"data: 1\n\n\r\n"))
        server.advance(1800)
        app.send(b"data: 2\n\n")
        self.assertIn(b"data: 2\n\n", client.take())
        client.close()
        app.close()
        compressed = self.client("/events", "Accept-Encoding: gzip")
        app = server.accept()
        app.take()
        app.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        self.assertIn(b"Content-Encoding: gzip", compressed.take())
        app.send(b"data: 2\n\n")
        self.assertNotEqual(compressed.take(), b"")
        compressed.close()

    def test_large_uploads(self) -> None:
        """
        The application hears of an upload when all of it is there; elsewhere there is the usual limit.
        """
        server = self.serve({"spool/.keep": b""})
        client = self.client("/upload/film", f"Content-Length: {2 << 20}", "Connection: close", method="PUT")
        client.send(b"x" * (1 << 20))
        self.assertEqual(server.connecting(), [])
        client.send(b"x" * (1 << 20))
        self.work()
        (answer,) = answers(client.take())
        self.assertEqual((answer.status, answer.body), (200, b"9001 /upload/film"))
        self.assertEqual(sum(len(each.body) for each in self.asked), 2 << 20)
        for target, size, status in (("/upload", 6 << 30, b"413"), ("/other", 200 << 20, b"413")):
            large = self.client(target, f"Content-Length: {size}", method="PUT")
            self.assertEqual(large.take()[9:12], status)
            large.close()

    def test_an_app_under_a_prefix(self) -> None:
        """
        The app sees paths from its root, and its answers lead back beneath the prefix, once.
        """
        self.serve()
        self.assertEqual(self.says("/wiki/page%2F1?x"), b"3000 /page%2F1?x")
        self.assertEqual(self.says("/wiki/"), b"3000 /")
        self.assertEqual(self.leads("/wiki?x"), (308, b"./wiki/?x"))
        self.assertEqual(self.asked[0].fields["x-forwarded-prefix"], "/wiki")
        self.assertEqual(self.status("/wikis"), 404)
        for told in (b"/login", b"/wiki/login"):
            self.replies = lambda asked, told=told: ok(b"", f"Location: {told.decode()}", "Set-Cookie: a=1; Path=/")
            answer = self.ask("/wiki/x")
            self.assertEqual((answer.get(b"location"), answer.get(b"set-cookie")), (b"/wiki/login", b"a=1; Path=/wiki"))

    def test_an_app_by_another_name(self) -> None:
        """
        Its own name goes in, and ours comes out, in addresses and in cookies.
        """
        self.serve()
        self.replies = lambda asked: ok(
            b"",
            "Location: http://app.internal/login?back=http://app.internal/",
            "Set-Cookie: a=1; domain=app.internal",
            "Set-Cookie: b=2",
        )
        answer = self.ask("/x")
        self.assertEqual(self.asked[0].fields["host"], "app.internal")
        self.assertEqual(answer.get(b"location"), b"http://example.com/login?back=http://app.internal/")
        self.assertEqual(
            [value for name, value in answer.fields if name.lower() == b"set-cookie"],
            [b"a=1; domain=example.com; HttpOnly; SameSite=Lax", b"b=2; HttpOnly; SameSite=Lax"],
        )
        self.replies = lambda asked: ok(b"", "Location: http://elsewhere.example/")
        self.assertEqual(self.ask("/x").get(b"location"), b"http://elsewhere.example/")

    def test_an_api_for_other_origins(self) -> None:
        """
        A preflight, a request, an origin that may not, and an OPTIONS of another kind.
        """
        self.serve()
        preflight = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-a")
        for origin in ("https://app.example.com", "https://any.example.org"):
            asked = self.ask("/x", f"Origin: {origin}", *preflight, method="OPTIONS", host="api.example.com")
            self.assertEqual(asked.get(b"access-control-allow-origin"), origin.encode())
            self.assertEqual(asked.get(b"access-control-allow-credentials"), b"true")
            self.assertEqual(asked.get(b"access-control-max-age"), b"3600")
        self.assertEqual(self.asked, [])
        answer = self.ask("/x", "Origin: https://app.example.com", host="api.example.com")
        self.assertEqual(answer.get(b"access-control-expose-headers"), b"X-Total-Count")
        self.assertEqual((answer.body, answer.get(b"vary")), (b"9001 /x", b"Origin"))
        other = self.ask(
            "/x", "Origin: https://example.org.evil.example", *preflight, method="OPTIONS", host="api.example.com"
        )
        self.assertIsNone(other.get(b"access-control-allow-origin"))
        self.assertEqual(self.says("/x", method="OPTIONS", host="api.example.com"), b"9001 /x")

    def test_maintenance(self) -> None:
        """
        Closed and opened by a file, without a reload; the office comes in all the same.
        """
        server = self.serve({"closed.txt": b"", "www/closed.html": b"back soon"})
        self.assertEqual(self.says("/"), b"9001 /")
        (server.directory / "closed.txt").write_bytes(b"0.0.0.0/0\n::/0\n")
        server.advance(5)
        closed = self.ask("/")
        self.assertEqual((closed.status, closed.get(b"retry-after"), closed.body), (503, b"600", b"back soon"))
        self.assertEqual(self.says("/", peer="10.1.2.3"), b"9001 /")
        (server.directory / "closed.txt").write_bytes(b"\n")
        server.advance(5)
        self.assertEqual(self.says("/"), b"9001 /")

    def test_error_pages(self) -> None:
        """
        Ours for what we say, the application's for what it says.
        """
        server = self.serve({"errors/404.html": b"lost", "errors/50x.html": b"sorry", "www/files/a": b"a"})
        lost = self.ask("/files/none")
        self.assertEqual(
            (lost.status, lost.body, lost.get(b"content-type")), (404, b"lost", b"text/html; charset=utf-8")
        )
        self.replies = lambda asked: b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nmine"
        self.assertEqual(self.ask("/none").body, b"mine")
        self.replies = lambda asked: None
        broken = self.ask("/", method="POST")
        self.assertEqual((broken.status, broken.body), (502, b"sorry"))
        client = self.client("/")
        server.refuse()
        self.assertIn(b"sorry", client.take())
        client.close()

    REPLY: ClassVar = ok(b"hi", "X-Powered-By: PHP/5", "X-Runtime: app;dur=12")

    def test_headers_both_ways(self) -> None:
        """
        What goes in, and what comes out, of the application and of us.
        """
        self.serve()
        self.replies = lambda asked: self.REPLY
        answer = self.ask("/", "Cookie: a=1")
        (asked,) = self.asked
        self.assertEqual((asked.fields["host"], asked.fields["x-real-ip"]), ("app.internal", "192.0.2.7"))
        self.assertEqual((asked.fields["x-forwarded-host"], asked.fields.get("cookie")), ("example.com", None))
        said = {name.lower(): value for name, value in answer.fields}
        self.assertEqual(said[b"server-timing"], b"app;dur=12")
        self.assertEqual((said[b"x-frame-options"], said[b"x-served-by"]), (b"DENY", b"edge-1"))
        self.assertEqual({b"x-powered-by", b"x-runtime"} & set(said), set())

    def test_security_headers(self) -> None:
        """
        On pages and on failures.
        """
        self.serve({"www/index.html": b"home"})
        for target in ("/", "/none"):
            answer = self.ask(target)
            self.assertEqual(answer.get(b"content-security-policy"), b"default-src 'self'")
            self.assertEqual(answer.get(b"x-content-type-options"), b"nosniff")
            self.assertEqual(answer.get(b"x-frame-options"), b"SAMEORIGIN")
            self.assertIsNone(answer.get(b"strict-transport-security"))

    def test_small_answers(self) -> None:
        """
        Each is what it is, and the rest is the application's.
        """
        self.serve()
        health = self.ask("/healthz")
        self.assertEqual(json.loads(health.body), {"status": "ok", "host": "example.com"})
        self.assertEqual(health.get(b"content-type"), b"application/json")
        self.assertEqual(self.says("/robots.txt"), b"User-agent: *\nDisallow: /search\n")
        self.assertEqual(self.status("/favicon.ico"), 204)
        self.assertEqual(self.asked, [])
        self.assertEqual(self.says("/healthz/x"), b"9001 /healthz/x")
