"""
Listening sockets that go from one process to another, or from one listener to another.

Who binds is not who accepts: a master binds, and its workers accept; a server that is replaced has bound, and its
successor accepts.  A socket is known by the ``key`` of its port (``net.port``), which says what it was asked for.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from twistginx.net.listener import Listener
from twistginx.net.port import TCPPort, UnixPort

Key = tuple[Any, ...]

#: How "all interfaces" is written, in the keys of one and the same address.
_ANY: Final = ("", "0.0.0.0")


class Binder:
    """
    A reactor, as an endpoint sees it, on which ports are bound and nothing is accepted: the kernel queues.

    :ivar inherited: as of ``net.reactor.TwistginxReactor``.
    :ivar sharing: as there.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.inherited: dict[Key, socket.socket | int] = {}
        self.sharing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: Any, factory: Any, backlog: int = 50, interface: str = "") -> TCPPort:
        """
        See ``IReactorTCP.listenTCP``.
        """
        bound = _BoundTCPPort(port, factory, backlog, interface, self)
        bound.startListening()
        return bound

    def listenSSL(
        self, port: Any, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> TCPPort:
        """
        See ``IReactorSSL.listenSSL``.  Who accepts does the TLS.
        """
        return self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> UnixPort:
        """
        See ``IReactorUNIX.listenUNIX``.
        """
        bound = _BoundUnixPort(address, factory, backlog, mode, self, wantPID)
        bound.startListening()
        return bound

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> TCPPort | UnixPort:
        """
        See ``IReactorSocket.adoptStreamPort``.
        """
        if addressFamily == socket.AF_UNIX:
            bound: Any = _BoundUnixPort._fromListeningDescriptor(self, fileDescriptor, factory)
        else:
            bound = _BoundTCPPort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        bound.startListening()
        return bound  # type: ignore[no-any-return]  # one of the two


class _BoundTCPPort(TCPPort):
    """
    A TCP port that accepts nothing.
    """

    def startReading(self) -> None:
        self.socket.listen(self.backlog or socket.SOMAXCONN)

    def serve_queue(self) -> None:
        pass


class _BoundUnixPort(UnixPort):
    """
    A UNIX port that accepts nothing.
    """

    def startReading(self) -> None:
        self.socket.listen(self.backlog or socket.SOMAXCONN)

    def serve_queue(self) -> None:
        pass


def sockets_of(listeners: Iterable[Listener]) -> Iterator[tuple[Key, socket.socket]]:
    """
    The sockets of listeners whose ports are ours, with their keys.
    """
    for listener in listeners:
        if isinstance(listener.port, TCPPort | UnixPort):
            yield listener.port.key, listener.port.socket


def same_address(key: Key) -> tuple[Key, ...]:
    """
    The keys that stand for the address of ``key``, itself first.
    """
    if key[0] == "tcp" and key[1] in _ANY:
        return (key, *(("tcp", interface, key[2]) for interface in _ANY if interface != key[1]))
    return (key,)


def close_inherited(inherited: dict[Key, socket.socket | int]) -> None:
    """
    Close what nobody wanted.
    """
    while inherited:
        _, each = inherited.popitem()
        with suppress(OSError):
            if isinstance(each, socket.socket):
                each.close()
            else:
                os.close(each)


def key_as_text(key: Key) -> str:
    """
    A key, to be sent.
    """
    return json.dumps([os.fsdecode(part) if isinstance(part, bytes) else part for part in key])


def key_of_text(text: str) -> Key:
    """
    The opposite of :func:`key_as_text`.
    """
    kind, *rest = json.loads(text)
    return (kind, *(os.fsencode(part) for part in rest)) if kind == "unix" else (kind, *rest)
