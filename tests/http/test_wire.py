"""
Tests for L{twistginx.http.wire}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.http import wire
from twistginx.http.message import PHRASES, Fields


class HeadTests(SynchronousTestCase):
    """
    Heads in bytes.
    """

    def test_block(self) -> None:
        """
        A status line, and a line for each field, in order.
        """
        fields = Fields.of([(b"B", b"1"), (b"A", b""), (b"b", b"2")])
        self.assertEqual(wire.head_block(200, b"OK", fields), b"HTTP/1.1 200 OK\r\nB: 1\r\nA: \r\nb: 2\r\n")
        self.assertEqual(wire.head_block(299, b"", Fields()), b"HTTP/1.1 299 \r\n")
        self.assertEqual(wire.head_block(404, b"Gone Fishing", Fields()), b"HTTP/1.1 404 Gone Fishing\r\n")

    def test_phrases(self) -> None:
        """
        Every registered status has a line.
        """
        for status, phrase in PHRASES.items():
            self.assertEqual(wire.status_line(status, phrase), b"HTTP/1.1 %d %b\r\n" % (status, phrase))

    def test_status(self) -> None:
        """
        A status has three digits.
        """
        for status in (0, 99, 1000, -200):
            self.assertRaises(ValueError, wire.status_line, status, b"")

    @given(
        st.lists(st.tuples(*[st.text(st.sampled_from("ab:\r\n\0 "), max_size=4).map(str.encode)] * 2), max_size=4),
        st.text(st.sampled_from("a\r\n\0"), max_size=3).map(str.encode),
    )
    def test_never_splits(self, pairs: list[tuple[bytes, bytes]], phrase: bytes) -> None:
        """
        Whatever is in names, values and phrase: it is one line each, or refused; trailers alike.
        """
        bad = any(byte in b"".join([phrase, *(a + b for a, b in pairs)]) for byte in (b"\r", b"\n", b"\0"))
        fields = Fields.of(pairs)
        if bad:
            self.assertRaises(ValueError, wire.head_block, 200, phrase, fields)
        else:
            self.assertEqual(wire.head_block(200, phrase, fields).count(b"\r\n"), len(pairs) + 1)
        if any(byte in b"".join(a + b for a, b in pairs) for byte in (b"\r", b"\n", b"\0")):
            self.assertRaises(ValueError, wire.last_chunk, fields)
        else:
            self.assertEqual(wire.last_chunk(fields).count(b"\r\n"), len(pairs) + 2)


class PieceTests(SynchronousTestCase):
    """
    Dates, chunks, lists.
    """

    def test_date(self) -> None:
        """
        The date is that of the second, and made once in it.
        """
        now = [1_000_000_000.9]
        self.patch(wire, "time", lambda: now[0])
        self.patch(wire, "_date", (0, b""))
        first = wire.date_line()
        self.assertEqual(first, b"Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n")
        self.assertIs(wire.date_line(), first)
        now[0] += 0.2
        self.assertEqual(wire.date_line(), b"Date: Sun, 09 Sep 2001 01:46:41 GMT\r\n")

    def test_token(self) -> None:
        """
        A token has no separators, and is not empty.
        """
        for good in (b"a", b"X-A_1", b"!#$%&'*+-.^_`|~"):
            self.assertTrue(wire.is_token(good))
        for bad in (b"", b"a b", b"a:", b"a\n", b"\xe4", b"a\0", b"(a)"):
            self.assertFalse(wire.is_token(bad), bad)

    def test_connection_options(self) -> None:
        """
        All Connection fields are one list, in lower case.
        """
        fields = Fields.of([(b"Connection", b"Close, X-A"), (b"connection", b" \tfoo ,")])
        self.assertEqual(wire.connection_options(fields) - {b""}, {b"close", b"x-a", b"foo"})
        self.assertEqual(wire.connection_options(Fields()), frozenset())

    def test_chunks(self) -> None:
        """
        A chunk's size is hexadecimal.
        """
        self.assertEqual(wire.chunk_size(b"x" * 26), b"1a\r\n")
        self.assertEqual(wire.last_chunk(None), b"0\r\n\r\n")
        self.assertEqual(wire.last_chunk(Fields.of([(b"A", b"b")])), b"0\r\nA: b\r\n\r\n")
