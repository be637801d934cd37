"""
The sources are clean by the linters' rules of pyproject.toml, where the linters are installed.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parent.parent


class LintTests(SynchronousTestCase):
    """
    Nothing to complain about.
    """

    def clean(self, module: str, *arguments: str) -> None:
        """
        Run a linter, and check that it is content.
        """
        if find_spec(module) is None:
            raise SkipTest(f"{module} is not installed")
        if not (ROOT / "pyproject.toml").exists():
            raise SkipTest("these tests run without the repository around them")
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"\n{done.stdout}{done.stderr}")

    def test_ruff(self) -> None:
        """
        C{ruff check}: every rule, but for those that pyproject.toml gives a reason against.
        """
        self.clean("ruff", "check", "--quiet", ".")

    def test_format(self) -> None:
        """
        C{ruff format}: one layout.
        """
        self.clean("ruff", "format", "--check", ".")

    def test_mypy(self) -> None:
        """
        C{mypy}: strictly typed.
        """
        self.clean("mypy", "--no-error-summary")
