"""
The running server: it commits generations, drains what they leave behind, and stops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger

from twistginx.net.listener import Listener, end_connections
from twistginx.service.opening import Opening
from twistginx.service.orders import ORDERS
from twistginx.service.program import Program
from twistginx.service.start import unexpected
from twistginx.upstream.commands import commands_of
from twistginx.upstream.control import Control

#: Seconds that requests get to end when the process is told to stop at once.
GRACE: Final = 1.0

#: Seconds that everything else may take to stop.
PATIENCE: Final = 5.0

_log = Logger(namespace="twistginx.service")


class Service(Program):
    """
    One process that serves: the whole server, or a worker.

    :ivar cut: how many connections were cut, because they did not end in time.
    """

    cut = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """
        See :class:`Program`.
        """
        super().__init__(*args, **kwargs)
        # Listeners that are closed, and whose connections are still draining.
        self._leaving: set[Listener] = set()
        self._hurried = False
        servers = Control(lambda: {} if self.generation is None else self.generation.all_upstreams)
        self.runtime.commands |= commands_of(servers)
        self.runtime.reports["upstreams"] = servers.state

    @property
    def connections(self) -> int:
        """
        See :class:`Program`.
        """
        return self.runtime.capacity.used

    # Commit.

    async def put_in_force(self, opening: Opening) -> None:
        """
        See :class:`Program`.
        """
        old = self.generation
        await self.commit(opening)
        if old is not None and old.root.process.workers != opening.generation.root.process.workers:
            # One process cannot become the master of several.
            _log.warn("[process].workers: from one to several takes a restart, or an upgrade (SIGUSR2)")

    def commit(self, opening: Opening) -> Deferred[None]:
        """
        From now on the generation of ``opening`` serves.  What must be acquired has been.

        :return: fires when the addresses that are not wanted any more are free; their connections may go on.
        """
        generation = opening.generation
        old, self.generation = self.generation, generation
        self.runtime.adopt(generation)
        kept = () if old is None else old.lives
        for life in generation.lives:
            if not _among(life, kept):
                _guarded(life.start)
        opening.settle()
        self.listeners.update(opening.added)
        for key, plan in generation.listeners.items():
            listener = self.listeners[key]
            if listener.backlog != plan.backlog and not listener.queue(plan.backlog):
                _log.warn("{listener}: another backlog takes a restart", listener=listener.endpoint)
            plan.give_to(listener)
        self.adopt_error_log(opening)
        if old is None:
            return succeed(None)
        gone = [self.listeners.pop(key) for key in old.listeners if key not in generation.listeners]
        closing = self._retire(gone, generation.drain_timeout)
        for life in old.lives:
            if not _among(life, generation.lives):
                _guarded(life.stop)
        if old.access_log is not None and old.access_log is not generation.access_log:
            old.access_log.close()
        return closing

    def _retire(self, listeners: list[Listener], seconds: float) -> Deferred[None]:
        """
        Close listeners, and let their connections end.

        :return: fires when they are closed.
        """

        async def end() -> None:
            await self._end_connections(listeners, seconds)
            self._leaving.difference_update(listeners)

        def closed(_: object) -> None:
            if listeners:
                Deferred.fromCoroutine(end()).addErrback(unexpected)

        self._leaving.update(listeners)
        return gatherResults([listener.close().addErrback(unexpected) for listener in listeners]).addCallback(closed)

    # What is asked of us.

    def report(self) -> dict[str, Any]:
        """
        What this process has counted, as JSON.

        ``connections`` are open now; everything else counts from the start of the process.  What others have to report
        (``runtime.reports``) stands beside it, under their names.
        """
        counters = self.counters
        slots = [slot for kind in type(counters).__mro__ for slot in getattr(kind, "__slots__", ())]
        return {
            "pid": os.getpid(),
            "connections": self.runtime.capacity.used,
            "counters": {slot: getattr(counters, slot) for slot in sorted(slots) if not slot.startswith("_")},
            "listeners": {
                listener.endpoint: {
                    "accepted": listener.accepted,
                    "connections": len(listener.connections),
                    "refused": listener.refusals.counts,
                }
                for listener in self.listeners.values()
            },
            **{name: report() for name, report in self.runtime.reports.items()},
        }

    def gather(self) -> Deferred[list[dict[str, Any]]]:
        """
        See :class:`Program`.
        """
        return succeed([self.report()])

    def apply(self, command: dict[str, Any]) -> dict[str, Any]:
        """
        See :class:`Program`; in this process.
        """
        act = self.runtime.commands.get(command.get("command", ""))
        if act is None:
            known = ", ".join(sorted({*ORDERS, *self.runtime.commands}))
            raise ValueError(f"there is no command {command.get('command')!r}; there are: {known}")
        return act(command)

    # Stop.

    async def drain(self) -> None:
        """
        See :class:`Program`.
        """
        if self.generation is not None:
            await self._close(self.generation.drain_timeout)

    def hurry(self) -> None:
        """
        See :class:`Program`.
        """
        self._hurried = True
        for listener in self._leaving:
            self.cut += listener.abort()

    def stopService(self) -> Deferred[None]:
        """
        Accept no more, give requests a second to end, and give everything back.
        """
        super().stopService()
        return Deferred.fromCoroutine(self.stop())

    async def stop(self) -> None:
        """
        As :meth:`stopService`.
        """
        await self._close(0 if self._hurried else GRACE)
        generation, self.generation = self.generation, None
        if generation is not None:
            stops = DeferredList([_guarded(life.stop) for life in generation.lives])
            await stops.addTimeout(PATIENCE, self._reactor).addErrback(unexpected)
            if generation.access_log is not None:
                generation.access_log.close()

    async def _close(self, seconds: float) -> None:
        self.stopping = True
        listeners = [*self.listeners.values(), *self._leaving]
        self.listeners.clear()
        await gatherResults([listener.close().addErrback(unexpected) for listener in listeners])
        self._leaving.update(listeners)
        await self._end_connections(tuple(self._leaving), seconds)

    async def _end_connections(self, listeners: Iterable[Listener], seconds: float) -> None:
        cut = await end_connections(self._reactor, listeners, seconds)
        if cut:
            self.cut += cut
            _log.warn("{cut} connections were cut after {seconds:g} s", cut=cut, seconds=float(seconds))


def _among(one: object, several: Iterable[object]) -> bool:
    return any(one is each for each in several)


def _guarded(act: Callable[[], Any]) -> Deferred[Any]:
    """
    Call what a module made; its failure is logged, and is nobody else's.
    """
    return maybeDeferred(act).addErrback(unexpected)
