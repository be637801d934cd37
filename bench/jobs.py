"""
What is measured, and how.
"""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Final

from attrs import frozen

from bench import wrk
from bench.material import FILES, NUMBER, SMALL_ANSWER, GiB, Material
from bench.peers import Role, Server
from bench.processes import pinned, wait_for
from bench.verify import LAST_MODIFIED, Question, look

#: Connections of the loaders for large bodies, and of the one with a rate.
TRANSFERS: Final = 4
PACED: Final = 64

#: What of a head of :data:`bench.material.HEAD` is different each time where a cookie is to change.
_REPEATED: Final = b"theme=dark"

#: No faster than this, because the loader is written in Python: at a higher rate it would be measured, too.
FASTEST_PACE: Final = 15_000

#: Idle connections, the rate of the client that works meanwhile, and the seconds that a server has to settle.
IDLE: Final = 7_000
IDLE_RATE: Final = 200
SETTLE: Final = 1.0


@frozen
class Sample:
    """
    One measurement of one server.

    :ivar figure: what servers are compared by; its unit is its job's.
    :ivar rate: what was done per second; None: that says nothing.
    :ivar p50: seconds; None: not measured.
    :ivar p99: seconds.
    :ivar ratio: to nginx's figure, where that is not measured in the same round by the same job.
    """

    figure: float
    rate: float | None = None
    p50: float | None = None
    p99: float | None = None
    errors: int = 0
    ratio: float | None = None


@frozen
class Run:
    """
    What is common to all measurements of a run.

    :ivar seconds: how long a load lasts.
    :ivar server_core: where servers run; None: anywhere.
    :ivar load_core: where loaders and the upstream run.
    :ivar directory: for what loaders read.
    """

    material: Material
    seconds: int
    server_core: int | None
    load_core: int | None
    directory: Path

    def loader(self, name: str, *arguments: object) -> list[str]:
        """
        The command of a loader of C{bench.load}.
        """
        return [sys.executable, "-m", f"bench.load.{name}", *map(str, arguments)]

    def load(self, argv: list[str]) -> wrk.Load:
        """
        Run a loader to its end.
        """
        return wrk.run(argv, self.load_core, self.seconds + 60)


@frozen(kw_only=True)
class Job(ABC):
    """
    Something to measure.

    :ivar name: how the command line calls it.
    :ivar title: how the table calls it.
    :ivar role: what the server is to be.
    :ivar ask: what the server is asked, and must answer rightly before it is measured.
    :ivar target: the ratio to nginx that twistginx is to stay within; None: there is none.
    :ivar limit: the figure that it is to stay within; None: there is none.
    :ivar unit: of the figure.
    :ivar per_second: what the rate counts.
    :ivar fresh: is the server started anew for each measurement?
    """

    name: str
    title: str
    role: Role
    ask: Callable[[Material], Question]
    target: float | None = None
    limit: float | None = None
    unit: str
    per_second: str = "requests"
    fresh: bool = False

    @abstractmethod
    def sample(self, run: Run, launch: Callable[[], Server], baseline: Callable[[], Server]) -> Sample:
        """
        Measure once.

        :param launch: gives the server; where it is C{fresh}, one that was started just now and may not listen yet.
        :param baseline: gives nginx, running, but where it is C{fresh}.
        :raise RuntimeError: when the server does not start.
        :raise ValueError: when a loader fails.
        :raise Wrong: when it answers wrongly.
        """


# --- what is asked ----------------------------------------------------------------------------------------------------


def page(material: Material, *, close: bool = False) -> Question:
    """
    A file of 1 KiB.
    """
    return _file(material, "page.html", "text/html", close=close)


def large(material: Material) -> Question:
    """
    A file of 64 MiB.
    """
    return _file(material, "large.pdf", "application/pdf")


def _file(material: Material, name: str, kind: str, *, close: bool = False) -> Question:
    headers = {"content-type": kind, "content-length": str(FILES[name]), "last-modified": LAST_MODIFIED}
    return Question("GET", f"/{name}", material.digest(name), headers, close=close)


def _answer(method: str, path: str, body: bytes | None = None) -> Question:
    headers = {"content-type": "application/json", "content-length": str(len(SMALL_ANSWER))}
    return Question(method, path, sha256(SMALL_ANSWER).hexdigest(), headers, body)


def small(material: Material) -> Question:
    """
    A small answer of the upstream.
    """
    return _answer("GET", "/api/item")


def download(name: str) -> Callable[[Material], Question]:
    """
    A file that the upstream has.
    """

    def question(material: Material) -> Question:
        headers = {"content-type": "application/octet-stream", "content-length": str(FILES[name])}
        return Question("GET", f"/body/{name}", material.digest(name), headers)

    return question


def upload(name: str) -> Callable[[Material], Question]:
    """
    A file for the upstream.
    """

    def question(material: Material) -> Question:
        return _answer("POST", "/upload/", (material.root / name).read_bytes())

    return question


def _request_file(run: Run, question: Question, *, varied: bool = False) -> Path:
    path = run.directory / "request.txt"
    head = question.head()
    path.write_bytes(head.replace(_REPEATED, b"theme=" + NUMBER) if varied else head)
    return path


# --- how it is measured -----------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Requests(Job):
    """
    As many requests as a server answers, by wrk: CPU time of one.

    :ivar body: the file that is sent along; None: nothing.
    :ivar varied: no two requests have the same Cookie.
    """

    body: str | None = None
    varied: bool = False
    unit: str = "µs CPU"

    def sample(self, run: Run, launch: Callable[[], Server], baseline: Callable[[], Server]) -> Sample:
        server = launch()
        load, cpu = loaded(run, server, self.role, self.ask(run.material), self.body, varied=self.varied)
        return Sample(cpu / load.requests * 1e6, load.rate, load.p50, load.p99, load.errors)


def loaded(
    run: Run,
    server: Server,
    role: Role,
    question: Question,
    body: str | None = None,
    seconds: int | None = None,
    *,
    varied: bool = False,
) -> tuple[wrk.Load, float]:
    """
    Have wrk load a server.

    :return: what came of it, and the seconds of CPU time that the server took.
    :raise ValueError: when nothing was answered.
    """
    url = f"{'https' if role == 'tls' else 'http'}://127.0.0.1:{server.ports[role]}/"
    argv = wrk.command(
        url,
        seconds or run.seconds,
        _request_file(run, question, varied=varied),
        None if body is None else run.material.root / body,
    )
    before = server.process.cpu()
    load = run.load(argv)
    cpu = server.process.cpu() - before
    if not load.requests:
        raise ValueError(f"nothing was answered, {load.errors} errors")
    return load, cpu


@frozen(kw_only=True)
class Transfers(Job):
    """
    Large bodies: CPU time of one GiB.

    :ivar body: the file that is sent along; None: nothing, and the answer is what is large.
    """

    body: str | None = None
    unit: str = "ms CPU/GiB"
    per_second: str = "GiB"

    def sample(self, run: Run, launch: Callable[[], Server], baseline: Callable[[], Server]) -> Sample:
        server = launch()
        request = _request_file(run, self.ask(run.material))
        body = [] if self.body is None else [run.material.root / self.body]
        before = server.process.cpu()
        load = run.load(run.loader("transfer", server.ports[self.role], TRANSFERS, run.seconds, request, *body))
        cpu = server.process.cpu() - before
        if not load.size:
            raise ValueError(f"nothing was transferred, {load.errors} errors")
        return Sample(cpu / load.size * GiB * 1e3, load.size / GiB / load.seconds, load.p50, load.p99, load.errors)


@frozen(kw_only=True)
class HalfLoad(Job):
    """
    Latency at half of the server's own capacity, compared with nginx's at the same rate.
    """

    unit: str = "µs p99"

    def sample(self, run: Run, launch: Callable[[], Server], baseline: Callable[[], Server]) -> Sample:
        server = launch()
        question = self.ask(run.material)
        capacity, _ = loaded(run, server, self.role, question, seconds=1)
        rate = min(capacity.rate / 2, FASTEST_PACE)
        load = paced(run, server.ports[self.role], rate, question)
        nginx = load if server is baseline() else paced(run, baseline().ports[self.role], rate, question)
        return Sample(load.p99 * 1e6, load.rate, load.p50, load.p99, load.errors, load.p99 / nginx.p99)


def paced(run: Run, port: int, rate: float, question: Question) -> wrk.Load:
    """
    Have requests come at a rate.
    """
    return run.load(run.loader("pace", port, PACED, run.seconds, rate, _request_file(run, question)))


@frozen(kw_only=True)
class IdleConnections(Job):
    """
    Memory of kept-alive connections that do nothing, and how a client fares meanwhile.
    """

    unit: str = "KiB/connection"
    fresh: bool = True

    def sample(self, run: Run, launch: Callable[[], Server], baseline: Callable[[], Server]) -> Sample:
        server = launch()
        port = server.ports[self.role]
        wait_for(port, server.process)
        question = self.ask(run.material)
        look(port, question)  # what is loaded late has been loaded now
        before = server.process.rss()
        argv = pinned(run.loader("idle", port, IDLE, _request_file(run, question)), run.load_core)
        root = Path(__file__).parent.parent
        with subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as idle:
            try:
                assert idle.stdout is not None
                if idle.stdout.readline() != "ready\n":
                    raise ValueError(f"does not take {IDLE} connections")
                sleep(SETTLE)
                after = server.process.rss()
                load = paced(run, port, IDLE_RATE, question)
                alive = int(idle.communicate("", 60)[0])
            finally:
                idle.kill()
        if alive < IDLE:
            raise ValueError(f"keeps {alive} connections of {IDLE}")
        return Sample((after - before) / IDLE / 1024, load.rate, load.p50, load.p99, load.errors)


@frozen(kw_only=True)
class StartUp(Job):
    """
    From the start of the process to its first right answer.
    """

    unit: str = "ms"
    per_second: str = ""
    fresh: bool = True

    def sample(self, run: Run, launch: Callable[[], Server], baseline: Callable[[], Server]) -> Sample:
        started = perf_counter()
        server = launch()
        end = monotonic() + 30
        while monotonic() < end and not server.process.ended():
            connection = HTTPConnection("127.0.0.1", server.ports[self.role], timeout=10)
            with suppress(OSError, HTTPException):
                connection.request("GET", self.ask(run.material).path)
                if connection.getresponse().status == 200:
                    return Sample((perf_counter() - started) * 1e3)
            connection.close()
            sleep(0.001)
        raise RuntimeError(server.process.said() or "it did not answer")


JOBS: Final[tuple[Job, ...]] = (
    Requests(name="static-1k", title="static 1 KiB", role="static", ask=page, target=1.5),
    Requests(name="static-varied", title="static 1 KiB, a cookie that changes", role="static", ask=page, varied=True),
    Transfers(name="static-64m", title="static 64 MiB", role="static", ask=large, target=1.0),
    Requests(name="proxy-small", title="proxy, small answer", role="proxy", ask=small, target=2.0),
    Requests(name="proxy-varied", title="proxy, small, a cookie that changes", role="proxy", ask=small, varied=True),
    Requests(name="proxy-100k-down", title="proxy, 100 KiB down", role="proxy", ask=download("body-100k.bin")),
    Requests(
        name="proxy-100k-up", title="proxy, 100 KiB up", role="proxy", ask=upload("body-100k.bin"), body="body-100k.bin"
    ),
    Transfers(
        name="proxy-10m-down", title="proxy, 10 MiB down", role="proxy", ask=download("body-10m.bin"), target=1.2
    ),
    Transfers(
        name="proxy-10m-up",
        title="proxy, 10 MiB up",
        role="proxy",
        ask=upload("body-10m.bin"),
        body="body-10m.bin",
        target=1.2,
    ),
    Requests(name="tls-1k", title="TLS 1.3, static 1 KiB", role="tls", ask=page, target=2.0),
    Requests(
        name="tls-handshake",
        title="TLS 1.3, a handshake each",
        role="tls",
        ask=lambda material: page(material, close=True),
        target=1.5,
        per_second="handshakes",
    ),
    Requests(name="stream-small", title="TCP stream, small", role="stream", ask=small, target=1.5),
    Transfers(name="stream-bulk", title="TCP stream, bulk", role="stream", ask=download("large.pdf"), target=1.0),
    HalfLoad(name="static-half", title="static 1 KiB at half of capacity", role="static", ask=page, target=2.0),
    HalfLoad(name="proxy-half", title="proxy, small, at half of capacity", role="proxy", ask=small, target=2.0),
    IdleConnections(name="idle", title=f"{IDLE} idle connections", role="static", ask=page, limit=4.5),
    StartUp(name="start", title="start to first answer", role="static", ask=page),
    StartUp(name="proxy-start", title="start to first answer of a proxy", role="proxy", ask=small),
)

#: By name.
BY_NAME: Final[Mapping[str, Job]] = {job.name: job for job in JOBS}
