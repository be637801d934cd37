"""
Log events of a worker, on their way to the log of the master.

Where ``twistd`` logs to syslog, to a logger of the user's, or to a file that it rotates, only the master can write
there.  A worker writes its events to standard error, a line of JSON each, which is a pipe to the master.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Final

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

#: What our lines begin with, and no other's (RFC 7464's record separator).
_MARK: Final = b"\x1e"

#: Bytes of a line that is not ours, at most; the rest is another line.
_LONGEST: Final = 8192


@implementer(ILogObserver)
class RelayedLog:
    """
    The worker's end.
    """

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}"
        record = [level.name, event.get("log_namespace", "-"), text]
        with suppress(OSError):
            os.write(2, _MARK + json.dumps(record).encode("ascii") + b"\n")


class Relay:
    """
    The master's end: takes what a worker writes to standard error, and logs it.
    """

    def __init__(self, origin: str) -> None:
        """
        :param origin: the worker's name.
        """
        self._origin = origin
        self._rest = b""

    def received(self, data: bytes) -> None:
        """
        Take what was read.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST and not self._rest.startswith(_MARK):
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._log(line)

    def end(self) -> None:
        """
        There is no more.
        """
        rest, self._rest = self._rest, b""
        if rest:
            self._log(rest)

    def _log(self, line: bytes) -> None:
        level, namespace, text = "warn", "twistginx.workers", line.decode("utf-8", "replace")
        if line.startswith(_MARK):
            with suppress(ValueError):  # one that was cut off is shown as it is
                level, namespace, text = json.loads(line[1:])
        Logger(namespace=namespace).emit(
            LogLevel.levelWithName(level), "{origin}: {text}", origin=self._origin, text=text
        )
