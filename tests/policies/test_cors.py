"""
Tests for L{twistginx.policies.cors}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.resources.serving import Answer, Context, Served
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.interfaces import IPolicyModule
from twistginx.policies import cors
from twistginx.resources import respond

APP = b"https://app.example.com"


def served(table: object, **headers: str) -> Served:
    """
    A resource behind the policy.
    """
    made = cors.make(structure(table, cors.Config), Context())
    context = Context()
    resource = respond.make(structure({"body": "hello", "headers": headers}, respond.Config), context)
    return Served(resource, context, admit=(made.admit,), responding=(made.responding,))


def preflight(table: object, origin: bytes = APP, **fields: bytes) -> Answer:
    """
    The answer to a preflight.
    """
    asked = {"access_control_request_method": b"PUT", **fields}
    return served(table).get(b"/", b"OPTIONS", origin=origin, **asked)


class PreflightTests(SynchronousTestCase):
    """
    What a browser asks before it asks.
    """

    def test_module(self) -> None:
        """
        It runs before access and authentication, because a preflight has no credentials.
        """
        verifyObject(IPolicyModule, cors)
        self.assertLess(cors.rank, 200)

    def test_everybody(self) -> None:
        """
        With ``true``, everybody may do the usual things, with the fields that they ask for.
        """
        answer = preflight(True, access_control_request_headers=b"x-a, x-b")
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer[b"Access-Control-Allow-Origin"], b"*")
        self.assertEqual(answer[b"Access-Control-Allow-Methods"], b"GET, HEAD, POST, PUT, PATCH, DELETE")
        self.assertEqual(answer[b"Access-Control-Allow-Headers"], b"x-a, x-b")
        self.assertEqual(answer[b"Access-Control-Max-Age"], b"600")
        self.assertIsNone(answer[b"Access-Control-Allow-Credentials"])

    def test_named(self) -> None:
        """
        A named origin may; its name is in the answer, and caches are told that it depends on that.
        """
        table = {"origins": [APP.decode()], "credentials": True, "headers": ["X-A"], "methods": ["PUT"]}
        answer = preflight(table)
        self.assertEqual(answer[b"Access-Control-Allow-Origin"], APP)
        self.assertEqual(answer[b"Access-Control-Allow-Credentials"], b"true")
        self.assertEqual(answer[b"Access-Control-Allow-Headers"], b"X-A")
        self.assertEqual(answer[b"Access-Control-Allow-Methods"], b"PUT")
        self.assertIn(b"Origin", answer.every(b"Vary"))

    def test_stranger(self) -> None:
        """
        A stranger gets an answer, and no leave.
        """
        for origin in (b"https://evil.example", b"http://app.example.com", b"https://app.example.com.evil.example"):
            answer = preflight(APP.decode(), origin)
            self.assertEqual(answer.status, 204)
            self.assertIsNone(answer[b"Access-Control-Allow-Origin"])
            self.assertIsNone(answer[b"Access-Control-Allow-Methods"])

    def test_wildcard(self) -> None:
        """
        All hosts below one, and not those that merely end alike.
        """
        table = ["https://*.example.com"]
        self.assertEqual(preflight(table)[b"Access-Control-Allow-Origin"], APP)
        self.assertIsNone(preflight(table, b"https://example.com")[b"Access-Control-Allow-Origin"])
        self.assertIsNone(preflight(table, b"https://notexample.com")[b"Access-Control-Allow-Origin"])

    def test_private_network(self) -> None:
        """
        Only where it is allowed.
        """
        asked = {"access_control_request_private_network": b"true"}
        name = b"Access-Control-Allow-Private-Network"
        self.assertEqual(preflight({"private_network": True}, **asked)[name], b"true")
        self.assertIsNone(preflight(True, **asked)[name])

    def test_other_options(self) -> None:
        """
        OPTIONS that is no preflight is the resource's.
        """
        answer = served(True).get(b"/", b"OPTIONS", origin=APP)
        self.assertEqual((answer.status, answer.body), (200, b"hello"))


class ResponseTests(SynchronousTestCase):
    """
    What stands in a response.
    """

    def test_exposed(self) -> None:
        """
        The fields that a page may read.
        """
        answer = served({"expose": ["X-Total", "X-Page"]}).get(b"/", origin=APP)
        self.assertEqual(answer[b"Access-Control-Expose-Headers"], b"X-Total, X-Page")
        self.assertEqual(answer.body, b"hello")

    def test_replaced(self) -> None:
        """
        What the resource says of this is replaced, so that nothing is said twice.
        """
        site = served(APP.decode(), **{"Access-Control-Allow-Origin": "*"})
        self.assertEqual(site.get(b"/", origin=APP)[b"Access-Control-Allow-Origin"], APP)
        self.assertIsNone(site.get(b"/", origin=b"https://evil.example")[b"Access-Control-Allow-Origin"])

    def test_vary_without_origin(self) -> None:
        """
        A cache is not to give a page without the fields to an origin.
        """
        answer = served(APP.decode()).get(b"/")
        self.assertEqual(answer[b"Vary"], b"Origin")
        self.assertIsNone(answer[b"Access-Control-Allow-Origin"])


class ConfigTests(SynchronousTestCase):
    """
    What the table can say.
    """

    def test_refused(self) -> None:
        """
        What would be no origin, no name, or a hole.
        """
        tables = [
            {"origins": []},
            "app.example.com",
            "https://app.example.com/",
            {"credentials": True},
            {"origins": ["*", APP.decode()], "credentials": True},
            {"origins": ["null"], "credentials": True},
            {"origins": ["https://*"], "credentials": True},
            {"origins": ["http://*:8080"], "credentials": True},
            {"methods": ["GET, PUT"]},
            {"expose": ["a b"]},
            False,
            3,
        ]
        for table in tables:
            with self.subTest(table=table), self.assertRaises(Faults):
                structure(table, cors.Config)
        structure({"origins": ["https://*.localhost", "https://*.example.com"], "credentials": True}, cors.Config)
