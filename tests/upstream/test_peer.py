"""
Tests for twistginx.upstream.peer.
"""

from __future__ import annotations

import os
from ssl import PROTOCOL_TLS_SERVER, SSLContext, TLSVersion
from typing import Any

from twisted.internet import defer, error, reactor, ssl
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from twistginx.config.address import ServerAddress
from twistginx.errors import ConfigError, ProxyError
from twistginx.net.handover import hand_over
from twistginx.net.timers import Ticker
from twistginx.net.tls import TLSServer
from twistginx.net.tlscontext import TLSTable, client_context
from twistginx.upstream.peer import Peer, reason_of

try:
    import trustme
except ImportError:
    trustme = None  # type: ignore[assignment]


class MemoryTests(SynchronousTestCase):
    """
    A peer on a reactor of memory.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)

    def peer(self, text: str, **more: Any) -> Peer:
        """
        The peer at this address.
        """
        return Peer(ServerAddress.parse(text), self.reactor, self.ticker, **more)

    def test_label(self) -> None:
        """
        In logs it is its address.
        """
        self.assertEqual(self.peer("http://127.0.0.1:9001").label, b"127.0.0.1:9001")
        self.assertEqual(self.peer("[::1]:9001").label, b"[::1]:9001")
        self.assertEqual(self.peer("unix:/run/app.sock").label, b"unix:/run/app.sock")

    def test_straight(self) -> None:
        """
        An IP address is connected to directly, and nothing is left between transport and protocol.
        """
        connecting = self.peer("127.0.0.1:9001").connect(Factory.forProtocol(Protocol), 3)
        ((host, port, factory, _, _),) = self.reactor.tcpClients
        self.assertEqual((host, port), ("127.0.0.1", 9001))
        transport: Any = StringTransport()
        transport.protocol = factory.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        protocol = self.successResultOf(connecting)
        self.assertIs(transport.protocol, protocol)
        self.assertIs(protocol.transport, transport)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ipv6_and_unix(self) -> None:
        """
        IPv6 and UNIX sockets are connected to directly as well.
        """
        self.peer("[::1]:9001").connect(Factory.forProtocol(Protocol), 3)
        self.assertEqual(self.reactor.tcpClients[0][:2], ("::1", 9001))
        self.peer("unix:/run/app.sock").connect(Factory.forProtocol(Protocol), 3)
        self.assertEqual(self.reactor.unixClients[0][0], "/run/app.sock")

    def test_timeout(self) -> None:
        """
        No connection in time is a timeout that names its setting.
        """
        connecting = self.peer("127.0.0.1:9001").connect(Factory.forProtocol(Protocol), 3, "timeouts.connect = 3s")
        self.reactor.advance(3.1)
        failure = self.failureResultOf(connecting, ProxyError)
        self.assertEqual(failure.value.reason.word, "connection_timeout")
        self.assertEqual(failure.value.setting, "timeouts.connect = 3s")
        self.assertIn("127.0.0.1:9001", failure.value.detail)

    def test_cancel(self) -> None:
        """
        Cancelling stops the attempt.
        """
        connecting = self.peer("127.0.0.1:9001").connect(Factory.forProtocol(Protocol), 3)
        connecting.cancel()
        self.failureResultOf(connecting, defer.CancelledError)
        self.assertEqual(self.reactor.connectors[0].stoppedConnecting, True)

    def test_reasons(self) -> None:
        """
        Every failure to connect has its word.
        """
        for cause, word in (
            (error.ConnectionRefusedError(), "connection_refused"),
            (error.TCPTimedOutError(), "connection_timeout"),
            (error.TimeoutError(), "connection_timeout"),
            (error.DNSLookupError(), "dns_error"),
            (error.UnknownHostError(), "dns_error"),
            (error.NoRouteError(), "destination_ip_unroutable"),
            (error.ConnectError(101, "Network is unreachable"), "destination_ip_unroutable"),
            (error.ConnectError(2, "No such file"), "connection_refused"),
            (ValueError("plugin"), "connection_refused"),
        ):
            self.assertEqual(reason_of(cause)[0], word, cause)

    def test_failure(self) -> None:
        """
        A failure reaches the caller as a ProxyError that names the peer.
        """
        connecting = self.peer("127.0.0.1:9001").connect(Factory.forProtocol(Protocol), 3)
        self.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(error.ConnectionRefusedError()))
        failure = self.failureResultOf(connecting, ProxyError)
        self.assertEqual(str(failure.value), "connection_refused: 127.0.0.1:9001: connection refused")

    def test_bad_endpoint(self) -> None:
        """
        An endpoint string that nobody understands is refused when it is built.
        """
        raised = self.assertRaises(ConfigError, self.peer, "nonsense:a:b")
        self.assertIn("nonsense", str(raised))

    def test_bad_server_name(self) -> None:
        """
        A server name that is none is refused when it is built.
        """
        raised = self.assertRaises(ConfigError, self.peer, "https://127.0.0.1:1", server_name="not a name")
        self.assertEqual(raised.key, "server_name")


class _Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


class _Skipping(Protocol):
    """
    Reads so many bytes, and then gives way to what reads the rest.
    """

    def __init__(self, size: int, then: Any) -> None:
        self.size = size
        self.then = then

    def dataReceived(self, data: bytes) -> None:
        rest = data[self.size :]
        hand_over(self, self.then)
        if rest:
            self.then.dataReceived(rest)


class _TLSEchoFactory(Factory):
    """
    An echo under our own TLS.
    """

    noisy = False
    skip = 0

    def __init__(self, table: TLSTable, ticker: Ticker) -> None:
        self.server = TLSServer(table, ticker)

    def buildProtocol(self, addr: Any) -> Any:
        layer = self.server.wrap(_Echo())
        return _Skipping(self.skip, layer) if self.skip else layer


@implementer(IProtocolNegotiationFactory)
class _EchoFactory(Factory):
    """
    Agrees on http/1.1; Twisted's TLS refuses clients that offer protocols to a factory that knows none.
    """

    protocol = _Echo  # type: ignore[assignment]

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]


class _Once(Protocol):
    """
    Fires when it has received something.
    """

    def __init__(self) -> None:
        self.received: defer.Deferred[bytes] = defer.Deferred()

    def dataReceived(self, data: bytes) -> None:
        received, self.received = self.received, defer.Deferred()
        received.callback(data)


class SocketTests(TestCase):
    """
    A peer on real sockets.
    """

    def setUp(self) -> None:
        self.ticker = Ticker(reactor)  # type: ignore[arg-type]

    def listening(self, port: Any) -> Any:
        self.addCleanup(port.stopListening)
        return port

    async def echoes(self, text: str, **more: Any) -> Any:
        """
        What is sent to the server at ``text`` comes back.
        """
        peer = Peer(ServerAddress.parse(text), reactor, self.ticker, **more)
        protocol = await peer.connect(Factory.forProtocol(_Once), 5)
        received = protocol.received
        protocol.transport.write(b"hello")
        self.assertEqual(await received, b"hello")
        protocol.transport.abortConnection()
        return protocol

    async def word(self, text: str, **more: Any) -> str:
        """
        The word that a connection to ``text`` fails with.
        """
        peer = Peer(ServerAddress.parse(text), reactor, self.ticker, **more)
        try:
            await peer.connect(Factory.forProtocol(_Once), 5)
        except ProxyError as failure:
            return failure.reason.word
        return ""

    @defer.inlineCallbacks
    def _settled(self) -> Any:
        yield defer.Deferred(lambda _: None).addTimeout(0.05, reactor).addErrback(lambda _: None)  # type: ignore[arg-type]

    async def test_tcp(self) -> None:
        """
        By address, by name, and by endpoint string; nothing is left in between.
        """
        port = self.listening(reactor.listenTCP(0, Factory.forProtocol(_Echo), interface="127.0.0.1"))  # type: ignore[attr-defined]
        number = port.getHost().port
        for text in (f"127.0.0.1:{number}", f"localhost:{number}", f"tcp:host=127.0.0.1:port={number}"):
            protocol = await self.echoes(text)
            self.assertIs(getattr(protocol.transport, "protocol", protocol), protocol)
        await self._settled()

    async def test_unix(self) -> None:
        """
        A UNIX socket; and one that is not there.
        """
        path = os.path.relpath(self.mktemp())
        self.listening(reactor.listenUNIX(path, Factory.forProtocol(_Echo)))  # type: ignore[attr-defined]
        await self.echoes(f"unix:{path}")
        self.assertEqual(await self.word(f"unix:{path}.not"), "connection_refused")
        await self._settled()

    async def test_refused(self) -> None:
        """
        A port where nobody listens.
        """
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")  # type: ignore[attr-defined]
        number = port.getHost().port
        await port.stopListening()
        self.assertEqual(await self.word(f"127.0.0.1:{number}"), "connection_refused")

    async def test_unknown_name(self) -> None:
        """
        A name that does not resolve (RFC 6761 has one that never does).
        """
        self.assertEqual(await self.word("nowhere.invalid:80"), "dns_error")

    async def test_tls(self) -> None:
        """
        The certificate is verified, against the name that is asked for.
        """
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1", "app.internal")
        options = ssl.PrivateCertificate.loadPEM(
            certificate.private_key_pem.bytes() + certificate.cert_chain_pems[0].bytes()
        ).options()
        port = self.listening(reactor.listenSSL(0, _EchoFactory(), options, interface="127.0.0.1"))  # type: ignore[attr-defined]
        text = f"https://127.0.0.1:{port.getHost().port}"
        context = client_context(ca=authority.cert_pem.bytes().decode(), alpn=("http/1.1",))
        await self.echoes(text, context=context)
        await self.echoes(text, context=context, server_name="app.internal")
        self.assertEqual(await self.word(text, context=context, server_name="other.internal"), "tls_certificate_error")
        self.assertEqual(await self.word(text), "tls_certificate_error")
        await self.echoes(text, context=client_context(verify=False))
        await self._settled()

    async def test_tls_session(self) -> None:
        """
        The second connection resumes the session of the first, in either version; so does one that begins with a
        preface.
        """
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
            server = SSLContext(PROTOCOL_TLS_SERVER)
            certificate.configure_cert(server)
            server.maximum_version = version
            table = TLSTable.of((), server)
            factory = _TLSEchoFactory(table, self.ticker)
            port = self.listening(reactor.listenTCP(0, factory, interface="127.0.0.1"))  # type: ignore[attr-defined]
            context = client_context(ca=authority.cert_pem.bytes().decode(), alpn=("http/1.1",))
            text = f"https://localhost:{port.getHost().port}"
            peer = Peer(ServerAddress.parse(text), reactor, self.ticker, context=context)
            reused = []
            for preface in (b"", b"", b"PROXY UNKNOWN\r\n"):
                factory.skip = len(preface)
                protocol = await peer.connect(Factory.forProtocol(_Once), 5, preface=preface)
                received = protocol.received
                protocol.transport.write(b"hello")
                self.assertEqual(await received, b"hello")
                reused.append(protocol.transport._tls.session_reused)
                protocol.transport.keep_session()
                protocol.transport.abortConnection()
            self.assertEqual(reused, [False, True, True], version)
            await self._settled()

    async def test_no_tls(self) -> None:
        """
        A server that speaks no TLS.
        """
        port = self.listening(reactor.listenTCP(0, Factory.forProtocol(_Echo), interface="127.0.0.1"))  # type: ignore[attr-defined]
        self.assertEqual(await self.word(f"https://127.0.0.1:{port.getHost().port}"), "tls_protocol_error")
        await self._settled()

    if trustme is None:
        test_tls.skip = "trustme is not installed"  # type: ignore[attr-defined]
        test_tls_session.skip = "trustme is not installed"  # type: ignore[attr-defined]
