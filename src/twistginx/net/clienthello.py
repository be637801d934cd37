"""
The ClientHello, the first message of TLS: read, never answered.

A server that knows the name the client asks for *before* it handshakes can choose a complete context (certificates,
versions, client verification), and a stream proxy can choose an upstream without decrypting anything.  Pure: bytes in,
a value out.

References are to RFC 8446 (TLS 1.3), whose ClientHello is also that of TLS 1.0 to 1.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from attrs import frozen

from twistginx.errors import TwistginxError

#: Bytes, records and all, after which a ClientHello that is still not complete is refused.
LIMIT: Final = 64 * 1024

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_MAJOR_VERSION: Final = 3
_RECORD_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4
_EXTENSION_HEADER: Final = 4
_KIND_AND_LENGTH: Final = Struct("!HH")
_VERSION: Final = Struct("!H")
_RECORD_LIMIT: Final = 2**14
_HOST_NAME: Final = 0
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43
_GREASE: Final = 0x0A0A
_READ_HERE: Final = frozenset((_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS))


class NotClientHello(TwistginxError):
    """
    The bytes are not, or not any more, those of a ClientHello.

    :ivar is_tls: True where it is TLS and malformed; False where it is something else (plain HTTP, say).
    """

    def __init__(self, message: str, is_tls: bool = True) -> None:
        super().__init__(message)
        self.is_tls = is_tls


@frozen
class ClientHello:
    """
    What a client says about itself before anything is agreed.

    :ivar server_name: the host it wants, in lower case and without a final dot; None when it names none (RFC 6066).
    :ivar alpn: the application protocols it offers, by its preference (RFC 7301); empty when it offers none.
    :ivar versions: the versions it offers as on the wire (0x0304 is TLS 1.3), by its preference, without GREASE.
    """

    server_name: bytes | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]


class ClientHelloReader:
    """
    Collects a ClientHello from a connection, however it was cut into reads and records.

    :ivar received: every byte that was fed (a bytearray, which is the caller's once the reader has answered); what
        follows the ClientHello in it is untouched.
    """

    __slots__ = ("_message", "_record", "received")

    def __init__(self) -> None:
        self.received = bytearray()
        self._record = 0  # where the next record begins in received
        self._message = bytearray()  # the handshake bytes of the records before that

    def feed(self, data: bytes) -> ClientHello | None:
        """
        Take what was read.

        :return: the ClientHello when it is complete, None while more is needed.
        :raise NotClientHello: when it is something else, malformed, or too large.
        """
        received = self.received
        received += data
        while True:
            # Refuse as early as one can: who speaks another protocol may be waiting for us to speak.
            at = self._record
            if len(received) > at and received[at] != _HANDSHAKE:
                raise NotClientHello("the first byte is not that of a TLS handshake", is_tls=at > 0)
            if len(received) > at + 1 and received[at + 1] != _MAJOR_VERSION:  # section 5.1: legacy_record_version
                raise NotClientHello("not a version of TLS", is_tls=at > 0)
            if len(received) < at + _RECORD_HEADER:
                break
            length = received[at + 3] << 8 | received[at + 4]
            if not 0 < length <= _RECORD_LIMIT:
                raise NotClientHello(f"a handshake record of {length} bytes")
            if len(received) < at + _RECORD_HEADER + length:
                break
            self._record = at + _RECORD_HEADER + length
            self._message += received[at + _RECORD_HEADER : self._record]
            message = self._message
            if message[0] != _CLIENT_HELLO:
                raise NotClientHello("the first message is not a ClientHello")
            if len(message) >= _MESSAGE_HEADER:
                end = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big")
                if end > LIMIT:
                    raise NotClientHello(f"a ClientHello of {end} bytes")
                if len(message) >= end:
                    return parse_client_hello(bytes(message[_MESSAGE_HEADER:end]))
        if len(received) > LIMIT:
            raise NotClientHello("the ClientHello does not end")
        return None


def parse_client_hello(body: bytes) -> ClientHello:
    """
    Read the body of a ClientHello, without the headers of its message and records (section 4.1.2).

    :raise NotClientHello: when a length does not fit, or an extension that is read here is there twice.
    """
    cursor = _Cursor(body)
    legacy_version = cursor.number(2)
    cursor.take(32)  # random
    cursor.skip_vector(1)  # legacy_session_id
    cursor.skip_vector(2)  # cipher_suites
    cursor.skip_vector(1)  # legacy_compression_methods
    found: dict[int, _Cursor] = {}
    if cursor.left:  # TLS 1.2 may end here
        for kind, start, end in _extensions(body, *cursor.vector(2).bounds):
            if kind in _READ_HERE:
                # Two of a kind could be read as one here and as the other behind us.
                if kind in found:
                    raise NotClientHello(f"extension {kind} is there twice")
                found[kind] = _Cursor(body, start, end)
    return ClientHello(
        server_name=_server_name(found[_SERVER_NAME]) if _SERVER_NAME in found else None,
        alpn=_alpn(found[_ALPN]) if _ALPN in found else (),
        versions=_versions(found[_SUPPORTED_VERSIONS]) if _SUPPORTED_VERSIONS in found else (legacy_version,),
    )


def _extensions(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """
    The kind, the start and the end of each extension (section 4.2).  A browser sends fifteen, of which three are read.
    """
    while at < end:
        start = at + _EXTENSION_HEADER
        if start > end:
            raise _misfit()
        kind, length = _KIND_AND_LENGTH.unpack_from(body, at)
        at = start + length
        if at > end:
            raise _misfit()
        yield kind, start, at


def _misfit() -> NotClientHello:
    return NotClientHello("a length in the ClientHello does not fit")


def _server_name(content: _Cursor) -> bytes | None:
    """
    RFC 6066, section 3: a list of names, of which only one kind was ever defined.
    """
    names = content.vector(2)
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.rest().lower().removesuffix(b".") or None
    return None


def _alpn(content: _Cursor) -> tuple[bytes, ...]:
    """
    RFC 7301, section 3.1.
    """
    names = content.vector(2)
    found = []
    while names.left:
        found.append(names.vector(1).rest())
    return tuple(found)


def _versions(content: _Cursor) -> tuple[int, ...]:
    """
    Section 4.2.1.  RFC 8701 has clients offer values that do not exist (GREASE: 0x0a0a, 0x1a1a, ...).
    """
    versions = content.vector(1).rest()
    if len(versions) % _VERSION.size:
        raise _misfit()
    return tuple([version for (version,) in _VERSION.iter_unpack(versions) if version & 0x0F0F != _GREASE])


class _Cursor:
    """
    A place in bytes, from which numbers and vectors (section 3.4) are taken.
    """

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data = data
        self._at = at
        self._end = len(data) if end is None else end

    @property
    def left(self) -> int:
        return self._end - self._at

    @property
    def bounds(self) -> tuple[int, int]:
        return self._at, self._end

    def _advance(self, size: int) -> int:
        at = self._at
        if size > self._end - at:
            raise _misfit()
        self._at = at + size
        return at

    def number(self, size: int) -> int:
        """
        A number of one or two bytes.
        """
        at = self._advance(size)
        return self._data[at] if size == 1 else self._data[at] << 8 | self._data[at + 1]

    def take(self, size: int) -> bytes:
        at = self._advance(size)
        return self._data[at : at + size]

    def rest(self) -> bytes:
        return self.take(self.left)

    def vector(self, size: int) -> _Cursor:
        """
        A vector whose length is a number of ``size`` bytes.
        """
        length = self.number(size)
        at = self._advance(length)
        return _Cursor(self._data, at, at + length)

    def skip_vector(self, size: int) -> None:
        """
        Go behind one.
        """
        self._advance(self.number(size))
