"""
Tests for twistginx.upstream.discovery.file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.discovery.told import Told, context
from twistginx.errors import ConfigError
from twistginx.upstream.discovery import file


class FileTests(SynchronousTestCase):
    """
    A file that is watched.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def provider(self, name: str, text: str) -> tuple[file.File, Any]:
        """
        A provider that has begun, and who is told.
        """
        (self.directory / name).write_text(text)
        provider = file.make(file.Config(self.directory / name), context(self.clock))
        told: Any = Told()
        provider.begin(told)
        return provider, told

    def write(self, name: str, text: str) -> None:
        """
        Replace the file, as a careful program does, and let time pass.
        """
        new = self.directory / "new"
        new.write_text(text)
        os.replace(new, self.directory / name)
        self.clock.pump([0.25] * 16)

    def news(self, told: Any) -> Any:
        """
        What is told next; None when it is nothing.
        """
        waiting = told.news.pending
        return waiting.pop(0) if waiting else None

    def test_formats(self) -> None:
        """
        The suffix says what it is.
        """
        for name, text in (
            ("servers.txt", "10.0.0.1:80\n"),
            ("servers", "10.0.0.1:80\n"),
            ("servers.json", '["10.0.0.1:80"]'),
            ("servers.toml", 'servers = ["10.0.0.1:80"]'),
        ):
            provider, told = self.provider(name, text)
            self.assertEqual(self.news(told), ["10.0.0.1:80"])
            provider.end()

    def test_change(self) -> None:
        """
        What it says when it has changed is told, and nothing while it has not.
        """
        _, told = self.provider("servers.txt", "10.0.0.1:80\n")
        self.news(told)
        self.write("servers.txt", "10.0.0.1:80\n10.0.0.2:80 weight=2\n")
        self.assertEqual(self.news(told), ["10.0.0.1:80", "10.0.0.2:80"])
        self.assertEqual(told.servers[1].weight, 2)
        self.clock.pump([1.0] * 10)
        self.assertIsNone(self.news(told))

    def test_mistake(self) -> None:
        """
        A mistake changes nothing; neither does a file that is gone.
        """
        _, told = self.provider("servers.txt", "10.0.0.1:80\n")
        self.news(told)
        self.write("servers.txt", "10.0.0.1\n")
        self.assertIsNone(self.news(told))
        (self.directory / "servers.txt").unlink()
        self.clock.pump([1.0] * 4)
        self.assertIsNone(self.news(told))
        self.write("servers.txt", "10.0.0.3:80\n")
        self.assertEqual(self.news(told), ["10.0.0.3:80"])

    def test_refused(self) -> None:
        """
        What is wrong or not there when it is built is refused.
        """
        path = self.directory / "servers.toml"
        self.assertRaises(ConfigError, file.make, file.Config(path), context(self.clock))
        path.write_text("servers = [")
        error = self.assertRaises(ConfigError, file.make, file.Config(path), context(self.clock))
        self.assertIn("it is not TOML", error.message)

    def test_end(self) -> None:
        """
        After the end nothing is looked at; it may begin again.
        """
        provider, told = self.provider("servers.txt", "10.0.0.1:80\n")
        provider.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        provider.begin(told)
        self.assertEqual(told.news.pending, [["10.0.0.1:80"]] * 2)
