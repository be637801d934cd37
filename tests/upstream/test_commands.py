"""
Tests for ``twistginx.upstream.commands``.
"""

from __future__ import annotations

from typing import Any

from tests.upstream.test_group import GroupCase
from twistginx.upstream.commands import commands_of
from twistginx.upstream.control import Control


class CommandTests(GroupCase):
    """
    What an operator says.
    """

    def follow(self, command: str, **arguments: Any) -> dict[str, Any]:
        commands = commands_of(Control(lambda: {"app": self.upstream}))
        return commands[command]({"command": command, **arguments})

    def test_orders(self) -> None:
        """
        Each does what it says.
        """
        (state,) = self.follow("drain", upstream="app", server="10.0.0.1:80")["servers"]
        self.assertEqual(state["state"], "draining")
        (state,) = self.follow("weigh", upstream="app", server="10.0.0.1:80", weight=5)["servers"]
        self.assertEqual((state["state"], state["weight"]), ("draining", 5))
        (state,) = self.follow("disable", upstream="app", server="10.0.0.2:80")["servers"]
        self.assertEqual(state["state"], "disabled")
        states = self.follow("enable", upstream="app", server="*")["servers"]
        self.assertEqual({state["state"] for state in states}, {"up"})

    def test_wrong(self) -> None:
        """
        What is wrong is said, and changes nothing.
        """
        for command, arguments, said in (
            ("drain", {"upstream": "app"}, "drain takes upstream=... server=..."),
            ("drain", {"upstream": "app", "server": "*", "now": True}, "drain takes"),
            ("weigh", {"upstream": "app", "server": "*"}, "weigh takes upstream=... server=... weight=..."),
            ("weigh", {"upstream": "app", "server": "*", "weight": "a"}, "'a' is no weight"),
            ("drain", {"upstream": 7, "server": "*"}, "there is no upstream '7'"),
            ("drain", {"upstream": "app", "server": ["x"]}, "has no server"),
        ):
            error = self.assertRaises(ValueError, self.follow, command, **arguments)
            self.assertIn(said, str(error))
        self.assertEqual({peer.state for peer in self.upstream.peers}, {"up"})
