"""
Tests for L{twistginx.shared.redis}, with a real Redis that is killed, stopped and started again.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.functional.peers import Running, accepts, free_port, module, program
from tests.shared.stores import StoreTests
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.errors import ProxyError
from twistginx.interfaces import IStore, IStoreModule
from twistginx.net.timers import Ticker
from twistginx.shared import redis
from twistginx.shared.local import LocalStore
from twistginx.shared.verdict import Verdict


class Context:
    """
    What a module is given to build with.
    """

    log = Logger()
    reactor: Any = reactor

    def __init__(self, memory: Any = None) -> None:
        self.ticker = Ticker(reactor)
        self.memory = LocalStore() if memory is None else memory


class RedisTestCase(TestCase):
    """
    Has a Redis of its own, and any number of workers on it.
    """

    timeout = 30
    directory: Path
    server: Running
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        module("txredisapi")
        self.path = program("redis-server")
        self.directory = Path(mkdtemp(prefix="twistginx-redis-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.port = free_port()
        self.prefix = f"{self.id()}:"
        self.stores: list[Any] = []
        self.launch()
        self.addCleanup(self.kill)
        self.addCleanup(self.close)

    def launch(self) -> None:
        """
        Start it, with nothing in it.
        """
        socket = self.directory / "socket"
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.server = Running([self.path, *arguments, "--unixsocket", str(socket), *self.options], self.directory)
        self.server.wait_for(lambda: accepts(self.port) and socket.exists(), "does not listen")

    def kill(self) -> None:
        """
        End it, as the death of a machine does.
        """
        self.server.stop(signal.SIGKILL)

    #: What these workers share, if they are of one machine.
    memory: Any = None

    def worker(self, url: str = "", **options: Any) -> Any:
        """
        One worker's store.
        """
        table = {"store": url or f"redis://127.0.0.1:{self.port}/0", "prefix": self.prefix, **options}
        store = redis.make(structure(table, redis.Config), Context(self.memory))
        store.start()
        self.stores.append(store)
        return store

    def close(self) -> Deferred[Any]:
        return gatherResults([maybeDeferred(store.stop) for store in self.stores])

    @inlineCallbacks
    def until(self, ready: Any, seconds: float = 10.0):
        """
        Wait for something.
        """
        limit = monotonic() + seconds
        while not ready():
            self.assertLess(monotonic(), limit, "it has not come about")
            yield deferLater(reactor, 0.01)

    def there(self, *stores: Any) -> Any:
        return self.until(lambda: all(store._link.there for store in stores))

    def away(self, *stores: Any) -> Any:
        return self.until(lambda: not any(store._link.there for store in stores))

    def expect_no_surprise(self) -> None:
        self.assertEqual(self.flushLoggedErrors(), [])


class RedisStoreTests(StoreTests, RedisTestCase):
    """
    What a store does, on a Redis.
    """

    def now(self) -> float:
        return 0.0  # Redis has a clock of its own

    @inlineCallbacks
    def setUp(self):
        super().setUp()
        self.store = self.worker()
        yield self.there(self.store)

    def test_interface(self) -> None:
        """
        It is a store, and its module one of a store.
        """
        verifyObject(IStore, self.store)
        verifyObject(IStoreModule, redis)

    @inlineCallbacks
    def test_parallel(self):
        """
        Of 1,000 requests at once, over two machines, the burst is admitted, and what has come in meanwhile.
        """
        other = self.worker()
        yield self.there(other)
        begin = monotonic()
        stores = (self.store, other)
        asked = [stores[index % 2].take(b"p", 10.0, 20.0, 0.0) for index in range(1000)]
        self.assertTrue(all(isinstance(each, Deferred) for each in asked))
        verdicts = yield gatherResults(asked)
        admitted = sum(each.admitted for each in verdicts)
        self.assertTrue(20 <= admitted <= 20 + 10 * (monotonic() - begin), admitted)

    @inlineCallbacks
    def test_one_round_trip(self):
        """
        A decision is one command, once Redis knows the script.
        """
        yield self.store.take(b"a", 10.0, 20.0, 0.0)
        protocol = self.store._link._protocol
        sent: list[bytes] = []
        write = protocol.transport.write
        self.patch(protocol.transport, "write", lambda data: (sent.append(data), write(data))[1])
        for _ in range(3):
            yield self.store.take(b"a", 10.0, 20.0, 0.0)
        self.assertEqual([each.split(b"\r\n")[2] for each in sent], [b"EVALSHA"] * 3)

    @inlineCallbacks
    def test_forgets(self):
        """
        A bucket that is full again takes no room in Redis, and a value goes when it was to.
        """
        protocol = self.store._link._protocol
        yield self.store.take(b"short", 100.0, 1.0, 0.0)
        yield self.store.put(b"short", b"x", 0.05, 0.0)
        yield self.store.take(b"long", 0.01, 5.0, 0.0)
        yield self.until(lambda: True)
        yield deferLater(reactor, 0.15)
        keys = yield protocol.keys(f"{self.prefix}*")
        self.assertEqual(sorted(keys), sorted(f"{self.prefix}{key}".encode() for key in ("r:long", "version")))

    @inlineCallbacks
    def test_lease(self):
        """
        What a worker holds that dies is given back, and one that lives goes on holding.
        """
        self.patch(redis, "LEASE", 0.6)
        self.patch(redis, "_BEAT", 0.2)
        living, dead = self.worker(), self.worker()
        yield self.there(living, dead)
        for store in (living, dead):
            self.assertTrue((yield store.acquire(b"k", 2, 0.0)))
        self.assertFalse((yield self.store.acquire(b"k", 2, 0.0)))
        dead._ticker.forget(dead)
        yield deferLater(reactor, 1.0)
        self.assertTrue((yield self.store.acquire(b"k", 2, 0.0)))
        self.assertFalse((yield self.store.acquire(b"k", 2, 0.0)))

    @inlineCallbacks
    def test_socket(self):
        """
        It may be on a UNIX socket.
        """
        store = self.worker(f"redis+unix://{self.directory}/socket")
        yield self.there(store)
        verdict = yield store.take(b"k", 1.0, 5.0, 0.0)
        self.assertEqual(round(verdict.left), 4)

    @inlineCallbacks
    def test_cancelled(self):
        """
        A client that leaves takes nobody else with it.
        """
        first, second = self.store.take(b"k", 1.0, 5.0, 0.0), self.store.take(b"k", 1.0, 5.0, 0.0)
        first.cancel()
        self.assertTrue((yield second).admitted)
        self.assertTrue((yield self.store.take(b"k", 1.0, 5.0, 0.0)).admitted)
        self.expect_no_surprise()


class PasswordTests(RedisTestCase):
    """
    A Redis that does not let everybody in.
    """

    options = ("--requirepass", "secret")

    @inlineCallbacks
    def test_password(self):
        """
        With the password, or a user's, it is there; with another it is away, and the log never says which.
        """
        right = self.worker(f"redis://:secret@127.0.0.1:{self.port}/2")
        named = self.worker(f"redis://default:secret@127.0.0.1:{self.port}")
        wrong = self.worker(f"redis://:wr0ng@127.0.0.1:{self.port}")
        yield self.there(right, named)
        self.assertTrue((yield right.take(b"k", 1.0, 1.0, 0.0)).admitted)
        self.assertFalse((yield right.take(b"k", 1.0, 1.0, 0.0)).admitted)
        self.assertFalse(wrong._link.there)
        self.assertTrue(wrong.take(b"k", 1.0, 1.0, 0.0).admitted)
        self.assertNotIn("wr0ng", repr(structure({"store": "redis://:wr0ng@h"}, redis.Config)))
        self.expect_no_surprise()


class OutageTests(RedisTestCase):
    """
    A Redis that goes away, under load, and comes back.
    """

    @inlineCallbacks
    def load(self, store: Any, seconds: float, each: Any):
        """
        Ask again and again, ten at a time; C{each} is given what comes of it, or the failure.
        """
        limit = monotonic() + seconds
        slowest = 0.0
        while monotonic() < limit:
            begin = monotonic()
            asked = [maybeDeferred(store.take, b"load", 1e6, 1e6, 0.0) for _ in range(10)]
            for one in asked:
                one.addBoth(each)
            yield gatherResults(asked)
            slowest = max(slowest, monotonic() - begin)
            yield deferLater(reactor, 0.002)
        return slowest

    @inlineCallbacks
    def test_killed(self):
        """
        Killed and started again under load: everything is decided, at once while it is away; and it is found again.
        """
        store = self.worker()
        yield self.there(store)
        seen: list[Any] = []
        load = self.load(store, 1.5, seen.append)
        yield deferLater(reactor, 0.3)
        self.kill()
        yield self.away(store)
        self.assertEqual(store.take(b"k", 1.0, 1.0, 0.0), Verdict(True, 0.0, 1.0))
        self.launch()
        yield load
        yield self.there(store)
        self.assertTrue(all(isinstance(each, Verdict) and each.admitted for each in seen), seen[:3])
        self.assertEqual(store._link.outages, 1)
        self.assertTrue((yield store.take(b"k", 0.01, 1.0, 0.0)).admitted)
        self.assertFalse((yield store.take(b"k", 0.01, 1.0, 0.0)).admitted)
        self.expect_no_surprise()

    @inlineCallbacks
    def test_stopped(self):
        """
        Stopped, so that it neither answers nor closes: nobody waits for longer than C{timeout}, and only once.
        """
        store = self.worker(timeout="100ms")
        yield self.there(store)
        seen: list[Any] = []
        load = self.load(store, 1.2, seen.append)
        yield deferLater(reactor, 0.2)
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield self.away(store)
            self.assertIsInstance(store.take(b"k", 1.0, 1.0, 0.0), Verdict)
            slowest = yield load
            self.assertLess(slowest, 1.0)
            self.assertFalse(store._link.there)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
        yield self.there(store)
        self.assertTrue(all(isinstance(each, Verdict) for each in seen))
        self.assertIsInstance(store.take(b"k", 1.0, 1.0, 0.0), Deferred)
        self.expect_no_surprise()

    @inlineCallbacks
    def test_told_once(self):
        """
        The log says once that it is away, however often it is tried again.
        """
        with capturedLogs() as events:
            store = self.worker(f"redis://127.0.0.1:{free_port()}")
            yield self.until(lambda: store._link._failures > 3)
        self.assertEqual([formatEvent(each).split(": ", 1)[1] for each in events], ["it cannot be reached"])

    @inlineCallbacks
    def test_deny(self):
        """
        Where it is to fail closed, it does, with the reason.
        """
        store = self.worker(f"redis://127.0.0.1:{free_port()}", on_failure="deny")
        for method, arguments in (("take", (b"k", 1.0, 1.0, 0.0)), ("acquire", (b"k", 5, 0.0))):
            error = self.assertRaises(ProxyError, getattr(store, method), *arguments)
            self.assertEqual((error.reason.word, error.status), ("store_away", 503))
        yield deferLater(reactor, 0)

    @inlineCallbacks
    def test_local(self):
        """
        Or each worker keeps the limits for itself.
        """
        store = self.worker(f"redis://127.0.0.1:{free_port()}", on_failure="local")
        self.assertEqual([store.take(b"k", 0.01, 2.0, 0.0).admitted for _ in range(3)], [True, True, False])
        self.assertEqual([store.acquire(b"k", 2, 0.0) for _ in range(3)], [True, True, False])
        store.release(b"k")
        self.assertTrue(store.acquire(b"k", 2, 0.0))
        version = store.put(b"v", b"x", 10.0, 0.0)
        self.assertEqual(store.get(b"v", 0.0), (b"x", version))
        yield deferLater(reactor, 0)

    @inlineCallbacks
    def test_local_together(self):
        """
        The workers of a machine keep them together.
        """
        self.memory = LocalStore()
        url = f"redis://127.0.0.1:{free_port()}"
        stores = [self.worker(url, on_failure="local") for _ in range(2)]
        admitted = [store.take(b"k", 0.01, 2.0, 0.0).admitted for store in stores * 2]
        self.assertEqual(admitted, [True, True, False, False])
        self.assertEqual([store.acquire(b"k", 3, 0.0) for store in stores * 2], [True, True, True, False])
        stores[1].release(b"k")
        self.assertTrue(stores[0].acquire(b"k", 3, 0.0))
        yield deferLater(reactor, 0)

    @inlineCallbacks
    def test_holds_survive(self):
        """
        A Redis that has lost everything is told what is held, and not what was released meanwhile.
        """
        store, other = self.worker(), self.worker()
        yield self.there(store, other)
        for _ in range(3):
            self.assertTrue((yield store.acquire(b"k", 3, 0.0)))
        self.kill()
        yield self.away(store, other)
        self.assertTrue(store.acquire(b"k", 3, 0.0))  # it is to let everything pass
        store.release(b"k")
        store.release(b"k")
        self.launch()
        yield self.there(store, other)
        self.assertTrue((yield other.acquire(b"k", 3, 0.0)))
        self.assertFalse((yield other.acquire(b"k", 3, 0.0)))

    @inlineCallbacks
    def test_released_while_stopped(self):
        """
        What was released while Redis could not hear it is not held when it can again.
        """
        store, other = self.worker(timeout="50ms"), self.worker()
        yield self.there(store, other)
        self.assertTrue((yield store.acquire(b"k", 1, 0.0)))
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            store.release(b"k")
            yield self.away(store)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
        yield self.there(store, other)
        self.assertTrue((yield other.acquire(b"k", 1, 0.0)))

    @inlineCallbacks
    def test_acquired_while_stopped(self):
        """
        What a stopped Redis was asked for, and gives when it goes on, while nobody waits for it any more, is not held.
        """
        store, other = self.worker(timeout="50ms"), self.worker()
        yield self.there(store, other)
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            asked = store.acquire(b"k", 1, 0.0)
            yield self.away(store)
            self.assertTrue((yield asked))  # it is to let everything pass
            store.release(b"k")
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
        yield self.there(store, other)
        self.assertTrue((yield other.acquire(b"k", 1, 0.0)))

    @inlineCallbacks
    def test_refused(self):
        """
        A Redis that is there and refuses is no reason to fail otherwise.
        """
        store = self.worker()
        yield self.there(store)
        yield store._link._protocol.set(f"{self.prefix}r:k", "no number")
        self.assertEqual((yield store.take(b"k", 1.0, 5.0, 0.0)), Verdict(True, 0.0, 5.0))
        self.assertTrue(store._link.there)


class ConfigTests(SynchronousTestCase):
    """
    What C{[shared]} may say.
    """

    def test_bad(self) -> None:
        """
        A URL that leads nowhere is refused, with what was expected.
        """
        for url, why in (
            ("redis://", "has no host"),
            ("redis+unix://", "has no path"),
            ("redis://h/x", "no number of a database"),
            ("redis://h:x", "is not a URL"),
            ("redis+tls://h", "unknown kind"),
        ):
            faults = self.assertRaises(Faults, structure, {"store": url}, redis.Config).faults
            self.assertEqual(len(faults), 1)
            self.assertIn(why, faults[0].message)
        faults = self.assertRaises(Faults, structure, {"store": "redis://h", "timeout": "0s"}, redis.Config).faults
        self.assertIn("is 0", faults[0].message)
