"""
What HTTP counts.  A count is a plain attribute, so that the hot path pays 40 ns for it.
"""

from __future__ import annotations

from twistginx.http.troubles import Troubles


class Tally:
    """
    The counts of a process that requests make.

    :ivar requests: that have come in; those that were refused too.
    :ivar failures: how often a request has failed, by the word of :data:`twistginx.errors.REASONS`.
    :ivar troubles: those of the failures that are told in the error log.
    :ivar dropped_fields: of requests, whose names might be taken for other names (``http.fieldnames``).
    """

    __slots__ = ("dropped_fields", "failures", "requests", "troubles")

    def __init__(self) -> None:
        self.requests = 0
        self.failures: dict[str, int] = {}
        self.dropped_fields = 0
        self.troubles = Troubles()

    def failed(self, word: str) -> None:
        """
        A request has failed.

        :param word: of the reason.
        """
        self.failures[word] = self.failures.get(word, 0) + 1
