"""
docs/plugins.rst says what the contract is, and what the built-in modules have in it.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistginx import interfaces
from twistginx.registry import BUILT_IN, Registry

PAGE = Path(__file__).parent.parent / "docs" / "plugins.rst"


class PageTests(SynchronousTestCase):
    """
    The page has all that there is.
    """

    def setUp(self) -> None:
        """
        The page, and the built-in modules.
        """
        self.page = PAGE.read_text("utf-8")
        self.registry = Registry(())

    def test_order(self) -> None:
        """
        The table of ranks has all policies, in the order in which requests pass them, and says which are guards and
        which are for streams.
        """
        rows = [re.split(" {2,}", line) for line in re.findall(r"(?m)^\d+ .*$", self.page)]
        told = [
            (int(rank), name.strip("`"), set(", ".join(beside).split(", ")) - {""}) for rank, name, _, *beside in rows
        ]
        modules = [self.registry.find("policy", each.name) for each in BUILT_IN if each.kind == "policy"]
        there = [
            (
                module.rank,
                module.name,
                {
                    *(["guards"] if getattr(module, "guards", False) else []),
                    *(["streams"] if "stream" in module.applies_to else []),
                },
            )
            for module in sorted(modules, key=lambda module: (module.rank, module.name))
        ]
        self.assertEqual(told, there)

    def test_kinds(self) -> None:
        """
        Each kind is explained.
        """
        for kind in {each.kind for each in BUILT_IN}:
            self.assertRegex(self.page, rf"(?m)^{kind}\n    ")

    def test_interfaces(self) -> None:
        """
        Every phase, and all that a context has, is mentioned.
        """
        words = set(re.findall(r"\w+", self.page))
        for interface in (interfaces.IPolicy, interfaces.IContext, interfaces.IModule, interfaces.IDiscovery):
            self.assertEqual(set(interface) - words, set(), interface)
