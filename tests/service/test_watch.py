"""
Tests for ``twistginx.service.watch``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.service.watch import INTERVAL, Watch


class Disk:
    """
    Files that are as the test says.
    """

    changed: tuple[Any, ...] = ()


class WatchTests(SynchronousTestCase):
    """
    A change is acted upon once, when it is complete.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.acted = 0
        self.watch = Watch(self.clock, self.act)
        self.disk: Any = Disk()
        self.watch.watch(self.disk)

    def act(self) -> None:
        self.acted += 1

    def look(self, *changed: Any) -> int:
        """
        One look, at files that have changed so.
        """
        self.disk.changed = changed
        self.clock.advance(INTERVAL)
        return self.acted

    def test_change(self) -> None:
        """
        When the files have been left alone for a look.
        """
        self.assertEqual([self.look(), self.look("a"), self.look("a"), self.look("a")], [0, 0, 1, 1])

    def test_being_written(self) -> None:
        """
        Not before that.
        """
        self.assertEqual([self.look(size) for size in (1, 2, 3, 4, 4)], [0, 0, 0, 0, 1])

    def test_refused(self) -> None:
        """
        What was refused is tried again when it changes, and also when it had changed back in between.
        """
        self.look("bad")
        self.assertEqual([self.look("bad"), self.look("bad"), self.look("good"), self.look("good")], [1, 1, 1, 2])
        self.look()
        self.look("good")
        self.assertEqual(self.look("good"), 3)

    def test_stop(self) -> None:
        """
        Other files can be watched, or none.
        """
        self.watch.watch(self.disk)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.watch.watch(None)
        self.watch.watch(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
