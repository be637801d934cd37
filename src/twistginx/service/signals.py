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


def hear(program: Program, reactor: Any) -> None:
    """
    Have ``program`` act on our signals, from the reactor.
    """
    for number, act in SIGNALS.items():
        _on(reactor, number, act, program)


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
