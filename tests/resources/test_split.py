"""
Several upstreams of one route: C{proxy = { split = ... }}.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.resources.serving import Answer
from twistginx.config.convert import structure
from twistginx.config.dump import dump
from twistginx.config.faults import Faults
from twistginx.errors import ConfigError
from twistginx.resources import proxy
from twistginx.testing import Connection, MemoryServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: The port of the one server of each upstream.
PORTS = {"stable": 9001, "canary": 9002}
NAMES = {port: name for name, port in PORTS.items()}


def config(options: str, upstream: str = "", route: str = "") -> str:
    """
    A site whose route splits.
    """
    return f"""
        [upstream.stable]
        servers = ["127.0.0.1:9001"]
        {upstream}
        [upstream.canary]
        servers = ["127.0.0.1:9002"]
        {upstream}
        [[site]]
        listen = "tcp:80"
        [[site.route]]
        {route}
        proxy = {{ {options} }}
        """


class SplitTestCase(SynchronousTestCase):
    """
    A site whose route splits, in memory.
    """

    def serve(self, options: str, upstream: str = "", route: str = "") -> None:
        """
        Serve it; C{options} are the proxy's.
        """
        self.server = MemoryServer(config(options, upstream, route))
        self.addCleanup(self.server.close)
        self.made: dict[tuple[str, int], Connection] = {}
        self.sent = b""

    def ask(self, *fields: str, peer: str = "127.0.0.1", answer: bytes = OK) -> tuple[str, Answer]:
        """
        Ask once, and say which upstream has answered, and how.
        """
        client = self.server.connect(peer=peer)
        lines = ["GET / HTTP/1.1", "Host: a", *fields]
        client.send("\r\n".join([*lines, "", ""]).encode())
        for where in self.server.connecting():
            self.made[where] = self.server.accept()
        for (_, port), connection in self.made.items():
            self.sent = connection.take()
            if self.sent:
                connection.send(answer)
                found = Answer(client.take())
                client.close()
                return NAMES[port], found
        raise AssertionError(f"nobody was asked: {client.take()!r}")

    def names(self, count: int, *fields: str, **more: Any) -> str:
        """
        The first letters of who has answered, one after the other.
        """
        return "".join(self.ask(*fields, **more)[0][0] for _ in range(count))


class SplitTests(SplitTestCase):
    """
    Who gets what.
    """

    def test_turns(self) -> None:
        """
        Without more being said, they take turns, exactly.
        """
        self.serve("split = { stable = 3, canary = 1 }")
        self.assertEqual(sorted(self.names(8)), sorted("ssscsssc"))

    def test_key(self) -> None:
        """
        A key stays where it is, and keys are shared out.
        """
        self.serve('split = { stable = 50, canary = 50 }, key = "{client}"')
        found = [self.names(2, peer=f"10.0.0.{number}") for number in range(40)]
        self.assertEqual(set(found), {"ss", "cc"})

    def test_no_key(self) -> None:
        """
        Requests without a key take turns, or are known by their cookie.
        """
        self.serve('split = { stable = 1, canary = 1 }, key = "{header.x-user}"')
        self.assertEqual(sorted(self.names(4)), list("ccss"))
        self.serve('split = { stable = 1, canary = 1 }, key = "{header.x-user}", sticky = true')
        self.assertIsNotNone(self.ask()[1][b"Set-Cookie"])
        self.assertIsNone(self.ask("X-User: me")[1][b"Set-Cookie"])

    def test_sticky(self) -> None:
        """
        A client is given a cookie with its first answer, and comes back by it to the same upstream.
        """
        self.serve('split = { stable = 50, canary = 50 }, sticky = { ttl = "1h", secure = true }')
        seen = set()
        for _ in range(20):
            name, answer = self.ask()
            cookie = answer[b"Set-Cookie"] or b""
            self.assertTrue(
                re.fullmatch(rb"split=[\w-]{16}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure", cookie),
                cookie,
            )
            pair = cookie.partition(b";")[0].decode()
            again, answer = self.ask(f"Cookie: a=b; {pair}; c=d")
            self.assertEqual((again, answer[b"Set-Cookie"]), (name, None))
            seen.add(name)
        self.assertEqual(seen, {"stable", "canary"})

    def test_bad_cookie(self) -> None:
        """
        What is no such cookie is replaced.
        """
        self.serve('split = { stable = 1, canary = 1 }, sticky = { cookie = "side" }')
        for cookie in ("side=canary", "side=", 'side="' + "x" * 17 + '"', "aside=" + "x" * 16):
            self.assertTrue((self.ask(f"Cookie: {cookie}")[1][b"Set-Cookie"] or b"").startswith(b"side="))
        self.assertIsNone(self.ask('Cookie: side="' + "x" * 16 + '"')[1][b"Set-Cookie"])

    def test_cookie_over_reload(self) -> None:
        """
        When shares change, those move that must, and no others; with none, everybody leaves.
        """
        self.serve("split = { stable = 50, canary = 50 }, sticky = true")
        cookies = {}
        for _ in range(30):
            name, answer = self.ask()
            cookies[(answer[b"Set-Cookie"] or b"").partition(b";")[0].decode()] = name
        self.server.load(config("split = { canary = 80, stable = 50 }, sticky = true"))
        for cookie, name in cookies.items():
            self.assertIn(self.ask(f"Cookie: {cookie}")[0], (name, "canary"))
        self.server.load(config("split = { canary = 0, stable = 1 }, sticky = true"))
        for cookie in cookies:
            self.assertEqual(self.ask(f"Cookie: {cookie}")[0], "stable")

    def test_override(self) -> None:
        """
        The first template that names one of the split decides; what names none is ignored.
        """
        self.serve('split = { stable = 1, canary = 0 }, override = ["{header.x-side}", "{cookie.side}"], sticky = true')
        for fields, name, asked_for in (
            ([], "stable", False),
            (["X-Side: canary"], "canary", True),
            (["Cookie: side=canary"], "canary", True),
            (["X-Side: stable", "Cookie: side=canary"], "stable", True),
            (["X-Side: evil", "Cookie: side=canary"], "canary", True),
            (["X-Side: Canary"], "stable", False),
            (["X-Side: canary, canary"], "stable", False),
        ):
            found, answer = self.ask(*fields)
            self.assertEqual(found, name, fields)
            self.assertEqual(answer[b"Set-Cookie"] is None, asked_for, fields)

    def test_upgrade(self) -> None:
        """
        A client that begins with a WebSocket is known from then on, too.
        """
        self.serve("split = { stable = 1 }, sticky = true")
        client = self.server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        server = self.server.accept()
        server.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        self.assertIn(b"Set-Cookie: split=", client.take())
        client.close()
        server.close()

    def test_said(self) -> None:
        """
        The log knows which one it was, and so may the server and the client.
        """
        self.serve(
            "split = { stable = 1 }",
            route='headers = { request.set = { X-Variant = "{split}" }, set = { X-Served-By = "{split}" } }',
        )
        _, answer = self.ask()
        self.assertEqual(answer[b"X-Served-By"], b"stable")
        self.assertIn(b"\r\nX-Variant: stable\r\n", self.sent)
        request, _ = self.server.records[-1]
        self.assertEqual(request.split, b"stable")

    def test_explained(self) -> None:
        """
        C{twistginx explain} says whose a request is, and why.
        """
        for options, fields, words in (
            (
                'override = "{header.x-side}"',
                {b"x-side": b"canary"},
                "goes to canary, of stable, canary, as it asks for",
            ),
            ('key = "{client}"', {}, "by its key"),
            ("sticky = true", {}, "gets a cookie"),
            ("forwarded = true", {}, "goes to stable, canary, in turn"),
        ):
            self.serve(f"split = {{ stable = 1, canary = 1 }}, {options}")
            request = self.request(fields)
            route = request.route
            self.assertIn(words, "; ".join(route.resource.explain(request)))

    def request(self, fields: dict[bytes, bytes]) -> Any:
        """
        A request that has been answered.
        """
        self.ask(*[f"{name.decode()}: {value.decode()}" for name, value in fields.items()])
        request, _ = self.server.records[-1]
        return request


class OutageTests(SplitTestCase):
    """
    An upstream that cannot be used.
    """

    def test_nobody_up(self) -> None:
        """
        One without a server that is up is passed over, but for who asks for it by name; what stays in place is the
        assignment.
        """
        self.serve('split = { stable = 1, canary = 9 }, key = "{client}", override = "{header.x-side}"')
        before = [self.ask(peer=f"10.0.0.{number}")[0] for number in range(20)]
        canary = self.server.generation.upstreams["canary"]  # type: ignore[union-attr]  # it has been loaded
        canary.set_health(canary.peers[0], False, "ill")
        self.assertEqual({self.ask(peer=f"10.0.0.{number}")[0] for number in range(20)}, {"stable"})
        self.assertEqual(self.ask("X-Side: canary")[0], "canary")
        canary.set_health(canary.peers[0], True)
        self.assertEqual([self.ask(peer=f"10.0.0.{number}")[0] for number in range(20)], before)

    def test_all_down(self) -> None:
        """
        When none has a server that is up, it is as if all had.
        """
        self.serve('split = { stable = 0, canary = 9 }, key = "{client}"')
        for upstream in self.server.generation.upstreams.values():  # type: ignore[union-attr]  # see above
            upstream.set_health(upstream.peers[0], False, "ill")
        self.assertEqual(self.ask()[0], "canary")

    def test_unreachable(self) -> None:
        """
        A request that could not be sent at all goes to the next; what it says of itself is true of that.
        """
        self.serve(
            'split = { canary = 1, stable = 1 }, override = "{header.x-side}"',
            route='headers = { request.set = { X-Variant = "{split}" } }',
        )
        client = self.server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        self.assertEqual(self.server.connecting(), [("127.0.0.1", 9002)])
        self.server.refuse()
        self.assertEqual(self.server.connecting(), [("127.0.0.1", 9001)])
        server = self.server.accept()
        sent = server.take()
        self.assertIn(b"X-Variant: stable", sent)
        self.assertTrue(sent.endswith(b"hello"))
        server.send(OK)
        self.assertEqual(Answer(client.take()).status, 200)
        self.assertEqual(self.server.records[-1][0].split, b"stable")
        client.close()
        server.close()

    def test_nowhere(self) -> None:
        """
        When none can be reached, the answer says so; who has asked for one by name is given to no other.
        """
        self.serve('split = { stable = 1, canary = 1 }, override = "{header.x-side}"')
        for fields, attempts in ((b"", 2), (b"X-Side: canary\r\n", 1)):
            client = self.server.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
            for _ in range(attempts):
                self.server.refuse()
            self.assertEqual(self.server.connecting(), [])
            self.assertEqual(Answer(client.take()).status, 502)
            client.close()

    def test_sent(self) -> None:
        """
        A request that has been sent is not given to another upstream.
        """
        self.serve("split = { stable = 1, canary = 1 }", upstream="retry = 1")
        client = self.server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.server.accept().close()
        self.assertEqual(self.server.connecting(), [])
        self.assertEqual(Answer(client.take()).status, 502)
        client.close()


class ConfigTests(SynchronousTestCase):
    """
    What cannot be.
    """

    def test_bad(self) -> None:
        """
        Each with its key.
        """
        for table, key in (
            ({"split": {}}, "split"),
            ({"split": {"a": 0, "b": 0}}, "split"),
            ({"split": {"a": -1, "b": 1}}, "split"),
            ({"split": {"a": "1%"}}, "split.a"),
            ({"split": {"a": 0.5}}, "split.a"),
            ({"split": {"a": 1}, "upstream": "a"}, "to"),
            ({"upstream": "a", "sticky": True}, "sticky"),
            ({"upstream": "a", "key": "{client}"}, "key"),
            ({"upstream": "a", "override": "{client}"}, "override"),
            ({"split": {"a": 1}, "override": "x"}, "override"),
            ({"split": {"a": 1}, "key": "x"}, "key"),
            ({"split": {"a": 1}, "sticky": {"cookie": "a b"}}, "sticky.cookie"),
            ({"split": {"a": 1}, "sticky": {"ttl": "0s"}}, "sticky.ttl"),
            ({"split": {"a": 1}, "sticky": False}, "sticky"),
        ):
            with self.assertRaises(Faults) as raised:
                structure({"to": [], **table} if key == "to" else table, proxy.Config)
            found = [".".join(map(str, fault.path)) for fault in raised.exception.faults]
            self.assertEqual(found, [key], table)

    def test_unknown(self) -> None:
        """
        An upstream that there is not, by its key, and those that there are.
        """
        error = self.assertRaises(ConfigError, MemoryServer, config("split = { stable = 1, canari = 1 }"))
        self.assertIn("proxy.split.canari: there is no upstream 'canari'; expected one of: stable, canary", str(error))

    def test_dump(self) -> None:
        """
        It is written as it was read.
        """
        server = MemoryServer(config('split = { stable = 9, canary = 1 }, sticky = true, override = "{header.x-side}"'))
        self.addCleanup(server.close)
        assert server.generation is not None
        text = dump(server.generation.root)
        for line in ("stable = 9", 'override = ["{header.x-side}"]', 'cookie = "split"'):
            self.assertIn(line, text)
