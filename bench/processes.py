"""
Programs under measurement: started on a core, read through C{/proc}, and ended with all that they started.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from attrs import frozen

#: Clock ticks per second, the unit of C{/proc/<pid>/stat}.
TICKS: Final = os.sysconf("SC_CLK_TCK")

#: Seconds that a process has to end by itself, before it is killed.
PATIENCE: Final = 5.0


#: What has the kernel tell a process of its parent's end.
_ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()


@frozen
class Stat:
    """
    A line of C{/proc/<pid>/stat}.

    :ivar parent: the process that started it.
    :ivar ticks: user and system time of all its threads and of those of its children that have ended and were waited
        for.
    """

    pid: int
    parent: int
    ticks: int


def parse_stat(line: str) -> Stat:
    """
    Read a line of C{/proc/<pid>/stat} (proc(5)).  The name in it may hold blanks and parentheses.
    """
    pid, _, rest = line.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    # Fields are counted from 3 here: state, ppid, ...; 14 to 17 are utime, stime, cutime, cstime.
    return Stat(int(pid), int(fields[1]), sum(map(int, fields[11:15])))


def family(stats: Iterable[Stat], root: int) -> list[Stat]:
    """
    The process C{root} and all that descend from it.
    """
    children: dict[int, list[Stat]] = {}
    found = []
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
        if stat.pid == root:
            found.append(stat)
    for stat in found:  # it grows while it is walked
        found += children.get(stat.pid, ())
    return found


def parse_stolen(stat: str) -> tuple[int, int]:
    """
    From C{/proc/stat}: the ticks that all cores worked, and those that they would have and could not, because another
    virtual machine had them.
    """
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.split(maxsplit=9)[1:9])
    return user + nice + system + irq + softirq, steal


def all_stats() -> list[Stat]:
    """
    Every process of the machine.
    """
    stats = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):  # it has ended since
                stats.append(parse_stat(Path("/proc", entry, "stat").read_text("utf-8", "replace")))
    return stats


def parse_rss(rollup: str) -> int:
    """
    The bytes of memory that C{/proc/<pid>/smaps_rollup} tells of.
    """
    for line in rollup.splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Rss in it")


def free_port() -> int:
    """
    A TCP port of loopback that nobody listens on, below those that the kernel gives to clients.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    for _ in range(1000):
        port = low - 1 - int.from_bytes(os.urandom(2)) % min(low // 2, 16384)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("there is no free port")


def pinned(argv: Sequence[str], core: int | None) -> list[str]:
    """
    The command that runs C{argv} on one core.
    """
    return list(argv) if core is None else ["taskset", "-c", str(core), *argv]


class Process:
    """
    A program that runs in a session of its own, so that a Ctrl-C reaches this program and not that one.  It is told to
    end when this program does, whatever ends it.

    :ivar output: the file that has its standard output and error.
    """

    def __init__(
        self, argv: Sequence[str], directory: Path, core: int | None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.output = directory / "output.txt"
        with self.output.open("wb") as output:
            self._popen = subprocess.Popen(
                [*_ENDS_WITH_US, *pinned(argv, core)],
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """
        Its number.
        """
        return self._popen.pid

    def ended(self) -> bool:
        """
        Is it gone?
        """
        return self._popen.poll() is not None

    def cpu(self) -> float:
        """
        Seconds of CPU time so far, with all processes that it has started.
        """
        return sum(stat.ticks for stat in family(all_stats(), self.pid)) / TICKS

    def rss(self) -> int:
        """
        Bytes of memory, with all processes that it has started.
        """
        total = 0
        for stat in family(all_stats(), self.pid):
            with suppress(OSError):
                total += parse_rss(Path(f"/proc/{stat.pid}/smaps_rollup").read_text("ascii"))
        return total

    def said(self) -> str:
        """
        The end of what it has printed.
        """
        return self.output.read_text("utf-8", "replace")[-2000:]

    def stop(self) -> None:
        """
        End it and what it has started.  A second call does nothing.
        """
        if not self.ended():
            self._popen.terminate()
            try:
                self._popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        # Its session is its group, and nobody else's.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def wait_for(ready: Path | int, process: Process, patience: float = 30.0) -> None:
    """
    Wait until a port of loopback accepts connections.

    :raise RuntimeError: when the process ends before, or takes too long.
    """
    end = monotonic() + patience
    while monotonic() < end and not process.ended():
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(str(ready))), 1):
            return
        sleep(0.01)
    raise RuntimeError(process.said() or "it did not listen")
