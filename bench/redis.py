"""
What a decision of a Redis costs a worker, and how long it takes: one at a time, and many in flight.

    python -m bench.redis

A redis-server of its own, on a UNIX socket; what is counted is the CPU of the worker, and the time of the clock.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater, react
from twisted.logger import Logger

from twistginx.net.timers import Ticker
from twistginx.shared import redis
from twistginx.shared.local import LocalStore

#: Decisions, and how many are in flight at a time.
NUMBER = 20_000
IN_FLIGHT = (1, 10, 50, 200)


@contextmanager
def server(directory: Path) -> Iterator[Path]:
    """
    A Redis; the socket that it listens on.
    """
    socket = directory / "socket"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    running = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        yield socket
    finally:
        running.kill()
        running.wait()


async def measure(reactor: Any, socket: Path) -> None:
    """
    Print a table.
    """
    context: Any = SimpleNamespace(reactor=reactor, ticker=Ticker(reactor), log=Logger(), memory=LocalStore())
    store = redis.make(redis.Config(f"redis+unix://{socket}", timeout=5.0), context)  # type: ignore[arg-type]
    store.start()
    while not store._link.there:
        await deferLater(reactor, 0.01)
    print(f"{'in flight':>9} {'us CPU':>8} {'us':>8} {'a second':>9}")
    for number in IN_FLIGHT:
        rounds = NUMBER // number if number > 1 else NUMBER // 4
        keys = [b"bench/%d" % index for index in range(number)]
        spent, begin = process_time(), perf_counter()
        for _ in range(rounds):
            verdicts = await gatherResults([store.take(key, 1e6, 1e6, 0.0) for key in keys])
            assert all(verdict.admitted for verdict in verdicts)
        scale = 1e6 / (rounds * number)
        spent, taken = (process_time() - spent) * scale, (perf_counter() - begin) * scale
        print(f"{number:9} {spent:8.1f} {taken:8.1f} {1e6 / taken:9,.0f}", flush=True)
    await store.stop()


def main(reactor: Any) -> Any:
    """
    Measure.
    """

    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as socket:
            await measure(reactor, socket)

    return ensureDeferred(run())


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(__doc__)
    react(main)
