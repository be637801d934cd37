"""
A real master and its workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.functional.peers import PATIENCE, Running, accepts, free_port, python_environment
from tests.functional.test_lifecycle import TWISTD, TWISTGINX, Client, LifecycleTestCase, get, proxy, site

WORKERS = '[process]\nworkers = 2\ncontrol = "control.sock"\n'


def shared(config: str, more: str = "") -> str:
    """
    The same configuration, with two workers.
    """
    return config.replace("[process]\n", WORKERS + more)


def children(pid: int) -> list[int]:
    """
    The processes that a process has started.
    """
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid: int) -> bool:
    """
    Is there such a process, and no zombie?
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class WorkersTestCase(LifecycleTestCase):
    """
    What starts a master.
    """

    def serve(self, config: str, *ports: int, options: tuple[str, ...] = ()) -> Running:
        running = super().serve(config, *ports, options=options)
        running.wait_for(lambda: "with 2 workers" in running.output() + self.read("error.log"), "two workers")
        return running

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """
        ``twistginx ctl``.
        """
        return self.run_to_end(*TWISTGINX, "ctl", "--config", "site.toml", *arguments)

    def order(self, command: str, **arguments: object) -> dict[str, Any]:
        """
        The same, without a Python of its own.
        """
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.directory / "control.sock"))
            client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(client.makefile("rb").readline())
            return answer

    def wait_until(self, ready: Callable[[], object]) -> None:
        limit = time.monotonic() + PATIENCE
        while not ready():
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.02)


class WorkersTests(WorkersTestCase):
    """
    Several processes, one server.
    """

    def test_life(self) -> None:
        """
        They serve one address, and write to one log; one that is killed is replaced, and so is one that hangs; a reload
        reaches all of them or none; orders are taken, and at the end nothing is left.
        """
        port, other = free_port(), free_port()
        config = shared(site(port, log='access = "access.log"\nerror = "error.log"'), 'worker_timeout = "1s"\n')
        config += f'[upstream.other]\nservers = ["127.0.0.1:{other}"]\n'
        running = self.serve(config, port, options=("--pidfile=server.pid",))
        first, second = workers = children(running.pid)
        for _ in range(40):
            self.assertEqual(get(port), b"one")
        reports = self.order("stats")["workers"]
        self.assertEqual(sum(report["counters"]["requests"] for report in reports), 40)
        self.assertEqual({report["pid"] for report in reports}, set(workers))

        # One dies.
        os.kill(first, signal.SIGKILL)
        self.assertEqual([get(port) for _ in range(5)], [b"one"] * 5)
        running.wait_for(lambda: self.read("error.log").count(" serves, process ") == 3, "a replacement")
        self.assertRegex(self.read("error.log"), rf"worker \d, process {first}, was killed by SIGKILL; another one")

        # A bad file is refused once, and so is an address that is taken.
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            for bad in (config + "\nnonsense = 1\n", config.replace(str(port), str(taken.getsockname()[1]))):
                self.rewrite(bad.replace('"one"', '"two"'))
                self.assertFalse(self.order("reload")["ok"])
                self.assertEqual({get(port) for _ in range(10)}, {b"one"})
        self.assertEqual(self.read("error.log").count("was not reloaded"), 2)
        self.assertEqual(self.read("error.log").count("site.toml:"), 1)
        self.assertEqual(self.read("error.log").count("address already in use"), 1)

        # A good one is in force everywhere when the answer comes.
        self.rewrite(config.replace(f"{port}:", f"{other}:").replace('"one"', '"two"'))
        reloaded = self.control("reload")
        self.assertEqual(reloaded.returncode, 0, reloaded.stderr)
        self.assertIn("listeners +tcp", reloaded.stdout)
        self.assertEqual({get(other) for _ in range(10)}, {b"two"})
        self.assertFalse(accepts(port))

        # What is ordered holds for the worker that takes the place of another one.
        server = {"upstream": "other", "server": f"127.0.0.1:{other}"}
        self.assertTrue(self.order("drain", **server)["ok"])
        self.assertIn("there is no upstream 'none'", self.order("drain", **{**server, "upstream": "none"})["error"])

        # One hangs: the other one serves, and it is replaced.
        os.kill(second, signal.SIGSTOP)
        self.assertEqual([get(other) for _ in range(5)], [b"two"] * 5)
        running.wait_for(lambda: not alive(second), "the end of the one that hung")
        self.assertIn(f"process {second}, has not answered for", self.read("error.log"))
        running.wait_for(
            lambda: [each["state"] for each in self.order("status")["workers"]] == ["serving"] * 2, "its replacement"
        )
        self.assertEqual(get(other), b"two")
        reports = self.order("stats")["workers"]
        self.assertNotIn(second, [report["pid"] for report in reports])
        states = [report["upstreams"]["other"]["servers"][0]["state"] for report in reports]
        self.assertEqual(states, ["draining"] * 2)

        # The logs.
        (self.directory / "access.log").rename(self.directory / "access.log.1")
        self.assertTrue(self.order("reopen-logs")["ok"])
        running.wait_for(lambda: self.read("error.log").count("logs reopened") == 3, "the logs")
        get(other)
        running.wait_for(lambda: "GET" in self.read("access.log"), "the access log")
        self.assertRegex(self.read("error.log"), r"\[info\] worker 1: twistginx")

        workers = children(running.pid)
        self.assertEqual(running.stop(signal.SIGTERM), -signal.SIGTERM)
        self.assertEqual([pid for pid in workers if alive(pid)], [])
        self.assertFalse((self.directory / "server.pid").exists())
        self.assertFalse((self.directory / "control.sock").exists())
        self.assertNotIn("Traceback", running.output() + self.read("error.log"))

    def test_master_dies(self) -> None:
        """
        Without a master, workers end what they do, and accept no more: the next one can have the address.
        """
        port = free_port()
        with closing(socket.create_server(("127.0.0.1", 0))) as upstream:
            upstream.settimeout(PATIENCE)
            running = self.serve(shared(proxy(port, upstream.getsockname()[1])), port)
            workers = children(running.pid)
            client = Client(port)
            self.addCleanup(client.socket.close)
            client.ask()
            peer, _ = upstream.accept()
            with closing(peer):
                peer.recv(65536)
                os.kill(running.pid, signal.SIGKILL)
                self.wait_until(lambda: not accepts(port))
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
                self.assertEqual(client.answer(), b"late")
        self.wait_until(lambda: not any(map(alive, workers)))

    def test_quit(self) -> None:
        """
        SIGQUIT lets requests end; a second one does not, and what was cut is said.
        """
        port = free_port()
        with closing(socket.create_server(("127.0.0.1", 0))) as upstream:
            upstream.settimeout(PATIENCE)
            running = self.serve(shared(proxy(port, upstream.getsockname()[1])), port)
            client, hanging = Client(port), Client(port)
            for each in (client, hanging):
                self.addCleanup(each.socket.close)
            client.ask()
            peer, _ = upstream.accept()
            hanging.ask()
            other, _ = upstream.accept()
            with closing(peer), closing(other):
                peer.recv(65536)
                os.kill(running.pid, signal.SIGQUIT)
                running.wait_for(lambda: not accepts(port), "closing the port")
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
                self.assertEqual(client.answer(), b"late")
                began = time.monotonic()
                os.kill(running.pid, signal.SIGQUIT)
                self.assertEqual(running.stop(0), 0)
                self.assertLess(time.monotonic() - began, 8)
        self.assertIn("1 connections were cut", running.output())
        self.assertNotIn("Traceback", running.output())

    def test_cannot_start(self) -> None:
        """
        What cannot be had ends the start with a reason.
        """
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            text = self.refused(shared(site(taken.getsockname()[1])))
        self.assertEqual(text.count("address already in use"), 1)

    def test_epoll_and_twistd_log(self) -> None:
        """
        The master may run on another reactor, and log as twistd does; what workers say goes there.
        """
        port = free_port()
        options = ("--reactor=epoll", "--logfile=twistd.log")
        running = LifecycleTestCase.serve(self, shared(site(port)), port, options=options)
        running.wait_for(lambda: "with 2 workers" in self.read("twistd.log"), "two workers")
        self.assertEqual(get(port), b"one")
        self.rewrite(shared(site(port, body="two")))
        os.kill(running.pid, signal.SIGHUP)
        running.wait_for(lambda: get(port) == b"two", "the reload")
        os.kill(running.pid, signal.SIGQUIT)
        self.assertEqual(running.stop(0), 0)
        self.assertIn("worker 1: ", self.read("twistd.log"))
        self.assertNotIn("Traceback", self.read("twistd.log"))


class OtherSocketsTests(WorkersTestCase):
    """
    Sockets that are not TCP, or not ours.
    """

    #: Does what systemd does.
    ACTIVATE = (
        "import os, socket, sys\n"
        "sock = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "os.dup2(os.dup(sock.fileno()), 3)\n"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'web'}\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )

    def test_unix_and_systemd(self) -> None:
        """
        Workers share a UNIX socket and one that systemd has bound; an upgrade goes on with both.
        """
        port = free_port()
        config = shared(site(port)).replace(f"tcp:{port}:interface=127.0.0.1", "systemd:domain=INET:name=web")
        config = config.replace('name=web"]', 'name=web", "unix:web.sock"]')
        self.rewrite(config)
        running = self.start(
            *(sys.executable, "-c", self.ACTIVATE, str(port), TWISTD),
            *("-n", "--pidfile=server.pid", "twistginx", "-c", "site.toml"),
            environment=python_environment(),
        )
        running.wait_for(lambda: "with 2 workers" in running.output(), "two workers")

        def over_unix() -> bytes:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.directory / "web.sock"))
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return client.makefile("rb").read()[-3:]

        self.assertEqual((get(port), over_unix()), (b"one", b"one"))
        os.kill(running.pid, signal.SIGUSR2)
        running.wait_for(lambda: "has taken over" in running.output(), "the upgrade")
        new = int(self.read("server.pid"))
        self.addCleanup(lambda: alive(new) and os.kill(new, signal.SIGKILL))
        self.assertEqual(running.stop(0), 0)
        self.assertEqual((get(port), over_unix()), (b"one", b"one"))
        os.kill(new, signal.SIGTERM)
        self.wait_until(lambda: not alive(new))
        self.assertFalse((self.directory / "web.sock").exists())
        self.assertNotIn("Traceback", running.output())
