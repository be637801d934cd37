"""
Orders of the control interface that are about a program as a whole, and what becomes of orders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

if TYPE_CHECKING:
    from twistginx.service.program import Program


@frozen
class Outcome:
    """
    What became of an order.

    :ivar text: what has changed, or why nothing has.
    """

    done: bool
    text: str


def _told(outcome: Outcome) -> dict[str, Any]:
    """
    :raise ValueError: when it was not done.
    """
    if not outcome.done:
        raise ValueError(outcome.text)
    return {"text": outcome.text}


def _order(act: Callable[[Program], object], text: str) -> Callable[[Program], Any]:
    """
    An order that is said to have been heard.
    """

    def order(program: Program) -> dict[str, Any]:
        program.soon(lambda: act(program))
        return {"text": text}

    return order


#: The commands of the control interface that are about the program as a whole.
ORDERS: Final[dict[str, Callable[[Program], Any]]] = {
    "reload": lambda program: program.reload().addCallback(_told),
    "restart-workers": lambda program: program.restart_workers().addCallback(_told),
    "upgrade": lambda program: program.upgrade().addCallback(_told),
    "status": lambda program: program.state(),
    "stats": lambda program: program.gather().addCallback(lambda reports: {"workers": reports}),
    "reopen-logs": _order(lambda program: program.reopen_logs(), "reopening the logs"),
    "quit": _order(lambda program: program.quit(), "draining"),
    "stop": _order(lambda program: program.end(), "stopping"),
}
