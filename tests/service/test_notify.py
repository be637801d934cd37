"""
Tests for ``twistginx.service.notify``.
"""

from __future__ import annotations

import os
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from twistginx.service.notify import QUIET, SystemdStatus
from twistginx.service.status import Status


class NotifyTestCase(SynchronousTestCase):
    """
    What has a socket, as systemd has.
    """

    def setUp(self):
        # Abstract: a path of trial's may be too long.
        self.address = f"@twistginx-test-{os.getpid()}-{id(self)}"
        self.systemd = self.bound(f"\0{self.address[1:]}")

    def bound(self, address):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(sock.close)
        sock.bind(address)
        return sock

    def heard(self, sock=None):
        """
        The messages since the last call, each as a list of its lines.
        """
        messages = []
        while True:
            try:
                messages.append((sock or self.systemd).recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages

    def status(self, *args, **kwargs):
        status = SystemdStatus(self.address, *args, **kwargs)
        self.addCleanup(status._socket.close)
        return status


class LifeTests(NotifyTestCase):
    """
    What is said of a life.
    """

    def test_ready(self):
        """
        The text is one line, whatever is in it, and no other assignment.
        """
        self.status().ready("serving on a\nMAINPID=1")
        self.assertEqual(self.heard(), [["READY=1", "STATUS=serving on a MAINPID=1"]])

    def test_reloading(self):
        """
        The stamp is of now, on the clock that systemd asks.
        """
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.status().reloading()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        [[reloading, stamp, text]] = self.heard()
        self.assertEqual((reloading, text), ("RELOADING=1", "STATUS=reloading"))
        self.assertTrue(before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= after)

    def test_stopping(self):
        """
        systemd waits as long as connections may take, and a little more.
        """
        status = self.status()
        status.ready("serving")
        self.heard()
        status.stopping("draining", 600)
        self.assertEqual(self.heard(), [["STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=615000000"]])
        for _ in range(30):
            status.alive(5)
        self.assertEqual(self.heard(), [])

    def test_failed(self):
        """
        Why it cannot start is the last text of a service.
        """
        self.status().failed("cannot start:\nno")
        self.assertEqual(self.heard(), [["STATUS=cannot start: no"]])

    def test_nobody_listens(self):
        """
        Without systemd, or with one that takes nothing, nothing is said and nothing fails.
        """
        status = self.status()
        self.systemd.close()
        status.ready("serving")

    def test_path(self):
        """
        The address may be a path.
        """
        directory = os.path.relpath(self.mktemp())
        os.makedirs(directory)
        path = os.path.join(directory, "n")
        systemd = self.bound(path)
        status = SystemdStatus(path)
        self.addCleanup(status._socket.close)
        status.ready("serving")
        self.assertEqual(self.heard(systemd), [["READY=1", "STATUS=serving"]])


class AliveTests(NotifyTestCase):
    """
    Signs of life, and how many are connected.
    """

    def test_watched(self):
        """
        Each call is a sign of life, and so is everything else; they come twice in the time that systemd waits.
        """
        status = self.status(1.5)
        self.assertEqual(status.interval, 0.75)
        status.ready("serving")
        status.alive(0)
        status.alive(0)
        self.assertEqual(
            self.heard(),
            [
                ["READY=1", "STATUS=serving", "WATCHDOG=1"],
                ["STATUS=0 connected; serving", "WATCHDOG=1"],
                ["WATCHDOG=1"],
            ],
        )

    def test_patient(self):
        """
        Where systemd waits for minutes, or does not look, a second is enough.
        """
        self.assertEqual([self.status(300.0).interval, self.status().interval], [1.0, 1.0])

    def test_quiet(self):
        """
        How many are connected is said when it has changed, and not more often than every ten seconds.
        """
        status = self.status()
        status.ready("serving")
        self.heard()
        for connections in range(25):
            status.alive(connections)
        self.assertEqual(self.heard(), [[f"STATUS={int(QUIET) * number} connected; serving"] for number in range(3)])
        for _ in range(15):
            status.alive(20)
        self.assertEqual(self.heard(), [])


class SuccessionTests(NotifyTestCase):
    """
    An upgrade: systemd hears one process, and then the other.
    """

    def test_old(self):
        """
        The old one names the new one, with its own last text, and is silent: systemd would take that for the service.
        """
        status = self.status(30.0)
        status.ready("serving")
        self.heard()
        status.succeeded(4711)
        status.stopping("draining")
        status.alive(0)
        self.assertEqual(self.heard(), [["MAINPID=4711", "READY=1", "STATUS=serving", "WATCHDOG=1"]])

    def test_new(self):
        """
        The new one begins to speak when it has been named, which is soon after it serves.
        """
        status = self.status(30.0, succeeds=True)
        status.failed("no")
        status.ready("serving")
        self.assertEqual(self.heard(), [])
        status.alive(1)
        status.alive(1)
        self.assertEqual(self.heard(), [["STATUS=1 connected; serving", "WATCHDOG=1"], ["WATCHDOG=1"]])


class EnvironmentTests(SynchronousTestCase):
    """
    What systemd says in the environment.
    """

    def test_table(self):
        """
        There must be an address that we can send to; the watchdog must be for this process, or for whom we succeed.
        """
        mine, other = str(os.getpid()), "1"
        for expected, succeeds, environment in (
            (None, False, {}),
            (None, False, {"NOTIFY_SOCKET": ""}),
            (None, False, {"NOTIFY_SOCKET": "vsock:2:1234"}),
            (None, False, {"NOTIFY_SOCKET": "relative"}),
            ((1.0, False), False, {"NOTIFY_SOCKET": "/run/n"}),
            ((1.0, False), False, {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "nonsense"}),
            ((1.0, False), False, {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "0"}),
            ((0.5, True), False, {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1000000"}),
            ((0.5, True), False, {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": mine}),
            ((1.0, False), False, {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": other}),
            ((0.5, True), True, {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": other}),
        ):
            with self.subTest(environment=environment, succeeds=succeeds):
                status = SystemdStatus.from_environment(environment, succeeds=succeeds)
                if expected is None:
                    self.assertIs(type(status), Status)
                else:
                    self.assertEqual((status.interval, status._watched), expected)
                    status._socket.close()
                self.assertNotIn("WATCHDOG_PID", environment)
