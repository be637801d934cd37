"""
One worker, as its master sees it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.workers.relayed import Relay
from twistginx.workers.wire import Details, GoneError, Line, OneLine, RefusalError

#: The variable of the environment that holds the descriptor of the line, as in ``worker``.
_LINE: Final = "TWISTGINX_LINE"

#: Seconds that a worker may take from its start until it serves.
START_PATIENCE: Final = 60.0

#: Seconds from SIGABRT, which has a worker say where it hangs, until SIGKILL.
_LAST_WORDS: Final = 1.0

_log = Logger(namespace="twistginx.workers")


@frozen
class Surroundings:
    """
    What all workers are given.

    :ivar systemd: the descriptors of the sockets that systemd has passed to the master, from 3 on.
    :ivar names: their names.
    :ivar relays: does what a worker says on standard error go through the master's log?
    """

    systemd: Sequence[int] = ()
    names: Sequence[str] = ()
    relays: bool = False


class WorkerProcess(ProcessProtocol):
    """
    A process that serves.

    :ivar number: from 1; the one that takes its place has it too.
    :ivar pid: None before it is spawned.
    :ivar serving: has it begun, and not been told to end?
    :ivar leads: was it told to?
    :ivar ending: has it been told to end?
    :ivar overdue: seconds since which an answer is awaited.
    :ivar connections: that were open when it last gave a sign of life.
    :ivar began: when it was spawned, in seconds on the reactor's clock.
    :ivar gone: fires with ``fate`` when it has ended.
    :ivar fate: how it has ended, such as "was killed by SIGKILL".
    """

    def __init__(self, reactor: Any, number: int, surroundings: Surroundings, heard: Callable[..., object]) -> None:
        """
        :param heard: ``(self, topic, value)`` is told the words of the worker.
        """
        self.number = number
        self.pid: int | None = None
        self.serving = False
        self.leads = False
        self.ending = False
        self.overdue = 0.0
        self.connections = 0
        self.began = reactor.seconds()
        self.gone: Deferred[str] = Deferred()
        self.fate = ""
        self._awaited = False
        self._killed = False
        self._reactor = reactor
        self._relay = Relay(self.name)
        self._line = Line({}, lambda topic, value: heard(self, topic, value))
        self._spawn(surroundings)

    @property
    def name(self) -> str:
        """
        For the log.
        """
        return f"worker {self.number}"

    def _spawn(self, surroundings: Surroundings) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, open(os.devnull, "rb") as nothing:
            descriptors: dict[int, int | str] = {0: nothing.fileno(), 1: 1, 2: "r" if surroundings.relays else 2}
            descriptors |= {3 + place: each for place, each in enumerate(surroundings.systemd)}
            line = 3 + len(surroundings.systemd)
            descriptors[line] = theirs.fileno()
            environment = {
                **os.environ,
                # Where a relative path leads may have changed since we were started.
                "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
                _LINE: str(line),
            }
            if surroundings.systemd:
                environment["LISTEN_FDS"] = str(len(surroundings.systemd))
                environment["LISTEN_FDNAMES"] = ":".join(surroundings.names)
            ours.setblocking(False)
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, OneLine(self._line))
            arguments = [sys.executable, "-P", "-m", "twistginx.workers.worker"]
            process = self._reactor.spawnProcess(self, sys.executable, arguments, environment, childFDs=descriptors)
            self.pid = process.pid

    # What it is told.

    def order(
        self, name: str, details: Details | None = None, sockets: Iterable[tuple[str, int]] = ()
    ) -> Deferred[Details]:
        """
        See ``Line.order``.  Its death fails what it was to answer, with :exc:`GoneError`, and may be heard of later.
        """

        def dead(failure: Failure) -> Details:
            if failure.check(RefusalError) and not failure.check(GoneError):
                failure.raiseException()
            raise GoneError(f"{self.name} is gone") from failure.value

        return self._line.order(name, details, sockets).addErrback(dead)

    def say(self, topic: str, value: Any) -> None:
        """
        See ``Line.say``.
        """
        if self.serving:
            self._line.say(topic, value)

    async def begin(self, details: Details, sockets: Iterable[tuple[str, int]]) -> None:
        """
        Have it serve.

        :raise RefusalError: when it cannot; it is ended then.
        """
        beginning = self.order("begin", details, sockets)
        beginning.addTimeout(START_PATIENCE, self._reactor)
        try:
            await beginning
        except (RefusalError, TimeoutError) as error:
            self.kill()
            await self.ended()
            reason = str(error) if isinstance(error, RefusalError) else f"not within {START_PATIENCE:g} s"
            raise RefusalError(f"{self.name} {self.fate}" if isinstance(error, GoneError) else reason) from error
        self.serving = True

    def beat(self, elapsed: float) -> None:
        """
        Ask for a sign of life, if none is awaited.

        :param elapsed: seconds since the last call.
        """
        if self._awaited:
            self.overdue += elapsed
            return
        self._awaited = True

        def heard(answer: Details) -> None:
            self._awaited = False
            self.overdue = 0.0
            self.connections = int(answer.get("connections", 0))

        self.order("beat").addCallbacks(heard, lambda _: None)

    def lead(self, leads: bool) -> None:
        """
        Have it do, or do no more, what only one is to do.
        """
        if leads is not self.leads:
            self.leads = leads
            self.order("lead", {"leads": leads}).addErrback(lambda _: None)

    async def end(self, how: str, patience: float, **details: Any) -> int:
        """
        Have it end.

        :param how: ``drain`` or ``stop``.
        :param patience: seconds until it is killed.
        :return: how many connections it had to cut.
        """
        self.ending, self.serving = True, False
        ending = self.order(how, details)
        ending.addTimeout(patience, self._reactor)
        cut = 0
        try:
            cut = int((await ending)["cut"])
        except (RefusalError, TimeoutError):
            self.signal(signal.SIGKILL)
        self._line.hang_up()
        late = self._reactor.callLater(_LAST_WORDS, self.signal, signal.SIGKILL)
        await self.ended()
        if late.active():
            late.cancel()
        return cut

    def ended(self) -> Deferred[None]:
        """
        :return: fires when the process has ended; each call's own.
        """
        waiting: Deferred[None] = Deferred()

        def told(text: str) -> str:
            waiting.callback(None)
            return text

        self.gone.addCallback(told)
        return waiting

    def kill(self) -> None:
        """
        End it, whatever it does.  If it hangs in Python, it says where.
        """
        if self._killed:
            return
        self._killed = True
        self.serving = False
        self.signal(signal.SIGABRT)
        self._reactor.callLater(_LAST_WORDS, self.signal, signal.SIGKILL)

    def signal(self, number: int) -> None:
        """
        Send it a signal, if it lives.
        """
        if not self.gone.called and self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(number)

    # What Twisted tells us.

    def errReceived(self, data: bytes) -> None:
        self._relay.received(data)

    def processExited(self, reason: Failure) -> None:
        # Not when all pipes are closed: what it has started may have them.
        self._relay.end()
        self.serving = False
        self.fate = _how(reason.value)
        self.gone.callback(self.fate)


def _how(ended: BaseException | None) -> str:
    """
    How a process has ended, in words.
    """
    if isinstance(ended, ProcessDone):
        return "ended"
    if isinstance(ended, ProcessTerminated) and ended.signal is not None:
        return f"was killed by {signal.Signals(ended.signal).name}"
    if isinstance(ended, ProcessTerminated):
        return f"ended with status {ended.exitCode}"
    return f"ended: {ended}"
