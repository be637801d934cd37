"""
Tests for ``twistginx.config.disk``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.disk import Disk


class DiskTests(SynchronousTestCase):
    """
    Each file is what it was when it was read first.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "a.toml"
        self.file.write_bytes(b"one")
        self.disk = Disk()

    def touch(self, data: bytes = b"two") -> None:
        """
        Write the file, later than before.
        """
        self.file.write_bytes(data)
        os.utime(self.file, (1, 1))

    def test_read_once(self) -> None:
        """
        What is written after it was read is not seen.
        """
        self.assertEqual(self.disk.read(self.file), b"one")
        self.touch()
        self.assertEqual(self.disk.read(self.file), b"one")

    def test_missing(self) -> None:
        """
        A file that is not there is not there, also when it comes.
        """
        self.file.unlink()
        for _ in range(2):
            error = self.assertRaises(FileNotFoundError, self.disk.read, self.file)
            self.assertEqual(error.filename, str(self.file))
            self.touch()

    def test_copy(self) -> None:
        """
        A copy, which is JSON, reads the same: contents, what is missing, and what patterns stand for.
        """
        missing = self.directory / "b.toml"
        self.disk.read(self.file)
        self.assertRaises(FileNotFoundError, self.disk.read, missing)
        self.disk.find(self.directory, "*.toml")
        copy = Disk.of(json.loads(json.dumps(self.disk.copy())))
        self.touch()
        missing.write_bytes(b"there")
        self.assertEqual(copy.read(self.file), b"one")
        self.assertRaises(FileNotFoundError, copy.read, missing)
        self.assertEqual(copy.find(self.directory, "*.toml"), [self.file])

    def test_changed(self) -> None:
        """
        A file that is written, removed, or new under a pattern is a change; one that was never read is not.
        """
        self.disk.read(self.file)
        self.disk.find(self.directory, "*.toml")
        (self.directory / "access.log").write_bytes(b"line")
        self.assertEqual(self.disk.changed, ())
        self.touch()
        changed = self.disk.changed
        self.assertTrue(changed)
        self.file.unlink()
        self.assertNotIn(self.disk.changed, ((), changed))
        self.disk = Disk()
        self.disk.find(self.directory, "*.toml")
        self.touch()
        self.assertTrue(self.disk.changed)
