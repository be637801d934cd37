"""
One connection to an HTTP/1.1 server: a request goes out, its response comes back, and the connection is free again.

It knows nothing of balancing and pools: whoever owns it is told when it is at rest, and when it is gone.  The proxy
uses it; so may health checks and plugins.
"""

from __future__ import annotations

from typing import Any, Final
from typing import Protocol as Structure

from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.errors import ProxyError
from twistginx.http.response_parser import ResponseParser, ResponseReceiver
from twistginx.http.upload import Upload
from twistginx.net.timers import NEVER, Ticker

#: Between two events of a ``text/event-stream``, and in a tunnel, nothing may happen for this long (seconds) at least.
QUIET: Final = 3600.0


_log = Logger(namespace="twistginx.http")


@frozen
class Patience:
    """
    How long a server may take.  It measures progress; there is no limit to the whole.

    :ivar first_byte: seconds from the end of the request to the end of the response's head.
    :ivar idle: seconds between two reads, or two writes, of a body.
    :ivar first_byte_setting: the key that says so, for the error, such as ``upstream.app.timeouts.first_byte = 60s``.
    """

    first_byte: float = 60.0
    idle: float = 60.0
    first_byte_setting: str = "timeouts.first_byte"
    idle_setting: str = "timeouts.idle"


class ConnectionOwner(Structure):
    """
    Who keeps connections that are at rest.
    """

    def connection_free(self, connection: ClientConnection) -> None:
        """
        The response is complete, and the connection may be used again (or closed).
        """

    def connection_gone(self, connection: ClientConnection, by_server: bool) -> None:
        """
        A connection at rest has ended, or is of no use any more.

        :param by_server: the server closed it.
        """


@implementer(IPushProducer)
class ClientConnection(Protocol):
    """
    A connection that sends one request at a time.

    As a producer it is the response: ``pauseProducing`` stops reading, and with it the clock.

    :ivar owner: told about the connection's rest; None: it is closed after its first response.
    :ivar label: whatever its owner knows it by.
    :ivar parser: what it made of the server's bytes.
    :ivar deadline: seconds on the ticker's clock.  At rest it is the owner's to set: when it passes, the connection is
        closed.
    :ivar served: how many responses it has completed.
    :ivar ticker: the clock of its deadlines.
    :ivar rested_since: when, on the ticker's clock, it came to rest the last time.
    :ivar preface: what it has begun with, before TLS: for whom it is, by the PROXY protocol; empty: for anybody.
    :ivar retires: when, on the ticker's clock, it is too old for another request.
    """

    preface = b""
    retires = NEVER

    def __init__(self, ticker: Ticker, owner: ConnectionOwner | None = None, label: Any = None) -> None:
        self.owner = owner
        self.label = label
        self.deadline = NEVER
        self.served = 0
        self.rested_since = 0.0
        self.ticker = ticker
        self.parser = ResponseParser()
        self._paused = False
        # Of the request that is being answered.
        self._receiver: ResponseReceiver | None = None
        self._patience: Patience | None = None
        self._upgrade: bytes | None = None
        self._upload: Upload | None = None
        self._interim = 0

    # What its user calls.

    def send(
        self,
        head: bytes,
        receiver: ResponseReceiver,
        patience: Patience,
        bodiless: bool = False,
        upgrade: bytes | None = None,
        upload: Upload | None = None,
    ) -> None:
        """
        Send a request on a connection at rest.

        :param head: the whole request head, with the empty line.
        :param bodiless: the method is HEAD.
        :param upgrade: the value of the request's Upgrade field: a 101 to one of these protocols is welcome.
        :param upload: the request's body; None when it has none.
        """
        self._receiver = receiver
        self._patience = patience
        self._upgrade = upgrade
        self._interim = 0
        self.parser.expect(receiver, bodiless)
        if upload is None:
            self.deadline = self.ticker.now + patience.first_byte
            self.transport.write(head)  # type: ignore[union-attr]  # it is connected
        else:
            self.deadline = NEVER
            self._upload = upload
            upload.begin(head, self)

    def abort(self) -> None:
        """
        The response is not wanted any more: its receiver is told nothing, and the connection broken, so that the server
        stops working on it.
        """
        if self._receiver is not None:
            self._receiver = None
            self.parser.drop()
            self._stop_upload()
        self.deadline = NEVER
        self.transport.abortConnection()  # type: ignore[union-attr]

    def close(self) -> None:
        """
        Close the connection cleanly.
        """
        self.deadline = self.ticker.now + (self._patience or _DEFAULT).idle
        self.owner = None
        if self._paused:
            self._resume()
        self.transport.loseConnection()  # type: ignore[union-attr]

    # The response as a producer.

    def pauseProducing(self) -> None:
        """
        Stop reading; how long is not held against the server.
        """
        if not self._paused and self._receiver is not None:
            self._paused = True
            self.deadline = NEVER
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def resumeProducing(self) -> None:
        """
        Read on.
        """
        if self._paused:
            self._resume()
            self._progressed()

    def stopProducing(self) -> None:
        """
        The same as ``abort``.
        """
        self.abort()

    # What the transport says.

    def connectionMade(self) -> None:
        self.ticker.watch(self)

    def dataReceived(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self._unasked()
            return
        parser = self.parser
        try:
            complete = parser.feed(data)
        except ProxyError as error:
            if self._receiver is receiver:
                self._fail(error)
            return
        except Exception:
            _log.failure("the receiver of a response failed")
            self._fail(ProxyError("proxy_internal_error", "in what takes the response"))
            return
        if self._receiver is not receiver:
            return  # it was dropped while it was told
        if not complete:
            self._progressed()
        elif parser.upgrade is None:
            self._complete(receiver, parser.reusable)
        else:
            self._switch(receiver)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self.ticker.forget(self)
        self.deadline = NEVER
        receiver = self._receiver
        parser = self.parser
        if receiver is None:
            self._leave(True)
        else:
            try:
                parser.eof(reason.check(ConnectionDone) is not None)
            except ProxyError as error:
                self._fail(error)
            else:
                self._complete(receiver, False)
        parser.close()

    # Time.

    def deadline_passed(self) -> None:
        """
        Called by the ticker.
        """
        if self._receiver is None:
            if self.owner is None:  # a close that the server does not answer
                self.transport.abortConnection()  # type: ignore[union-attr]
            else:
                self._leave(False)
                self.close()
            return
        patience = self._patience
        assert patience is not None
        upload = self._upload
        if upload is not None and upload.blocked:
            self._fail(ProxyError("connection_write_timeout", setting=patience.idle_setting))
        elif self.parser.head is None:
            self._fail(ProxyError("http_response_timeout", setting=patience.first_byte_setting))
        else:
            self._fail(ProxyError("connection_read_timeout", setting=patience.idle_setting))

    def _progressed(self) -> None:
        """
        Bytes came, or may come again: set the deadline for the next ones.

        While the request's body is still being sent, it is the client who may be slow, and who is watched elsewhere.
        """
        parser = self.parser
        patience = self._patience
        if self._paused or self._upload is not None or self._receiver is None or patience is None:
            return
        if parser.head is not None:
            idle = patience.idle
            if parser.event_stream and idle < QUIET:
                idle = QUIET
            self.deadline = self.ticker.now + idle
        elif parser.interim > self._interim or self.deadline == NEVER:
            # 102 (Processing) is sent to say that it takes longer; a head in small pieces says nothing.
            self._interim = parser.interim
            self.deadline = self.ticker.now + patience.first_byte

    # Pieces.

    def upload_blocked(self) -> None:
        """
        The server does not read as fast as the body comes.
        """
        patience = self._patience
        if self._receiver is not None and patience is not None:
            self.deadline = self.ticker.now + patience.idle

    def upload_unblocked(self) -> None:
        """
        The server reads again.
        """
        self.deadline = NEVER

    def upload_ended(self) -> None:
        """
        The last byte of the request has been sent.
        """
        self._upload = None
        self.deadline = NEVER
        self._progressed()

    def _complete(self, receiver: ResponseReceiver, reusable: bool) -> None:
        """
        The response is whole.  The connection is seen to first, so that what the receiver does next may use it.
        """
        self._receiver = None
        if self._upload is not None:
            # It was answered before all of it was sent; nobody wants the rest, and this connection is no good for more.
            self._stop_upload()
            reusable = False
        self.served += 1
        if reusable and self.owner is not None:
            if self._paused:
                self._resume()
            self.rested_since = self.ticker.now
            self.owner.connection_free(self)
        elif self.connected:
            self.close()
        parser = self.parser
        body = parser.body
        if body is None:
            receiver.response_end(parser.trailers)
        else:
            parser.body = None
            try:
                receiver.response_whole(parser.head, body)  # type: ignore[arg-type]  # it came with the body
            except Exception:
                _log.failure("the receiver of a response failed")
                receiver.response_failed(ProxyError("proxy_internal_error", "in what takes the response"))

    def _switch(self, receiver: ResponseReceiver) -> None:
        """
        A 101: HTTP ends here (RFC 9110 section 15.2.2).
        """
        parser = self.parser
        head = parser.head
        assert head is not None and parser.upgrade is not None
        asked = _protocols(self._upgrade or b"")
        if not asked.issuperset(_protocols(parser.upgrade)):
            self._fail(ProxyError("http_upgrade_failed", "101 to a protocol that was not asked for", received=101))
            return
        self._receiver = None
        self.owner = None
        self._stop_upload()
        self.ticker.forget(self)
        if self._paused:
            self._resume()
        parser.drop()
        receiver.response_upgraded(head, parser.rest)

    def _fail(self, error: ProxyError) -> None:
        receiver = self._receiver
        self._receiver = None
        self.parser.drop()
        self._stop_upload()
        self.deadline = NEVER
        if self.connected:
            self.transport.abortConnection()  # type: ignore[union-attr]
        if receiver is not None:
            receiver.response_failed(error)

    def _stop_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()

    def _unasked(self) -> None:
        """
        Bytes that answer nothing: nobody knows what the server thinks that it is answering.
        """
        self._leave(False)
        if self.connected:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def _leave(self, by_server: bool) -> None:
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.connection_gone(self, by_server)

    def _resume(self) -> None:
        self._paused = False
        self.transport.resumeProducing()  # type: ignore[union-attr]

    def __repr__(self) -> str:
        state = "at rest" if self._receiver is None else "busy"
        return f"<ClientConnection {self.label!r} {state} served={self.served}>"


_DEFAULT = Patience()


def _protocols(value: bytes) -> frozenset[bytes]:
    """
    The protocols of an Upgrade field, compared without case (RFC 9110 section 7.8).
    """
    return frozenset([name.strip() for name in value.lower().split(b",")])
