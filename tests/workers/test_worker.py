"""
Tests for ``twistginx.workers.worker``.
"""

from __future__ import annotations

import faulthandler
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.workers.worker import Worker


class WatchdogTests(SynchronousTestCase):
    """
    A worker that hangs ends itself, if nobody else does.
    """

    def test_turns(self) -> None:
        """
        Each turn puts the end off, until after the master would have acted by the configuration in force; before
        there is one, there is nothing to put off.
        """
        ends: list[tuple[float, dict[str, bool]]] = []
        self.patch(faulthandler, "dump_traceback_later", lambda seconds, **how: ends.append((seconds, how)))
        worker: Any = Worker()
        worker._turns()
        worker.service = SimpleNamespace(generation=None)
        worker._turns()
        self.assertEqual(ends, [])
        for timeout in (30.0, 1.5):
            process = SimpleNamespace(worker_timeout=timeout)
            worker.service.generation = SimpleNamespace(root=SimpleNamespace(process=process))
            worker._turns()
            worker._turns()
            self.assertEqual(ends[-2:], [(timeout + 5, {"exit": True})] * 2)
