"""
What the process counts.  A count is a plain attribute, so that the hot path pays 40 ns for it.
"""

from __future__ import annotations

from twistginx.http.tally import Tally


class Counters(Tally):
    """
    The counts of one process, since it started.  They outlive reloads.

    :ivar lost_lines: of the access log, that could not be written.
    :ivar reloads: that took effect.
    :ivar refused_reloads: that changed nothing, because something was wrong.
    """

    __slots__ = ("lost_lines", "refused_reloads", "reloads")

    def __init__(self) -> None:
        super().__init__()
        self.lost_lines = 0
        self.reloads = 0
        self.refused_reloads = 0
