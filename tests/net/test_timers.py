"""
Tests for L{twistginx.net.timers}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.timers import NEVER, Ticker


class Thing:
    """
    Something with a deadline.
    """

    def __init__(self, act: Callable[[Thing], object] | None = None) -> None:
        self.deadline = NEVER
        self.passed = 0
        self.act = act

    def deadline_passed(self) -> None:
        assert self.deadline == NEVER
        self.passed += 1
        if self.act is not None:
            self.act(self)


class TickerTests(SynchronousTestCase):
    """
    One timer for all deadlines.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.ticker = Ticker(self.clock)

    def passed_of_all(self) -> int:
        return sum(each.passed for each in self.ticker._watched)

    def thing(self, seconds: float = NEVER, act: Callable[[Thing], object] | None = None) -> Thing:
        thing = Thing(act)
        self.ticker.watch(thing)
        thing.deadline = self.ticker.now + seconds
        return thing

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)

    def test_passes(self) -> None:
        """
        A deadline passes once, within a tick of its time, and not before it.
        """
        thing = self.thing(1.1)
        self.wait(1)
        self.assertEqual(thing.passed, 0)
        self.wait(0.25)
        self.assertEqual((thing.passed, thing.deadline), (1, NEVER))
        self.wait(10)
        self.assertEqual(thing.passed, 1)

    def test_many(self) -> None:
        """
        Of thousands all pass within a tick of their time, and one timer is enough for them.
        """
        things = [self.thing(1) for _ in range(3500)]
        most = 0
        for _ in range(int(1.25 / 0.01) + 1):
            self.clock.advance(0.01)
            most = max(most, len(self.clock.getDelayedCalls()))
        self.assertEqual({thing.passed for thing in things}, {1})
        self.assertEqual(most, 1)
        for thing in things:
            self.ticker.forget(thing)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_at_once(self) -> None:
        """
        When many pass at once, others have their turn in between.
        """
        for _ in range(200):
            self.thing(1)
        self.wait(0.75)
        seen = []
        self.clock.callLater(0.25, lambda: self.clock.callLater(0, lambda: seen.append(self.passed_of_all())))
        self.wait(0.5)
        self.assertEqual(self.passed_of_all(), 200)
        self.assertEqual(len(seen), 1)
        self.assertLess(seen[0], 200)

    def test_moves(self) -> None:
        """
        A deadline is an attribute: it is moved, or taken back, by setting it.
        """
        thing = self.thing(1)
        for _ in range(5):
            self.wait(0.75)
            thing.deadline = self.ticker.now + 1
        self.assertEqual(thing.passed, 0)
        thing.deadline = NEVER
        self.wait(10)
        self.assertEqual(thing.passed, 0)

    def test_again(self) -> None:
        """
        It can be set anew when it has passed.
        """
        thing = self.thing(1, lambda thing: setattr(thing, "deadline", self.ticker.now + 1))
        self.wait(3.5)
        self.assertEqual(thing.passed, 3)

    def test_sleeps(self) -> None:
        """
        It ticks while it watches something, and never else; forgetting twice does no harm.
        """
        self.assertEqual(self.clock.getDelayedCalls(), [])
        thing = self.thing()
        other = self.thing()
        self.assertEqual((len(self.clock.getDelayedCalls()), len(self.ticker)), (1, 2))
        self.ticker.forget(thing)
        self.ticker.forget(thing)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.ticker.forget(other)
        self.assertEqual((self.clock.getDelayedCalls(), len(self.ticker)), ([], 0))

    def test_now_after_sleep(self) -> None:
        """
        After a sleep, the first to be watched finds the time right.
        """
        self.ticker.forget(self.thing(1))
        self.clock.advance(500)
        thing = self.thing(1)
        self.assertEqual(self.ticker.now, 1500)
        self.wait(0.75)
        self.assertEqual(thing.passed, 0)

    def test_forgotten(self) -> None:
        """
        What is forgotten is left alone, even by an earlier one of the same tick.
        """
        things: list[Thing] = []

        def forget_all(thing: Thing) -> None:
            for each in things:
                self.ticker.forget(each)

        things.extend(self.thing(1, forget_all) for _ in range(3))
        self.wait(2)
        self.assertEqual(sum(thing.passed for thing in things), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watched_inside(self) -> None:
        """
        A new one may be watched from inside a deadline; there is one timer nevertheless.
        """
        made: list[Thing] = []
        self.thing(1, lambda thing: (self.ticker.forget(thing), made.append(self.thing(1))))
        self.wait(1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.wait(1.25)
        self.assertEqual(made[0].passed, 1)

    def test_moved_by_an_earlier_one(self) -> None:
        """
        A deadline that an earlier one of the same tick has moved does not pass.
        """
        things: list[Thing] = []

        def move(thing: Thing) -> None:
            for each in things:
                each.deadline = self.ticker.now + 100

        things.extend(self.thing(1, move) for _ in range(2))
        self.wait(2)
        self.assertEqual(sum(thing.passed for thing in things), 1)

    def test_fails(self) -> None:
        """
        One that fails is logged, and stops neither the others nor the clock.
        """

        def fail(thing: Thing) -> None:
            raise ZeroDivisionError

        self.thing(1, fail)
        things = [self.thing(1) for _ in range(5)]
        later = self.thing(2)
        self.wait(3)
        self.assertEqual([thing.passed for thing in things], [1] * 5)
        self.assertEqual(later.passed, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_soon(self) -> None:
        """
        The next turn comes without a tick.
        """
        calls: list[int] = []
        self.ticker.soon(lambda: calls.append(1))
        self.assertEqual(calls, [])
        self.clock.advance(0)
        self.assertEqual(calls, [1])
