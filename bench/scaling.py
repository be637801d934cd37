"""
What a second worker brings, on two cores that the loader needs too.

    python bench/scaling.py [--seconds 4] [--rounds 3]

With few cores a rate says little: server, loader and upstream take turns on them.  So all CPU time is counted, and
what is compared is that of a request in the server: if it is the same with two workers, two cores carry twice as much.
C{carries} is that rate, on cores that the server has to itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the repository, where this directory is a package

from attrs import evolve, frozen  # the path comes first

from bench import wrk
from bench.install import CACHE
from bench.jobs import page, small
from bench.material import Material
from bench.peers import TWISTGINX, Role, Server, launch, launch_upstream
from bench.processes import Process, wait_for
from bench.verify import Question, look


@frozen
class Load:
    """
    What is asked.
    """

    title: str
    role: Role
    ask: Callable[[Material], Question]


LOADS: Final = (
    Load("static 1 KiB, kept alive", "static", page),
    Load("proxied, small, kept alive", "proxy", small),
    Load("static 1 KiB, a connection each", "static", lambda material: page(material, close=True)),
)


@frozen
class Sample:
    """
    One measurement.

    :ivar rate: requests per second.
    :ivar server: microseconds of CPU time of a request, in all processes of the server.
    :ivar loader: the same, of the loader.
    :ivar upstream: the same, of the upstream.
    :ivar requests: that each worker has answered.
    :ivar accepted: connections that each worker has accepted.
    """

    rate: float
    server: float
    loader: float
    upstream: float
    requests: Sequence[int]
    accepted: Sequence[int]


def stats(path: Path) -> list[dict[str, Any]]:
    """
    What each worker has counted, by the control interface.
    """
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(os.fspath(path))
        control.sendall(b'{"command": "stats"}\n')
        with control.makefile("rb") as answers:
            workers: list[dict[str, Any]] = json.loads(answers.readline())["workers"]
    return workers


def counts(directory: Path) -> tuple[list[int], list[int]]:
    """
    Requests and accepted connections of each worker, in their order.
    """
    workers = sorted(stats(directory / "control.sock"), key=lambda each: int(each.get("worker", 0)))
    return (
        [each["counters"]["requests"] for each in workers],
        [sum(listener["accepted"] for listener in each["listeners"].values()) for each in workers],
    )


def sample(
    load: Load, server: Server, directory: Path, upstream: Process, material: Material, seconds: int, core: int | None
) -> Sample:
    """
    Measure once.
    """
    question = load.ask(material)
    request = directory / "request.txt"
    request.write_bytes(question.head())
    argv = wrk.command(f"http://127.0.0.1:{server.ports[load.role]}/", seconds, request)
    before = server.process.cpu(), upstream.cpu(), _cpu_of_children(), counts(directory)
    came = wrk.run(argv, core, seconds + 60)
    after = server.process.cpu(), upstream.cpu(), _cpu_of_children(), counts(directory)
    if not came.requests or came.errors:
        raise SystemExit(f"{load.title}: {came.requests} requests, {came.errors} errors")
    mine, theirs, loader = ((new - old) / came.requests * 1e6 for old, new in zip(before[:3], after[:3], strict=True))
    requests, accepted = (
        [new - old for old, new in zip(earlier, later, strict=True)]
        for earlier, later in zip(before[3], after[3], strict=True)
    )
    return Sample(came.rate, mine, loader, theirs, requests, accepted)


def _cpu_of_children() -> float:
    """
    Seconds of CPU time of the processes that we have waited for: each loader.
    """
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def spread(rounds: Sequence[Sequence[int]]) -> str:
    """
    How uneven the workers' shares are, the largest in units of the smallest: the median of the rounds, and the worst.
    """
    if len(rounds[0]) < 2:
        return "-"
    ratios = [max(counted) / min(counted) if min(counted) else inf for counted in rounds]
    return f"{median(ratios):.2f} ({max(ratios):.2f})"


HEADS: Final = ("load", "workers", "req/s", "server us", "loader us", "upstream us", "requests", "accepted", "carries")


def row(load: Load, workers: int, samples: Sequence[Sample]) -> tuple[str, ...]:
    """
    A line of the table: medians.
    """
    server = median(each.server for each in samples)
    return (
        load.title,
        str(workers),
        f"{median(each.rate for each in samples):,.0f}",
        f"{server:.1f}",
        f"{median(each.loader for each in samples):.1f}",
        f"{median(each.upstream for each in samples):.1f}",
        spread([each.requests for each in samples]),
        spread([each.accepted for each in samples]),
        f"{workers / server * 1e6:,.0f}",
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """
    As reStructuredText.
    """
    lines = [HEADS, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADS))]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def main(argv: Sequence[str] | None = None) -> int:
    """
    Measure, in turns, and print.
    """
    parser = argparse.ArgumentParser(prog="scaling", description="Measure one worker and two.")
    parser.add_argument("--seconds", type=int, default=4, help="how long each load lasts (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="turns for each number of workers (default: 3)")
    parser.add_argument("--workers", default="1,2", help="how many, separated by commas (default: 1,2)")
    parser.add_argument("--load-core", type=int, default=None, help="the core of the loader; any, unless it is said")
    options = parser.parse_args(argv)
    material = Material(CACHE / "material")
    material.make()
    directory = CACHE / "scaling"
    shutil.rmtree(directory, ignore_errors=True)
    sizes = [int(each) for each in options.workers.split(",")]
    with ExitStack() as stack:
        upstream, port = launch_upstream(directory / "upstream", material, None)
        stack.callback(upstream.stop)
        servers: dict[int, tuple[Server, Path]] = {}
        for workers in sizes:
            place = directory / f"workers{workers}"
            peer = evolve(TWISTGINX, config="scaling.toml", values={"WORKERS": str(workers)})
            server = launch(peer, place, material, port, None)
            stack.callback(server.process.stop)
            for load in LOADS:
                wait_for(server.ports[load.role], server.process)
                look(server.ports[load.role], load.ask(material))
            servers[workers] = server, place
        samples: dict[tuple[str, int], list[Sample]] = {}
        for _ in range(options.rounds):
            for load in LOADS:
                for workers, (server, place) in servers.items():
                    measured = sample(load, server, place, upstream, material, options.seconds, options.load_core)
                    samples.setdefault((load.title, workers), []).append(measured)
                    print(f"{load.title}, {workers}: {measured}", file=sys.stderr, flush=True)
    print(table([row(load, workers, samples[load.title, workers]) for load in LOADS for workers in sizes]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
