"""
Processes, signals and daemonising, of twistginx.net.reactor.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.protocol import ProcessProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.net.reactors import LIMIT, OnAsyncio, OnUvloop, ReactorCase, Recorder
from twistginx.net.reactor import TwistginxReactor, new_loop

SOURCES = str(Path(__file__).parent.parent.parent / "src")

#: Says what happens to it; a signal finds it asleep in its loop.
PROGRAM = """
import asyncio, signal, sys
from twistginx.net import reactor as module
reactor = module.install(asyncio.SelectorEventLoop() if sys.argv[1] == "asyncio" else None)
def say(word):
    print(word, flush=True)
def started():
    signal.signal(signal.SIGHUP, lambda *ignored: say("hup"))
    say("started")
reactor.callWhenRunning(started)
reactor.addSystemEventTrigger("during", "shutdown", say, "shutdown")
reactor.run()
say("ended")
"""

#: An application for twistd.  Its timer and its port are older than the daemon.
APPLICATION = """
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)
reactor.listenUNIX("early", Factory.forProtocol(Echo))
reactor.callLater(0, open, "timer", "x")
class Late(Service):
    def startService(self):
        reactor.listenUNIX("late", Factory.forProtocol(Echo))
application = Application("test")
Late().setServiceParent(application)
"""


class Child(ProcessProtocol):
    """
    Notes what a child says and how it ends.
    """

    def __init__(self, on_end: Any) -> None:
        self.on_end = on_end
        self.output = b""
        self.status: Any = None

    def outReceived(self, data: bytes) -> None:
        self.output += data

    def processEnded(self, reason: Any) -> None:
        self.status = reason.value
        self.on_end()


class Processes(ReactorCase):
    """
    Child processes.
    """

    def spawn(self, *arguments: str, ended: Any = None) -> Child:
        """
        Run a shell command.
        """
        child = Child(ended or self.stop)
        self.reactor.spawnProcess(child, "/bin/sh", ["sh", "-c", *arguments], os.environ)
        return child

    def test_ends(self) -> None:
        """
        A child's end is told with its status, when it has run and when it was killed.
        """
        done: list[int] = []
        children = []

        def ended() -> None:
            done.append(1)
            if len(done) == len(children):
                self.stop()

        def start() -> None:
            children.extend(self.spawn(f"echo {number}; exit {number}", ended=ended) for number in range(8))
            children.append(self.spawn("kill -TERM $$", ended=ended))

        self.reactor.callWhenRunning(start)
        self.go()
        self.assertEqual([child.output for child in children], [b"%d\n" % number for number in range(8)] + [b""])
        self.assertEqual([child.status.exitCode for child in children], [*range(8), None])
        self.assertEqual(children[8].status.signal, signal.SIGTERM)

    def test_ended_before_the_reactor_runs(self) -> None:
        """
        A child that was started, and has ended, before the reactor runs is reaped when it does.
        """
        child = self.spawn("exec sleep 60")
        os.kill(child.transport.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.transport.pid, os.WEXITED | os.WNOWAIT)
        self.go()
        self.assertEqual(child.status.signal, signal.SIGKILL)

    def test_without_pidfd(self) -> None:
        """
        Where the system has no pidfd, children are looked at.
        """
        self.patch(os, "pidfd_open", refuse)
        child = self.spawn("exit 4")
        self.go()
        self.assertEqual(child.status.exitCode, 4)

    def test_nothing_is_left(self) -> None:
        """
        When a child has been reaped, its descriptors are closed.
        """
        before = len(os.listdir("/proc/self/fd"))
        self.spawn("exit 0", ended=lambda: self.later(self.stop))
        self.go()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class Signals(SynchronousTestCase):
    """
    Signals of a process that sleeps in its loop.
    """

    loop = ""

    def test_signals(self) -> None:
        """
        Python's own handlers run at once, and SIGTERM stops the reactor.
        """
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, self.loop],
            env={**os.environ, "PYTHONPATH": SOURCES},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            heard = []
            for word, number in (("started", signal.SIGHUP), ("hup", signal.SIGHUP), ("hup", signal.SIGTERM)):
                heard.append(process.stdout.readline().strip())
                self.assertEqual(heard[-1], word, process.poll() and process.communicate()[1])
                process.send_signal(number)
            rest, errors = process.communicate(timeout=LIMIT)
            self.assertEqual((rest.split(), errors, process.returncode), (["shutdown", "ended"], "", 0))


class UvloopSignalsTests(Signals):
    """
    Signals on uvloop.
    """

    loop = "uvloop"


class AsyncioSignalsTests(Signals):
    """
    Signals on asyncio's own loop.
    """

    loop = "asyncio"


class DaemonTests(SynchronousTestCase):
    """
    A reactor survives the fork that makes a daemon.
    """

    def test_twistd(self) -> None:
        """
        Without -n, twistd daemonises; ports and timers from before and after that work, and SIGTERM stops it.
        """
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            Path(path, "app.py").write_text(APPLICATION)
            program = (
                "from twistginx.net import reactor; reactor.install()\nfrom twisted.scripts.twistd import run; run()"
            )
            subprocess.run(
                [sys.executable, "-c", program, "--pidfile=pid", "--logfile=log", "-y", "app.py"],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": SOURCES},
                check=True,
                timeout=LIMIT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            pid = int(Path(path, "pid").read_text())
            try:
                for name in ("early", "late"):
                    with socket.socket(socket.AF_UNIX) as sock:
                        sock.settimeout(LIMIT)
                        sock.connect(os.fsencode(Path(path, name)))
                        sock.sendall(b"echo")
                        self.assertEqual(sock.recv(9), b"echo")
                self.assertTrue(Path(path, "timer").exists())
            finally:
                descriptor = os.pidfd_open(pid)
                os.kill(pid, signal.SIGTERM)
                select.select([descriptor], [], [], LIMIT)
                os.close(descriptor)
            self.assertFalse(Path(path, "pid").exists(), Path(path, "log").read_text())

    def test_given_loop_is_kept(self) -> None:
        """
        A loop that the reactor was given is not ours to close.
        """
        loop = new_loop()
        self.addCleanup(loop.close)
        reactor = TwistginxReactor(loop)
        self.addCleanup(reactor.waker.connectionLost, None)
        self.addCleanup(reactor.removeReader, reactor.waker)
        reactor.beforeDaemonize()
        reactor.afterDaemonize()
        self.assertIs(reactor.loop, loop)
        self.assertFalse(loop.is_closed())


class Threads(ReactorCase):
    """
    Threads.
    """

    def test_from_thread(self) -> None:
        """
        A thread wakes the loop, and a connection goes on meanwhile.
        """
        server = Recorder()
        sock = self.raw(self.listen(server))

        def work() -> None:
            sock.sendall(b"x")
            self.reactor.callFromThread(done.append, sock.recv(1))
            self.reactor.callFromThread(self.stop)

        done: list[bytes] = []
        server.on_data = lambda protocol, data: protocol.transport.write(data)
        self.reactor.callWhenRunning(self.reactor.callInThread, work)
        self.go()
        self.assertEqual(done, [b"x"])


def refuse(pid: int) -> int:
    """
    A system without pidfd.
    """
    raise OSError(38, "Function not implemented")


class UvloopProcessesTests(OnUvloop, Processes):
    """
    Processes on uvloop.
    """


class AsyncioProcessesTests(OnAsyncio, Processes):
    """
    Processes on asyncio's own loop.
    """


class UvloopThreadsTests(OnUvloop, Threads):
    """
    Threads on uvloop.
    """


class AsyncioThreadsTests(OnAsyncio, Threads):
    """
    Threads on asyncio's own loop.
    """


# Only the classes with a loop are tests.
del Processes, Signals, Threads
