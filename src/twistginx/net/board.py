"""
What the processes of one server tell each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Told the value that was told.
Receiver = Callable[[Any], object]


class Board:
    """
    Topics, and what was said last about each.  A process that begins hears all that was said before.

    Alone in its process, it tells nobody else, and this process leads.

    :ivar leads: is this the process that does what only one is to do, such as to check servers?  It may change at any
        time, and there may be none for the moment that it takes to replace the one that led: look when there is work.
    :ivar latest: by topic.
    """

    def __init__(self) -> None:
        self.leads = True
        self.latest: dict[str, Any] = {}
        self.tell: Callable[[str, Any], object] | None = None
        self._receivers: dict[str, list[Receiver]] = {}

    def broadcast(self, topic: str, value: Any) -> None:
        """
        Tell all other processes.

        :param topic: what it is about; there is room for 65,535 bytes of it.
        :param value: what JSON can say.  None: there is nothing to say about it any more.
        """
        self._remember(topic, value)
        if self.tell is not None:
            self.tell(topic, value)

    def subscribe(self, topic: str, receiver: Receiver) -> None:
        """
        From now on ``receiver(value)`` is called when another process speaks; at once, if one has.

        :param topic: one that ends in ``*`` stands for all that begin so, and its receiver is called with
            ``(topic, value)`` as one tuple.
        """
        self._receivers.setdefault(topic, []).append(receiver)
        for each, value in tuple(self.latest.items()):
            self._pass_on(each, value, (topic,))

    def unsubscribe(self, topic: str, receiver: Receiver) -> None:
        """
        The opposite of ``subscribe``.
        """
        receivers = self._receivers.get(topic, [])
        if receiver in receivers:
            receivers.remove(receiver)
            if not receivers:
                del self._receivers[topic]

    def hear(self, topic: str, value: Any) -> None:
        """
        Another process has spoken.
        """
        self._remember(topic, value)
        self._pass_on(topic, value, tuple(self._receivers))

    def _remember(self, topic: str, value: Any) -> None:
        if value is None:
            self.latest.pop(topic, None)
        else:
            self.latest[topic] = value

    def _pass_on(self, topic: str, value: Any, patterns: tuple[str, ...]) -> None:
        for pattern in patterns:
            if pattern == topic:
                for receiver in tuple(self._receivers[pattern]):
                    receiver(value)
            elif pattern.endswith("*") and topic.startswith(pattern[:-1]):
                for receiver in tuple(self._receivers[pattern]):
                    receiver((topic, value))
