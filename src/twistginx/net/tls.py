"""
The two sides of TLS: a listener's, which reads the ClientHello first, and a client's, which verifies whom it talks to.

A caller uses ``TLSServer``, ``client_factory`` or ``ClientEndpoint``; the contexts are of ``net.tlscontext``.
"""

from __future__ import annotations

import ssl
from collections.abc import MutableSet
from typing import Any, Final, cast

from attrs import frozen
from cryptography.x509 import load_der_x509_certificate
from service_identity.hazmat import DNS_ID, IPAddress_ID
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.errors import ProxyError
from twistginx.net.certificates import service_id, verify_identity
from twistginx.net.clienthello import ClientHello, ClientHelloReader, NotClientHello
from twistginx.net.timers import Ticker
from twistginx.net.tlscontext import TLSTable, verifies
from twistginx.net.tlshandshake import HANDSHAKE_TIMEOUT, OPEN, reason_of
from twistginx.net.tlslayer import TLSLayer

_DECODE_ERROR: Final = 50
_UNRECOGNIZED_NAME: Final = 112

log = Logger()


@frozen
class TLSServer:
    """
    The server's side of TLS, for a listener.  Immutable: a reload makes another.

    :ivar timeout: seconds that a handshake may take.
    """

    table: TLSTable
    ticker: Ticker
    timeout: float = HANDSHAKE_TIMEOUT

    def wrap(self, protocol: IProtocol, connections: MutableSet[Any] | None = None) -> ServerTLS:
        """
        TLS for an accepted connection.

        :param protocol: what speaks over it; connected when the handshake is complete.
        :param connections: the listener's, which the layer is in while it handshakes; what comes after is
            ``protocol``'s to see to.
        """
        return ServerTLS(protocol, self.table, self.ticker, self.timeout, connections)


def client_factory(
    factory: IProtocolFactory,
    context: ssl.SSLContext,
    server_name: str | None,
    ticker: Ticker,
    timeout: float = HANDSHAKE_TIMEOUT,
) -> ClientTLSFactory:
    """
    The client's side of TLS, as a factory for any client endpoint.

    What it builds is the layer (:class:`ClientTLS`); whether the handshake succeeds is told by its ``ready``.

    :param server_name: a host name or an IP address: what is asked for (SNI; not for addresses, RFC 6066), and what the
        certificate must be for.  None asks for nothing, and needs a context that does not verify.
    :raise ValueError: when ``server_name`` is no name, or is missing where it is needed.
    """
    return ClientTLSFactory(factory, context, server_name, ticker, timeout)


def _alert(description: int) -> bytes:
    """
    A fatal alert, as a record in the clear (RFC 8446, sections 5.1 and 6).
    """
    return bytes((21, 3, 3, 0, 2, 2, description))


class ServerTLS(TLSLayer):
    """
    Reads the ClientHello, chooses the context by the name in it, and handshakes.

    :ivar hello: the ClientHello, or None until it was read.
    :ivar context: the context that was chosen, or None until then; who serves several names over one connection
        compares it (421, RFC 9110 section 15.5.20).
    """

    __slots__ = ("_connections", "_reader", "_table", "context", "hello")

    #: For the log.
    doing = "in a handshake"

    def __init__(
        self,
        protocol: IProtocol,
        table: TLSTable,
        ticker: Ticker,
        timeout: float,
        connections: MutableSet[Any] | None,
    ) -> None:
        super().__init__(protocol, ticker, timeout)
        self.hello: ClientHello | None = None
        self.context: ssl.SSLContext | None = None
        self._table = table
        self._connections = connections
        self._reader: ClientHelloReader | None = None

    def connectionMade(self) -> None:
        """
        The client speaks first.
        """
        self._reader = ClientHelloReader()
        if self._connections is not None:
            self._connections.add(self)

    def drain(self) -> None:
        """
        Nothing: who comes here has something to ask, and will be told to go after that.
        """

    def negotiate(self, data: bytes) -> None:
        """
        The ClientHello first, then OpenSSL's part, which reads the ClientHello again.
        """
        reader = self._reader
        if reader is None:
            super().negotiate(data)
            return
        try:
            hello = reader.feed(data)
        except NotClientHello as error:
            self.refuse(error, _alert(_DECODE_ERROR) if error.is_tls else b"")
            return
        if hello is None:
            return
        self._reader = None
        self.hello = hello
        context = self._table.context_for(hello.server_name)
        if context is None:
            name = hello.server_name
            what = "a client that names no host" if name is None else repr(name.decode("latin-1"))
            self.refuse(LookupError(f"no certificate for {what}"), _alert(_UNRECOGNIZED_NAME))
            return
        self.context = context
        self.begin(context, server_side=True)
        super().negotiate(bytes(reader.received))

    def opened(self) -> None:
        """
        From now on the protocol above is in the listener's connections itself.
        """
        if self._connections is not None:
            self._connections.discard(self)

    def refused(self, error: BaseException) -> None:
        """
        Log it: as news where somebody spoke TLS, which is worth looking into.
        """
        if self._connections is not None:
            self._connections.discard(self)
        said = log.info if isinstance(error, ssl.SSLError | LookupError) else log.debug
        said("no TLS with {peer}: {error}", peer=self.transport.getPeer(), error=reason_of(error))


class ClientTLS(TLSLayer):
    """
    Handshakes, and verifies the certificate of the server.

    :ivar ready: fires with the protocol above when that is connected, or fails with a ``ProxyError``:
        ``tls_certificate_error``, ``tls_alert_received``, ``tls_protocol_error`` or ``connection_timeout``.  Cancelling
        it aborts.
    """

    __slots__ = ("_context", "_identity", "_server_name", "_sessions", "ready")

    def __init__(self, protocol: IProtocol, factory: ClientTLSFactory) -> None:
        super().__init__(protocol, factory.ticker, factory.timeout)
        self.factory = factory
        self._sessions = factory.sessions
        self._context = factory.context
        self._server_name = factory.server_name
        self._identity = factory.identity
        self.ready: Deferred[IProtocol] = Deferred(lambda _: self._abort())

    def connectionMade(self) -> None:
        """
        We speak first.
        """
        sessions = self._sessions
        session = None if sessions is None else sessions.take()
        self.begin(self._context, server_side=False, server_name=self._server_name, session=session)
        self.handshake()

    def connectionLost(self, reason: Failure) -> None:
        """
        What was agreed on may serve another connection.
        """
        self.keep_session()
        super().connectionLost(reason)

    def loseConnection(self) -> None:
        """
        The same, when it is we who end it.
        """
        self.keep_session()
        super().loseConnection()

    def keep_session(self) -> None:
        """
        Let later connections resume this one's session.  In TLS 1.3 the server sends it after the handshake, so there
        may be none before something was read (RFC 8446 section 4.6.1).
        """
        sessions = self._sessions
        if sessions is not None and self.state == OPEN:
            sessions.keep(self._tls.session)

    def verify(self) -> None:
        """
        OpenSSL has followed the chain to an authority; is it the certificate of the one we wanted?
        """
        if self._identity is None:
            return
        der = self._tls.getpeercert(binary_form=True)
        try:
            problem = verify_identity(load_der_x509_certificate(der or b""), self._identity)
        except ValueError as error:
            problem = str(error)
        if problem:
            self.refuse(ProxyError("tls_certificate_error", problem))

    def opened(self) -> None:
        """
        Tell who waits.
        """
        self.ready.callback(self.protocol)

    def refused(self, error: BaseException) -> None:
        """
        Tell who waits, in the words of the table of failures.
        """
        if self.ready.called:
            return
        if isinstance(error, ssl.SSLCertVerificationError):
            error = ProxyError("tls_certificate_error", error.verify_message)
        elif isinstance(error, TimeoutError):
            error = ProxyError("connection_timeout", f"TLS: {error}")
        elif isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
            error = ProxyError("tls_alert_received", reason_of(error))
        elif not isinstance(error, ProxyError):
            error = ProxyError("tls_protocol_error", reason_of(error))
        self.ready.errback(error)


class Sessions:
    """
    The session that connections to one server have agreed on last, to be resumed by the next (RFC 8446 section 2.2).

    It belongs to the context that it was made with, whose checks it has passed.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: ssl.SSLSession | None = None

    def take(self) -> ssl.SSLSession | None:
        """
        A session to offer, or None.
        """
        return self._last

    def keep(self, session: ssl.SSLSession | None) -> None:
        """
        Offer ``session`` from now on.  One without a ticket does not push out one that has it: before the server has
        sent its ticket there is nothing in it to resume (TLS 1.3), or all that there will be (TLS 1.2).
        """
        if session is not None and (session.has_ticket or self._last is None):
            self._last = session


class ClientTLSFactory(ClientFactory):
    """
    Builds a :class:`ClientTLS` around each protocol of another factory.

    :ivar identity: whom the certificate must be for; None where that is not asked.
    :ivar sessions: where sessions are kept; None: nowhere.
    """

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        context: ssl.SSLContext,
        server_name: str | None,
        ticker: Ticker,
        timeout: float,
    ) -> None:
        self._factory = factory
        self.context = context
        self.identity = _identity(context, server_name)
        self.server_name = server_name.removesuffix(".") if server_name is not None else None
        self.ticker = ticker
        self.timeout = timeout
        self.sessions: Sessions | None = None

    def doStart(self) -> None:
        """
        Passed on.
        """
        self._factory.doStart()

    def doStop(self) -> None:
        """
        Passed on.
        """
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> ClientTLS | None:  # type: ignore[override]  # any IProtocol will do
        """
        None when the other factory wants no connection.
        """
        protocol = self._factory.buildProtocol(cast(IAddress, addr))
        if protocol is None:
            return None
        return ClientTLS(protocol, self)


def _identity(context: ssl.SSLContext, server_name: str | None) -> DNS_ID | IPAddress_ID | None:
    """
    Whom the certificate must speak for; None where nobody asks.
    """
    identity = None if server_name is None else service_id(server_name)
    if not verifies(context):
        return None
    if identity is None:
        raise ValueError("a certificate cannot be verified without the name that it should be for")
    return identity


@implementer(IStreamClientEndpoint)
class ClientEndpoint:
    """
    TLS over any client endpoint.  ``connect`` fires when the handshake is complete, with the protocol above TLS.

    :ivar sessions: what its connections have agreed on, so that later ones need half a handshake.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        context: ssl.SSLContext,
        server_name: str | None,
        ticker: Ticker,
        timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        _identity(context, server_name)
        self._endpoint = endpoint
        self._context = context
        self._server_name = server_name
        self._ticker = ticker
        self._timeout = timeout
        self.sessions = Sessions()

    def over(self, endpoint: IStreamClientEndpoint) -> ClientEndpoint:
        """
        The same, over another way to the same server.
        """
        other = ClientEndpoint(endpoint, self._context, self._server_name, self._ticker, self._timeout)
        other.sessions = self.sessions
        return other

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        :return: a Deferred that may be cancelled; a failure of TLS is a ``ProxyError``, others are the endpoint's.
        """
        wrapped = client_factory(factory, self._context, self._server_name, self._ticker, self._timeout)
        wrapped.sessions = self.sessions
        return self._endpoint.connect(wrapped).addCallback(lambda layer: cast(ClientTLS, layer).ready)
