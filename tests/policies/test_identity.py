"""
Tests for twistginx.policies.identity and twistginx.http.identity, and for what they do to a head in one piece.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import ConfigError
from twistginx.http.identity import IdentityNames
from twistginx.http.message import Fields, RequestHead
from twistginx.policies.identity import IdentityFields, without_arguments, without_cookie, without_field

_NAMES = st.sampled_from([b"Host", b"X-User", b"x-user", b"X-Users", b"A", b"X-USER"])
#: A head that is in one piece has a Host.
_LINES = st.lists(st.tuples(_NAMES, st.sampled_from([b"", b"1", b"x-user: 2", b"a:b"])), max_size=8).flatmap(
    lambda lines: st.permutations([(b"Host", b"a"), *lines])
)


def heads(lines: list[tuple[bytes, bytes]]) -> tuple[RequestHead, RequestHead]:
    """
    The same head in one piece, and as a list.
    """
    whole = RequestHead(b"GET", b"/", b"HTTP/1.1", None)
    whole.block = b"\r\n" + b"".join([b"%b: %b\r\n" % line for line in lines])
    return whole, RequestHead(b"GET", b"/", b"HTTP/1.1", Fields.of(lines))


class HeadTests(SynchronousTestCase):
    """
    A head in one piece is changed as a list of fields is.
    """

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(_LINES)
    def test_without_field(self, lines: list[tuple[bytes, bytes]]) -> None:
        """
        Every field of the name goes, however it is written and wherever it stands, and no other.
        """
        whole, listed = heads(lines)
        for head in (whole, listed):
            without_field(SimpleNamespace(head=head), b"x-user")
        self.assertIsNotNone(whole.block)
        self.assertEqual(whole.lowered, whole.block.lower())  # type: ignore[union-attr]
        self.assertEqual(list(whole.fields), list(listed.fields))

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(_LINES)
    def test_take_out(self, lines: list[tuple[bytes, bytes]]) -> None:
        """
        The same for what is taken out of all requests.
        """
        whole, listed = heads(lines)
        for head in (whole, listed):
            IdentityNames([b"x-user"]).take_out(head)
        self.assertEqual(list(whole.fields), list(listed.fields))
        self.assertNotIn(b"x-user", whole.fields)

    def test_aliases(self) -> None:
        """
        Names that servers take for the same go as well.
        """
        names = (b"X_User", b"X.User", b"X-User", b"x~user", b"XUser", b"X--User")
        head = RequestHead(b"GET", b"/", b"HTTP/1.1", Fields.of([(name, b"1") for name in names]))
        IdentityNames([b"x-user"]).take_out(head)
        self.assertEqual([name for _, name, _ in head.fields], [b"XUser", b"X--User"])


class IdentityFieldsTests(SynchronousTestCase):
    """
    What is said.
    """

    def test_say(self) -> None:
        """
        Ours and no others, without line ends; what is empty is not said; all of them are vouched for.
        """
        fields = IdentityFields([("X-User", "user"), ("X-Groups", "groups"), ("X-Mail", "mail")])
        request: Any = SimpleNamespace(head=heads([(b"Host", b"a")])[0], vouched=frozenset((b"x",)))
        fields.say(request, {b"x-user": (b"a\r\nb",), b"x-groups": (b"1", b"2"), b"x-mail": (b" ",), b"x-no": (b"1",)})
        self.assertEqual(
            [(name, value) for _, name, value in request.head.fields],
            [(b"Host", b"a"), (b"X-User", b"a  b"), (b"X-Groups", b"1"), (b"X-Groups", b"2")],
        )
        self.assertEqual(request.vouched, {b"x", b"x-user", b"x-groups", b"x-mail"})

    def test_names(self) -> None:
        """
        Names that have a meaning of their own, or could be taken for others, are not to be set.
        """
        for name in ("Host", "content-length", "Connection", "Authorization", "X-Request-ID", "X_User", "a b", ""):
            error = self.assertRaises(ConfigError, IdentityFields, [(name, "claims.x")])
            self.assertEqual(error.key, "claims.x")


class CredentialTests(SynchronousTestCase):
    """
    What goes no further.
    """

    def test_cookie(self) -> None:
        """
        One cookie of several, in one line or in more.
        """
        for lines, left in (
            ([b"a=1; t=x; b=2"], [b"a=1; b=2"]),
            ([b"t=x"], []),
            ([b"t=x; t=y", b"a=1;t=z"], [b"a=1"]),
            ([b"at=x; t"], [b"at=x"]),
        ):
            head = RequestHead(b"GET", b"/", b"HTTP/1.1", Fields.of([(b"Cookie", line) for line in lines]))
            without_cookie(SimpleNamespace(head=head), b"t")
            self.assertEqual(head.fields.every(b"cookie"), left)

    def test_arguments(self) -> None:
        """
        Arguments of the query; the others stay as they were written.
        """
        for target, left, query in (
            (b"/a?t=1", b"/a", None),
            (b"/a?x=%20&t=1&&y", b"/a?x=%20&&y", b"x=%20&&y"),
            (b"/a?tt=1", b"/a?tt=1", b"tt=1"),
            (b"/a?%74=1&x", b"/a?x", b"x"),
            (b"/a", b"/a", None),
        ):
            head = RequestHead(b"GET", target, b"HTTP/1.1", Fields())
            head.path, mark, rest = target.partition(b"?")
            head.query = rest if mark else None
            without_arguments(SimpleNamespace(head=head), frozenset((b"t",)))
            self.assertEqual((head.target, head.query), (left, query))
