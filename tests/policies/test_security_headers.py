"""
Tests for L{twistginx.policies.security_headers}.
"""

from __future__ import annotations

from attrs import define
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.resources.serving import Context
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.http.message import Fields, ResponseHead
from twistginx.interfaces import IPolicyModule
from twistginx.policies import headers, security_headers


@define
class Request:
    """
    All that the policy looks at.
    """

    scheme: bytes = b"https"


def changed(table: object, *pairs: tuple[bytes, bytes], scheme: bytes = b"https") -> dict[bytes, list[bytes]]:
    """
    The fields of a response after the policy, by name.
    """
    made = security_headers.make(structure(table, security_headers.Config), Context())
    head = ResponseHead(200, Fields.of(pairs))
    assert made.responding(Request(scheme), head) is None
    there: dict[bytes, list[bytes]] = {}
    for _, name, value in head.fields:
        there.setdefault(name, []).append(value)
    return there


class SecurityHeadersTests(SynchronousTestCase):
    """
    What the policy does to a response.
    """

    def test_module(self) -> None:
        """
        It is a policy's module; on the way out it comes before ``headers``, which has the last word.
        """
        verifyObject(IPolicyModule, security_headers)
        self.assertGreater(security_headers.rank, headers.rank)

    def test_default(self) -> None:
        """
        ``true`` is the whole of it.
        """
        self.assertEqual(
            changed(True),
            {
                b"X-Content-Type-Options": [b"nosniff"],
                b"X-Frame-Options": [b"SAMEORIGIN"],
                b"Referrer-Policy": [b"strict-origin-when-cross-origin"],
                b"Permissions-Policy": [b"camera=(), geolocation=(), microphone=()"],
                b"Cross-Origin-Opener-Policy": [b"same-origin"],
                b"Strict-Transport-Security": [b"max-age=31536000"],
            },
        )

    def test_hsts_is_for_tls(self) -> None:
        """
        Over http, nothing is said of TLS.
        """
        self.assertNotIn(b"Strict-Transport-Security", changed(True, scheme=b"http"))

    def test_hsts(self) -> None:
        """
        How long, for what else, and in whose list.
        """
        table = {"hsts": "730d", "hsts_subdomains": True, "hsts_preload": True}
        self.assertEqual(
            changed(table)[b"Strict-Transport-Security"], [b"max-age=63072000; includeSubDomains; preload"]
        )
        self.assertEqual(changed({"hsts": "0s"})[b"Strict-Transport-Security"], [b"max-age=0"])

    def test_own_fields_stand(self) -> None:
        """
        What the resource has said is left as it is, and nothing is said twice.
        """
        fields = changed(True, (b"x-frame-options", b"DENY"), (b"Referrer-Policy", b"no-referrer"))
        self.assertEqual(fields[b"x-frame-options"], [b"DENY"])
        self.assertEqual(fields[b"Referrer-Policy"], [b"no-referrer"])
        self.assertNotIn(b"X-Frame-Options", fields)

    def test_telltale(self) -> None:
        """
        What an app is made of is its own affair.
        """
        fields = changed(True, (b"X-Powered-By", b"PHP/5.3"), (b"ETag", b'"1"'), (b"X-AspNet-Version", b"4"))
        self.assertNotIn(b"X-Powered-By", fields)
        self.assertNotIn(b"X-AspNet-Version", fields)
        self.assertEqual(fields[b"ETag"], [b'"1"'])

    def test_left_out(self) -> None:
        """
        An empty text, and ``allow``, leave a field out.
        """
        fields = changed({"referrer": "", "permissions": "", "opener": "", "frames": "allow", "sniffing": True})
        self.assertEqual(list(fields), [b"Strict-Transport-Security"])

    def test_refused(self) -> None:
        """
        What browsers would not take, and what is no line of a header.
        """
        tables = [{"hsts_preload": True}, {"content": "a\nb"}, {"referrer": " a"}, "yes", {"frames": "maybe"}]
        for table in tables:
            with self.subTest(table=table), self.assertRaises(Faults):
                structure(table, security_headers.Config)

    def test_responses_do_not_share(self) -> None:
        """
        What is added to one response is not in the next.
        """
        made = security_headers.make(security_headers.Config(), Context())
        first, second = ResponseHead(200, Fields()), ResponseHead(200, Fields())
        made.responding(Request(), first)
        first.fields.add(b"A", b"1")
        made.responding(Request(), second)
        self.assertNotIn(b"a", second.fields)
