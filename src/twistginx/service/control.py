"""
The control interface: a UNIX socket that takes orders, a line of JSON each, and answers in the same way.

A request is an object with ``command``; the answer has ``ok``, and ``error`` where that is false::

    {"command": "reload"}
    {"ok": true, "text": "sites ~example.com"}
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from twistginx.errors import TwistginxError

#: Bytes of a request, at most.
_LONGEST: Final = 64 << 10

#: Requests of one connection that wait for their answer, at most.
_WAITING: Final = 16

#: Follows a request, and returns what is to be said, or a Deferred of it; ValueError and TwistginxError are refusals.
Act = Callable[[dict[str, Any]], Any]

_log = Logger(namespace="twistginx.service")


class Control(Factory):
    """
    The socket, and what follows the requests.
    """

    noisy = False

    def __init__(self, reactor: Any, act: Act) -> None:
        self.act = act
        self._reactor = reactor
        self._port: Any = None
        self._path: Path | None = None
        self._inode = 0

    def open(self, path: Path) -> None:
        """
        Listen at ``path``, which only this user can use.  A socket that was left there, or that a process has which we
        replace, is replaced.

        :raise OSError: when that cannot be.
        """
        if path == self._path:
            return
        self.close()
        before = os.umask(0o077)
        try:
            path.parent.mkdir(0o755, parents=True, exist_ok=True)
            if path.is_socket():
                path.unlink()
            self._port = self._reactor.listenUNIX(os.fspath(path), self, backlog=8, mode=0o600)
        except CannotListenError as error:
            raise error.socketError from error
        finally:
            os.umask(before)
        self._inode = path.stat().st_ino
        self._path = path

    def close(self) -> None:
        """
        Listen no more.  The path goes, unless it is another process's by now.
        """
        port, self._port = self._port, None
        path, self._path = self._path, None
        if port is not None:
            if path is not None and hasattr(port, "owns_path"):
                with suppress(OSError):
                    port.owns_path = path.stat().st_ino == self._inode
            port.stopListening()

    def buildProtocol(self, addr: IAddress | None) -> _Conversation:
        return _Conversation(self)


class _Conversation(LineOnlyReceiver):
    """
    One connection.
    """

    delimiter = b"\n"
    MAX_LENGTH = _LONGEST

    def __init__(self, control: Control) -> None:
        self._control = control
        self._waiting = 0

    def lineReceived(self, line: bytes) -> None:
        if self._waiting >= _WAITING:
            self.transport.loseConnection()  # type: ignore[union-attr]  # it has one
            return
        self._waiting += 1
        following: Deferred[Any] = maybeDeferred(self._follow, line)
        following.addCallbacks(self._well, self._badly).addCallback(self._answer)

    def _follow(self, line: bytes) -> Any:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError("a request is a JSON object on one line") from error
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            raise ValueError('a request is a JSON object with a "command"')
        return self._control.act(request)

    @staticmethod
    def _well(answer: Any) -> dict[str, Any]:
        return {"ok": True, **(answer or {})}

    @staticmethod
    def _badly(failure: Failure) -> dict[str, Any]:
        if not failure.check(ValueError, TwistginxError):
            _log.failure("a fault in twistginx or in a plugin", failure)
        return {"ok": False, "error": failure.getErrorMessage()}

    def _answer(self, answer: dict[str, Any]) -> None:
        self._waiting -= 1
        if self.transport is not None and self.connected:
            self.sendLine(json.dumps(answer).encode("ascii"))
