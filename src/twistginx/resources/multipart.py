"""
Several ranges in one answer: multipart/byteranges (RFC 9110 section 14.6).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import Any

from twisted.internet.interfaces import IReactorTime

from twistginx.errors import ProxyError
from twistginx.http.message import Fields, Reply
from twistginx.resources.representation import KeptFile, OpenFile, Representation

#: Bytes of one read.
_CHUNK = 65536

#: Bytes that are sent before other connections have their turn, if the client takes them all at once.
_TURN = 1 << 20

#: What the body is made of: bytes as they are, or ``(start, length)`` of the file.
_Piece = bytes | tuple[int, int]


def multipart(file: KeptFile | OpenFile, ranges: Sequence[tuple[int, int]], reactor: IReactorTime) -> Reply:
    """
    The 206 for more than one range.

    :param file: an OpenFile gives its descriptor to the body.
    :param ranges: ``(start, length)``, each inside the file.
    :param reactor: what gives other connections their turn.
    """
    representation = file.representation
    # 122 random bits: not in the file, unless by an intent that cannot know them.
    boundary = token_hex(16).encode()
    pieces = _pieces(representation, ranges, boundary)
    fields = Fields(representation.fields)
    fields.put(b"Content-Type", b"multipart/byteranges; boundary=" + boundary)
    if isinstance(file, KeptFile):
        body = b"".join([piece if isinstance(piece, bytes) else file.part(*piece) for piece in pieces])
        return Reply(206, fields, body)
    length = sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in pieces)
    return Reply(206, fields, FileParts(file.take(), pieces, reactor), length)


def content_range(start: int, length: int, size: int) -> bytes:
    """
    The value of Content-Range (RFC 9110 section 14.4).
    """
    return b"bytes %d-%d/%d" % (start, start + length - 1, size)


def _pieces(representation: Representation, ranges: Sequence[tuple[int, int]], boundary: bytes) -> list[_Piece]:
    pieces: list[_Piece] = []
    line_end = b""
    for start, length in ranges:
        where = content_range(start, length, representation.size)
        typed = b"" if representation.type is None else b"Content-Type: %b\r\n" % representation.type
        pieces.append(b"%b--%b\r\n%bContent-Range: %b\r\n\r\n" % (line_end, boundary, typed, where))
        pieces.append((start, length))
        line_end = b"\r\n"
    pieces.append(b"\r\n--" + boundary + b"--\r\n")
    return pieces


class FileParts:
    """
    A body made of parts of an open file, and bytes between them.

    The request's source and watcher.  It owns the descriptor, and closes it at the end, when the client leaves, or when
    it is dropped because the body was not wanted after all.
    """

    __slots__ = ("_chunks", "_descriptor", "_reactor", "_request", "_sending", "_waiting")

    def __init__(self, descriptor: int, pieces: list[_Piece], reactor: IReactorTime) -> None:
        self._chunks = _chunks(descriptor, pieces)
        self._descriptor = descriptor
        self._reactor = reactor
        self._request: Any = None
        self._sending = False
        self._waiting = False

    def __call__(self, request: Any) -> None:
        """
        The head is written: go on with the body.
        """
        self._request = request
        request.watcher = request.source = self
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """
        Send while the client reads, for one turn.
        """
        if self._sending:  # ``request.send`` may call us back before it returns
            return
        self._sending = True
        left = _TURN
        while left > 0 and self._sendable:
            left -= self._send_chunk()
        self._sending = False
        if self._sendable and not self._waiting:
            self._waiting = True
            self._reactor.callLater(0, self._next_turn)

    def pauseProducing(self) -> None:
        """
        Nothing to do: resumeProducing looks whether the client reads.
        """

    def stopProducing(self) -> None:
        """
        The client left; ``client_gone`` says so too.
        """
        self._close()

    def client_gone(self, error: ProxyError) -> None:
        """
        The client left.
        """
        self._close()

    @property
    def _sendable(self) -> bool:
        request = self._request
        return request is not None and request.channel.writable and not request.held

    def _next_turn(self) -> None:
        self._waiting = False
        self.resumeProducing()

    def _send_chunk(self) -> int:
        """
        Send the next chunk, or the end; returns how many bytes it was.
        """
        request = self._request
        try:
            chunk = next(self._chunks, None)
        except OSError as error:
            self._close()
            request.fail(ProxyError("proxy_internal_error", f"reading a file: {error.strerror}"))
            return 0
        if chunk is None:
            self._close()
            request.end()
            return 0
        request.send(chunk)
        return len(chunk)

    def _close(self) -> None:
        self._request = None
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self._close()


def _chunks(descriptor: int, pieces: list[_Piece]) -> Iterator[bytes]:
    """
    The bytes of ``pieces``, read when they are asked for.
    """
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        start, length = piece
        while length:
            data = os.pread(descriptor, min(length, _CHUNK), start)
            if not data:
                raise OSError(errno.EIO, "it became shorter while it was sent")
            yield data
            start += len(data)
            length -= len(data)
