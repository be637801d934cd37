"""
What the demo site needs and no outside service gives: a WebSocket that says back what it hears.

``app = "twistginx.demo:echo"`` mounts it.  It is also the shortest example of a resource that changes the protocol:
answer 101, then take the connection over.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from hashlib import sha1
from typing import Any, Final

from twisted.internet.protocol import Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twistginx.http.message import Fields, Reply, ResponseHead
from twistginx.interfaces import IStreaming

#: What a server mixes into the client's key to show that it means WebSocket (RFC 6455 section 1.3).
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: The longest frame that is echoed, in bytes of payload; a longer one ends the connection with 1009.
MAX_PAYLOAD: Final = 64 * 1024

# Opcodes (RFC 6455 section 5.2).
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: What is sent back for a frame: data as it came, a pong for a ping, the close itself.
_ANSWERS: Final = {_CONTINUATION: _CONTINUATION, _TEXT: _TEXT, _BINARY: _BINARY, _PING: _PONG, _CLOSE: _CLOSE}

_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F


def accept_key(key: bytes) -> bytes:
    """
    The ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key`` (RFC 6455 section 4.2.2).
    """
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def frame(opcode: int, payload: bytes, first: int = _FIN) -> bytes:
    """
    A frame as a server sends it, without a mask.

    :param first: the first byte without its opcode: the FIN bit, or nothing when more frames of the message follow.
    """
    length = len(payload)
    if length < 126:
        size = bytes([length])
    elif length < 1 << 16:
        size = b"\x7e" + length.to_bytes(2, "big")
    else:
        size = b"\x7f" + length.to_bytes(8, "big")
    return bytes([first | opcode]) + size + payload


def unmask(payload: bytes, mask: bytes) -> bytes:
    """
    Take the client's mask of four bytes off (RFC 6455 section 5.3).
    """
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")


class Echo(Protocol):
    """
    One WebSocket connection, after its handshake: every frame goes back as it came.

    A client that sends and does not read is not read from either.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._ended = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(transport, True)

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        self._buffer += data
        answers = []
        while not self._ended:
            answer = self._next()
            if answer is None:
                break
            answers.append(answer)
        if answers:
            transport.write(b"".join(answers))
        if self._ended:
            self._buffer = b""
            transport.unregisterProducer()
            transport.loseConnection()

    def _next(self) -> bytes | None:
        """
        Take one frame from the buffer, and return what answers it; None when it has not all arrived.
        """
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, length = buffer[0] & _OPCODE, buffer[1] & _LENGTH
        control = opcode >= _CLOSE
        if buffer[0] & _RESERVED or not buffer[1] & _MASKED or (control and (length > 125 or not buffer[0] & _FIN)):
            return self._end(1002)
        start = 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if length > MAX_PAYLOAD:
            return self._end(1009)
        end = start + 4 + length
        if len(buffer) < end:
            return None
        payload = unmask(buffer[start + 4 : end], buffer[start : start + 4])
        self._buffer = buffer[end:]
        if opcode == _CLOSE:
            self._ended = True
        elif opcode == _PONG:
            return b""
        elif opcode not in _ANSWERS:
            return self._end(1002)
        return frame(_ANSWERS[opcode], payload, buffer[0] & _FIN)

    def _end(self, code: int) -> bytes:
        self._ended = True
        return frame(_CLOSE, code.to_bytes(2, "big"))


@implementer(IStreaming)
class EchoResource(Resource):
    """
    Opens a WebSocket; explains itself to a client that does not ask for one.
    """

    isLeaf = True

    def render(self, request: Any) -> int:
        head = request.head
        key = request.fields.first(b"sec-websocket-key")
        if head.method != b"GET" or (head.upgrade or b"").lower() != b"websocket" or not _is_key(key):
            request.respond(_UPGRADE_REQUIRED)
        elif request.fields.first(b"sec-websocket-version") != b"13":
            request.respond(_WRONG_VERSION)
        else:
            fields = [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Accept", accept_key(key))]
            request.start(ResponseHead(101, Fields.of(fields), length=0))
            request.take_over(Echo())
        return NOT_DONE_YET


def _is_key(key: bytes | None) -> bool:
    try:
        return key is not None and len(b64decode(key, validate=True)) == 16
    except NotBase64:
        return False


_PLAIN: Final = (b"Content-Type", b"text/plain; charset=utf-8")
_UPGRADE_REQUIRED: Final = Reply(
    426, [_PLAIN, (b"Upgrade", b"websocket")], b"This address speaks WebSocket: open it with a WebSocket client.\n"
)
_WRONG_VERSION: Final = Reply(
    426, [_PLAIN, (b"Sec-WebSocket-Version", b"13")], b"This address speaks version 13 of WebSocket.\n"
)

#: What the demo site mounts.
echo = EchoResource()
