"""
Reloads: one after the other, each as a whole or not at all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twistginx.build.generation import Generation
from twistginx.config.changes import changes
from twistginx.errors import ConfigError, Problem
from twistginx.service.opening import RefusedError
from twistginx.service.orders import Outcome

if TYPE_CHECKING:
    from twistginx.service.program import Program

_log = Logger(namespace="twistginx.service")


class Reloads:
    """
    The reloads of a program.  One that is ordered while another runs comes after it; several are one.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._running = False
        self._orders: list[Deferred[Outcome]] = []

    def order(self) -> Deferred[Outcome]:
        """
        Reload, now or when the one that runs has ended.

        :return: what came of it.
        """
        order: Deferred[Outcome] = Deferred()
        self._orders.append(order)
        if not self._running:
            Deferred.fromCoroutine(self._run())
        return order

    async def _run(self) -> None:
        self._running = True
        changing = self._program.changing
        try:
            while self._orders:
                await changing.acquire()
                try:
                    orders, self._orders = self._orders, []
                    outcome = await self._once()
                finally:
                    changing.release()
                for order in orders:
                    order.callback(outcome)
        finally:
            self._running = False

    async def _once(self) -> Outcome:
        program = self._program
        live = program.generation
        if program.successor is not None:
            # Ordered while that began, which may have read the files before they were changed.
            with suppress(ProcessLookupError):
                os.kill(program.successor, signal.SIGHUP)
                return Outcome(True, f"process {program.successor} has taken over, and was told to reload")
        if program.stopping or live is None:
            return Outcome(False, "the server is not running")
        self._program.status.reloading()
        try:
            text = await self._replace(live)
            outcome = Outcome(True, text)
        except ConfigError as error:
            outcome = self._refuse(error.problems)
        except RefusedError as error:
            outcome = self._refuse(error.reasons)
        except Exception as error:  # a plugin's fault must not end what serves
            _log.failure("a fault in twistginx or in a plugin")
            outcome = self._refuse([str(error) or type(error).__name__])
        said = f"reloaded: {outcome.text}" if outcome.done else f"a reload was refused: {outcome.text}"
        program.status.ready(f"serving on {program.name_of_what_serves()}; {said}")
        return outcome

    async def _replace(self, old: Generation) -> str:
        capacity = self._program.runtime.capacity
        scarce = capacity.scarcity
        generation = self._program.prepare()
        opening = await self._program.bind(generation)
        try:
            self._check_running()
            opening.open_logs(self._program.error_log, old)
            text = changes(old.root, generation.root)
            await self._program.put_in_force(opening)
        except BaseException:
            await opening.undo()
            raise
        self._program.counters.reloads += 1
        for problem in generation.warnings:
            _log.warn("{problem}", problem=problem)
        if capacity.scarcity not in ("", scarce):
            _log.warn("{scarcity}", scarcity=capacity.scarcity)
        _log.info("reloaded: {changes}", changes=text)
        self._program.follow_configuration()
        self._program.settle()
        return text

    def _check_running(self) -> None:
        if self._program.stopping:
            raise RefusedError(["the server is stopping"])

    def _refuse(self, reasons: Iterable[str | Problem]) -> Outcome:
        text = "\n".join(map(str, reasons))
        self._program.counters.refused_reloads += 1
        _log.error("the configuration was not reloaded, and nothing has changed:\n{reasons}", reasons=text)
        return Outcome(False, text)
