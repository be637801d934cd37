"""
Tests for ``twistginx.workers.crew``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import twistginx.workers.crew
from twistginx.workers.crew import BEAT, Crew
from twistginx.workers.process import Surroundings
from twistginx.workers.wire import GoneError, RefusalError


class Process:
    """
    A worker that is no process.

    :cvar born: all of them, in their order.
    :cvar starts: what becomes of those that begin: None, an error, or a Deferred.
    """

    born: list[Process] = []  # each test has its own
    starts: Any = None

    def __init__(self, reactor: Any, number: int, surroundings: Any, heard: Any) -> None:
        if isinstance(self.starts, OSError):
            raise self.starts
        self.number, self.heard = number, heard
        self.pid = 1000 + len(self.born)
        self.began = reactor.seconds()
        self.serving = self.ending = self.leads = self.killed = False
        self.overdue = 0.0
        self.answers = True
        self.gone: Deferred[str] = Deferred()
        self.orders: list[Any] = []
        self.said: list[Any] = []
        self.outcome: Any = {}
        self.born.append(self)

    @property
    def name(self) -> str:
        return f"worker {self.number}"

    async def begin(self, details: Any, sockets: Any) -> None:
        self.details = details
        if isinstance(self.starts, Deferred):
            await self.starts
        elif self.starts is not None:
            self.die("ended with status 1")
            raise self.starts
        self.serving = True

    def order(self, name: str, details: Any = None, sockets: Any = ()) -> Deferred[Any]:
        self.orders.append((name, details, tuple(sockets)))
        return fail(self.outcome) if isinstance(self.outcome, Exception) else succeed(self.outcome)

    def say(self, topic: str, value: Any) -> None:
        self.said.append((topic, value))

    def beat(self, elapsed: float) -> None:
        self.overdue = 0.0 if self.answers else self.overdue + elapsed

    def lead(self, leads: bool) -> None:
        self.leads = leads

    async def end(self, how: str, patience: float, **details: Any) -> int:
        self.ending, self.serving = True, False
        self.orders.append((how, patience))
        self.die("ended")
        return 3

    def kill(self) -> None:
        self.killed = True
        self.die("was killed by SIGABRT")

    def die(self, how: str = "was killed by SIGKILL") -> None:
        self.serving = False
        if not self.gone.called:
            self.gone.callback(how)


class CrewTests(SynchronousTestCase):
    """
    So many are kept alive, whatever happens to them.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.patch(twistginx.workers.crew, "WorkerProcess", Process)
        self.patch(Process, "born", [])
        self.crew = Crew(self.clock, Surroundings(), lambda number: ({"number": number}, [("a", 7)]), 30.0)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        self.said.append(formatEvent(event))

    def begin(self, size: int = 2) -> list[Process]:
        self.run_(self.crew.begin(size))
        return Process.born

    def run_(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def numbers(self) -> list[int]:
        return [each.number for each in self.crew.serving]

    def test_begin(self) -> None:
        """
        All begin, each with its number, and one of them leads.
        """
        workers = self.begin(3)
        self.assertEqual([each.details["number"] for each in workers], [1, 2, 3])
        self.assertEqual([each.leads for each in workers], [True, False, False])
        self.assertEqual([each.details["leads"] for each in workers], [True, False, False])

    def test_cannot_begin(self) -> None:
        """
        When the first ones cannot begin, that is said once, and none is tried again.
        """
        self.patch(Process, "starts", RefusalError("site.toml: wrong"))
        failed = self.failureResultOf(Deferred.fromCoroutine(self.crew.begin(3)), RefusalError)
        self.assertEqual(str(failed.value), "site.toml: wrong")
        self.clock.advance(100)
        self.assertEqual(len(Process.born), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_cannot_begin(self) -> None:
        """
        Who dies while others begin for the first time is not replaced before all have begun.
        """
        self.patch(Process, "starts", slow := Deferred())
        beginning = Deferred.fromCoroutine(self.crew.begin(2))
        Process.born[0].die("ended with status 1")
        self.clock.advance(100)
        self.assertEqual(len(Process.born), 2)
        self.patch(Process, "starts", None)
        slow.callback(None)
        self.successResultOf(beginning)
        self.assertEqual(self.numbers(), [1, 2])

    def test_cannot_be_started(self) -> None:
        """
        When there cannot be a process now, it is tried again; at the start, it is an error like others.
        """
        workers = self.begin()
        self.clock.advance(10)
        self.patch(Process, "starts", OSError(11, "Resource temporarily unavailable"))
        workers[0].die()
        self.clock.advance(0)
        self.assertIn("worker 1 could not begin: worker 1 cannot be started: [Errno 11] Resource", self.said[-1])
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.numbers(), [2])
        self.patch(Process, "starts", None)
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.numbers(), [1, 2])
        self.setUp()
        self.patch(Process, "starts", OSError(11, "Resource temporarily unavailable"))
        self.failureResultOf(Deferred.fromCoroutine(self.crew.begin(2)), RefusalError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_death(self) -> None:
        """
        One that dies is replaced, at once when it had lived; the log says how it died, and another one leads.
        """
        workers = self.begin()
        self.clock.advance(10)
        workers[0].die()
        self.clock.advance(0)
        self.assertEqual((self.numbers(), self.crew.deaths), ([1, 2], 1))
        self.assertEqual([each.leads for each in self.crew.serving], [False, True])
        self.assertIn("worker 1, process 1000, was killed by SIGKILL; another one starts", self.said)

    def test_crash_loop(self) -> None:
        """
        One that dies again and again is waited for longer and longer, and the others serve.
        """
        self.begin()
        for delay in (1, 2, 4):
            Process.born[-1].die()
            number = Process.born[-1].number
            self.assertIn(f"; another one starts in {delay} s", self.said[-1])
            self.clock.pump([delay - 0.5])
            self.assertEqual(self.numbers(), [3 - number])
            self.clock.pump([0.5])
            self.assertEqual(self.numbers(), [1, 2])

    def test_replacement_cannot_begin(self) -> None:
        """
        A replacement that cannot begin is tried again, and does not end the others.
        """
        workers = self.begin()
        self.clock.advance(10)
        self.patch(Process, "starts", RefusalError("no memory"))
        workers[0].die()
        self.clock.advance(0)
        self.assertEqual(self.numbers(), [2])
        self.assertIn("worker 1 could not begin: no memory", self.said)
        self.patch(Process, "starts", None)
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.numbers(), [1, 2])

    def test_hang(self) -> None:
        """
        One that does not answer for its time is killed, and replaced; the others are not.
        """
        workers = self.begin()
        workers[1].answers = False
        self.clock.pump([BEAT] * 29)
        self.assertFalse(workers[1].killed)
        self.clock.pump([BEAT] * 2)
        self.assertEqual((workers[0].killed, workers[1].killed), (False, True))
        self.assertEqual(self.numbers(), [1, 2])

    def test_we_hang(self) -> None:
        """
        When the master itself had no time, nobody is killed for that.
        """
        workers = self.begin()
        for each in workers:
            each.answers = False
        self.clock.advance(1000)
        self.assertEqual([each.killed for each in workers], [False, False])

    def test_all(self) -> None:
        """
        An order to all: answers with the worker's number, and each reason once.
        """
        workers = self.begin(3)
        workers[0].outcome = {"cut": 0}
        workers[1].outcome = workers[2].outcome = RefusalError("in use")
        answers, reasons = self.run_(self.crew.all("prepare", {"disk": {}}, [("b", 8)]))
        self.assertEqual((answers, reasons), ([{"worker": 1, "cut": 0}], ["in use"]))
        self.assertEqual([each.orders[-1] for each in workers], [("prepare", {"disk": {}}, (("b", 8),))] * 3)

    def test_death_during_order(self) -> None:
        """
        One that dies meanwhile has no say.
        """
        workers = self.begin()
        workers[0].order = lambda *_: (workers[0].die(), fail(RefusalError("is gone")))[1]  # type: ignore[method-assign]
        self.assertEqual(self.run_(self.crew.all("prepare")), ([{"worker": 2}], []))

    def test_line_ends_before_death_is_heard_of(self) -> None:
        """
        The same when its end of the line is gone, and its death has not been heard of yet.
        """
        workers = self.begin()
        workers[0].outcome = GoneError("worker 1 is gone")
        self.assertEqual(self.run_(self.crew.all("prepare")), ([{"worker": 2}], []))
        self.run_(self.crew.insist("commit"))
        self.assertFalse(workers[0].killed)

    def test_insist(self) -> None:
        """
        One that cannot do what all others have done is killed, and replaced; one that has died meanwhile, just that.
        """
        workers = self.begin(3)
        workers[1].outcome = RefusalError("out of order")
        workers[2].order = lambda *_: (workers[2].die(), fail(RefusalError("is gone")))[1]  # type: ignore[method-assign]
        self.run_(self.crew.insist("commit"))
        self.assertEqual([each.killed for each in workers[:3]], [False, True, False])
        self.assertIn("worker 2, process 1001, could not commit, and is killed: out of order", self.said)
        self.clock.advance(1)
        self.assertEqual(self.numbers(), [1, 2, 3])

    def test_held(self) -> None:
        """
        While a reload is under way, no worker begins; and a reload waits for those that do.
        """
        workers = self.begin()
        self.clock.advance(10)
        self.run_(self.crew.hold())
        workers[0].die()
        self.clock.advance(1)
        self.assertEqual(self.numbers(), [2])
        self.patch(Process, "starts", slow := Deferred())
        self.crew.release()
        self.assertEqual(len(Process.born), 3)
        held = Deferred.fromCoroutine(self.crew.hold())
        self.assertNoResult(held)
        slow.callback(None)
        self.successResultOf(held)
        self.assertEqual(self.numbers(), [1, 2])

    def test_resize(self) -> None:
        """
        More begin, or the last ones end, and are not replaced.
        """
        self.begin(2)
        self.run_(self.crew.resize(4))
        self.assertEqual(self.numbers(), [1, 2, 3, 4])
        self.run_(self.crew.resize(1))
        self.clock.advance(100)
        self.assertEqual(self.numbers(), [1])
        self.assertEqual(self.crew.deaths, 0)

    def test_renew(self) -> None:
        """
        One after the other: the new one serves before the old one is told to drain, and one leads all the time.
        """
        old = self.begin(2)[:]
        self.patch(Process, "starts", slow := Deferred())
        renewing = Deferred.fromCoroutine(self.crew.renew())
        self.assertEqual([each.ending for each in old], [False, False])
        self.patch(Process, "starts", None)
        slow.callback(None)
        self.successResultOf(renewing)
        self.assertEqual([each.ending for each in old], [True, True])
        self.assertEqual(len(Process.born), 4)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual([each.leads for each in self.crew.serving].count(True), 1)
        self.assertEqual(self.crew.deaths, 0)

    def test_renew_fails(self) -> None:
        """
        When a new one cannot begin, the old ones go on.
        """
        old = self.begin(2)[:]
        self.patch(Process, "starts", RefusalError("no"))
        self.failureResultOf(Deferred.fromCoroutine(self.crew.renew()), RefusalError)
        self.assertEqual(self.crew.serving, old)
        self.assertIn("; the one that it was to replace serves on", self.said[-1])

    def test_death_while_it_is_renewed(self) -> None:
        """
        One that dies just while another one begins to take its place is not replaced twice, and is not asked for signs
        of life any more.
        """
        old = self.begin(2)[:]
        self.clock.advance(10)
        self.patch(Process, "starts", slow := Deferred())
        renewing = Deferred.fromCoroutine(self.crew.renew())
        old[0].die()
        self.clock.advance(0)
        self.patch(Process, "starts", None)
        slow.callback(None)
        self.successResultOf(renewing)
        self.clock.pump([1] * 50)
        self.assertEqual(len(Process.born), 4)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual({each for each in Process.born if each.serving}, set(self.crew.serving))
        self.assertEqual(self.crew.leaving, set())

    def test_renewed_while_it_begins(self) -> None:
        """
        One that begins has begun before it is renewed, and one renewal has ended before another.
        """
        self.begin(2)
        self.clock.advance(10)
        self.patch(Process, "starts", slow := Deferred())
        Process.born[0].die()
        self.clock.advance(0)
        renewals = [Deferred.fromCoroutine(self.crew.renew()) for _ in range(2)]
        self.assertEqual(len(Process.born), 3)
        self.patch(Process, "starts", None)
        slow.callback(None)
        for each in renewals:
            self.successResultOf(each)
        self.assertEqual({each for each in Process.born if each.serving}, set(self.crew.serving))
        self.assertEqual(self.numbers(), [1, 2])

    def test_end_while_one_is_renewed(self) -> None:
        """
        One that begins to take another's place ends with all others.
        """
        self.begin(1)
        self.patch(Process, "starts", slow := Deferred())
        renewing = Deferred.fromCoroutine(self.crew.renew())
        self.assertEqual(self.run_(self.crew.stop()), 6)
        slow.callback(None)
        self.successResultOf(renewing)
        self.assertEqual([each.ending for each in Process.born], [True, True])

    def test_words(self) -> None:
        """
        What one says is told to the others, and to those that begin later.
        """
        workers = self.begin(3)
        workers[0].heard(workers[0], "health:a", "down")
        workers[0].heard(workers[0], "health:b", "down")
        workers[1].heard(workers[1], "health:b", None)
        self.assertEqual([len(each.said) for each in workers], [1, 2, 3])
        self.clock.advance(10)
        workers[2].die()
        self.clock.advance(0)
        self.assertEqual(Process.born[-1].details["board"], {"health:a": "down"})

    def test_end(self) -> None:
        """
        All are told, the connections that were cut are added up, and nothing begins again.
        """
        for how in ("drain", "stop"):
            self.setUp()
            workers = self.begin(2)
            self.crew.allow_drain(10.0)
            self.assertEqual(self.run_(getattr(self.crew, how)()), 6)
            self.assertEqual([each.orders[-1][0] for each in workers], [how, how])
            self.clock.advance(100)
            self.assertEqual((len(Process.born), self.clock.getDelayedCalls()), (2, []))
