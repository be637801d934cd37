"""
Programs that talk to a real twistginx: found, started on a port of their own, and stopped by their process id.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import twistginx

#: Seconds that a program has to begin or to end.
PATIENCE = 30

#: Where twistginx is, and its file in twisted/plugins.
REPOSITORY = (str(Path(twistginx.__file__).parent.parent), str(Path(__file__).parent.parent.parent))

#: Where programs are that are not for everybody's PATH.
MORE_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/postgresql/*/bin")


def program(*names: str) -> str:
    """
    The path of the first of these programs that is installed.

    @raise SkipTest: when none is.
    """
    places = [os.environ.get("PATH", "")]
    for place in MORE_PLACES:
        places += sorted(map(str, Path("/").glob(place[1:])), reverse=True)
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(places))
        if found:
            return found
    raise SkipTest(f"{' or '.join(names)} is not installed")


def module(name: str) -> None:
    """
    Check that a Python module is installed.

    @raise SkipTest: when it is not.
    """
    if find_spec(name) is None:
        raise SkipTest(f"the Python package {name} is not installed")


#: Ports that ``free_port`` has named: nobody is told of one twice.
_given: set[int] = set()


def free_port() -> int:
    """
    A TCP port that nobody has right now, on any address, and that no client is given by the kernel meanwhile.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    except OSError:
        first = 32768
    for _ in range(1000):
        port = random.randrange(first // 2, first)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            if port not in _given:
                _given.add(port)
                return port
    raise OSError("there is no free port")


def python_environment() -> dict[str, str]:
    """
    Our environment, for a Python that is started in another directory and finds the same twistginx.
    """
    environment = dict(os.environ)
    inherited = environment.get("PYTHONPATH", "").split(os.pathsep)
    # trial has left the directory that relative ones started from.
    paths = [*REPOSITORY, *(path for path in inherited if os.path.isabs(path))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    # Warnings of the interpreter's and of other people's packages would stand in the logs that are looked at.
    environment["PYTHONWARNINGS"] = "ignore"
    return environment


def accepts(port: int) -> bool:
    """
    Does somebody listen on this port of the loopback address?
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Running:
    """
    A program that runs until C{stop}.

    @ivar log: the file that holds what it printed.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        directory: Path,
        environment: dict[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = Path(arguments[0]).name
        self.log = directory / f"{self.name}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                arguments,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=descriptors,
            )
        self.pid = self._process.pid

    def output(self) -> str:
        """
        What it has printed so far.
        """
        return self.log.read_text("utf-8", "replace")

    def wait_for(self, ready: Callable[[], object], what: str) -> None:
        """
        Return when C{ready()} is true.

        @raise AssertionError: with the program's output, when it ends first or takes too long.
        """
        limit = time.monotonic() + PATIENCE
        while not ready():
            if self._process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{self.output()}")
            if time.monotonic() > limit:
                raise AssertionError(f"{self.name}: {what}: not after {PATIENCE} seconds:\n{self.output()}")
            time.sleep(0.02)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """
        End it, by force when asking does not help; return its exit status.
        """
        if self._process.poll() is None:
            self._process.send_signal(signum)
            try:
                self._process.wait(PATIENCE / 3)
            except subprocess.TimeoutExpired:
                self._kill_group()
        return self._process.wait(PATIENCE)

    def _kill_group(self) -> None:
        """
        It is the leader of a session of its own, so what it started goes with it.
        """
        os.killpg(self.pid, signal.SIGKILL)


class PeerTestCase(SynchronousTestCase):
    """
    A test with a directory of its own and with programs that end when it does.
    """

    def setUp(self) -> None:
        self.directory = Path(mkdtemp(prefix="twistginx-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.running: list[Running] = []

    def start(
        self,
        *arguments: str,
        port: int | None = None,
        environment: dict[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> Running:
        """
        Start a program, which is to have C{descriptors} too, and wait until it listens on C{port}.
        """
        running = Running(arguments, self.directory, environment, descriptors)
        self.running.append(running)
        self.addCleanup(running.stop)
        if port is not None:
            running.wait_for(lambda: accepts(port), f"listening on port {port}")
        return running

    def start_python(self, source: str, port: int, *arguments: str) -> Running:
        """
        Start a Python program, given by its text.
        """
        path = self.directory / f"program_{port}.py"
        path.write_text(source)
        return self.start(sys.executable, str(path), str(port), *arguments, port=port, environment=python_environment())

    def twistginx(self, config: str, *ports: int, options: Sequence[str] = ()) -> Running:
        """
        Start twistginx with a configuration, and wait until it listens on all C{ports}.
        """
        path = self.directory / "site.toml"
        path.write_text(config)
        return self.twistginx_file(path, *ports, options=options)

    def twistginx_file(self, path: Path, *ports: int, options: Sequence[str] = ()) -> Running:
        """
        Start twistginx with a configuration that is a file already.
        """
        twistd = str(Path(sys.executable).with_name("twistd"))
        running = self.start(
            twistd,
            *("--nodaemon", "--pidfile=", *options, "twistginx", "--config", str(path)),
            environment=python_environment(),
        )
        for port in ports:
            running.wait_for(lambda port=port: accepts(port), f"listening on port {port}")
        return running

    def run_program(self, *arguments: str, timeout: float = PATIENCE, check: bool = True) -> str:
        """
        Run a program to its end, and return what it printed.
        """
        done = subprocess.run(
            arguments, cwd=self.directory, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
        )
        if check:
            said = [f"{each.name}:\n{each.output()}" for each in self.running]
            self.assertEqual(done.returncode, 0, "\n".join([f"{arguments}:\n{done.stderr!r}", *said]))
        return done.stdout.decode("utf-8", "replace")


def unprivileged(user: str, *directories: Path) -> list[str]:
    """
    What to put before a command that refuses to run as root, to run it as C{user}, who gets C{directories}; nothing
    when we are not root.

    @raise SkipTest: when we are root, and there is no such user or no way to become it.
    """
    if os.geteuid() != 0:
        return []
    runuser = program("runuser")
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise SkipTest(f"there is no user {user}") from None
    for directory in directories:
        os.chown(directory, entry.pw_uid, entry.pw_gid)
    return [runuser, "-u", user, "--"]
