"""
Constant mixed load on a server that is reloaded, loses workers, is restarted and upgraded; nothing may be lost.

Run it by hand for the whole of it, which takes some minutes::

    python -m tests.functional.zero_downtime --reloads 100 --kills 20

A part of it is in the suite (C{test_zero_downtime}).  It prints what was done, and what was lost:

lost
    A request on a new connection that got no answer, an answer that ended in the middle, a tunnel or a stream that was
    cut.  There may be none, and the exit status says so.
died with its worker
    The same, on a connection that was open when a worker was killed with -9.
closed at rest
    A kept-alive connection that had answered before, and was closed when the next request had been written.  A client
    cannot know whether it was read, and asks again (RFC 9112 section 9.3.1).  It is counted, and seldom.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import random
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from tests.functional.peers import accepts, free_port, python_environment

CONFIG = """
[process]
workers = {workers}
drain_timeout = "15s"
control = "control.sock"

[log]
access = "off"

[upstream.app]
servers = ["http://127.0.0.1:{backend}"]

[[site]]
listen = ["tcp:{plain}:interface=127.0.0.1"]
listen_tls = ["tcp:{tls}:interface=127.0.0.1"]
names = ["localhost"]
tls = {{ certificates = [{{ cert = "cert.pem", key = "key.pem" }}] }}

    [[site.route]]
    exact = "/here"
    respond = {{ body = "{body}" }}

    [[site.route]]
    proxy = {{ upstream = "app" }}

[[stream]]
listen = ["tcp:{stream}:interface=127.0.0.1"]
upstream = "echo"

[upstream.echo]
servers = ["tcp:127.0.0.1:{echo}"]
"""

#: Seconds after which nothing is waited for any more: more than a busy machine takes.
PATIENCE = 20.0

#: Seconds after the death of a worker in which its connections are found dead.
FOUND_DEAD = 3.0

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Lost(Exception):
    """
    Something was asked, and not answered.
    """


class Load:
    """
    Clients of all kinds, until they are told to stop.

    @ivar done: how often which kind has got what it wanted.
    @ivar lost: descriptions of what was lost.
    @ivar died: how many connections died with their worker.
    @ivar rested: how many connections were closed at rest.
    @ivar killed: when workers were killed.
    """

    def __init__(self, ports: dict[str, int], authority: ssl.SSLContext) -> None:
        self.ports = ports
        self.authority = authority
        self.done: Counter[str] = Counter()
        self.lost: list[str] = []
        self.died = 0
        self.rested = 0
        self.away = 0
        self.killed: list[float] = []
        self.going = True

    async def connect(self, port: str) -> tuple[Reader, Writer]:
        context = self.authority if port == "tls" else None
        name = "localhost" if context else None
        return await asyncio.open_connection("127.0.0.1", self.ports[port], ssl=context, server_hostname=name)

    async def keep(self, kind: str, act: Callable[[str], Awaitable[None]], port: str, pause: float) -> None:
        """
        Do it again and again.
        """
        while self.going:
            began = time.monotonic()
            try:
                await asyncio.wait_for(act(port), PATIENCE)
            except (Lost, OSError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError) as error:
                now = time.monotonic()
                if any(began <= at <= now <= at + FOUND_DEAD for at in self.killed):
                    self.died += 1
                else:
                    self.lost.append(f"{kind} over {port}: {type(error).__name__}: {error}")
            await asyncio.sleep(random.uniform(0, pause))

    async def ask(self, reader: Reader, writer: Writer, head: bytes, body: bytes = b"") -> tuple[bytes, bool]:
        """
        One request: the body of the answer, and whether the connection goes on.
        """
        writer.write(head)
        for start in range(0, len(body), 32768):
            writer.write(body[start : start + 32768])
            await writer.drain()
            await asyncio.sleep(0.01)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not answer.startswith(b"http/1.1 200"):
            raise Lost(answer.split(b"\r\n")[0])
        length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await reader.readexactly(length), b"connection: close" not in answer

    async def short(self, port: str) -> None:
        """
        A connection for one request.
        """
        reader, writer = await self.connect(port)
        try:
            path = random.choice((b"/here", b"/there"))
            await self.ask(reader, writer, b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
            self.done[f"short {port}"] += 1
        finally:
            writer.close()

    async def kept(self, port: str) -> None:
        """
        Up to 200 requests on one connection.
        """
        reader, writer = await self.connect(port)
        try:
            for number in range(200):
                path = random.choice((b"/here", b"/there"))
                try:
                    _, on = await self.ask(reader, writer, b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    if number and not getattr(error, "partial", b"") and not self.just_killed():
                        self.rested += 1
                        return
                    raise
                self.done[f"kept {port}"] += 1
                if not on or not self.going:
                    return
                await asyncio.sleep(random.uniform(0, 0.02))
        finally:
            writer.close()

    async def upload(self, port: str) -> None:
        """
        A POST that takes its time.
        """
        reader, writer = await self.connect(port)
        try:
            body = os.urandom(random.randrange(1, 600_000))
            head = b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
            answer, _ = await self.ask(reader, writer, head, body)
            if int(answer) != len(body):
                raise Lost(f"{int(answer)} bytes of {len(body)} arrived")
            self.done[f"upload {port}"] += 1
        finally:
            writer.close()

    async def websocket(self, port: str) -> None:
        """
        Messages to and fro, until somebody goes away.
        """
        reader, writer = await self.connect(port)
        try:
            key = base64.b64encode(os.urandom(16))
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
            )
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 101"):
                raise Lost(answer.split(b"\r\n")[0])
            for _ in range(random.randrange(50, 150)):
                message = os.urandom(random.choice((1, 60, 300)))
                writer.write(frame(message, mask=True))
                opcode, got = await read_frame(reader)
                if opcode == 8:
                    if got[:2] != b"\x03\xe9":
                        raise Lost(f"closed with {got!r}")
                    self.away += 1
                    writer.write(frame(got[:2], mask=True, opcode=8))
                    await reader.read()
                    return
                if got != message:
                    raise Lost("another message came back")
                self.done[f"message {port}"] += 1
                await asyncio.sleep(random.uniform(0, 0.1))
            writer.write(frame(b"\x03\xe8", mask=True, opcode=8))
            await read_frame(reader)
        finally:
            writer.close()

    async def stream(self, port: str) -> None:
        """
        A TCP stream of a second or so.
        """
        reader, writer = await self.connect(port)
        try:
            for _ in range(random.randrange(1, 30)):
                data = os.urandom(random.randrange(1, 4000))
                writer.write(data)
                if await reader.readexactly(len(data)) != data:
                    raise Lost("other bytes came back")
                self.done["stream"] += 1
                await asyncio.sleep(random.uniform(0, 0.05))
        finally:
            writer.close()

    def just_killed(self) -> bool:
        """
        Has a worker been killed a moment ago?
        """
        return any(time.monotonic() <= at + FOUND_DEAD for at in self.killed)

    def start(self) -> list[asyncio.Task[None]]:
        kinds = [
            *[("short", self.short, "plain", 0.05)] * 4,
            *[("short", self.short, "tls", 0.1)] * 2,
            *[("kept", self.kept, "plain", 0.05)] * 6,
            *[("kept", self.kept, "tls", 0.05)] * 3,
            *[("upload", self.upload, "plain", 0.2)] * 2,
            ("upload", self.upload, "tls", 0.2),
            *[("websocket", self.websocket, "plain", 0.1)] * 3,
            ("websocket", self.websocket, "tls", 0.1),
            *[("stream", self.stream, "stream", 0.1)] * 3,
        ]
        return [asyncio.create_task(self.keep(*each)) for each in kinds]


def frame(data: bytes, mask: bool = False, opcode: int = 2) -> bytes:
    """
    A WebSocket frame.
    """
    flag = 0x80 if mask else 0
    size = bytes((flag | len(data),)) if len(data) < 126 else bytes((flag | 126,)) + len(data).to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + size + (b"\0\0\0\0" if mask else b"") + data


async def read_frame(reader: Reader) -> tuple[int, bytes]:
    """
    The next frame: opcode and data.
    """
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    mask = await reader.readexactly(4) if second & 0x80 else b"\0\0\0\0"
    data = await reader.readexactly(length)
    return first & 15, bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))


async def application(reader: Reader, writer: Writer) -> None:
    """
    The server behind: answers, counts what is uploaded, echoes frames.
    """
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            if b"upgrade: websocket" in lower:
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                while True:
                    opcode, data = await read_frame(reader)
                    writer.write(frame(data, opcode=opcode))
                    if opcode == 8:
                        break
                break
            body = b"there"
            if head.startswith(b"POST"):
                left = length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while left:
                    left -= len(await reader.readexactly(min(left, 65536)))
                body = b"%d" % length
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    writer.close()


async def echo(reader: Reader, writer: Writer) -> None:
    """
    The server behind the stream.
    """
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


class Server:
    """
    The twistginx under test.
    """

    def __init__(self, directory: Path, workers: int, ports: dict[str, int]) -> None:
        self.directory = directory
        self.workers = workers
        self.ports = ports
        self.written = 0
        self.write()
        self.log = (directory / "server.log").open("wb")
        twistd = str(Path(sys.executable).with_name("twistd"))
        self.process = subprocess.Popen(
            (twistd, "-n", "--pidfile=server.pid", "twistginx", "--config", "site.toml"),
            cwd=directory,
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def write(self) -> None:
        """
        Another configuration.
        """
        self.written += 1
        text = CONFIG.format(workers=self.workers, body=f"here {self.written}", **self.ports)
        new = self.directory / "site.toml.new"
        new.write_text(text)
        new.replace(self.directory / "site.toml")

    @property
    def pid(self) -> int:
        return int((self.directory / "server.pid").read_text() or 0)

    def text(self) -> str:
        return (self.directory / "server.log").read_text("utf-8", "replace")

    def children(self, pid: int) -> list[int]:
        """
        The processes of that process, itself first.
        """
        try:
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        return [pid, *map(int, found)]

    def size(self) -> tuple[float, int]:
        """
        Memory (MiB that no other process has), and descriptors, of all processes.
        """
        memory = descriptors = 0
        for pid in self.children(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                descriptors += len(os.listdir(f"/proc/{pid}/fd"))
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                memory += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        return round(memory / 1024, 1), descriptors

    async def until(self, ready: Callable[[], object], what: str) -> None:
        """
        Wait.
        """
        limit = time.monotonic() + 120
        while not ready():
            if time.monotonic() > limit:
                raise AssertionError(f"{what}: not in time\n{self.text()}")
            await asyncio.sleep(0.05)

    async def reload(self) -> None:
        before = self.text().count("reloaded: ")
        self.write()
        os.kill(self.pid, signal.SIGHUP)
        await self.until(lambda: self.text().count("reloaded: ") > before, "a reload")

    async def kill(self, load: Load) -> None:
        before = self.text().count(" serves, process ")
        victim = random.choice(self.children(self.pid)[1:])
        load.killed.append(time.monotonic())
        os.kill(victim, signal.SIGKILL)
        await self.until(lambda: self.text().count(" serves, process ") > before, "another worker")

    async def restart_workers(self) -> None:
        command = [sys.executable, "-m", "twistginx", "ctl", "-c", "site.toml", "restart-workers"]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.directory, env=python_environment(), stdout=self.log, stderr=self.log
        )
        if await process.wait():
            raise AssertionError(f"restart-workers\n{self.text()}")

    async def upgrade(self) -> None:
        old = self.pid
        os.kill(old, signal.SIGUSR2)
        new = self.directory / "server.pid"
        await self.until(lambda: new.exists() and self.pid not in (0, old), "a new process")
        await self.until(lambda: not (self.directory / "server.pid.oldbin").exists(), "the end of the old process")

    def stop(self) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        limit = time.monotonic() + 20
        while (self.directory / "server.pid").exists() and time.monotonic() < limit:
            time.sleep(0.05)
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        self.log.close()


async def run(arguments: argparse.Namespace, directory: Path) -> int:
    ports = {name: free_port() for name in ("plain", "tls", "stream")}
    behind = await asyncio.start_server(application, "127.0.0.1", 0)
    echoing = await asyncio.start_server(echo, "127.0.0.1", 0)
    ports |= {"backend": behind.sockets[0].getsockname()[1], "echo": echoing.sockets[0].getsockname()[1]}
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = Server(directory, arguments.workers, ports)
    load = Load(ports, context)
    try:
        await server.until(lambda: "serving on" in server.text() and accepts(ports["plain"]), "the start")
        clients = load.start()
        began = time.monotonic()

        async def phase(name: str, times: int, act: Callable[[], Awaitable[None]]) -> None:
            """
            Do it so often, under load, and say how it went.
            """
            before, lost, died, rested = sum(load.done.values()), len(load.lost), load.died, load.rested
            start = time.monotonic()
            for _ in range(times):
                await act()
                await asyncio.sleep(arguments.pause)
            asked = sum(load.done.values()) - before
            print(
                f"{name:>20} x {times:<4} {time.monotonic() - start:6.1f} s {asked:8} answered "
                f"{len(load.lost) - lost:4} lost {load.died - died:4} died with a worker "
                f"{load.rested - rested:4} closed at rest",
                flush=True,
            )

        async def nothing() -> None:
            await asyncio.sleep(0.5)

        await phase("nothing", arguments.rests, nothing)
        sizes = [server.size()]
        half = arguments.reloads // 2
        await phase("reload", half, server.reload)
        sizes.append(server.size())
        await phase("reload", arguments.reloads - half, server.reload)
        sizes.append(server.size())
        if arguments.workers > 1:
            await phase("kill -9", arguments.kills, lambda: server.kill(load))
            await phase("rolling restart", arguments.restarts, server.restart_workers)
        await phase("upgrade", arguments.upgrades, server.upgrade)
        await phase("nothing", arguments.rests, nothing)
        sizes.append(server.size())
        load.going = False
        await asyncio.wait(clients, timeout=PATIENCE * 2)
        seconds = time.monotonic() - began
    finally:
        load.going = False
        server.stop()
        behind.close()
        echoing.close()
    total = sum(load.done.values())
    print(f"{total} answers in {seconds:.0f} s: {dict(sorted(load.done.items()))}")
    print(f"{load.away} WebSockets were told to go away (1001)")
    print("MiB and descriptors before, after half of the reloads, after the other, at the end:", *sizes)
    for each in load.lost[:20]:
        print("lost:", each)
    problems = len(load.lost)
    if load.rested > total // 1000:
        print(f"{load.rested} connections were closed at rest, more than one request in a thousand")
        problems += 1
    if "Traceback" in server.text():
        print(server.text())
        problems += 1
    if problems and arguments.verbose:
        print(server.text())
    return 1 if problems else 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Lose nothing, whatever happens to the server.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--upgrades", type=int, default=3)
    parser.add_argument("--rests", type=int, default=4, help="times that nothing happens, before and after")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two of these")
    parser.add_argument("--verbose", action="store_true")
    with TemporaryDirectory(prefix="twistginx-") as directory:
        sys.exit(asyncio.run(run(parser.parse_args(), Path(directory))))


if __name__ == "__main__":
    main()
