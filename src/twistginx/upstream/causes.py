"""
Why servers are down: several may say so, and all must take it back.
"""

from __future__ import annotations

from typing import Any

from twistginx.upstream.peer import Peer


class Causes:
    """
    What speaks against the peers of one upstream of the configuration; it outlives configurations, as peers do.
    """

    def __init__(self) -> None:
        self._causes: dict[Peer, dict[str, tuple[object, str]]] = {}

    def against(self, peer: Peer, cause: str) -> bool:
        """
        Does ``cause`` speak against it?
        """
        return cause in self._causes.get(peer, ())

    def speak(self, upstream: Any, peer: Peer, cause: str, who: object, why: str) -> None:
        """
        ``peer`` is not to be used.

        :param upstream: it is of, a ``Group``.
        :param cause: a word of the speaker's.
        :param who: speaks; only who has spoken last for a cause may take it back.
        :param why: for the log and the status.
        """
        self._causes.setdefault(peer, {})[cause] = (who, why)
        upstream.set_health(peer, False, why)

    def take_back(self, upstream: Any, peer: Peer, cause: str, who: object) -> None:
        """
        Nothing is wrong with ``peer``, as far as this cause goes.
        """
        causes = self._causes.get(peer, {})
        if cause not in causes or causes[cause][0] is not who:
            return
        del causes[cause]
        if causes:
            _, why = next(iter(causes.values()))
            upstream.set_health(peer, False, why)
        else:
            del self._causes[peer]
            upstream.set_health(peer, True)

    def take_all_back(self, upstream: Any, cause: str, who: object) -> None:
        """
        ``who`` speaks no more.
        """
        for peer in list(self._causes):
            self.take_back(upstream, peer, cause, who)

    def forget(self, peer: Peer) -> None:
        """
        ``peer`` is gone.
        """
        self._causes.pop(peer, None)
