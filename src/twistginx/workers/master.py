"""
The master: it binds, starts the workers, watches them, and tells them what to do.  It serves nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from twistginx.build.generation import Generation
from twistginx.config.tables.process import MOST_WORKERS
from twistginx.net.activation import passed
from twistginx.net.inheritance import Binder, key_as_text, sockets_of
from twistginx.observe.errorlog import ErrorLog
from twistginx.service.opening import Opening, RefusedError
from twistginx.service.orders import Outcome
from twistginx.service.program import Program
from twistginx.service.start import unexpected
from twistginx.shared.embedded import WORKERS, EmbeddedStore
from twistginx.workers.cores import usable_cores
from twistginx.workers.crew import Crew
from twistginx.workers.process import Surroundings
from twistginx.workers.wire import Details, RefusalError

#: The key under which the memory that workers share is passed, as in ``worker``.
_MEMORY = "memory"

#: How many commands of operators are remembered.
_REMEMBERED: Final = 1000

_log = Logger(namespace="twistginx.workers")


class Master(Program):
    """
    A server of several processes.

    A configuration is prepared here first: what is wrong with it is said once.  The addresses are bound here, so that a
    worker can die without those who wait in the queue.  Then each worker builds it from the same bytes, and when all
    have, all are told to use it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """
        See :class:`Program`.
        """
        super().__init__(*args, **kwargs)
        self.crew: Crew | None = None
        # What an operator has changed since the start, for workers that come later: each command once, the last time.
        self._applied: dict[str, dict[str, Any]] = {}
        self._binder = Binder(self._reactor)

    @property
    def endpoint_reactor(self) -> Any:
        """
        See :class:`Program`.
        """
        return self._binder

    @property
    def connections(self) -> int:
        """
        See :class:`Program`; as the workers have said with their last signs of life.
        """
        crew = self.crew
        return 0 if crew is None else sum(each.connections for each in (*crew.workers.values(), *crew.leaving))

    def prepare(self, *args: Any) -> Generation:
        """
        See :class:`Program`.
        """
        generation = super().prepare(*args)
        self.runtime.workers = count_of_workers(generation)
        return generation

    # Put in force.

    async def put_in_force(self, opening: Opening) -> None:
        """
        See :class:`Program`.
        """
        generation, old = opening.generation, self.generation
        _check_shareable(opening)
        try:
            if self.crew is None:
                await self._begin_crew(opening)
            else:
                await self._tell_all(self.crew, opening)
        except RefusalError as error:
            raise RefusedError(str(error).split("\n")) from error
        opening.settle()
        self._use(generation, opening)
        if old is not None and _size_of_memory(old) != _size_of_memory(generation):
            _log.warn("[shared].size: another size takes a restart, or an upgrade (SIGUSR2)")
        gone = (
            [] if old is None else [self.listeners.pop(key) for key in old.listeners if key not in generation.listeners]
        )
        await gatherResults([listener.close().addErrback(unexpected) for listener in gone])
        if generation.access_log is not None:
            generation.access_log.close()  # it was opened to see whether it can be; the workers write it

    def _use(self, generation: Generation, opening: Opening) -> None:
        self.generation = generation
        self.runtime.adopt(generation)
        self.listeners.update(opening.added)
        self.adopt_error_log(opening)
        if self.crew is not None:
            self.crew.timeout = generation.root.process.worker_timeout
            self.crew.allow_drain(generation.drain_timeout)

    async def _begin_crew(self, opening: Opening) -> None:
        generation = opening.generation
        self._use(generation, opening)
        size = count_of_workers(generation)
        # Two for each worker: the one that serves, and the one that takes its place while it drains.
        self.runtime.memory = EmbeddedStore.create(_size_of_memory(generation), max(WORKERS, 2 * size))
        systemd = passed()
        self.crew = crew = Crew(
            self._reactor,
            Surroundings(
                tuple(each.descriptor for each in systemd),
                tuple(each.name for each in systemd),
                relays=not isinstance(self.error_log, ErrorLog) or self.error_log.path != "stderr",
            ),
            self._beginning,
            generation.root.process.worker_timeout,
        )
        crew.allow_drain(generation.drain_timeout)
        try:
            await crew.begin(size)
        except RefusalError:
            self.generation = None
            self.listeners.clear()
            raise

    def _beginning(self, number: int) -> tuple[Details, Iterable[tuple[str, int]]]:
        """
        What a worker begins with: the configuration that is in force, whatever the files say by now.
        """
        log = self.error_log
        details = {
            **self._configuration(self.generation),
            "number": number,
            "path": str(self.shown_path),
            "error_log": [log.path, log.level] if isinstance(log, ErrorLog) else None,
            "descriptors": self.runtime.capacity.descriptors,
            "commands": list(self._applied.values()),
            "secret": self.runtime.secret.hex(),
        }
        assert self.runtime.memory is not None and self.generation is not None
        # Not those that are about to be closed: descriptors are sent a moment later, and would be somebody else's then.
        wanted = [listener for key, listener in self.listeners.items() if key in self.generation.listeners]
        return details, [(_MEMORY, self.runtime.memory.fileno()), *_passed(wanted)]

    @staticmethod
    def _configuration(generation: Generation | None) -> Details:
        assert generation is not None
        return {"disk": generation.root.source.disk.copy(), "workers": count_of_workers(generation)}

    async def _tell_all(self, crew: Crew, opening: Opening) -> None:
        await crew.hold()
        try:
            details = self._configuration(opening.generation)
            _, reasons = await crew.all("prepare", details, _passed(opening.added.values()))
            if reasons:
                await crew.all("abandon")
                raise RefusalError("\n".join(reasons))
            # From here on a worker that starts is to have the new one.
            self._use(opening.generation, opening)
            await crew.insist("commit")
            await crew.resize(count_of_workers(opening.generation))
        finally:
            crew.release()

    # What is asked of us.

    def reopen_logs(self) -> None:
        """
        See :class:`Program`.
        """
        if self.crew is not None:
            Deferred.fromCoroutine(self.crew.all("reopen")).addErrback(unexpected)
        super().reopen_logs()

    def access_logs(self) -> list[Any]:
        """
        See :class:`Program`; the workers write it.
        """
        return []

    def gather(self) -> Deferred[list[dict[str, Any]]]:
        """
        See :class:`Program`.
        """
        crew = self._crew_that_serves()
        return Deferred.fromCoroutine(crew.all("gather")).addCallback(lambda told: told[0])

    def apply(self, command: dict[str, Any]) -> Any:
        """
        See :class:`Program`.
        """
        return Deferred.fromCoroutine(self._apply(command))

    async def _apply(self, command: dict[str, Any]) -> dict[str, Any]:
        crew = self._crew_that_serves()
        await crew.hold()  # one that begins meanwhile would not hear of it
        try:
            answers, reasons = await crew.all("control", command)
            if reasons:
                raise ValueError("\n".join(reasons))
            key = json.dumps(command, sort_keys=True)
            self._applied.pop(key, None)
            self._applied[key] = command
            while len(self._applied) > _REMEMBERED:
                del self._applied[next(iter(self._applied))]
        finally:
            crew.release()
        return {"workers": answers}

    def restart_workers(self) -> Deferred[Outcome]:
        """
        See :class:`Program`.
        """
        return Deferred.fromCoroutine(self._restart_workers())

    async def _restart_workers(self) -> Outcome:
        crew = self._crew_that_serves()
        try:
            await crew.renew()
        except RefusalError as error:
            _log.error("the workers were not restarted: {error}", error=error)
            return Outcome(False, str(error))
        return Outcome(True, f"{crew.size} workers were restarted")

    def _crew_that_serves(self) -> Crew:
        if self.crew is None or self.stopping:
            raise ValueError("the server is not running")
        return self.crew

    def state(self) -> dict[str, Any]:
        """
        See :class:`Program`.
        """
        crew = self.crew
        workers = [] if crew is None else [*crew.workers.values(), *crew.leaving]
        return {
            **super().state(),
            "deaths": 0 if crew is None else crew.deaths,
            "workers": [
                {
                    "worker": each.number,
                    "pid": each.pid,
                    "state": "serving" if each.serving else "leaving" if each.ending else "beginning",
                    "leads": each.leads,
                    "age": round(self._reactor.seconds() - each.began, 3),
                }
                for each in workers
            ],
        }

    def name_of_what_serves(self) -> str:
        """
        See :class:`Program`.
        """
        return f"{super().name_of_what_serves()}, with {0 if self.crew is None else len(self.crew.serving)} workers"

    # Stop.

    async def drain(self) -> None:
        """
        See :class:`Program`.
        """
        await self._end("drain")

    def hurry(self) -> None:
        """
        See :class:`Program`.
        """
        if self.crew is not None:
            Deferred.fromCoroutine(self.crew.stop(now=True)).addErrback(unexpected)

    def stopService(self) -> Deferred[None]:
        """
        Have the workers stop, and give everything back.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._end("stop"))

    async def _end(self, how: str) -> None:
        self.stopping = True
        listeners = [*self.listeners.values()]
        self.listeners.clear()
        closing = gatherResults([listener.close().addErrback(unexpected) for listener in listeners])
        crew, self.crew = self.crew, self.crew
        if crew is not None:
            cut = await (crew.drain() if how == "drain" else crew.stop())
            if cut:
                _log.warn("{cut} connections were cut", cut=cut)
        await closing
        memory, self.runtime.memory = self.runtime.memory, None
        if memory is not None:
            memory.close()


def _passed(listeners: Iterable[Any]) -> list[tuple[str, int]]:
    return [(key_as_text(key), sock.fileno()) for key, sock in sockets_of(listeners)]


def _size_of_memory(generation: Generation) -> int:
    """
    Bytes that ``[shared]`` allows, or its default.
    """
    shared = generation.root.shared
    size = None if shared is None else getattr(shared.config, "size", None)
    return 16 << 20 if size is None else int(size)


def _check_shareable(opening: Opening) -> None:
    """
    :raise RefusedError: when an endpoint has bound something that no worker can be given.
    """
    bound = [listener for _, listener in opening.added.items()]
    shared = {id(listener) for listener in bound if any(sockets_of([listener]))}
    reasons = [
        f"{listener.endpoint}: workers cannot share this kind of endpoint; expected one that listens with listenTCP or "
        "listenUNIX, or [process].workers = 1"
        for listener in bound
        if id(listener) not in shared
    ]
    if reasons:
        raise RefusedError(reasons)


def count_of_workers(generation: Generation) -> int:
    """
    How many workers a configuration wants.
    """
    wanted = generation.root.process.workers
    return min(usable_cores(), MOST_WORKERS) if wanted == "auto" else int(wanted)
