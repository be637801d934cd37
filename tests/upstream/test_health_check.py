"""
Tests for twistginx.upstream.health_check, with real servers, and of the configuration of checks.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistginx.config.address import ServerAddress
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.config.schema import Health
from twistginx.errors import ProxyError
from twistginx.net.timers import Ticker
from twistginx.upstream.health_check import IllError, make_check
from twistginx.upstream.peer import Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Ready: yes, very\r\n\r\nready"


class Answering(Protocol):
    """
    Greets, and answers the first that it hears.
    """

    factory: Any

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.transport.write(self.factory.greeting)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard += data
        self.transport.write(self.factory.answer)  # type: ignore[union-attr]
        if self.factory.closes:
            self.transport.loseConnection()  # type: ignore[union-attr]


class CheckCase(TestCase):
    """
    A server that says what the test wants.
    """

    timeout = 10

    def setUp(self) -> None:
        self.factory: Any = Factory.forProtocol(Answering)
        self.factory.noisy = False
        self.factory.connections = []
        self.factory.greeting = self.factory.answer = self.factory.heard = b""
        self.factory.closes = False
        self.port: Any = reactor.listenTCP(0, self.factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.address = ServerAddress.parse(f"127.0.0.1:{self.port.getHost().port}")
        self.ticker = Ticker(reactor)  # type: ignore[arg-type]

    def tearDown(self) -> Deferred[Any]:
        for connection in self.factory.connections:
            connection.transport.abortConnection()
        return maybeDeferred(self.port.stopListening)

    def check(self, **config: Any) -> Deferred[None]:
        """
        Check the server.
        """
        health = structure({"timeout": "2s", **config}, Health)
        peer = Peer(self.address, reactor, self.ticker)
        return make_check(health, "upstream.app.health.timeout", self.ticker, reactor)(peer, b"app.internal")

    async def assert_ill(self, text: str, **config: Any) -> None:
        """
        The check fails, and says ``text``.
        """
        with self.assertRaisesRegex((IllError, ProxyError), text):
            await self.check(**config)


class HttpTests(CheckCase):
    """
    A request.
    """

    def setUp(self) -> None:
        super().setUp()
        self.factory.answer = OK

    async def test_question(self) -> None:
        """
        It is what was configured.
        """
        await self.check(path="/healthz?full=1", method="GET", send_headers={"Authorization": "Bearer x"})
        head = self.factory.heard.split(b"\r\n")
        self.assertEqual(head[0], b"GET /healthz?full=1 HTTP/1.1")
        self.assertIn(b"Host: app.internal", head)
        self.assertIn(b"Authorization: Bearer x", head)
        self.assertIn(b"User-Agent: twistginx health check", head)

    async def test_status(self) -> None:
        """
        The status must be one of those that are wanted.
        """
        await self.check(status="2xx")
        await self.assert_ill("it answered 200, not 204", status="204")

    async def test_usual_statuses(self) -> None:
        """
        2xx and 3xx are well, where nothing is said.
        """
        for status, well in ((204, True), (302, True), (404, False), (503, False)):
            self.factory.answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
            if well:
                await self.check()
            else:
                await self.assert_ill(f"it answered {status}, not 200-399")

    async def test_header(self) -> None:
        """
        A field must be there, with its value.
        """
        await self.check(header={"x-ready": "^yes"})
        await self.assert_ill("without a x-ready that has no", header={"X-Ready": "no"})
        await self.assert_ill("without a x-other", header={"X-Other": "."})

    async def test_body(self) -> None:
        """
        Something must be in the body.
        """
        await self.check(body="re.dy")
        await self.assert_ill("steady is not in its answer", body="steady")

    async def test_head(self) -> None:
        """
        HEAD has no body.
        """
        self.factory.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"
        await self.check(method="HEAD")

    async def test_silent(self) -> None:
        """
        A server that does not answer in time is ill.
        """
        self.factory.answer = b""
        await self.assert_ill("http_response_timeout", timeout="250ms")

    async def test_garbage(self) -> None:
        """
        So is one that answers something else.
        """
        self.factory.answer = b"SSH-2.0-OpenSSH\r\n"
        await self.assert_ill("http_protocol_error")

    async def test_nobody(self) -> None:
        """
        So is one that is not there.
        """
        await self.port.stopListening()
        await self.assert_ill("connection_refused")


class BytesTests(CheckCase):
    """
    Plain bytes.
    """

    async def test_connect(self) -> None:
        """
        A connection is enough.
        """
        await self.check(connect=True)
        await self.port.stopListening()
        await self.assert_ill("connection_refused", connect=True)

    async def test_send_and_expect(self) -> None:
        """
        Redis, as it were.
        """
        self.factory.answer = b"+PONG\r\n"
        await self.check(send="PING\r\n", expect=r"^\+PONG")
        self.assertEqual(self.factory.heard, b"PING\r\n")

    async def test_hexadecimal(self) -> None:
        """
        PostgreSQL's SSLRequest.
        """
        self.factory.answer = b"N"
        await self.check(send="hex:00000008 04d2162f", expect="^[SN]")
        self.assertEqual(self.factory.heard, bytes.fromhex("0000000804d2162f"))

    async def test_greeting(self) -> None:
        """
        A server that speaks first.
        """
        self.factory.greeting = b"220 mail ESMTP\r\n"
        await self.check(expect="^220 ")

    async def test_wrong_words(self) -> None:
        """
        A server that says something else and closes is ill at once.
        """
        self.factory.answer, self.factory.closes = b"-LOADING\r\n", True
        await self.assert_ill("closed the connection and had not said ", send="PING\r\n", expect=r"^\+PONG")

    async def test_no_words(self) -> None:
        """
        So is one that closes without a word.
        """
        self.factory.closes = True
        await self.assert_ill("closed the connection without a word", send="PING\r\n", expect="PONG")

    async def test_too_many_words(self) -> None:
        """
        One that never stops saying something else is, too.
        """
        self.factory.greeting = b"x" * 100_000
        await self.assert_ill("not in the first 65536 bytes", expect="220")

    async def test_silent(self) -> None:
        """
        One that says nothing is ill when the time is over.
        """
        await self.assert_ill("health.timeout = 250ms", expect="220", timeout="250ms")


class ConfigTests(SynchronousTestCase):
    """
    What can be configured.
    """

    def test_shorthand(self) -> None:
        """
        A path.
        """
        self.assertEqual(structure("/healthz", Health), Health(path="/healthz"))

    def test_hash(self) -> None:
        """
        It can be the key of what is kept.
        """
        self.assertIsInstance(hash(structure({"header": {"X": "y"}, "send_headers": {"A": "b"}}, Health)), int)

    def test_mistakes(self) -> None:
        """
        Each is said where it is.
        """
        cases: tuple[tuple[Any, str], ...] = (
            ("healthz", "expected a path"),
            (7, 'a path such as "/healthz"'),
            ({"status": "399-200"}, "ends before it begins"),
            ({"body": "("}, "("),
            ({"port": 0}, "from 1 to 65535"),
            ({"rise": 0}, "1 or more"),
            ({"interval": "0s"}, "is 0"),
            ({"method": "connect"}, "expected a method"),
            ({"send": "hex:zz"}, "hexadecimal"),
            ({"send": ""}, "is empty"),
            ({"send_headers": {"Host": "a"}}, "use host"),
            ({"send_headers": {"A": "b\r\nC: d"}}, "no header can have"),
            ({"send_headers": {"a b": "c"}}, "no name of a header"),
            ({"connect": True, "send": "x"}, "beside send or expect"),
            ({"connect": True, "path": "/x", "body": "y"}, "no path and no body"),
        )
        for value, reason in cases:
            with self.subTest(value=value):
                faults = self.assertRaises(Faults, structure, value, Health).faults
                self.assertIn(reason, f"{faults[0].message} {faults[0].expected}")
