"""
Tests for L{twistginx.shared.embedded}: one machine, several processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from threading import Timer
from time import monotonic

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.functional.peers import python_environment
from tests.shared.stores import StoreTests
from twistginx.interfaces import IStore
from twistginx.net.timers import Ticker
from twistginx.shared.embedded import LEASE, EmbeddedStore
from twistginx.shared.local import LocalStore

WORKER = """
import sys, time
from twistginx.shared.embedded import EmbeddedStore
store = EmbeddedStore.attach(int(sys.argv[1]))
sys.stdout.write("ready\\n"); sys.stdout.flush()
"""

#: Asks without a pause until a moment, and says how often it was admitted, and between which moments: who does not get
#: a core after the last of them has not asked, either.
TAKER = (
    WORKER
    + """
sys.stdin.readline()
begin = now = last = time.monotonic()
end = begin + float(sys.argv[2])
count = 0
while now < end:
    if store.take(b"key", 1000.0, 1000.0, now).admitted:
        count, last = count + 1, now
    now = time.monotonic()
print(count, begin, last)
"""
)

HOLDER = (
    WORKER
    + """
for _ in range(3):
    assert store.acquire(b"key", 10, time.monotonic())
print("held"); sys.stdout.flush()
sys.stdin.readline()
"""
)

#: Locks the row of a key, and goes no further.
LOCKER = (
    WORKER
    + """
store._limits.lock(store._place(b"key")[1])
print("locked"); sys.stdout.flush()
sys.stdin.readline()
"""
)

#: Holds and releases until it is told to stop, never more than one at a time.
CHURNER = (
    WORKER
    + """
sys.stdin.readline()
most = 0
for _ in range(3000):
    if store.acquire(b"key", 2, time.monotonic()):
        store.release(b"key")
"""
)


def again(store: EmbeddedStore, ticker: Ticker | None = None) -> EmbeddedStore:
    return EmbeddedStore.attach(os.dup(store.fileno()), ticker)


class EmbeddedStoreTests(StoreTests, SynchronousTestCase):
    """
    What a store does, in memory that is shared.
    """

    def setUp(self) -> None:
        self.store = EmbeddedStore.create(1 << 20)
        self.addCleanup(self.store.close)

    def attach(self) -> EmbeddedStore:
        store = again(self.store)
        self.addCleanup(store.close)
        return store

    def test_interface(self) -> None:
        """
        It is a store.
        """
        verifyObject(IStore, self.store)

    def test_shared(self) -> None:
        """
        Two workers have the same buckets, counters and values.
        """
        other = self.attach()
        admitted = [store.take(b"k", 0.1, 5.0, 10.0).admitted for _ in range(4) for store in (self.store, other)]
        self.assertEqual(admitted, [True] * 5 + [False] * 3)
        held = [store.acquire(b"k", 5, 10.0) for _ in range(4) for store in (self.store, other)]
        self.assertEqual(held, [True] * 5 + [False] * 3)
        other.release(b"k")
        self.assertTrue(self.store.acquire(b"k", 5, 10.0))
        version = self.store.put(b"k", b"up", 10.0, 10.0)
        self.assertEqual(other.get(b"k", 11.0), (b"up", version))
        self.assertIsNone(other.get(b"k", 20.0))
        self.assertGreater(other.put(b"k", b"down", 10.0, 10.0), version)

    @given(st.lists(st.tuples(st.sampled_from(["take", "acquire", "release"]), st.integers(0, 3), st.integers(0, 9))))
    def test_like_local(self, steps: list[tuple[str, int, int]]) -> None:
        """
        Whatever happens in which order, two workers say together what one process says alone.
        """
        alone, now = LocalStore(), 1000.0
        first = EmbeddedStore.create(1 << 20, workers=4)
        workers = (first, again(first))
        held: dict[tuple[int, bytes], int] = {}
        for method, number, pause in steps:
            now += pause / 10
            key, index = b"%d" % (number // 2), number % 2
            if method == "take":
                said = workers[index].take(key, 3.0, 2.0, now), alone.take(key, 3.0, 2.0, now)
                self.assertEqual(*said)
            elif method == "acquire":
                admitted = workers[index].acquire(key, 3, now)
                self.assertEqual(admitted, alone.acquire(key, 3, now))
                held[index, key] = held.get((index, key), 0) + admitted
            elif held.get((index, key)):
                held[index, key] -= 1
                for store in (workers[index], alone):
                    store.release(key)
            for worker in workers:
                worker._beat(now)  # time passes faster here than they say that they live
        for worker in workers:
            worker.close()

    def test_no_memory_of_ours(self) -> None:
        """
        Something else is not taken for it.
        """
        descriptor = os.memfd_create("other")
        self.addCleanup(os.close, descriptor)
        os.ftruncate(descriptor, 1 << 20)
        self.assertRaises(ValueError, EmbeddedStore.attach, descriptor)

    def test_bounded(self) -> None:
        """
        However many keys come, the memory is what it was, and who has the emptiest bucket is remembered.
        """
        size = self.store.size
        for _ in range(5):
            self.store.take(b"abuser", 0.001, 5.0, 10.0)
        for index in range(60000):
            self.store.take(b"%d" % index, 0.001, 5.0, 10.0)
        self.assertEqual(os.fstat(self.store.fileno()).st_size, size)
        self.assertFalse(self.store.take(b"abuser", 0.001, 5.0, 10.0).admitted)

    def test_counters_bounded(self) -> None:
        """
        A counter that is in use is not forgotten for ones that are not.
        """
        self.store.acquire(b"held", 1, 10.0)
        for index in range(20000):
            self.assertTrue(self.store.acquire(b"%d" % index, 1, 11.0))
            self.store.release(b"%d" % index)
        self.assertFalse(self.store.acquire(b"held", 1, 12.0))

    def test_lease(self) -> None:
        """
        What a worker holds that is not heard of for long is given back; one that is heard of goes on holding.
        """
        clock = Clock()
        clock.advance(100)
        ticker = Ticker(clock)
        silent, living = self.attach(), again(self.store, ticker)
        self.addCleanup(living.close)
        silent.acquire(b"k", 5, 100.0)
        living.acquire(b"k", 5, 100.0)
        self.assertTrue(self.store.acquire(b"k", 3, 101.0))
        self.assertFalse(self.store.acquire(b"k", 3, 101.0))
        for _ in range(int(4 * (LEASE + 2))):
            clock.advance(0.25)
        now = clock.seconds()
        # Of the three, the one of the worker that is alive, and our own.
        self.assertTrue(self.store.acquire(b"k", 3, now))
        self.assertFalse(self.store.acquire(b"k", 3, now))
        living.release(b"k")
        self.assertEqual(len(ticker), 0)

    def test_closed(self) -> None:
        """
        What a worker holds that ends in order is given back.
        """
        other = again(self.store)
        other.acquire(b"k", 1, 10.0)
        self.assertFalse(self.store.acquire(b"k", 1, 10.0))
        other.close()
        self.assertTrue(self.store.acquire(b"k", 1, 12.0))

    def test_too_many_workers(self) -> None:
        """
        There are numbers for so many; a new one takes that of one who is gone.
        """
        small = EmbeddedStore.create(1 << 20, workers=2)
        self.addCleanup(small.close)
        first, second, third = again(small), again(small), again(small)
        for each in (first, second, third):
            self.addCleanup(each.close)
        first.acquire(b"k", 9, 10.0)
        second.acquire(b"k", 9, 10.0)
        self.assertRaises(RuntimeError, third.acquire, b"k", 9, 10.0)
        # The first is not heard of any more.  Should it come back, it finds another.
        self.assertTrue(third.acquire(b"k", 2, 11.0 + LEASE))


class ProcessTests(SynchronousTestCase):
    """
    Real processes.
    """

    def setUp(self) -> None:
        self.store = EmbeddedStore.create(1 << 20)
        self.addCleanup(self.store.close)

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """
        A worker, when it is ready.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(self.store.fileno()), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(self.store.fileno(),),
            env=python_environment(),
        )

        def end() -> None:
            process.kill()
            process.communicate()

        self.addCleanup(end)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def test_exact(self) -> None:
        """
        The sum of what several workers admit is what one would have, to the last request.
        """
        workers = [self.start(TAKER, "0.7") for _ in range(3)]
        for worker in workers:
            worker.stdin.write("go\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
        said = [worker.communicate()[0].split() for worker in workers]
        admitted = sum(int(count) for count, _, _ in said)
        seconds = max(float(end) for _, _, end in said) - min(float(begin) for _, begin, _ in said)
        self.assertTrue(abs(admitted - (1000 + 1000 * seconds)) <= 50 * (1 + seconds), (admitted, seconds))
        self.assertTrue(all(int(count) for count, _, _ in said), said)

    def test_killed(self) -> None:
        """
        What a worker holds that is killed is given back, at once.
        """
        worker = self.start(HOLDER)
        self.assertEqual(worker.stdout.readline(), "held\n")  # type: ignore[union-attr]
        now = monotonic()
        self.assertFalse(self.store.acquire(b"key", 3, now))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        self.assertTrue(self.store.acquire(b"key", 3, now + 1))

    def test_stopped_in_the_middle(self) -> None:
        """
        One that is stopped while it has a row locked holds nobody up; one that goes on, or dies, as long as it has it.
        """
        self.store.take(b"key", 0.001, 2.0, 1.0)
        worker = self.start(LOCKER)
        self.assertEqual(worker.stdout.readline(), "locked\n")  # type: ignore[union-attr]
        row = self.store._place(b"key")[1]
        self.assertEqual(self.store._limits._holder(row), worker.pid)
        worker.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
        self.assertTrue(self.store.take(b"key", 0.001, 2.0, 1.0).admitted)
        self.assertFalse(self.store.take(b"key", 0.001, 2.0, 1.0).admitted)
        worker.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, worker.pid, os.WCONTINUED | os.WNOWAIT)
        timer = Timer(0.2, worker.kill)
        timer.start()
        begin = monotonic()
        self.assertFalse(self.store.take(b"key", 0.001, 2.0, 1.0).admitted)
        self.assertGreaterEqual(monotonic() - begin, 0.1)
        timer.join()
        self.assertEqual(self.store._limits._holder(row), 0)

    def test_killed_in_the_middle(self) -> None:
        """
        A worker may die at any point: nobody waits for it, and nothing stays held.
        """
        for _ in range(5):
            worker = self.start(CHURNER)
            worker.stdin.write("go\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
            begin = monotonic()
            while monotonic() < begin + 0.02:
                if self.store.acquire(b"key", 2, monotonic()):
                    self.store.release(b"key")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        now = monotonic() + 1
        self.assertEqual([self.store.acquire(b"key", 2, now) for _ in range(3)], [True, True, False])
