"""
Four servers under constant load that are killed, stopped, slowed down and restarted in turn; nothing may be lost.

Run it by hand for more than the suite has time for::

    python -m tests.functional.upstream_faults --rounds 20

It prints what was done, and what came of it:

lost
    A GET or a PUT that the client has not seen answered with 200 by a server that has written down that it did it.
    There may be none.  The client asks once: it does not try again itself.
twice
    A POST of which more than one head has reached the servers, whatever came of it.  There may be none.
invented
    A POST that was answered with 200 and that no server has processed.  There may be none.
refused
    A POST that was answered with an error: it was under way at a server that died, or did not answer in time.  Nobody
    can know whether it was processed, so that it must not be sent again.
unexplained
    Of those, any that was refused for another reason than these, such as that no server could be reached: three others
    could.  There may be none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field, frozen

from tests.functional.peers import accepts, free_port, python_environment

#: A server that writes down what reaches it, and what it processes, before it answers; while there is a file
#: C{slow.PORT}, it is slow.
SERVER = r"""
import asyncio
import os
import sys

port, directory = int(sys.argv[1]), sys.argv[2]
processed = os.open(f"{directory}/processed.{port}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
slow = f"{directory}/slow.{port}"


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            if target != b"/healthz":
                os.write(processed, b"reached " + method + b" " + target + b"\n")
            length = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            await reader.readexactly(int(length[0]) if length else 0)
            if target != b"/healthz":
                os.write(processed, b"processed " + method + b" " + target + b"\n")
            await asyncio.sleep(1.0 if os.path.exists(slow) else 0.002)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=512) as server:
        await server.serve_forever()


asyncio.run(main())
"""

CONFIG = """
[process]
workers = {workers}

[log]
access = "off"

[upstream.app]
servers = [{servers}]
health = {{ path = "/healthz", interval = "100ms", timeout = "500ms", fall = 2, rise = 1 }}
retry = {{ attempts = 3, on = ["terminated", "timeout"], per_try = "400ms" }}
timeouts = {{ connect = "1s", first_byte = "3s" }}

[[site]]
listen = "tcp:{port}:interface=127.0.0.1"

    [[site.route]]
    proxy = {{ upstream = "app" }}
"""

#: Why a POST may be refused: words of L{twistginx.errors.REASONS}.  It had been sent then.
UNKNOWN = frozenset((b"connection_terminated", b"http_response_timeout"))


class Unnoticed(Exception):
    """
    A fault, or its end, that the log of some worker does not tell in time; the text has what it tells.
    """


#: What is asked, in turn.
METHODS = ("GET", "GET", "POST", "PUT")


#: A line of the log about a server.
_CHAPTER = re.compile(
    r"(?m)^\S+ \[\w+\] (?:(worker \d+): )?twistginx\.upstream: app: 127\.0\.0\.1:(\d+) is (up|down|left out)"
    r"(?: for \d+ s)?(?:: (.*))?$"
)


@define
class Chapter:
    """
    A server is something else than it was.
    """

    worker: str
    port: int
    state: str
    why: str


@define
class Tally:
    """
    What has come of it.
    """

    answers: Counter[str] = field(factory=Counter)
    lost: list[str] = field(factory=list)
    refused: list[str] = field(factory=list)
    unexplained: list[str] = field(factory=list)
    twice: list[str] = field(factory=list)
    invented: list[str] = field(factory=list)
    slowest: float = 0.0


class Server:
    """
    One of the four.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._directory = directory
        self._slow = directory / f"slow.{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """
        It begins, or begins again.
        """
        self._process = subprocess.Popen(
            (sys.executable, "-c", SERVER, str(self.port), str(self._directory)), stdin=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """
        It is gone, with all that it was doing.
        """
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def terminate(self) -> None:
        """
        It ends, as it does when it is asked to: at once.
        """
        self.signal(signal.SIGTERM)
        assert self._process is not None
        self._process.wait()

    def signal(self, signum: int) -> None:
        assert self._process is not None
        self._process.send_signal(signum)

    def stop(self) -> None:
        """
        It does nothing, and its connections stay.
        """
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)

    def slow_down(self) -> None:
        """
        It takes a second for whatever it is asked.
        """
        self._slow.touch()

    def hurry(self) -> None:
        self._slow.unlink()

    def end(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def written(self) -> list[str]:
        """
        What it has written down: C{reached POST /17}, C{processed POST /17}.
        """
        path = self._directory / f"processed.{self.port}"
        return path.read_text().splitlines() if path.exists() else []


@frozen
class Fault:
    """
    What is done to a server, and undone again.

    :ivar lasting: it lasts until the log says that the server is down; else it is undone at once, noticed or not.
    """

    breaks: Callable[[Server], None]
    mends: Callable[[Server], None]
    lasting: bool = True


FAULTS = {
    "killed": Fault(Server.kill, Server.start),
    "stopped": Fault(Server.stop, Server.go_on),
    "slowed down": Fault(Server.slow_down, Server.hurry),
    # The last one, because what is noticed of it may be true for a while.
    "restarted": Fault(Server.terminate, Server.start, lasting=False),
}


class Trial:
    """
    Servers, a twistginx before them, and the load.
    """

    def __init__(self, directory: Path, workers: int = 2, clients: int = 10) -> None:
        self._directory = directory
        self._clients = clients
        self._workers = workers
        self._numbers = iter(range(10**9))
        self._over = False
        self.port = free_port()
        self.servers = [Server(directory, free_port()) for _ in range(4)]
        self.tally = Tally()
        self._answered: list[str] = []
        #: The faults, and whose they were, in order.
        self.done: list[tuple[str, int]] = []
        self.log = directory / "log"
        self._twistginx: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """
        Start twistginx; return when it serves.
        """
        wait_until(lambda: all(accepts(server.port) for server in self.servers), "the servers listen")
        path = self._directory / "site.toml"
        servers = ", ".join(f'"127.0.0.1:{server.port}"' for server in self.servers)
        path.write_text(CONFIG.format(workers=self._workers, servers=servers, port=self.port))
        twistd = str(Path(sys.executable).with_name("twistd"))
        with self.log.open("wb") as output:
            self._twistginx = subprocess.Popen(
                (twistd, "--nodaemon", "--pidfile=", "twistginx", "--config", str(path)),
                cwd=self._directory,
                env=python_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "serving on" in self.log.read_text(), "it serves")

    def end(self) -> None:
        """
        Stop all of it.
        """
        for server in self.servers:
            server.end()
        if self._twistginx is not None and self._twistginx.poll() is None:
            self._twistginx.terminate()
            try:
                self._twistginx.wait(20)
            except subprocess.TimeoutExpired:
                self._twistginx.kill()
                self._twistginx.wait()

    def story(self) -> list[Chapter]:
        """
        What the log has said of servers, in order.
        """
        found = _CHAPTER.findall(self.log.read_text())
        return [
            Chapter(worker, int(port), "out" if state == "left out" else state, why)
            for worker, port, state, why in found
        ]

    def is_to_all(self, server: Server, state: str) -> bool:
        """
        Have all workers said that it is C{state} now, as the last thing that they have said of it?
        """
        last = {each.worker: each.state for each in self.story() if each.port == server.port}
        return list(last.values()) == [state] * self._workers

    async def run(self, rounds: int, seconds: float) -> None:
        """
        Do all of it to one server after the other, under load.

        @param seconds: how long there is peace between two faults, and a fault lasts after it was noticed.
        """
        load = [asyncio.create_task(self._client()) for _ in range(self._clients)]
        await asyncio.sleep(seconds)
        for number in range(rounds):
            for index, (name, fault) in enumerate(FAULTS.items()):
                server = self.servers[(number + index) % len(self.servers)]
                fault.breaks(server)
                if fault.lasting:
                    await self._until(lambda server=server: self.is_to_all(server, "down"), f"{server.port} is {name}")
                    await asyncio.sleep(seconds)
                fault.mends(server)
                if fault.lasting:
                    await self._until(
                        lambda server=server: self.is_to_all(server, "up"), f"{server.port} is well again"
                    )
                await asyncio.sleep(seconds)
                self.done.append((name, server.port))
        self._over = True
        await asyncio.gather(*load)
        self._count()

    async def _until(self, ready: Callable[[], object], what: str) -> None:
        limit = time.monotonic() + 20
        while not ready():
            if time.monotonic() > limit:
                story = "\n".join(line for line in self.log.read_text().splitlines() if "is tried again" not in line)
                raise Unnoticed(f"{what}: not after 20 seconds\n{story}")
            await asyncio.sleep(0.02)

    async def _client(self) -> None:
        """
        One kept-alive connection after the other; one request after the other.
        """
        reader = writer = None
        while not self._over:
            number = next(self._numbers)
            method = METHODS[number % len(METHODS)]
            body = b"" if method == "GET" else b"x" * 100
            target = f"/{number}"
            length = "" if method == "GET" else f"Content-Length: {len(body)}\r\n"
            began = time.monotonic()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(f"{method} {target} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode() + body)
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                answer = await reader.readexactly(int(found[1]) if found else 0)
                status = head[9:12].decode()
            except (OSError, asyncio.IncompleteReadError) as error:
                status, answer, head = type(error).__name__, b"", b""
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
            self.tally.answers[f"{method} {status}"] += 1
            if status == "200" and answer == target.encode():
                self._answered.append(f"{method} {target}")
            else:
                missed = self.tally.refused if method == "POST" else self.tally.lost
                missed.append(f"{method} {target}: {status} {head!r}")
                why = re.search(rb"(?i)\r\nproxy-status: *twistginx; *error=([a-z_]+)", head)
                if method == "POST" and (why is None or why[1] not in UNKNOWN):
                    self.tally.unexplained.append(missed[-1])
            if (status != "200" or b"\r\nconnection: close" in head.lower()) and writer is not None:
                writer.close()
                reader = writer = None
            await asyncio.sleep(0.01)
        if writer is not None:
            writer.close()

    def _count(self) -> None:
        written = Counter(line for server in self.servers for line in server.written())
        tally = self.tally
        tally.twice = [line for line, count in written.items() if line.startswith("reached POST") and count > 1]
        for each in self._answered:
            if not written[f"processed {each}"]:
                (tally.invented if each.startswith("POST") else tally.lost).append(f"{each}: 200 from nobody")


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """
    @raise AssertionError: when it takes too long.
    """
    limit = time.monotonic() + 30
    while not ready():
        if time.monotonic() > limit:
            raise AssertionError(f"{what}: not after 30 seconds")
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description="Faults of upstream servers, under load.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=10)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="twistginx-") as directory:
        trial = Trial(Path(directory), options.workers, options.clients)
        try:
            trial.begin()
            asyncio.run(trial.run(options.rounds, options.seconds))
        finally:
            trial.end()
            with contextlib.suppress(OSError):
                print(trial.log.read_text() if os.environ.get("VERBOSE") else "", end="")
        tally = trial.tally
        print(
            f"{options.rounds} rounds of {', '.join(FAULTS)}: {dict(tally.answers)}, the slowest {tally.slowest:.2f} s"
        )
        none = {name: getattr(tally, name) for name in ("lost", "twice", "invented", "unexplained")}
        print(", ".join(f"{name}: {len(each)}" for name, each in none.items()), f"(refused: {len(tally.refused)})")
        for each in none.values():
            print(*each[:10], sep="\n", end="\n" if each else "")
    return 1 if any(none.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
