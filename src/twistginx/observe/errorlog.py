"""
The error log: one line for each event of ``twisted.logger`` that is important enough.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import gmtime, strftime
from typing import Final

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, textFileLogObserver
from twisted.python.logfile import LogFile
from zope.interface import implementer

from twistginx.observe.sink import Sink

#: What may stand in ``level``, in order of weight.
LEVELS: Final = {level.name: place for place, level in enumerate(LogLevel.iterconstants())}

#: What does not say its level is as important as this.
_UNSAID: Final = LEVELS["info"]

#: What the journal calls them (sd-daemon(3)).
_PRIORITIES: Final = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}

#: Control characters, which would talk to the reader's terminal.  A traceback needs its line ends and tabs.
_CONTROL: Final = {code: f"\\x{code:02X}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


@implementer(ILogObserver)
class ErrorLog:
    """
    Writes ``2026-11-22T08:00:00Z [warn] twistginx.service: text``, and the traceback where there is a failure.

    Lines after the first of one event are indented, so that no text can look like another event.  An event that
    cannot be written is dropped: there is nowhere left to say so.

    Where the journal of systemd reads it, a line begins with its priority, ``<4>twistginx.service: text``, without a
    time, which the journal knows.

    :ivar level: the least level that is written, a key of :data:`LEVELS`.
    :ivar origin: who writes, where several processes do: ``[warn] worker 2: twistginx.service: text``.
    """

    def __init__(self, path: str, level: str = "info", origin: str = "") -> None:
        self._sink = Sink(path)
        self.level = level
        self.origin = origin
        self._before = f"{origin}: " if origin else ""
        self._least = LEVELS[level]

    @property
    def path(self) -> str:
        """
        An absolute path, ``stdout`` or ``stderr``.
        """
        return self._sink.path

    def open(self) -> None:
        """
        :raise OSError: when the file cannot be opened.
        """
        self._sink.open()

    def reopen(self) -> None:
        """
        Go on in a new file of the same path.

        :raise OSError: when it cannot be opened; the old one is kept.
        """
        self._sink.reopen()

    def adopt(self, other: ErrorLog) -> None:
        """
        Become ``other``, which is used up: a reload may name another file, and the observer is one for all time.
        """
        self._sink.close()
        self._sink, self.level, self._least = other._sink, other.level, other._least

    def close(self) -> None:
        """
        Give the file back; it is opened again when there is more to say.
        """
        self._sink.close()

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        name = "info" if level is None else level.name
        if LEVELS.get(name, _UNSAID) < self._least:
            return
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}"
        if text:
            place = event.get("log_namespace", "-")
            if place == "log_legacy":
                place = "twisted"  # its own, from before it had namespaces
            if self._sink.is_journal:
                before = more = f"<{_PRIORITIES.get(name, 6)}>"
            else:
                before, more = f"{strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(event.get('log_time')))} [{name}] ", ""
            line = (
                f"{before}{self._before}{place}: {text}".translate(_CONTROL).rstrip("\n").replace("\n", f"\n{more}    ")
            )
            with suppress(OSError):
                self._sink.write(line.encode("utf-8", "backslashreplace") + b"\n")


@implementer(ILogObserver)
class TwistdLog:
    """
    What ``twistd`` itself makes of ``--logfile PATH``: the same text, and the same rotation.

    It is made here because one that ``twistd`` makes can only be rotated, by its own SIGUSR1, and never reopened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = LogFile.fromFullPath(path)
        self._observer = textFileLogObserver(self._file)

    def reopen(self) -> None:
        """
        Go on in a new file of the same path.

        :raise OSError: when it cannot be opened; the old one is kept.
        """
        # LogFile closes the old file first, and is broken for good when there is no new one.
        with Path(self.path).open("ab"):
            self._file.reopen()

    def __call__(self, event: LogEvent) -> None:
        self._observer(event)
