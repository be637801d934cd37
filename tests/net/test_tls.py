"""
TLS between two of our layers, over a wire in memory, and between ours and others' over sockets.
"""

from __future__ import annotations

import gc
import ssl
import weakref
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyClass, verifyObject

from tests.net.authority import CA_PEM, asking, certificate, serving
from tests.net.wire import BUFFER, HalfCloser, Recorder, Wire
from twistginx.errors import ProxyError
from twistginx.net.handover import hand_over
from twistginx.net.timers import Ticker
from twistginx.net.tls import ClientEndpoint, ClientTLS, ServerTLS, TLSServer, client_factory
from twistginx.net.tlscontext import TLSTable, client_context, server_context
from twistginx.net.tlshandshake import HANDSHAKE_TIMEOUT


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    """
    A client's context for one version.
    """
    context = client_context(CA_PEM)
    context.minimum_version = context.maximum_version = version
    return context


TLS_1_2, TLS_1_3 = only(ssl.TLSVersion.TLSv1_2), only(ssl.TLSVersion.TLSv1_3)


class TLSTestCase(SynchronousTestCase):
    """
    Two sides that are connected on demand.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock)
        self.connections: set[Any] = set()
        self.client: Any = Recorder()
        self.server: Any = Recorder()

    def layers(
        self,
        context: ssl.SSLContext | None = None,
        table: TLSTable | None = None,
        name: str | None = "a.test",
    ) -> tuple[ClientTLS, ServerTLS]:
        """
        Both layers, not connected yet.
        """
        table = TLSTable.of([("a.test", serving("a.test"))]) if table is None else table
        factory = Factory.forProtocol(lambda: self.client)
        client = client_factory(factory, context or asking(), name, self.ticker).buildProtocol(None)
        assert client is not None
        return client, TLSServer(table, self.ticker).wrap(self.server, self.connections)

    def connect(self, *args: Any, chunk: int = 2**16, **more: Any) -> Wire:
        """
        Both layers, connected and at rest.
        """
        client, server = self.layers(*args, **more)
        wire = Wire(client, server, chunk)
        wire.flush()
        return wire

    def failed(self, client: ClientTLS) -> ProxyError:
        """
        How the client's handshake failed.
        """
        error = self.failureResultOf(client.ready, ProxyError).value
        self.assertEqual(self.client.events, [])
        assert isinstance(error, ProxyError)
        return error


class HandshakeTests(TLSTestCase):
    """
    Both sides agree, and only then does anybody hear of the connection.
    """

    def test_versions(self) -> None:
        """
        TLS 1.2 and 1.3 are spoken.
        """
        for context, version in ((TLS_1_2, "TLSv1.2"), (TLS_1_3, "TLSv1.3")):
            self.client, self.server = Recorder(), Recorder()
            self.connect(context)
            self.assertEqual(self.server.transport.getHandle().version(), version)
            self.assertEqual((self.client.events, self.server.events), (["made"], ["made"]))

    def test_byte_by_byte(self) -> None:
        """
        However slowly it comes.
        """
        self.server.on_data = lambda server, data: server.transport.write(data)
        wire = self.connect(chunk=1)
        self.client.transport.write(b"hello")
        wire.flush()
        self.assertEqual(self.client.received, b"hello")

    def put_off(self, early: bytes = b"") -> tuple[Wire, list[Any]]:
        """
        A server whose handshake is complete on a transport that calls later, and what it is to call.
        """
        client, server = self.layers()
        self.client.on_connect = lambda client: client.transport.write(early)
        wire = Wire(client, server)
        calls: list[Any] = []
        wire.right.later = calls.append  # type: ignore[attr-defined]
        wire.flush()
        self.assertEqual((self.client.events, self.server.events, len(calls)), (["made"], [], 1))
        return wire, calls

    def test_later(self) -> None:
        """
        Where the transport can put it off, the protocol above is connected later, and misses nothing that comes before.
        """
        wire, calls = self.put_off(b"early, ")
        self.client.transport.write(b"in between, ")
        wire.flush()
        self.assertEqual(self.server.events, [])
        calls.pop()()
        self.client.transport.write(b"late")
        wire.flush()
        self.assertEqual((self.server.events, self.server.received), (["made"], b"early, in between, late"))
        self.assertEqual((calls, self.connections), ([], set()))

    def test_ended_before_later(self) -> None:
        """
        A client that has said all, and has ended its half meanwhile, is heard; one that is gone is not.
        """
        wire, calls = self.put_off(b"all")
        wire.left.loseWriteConnection()
        wire.flush()
        self.assertEqual((self.server.events[0], self.server.received), ("made", b"all"))
        calls.pop()()
        self.assertEqual(self.server.events.count("made"), 1)

        self.client, self.server = Recorder(), Recorder()
        wire, calls = self.put_off(b"all")
        wire.left.abortConnection()
        wire.flush()
        calls.pop()()
        self.assertEqual((self.server.events, self.connections), ([], set()))

    def test_protocol(self) -> None:
        """
        Both know the protocol that was agreed on when they are connected; without an agreement there is none.
        """
        seen = []
        for ours, theirs, agreed in (
            (("h2", "http/1.1"), ("http/1.1",), b"http/1.1"),
            (("http/1.1",), ("imap",), None),
            ((), ("http/1.1",), None),
        ):
            self.client, self.server = Recorder(), Recorder()
            self.server.on_connect = lambda server: seen.append(server.transport.negotiatedProtocol)
            self.connect(asking(alpn=theirs), TLSTable(default=serving("a.test", alpn=ours)))
            self.assertEqual(seen.pop(), agreed)
            self.assertEqual(self.client.transport.negotiatedProtocol, agreed)

    def test_name_chooses(self) -> None:
        """
        Each name is served with its own certificate.
        """
        table = TLSTable.of([("a.test", serving("a.test")), ("*.b.test", serving("*.b.test"))], serving("c.test"))
        for name, expected in (("a.test", "a.test"), ("x.b.test", "*.b.test"), ("c.test", "c.test")):
            self.client, self.server = Recorder(), Recorder()
            self.connect(None, table, name=name)
            found = self.client.transport.getPeerCertificate().to_cryptography()
            self.assertEqual(found, certificate(expected).leaf)
            self.assertEqual(self.server.transport.hello.server_name, name.encode())
            self.assertIs(self.server.transport.context, serving(expected))

    def test_unknown_name(self) -> None:
        """
        A name without a certificate is refused with the alert for that, and logged once.
        """
        with capturedLogs() as logs:
            wire = self.connect(name="other.test")
        self.assertEqual(wire.right.writes, [b"\x15\x03\x03\x00\x02\x02\x70"])
        self.assertEqual(self.failed(wire.left.protocol).reason.word, "tls_protocol_error")
        self.assertEqual(self.server.events, [])
        (event,) = logs
        self.assertEqual(event["log_level"], LogLevel.info)
        self.assertIn("other.test", str(event["error"]))
        self.assertEqual(self.connections, set())

    def test_no_common_version(self) -> None:
        """
        The alert that OpenSSL has for it reaches the peer.
        """
        with capturedLogs() as logs:
            wire = self.connect(TLS_1_2, TLSTable(default=serving("a.test", min_version="1.3")))
        error = self.failed(wire.left.protocol)
        self.assertEqual(error.reason.word, "tls_alert_received")
        self.assertIn("protocol version", error.detail)
        self.assertEqual(len(logs), 1)

    def test_no_tls(self) -> None:
        """
        Who speaks something else is shown the door, without a line in the log that anybody reads.
        """
        _, server = self.layers()
        with capturedLogs() as logs:
            stranger = Recorder()
            stranger.on_connect = lambda stranger: stranger.transport.write(b"GET / HTTP/1.1\r\n\r\n")
            wire = Wire(stranger, server)
            wire.flush()
        self.assertEqual((stranger.events, stranger.received), (["made", "lost"], b""))
        self.assertEqual(self.server.events, [])
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.debug])

    def test_malformed(self) -> None:
        """
        Broken TLS is answered with an alert.
        """
        _, server = self.layers()
        stranger = Recorder()
        stranger.on_connect = lambda stranger: stranger.transport.write(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00")
        Wire(stranger, server).flush()
        self.assertEqual(stranger.received, b"\x15\x03\x03\x00\x02\x02\x32")

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 255)), min_size=1, max_size=3), st.integers(50, 400))
    def test_garbage(self, changes: list[tuple[int, int]], chunk: int) -> None:
        """
        Whatever bytes are changed on the way, it ends without an exception, and who is connected is disconnected.
        """
        self.setUp()
        client, server = self.layers()
        client.ready.addErrback(lambda _: None)
        wire = Wire(client, server, chunk)
        seen = 0
        while wire.left.step() | wire.right.step():
            for end in (wire.left, wire.right):
                for at, mask in changes:
                    if seen <= at < seen + len(end.buffer):
                        end.buffer[at - seen] ^= mask
                seen += len(end.buffer)
        client.loseConnection()
        server.loseConnection()
        wire.flush()
        for recorder in (self.client, self.server):
            self.assertIn(recorder.events, ([], ["made", "lost"]))

    def test_too_slow(self) -> None:
        """
        A handshake that does not end is cut off on both sides.
        """
        client, server = self.layers()
        silent = Wire(Recorder(), server)
        waiting = Wire(client, Recorder())
        self.assertEqual(self.connections, {server})
        self.clock.pump([1.0] * int(HANDSHAKE_TIMEOUT + 1))
        silent.flush(waiting)
        self.assertIn("abortConnection", silent.right.calls)
        self.assertEqual(self.failed(client).reason.word, "connection_timeout")
        self.assertEqual((len(self.ticker), self.connections), (0, set()))

    def test_time_is_not_up_later(self) -> None:
        """
        The timeout is for the handshake alone.
        """
        wire = self.connect()
        self.assertEqual(len(self.ticker), 0)
        self.clock.pump([1.0] * int(HANDSHAKE_TIMEOUT * 2))
        wire.flush()
        self.assertEqual(self.server.events, ["made"])

    def test_peer_leaves(self) -> None:
        """
        A peer that leaves during the handshake leaves nothing behind.
        """
        client, server = self.layers()
        with capturedLogs() as logs:
            left = Wire(Recorder(), server)
            left.left.loseConnection()
            right = Wire(client, Recorder())
            right.right.abortConnection()
            left.flush(right)
        self.assertEqual(self.failed(client).reason.word, "tls_protocol_error")
        self.assertEqual((self.server.events, self.connections, len(self.ticker)), ([], set(), 0))
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.debug])

    def test_drain(self) -> None:
        """
        While it handshakes, the layer is one of the listener's connections; when that drains, the handshake goes on:
        the client has something to ask.
        """
        _, server = self.layers()
        wire = Wire(Recorder(), server)
        self.assertEqual(self.connections, {server})
        server.drain()
        wire.flush()
        self.assertEqual(self.connections, {server})
        self.assertTrue(wire.right.connected)
        wire.right.abortConnection()
        wire.flush()
        self.assertEqual(self.connections, set())

    def test_cancelled(self) -> None:
        """
        Who does not want to wait any longer cuts the connection.
        """
        client, _ = self.layers()
        wire = Wire(client, Recorder())
        client.ready.cancel()
        self.failureResultOf(client.ready, CancelledError)
        wire.flush()
        self.assertFalse(wire.left.connected)
        self.assertEqual((self.client.events, len(self.ticker)), ([], 0))


class VerificationTests(TLSTestCase):
    """
    A client knows whom it talks to.
    """

    def test_wrong_name(self) -> None:
        """
        The right authority, and another's certificate.
        """
        wire = self.connect(None, TLSTable(default=serving("a.test")), name="b.test")
        error = self.failed(wire.left.protocol)
        self.assertEqual(error.reason.word, "tls_certificate_error")
        self.assertEqual(error.detail, "the certificate is for a.test, not for b.test")
        self.assertNotIn("lost", self.client.events)

    def test_addresses(self) -> None:
        """
        IP addresses are verified too, and not asked for by name.
        """
        for address in ("192.0.2.1", "2001:db8::1"):
            self.client, self.server = Recorder(), Recorder()
            self.connect(None, TLSTable(default=serving(address)), name=address)
            self.assertEqual(self.client.events, ["made"])
            self.assertIsNone(self.server.transport.hello.server_name)
        self.client = Recorder()
        wire = self.connect(None, TLSTable(default=serving("192.0.2.1")), name="192.0.2.2")
        self.assertEqual(self.failed(wire.left.protocol).reason.word, "tls_certificate_error")

    def test_unknown_authority(self) -> None:
        """
        A certificate of nobody we trust; the server hears why.
        """
        with capturedLogs() as logs:
            wire = self.connect(client_context())
        error = self.failed(wire.left.protocol)
        self.assertEqual(error.reason.word, "tls_certificate_error")
        self.assertIn("unable to get local issuer certificate", error.detail)
        self.assertTrue(any("unknown ca" in str(event) for event in logs), logs)

    def test_unverified(self) -> None:
        """
        With ``verify = false`` anybody will do, with and without a name.
        """
        for name in ("b.test", None):
            self.client, self.server = Recorder(), Recorder()
            self.connect(asking(verify=False), TLSTable(default=serving("a.test")), name=name)
            self.assertEqual(self.client.events, ["made"])

    def test_pinned(self) -> None:
        """
        The server's own certificate may be what is trusted.
        """
        self.connect(client_context(certificate("a.test").pem.decode()))
        self.assertEqual(self.client.events, ["made"])

    def test_impossible(self) -> None:
        """
        To verify takes a name, and a name that can be one; this is seen when the factory is made.
        """
        for name in (None, "", "not a name"):
            self.assertRaises(ValueError, client_factory, Factory(), asking(), name, self.ticker)
            endpoint = TCP4ClientEndpoint(None, "192.0.2.1", 443)
            self.assertRaises(ValueError, ClientEndpoint, endpoint, asking(), name, self.ticker)

    def test_client_certificate(self) -> None:
        """
        A server that asks for certificates gets ours, and refuses who has none.
        """
        table = TLSTable(default=server_context([certificate("a.test")], client_ca=CA_PEM))
        self.connect(client_context(CA_PEM, certificate("me.test")), table)
        found = self.server.transport.getPeerCertificate().to_cryptography()
        self.assertEqual(found, certificate("me.test").leaf)
        for context in (TLS_1_2, TLS_1_3):
            self.client, self.server = Recorder(), Recorder()
            with capturedLogs() as logs:
                wire = self.connect(context, table)
            self.assertEqual(self.server.events, [])
            self.assertIn("peer did not return a certificate", str(logs[0]["error"]))
            if context is TLS_1_2:
                self.assertEqual(self.failed(wire.left.protocol).reason.word, "tls_alert_received")
            else:  # the client is done before the server has looked
                self.assertIsInstance(self.client.reason, ConnectionLost)
                self.assertIn("certificate required", str(self.client.reason))


class DataTests(TLSTestCase):
    """
    What is written arrives, in as few pieces as can be.
    """

    def test_echo(self) -> None:
        """
        Both ways, in order.
        """
        self.server.on_data = lambda server, data: server.transport.writeSequence([b"<", data, b">"])
        wire = self.connect()
        self.client.transport.write(b"one")
        wire.flush()
        self.client.transport.write(b"")
        self.client.transport.write(b"two")
        wire.flush()
        self.assertEqual(self.client.received, b"<one><two>")

    def test_one_write_for_a_read(self) -> None:
        """
        What is said in answer to one read goes down in one write, and comes up in one piece.
        """
        wire = self.connect()
        self.server.on_data = lambda server, data: [server.transport.write(b"x") for _ in range(10)]
        wire.right.writes.clear()
        self.client.reads.clear()
        self.client.transport.write(b"go")
        wire.flush()
        self.assertEqual(len(wire.right.writes), 1)
        self.assertEqual(self.client.reads, [b"x" * 10])

    def test_first_words(self) -> None:
        """
        What is said in connectionMade leaves with the end of the handshake.
        """
        self.server.on_connect = lambda server: server.transport.write(b"welcome")
        self.client.on_connect = lambda client: client.transport.write(b"hello")
        wire = self.connect()
        self.assertEqual((self.client.received, self.server.received), (b"welcome", b"hello"))
        self.assertEqual((len(wire.left.writes), len(wire.right.writes)), (2, 2))

    def test_large_write(self) -> None:
        """
        A megabyte is passed on in pieces as it is encrypted, and arrives whole.
        """
        data = bytes(range(256)) * 4096
        wire = self.connect()
        wire.right.writes.clear()
        self.server.transport.write(data)
        self.assertGreaterEqual(len(wire.right.writes), 16)
        self.assertLess(max(map(len, wire.right.writes)), 2**15 + 2048)
        wire.flush()
        self.assertEqual(self.client.received, data)

    def test_large_answer(self) -> None:
        """
        In answer to a read as well: what waits for its end is bounded.
        """
        wire = self.connect()
        self.server.on_data = lambda server, data: [server.transport.write(b"x" * 1000) for _ in range(1000)]
        wire.right.writes.clear()
        self.client.transport.write(b"go")
        wire.flush()
        self.assertEqual(len(self.client.received), 1_000_000)
        self.assertLess(max(map(len, wire.right.writes)), 2**15 + 2048)
        self.assertLess(len(wire.right.writes), 40)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.binary(max_size=60_000), max_size=8), st.integers(1, 5000))
    def test_any(self, writes: list[bytes], chunk: int) -> None:
        """
        Any writes over any wire, echoed.
        """
        self.setUp()
        self.server.on_data = lambda server, data: server.transport.write(data)
        wire = self.connect(chunk=chunk)
        for data in writes:
            self.client.transport.write(data)
        wire.flush()
        self.assertEqual(self.client.received, b"".join(writes))

    def test_handover(self) -> None:
        """
        The protocol above can be exchanged, by the usual way.
        """
        wire = self.connect()
        second = Recorder()
        hand_over(self.server, second)
        self.client.transport.write(b"for the second")
        self.client.transport.loseConnection()
        wire.flush()
        self.assertEqual((self.server.reads, self.server.events), ([], ["made"]))
        self.assertEqual((second.received, second.events), (b"for the second", ["made", "lost"]))

    def test_changed_on_the_way(self) -> None:
        """
        A record that was changed ends the connection, visibly, with an alert.
        """
        wire = self.connect()
        self.client.transport.write(b"pay 10")
        wire.left.buffer[-1] ^= 1
        wire.flush()
        self.assertEqual(self.server.reads, [])
        self.assertIsInstance(self.server.reason, ConnectionLost)
        self.assertIsInstance(self.client.reason, ConnectionLost)
        self.assertIn("bad record mac", str(self.client.reason))

    def test_protocol_that_fails(self) -> None:
        """
        An exception of the protocol above is the reactor's to see, as without TLS.
        """
        wire = self.connect()

        def fail(server: Recorder, data: bytes) -> None:
            raise ZeroDivisionError

        self.server.on_data = fail
        self.client.transport.write(b"go")
        self.assertRaises(ZeroDivisionError, wire.flush)


class EndTests(TLSTestCase):
    """
    An end is told from a cut.
    """

    def test_orderly(self) -> None:
        """
        What was written before loseConnection arrives, and both ends call it done.
        """
        wire = self.connect()
        self.client.transport.write(b"last words")
        self.client.transport.loseConnection()
        self.client.transport.write(b"too late")
        wire.flush()
        self.assertEqual(self.server.received, b"last words")
        self.assertIsInstance(self.server.reason, ConnectionDone)
        self.assertIsInstance(self.client.reason, ConnectionDone)
        self.assertEqual(self.server.events, ["made", "lost"])

    def test_no_cycle(self) -> None:
        """
        When it is over, layer and protocol do not hold each other: what OpenSSL keeps for a connection does not wait
        for a collection.
        """
        wire = self.connect()
        layers = [weakref.ref(self.client.transport), weakref.ref(self.server.transport)]
        self.client.transport.ready.addCallback(lambda protocol: None)  # somebody has taken it
        self.client.transport.loseConnection()
        wire.flush()
        gc.disable()
        self.addCleanup(gc.enable)
        wire.left.protocol = wire.right.protocol = None  # as transports do, then
        self.client = self.server = None
        self.assertEqual([layer() for layer in layers], [None, None])

    def test_from_within(self) -> None:
        """
        Answer and close in one read: the answer and the close_notify leave together.
        """

        def answer(server: Recorder, data: bytes) -> None:
            server.transport.write(b"bye")
            server.transport.loseConnection()
            server.transport.loseConnection()

        self.server.on_data = answer
        wire = self.connect()
        wire.right.writes.clear()
        self.client.transport.write(b"go")
        wire.flush()
        self.assertEqual((len(wire.right.writes), self.client.received), (1, b"bye"))
        self.assertIsInstance(self.client.reason, ConnectionDone)

    def test_in_connection_made(self) -> None:
        """
        A protocol may close at once.
        """
        self.server.on_connect = lambda server: server.transport.loseConnection()
        self.connect()
        self.assertEqual((self.client.events, self.server.events), (["made", "lost"],) * 2)
        self.assertIsInstance(self.client.reason, ConnectionDone)

    def test_cut_off(self) -> None:
        """
        A connection that ends without close_notify was cut off, on both kinds of transport.
        """
        for half_closes in (True, False):
            self.client, self.server = Recorder(), Recorder()
            wire = self.connect()
            self.client.transport.write(b"half of it")
            wire.left.write_closing = True
            if not half_closes:
                wire.left.disconnecting = True
            wire.flush()
            self.assertEqual(self.server.received, b"half of it")
            self.assertIsInstance(self.server.reason, ConnectionLost)
            self.assertIn("close_notify", str(self.server.reason))

    def test_reset(self) -> None:
        """
        A reset is told as it is.
        """
        wire = self.connect()
        self.client.transport.abortConnection()
        self.client.transport.abortConnection()
        wire.flush()
        self.assertIsInstance(self.client.reason, ConnectionAborted)
        self.assertIsInstance(self.server.reason, ConnectionLost)
        self.assertEqual(len(self.client.events), 2)

    def test_nothing_after_abort(self) -> None:
        """
        After abortConnection nothing is delivered, though it was read together with what came before.
        """
        wire = self.connect()
        self.server.on_data = lambda server, data: server.transport.abortConnection()
        self.client.transport.write(b"one")
        wire.left.step()
        self.client.transport.write(b"two")
        wire.flush()
        self.assertEqual(self.server.reads, [b"one"])

    def test_half_close(self) -> None:
        """
        In TLS 1.3, one who has nothing more to say can still listen.
        """
        self.client, self.server = HalfCloser(), HalfCloser()
        wire = self.connect(TLS_1_3)
        self.client.transport.write(b"question")
        self.client.transport.loseWriteConnection()
        self.client.transport.write(b"too late")
        wire.flush()
        self.assertEqual(self.server.received, b"question")
        self.assertEqual(self.server.events, ["made", "read lost"])
        self.assertEqual(self.client.events, ["made", "write lost"])
        self.server.transport.write(b"answer")
        wire.flush()
        self.assertEqual(self.client.received, b"answer")
        self.server.transport.loseConnection()
        wire.flush()
        self.assertEqual(self.client.events, ["made", "write lost", "read lost"])
        self.client.transport.loseConnection()
        wire.flush()
        self.assertIsInstance(self.client.reason, ConnectionDone)
        self.assertIsInstance(self.server.reason, ConnectionDone)

    def test_half_close_below(self) -> None:
        """
        A client that half-closes its socket after its close_notify is still answered.
        """
        self.server = HalfCloser()
        wire = self.connect(TLS_1_3)
        self.client.transport.loseWriteConnection()
        wire.left.write_closing = True
        wire.flush()
        self.assertEqual(self.server.events, ["made", "read lost"])
        self.server.transport.write(b"answer")
        self.server.transport.loseConnection()
        wire.flush()
        self.assertEqual(self.client.received, b"answer")

    def test_half_close_before_1_3(self) -> None:
        """
        In TLS 1.2 a close_notify ends both directions.
        """
        self.client, self.server = HalfCloser(), Recorder()
        wire = self.connect(TLS_1_2)
        self.client.transport.write(b"question")
        self.client.transport.loseWriteConnection()
        wire.flush()
        self.assertEqual(self.server.received, b"question")
        self.assertEqual(self.client.events, ["made", "lost"])

    def test_peer_ends_for_whom_it_is_the_end(self) -> None:
        """
        A protocol that does not know half-close is closed when the peer ends; what it had written still arrives.
        """
        self.server.on_data = lambda server, data: server.transport.write(b"answer")
        self.client = HalfCloser()
        wire = self.connect(TLS_1_3)
        self.client.transport.write(b"question")
        self.client.transport.loseWriteConnection()
        wire.flush()
        self.assertEqual(self.client.received, b"answer")
        self.assertIsInstance(self.server.reason, ConnectionDone)


class Source:
    """
    A producer that remembers what it was told, and can be pulled.
    """

    def __init__(self, consumer: Any = None, pieces: int = 0) -> None:
        self.told: list[str] = []
        self.consumer = consumer
        self.pieces = pieces

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def stopProducing(self) -> None:
        self.told.append("stop")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        if self.consumer is not None:
            self.pieces -= 1
            self.consumer.write(b"piece")
            if not self.pieces:
                self.consumer.unregisterProducer()
                self.consumer.loseConnection()


class ProducerTests(TLSTestCase):
    """
    Back-pressure goes through, both ways.
    """

    def test_push(self) -> None:
        """
        A producer is paused while the socket is full, and resumed when it is not.
        """
        wire = self.connect()
        source = Source()
        self.server.transport.registerProducer(source, True)
        self.server.transport.write(b"x" * (BUFFER // 2))
        self.assertEqual(source.told, [])
        self.server.transport.write(b"x" * BUFFER)
        self.assertEqual(set(source.told), {"pause"})  # transports say it for every write
        source.told.clear()
        wire.flush()
        self.assertEqual(source.told, ["resume"])
        self.server.transport.unregisterProducer()
        self.server.transport.unregisterProducer()
        self.assertEqual(len(self.client.received), BUFFER // 2 + BUFFER)

    def test_pull(self) -> None:
        """
        A pull producer is asked until it has no more, also when it was registered during a read.
        """
        for within in (False, True):
            self.client, self.server = Recorder(), Recorder()
            wire = self.connect()

            def register(server: Recorder, data: bytes) -> None:
                source = Source(server.transport, 5)
                server.transport.registerProducer(source, False)

            if within:
                self.server.on_data = register
                self.client.transport.write(b"go")
            else:
                register(self.server, b"")
            wire.flush()
            self.assertEqual(self.client.received, b"piece" * 5)
            self.assertIsInstance(self.client.reason, ConnectionDone)

    def test_close_waits(self) -> None:
        """
        loseConnection waits for the producer, which may still write.
        """
        wire = self.connect()
        self.server.transport.registerProducer(Source(), True)
        self.server.transport.loseConnection()
        self.client.transport.write(b"nobody listens")
        self.server.transport.write(b"still here")
        wire.flush()
        self.assertEqual((self.client.received, self.client.events), (b"still here", ["made"]))
        self.assertEqual(self.server.reads, [])
        self.server.transport.unregisterProducer()
        wire.flush()
        self.assertIsInstance(self.client.reason, ConnectionDone)
        self.assertIsInstance(self.server.reason, ConnectionDone)

    def test_one_at_a_time(self) -> None:
        """
        A second producer is a mistake; after the end, a producer is stopped at once.
        """
        wire = self.connect()
        transport = self.server.transport
        first, second = Source(), Source()
        transport.registerProducer(first, True)
        self.assertRaises(RuntimeError, transport.registerProducer, second, True)
        self.client.transport.abortConnection()
        wire.flush()
        self.assertEqual(first.told, ["stop"])
        transport.registerProducer(second, True)
        self.assertEqual(second.told, ["stop"])

    def test_peer_ends(self) -> None:
        """
        When the peer closes, the producer is stopped, and does not keep the connection open.
        """
        wire = self.connect()
        source = Source()
        self.server.transport.registerProducer(source, True)
        self.client.transport.loseConnection()
        wire.flush()
        self.assertEqual((source.told, self.server.events), (["stop"], ["made", "lost"]))

    def test_pause(self) -> None:
        """
        Who pauses reads nothing, until it resumes.
        """
        wire = self.connect()
        self.server.transport.pauseProducing()
        self.client.transport.write(b"wait")
        wire.flush()
        self.assertEqual(self.server.reads, [])
        self.server.transport.resumeProducing()
        wire.flush()
        self.assertEqual(self.server.received, b"wait")
        self.server.transport.stopProducing()
        wire.flush()
        self.assertIsInstance(self.client.reason, ConnectionDone)


class TransportTests(TLSTestCase):
    """
    It looks like any transport.
    """

    def test_interfaces(self) -> None:
        """
        What is said to be provided is.
        """
        self.connect()
        for interface in (INegotiated, ISSLTransport, IConsumer, IPushProducer, IProtocol, IHalfCloseableProtocol):
            verifyObject(interface, self.server.transport)
        verifyClass(IStreamClientEndpoint, ClientEndpoint)

    def test_passed_on(self) -> None:
        """
        Addresses and socket options are those below.
        """
        wire = self.connect()
        transport = self.server.transport
        self.assertEqual(transport.getPeer(), wire.right.getPeer())
        self.assertEqual(transport.getHost(), wire.right.getHost())
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self.assertTrue(transport.getTcpNoDelay() and transport.getTcpKeepAlive())
        self.assertEqual(transport.logPrefix(), "Recorder")

    def test_certificates(self) -> None:
        """
        Twisted's own certificate objects can be made of it; who shows none has none.
        """
        self.connect()
        theirs = Certificate(self.client.transport.getPeerCertificate())
        self.assertEqual(theirs.original.to_cryptography(), certificate("a.test").leaf)
        self.assertIsNone(self.server.transport.getPeerCertificate())

    def test_factory(self) -> None:
        """
        A factory that wants no connection gets none.
        """
        wants_none: Any = Factory()
        wants_none.buildProtocol = lambda _: None
        self.assertIsNone(client_factory(wants_none, asking(), "a.test", self.ticker).buildProtocol(None))


class Echo(Protocol):
    """
    Says everything again.
    """

    open: ClassVar[set[Protocol]] = set()

    def connectionMade(self) -> None:
        self.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Any = None) -> None:
        self.open.discard(self)


class Asker(Recorder):
    """
    Writes, and fires when as much has come back.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data
        self.done: Deferred[bytes] = Deferred()
        self.lost: Deferred[Any] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.data)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if len(self.received) == len(self.data):
            self.done.callback(self.received)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        super().connectionLost(reason)
        self.lost.callback(self.reason)


class SocketTests(TestCase):
    """
    Over real sockets, with ourselves and with Twisted's own TLS.
    """

    data = bytes(range(256)) * 2000

    def setUp(self) -> None:
        self.ticker = Ticker(reactor)  # type: ignore[arg-type]

    async def listen(self, endpoint: Any, factory: Factory) -> int:
        """
        A port that is closed at the end.
        """
        port = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def ours(self) -> int:
        """
        Our server.
        """
        server = TLSServer(TLSTable.of([("a.test", serving("a.test"))]), self.ticker)
        return await self.listen(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), Factory.forProtocol(lambda: server.wrap(Echo()))
        )

    async def ask(self, endpoint: Any) -> None:
        """
        Half a megabyte goes there and comes back, and the connection ends in order.
        """
        asker = Asker(self.data)
        await connectProtocol(endpoint, asker)
        self.assertEqual(await asker.done, self.data)
        asker.transport.loseConnection()  # type: ignore[union-attr]
        self.assertIsInstance(await asker.lost, ConnectionDone)

    def test_ourselves(self) -> Deferred[None]:
        """
        Our client with our server.
        """

        async def run() -> None:
            below = TCP4ClientEndpoint(reactor, "127.0.0.1", await self.ours())
            await self.ask(ClientEndpoint(below, asking(), "a.test", self.ticker))

        return Deferred.fromCoroutine(run())

    def test_twisted_client(self) -> Deferred[None]:
        """
        Twisted's client with our server.
        """

        async def run() -> None:
            trust = trustRootFromCertificates([Certificate.loadPEM(CA_PEM)])
            options = optionsForClientTLS("a.test", trustRoot=trust)
            await self.ask(wrapClientTLS(options, TCP4ClientEndpoint(reactor, "127.0.0.1", await self.ours())))

        return Deferred.fromCoroutine(run())

    def test_twisted_server(self) -> Deferred[None]:
        """
        Our client with Twisted's ``ssl:`` endpoint.
        """

        async def run() -> None:
            pair = certificate("a.test")
            path = self.mktemp()
            with open(path, "wb") as file:
                file.write(pair.key_pem + pair.pem)
            text = f"ssl:0:privateKey={path}:certKey={path}:interface=127.0.0.1"
            port = await self.listen(serverFromString(reactor, text), Factory.forProtocol(Echo))
            below = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
            await self.ask(ClientEndpoint(below, asking(), "a.test", self.ticker))

        return Deferred.fromCoroutine(run())

    def test_wrong_name(self) -> Deferred[None]:
        """
        The endpoint fails with the word of the table; nothing is left open.
        """

        async def run() -> None:
            below = TCP4ClientEndpoint(reactor, "127.0.0.1", await self.ours())
            endpoint = ClientEndpoint(below, asking(), "b.test", self.ticker)
            error = await self.assertFailure(endpoint.connect(Factory.forProtocol(Recorder)), ProxyError)
            self.assertEqual(error.reason.word, "tls_protocol_error")
            self.assertIn("unrecognized name", error.detail)

        return Deferred.fromCoroutine(run())
