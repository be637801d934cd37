"""
What processes tell each other.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.board import Board


class BoardTests(SynchronousTestCase):
    """
    Topics, and who hears of them.
    """

    def setUp(self) -> None:
        self.board = Board()
        self.heard: list[Any] = []

    def test_alone(self) -> None:
        """
        A process that is alone leads, and can speak to nobody.
        """
        self.board.subscribe("health:a", self.heard.append)
        self.board.broadcast("health:a", "down")
        self.assertEqual((self.board.leads, self.heard, self.board.latest), (True, [], {"health:a": "down"}))

    def test_told(self) -> None:
        """
        What is broadcast is told, once; what is heard is passed on to who subscribed to the topic, or to what it
        begins with.
        """
        told: list[Any] = []
        self.board.tell = lambda *word: told.append(word)
        self.board.broadcast("a", 1)
        self.assertEqual(told, [("a", 1)])
        self.board.subscribe("b", self.heard.append)
        self.board.subscribe("b*", self.heard.append)
        self.board.subscribe("c", self.heard.append)
        self.board.hear("b", 2)
        self.board.hear("b.x", 3)
        self.assertEqual(self.heard, [2, ("b", 2), ("b.x", 3)])

    def test_late(self) -> None:
        """
        Who subscribes late hears what was said last, and not what was taken back.
        """
        self.board.hear("a", 1)
        self.board.hear("a", 2)
        self.board.hear("b", 3)
        self.board.hear("b", None)
        for topic in ("a", "b", "*"):
            self.board.subscribe(topic, self.heard.append)
        self.assertEqual(self.heard, [2, ("a", 2)])

    def test_unsubscribe(self) -> None:
        """
        Who has enough hears no more; a second time changes nothing.
        """
        self.board.subscribe("a", self.heard.append)
        self.board.unsubscribe("a", self.heard.append)
        self.board.unsubscribe("a", self.heard.append)
        self.board.hear("a", 1)
        self.assertEqual(self.heard, [])
