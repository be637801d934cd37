"""
The ClientHello, the first message of TLS: read, never answered.

A server that knows the name the client asks for *before* it handshakes can choose a complete context (certificates,
versions, client verification), and a stream proxy can choose an upstream without decrypting anything.  Pure: bytes in,
a value out.

References are to RFC 8446 (TLS 1.3), whose ClientHello is also that of TLS 1.0 to 1.2.
"""

from __future__ import annotations

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
_RANDOM_END: Final = 34  # of legacy_version and random
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
    try:
        at = _RANDOM_END + 1 + body[_RANDOM_END]  # behind legacy_session_id
        at += 2 + (body[at] << 8 | body[at + 1])  # behind cipher_suites
        at += 1 + body[at]  # behind legacy_compression_methods
    except IndexError:
        raise _misfit() from None
    if at > len(body):
        raise _misfit()
    found: dict[int, bytes] = {}
    if at < len(body):  # TLS 1.2 may end here
        extensions, _ = _vector(body, at, 2)
        at, end = 0, len(extensions)
        while at < end:
            # Section 4.2.  A browser sends fifteen, of which three are read.
            start = at + _EXTENSION_HEADER
            if start > end:
                raise _misfit()
            kind, length = _KIND_AND_LENGTH.unpack_from(extensions, at)
            at = start + length
            if at > end:
                raise _misfit()
            if kind in _READ_HERE:
                # Two of a kind could be read as one here and as the other behind us.
                if kind in found:
                    raise NotClientHello(f"extension {kind} is there twice")
                found[kind] = extensions[start:at]
    return ClientHello(
        server_name=_server_name(found[_SERVER_NAME]) if _SERVER_NAME in found else None,
        alpn=_alpn(found[_ALPN]) if _ALPN in found else (),
        versions=_versions(found[_SUPPORTED_VERSIONS] if _SUPPORTED_VERSIONS in found else b"\2" + body[:2]),
    )


def _server_name(content: bytes) -> bytes | None:
    """
    RFC 6066, section 3: a list of names, of which only one kind was ever defined.
    """
    names, _ = _vector(content, 0, 2)
    at = 0
    while at < len(names):
        kind = names[at]
        name, at = _vector(names, at + 1, 2)
        if kind == _HOST_NAME:
            return name.lower().removesuffix(b".") or None
    return None


def _alpn(content: bytes) -> tuple[bytes, ...]:
    """
    RFC 7301, section 3.1.
    """
    names, _ = _vector(content, 0, 2)
    at = 0
    found = []
    while at < len(names):
        name, at = _vector(names, at, 1)
        found.append(name)
    return tuple(found)


def _versions(content: bytes) -> tuple[int, ...]:
    """
    Section 4.2.1.  RFC 8701 has clients offer values that do not exist (GREASE: 0x0a0a, 0x1a1a, ...).
    """
    versions, _ = _vector(content, 0, 1)
    if len(versions) % _VERSION.size:
        raise _misfit()
    return tuple([version for (version,) in _VERSION.iter_unpack(versions) if version & 0x0F0F != _GREASE])


def _vector(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """
    The vector (section 3.4) at ``at``, whose length is a number of ``size`` bytes, and the place behind it.
    """
    start = at + size
    end = start + int.from_bytes(data[at:start], "big")
    if end > len(data) or start > len(data):
        raise _misfit()
    return data[start:end], end


def _misfit() -> NotClientHello:
    return NotClientHello("a length in the ClientHello does not fit")
