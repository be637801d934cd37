"""
Tests for L{twistginx.registry}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

import twisted.plugins
from twistginx.errors import ConfigError
from twistginx.interfaces import IBalanceModule, IDeclaration, IPolicyModule, IResourceModule
from twistginx.registry import BUILT_IN, Plugin, Registry


@attrs.frozen
class Config:
    """
    No options.
    """


class RegistryTests(SynchronousTestCase):
    """
    Names and modules.
    """

    def module(self, dotted: str, interface: Any = IResourceModule, **attributes: Any) -> str:
        """
        A module that can be imported as C{dotted}; an attribute of None is left out.
        """
        module = ModuleType(dotted)
        defaults = {"name": "hello", "api": 1, "Config": Config, "make": lambda config, context: None}
        for key, value in {**defaults, **attributes}.items():
            if value is not None:
                setattr(module, key, value)
        if interface is not None:
            directlyProvides(module, interface)
        sys.modules[dotted] = module
        self.addCleanup(sys.modules.pop, dotted, None)
        return dotted

    def complaint(self, plugin: Plugin) -> str:
        """
        Why C{plugin} cannot be used.
        """
        registry = Registry([plugin])
        error = self.assertRaises(ConfigError, registry.find, plugin.kind, plugin.name)
        self.assertRaises(ConfigError, registry.find, plugin.kind, plugin.name)  # and again
        self.assertEqual(registry.find("resource", "static").name, "static")  # nothing else is broken
        return str(error)

    def test_built_in(self) -> None:
        """
        Every module of ours is found, and holds its contract, through the same door.
        """
        registry = Registry([])
        for plugin in BUILT_IN:
            module = registry.find(plugin.kind, plugin.name)
            self.assertEqual(module.__name__, plugin.module)
            self.assertIs(registry.find(plugin.kind, plugin.name), module)
            self.assertTrue(IDeclaration.providedBy(plugin))
        self.assertEqual(registry.complaints, [])

    def test_names(self) -> None:
        """
        The names of a kind are listed, those of third parties among them.
        """
        registry = Registry([Plugin("policy", "acme", "acme.policy")])
        self.assertEqual(registry.names("resource"), ["app", "proxy", "redirect", "respond", "static"])
        self.assertIn("acme", registry.names("policy"))
        self.assertIn("headers", registry.names("policy"))
        self.assertEqual(registry.names("nothing"), [])

    def test_unknown(self) -> None:
        """
        A name that nobody declares is None, and the kinds do not mix.
        """
        registry = Registry([])
        self.assertIsNone(registry.find("resource", "nothing"))
        self.assertIsNone(registry.find("policy", "static"))

    def test_third_party(self) -> None:
        """
        A plugin's module is imported when its name is used, and not before.
        """
        name = "a_module_of_acme"
        registry = Registry([Plugin("resource", "hello", name)])
        self.module(name)
        self.assertEqual(registry.find("resource", "hello").__name__, name)

    def test_broken(self) -> None:
        """
        A plugin that cannot be used names itself, and says why.
        """
        for attributes, why in (
            ({"interface": None}, "does not say moduleProvides(IResourceModule)"),
            ({"interface": IBalanceModule}, "does not say moduleProvides(IResourceModule)"),
            ({"make": None}, "has no make"),
            ({"make": None, "api": None}, "has no api, make"),
            ({"api": 2}, "is written for version 2"),
            ({"name": "other"}, "calls itself 'other'"),
            ({"Config": dict}, "has a Config that is no attrs class"),
        ):
            module = self.module("acme_broken", **attributes)
            text = self.complaint(Plugin("resource", "hello", module))
            self.assertIn("the resource 'hello' of the plugin acme_broken", text)
            self.assertIn(why, text)

    def test_policy(self) -> None:
        """
        A policy says its rank, to what it applies, and whether there may be many.
        """
        module = self.module("acme_policy", IPolicyModule)
        self.assertIn("has no applies_to, many, rank", self.complaint(Plugin("policy", "hello", module)))

    def test_not_there(self) -> None:
        """
        A module that cannot be imported is an error of its own.
        """
        text = self.complaint(Plugin("resource", "hello", "no_such_module_of_acme"))
        self.assertIn("cannot be imported: ModuleNotFoundError: No module named 'no_such_module_of_acme'", text)

    def test_fails_to_import(self) -> None:
        """
        So is one that raises when it is imported, whatever it raises.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        self.patch(sys, "path", [str(directory), *sys.path])
        for number, statement in enumerate(("1 / 0", "def", "raise SystemExit(1)")):
            (directory / f"acme_raises_{number}.py").write_text(statement, encoding="utf-8")
            text = self.complaint(Plugin("resource", "hello", f"acme_raises_{number}"))
            self.assertIn("cannot be imported", text)

    def test_taken_name(self) -> None:
        """
        A name that is taken stays with who had it; resources and policies share their names, balancers do not.
        """
        for plugin, rival in (
            (Plugin("resource", "static", "acme.static"), "twistginx.resources.static"),
            (Plugin("policy", "static", "acme.static"), "twistginx.resources.static"),
            (Plugin("resource", "headers", "acme.headers"), "twistginx.policies.headers"),
        ):
            registry = Registry([plugin])
            (complaint,) = registry.complaints
            self.assertIn(plugin.module, complaint)
            self.assertIn(rival, complaint)
            found = registry.find("resource", plugin.name) or registry.find("policy", plugin.name)
            self.assertEqual(found.__name__, rival)
        self.assertEqual(Registry([Plugin("balance", "static", "acme.balance")]).complaints, [])

    def test_same_twice(self) -> None:
        """
        The same declaration twice (an installed copy beside the source) is no problem.
        """
        registry = Registry([Plugin("policy", "acme", "acme.policy")] * 2)
        self.assertEqual(registry.complaints, [])

    def test_bad_kind(self) -> None:
        """
        There are four kinds.
        """
        self.assertRaises(ValueError, Plugin, "flavour", "x", "y")

    def test_not_a_plugin(self) -> None:
        """
        A declaration that is none is complained about, and breaks nothing.
        """

        class Odd:
            kind = "flavour"
            name = "x"
            module = "acme.odd"

        for odd in (Odd(), object()):
            registry = Registry([odd])
            self.assertEqual(len(registry.complaints), 1)
            self.assertEqual(registry.find("resource", "static").name, "static")

    def test_installed(self) -> None:
        """
        What C{twisted/plugins} directories declare is found; a file there that fails is complained about, by name.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "acme_good.py").write_text(
            "from twistginx.registry import Plugin\nhello = Plugin('resource', 'hello', 'acme.hello')\n",
            encoding="utf-8",
        )
        (directory / "acme_bad.py").write_text("raise ZeroDivisionError('by design')\n", encoding="utf-8")
        self.patch(twisted.plugins, "__path__", [str(directory.resolve())])
        for name in ("acme_good", "acme_bad"):
            self.addCleanup(sys.modules.pop, f"twisted.plugins.{name}", None)
        registry = Registry()
        self.assertIn("hello", registry.names("resource"))
        (complaint,) = registry.complaints
        self.assertIn("ZeroDivisionError: by design", complaint)
        self.assertIn("acme_bad", complaint)
        self.flushLoggedErrors(ZeroDivisionError)
