"""
Tests for docs/cookbook/addresses.rst.
"""

from __future__ import annotations

from tests.cookbook.kitchen import KitchenCase, certificate
from tests.net.authority import asking
from tests.test_failures import TLS

WWW = {"www/index.html": b"home", "www/about.html": b"about us"}


class AddressTests(KitchenCase):
    """
    Where requests go.
    """

    page = "addresses"

    def test_https_only_without_www(self) -> None:
        """
        Three of the four addresses lead to the fourth in one step, which answers.
        """
        self.serve({**WWW, **certificate("example.com", "www.example.com")})
        there = b"https://example.com/about.html?a=1"
        for host in ("example.com", "www.example.com"):
            self.assertEqual(self.leads("/about.html?a=1", host=host, endpoint="tcp:80"), (301, there))
        self.assertEqual(
            self.leads("/form", method="POST", body=b"x", endpoint="tcp:80"), (308, b"https://example.com/form")
        )
        for host, expected in (("www.example.com", b"HTTP/1.1 301 "), ("example.com", b"HTTP/1.1 200 ")):
            client = self.server.connect("tcp:443")
            answer = TLS(client, asking(), host).ask(f"GET /about.html?a=1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            self.assertTrue(answer.startswith(expected), answer)
            self.assertIn(there if b"301" in expected else b"about us", answer)
            client.close()

    def test_pages_that_have_moved(self) -> None:
        """
        By the table and by the file, which is read again.
        """
        server = self.serve({**WWW, "moved.txt": b"/jobs /careers\n"})
        self.assertEqual(self.leads("/about.html?a=1"), (301, b"/about?a=1"))
        self.assertEqual(self.leads("/blog/2024/x"), (301, b"/news/2024/x"))
        self.assertEqual(self.leads("/jobs"), (301, b"/careers"))
        self.assertEqual(self.status("/press"), 404)
        (server.directory / "moved.txt").write_bytes(b"/press /about\n/jobs /careers\n")
        server.advance(5)
        self.assertEqual(self.leads("/press"), (301, b"/about"))
        self.assertEqual(self.says("/"), b"home")

    def test_addresses_without_html(self) -> None:
        """
        The file is there without its extension, and with it a redirect that keeps the query.
        """
        self.serve({**WWW, "www/docs/index.html": b"docs"})
        self.assertEqual(self.says("/about"), b"about us")
        self.assertEqual(self.leads("/about.html?a=1"), (301, b"/about?a=1"))
        self.assertEqual((self.says("/"), self.says("/docs/"), self.status("/none")), (b"home", b"docs", 404))

    def test_addresses_by_pattern(self) -> None:
        """
        What the pattern captures is an argument; what it does not match is a file.
        """
        self.serve(WWW)
        self.assertEqual(self.says("/users/12/photo"), b"9001 /photos?user=12")
        self.assertEqual(self.status("/users/ann/photo"), 404)
        self.assertEqual(self.status("/users/1234567890/photo"), 404)
        self.assertEqual(self.says("/"), b"home")

    def test_a_site_for_each_customer(self) -> None:
        """
        Each has a folder, and no name leads elsewhere.
        """
        self.serve({"customers/acme/index.html": b"acme", "customers/globex/a.txt": b"globex", "index.html": b"no"})
        self.assertEqual(self.says("/", host="acme.example.com"), b"acme")
        self.assertEqual(self.says("/a.txt", host="globex.example.com"), b"globex")
        self.assertEqual(self.status("/a.txt", host="acme.example.com"), 404)
        for host in ("none.example.com", "...example.com", "a.b.example.com"):
            self.assertIn(self.status("/index.html", host=host), (400, 404))
        self.assertNotEqual(self.status("/../globex/a.txt", host="acme.example.com"), 200)

    def test_servers_chosen_by_a_map(self) -> None:
        """
        By the value, by its beginning, or the default.
        """
        self.serve()
        for customer, port in (("acme", b"9002"), ("legacy-7", b"9003"), ("who", b"9001"), ("old", b"9001")):
            self.assertEqual(self.says("/x", f"X-Customer: {customer}"), port + b" /x")
        self.assertEqual(self.says("/x"), b"9001 /x")

    def test_names_that_are_nobody_s(self) -> None:
        """
        One name is answered for.
        """
        self.serve(WWW)
        self.assertEqual(self.says("/"), b"home")
        for host in ("other.example", "192.0.2.1", "www.example.com"):
            self.assertEqual(self.status("/", host=host), 404)

    def test_read_by_all_changed_by_some(self) -> None:
        """
        HEAD goes with GET; the rest is for the office.
        """
        self.serve()
        self.assertEqual(self.says("/x"), b"9001 /x")
        self.replies = lambda asked: b"HTTP/1.1 204 No Content\r\n\r\n"
        self.assertEqual(self.status("/x", method="HEAD"), 204)
        for method in ("POST", "DELETE"):
            self.assertEqual(self.status("/x", method=method), 403)
            self.assertEqual(self.status("/x", method=method, peer="10.1.2.3"), 204)

    def test_pictures_for_our_own_pages(self) -> None:
        """
        Our own pages, pages of names below, and who says nothing.
        """
        self.serve({"www/images/a.png": b"png", **WWW})
        for page in ("http://example.com/", "https://shop.example.com/x", "https://example.com"):
            self.assertEqual(self.says("/images/a.png", f"Referer: {page}"), b"png")
        self.assertEqual(self.says("/images/a.png"), b"png")
        for page in ("https://other.example/", "https://other.example/a.example.com/", "https://badexample.com/"):
            self.assertEqual(self.status("/images/a.png", f"Referer: {page}"), 403)
            self.assertEqual(self.says("/about.html", f"Referer: {page}"), b"about us")
