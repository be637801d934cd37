"""
A hash table of fixed size in memory that several processes have mapped.  Pure.

A key is a digest of 16 bytes.  It belongs to one row of slots; a row that is full forgets a slot for a new one.
Whoever changes a row has it locked: the kernel releases the locks of a process that dies, so that nobody waits for
the dead.
"""

from __future__ import annotations

from fcntl import F_GETLK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_UN, fcntl, lockf
from mmap import mmap
from os import SEEK_SET, sched_yield
from struct import Struct
from typing import Any, Final

#: Bytes of a digest.
DIGEST: Final = 16

#: Turns in which a lock is tried for before the kernel is to wait for it, which takes longer than the other holds it.
_TURNS: Final = 20

#: ``struct flock`` (fcntl(2)) where files may be large: kind, whence, start, length, process.
_FLOCK: Final = Struct("@hhqqi0q")

#: Slots of a row: as many as can be looked through at the speed of ``bytes.find``.
WAYS: Final = 16


class Table:
    """
    One table of a mapping.

    :ivar slot: what stands in a slot behind the digest; the first of it is a time, as a double.
    :ivar rows: how many there are.
    """

    __slots__ = ("_descriptor", "_map", "_row", "_start", "_step", "_times", "rows", "slot")

    def __init__(self, descriptor: int, mapping: mmap, start: int, size: int, slot: Struct) -> None:
        """
        :param start: of the table in the mapping, in bytes.
        :param size: of the table, in bytes; what is no whole row is not used.
        """
        self._descriptor = descriptor
        self._map = mapping
        self._start = start
        self._step = DIGEST + slot.size
        self._row = self._step * WAYS
        self._times = Struct("<" + f"{DIGEST}xd{slot.size - 8}x" * WAYS)
        self.slot = slot
        self.rows = size // self._row

    def row_of(self, digest: bytes) -> int:
        """
        The offset of a digest's row.
        """
        return self._start + int.from_bytes(digest[:8], "little") % self.rows * self._row

    def lock(self, row: int) -> None:
        """
        Nobody else changes the row until ``unlock``.  Waits; nobody holds a lock for longer than a few microseconds.
        """
        try:
            lockf(self._descriptor, LOCK_EX | LOCK_NB, 1, row)
        except OSError:
            self.wait(row)

    def wait(self, row: int) -> None:
        """
        Lock a row that another process has locked, when that is done with it.

        One that has been stopped (SIGSTOP, a debugger) may not be done with it for hours, and would hold up everybody.
        So nobody waits for him, and a row that he was about to change may be changed twice.
        """
        for _ in range(_TURNS):
            sched_yield()
            try:
                lockf(self._descriptor, LOCK_EX | LOCK_NB, 1, row)
            except OSError:
                continue
            return
        if not _is_stopped(self._holder(row)):
            lockf(self._descriptor, LOCK_EX, 1, row)

    def _holder(self, row: int) -> int:
        """
        The process that has locked a row; 0: none.
        """
        asked = _FLOCK.pack(F_WRLCK, SEEK_SET, row, 1, 0)
        kind, _, _, _, process = _FLOCK.unpack(fcntl(self._descriptor, F_GETLK, asked))
        return 0 if kind == F_UNLCK else process

    def unlock(self, row: int) -> None:
        """
        The row is the next one's.
        """
        lockf(self._descriptor, LOCK_UN, 1, row)

    def find(self, digest: bytes, row: int) -> int:
        """
        Where the slot of ``digest`` has its contents; -1 when it has none.
        """
        at = self._map.find(digest, row, row + self._row)
        if at < 0 or (at - row) % self._step:
            return -1
        return at + DIGEST

    def by_age(self, row: int) -> list[int]:
        """
        Where the slots of a row have their contents; first those whose time is the earliest.
        """
        times = self._times.unpack_from(self._map, row)
        order = sorted(range(WAYS), key=times.__getitem__)
        return [row + DIGEST + index * self._step for index in order]

    def earliest(self, row: int) -> int:
        """
        The first of these.
        """
        times = self._times.unpack_from(self._map, row)
        return row + DIGEST + times.index(min(times)) * self._step

    def read(self, at: int) -> tuple[Any, ...]:
        """
        The contents of a slot.
        """
        return self.slot.unpack_from(self._map, at)

    def write(self, at: int, *contents: Any) -> None:
        """
        Change the contents of a slot.
        """
        self.slot.pack_into(self._map, at, *contents)

    def claim(self, at: int, digest: bytes) -> None:
        """
        From now on the slot is that of ``digest``; its contents are the caller's to write.
        """
        self._map[at - DIGEST : at] = digest


def _is_stopped(process: int) -> bool:
    """
    Has somebody stopped it?  (proc(5): the state stands behind the name, which is in parentheses.)
    """
    try:
        with open(f"/proc/{process}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split(maxsplit=1)[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False
