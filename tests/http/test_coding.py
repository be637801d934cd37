"""
Tests for L{twistginx.http.coding}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.http.coding import (
    MediaTypes,
    Offer,
    accepted_codings,
    add_vary,
    forget_bytes,
    is_transformable,
    weaken,
    weights,
)
from twistginx.http.message import Fields, RequestHead


class AcceptTests(SynchronousTestCase):
    """
    What a client takes.
    """

    def test_accepted(self) -> None:
        """
        The value of the field, if there is one.
        """
        for fields, value in (
            ([(b"Host", b"a")], b""),
            ([(b"accept-Encoding", b"br , gzip")], b"br , gzip"),
            ([(b"X-Accept-Encoding", b"br")], b""),
        ):
            head = RequestHead(b"GET", b"/", b"HTTP/1.1", Fields.of(fields))
            self.assertEqual(accepted_codings(head), value)

    def test_weights(self) -> None:
        """
        Weights of RFC 9110, and nothing else; names are in lower case, and old ones are new ones.
        """
        for value, expected in (
            (b"", {}),
            (b" , ,", {}),
            (b"GZIP", {b"gzip": 1.0}),
            (b"x-gzip;q=0.5", {b"gzip": 0.5}),
            (b"br ; Q=0.123", {b"br": 0.123}),
            (b"br;q=1.000, gzip;q=0.000", {b"br": 1.0, b"gzip": 0.0}),
            (
                b"a;q=1.1, b;q=-1, c;q=.5, d;q=0.1234, e;q=x, f;q=",
                dict.fromkeys((b"a", b"b", b"c", b"d", b"e", b"f"), 0.0),
            ),
            (b"br;q=0.1, br", {b"br": 0.1}),
        ):
            self.assertEqual(weights(value), expected, value)

    def test_ranked(self) -> None:
        """
        Best first.
        """
        offer = Offer([b"zstd", b"br", b"gzip"])
        for value, expected in (
            (b"gzip, deflate, br, zstd", (b"zstd", b"br", b"gzip")),
            (b"gzip;q=0.9, br;q=0.8", (b"gzip", b"br")),
            (b"*;q=0.5, br;q=0", (b"zstd", b"gzip")),
            (b"identity;q=0, gzip;q=0.1", (b"gzip",)),
            (b"identity;q=0.5, gzip;q=0.4, br;q=0.6", (b"br",)),
            (b"*;q=0", ()),
            (b"identity;q=0", ()),
        ):
            self.assertEqual(offer.ranked(value), expected, value)

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.binary(max_size=30), min_size=300, max_size=300, unique=True))
    def test_bounded(self, values: list[bytes]) -> None:
        """
        Whatever clients send, it is an answer, and not all of it is remembered.
        """
        offer = Offer([b"gzip"])
        for value in values:
            self.assertIn(offer.ranked(value), ((), (b"gzip",)))
        self.assertLessEqual(len(offer._answers), 256)


class FieldsTests(SynchronousTestCase):
    """
    What is said of a changed body.
    """

    def test_vary(self) -> None:
        """
        One field, in which each name stands once.
        """
        for before, after in (
            ((), [b"Accept-Encoding"]),
            ((b"Origin",), [b"Origin, Accept-Encoding"]),
            ((b"Origin", b"Accept"), [b"Origin, Accept, Accept-Encoding"]),
            ((b"Origin, accept-encoding",), [b"Origin, accept-encoding"]),
            ((b"*",), [b"*"]),
        ):
            fields = Fields.of([(b"Vary", value) for value in before])
            add_vary(fields)
            self.assertEqual(fields.every(b"vary"), after)

    def test_tags(self) -> None:
        """
        A strong tag becomes weak, a weak one stays.
        """
        fields = Fields.of([(b"ETag", b'"a"'), (b"X", b'"b"')])
        for _ in range(2):
            weaken(fields)
            self.assertEqual(fields, Fields.of([(b"ETag", b'W/"a"'), (b"X", b'"b"')]))

    def test_bytes(self) -> None:
        """
        What is true of bytes only goes.
        """
        names = (b"Content-Length", b"Accept-Ranges", b"Repr-Digest", b"Content-Digest", b"Digest", b"Content-MD5")
        fields = Fields.of([*((name, b"1") for name in names), (b"Content-Type", b"a/b"), (b"ETag", b'"1"')])
        forget_bytes(fields)
        self.assertEqual(fields, Fields.of([(b"Content-Type", b"a/b"), (b"ETag", b'W/"1"')]))

    def test_transformable(self) -> None:
        """
        Unless it is said that it must not be.
        """
        for value, expected in ((b"", True), (b"public", True), (b"public, NO-Transform", False)):
            self.assertEqual(is_transformable(Fields.of([(b"Cache-Control", value)])), expected)


class MediaTypesTests(SynchronousTestCase):
    """
    Types by pattern.
    """

    def test_has(self) -> None:
        """
        Exact types, those of a kind, those of a structure; parameters and case say nothing.
        """
        types = MediaTypes(["text/*", "*+json", "application/wasm"])
        for value, expected in (
            (b"text/html", True),
            (b"TEXT/HTML ; charset=utf-8", True),
            (b"text", False),
            (b"textual/html", False),
            (b"application/ld+json", True),
            (b"application/json", False),
            (b"application/wasm", True),
            (b"application/wasm2", False),
            (b"", False),
            (b"+json", False),
        ):
            for _ in range(2):
                self.assertEqual(types.has(value), expected, value)
        self.assertTrue(MediaTypes(["*"]).has(b"a/b"))
        self.assertFalse(MediaTypes([]).has(b"a/b"))

    def test_wrong(self) -> None:
        """
        Patterns that are none.
        """
        for pattern in ("html", "text/", "/html", "*/*", "text/*ml", "", "text/html; charset=x"):
            self.assertRaises(ValueError, MediaTypes, [pattern])
