"""
A listener before which proxies stand: who may connect, what they must say, and who the client is after that.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.net.authority import asking, serving
from tests.net.test_proxyprotocol import INET, TCP4, UNIX, binary
from tests.net.wire import HalfCloser, Recorder, Wire
from tests.splits import cuts
from twistginx.config.networks import NetworkSet
from twistginx.net.handover import hand_over
from twistginx.net.listener import Listener
from twistginx.net.proxied import ProxyProtocol
from twistginx.net.proxyprotocol import ProxyHeader
from twistginx.net.timers import Ticker
from twistginx.net.tls import ClientTLS, TLSServer, client_factory
from twistginx.net.tlscontext import TLSTable

PROXY = IPv4Address("TCP", "10.0.0.1", 40000)
CLIENT = IPv4Address("TCP", "192.0.2.7", 5000)
LINE = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n"


class Frontend:
    """
    Gives each connection the protocol that the test has prepared, and remembers for whom.
    """

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.addresses: list[Any] = []

    def build_protocol(self, listener: Any, address: Any) -> Any:
        self.addresses.append(address)
        return self.protocol


class ProxiedTestCase(SynchronousTestCase):
    """
    A listener that knows one network of proxies.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock)
        self.client: Any = Recorder()
        self.server: Any = Recorder()
        self.frontend = Frontend(self.server)
        self.listener = Listener(self.clock, "tcp:443")
        self.listener.frontend = self.frontend
        self.listener.proxy_protocol = ProxyProtocol(NetworkSet.parse(["10.0.0.0/8", "unix"]), self.ticker, 5.0)

    def accept(self, address: Any = PROXY) -> Wire:
        """
        A connection from ``address``.
        """
        protocol = self.listener.buildProtocol(address)
        assert protocol is not None
        return Wire(self.client, protocol)

    def send(self, wire: Wire, *pieces: bytes) -> None:
        """
        The other side sends, a read for each piece.
        """
        for piece in pieces:
            wire.left.write(piece)
            wire.flush()

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)

    def tearDown(self) -> None:
        self.assertEqual(len(self.ticker), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HeaderTests(ProxiedTestCase):
    """
    Connections of proxies that say for whom they are.
    """

    def test_handed_on(self) -> None:
        """
        However header and data were cut, the protocol has the client's address, and all that followed the header.
        """
        for header in (LINE, binary(TCP4, INET)):
            for pieces in cuts(header + b"hello"):
                self.setUp()
                wire = self.accept()
                self.assertEqual(len(self.listener.connections), 1)
                self.send(wire, *pieces)
                self.assertEqual(self.frontend.addresses, [CLIENT])
                self.assertEqual(self.server.received, b"hello")
                self.assertEqual(self.server.transport.getPeer(), CLIENT)
                self.assertEqual(self.server.transport.getHost(), IPv4Address("TCP", "192.0.2.1", 443))
                self.assertEqual(self.server.proxy_header, ProxyHeader(("192.0.2.7", 5000), ("192.0.2.1", 443)))
                self.assertEqual(self.listener.connections, set())  # the protocol adds itself, if it is one that does
                self.assertEqual(self.listener.refusals.counts, {})

    def test_nothing_between(self) -> None:
        """
        After the header, the protocol has the transport itself: reading and writing cost what they always do.
        """
        wire = self.accept()
        self.send(wire, LINE)
        self.assertIs(self.server.transport, wire.right)
        self.assertIs(wire.right.protocol, self.server)
        self.server.transport.write(b"welcome")
        self.send(wire, b"hello")
        self.assertEqual((self.client.received, self.server.reads), (b"welcome", [b"hello"]))

    def test_not_connected_before(self) -> None:
        """
        Nobody hears of the connection before its header is complete.
        """
        wire = self.accept()
        self.send(wire, LINE[:-1])
        self.assertEqual((self.frontend.addresses, self.server.events), ([], []))
        self.send(wire, LINE[-1:])
        self.assertEqual(self.server.events, ["made"])

    def test_own_addresses(self) -> None:
        """
        UNKNOWN and LOCAL leave the connection its own addresses.
        """
        for header in (b"PROXY UNKNOWN\r\n", binary(TCP4, INET, command=0x20), binary(0, b"")):
            self.setUp()
            wire = self.accept()
            peer = wire.right.getPeer()
            self.send(wire, header + b"hello")
            self.assertEqual(self.frontend.addresses, [PROXY])
            self.assertEqual(self.server.transport.getPeer(), peer)
            self.assertEqual((self.server.received, self.server.proxy_header), (b"hello", ProxyHeader()))

    def test_other_families(self) -> None:
        """
        IPv6 and UNIX addresses are what they are.
        """
        for header, address in (
            (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", IPv6Address("TCP", "2001:db8::7", 1)),
            (binary(UNIX, b"/run/a".ljust(216, b"\0")), UNIXAddress(b"/run/a")),
            (binary(UNIX, bytes(216)), UNIXAddress(None)),
        ):
            self.setUp()
            self.send(self.accept(), header)
            self.assertEqual(self.frontend.addresses, [address])
            self.assertEqual(self.server.transport.getPeer(), address)

    def test_unix_proxy(self) -> None:
        """
        A proxy on the same machine may come over a UNIX socket.
        """
        self.send(self.accept(UNIXAddress(None)), LINE)
        self.assertEqual(self.frontend.addresses, [CLIENT])

    def test_half_close(self) -> None:
        """
        A protocol that knows of half-closes hears of them.
        """
        self.frontend.protocol = self.server = HalfCloser()
        wire = self.accept()
        wire.left.write(LINE)
        wire.left.loseWriteConnection()
        wire.flush()
        self.assertEqual(self.server.events, ["made", "read lost"])

    def test_nobody_to_hand_to(self) -> None:
        """
        Where nobody serves the client, the connection ends.
        """
        self.frontend.protocol = None
        wire = self.accept()
        self.send(wire, LINE + b"hello")
        self.assertEqual(self.client.events, ["made", "lost"])

    def test_reload(self) -> None:
        """
        What serves is what serves when the header is complete.
        """
        wire = self.accept()
        self.send(wire, LINE[:10])
        other = Recorder()
        self.listener.frontend = Frontend(other)
        self.listener.proxy_protocol = None
        self.send(wire, LINE[10:] + b"hello")
        self.assertEqual((self.server.events, other.received), ([], b"hello"))


class TLSTests(ProxiedTestCase):
    """
    The header comes before TLS.
    """

    def test_under_tls(self) -> None:
        """
        TLS begins after the header, whatever was read together with it, and what is above has the client's address.
        """
        self.listener.tls = TLSServer(TLSTable.of([("a.test", serving("a.test"))]), self.ticker)
        client = ClientTLS(self.client, client_factory(None, asking(), "a.test", self.ticker))  # type: ignore[arg-type]

        class Sender(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(LINE)  # type: ignore[union-attr]
                hand_over(self, client)

        protocol = self.listener.buildProtocol(PROXY)
        wire = Wire(Sender(), protocol)
        self.client.on_connect = lambda recorder: recorder.transport.write(b"hello")
        wire.flush()
        self.assertEqual(self.server.received, b"hello")
        self.assertEqual(self.server.transport.getPeer(), CLIENT)
        self.assertEqual(self.frontend.addresses, [CLIENT])
        self.assertEqual(self.server.proxy_header.source, ("192.0.2.7", 5000))
        self.client.transport.loseConnection()
        wire.flush()
        self.assertEqual(self.server.events, ["made", "lost"])


class RefusalTests(ProxiedTestCase):
    """
    Whoever may not connect, or says nothing of use, is turned away, which is counted and logged.
    """

    def refused(self, word: str, text: str) -> None:
        """
        One connection was refused, for this reason.
        """
        self.assertEqual(self.listener.refusals.counts, {word: 1})
        ((level, said),) = self.said
        self.assertEqual(level, LogLevel.info)
        self.assertIn(text, said)
        self.assertEqual((self.frontend.addresses, self.listener.connections), ([], set()))

    def logged(self, *act: Any) -> None:
        with capturedLogs() as logs:
            for each in act:
                each()
        self.said = [(event["log_level"], event["log_format"].format(**event)) for event in logs]

    def test_strangers(self) -> None:
        """
        Who is not in the list gets no connection: anybody could write a header.
        """
        stranger = IPv4Address("TCP", "192.0.2.66", 1)
        self.logged(lambda: self.assertIsNone(self.listener.buildProtocol(stranger)))
        self.refused("proxy_protocol_denied", "192.0.2.66:1 was turned away")
        self.assertIn("tcp:443: ", self.said[0][1])

    def test_stranger_on_unix(self) -> None:
        """
        UNIX sockets are in the list only by their word.
        """
        self.listener.proxy_protocol = ProxyProtocol(NetworkSet.parse(["0.0.0.0/0", "::/0"]), self.ticker)
        self.logged(lambda: self.assertIsNone(self.listener.buildProtocol(UNIXAddress(None))))
        self.refused("proxy_protocol_denied", "a client on a UNIX socket was turned away")

    def test_no_header(self) -> None:
        """
        A proxy that sends no header, or a bad one, is cut off.
        """
        for data, text in (
            (b"GET / HTTP/1.1\r\n", "does not begin with a PROXY header"),
            (b"PROXY TCP4 1 2 3 4\r\n", "an address that is none of its family"),
            (binary(0x12, bytes(12)), "datagrams"),
        ):
            self.setUp()
            wire = self.accept()
            self.logged(lambda: self.send(wire, data))  # noqa: B023  # called at once
            self.refused("proxy_protocol_error", text)
            self.assertEqual(self.client.events, ["made", "lost"])
            self.assertIn("abortConnection", wire.right.calls)

    def test_too_late(self) -> None:
        """
        A header has its time, from the connection on, however often a byte of it comes.
        """
        wire = self.accept()

        def trickle() -> None:
            for byte in LINE[:19]:
                self.send(wire, bytes((byte,)))
                self.wait(0.25)
            self.assertEqual(self.listener.refusals.counts, {})
            self.wait(0.5)
            wire.flush()

        self.logged(trickle)
        self.refused("proxy_protocol_timeout", "timeouts.header = 5s")
        self.assertEqual(self.client.events, ["made", "lost"])

    def test_broken_off(self) -> None:
        """
        Half a header and the end is an error; nothing and the end is a proxy that looks whether we are there.
        """
        wire = self.accept()
        wire.left.write(LINE[:5])
        wire.left.loseConnection()
        self.logged(wire.flush)
        self.refused("proxy_protocol_error", "broken off")
        self.setUp()
        wire = self.accept()
        wire.left.loseConnection()
        self.logged(wire.flush)
        self.assertEqual((self.said, self.listener.refusals.counts), ([], {}))

    def test_after_refusal(self) -> None:
        """
        What still arrives is not looked at.
        """
        protocol: Any = self.listener.buildProtocol(PROXY)
        Wire(self.client, protocol)
        for _ in range(3):
            protocol.dataReceived(b"nonsense")
        self.assertEqual(self.listener.refusals.counts, {"proxy_protocol_error": 1})

    def test_drain(self) -> None:
        """
        When the listener closes, connections without a header end, and nobody is blamed.
        """
        wire = self.accept()
        self.logged(self.listener.drain, wire.flush)
        self.assertEqual(self.client.events, ["made", "lost"])
        self.assertEqual((self.said, self.listener.refusals.counts), ([], {}))

    def test_drain_in_time(self) -> None:
        """
        Where there is time, they may go on: they have something to ask.
        """
        wire = self.accept()
        self.listener.parting = 1.0
        self.listener.drain()
        wire.flush()
        self.assertEqual(self.client.events, ["made"])
        self.listener.abort()
        wire.flush()

    def test_abort(self) -> None:
        """
        They can be cut as well.
        """
        wire = self.accept()
        self.assertEqual(self.listener.abort(), 1)
        wire.flush()
        self.assertEqual(self.listener.connections, set())
        self.assertNotIsInstance(self.client.reason, ConnectionAborted)
