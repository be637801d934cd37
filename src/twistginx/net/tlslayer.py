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
from typing import TYPE_CHECKING, Final

from cryptography.x509 import load_der_x509_certificate
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
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.net.timers import Ticker
from twistginx.net.tlshandshake import ENDED, HANDSHAKE, OPEN, TLSHandshake, reason_of

if TYPE_CHECKING:
    from OpenSSL.crypto import X509

#: The plaintext of a record, at most (RFC 8446, section 5.1): a read of this size takes a whole one.
_RECORD: Final = 2**14
#: Bytes that are encrypted before they are passed on.  OpenSSL keeps a buffer of that order for each connection that
#: has ever filled it, so this is also what a connection costs while it rests.
_CHUNK: Final = 2**15

_CUT_OFF: Final = "the peer closed the connection without close_notify"

log = Logger()


def _lost(why: str) -> Failure:
    return Failure(ConnectionLost(why))


@implementer(INegotiated, IConsumer, IPushProducer, ISystemHandle, ILoggingContext, IProtocol, IHalfCloseableProtocol)
class TLSLayer(TLSHandshake):
    """
    TLS, from the end of the handshake on.

    :ivar negotiatedProtocol: what ALPN has agreed on, or None.
    """

    __slots__ = (
        "_corked",
        "_producer",
        "_read_ended",
        "_reason",
        "_was_open",
        "_write_ended",
        "negotiatedProtocol",
    )

    def __init__(self, protocol: IProtocol, ticker: Ticker, timeout: float) -> None:
        super().__init__(protocol, ticker, timeout)
        self.negotiatedProtocol: bytes | None = None
        self._was_open = False  # is the protocol above connected, and so to be told of the end?
        self._corked = False  # is a read being handed up, so that what is encrypted waits for its end?
        self._read_ended = False  # did the peer say close_notify?
        self._write_ended = False  # did we?
        self._producer: IProducer | None = None
        self._reason: Failure | None = None  # why the connection ends, where we know better than what is below

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
            self.dataReceived(b"")
        else:
            self._flush()

    # The protocol of what is below.

    def dataReceived(self, data: bytes) -> None:
        """
        Ciphertext: hand up what is in it, in one piece, and send down what is written meanwhile, in one piece.
        """
        if self.state != OPEN:
            if self.state == HANDSHAKE:
                self.negotiate(data)
            return
        incoming = self._incoming
        incoming.write(data)
        problem: OSError | None = None
        # A whole record's room would be allocated and given back for every little message, at a third of the price of
        # reading it.  What is in a read is smaller than the read, unless it ends a record that began in another.
        room = min(len(data), _RECORD) or _RECORD
        try:
            data = self._tls.read(room)
        except OSError as error:
            data, problem = b"", error.with_traceback(None)  # which would lead back here
        else:
            # To ask for a record that is not there costs as much as to decrypt one that is.
            if (incoming.pending or len(data) == room) and data:
                data, problem = self._read_on(data)
        if data and not self.disconnecting:
            self._corked = True
            try:
                self.protocol.dataReceived(data)
            finally:
                self._corked = False
        if problem is not None or not data:
            self._stop_reading(problem)
        if self._outgoing.pending:
            self.transport.write(self._outgoing.read())

    def _read_on(self, first: bytes) -> tuple[bytes, OSError | None]:
        """
        A read that has brought more than one record: their data, and why there is no more.
        """
        pieces = [first]
        try:
            while self._incoming.pending or self._tls.pending():
                piece = self._tls.read(_RECORD)
                if not piece:
                    return b"".join(pieces), ssl.SSLZeroReturnError()
                pieces.append(piece)
        except OSError as error:
            return b"".join(pieces), error.with_traceback(None)
        return b"".join(pieces), None

    def _stop_reading(self, problem: OSError | None) -> None:
        """
        There is no more to decrypt: for now, or ever.

        :param problem: None says what ``SSLZeroReturnError`` says, close_notify.
        """
        if self.state != OPEN or isinstance(problem, ssl.SSLWantReadError):
            return  # the rest of the record will come, or it was not one of data
        if problem is None or isinstance(problem, ssl.SSLZeroReturnError):
            if not self._read_ended:
                self._end_reading()
        else:
            self._break(reason_of(problem))

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
        self.open_now()
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
        # It has us as its transport: let both go without a collection.
        self.protocol = None

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
        outgoing = self._outgoing
        if not self._corked or outgoing.pending >= _CHUNK:
            self.transport.write(outgoing.read())

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """
        Encrypt and send, as one.
        """
        self.write(b"".join(iovec))

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

    def _say_close_notify(self) -> None:
        if not self._write_ended:
            self._write_ended = True
            try:
                self._tls.unwrap()
            except OSError:
                pass  # the peer has not said it, and need not
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
        from OpenSSL.crypto import X509  # takes its time, and few ask

        der = self._tls.getpeercert(binary_form=True) if self._tls is not None else None
        return None if der is None else X509.from_cryptography(load_der_x509_certificate(der))
