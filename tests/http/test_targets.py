"""
Tests for L{twistginx.http.targets}.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.http.targets import climbs, editable, quoted, quoted_argument, quoted_match, quoted_text, quoted_url

PATHS = st.lists(st.sampled_from([b"/", b"a", b"%2F", b"%2f", b"%25", b"%20", b"%C3%BC", b"%3F", b"+", b"%2E"])).map(
    b"".join
)


class TargetTests(SynchronousTestCase):
    """
    What is percent-encoded, and what is not.
    """

    def test_table(self) -> None:
        """
        A path is edited decoded, but for the slash that is data and the percent sign.
        """
        for raw, edited, again in (
            (b"/a/b", b"/a/b", b"/a/b"),
            (b"/a%20b", b"/a b", b"/a%20b"),
            (b"/a%2fb%2F", b"/a%2Fb%2F", b"/a%2Fb%2F"),
            (b"/100%25", b"/100%25", b"/100%25"),
            (b"/a%252Fb", b"/a%252Fb", b"/a%252Fb"),
            (b"/%61%3F%23", b"/a?#", b"/a%3F%23"),
            (b"/%C3%BC", "/ü".encode(), b"/%C3%BC"),
            (b"/a%0D%0Ab", b"/a\r\nb", b"/a%0D%0Ab"),
        ):
            self.assertEqual(editable(raw), edited)
            self.assertEqual(quoted(edited), again)

    @given(PATHS)
    def test_nothing_is_lost(self, raw: bytes) -> None:
        """
        What was decoded and is encoded again means the same, slash for slash.
        """
        again = quoted(editable(raw))
        self.assertEqual(unquote_to_bytes(again), unquote_to_bytes(raw))
        self.assertEqual(again.count(b"/"), raw.count(b"/"))
        self.assertEqual(editable(again), editable(raw))

    @given(st.binary())
    def test_safe(self, text: bytes) -> None:
        """
        Whatever is put in, nothing stands there that ends a line or a part, and a value comes back as it was.
        """
        for quote, ends in ((quoted_text, b" ?#\r\n"), (quoted_argument, b" &=+#\r\n"), (quoted_url, b" #\r\n")):
            made = quote(text)
            self.assertTrue(made.isascii())
            self.assertFalse(set(ends) & set(made), made)
        self.assertEqual(unquote_to_bytes(quoted_text(text)), text)
        self.assertEqual(unquote_to_bytes(quoted_argument(text)), text)

    def test_matched(self) -> None:
        """
        Of a normalised path, only the encoded slash is an escape.
        """
        self.assertEqual(quoted_match(b"/a%2Fb%25 %"), b"/a%2Fb%2525%20%25")

    def test_climbs(self) -> None:
        """
        Dot segments are seen in all their spellings.
        """
        for raw in (b"/a/../b", b"/a/%2e%2E/b", b"/a%2F..%2Fb", b"/..", b"/a/.", b"/%252e%252e/x", b"/a%5C..%5Cb"):
            self.assertTrue(climbs(raw), raw)
        for raw in (
            b"/a/..;/b",
            b"/a/..;x=1",
            b"/%2e.%3Bx/b",
            b"/%c0%ae%C0%AE/b",
            b"/a%c0%af..",
            b"/a%E0%81%9C..%c1%9cb",
        ):
            self.assertTrue(climbs(raw), raw)
        for raw in (b"/a/b", b"/a..b", b"/.well-known/x", b"/...", b"/%20", b"/a;..", b"/%C3%A9/%E0%A4%AE", b"/a%c0"):
            self.assertFalse(climbs(raw), raw)
