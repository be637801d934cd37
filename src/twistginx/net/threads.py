"""
Threads for work that blocks: the disk, and calculations that release the interpreter's lock.

They are not the reactor's own, where names are resolved: a disk that stalls must not make every connection wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

#: Few: what they do is bounded by disks and cores, and more of them would only compete for these.
_MOST: Final = 4


class Threads:
    """
    A few threads, started when they are first wanted, and stopped with the reactor.

    On a reactor without threads, as tests have, work is done at once.
    """

    __slots__ = ("_pool", "_reactor", "_threaded")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._threaded = IReactorThreads.providedBy(reactor)
        self._pool: ThreadPool | None = None

    def run(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """
        ``work(*arguments)`` in a thread.

        :return: its result, in the reactor's thread.  Cancelling it ends the waiting, not the work.
        """
        if not self._threaded:
            try:
                return succeed(work(*arguments))
            except Exception:
                return fail(Failure())
        waiting: Deferred[T] = Deferred()

        def done(success: bool, result: Any) -> None:
            self._reactor.callFromThread(finish, success, result)

        def finish(success: bool, result: Any) -> None:
            if not waiting.called:
                (waiting.callback if success else waiting.errback)(result)

        self._started().callInThreadWithCallback(done, work, *arguments)
        return waiting

    def _started(self) -> ThreadPool:
        pool = self._pool
        if pool is None:
            pool = self._pool = ThreadPool(0, _MOST, "twistginx")
            pool.start()
            self._reactor.addSystemEventTrigger("during", "shutdown", pool.stop)
        return pool


def threads_of(context: Any) -> Threads:
    """
    Those of the process, for a module that is being built.

    :param context: an IContext.
    """
    threads: Threads = context.keep(("threads",), lambda: Threads(context.reactor))
    return threads
