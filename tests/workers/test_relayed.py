"""
Tests for ``twistginx.workers.relayed``.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twistginx.workers.relayed import Relay, RelayedLog


class RelayedTests(SynchronousTestCase):
    """
    What a worker logs arrives in the master's log.
    """

    def setUp(self) -> None:
        self.written: list[bytes] = []
        self.patch(os, "write", lambda descriptor, data: self.written.append(data))
        self.events: list[Any] = []
        self.relay = Relay("worker 2")
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        if event.get("origin") == "worker 2":
            self.events.append((event["log_level"], event["log_namespace"], formatEvent(event)))

    def test_event(self) -> None:
        """
        With its level, its namespace and its text, of several lines or not, however the pipe cuts it.
        """
        log = Logger(namespace="twistginx.http", observer=RelayedLog())
        log.error("it is {what}\nin two lines", what="\N{SNOWMAN}")
        for byte in b"".join(self.written):
            self.relay.received(bytes((byte,)))
        self.assertEqual(self.events, [(LogLevel.error, "twistginx.http", "worker 2: it is \N{SNOWMAN}\nin two lines")])

    def test_failure(self) -> None:
        """
        A traceback comes along.
        """
        log = Logger(namespace="a", observer=RelayedLog())
        log.failure("broken", Failure(ZeroDivisionError("boom")))
        self.relay.received(b"".join(self.written))
        self.assertIn("ZeroDivisionError: boom", self.events[0][2])

    def test_others(self) -> None:
        """
        What others write to standard error is logged line by line as a warning: the interpreter's last words, say.
        """
        self.relay.received(b"Fatal Python error: Aborted\n\x1enonsense\n  File")
        self.relay.received(b' "a.py"')
        self.relay.end()
        self.relay.end()
        self.assertEqual([level for level, _, _ in self.events], [LogLevel.warn] * 3)
        self.assertEqual(
            [text for _, _, text in self.events],
            ["worker 2: Fatal Python error: Aborted", "worker 2: \x1enonsense", 'worker 2:   File "a.py"'],
        )

    def test_endless(self) -> None:
        """
        A line without an end does not fill the memory.
        """
        for _ in range(20):
            self.relay.received(b"x" * 1000)
        self.assertGreaterEqual(len(self.events), 2)
