"""
Tests for L{twistginx.net.sendfile}, over real sockets.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import tempfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.http.conversation import Listener, Stage
from tests.net.reactors import OnAsyncio, OnUvloop, ReactorCase, Recorder
from twistginx.http.channel import Channel
from twistginx.http.frontend import Frontend
from twistginx.http.message import FileRange, Record, Reply
from twistginx.net.sendfile import TURN
from twistginx.net.timers import Ticker
from twistginx.routing.router import Route, Site

#: More than the kernel takes for a client that does not read.
LARGE = 24 * 1024 * 1024


class Sender(Recorder):
    """
    A server that is a push producer, as an HTTP channel is, and notes what it is told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.on_resumed: Callable[[], Any] = lambda: None

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        super().connectionMade()

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.on_resumed()

    def stopProducing(self) -> None:
        self.told.append("stop")


class SendfileMixin:
    """
    Files over TCP.
    """

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.content = os.urandom(1 << 20) * (LARGE >> 20)
        self.file, name = tempfile.mkstemp()
        os.write(self.file, self.content)
        os.unlink(name)
        self.addCleanup(os.close, self.file)
        self.sender = Sender()
        self.sender.on_lost = self.stop
        self.received = bytearray()
        self.wanted = 0
        self.port = self.listen(self.sender)
        self.client = self.raw(self.port)
        self.client.setblocking(False)

    def read(self, upto: int = 1 << 30, then: Any = None) -> None:
        """
        Read from the loop: so many bytes, or to the end, and close.
        """
        try:
            while len(self.received) < upto:
                piece = self.client.recv(1 << 20)
                if not piece:
                    self.client.close()
                    return
                self.received += piece
        except BlockingIOError:
            self.wanted = upto
            self.reactor.callLater(0, self.read, upto, then)
            return
        except ConnectionResetError:
            self.client.close()
            return
        self.wanted = 0
        if then is not None:
            then()

    def go(self) -> None:
        """
        Run the reactor; what was still on its way when that ended is read as well.
        """
        super().go()  # type: ignore[misc]
        if self.wanted and self.client.fileno() >= 0:
            self.client.settimeout(5)
            with contextlib.suppress(OSError):
                while len(self.received) < self.wanted and (piece := self.client.recv(1 << 20)):
                    self.received += piece

    def descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def test_order(self) -> None:
        """
        What is written before goes before, whether it has left or not; files and bytes alternate as they were sent.
        """
        head = b"h" * (LARGE // 2)
        parts = iter([(5, LARGE - 5), (0, 100), (100, 300_000)])
        sendings: list[Any] = []

        def on_resumed() -> None:
            transport = self.sender.transport
            if sendings and not sendings[-1].ended:
                return  # it was the head that has left
            while (part := next(parts, None)) is not None:
                transport.write(b"<%d>" % part[0])
                sendings.append(transport.send_file(self.file, *part))
                if not sendings[-1].ended:
                    return
            transport.unregisterProducer()
            transport.write(b"end")
            transport.loseConnection()

        def on_made(sender: Sender) -> None:
            sender.on_resumed = on_resumed
            sender.transport.write(head)  # type: ignore[union-attr]
            on_resumed()
            self.read()

        self.sender.on_made = on_made
        self.go()
        content = self.content
        self.assertEqual(
            bytes(self.received),
            head + b"<5>" + content[5:] + b"<0>" + content[:100] + b"<100>" + content[100:300_100] + b"end",
        )
        self.assertEqual([sending.left for sending in sendings], [0, 0, 0])

    def test_small(self) -> None:
        """
        What the kernel takes at once is sent at once, and nothing waits for anything.
        """

        def on_made(sender: Sender) -> None:
            before = self.descriptors()
            sending: Any = sender.transport.send_file(self.file, 0, 1000)  # type: ignore[union-attr]
            self.assertEqual((sending.ended, sending.left, sender.told), (True, 0, []))
            self.assertEqual(self.descriptors(), before)
            sender.transport.loseConnection()  # type: ignore[union-attr]
            self.read()

        self.sender.on_made = on_made
        self.go()
        self.assertEqual(bytes(self.received), self.content[:1000])

    def test_unix(self) -> None:
        """
        UNIX sockets can do it as well.
        """
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "socket")
            factory = Factory()
            factory.buildProtocol = lambda address: self.sender  # type: ignore[method-assign]
            self.reactor.listenUNIX(path, factory)
            self.client.close()
            self.sender.on_lost = lambda *_: None
            self.sender = Sender()
            self.sender.on_lost = self.stop
            self.client = socket.socket(socket.AF_UNIX)
            self.addCleanup(self.client.close)
            self.client.connect(path)
            self.client.setblocking(False)

            def on_made(sender: Sender) -> None:
                transport: Any = sender.transport
                transport.write(b"head")
                sender.on_resumed = transport.loseConnection
                self.assertFalse(transport.send_file(self.file, 0, LARGE).ended)
                self.read()

            self.sender.on_made = on_made
            self.go()
        self.assertEqual(bytes(self.received), b"head" + self.content)

    def test_slow_reader(self) -> None:
        """
        A client that does not read pauses the producer, once; what is left falls as it reads; the loop is not kept
        busy meanwhile.
        """
        calls: list[int] = []
        sendfile = os.sendfile

        def counted(*args: int) -> int:
            sent = -1
            try:
                sent = sendfile(*args)
                return sent
            finally:
                calls.append(sent)

        self.patch(os, "sendfile", counted)
        left: list[int] = []

        def on_made(sender: Sender) -> None:
            sender.transport.write(b"head")  # type: ignore[union-attr]
            sender.transport.send_file(self.file, 0, LARGE)  # type: ignore[union-attr]
            self.later(stalled)

        def stalled() -> None:
            left.append(self.sender.transport.unsent())  # type: ignore[union-attr]
            tried = len(calls)
            self.later(lambda: (self.assertEqual(len(calls), tried), self.read(LARGE // 2, on_half)))

        def on_half() -> None:
            left.append(self.sender.transport.unsent())  # type: ignore[union-attr]
            self.sender.on_resumed = self.sender.transport.loseConnection  # type: ignore[union-attr]
            self.read()

        self.sender.on_made = on_made
        self.go()
        self.assertEqual(bytes(self.received), b"head" + self.content)
        self.assertEqual(self.sender.told[:2], ["pause", "resume"])
        self.assertTrue(LARGE > left[0] > LARGE // 2 >= left[1] > 0, left)
        self.assertLessEqual(max(calls), TURN)

    def test_others_have_their_turn(self) -> None:
        """
        However fast the client reads, no turn of the loop sends more than its share.
        """
        turns = 0
        sending: Any = None

        def turn() -> None:
            nonlocal turns
            turns += 1
            if sending.ended:
                self.sender.transport.loseConnection()  # type: ignore[union-attr]
            else:
                self.reactor.callLater(0, turn)

        def on_made(sender: Sender) -> None:
            nonlocal sending
            sending = sender.transport.send_file(self.file, 0, LARGE)  # type: ignore[union-attr]
            turn()
            self.read()

        self.sender.on_made = on_made
        self.go()
        self.assertEqual(len(self.received), LARGE)
        self.assertGreaterEqual(turns, LARGE // TURN)

    def check_ends(self, act: Callable[[], object]) -> None:
        """
        While a file is stuck, C{act} ends the connection: nothing is left open, the producer is told.
        """
        sendings: list[Any] = []
        before: list[int] = []

        def on_made(sender: Sender) -> None:
            before.append(self.descriptors())
            sendings.append(sender.transport.send_file(self.file, 0, LARGE))  # type: ignore[union-attr]
            self.assertEqual(self.descriptors(), before[0] + 1)
            self.later(act)

        self.sender.on_made = on_made
        self.sender.on_lost = lambda *_: (self.client.close(), self.later(count))

        def count() -> None:
            before.append(self.descriptors())
            self.stop()

        self.go()
        self.assertTrue(sendings[0].ended)
        self.assertGreater(sendings[0].left, 0)
        self.assertIsNone(self.sender.transport.send_file(self.file, 0, 1))  # type: ignore[union-attr]
        self.assertEqual(before[1], before[0] - 2)  # both ends of the connection, and the duplicate

    def test_aborted(self) -> None:
        """
        We abort: the client sees a reset, because no descriptor keeps the connection alive.
        """

        def abort() -> None:
            self.sender.transport.abortConnection()  # type: ignore[union-attr]

        self.check_ends(abort)

    def test_client_resets(self) -> None:
        """
        The client is gone.
        """

        def reset() -> None:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.client.close()

        self.check_ends(reset)
        self.assertIsNotNone(self.sender.reason)

    def test_stopped(self) -> None:
        """
        Stopped by who has asked for it, the connection goes on: bytes may be written behind what has left.
        """

        def on_made(sender: Sender) -> None:
            transport: Any = sender.transport
            sending = transport.send_file(self.file, 0, LARGE)

            def stop() -> None:
                sending.stop()
                sending.stop()
                self.assertEqual(transport.unsent(), 0)
                transport.write(b"rest")
                self.sent = LARGE - sending.left
                self.later(transport.loseConnection)
                self.read()

            self.later(stop)

        self.sender.on_made = on_made
        self.go()
        self.assertEqual(bytes(self.received), self.content[: self.sent] + b"rest")
        self.assertEqual(self.sender.told[:2], ["pause", "resume"])

    def check_behind(self, end: str) -> None:
        """
        The connection is closed behind the file.
        """

        def on_made(sender: Sender) -> None:
            transport: Any = sender.transport
            transport.unregisterProducer()
            transport.send_file(self.file, 0, LARGE)
            getattr(transport, end)()
            self.later(self.read)

        self.sender.on_made = on_made
        self.go()
        self.assertEqual(len(self.received), LARGE)

    def test_closed_behind(self) -> None:
        """
        C{loseConnection} waits for the file.
        """
        self.check_behind("loseConnection")

    def test_half_closed_behind(self) -> None:
        """
        So does C{loseWriteConnection}.
        """
        self.check_behind("loseWriteConnection")

    def test_cut_file(self) -> None:
        """
        A file that ends before its time ends the sending.
        """

        def on_made(sender: Sender) -> None:
            sending: Any = sender.transport.send_file(self.file, LARGE - 10, 100)  # type: ignore[union-attr]
            sender.on_resumed = lambda: (
                self.assertEqual((sending.ended, sending.left), (True, 90)),
                sender.transport.loseConnection(),  # type: ignore[union-attr]
            )
            self.read()

        self.sender.on_made = on_made
        self.go()
        self.assertEqual(bytes(self.received), self.content[-10:])

    def test_impossible(self) -> None:
        """
        So does one that the kernel cannot send in this way.
        """

        def refuse(*_: int) -> int:
            raise OSError(errno.EINVAL, "no")

        self.patch(os, "sendfile", refuse)

        def on_made(sender: Sender) -> None:
            sending: Any = sender.transport.send_file(self.file, 0, 100)  # type: ignore[union-attr]
            self.assertEqual((sending.ended, sending.left, sender.told), (True, 100, []))
            self.client.close()

        self.sender.on_made = on_made
        self.go()

    def test_pulled(self) -> None:
        """
        Where a pull producer writes, only bytes can be written.
        """

        def on_made(sender: Sender) -> None:
            transport: Any = sender.transport
            transport.unregisterProducer()
            pulled = SimpleNamespace(resumeProducing=lambda: None, stopProducing=lambda: None)
            transport.registerProducer(pulled, False)
            self.assertIsNone(transport.send_file(self.file, 0, 100))
            transport.unregisterProducer()
            transport.loseConnection()
            self.assertIsNone(transport.send_file(self.file, 0, 100))
            self.read()

        self.sender.on_made = on_made
        self.go()

    # Under HTTP.

    def finish(self) -> None:
        self.open_at_end = self.descriptors()
        self.stop()

    def serve(self, *requests: bytes, parts: Any = None, length: int | None = None) -> None:
        """
        A channel that answers every request with the next of C{parts}, and a client that sends C{requests} at once.
        """
        self.records: list[Record] = []
        answers = iter(parts or [(0, LARGE)] * len(requests))

        def act(request: Any) -> None:
            self.open_before = self.descriptors()
            request.respond(Reply(200, (), FileRange(os.dup(self.file), *next(answers)), length=length))

        def log(request: Any, record: Record) -> None:
            self.records.append(record)
            if len(self.records) == len(requests):
                self.later(self.finish)

        ticker = Ticker(self.reactor)
        frontend = Frontend(ticker, log=log)
        frontend.default = Site("test", (Route("all", Stage(act), prefix=b"/", streaming=True),), self.reactor)
        listener = Listener(frontend)
        port = self.listen(lambda: None)
        port.factory.buildProtocol = lambda address: Channel(listener, address)
        self.client = self.raw(port)
        self.client.sendall(b"".join(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method for method in requests))
        self.client.setblocking(False)

    def bodies(self) -> list[bytes]:
        found = []
        data = bytes(self.received)
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            found.append(data[:length])
            data = data[length:]
        return found

    def test_channel(self) -> None:
        """
        Pipelined requests have their files in order, large and small, and the log says how much was sent.
        """
        parts = [(0, LARGE), (7, 100_000), (3, 0), (LARGE - 5, 5)]
        self.serve(*[b"GET"] * 4, parts=parts)
        self.read()
        self.go()
        self.assertEqual(self.bodies(), [self.content[start : start + length] for start, length in parts])
        self.assertEqual([record.sent for record in self.records], [length for _, length in parts])

    def test_client_leaves(self) -> None:
        """
        A client that leaves in the middle: the file is closed, and the log says how much had been sent.
        """
        self.serve(b"GET")
        self.read(LARGE // 2, self.client.close)
        self.go()
        self.assertEqual(self.records[0].reason, "client_disconnected")
        self.assertTrue(LARGE // 2 <= self.records[0].sent < LARGE, self.records[0].sent)
        # Both ends of the connection, its duplicate and the file are closed.
        self.assertEqual(self.open_at_end, self.open_before - 2)

    def test_reads_instead(self) -> None:
        """
        Where the kernel refuses in the middle, the rest is read and written.
        """
        sendfile = os.sendfile
        calls: list[int] = []

        def refuse(*args: int) -> int:
            calls.append(1)
            if len(calls) > 1:
                raise OSError(errno.EINVAL, "no")
            return sendfile(*args)

        self.patch(os, "sendfile", refuse)
        self.serve(b"GET")
        self.read()
        self.go()
        self.assertEqual(self.bodies(), [self.content])
        self.assertEqual([record.sent for record in self.records], [LARGE])

    def test_other_length(self) -> None:
        """
        A file that is not what was announced is not sent past us, so that the connection is broken as for any body.
        """
        self.serve(b"GET", parts=[(0, 200)], length=100)
        self.read()
        self.go()
        self.assertEqual(self.records[0].reason, "proxy_internal_error")


class UvloopSendfileTests(SendfileMixin, OnUvloop, ReactorCase):
    """
    On uvloop.
    """


class AsyncioSendfileTests(SendfileMixin, OnAsyncio, ReactorCase):
    """
    On asyncio's own loop.
    """


class NoSendfileTests(SynchronousTestCase):
    """
    Transports that are not ours.
    """

    def test_stock(self) -> None:
        """
        They have no C{send_file}, which is how a response knows.
        """
        self.assertFalse(hasattr(StringTransport(), "send_file"))
