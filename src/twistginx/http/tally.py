"""
What HTTP counts.  A count is a plain attribute, so that the hot path pays 40 ns for it.
"""

from __future__ import annotations

from typing import Any

from twistginx.errors import ProxyError
from twistginx.http.troubles import Troubles


class Tally:
    """
    The counts of a process that requests make.

    :ivar requests: that have come in; those that were refused too.
    :ivar failures: how often a request has failed, by the word of :data:`twistginx.errors.REASONS`.
    :ivar dropped_fields: of requests, whose names might be taken for other names (``http.fieldnames``).
    """

    __slots__ = ("_troubles", "dropped_fields", "failures", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.failures: dict[str, int] = {}
        self.dropped_fields = 0
        self._troubles = Troubles()

    def failed(self, word: str) -> None:
        """
        A request has failed.

        :param word: of the reason.
        """
        self.failures[word] = self.failures.get(word, 0) + 1

    def failed_with(self, error: ProxyError, request: Any, now: float) -> None:
        """
        The same, and the error log is told of it (``http.troubles``).

        :param now: seconds, on a clock that does not go back.
        """
        self.failed(error.reason.word)
        self._troubles.note(request, error, now)
