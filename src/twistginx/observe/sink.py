"""
Where log lines go: a file, standard output or standard error.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The names that are not paths.
STANDARD: Final = {"stdout": 1, "stderr": 2}


class Sink:
    """
    One open end of a log.

    A file is opened for appending, each write is one system call, and nothing is held back here; so several processes
    may write to one file, and what was written survives a crash.  Standard output and error are the descriptors 1 and
    2 themselves, whatever became of ``sys.stdout``.  A pipe that nobody empties blocks: that is a matter of who made
    the pipe.

    :ivar path: an absolute path, ``stdout`` or ``stderr``.
    """

    __slots__ = ("_at_once", "_descriptor", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = STANDARD.get(path)
        self._at_once = 0

    @property
    def at_once(self) -> int:
        """
        How many bytes of one write stay together when other processes write too: what is appended to a file does, and
        into a pipe ``PIPE_BUF`` (pipe(7)).
        """
        if not self._at_once:
            if self._descriptor is None:
                return sys.maxsize
            with suppress(OSError):
                mode = os.fstat(self._descriptor).st_mode
                self._at_once = select.PIPE_BUF if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else sys.maxsize
        return self._at_once or sys.maxsize

    @property
    def is_journal(self) -> bool:
        """
        Does systemd's journal read it?  It says so in ``JOURNAL_STREAM`` (systemd.exec(5)): the device and the inode of
        what it has made our standard error, or output.
        """
        stream = os.environ.get("JOURNAL_STREAM")
        if not stream or self._descriptor is None:
            return False
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return stream == f"{status.st_dev}:{status.st_ino}"

    def open(self) -> None:
        """
        Open the file, and make it and its directory where they are missing.  What is open stays as it is.

        :raise OSError: when it cannot be opened.
        """
        if self._descriptor is None:
            self._descriptor = self._opened()

    def reopen(self) -> None:
        """
        Go on in the file that has the path now, after the old one was renamed.

        :raise OSError: when it cannot be opened; the old one is kept.
        """
        if self.path not in STANDARD:
            descriptor = self._opened()
            self.close()
            self._descriptor = descriptor

    def write(self, data: bytes | memoryview) -> int:
        """
        Write once; a sink that is closed is opened first.

        :return: how many bytes were taken, which may be fewer than there are.
        :raise OSError: when none was.
        """
        if self._descriptor is None:
            self._descriptor = self._opened()
        return os.write(self._descriptor, data)

    def close(self) -> None:
        """
        Give the file back.  Standard output and error stay open.
        """
        if self._descriptor is not None and self.path not in STANDARD:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        with suppress(FileExistsError):  # where that is no directory, opening says so better
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        # O_NONBLOCK means nothing to a file; a FIFO without a reader is an error with it, and a hang without.
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
