"""
Child processes: how we hear of their end.

SIGCHLD would not do: there is one wake-up descriptor for signals in a process, and Twisted and uvloop each take it for
theirs.  A pidfd becomes readable when its process ends, needs no signal, and is nobody else's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet import process as twisted_process
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor

#: Seconds between two looks at a child, where the system has no pidfd for us.
INTERVAL = 0.1


def watch(reactor: TwistginxReactor, process: Any) -> None:
    """
    Have a process reaped when it ends.

    :param process: a Twisted process; one that has been reaped already is left alone.
    """
    if not _unreaped(process.pid, process):
        return
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        # Not Linux, a kernel before 5.3, a sandbox that forbids it, or no descriptor left.
        _look(reactor, process, process.pid)
    else:
        reactor.add_internal_reader(_Child(reactor, process, descriptor))


def _unreaped(pid: int, process: Any) -> bool:
    """
    Is the process still to be reaped?  Somebody else may have, and its number may be another's by now.
    """
    waiting: dict[int, Any] = twisted_process.reapProcessHandlers
    return waiting.get(pid) is process


def _look(reactor: TwistginxReactor, process: Any, pid: int) -> None:
    if _unreaped(pid, process):
        process.reapProcess()
        reactor.loop.call_later(INTERVAL, _look, reactor, process, pid)


@implementer(IReadDescriptor)
class _Child:
    """
    A child whose end is waited for.
    """

    def __init__(self, reactor: TwistginxReactor, process: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._process = process
        self._pid = process.pid
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "child"

    def doRead(self) -> None:
        self._reactor.remove_internal_reader(self)
        self.connectionLost(None)
        if _unreaped(self._pid, self._process):
            self._process.reapProcess()

    def connectionLost(self, reason: Failure | None) -> None:
        """
        Close the descriptor.  A second call does nothing.
        """
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
