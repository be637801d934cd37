"""
A file whose content matters while we run: it is read again when it changes, without a reload.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.errors import ConfigError
from twistginx.net.timers import NEVER, Ticker

#: Seconds between two looks at a file.
INTERVAL: Final = 1.0

#: Bytes that a file may have.
BOUND: Final = 64 << 20

#: Larger files, in bytes, are made sense of beside the reactor.
_BESIDE: Final = 32 << 10

_log = Logger(namespace="twistginx.files")

Value = TypeVar("Value")

_Signature = tuple[int, int, int] | None


class WatchedFile(Generic[Value]):
    """
    What a file says, now.

    A file that cannot be read, or is wrong, changes nothing: what it said last holds, and the log says why.  One that
    is being written is read when it has been left alone for a look.

    :ivar value: what ``parse`` made of the content.
    :ivar deadline: of the next look, in seconds on the ticker's clock.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], Value], reactor: Any, ticker: Ticker) -> None:
        """
        :param parse: makes a value of the content, in whatever thread; ValueError says in short what is wrong with it.
        :raise ConfigError: when the file cannot be read, or is wrong.
        """
        self.path = path
        self.deadline = NEVER
        self._parse = parse
        self._reactor = reactor
        self._ticker = ticker
        self._reading = False
        self._complaint = ""
        self._signature: _Signature = None
        self._seen: _Signature = None
        try:
            self._signature = self._seen = _signature(path)
            self.value = self._read()
        except OSError as error:
            raise ConfigError(f'the file "{path}" cannot be read: {error.strerror}') from error
        except ValueError as error:
            raise ConfigError(f'the file "{path}" cannot be used: {error}') from error

    def start(self) -> None:
        """
        Look at it from now on.
        """
        self._ticker.watch(self)  # first, because the ticker may have slept
        self.deadline = self._ticker.now + INTERVAL

    def stop(self) -> None:
        """
        Look at it no more.
        """
        self._ticker.forget(self)

    def deadline_passed(self) -> None:
        """
        Time for a look.
        """
        self.deadline = self._ticker.now + INTERVAL
        if self._reading:
            return
        try:
            found = _signature(self.path)
        except OSError as error:
            self._complain(f"cannot be read: {error.strerror}")
            return
        settled, self._seen = found == self._seen, found
        if settled and found != self._signature:
            self._signature = found
            self._read_again(found)

    def _read(self) -> Value:
        with self.path.open("rb") as file:
            content = file.read(BOUND + 1)
        if len(content) > BOUND:
            raise ValueError(f"it has more than {BOUND >> 20} MiB")
        return self._parse(content)

    def _read_again(self, found: _Signature) -> None:
        if found is not None and found[1] > _BESIDE and IReactorThreads.providedBy(self._reactor):
            self._reading = True
            beside = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._read)
            beside.addCallbacks(self._take, self._failed)
            return
        try:
            value = self._read()
        except Exception:
            self._failed(Failure())
        else:
            self._take(value)

    def _take(self, value: Value) -> None:
        self._reading = False
        self._complaint = ""
        self.value = value
        _log.info("{path} has changed and was read again", path=str(self.path))

    def _failed(self, failure: Failure) -> None:
        self._reading = False
        error = failure.value
        if isinstance(error, OSError):
            self._signature = None  # who is allowed to read it says nothing of when it was written: try again
            self._complain(f"cannot be read: {error.strerror}")
        elif isinstance(error, ValueError):
            self._complain(f"cannot be used: {error}")
        else:
            _log.failure("{path} could not be read again", failure=failure, path=str(self.path))

    def _complain(self, complaint: str) -> None:
        """
        Once, until something else is wrong.
        """
        if complaint != self._complaint:
            self._complaint = complaint
            _log.error("{path} {complaint}; what it said before holds", path=str(self.path), complaint=complaint)


def _signature(path: Path) -> _Signature:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
