"""
Tests for L{twistginx.http.fieldnames} and L{twistginx.config.headernames}: names that might be taken for others.
"""

from __future__ import annotations

import re

from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.http.conversation import GET
from tests.splits import cuts
from twistginx.config.headernames import parse_header_pattern
from twistginx.http.fieldnames import DoubtfulNames, doubtful, take_out
from twistginx.http.message import Fields
from twistginx.http.parser import RequestParser
from twistginx.testing import MemoryServer

SITE = """
    [[site]]
    listen = "tcp:80"
    names = "a"
    {keys}
    [[site.route]]
    proxy = "127.0.0.1:9001"
"""

#: Every way to say X-Auth-User that is not its name.
ALIASES = (
    b"X_Auth_User",
    b"X-Auth_User",
    b"x_auth-user",
    b"X.Auth.User",
    b"X!Auth!User",
    b"X~Auth~User",
    b"X|Auth|User",
)


def names(fields: Fields) -> list[bytes]:
    return [name for _, name, _ in fields]


class TakeOutTests(SynchronousTestCase):
    """
    What has another character than a letter, a digit or a hyphen in it is taken out.
    """

    def test_doubtful(self) -> None:
        """
        Every other character of a token counts, and no plain name does.
        """
        for byte in b"!#$%&'*+.^_`|~":
            self.assertTrue(doubtful([b"host", b"x%ca" % byte]), byte)
        self.assertFalse(doubtful([b"host", b"x-0-9", b"sec-ch-ua"]))

    def test_order(self) -> None:
        """
        What stays keeps its order.
        """
        fields = Fields.of([(b"A", b"1"), (b"B_C", b"2"), (b"D", b"3"), (b"E.F", b"4"), (b"A", b"5")])
        self.assertEqual(names(take_out(fields)), [b"B_C", b"E.F"])
        self.assertEqual(names(fields), [b"A", b"D", b"A"])


class ParsedTests(SynchronousTestCase):
    """
    The parser takes them out, whichever way a request takes through it.
    """

    def test_every_way(self) -> None:
        """
        Whole or in pieces, first or later on its connection, with a body or without.
        """
        for alias in ALIASES:
            field = b"%b: admin\r\n" % alias
            for start, end in (
                (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" + field, b"\r\n"),
                (b"GET / HTTP/1.1\r\n" + field + b"Host: a\r\nX: 1\r\n", b"\r\n"),
                (b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" + field + b"Content-Length: 2\r\n", b"\r\nok"),
            ):
                data = start + end
                for pieces in cuts(data):
                    for before in (b"", GET):
                        parser = RequestParser()
                        if before:
                            parser.feed(before)
                            parser.messages.clear()
                        for piece in pieces:
                            parser.feed(piece)
                        ((head, _),) = parser.messages
                        self.assertNotIn(alias, names(head.fields))
                        self.assertIn(b"X", names(head.fields))
                        self.assertEqual(names(head.doubtful), [alias])

    def test_likeness(self) -> None:
        """
        A name that begins like one that decides is taken out as well, and decides nothing.
        """
        for name in (b"Host_", b"Host.x", b"If-_x", b"Content-Length_", b"X-Forwarded-For_", b"Te_", b"Connection_"):
            parser = RequestParser()
            for _ in range(2):  # the second time it is a known host, which is what the short way asks for
                parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": 1\r\n\r\n")
                ((head, _),) = parser.messages
                parser.messages.clear()
                self.assertEqual((names(head.fields), names(head.doubtful)), ([b"Host"], [name]))

    def test_trailers(self) -> None:
        """
        Those of trailers go as well.
        """
        parser = RequestParser()
        parser.feed(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX_Sum: 1\r\nX-Sum: 2\r\n\r\n"
        )
        ((_, body),) = parser.messages
        self.assertEqual(names(body.trailers), [b"X-Sum"])


class DoubtfulNamesTests(SynchronousTestCase):
    """
    What a site does with them.
    """

    def test_told_once(self) -> None:
        """
        It tells of each name once, shortened, and of a hundred names at most.
        """
        told: list[str] = []
        rule = DoubtfulNames((), told.append)
        for number in range(300):
            for _ in range(2):
                self.assertEqual(rule.sort_out(Fields.of([(b"x_%d" % number, b"")])), ([], 1))
        self.assertEqual(told, [f"x_{number}" for number in range(100)])
        told.clear()
        DoubtfulNames((), told.append).sort_out(Fields.of([(b"x_" * 500, b"")]))
        self.assertEqual(told, ["x_" * 32])

    def test_allowed(self) -> None:
        """
        What a pattern allows is let in, and not told of.
        """
        told: list[str] = []
        fields = Fields.of([(b"Webhook_ID", b"1"), (b"webhook_x_y", b"2"), (b"my.webhook_id", b"3"), (b"one_id", b"4")])
        kept, dropped = DoubtfulNames(("webhook_*", "one_id"), told.append).sort_out(fields)
        self.assertEqual((names(kept), dropped), ([b"Webhook_ID", b"webhook_x_y", b"one_id"], 1))
        self.assertEqual(told, ["my.webhook_id"])


class PatternTests(SynchronousTestCase):
    """
    C{allow_header_names}.
    """

    def test_accepted(self) -> None:
        """
        Names and patterns, in lower case.
        """
        for text in ("webhook_id", "Webhook_*", "x_hub.*", "*_webhook_id"):
            self.assertEqual(parse_header_pattern(text), text.lower())

    def test_refused(self) -> None:
        """
        What is no name, and what would let in another spelling of a name that must have one.
        """
        for text, reason in (
            ("", "is no name"),
            ("a b", "is no name"),
            ("a:", "is no name"),
            ("[ab]_c", "is no name"),
            ("*", "another spelling of"),
            ("x_*", "another spelling of x-forwarded-for"),
            ("x_forwarded_for", "another spelling of x-forwarded-for"),
            ("X.Request.*", "another spelling of x-request-id"),
            ("content_length", "another spelling of content-length"),
            ("*_encoding", "another spelling of transfer-encoding"),
        ):
            error = self.assertRaises(ValueError, parse_header_pattern, text)
            self.assertIn(reason, str(error))


class SiteTests(SynchronousTestCase):
    """
    From the file to the upstream.
    """

    def forwarded(self, request: bytes, keys: str = "") -> list[bytes]:
        """
        The names that leave for the upstream.
        """
        server = self.server = MemoryServer(SITE.format(keys=keys))
        self.addCleanup(server.close)
        client = server.connect()
        client.send(request)
        lines = server.accept().take().split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        return [line.partition(b":")[0] for line in lines]

    def test_dropped(self) -> None:
        """
        By default they do not arrive, are counted, and told of once, with the key that lets them in.
        """
        events: list[dict] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"%b: admin\r\n" % alias for alias in ALIASES)
        sent = self.forwarded(head + b"X_Forwarded_For: 1\r\n\r\n")
        self.assertEqual([name for name in sent if re.search(rb"[^A-Za-z0-9-]", name)], [])
        self.assertEqual(self.server.runtime.counters.dropped_fields, len(ALIASES) + 1)
        warned = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual([event["name"] for event in warned][:2], ["x_auth_user", "x-auth_user"])
        self.assertEqual(len(warned), len({alias.lower() for alias in ALIASES}) + 1)
        self.assertIn("allow_header_names", warned[0]["log_format"])
        events.clear()
        self.server.load(SITE.format(keys=""))
        self.server.connect().send(head + b"\r\n")
        self.assertEqual([event for event in events if event["log_level"] is LogLevel.warn], [])

    def test_allowed(self) -> None:
        """
        What the site lets in arrives.
        """
        sent = self.forwarded(
            b"GET / HTTP/1.1\r\nHost: a\r\nWebhook_Id: 1\r\nOther_Id: 2\r\n\r\n", 'allow_header_names = "webhook_*"'
        )
        self.assertIn(b"Webhook_Id", sent)
        self.assertNotIn(b"Other_Id", sent)
        self.assertEqual(self.server.runtime.counters.dropped_fields, 1)

    def test_no_site(self) -> None:
        """
        Where no site answers, they are counted all the same.
        """
        server = MemoryServer(SITE.format(keys=""))
        self.addCleanup(server.close)
        client = server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: b\r\nA_B: 1\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 404 "))
        self.assertEqual(server.runtime.counters.dropped_fields, 1)
