"""
What a program does on signals.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from twistginx.service.program import Program

#: What we do on a signal, beside twistd's own SIGINT and SIGTERM.
SIGNALS: Final[dict[int, Callable[[Program], object]]] = {
    signal.SIGHUP: lambda program: program.reload(),
    signal.SIGUSR1: lambda program: program.reopen_logs(),
    signal.SIGUSR2: lambda program: program.upgrade(),
    signal.SIGQUIT: lambda program: program.quit(),
}


#: Signals that came while there was nobody to act on them.
_early: Final[set[int]] = set()


def hear_early() -> None:
    """
    From now on our signals are not the end of this process, which is what they mean to one that has not heard of them;
    they are remembered for :func:`hear`.  A pid file can name us before we serve.
    """
    _early.clear()
    for number in SIGNALS:
        signal.signal(number, lambda number, _: _early.add(number))


def hear(program: Program, reactor: Any) -> None:
    """
    Have ``program`` act on our signals, from the reactor; also on those that came early.
    """
    for number, act in SIGNALS.items():
        _on(reactor, number, act, program)
    while _early:
        reactor.callFromThread(SIGNALS[_early.pop()], program)


def hear_twice(program: Program, reactor: Any) -> None:
    """
    A second SIGTERM or SIGINT means now, and so does one while the program drains; the first one means what Twisted has
    made of it, which runs by now.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        first = signal.getsignal(number)
        if callable(first):
            _on(reactor, number, _twice(first, number), program)


def _on(reactor: Any, number: int, act: Callable[[Program], object], program: Program) -> None:
    signal.signal(number, lambda *_: reactor.callFromThread(act, program))


def _twice(first: Callable[..., object], number: int) -> Callable[[Program], object]:
    """
    What is done on a signal: what Twisted does, and the second time what ends at once.
    """
    signals = iter((True,))

    def act(program: Program) -> None:
        first_time = next(signals, False)
        if not first_time or program.stopping:
            program.hurry()
        if first_time:
            program.status.stopping("stopping")
            first(number, None)

    return act
