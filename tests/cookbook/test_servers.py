"""
Tests for docs/cookbook/servers.rst.
"""

from __future__ import annotations

from collections import Counter
from itertools import count

from tests.cookbook.kitchen import Asked, KitchenCase, Secure, ok
from tests.net.authority import CA, serving
from twistginx.resources import split
from twistginx.upstream import mirror


class ServerTests(KitchenCase):
    """
    Which server gets a request.
    """

    page = "servers"

    def tells(self, asked: Asked) -> bytes:
        """
        The last number of the server's address.
        """
        return ok(asked.host.rpartition(".")[2].encode())

    def test_balancing_health_checks_a_backup(self) -> None:
        """
        By weight; who is ill gets nothing; the backup when both are; and both again when they are well.
        """
        server = self.serve()
        server.advance(1)
        self.work()
        self.assertEqual({each.target for each in self.asked}, {"/healthz"})
        self.assertEqual(Counter(self.says("/x") for _ in range(9)), {b"1": 6, b"2": 3})
        ill = {"10.0.0.1"}
        self.replies = lambda asked: None if asked.host in ill and asked.target == "/healthz" else self.tells(asked)
        for _ in range(30):
            server.advance(1)
            self.work()
        self.assertEqual(Counter(self.says("/x") for _ in range(4)), {b"2": 4})
        ill.add("10.0.0.2")
        for _ in range(30):
            server.advance(1)
            self.work()
        self.assertEqual(Counter(self.says("/x") for _ in range(4)), {b"9": 4})
        ill.clear()
        for _ in range(30):
            server.advance(1)
            self.work()
        self.assertEqual(Counter(self.says("/x") for _ in range(9)), {b"1": 6, b"2": 3})

    def test_sticky_sessions(self) -> None:
        """
        A client comes back to its server, by a cookie that nobody can make.
        """
        self.serve()
        first = self.ask("/")
        cookie = (first.get(b"set-cookie") or b"").decode()
        self.assertRegex(cookie, r"^srv=[^;]+; .*Max-Age=3600\b")
        self.assertIn("HttpOnly", cookie)
        mine = cookie.partition(";")[0]
        self.assertEqual({self.says("/", f"Cookie: {mine}") for _ in range(4)}, {first.body})
        self.assertEqual({self.says("/") for _ in range(4)}, {b"1", b"2"})
        self.assertEqual({self.says("/", "Cookie: srv=10.0.0.1:8000") for _ in range(4)}, {b"1", b"2"})

    def test_tried_again_elsewhere(self) -> None:
        """
        503, and a connection that is cut, are another server's; a POST is sent once; at last the client hears of it.
        """
        self.serve()
        busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
        self.replies = lambda asked: {"10.0.0.1": busy, "10.0.0.2": None}.get(asked.host, self.tells(asked))
        self.assertEqual(self.says("/"), b"3")
        self.replies = lambda asked: busy
        self.asked.clear()
        self.assertEqual((self.ask("/").body, len(self.asked)), (b"busy", 3))
        self.asked.clear()
        self.assertEqual((self.status("/", method="POST"), len(self.asked)), (503, 1))

    def test_a_canary(self) -> None:
        """
        A twentieth, who stay; all who ask for it, and none who will not have it; the other one, when it is down.
        """
        server = self.serve()
        visitors = map("visitor-{:08}".format, count())
        self.patch(split, "token_urlsafe", lambda size: next(visitors))
        answers = [self.ask("/") for _ in range(100)]
        self.assertIn(Counter(each.body for each in answers)[b"2"], range(2, 9))
        chosen = next(each for each in answers if each.body == b"2")
        mine = "Cookie: " + (chosen.get(b"set-cookie") or b"").decode().partition(";")[0]
        self.assertEqual({self.says("/", mine) for _ in range(5)}, {b"2"})
        for wish, body in (("canary", b"2"), ("stable", b"1")):
            self.assertEqual({self.says("/", f"Cookie: version={wish}") for _ in range(3)}, {body})
        self.assertEqual({self.says("/", "Cookie: version=x") for _ in range(100)}, {b"1", b"2"})
        for behind in self.behind:
            behind.answer(None)
        client = self.client("/", mine)
        server.refuse()
        self.work()
        self.assertTrue(client.take().endswith(b"1"))
        client.close()

    def test_a_shadow(self) -> None:
        """
        A tenth is copied; nothing of what becomes of it is seen.
        """
        server = self.serve()
        self.replies = lambda asked: self.tells(asked) if asked.port == 9001 else None
        draws = iter([0.05, 0.5, 0.05, 0.95])
        self.patch(mirror, "random", lambda: next(draws))
        for target in ("/a", "/b", "/c", "/d"):
            self.assertEqual(self.says(target), b"1")
            self.work()
        copied = [each for each in self.asked if each.port == 9002]
        self.assertEqual([(each.target, each.fields["x-mirror"]) for each in copied], [("/a", "1"), ("/c", "1")])
        self.assertEqual([each.target for each in self.asked if each.port == 9001], ["/a", "/b", "/c", "/d"])
        server.advance(11)

    def test_servers_under_tls(self) -> None:
        """
        The name of the certificate is what is written; another one is refused.
        """
        server = self.serve({"internal-ca.crt": CA.cert_pem.bytes()})
        client = self.client("/x")
        app = Secure(server.accept(), serving("app.internal"))
        self.assertTrue(app.take().startswith(b"GET /x HTTP/1.1\r\nHost: example.com\r\n"))
        app.send(ok(b"secret"))
        self.assertTrue(client.take().endswith(b"secret"))
        client.close()
        second, other = self.client("/y"), self.client("/z")
        Secure(server.accept(), serving("other.internal"))
        self.assertTrue(other.take().startswith(b"HTTP/1.1 502 "))
        for each in (second, other):
            each.close()

    def test_postgresql(self) -> None:
        """
        The primary while it is PostgreSQL, else the other one; and nobody from elsewhere.
        """
        server = self.serve()
        probe = bytes.fromhex("0000000804d2162f")
        well = {"10.0.0.5", "10.0.0.6"}

        def checks() -> None:
            for _ in range(30):
                server.advance(1)
                while server.connecting():
                    host = server.connecting()[0][0]
                    connection = server.accept()
                    self.assertEqual(connection.take(), probe)
                    connection.send(b"N") if host in well else connection.close()

        def goes_to() -> str:
            client = server.connect(peer="10.9.9.9")
            host = server.connecting()[0][0]
            database = server.accept()
            client.send(b"startup")
            self.assertEqual(database.take(), b"startup")
            database.send(b"R")
            self.assertEqual(client.take(), b"R")
            client.close()
            return host

        checks()
        self.assertEqual(goes_to(), "10.0.0.5")
        well.remove("10.0.0.5")
        checks()
        self.assertEqual(goes_to(), "10.0.0.6")
        stranger = server.connect(peer="192.0.2.7")
        self.assertTrue(stranger.closed)
        self.assertEqual(server.connecting(), [])
