"""
Failures, in the error log, where somebody looks who does not know yet what to look for.

It is told what is not a client's fault, and what a guard or a limit has refused: whoever has set that looks here, where
nginx writes "access forbidden by rule".  The access log has ``{detail}`` for each request.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import Logger, LogLevel

from twistginx.errors import REASONS, Fault, ProxyError
from twistginx.net.capacity import QUIET

#: What guards and limits say.
_REFUSED: Final = frozenset(("authentication_required", "http_request_denied", "rate_limited", "concurrency_limited"))

#: What is told of, by the words of failures, and how.  A mistake of ours is there with its traceback already.
_LEVELS: Final = {
    word: LogLevel.info if reason.fault is Fault.CLIENT else LogLevel.warn
    for word, reason in REASONS.items()
    if word in _REFUSED or (reason.fault is not Fault.CLIENT and word != "proxy_internal_error")
}

#: Different troubles that are remembered.
_BOUND: Final = 1024

_log = Logger(namespace="twistginx.http")


class Troubles:
    """
    What has gone wrong.  Of what is told in the same words of the same route, only one line in a while is written, so
    that an outage does not fill the log.
    """

    __slots__ = ("_next", "_untold")

    def __init__(self) -> None:
        # By what is told: when the next line may be written, and how many were not since the last.
        self._next: dict[tuple[str, str], float] = {}
        self._untold: dict[tuple[str, str], int] = {}

    def note(self, request: Any, error: ProxyError, now: float) -> None:
        """
        A request has failed.

        :param now: seconds, on a clock that does not go back.
        """
        level = _LEVELS.get(error.reason.word)
        if level is None:
            return
        place = _place(request)
        about = place, str(error)
        if now < self._next.get(about, now):
            self._untold[about] = self._untold.get(about, 0) + 1
            return
        if len(self._next) >= _BOUND:
            self._next.clear()
            self._untold.clear()
        self._next[about] = now + QUIET
        untold = self._untold.pop(about, 0)
        head = request.head
        _log.emit(
            level,
            "{place}{status} {word}{told} ({method} {host}{path}, client {client}, request {request_id}){more}",
            place=place,
            status=error.status,
            word=error.reason.word,
            told=f": {error.told}" if error.told else "",
            method=head.method.decode("latin-1"),
            host=head.host.decode("latin-1"),
            path=head.path.decode("latin-1"),
            client=request.client_ip.decode("ascii", "backslashreplace"),
            request_id=request.request_id.decode(),
            more=f"; {untold} more since the last of these lines" if untold else "",
        )


def _place(request: Any) -> str:
    """
    The site and the route that it was for, to stand before a line; empty where there is none.
    """
    site, route = request.site, request.route
    if site is None:
        return ""
    return f"{site.label}: " if route is None else f"{site.label}, route {route.name}: "
