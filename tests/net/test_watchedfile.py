"""
Tests for twistginx.net.watchedfile.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import ConfigError
from twistginx.net.timers import Ticker
from twistginx.net.watchedfile import BOUND, WatchedFile


def number(content: bytes) -> int:
    """
    What these files say.
    """
    return int(content)


class WatchedFileTests(SynchronousTestCase):
    """
    A file that changes.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.time = 1_000_000_000
        self.write("1")
        self.file = WatchedFile(self.path, number, self.clock, Ticker(self.clock))
        self.file.start()
        self.addCleanup(self.file.stop)

    def write(self, text: str) -> None:
        """
        Write, at another time than before.
        """
        self.path.write_text(text)
        self.time += 1
        os.utime(self.path, (self.time, self.time))

    def wait(self, seconds: float = 3) -> None:
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)

    def test_changes(self) -> None:
        """
        What is written is what it says, seconds later; also where another file is put in its place.
        """
        self.assertEqual(self.file.value, 1)
        self.write("2")
        self.wait()
        self.assertEqual(self.file.value, 2)
        other = self.path.with_suffix(".new")
        other.write_text("3")
        other.replace(self.path)
        self.wait()
        self.assertEqual(self.file.value, 3)

    def test_settles(self) -> None:
        """
        A file that changes from look to look is not read: somebody is writing it.
        """
        for piece in ("2", "23", "234"):
            self.write(piece)
            self.wait(1)
            self.assertEqual(self.file.value, 1)
        self.wait()
        self.assertEqual(self.file.value, 234)

    def test_wrong(self) -> None:
        """
        A wrong file changes nothing, and is complained of once; a right one is taken again.
        """
        with capturedLogs() as events:
            self.write("x")
            self.wait(10)
            self.assertEqual(self.file.value, 1)
        complaints = [event for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(complaints), 1)
        self.assertIn("invalid literal", complaints[0]["complaint"])
        self.write("2")
        self.wait()
        self.assertEqual(self.file.value, 2)

    def test_gone(self) -> None:
        """
        The same for one that goes and comes back.
        """
        with capturedLogs() as events:
            self.path.unlink()
            self.wait(10)
        self.assertEqual((self.file.value, len(events)), (1, 1))
        self.write("2")
        self.wait()
        self.assertEqual(self.file.value, 2)

    def test_unreadable(self) -> None:
        """
        One that was written before we were allowed to read it is read when we are, and complained of once.
        """
        self.write("2")
        with capturedLogs() as events:
            with patch.object(Path, "open", side_effect=PermissionError(errno.EACCES, "Permission denied")):
                self.wait(6)
            self.assertEqual(self.file.value, 1)
            self.wait()
        self.assertEqual(self.file.value, 2)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error, LogLevel.info])

    def test_large(self) -> None:
        """
        What has more bytes than anybody would write is not read.
        """
        os.truncate(self.path, BOUND + 1)
        with capturedLogs() as events:
            self.wait()
        self.assertEqual(self.file.value, 1)
        self.assertIn("64 MiB", events[0]["complaint"])

    def test_mistake(self) -> None:
        """
        A mistake of whoever makes sense of it is logged, and changes nothing.
        """
        self.file._parse = lambda content: 1 // 0
        self.write("2")
        self.wait()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.file.value, 1)

    def test_stop(self) -> None:
        """
        It is looked at only while somebody wants that.
        """
        self.file.stop()
        self.write("2")
        self.wait()
        self.assertEqual(self.file.value, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_the_start(self) -> None:
        """
        A file that is not there, or is wrong, is an error of the configuration.
        """
        ticker = Ticker(self.clock)
        error = self.assertRaises(ConfigError, WatchedFile, self.path.with_suffix(".x"), number, self.clock, ticker)
        self.assertIn("cannot be read: No such file", str(error))
        self.write("x")
        error = self.assertRaises(ConfigError, WatchedFile, self.path, number, self.clock, ticker)
        self.assertIn("cannot be used: invalid literal", str(error))
