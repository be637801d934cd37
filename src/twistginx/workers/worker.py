"""
A worker: a process that serves, on sockets that its master has bound, and does as it is told.

``python -P -m twistginx.workers.worker`` is started by the master and by nobody else.  Our reactor is installed when
this is imported.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from typing import Any, Final

if "twisted.internet.reactor" not in sys.modules:
    if "LISTEN_FDS" in os.environ:
        # Sockets of systemd keep their numbers on the way here.  Twisted looks for them when it is imported, and takes
        # those that are for this process.
        os.environ["LISTEN_PID"] = str(os.getpid())
    from twistginx.net.reactor import install

    install()

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner

from twistginx.config.disk import Disk
from twistginx.errors import ConfigError
from twistginx.net.inheritance import close_inherited, key_of_text
from twistginx.observe.errorlog import ErrorLog
from twistginx.service.heap import freeze_heap
from twistginx.service.opening import Opening, RefusedError
from twistginx.service.server import Service
from twistginx.service.start import unexpected
from twistginx.shared.embedded import EmbeddedStore
from twistginx.workers.relayed import RelayedLog
from twistginx.workers.wire import Details, Line, OneLine, RefusalError

reactor: Any = _reactor

#: The variable of the environment that holds the descriptor of the line to the master.
LINE: Final = "TWISTGINX_LINE"

#: The key under which the memory that workers share is passed.
MEMORY: Final = "memory"

#: Seconds between two turns of the reactor that the watchdog is told of.
_TURN: Final = 2.0

#: Seconds beyond ``worker_timeout`` and ``_TURN``, for the master to be first.
_BEYOND: Final = 3.0

#: How often, a second apart, an order of before is tried.
_TRIES: Final = 10

_log = Logger(namespace="twistginx.workers")


class Worker:
    """
    The worker's side of the line: each order is a method of that name.

    :ivar service: what serves; None before the first order.
    """

    def __init__(self) -> None:
        self.service: Service | None = None
        self.line = Line(
            {
                name: getattr(self, name)
                for name in (
                    *("begin", "prepare", "commit", "abandon"),
                    *("beat", "lead", "reopen", "gather", "control", "drain", "stop"),
                )
            },
            self._heard,
        )
        self.line.lost.addCallback(self._alone)
        self._opening: Opening | None = None
        self._ending = False

    def run(self, descriptor: int) -> None:
        """
        Do as we are told, until the end.

        :param descriptor: of the line; ours from here on.
        """
        line = reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, OneLine(self.line))
        os.close(descriptor)
        del line
        # The terminal's signals go to the whole group: what they mean for us, the master says.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        for number, act in ((signal.SIGTERM, self._end), (signal.SIGQUIT, self._quit), (signal.SIGUSR1, self._reopen)):
            signal.signal(number, lambda *_, act=act: reactor.callFromThread(act))
        reactor.run(installSignalHandlers=False)

    # Orders.

    async def begin_with(self, details: Details, sockets: dict[str, int]) -> Details:
        """
        Serve a configuration, for the first time.
        """
        memory = sockets.pop(MEMORY, None)
        log: ErrorLog | RelayedLog
        if details["error_log"] is None:
            log = RelayedLog()
        else:
            path, level = details["error_log"]
            log = ErrorLog(path, level, f"worker {details['number']}")
        globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False, discardBuffer=True)
        error_log = log if isinstance(log, ErrorLog) else None
        service = Service(reactor, details["path"], error_log=error_log, settle=freeze_heap)
        runtime = service.runtime
        runtime.capacity.descriptors = details["descriptors"]
        runtime.workers = details["workers"]
        runtime.secret = bytes.fromhex(details["secret"])
        runtime.board.leads = details["leads"]
        runtime.board.latest = details["board"]
        runtime.board.tell = self.line.say
        if memory is not None:
            runtime.memory = EmbeddedStore.attach(memory, service.ticker)
        await self._open(service, details, sockets)
        self.service = service
        await self.commit({}, {})
        LoopingCall(self._turns).start(_TURN).addErrback(unexpected)
        for command in details["commands"]:
            self._apply(service, command)
        return {}

    def _apply(self, service: Service, command: Details, tries: int = _TRIES) -> None:
        """
        Do what an operator has ordered before this worker began.  What it is about may be gone since; or it is a server
        whose name has not been looked up here yet.
        """
        try:
            service.apply(command)
        except ValueError:
            if tries > 1 and not self._ending:
                reactor.callLater(1.0, self._apply, service, command, tries - 1)

    def _turns(self) -> None:
        """
        The reactor turns.  When it does not, the master ends us; when there is no master any more, nobody would, and we
        would keep the addresses from the next one: so a thread of the interpreter's does, which needs no lock.
        """
        generation = None if self.service is None else self.service.generation
        if generation is not None:
            timeout = float(generation.root.process.worker_timeout)
            faulthandler.dump_traceback_later(_TURN + timeout + _BEYOND, exit=True)

    def begin(self, details: Details, sockets: dict[str, int]) -> Deferred[Details]:
        return Deferred.fromCoroutine(self.begin_with(details, sockets))

    def prepare(self, details: Details, sockets: dict[str, int]) -> Deferred[Details]:
        """
        Build and acquire all that a configuration needs, and change nothing.
        """
        return Deferred.fromCoroutine(self._open(self._service, details, sockets))

    async def _open(self, service: Service, details: Details, sockets: dict[str, int]) -> Details:
        reactor.inherited.update({key_of_text(key): descriptor for key, descriptor in sockets.items()})
        try:
            service.runtime.workers = details["workers"]
            generation = service.prepare(Disk.of(details["disk"]))
            opening = Opening(generation, service.listeners)
            await opening.bind(reactor, service.runtime.capacity)
            try:
                opening.open_logs(service.error_log, service.generation)
            except RefusedError:
                await opening.undo()
                raise
        except ConfigError as error:
            raise RefusalError("\n".join(map(str, error.problems))) from error
        except RefusedError as error:
            raise RefusalError(str(error)) from error
        finally:
            close_inherited(reactor.inherited)
        self._opening = opening
        return {}

    def commit(self, details: Details, sockets: dict[str, int]) -> Deferred[Details]:
        """
        Serve what was prepared.
        """
        opening, self._opening = self._opening, None
        if opening is None:
            raise RefusalError("there is nothing to commit")
        reactor.callLater(0, freeze_heap)
        return self._service.commit(opening).addCallback(lambda _: {})

    async def _undo(self) -> Details:
        opening, self._opening = self._opening, None
        if opening is not None:
            await opening.undo()
        return {}

    def abandon(self, details: Details, sockets: dict[str, int]) -> Deferred[Details]:
        """
        Forget what was prepared.
        """
        return Deferred.fromCoroutine(self._undo())

    def beat(self, details: Details, sockets: dict[str, int]) -> Details:
        """
        Show that the reactor turns, and say how many are connected.
        """
        return {"connections": 0 if self.service is None else self.service.connections}

    def lead(self, details: Details, sockets: dict[str, int]) -> Details:
        """
        Do, or do no more, what only one is to do.
        """
        self._service.runtime.board.leads = details["leads"]
        return {}

    def reopen(self, details: Details, sockets: dict[str, int]) -> Details:
        """
        Go on in new log files.
        """
        self._service.reopen_logs()
        return {}

    def gather(self, details: Details, sockets: dict[str, int]) -> Details:
        """
        What was counted.
        """
        return self._service.report()

    def control(self, details: Details, sockets: dict[str, int]) -> Details:
        """
        Do what an operator wants of the running configuration.
        """
        try:
            return self._service.apply(details)
        except ValueError as error:
            raise RefusalError(str(error)) from error

    def drain(self, details: Details, sockets: dict[str, int]) -> Deferred[Details]:
        """
        Accept no more, and end what goes on; then the master ends the line, and with it this process.
        """
        return Deferred.fromCoroutine(self._drain())

    def stop(self, details: Details, sockets: dict[str, int]) -> Deferred[Details]:
        """
        The same, at once.
        """
        if self.service is not None and details.get("now"):
            self.service.hurry()
        return Deferred.fromCoroutine(self._stop())

    # The end.

    @property
    def _service(self) -> Service:
        if self.service is None:
            raise RefusalError("it has not begun")
        return self.service

    async def _drain(self) -> Details:
        self._ending = True
        if self.service is not None:
            await self.service.drain()
        return await self._stop()

    async def _stop(self) -> Details:
        self._ending = True
        cut = 0
        if self.service is not None:
            await self.service.stop()
            cut = self.service.cut
            memory = self.service.runtime.memory
            if memory is not None:
                self.service.runtime.memory = None
                memory.close()
        return {"cut": cut}

    def _quit(self) -> None:
        Deferred.fromCoroutine(self._drain()).addErrback(unexpected).addBoth(_stop_reactor)

    def _end(self) -> None:
        if self.service is not None and self._ending:
            self.service.hurry()
        Deferred.fromCoroutine(self._stop()).addErrback(unexpected).addBoth(_stop_reactor)

    def _reopen(self) -> None:
        if self.service is not None:
            self.service.reopen_logs()

    def _alone(self, _: object) -> None:
        """
        The line has ended: we are done, or the master is gone.
        """
        if self._ending or self.service is None:
            _stop_reactor()
            return
        _log.critical("the master is gone: draining")
        self._quit()

    def _heard(self, topic: str, value: Any) -> None:
        if self.service is not None:
            self.service.runtime.board.hear(topic, value)


def _stop_reactor(_: object = None) -> None:
    if reactor.running:
        reactor.stop()


def main() -> None:
    """
    The entry point.
    """
    # Where a worker hangs that is ended for it: SIGABRT has Python say so.
    faulthandler.enable()
    Worker().run(int(os.environ.pop(LINE)))


if __name__ == "__main__":
    main()
