"""
The workers of a master, all together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twistginx.service.start import unexpected
from twistginx.workers.backoff import Backoff
from twistginx.workers.process import Surroundings, WorkerProcess
from twistginx.workers.wire import Details, GoneError, RefusalError

#: Seconds between two signs of life.
BEAT: Final = 1.0

#: Seconds that a worker may take to stop, at once, beyond what requests get.
STOP_PATIENCE: Final = 8.0

_log = Logger(namespace="twistginx.workers")

#: What a worker is to begin with: its details and its sockets, made anew for each.
Beginning = Callable[[int], tuple[Details, Iterable[tuple[str, int]]]]


class Crew:
    """
    Keeps so many workers alive.

    What begins and what reloads keep out of each other's way: a worker that begins has begun before a reload, or begins
    after it.

    :ivar workers: those that serve, or begin to, by number.
    :ivar leaving: those that were told to end.
    :ivar deaths: how many ended that were not told to.
    """

    def __init__(self, reactor: Any, surroundings: Surroundings, beginning: Beginning, timeout: float) -> None:
        """
        :param timeout: seconds that a worker may be deaf.
        """
        self.workers: dict[int, WorkerProcess] = {}
        self.leaving: set[WorkerProcess] = set()
        self.deaths = 0
        self.timeout = timeout
        self.size = 0
        self.latest: dict[str, Any] = {}
        self._reactor = reactor
        self._surroundings = surroundings
        self._beginning = beginning
        self._backoffs: dict[int, Backoff] = {}
        self._beginners: dict[int, WorkerProcess] = {}  # workers that begin, by number
        self._held = 0  # who wants none to begin
        self._waiting: list[Deferred[None]] = []
        self._begun = False
        self._stopping = False
        self._pulse = LoopingCall(self._beat)
        self._pulse.clock = reactor
        self._beaten = 0.0

    @property
    def serving(self) -> list[WorkerProcess]:
        """
        Those that serve.
        """
        return [each for _, each in sorted(self.workers.items()) if each.serving]

    # Begin.

    async def begin(self, size: int) -> None:
        """
        Start so many.

        :raise RefusalError: when one cannot begin; then all are ended.
        """
        self.size = size
        self._beaten = self._reactor.seconds()
        self._pulse.start(BEAT, now=False).addErrback(unexpected)
        outcomes: list[tuple[bool, Any]] = await DeferredList(
            [Deferred.fromCoroutine(self._start(number)) for number in range(1, size + 1)], consumeErrors=True
        )
        reasons = dict.fromkeys(outcome.getErrorMessage() for well, outcome in outcomes if not well)
        if reasons:
            # In an upgrade, those that have begun have accepted what the old process would have.
            await self.drain()
            raise RefusalError("\n".join(reasons))
        self._begun = True
        for number in range(1, size + 1):  # one that has died while others began
            self._keep(number)

    async def resize(self, size: int) -> None:
        """
        Have so many from now on.
        """
        before, self.size = self.size, size
        for number in range(before + 1, size + 1):
            self._keep(number)
        for number in range(size + 1, before + 1):
            worker = self.workers.pop(number, None)
            if worker is not None:
                self._send_off(worker)
        self._appoint()

    async def _start(self, number: int) -> WorkerProcess:
        """
        Start a worker, and have it take the place of the one with its number, if there is one.
        """
        try:
            worker = WorkerProcess(self._reactor, number, self._surroundings, self._heard)
        except OSError as error:  # no process, no memory, no interpreter any more
            self._start_again(number, 0.0)
            raise RefusalError(f"worker {number} cannot be started: {error}") from error
        self._beginners[number] = worker
        try:
            old = self.workers.get(number)
            if old is None:
                self.workers[number] = worker
            worker.gone.addCallback(self._ended, worker)
            details, sockets = self._beginning(number)
            details |= {"leads": not any(each.leads for each in self.workers.values()), "board": self.latest}
            worker.leads = details["leads"]
            await worker.begin(details, sockets)
            self.workers[number] = worker
            if old is not None and old is not worker:
                self._send_off(old)
        finally:
            del self._beginners[number]
            self._wake()
        _log.info("{worker} serves, process {pid}", worker=worker.name, pid=worker.pid)
        self._appoint()
        return worker

    def _ended(self, how: str, worker: WorkerProcess) -> str:
        self.leaving.discard(worker)
        if self.workers.get(worker.number) is worker:
            del self.workers[worker.number]
        if not worker.ending and not self._stopping:
            self.deaths += 1
            self._appoint()
            _log.error(
                "{worker}, process {pid}, {how}{next}",
                worker=worker.name,
                pid=worker.pid,
                how=how,
                next=self._start_again(worker.number, self._reactor.seconds() - worker.began),
            )
        return how

    def _start_again(self, number: int, lived: float) -> str:
        """
        Start another worker, now or in a while, for one that has died.

        :param lived: seconds.
        :return: what comes next, for the log.
        """
        if number in self.workers:
            return "; the one that it was to replace serves on"
        if not self._begun:
            return ""
        delay = self._backoffs.setdefault(number, Backoff()).died(lived)
        self._reactor.callLater(delay, self._keep, number)
        return f"; another one starts in {delay:g} s" if delay else "; another one starts"

    def _keep(self, number: int) -> None:
        """
        Start a worker, if that is still wanted.
        """

        async def start() -> None:
            # One that is to replace it anyway, by order, may begin.
            while self._held or number in self._beginners:
                await self._change()
            if not self._stopping and number <= self.size and number not in self.workers:
                try:
                    await self._start(number)
                except RefusalError as error:
                    _log.error("worker {number} could not begin: {error}", number=number, error=error)

        Deferred.fromCoroutine(start()).addErrback(unexpected)

    # All together.

    async def hold(self) -> None:
        """
        Wait until nobody begins, and let nobody, until :meth:`release`.
        """
        self._held += 1
        while self._beginners:
            await self._change()

    def release(self) -> None:
        """
        See :meth:`hold`.
        """
        self._held -= 1
        self._wake()

    async def _change(self) -> None:
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def all(
        self, name: str, details: Details | None = None, sockets: Iterable[tuple[str, int]] = ()
    ) -> tuple[list[Details], list[str]]:
        """
        Give an order to all that serve.

        :return: the answers, and why the others did not follow it, each reason once.  Those that have died meanwhile
            did neither.
        """
        sockets = tuple(sockets)
        workers = self.serving
        outcomes: list[tuple[bool, Any]] = await DeferredList(
            [each.order(name, details, sockets) for each in workers], consumeErrors=True
        )
        answers, reasons = [], []
        for worker, (well, outcome) in zip(workers, outcomes, strict=True):
            if well:
                answers.append({"worker": worker.number, **outcome})
            elif worker.serving and not outcome.check(GoneError):
                reasons.append(outcome.getErrorMessage())
        return answers, list(dict.fromkeys(reasons))

    async def insist(self, name: str) -> None:
        """
        Give an order that nobody may refuse any more.  Who cannot follow it is killed, and the one that takes its place
        begins with what all others have.
        """
        workers = self.serving
        outcomes: list[tuple[bool, Any]] = await DeferredList(
            [each.order(name) for each in workers], consumeErrors=True
        )
        for worker, (well, outcome) in zip(workers, outcomes, strict=True):
            if not well and worker.serving and not outcome.check(GoneError):
                _log.error(
                    "{worker}, process {pid}, could not {name}, and is killed: {error}",
                    worker=worker.name,
                    pid=worker.pid,
                    name=name,
                    error=outcome.getErrorMessage(),
                )
                worker.kill()

    async def renew(self) -> None:
        """
        Replace each worker by a new one, one after the other: the new one serves before the old one drains.

        :raise RefusalError: when a new one cannot begin; the old one goes on, and so do those that are left.
        """
        for number in sorted(self.workers):
            while self._held or self._beginners:
                await self._change()
            if self._stopping or number > self.size:
                return
            await self._start(number)

    # Lead.

    def _appoint(self) -> None:
        """
        See to it that one of them leads.
        """
        serving = self.serving
        if serving and not any(each.leads for each in self.workers.values()):
            serving[0].lead(True)

    def _heard(self, worker: WorkerProcess, topic: str, value: Any) -> None:
        if value is None:
            self.latest.pop(topic, None)
        else:
            self.latest[topic] = value
        for each in self.serving:
            if each is not worker:
                each.say(topic, value)

    def _beat(self) -> None:
        now = self._reactor.seconds()
        # When this process itself had no time, or the machine slept, no worker is to blame.
        elapsed, self._beaten = min(now - self._beaten, 2 * BEAT), now
        for worker in (*self.serving, *self.leaving):
            worker.beat(elapsed)
            if worker.overdue >= self.timeout:
                _log.error(
                    "{worker}, process {pid}, has not answered for {seconds:.1f} s, and is killed",
                    worker=worker.name,
                    pid=worker.pid,
                    seconds=worker.overdue,
                )
                worker.kill()

    # End.

    def _send_off(self, worker: WorkerProcess) -> None:
        """
        Have one drain, and end, while the others go on.
        """
        if worker.gone.called:
            return
        self.leaving.add(worker)
        worker.lead(False)
        Deferred.fromCoroutine(worker.end("drain", self._drain_patience)).addErrback(unexpected)

    #: Seconds that a worker may take to drain.
    _drain_patience = 60.0

    def allow_drain(self, seconds: float) -> None:
        """
        Let connections of a worker that ends go on for so long.
        """
        self._drain_patience = seconds + STOP_PATIENCE

    async def drain(self) -> int:
        """
        Have all end their work, and themselves.

        :return: how many connections were cut.
        """
        return await self._end("drain", self._drain_patience)

    async def stop(self, now: bool = False) -> int:
        """
        Have all end.

        :param now: do not even let requests have their second.
        :return: how many connections were cut.
        """
        return await self._end("stop", STOP_PATIENCE, now=now)

    async def _end(self, how: str, patience: float, **details: Any) -> int:
        self._stopping = True
        self.leaving.update(self.workers.values(), self._beginners.values())
        outcomes = await DeferredList(
            [Deferred.fromCoroutine(each.end(how, patience, **details)) for each in tuple(self.leaving)],
            consumeErrors=True,
        )
        if self._pulse.running:
            self._pulse.stop()
        return sum(cut for well, cut in outcomes if well)
