"""
A part of C{zero_downtime}, which is a program.
"""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.peers import python_environment


class ZeroDowntimeTests(SynchronousTestCase):
    """
    Reloads, a death, a rolling restart and an upgrade, under load of all kinds.
    """

    def test_nothing_is_lost(self) -> None:
        """
        Nothing is lost.
        """
        command = [sys.executable, "-m", "tests.functional.zero_downtime", "--verbose", "--pause=0.1"]
        counts = ["--reloads=4", "--kills=1", "--restarts=1", "--upgrades=1", "--rests=1"]
        done = subprocess.run(
            [*command, *counts], env=python_environment(), capture_output=True, text=True, timeout=180, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(" 0 lost", done.stdout)
