"""
What is written in a turn of the loop, sent at its end.

To send at once goes to and fro between our code and the kernel's for every request, so that each finds the other's in
the caches of the processor; and it wakes a reader, who has gone to sleep again before the next bytes come.  Together,
the writes of a turn cost less: a fifth of all that a proxied request costs, where fifty clients ask.

A turn that has little to send is not worth waiting for its end, which takes a turn more: a tenth of a request's cost.
Where turns are so, writes are sent at once, but for a look now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor
    from twistginx.net.transport_sending import Sending

#: So many connections are sent to without waiting for the end of the turn, which may be far away in a crowd.
MANY: Final = 64

#: A turn with fewer connections that have something to send would have done better to send at once.
FEW: Final = 4

#: How many writes are sent at once before the next look at how many come together.
AT_ONCE: Final = 32

_log = Logger(namespace="twistginx.net")


class Outbox:
    """
    The connections of a reactor that have something to send at the end of this turn, in the order in which they came by
    it.

    :ivar waiting: those; some may have sent it meanwhile.
    :ivar at_once: so many writes are not to wait.
    """

    __slots__ = ("_reactor", "at_once", "waiting")

    def __init__(self, reactor: TwistginxReactor) -> None:
        self._reactor = reactor
        self.waiting: list[Sending] = []
        self.at_once = 0

    def add(self, connection: Sending) -> None:
        """
        ``connection`` has something to send.
        """
        waiting = self.waiting
        if not waiting:
            self._reactor.loop.call_soon(self.send)
        waiting.append(connection)
        if len(waiting) >= MANY:
            self.send()

    def send(self) -> None:
        """
        Send all that waits.
        """
        waiting, self.waiting = self.waiting, []
        if 0 < len(waiting) < FEW:
            self.at_once = AT_ONCE
        for connection in waiting:
            try:
                connection.send_held()
            except Exception:
                _log.failure("{connection} could not send", connection=connection)
