"""
Tests for ``twistginx.observe.errorlog`` and ``twistginx.observe.sink``.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twistginx.observe.errorlog import ErrorLog, TwistdLog
from twistginx.observe.sink import Sink


def read(path):
    return Path(path).read_text(encoding="utf-8")


class SinkTests(SynchronousTestCase):
    """
    A sink appends to a file, makes what is missing, and follows a rotation.
    """

    def test_directories_are_made(self):
        """
        A log directory that does not exist yet is made.
        """
        path = str(Path(self.mktemp(), "logs", "a.log"))
        sink = Sink(path)
        sink.open()
        self.assertEqual(sink.write(b"one\n"), 4)
        sink.close()
        self.assertEqual(read(path), "one\n")

    def test_appends(self):
        """
        What was in the file stays, and writing opens a closed sink.
        """
        path = self.mktemp()
        for _ in range(2):
            sink = Sink(path)
            sink.write(b"line\n")
            sink.close()
        self.assertEqual(read(path), "line\nline\n")

    def test_reopen(self):
        """
        After a rename, lines go on in a new file.
        """
        path = self.mktemp()
        sink = Sink(path)
        sink.write(b"old\n")
        Path(path).rename(path + ".1")
        sink.write(b"still old\n")
        sink.reopen()
        sink.write(b"new\n")
        sink.close()
        self.assertEqual((read(path + ".1"), read(path)), ("old\nstill old\n", "new\n"))

    def test_reopen_fails(self):
        """
        When there can be no new file, the old one is kept.
        """
        directory = Path(self.mktemp())
        sink = Sink(str(directory / "a.log"))
        sink.open()
        old = directory.rename(f"{directory}.1")
        directory.touch()
        self.assertRaises(OSError, sink.reopen)
        sink.write(b"kept\n")
        sink.close()
        self.assertEqual(read(old / "a.log"), "kept\n")

    def test_fifo_without_reader(self):
        """
        A FIFO that nobody reads is an error; opening it does not wait for a reader.
        """
        path = self.mktemp()
        os.mkfifo(path)
        self.assertRaises(OSError, Sink(path).open)

    def test_standard(self):
        """
        Standard output and error are not opened, and survive a close.
        """
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            sink = Sink(name)
            sink.open()
            sink.reopen()
            sink.close()
            os.fstat(descriptor)
        self.assertFalse(Path("stderr").exists())


class ErrorLogTests(SynchronousTestCase):
    """
    The error log is made for people: a line each, nothing below its level, tracebacks only for failures.
    """

    def setUp(self):
        self.path = self.mktemp()
        self.log = ErrorLog(self.path, "info")
        self.addCleanup(self.log.close)

    def said(self, level=LogLevel.info, text="text", **event):
        """
        What the file says after one event.
        """
        event = {"log_time": 1763798400.5, "log_namespace": "twistginx.service", "log_level": level, **event}
        self.log({**event, "log_format": "{text}", "text": text})
        return read(self.path) if Path(self.path).exists() else ""

    def test_line(self):
        """
        Time, level, place, text.
        """
        self.assertTrue(verifyObject(ILogObserver, self.log))
        self.assertEqual(self.said(), "2025-11-22T08:00:00Z [info] twistginx.service: text\n")

    def test_journal(self):
        """
        Where systemd's journal reads it, every line has its priority, and no time; elsewhere it does not.
        """
        self.said()
        status = os.stat(self.path)
        self.patch(os, "environ", {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        text = self.said(LogLevel.error, "first\n<0>second")
        self.assertTrue(text.endswith("text\n<3>twistginx.service: first\n<3>    <0>second\n"), text)
        self.assertTrue(self.said(LogLevel.warn).endswith("\n<4>twistginx.service: text\n"))
        self.patch(os, "environ", {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        self.assertTrue(self.said().endswith("\n2025-11-22T08:00:00Z [info] twistginx.service: text\n"))

    def test_level(self):
        """
        What is less important than the level is not written; what says no level counts as information.
        """
        self.log = ErrorLog(self.path, "warn")
        self.assertEqual(self.said(LogLevel.debug) + self.said(LogLevel.info) + self.said(None), "")
        self.assertIn("[warn]", self.said(LogLevel.warn))
        self.assertIn("[critical]", self.said(LogLevel.critical))

    def broken(self):
        """
        A failure that has a traceback.
        """
        try:
            int("broken")
        except ValueError:
            return Failure()

    def test_failure(self):
        """
        A failure brings its traceback, indented.
        """
        text = self.said(LogLevel.critical, log_failure=self.broken())
        self.assertIn("\n    Traceback", text)
        self.assertIn("ValueError: invalid literal", text)
        self.assertTrue(all(line.startswith("    ") for line in text.splitlines()[1:]))

    def test_lines_of_one_event(self):
        """
        No text can look like another event, or talk to a terminal.
        """
        text = self.said(text="first\n2025-11-22T08:00:00Z [info] forged: \x1b[31m\r\x9b\n")
        self.assertEqual(text.count("\n2025"), 0)
        self.assertIn("first\n    2025-11-22T08:00:00Z [info] forged: \\x1B[31m\\x0D\\x9B\n", text)

    def test_surrogates(self):
        """
        Text that has no UTF-8 form is written nevertheless.
        """
        self.assertIn("\\udc80", self.said(text="\udc80"))

    def test_nothing(self):
        """
        An event without text writes nothing.
        """
        self.assertEqual(self.said(text=""), "")

    def test_unformattable(self):
        """
        A bug in a log call does not go further than the log.
        """
        self.log({"log_format": "{nope", "log_level": LogLevel.error, "log_time": 0.0})
        self.assertIn("1970-01-01T00:00:00Z [error] -: ", read(self.path))

    def test_disk_full(self):
        """
        What cannot be written is dropped.
        """
        ErrorLog("/dev/full")({"log_format": "text", "log_level": LogLevel.error, "log_time": 0.0})

    def test_adopt(self):
        """
        A reload changes the file and the level of the observer that is in force.
        """
        self.said(text="one")
        path = self.mktemp()
        self.log.adopt(ErrorLog(path, "error"))
        self.assertEqual((self.log.path, self.log.level), (path, "error"))
        self.said(LogLevel.info, "two")
        self.said(LogLevel.error, "three")
        self.assertIn("three", read(path))
        self.assertNotIn("two", read(path))
        self.assertNotIn("three", read(self.path))

    def test_reopen(self):
        """
        A rotation is followed.
        """
        self.said(text="one")
        Path(self.path).rename(self.path + ".1")
        self.log.reopen()
        self.assertNotIn("one", self.said(text="two"))

    def test_real_logger(self):
        """
        It takes what ``twisted.logger`` gives.
        """
        self.log.open()
        Logger("a.place", observer=self.log).warn("{count} of {things!r}", count=3, things="x")
        self.assertTrue(read(self.path).endswith("Z [warn] a.place: 3 of 'x'\n"))


class TwistdLogTests(SynchronousTestCase):
    """
    The log that is twistd's own can be reopened.
    """

    def test_reopen(self):
        """
        After a rename, lines go on in a new file, in Twisted's format.
        """
        path = str(Path(self.mktemp()).absolute())
        log = TwistdLog(path)
        self.addCleanup(log._file.close)
        logger = Logger("place", observer=log)
        logger.info("one")
        Path(path).rename(path + ".1")
        log.reopen()
        logger.info("two")
        self.assertIn("[place#info] one\n", read(path + ".1"))
        self.assertIn("[place#info] two\n", read(path))

    def test_reopen_fails(self):
        """
        When there can be no new file, the old one is kept.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        log = TwistdLog(str(directory / "t.log"))
        self.addCleanup(log._file.close)
        old = directory.rename(f"{directory}.1")
        self.assertRaises(OSError, log.reopen)
        Logger("place", observer=log).info("kept")
        self.assertIn("kept", read(old / "t.log"))
