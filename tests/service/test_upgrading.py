"""
Tests for ``twistginx.service.upgrading``.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.service.upgrading import Upgrading


class Reactor(Clock):
    """
    Cannot start a process.
    """

    def spawnProcess(self, *_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory", "python")


class UpgradingTests(SynchronousTestCase):
    """
    An upgrade that cannot begin leaves everything as it was, and may be tried again.
    """

    def setUp(self) -> None:
        self.pid_file = self.mktemp()
        with open(self.pid_file, "w") as file:
            file.write("1")
        self.program: Any = SimpleNamespace(
            listeners={},
            stopping=False,
            generation=object(),
            twistd={"pidfile": self.pid_file},
            changing=DeferredLock(),
        )
        self.upgrading = Upgrading(self.program, Reactor())

    def upgrade(self) -> str:
        outcome = self.successResultOf(Deferred.fromCoroutine(self.upgrading.upgrade()))
        self.assertFalse(outcome.done)
        self.assertTrue(os.path.exists(self.pid_file))
        return outcome.text

    def test_no_interpreter(self) -> None:
        """
        Python has gone since the start: that is said, each time, and no descriptor is left open.
        """
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            self.assertIn("cannot be started: [Errno 2] No such file or directory", self.upgrade())
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_after_a_reload(self) -> None:
        """
        It waits for a reload that runs, so that the new process has the sockets that there are then; another one that
        is ordered meanwhile is refused.
        """
        self.successResultOf(self.program.changing.acquire())
        upgrading = Deferred.fromCoroutine(self.upgrading.upgrade())
        self.assertNoResult(upgrading)
        self.assertIn("already", self.upgrade())
        self.program.changing.release()
        self.assertIn("cannot be started", self.successResultOf(upgrading).text)
        self.assertFalse(self.program.changing.locked)

    def test_pid_file_of_root(self) -> None:
        """
        The pid file is where only root may rename it, and we have given up root.
        """

        def refuse(*_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(os, "replace", refuse)
        for _ in range(2):
            self.assertIn("Permission denied", self.upgrade())
