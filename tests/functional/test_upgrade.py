"""
SIGUSR2: another process takes over, or nothing has changed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from tests.functional.peers import PATIENCE, Running, free_port
from tests.functional.test_lifecycle import TWISTD, Client, LifecycleTestCase, get, site
from tests.functional.test_workers import alive, children, shared


class UpgradeTests(LifecycleTestCase):
    """
    Upgrades of a real server.
    """

    def pid(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self.read("server.pid"))
        return 0

    def until(self, ready, what: str) -> None:
        limit = time.monotonic() + PATIENCE
        while not ready():
            self.assertLess(time.monotonic(), limit, f"{what}\n{self.read('error.log')}")
            time.sleep(0.02)

    def upgraded(self, old: int, running: Running | None = None) -> int:
        """
        Upgrade; the process id of the new one.
        """
        os.kill(old, signal.SIGUSR2)
        self.until(lambda: self.pid() not in (0, old), "a new process")
        new = self.pid()
        self.addCleanup(self.end, new)
        self.until(lambda: not alive(old), "the end of the old one")
        self.assertFalse((self.directory / "server.pid.oldbin").exists())
        return new

    @staticmethod
    def end(pid: int) -> None:
        for each in (*children(pid), pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def test_foreground(self) -> None:
        """
        The new process serves with what the file says now, on the same sockets, or beside one that it does not want; a
        connection that is kept alive is told to close, and the old one ends with status 0.  The pid file is the new
        one's.  So it may become a master.
        """
        port = free_port()
        running = self.serve(site(port), port, options=("--pidfile=server.pid",))
        client = Client(port)
        self.addCleanup(client.socket.close)
        client.ask()
        client.answer()
        self.rewrite(shared(site(port, body="two").replace(":interface=127.0.0.1", "")))
        new = self.upgraded(running.pid)
        self.assertEqual(get(port), b"two")
        self.assertEqual(len(children(new)), 2)
        self.assertEqual(running.stop(0), 0)
        os.kill(new, signal.SIGTERM)
        self.until(lambda: not alive(new) and not self.pid(), "the end")
        self.assertNotIn("Traceback", running.output())

    def test_failures(self) -> None:
        """
        A new process that does not come to serve, because of its configuration or because it is not there, changes
        nothing: the old one serves on, has its pid file, and says why.
        """
        port = free_port()
        running = self.serve(site(port), port, options=("--pidfile=server.pid",))
        self.rewrite("nonsense")
        os.kill(running.pid, signal.SIGUSR2)
        running.wait_for(lambda: "was not upgraded" in running.output(), "the refusal")
        self.assertIn(
            "serves on: site.toml:1:".replace("site.toml", str(self.directory / "site.toml")), running.output()
        )
        self.assertEqual((self.pid(), get(port)), (running.pid, b"one"))
        self.rewrite(site(port, body="two").replace('access = "off"', 'access = "/dev/null/log"'))
        os.kill(running.pid, signal.SIGUSR2)
        running.wait_for(lambda: running.output().count("was not upgraded") == 2, "the refusal")
        self.assertEqual((self.pid(), get(port)), (running.pid, b"one"))

    def test_daemon(self) -> None:
        """
        A daemon is followed by a daemon.
        """
        port = free_port()
        self.rewrite(site(port, log='access = "off"\nerror = "error.log"'))
        done = self.run_to_end(TWISTD, "--pidfile=server.pid", "twistginx", "--config", "site.toml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.addCleanup(self.end, self.pid())
        self.rewrite(site(port, log='access = "off"\nerror = "error.log"', body="two"))
        new = self.upgraded(self.pid())
        self.assertEqual(get(port), b"two")
        self.assertIn(f"process {new} has taken over", self.read("error.log"))
        os.kill(new, signal.SIGTERM)
        self.until(lambda: not alive(new) and not self.pid(), "the end")
        self.assertNotIn("Traceback", self.read("error.log"))
