"""
The running server: it prepares generations, commits them, drains what they leave behind, and stops.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from twistginx.build.generation import Generation, Runtime
from twistginx.build.prepare import prepare
from twistginx.config.changes import changes
from twistginx.errors import ConfigError, Problem, TwistginxError
from twistginx.net.capacity import raise_descriptor_limit
from twistginx.net.listener import Listener, end_connections, open_all
from twistginx.net.timers import Ticker
from twistginx.observe.counters import Counters
from twistginx.observe.errorlog import ErrorLog, TwistdLog
from twistginx.observe.sink import STANDARD
from twistginx.registry import Registry

#: Seconds that requests get to end when the process is told to stop at once.
GRACE: Final = 1.0

#: Seconds that everything else may take to stop.
PATIENCE: Final = 5.0

_log = Logger()


#: What lets the collector run.  The data plane makes no cycles (tests hold that), so what it finds is of apps and
#: plugins; with Python's own numbers it walks all connections again and again, and everybody waits for it: thousands of
#: slow ones made the 99th percentile of a normal client five times what it was.
_THRESHOLDS: Final = (50_000, 20, 100)


def freeze_heap() -> None:
    """
    Take what there is out of the garbage collector's sight, but for what is garbage.

    What was built and imported lives as long as the process, and a collection that walked it would make every client
    wait for 30 ms.  What the last freeze hid is looked at once more, so that a generation that was replaced can go.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


class StartError(TwistginxError, SystemExit):
    """
    The server cannot start, and has said why.

    ``twistd`` sees an exception, removes its pid file and tells whoever waits for the daemon; the interpreter sees a
    ``SystemExit``, and ends with status 1 and no traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1


class RefusedError(TwistginxError):
    """
    Sockets and logs that a generation needs and that cannot be had.

    :ivar reasons: a sentence each.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))


class Service(TwistedService):
    """
    One server process.

    A generation is prepared (files are read, objects built, nothing is touched), then what it needs is acquired, all
    or nothing, and then it is committed, in one turn of the reactor.  Whatever goes wrong before that changes nothing.

    :ivar path: of the configuration file; absolute, because ``twistd`` changes directories.
    :ivar generation: the live one; None before the start.
    :ivar listeners: the sockets, by the key of their plan.
    :ivar ticker: the clock of the data plane.
    :ivar counters: what this process counts.
    """

    name = "twistginx"

    def __init__(
        self,
        reactor: Any,
        path: str | Path,
        registry: Registry | None = None,
        error_log: ErrorLog | TwistdLog | None = None,
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        """
        :param error_log: the log observer that is ours to put in force and to reopen; None when it is ``twistd``'s.
        :param settle: is called when a generation has been committed, which is when :func:`freeze_heap` may be.
        """
        self.path = Path(path).absolute()
        self._as_given = Path(path)
        self.generation: Generation | None = None
        self.listeners: dict[str, Listener] = {}
        self.ticker = Ticker(reactor)
        self.counters = Counters()
        self.error_log = error_log
        self._settle = settle
        self._reactor = reactor
        self._registry = Registry() if registry is None else registry
        self._runtime = Runtime(reactor, self.ticker, self.counters)
        self._first: Generation | None = None
        self._binding: Deferred[Any] | None = None
        self._failed: StartError | None = None
        # Listeners that are closed, and whose connections are still draining.
        self._leaving: set[Listener] = set()
        self._stopping = False
        self._reloading = False
        self._again = False

    # Prepare.

    def prepare(self) -> Generation:
        """
        Read the configuration, and build all that it says.  Nothing is opened, bound or started.

        :raise ConfigError: with every problem.
        """
        # Problems show the path as the user wrote it, while that still leads there.
        path = self._as_given if self._as_given.absolute() == self.path else self.path
        return prepare(path, self._registry, os.environ, self._runtime)

    def prepare_first(self) -> Generation:
        """
        Prepare the generation that the service will start with.

        :raise ConfigError: with every problem.
        """
        self._first = self.prepare()
        return self._first

    # Start.

    def setServiceParent(self, parent: Any) -> None:
        """
        ``twistd`` looks for its log observer among the components of the application, which it passes here.
        """
        super().setServiceParent(parent)
        if self.error_log is not None and hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self.error_log)

    def privilegedStartService(self) -> None:
        """
        Bind everything, while we may still bind low ports.

        :raise StartError: when an address cannot be had; every one that cannot is reported.
        """
        super().privilegedStartService()
        first = self._first or self.prepare_first()
        self._runtime.capacity.descriptors = raise_descriptor_limit()
        self._binding = Deferred.fromCoroutine(self._bind(first)).addErrback(self._cannot_start)
        if self._failed is not None:
            raise self._failed

    def startService(self) -> None:
        """
        Open the access log as whom we are to be, and serve.

        :raise StartError: when the access log cannot be opened.
        """
        if self._binding is None:  # ``twist`` does without the privileged part
            self.privilegedStartService()
        super().startService()
        assert self._first is not None
        assert self._binding is not None
        try:
            _open_log(self._first)
        except RefusedError:
            self._cannot_start(Failure())
            raise self._failed from None  # type: ignore[misc]  # it has just been set
        for number, act in _SIGNALS.items():
            self._on_signal(number, act)
        self._binding.addCallback(self._begin, self._first)

    def _on_signal(self, number: int, act: Callable[[Service], object]) -> None:
        signal.signal(number, lambda *_: self._reactor.callFromThread(act, self))

    def _begin(self, added: dict[str, Listener] | None, first: Generation) -> None:
        self._first = None
        if self._stopping:
            return
        if added is None:
            # An endpoint that took its time has failed after twistd had called it a good start.  The reactor stops in
            # order, and the exit status, which twistd does not let us say, is given at the very end.
            atexit.register(os._exit, 1)
            self._reactor.callWhenRunning(self._reactor.stop)
            return
        for problem in first.warnings:
            _log.warn("{problem}", problem=problem)
        self.commit(first, added)
        scarcity = self._runtime.capacity.scarcity
        if scarcity:
            _log.warn("{scarcity}", scarcity=scarcity)
        _log.info("serving on {listeners}", listeners=_names(self.listeners.values()) or "nothing")
        self._settle()

    def _cannot_start(self, failure: Failure) -> None:
        text = f"twistginx cannot start:\n{failure.getErrorMessage()}"
        self._failed = StartError(text)
        _log.critical("{text}", text=text)
        if self.error_log is not None and self.error_log.path not in STANDARD:
            os.write(2, text.encode("utf-8", "backslashreplace") + b"\n")

    # Commit.

    async def _bind(self, generation: Generation) -> dict[str, Listener]:
        """
        The listeners that ``generation`` needs and that we do not have; all of them, or RefusedError.
        """
        added = {
            key: Listener(self._reactor, plan.endpoint, plan.backlog, self._runtime.capacity)
            for key, plan in generation.listeners.items()
            if key not in self.listeners
        }
        reasons = await open_all(added.values())
        if reasons:
            gone = _names(listener for key, listener in self.listeners.items() if key not in generation.listeners)
            if gone:
                reasons.append(f"only a restart can give another listener the address of one that goes ({gone})")
            raise RefusedError(reasons)
        return added

    def commit(self, generation: Generation, added: dict[str, Listener]) -> None:
        """
        From now on ``generation`` serves.  What must be acquired has been.

        :param added: the bound listeners that are new.
        """
        old, self.generation = self.generation, generation
        self._runtime.adopt(generation)
        kept = () if old is None else old.lives
        for life in generation.lives:
            if not _among(life, kept):
                _guarded(life.start)
        self.listeners.update(added)
        for key, plan in generation.listeners.items():
            listener = self.listeners[key]
            if listener.backlog != plan.backlog:
                _log.warn("{listener}: another backlog takes a restart", listener=listener.endpoint)
            plan.give_to(listener)
        if old is None:
            return
        gone = [self.listeners.pop(key) for key in old.listeners if key not in generation.listeners]
        if gone:
            Deferred.fromCoroutine(self._retire(gone, generation.drain_timeout)).addErrback(_unexpected)
        for life in old.lives:
            if not _among(life, generation.lives):
                _guarded(life.stop)
        if old.access_log is not None and old.access_log is not generation.access_log:
            old.access_log.close()

    async def _retire(self, listeners: list[Listener], seconds: float) -> None:
        self._leaving.update(listeners)
        for listener in listeners:
            await listener.close()
        await self._end_connections(listeners, seconds)
        self._leaving.difference_update(listeners)

    # Reload, on SIGHUP.

    def reload(self) -> Deferred[None]:
        """
        Serve what the configuration file says now.  When anything is wrong with it, nothing changes.

        One that is asked for while another runs comes after it.
        """
        return Deferred.fromCoroutine(self._reload()).addErrback(_unexpected)

    async def _reload(self) -> None:
        self._again = True
        if self._reloading:
            return
        self._reloading = True
        try:
            while self._again and not self._stopping and self.generation is not None:
                self._again = False
                try:
                    await self._replace(self.generation)
                except ConfigError as error:
                    self._refuse(error.problems)
                except RefusedError as error:
                    self._refuse(error.reasons)
                except Exception as error:  # a plugin's fault must not end what serves
                    _log.failure("a fault in twistginx or in a plugin")
                    self._refuse([str(error) or type(error).__name__])
        finally:
            self._reloading = False

    async def _replace(self, old: Generation) -> None:
        generation = self.prepare()
        added = await self._bind(generation)
        if self._stopping:
            await gatherResults([listener.close() for listener in added.values()])
            return
        try:
            _open_log(generation)
            error_log = self._next_error_log(generation)
        except RefusedError:
            await gatherResults([listener.close() for listener in added.values()])
            if generation.access_log is not None and generation.access_log is not old.access_log:
                generation.access_log.close()
            raise
        self.commit(generation, added)
        if error_log is not None and isinstance(self.error_log, ErrorLog):
            self.error_log.adopt(error_log)
        self.counters.reloads += 1
        for problem in generation.warnings:
            _log.warn("{problem}", problem=problem)
        _log.info("reloaded: {changes}", changes=changes(old.root, generation.root))
        self._settle()

    def _next_error_log(self, generation: Generation) -> ErrorLog | None:
        """
        The error log of ``generation``, open, when it is ours and another than the one in force.
        """
        wanted, log = generation.root.log.error, self.error_log
        if not isinstance(log, ErrorLog) or (str(wanted.path), wanted.level) == (log.path, log.level):
            return None
        log = ErrorLog(str(wanted.path), wanted.level)
        try:
            log.open()
        except OSError as error:
            raise RefusedError([f"error log {wanted.path}: {_said(error)}"]) from error
        return log

    def _refuse(self, reasons: Iterable[str | Problem]) -> None:
        self.counters.refused_reloads += 1
        _log.error(
            "the configuration was not reloaded, and nothing has changed:\n{reasons}",
            reasons="\n".join(map(str, reasons)),
        )

    # Reopen, on SIGUSR1.

    def reopen_logs(self) -> None:
        """
        Go on in new log files, after the old ones were renamed.
        """
        logs: list[Any] = [] if self.generation is None else [self.generation.access_log]
        for log in [*logs, self.error_log]:
            if log is not None:
                try:
                    log.reopen()
                except OSError as error:
                    _log.error("{path} was not reopened: {error}", path=log.path, error=_said(error))
        _log.info("logs reopened")

    # Stop.

    def quit(self) -> Deferred[None]:
        """
        Accept no more, let every connection end its work within ``drain_timeout``, and end the process; on SIGQUIT.
        """
        return Deferred.fromCoroutine(self._quit()).addErrback(_unexpected)

    async def _quit(self) -> None:
        if not self._stopping and self.generation is not None:
            _log.info("draining, {seconds:g} s at most", seconds=float(self.generation.drain_timeout))
            await self._close(self.generation.drain_timeout)
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """
        Accept no more, give requests a second to end, and give everything back.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._close(GRACE)
        generation, self.generation = self.generation, None
        if generation is not None:
            stops = DeferredList([_guarded(life.stop) for life in generation.lives])
            await stops.addTimeout(PATIENCE, self._reactor).addErrback(_unexpected)
            if generation.access_log is not None:
                generation.access_log.close()

    async def _close(self, seconds: float) -> None:
        self._stopping = True
        listeners = [*self.listeners.values(), *self._leaving]
        self.listeners.clear()
        await gatherResults([listener.close().addErrback(_unexpected) for listener in listeners])
        self._leaving.update(listeners)
        await self._end_connections(tuple(self._leaving), seconds)

    async def _end_connections(self, listeners: Iterable[Listener], seconds: float) -> None:
        cut = await end_connections(self._reactor, listeners, seconds)
        if cut:
            _log.warn("{cut} connections were cut after {seconds:g} s", cut=cut, seconds=float(seconds))


#: What we do on a signal, beside twistd's own SIGINT and SIGTERM.
_SIGNALS: Final[dict[int, Callable[[Service], object]]] = {
    signal.SIGHUP: Service.reload,
    signal.SIGUSR1: Service.reopen_logs,
    signal.SIGQUIT: Service.quit,
}


def _open_log(generation: Generation) -> None:
    log = generation.access_log
    if log is not None:
        try:
            log.open()
        except OSError as error:
            raise RefusedError([f"access log {log.path}: {_said(error)}"]) from error


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _among(one: object, several: Iterable[object]) -> bool:
    return any(one is each for each in several)


def _guarded(act: Callable[[], Any]) -> Deferred[Any]:
    """
    Call what a module made; its failure is logged, and is nobody else's.
    """
    return maybeDeferred(act).addErrback(_unexpected)


def _unexpected(failure: Failure) -> None:
    _log.failure("unexpected", failure)


def _names(listeners: Iterable[Listener]) -> str:
    return ", ".join(sorted(listener.endpoint for listener in listeners))
