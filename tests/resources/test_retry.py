"""
What an upstream is sent a second time: C{retry}, over L{twistginx.resources.attempts}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.resources.serving import Answer
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.config.schema import Retry
from twistginx.http.message import Fields
from twistginx.http.replay import Replay
from twistginx.resources import attempts as attempts_module
from twistginx.testing import Connection, MemoryServer
from twistginx.upstream.retry import Budget, Rules

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def put(body: bytes, method: bytes = b"PUT", fields: bytes = b"") -> bytes:
    """
    A request with a body.
    """
    return b"%b /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (method, len(body), fields, body)


class RetryTests(SynchronousTestCase):
    """
    Two servers, and a client.
    """

    def serve(self, retry: str = "", servers: int = 2) -> Connection:
        """
        A client of an upstream with that C{retry}.
        """
        addresses = ", ".join(f'"127.0.0.1:{9001 + number}"' for number in range(servers))
        server = self.server = MemoryServer(
            f"""
            [upstream.app]
            servers = [{addresses}]
            {retry and f"retry = {retry}"}
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            proxy = {{ upstream = "app" }}
            """
        )
        self.addCleanup(server.close)
        return server.connect()

    def answer(self, client: Connection) -> tuple[int, bytes]:
        """
        What the client has got.
        """
        answer = Answer(client.take())
        return answer.status, answer.body

    def test_terminated(self) -> None:
        """
        Without anything being said: no answer, and another server is asked.
        """
        client = self.serve()
        client.send(GET)
        self.server.accept().close()
        self.server.accept().send(OK)
        self.assertEqual(self.answer(client), (200, b"ok"))

    def test_once(self) -> None:
        """
        ``retry = 1``: everything is sent once.
        """
        client = self.serve("1")
        client.send(GET)
        self.server.accept().close()
        self.assertEqual(self.answer(client)[0], 502)

    def test_attempts(self) -> None:
        """
        As often as is said, and each server once.
        """
        client = self.serve("9", servers=3)
        client.send(GET)
        for _ in range(3):
            self.server.accept().close()
        self.assertEqual(self.answer(client)[0], 502)

    def test_no_post(self) -> None:
        """
        No POST is sent twice, whatever it met.
        """
        for retry in ("3", '{ on = ["terminated", "timeout", "503"], attempts = 3 }'):
            client = self.serve(retry)
            client.send(put(b"hello", b"POST"))
            self.server.accept().close()
            self.assertEqual(self.answer(client)[0], 502)
        client = self.serve('{ on = "503" }')
        client.send(put(b"hello", b"POST"))
        self.server.accept().send(BUSY)
        self.assertEqual(self.answer(client), (503, b"busy"))

    def test_post_that_asks_for_it(self) -> None:
        """
        By its method, or its key.
        """
        for retry, fields in (
            ('{ methods = ["POST"] }', b""),
            ("{ idempotency_key = true }", b"Idempotency-Key: 7\r\n"),
        ):
            client = self.serve(retry)
            client.send(put(b"hello", b"POST", fields))
            self.server.accept().close()
            second = self.server.accept()
            self.assertTrue(second.take().endswith(b"\r\n\r\nhello"))
            second.send(OK)
            self.assertEqual(self.answer(client), (200, b"ok"))
        client = self.serve("{ idempotency_key = true }")
        client.send(put(b"hello", b"POST"))
        self.server.accept().close()
        self.assertEqual(self.answer(client)[0], 502)

    def test_status(self) -> None:
        """
        An answer that is to be tried again; in one piece, and in several.
        """
        for pieces in ([BUSY], [BUSY[:-4], b"bu", b"sy"]):
            client = self.serve('{ on = "503" }')
            client.send(GET)
            first = self.server.accept()
            for piece in pieces:
                first.send(piece)
            self.assertEqual(client.take(), b"")
            self.assertTrue(first.closed or pieces == [BUSY])
            self.server.accept().send(OK)
            self.assertEqual(self.answer(client), (200, b"ok"))

    def test_last_answer_is_passed_on(self) -> None:
        """
        When there is nobody else, the client gets what the server said.
        """
        client = self.serve('{ on = "503", attempts = 5 }')
        client.send(GET)
        self.server.accept().send(BUSY)
        self.server.accept().send(BUSY)
        self.assertEqual(self.answer(client), (503, b"busy"))

    def test_timeout(self) -> None:
        """
        A server that takes too long for one try.
        """
        client = self.serve('{ on = "timeout", per_try = "2s" }')
        client.send(GET)
        self.server.accept()
        self.server.advance(3)
        self.server.accept().send(OK)
        self.assertEqual(self.answer(client), (200, b"ok"))

    def test_total(self) -> None:
        """
        All tries together have a time: the last one, and the only one of a request that is sent once, included.
        """
        for request, attempts in ((GET, 2), (put(b"hello", b"POST"), 1)):
            client = self.serve('{ on = "timeout", per_try = "3s", total = "5s" }')
            self.patch(attempts_module, "monotonic", self.server.reactor.seconds)
            client.send(request)
            for _ in range(attempts):
                self.server.accept()
                self.server.advance(3.25)
            self.server.advance(2.5)
            answer = Answer(client.take())
            self.assertEqual(answer.status, 504)
            self.assertIn(b"upstream.app.retry.total = 5s", answer[b"Proxy-Status"])

    def test_total_and_nobody_there(self) -> None:
        """
        Servers that cannot be reached are not tried for longer than that.
        """
        client = self.serve('{ total = "5s" }', servers=4)
        self.patch(attempts_module, "monotonic", self.server.reactor.seconds)
        client.send(GET)
        self.server.advance(4)
        self.assertEqual(client.take(), b"")
        self.server.advance(1.5)
        answer = Answer(client.take())
        self.assertEqual(answer.status, 504)
        self.assertIn(b"connection_timeout", answer[b"Proxy-Status"])
        self.assertIn(b"upstream.app.retry.total = 5s", answer[b"Proxy-Status"])

    def test_per_try_is_named(self) -> None:
        """
        A try that was too long, and that was not to be the last one.
        """
        client = self.serve('{ on = "terminated", per_try = "2s" }')
        client.send(GET)
        self.server.accept()
        self.server.advance(3)
        self.assertIn(b"upstream.app.retry.per_try = 2s", Answer(client.take())[b"Proxy-Status"])

    def test_nobody_else(self) -> None:
        """
        Where there is nobody else to ask, a try is the last one, however many are allowed.
        """
        client = self.serve('{ on = "timeout", per_try = "2s", attempts = 9 }', servers=2)
        client.send(GET)
        first = self.server.accept()
        self.server.advance(3)
        self.assertTrue(first.closed)
        second = self.server.accept()
        self.server.advance(50)
        second.send(OK)
        self.assertEqual(self.answer(client), (200, b"ok"))

    def test_body(self) -> None:
        """
        A body is sent again from its beginning, also when it had not ended.
        """
        client = self.serve()
        request = put(b"0123456789")
        client.send(request[:-4])
        self.server.accept().close()
        second = self.server.accept()
        self.assertTrue(second.take().endswith(b"\r\n\r\n012345"))
        client.send(request[-4:])
        self.assertEqual(second.take(), b"6789")
        second.send(OK)
        self.assertEqual(self.answer(client), (200, b"ok"))

    def test_large_body(self) -> None:
        """
        A body that is too large to be kept is not sent again.
        """
        client = self.serve('{ body = "4B" }'.replace("4B", "4"))
        client.send(put(b"hello"))
        self.server.accept().close()
        self.assertEqual(self.answer(client)[0], 502)

    def test_budget(self) -> None:
        """
        Without a budget, nothing is sent again.
        """
        client = self.serve("{ budget = 0 }")
        client.send(GET)
        self.server.accept().close()
        self.assertEqual(self.answer(client)[0], 502)

    def test_client_leaves(self) -> None:
        """
        A client that leaves ends the second try, too.
        """
        client = self.serve()
        client.send(GET)
        self.server.accept().close()
        second = self.server.accept()
        client.close()
        self.assertTrue(second.closed)


class BudgetTests(SynchronousTestCase):
    """
    L{Budget}.
    """

    def test_share(self) -> None:
        """
        In the long run, the share, and what was saved at first.
        """
        budget = Budget(0.2)
        peer: Any = SimpleNamespace(begun=0, ended=0)
        taken = 0
        for _ in range(10_000):
            peer.begun += 1
            peer.ended += 1
            taken += budget.take([peer])
        self.assertIn(taken, (2099, 2100))
        self.assertEqual(budget.spent, taken)

    def test_all_at_once(self) -> None:
        """
        What is under way may be tried again together, if it was earned.
        """
        budget = Budget(0.2)
        peer: Any = SimpleNamespace(begun=100_000, ended=99_000)
        self.assertEqual(sum(budget.take([peer]) for _ in range(2_000)), 1_000)

    def test_peers_that_leave(self) -> None:
        """
        Counts that go down cost nothing.
        """
        budget = Budget(1.0)
        peer: Any = SimpleNamespace(begun=50, ended=50)
        self.assertTrue(budget.take([peer]))
        self.assertTrue(budget.take([]))


class Taken:
    """
    A receiver.
    """

    def __init__(self) -> None:
        self.data = b""
        self.ended = False

    def body_data(self, data: bytes) -> None:
        self.data += data

    def body_end(self, trailers: Fields) -> None:
        self.ended = True


class Source:
    """
    A body that says what it is told to.
    """

    receiver: Any = None

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def pause(self) -> None:
        """
        Nothing is held here.
        """

    resume = pause


class ReplayTests(SynchronousTestCase):
    """
    L{Replay}.
    """

    @given(st.lists(st.binary(min_size=1, max_size=9)), st.integers(0, 9), st.integers(0, 40))
    def test_second_receiver(self, pieces: list[bytes], cut: int, bound: int) -> None:
        """
        Whoever comes later gets the whole, wherever it comes in, as long as it is kept.
        """
        source = Source()
        replay = Replay(source, bound)
        first, second = Taken(), Taken()
        replay.start(first)
        for piece in pieces[:cut]:
            source.receiver.body_data(piece)
        whole = replay.whole
        self.assertEqual(whole, len(b"".join(pieces[:cut])) <= bound)
        if whole:
            replay.start(second)
        for piece in pieces[cut:]:
            source.receiver.body_data(piece)
        source.receiver.body_end(Fields())
        last = second if whole else first
        self.assertEqual((last.data, last.ended), (b"".join(pieces), True))


class RulesTests(SynchronousTestCase):
    """
    What the table says.
    """

    def test_words(self) -> None:
        """
        Words are reasons, all else statuses.
        """
        rules = Rules.of(structure({"on": ["timeout", "502-504"]}, Retry))
        self.assertEqual(rules.words, {"http_response_timeout", "connection_write_timeout"})
        self.assertEqual(rules.statuses, {502, 503, 504})
        self.assertFalse(rules.timed)
        self.assertEqual(Rules.of(structure(1, Retry)).words, set())

    def test_refused(self) -> None:
        """
        What means nothing.
        """
        for table in (
            0,
            {"on": ["sometimes"]},
            {"on": ["200"]},
            {"methods": ["post"]},
            {"budget": 2},
            "3",
            {"on": "99"},
        ):
            with self.subTest(table=table), self.assertRaises(Faults):
                structure(table, Retry)


class SpooledTests(SynchronousTestCase):
    """
    A body that was taken whole is sent again whatever its size.
    """

    def test_spooled(self) -> None:
        """
        It is there for as long as the request is.
        """
        server = MemoryServer(
            """
            [upstream.app]
            servers = ["127.0.0.1:9001", "127.0.0.1:9002"]
            retry = { body = 0 }
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            spool = true
            proxy = { upstream = "app" }
            """
        )
        self.addCleanup(server.close)
        client = server.connect()
        body = b"0123456789" * 10_000
        client.send(put(body))
        first = server.accept()
        self.assertTrue(first.take().endswith(body))
        first.close()
        second = server.accept()
        self.assertTrue(second.take().endswith(body))
        second.send(OK)
        self.assertEqual(Answer(client.take()).status, 200)
