"""
Tests for twistginx.policies.signed_url and twistginx.http.signature.
"""

from __future__ import annotations

from time import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.policies.guarded import KEY, GuardedCase
from twistginx.http.signature import BadSignature, Signer
from twistginx.interfaces import IPolicyModule
from twistginx.policies import signed_url

SIGNER = Signer({b"new": KEY.encode(), b"old": KEY[::-1].encode()})

#: 2030-01-01.
THEN = 1893456000


class SignerTests(SynchronousTestCase):
    """
    Links.
    """

    def test_form(self) -> None:
        """
        A link has its arguments at the end; what it is made of is what docs/authentication.rst says.
        """
        link = SIGNER.sign(b"/a/b.pdf", b"new", THEN)
        self.assertEqual(
            link, b"/a/b.pdf?expires=1893456000&key=new&signature=_2a9UD_wCdwW3Xi23xqtjXI3VG2-9xuEBnRQPC_sQNg"
        )
        self.assertTrue(SIGNER.sign(b"/a?x=1", b"new", THEN).startswith(b"/a?x=1&expires="))

    def test_holds(self) -> None:
        """
        Until it expires, by whichever key that there is, for whomever it is for.
        """
        for target in (b"/a", b"/a?", b"/a?b=c&d", b"/%20?x=%26"):
            for key in (b"new", b"old"):
                link = SIGNER.sign(target, key, THEN)
                SIGNER.check(link, THEN - 1)
                self.assertIn("expired", str(self.assertRaises(BadSignature, SIGNER.check, link, THEN)))
        link = SIGNER.sign(b"/a", b"new", THEN, b"192.0.2.1")
        SIGNER.check(link, 0, b"192.0.2.1")
        for client in (b"", b"192.0.2.2"):
            self.assertRaises(BadSignature, SIGNER.check, link, 0, client)
        self.assertRaises(BadSignature, SIGNER.check, SIGNER.sign(b"/a", b"new", THEN), 0, b"192.0.2.1")

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.data())
    def test_changed(self, data: st.DataObject) -> None:
        """
        Whatever is changed, taken out or added, the link holds no more.
        """
        link = SIGNER.sign(b"/a/b?c=d", b"new", THEN)
        start = data.draw(st.integers(0, len(link)))
        end = data.draw(st.integers(start, len(link)))
        changed = link[:start] + data.draw(st.binary(max_size=3)) + link[end:]
        if changed != link:
            self.assertRaises(BadSignature, SIGNER.check, changed, 0)

    def test_other_key(self) -> None:
        """
        A key that was taken away signs nothing any more.
        """
        link = SIGNER.sign(b"/a", b"old", THEN)
        self.assertIn("key", str(self.assertRaises(BadSignature, Signer({b"new": b"x"}).check, link, 0)))

    def test_not_to_be_signed(self) -> None:
        """
        What has such arguments already, or a fragment.
        """
        for target in (b"/?expires=1", b"/?a=b&key=x", b"/?signature=x", b"/a#b"):
            self.assertRaises(ValueError, SIGNER.sign, target, b"new", THEN)


class SignedURLTests(GuardedCase):
    """
    Requests.
    """

    def link(self, target: str, seconds: int = 60, client: str = "") -> str:
        return SIGNER.sign(target.encode(), b"new", int(time()) + seconds, client.encode()).decode()

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, signed_url)

    def test_let_in(self) -> None:
        """
        A link that holds; the app and the log see it without its signature.
        """
        self.serve('signed_url.keys = { new = "{env.KEY}" }')
        for target in ("/a/b", "/a/b?c=d&e"):
            lines = self.passed(target=self.link(target))
            self.assertEqual(lines[0], f"GET {target} HTTP/1.1")

    def test_refused(self) -> None:
        """
        One that does not hold is answered 403, and the log says why.
        """
        self.serve('signed_url.keys = { new = "{env.KEY}" }')
        good = self.link("/a")
        for target, method, detail in (
            ("/a", "GET", "there is no signature"),
            (good + "x", "GET", "the signature is not right"),
            (good + "&x=1", "GET", "the signature is not right"),
            (good.replace("/a", "/b"), "GET", "the signature is not right"),
            (good.replace("/a", "/./a"), "GET", "the signature is not right"),
            (self.link("/a", 0), "GET", "the link has expired"),
            (good, "DELETE", "the method is not one that a link is for"),
        ):
            self.assertEqual(self.told(target=target, method=method).status, 403, target)
            self.assertEqual(self.record[0], "http_request_denied")
            self.assertIn(detail, self.record[1])

    def test_client(self) -> None:
        """
        A link for one client alone.
        """
        self.serve('signed_url = { keys = { new = "{env.KEY}" }, client = true }')
        link = self.link("/a", client="192.0.2.1")
        self.passed(target=link, client="192.0.2.1")
        self.assertEqual(self.told(target=link, client="192.0.2.2").status, 403)

    def test_wrong(self) -> None:
        """
        Keys are secrets, and long; nothing of them is repeated.
        """
        for policies, problem in (
            ("signed_url.keys = {}", "signed_url.keys: is empty"),
            (f"signed_url.keys = {{ a = '{KEY}' }}", "signed_url.keys.a: is a secret in plain text"),
            ("signed_url.keys = { a = '{file.short}' }", "signed_url.keys.a: can be guessed"),
            ("signed_url.keys = { 'a&b' = '{env.KEY}' }", "cannot stand in a link"),
        ):
            self.assertIn(problem, self.refused(policies, {"short": b"tooshort"}))
