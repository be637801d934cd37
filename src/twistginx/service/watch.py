"""
Reload when a file of the configuration has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import LoopingCall

from twistginx.config.disk import Disk

#: Seconds between two looks.
INTERVAL: Final = 1.0


class Watch:
    """
    Looks at the files once a second, and acts when something is different and has been left alone for a look.  So a
    file that is being written is waited for, and what has been refused is not tried again until it changes.
    """

    def __init__(self, clock: Any, act: Callable[[], object]) -> None:
        """
        :param act: is called when there is a change.
        """
        self._act = act
        self._disk: Disk | None = None
        self._seen: tuple[object, ...] = ()
        self._acted: tuple[object, ...] = ()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def watch(self, disk: Disk | None) -> None:
        """
        Look at the files of ``disk`` from now on; at none, where it is None.
        """
        self._disk = disk
        self._seen = self._acted = ()
        if disk is None:
            self.stop()
        elif not self._looking.running:
            self._looking.start(INTERVAL, now=False)

    def stop(self) -> None:
        """
        Look no more.
        """
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        assert self._disk is not None
        changed = self._disk.changed
        seen, self._seen = self._seen, changed
        if not changed:
            self._acted = ()
        elif changed == seen and changed != self._acted:
            self._acted = changed
            self._act()
