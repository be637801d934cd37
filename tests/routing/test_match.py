"""
Tests for L{twistginx.routing.match}.
"""

from __future__ import annotations

from time import process_time
from urllib.parse import quote_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.routing.match import normalised, stripped, under

_piece = st.sampled_from(
    [
        b"a",
        b"api",
        b"apix",
        b".",
        b"..",
        b"",
        b"%2e",
        b"%2E%2e",
        b".%2e",
        b"%61pi",
        b"%2F",
        b"%2f",
        b"b%20c",
        b"%",
        b"%zz",
        b"...",
    ]
)
_path = st.lists(_piece, max_size=7).map(lambda pieces: b"/" + b"/".join(pieces))


class NormalisedTests(SynchronousTestCase):
    """
    Every spelling of a path is one path.
    """

    def test_table(self) -> None:
        """
        Escapes are decoded once, but for the slash; dots are resolved, never above the root; empty segments vanish.
        """
        for path, expected in (
            (b"/", b"/"),
            (b"/a/b", b"/a/b"),
            (b"/a/b/", b"/a/b/"),
            (b"//a///b//", b"/a/b/"),
            (b"/%61", b"/a"),
            (b"/a/%2e%2e//b%2Fc/./d", b"/b%2Fc/d"),
            (b"/a%2fb", b"/a%2Fb"),
            (b"/..", b"/"),
            (b"/../../etc/passwd", b"/etc/passwd"),
            (b"/%2e%2e/%2e%2e/etc", b"/etc"),
            (b"/a/..", b"/"),
            (b"/a/b/..", b"/a/"),
            (b"/a/b/.", b"/a/b/"),
            (b"/.hidden", b"/.hidden"),
            (b"/a/.../b", b"/a/.../b"),
            (b"/%252e%252e/x", b"/%2e%2e/x"),
            (b"/100%", b"/100%"),
            (b"/%zz", b"/%zz"),
            (b"/%00", b"/\0"),
            (b"/\xc3\xbc%C3%BC", b"/\xc3\xbc\xc3\xbc"),
            (b"*", b"*"),
        ):
            self.assertEqual(normalised(path), expected, path)

    def test_plain(self) -> None:
        """
        A path that is plain is not copied.
        """
        path = b"/a/plain/path.html"
        self.assertIs(normalised(path), path)

    @given(_path)
    @settings(max_examples=300, deadline=None)
    def test_never_above_the_root(self, path: bytes) -> None:
        """
        Whatever is asked for, what comes out begins at the root and has no way up, nor an empty segment.
        """
        result = normalised(path)
        self.assertTrue(result.startswith(b"/"))
        segments = result[1:].split(b"/")
        for segment in segments[:-1]:
            self.assertNotIn(segment, (b"", b".", b".."))
        self.assertNotIn(segments[-1], (b".", b".."))

    @given(_path)
    @settings(max_examples=300, deadline=None)
    def test_idempotent(self, path: bytes) -> None:
        """
        Spelled out again, what comes out is the same; as it is, too, unless it has come to look like an escape.
        """
        result = normalised(path)
        again = b"/".join(
            quote_from_bytes(segment.replace(b"%2F", b"/"), safe="").encode() for segment in result.split(b"/")
        )
        self.assertEqual(normalised(again), result)
        if b"%" not in result:
            self.assertEqual(normalised(result), result)


class UnderTests(SynchronousTestCase):
    """
    A prefix has whole segments.
    """

    def test_table(self) -> None:
        """
        C{/api} has itself and what is below it, never C{/apix}.
        """
        for path, prefix, expected in (
            (b"/api", b"/api", True),
            (b"/api/", b"/api", True),
            (b"/api/x", b"/api", True),
            (b"/apix", b"/api", False),
            (b"/ap", b"/api", False),
            (b"/x", b"", True),
            (b"/", b"", True),
            (b"*", b"", False),
            (b"/api%2Fx", b"/api", False),
        ):
            self.assertIs(under(path, prefix), expected, (path, prefix))


class StrippedTests(SynchronousTestCase):
    """
    What is left of a path when its prefix is gone.
    """

    def test_table(self) -> None:
        """
        It is as it was sent, whichever way the prefix was spelled.
        """
        for raw, prefix, expected in (
            (b"/api", b"/api", b"/"),
            (b"/api/", b"/api", b"/"),
            (b"/api/x%20y/%2F", b"/api", b"/x%20y/%2F"),
            (b"/%61pi/x", b"/api", b"/x"),
            (b"//api//x", b"/api", b"//x"),
            (b"/b/../api/x", b"/api", b"/x"),
            (b"/api/b/../x", b"/api", b"/b/../x"),
            (b"/api/../api/x", b"/api", b"/x"),
            (b"/a/b/x%2Fy", b"/a/b", b"/x%2Fy"),
            (b"/%61pi", b"/api", b"/"),
        ):
            path = normalised(raw)
            self.assertTrue(under(path, prefix), raw)
            self.assertEqual(stripped(raw, path, prefix), expected, raw)

    def test_long(self) -> None:
        """
        A path that is made to be slow is not: its cost grows with its length, not with the square of it.
        """
        for raw in (
            b"/" * 30_000 + b"api/x",
            b"/api/x/../.." * 2_500 + b"/api/x",
            b"/api" + b"/%61/.." * 4_000 + b"/x",
        ):
            path = normalised(raw)
            before = process_time()
            rest = stripped(raw, path, b"/api")
            self.assertLess(process_time() - before, 0.5)
            self.assertEqual(normalised(rest), b"/x")

    @given(_path, st.sampled_from([b"/api", b"/a", b"/api/a", b""]))
    @settings(max_examples=500, deadline=None)
    def test_round_trip(self, raw: bytes, prefix: bytes) -> None:
        """
        What is left is a path, and means what was behind the prefix.
        """
        path = normalised(raw)
        if not under(path, prefix):
            return
        rest = stripped(raw, path, prefix)
        self.assertTrue(rest.startswith(b"/"))
        self.assertEqual(normalised(rest), path[len(prefix) :] or b"/")
