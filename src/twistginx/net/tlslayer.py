"""
TLS, as a layer: a protocol to the transport below it, a transport to the protocol above it.

It is ``ssl.MemoryBIO`` over any Twisted stream transport.  What arrives in one read is handed up in one piece, and what
is written meanwhile goes down in one piece.  Nothing is held here, so back-pressure needs no work of ours: producers
are registered below, and pausing pauses below.

The protocol above is connected when the handshake is complete, so that ``negotiatedProtocol`` is known, and never hears
of connections that did not get that far.  Its ``connectionLost`` says ``ConnectionDone`` only where the peer said
close_notify; a connection that was cut off says ``ConnectionLost`` (RFC 8446, section 6.1).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from cryptography.x509 import load_der_x509_certificate
from OpenSSL.crypto import X509
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    INegotiated,
    IProducer,
    IProtocol,
    IPushProducer,
    ISystemHandle,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.net.layer import Layer
from twistginx.net.timers import NEVER, Ticker

#: Seconds that a handshake may take.
HANDSHAKE_TIMEOUT: Final = 10.0

#: The plaintext of a record, at most (RFC 8446, section 5.1): a read of this size takes a whole one.
_RECORD: Final = 2**14
#: Bytes that are encrypted before they are passed on, so that a large write is not in memory twice.
_CHUNK: Final = 2**16

#: The states: the protocol above is not connected yet; data flows; nothing is handed up any more but connectionLost.
HANDSHAKE: Final = 0
OPEN: Final = 1
ENDED: Final = 2

_CUT_OFF: Final = "the peer closed the connection without close_notify"

log = Logger()


def reason_of(error: BaseException) -> str:
    """
    What an exception of the ssl module says, in words.
    """
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) else str(error)


def _lost(why: str) -> Failure:
    return Failure(ConnectionLost(why))  # type: ignore[no-untyped-call]


@implementer(
    INegotiated, IConsumer, IPushProducer, ISystemHandle, ILoggingContext, IProtocol, IHalfCloseableProtocol
)
class TLSLayer(Layer):
    """
    What both sides of a connection have in common; a subclass begins the handshake and says what becomes of it.

    :ivar state: ``HANDSHAKE``, ``OPEN`` or ``ENDED``.
    :ivar negotiatedProtocol: what ALPN has agreed on, or None.
    :ivar connected: there is a transport below.
    :ivar disconnecting: the end has been asked for, or has come.
    :ivar disconnected: the transport below is gone.
    """

    __slots__ = (
        "_corked",
        "_incoming",
        "_outgoing",
        "_producer",
        "_read_ended",
        "_reason",
        "_ticker",
        "_timeout",
        "_tls",
        "_was_open",
        "_writable",
        "_write_ended",
        "connected",
        "deadline",
        "disconnected",
        "disconnecting",
        "negotiatedProtocol",
        "state",
    )

    def __init__(self, protocol: IProtocol, ticker: Ticker, timeout: float) -> None:
        super().__init__(protocol)
        self.connected = self.disconnecting = self.disconnected = False
        self.negotiatedProtocol: bytes | None = None
        self.deadline = NEVER
        self.state = HANDSHAKE
        self._ticker = ticker
        self._timeout = timeout
        self._was_open = False  # is the protocol above connected, and so to be told of the end?
        self._writable = False  # may it write?
        self._corked = False  # is a read being handed up, so that what is encrypted waits for its end?
        self._read_ended = False  # did the peer say close_notify?
        self._write_ended = False  # did we?
        self._producer: IProducer | None = None
        self._reason: Failure | None = None  # why the connection ends, where we know better than what is below
        self._tls: Any = None  # an ssl.SSLObject, once the handshake has begun
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

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

    # The handshake.

    def begin(self, context: ssl.SSLContext, server_side: bool, server_name: str | None = None) -> None:
        """
        From now on ``context`` says what may be agreed on.
        """
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)

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
            self._open()

    def _open(self) -> None:
        self._unwatch()
        self.state = OPEN
        self._was_open = self._writable = True
        alpn = self._tls.selected_alpn_protocol()
        self.negotiatedProtocol = None if alpn is None else alpn.encode("ascii")
        # Corked, so that the end of the handshake and the first words of the protocol above are one write.
        self._corked = True
        try:
            self.protocol.makeConnection(self)
            self.opened()
        finally:
            self._corked = False
        if self._incoming.pending and self.state == OPEN:
            self._deliver()
        else:
            self._flush()

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

    # The protocol of what is below.

    def makeConnection(self, transport: ITransport) -> None:
        """
        :param transport: any stream transport of Twisted's interfaces.
        """
        self.transport = transport
        self.connected = True
        self._ticker.watch(self)
        self.deadline = self._ticker.now + self._timeout
        self.connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """
        Ciphertext.
        """
        if self.state == OPEN:
            self._incoming.write(data)
            self._deliver()
        elif self.state == HANDSHAKE:
            self.negotiate(data)

    def _deliver(self) -> None:
        """
        Hand up what has arrived, in one piece.
        """
        pieces = []
        ended = False
        broken = None
        read, incoming = self._tls.read, self._incoming
        try:
            while True:
                piece = read(_RECORD)
                if not piece:
                    ended = True
                    break
                pieces.append(piece)
                if not incoming.pending:  # to ask once more costs as much as to decrypt a record
                    break
        except ssl.SSLWantReadError:
            pass  # the rest of a record, or one that was not data
        except ssl.SSLZeroReturnError:  # the same as b"", after a close_notify of ours
            ended = True
        except OSError as error:
            broken = error
        if pieces and not self.disconnecting:
            self._corked = True
            try:
                self.protocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            finally:
                self._corked = False
        if self.state != OPEN:
            return
        if broken is not None:
            self._break(reason_of(broken))
        elif ended and not self._read_ended:
            self._end_reading()
        self._flush()  # what was written, and what TLS itself had to say

    def _end_reading(self) -> None:
        """
        The peer said close_notify: this is how TLS says end of file.
        """
        self._read_ended = True
        if not self.disconnecting and IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self._end()

    def readConnectionLost(self) -> None:
        """
        The peer sends no more.  Without close_notify that is a connection cut off.
        """
        if self.state == HANDSHAKE:
            self.refuse(ConnectionLost("the peer closed the connection during the handshake"))
        elif self.state == OPEN and not self._read_ended:
            self._break(_CUT_OFF)

    def writeConnectionLost(self) -> None:
        """
        Never asked for: close_notify alone ends writing.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        The transport below is gone.
        """
        self.connected = False
        self.disconnected = True
        self._writable = False
        self._unwatch()
        state, self.state = self.state, ENDED
        if state == HANDSHAKE:
            self.refused(reason.value or ConnectionLost())
        elif self._was_open:
            if self._reason is not None:
                reason = self._reason
            elif isinstance(reason.value, ConnectionDone) and not (self._read_ended or self.disconnecting):
                reason = _lost(_CUT_OFF)
            self.protocol.connectionLost(reason)

    # The transport of what is above.

    def write(self, data: bytes) -> None:
        """
        Encrypt and send.
        """
        if not self._writable or not data:
            return
        try:
            if len(data) <= _CHUNK:
                self._tls.write(data)
            else:
                view = memoryview(data)
                for start in range(0, len(data), _CHUNK):
                    self._tls.write(view[start : start + _CHUNK])
                    self._flush()
        except OSError as error:
            self._break(reason_of(error))
            return
        if not self._corked or self._outgoing.pending >= _CHUNK:
            self.transport.write(self._outgoing.read())

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """
        Encrypt and send, as one.
        """
        self.write(b"".join(iovec))

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.transport.write(self._outgoing.read())

    def loseConnection(self) -> None:
        """
        Say close_notify and close, when all is sent; with a producer, when that has unregistered.

        The peer's close_notify is not waited for (RFC 8446, section 6.1).
        """
        if self.disconnecting or self.state == ENDED:
            return
        if self.state == HANDSHAKE:
            self.refuse(ConnectionDone("closed during the handshake"))
            return
        self.disconnecting = True
        if self._producer is None:
            self._end()
        else:
            self.transport.pauseProducing()

    def loseWriteConnection(self) -> None:
        """
        Say close_notify and read on.

        Before TLS 1.3 a peer answers that by closing at once (RFC 5246, section 7.2.1): there it is the end.
        """
        if not self._writable:
            return
        if self._tls.version() != "TLSv1.3":
            self.unregisterProducer()
            self.loseConnection()
            return
        self._writable = False
        self._say_close_notify()
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()

    def abortConnection(self) -> None:
        """
        Close now, without a word.
        """
        state = self.state
        self._abort()
        if state == HANDSHAKE:
            self.refused(ConnectionAborted("aborted during the handshake"))

    def _abort(self) -> None:
        self.state = ENDED
        self.disconnecting = True
        self._writable = False
        self._unwatch()
        self.transport.abortConnection()

    def _say_close_notify(self) -> None:
        if not self._write_ended:
            self._write_ended = True
            with suppress(OSError):  # the peer has not said it, and need not
                self._tls.unwrap()
        self._flush()

    def _end(self) -> None:
        self._finish()
        self._say_close_notify()
        self.transport.loseConnection()

    def _break(self, why: str) -> None:
        """
        TLS cannot go on.  OpenSSL has written the alert, where there is one to send.
        """
        log.debug("TLS connection with {peer} broke: {why}", peer=self.transport.getPeer(), why=why)
        self._reason = _lost(why)
        self._finish()
        self._flush()
        self.transport.loseConnection()

    def _finish(self) -> None:
        self.state = ENDED
        self.disconnecting = True
        self._writable = False
        if self._producer is not None:
            # What is below would wait for it.
            producer, self._producer = self._producer, None
            self.transport.unregisterProducer()
            producer.stopProducing()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        The transport below pauses it, or pulls from it.
        """
        if self.state == ENDED:
            producer.stopProducing()
            return
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer}: {self._producer} was never unregistered")
        self._producer = producer
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        If the connection was to be closed, it is now.
        """
        if self._producer is None:
            return
        self._producer = None
        self.transport.unregisterProducer()
        if self.disconnecting and self.state == OPEN:
            self._end()

    def pauseProducing(self) -> None:
        """
        Read no more.  What is read already is decrypted and handed up.
        """
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read on.
        """
        if self.state == OPEN and not self.disconnecting:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        As ``loseConnection``.
        """
        self.loseConnection()

    def getHandle(self) -> ssl.SSLObject | None:
        """
        What knows about version, cipher and session; None before the handshake has begun.
        """
        handle: ssl.SSLObject | None = self._tls
        return handle

    def getPeerCertificate(self) -> X509 | None:
        """
        The peer's certificate as ``twisted.internet.ssl`` wants it; None when it has shown none.
        """
        der = self._tls.getpeercert(binary_form=True) if self._tls is not None else None
        return None if der is None else X509.from_cryptography(load_der_x509_certificate(der))
