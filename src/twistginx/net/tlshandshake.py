"""
The beginning of TLS on a connection, of which the protocol above is not told until it has succeeded.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

from twisted.internet.interfaces import IProtocol, ITransport

from twistginx.net.layer import Layer
from twistginx.net.timers import NEVER, Ticker

#: Seconds that a handshake may take.
HANDSHAKE_TIMEOUT: Final = 10.0

#: The states: the protocol above is not connected yet; data flows; nothing is handed up any more but connectionLost.
HANDSHAKE: Final = 0
OPEN: Final = 1
ENDED: Final = 2


def reason_of(error: BaseException) -> str:
    """
    What an exception of the ssl module says, in words.
    """
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) else str(error)


class TLSHandshake(Layer):
    """
    A connection that is to become TLS, within a time.  A side's class says how it begins and what becomes of it.

    :ivar state: ``HANDSHAKE``, ``OPEN`` or ``ENDED``.
    :ivar connected: there is a transport below.
    :ivar disconnecting: the end has been asked for, or has come.
    :ivar disconnected: the transport below is gone.
    """

    __slots__ = (
        "_agreed",
        "_incoming",
        "_outgoing",
        "_ticker",
        "_timeout",
        "_tls",
        "_writable",
        "connected",
        "deadline",
        "disconnected",
        "disconnecting",
        "state",
    )

    def __init__(self, protocol: IProtocol, ticker: Ticker, timeout: float) -> None:
        super().__init__(protocol)
        self.connected = self.disconnecting = self.disconnected = False
        self.deadline = NEVER
        self.state = HANDSHAKE
        self._ticker = ticker
        self._timeout = timeout
        self._writable = False  # may what is above write?
        self._agreed = False  # the handshake is complete; the protocol above is about to be connected
        self._tls: Any = None  # an ssl.SSLObject, once it has begun
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    def makeConnection(self, transport: ITransport) -> None:
        """
        :param transport: any stream transport of Twisted's interfaces.
        """
        self.transport = transport
        self.connected = True
        self._ticker.watch(self)
        self.deadline = self._ticker.now + self._timeout
        self.connectionMade()

    # What a subclass decides.

    def connectionMade(self) -> None:
        """
        There is a transport below: begin.
        """
        raise NotImplementedError

    def negotiate(self, data: bytes) -> None:
        """
        Bytes of the peer's handshake.
        """
        self._incoming.write(data)
        if not self._agreed:
            self.handshake()

    def verify(self) -> None:
        """
        The handshake is complete; ``refuse`` ends it after all.
        """

    def opened(self) -> None:
        """
        The protocol above is connected, and nothing has been handed to it yet.
        """

    def refused(self, error: BaseException) -> None:
        """
        There is no connection, and will be none.
        """

    # What happens.

    def begin(
        self,
        context: ssl.SSLContext,
        server_side: bool,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """
        From now on ``context`` says what may be agreed on.

        :param session: to be resumed, if the server still knows it; one of this context.
        """
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name, session)

    def handshake(self) -> None:
        """
        Go on with what has arrived.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except OSError as error:  # ssl.SSLError is one
            self.refuse(error)
            return
        self.verify()
        if self.state == HANDSHAKE:
            self._agreed = True
            # Where several handshakes end in one turn of the loop, all that is above TLS comes after the last of them:
            # one by one, OpenSSL and our code would drive each other from the caches of the processor.
            later = getattr(self.transport, "later", None)
            if later is None:
                self._open()
            else:
                later(self.open_now)

    def open_now(self) -> None:
        """
        Connect the protocol above, if that is still to be done.
        """
        if self._agreed and self.state == HANDSHAKE:
            self._open()

    def _open(self) -> None:
        """
        It is agreed: connect the protocol above.
        """
        raise NotImplementedError

    def refuse(self, error: BaseException, alert: bytes = b"") -> None:
        """
        End a handshake that cannot succeed.

        :param alert: a record to say why, where OpenSSL has not written one.
        """
        if self.state != HANDSHAKE:
            return
        self.state = ENDED
        self._unwatch()
        self._flush()
        if alert:
            self.transport.write(alert)
        self.transport.loseConnection()
        self.refused(error)

    def deadline_passed(self) -> None:
        """
        The handshake took too long.
        """
        if self.state == HANDSHAKE:
            self._abort()
            self.refused(TimeoutError(f"the handshake took longer than {self._timeout:g} s"))

    def _unwatch(self) -> None:
        self.deadline = NEVER
        self._ticker.forget(self)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.transport.write(self._outgoing.read())

    def _abort(self) -> None:
        self.state = ENDED
        self.disconnecting = True
        self._writable = False
        self._unwatch()
        self.transport.abortConnection()
