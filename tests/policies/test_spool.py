"""
Tests for L{twistginx.policies.spool}: uploads that wait until they are whole.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.http.conversation import Answer, answers
from twistginx.errors import ConfigError
from twistginx.http.body import RequestBody
from twistginx.http.message import Fields
from twistginx.http.spooledbody import SpooledBody
from twistginx.interfaces import IPolicyModule
from twistginx.net.threads import Threads
from twistginx.net.timers import Ticker
from twistginx.policies import spool
from twistginx.testing import Connection, MemoryServer

SITE = """
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    proxy = "http://127.0.0.1:9001"
    spool = {spool}
"""

SMALL = '{ memory = "1KiB", quota = "1MiB" }'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Workshop(Threads):
    """
    Threads whose work is done when the test says so.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Any, tuple[Any, ...]]] = []

    def run(self, work: Any, *arguments: Any) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((waiting, work, arguments))
        return waiting

    def work(self) -> None:
        waiting, work, arguments = self.waiting.pop(0)
        try:
            waiting.callback(work(*arguments))
        except OSError:
            waiting.errback()


class SpoolTestCase(SynchronousTestCase):
    """
    A site that spools, before an upstream.
    """

    def setUp(self) -> None:
        self.descriptors = self.open()
        self.serve(SMALL)

    def serve(self, table: str) -> None:
        self.server = MemoryServer(SITE.format(spool=table))
        self.addCleanup(self.server.close)

    @property
    def policy(self) -> Any:
        assert self.server.generation is not None
        (route,) = self.server.generation.sites[0].routes
        return next(each.__self__ for each in route.admit if isinstance(each.__self__, spool.Spool))

    def open(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def post(self, length: int | None, *fields: bytes) -> Connection:
        """
        A client that has sent a head.
        """
        client = self.server.connect()
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        client.send(b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", framing, *fields, b"", b""]))
        return client

    def asked(self) -> tuple[bytes, bytes]:
        """
        What the upstream was sent: head and body; it answers.
        """
        self.upstream = upstream = self.server.accept()
        head, _, body = upstream.take().partition(b"\r\n\r\n")
        return head, body

    def finish(self, client: Connection) -> Answer:
        """
        The upstream answers; nothing is left.
        """
        self.upstream.send(OK)
        (answer,) = answers(client.take())
        client.close()
        self.upstream.close()
        self.assertNothingLeft()
        return answer

    def assertNothingLeft(self) -> None:
        self.assertEqual(self.policy.usage.used, 0)
        self.assertEqual(self.open(), self.descriptors)

    def refused(self, client: Connection) -> tuple[int, bytes | None]:
        """
        How the request was refused: status and Proxy-Status.
        """
        (answer,) = answers(client.take())
        client.close()
        self.assertEqual(self.server.connecting(), [])
        self.assertNothingLeft()
        return answer.status, answer.get(b"Proxy-Status")


class SpoolTests(SpoolTestCase):
    """
    Bodies on their way.
    """

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, spool)

    def test_whole_first(self) -> None:
        """
        Nobody is asked before the last byte is there; then all of it goes at once.
        """
        for size in (10, 1024, 1025, 300_000, 900_000):
            body = os.urandom(size)
            client = self.post(size)
            for start in range(0, size, 50_000):
                self.assertEqual(self.server.connecting(), [])
                client.send(body[start : start + 50_000])
            head, sent = self.asked()
            self.assertIn(b"\r\nContent-Length: %d\r\n" % size, head + b"\r\n")
            self.assertEqual(sent, body)
            self.assertEqual(self.policy.usage.used, size if size > 1024 else 0)
            self.assertEqual(self.finish(client).status, 200)

    def test_with_the_head(self) -> None:
        """
        A body that comes with its head is sent on in the same turn.
        """
        client = self.server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        self.assertEqual(self.asked()[1], b"abc")
        self.finish(client)

    def test_chunked(self) -> None:
        """
        What came in chunks goes on with its length.
        """
        client = self.post(None)
        for _ in range(3):
            client.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        self.assertEqual(self.server.connecting(), [])
        client.send(b"0\r\n\r\n")
        head, body = self.asked()
        self.assertIn(b"Content-Length: 3072", head)
        self.assertNotIn(b"ransfer-", head)
        self.assertEqual(body, b"x" * 3072)
        self.finish(client)

    def test_trailers(self) -> None:
        """
        What has trailers stays in chunks, because they could not be sent otherwise.
        """
        client = self.post(None)
        client.send(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        head, body = self.asked()
        self.assertIn(b"Transfer-Encoding: chunked", head)
        self.assertEqual(body, b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.finish(client)

    def test_empty(self) -> None:
        """
        A body that turns out to be none.
        """
        client = self.post(None)
        client.send(b"0\r\n\r\n")
        self.assertIn(b"Content-Length: 0", self.asked()[0])
        self.finish(client)

    def test_continue(self) -> None:
        """
        A client that waits to be asked for the body is asked for it.
        """
        client = self.post(2000, b"Expect: 100-continue")
        self.assertEqual(client.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"x" * 2000)
        self.assertEqual(self.asked()[1], b"x" * 2000)
        self.finish(client)

    def test_slow_upstream(self) -> None:
        """
        It is sent no faster than the upstream reads.
        """
        body = os.urandom(900_000)
        client = self.post(len(body))
        client.send(body, cut=100_000)
        upstream = self.upstream = self.server.accept()
        sent = upstream.take()
        upstream.stall()
        self.server.reactor.advance(0)
        rest = upstream.take()
        self.server.reactor.advance(0)
        self.assertEqual(upstream.take(), b"")
        upstream.unstall()
        while more := upstream.take():
            rest += more
            self.server.reactor.advance(0)
        self.assertEqual((sent + rest).partition(b"\r\n\r\n")[2], body)
        self.finish(client)

    def test_client_leaves(self) -> None:
        """
        A client that leaves, before the end or after it, leaves nothing.
        """
        for sent in (2000, 600_000, 900_000):
            client = self.post(900_000)
            client.send(b"x" * sent)
            client.close()
            if self.server.connecting():
                self.server.refuse()
            self.assertNothingLeft()


class AgainTests(SynchronousTestCase):
    """
    A body that is here can be sent again.
    """

    def test_another_upstream(self) -> None:
        """
        A server that dies over a body leaves it to another one: all of it.
        """
        server = MemoryServer(
            """
            [upstream.app]
            servers = ["127.0.0.1:9001"]
            [upstream.spare]
            servers = ["127.0.0.1:9002"]
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            proxy = { upstream = "app" }
            spool = { memory = "1KiB" }
            on_error = { upstreams = { "5xx" = "spare" } }
            """
        )
        self.addCleanup(server.close)
        body = os.urandom(300_000)
        client = server.connect()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        dying = server.accept()
        self.assertTrue(dying.take().endswith(body))
        dying.reset()
        server.advance(1)
        spare = server.accept()
        self.assertTrue(spare.take().endswith(body))
        spare.send(OK)
        (answer,) = answers(client.take())
        self.assertEqual((answer.status, answer.body), (200, b"ok"))
        client.close()
        spare.close()


class RoomTests(SpoolTestCase):
    """
    Where there is not enough room.
    """

    def test_larger_than_all(self) -> None:
        """
        A body that could never fit is too large, and is refused before it comes.
        """
        self.assertEqual(
            self.refused(self.post((1 << 20) + 1)),
            (413, b'twistginx; error=request_body_too_large; details="spool.quota = 1MiB"'),
        )

    def test_quota(self) -> None:
        """
        All bodies together have the quota: one too many is told to come again, before it comes or in the midst of it.
        """
        first = self.post(1_000_000)
        full = (503, b'twistginx; error=spool_full; details="spool.quota = 1MiB"')
        for length in (100_000, None):
            client = self.post(length)
            if length is None:
                client.send(b"%x\r\n" % 100_000 + b"x" * 100_000)
            (answer,) = answers(client.take())
            self.assertEqual((answer.status, answer.get(b"Proxy-Status")), full)
            self.assertEqual(answer.get(b"Retry-After"), b"5")
            client.close()
        small = self.post(1000)  # stays in memory
        small.send(b"x" * 1000)
        self.asked()
        self.upstream.send(OK)
        small.close()
        self.upstream.close()
        first.close()
        self.assertNothingLeft()

    def test_full_disk(self) -> None:
        """
        A disk that is full is our failure, and is told from a quota.
        """
        for number, expected in (
            (errno.ENOSPC, (507, "storage_full")),
            (errno.EDQUOT, (507, "storage_full")),
            (errno.EIO, (500, "proxy_internal_error")),
        ):

            def write_all(*_: object, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            self.patch(spool, "_write_all", write_all)
            client = self.post(600_000)
            client.send(b"x" * 300_000)
            status, why = self.refused(client)
            self.assertEqual((status, why), (expected[0], f"twistginx; error={expected[1]}".encode()))

    def test_limit_of_the_route(self) -> None:
        """
        C{limits.body} holds, in the midst of a body too.
        """
        self.serve(SMALL + '\n    limits = { body = "2KiB" }')
        client = self.post(None)
        client.send(b"a00\r\n" + b"x" * 2560 + b"\r\n")
        self.assertEqual(self.refused(client)[0], 413)


class ThreadTests(SpoolTestCase):
    """
    While the disk is slow.
    """

    def setUp(self) -> None:
        super().setUp()
        self.workshop = Workshop()
        self.policy_threads(self.workshop)

    def policy_threads(self, threads: Any) -> None:
        self.policy.threads = threads

    def test_back_pressure(self) -> None:
        """
        Nothing is read from the client while its bytes are written.
        """
        body = os.urandom(800_000)
        client = self.post(len(body))
        client.send(body[:300_000])
        self.assertEqual(len(self.workshop.waiting), 1)
        client.send(body[300_000:310_000])  # was on its way
        self.assertFalse(client.reading)
        self.workshop.work()
        self.assertTrue(client.reading)
        client.send(body[310_000:])
        while self.workshop.waiting:
            self.assertEqual(self.server.connecting(), [])
            self.workshop.work()
        self.assertEqual(self.asked()[1], body)
        self.finish(client)

    def test_leaves_meanwhile(self) -> None:
        """
        What is written for a client that has left is given back when it is written.
        """
        client = self.post(800_000)
        client.send(b"x" * 300_000)
        client.close()
        self.assertEqual(self.policy.usage.used, 800_000)
        self.workshop.work()
        self.assertNothingLeft()


class SpooledBodyTests(SynchronousTestCase):
    """
    A body that is there.
    """

    def test_again(self) -> None:
        """
        It can be taken again from the beginning, also by who gave it up half-way.
        """

        class Receiver:
            def __init__(self) -> None:
                self.data = b""
                self.ended = 0

            def body_data(self, data: bytes) -> None:
                self.data += data

            def body_end(self, trailers: Fields) -> None:
                self.ended += 1

        class Reluctant(Receiver):
            def body_data(self, data: bytes) -> None:
                super().body_data(data)
                body.pause()

        released: list[bool] = []
        body = SpooledBody(
            [b"a", b"b"], None, 2, Fields(), Ticker(self.reactor()), lambda: released.append(True), self.fail
        )
        first, second, third = Reluctant(), Receiver(), Receiver()
        body.start(first)
        self.assertEqual((first.data, first.ended), (b"a", 0))
        body.start(second)
        body.start(third)
        for receiver in (second, third):
            self.assertEqual((receiver.data, receiver.ended), (b"ab", 1))
        self.assertFalse(body.started)
        body.discard()
        body.discard()
        self.assertEqual(released, [True])

    def reactor(self) -> Any:
        return Clock()

    def test_like_the_other(self) -> None:
        """
        It has all that a body that is arriving has, for those who take bodies.
        """
        body = SpooledBody([], None, 0, Fields(), Ticker(self.reactor()), lambda: None, self.fail)
        theirs = {name for name in dir(RequestBody(0)) if not name.startswith("_")} - {"put", "watch", "deliver"}
        self.assertEqual(theirs - set(dir(body)), set())


class ConfigTests(SynchronousTestCase):
    """
    What can be said.
    """

    def test_shorthand(self) -> None:
        """
        C{true} is all defaults.
        """
        MemoryServer(SITE.format(spool="true")).close()

    def test_wrong(self) -> None:
        """
        What cannot be is refused where it stands.
        """
        for table, key in (
            ('{ directory = "missing" }', "spool.directory"),
            ('{ memory = "1GiB" }', "spool.memory"),
            ('"yes"', "spool"),
        ):
            error = self.assertRaises(ConfigError, MemoryServer, SITE.format(spool=table))
            self.assertIn(key, str(error))
