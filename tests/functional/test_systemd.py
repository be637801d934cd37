"""
A real ``twistd`` under what looks to it like systemd: its messages, its sockets, its journal.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.functional.peers import PATIENCE, REPOSITORY, Running, free_port, program, python_environment
from tests.functional.test_lifecycle import TWISTD, LifecycleTestCase, get, site
from tests.functional.test_workers import alive, children, shared

UNITS = Path(REPOSITORY[1]) / "etc" / "systemd"

#: What a service is started by: it has its sockets from 3 on, and knows that they are for it.
EXEC = """
import os, sys
descriptors = [int(each) for each in sys.argv[1].split(",") if each]
# Out of the way first: one may have the number that another one is to have.
descriptors = [os.dup2(each, 100 + place) for place, each in enumerate(descriptors)]
for place, each in enumerate(descriptors):
    os.dup2(each, 3 + place)
    os.close(each)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class SystemdTestCase(LifecycleTestCase):
    """
    What plays systemd.
    """

    def setUp(self) -> None:
        super().setUp()
        self.name = f"twistginx-test-{os.getpid()}-{time.monotonic_ns()}"
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.systemd.close)
        self.systemd.bind("\0" + self.name)
        #: All messages so far: who has sent it, and its lines.
        self.systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.messages: list[tuple[int, list[str]]] = []

    def serve_unit(self, config: str, *sockets: tuple[str, socket.socket], **environment: str) -> Running:
        """
        Start the service, as a unit has it.

        :param sockets: with their names.
        """
        self.rewrite(config)
        variables = python_environment() | {"NOTIFY_SOCKET": f"@{self.name}", "WATCHDOG_USEC": "1000000"} | environment
        if sockets:
            variables |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(name for name, _ in sockets)}
        descriptors = [sock.fileno() for _, sock in sockets]
        return self.start(
            *(sys.executable, "-c", EXEC, ",".join(map(str, descriptors))),
            *(TWISTD, "--nodaemon", "--pidfile=", "twistginx", "--config", "site.toml"),
            environment=variables,
            descriptors=descriptors,
        )

    def hear(self) -> None:
        """
        Take what was said.
        """
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self.systemd.recvmsg(4096, socket.CMSG_SPACE(12))
                pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
                self.messages.append((pid, data.decode().split("\n")))

    def said(self, pid: int, start: str = "") -> list[str]:
        """
        What a process has said that begins so.
        """
        self.hear()
        return [line for who, lines in self.messages if who == pid for line in lines if line.startswith(start)]

    def until(self, ready: Callable[[], object], what: str, running: Running | None = None) -> None:
        limit = time.monotonic() + PATIENCE
        while not ready():
            output = running.output() if running is not None else ""
            self.assertLess(time.monotonic(), limit, f"{what}\n{self.messages}\n{output}")
            time.sleep(0.02)

    def until_ready(self, running: Running, times: int = 1) -> None:
        self.until(lambda: self.said(running.pid).count("READY=1") >= times, "READY=1", running)


class NotifyTests(SystemdTestCase):
    """
    sd_notify(3), for Type=notify-reload and WatchdogSec=.
    """

    def test_life(self) -> None:
        """
        Ready when it serves, alive, reloading and ready again with what has changed or why not, and stopping.
        """
        port = free_port()
        running = self.serve_unit(site(port))
        self.until_ready(running)
        self.assertEqual(get(port), b"one")
        self.assertEqual(self.messages[0][1][0], "READY=1")
        self.assertIn(f"STATUS=serving on tcp:{port}:interface=127.0.0.1", self.messages[0][1])
        self.until(lambda: len(self.said(running.pid, "WATCHDOG=1")) >= 3, "signs of life")

        asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.rewrite(site(port, body="two"))
        os.kill(running.pid, signal.SIGHUP)
        self.until_ready(running, 2)
        self.assertEqual(get(port), b"two")
        [stamp] = self.said(running.pid, "MONOTONIC_USEC=")
        self.assertGreaterEqual(int(stamp.partition("=")[2]), asked)
        self.assertTrue(any("; reloaded: " in line for line in self.said(running.pid, "STATUS=serving on ")))

        self.rewrite("nonsense")
        os.kill(running.pid, signal.SIGHUP)
        self.until_ready(running, 3)
        texts = self.said(running.pid, "STATUS=serving on ")
        self.assertRegex(texts[-1], r"; a reload was refused: .*site\.toml:1:")
        states = [line for line in self.said(running.pid) if line in ("READY=1", "RELOADING=1", "STOPPING=1")]
        self.assertEqual(states, ["READY=1", "RELOADING=1"] * 2 + ["READY=1"])

        self.assertEqual(running.stop(signal.SIGQUIT), 0)
        self.assertEqual(self.said(running.pid, "STATUS=")[-1], "STATUS=draining, 20 s at most")
        self.assertEqual(self.said(running.pid, "EXTEND_TIMEOUT"), ["EXTEND_TIMEOUT_USEC=35000000"])
        self.assertEqual(self.said(running.pid, "STOPPING"), ["STOPPING=1"])

    def test_failure(self) -> None:
        """
        One that cannot start is never ready, and says why.
        """
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            running = self.serve_unit(site(taken.getsockname()[1]))
            self.until(lambda: self.said(running.pid, "STATUS=twistginx cannot start: tcp:"), "the reason", running)
            self.assertEqual(running.stop(0), 1)
        self.assertEqual(self.said(running.pid, "READY"), [])
        running = self.serve_unit("nonsense")
        self.until(lambda: any("site.toml:1:" in line for line in self.said(running.pid)), "the reason", running)
        self.assertEqual(running.stop(0), 1)

    def test_hangs(self) -> None:
        """
        The signs of life come from the reactor: one that does not turn gives none.
        """
        port = free_port()
        running = self.serve_unit(site(port))
        self.until(lambda: self.said(running.pid, "WATCHDOG=1"), "a sign of life")
        os.kill(running.pid, signal.SIGSTOP)
        time.sleep(0.1)
        self.hear()
        before = len(self.messages)
        time.sleep(1.0)
        self.hear()
        self.assertEqual(len(self.messages), before)
        os.kill(running.pid, signal.SIGCONT)
        self.until(lambda: len(self.said(running.pid)) > before, "a sign of life")

    def test_stop_before_it_serves(self) -> None:
        """
        One that is told to stop while it begins does not go on to serve for ever.
        """
        running = self.serve_unit(shared(site(free_port())))
        self.until(lambda: children(running.pid), "a worker")
        self.assertIn(running.stop(signal.SIGQUIT), (0, -signal.SIGQUIT))


class SocketTests(SystemdTestCase):
    """
    Sockets by name, with workers, through reloads and upgrades.
    """

    def bound(self, family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_server((host, 0), family=family, backlog=16)
        self.addCleanup(sock.close)
        return sock

    @staticmethod
    def on(name: str, body: str = "one", domain: str = "INET") -> str:
        return site(1, body=body).replace('"tcp:1:interface=127.0.0.1"', f'"systemd:domain={domain}:name={name}"')

    def test_named(self) -> None:
        """
        Each listener has the socket of its name, in all workers; a reload goes from one to another and back, and an
        upgrade takes all along, with systemd told who is the main process now.
        """
        http, https, spare = self.bound(), self.bound(), self.bound()
        port, other = http.getsockname()[1], https.getsockname()[1]
        running = self.serve_unit(shared(self.on("http")), ("https", https), ("http", http), ("spare", spare))
        self.until_ready(running)
        self.assertEqual({get(port) for _ in range(10)}, {b"one"})
        self.assertEqual(len(children(running.pid)), 2)
        self.assertIn(
            f"systemd passed the socket 'spare' (127.0.0.1:{spare.getsockname()[1]}), and no listener is for it",
            running.output(),
        )

        self.rewrite(shared(self.on("https", "two")))
        os.kill(running.pid, signal.SIGHUP)
        self.until_ready(running, 2)
        self.assertEqual({get(other) for _ in range(10)}, {b"two"})

        self.rewrite(shared(self.on("http", "three")))
        os.kill(running.pid, signal.SIGUSR2)
        self.until(lambda: self.said(running.pid, "MAINPID="), "a successor", running)
        new = int(self.said(running.pid, "MAINPID=")[0].partition("=")[2])
        self.addCleanup(self.end, new)
        self.assertEqual({get(port) for _ in range(10)}, {b"three"})
        self.until(lambda: self.said(new, "WATCHDOG=1"), "a sign of life of the successor", running)
        self.assertEqual(running.stop(0), 0)
        self.assertEqual(self.said(running.pid, "STOPPING"), [])
        self.assertRegex(self.said(new, "STATUS=")[0], "^STATUS=[0-9]+ connected; serving on systemd:")
        os.kill(new, signal.SIGTERM)
        self.until(lambda: self.said(new, "STOPPING=1") and not alive(new), "the end", running)

    @staticmethod
    def end(pid: int) -> None:
        for each in (*children(pid), pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def test_two_of_one_name(self) -> None:
        """
        Two addresses of one unit have one name.  One is served, and of the other it is said that nobody does.
        """
        first, second = self.bound(), self.bound()
        running = self.serve_unit(shared(self.on("http")), ("http", first), ("http", second))
        running.wait_for(lambda: "with 2 workers" in running.output(), "serving")
        self.assertEqual(running.output().count("systemd passed the socket 'http'"), 1)
        self.assertEqual(get(second.getsockname()[1]), b"one")

    def test_wrong(self) -> None:
        """
        A name that was not passed, and a socket of another family, are said, and what would be right.
        """
        for config, sock, expected in (
            (self.on("nobody"), self.bound(), r"systemd passed no such socket \('nobody'\)"),
            (self.on("http"), self.bound(socket.AF_INET6, "::1"), "another family: expected domain=INET6"),
        ):
            running = self.serve_unit(config, ("http", sock))
            self.until(lambda running=running: not alive(running.pid), "the end", running)
            self.assertEqual(running.stop(0), 1)
            self.assertRegex(running.output(), expected)

    def test_activated(self) -> None:
        """
        systemd's own ``systemd-socket-activate`` starts us on the first connection, which is served.
        """
        activate = program("systemd-socket-activate")
        port = free_port()
        self.rewrite(self.on("http"))
        environment = python_environment()
        setenv = [f"--setenv={name}={environment[name]}" for name in ("PYTHONPATH", "PATH", "PYTHONWARNINGS")]
        running = self.start(
            *(activate, f"--listen=127.0.0.1:{port}", "--fdname=http", *setenv),
            *(TWISTD, "--nodaemon", "--pidfile=", "twistginx", "--config", "site.toml"),
            environment=environment,
        )
        running.wait_for(lambda: "Listening on" in running.output(), "listening")
        self.assertEqual([get(port), get(port)], [b"one", b"one"])
        self.assertIn("serving on systemd:", running.output())


class JournalTests(SystemdTestCase):
    """
    Standard error is the journal.
    """

    def test_priorities(self) -> None:
        """
        Each line of the master and of the workers begins with its priority, and no time.
        """
        port = free_port()
        self.rewrite(shared(site(port)))
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        status = os.fstat(theirs.fileno())
        with (
            theirs,
            subprocess.Popen(
                [TWISTD, "--nodaemon", "--pidfile=", "twistginx", "--config", "site.toml"],
                cwd=self.directory,
                env=python_environment() | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=theirs,
                start_new_session=True,
            ) as process,
        ):
            theirs.close()
            ours.settimeout(PATIENCE)
            text = b""
            try:
                while b"with 2 workers" not in text:
                    text += ours.recv(65536)
                os.kill(children(process.pid)[0], signal.SIGKILL)
                self.rewrite("nonsense")
                os.kill(process.pid, signal.SIGHUP)
                while b"nothing has changed" not in text or b"was killed by" not in text:
                    text += ours.recv(65536)
                process.send_signal(signal.SIGTERM)
                while more := ours.recv(65536):
                    text += more
            finally:
                process.kill()
        lines = text.decode().splitlines()
        for line in lines:
            self.assertRegex(line, r"^<[2-7]>(    |(worker \d: )?[A-Za-z_.]+: )")
        self.assertTrue(any(line.startswith("<6>twistginx.service: serving on tcp:") for line in lines))
        self.assertTrue(any(re.match("<3>twistginx.workers: worker ., process .*killed", line) for line in lines), text)
        self.assertTrue(any(line.startswith("<3>    ") and "site.toml:1:" in line for line in lines), text)


class UnitTests(LifecycleTestCase):
    """
    The units that are shipped.
    """

    def test_verify(self) -> None:
        """
        systemd understands them, but for what is newer than it is.
        """
        analyze = program("systemd-analyze")
        for path in UNITS.iterdir():
            shutil.copy(path, self.directory)
        service = self.directory / "twistginx.service"
        # What is to be executed must be there.
        service.write_text(service.read_text().replace("/opt/twistginx/bin/twistginx", sys.executable))
        done = self.run_to_end(analyze, "verify", "--man=no", str(service), str(self.directory / "twistginx.socket"))
        if "Failed to connect" in done.stderr or "Operation not permitted" in done.stderr:
            self.skipTest(f"systemd-analyze does not work here: {done.stderr}")
        newer = ("RestartSteps", "RestartMaxDelaySec", "notify-reload")  # 254, 254, 253
        wrong = [line for line in done.stderr.splitlines() if not any(each in line for each in newer)]
        self.assertEqual([line for line in wrong if "twistginx." in line], [])
