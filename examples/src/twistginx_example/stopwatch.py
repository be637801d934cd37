"""
A policy: tells the client how long its answer took to begin, and the log of those that took too long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.config.units import Duration
from twistginx.http.message import Record, ResponseHead
from twistginx.interfaces import IPolicyModule

moduleProvides(IPolicyModule)

name = "stopwatch"
api = 1
#: Beside the access log: it should see everything that the other policies spend.
rank = 110
applies_to = frozenset({"http"})
many = False


@frozen
class Config:
    """
    Adds ``Server-Timing`` to responses, and logs the slow ones.

    :ivar slow: requests that take longer than this are logged.
    """

    slow: Duration = Duration(1.0)


class Stopwatch:
    """
    One route's stopwatch.  It keeps nothing between requests, so one serves all of them.
    """

    __slots__ = ("_log", "_now", "_slow")

    def __init__(self, slow: float, now: Callable[[], float], log: Any) -> None:
        self._slow = slow
        self._now = now
        self._log = log

    def received(self, request: Any) -> None:
        """
        The clock starts.
        """
        request.stopwatch = self._now()

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        The head is about to leave.
        """
        milliseconds = (self._now() - request.stopwatch) * 1000
        head.fields.add(b"Server-Timing", b"total;dur=%.1f" % milliseconds)

    def finished(self, request: Any, record: Record) -> None:
        """
        The last byte has left.
        """
        if record.seconds > self._slow:
            target = request.head.target.decode("latin-1")
            self._log.warn("{target} took {seconds:.1f} s", target=target, seconds=record.seconds)


def make(config: Config, context: Any) -> Stopwatch:
    """
    See :meth:`twistginx.interfaces.IModule.make`.
    """
    return Stopwatch(config.slow, context.reactor.seconds, context.log)
