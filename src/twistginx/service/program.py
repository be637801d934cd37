"""
What ``twistd`` runs: how it starts, reloads, takes orders, and ends, whoever does the serving.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, Logger

from twistginx import __version__
from twistginx.build.generation import Generation, Runtime
from twistginx.build.prepare import prepare
from twistginx.config.disk import Disk
from twistginx.net.activation import unwanted
from twistginx.net.listener import Listener
from twistginx.net.timers import Ticker
from twistginx.observe.counters import Counters
from twistginx.observe.errorlog import ErrorLog, TwistdLog
from twistginx.registry import Registry
from twistginx.service.control import Control
from twistginx.service.opening import Opening, said
from twistginx.service.orders import ORDERS, Outcome
from twistginx.service.reloads import Reloads
from twistginx.service.start import Start, unexpected
from twistginx.service.status import Status
from twistginx.service.upgrade import Predecessor
from twistginx.service.upgrading import Upgrading
from twistginx.service.watch import Watch

_log = Logger(namespace="twistginx.service")


class Program(TwistedService):
    """
    One server, as ``twistd`` sees it.

    A generation is prepared (files are read, objects built, nothing is touched), then what it needs is acquired, all
    or nothing, and then it is put in force.  Whatever goes wrong before that changes nothing.

    :ivar path: of the configuration file; absolute, because ``twistd`` changes directories.
    :ivar generation: the live one; None before the start.
    :ivar listeners: the sockets, by the key of their plan.
    :ivar ticker: the clock of the data plane.
    :ivar counters: what this process counts.
    :ivar runtime: what outlives generations.
    :ivar status: is told how we are.
    :ivar stopping: has the end begun?
    :ivar predecessor: the process that this one is to replace; None when there is none.
    :ivar successor: the process that has replaced this one; None while there is none.
    :ivar changing: is had by who reloads or upgrades: a successor is to begin with the sockets that there are.
    :ivar twistd: the options of ``twistd``, when that runs us.
    """

    name = "twistginx"

    def __init__(
        self,
        reactor: Any,
        path: str | Path,
        registry: Registry | None = None,
        error_log: ErrorLog | TwistdLog | None = None,
        settle: Callable[[], object] = lambda: None,
        status: Status | None = None,
    ) -> None:
        """
        :param error_log: the log observer that is ours to put in force and to reopen; None when it is ``twistd``'s.
        :param settle: is called when a generation is in force, which is when ``heap.freeze_heap`` may be.
        """
        self.path = Path(path).absolute()
        self.generation: Generation | None = None
        self.listeners: dict[str, Listener] = {}
        self.ticker = Ticker(reactor)
        self.counters = Counters()
        self.runtime = Runtime(reactor, self.ticker, self.counters)
        self.error_log = error_log
        self.status = Status() if status is None else status
        self.stopping = False
        self.predecessor: Predecessor | None = None
        self.twistd: MutableMapping[str, Any] = {}
        self.changing = DeferredLock()
        self.successor: int | None = None
        self.control = Control(reactor, self.follow)
        self._upgrading = Upgrading(self, reactor)
        self._watch = Watch(reactor, self._files_changed)
        self._as_given = Path(path)
        self.settle = settle
        self._reactor = reactor
        self._registry = Registry() if registry is None else registry
        self._first: Generation | None = None
        self._start = Start(self, reactor)
        self._reloads = Reloads(self)

    # What a kind of program does its own way.

    @property
    def endpoint_reactor(self) -> Any:
        """
        The reactor that endpoints are to have.
        """
        return self._reactor

    @property
    def connections(self) -> int:
        """
        How many clients are connected, about.
        """
        raise NotImplementedError

    async def put_in_force(self, opening: Opening) -> None:
        """
        From now on the generation of ``opening`` serves, in all processes.

        :raise RefusedError: when one of them cannot have it; then nothing has changed, and ``opening`` can be undone.
        """
        raise NotImplementedError

    async def drain(self) -> None:
        """
        Accept no more, and let every connection end its work within ``drain_timeout``.
        """
        raise NotImplementedError

    def hurry(self) -> None:
        """
        Wait for nothing more: connections are cut.
        """
        raise NotImplementedError

    def reopen_logs(self) -> None:
        """
        Go on in new log files, after the old ones were renamed.
        """
        for log in (*self.access_logs(), self.error_log):
            if log is not None:
                try:
                    log.reopen()
                except OSError as error:
                    _log.error("{path} was not reopened: {error}", path=log.path, error=said(error))
        _log.info("logs reopened")

    def access_logs(self) -> list[Any]:
        """
        The access logs that this process writes.
        """
        return [] if self.generation is None else [self.generation.access_log]

    def name_of_what_serves(self) -> str:
        """
        Where we listen, for the log.
        """
        return names(self.listeners.values()) or "nothing"

    # Prepare.

    @property
    def shown_path(self) -> Path:
        """
        The path of the file as problems show it: as the user wrote it, while that still leads there.
        """
        return self._as_given if self._as_given.absolute() == self.path else self.path

    def prepare(self, disk: Disk | None = None) -> Generation:
        """
        Read the configuration, and build all that it says.  Nothing is opened, bound or started.

        :param disk: what files are read from; None: a new one.
        :raise ConfigError: with every problem.
        """
        return prepare(self.shown_path, self._registry, os.environ, self.runtime, disk)

    def prepare_first(self) -> Generation:
        """
        Prepare the generation that we will start with.

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
        first, self._first = self._first, None
        self._start.bind(first or self.prepare())

    def startService(self) -> None:
        """
        Serve, as whom we are to be.

        :raise StartError: when the access log cannot be opened.
        """
        if not self._start.is_bound:  # ``twist`` does without the privileged part
            self.privilegedStartService()
        super().startService()
        self._start.serve()

    async def bind(self, generation: Generation) -> Opening:
        """
        Bind what ``generation`` needs and is not there.

        :raise RefusedError: when an address cannot be had.
        """
        predecessor = self.predecessor
        opening = Opening(generation, self.listeners, None if predecessor is None else predecessor.sockets)
        try:
            await opening.bind(self.endpoint_reactor, self.runtime.capacity)
        finally:
            if predecessor is not None:
                predecessor.close_sockets()
        return opening

    def follow_configuration(self) -> None:
        """
        Another generation is in force: the control interface and the watch are what it says.
        """
        self._open_control()
        self._watch_files()
        sockets = (getattr(listener.port, "fileno", None) for listener in self.listeners.values())
        for text in unwanted(fileno() for fileno in sockets if fileno is not None):
            _log.warn("{text}", text=text)

    def _open_control(self) -> None:
        assert self.generation is not None
        path = self.generation.root.process.control
        if path is None:
            self.control.close()
            return
        try:
            self.control.open(path)
        except OSError as error:
            _log.error("[process].control: {path}: {error}", path=path, error=said(error))

    def _watch_files(self) -> None:
        assert self.generation is not None
        root = self.generation.root
        self._watch.watch(root.source.disk if root.process.reload_on_change else None)

    def _files_changed(self) -> None:
        _log.info("a file of the configuration has changed: reloading")
        self.reload()

    # Reload, on SIGHUP.

    def reload(self) -> Deferred[Outcome]:
        """
        Serve what the configuration file says now.  When anything is wrong with it, nothing changes.

        One that is asked for while another runs comes after it.

        :return: what came of it.
        """
        return self._reloads.order()

    def adopt_error_log(self, opening: Opening) -> None:
        """
        Write to the error log of ``opening``, if it has another one.
        """
        if opening.error_log is not None and isinstance(self.error_log, ErrorLog):
            self.error_log.adopt(opening.error_log)
            opening.error_log = None

    # Upgrade, on SIGUSR2.

    def upgrade(self) -> Deferred[Outcome]:
        """
        Have another process, started by the same command, take over; then drain, and end.  If it cannot, nothing has
        changed.
        """
        return Deferred.fromCoroutine(self._upgrading.upgrade())

    # The control interface.

    def follow(self, request: dict[str, Any]) -> Any:
        """
        Follow a request of the control interface.

        :raise ValueError: when it is wrong.
        """
        order = ORDERS.get(request["command"])
        return self.apply(request) if order is None else order(self)

    def end(self) -> None:
        """
        Have the process end, as on SIGTERM.
        """
        self._reactor.stop()

    def soon(self, act: Callable[[], object]) -> None:
        """
        Do something when the answer to an order is on its way.
        """
        self._reactor.callLater(0, act)

    def apply(self, command: dict[str, Any]) -> Any:
        """
        Do what an operator wants of the running configuration, in all processes.

        :param command: its ``command`` names one of ``runtime.commands``.
        :return: the answer, or a Deferred of it.
        :raise ValueError: when there is no such command, or it cannot be done.
        """
        raise NotImplementedError

    def gather(self) -> Deferred[list[dict[str, Any]]]:
        """
        What each process that serves has counted (``Service.report``).
        """
        raise NotImplementedError

    def restart_workers(self) -> Deferred[Outcome]:
        """
        Replace each worker by a new one; nothing is interrupted.
        """
        return succeed(Outcome(False, "there are no workers: one process serves"))

    def state(self) -> dict[str, Any]:
        """
        How we are, as JSON.
        """
        return {
            "pid": os.getpid(),
            "version": __version__,
            "stopping": self.stopping,
            "listeners": sorted(listener.endpoint for listener in self.listeners.values()),
            "reloads": self.counters.reloads,
            "refused_reloads": self.counters.refused_reloads,
        }

    # Stop.

    def stopService(self) -> Deferred[None] | None:
        """
        Take no more orders.
        """
        self._take_leave()
        super().stopService()
        return None

    def _take_leave(self) -> None:
        self.stopping = True
        self._watch.stop()
        self.control.close()

    def quit(self) -> Deferred[None]:
        """
        Accept no more, let every connection end its work within ``drain_timeout``, and end the process; on SIGQUIT.
        A second time it hurries.
        """
        if self.stopping:
            self.hurry()
        return Deferred.fromCoroutine(self._quit()).addErrback(unexpected)

    async def _quit(self) -> None:
        if not self.stopping and self.generation is None:  # nothing serves yet
            self._reactor.stop()
        elif not self.stopping and self.generation is not None:
            text = f"draining, {float(self.generation.drain_timeout):g} s at most"
            _log.info("{text}", text=text)
            self.status.stopping(text, float(self.generation.drain_timeout))
            self._take_leave()
            await self.drain()
            with suppress(ReactorNotRunning):  # SIGTERM has come meanwhile
                self._reactor.stop()


def names(listeners: Iterable[Listener]) -> str:
    """
    The endpoints of these, for a line.
    """
    return ", ".join(sorted(listener.endpoint for listener in listeners))
