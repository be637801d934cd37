"""
Constant mixed load on a server that is reloaded, loses workers, is restarted and upgraded; nothing may be lost.

Run it by hand for the whole of it, which takes some minutes::

    python -m tests.functional.zero_downtime --reloads 100 --kills 20

A part of it is in the suite (C{test_zero_downtime}).  It prints what was done, and what was lost:

lost
    A request on a new connection that got no answer, an answer that ended in the middle or is another one, a tunnel or
    a stream that was cut.  There may be none, and the exit status says so.
died with its worker
    The same, on a connection that the worker had which was killed with -9.  The worker is stopped before it is killed,
    and its sockets are looked up in /proc: what others have, or what waits to be accepted, has no such excuse.
closed at rest
    A kept-alive connection that had answered before, and was closed when the next request had been written.  A client
    cannot know whether it was read, and asks again (RFC 9112 section 9.3.1).  It is counted, and seldom.
sent away
    A WebSocket that was closed with 1001, or a kept-alive connection that was asked to end.  A worker that drains does
    so; a reload and the death of another worker may not.

Each reload changes something else, and is seen to be in force: what is answered, a listener, a certificate, the servers
of an upstream, the access log, limits.  No upload may arrive twice.  Memory and descriptors are to be what they were.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import trustme

from tests.functional.peers import accepts, free_port, python_environment

CONFIG = """
[process]
workers = {workers}
drain_timeout = "15s"
control = "control.sock"
max_connections = {limit}

[log]
access = "{log}"

[upstream.app]
servers = {servers}

[[site]]
listen = {listen}
listen_tls = ["tcp:{tls}:interface=127.0.0.1"]
names = ["localhost"]
tls = {{ certificates = [{{ cert = "{certificate}.pem", key = "{certificate}.key" }}] }}

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

#: How much more memory there may be at the end than at the beginning, and how many descriptors: the load is never the
#: same twice.
MORE_MEMORY = 0.15
MORE_DESCRIPTORS = 60

#: The connection of the client that runs: the port of the server, that of the client, and since when.
_CONNECTION: ContextVar[list[tuple[int, int, float]]] = ContextVar("connection")

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
    @ivar away: how many connections were asked to end, though nothing was wrong with them.
    @ivar dead: the connections of workers that were killed, as ports of server and client, and when.
    """

    def __init__(self, ports: dict[str, int], authority: ssl.SSLContext) -> None:
        self.ports = ports
        self.authority = authority
        self.done: Counter[str] = Counter()
        self.lost: list[str] = []
        self.died = 0
        self.rested = 0
        self.away = 0
        self.dead: dict[tuple[int, int], float] = {}
        self.uploads = 0
        self.going = True

    async def connect(self, port: str) -> tuple[Reader, Writer]:
        context = self.authority if port == "tls" else None
        name = "localhost" if context else None
        sock = socket.socket()
        sock.setblocking(False)
        try:
            # A worker may have it, and die, before we hear that it is there.
            since = time.monotonic()
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.ports[port]))
            # Known before the handshake, in which a worker may die as well.
            _CONNECTION.get()[:] = [(self.ports[port], sock.getsockname()[1], since)]
            return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
        except BaseException:
            sock.close()
            raise

    def has_died(self) -> bool:
        """
        Was the connection of the client that runs one of a worker that was killed?
        """
        return any(self.dead.get((there, here), 0.0) > since for there, here, since in _CONNECTION.get())

    async def keep(self, kind: str, act: Callable[[str], Awaitable[None]], port: str, pause: float) -> None:
        """
        Do it again and again.
        """
        _CONNECTION.set([])
        while self.going:
            _CONNECTION.get().clear()
            try:
                await asyncio.wait_for(act(port), PATIENCE)
            except Exception as error:  # whatever it is, somebody did not get what they wanted
                if self.has_died():
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
            head = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
            self.check(path, (await self.ask(reader, writer, head))[0])
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
                    body, on = await self.ask(reader, writer, b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    if number and not getattr(error, "partial", b"") and not self.has_died():
                        self.rested += 1
                        return
                    raise
                self.check(path, body)
                self.done[f"kept {port}"] += 1
                self.away += not on
                if not on or not self.going:
                    return
                await asyncio.sleep(random.uniform(0, 0.02))
        finally:
            writer.close()

    @staticmethod
    def check(path: bytes, body: bytes) -> None:
        """
        Is it the answer to the question?
        """
        if not body.startswith(path[1:]):
            raise Lost(f"{path!r} was answered {body!r}")

    async def download(self, port: str) -> None:
        """
        An answer that takes its time.
        """
        reader, writer = await self.connect(port)
        try:
            body, _ = await self.ask(reader, writer, b"GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if body != DOWNLOAD:
                raise Lost("another body came")
            self.done[f"download {port}"] += 1
        finally:
            writer.close()

    async def upload(self, port: str) -> None:
        """
        A POST that takes its time.
        """
        reader, writer = await self.connect(port)
        try:
            body = os.urandom(random.randrange(1, 600_000))
            self.uploads += 1
            head = b"POST /up/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (self.uploads, len(body))
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
                if not self.going:
                    break
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
                if not self.going:
                    break
                data = os.urandom(random.randrange(1, 4000))
                writer.write(data)
                if await reader.readexactly(len(data)) != data:
                    raise Lost("other bytes came back")
                self.done["stream"] += 1
                await asyncio.sleep(random.uniform(0, 0.05))
        finally:
            writer.close()

    def start(self) -> list[asyncio.Task[None]]:
        kinds = [
            *[("short", self.short, "plain", 0.05)] * 4,
            *[("short", self.short, "tls", 0.1)] * 2,
            *[("kept", self.kept, "plain", 0.05)] * 6,
            *[("kept", self.kept, "tls", 0.05)] * 3,
            *[("upload", self.upload, "plain", 0.2)] * 2,
            ("upload", self.upload, "tls", 0.2),
            *[("download", self.download, "plain", 0.2)] * 2,
            ("download", self.download, "tls", 0.2),
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


#: What is downloaded, a piece at a time.
DOWNLOAD = bytes(range(256)) * 1000

#: How often which upload has arrived.
ARRIVED: Counter[bytes] = Counter()


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
                ARRIVED[head.split()[1]] += 1
            if head.startswith(b"GET /down"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DOWNLOAD))
                for start in range(0, len(DOWNLOAD), 16000):
                    writer.write(DOWNLOAD[start : start + 16000])
                    await writer.drain()
                    await asyncio.sleep(random.uniform(0, 0.15))
                continue
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
        number, ports = self.written, self.ports
        listen = [f"tcp:{ports['plain']}:interface=127.0.0.1"]
        listen += [f"tcp:{ports['extra']}:interface=127.0.0.1"] if self.has_extra else []
        servers = [f"http://127.0.0.1:{ports['backend']}"]
        servers += [f"http://127.0.0.1:{ports['other']}"] if number & 4 else []
        text = CONFIG.format(
            workers=self.workers,
            body=f"here {number}",
            listen=listen,
            servers=servers,
            certificate=self.certificate,
            log="access.log" if number & 8 else "off",
            limit=5000 + number,
            **ports,
        )
        new = self.directory / "site.toml.new"
        new.write_text(text)
        new.replace(self.directory / "site.toml")

    @property
    def has_extra(self) -> bool:
        """
        Is there another listener?
        """
        return self.written % 2 == 1

    @property
    def certificate(self) -> str:
        """
        The name of the one that is served.
        """
        return "odd" if self.written & 2 else "even"

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

    async def settled(self, looks: int) -> tuple[float, int]:
        """
        The size, as it is most of the time.
        """
        sizes = []
        for _ in range(looks):
            sizes.append(self.size())
            await asyncio.sleep(0.3)
        return median(memory for memory, _ in sizes), int(median(count for _, count in sizes))

    async def kill(self, load: Load) -> None:
        before = self.text().count(" serves, process ")
        victim = random.choice(self.children(self.pid)[1:])
        os.kill(victim, signal.SIGSTOP)
        await self.until(lambda: state(victim) == "T", "a worker that stops")
        connections = connections_of(victim)
        os.kill(victim, signal.SIGKILL)
        load.dead |= dict.fromkeys(connections, time.monotonic())
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


def state(pid: int) -> str:
    """
    The letter of a process, as in ps(1).
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def connections_of(pid: int) -> list[tuple[int, int]]:
    """
    The TCP connections over IPv4 of a process: its port, and the other one.
    """
    sockets = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kind, _, inode = os.readlink(each).partition(":")
            if kind == "socket":
                sockets.add(inode[1:-1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [(row[1], row[2]) for row in rows if row[9] in sockets]
    return [(int(here.rpartition(":")[2], 16), int(there.rpartition(":")[2], 16)) for here, there in ends]


async def check_in_force(server: Server, load: Load) -> None:
    """
    What was reloaded is what is served, on whatever connection, by whichever worker.

    @raise AssertionError: when it is not.
    """
    _CONNECTION.set([])
    expected = b"here %d" % server.written
    for port in ("plain", "tls", "plain", *(["extra"] if server.has_extra else [])):
        reader, writer = await load.connect(port)
        got, _ = await load.ask(reader, writer, b"GET /here HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if got != expected:
            raise AssertionError(f"{expected!r} was reloaded, and {got!r} is served at {port}")
        if port == "tls":
            served = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            pem = (server.directory / f"{server.certificate}.pem").read_text()
            if served != ssl.PEM_cert_to_DER_cert(pem):
                raise AssertionError("the old certificate is served")
        writer.close()
    if not server.has_extra and accepts(load.ports["extra"]):
        raise AssertionError("a listener that was removed accepts")


async def run(arguments: argparse.Namespace, directory: Path) -> int:
    ports = {name: free_port() for name in ("plain", "tls", "stream", "extra")}
    behind = await asyncio.start_server(application, "127.0.0.1", 0)
    other = await asyncio.start_server(application, "127.0.0.1", 0)
    echoing = await asyncio.start_server(echo, "127.0.0.1", 0)
    backends = {"backend": behind, "other": other, "echo": echoing}
    ports |= {name: each.sockets[0].getsockname()[1] for name, each in backends.items()}
    authority = trustme.CA()
    for name in ("odd", "even"):
        certificate = authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(directory / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = Server(directory, arguments.workers, ports)
    load = Load(ports, context)
    problems: list[str] = []
    try:
        await server.until(lambda: "serving on" in server.text() and accepts(ports["plain"]), "the start")
        clients = load.start()
        began = time.monotonic()

        async def phase(name: str, times: int, act: Callable[[], Awaitable[None]], may_send_away: bool = False) -> None:
            """
            Do it so often, under load, and say how it went.
            """
            before, lost, died, rested = sum(load.done.values()), len(load.lost), load.died, load.rested
            away = load.away
            start = time.monotonic()
            for _ in range(times):
                await act()
                await asyncio.sleep(arguments.pause)
            asked = sum(load.done.values()) - before
            print(
                f"{name:>20} x {times:<4} {time.monotonic() - start:6.1f} s {asked:8} answered "
                f"{len(load.lost) - lost:4} lost {load.died - died:4} died with a worker "
                f"{load.rested - rested:4} closed at rest {load.away - away:4} sent away",
                flush=True,
            )
            if load.away > away and not may_send_away:
                problems.append(f"{name}: {load.away - away} connections were sent away")

        async def nothing() -> None:
            await asyncio.sleep(0.5)

        async def reload() -> None:
            await server.reload()
            await check_in_force(server, load)

        sizes: dict[str, tuple[float, int]] = {}
        looks = 2 * arguments.rests + 1
        half = arguments.reloads // 2
        await phase("nothing", arguments.rests, nothing)
        await phase("reload", 2, reload)  # so that each kind of listener, log and pool has been there once
        sizes["before"] = await server.settled(looks)
        await phase("reload", half, reload)
        sizes["half of the reloads"] = await server.settled(looks)
        await phase("reload", arguments.reloads - half, reload)
        sizes["the reloads"] = await server.settled(looks)
        if arguments.workers > 1:
            await phase("kill -9", arguments.kills, lambda: server.kill(load))
            sizes["the kills"] = await server.settled(looks)
            await phase("rolling restart", arguments.restarts, server.restart_workers, may_send_away=True)
        await phase("upgrade", arguments.upgrades, server.upgrade, may_send_away=True)
        await phase("nothing", arguments.rests, nothing, may_send_away=True)
        sizes["the end"] = await server.settled(looks)
        load.going = False
        done, late = await asyncio.wait(clients, timeout=PATIENCE * 2)
        problems += [f"a client has ended: {each.exception()!r}" for each in done if each.exception() is not None]
        problems += ["a client does not end"] * len(late)
        seconds = time.monotonic() - began
    finally:
        load.going = False
        server.stop()
        for each in backends.values():
            each.close()
    total = sum(load.done.values())
    print(f"{total} answers in {seconds:.0f} s: {dict(sorted(load.done.items()))}")
    print("MiB and descriptors:", ", ".join(f"{when} {size[0]:.1f} {size[1]}" for when, size in sizes.items()))
    problems += [f"lost: {each}" for each in load.lost[:20]]
    problems += [f"{path!r} has arrived {times} times" for path, times in ARRIVED.items() if times > 1]
    memory, descriptors = sizes.pop("before")
    for when, size in sizes.items():
        if size[0] > memory * (1 + MORE_MEMORY) or size[1] > descriptors + MORE_DESCRIPTORS:
            problems.append(f"it has grown, after {when}")
    if load.rested > total // 1000:
        problems.append(f"{load.rested} connections were closed at rest, more than one request in a thousand")
    if "Traceback" in server.text():
        problems.append("there is a traceback in the log")
    print(*problems, sep="\n")
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
