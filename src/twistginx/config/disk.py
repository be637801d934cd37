"""
The files of a configuration, as they were when they were read.
"""

from __future__ import annotations

import glob
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

#: What tells two states of a file apart: modification (ns), size, inode; None for one that is not there.
Stamp = tuple[int, int, int] | None


class Disk:
    """
    Reads each file once, and remembers what was in it.

    So that several processes build the same configuration however often its files are written meanwhile, one reads, and
    the others are given a copy of what it read.  It remembers what is not there, too.

    :ivar contents: what was read; in place of what could not be, the number of the error.
    """

    def __init__(self) -> None:
        self.contents: dict[Path, bytes | int] = {}
        self._found: dict[tuple[str, str], list[str]] = {}
        self._stamps: dict[Path, Stamp] = {}

    def read(self, path: Path) -> bytes:
        """
        The content of a file.

        :raise OSError: when it cannot be read, or could not when it was tried first.
        """
        content = self.contents.get(path)
        if content is None:
            # Looked at first: what is written while we read is a change, then.
            self._stamps[path] = stamp(path)
            try:
                content = path.read_bytes()
            except OSError as error:
                content = error.errno or 0
            self.contents[path] = content
        if isinstance(content, int):
            raise OSError(content, os.strerror(content), str(path))
        return content

    def find(self, base: Path, pattern: str) -> list[Path]:
        """
        The files that a pattern of ``include`` stands for, sorted.

        :param base: the directory that it is relative to.
        """
        key = (str(base), pattern)
        if key not in self._found:
            self._found[key] = _found(*key)
        return [Path(each) for each in self._found[key]]

    @property
    def changed(self) -> tuple[object, ...]:
        """
        How the files differ from what was read, in a form to be compared; empty when they do not.

        They are looked at, not read: one that was written again counts as another.
        """
        now = [(path, stamp(path)) for path in self._stamps]
        files = [(path, seen) for path, seen in now if seen != self._stamps[path]]
        found = [(key, names) for key in self._found if (names := _found(*key)) != self._found[key]]
        return (*files, *((key, tuple(names)) for key, names in found))

    def copy(self) -> dict[str, Any]:
        """
        All that was read, as JSON; there are secrets in it.
        """
        return {
            "contents": [
                [str(path), content if isinstance(content, int) else b64encode(content).decode("ascii")]
                for path, content in self.contents.items()
            ],
            "found": [[*key, names] for key, names in self._found.items()],
        }

    @classmethod
    def of(cls, copy: dict[str, Any]) -> Disk:
        """
        A disk on which the files are what they are in a :meth:`copy`.  What is not in it is read when it is asked for.
        """
        disk = cls()
        for path, content in copy["contents"]:
            disk.contents[Path(path)] = content if isinstance(content, int) else b64decode(content)
        for base, pattern, names in copy["found"]:
            disk._found[base, pattern] = names
        return disk


def stamp(path: Path) -> Stamp:
    """
    The state of a file.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _found(base: str, pattern: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(base), pattern), recursive=True))
