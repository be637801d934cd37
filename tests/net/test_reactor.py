"""
Connections of twistginx.net.reactor, over real sockets.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.ssl import CertificateOptions, PrivateCertificate, trustRootFromCertificates
from twisted.python import context
from twisted.python.log import ILogContext
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.net.reactors import OnAsyncio, OnUvloop, ReactorCase, Recorder
from twistginx.net import outbox
from twistginx.net.handover import hand_over
from twistginx.net.transport_sending import HIGH_WATER

#: More than all socket buffers of a loopback connection take.
MUCH = 20_000_000


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """
    Notes the halves, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class Producer:
    """
    Notes what it is asked.
    """

    def __init__(self, on_resume: Any = lambda: None) -> None:
        self.calls: list[str] = []
        self._on_resume = on_resume

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        self._on_resume()

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class Conversations(ReactorCase):
    """
    What a protocol sees of its connection.
    """

    def test_echo(self) -> None:
        """
        What one side writes the other receives, and the two agree on their addresses.
        """
        server, client = Recorder(), Recorder()
        server.on_data = lambda protocol, data: protocol.transport.write(data.upper())
        client.on_made = lambda protocol: protocol.transport.writeSequence([b"hel", b"lo"])
        addresses: list[Any] = []

        def received(protocol: Any, data: bytes) -> None:
            if len(protocol.data) == 5:
                addresses.extend((side.transport.getHost(), side.transport.getPeer()) for side in (server, client))
                protocol.transport.loseConnection()

        client.on_data = received
        server.on_lost = self.stop
        self.connect(self.listen(server), client)
        self.go()
        self.assertEqual(client.data, b"HELLO")
        self.assertEqual(addresses[0], addresses[1][::-1])
        self.assertIsInstance(server.reason.value, ConnectionDone)
        self.assertIsInstance(client.reason.value, ConnectionDone)

    def test_interfaces(self) -> None:
        """
        The transport is what Twisted's own TCP transport is.
        """
        server = Recorder()

        def made(protocol: Any) -> None:
            for interface in (ITCPTransport, ITLSTransport, ISystemHandle, IPushProducer, IConsumer):
                verifyObject(interface, protocol.transport)
            protocol.transport.setTcpKeepAlive(True)
            options.append(protocol.transport.getTcpKeepAlive())
            protocol.transport.setTcpNoDelay(False)
            options.append(protocol.transport.getTcpNoDelay())
            self.stop()

        options: list[bool] = []
        server.on_made = made
        self.raw(self.listen(server))
        self.go()
        self.assertEqual(options, [True, False])

    def writing(self, write: Callable[[Any], None], reads: int) -> list[bytes]:
        """
        What the other side can read when C{write} has been called with a transport, at once, and C{reads} times from
        the next turn on.
        """
        server = Recorder()
        got: list[bytes] = []

        def read() -> None:
            try:
                got.append(sock.recv(100_000))
            except BlockingIOError:
                got.append(b"-")

        def later(left: int) -> None:
            read()
            if left > 1:
                self.reactor.callLater(0, later, left - 1)
            else:
                self.stop()

        def made(protocol: Any) -> None:
            write(protocol.transport)
            read()
            self.reactor.callLater(0, later, reads)

        server.on_made = made
        sock = self.raw(self.listen(server))
        sock.setblocking(False)
        self.go()
        self.renew()
        return got

    def test_sent_in_one_piece(self) -> None:
        """
        Small writes of a turn leave together when it ends; before what ends our half of the connection, or all of it.
        """

        def write(transport: Any) -> None:
            transport.write(b"one ")
            transport.writeSequence([b"two ", b""])
            transport.write(b"")
            transport.write(b"three")

        def write_and_end(transport: Any) -> None:
            write(transport)
            transport.loseWriteConnection()

        def write_and_close(transport: Any) -> None:
            write(transport)
            transport.loseConnection()

        self.assertEqual(self.writing(write, 2), [b"-", b"one two three", b"-"])
        for writing in (write_and_end, write_and_close):
            first, *_, last = self.writing(writing, 3)
            self.assertEqual((first, last), (b"one two three", b""))

    def test_sent_at_once(self) -> None:
        """
        What is much, may change, or is asked about leaves at once, and what was written before it.
        """

        def much(transport: Any) -> None:
            transport.write(b"a")
            transport.write(b"b" * 20_000)

        def pieces(transport: Any) -> None:
            transport.write(b"a")
            transport.writeSequence([b"b" * 10_000, b"b" * 10_000])

        def changing(transport: Any) -> None:
            data = bytearray(b"b" * 20_000)
            transport.write(b"a")
            transport.write(data)
            data[:] = b"c" * 20_000

        def asked(transport: Any) -> None:
            transport.write(b"a" + b"b" * 10_000)
            transport.write(b"b" * 5_000)
            self.assertEqual(transport.unsent(), 0)
            transport.write(b"b" * 5_000)

        for writing in (much, pieces, changing):
            self.assertEqual(self.writing(writing, 1), [b"a" + b"b" * 20_000, b"-"])
        self.assertEqual(self.writing(asked, 1), [b"a" + b"b" * 15_000, b"b" * 5_000])

    def test_alone(self) -> None:
        """
        Where nobody else has something to send, a connection does not wait for the end of the turn, but for a look now
        and then; in a crowd all do.
        """
        self.patch(outbox, "AT_ONCE", 3)
        self.patch(outbox, "FEW", few := 2)
        made: list[Any] = []
        got: list[str] = []

        def turn(left: int, writers: int = 1) -> None:
            for each in made[:writers]:
                each.transport.write(b"x")
            try:
                socks[0].recv(10)
                got.append("at once")
            except BlockingIOError:
                got.append("held")
            self.reactor.callLater(0, after, left, writers)

        def after(left: int, writers: int) -> None:
            for sock in socks[:writers]:
                try:
                    sock.recv(10)
                except BlockingIOError:
                    continue
            if left:
                turn(left - 1, writers)
            elif writers == 1:
                turn(5, few)
            else:
                self.stop()

        class Counted(Recorder):
            def on_made(self, protocol: Any) -> None:
                made.append(protocol)
                if len(made) == few:
                    turn(7)

        port = self.listen(Counted)
        socks = [self.raw(port) for _ in range(few)]
        for sock in socks:
            sock.setblocking(False)
        self.go()
        alone = ["held", "at once", "at once", "at once"]
        self.assertEqual(got[:8], alone + alone)
        self.assertEqual(got[8:], ["held"] * 6)

    def test_sent_before_the_reset(self) -> None:
        """
        A connection that is broken off has sent what this turn has written.
        """
        server = Recorder()

        def made(protocol: Any) -> None:
            protocol.transport.write(b"last words")
            protocol.transport.abortConnection()
            self.assertEqual(sock.recv(100), b"last words")

        server.on_made = made
        server.on_lost = self.stop
        sock = self.raw(self.listen(server))
        self.go()
        self.assertRaises(ConnectionResetError, sock.recv, 10)

    def test_crowd(self) -> None:
        """
        Many connections are not kept waiting until the turn ends.
        """
        self.patch(outbox, "MANY", count := 8)
        socks: list[Any] = []
        made: list[Any] = []

        def add(protocol: Any) -> None:
            made.append(protocol)
            if len(made) < count:
                return
            for each in made[:-1]:
                each.transport.write(b"now")
            socks[0].setblocking(False)
            self.assertRaises(BlockingIOError, socks[0].recv, 10)
            made[-1].transport.write(b"now")
            self.assertEqual([sock.recv(10) for sock in socks], [b"now"] * count)
            made[0].transport.write(b"then")
            self.reactor.callLater(0, end)

        def end() -> None:
            self.assertEqual(socks[0].recv(10), b"then")
            self.stop()

        class Counted(Recorder):
            def on_made(self, protocol: Any) -> None:
                add(protocol)

        port = self.listen(Counted)
        socks += [self.raw(port) for _ in range(count)]
        self.go()

    def test_later(self) -> None:
        """
        What is put off is called when the turn has read all; not on a connection that has ended, and an exception ends
        it.
        """
        first, second = Recorder(), Recorder()
        calls: list[str] = []

        def received(protocol: Any, data: bytes) -> None:
            protocol.transport.later(lambda: calls.append("later"))
            protocol.transport.later(lambda: 1 // 0)
            protocol.transport.later(lambda: calls.append("never"))
            calls.append("first")

        first.on_data = received
        first.on_lost = self.stop
        self.connect(self.listen(first), second)
        second.on_made = lambda protocol: protocol.transport.write(b"go")
        self.go()
        self.assertEqual(calls, ["first", "later"])
        self.assertIsInstance(first.reason.value, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_sequences(self) -> None:
        """
        Pieces arrive in order, whatever their sizes, and however they are changed after they were written.
        """
        server = Recorder()
        changing = bytearray(b"b" * 100_000)
        large = b"l" * 3_000_000
        read: list[bytes] = []

        def made(protocol: Any) -> None:
            write = protocol.transport.writeSequence
            write([b"a", large, b"c"])
            write(piece for piece in (b"d", changing, memoryview(b"e")))
            write([])
            write([b"", large, b""])
            changing[:] = b"x" * 100_000
            protocol.transport.loseConnection()
            reader.start()

        reader = Thread(target=lambda: [read.append(piece) for piece in iter(lambda: sock.recv(1 << 20), b"")])
        server.on_made = made
        server.on_lost = self.stop
        sock = self.raw(self.listen(server))
        self.go()
        reader.join(10)
        self.assertEqual(b"".join(read), b"a" + large + b"cd" + b"b" * 100_000 + b"e" + large)

    def test_not_bytes(self) -> None:
        """
        Text is refused, and nothing of the sequence that it stood in is sent.
        """
        server = Recorder()

        def made(protocol: Any) -> None:
            self.assertRaises(TypeError, protocol.transport.write, "text")
            self.assertRaises(TypeError, protocol.transport.writeSequence, [b"bytes", "text"])
            self.assertRaises(TypeError, protocol.transport.writeSequence, [b"bytes" * 100_000, "text"])
            protocol.transport.write(b"good")
            protocol.transport.unsent()
            self.assertEqual(sock.recv(100), b"good")
            self.stop()

        server.on_made = made
        sock = self.raw(self.listen(server))
        self.go()

    def test_protocol_is_replaced(self) -> None:
        """
        After a hand-over the new protocol gets what arrives, and the end.
        """
        old, new = Recorder(), Recorder()

        def received(protocol: Any, data: bytes) -> None:
            hand_over(old, new)
            sock.sendall(b"second")
            new.on_data = lambda *ignored: sock.close()

        old.on_data = received
        new.on_lost = self.stop
        sock = self.raw(self.listen(old))
        sock.sendall(b"first")
        self.go()
        self.assertEqual((old.data, new.data), (b"first", b"second"))
        self.assertIsNone(old.reason)

    def test_log_context(self) -> None:
        """
        What is logged while a protocol runs is marked with its name.
        """
        server = Recorder()
        systems: list[str] = []

        def received(protocol: Any, data: bytes) -> None:
            systems.append(context.get(ILogContext)["system"])
            self.stop()

        server.on_data = received
        self.raw(self.listen(server)).sendall(b"x")
        self.go()
        self.assertEqual(systems, ["Recorder,0,127.0.0.1"])
        self.assertNotEqual(context.get(ILogContext)["system"], systems[0])

    def test_start_tls(self) -> None:
        """
        A connection turns to TLS after a word in the clear, with a producer registered on one side.
        """
        authority = make_certificate()
        server, client = Recorder(), Recorder()
        secured: list[bool] = []

        def clear(protocol: Any, data: bytes) -> None:
            protocol.transport.write(b"go")
            protocol.transport.startTLS(authority.options())
            protocol.on_data = lambda protocol, data: protocol.transport.write(data.upper())

        def answered(protocol: Any, data: bytes) -> None:
            if protocol.data == b"go":
                protocol.transport.registerProducer(producer, True)
                protocol.transport.startTLS(
                    CertificateOptions(trustRoot=trustRootFromCertificates([authority])),
                )
                protocol.transport.write(b"secret")
            elif protocol.data == b"goSECRET":
                secured.append(ISSLTransport.providedBy(protocol.transport))
                protocol.transport.unregisterProducer()
                protocol.transport.loseConnection()

        producer = Producer()
        server.on_data, client.on_data = clear, answered
        client.on_made = lambda protocol: protocol.transport.write(b"tls, please")
        server.on_lost = self.stop
        self.connect(self.listen(server), client)
        self.go()
        self.assertEqual(server.data, b"tls, pleasesecret")
        self.assertEqual(secured, [True])


class Endings(ReactorCase):
    """
    How connections end.
    """

    def test_lose_connection_sends_all(self) -> None:
        """
        ``loseConnection`` closes when all has been sent, however slow the reader is.
        """
        server, client = Recorder(), Recorder()

        def made(protocol: Any) -> None:
            protocol.transport.write(b"x" * MUCH)
            protocol.transport.loseConnection()
            self.assertTrue(protocol.transport.disconnecting)
            protocol.transport.write(b"too late")

        server.on_made = made
        client.on_lost = self.stop
        self.connect(self.listen(server), client)
        self.go()
        self.assertEqual(len(client.data), MUCH)
        self.assertIsInstance(client.reason.value, ConnectionDone)

    def test_abort(self) -> None:
        """
        ``abortConnection`` resets the connection, and its protocol hears of it afterwards.
        """
        server = Recorder()
        within: list[Any] = []

        def received(protocol: Any, data: bytes) -> None:
            protocol.transport.write(b"x" * MUCH)
            protocol.transport.abortConnection()
            protocol.transport.abortConnection()
            within.append(protocol.reason)

        server.on_data = received
        server.on_lost = self.stop
        sock = self.raw(self.listen(server))
        sock.sendall(b"x")
        self.go()
        self.assertEqual(within, [None])
        self.assertIsInstance(server.reason.value, ConnectionAborted)
        self.assertRaises(ConnectionResetError, read_all, sock)

    def test_end_of_stream(self) -> None:
        """
        For a protocol that knows no half-closed connections, the other side's end is the end.
        """
        server = Recorder()
        server.on_lost = self.stop
        self.raw(self.listen(server)).shutdown(socket.SHUT_WR)
        self.go()
        self.assertIsInstance(server.reason.value, ConnectionDone)

    def test_reset(self) -> None:
        """
        A connection that the other side resets is lost, not done.
        """
        server = Recorder()
        server.on_lost = self.stop
        sock = self.raw(self.listen(server))

        def made(protocol: Any) -> None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

        server.on_made = made
        self.go()
        self.assertIsInstance(server.reason.value, ConnectionLost)
        self.assertEqual(server.transport.fileno(), -1)

    def test_half_close(self) -> None:
        """
        Each direction ends by itself: the other's end is told, ours follows what we have sent and is told too.
        """
        server = HalfCloseable()
        sock = self.raw(self.listen(server))

        def read_lost() -> None:
            server.halves.append("read")
            server.transport.resumeProducing()  # has nothing to resume
            server.transport.write(b"x" * 1000)
            server.transport.loseWriteConnection()
            server.transport.write(b"y")

        def write_lost() -> None:
            server.halves.append("write")
            server.transport.write(b"z")
            self.later(self.stop)

        server.readConnectionLost = read_lost  # type: ignore[method-assign]
        server.writeConnectionLost = write_lost  # type: ignore[method-assign]
        sock.shutdown(socket.SHUT_WR)
        self.go()
        self.assertEqual(server.halves, ["read", "write"])
        self.assertEqual(read_all(sock), b"x" * 1000 + b"y")

    def test_half_close_waits_for_the_reader(self) -> None:
        """
        Our half is closed, and this is told, when the last byte has been sent.
        """
        server = HalfCloseable()
        client = HalfCloseable()

        def made(protocol: Any) -> None:
            protocol.transport.write(b"x" * MUCH)
            protocol.transport.loseWriteConnection()
            self.assertEqual(protocol.halves, [])

        def read_lost() -> None:
            seen.append((len(client.data), list(server.halves)))
            self.stop()

        seen: list[Any] = []
        server.on_made = made
        client.readConnectionLost = read_lost  # type: ignore[method-assign]
        self.connect(self.listen(server), client)
        self.go()
        self.assertEqual(seen, [(MUCH, ["write"])])

    def test_protocol_raises(self) -> None:
        """
        An exception in a protocol is logged once and ends that connection.
        """
        server = Recorder()
        server.on_data = lambda protocol, data: 1 / 0
        server.on_lost = self.stop
        self.raw(self.listen(server)).sendall(b"x")
        self.go()
        self.assertIsInstance(server.reason.value, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_connection_lost_raises(self) -> None:
        """
        An exception in ``connectionLost`` is logged, and the factory of a client still hears of the end.
        """
        client = Recorder()
        client.on_lost = lambda protocol, reason: 1 / 0
        connector = self.connect(self.listen(Recorder), client)
        connector.factory.clientConnectionLost = self.stop
        client.on_made = lambda protocol: protocol.transport.loseConnection()
        self.go()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_reactor_stops(self) -> None:
        """
        Open connections, paused ones too, are lost when the reactor stops, and so are its ports.
        """
        server, client = Recorder(), Recorder()
        port = self.listen(server)

        def made(protocol: Any) -> None:
            protocol.transport.pauseProducing()
            self.later(self.stop)

        server.on_made = made
        self.connect(port, client)
        self.go()
        self.assertIsInstance(server.reason.value, ConnectionLost)
        self.assertIsInstance(client.reason.value, ConnectionLost)
        self.assertEqual((self.reactor.connections, self.reactor.ports), (set(), set()))
        self.assertFalse(port.connected)


class BackPressure(ReactorCase):
    """
    Nobody is sent more than they read, and nobody is told more than they asked for.
    """

    def test_push_producer(self) -> None:
        """
        A push producer is paused while the other side does not read, and resumed when it does.
        """
        server = Recorder()
        sock = self.raw(self.listen(server))
        chunk = b"x" * 10000
        sent = most = 0

        def produce() -> None:
            nonlocal sent, most
            while producer.calls[-1:] != ["pause"] and sent < MUCH:
                server.transport.write(chunk)
                sent += len(chunk)
                most = max(most, server.transport.unsent())
            if sent >= MUCH:
                server.transport.unregisterProducer()
                server.transport.loseConnection()
            elif len(producer.calls) == 1:
                self.later(self.reactor.callInThread, drain)

        def drain() -> None:
            got.append(len(read_all(sock)))
            self.reactor.callFromThread(self.stop)

        got: list[int] = []
        producer = Producer(produce)
        server.on_made = lambda protocol: (protocol.transport.registerProducer(producer, True), produce())
        self.go()
        self.assertEqual(producer.calls[:2], ["pause", "resume"])
        self.assertLessEqual(most, HIGH_WATER + len(chunk))
        self.assertEqual(got, [sent])

    def test_push_producer_comes_late(self) -> None:
        """
        A push producer that is registered while much is waiting is paused too, but not before that call has returned.
        """
        server = Recorder()
        sock = self.raw(self.listen(server))
        producer = Producer()

        def made(protocol: Any) -> None:
            protocol.transport.write(b"x" * MUCH)
            protocol.transport.registerProducer(producer, True)
            self.assertEqual(producer.calls, [])
            self.assertRaises(RuntimeError, protocol.transport.registerProducer, Producer(), True)
            self.later(self.stop)

        server.on_made = made
        self.go()
        self.assertEqual(producer.calls, ["pause", "stop"])
        sock.close()

    def test_pull_producer(self) -> None:
        """
        A pull producer is asked for more when what it gave has been sent, and may finish although the connection is
        to be closed.
        """
        server, client = Recorder(), Recorder()
        pieces = [bytes([65 + number]) * 300_000 for number in range(20)]
        waiting: list[int] = []

        def produce() -> None:
            waiting.append(server.transport.unsent())
            if len(waiting) <= len(pieces):
                server.transport.write(pieces[len(waiting) - 1])
            else:
                server.transport.unregisterProducer()

        def made(protocol: Any) -> None:
            protocol.transport.registerProducer(Producer(produce), False)
            protocol.transport.loseConnection()

        server.on_made = made
        client.on_lost = self.stop
        self.connect(self.listen(server), client)
        self.go()
        self.assertEqual(client.data, b"".join(pieces))
        self.assertEqual(waiting, [0] * 21)

    def test_producer_raises(self) -> None:
        """
        A pull producer that raises ends the connection.
        """
        server = Recorder()
        calls: list[int] = []

        def produce() -> None:
            calls.append(1)
            server.transport.write(b"x")
            if len(calls) == 3:
                raise ZeroDivisionError

        server.on_made = lambda protocol: protocol.transport.registerProducer(Producer(produce), False)
        server.on_lost = self.stop
        self.raw(self.listen(server))
        self.go()
        self.assertIsInstance(server.reason.value, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_producer_is_stopped(self) -> None:
        """
        A producer is stopped when the connection is lost, and at once when it comes after that.
        """
        server = Recorder()
        first, second = Producer(), Producer()
        server.on_made = lambda protocol: (protocol.transport.registerProducer(first, True), sock.close())
        server.on_lost = self.stop
        sock = self.raw(self.listen(server))
        self.go()
        server.transport.registerProducer(second, True)
        self.assertEqual((first.calls, second.calls), (["stop"], ["stop"]))

    def test_running_push_producer_is_not_waited_for(self) -> None:
        """
        ``loseConnection`` closes although a push producer is registered, when that was free to write: two connections
        that produce for each other end together, as Twisted's port forwarding relies on.
        """
        server = Recorder()
        producer = Producer()
        server.on_made = lambda protocol: (
            protocol.transport.registerProducer(producer, True),
            protocol.transport.loseConnection(),
        )
        server.on_lost = self.stop
        sock = self.raw(self.listen(server))
        self.go()
        self.assertEqual(producer.calls, ["stop"])
        self.assertEqual(sock.recv(1), b"")

    def test_paused_from_the_start(self) -> None:
        """
        A protocol that pauses its connection as it is made receives nothing until it resumes it, and then all.
        """
        server = Recorder()
        early: list[bytes] = []

        def resume() -> None:
            early.append(server.data)
            server.transport.resumeProducing()
            early.append(server.data)

        def made(protocol: Any) -> None:
            protocol.transport.pauseProducing()
            self.later(resume)

        def received(protocol: Any, data: bytes) -> None:
            if protocol.data == b"all that was sent":
                sock.shutdown(socket.SHUT_WR)

        server.on_made, server.on_data, server.on_lost = made, received, self.stop
        sock = self.raw(self.listen(server))
        sock.sendall(b"all that ")
        self.reactor.callLater(0.01, sock.sendall, b"was sent")
        self.go()
        self.assertEqual(early, [b"", b""])
        self.assertEqual(server.data, b"all that was sent")

    def test_end_while_paused_from_the_start(self) -> None:
        """
        The other side's end is told after ``resumeProducing``, not before.
        """
        server = Recorder()
        early: list[Any] = []

        def resume() -> None:
            early.append(server.reason)
            server.transport.resumeProducing()

        server.on_made = lambda protocol: (protocol.transport.pauseProducing(), self.later(resume))
        server.on_lost = self.stop
        self.raw(self.listen(server)).shutdown(socket.SHUT_WR)
        self.go()
        self.assertEqual(early, [None])
        self.assertIsInstance(server.reason.value, ConnectionDone)

    def test_paused_later(self) -> None:
        """
        A protocol that pauses while it receives gets nothing more until it resumes.
        """
        server = Recorder()
        early: list[bytes] = []

        def received(protocol: Any, data: bytes) -> None:
            if protocol.data == b"one":
                protocol.transport.pauseProducing()
                self.assertNotIn(protocol.transport, self.reactor.getReaders())
                sock.sendall(b"two")
                self.later(lambda: (early.append(protocol.data), protocol.transport.resumeProducing()))
            else:
                self.stop()

        server.on_data = received
        sock = self.raw(self.listen(server))
        sock.sendall(b"one")
        self.go()
        self.assertEqual((early, server.data), ([b"one"], b"onetwo"))

    def test_duplicate(self) -> None:
        """
        A duplicate of the descriptor can be watched and written, where the transport's own is refused.
        """
        server = Recorder()
        sock = self.raw(self.listen(server))
        loop = self.reactor.loop

        def made(protocol: Any) -> None:
            transport = protocol.transport
            self.assertRaises(RuntimeError, loop.add_writer, transport.fileno(), lambda: None)
            descriptor = transport.duplicate()
            self.assertFalse(os.get_inheritable(descriptor))
            transport.write(b"head ")
            self.assertEqual(transport.unsent(), 0)
            loop.add_writer(descriptor, writable, descriptor)

        def writable(descriptor: int) -> None:
            loop.remove_writer(descriptor)
            os.write(descriptor, b"body ")
            os.close(descriptor)
            server.transport.write(b"tail")
            server.transport.loseConnection()

        server.on_made = made
        server.on_lost = self.stop
        self.go()
        self.assertEqual(read_all(sock), b"head body tail")


def read_all(sock: socket.socket) -> bytes:
    """
    What a blocking socket receives until its end.
    """
    pieces = []
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def make_certificate() -> PrivateCertificate:
    """
    A self-signed certificate.
    """
    from twisted.internet.ssl import KeyPair

    return KeyPair.generate(size=2048).selfSignedCert(1, CN="localhost")


class UvloopConversationsTests(OnUvloop, Conversations):
    """
    Conversations on uvloop.
    """


class AsyncioConversationsTests(OnAsyncio, Conversations):
    """
    Conversations on asyncio's own loop.
    """


class UvloopEndingsTests(OnUvloop, Endings):
    """
    Endings on uvloop.
    """


class AsyncioEndingsTests(OnAsyncio, Endings):
    """
    Endings on asyncio's own loop.
    """


class UvloopBackPressureTests(OnUvloop, BackPressure):
    """
    Back-pressure on uvloop.
    """


class AsyncioBackPressureTests(OnAsyncio, BackPressure):
    """
    Back-pressure on asyncio's own loop.
    """


# Only the classes with a loop are tests.
del Conversations, Endings, BackPressure
