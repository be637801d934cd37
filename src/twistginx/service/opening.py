"""
Everything that a generation needs of the system: addresses and log files.  It is had as a whole, or not at all.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import gatherResults

from twistginx.build.generation import Generation
from twistginx.errors import TwistginxError
from twistginx.net.capacity import Capacity
from twistginx.net.inheritance import Key, close_inherited, same_address, sockets_of
from twistginx.net.listener import IN_USE, Listener, open_all
from twistginx.net.port import UnixPort
from twistginx.observe.errorlog import ErrorLog, TwistdLog


class RefusedError(TwistginxError):
    """
    Sockets and logs that a generation needs and that cannot be had.

    :ivar reasons: a sentence each.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))


class Opening:
    """
    The addresses and logs of a generation, while they are acquired.

    An address that a listener of the old generation has, and the new one does not want, can go to a new listener: the
    same address with its socket and all who wait in it; one that overlaps (``tcp:80`` and ``tcp:80:interface=::1``)
    beside it, until the old one is closed.  So can what the process has had that this one is to replace.

    :ivar generation: what it is for.
    :ivar added: the listeners that are new, by key.
    :ivar error_log: the new error log, open; None when the one in force stays.
    """

    def __init__(
        self, generation: Generation, live: Mapping[str, Listener], left: Mapping[Key, socket.socket] | None = None
    ) -> None:
        """
        :param live: the listeners that there are.
        :param left: the sockets of the process that we are to replace; still the caller's.
        """
        self.generation = generation
        self.added: dict[str, Listener] = {}
        self.error_log: ErrorLog | None = None
        self._live = live
        self._going = [listener for key, listener in live.items() if key not in generation.listeners]
        self._spare = {**(left or {}), **dict(sockets_of(self._going))}
        self._log_is_new = False

    async def bind(self, reactor: Any, capacity: Capacity) -> None:
        """
        Bind all addresses that are new.

        :param reactor: that the endpoints are to have.
        :raise RefusedError: when one cannot be had; then none is kept.
        """
        self.added = {
            key: Listener(reactor, plan.endpoint, plan.backlog, capacity)
            for key, plan in self.generation.listeners.items()
            if key not in self._live
        }
        reasons = await self._bind(reactor)
        if reasons:
            self.added = {}
            raise RefusedError(reasons)

    async def _bind(self, reactor: Any) -> list[str]:
        listeners = self.added.values()
        inherited: dict[Key, socket.socket | int] | None = getattr(reactor, "inherited", None)
        if not listeners:
            return []
        if inherited is None:  # a reactor that is not ours
            return self._explained(await open_all(listeners))
        offered = self._offer(inherited)
        try:
            reasons = await open_all(listeners)
            if reasons and self._spare:
                offered |= self._offer(inherited)
                with self._sharing(reactor):
                    reasons = await open_all(listeners)
        finally:
            close_inherited({key: inherited.pop(key) for key in offered if key in inherited})
        return self._explained(reasons)

    def _explained(self, reasons: list[str]) -> list[str]:
        """
        Reasons, and what they may have to do with listeners that go.
        """
        gone = ", ".join(sorted(listener.endpoint for listener in self._going))
        if gone and any(IN_USE in reason for reason in reasons):
            return [*reasons, f"only a restart can give another listener the address of one that goes ({gone})"]
        return reasons

    def _offer(self, inherited: dict[Key, socket.socket | int]) -> set[Key]:
        """
        The sockets of those that go, to those that come to the same address.
        """
        offered = set()
        for key, sock in self._spare.items():
            for same in same_address(key):
                if same not in inherited:
                    inherited[same] = sock.dup()
                    offered.add(same)
        return offered

    @contextmanager
    def _sharing(self, reactor: Any) -> Iterator[None]:
        """
        Addresses may overlap those of the listeners that go, and nobody else's.
        """
        going = [sock for key, sock in self._spare.items() if key[0] == "tcp"]
        _share(going, True)
        reactor.sharing = True
        try:
            yield
        finally:
            reactor.sharing = False
            # What is bound stays bound without it, and from now on nobody else of this user can come beside.
            _share(going, False)
            _share([sock for key, sock in sockets_of(self.added.values()) if key[0] == "tcp"], False)

    def open_logs(self, error_log: ErrorLog | TwistdLog | None, live: Generation | None) -> None:
        """
        Open the logs that are new.

        :param error_log: the one in force.
        :param live: the generation that is.
        :raise RefusedError: when a file cannot be opened.
        """
        log = self.generation.access_log
        if log is not None:
            self._log_is_new = live is None or log is not live.access_log
            try:
                log.open()
            except OSError as error:
                raise RefusedError([f"access log {log.path}: {said(error)}"]) from error
        wanted = self.generation.root.log.error
        if not isinstance(error_log, ErrorLog) or (str(wanted.path), wanted.level) == (error_log.path, error_log.level):
            return
        opened = ErrorLog(str(wanted.path), wanted.level, error_log.origin)
        try:
            opened.open()
        except OSError as error:
            raise RefusedError([f"error log {wanted.path}: {said(error)}"]) from error
        self.error_log = opened

    def settle(self) -> None:
        """
        The generation is committed: paths of UNIX sockets are their new listeners' now.
        """
        going = {listener.port.key: listener.port for listener in self._going if isinstance(listener.port, UnixPort)}
        for listener in self.added.values():
            port = listener.port
            if isinstance(port, UnixPort) and port.key in going:
                port.own(going[port.key])

    async def undo(self) -> None:
        """
        Give everything back.
        """
        added, self.added = self.added, {}
        await gatherResults([listener.close() for listener in added.values()])
        if self._log_is_new and self.generation.access_log is not None:
            self.generation.access_log.close()
        if self.error_log is not None:
            self.error_log.close()


def _share(sockets: Iterable[socket.socket], share: bool) -> None:
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, share)


def said(error: OSError) -> str:
    """
    What the system says is wrong, within a sentence.
    """
    return (error.strerror or str(error)).lower()
