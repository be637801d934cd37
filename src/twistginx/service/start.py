"""
How a program begins: it binds while it may, opens its logs as whom it is to be, and serves; or it ends, and says why.
"""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.build.generation import Generation
from twistginx.errors import TwistginxError
from twistginx.net.capacity import raise_descriptor_limit
from twistginx.net.inheritance import sockets_of
from twistginx.net.port import UnixPort
from twistginx.observe.sink import STANDARD
from twistginx.service.opening import Opening, RefusedError
from twistginx.service.signals import hear, hear_twice
from twistginx.service.status import Status
from twistginx.service.upgrade import PidFile

if TYPE_CHECKING:
    from twistginx.service.program import Program

_log = Logger(namespace="twistginx.service")


class StartError(TwistginxError, SystemExit):
    """
    The server cannot start, and has said why.

    ``twistd`` sees an exception, removes its pid file and tells whoever waits for the daemon; the interpreter sees a
    ``SystemExit``, and ends with status 1 and no traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1


def unexpected(failure: Failure) -> None:
    """
    Log what should not have happened.
    """
    _log.failure("unexpected", failure)


class Start:
    """
    The start of a program.
    """

    def __init__(self, program: Program, reactor: Any) -> None:
        self._program = program
        self._reactor = reactor
        self._first: Generation
        self._binding: Deferred[Opening | None] | None = None
        self._failed: StartError | None = None

    @property
    def is_bound(self) -> bool:
        """
        Has the privileged part been done?
        """
        return self._binding is not None

    def bind(self, first: Generation) -> None:
        """
        Bind everything, while we may still bind low ports.

        :raise StartError: when an address cannot be had; every one that cannot is reported.
        """
        program = self._program
        self._first = first
        if program.predecessor is not None:
            program.predecessor.begins()
        program.runtime.capacity.descriptors = raise_descriptor_limit()
        self._binding = Deferred.fromCoroutine(program.bind(first))
        self._binding.addCallbacks(self._give_away, self._cannot)
        if self._failed is not None:
            raise self._failed

    def serve(self) -> None:
        """
        Open the access log as whom we are to be, and serve.

        :raise StartError: when the access log cannot be opened.
        """
        assert self._binding is not None
        try:
            Opening(self._first, {}).open_logs(None, None)
        except RefusedError:
            self._cannot(Failure())
            raise self._failed from None  # type: ignore[misc]  # it has just been set
        hear(self._program, self._reactor)
        Deferred.fromCoroutine(self._serve(self._binding, self._first)).addErrback(unexpected)

    async def _serve(self, binding: Deferred[Opening | None], first: Generation) -> None:
        # What is ordered meanwhile comes after this.
        changing = self._program.changing
        await changing.acquire()
        try:
            await self._serve_alone(binding, first)
        finally:
            changing.release()

    async def _serve_alone(self, binding: Deferred[Opening | None], first: Generation) -> None:
        program = self._program
        opening = await binding
        del self._first  # it is to go when it is replaced
        if program.stopping:
            if opening is not None:
                await opening.undo()
            return
        if opening is None:
            self._end_with_failure()
            return
        for problem in first.warnings:
            _log.warn("{problem}", problem=problem)
        try:
            await program.put_in_force(opening)
        except RefusedError:
            failure = Failure()
            await opening.undo()  # first, because a predecessor goes on as soon as it hears of it
            self._cannot(failure)
            self._end_with_failure()
            return
        scarcity = program.runtime.capacity.scarcity
        if scarcity:
            _log.warn("{scarcity}", scarcity=scarcity)
        self._began()
        text = f"serving on {program.name_of_what_serves()}"
        _log.info("{text}", text=text)
        program.status.ready(text)
        program.settle()

    def _began(self) -> None:
        """
        The first generation is in force.
        """
        program = self._program
        program.follow_configuration()
        if type(program.status).alive is not Status.alive:
            alive = LoopingCall(lambda: program.status.alive(program.connections))
            alive.clock = self._reactor
            alive.start(program.status.interval, now=False).addErrback(unexpected)
        # Twisted sets its own when it begins to run.
        self._reactor.callWhenRunning(hear_twice, program, self._reactor)
        predecessor, program.predecessor = program.predecessor, None
        if predecessor is not None:
            for listener in program.listeners.values():
                if isinstance(listener.port, UnixPort):
                    listener.port.own()
            predecessor.serving()

    def _give_away(self, opening: Opening) -> Opening:
        """
        What ``twistd --uid`` has had us make as root is to be theirs as whom we are to be: the error log, because
        workers, and we ourselves after a rotation, write to it; sockets, because only who has one may bind another
        beside it, when a listener moves.
        """
        program, options = self._program, self._program.twistd
        uid, gid = options.get("uid"), options.get("gid")
        if uid is None and gid is None:
            return opening
        log = program.error_log
        ours: list[str | int] = [sock.fileno() for key, sock in sockets_of(opening.added.values()) if key[0] == "tcp"]
        if log is not None and log.path not in STANDARD:
            ours.append(log.path)
        for each in ours:
            with suppress(OSError):
                os.chown(each, -1 if uid is None else uid, -1 if gid is None else gid)
        return opening

    def _end_with_failure(self) -> None:
        """
        What takes its time has failed after twistd had called it a good start.  The reactor stops in order, and the
        exit status, which twistd does not let us say, is given at the very end.
        """
        self._program.stopping = True
        atexit.register(os._exit, 1)
        self._reactor.callWhenRunning(self._reactor.stop)

    def _cannot(self, failure: Failure) -> None:
        program = self._program
        text = f"twistginx cannot start:\n{failure.getErrorMessage()}"
        self._failed = StartError(text)
        program.status.failed(text)
        if program.predecessor is not None:
            PidFile(program.twistd).give_up()
            program.predecessor.failed(failure.getErrorMessage())
        _log.critical("{text}", text=text)
        if program.error_log is not None and program.error_log.path not in STANDARD:
            os.write(2, text.encode("utf-8", "backslashreplace") + b"\n")
