"""
The answer to a client that cannot be served because there are too many.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from twistginx.http.wire import CLOSE_LINE, SERVER_LINE, STATUS_LINES
from twistginx.net.timers import NEVER, Ticker

#: Seconds that a client gets to read it.
PATIENCE: Final = 2.0

#: How many get it at the same time on one listener; whoever comes beyond that is cut off without a word, because each
#: still holds a descriptor while it reads.
AT_ONCE: Final = 64

_BODY: Final = b"This server has too many connections; try again in a few seconds.\n"

#: The whole answer.
FAREWELL: Final = (
    STATUS_LINES[503]
    + SERVER_LINE
    + b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nRetry-After: 5\r\n" % len(_BODY)
    + b"Proxy-Status: twistginx; error=connection_limit\r\n"
    + CLOSE_LINE
    + b"\r\n"
    + _BODY
)


class Farewell(Protocol):
    """
    Answers 503 to whatever is going to be asked, and leaves.

    Closing at once would have the client's system throw the answer away as soon as it sends its request (RFC 9112,
    section 9.6), so only our half is closed, and what comes is dropped for a while.
    """

    transport: Any

    def __init__(self, listener: Any, ticker: Ticker) -> None:
        self.listener = listener
        self.ticker = ticker
        self.deadline = NEVER

    def connectionMade(self) -> None:
        self.listener.leaving.add(self)
        self.ticker.watch(self)
        self.deadline = self.ticker.now + PATIENCE
        transport = self.transport
        transport.write(FAREWELL)
        if ISSLTransport.providedBy(transport):
            # Of an ``ssl:`` endpoint: to half-close what is below TLS would break it.
            transport.loseConnection()
        else:
            getattr(transport, "loseWriteConnection", transport.loseConnection)()

    def dataReceived(self, data: bytes) -> None:
        """
        Dropped.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.listener.leaving.discard(self)
        self.ticker.forget(self)

    def deadline_passed(self) -> None:
        """
        The client has had its time.
        """
        self.transport.abortConnection()


def farewell(listener: Any, ticker: Ticker) -> Farewell | None:
    """
    A protocol for a connection too many; None closes it.
    """
    return Farewell(listener, ticker) if len(listener.leaving) < AT_ONCE else None
