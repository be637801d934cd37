"""
Tests for L{twistginx.routing.conditions} and L{twistginx.routing.conditional}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.convert import structure
from twistginx.config.networks import NetworkSet
from twistginx.config.schema import Match
from twistginx.errors import ConfigError
from twistginx.http.parser import RequestParser
from twistginx.routing.conditional import Conditional
from twistginx.routing.conditions import Conditions


def asked(text: str = "", line: str = "GET /api/x?a=1&b=%31&c HTTP/1.1", **more: Any) -> Any:
    """
    As much of a request as conditions look at.
    """
    parser = RequestParser()
    parser.feed(f"{line}\r\nHost: shop.example.com:8080\r\n{text}\r\n".encode())
    assert parser.refusal is None, parser.refusal
    head = parser.messages[0][0]
    values = {"head": head, "client_ip": b"10.1.2.3", "scheme": b"https", "decided": None, "routed_path": b""}
    return SimpleNamespace(**{**values, "matched_path": head.path, **more})


def addresses(entries: Any, key: str) -> NetworkSet:
    """
    Who is meant by networks alone.
    """
    return NetworkSet(entry.network for entry in entries)


def compiled(table: Any, **named: Any) -> Any:
    """
    A condition from a table as it is written.
    """
    conditions = Conditions({name: structure(each, Match) for name, each in named.items()}, addresses)
    return conditions.compiled(table if isinstance(table, str) else structure(table, Match))


class ConditionTests(SynchronousTestCase):
    """
    What a request must have.
    """

    def test_table(self) -> None:
        """
        Each thing that can be wanted, had and lacked.
        """
        fields = 'Accept: text/html\r\nX-A: one\r\nX-A: two\r\nCookie: s=1; t="q"\r\nCookie: u=\r\n'
        request = asked(fields)
        for table, expected in (
            ({}, True),
            ({"methods": "GET"}, True),
            ({"methods": ["POST", "PUT"]}, False),
            ({"path": "/api"}, True),
            ({"path": "/ap"}, False),
            ({"path": ["/x", "/api/"]}, True),
            ({"exact": "/api"}, False),
            ({"exact": "/api/x"}, True),
            ({"glob": "/*/x"}, True),
            ({"regex": "x$"}, True),
            ({"regex": "^x"}, False),
            ({"path": "/x", "regex": "x$"}, True),  # of a list of paths, one; these are one list
            ({"scheme": "https"}, True),
            ({"scheme": "http"}, False),
            ({"protocol": "HTTP/1.1"}, True),
            ({"protocol": ["HTTP/1.0", "HTTP/2"]}, False),
            ({"protocol": "websocket"}, False),
            ({"host": "shop.example.com"}, True),
            ({"host": "*.example.com"}, True),
            ({"host": "*.shop.example.com"}, False),
            ({"host": "~^sh.p[.]"}, True),
            ({"host": ["a.b", "~^x"]}, False),
            ({"client": "10.0.0.0/8"}, True),
            ({"client": ["192.0.2.1"]}, False),
            ({"header": {"accept": True}}, True),
            ({"header": {"Accept": False}}, False),
            ({"header": {"X-B": False}}, True),
            ({"header": {"ACCEPT": "text/html"}}, True),
            ({"header": {"Accept": "text"}}, False),
            ({"header": {"Accept": "~^text/"}}, True),
            ({"header": {"X-A": "two"}}, True),
            ({"header": {"X-A": ["zero", "~^o"]}}, True),
            ({"header": {"X-A": "three"}}, False),
            ({"header": {"X-A": True, "X-B": True}}, False),
            ({"cookie": {"s": "1", "t": "q", "u": ""}}, True),
            ({"cookie": {"v": True}}, False),
            ({"query": {"a": "1", "b": "1", "c": True}}, True),
            ({"query": {"a": "~^[^1]"}}, False),
            ({"query": {"d": False}}, True),
            ({"any": [{"methods": "POST"}, {"scheme": "https"}]}, True),
            ({"any": [{"methods": "POST"}, {"scheme": "http"}]}, False),
            ({"all": [{"methods": "GET"}, {"scheme": "http"}]}, False),
            ({"not": {"methods": "POST"}}, True),
            ({"not": [{"methods": "POST"}, {"scheme": "https"}]}, False),
            ({"methods": "GET", "not": {"any": [{"scheme": "http"}, {"path": "/api"}]}}, False),
        ):
            condition = compiled(table)
            self.assertIs(condition(request, b"/api/x"), expected, table)
            self.assertIs(not condition.why_not(request, b"/api/x"), expected, table)
        # None of that has made the list of fields that a plain head does not need, but where there are two.
        plain = asked("Accept: x\r\n")
        self.assertTrue(compiled({"header": {"Accept": "x", "X-B": False}})(plain, b"/"))
        self.assertIsNotNone(plain.head.block)

    def test_head(self) -> None:
        """
        A HEAD is a GET whose answer has no body.
        """
        head = asked(line="HEAD / HTTP/1.1")
        self.assertTrue(compiled({"methods": ["GET", "POST"]})(head, b"/"))
        self.assertFalse(compiled({"methods": ["POST"]})(head, b"/"))

    def test_websocket(self) -> None:
        """
        A request for another protocol is told by that.
        """
        upgrade = asked("Connection: Upgrade\r\nUpgrade: WebSocket\r\n")
        self.assertTrue(compiled({"protocol": "websocket"})(upgrade, b"/"))

    def test_names(self) -> None:
        """
        A condition may have a name, and names within; unknown ones and circles are refused.
        """
        self.assertTrue(compiled("a", a={"any": ["b", {"scheme": "http"}]}, b={"methods": "GET"})(asked(), b"/"))
        error = self.assertRaises(ConfigError, compiled, {"not": ["c"]}, a={})
        self.assertEqual((error.key, error.expected), ("not.0", "expected a"))
        self.assertRaises(ConfigError, compiled, "a", a={"all": "b"}, b={"not": "a"})

    def test_reads_path(self) -> None:
        """
        It is known whether the path matters.
        """
        for table, expected in (
            ({"methods": "GET"}, False),
            ({"methods": "GET", "path": "/a"}, True),
            ({"not": {"glob": "/a"}}, True),
            ({"any": [{"scheme": "http"}, {"exact": "/a"}]}, True),
        ):
            self.assertIs(compiled(table).reads_path, expected, table)

    def test_why_not(self) -> None:
        """
        The reason names what is wanted.
        """
        for table, reason in (
            ({"methods": ["POST", "PUT"]}, "it is for requests where the method is POST or PUT"),
            ({"header": {"X-A": "~^1"}}, "it is for requests where the header X-A is ~^1"),
            ({"header": {"X-A": True}}, "it is for requests where the header X-A is there"),
            ({"not": {"scheme": "https"}}, "it is not for requests that match scheme"),
            ({"client": "192.0.2.0/24"}, "it is for requests where the client is 192.0.2.0/24"),
        ):
            self.assertEqual(compiled(table).why_not(asked(), b"/"), reason)


class ConditionalTests(SynchronousTestCase):
    """
    Policies for some of the requests.
    """

    def test_applies_once(self) -> None:
        """
        It is asked once, about the path that was asked for; what applies, applies in all phases.
        """
        seen: list[Any] = []
        policy = SimpleNamespace(
            admit=lambda request: seen.append("admit") or "reply",
            responding=lambda request, head: seen.append(head),
        )
        conditional: Any = Conditional(policy, compiled({"path": "/api"}), ("received", "admit", "responding"))
        self.assertFalse(hasattr(conditional, "received"))
        request = asked()
        self.assertEqual(conditional.admit(request), "reply")
        request.matched_path = b"/elsewhere"
        conditional.responding(request, "head")
        self.assertEqual(seen, ["admit", "head"])
        other = asked(matched_path=b"/x")
        self.assertIsNone(conditional.admit(other))
        other.matched_path = b"/api"
        self.assertIsNone(conditional.responding(other, "head"))
        self.assertEqual(seen, ["admit", "head"])
        rewritten = asked(matched_path=b"/x", routed_path=b"/api")
        self.assertEqual(conditional.admit(rewritten), "reply")
