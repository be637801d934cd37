"""
The recipes of docs/cookbook/, as they stand on the pages.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from textwrap import dedent

from attrs import frozen

DOCS = Path(__file__).parent.parent.parent / "docs"

#: A title, and all that stands below it until the next one.
_SECTION = re.compile(r"(?m)^(?P<title>\S.*)\n-{3,}\n(?P<text>(?:(?!.*\n-{3,}\n).*\n)*)")

_BLOCK = r"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)"


@frozen
class Recipe:
    """
    One section of a page.

    :ivar nginx: what it replaces.
    :ivar toml: a whole file.
    :ivar words: the first and the last paragraph: what it is for, and what is different.
    """

    title: str
    nginx: str
    toml: str
    words: tuple[str, str]

    @property
    def name(self) -> str:
        """
        The title, as part of a Python name.
        """
        return re.sub(r"[^a-z0-9]+", "_", self.title.lower()).strip("_")


def blocks(text: str, language: str) -> list[str]:
    """
    The blocks of code in that language.
    """
    return [dedent(each).strip("\n") + "\n" for each in re.findall(_BLOCK.format(language=language), text)]


def lines(code: str) -> int:
    """
    How many lines say something.
    """
    return sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith("#"))


@cache
def recipes(page: str) -> dict[str, Recipe]:
    """
    Those of a page, by their names.
    """
    found = {}
    for section in _SECTION.finditer((DOCS / "cookbook" / f"{page}.rst").read_text("utf-8")):
        (nginx,), (toml,) = blocks(section["text"], "nginx"), blocks(section["text"], "toml")
        paragraphs = [each for each in re.split(r"\n\n+", section["text"].strip()) if not each.startswith((" ", ".. "))]
        recipe = Recipe(section["title"], nginx, toml, (paragraphs[0], paragraphs[-1]))
        found[recipe.name] = recipe
    return found


def pages() -> list[str]:
    """
    Names of the pages.
    """
    return sorted(each.stem for each in (DOCS / "cookbook").glob("*.rst"))
