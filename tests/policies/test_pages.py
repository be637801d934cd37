"""
The TOML of docs/access.rst and docs/authentication.rst is true.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.dump import dump
from twistginx.testing import MemoryServer

DOCS = Path(__file__).parent.parent.parent / "docs"

FILES = {
    "htpasswd": b"ann:" + bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)),
    "lists/blocked.txt": b"192.0.2.0/24\n",
    **{f"credentials/{name}": b"0123456789abcdef0123456789abcdef" for name in ("ci_key", "links_a", "links_b")},
}

ENVIRONMENT = {"CDN_SECRET": "sesame", "OLD_CI_KEY": "fedcba9876543210"}


class PageTests(SynchronousTestCase):
    """
    Each block of TOML on these pages is a whole configuration.
    """

    def blocks(self, page: str) -> list[str]:
        text = (DOCS / page).read_text("utf-8")
        found = re.findall(r"\.\. code-block:: toml\n\n((?:    .*\n|\n)+)", text)
        return [dedent(each) for each in found]

    def test_build(self) -> None:
        """
        It is built, started, dumped and stopped; nothing of it is left.
        """
        for page, count in (("access.rst", 5), ("authentication.rst", 5)):
            blocks = self.blocks(page)
            self.assertEqual(len(blocks), count)
            for block in blocks:
                directory = Path(self.mktemp()).absolute()
                directory.mkdir()
                for name in ("ci_key", "links_a", "links_b"):
                    (directory / name).write_bytes(FILES[f"credentials/{name}"])
                server = MemoryServer(
                    block, FILES, environment={**ENVIRONMENT, "CREDENTIALS_DIRECTORY": str(directory)}
                )
                self.assertIn("listen", dump(server.generation.root))  # type: ignore[union-attr]
                server.close()
