"""
Tests for twistginx.upstream.discovery.names, with a clock.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.timers import Ticker
from twistginx.upstream.discovery.lookup import Found
from twistginx.upstream.discovery.names import LONGEST, SHORTEST, Names, next_look
from twistginx.upstream.discovery.nameservers import ResolveError


class Oracle:
    """
    A resolver whose answers the test gives.

    :ivar asked: names, and the Deferreds of their answers.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Found]]] = []

    async def look_up(self, name: str) -> Found:
        """
        What the test will say.
        """
        answer: Deferred[Found] = Deferred()
        self.asked.append((name, answer))
        return await answer

    def say(self, *addresses: str, ttl: int = 10, v6: tuple[str, ...] | None = ()) -> None:
        """
        Answer the last question.
        """
        self.asked[-1][1].callback(Found((addresses, v6), ttl))

    def fail(self, why: str = "nobody answered") -> None:
        """
        Do not.
        """
        self.asked[-1][1].errback(ResolveError(why))


class Watcher:
    """
    Counts what it is told.
    """

    def __init__(self) -> None:
        self.told = 0

    def name_changed(self, host: str) -> None:
        """
        Count.
        """
        self.told += 1


class NamesCase(SynchronousTestCase):
    """
    Names of an oracle.
    """

    once = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock)
        self.oracle = Oracle()
        oracle: Any = self.oracle
        self.names = Names(oracle, self.ticker, self.once)
        self.watcher = Watcher()

    def advance(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.clock.pump([0.25] * int(seconds * 4))


class NamesTests(NamesCase):
    """
    Names are looked up in the background.
    """

    def test_found(self) -> None:
        """
        Watchers hear of the addresses when they are known.
        """
        name = self.names.watch("app", self.watcher)
        self.assertEqual((name.addresses, self.watcher.told), (None, 0))
        self.oracle.say("10.0.0.2", "10.0.0.1")
        self.assertEqual((name.addresses, self.watcher.told), (("10.0.0.1", "10.0.0.2"), 1))

    def test_one_question(self) -> None:
        """
        Whoever wants to know, there is one question for a name.
        """
        other = Watcher()
        self.assertIs(self.names.watch("app", self.watcher), self.names.watch("app", other))
        self.oracle.say("10.0.0.1")
        self.assertEqual(len(self.oracle.asked), 1)
        self.assertEqual((self.watcher.told, other.told), (1, 1))

    def test_again(self) -> None:
        """
        When the time to live is over, the name is looked up again; who watches hears of it when it has changed.
        """
        self.names.watch("app", self.watcher)
        self.oracle.say("10.0.0.1", ttl=20)
        self.advance(17)
        self.assertEqual(len(self.oracle.asked), 1)
        self.advance(6)
        self.assertEqual(len(self.oracle.asked), 2)
        self.oracle.say("10.0.0.1")
        self.assertEqual(self.watcher.told, 1)
        self.advance(12)
        self.oracle.say("10.0.0.2")
        self.assertEqual(self.watcher.told, 2)

    def test_failure_keeps(self) -> None:
        """
        What cannot be looked up stays what it was; the log says so once, and when it is over.
        """
        name = self.names.watch("app", self.watcher)
        self.oracle.say("10.0.0.1")
        with capturedLogs() as events:
            for _ in range(3):
                self.advance(70)
                self.oracle.fail()
            self.assertEqual(name.addresses, ("10.0.0.1",))
            self.assertEqual(name.error, "nobody answered")
            self.advance(70)
            self.oracle.say("10.0.0.1")
        self.assertEqual(name.error, "")
        self.assertEqual([event["log_level"].name for event in events], ["warn", "info"])
        self.assertEqual(events[0]["rest"], "what is known of it stays: 10.0.0.1")

    def test_unknown_from_the_start(self) -> None:
        """
        A name that was never found has no addresses, and watchers hear of that.
        """
        name = self.names.watch("app", self.watcher)
        self.oracle.fail()
        self.assertEqual((name.addresses, name.error, self.watcher.told), (None, "nobody answered", 1))
        self.advance(7)
        self.oracle.say("10.0.0.1")
        self.assertEqual((name.addresses, self.watcher.told), (("10.0.0.1",), 2))

    def test_broken_family(self) -> None:
        """
        A family that could not be looked up stays what it was.
        """
        name = self.names.watch("app", self.watcher)
        self.oracle.say("10.0.0.1", v6=("::1",))
        known = name.addresses
        self.advance(12)
        self.oracle.say("10.0.0.1", v6=None)
        self.assertEqual(name.addresses, known)

    def test_unwatch(self) -> None:
        """
        A name that nobody watches is not looked up any more.
        """
        self.names.watch("app", self.watcher)
        self.names.unwatch("app", self.watcher)
        self.assertEqual(len(self.ticker), 0)
        self.names.watch("app", self.watcher)
        self.assertEqual(len(self.oracle.asked), 2)


class OnceTests(NamesCase):
    """
    ``resolve = "once"``.
    """

    once = True

    def test_once(self) -> None:
        """
        What was found is not looked up again; what was not is.
        """
        self.names.watch("app", self.watcher)
        self.oracle.fail()
        self.advance(7)
        self.oracle.say("10.0.0.1", ttl=5)
        self.advance(300)
        self.assertEqual(len(self.oracle.asked), 2)


class NextLookTests(SynchronousTestCase):
    """
    When the next look is.
    """

    @given(st.floats(0, 1e6), st.integers(0, 1000), st.floats(0, 1))
    def test_bounds(self, ttl: float, failures: int, chance: float) -> None:
        """
        Never too soon, never too late.
        """
        self.assertTrue(SHORTEST <= next_look(ttl, failures, chance) <= LONGEST)

    def test_doubles(self) -> None:
        """
        Each failure in a row doubles the time.
        """
        self.assertEqual([next_look(30, failures, 0.5) for failures in range(6)], [30, 5, 10, 20, 40, 60])
