"""
What an update of shared state costs, and what of it is kept when several processes update the same.

    python -m bench.shared

Each store does the same: take a token of a bucket that it finds by its key.  lmdb, where it is installed, does so as a
write transaction without syncing; it is what ``shared.embedded`` was measured against.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from time import monotonic, perf_counter, process_time
from typing import Any

from twistginx.shared.embedded import EmbeddedStore
from twistginx.shared.local import LocalStore
from twistginx.shared.verdict import Verdict, judge

NUMBER = 100_000

_TAT = struct.Struct("<d")


class LmdbStore:
    """
    The same on lmdb.
    """

    def __init__(self, path: str) -> None:
        import lmdb

        self._environment = lmdb.open(path, map_size=1 << 28, sync=False, metasync=False, writemap=True, map_async=True)

    def take(self, key: bytes, rate: float, burst: float, now: float) -> Verdict:
        """
        As ``IStore`` has it.
        """
        with self._environment.begin(write=True) as transaction:
            found = transaction.get(key)
            tat, verdict = judge(_TAT.unpack(found)[0] if found else now, rate, burst, now)
            transaction.put(key, _TAT.pack(tat))
        return verdict


def measure(label: str, act: Callable[[int], object], number: int = NUMBER) -> None:
    """
    Print what one costs, of the CPU and of the clock.
    """
    for index in range(number // 10):
        act(index)
    wall, cpu = perf_counter(), process_time()
    for index in range(number):
        act(index)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    print(f"{label:44} {cpu / number * 1e6:8.2f} us CPU {wall / number * 1e6:8.2f} us", flush=True)


def alone(name: str, store: Any) -> None:
    """
    One process.
    """
    now = monotonic()
    keys = [b"rate_limit/site(example.com)/10.0.%d.%d" % (index >> 8, index & 255) for index in range(1000)]
    measure(f"{name}: take, one key", lambda _: store.take(keys[0], 1e6, 20.0, now))
    measure(f"{name}: take, 1,000 keys", lambda index: store.take(keys[index % 1000], 1e6, 20.0, now))
    measure(f"{name}: take, new keys", lambda index: store.take(b"new/%d" % index, 10.0, 20.0, now))
    if not hasattr(store, "acquire"):
        return

    def hold(_: int) -> None:
        store.acquire(keys[0], 100, now)
        store.release(keys[0])

    measure(f"{name}: acquire and release", hold)
    measure(f"{name}: put", lambda _: store.put(keys[0], b"down", 10.0, now))
    measure(f"{name}: get", lambda _: store.get(keys[0], now))


WORKER = """
import sys
from time import monotonic, process_time
from bench.shared import LmdbStore
from twistginx.shared.embedded import EmbeddedStore
kind, where, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
store = LmdbStore(where) if kind == "lmdb" else EmbeddedStore.attach(int(where))
begin = now = monotonic()
spent = process_time()
asked = admitted = 0
while now < begin + seconds:
    asked += 1
    admitted += store.take(b"key", 1000.0, 100.0, now).admitted
    now = monotonic()
print(asked, admitted, begin, now, process_time() - spent)
"""


def together(kind: str, where: str, workers: int, descriptors: tuple[int, ...] = ()) -> None:
    """
    Several processes, one key, 1,000/s with a burst of 100: how many are asked, and how exact it is.
    """
    arguments = [sys.executable, "-c", WORKER, kind, where, "3"]
    running = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, pass_fds=descriptors) for _ in range(workers)
    ]
    said = [process.communicate()[0].split() for process in running]
    seconds = max(float(each[3]) for each in said) - min(float(each[2]) for each in said)
    asked, admitted = sum(int(each[0]) for each in said), sum(int(each[1]) for each in said)
    spent = sum(float(each[4]) for each in said)
    right = 100 + 1000 * seconds
    print(
        f"{kind}, {workers} processes on one key: {asked / seconds:,.0f} a second, {spent / asked * 1e6:.1f} us CPU "
        f"and {workers * seconds / asked * 1e6:.1f} us each; {admitted} admitted where {right:.0f} are right "
        f"({100 * (admitted - right) / right:+.2f} %)",
        flush=True,
    )


def main() -> int:
    """
    Measure, and print.
    """
    alone("local", LocalStore())
    embedded = EmbeddedStore.create()
    alone("embedded", embedded)
    path = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        alone("lmdb", LmdbStore(path))
        has_lmdb = True
    except ImportError:
        has_lmdb = False
    for workers in (2, 4):
        together("embedded", str(embedded.fileno()), workers, (embedded.fileno(),))
        if has_lmdb:
            together("lmdb", path, workers)
    shutil.rmtree(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
