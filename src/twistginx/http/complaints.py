"""
What the error log is told of requests that a guard or a limit has refused, or could not decide about.

The access log has a line for each; here is why, for whoever has set the guard: each reason at most once in ten seconds,
however many requests it is for.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import Logger, LogLevel

from twistginx.errors import ProxyError

#: Seconds between two lines about the same.
QUIET: Final = 10.0

#: Reasons that are told apart; their texts are of the configuration and of addresses, not the clients' to invent.
_APART: Final = 512

#: What is told, by the word of the failure, and how loud.
LEVELS: Final = {
    "authentication_required": LogLevel.info,
    "http_request_denied": LogLevel.info,
    "rate_limited": LogLevel.info,
    "concurrency_limited": LogLevel.info,
    "authentication_unavailable": LogLevel.error,
    "store_away": LogLevel.error,
}

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
        level = LEVELS.get(error.reason.word)
        if level is None:
            return
        text = str(error)
        about = request.route, text
        if now < self._next.get(about, now):
            self._untold[about] = self._untold.get(about, 0) + 1
            return
        if len(self._next) >= _APART:
            self._next.clear()
            self._untold.clear()
        self._next[about] = now + QUIET
        untold = self._untold.pop(about, 0)
        _log.emit(
            level,
            "{site}{route}: {status} {text} (client {client}, request {id}{more})",
            site=request.site.label if request.site is not None else "-",
            route=f", route {request.route.name}" if request.route is not None else "",
            status=error.status,
            text=text,
            client=request.client_ip.decode("ascii", "backslashreplace"),
            id=request.request_id.decode("ascii"),
            more=f"; {untold} more since the last of these lines" if untold else "",
        )
