"""
Copies of requests for a second upstream: C{proxy = { mirror = ... }}, over L{twistginx.upstream.mirror}.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.resources.serving import Answer
from twistginx.config.convert import structure
from twistginx.config.dump import dump
from twistginx.config.faults import Faults
from twistginx.config.units import Share
from twistginx.errors import ConfigError
from twistginx.resources import proxy
from twistginx.testing import Connection, MemoryServer
from twistginx.upstream.control import Control

GET = b"GET /x?y HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def config(mirror: str, upstream: str = "", more: str = "") -> str:
    """
    A site whose requests are copied.
    """
    return f"""
        [upstream.app]
        servers = ["127.0.0.1:9001"]
        [upstream.shadow]
        servers = ["127.0.0.1:9002"]
        {upstream}
        [[site]]
        listen = "tcp:80"
        [[site.route]]
        {more}
        proxy = {{ upstream = "app", mirror = {mirror} }}
        """


class MirrorTestCase(SynchronousTestCase):
    """
    A site whose requests are copied, in memory.
    """

    def serve(self, mirror: str = '"shadow"', upstream: str = "", more: str = "") -> Connection:
        """
        A client of it.
        """
        self.server = MemoryServer(config(mirror, upstream, more))
        self.addCleanup(self.server.close)
        return self.server.connect()

    def turn(self) -> None:
        """
        The next turn of the reactor.
        """
        self.server.reactor.advance(0)

    @property
    def counts(self) -> dict[str, int]:
        """
        What the state of the second upstream says.
        """
        generation = self.server.generation
        assert generation is not None
        (report,) = [
            value
            for key, value in Control(lambda: generation.upstreams).state("shadow")["shadow"].items()
            if key.startswith("mirror of ")
        ]
        return {key: count for key, count in report.items() if count}

    def peer(self, name: str) -> Any:
        """
        The server of an upstream.
        """
        assert self.server.generation is not None
        return self.server.generation.upstreams[name].peers[0]

    @contextmanager
    def logged(self) -> Iterator[list[str]]:
        """
        What the mirror has to say.
        """
        lines: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            if event.get("log_namespace") == "twistginx.mirror":
                lines.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        try:
            yield lines
        finally:
            globalLogPublisher.removeObserver(observe)

    def answered(self, client: Connection, server: Connection) -> None:
        """
        Check that the client gets its answer from C{server}.
        """
        server.send(OK)
        self.assertEqual(Answer(client.take()).body, b"ok")


class CopyTests(MirrorTestCase):
    """
    What is copied.
    """

    def test_same(self) -> None:
        """
        The same request goes to the second upstream, after the first, with a mark; its answer goes nowhere.
        """
        client = self.serve()
        client.send(GET)
        first = self.server.accept()
        sent = first.take()
        self.assertEqual(self.server.connecting(), [])  # the first one leaves first
        self.turn()
        second = self.server.accept()
        self.assertEqual(second.take(), sent[:-2] + b"X-Mirror: 1\r\n\r\n")
        self.assertEqual(self.counts, {"sent": 1, "in_flight": 1})
        second.send(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\nSet-Cookie: a=b\r\n\r\nevil")
        self.assertEqual(client.take(), b"")
        self.answered(client, first)
        self.assertEqual(self.counts, {"sent": 1, "answered": 1})
        # Its connection serves again.
        client.send(GET)
        self.turn()
        self.assertEqual(self.server.connecting(), [])
        self.assertTrue(second.take())
        self.answered(client, first)
        second.send(OK)
        self.assertEqual((self.peer("shadow").begun, self.peer("shadow").ended), (2, 2))
        self.assertEqual((self.peer("app").begun, self.peer("app").ended, self.peer("app").failed), (2, 2, 0))

    def test_edited(self) -> None:
        """
        It is a copy of what is sent, not of what was received.
        """
        client = self.serve(more='path = "/x"\nstrip_prefix = true\nheaders = { request.set = { X-Own = "2" } }')
        client.send(GET)
        first = self.server.accept()
        self.turn()
        second = self.server.accept()
        for sent in (first.take(), second.take()):
            self.assertTrue(sent.startswith(b"GET /?y HTTP/1.1\r\n"), sent)
            self.assertIn(b"\r\nX-Own: 2\r\n", sent)

    def test_body(self) -> None:
        """
        A body is copied as it passes, and sent when it is whole; framing stays what it was.
        """
        for framing, pieces, copied in (
            (b"Content-Length: 5", (b"he", b"llo"), b"hello"),
            (b"Transfer-Encoding: chunked", (b"2\r\nhe\r\n3\r\nllo\r\n", b"0\r\n\r\n"), b"5\r\nhello\r\n0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", (b"0\r\n", b"\r\n"), b"0\r\n\r\n"),
        ):
            client = self.serve()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + pieces[0])
            first = self.server.accept()
            self.turn()
            self.assertEqual(self.server.connecting(), [])
            client.send(pieces[1])
            self.turn()
            second = self.server.accept()
            head, _, body = second.take().partition(b"\r\n\r\n")
            self.assertEqual(body, copied)
            self.assertIn(framing, head)
            self.answered(client, first)
            second.send(OK)
            self.assertEqual(self.counts, {"sent": 1, "answered": 1})

    def test_large_body(self) -> None:
        """
        A body that is larger than the bound passes, and is not copied.
        """
        for framing, body in (
            (b"Content-Length: 6", b"hello!"),
            (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        ):
            client = self.serve('{ upstream = "shadow", body = 5 }')
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + body)
            first = self.server.accept()
            self.turn()
            self.assertEqual(self.server.connecting(), [])
            self.assertIn(b"hello", first.take())
            self.answered(client, first)
            self.assertEqual(self.counts, {"skipped": 1})

    def test_body_is_still_sent_again(self) -> None:
        """
        A request that is copied may be tried again as any other; one copy is enough.
        """
        self.server = MemoryServer(
            config('"shadow"').replace('["127.0.0.1:9001"]', '["127.0.0.1:9001", "127.0.0.1:9003"]')
        )
        self.addCleanup(self.server.close)
        client = self.server.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        self.server.accept().close()
        again = self.server.accept()
        self.assertTrue(again.take().endswith(b"hello"))
        self.turn()
        self.server.accept().send(OK)
        self.answered(client, again)
        self.assertEqual(self.counts, {"sent": 1, "answered": 1})

    def test_share(self) -> None:
        """
        A share of all, and of those that are meant.
        """
        client = self.serve('{ upstream = "shadow", share = "25%", when = { methods = ["GET"] } }')
        copies = 0
        with patch("twistginx.upstream.mirror.random", iter([index / 20 for index in range(20)] * 2).__next__):
            first = None
            for method in (b"GET", b"DELETE"):
                for _ in range(20):
                    client.send(GET.replace(b"GET", method))
                    first = first or self.server.accept()
                    self.answered(client, first)
                    self.turn()
                    copies += bool(self.server.connecting())
                    while self.server.connecting():
                        self.server.refuse()
        self.assertEqual(copies, 5)
        self.assertEqual(self.counts, {"failed": 5})

    def test_upgrade(self) -> None:
        """
        A WebSocket is not copied.
        """
        client = self.serve()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        first = self.server.accept()
        self.turn()
        self.assertEqual(self.server.connecting(), [])
        client.close()
        self.assertTrue(first.closed)

    def test_chosen_upstream(self) -> None:
        """
        Where a request itself chooses the second upstream, there is nothing to copy.
        """
        self.server = MemoryServer(config('"shadow"').replace('upstream = "app"', 'upstream = "{arg.to}"'))
        self.addCleanup(self.server.close)
        for name, copies in (("app", 1), ("shadow", 0)):
            client = self.server.connect()
            client.send(f"GET /?to={name} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            self.server.accept()
            self.turn()
            self.assertEqual(len(self.server.connecting()), copies)
            while self.server.connecting():
                self.server.refuse()
            client.close()

    def test_split(self) -> None:
        """
        Requests of a split are copied, whoever gets them, and once.
        """
        text = config('"shadow"').replace('upstream = "app"', "split = { app = 1, other = 1 }")
        self.server = MemoryServer(text.replace("[[site]]", '[upstream.other]\nservers = ["127.0.0.1:9003"]\n[[site]]'))
        self.addCleanup(self.server.close)
        for _ in range(2):
            client = self.server.connect()
            client.send(GET)
            self.server.refuse()
            first = self.server.accept()
            self.turn()
            second = self.server.accept()
            self.assertEqual(self.server.connecting(), [])
            second.send(OK)
            second.close()
            self.answered(client, first)
            first.close()
            client.close()
        self.assertEqual(self.counts, {"sent": 2, "answered": 2})


class FailureTests(MirrorTestCase):
    """
    What goes wrong touches nobody.
    """

    def test_refused(self) -> None:
        """
        A server that is not there: counted, and logged once in a while.
        """
        client = self.serve()
        first = None
        with self.logged() as lines:
            for count in range(1, 5):
                client.send(GET)
                first = first or self.server.accept()
                self.turn()
                self.server.refuse()
                self.answered(client, first)
                self.assertEqual(self.counts, {"failed": count})
            self.assertEqual(len(lines), 1, lines)
            self.assertIn("1 requests were not mirrored to shadow, the last: connection_refused", lines[0])
            self.server.advance(11)
            client = self.server.connect()
            client.send(GET)
            first = self.server.accept()
            self.turn()
            self.server.refuse()
            self.answered(client, first)
        self.assertEqual(len(lines), 2)
        self.assertIn("4 requests were not mirrored", lines[1])
        self.assertEqual(self.peer("shadow").failed, 5)
        self.assertEqual(self.peer("app").failed, 0)

    def test_broken_answers(self) -> None:
        """
        One that is not HTTP, one that breaks off, none.
        """
        for answer in (b"evil\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b""):
            client = self.serve()
            client.send(GET)
            first = self.server.accept()
            self.turn()
            second = self.server.accept()
            if answer:
                second.send(answer)
            second.close()
            self.assertEqual(self.counts, {"sent": 1, "failed": 1})
            self.answered(client, first)

    def test_slow(self) -> None:
        """
        One that takes too long is broken off.
        """
        client = self.serve('{ upstream = "shadow", timeout = "3s" }')
        client.send(GET)
        first = self.server.accept()
        self.turn()
        second = self.server.accept()
        self.answered(client, first)
        self.server.advance(4)
        self.assertTrue(second.closed)
        self.assertEqual(self.counts, {"sent": 1, "failed": 1})
        self.assertEqual(self.peer("shadow").active, 0)

    def test_slow_connection(self) -> None:
        """
        The same for one that does not accept.
        """
        client = self.serve('{ upstream = "shadow", timeout = "1s" }')
        client.send(GET)
        self.answered(client, self.server.accept())
        self.turn()
        self.assertEqual(len(self.server.connecting()), 1)
        self.server.advance(2)
        self.assertEqual(self.counts, {"failed": 1})
        self.assertEqual(self.peer("shadow").active, 0)

    def test_slow_client(self) -> None:
        """
        A body that does not come to its end is not waited for; the request itself goes on.
        """
        client = self.serve('{ upstream = "shadow", timeout = "3s" }')
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell")
        first = self.server.accept()
        self.server.advance(4)
        client.send(b"o")
        self.turn()
        self.assertEqual(self.server.connecting(), [])
        self.assertTrue(first.take().endswith(b"hello"))
        self.answered(client, first)
        self.assertEqual(self.counts, {"skipped": 1})

    def test_endless_answer(self) -> None:
        """
        Of an answer without an end, so much is read, and no more.
        """
        client = self.serve()
        client.send(GET)
        first = self.server.accept()
        self.turn()
        second = self.server.accept()
        second.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(40):
            second.send(b"x" * 65536)
        self.assertTrue(second.closed)
        self.assertEqual(self.counts, {"sent": 1, "answered": 1})
        self.assertEqual(self.peer("shadow").failed, 0)
        self.answered(client, first)

    def test_too_many(self) -> None:
        """
        No more than so many at a time.
        """
        client = self.serve('{ upstream = "shadow", in_flight = 2 }')
        first = None
        with self.logged() as lines:
            for _ in range(5):
                client.send(GET)
                first = first or self.server.accept()
                self.answered(client, first)
                self.turn()
        self.assertEqual(len(self.server.connecting()), 2)
        self.assertEqual(self.counts, {"in_flight": 2, "skipped": 3})
        self.assertIn("mirror.in_flight = 2", lines[0])
        self.server.accept().send(OK)
        client.send(GET)
        self.turn()
        self.assertEqual(self.counts, {"sent": 2, "in_flight": 2, "skipped": 3, "answered": 1})

    def test_full(self) -> None:
        """
        One whose servers are all busy is not waited for.
        """
        client = self.serve()
        peer = self.peer("shadow")
        self.server.generation.upstreams["shadow"].roster.full.add(peer)  # type: ignore[union-attr]
        client.send(GET)
        first = self.server.accept()
        self.turn()
        self.assertEqual(self.server.connecting(), [])
        self.assertEqual(self.counts, {"failed": 1})
        self.answered(client, first)

    def test_reused(self) -> None:
        """
        A connection that had rested, and is dead: once more on a fresh one, if that is safe., and nobody's fault
        """
        for method, copies in ((b"GET", 1), (b"POST", 0)):
            client = self.serve()
            client.send(GET)
            first = self.server.accept()
            self.turn()
            second = self.server.accept()
            second.send(OK)
            self.answered(client, first)
            body = b"" if method == b"GET" else b"Content-Length: 0\r\n"
            client.send(method + b" / HTTP/1.1\r\nHost: a\r\n" + body + b"\r\n")
            self.turn()
            second.close()
            self.assertEqual(len(self.server.connecting()), copies)
            while self.server.connecting():
                self.server.accept().send(OK)
            self.assertEqual(self.peer("shadow").failed, 0)
            self.assertEqual(self.counts, {"sent": 2, "answered": 1 + copies, **({} if copies else {"failed": 1})})

    def test_client_leaves(self) -> None:
        """
        The copy goes its own way.
        """
        client = self.serve()
        client.send(GET)
        self.server.accept()
        client.close()
        self.turn()
        self.server.accept().send(OK)
        self.assertEqual(self.counts, {"sent": 1, "answered": 1})

    def test_reload(self) -> None:
        """
        What is under way when the configuration is another is broken off, and not held against anybody.
        """
        client = self.serve()
        client.send(GET)
        first = self.server.accept()
        self.turn()
        second = self.server.accept()
        self.server.load(config('{ upstream = "shadow", share = 0.5 }'))
        self.assertTrue(second.closed)
        self.assertEqual((self.peer("shadow").active, self.peer("shadow").failed), (0, 0))
        self.assertEqual(self.counts, {})
        self.answered(client, first)


class ConfigTests(SynchronousTestCase):
    """
    What cannot be.
    """

    def test_share(self) -> None:
        """
        Shares, as text and as number.
        """
        for written, share in (("10%", 0.1), ("0.5%", 0.005), ("100%", 1.0), (0.25, 0.25), (1, 1.0)):
            made = structure({"upstream": "a", "share": written}, proxy.Mirroring)
            self.assertEqual(float(made.share), share)
        for wrong in ("10", "ten%", "-1%", "200%", 0, 2, 0.0, True, "%"):
            self.assertRaises(Faults, structure, {"upstream": "a", "share": wrong}, proxy.Mirroring)
        for text in ("10%", "0.5%", "100%", "33.333%"):
            self.assertEqual(str(Share.parse(text)), text)

    def test_bad(self) -> None:
        """
        Each with its key.
        """
        for mirror, words in (
            ('"shadwo"', "proxy.mirror.upstream: there is no upstream 'shadwo'; expected one of: app, shadow"),
            ('"app"', "proxy.mirror.upstream: is where the requests go already"),
            ('{ upstream = "shadow", share = "200%" }', "proxy.mirror.share: is 2"),
            ('{ upstream = "shadow", in_flight = 0 }', "proxy.mirror.in_flight: is 0"),
            ('{ upstream = "shadow", timeout = "0s" }', "proxy.mirror.timeout: is 0"),
            ('{ upstream = "shadow", when = "none" }', "proxy.mirror.when: "),
            ("true", "proxy.mirror: expected the name of an upstream, or a table"),
        ):
            error = self.assertRaises(ConfigError, MemoryServer, config(mirror))
            self.assertIn(words, str(error))

    def test_dump(self) -> None:
        """
        It is written as it was read.
        """
        server = MemoryServer(config('{ upstream = "shadow", share = "12.5%", when = { methods = ["GET"] } }'))
        self.addCleanup(server.close)
        assert server.generation is not None
        text = dump(server.generation.root)
        for line in ('share = "12.5%"', 'body = "64KiB"', 'timeout = "10s"', 'methods = ["GET"]'):
            self.assertIn(line, text)

    def test_explained(self) -> None:
        """
        C{twistginx explain} says so.
        """
        server = MemoryServer(config('{ upstream = "shadow", share = "10%" }'))
        self.addCleanup(server.close)
        client = server.connect()
        client.send(GET)
        server.accept().send(OK)
        request, _ = server.records[-1]
        self.assertIn("10% of all are copied to upstream shadow", request.route.resource.explain(request))
