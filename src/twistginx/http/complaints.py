"""
What the error log is told of requests that a guard or a limit has refused.

The access log has ``{detail}`` for each; here it is for whoever has set the guard, and looks where nginx writes "access
forbidden by rule": each reason of a route at most once in ten seconds, however many requests it is for.  What is not a
client's fault is in ``http.troubles``.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import Logger

from twistginx.errors import ProxyError
from twistginx.net.capacity import QUIET

#: Reasons that are told apart; their texts are of the configuration and of addresses, not the clients' to invent.
_APART: Final = 512

#: What is told, by the words of failures.
TOLD: Final = frozenset(("authentication_required", "http_request_denied", "rate_limited", "concurrency_limited"))

_log = Logger(namespace="twistginx.guards")


class Complaints:
    """
    Those of one frontend.
    """

    __slots__ = ("_next", "_untold")

    def __init__(self) -> None:
        self._next: dict[tuple[Any, str], float] = {}  # when the next line about a route and a text may be written
        self._untold: dict[tuple[Any, str], int] = {}

    def note(self, error: ProxyError, request: Any, now: float) -> None:
        """
        ``request`` has failed.

        :param now: in seconds.
        """
        if error.reason.word not in TOLD:
            return
        about = request.route, str(error)
        if now < self._next.get(about, now):
            self._untold[about] = self._untold.get(about, 0) + 1
            return
        if len(self._next) >= _APART:
            self._next.clear()
            self._untold.clear()
        self._next[about] = now + QUIET
        untold = self._untold.pop(about, 0)
        _log.info(
            "{site}{route}: {status} {word}{told} (client {client}, request {id}{more})",
            site=request.site.label if request.site is not None else "-",
            route=f", route {request.route.name}" if request.route is not None else "",
            status=error.status,
            word=error.reason.word,
            told=f": {error.told}" if error.told else "",
            client=request.client_ip.decode("ascii", "backslashreplace"),
            id=request.request_id.decode("ascii"),
            more=f"; {untold} more since the last of these lines" if untold else "",
        )
