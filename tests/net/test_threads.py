"""
Tests for L{twistginx.net.threads}.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistginx.net.threads import Threads, threads_of


class ThreadsTests(TestCase):
    """
    Work in threads, with the reactor that the tests have.
    """

    def setUp(self) -> None:
        self.stops: list[Any] = []
        self.patch(reactor, "addSystemEventTrigger", lambda phase, event, stop: self.stops.append((phase, event, stop)))
        self.threads = Threads(reactor)

    def tearDown(self) -> None:
        for phase, event, stop in self.stops:
            self.assertEqual((phase, event), ("during", "shutdown"))
            stop()

    def test_elsewhere(self) -> Deferred[Any]:
        """
        It is done in another thread, and its result comes to ours.
        """
        ours = threading.get_ident()
        work = self.threads.run(threading.get_ident)

        def done(theirs: int) -> None:
            self.assertNotEqual(theirs, ours)
            self.assertEqual(threading.get_ident(), ours)

        return work.addCallback(done)

    def test_fails(self) -> Deferred[Any]:
        """
        What it raises is a failure.
        """
        return self.assertFailure(self.threads.run(int, "x"), ValueError)

    def test_few(self) -> Deferred[Any]:
        """
        However much there is to do, there are a few threads, of one pool.
        """
        seen: set[int] = set()
        work = [self.threads.run(lambda: seen.add(threading.get_ident())) for _ in range(50)]

        def done(_: object) -> None:
            self.assertLessEqual(len(seen), 4)
            self.assertEqual(len(self.stops), 1)

        return gatherResults(work).addCallback(done)

    def test_cancelled(self) -> Deferred[Any]:
        """
        Who does not wait any more is told nothing, and the work is done all the same.
        """
        going, done = threading.Event(), threading.Event()

        def work() -> None:
            going.wait(10)
            done.set()

        waiting = self.threads.run(work)
        self.assertFailure(waiting, CancelledError)
        waiting.cancel()
        going.set()
        return self.threads.run(done.wait, 10).addCallback(self.assertTrue)


class WithoutTests(SynchronousTestCase):
    """
    On a reactor that has none.
    """

    def test_at_once(self) -> None:
        """
        Work is done, or fails, at once.
        """
        threads = Threads(MemoryReactorClock())
        self.assertEqual(self.successResultOf(threads.run(int, "7")), 7)
        self.failureResultOf(threads.run(int, "x"), ValueError)

    def test_of_the_process(self) -> None:
        """
        All modules have the same.
        """
        kept: dict[Any, Any] = {}
        context = SimpleNamespace(
            reactor=MemoryReactorClock(),
            keep=lambda key, factory: kept.setdefault(key, None) or kept.update({key: factory()}) or kept[key],
        )
        self.assertIs(threads_of(context), threads_of(context))
