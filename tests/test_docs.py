"""
The pages of docs/ are found, and lead to what is there.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

INDEX = ROOT / "docs" / "index.rst"


def pages() -> list[Path]:
    """
    The README and all pages.
    """
    return [ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst"))]


def links(page: Path) -> set[Path]:
    """
    The files that C{page} leads to.
    """
    found = re.findall(r"`[^`<]+\s<([^>:]+)>`_", page.read_text("utf-8"))
    return {(page.parent / each).resolve() for each in found}


class PagesTests(SynchronousTestCase):
    """
    Links.
    """

    def test_all_are_in_the_index(self) -> None:
        """
        The index leads to each page, or to one that does.
        """
        known = links(INDEX)
        known |= {each for page in known for each in links(page)} | {INDEX}
        self.assertEqual({page.resolve() for page in pages()} - known, set())

    def test_no_link_is_dead(self) -> None:
        """
        What a page links to exists.
        """
        for page in pages():
            for target in links(page):
                self.assertTrue(target.exists(), f"{page.relative_to(ROOT)}: {target}")

    def test_files_are_there(self) -> None:
        """
        Files and directories of the repository that the README and the index name exist.
        """
        for page in (ROOT / "README.rst", INDEX):
            for name in re.findall(r"``((?:etc|docs|examples|changelog\.d)/[\w./-]*)``", page.read_text("utf-8")):
                self.assertTrue((ROOT / name).exists(), name)
