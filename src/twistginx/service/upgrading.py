"""
The upgrade of a running program, on SIGUSR2.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twistginx.net.inheritance import sockets_of
from twistginx.net.port import UnixPort
from twistginx.service.orders import Outcome
from twistginx.service.upgrade import PidFile, Successor, UpgradeError

if TYPE_CHECKING:
    from twistginx.service.program import Program

_log = Logger(namespace="twistginx.service")


class Upgrading:
    """
    Has a successor take the place of a program.
    """

    def __init__(self, program: Program, reactor: Any) -> None:
        self._program = program
        self._reactor = reactor
        self._running = False

    async def upgrade(self) -> Outcome:
        """
        Have another process take over, and drain, and end; or go on.
        """
        if self._running:
            return self._not_upgraded("the server is being upgraded already")
        self._running = True
        changing = self._program.changing
        await changing.acquire()
        try:
            return await self._upgrade()
        finally:
            self._running = False
            changing.release()

    async def _upgrade(self) -> Outcome:
        program = self._program
        sockets = tuple(sockets_of(program.listeners.values()))
        if program.stopping or program.generation is None:
            return self._not_upgraded("the server is not running")
        if os.getpid() == 1:
            return self._not_upgraded("this is the first process of a container, which ends with it")
        if len(sockets) < len(program.listeners):
            return self._not_upgraded("a socket cannot be passed on: it was made by another reactor, or by a plugin")
        pid_file = PidFile(program.twistd)
        try:
            pid_file.step_aside()
            _log.info("upgrading: starting {command}", command=" ".join(sys.orig_argv))
            pid = await Successor(self._reactor).start(sockets)
        except (UpgradeError, OSError) as error:
            pid_file.step_back()
            return self._not_upgraded(str(error))
        for listener in program.listeners.values():
            listener.port.is_shared = True
            if isinstance(listener.port, UnixPort):
                listener.port.disown()
        text = f"process {pid} has taken over"
        _log.info("{text}", text=text)
        program.successor = pid
        program.status.succeeded(pid)
        program.quit()
        return Outcome(True, text)

    @staticmethod
    def _not_upgraded(why: str) -> Outcome:
        _log.error("the program was not upgraded, and serves on: {why}", why=why)
        return Outcome(False, why)
