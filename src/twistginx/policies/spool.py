"""
``spool``: the body of a request is taken whole before anybody is bothered with it.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import IO, Any, Final

from attrs import Attribute, field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import moduleProvides

from twistginx.config.units import Size
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.message import Fields
from twistginx.http.spooledbody import SpooledBody
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.net.threads import Threads, threads_of

moduleProvides(IPolicyModule)

name = "spool"
api = 1
#: Behind all that may refuse a request, and before what may answer it.
rank = 450
applies_to = frozenset(("http",))
many = False
#: It decides nothing about who may come in.
decides = False

#: Bytes that are gathered for one write.
_WRITE: Final = 262144

#: What a system says when there is no room.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@frozen
class Config:
    """
    Take the body of a request whole before the upstream is asked, so that a slow upload keeps no worker of it waiting.
    ``spool = true`` is with all defaults.

    Small bodies stay in memory; larger ones go to files that have no name and vanish with the request.  An upload that
    came in chunks goes on with its length.

    :ivar memory: bytes of a body that stay in memory.
    :ivar directory: where the files are; without it, where the system has temporary files.
    :ivar quota: bytes that all files of a directory may have together, in each worker.
    """

    memory: Size = field(default=Size(64 << 10))
    directory: Path | None = None
    quota: Size = field(default=Size(1 << 30))

    @memory.validator
    def _check_memory(self, attribute: Attribute[Any], value: Size) -> None:
        if value > 16 << 20:
            raise ValueError(f"is {value} for each of many requests; expected 16MiB at most")

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``spool = true``.
        """
        if value is not True:
            raise ValueError("expected true, or a table")
        return {}


def make(config: Config, context: IContext) -> Spool:
    """
    The policy.
    """
    directory = tempfile.gettempdir() if config.directory is None else str(context.base / config.directory)
    if not os.path.isdir(directory):
        raise ConfigError(f'"{directory}" is no directory', key="directory", expected="expected one that is there")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(f'"{directory}" cannot be written to', key="directory")
    usage = context.keep(("spool", os.path.realpath(directory)), Usage)
    return Spool(config, directory, usage, context)


class Usage:
    """
    How much of a disk is in use by all bodies together.

    :ivar used: bytes.
    """

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0

    def take(self, size: int, quota: int) -> bool:
        """
        Use ``size`` bytes more, if there are that many.
        """
        if self.used + size > quota:
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """
        Use ``size`` bytes less.
        """
        self.used -= size


class Spool:
    """
    The policy of one route.
    """

    __slots__ = ("directory", "memory", "quota", "setting", "threads", "ticker", "usage")

    def __init__(self, config: Config, directory: str, usage: Usage, context: Any) -> None:
        self.directory: Final = directory
        self.memory: Final = int(config.memory)
        self.quota: Final = int(config.quota)
        self.setting: Final = f"spool.quota = {config.quota}"
        self.usage: Final = usage
        self.ticker: Final = context.ticker
        self.threads: Final[Threads] = threads_of(context)

    def admit(self, request: Any) -> Deferred[None] | None:
        """
        See ``IPolicy``.

        :raise ProxyError: when there is no room for a body that says how long it is.
        """
        body = request.body
        if body is None or (body.complete and body.length is not None and body.length <= self.memory):
            return None  # it is here already
        spooling = Spooling(self, request)
        if body.length is not None and body.length > self.memory:
            spooling.reserve(body.length)
        return spooling.begin()

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return ["takes the body whole before anybody is asked"]


class Spooling:
    """
    One body, on its way to where it waits: its receiver.

    Bytes are written in a thread, and no more are taken meanwhile.
    """

    __slots__ = (
        "_body",
        "_file",
        "_pieces",
        "_request",
        "_reserved",
        "_size",
        "_spool",
        "_trailers",
        "_unwritten",
        "_waiting",
        "_writing",
    )

    def __init__(self, spool: Spool, request: Any) -> None:
        self._spool = spool
        self._request = request
        self._body = request.body
        self._file: IO[bytes] | None = None
        self._pieces: list[bytes] = []
        self._unwritten = 0  # bytes of the pieces
        self._size = 0  # bytes that have come
        self._reserved = 0  # bytes of the quota
        self._trailers: Fields | None = None  # when the end has come
        self._waiting: Deferred[None] | None = Deferred(lambda _: self._give_up())
        self._writing = False

    def begin(self) -> Deferred[None] | None:
        """
        Take the body; fires when it is whole.
        """
        waiting = self._waiting
        self._body.start(self)
        return waiting

    def reserve(self, size: int) -> None:
        """
        Claim room for so many bytes in all.

        :raise ProxyError: when there is none.
        """
        spool = self._spool
        if size > spool.quota:
            raise ProxyError("request_body_too_large", setting=spool.setting)
        if not spool.usage.take(size - self._reserved, spool.quota):
            raise ProxyError("spool_full", setting=spool.setting, fields=((b"Retry-After", b"5"),))
        self._reserved = size

    # The body's receiver.

    def body_data(self, data: bytes) -> None:
        """
        The next bytes.
        """
        if self._waiting is None:
            return
        self._size += len(data)
        self._pieces.append(data)
        self._unwritten += len(data)
        if self._size <= self._spool.memory:
            return
        if self._size > self._reserved:
            try:
                self.reserve(self._size)
            except ProxyError as error:
                self._failed(Failure(error))
                return
        if self._unwritten >= _WRITE:
            self._write()

    def body_end(self, trailers: Fields) -> None:
        """
        It is complete.
        """
        if self._waiting is None:
            return
        self._trailers = trailers
        if self._writing:
            return
        if self._size > self._spool.memory and self._pieces:
            self._write()
        else:
            self._finish()

    # Writing.

    def _write(self) -> None:
        if self._writing:
            return
        self._writing = True
        self._body.pause()
        pieces, self._pieces = self._pieces, []
        self._unwritten = 0
        work = self._spool.threads.run(_write_all, self._file, self._spool.directory, pieces)
        work.addCallbacks(self._written, self._failed)

    def _written(self, file: IO[bytes]) -> None:
        self._writing = False
        self._file = file
        if self._waiting is None:  # nobody waits for it any more
            self._release()
        elif self._trailers is None:
            self._body.resume()
        elif self._pieces:
            self._write()
        else:
            self._finish()

    def _finish(self) -> None:
        """
        Put the whole body in the place of the one that was arriving.
        """
        waiting, self._waiting = self._waiting, None
        assert waiting is not None and self._trailers is not None
        request = self._request
        if self._file is None:
            self._spool.usage.give(self._reserved)
            self._reserved = 0
        body = SpooledBody(
            self._pieces, self._file, self._size, self._trailers, self._spool.ticker, self._release, request.fail
        )
        head = request.head
        if head.length is None and not self._trailers:
            # What came in chunks has a length now, and servers like that better.
            head.length = self._size
            head.fields.drop(b"transfer-encoding")
            head.fields.put(b"Content-Length", b"%d" % self._size)
        request.body = body
        waiting.callback(None)

    # Ends.

    def _failed(self, failure: Failure) -> None:
        """
        There is no room, or the disk is no good.
        """
        self._writing = False
        error = failure.value
        if isinstance(error, OSError):
            word = "storage_full" if error.errno in _FULL else "proxy_internal_error"
            failure = Failure(ProxyError(word, f"spooling a body: {error.strerror}"))
        waiting, self._waiting = self._waiting, None
        self._release()
        if waiting is not None:
            waiting.errback(failure)

    def _give_up(self) -> None:
        """
        The client has left, or has been answered.
        """
        self._waiting = None
        if not self._writing:
            self._release()

    def _release(self) -> None:
        """
        Give back what is held.
        """
        self._pieces = []
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self._spool.usage.give(self._reserved)
        self._reserved = 0


def _write_all(file: IO[bytes] | None, directory: str, pieces: list[bytes]) -> IO[bytes]:
    """
    Append ``pieces``, in a thread.

    :param file: None: make one; it has no name from its beginning, and is gone when it is closed.
    :return: the file.
    """
    if file is None:
        file = tempfile.TemporaryFile(buffering=0, dir=directory)
    data = memoryview(b"".join(pieces))
    try:
        while data:
            data = data[file.write(data) :]
    except OSError:
        file.close()
        raise
    return file
