"""
Tunnels of WebSocket frames, and how they say goodbye.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from wsproto.frame_protocol import FrameProtocol, Opcode

from tests.net.test_relay import IDLE_TIME, RelayTestCase
from twistginx.net.relay import DONE
from twistginx.net.websocket import Frames, WebSocketRelay

#: Frames of a client, and of a server, of all lengths of head.
MESSAGES = st.lists(st.tuples(st.booleans(), st.sampled_from((0, 1, 125, 126, 127, 300, 65535, 65536, 70000))))


def frames_of(messages: list[tuple[bool, int]]) -> tuple[bytes, set[int]]:
    """
    The frames of messages (masked or not, length), and the offsets where one ends.
    """
    data, ends = b"", {0}
    for masked, length in messages:
        data += FrameProtocol(client=masked, extensions=[])._serialize_frame(Opcode.BINARY, b"x" * length, fin=True)
        ends.add(len(data))
    return data, ends


class FramesTests(RelayTestCase):
    """
    Where a frame ends is known, however the bytes come.
    """

    @given(MESSAGES, st.lists(st.integers(1, 70000), min_size=1, max_size=20))
    def test_any_cuts(self, messages: list[tuple[bool, int]], cuts: list[int]) -> None:
        """
        At random cuts.
        """
        data, ends = frames_of(messages)
        frames, at = Frames(), 0
        for cut in cuts:
            piece = data[at : at + cut]
            frames.feed(piece)
            at += len(piece)
            self.assertEqual(frames.whole, at in ends)

    def test_byte_by_byte(self) -> None:
        """
        And one by one.
        """
        data, ends = frames_of([(True, 3), (False, 0), (True, 200), (False, 66000)])
        frames = Frames()
        for at in range(len(data)):
            frames.feed(data[at : at + 1])
            self.assertEqual(frames.whole, at + 1 in ends, at)


class GoodbyeTests(RelayTestCase):
    """
    A tunnel that is drained closes as RFC 6455 has it.
    """

    def setUp(self) -> None:
        super().setUp()
        self.relay: Any = WebSocketRelay(self.ticker, IDLE_TIME, lambda relay: self.ended.append(relay.reason))
        self.join()

    def said(self, data: bytes, client: bool) -> list[tuple[Opcode, Any]]:
        """
        What a side has heard.
        """
        protocol = FrameProtocol(client=client, extensions=[])
        protocol.receive_bytes(data)
        return [(frame.opcode, frame.payload) for frame in protocol.received_frames()]

    def test_between_frames(self) -> None:
        """
        Both sides hear 1001, the client first of all; the server closes, the client too, and nothing was cut.
        """
        self.relay.left.drain()
        self.flush()
        self.assertEqual(self.said(self.client.received, True), [(Opcode.CLOSE, (1001, ""))])
        self.assertEqual(self.said(self.server.received, False), [(Opcode.CLOSE, (1001, ""))])
        self.server.transport.loseConnection()
        self.flush()
        self.client.transport.loseConnection()
        self.flush()
        self.assertIsInstance(self.client.reason, ConnectionDone)
        self.assertEnded(DONE)

    def test_in_a_frame(self) -> None:
        """
        A frame that is on its way arrives whole, whichever way it goes; after the close nothing does.
        """
        for side in ("server", "client"):
            self.setUp()
            masked = side == "client"
            data, _ = frames_of([(masked, 10)])
            sender, receiver = getattr(self, side), getattr(self, "server" if masked else "client")
            sender.transport.write(data[:5])
            self.flush()
            self.relay.left.drain()
            self.flush()
            self.assertEqual(receiver.received, data[:5])
            sender.transport.write(data[5:])
            self.flush()
            self.assertEqual(receiver.received[: len(data)], data)
            self.assertEqual(self.said(receiver.received, not masked)[-1][0], Opcode.CLOSE)
            heard = receiver.received
            sender.transport.write(data)
            self.flush()
            self.assertEqual(receiver.received, heard)
            self.relay.abort()
            self.flush()

    def test_server_breaks_off(self) -> None:
        """
        A client that has been told is not cut off because the server hangs up on what it was still sent.
        """
        self.relay.left.drain()
        self.server.transport.abortConnection()
        self.flush()
        self.assertEqual(self.said(self.client.received, True), [(Opcode.CLOSE, (1001, ""))])
        self.assertNotIsInstance(getattr(self.client, "reason", None), ConnectionLost)

    def test_silence(self) -> None:
        """
        Who does not answer the close is cut off after a while.
        """
        self.relay.left.drain()
        self.flush()
        self.clock.pump([1.0] * 7)
        self.flush()
        self.assertIsInstance(self.client.reason, ConnectionLost)
        self.assertEnded(DONE)

    def test_not_drained(self) -> None:
        """
        Otherwise it is a relay like others.
        """
        data, _ = frames_of([(False, 300)])
        self.server.transport.write(data)
        self.flush()
        self.assertEqual(self.client.received, data)
        self.server.transport.abortConnection()
        self.flush()
        self.assertIsInstance(self.client.reason, ConnectionLost)
