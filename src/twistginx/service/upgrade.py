"""
An upgrade of the program: another process, started by the same command, takes the sockets over while we serve.

Between the two is a socket pair.  The old one sends its listening sockets before the new one has begun; the new one
says that it serves, or why it cannot, or just ends.  Until it serves, nothing has changed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.net.activation import passed
from twistginx.net.inheritance import Key, key_as_text, key_of_text

#: The variable of the environment that holds the descriptor of the new process.
_VARIABLE: Final = "TWISTGINX_PREDECESSOR"

#: Seconds in which the new process is to serve.
PATIENCE: Final = 90.0

#: Sockets in one message; the system takes 253.
_AT_ONCE: Final = 128

#: Bytes of a message, at most.
_LONGEST: Final = 1 << 16

#: Where we were when the program was started: twistd goes elsewhere.
_DIRECTORY: Final = os.getcwd()


class UpgradeError(Exception):
    """
    The new process does not serve; the text says why.
    """


class Predecessor:
    """
    The process that we are to replace, as we see it.

    :ivar sockets: those that it listens on, by key.
    """

    def __init__(self, connection: socket.socket) -> None:
        """
        :param connection: the sockets have been sent.
        """
        self._connection: socket.socket | None = connection
        self.sockets: dict[Key, socket.socket] = {}
        while True:
            data, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, _AT_ONCE)
            keys = json.loads(data) if data else None
            if not keys:
                break
            sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            self.sockets.update(zip(map(key_of_text, keys), sockets, strict=True))
        self.begins()

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Predecessor | None:
        """
        The process that has started us to be replaced; None when nobody has.
        """
        descriptor = environment.pop(_VARIABLE, "")
        if not descriptor:
            return None
        connection = socket.socket(fileno=int(descriptor))
        connection.set_inheritable(False)
        return cls(connection)

    def begins(self) -> None:
        """
        Say who we are: once more when we may have become another process, as daemons do.
        """
        self._say("begins", str(os.getpid()))

    def close_sockets(self) -> None:
        """
        We have duplicates of those that we want.
        """
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()

    def serving(self) -> None:
        """
        We serve: it can go.
        """
        self._say("serves", "")
        self._close()

    def failed(self, why: str) -> None:
        """
        We cannot serve.
        """
        self._say("fails", why)
        self._close()

    def _say(self, word: str, text: str) -> None:
        if self._connection is not None:
            with suppress(OSError):  # it is gone, which changes nothing for us
                self._connection.send(json.dumps([word, text[: _LONGEST // 8]]).encode("ascii"))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@implementer(IReadDescriptor)
class Successor(ProcessProtocol):
    """
    The process that is to replace us, as we see it.

    :ivar pid: its number, once it has said so: a daemon has another one than the process that was started.
    """

    def __init__(self, reactor: Any) -> None:
        self.pid = 0
        self._reactor = reactor
        self._connection: socket.socket
        self._outcome: Deferred[int] = Deferred()

    def start(self, sockets: Iterable[tuple[Key, socket.socket]]) -> Deferred[int]:
        """
        Start it, by the command that started us.

        :param sockets: what it is to listen on.
        :return: fires with its process id when it serves; fails with :exc:`UpgradeError` when it does not.
        """
        systemd = passed()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection = ours
        with theirs:
            _send(ours, sockets)
            ours.setblocking(False)
            number = 3 + len(systemd)
            environment = {**os.environ, _VARIABLE: str(number)}
            descriptors = {0: 0, 1: 1, 2: 2, number: theirs.fileno()}
            descriptors |= {3 + place: each.descriptor for place, each in enumerate(systemd)}
            arguments = [sys.executable, *sys.orig_argv[1:]]
            if systemd:
                names = ":".join(each.name for each in systemd)
                environment |= {"LISTEN_FDS": str(len(systemd)), "LISTEN_FDNAMES": names}
                # The number of a process is known to itself alone, and stays the same over exec.
                arguments = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', *arguments]
            try:
                self._reactor.spawnProcess(self, arguments[0], arguments, environment, _DIRECTORY, childFDs=descriptors)
            except OSError as error:
                ours.close()
                raise UpgradeError(f"{arguments[0]} cannot be started: {error}") from error
        self._reactor.addReader(self)
        return self._outcome.addTimeout(PATIENCE, self._reactor, self._late)

    def _late(self, *_: object) -> int:
        with suppress(OSError, ProcessExitedAlready):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
            elif self.transport is not None:  # it has not come so far as to say who it is
                self.transport.signalProcess(signal.SIGKILL)
        self._close()
        raise UpgradeError(f"it does not serve after {PATIENCE:g} s")

    # IReadDescriptor.

    def fileno(self) -> int:
        return self._connection.fileno()

    def logPrefix(self) -> str:
        return "upgrade"

    def doRead(self) -> None:
        try:
            data = self._connection.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        word, text = json.loads(data) if data else ("fails", "it ended before it served")
        if word == "begins":
            self.pid = int(text)
            return
        self._close()
        if word == "serves":
            self._outcome.callback(self.pid)
        else:
            self._outcome.errback(UpgradeError(text))

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._close()

    def _close(self) -> None:
        self._reactor.removeReader(self)
        self._connection.close()


class PidFile:
    """
    The file that ``twistd`` has written our number to, and removes at the end.

    While a successor begins, it is out of the way, with ``.oldbin`` after its name, as nginx has it, and our number
    after that where the process that we have replaced is still draining by that name.
    """

    def __init__(self, options: MutableMapping[str, Any]) -> None:
        """
        :param options: of ``twistd``, which removes what ``pidfile`` names.
        """
        self._options = options
        self._path: str = options.get("pidfile") or ""

    def step_aside(self) -> None:
        """
        Make room for that of the successor.
        """
        if self._path and Path(self._path).exists():
            aside = self._path + ".oldbin"
            if Path(aside).exists():
                aside += f".{os.getpid()}"
            os.replace(self._path, aside)
            self._options["pidfile"] = aside

    def give_up(self) -> None:
        """
        Remove ours, now: the predecessor is to have its own back.
        """
        if self._path:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
            self._options["pidfile"] = ""

    def step_back(self) -> None:
        """
        There is no successor after all.
        """
        aside = self._options.get("pidfile")
        if self._path and aside != self._path:
            with suppress(FileNotFoundError):
                os.replace(str(aside), self._path)
            self._options["pidfile"] = self._path


def _send(connection: socket.socket, sockets: Iterable[tuple[Key, socket.socket]]) -> None:
    sockets = tuple(sockets)
    for start in range(0, len(sockets), _AT_ONCE):
        some = sockets[start : start + _AT_ONCE]
        keys = [key_as_text(key) for key, _ in some]
        socket.send_fds(connection, [json.dumps(keys).encode("ascii")], [sock.fileno() for _, sock in some])
    connection.send(b"[]")
