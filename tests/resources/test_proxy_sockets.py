"""
Tests for twistginx.resources.proxy on real sockets, with trial's reactor.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.trial.unittest import TestCase

from tests.upstream.options import options, timeouts
from twistginx.config.address import ServerAddress
from twistginx.http.frontend import Frontend
from twistginx.net.timers import Ticker
from twistginx.resources.proxy import ProxyResource
from twistginx.routing.router import Route, Site
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream
from twistginx.upstream.round_robin import RoundRobin

MEBIBYTE = 1024 * 1024


class Inner(Protocol):
    """
    An upstream server: what it does, its factory says.
    """

    received = 0

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.buffer = (self.buffer + data)[-100000:]
        self.factory.answer(self)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.factory.gone.called:
            self.factory.gone.callback(self)


class Client(Protocol):
    """
    Collects what it is sent, until there is enough of it.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.wanted: Any = None
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.wanted is not None and self.wanted[0](self.data):
            _, waiting = self.wanted
            self.wanted = None
            waiting.callback(bytes(self.data))

    def until(self, enough: Any) -> Deferred[bytes]:
        """
        Fires with all data when ``enough(data)``.
        """
        waiting: Deferred[bytes] = Deferred()
        self.wanted = (enough, waiting)
        return waiting

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class Listening(ServerFactory):
    """
    A listener, as far as a channel needs one.
    """

    noisy = False

    def __init__(self, frontend: Frontend) -> None:
        self.frontend = frontend
        self.connections: set[Any] = set()

    def buildProtocol(self, addr: Any) -> Any:
        return self.frontend.build_protocol(self, addr)


class SocketTests(TestCase):
    """
    Client, proxy and server, each on its own socket.
    """

    timeout = 30

    async def begin(self, answer: Any) -> Client:
        """
        A server that calls ``answer`` whenever it has received something, the proxy before it, and a client.
        """
        self.inner = Factory.forProtocol(Inner)
        self.inner.noisy = False
        self.inner.connections = []
        self.inner.gone = Deferred()
        self.inner.answer = answer
        inside = reactor.listenTCP(0, self.inner, interface="127.0.0.1")
        ticker = Ticker(reactor)
        peer = Peer(ServerAddress.parse(f"127.0.0.1:{inside.getHost().port}"), reactor, ticker)
        self.upstream = Upstream(
            "app", options(keepalive=8, timeouts=timeouts(3.0, 10.0, 10.0)), [peer], RoundRobin().pick, ticker
        )
        resource = ProxyResource(self.upstream, reactor)
        route = Route("all", resource, streaming=True, body_limit=1 << 40)
        site = Site("test", (route,), reactor)
        self.outer = Listening(Frontend(ticker, default=site))
        outside = reactor.listenTCP(0, self.outer, interface="127.0.0.1")
        self.client = Client()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", outside.getHost().port), self.client)

        def end() -> Any:
            self.upstream.stop()
            for each in [*self.outer.connections, *self.inner.connections, self.client]:
                each.transport.abortConnection()
            waiting = [inside.stopListening(), outside.stopListening(), self.client.lost]
            if self.inner.connections:
                waiting.append(self.inner.gone)
            return DeferredList([each for each in waiting if each is not None])

        self.addCleanup(end)
        return self.client

    async def test_download(self) -> None:
        """
        A large answer arrives whole, and its connection serves the next.
        """
        content = os.urandom(8 * MEBIBYTE)

        def answer(server: Inner) -> None:
            server.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

        client = await self.begin(answer)
        for _ in range(2):
            client.data.clear()
            client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            data = await client.until(lambda data: len(data) > len(content) and data.endswith(content[-100:]))
            self.assertEqual(data.partition(b"\r\n\r\n")[2], content)
        self.assertEqual(len(self.inner.connections), 1)

    async def test_upload(self) -> None:
        """
        A large chunked body arrives whole, and its answer after it.
        """
        size = 8 * MEBIBYTE

        def answer(server: Inner) -> None:
            if server.buffer.endswith(b"\r\n0\r\n\r\n"):
                server.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        client = await self.begin(answer)
        client.transport.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = os.urandom(size // 64)
        for _ in range(64):
            client.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.transport.write(b"0\r\n\r\n")
        data = await client.until(lambda data: data.endswith(b"\r\n\r\nok"))
        self.assertTrue(data.startswith(b"HTTP/1.1 200 "))
        self.assertGreater(self.inner.connections[0].received, size)

    async def test_client_that_does_not_read(self) -> None:
        """
        A server that sends without end is stopped by a client that does not read, and goes on when it does.
        """
        sent = 0

        class Endless:
            """
            A pull producer that never ends.
            """

            def __init__(self, server: Inner) -> None:
                self.server = server

            def resumeProducing(self) -> None:
                nonlocal sent
                sent += 65536
                self.server.transport.write(b"x" * 65536)

            def stopProducing(self) -> None:
                pass

        def answer(server: Inner) -> None:
            server.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
            server.transport.registerProducer(Endless(server), False)

        client = await self.begin(answer)
        client.transport.pauseProducing()
        client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        before = -1
        while sent != before:  # until it stands still
            before = sent
            await _turns(0.2)
        stopped = sent
        self.assertLess(stopped, 32 * MEBIBYTE)
        client.transport.resumeProducing()
        await client.until(lambda data: len(data) > stopped)

    async def test_server_that_does_not_read(self) -> None:
        """
        A client that uploads without end is stopped by a server that does not read.
        """
        sent = 0

        class Endless:
            """
            A pull producer that never ends.
            """

            def resumeProducing(self) -> None:
                nonlocal sent
                sent += 65536
                client.transport.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

            def stopProducing(self) -> None:
                pass

        client = await self.begin(lambda server: server.transport.pauseProducing())
        client.transport.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.transport.registerProducer(Endless(), False)
        before = -1
        while sent != before or not self.inner.connections:
            before = sent
            await _turns(0.2)
        self.assertLess(sent, 32 * MEBIBYTE)
        client.transport.unregisterProducer()

    async def test_client_leaves(self) -> None:
        """
        The server hears at once that the client is gone.
        """
        client = await self.begin(lambda server: client.transport.abortConnection())
        client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await self.inner.gone

    async def test_tunnel(self) -> None:
        """
        An upgraded connection carries bytes both ways, and ends on both sides.
        """

        def answer(server: Inner) -> None:
            if server.buffer.endswith(b"\r\n\r\n"):
                server.buffer = b""
                server.transport.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello "
                )
                server.factory.answer = lambda server: server.transport.write(server.buffer[-5:])

        client = await self.begin(answer)
        client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        await client.until(lambda data: data.endswith(b"\r\n\r\nhello "))
        client.transport.write(b"world")
        await client.until(lambda data: data.endswith(b"hello world"))
        client.transport.loseConnection()
        await self.inner.gone


def _turns(seconds: float) -> Deferred[None]:
    """
    Let sockets and buffers come to rest.
    """
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting
