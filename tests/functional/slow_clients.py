"""
Thousands of clients that take their time, and what a normal one notices of them.

``python tests/functional/slow_clients.py --connections 7000`` starts a twistginx, measures a normal client's latency
while it is alone, lets the crowd come (a process of its own), measures again, and prints both, with the memory that
twistginx has taken for each connection.  Everything is on the loopback interface.

Of twistginx it prints the processor time that it has used (``CPU %``, of one core), and how long it was ready to run
and another process had the processor (``wait %``): where the latter is not small, it is the machine that is measured.
"""

from __future__ import annotations

import argparse
import errno
import os
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent

#: What the large file has in it, in bytes: more than all buffers on the way hold.
LARGE: Final = 16 << 20

CONFIG: Final = """
[log]
access = "{directory}/access.log"

[[site]]
listen = "tcp:{port}:interface=127.0.0.1"

[[site.route]]
exact = "/"
respond = {{ body = "hello" }}

[[site.route]]
path = "/app"
strip_prefix = true
proxy = "http://127.0.0.1:{inner}"

[[site.route]]
path = "/sink"
proxy = "http://127.0.0.1:{sink}"

[[site.route]]
static = {{ root = "{directory}" }}

[[site]]
listen = "tcp:{inner}:interface=127.0.0.1"

[[site.route]]
static = {{ root = "{directory}" }}
"""

#: How clients take their time.  A head and a body come as slowly as is borne; who is thrown out comes back.
KINDS: Final = ("idle", "slow head", "slow body", "slow reader", "never reads", "never reads, proxied")

_HEAD: Final = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: slow\r\n"
_FIRST: Final = {
    "idle": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "slow head": _HEAD,
    "slow body": b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    "slow reader": b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
    "never reads": b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
    "never reads, proxied": b"GET /app/large HTTP/1.1\r\nHost: a\r\n\r\n",
}

#: What each says or reads in a second.
_BODY_RATE: Final = 400
_READ_RATE: Final = 1024

#: A second has so many turns; each connection has its turn once a second.
_TURNS: Final = 1000


# The crowd, and the server that takes its bodies.


class Sink:
    """
    A server that reads bodies, and does not answer before they end, which they do not.
    """

    def __init__(self, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listening.setblocking(False)
        self._waiting = selectors.EpollSelector()
        self._waiting.register(self._listening, selectors.EVENT_READ)

    def turn(self) -> None:
        """
        Take what there is.
        """
        for key, _ in self._waiting.select(0):
            sock: Any = key.fileobj
            try:
                if sock is self._listening:
                    while True:
                        accepted, _ = sock.accept()
                        accepted.setblocking(False)
                        self._waiting.register(accepted, selectors.EVENT_READ)
                elif not sock.recv(65536):
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except OSError:
                self._waiting.unregister(sock)
                sock.close()


class Slow:
    """
    One of the crowd.
    """

    def __init__(self, number: int, port: int) -> None:
        self.kind = KINDS[number % len(KINDS)]
        self._port = port
        # A source address has 28,000 ports.
        self._source = f"127.0.0.{2 + number // 20000}"
        self.returned = 0
        self._connect()

    def _connect(self) -> None:
        self._socket = sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        sock.bind((self._source, 0))
        try:
            sock.connect(("127.0.0.1", self._port))
        except BlockingIOError:
            pass
        self._said = False

    def turn(self) -> None:
        """
        Do what there is to do in a second.
        """
        try:
            if not self._said:
                self._socket.send(_FIRST[self.kind])
                self._said = True
            elif self.kind == "slow head":
                self._socket.send(b"X: y\r\n")
            elif self.kind == "slow body":
                self._socket.send(b"x" * _BODY_RATE)
            elif self.kind == "slow reader" and not self._socket.recv(_READ_RATE):
                raise ConnectionResetError
            elif self.kind == "idle":
                while self._socket.recv(65536):
                    pass
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EINPROGRESS):
                self._socket.close()
                self.returned += 1
                self._connect()

    def close(self) -> None:
        """
        Go.
        """
        self._socket.close()


def crowd(port: int, sink_port: int, count: int) -> None:
    """
    Be the crowd, until standard input ends.
    """
    raise_limit()
    os.nice(10)  # on a small machine it would be the crowd that the normal client waits for, not the server
    sink = Sink(sink_port)
    slow: list[Slow] = []
    for number in range(count):
        slow.append(Slow(number, port))
        if number % 50 == 49:
            time.sleep(0.01)
            sink.turn()
    for each in slow:
        each.turn()
    print("here", flush=True)
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    turn = 0
    late = time.monotonic()
    while not waiting.select(max(0.0, late - time.monotonic())):
        late += 1 / _TURNS
        for each in slow[turn % _TURNS :: _TURNS]:
            each.turn()
        sink.turn()
        turn += 1
    print(sum(each.returned for each in slow), flush=True)
    for each in slow:
        each.close()


class Crowd:
    """
    The crowd, as a process.
    """

    def __init__(self, port: int, sink: int, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--crowd", str(count), "--port", str(port), "--sink", str(sink)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "here\n":
            raise RuntimeError("the crowd has not come")

    def leave(self) -> int:
        """
        Have all of them go; how often one was thrown out and came back.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            return 0
        output, _ = self._process.communicate(timeout=60)
        return int(output or 0)


# The server, and a normal client.


def raise_limit() -> None:
    """
    Allow as many descriptors as may be.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident(pid: int) -> int:
    """
    Bytes of memory that a process has.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


def scheduled(pid: int) -> tuple[float, float]:
    """
    The seconds that a process has run, and those that it was ready to run and did not.
    """
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text("ascii").split()
    return int(ran) / 1e9, int(waited) / 1e9


def open_descriptors(pid: int) -> int:
    """
    How many a process has.
    """
    return len(os.listdir(f"/proc/{pid}/fd"))


def latencies(port: int, seconds: float, rate: int, target: bytes = b"/") -> list[float]:
    """
    Ask ``rate`` times a second over one connection, and return how long each answer took, in order of size.

    :raise AssertionError: when an answer is not as it should be.
    """
    request = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    taken = []
    sock = socket.create_connection(("127.0.0.1", port), 10)
    begin = time.perf_counter()
    for number in range(int(seconds * rate)):
        rest = begin + number / rate - time.perf_counter()
        if rest > 0:
            time.sleep(rest)
        start = time.perf_counter()
        sock.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n\r\nhello"):
            data = sock.recv(65536)
            assert data, answer
            answer += data
        taken.append(time.perf_counter() - start)
        if b"\r\nConnection: close\r\n" in answer:  # it has had as many requests as one connection may
            sock.close()
            sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.close()
    return sorted(taken)


def quantile(ordered: list[float], part: float) -> float:
    """
    Of values in order.
    """
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def configuration(directory: Path, port: int, inner: int, sink: int) -> str:
    """
    The site, and its large file.
    """
    (directory / "large").write_bytes(b"x" * LARGE)
    return CONFIG.format(directory=directory, port=port, inner=inner, sink=sink)


def free_ports(count: int) -> list[int]:
    """
    Ports that nobody has right now.
    """
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _serve(directory: Path, port: int, inner: int, sink: int) -> Any:
    path = directory / "site.toml"
    path.write_text(configuration(directory, port, inner, sink))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    twistd = str(Path(sys.executable).with_name("twistd"))
    process = subprocess.Popen(
        [twistd, "--nodaemon", "--pidfile=", "twistginx", "--config", str(path)], cwd=directory, env=environment
    )
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", inner)) == 0:
                return process
        time.sleep(0.05)
    raise RuntimeError("twistginx does not listen")


def main() -> None:
    """
    The command.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=7000)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    parser.add_argument("--settle", type=float, default=15.0, help="seconds before the crowd has filled its buffers")
    parser.add_argument("--rounds", type=int, default=3, help="quiet and crowded, in turns")
    parser.add_argument("--rate", type=int, default=200, help="requests of the normal client, for each second")
    parser.add_argument("--crowd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.crowd is not None:
        crowd(options.port, options.sink, options.crowd)
        return
    raise_limit()
    with tempfile.TemporaryDirectory() as name:
        port, inner, sink = free_ports(3)
        server = _serve(Path(name), port, inner, sink)
        try:
            latencies(port, 2, options.rate)
            print(f"{'':>8} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'max ms':>8} {'CPU %':>6} {'wait %':>6}", end="")
            print(f" {'RSS MiB':>8} {'fds':>6}")
            ratios = []
            for number in range(options.rounds):
                before = resident(server.pid)
                quiet = _measure("quiet", port, server.pid, options)
                slow = Crowd(port, sink, options.connections)
                time.sleep(options.settle)
                crowded = _measure("crowded", port, server.pid, options)
                each = (resident(server.pid) - before) / options.connections
                returned = slow.leave()
                ratios.append(crowded / quiet)
                print(f"   p99 x {crowded / quiet:.2f}; {each / 1024:.1f} KiB for each connection; {returned} returned")
                if number + 1 < options.rounds:
                    time.sleep(3)
            print(f"median of p99, crowded over quiet: {quantile(sorted(ratios), 0.5):.2f}")
        finally:
            server.terminate()
            server.wait(30)


def _measure(what: str, port: int, pid: int, options: Any) -> float:
    before, start = scheduled(pid), time.monotonic()
    taken = latencies(port, options.seconds, options.rate)
    passed = time.monotonic() - start
    ran, waited = (100 * (now - then) / passed for now, then in zip(scheduled(pid), before, strict=True))
    figures = [1000 * quantile(taken, part) for part in (0.5, 0.9, 0.99, 1.0)]
    row = " ".join(f"{figure:8.2f}" for figure in figures)
    row += f" {ran:6.1f} {waited:6.1f} {resident(pid) / 2**20:8.1f} {open_descriptors(pid):6}"
    print(f"{what:>8} {row}", flush=True)
    return figures[2]


if __name__ == "__main__":
    main()
