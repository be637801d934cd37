"""
Tests for ``twistginx.service.upgrade``.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.service.upgrade import PATIENCE, PidFile, Predecessor, Successor, UpgradeError

VARIABLE = "TWISTGINX_PREDECESSOR"


class Reactor(Clock):
    """
    Starts no process, and keeps what it would have been given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.line: socket.socket

    def spawnProcess(self, protocol: Any, path: str, arguments: Any, environment: Any, cwd: str, childFDs: Any) -> None:
        self.environment = {VARIABLE: str(os.dup(childFDs[int(environment[VARIABLE])]))}

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


class HandoverTests(SynchronousTestCase):
    """
    The old process and the new one, in one.
    """

    def start(self, count: int = 1) -> Predecessor:
        """
        Start the upgrade of a server with so many sockets; what the new process knows of the old one.
        """
        self.reactor = Reactor()
        sockets = []
        for number in range(count):
            sock = socket.socket()
            self.addCleanup(sock.close)
            sockets.append((("tcp", "127.0.0.1", number), sock))
        self.outcome = Successor(self.reactor).start(sockets)
        predecessor = Predecessor.from_environment(self.reactor.environment)
        assert predecessor is not None
        self.addCleanup(predecessor.close_sockets)
        return predecessor

    def turn(self) -> None:
        """
        The old process reads.
        """
        for reader in tuple(self.reactor.readers):
            reader.doRead()

    def test_nobody(self) -> None:
        """
        A process that nobody started to take over replaces nobody.
        """
        self.assertIsNone(Predecessor.from_environment({}))

    def test_serves(self) -> None:
        """
        The sockets arrive, however many; when the new process serves, the old one hears it.
        """
        new = self.start(300)
        self.assertEqual(set(new.sockets), {("tcp", "127.0.0.1", number) for number in range(300)})
        self.assertEqual(self.reactor.environment, {})
        self.turn()
        self.assertNoResult(self.outcome)
        new.serving()
        self.turn()
        self.assertEqual(self.successResultOf(self.outcome), os.getpid())
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_fails(self) -> None:
        """
        When it cannot, the old one hears why.
        """
        new = self.start()
        self.turn()
        new.failed("site.toml:1:1: wrong")
        self.turn()
        self.assertEqual(str(self.failureResultOf(self.outcome, UpgradeError).value), "site.toml:1:1: wrong")

    def test_ends(self) -> None:
        """
        When it just ends, that is known, too.
        """
        new = self.start()
        self.turn()
        new._close()
        self.turn()
        self.assertIn("ended", str(self.failureResultOf(self.outcome, UpgradeError).value))

    def test_late(self) -> None:
        """
        A new process that does nothing is ended.
        """
        killed: list[Any] = []
        self.patch(os, "kill", lambda *call: killed.append(call))
        self.start()
        self.turn()
        self.reactor.advance(PATIENCE)
        self.failureResultOf(self.outcome, UpgradeError)
        self.assertEqual(killed, [(os.getpid(), 9)])
        self.assertEqual(self.reactor.readers, [])

    def test_old_one_is_gone(self) -> None:
        """
        The new process serves whether or not the old one is there to hear it.
        """
        new = self.start()
        self.turn()
        self.reactor.readers[0].connectionLost()
        new.serving()
        new.failed("nobody hears this")


class PidFileTests(SynchronousTestCase):
    """
    twistd removes the file that its options name, at the end.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.aside = self.path.with_name(self.path.name + ".oldbin")
        self.options = {"pidfile": str(self.path)}

    def test_aside(self) -> None:
        """
        It is moved, and twistd told so.
        """
        self.path.write_text("1")
        PidFile(self.options).step_aside()
        self.assertEqual((self.path.exists(), self.aside.read_text()), (False, "1"))
        self.assertEqual(self.options, {"pidfile": str(self.aside)})

    def test_aside_of_two(self) -> None:
        """
        That of the process that we have replaced, and that still drains, is left alone.
        """
        self.path.write_text("2")
        self.aside.write_text("1")
        file = PidFile(self.options)
        file.step_aside()
        self.assertEqual(self.aside.read_text(), "1")
        self.aside.unlink()  # it ends
        file.step_back()
        self.assertEqual(self.path.read_text(), "2")

    def test_back(self) -> None:
        """
        It is moved back, also over one that the successor has left.
        """
        self.path.write_text("1")
        file = PidFile(self.options)
        file.step_aside()
        self.path.write_text("2")
        file.step_back()
        self.assertEqual((self.path.read_text(), self.aside.exists()), ("1", False))
        self.assertEqual(self.options, {"pidfile": str(self.path)})

    def test_none(self) -> None:
        """
        Where there is no such file, nothing is done.
        """
        for options in ({}, {"pidfile": ""}, {"pidfile": None}, self.options):
            before = dict(options)
            file = PidFile(options)
            file.step_aside()
            file.step_back()
            self.assertEqual(options, before)
