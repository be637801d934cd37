"""
Tests for L{twistginx.demo}: the WebSocket that says back what it hears.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from twistginx.demo import MAX_PAYLOAD, Echo, accept_key, echo, frame, unmask
from twistginx.http.message import Fields, RequestHead

MASK = b"\x01\x80\xff\x37"


def sent(opcode: int, payload: bytes, fin: int = 0x80) -> bytes:
    """
    A frame as a client sends it.
    """
    head = bytearray(frame(opcode, payload, fin)[: -len(payload) or None])
    head[1] |= 0x80
    return bytes(head) + MASK + unmask(payload, MASK)


def hear(*chunks: bytes) -> tuple[Echo, StringTransportWithDisconnection]:
    """
    A connection that has received C{chunks}.
    """
    protocol = Echo()
    transport = StringTransportWithDisconnection()
    transport.protocol = protocol
    protocol.makeConnection(transport)
    for chunk in chunks:
        protocol.dataReceived(chunk)
    return protocol, transport


class HandshakeTests(SynchronousTestCase):
    """
    A client that asks for a WebSocket gets one; any other is told what this is.
    """

    class Request:
        """
        What the resource uses of a request.
        """

        def __init__(self, *pairs: tuple[bytes, bytes], method: bytes = b"GET") -> None:
            self.fields = Fields.of(pairs)
            self.head = RequestHead(method, b"/ws", b"HTTP/1.1", self.fields)
            self.head.upgrade = self.fields.first(b"upgrade")
            self.reply = self.started = self.protocol = None

        def respond(self, reply):
            self.reply = reply

        def start(self, head):
            self.started = head

        def take_over(self, protocol):
            self.protocol = protocol

    GOOD = (
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"Sec-WebSocket-Version", b"13"),
    )

    def test_accept_key(self) -> None:
        """
        The example of RFC 6455 section 1.3.
        """
        self.assertEqual(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    def test_opens(self) -> None:
        """
        A right request is answered 101, and the connection changes hands.
        """
        request = self.Request(*self.GOOD)
        echo.render(request)
        self.assertEqual(request.started.status, 101)
        self.assertEqual(request.started.fields.first(b"sec-websocket-accept"), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.assertIsInstance(request.protocol, Echo)
        self.assertIsNone(request.reply)

    def test_refuses(self) -> None:
        """
        A plain GET, another method, a key that is none and an old version are answered 426.
        """
        upgrade, key, version = self.GOOD
        for request in (
            self.Request(),
            self.Request(*self.GOOD, method=b"POST"),
            self.Request(upgrade, version),
            self.Request(upgrade, (b"Sec-WebSocket-Key", b"short"), version),
            self.Request((b"Upgrade", b"h2c"), key, version),
            self.Request(upgrade, key, (b"Sec-WebSocket-Version", b"8")),
        ):
            echo.render(request)
            self.assertEqual(request.reply.status, 426)
            self.assertIsNone(request.protocol)


class EchoTests(SynchronousTestCase):
    """
    Frames go back as they came, without the client's mask.
    """

    CONVERSATION = (
        sent(1, b"hello")
        + sent(2, b"")
        + sent(1, b"in ", 0)
        + sent(9, b"ping")
        + sent(0, b"two parts")
        + sent(10, b"a pong nobody asked for")
        + sent(2, b"x" * 300)
        + sent(2, b"y" * MAX_PAYLOAD)
        + sent(8, b"\x03\xe8bye")
    )
    ANSWER = (
        frame(1, b"hello")
        + frame(2, b"")
        + frame(1, b"in ", 0)
        + frame(10, b"ping")
        + frame(0, b"two parts")
        + frame(2, b"x" * 300)
        + frame(2, b"y" * MAX_PAYLOAD)
        + frame(8, b"\x03\xe8bye")
    )

    def test_whole(self) -> None:
        """
        All frames in one read, with bytes after the close, which are nobody's.
        """
        _, transport = hear(self.CONVERSATION + sent(1, b"too late"))
        self.assertEqual(transport.value(), self.ANSWER)
        self.assertFalse(transport.connected)

    def test_byte_by_byte(self) -> None:
        """
        The same frames, a byte at a time.
        """
        short = sent(1, b"hello") + sent(2, b"x" * 300) + sent(8, b"")
        _, transport = hear(*(short[i : i + 1] for i in range(len(short))))
        self.assertEqual(transport.value(), frame(1, b"hello") + frame(2, b"x" * 300) + frame(8, b""))

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, len(CONVERSATION)), max_size=8))
    def test_any_cut(self, cuts) -> None:
        """
        The same frames, cut anywhere.
        """
        edges = [0, *sorted(cuts), len(self.CONVERSATION)]
        chunks = [self.CONVERSATION[a:b] for a, b in pairwise(edges) if a < b]
        _, transport = hear(*chunks)
        self.assertEqual(transport.value(), self.ANSWER)

    def test_wrong_frames(self) -> None:
        """
        No mask, a reserved bit, an unknown opcode, a control frame in parts or too long: 1002, and the end.
        """
        for bad in (
            frame(1, b"no mask"),
            b"\xc1" + sent(1, b"reserved")[1:],
            sent(3, b"?"),
            sent(9, b"part", 0),
            sent(9, b"p" * 126),
        ):
            _, transport = hear(bad + sent(1, b"more"))
            self.assertEqual(transport.value(), frame(8, b"\x03\xea"))
            self.assertFalse(transport.connected)

    def test_too_long(self) -> None:
        """
        A frame longer than it may be is refused by its head: 1009, before its payload has arrived.
        """
        _, transport = hear(sent(2, b"z" * (MAX_PAYLOAD + 1))[:10])
        self.assertEqual(transport.value(), frame(8, b"\x03\xf1"))
        self.assertFalse(transport.connected)

    def test_back_pressure(self) -> None:
        """
        Who does not read is not read from: the transport is its own producer until the close.
        """
        protocol, transport = hear(sent(1, b"hello"))
        self.assertIs(transport.producer, transport)
        protocol.dataReceived(sent(8, b""))
        self.assertIsNone(transport.producer)
