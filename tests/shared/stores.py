"""
What every store does, whatever it is made of.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import inlineCallbacks, maybeDeferred


class StoreTests:
    """
    Mixed into a C{TestCase} that has a C{store}, and a C{now} that tells its time.
    """

    store: Any

    def now(self) -> float:
        return 1000.0

    def ask(self, method: str, *arguments: Any) -> Any:
        return maybeDeferred(getattr(self.store, method), *arguments)

    @inlineCallbacks
    def often(self, number: int, method: str, *arguments: Any):
        """
        Ask so often, one after the other; all answers.
        """
        answers: list[Any] = []
        while len(answers) < number:
            answers.append((yield self.ask(method, *arguments)))
        return answers

    @inlineCallbacks
    def test_take(self):
        """
        A bucket has its burst, for each key.
        """
        now = self.now()
        for key in (b"a", b"b", b"k" * 1000, b"\x00\xff"):
            verdicts = yield self.often(8, "take", key, 0.1, 5.0, now)
            self.assertEqual([each.admitted for each in verdicts], [True] * 5 + [False] * 3)
            self.assertEqual([round(each.left) for each in verdicts[:5]], [4, 3, 2, 1, 0])
            self.assertTrue(0 < verdicts[-1].wait <= 10.0, verdicts[-1])

    @inlineCallbacks
    def test_give_back(self):
        """
        What is given back can be taken again, and a full bucket stays full.
        """
        now = self.now()
        for given, left in ((1, 1), (2, 2), (9, 3)):
            yield self.often(4, "take", b"g%d" % given, 0.01, 3.0, now)
            yield self.often(given, "take", b"g%d" % given, 0.01, 3.0, now, -1.0)
            verdicts = yield self.often(5, "take", b"g%d" % given, 0.01, 3.0, now)
            self.assertEqual([each.admitted for each in verdicts].count(True), left)
        yield self.ask("take", b"new", 0.01, 3.0, now, -1.0)
        verdicts = yield self.often(5, "take", b"new", 0.01, 3.0, now)
        self.assertEqual([each.admitted for each in verdicts].count(True), 3)

    @inlineCallbacks
    def test_delay(self):
        """
        A delay is given out in turn, and a cost of many is that of as many.
        """
        now = self.now()
        waits = []
        for cost in (2.0, 1.0, 2.0, 9.0):
            verdict = yield self.ask("take", b"d", 1.0, 2.0, now, cost, 4.0)
            waits.append((verdict.admitted, round(verdict.wait)))
        self.assertEqual(waits, [(True, 0), (True, 1), (True, 3), (False, 8)])

    @inlineCallbacks
    def test_hold(self):
        """
        No more are held than the limit; what is released can be held again.
        """
        now = self.now()
        held = yield self.often(4, "acquire", b"c", 3, now)
        self.assertEqual(held, [True, True, True, False])
        self.assertTrue((yield self.ask("acquire", b"other", 3, now)))
        self.store.release(b"c")
        self.assertTrue((yield self.ask("acquire", b"c", 3, now)))
        self.assertFalse((yield self.ask("acquire", b"c", 3, now)))
        for _ in range(3):
            self.store.release(b"c")
        self.assertTrue((yield self.ask("acquire", b"c", 1, now)))
        self.store.release(b"c")
        self.store.release(b"other")

    @inlineCallbacks
    def test_release_too_much(self):
        """
        A release of what is not held gives nobody more.
        """
        self.store.release(b"never")
        now = self.now()
        self.assertTrue((yield self.ask("acquire", b"never", 1, now)))
        self.assertFalse((yield self.ask("acquire", b"never", 1, now)))
        self.store.release(b"never")

    @inlineCallbacks
    def test_values(self):
        """
        A value is what was put last, and its version grows.
        """
        now = self.now()
        self.assertIsNone((yield self.ask("get", b"v", now)))
        first = yield self.ask("put", b"v", b"up \x00\xff", 60.0, now)
        second = yield self.ask("put", b"v", b"down", 60.0, now)
        third = yield self.ask("put", b"w", b"", 60.0, now)
        self.assertTrue(first < second < third)
        self.assertEqual((yield self.ask("get", b"v", now)), (b"down", second))
        self.assertEqual((yield self.ask("get", b"w", now)), (b"", third))
        longest = b"x" * 400
        yield self.ask("put", b"v", longest, 60.0, now)
        self.assertEqual((yield self.ask("get", b"v", now))[0], longest)
        with self.assertRaises(ValueError):
            yield self.ask("put", b"v", b"x" * 401, 60.0, now)
