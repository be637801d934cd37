"""
A real ``twistd``: how it starts, refuses to start, reloads, reopens its logs, and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.functional.peers import PATIENCE, PeerTestCase, Running, accepts, free_port, python_environment

TWISTD = str(Path(sys.executable).with_name("twistd"))

#: The ``twistginx`` command, whether or not it is installed.
TWISTGINX = (sys.executable, "-c", "import sys; from twistginx.cli import main; sys.exit(main())")


def site(*ports: int, body: str = "one", log: str = 'access = "off"') -> str:
    """
    A site that answers ``/`` with a text.
    """
    listen = json.dumps([f"tcp:{port}:interface=127.0.0.1" for port in ports])
    return f"""
[log]
{log}

[process]
drain_timeout = "20s"

[[site]]
listen = {listen}

    [[site.route]]
    exact = "/"
    respond = {{ body = "{body}" }}
"""


def proxy(port: int, upstream: int) -> str:
    """
    A site that passes everything on.
    """
    return f"""
[log]
access = "off"

[process]
drain_timeout = "20s"

[[site]]
listen = ["tcp:{port}:interface=127.0.0.1"]

    [[site.route]]
    proxy = "http://127.0.0.1:{upstream}"
"""


class Client:
    """
    A kept-alive connection.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def ask(self) -> None:
        """
        Send a request for ``/``.
        """
        self.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def answer(self) -> bytes:
        """
        The body of the answer; empty when the connection ends without one.
        """
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        return body


def get(port: int) -> bytes:
    """
    The body that ``/`` has on that port.
    """
    client = Client(port)
    with closing(client.socket):
        client.ask()
        return client.answer()


class LifecycleTestCase(PeerTestCase):
    """
    What starts servers.

    :cvar options: of ``twistd``.
    """

    options: tuple[str, ...] = ()

    def serve(self, config: str, *ports: int, options: tuple[str, ...] = ()) -> Running:
        return self.twistginx(config, *ports, options=(*self.options, *options))

    def rewrite(self, config: str) -> None:
        (self.directory / "site.toml").write_text(config)

    def read(self, name: str) -> str:
        path = self.directory / name
        return path.read_text("utf-8") if path.exists() else ""

    def run_to_end(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=self.directory,
            env=python_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def refused(self, config: str, *arguments: str) -> str:
        """
        What twistd says when it does not start with ``config``.
        """
        self.rewrite(config)
        done = self.run_to_end(
            TWISTD, *(arguments or ("-n", "--pidfile=")), *self.options, "twistginx", "-c", "site.toml"
        )
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done.stdout + done.stderr


class StartTests(LifecycleTestCase):
    """
    Starting, or saying why not.
    """

    def test_wrong_file(self) -> None:
        """
        Every problem of the file is printed, with its place, and nothing else is.
        """
        text = self.refused('[log]\nacess = "off"\n\n[[site]]\nlisten = ["tcp:0"]\n\n[[site.route]]\nrespnod = {}\n')
        lines = text.splitlines()
        self.assertEqual(
            [line.split(" ")[0] for line in lines if line.startswith("site.toml:")],
            ["site.toml:2:1:", "site.toml:8:1:"],
        )
        self.assertEqual(len(lines), 2, text)

    def test_no_file(self) -> None:
        """
        A file that is not there is a problem like others.
        """
        done = self.run_to_end(TWISTD, "-n", "--pidfile=", *self.options, "twistginx", "--config", "nowhere.toml")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nowhere.toml", done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)

    def test_ports_in_use(self) -> None:
        """
        Every port in use is named; the exit status is 1, there is no traceback, and no pid file is left.
        """
        taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for each in taken:
            self.addCleanup(each.close)
        ports = [each.getsockname()[1] for each in taken]
        text = self.refused(site(*ports, free_port()), "-n", "--pidfile=server.pid")
        for port in ports:
            self.assertEqual(text.count(f"tcp:{port}:interface=127.0.0.1: address already in use"), 1, text)
        self.assertFalse((self.directory / "server.pid").exists())

    def test_ports_in_use_and_an_error_log(self) -> None:
        """
        With the error log in a file, the reason is there, and on the terminal too.
        """
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            text = self.refused(site(taken.getsockname()[1], log='access = "off"\nerror = "error.log"'))
        self.assertEqual(text.count("address already in use"), 1, text)
        self.assertIn("[critical] twistginx.service: twistginx cannot start:", self.read("error.log"))

    def test_access_log_that_cannot_be(self) -> None:
        """
        An access log that cannot be opened is a reason not to start.
        """
        text = self.refused(site(free_port(), log='access = "site.toml/access.log"'))
        self.assertIn("access log", text)
        self.assertIn("not a directory", text)

    def test_run(self) -> None:
        """
        ``twistginx run FILE`` serves in the foreground.
        """
        port = free_port()
        self.rewrite(site(port))
        running = self.start(*TWISTGINX, "run", "site.toml", *self.options, port=port, environment=python_environment())
        self.assertEqual(get(port), b"one")
        self.assertEqual(running.stop(signal.SIGINT), -signal.SIGINT)


class CheckTests(LifecycleTestCase):
    """
    ``twistginx check`` says what ``twistd`` would, and binds nothing.
    """

    def test_ok(self) -> None:
        """
        A good file is ok, also when its port is in use.
        """
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            self.rewrite(site(taken.getsockname()[1], log='access = "logs/access.log"'))
            done = self.run_to_end(*TWISTGINX, "check", "site.toml")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "site.toml: ok\n", ""))
        self.assertFalse((self.directory / "logs").exists())

    def test_problems(self) -> None:
        """
        Each problem is a line, and an object with ``--json``; the exit status is 1.
        """
        self.rewrite('[[site]]\nlisten = "tcp:0"\nnmaes = ["a"]\n\n[proces]\n')
        done = self.run_to_end(*TWISTGINX, "check", "site.toml")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("site.toml:3:1: site[0].nmaes: ", done.stderr)
        told = self.run_to_end(*TWISTGINX, "check", "--json", "site.toml")
        self.assertEqual(told.returncode, 1)
        problems = json.loads(told.stdout)
        self.assertEqual(len(problems), len(done.stderr.splitlines()))
        self.assertEqual(
            {(problem["file"], problem["line"]) for problem in problems}, {("site.toml", 3), ("site.toml", 5)}
        )

    def test_dump(self) -> None:
        """
        The effective configuration, which is a configuration.
        """
        self.rewrite(site(8080))
        done = self.run_to_end(*TWISTGINX, "check", "--dump", "site.toml")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.rewrite(done.stdout)
        self.assertEqual(self.run_to_end(*TWISTGINX, "check", "--dump", "site.toml").stdout, done.stdout)


class ReloadTests(LifecycleTestCase):
    """
    SIGHUP swaps the configuration of the running process.
    """

    def test_swap(self) -> None:
        """
        A bad file changes nothing, and neither does one that names a port that somebody else has; why is logged.  Then
        a kept-alive connection gets the new answer at its next request; new listeners appear, old ones go.
        """
        first, second, third = free_port(), free_port(), free_port()
        running = self.serve(site(first, second), first, second)
        self.assertIn("reactor class: twistginx.net.reactor.", running.output())
        client = Client(first)
        self.addCleanup(client.socket.close)
        client.ask()
        self.assertEqual(client.answer(), b"one")
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            for bad, said in (
                (site(first, body="two") + "\nnonsense = 1\n", r"nothing has changed:\s+\S*site\.toml:\d+:\d+: "),
                (site(taken.getsockname()[1], body="two"), r"nothing has changed:\s+\S+ address already in use"),
            ):
                self.rewrite(bad)
                os.kill(running.pid, signal.SIGHUP)
                running.wait_for(lambda said=said: re.search(said, running.output()), "the refusal")
                self.assertEqual((get(first), get(second)), (b"one", b"one"))
        self.rewrite(site(first, third, body="two"))
        os.kill(running.pid, signal.SIGHUP)
        running.wait_for(lambda: accepts(third) and not accepts(second), "the reload")
        client.ask()
        self.assertEqual((client.answer(), get(third)), (b"two", b"two"))
        self.assertIn("reloaded: listeners", running.output())


class LogTests(LifecycleTestCase):
    """
    SIGUSR1 opens the logs anew, after somebody has renamed them.
    """

    def rotated(self, config: str, access: str, error: str, options: tuple[str, ...] = ()) -> Running:
        """
        Serve, rotate both logs, and ask once before and once after.
        """
        port = free_port()
        running = self.serve(config % port if "%d" in config else site(port, log=config), port, options=options)
        get(port)
        for name in (access, error):
            (self.directory / name).rename(self.directory / f"{name}.1")
        os.kill(running.pid, signal.SIGUSR1)
        running.wait_for(lambda: "logs reopened" in self.read(error), "the signal")
        get(port)
        running.wait_for(lambda: self.read(access), "the access log")
        self.assertEqual((self.read(access + ".1").count("GET"), self.read(access).count("GET")), (1, 1))
        return running

    def test_ours(self) -> None:
        """
        Access and error log of the configuration; their directory is made.
        """
        self.rotated('access = "logs/access.log"\nerror = "logs/error.log"', "logs/access.log", "logs/error.log")
        self.assertIn("serving on", self.read("logs/error.log.1"))

    def test_twistd(self) -> None:
        """
        The log file of ``twistd --logfile`` is reopened too, and ``[log].error`` gives way to it, with a warning.
        """
        self.rotated(
            'access = "access.log"\nerror = "error.log"', "access.log", "twistd.log", ("--logfile", "twistd.log")
        )
        self.assertFalse((self.directory / "error.log").exists())
        self.assertIn("[log].error is not used", self.read("twistd.log.1"))


class StopTests(LifecycleTestCase):
    """
    A server that is told to stop stops, as it was told.
    """

    def test_terminate(self) -> None:
        """
        SIGTERM and SIGINT: at once, idle connections are closed, the last lines are in the access log.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            port = free_port()
            running = self.serve(site(port, log='access = "access.log"'), port, options=("--pidfile=server.pid",))
            client = Client(port)
            self.addCleanup(client.socket.close)
            client.ask()
            client.answer()
            self.assertEqual(running.stop(number), -number)
            self.assertEqual(client.socket.recv(1), b"")
            self.assertEqual(self.read("access.log").count("GET"), 1)
            self.assertNotIn("Traceback", running.output())
            self.assertFalse((self.directory / "server.pid").exists())
            (self.directory / "access.log").unlink()

    def test_quit(self) -> None:
        """
        SIGQUIT: a request that is being answered is answered, and the exit status is 0.
        """
        port = free_port()
        with closing(socket.create_server(("127.0.0.1", 0))) as upstream:
            upstream.settimeout(PATIENCE)
            running = self.serve(proxy(port, upstream.getsockname()[1]), port)
            client = Client(port)
            self.addCleanup(client.socket.close)
            client.ask()
            peer, _ = upstream.accept()
            with closing(peer):
                peer.recv(65536)
                os.kill(running.pid, signal.SIGQUIT)
                running.wait_for(lambda: not accepts(port), "closing the port")
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
                self.assertEqual(client.answer(), b"late")
        self.assertEqual(running.stop(0), 0)


class DaemonTests(LifecycleTestCase):
    """
    ``twistd`` without ``-n``: the terminal is free when the server serves.
    """

    def pid(self) -> int:
        return int(self.read("twistd.pid"))

    def test_daemon(self) -> None:
        """
        It serves when ``twistd`` returns, logs to twistd.log, and is stopped by its pid file.
        """
        port = free_port()
        self.rewrite(site(port, log='access = "access.log"'))
        done = self.run_to_end(TWISTD, *self.options, "twistginx", "--config", "site.toml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        pid = self.pid()
        self.addCleanup(self.end, pid)
        self.assertEqual(get(port), b"one")
        self.assertIn("serving on", self.read("twistd.log"))
        self.rewrite(site(port, log='access = "access.log"', body="two"))
        os.kill(pid, signal.SIGHUP)
        self.wait_until(lambda: get(port) == b"two")
        os.kill(pid, signal.SIGTERM)
        self.wait_until(lambda: not accepts(port) and not (self.directory / "twistd.pid").exists())
        self.wait_until(lambda: "GET" in self.read("access.log"))
        self.assertNotIn("Traceback", self.read("twistd.log"))

    def test_port_in_use(self) -> None:
        """
        It fails visibly: status 1, the reason on the terminal and in the log, no pid file.
        """
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            text = self.refused(site(taken.getsockname()[1]), "--pidfile=twistd.pid")
        self.assertIn("twistginx cannot start", text)
        self.assertIn("address already in use", self.read("twistd.log"))
        self.assertFalse((self.directory / "twistd.pid").exists())

    def wait_until(self, ready) -> None:
        # Any process will do as the one that must not have ended.
        waiting = self.start(sys.executable, "-c", f"import time; time.sleep({PATIENCE})")
        waiting.wait_for(ready, "the daemon")
        waiting.stop()

    @staticmethod
    def end(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class EpollTests(StopTests, DaemonTests):
    """
    The same, for a smaller part, on Twisted's epoll reactor.
    """

    options = ("--reactor=epoll",)

    def test_reactor(self) -> None:
        """
        The reactor that was asked for is used.
        """
        port = free_port()
        running = self.serve(site(port), port)
        self.assertIn("reactor class: twisted.internet.epollreactor.EPollReactor", running.output())
