"""
The configurations in docs/routing.rst and docs/rewriting.rst are built, and do what the pages say.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

from tests.policies.answers import Answers
from twistginx.testing import MemoryServer

DOCS = Path(__file__).parents[2] / "docs"


def configurations(page: str) -> list[str]:
    """
    The literal blocks of a page that are configurations.
    """
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", text)
    return [dedent(block) for block in blocks if "[[site]]" in block]


class PageTests(Answers):
    """
    What is written down works.
    """

    def served(self, page: str, piece: str) -> MemoryServer:
        """
        The configuration of a page that has C{piece} in it.
        """
        (found,) = [each for each in configurations(page) if piece in each]
        return self.serve(found.replace("tcp:8080", "tcp:80"))

    def test_all(self) -> None:
        """
        Each can be built.
        """
        for page in ("routing.rst", "rewriting.rst"):
            found = configurations(page)
            self.assertGreater(len(found), 2)
            for config in found:
                self.serve(config)

    def test_routing(self) -> None:
        """
        Names with regexes, conditions, policies for some requests.
        """
        shops = self.served("routing.rst", "(?<shop>")
        self.assertEqual(self.body(shops, "/", "X-Host: hats.shops.example\r\n"), "hats")
        self.assertEqual(self.body(shops, "/", "X-Host: Hats.shops.example.:80\r\n"), "hats")
        matching = self.served("routing.rst", "[match.office]")
        self.assertEqual(self.body(matching, "/admin"), "404")
        self.assertEqual(self.body(matching, "/?v=2", "Accept: text/html, */*\r\n"), "a page")
        conditional = self.served("routing.rst", "/assets/**")
        self.assertEqual(self.body(conditional, "/internal/x"), "403")
        _, fields, _ = self.ask(conditional, "/assets/a/b.css")
        self.assertEqual((fields["x-frame-options"], fields["cache-control"]), ("DENY", "max-age=31536000, immutable"))
        self.assertNotIn("cache-control", self.ask(conditional, "/x")[1])

    def test_rewriting(self) -> None:
        """
        Rules, redirects, maps.
        """
        rules = self.served("rewriting.rst", "item.php")
        for target, expected in (
            ("/shop/hats/12?a=1", "/item.php?kind=hats&id=12&a=1"),
            ("/shop/list?utm_x=1&q=y", "/v2/list?search=y&source=shop"),
            ("/other", "/index.php/other"),
        ):
            client = rules.connect()
            client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            self.assertEqual(rules.accept().take().split(b" ")[1].decode(), expected)
        moved = self.served("rewriting.rst", "/blog/*")
        _, fields, _ = self.ask(moved, "/blog/1?p", "X-Host: www.example.com\r\n")
        self.assertEqual(fields["location"], "https://example.com/news/1?p")
        maps = self.served("rewriting.rst", "[map.color]")
        for fields_sent, expected in (
            ("Cookie: color=blue\r\n", "b"),
            ("Cookie: color=test-1\r\n", "canary"),
            ("Cookie: color=v12\r\n", "version 12"),
            ("X-Country: de\r\n", "g"),
            ("", "b"),
        ):
            self.assertEqual(self.body(maps, "/", fields_sent), f"example.com: {expected}")

    def test_chosen_upstream(self) -> None:
        """
        A request chooses its upstream by a map; one that there is not is a 503.
        """
        server = self.served("rewriting.rst", "[map.backend]")
        for fields, port in (("", 9001), ("Cookie: canary=yes\r\n", 9002)):
            server.connect().send(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
            self.assertEqual(server.reactor.tcpClients[-1][1], port)
        nobody = self.serve(
            '[upstream.a]\nservers = ["127.0.0.1:9001"]\n[[site]]\nlisten = "tcp:80"\n[[site.route]]\n'
            'proxy = { upstream = "{arg.u}" }\n'
        )
        self.assertEqual(self.body(nobody, "/?u=b"), "503")
