"""
Configurations, and what is said about them.

``cases/NAME.toml`` (or ``cases/NAME/main.toml`` with the files that it includes) is loaded.  Its last lines say what
comes of it: each ``# expect: ...`` is a problem, in order, each ``# warn: ...`` a warning where there are no problems
(all of them, if there is one such line), and ``# dump: ...`` are lines of the effective configuration, which stand
there in this order with others between them.  In both, BASE is the directory of the file.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.config.modules import Modules
from twistginx.config.dump import dump
from twistginx.config.load import load
from twistginx.errors import ConfigError

_CASES = Path(__file__).parent / "cases"
_ENVIRONMENT = {"HOST": "db.internal", "TOKEN": "xyzzy-secret", "PORT": "8080", "BRACES": "{host}", "TIMEOUT": "soon"}


def _expected(text: str, word: str) -> list[str]:
    return [line.removeprefix(f"# {word}: ") for line in text.splitlines() if line.startswith(f"# {word}: ")]


class CaseTests(SynchronousTestCase):
    """
    Every file of ``cases`` is loaded, and says what it expects.
    """

    maxDiff = None

    def check(self, case: Path) -> None:
        """
        Load ``case`` in a directory of its own, which also has a certificate and a key.
        """
        base = Path(self.mktemp()).absolute()
        if case.is_dir():
            shutil.copytree(case, base)
            main = base / "main.toml"
        else:
            base.mkdir(parents=True)
            main = Path(shutil.copy(case, base))
        for name in ("cert.pem", "key.pem", "token.txt"):
            (base / name).write_text(f"content of {name}\n")
        text = main.read_text("utf-8")
        try:
            root = load(main, Modules(), _ENVIRONMENT)
        except ConfigError as error:
            problems = [
                str(problem).replace(f"{base}{os.sep}", "").replace(str(base), "BASE") for problem in error.problems
            ]
            self.assertEqual(_expected(text, "expect"), problems)
            self.assertFalse(_expected(text, "dump"))
            for secret in ("xyzzy-secret", "db.internal"):
                self.assertNotIn(secret, str(error))
            return
        self.assertEqual(_expected(text, "expect"), [])
        warned = [str(each).replace(f"{base}{os.sep}", "").replace("warning: ", "") for each in root.warnings]
        if _expected(text, "warn"):
            self.assertEqual(_expected(text, "warn"), warned)
        dumped = dump(root).replace(str(base), "BASE")
        for secret in ("xyzzy-secret", "db.internal"):
            self.assertNotIn(secret, dumped)
        lines = iter(dumped.splitlines())
        for line in _expected(text, "dump"):
            self.assertIn(line, lines, f"not in its place in\n{dumped}")
        # What was dumped means the same, and is dumped as the same.
        again = base / "dumped.toml"
        again.write_text(dump(root), "utf-8")
        reloaded = load(again, Modules(), _ENVIRONMENT)
        self.assertEqual(dump(reloaded), dump(root))
        self.assertEqual((reloaded.sites, reloaded.streams), (root.sites, root.streams))
        self.assertEqual((reloaded.upstreams, reloaded.listeners), (root.upstreams, root.listeners))


def _add(case: Path) -> None:
    def test(self: CaseTests) -> None:
        self.check(case)

    test.__doc__ = f"``{case.name}`` says what it expects."
    setattr(CaseTests, f"test_{case.stem}", test)


for _case in sorted(_CASES.iterdir()):
    _add(_case)
