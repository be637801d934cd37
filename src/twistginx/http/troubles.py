"""
Failures that are not a client's, in the error log, where somebody looks who does not know yet what to look for.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import Logger

from twistginx.errors import Fault, ProxyError
from twistginx.net.capacity import QUIET

#: Words that are told elsewhere: this one with its traceback.
_TOLD: Final = frozenset(("proxy_internal_error",))

#: Different troubles that are remembered.
_BOUND: Final = 1024

_log = Logger(namespace="twistginx.http")


class Troubles:
    """
    What has gone wrong behind us, or with us.  All is in the access log; of what is told in the same words, which name
    the server, only one line in a while is in the error log, so that an outage does not fill it.
    """

    __slots__ = ("_next", "_untold")

    def __init__(self) -> None:
        # By what is told: when the next line may be written, and how many were not since the last.
        self._next: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note(self, request: Any, error: ProxyError, now: float) -> None:
        """
        A request has failed.

        :param now: seconds, on a clock that does not go back.
        """
        reason = error.reason
        if reason.fault is Fault.CLIENT or reason.word in _TOLD:
            return
        told = str(error)
        if now < self._next.get(told, now):
            self._untold[told] = self._untold.get(told, 0) + 1
            return
        if len(self._next) >= _BOUND:
            self._next.clear()
            self._untold.clear()
        self._next[told] = now + QUIET
        untold = self._untold.pop(told, 0)
        head = request.head
        _log.warn(
            "{status} {word}{told} ({method} {host}{path}, request {request_id}){more}",
            status=error.status,
            word=reason.word,
            told=f": {error.told}" if error.told else "",
            method=head.method.decode("latin-1"),
            host=head.host.decode("latin-1"),
            path=head.path.decode("latin-1"),
            request_id=request.request_id.decode(),
            more=f"; {untold} more since the last of these lines" if untold else "",
        )
