"""
State in memory that the workers of one machine share.

The master makes it, and passes its descriptor to the workers::

    store = EmbeddedStore.create(16 << 20)      # in the master
    os.set_inheritable(store.fileno(), True)    # or childFDs of spawnProcess
    store = EmbeddedStore.attach(descriptor)    # in a worker

It is a memfd: it has no name, and is gone with the last process that has it.  What it holds is bounded by its size.
"""

from __future__ import annotations

import mmap
import os
import secrets
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
from hashlib import blake2b
from struct import Struct
from typing import Final

from zope.interface import implementer

from twistginx.interfaces import IStore
from twistginx.net.timers import NEVER, Ticker
from twistginx.shared.local import LONGEST_VALUE
from twistginx.shared.table import DIGEST, Table
from twistginx.shared.verdict import Verdict, judge

#: Seconds after which a worker that has not said that it lives holds nothing any more.
LEASE: Final = 10.0

#: Seconds between two times that a worker says so, while it holds something.
BEAT: Final = 1.0

#: How many workers there may be at a time, those that are being replaced among them.
WORKERS: Final = 64

_MAGIC: Final = b"twistgx\1"
_HEADER: Final = Struct("<8sQI16s")  # magic, bytes in all, workers, salt
_VERSION: Final = Struct("<Q")  # of the value that was put last
_WORKER: Final = Struct("<IHxxd")  # process, epoch, time of the last beat
_VERSION_AT: Final = 64
_CENSUS: Final = Struct("<I")  # how often a worker has found a number
_CENSUS_AT: Final = 72
_WORKERS_AT: Final = 128
_PAGE: Final = 4096

_MOST: Final = 0xFFFF
_MASK: Final = 0xFFFFFFFF

_AT_ONCE: Final = LOCK_EX | LOCK_NB

#: Digests that are remembered, so that they are not made again.
_REMEMBERED: Final = 4096

_LIMIT: Final = Struct("<d")  # the TAT
_unpack_tat = _LIMIT.unpack_from
_pack_tat = _LIMIT.pack_into
_TIME: Final = Struct("<d")  # at the front of a counter: when it was used last
_CELL: Final = Struct("<HH")  # of a worker in a counter: epoch, number that is held
_VALUE: Final = Struct(f"<dQH{LONGEST_VALUE}s")  # deadline, version, length, value


@implementer(IStore)
class EmbeddedStore:
    """
    Three tables in shared memory: limits, which have most of it, counters, and small values.

    A worker has a number and an epoch, by which it is told from the one that had the number before.  A counter has a
    cell for each number, and what a worker that is dead has left in its cell does not count.

    It decides at once.  It is used by the thread of the reactor alone.
    """

    def __init__(self, descriptor: int, ticker: Ticker | None = None) -> None:
        """
        :param descriptor: of the memory; it is ours from here on.
        :param ticker: keeps leases alive while a request runs for long; None: ``acquire`` alone does.
        :raise ValueError: when it is no such memory.
        """
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)
        magic, size, workers, self._salt = _HEADER.unpack_from(self._map)
        if magic != _MAGIC or size != len(self._map):
            raise ValueError("this is no shared memory of ours")
        start = _PAGE
        share = (size - start) // 16
        self._limits = Table(descriptor, self._map, start, 12 * share, _LIMIT)
        self._counters = Table(descriptor, self._map, start + 12 * share, 3 * share, Struct(f"<d{2 * workers}H"))
        self._values = Table(descriptor, self._map, start + 15 * share, share, _VALUE)
        self._digests: dict[bytes, bytes] = {}
        self._places: dict[bytes, tuple[bytes, int]] = {}
        self._workers = workers
        self._number = -1
        self._epoch = 0
        self._cell = 0  # the offset of our cell in a counter
        self._living: tuple[tuple[int, int], ...] = ()  # offset and epoch of the cells of those who live
        self._nothing = (0,) * (2 * workers)
        self._beaten = -NEVER
        self._census = -1
        self._holding = 0
        self._ticker = ticker
        self.deadline = NEVER

    @classmethod
    def create(cls, size: int = 16 << 20, workers: int = WORKERS, ticker: Ticker | None = None) -> EmbeddedStore:
        """
        New memory.

        :param size: in bytes.  Pages that nobody has used take nothing.
        :param workers: how many there may be at a time.
        """
        size = max(size, 1 << 20)
        descriptor = os.memfd_create("twistginx", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, size)
        os.pwrite(descriptor, _HEADER.pack(_MAGIC, size, min(workers, 240), secrets.token_bytes(16)), 0)
        return cls(descriptor, ticker)

    @classmethod
    def attach(cls, descriptor: int, ticker: Ticker | None = None) -> EmbeddedStore:
        """
        Memory that another process has made, and that is open here as ``descriptor``.

        :raise ValueError: when it is no such memory.
        """
        return cls(descriptor, ticker)

    def fileno(self) -> int:
        """
        The descriptor, to pass on.
        """
        return self._descriptor

    @property
    def size(self) -> int:
        """
        In bytes.
        """
        return len(self._map)

    def close(self) -> None:
        """
        Let go; what this worker holds is given back.
        """
        self._stop_beating()
        if self._number >= 0:
            _WORKER.pack_into(self._map, self._worker_at(self._number), 0, self._epoch, 0.0)
            self._number = -1
        self._map.close()
        os.close(self._descriptor)

    # Limits.

    def take(self, key: bytes, rate: float, burst: float, now: float, cost: float = 1.0, delay: float = 0.0) -> Verdict:
        """
        See ``IStore``.
        """
        found = self._places.get(key)
        digest, row = self._place(key) if found is None else found
        table = self._limits
        # What Table.lock and the others do, without a call for each.
        try:
            lockf(self._descriptor, _AT_ONCE, 1, row)
        except OSError:
            table.wait(row)
        try:
            at = table.find(digest, row)
            if at < 0:
                # The one whose bucket is full soonest is the one whose loss matters least.
                at = table.earliest(row)
                table.claim(at, digest)
                tat = now
            else:
                (tat,) = _unpack_tat(self._map, at)
            after, verdict = judge(tat, rate, burst, now, cost, delay)
            _pack_tat(self._map, at, after)
        finally:
            lockf(self._descriptor, LOCK_UN, 1, row)
        return verdict

    # Counters.

    def acquire(self, key: bytes, limit: int, now: float) -> bool:
        """
        See ``IStore``.
        """
        if not 0 <= now - self._beaten < BEAT or _CENSUS.unpack_from(self._map, _CENSUS_AT)[0] != self._census:
            self._beat(now)
        table = self._counters
        digest = self._digests.get(key) or self._digest(key)
        row = table.row_of(digest)
        table.lock(row)
        try:
            at = table.find(digest, row)
            if at < 0:
                at = self._forget_counter(row)
                table.write(at, now, *self._nothing)
                table.claim(at, digest)
            held, own = self._sum(at)
            admitted = held < limit and own < _MOST
            if admitted:
                _TIME.pack_into(self._map, at, now)
                _CELL.pack_into(self._map, at + self._cell, self._epoch, own + 1)
        finally:
            table.unlock(row)
        if admitted:
            self._holding += 1
            if self._holding == 1 and self._ticker is not None:
                self.deadline = self._ticker.now + BEAT
                self._ticker.watch(self)
        return admitted

    def release(self, key: bytes) -> None:
        """
        See ``IStore``.
        """
        self._holding -= 1
        if self._holding <= 0:
            self._holding = 0
            self._stop_beating()
        table = self._counters
        digest = self._digests.get(key) or self._digest(key)
        row = table.row_of(digest)
        table.lock(row)
        try:
            at = table.find(digest, row)
            if at >= 0:
                epoch, own = _CELL.unpack_from(self._map, at + self._cell)
                if epoch == self._epoch and own:
                    _CELL.pack_into(self._map, at + self._cell, epoch, own - 1)
        finally:
            table.unlock(row)

    def _sum(self, at: int) -> tuple[int, int]:
        """
        What all who live hold of a counter, and what we do.
        """
        total = own = 0
        for offset, living in self._living:
            epoch, count = _CELL.unpack_from(self._map, at + offset)
            if epoch == living:
                total += count
                if offset == self._cell:
                    own = count
        return total, own

    def _forget_counter(self, row: int) -> int:
        """
        The slot of a counter that is given up: one that nobody holds anything of, or else the oldest.
        """
        slots = self._counters.by_age(row)
        return next((at for at in slots if not self._sum(at)[0]), slots[0])

    # Small values.

    def put(self, key: bytes, value: bytes, ttl: float, now: float) -> int:
        """
        See ``IStore``.
        """
        if len(value) > LONGEST_VALUE:
            raise ValueError(f"a value of {len(value)} bytes; {LONGEST_VALUE} are the most")
        table = self._values
        digest = self._digest(key)
        row = table.row_of(digest)
        version = self._next_version()
        table.lock(row)
        try:
            at = table.find(digest, row)
            if at < 0:
                at = table.earliest(row)
                table.claim(at, digest)
            table.write(at, now + ttl, version, len(value), value)
        finally:
            table.unlock(row)
        return version

    def _next_version(self) -> int:
        self._values.lock(_VERSION_AT)
        try:
            version: int = _VERSION.unpack_from(self._map, _VERSION_AT)[0] + 1
            _VERSION.pack_into(self._map, _VERSION_AT, version)
        finally:
            self._values.unlock(_VERSION_AT)
        return version

    def get(self, key: bytes, now: float) -> tuple[bytes, int] | None:
        """
        See ``IStore``.
        """
        table = self._values
        digest = self._digest(key)
        row = table.row_of(digest)
        table.lock(row)
        try:
            at = table.find(digest, row)
            if at < 0:
                return None
            deadline, version, length, value = table.read(at)
        finally:
            table.unlock(row)
        return (value[:length], version) if deadline > now else None

    # Who lives.

    def deadline_passed(self) -> None:
        """
        Called by the ticker: say that we live.
        """
        if self._ticker is not None:
            self.deadline = self._ticker.now + BEAT
            self._beat(self._ticker.now)

    def _stop_beating(self) -> None:
        if self._ticker is not None:
            self._ticker.forget(self)
        self.deadline = NEVER

    def _beat(self, now: float) -> None:
        """
        Say that we live, and look who does.
        """
        self._beaten = now
        self._limits.lock(0)
        try:
            workers = [_WORKER.unpack_from(self._map, self._worker_at(number)) for number in range(self._workers)]
            if self._number < 0 or workers[self._number][1] != self._epoch:
                self._number, self._epoch = self._find_number(workers, now)
                self._cell = _TIME.size + self._number * _CELL.size
                _CENSUS.pack_into(self._map, _CENSUS_AT, (_CENSUS.unpack_from(self._map, _CENSUS_AT)[0] + 1) & _MASK)
            self._census = _CENSUS.unpack_from(self._map, _CENSUS_AT)[0]
            workers[self._number] = (os.getpid(), self._epoch, now)
            _WORKER.pack_into(self._map, self._worker_at(self._number), *workers[self._number])
        finally:
            self._limits.unlock(0)
        self._living = tuple(
            (_TIME.size + number * _CELL.size, epoch)
            for number, (process, epoch, beaten) in enumerate(workers)
            if process and now - beaten < LEASE and _is_alive(process)
        )

    def _find_number(self, workers: list[tuple[int, int, float]], now: float) -> tuple[int, int]:
        """
        A number that nobody has, and a new epoch for it.  One who has not been heard of for long is asked to find
        another, should it live.
        """

        def worth(number: int) -> tuple[bool, float]:
            process, _, beaten = workers[number]
            return bool(process) and _is_alive(process), beaten

        number = min(range(self._workers), key=worth)
        _, epoch, beaten = workers[number]
        if worth(number)[0] and now - beaten < LEASE:
            raise RuntimeError(f"there are more than {self._workers} workers")
        self._holding = 0
        return number, epoch % _MOST + 1

    @staticmethod
    def _worker_at(number: int) -> int:
        return _WORKERS_AT + number * _WORKER.size

    # Keys.

    def _place(self, key: bytes) -> tuple[bytes, int]:
        """
        The digest of a limit's key, and its row; remembered, because those who ask often ask again.
        """
        digest = self._digest(key)
        place = digest, self._limits.row_of(digest)
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        self._places[key] = place
        return place

    def _digest(self, key: bytes) -> bytes:
        """
        A client that knew which keys meet in a row could have others forgotten, so nobody knows.
        """
        digests = self._digests
        digest = digests.get(key)
        if digest is None:
            if len(digests) >= _REMEMBERED:
                digests.clear()
            digest = digests[key] = blake2b(key, digest_size=DIGEST, key=self._salt).digest()
        return digest


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's, and so it is there
    return True
