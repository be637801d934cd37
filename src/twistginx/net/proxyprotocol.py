"""
The PROXY protocol: the line, or the block, in which a proxy before us says for whom it has connected.

References are to the specification, https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt.  Version 1 is a line
of text (section 2.1), version 2 is binary (section 2.2).  Pure: bytes in, a value out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from attrs import frozen

from twistginx.errors import TwistginxError

#: Bytes of a header of version 1, its line end included (section 2.1).
TEXT_LIMIT: Final = 107

#: Bytes of a header of version 2.  The format has room for 64 KiB; whoever connects decides how much we hold, and what
#: proxies really send stays far below this.
BINARY_LIMIT: Final = 4096

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_BEFORE_TEXT: Final = b"PROXY "
_FIXED: Final = 16  # bytes of version 2 before the addresses
_LOCAL, _PROXY = 0, 1

#: Family and transport: the bytes of one address without its port, and the family to print it with.
_INET: Final = {0x11: (4, AF_INET), 0x21: (16, AF_INET6)}
_UNIX: Final = 0x31
_UNIX_PATH: Final = 108
_UNSPECIFIED: Final = 0x00
_DATAGRAM: Final = frozenset((0x12, 0x22, 0x32))

_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_TEXT_FAMILIES: Final = {"TCP4": AF_INET, "TCP6": AF_INET6}

# Kinds of TLV (section 2.2.1 and on).
ALPN: Final = 0x01
AUTHORITY: Final = 0x02
CRC32C: Final = 0x03
NOOP: Final = 0x04
UNIQUE_ID: Final = 0x05
SSL: Final = 0x20
NETNS: Final = 0x30

# What may stand in that of TLS (section 2.2.6).
_SSL_FIXED: Final = 5
_CLIENT_SSL: Final = 0x01
_SSL_KINDS: Final = {
    "version": 0x21,
    "cn": 0x22,
    "cipher": 0x23,
    "sig_alg": 0x24,
    "key_alg": 0x25,
    "group": 0x26,
    "sig_scheme": 0x27,
}


class NotProxyHeader(TwistginxError):
    """
    The bytes are not those of a PROXY header, or of none that can be believed.
    """


@frozen
class TLSInformation:
    """
    What the proxy says about TLS between the client and itself (section 2.2.6).

    :ivar by_client: the client came by TLS.
    :ivar verify: 0 when the client has shown a certificate that is good; OpenSSL's number of what was wrong otherwise.
    :ivar tlvs: ``(kind, value)``, raw.
    """

    by_client: bool
    verify: int
    tlvs: tuple[tuple[int, bytes], ...] = ()


@frozen
class ProxyHeader:
    """
    What a proxy has said of a connection.

    :ivar source: who has connected to the proxy: ``(host, port)``, or the path (bytes) of a UNIX socket.  None when it
        does not say (UNKNOWN, LOCAL): then the connection has no addresses but its own.
    :ivar destination: where to, likewise; None when ``source`` is.
    :ivar tlvs: ``(kind, value)`` in their order, without padding and checksum; of version 2 only.
    :ivar tls: one of them, read; None when it is not there.
    """

    source: tuple[str, int] | bytes | None = None
    destination: tuple[str, int] | bytes | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()
    tls: TLSInformation | None = None

    @property
    def by_tls(self) -> bool:
        """
        Has the client come to the proxy by TLS?
        """
        return self.tls is not None and self.tls.by_client

    def tlv(self, kind: int) -> bytes:
        """
        The value of the first TLV of that kind; empty when there is none.
        """
        return _first(self.tlvs, kind)


class ProxyHeaderReader:
    """
    Collects a header from a connection, however it was cut into reads.

    :ivar received: every byte that was fed (a bytearray).
    :ivar size: of the header, in bytes, once it is complete; what follows it in ``received`` is untouched.
    """

    __slots__ = ("received", "size")

    def __init__(self) -> None:
        self.received = bytearray()
        self.size = 0

    def feed(self, data: bytes) -> ProxyHeader | None:
        """
        Take what was read.

        :return: the header when it is complete, None while more is needed.
        :raise NotProxyHeader: when it is something else, malformed, or too large.
        """
        received = self.received
        received += data
        # Refuse as early as one can: who does not know that a header is expected may wait for us to speak.
        if received[:1] == b"P":
            if not _BEFORE_TEXT.startswith(received[: len(_BEFORE_TEXT)]):
                raise NotProxyHeader("it does not begin with a PROXY header")
            return self._text()
        if not _SIGNATURE.startswith(received[: len(_SIGNATURE)]):
            raise NotProxyHeader("it does not begin with a PROXY header")
        return self._binary()

    @property
    def rest(self) -> bytes:
        """
        What follows the header.
        """
        return bytes(self.received[self.size :])

    def _text(self) -> ProxyHeader | None:
        received = self.received
        end = received.find(b"\n", 0, TEXT_LIMIT)
        if end < 0:
            if len(received) >= TEXT_LIMIT:
                raise NotProxyHeader(f"the line does not end within {TEXT_LIMIT} bytes")
            return None
        if received[end - 1 : end] != b"\r":
            raise NotProxyHeader("the line ends without a carriage return")
        header = parse_text(bytes(received[: end - 1]))
        self.size = end + 1
        return header

    def _binary(self) -> ProxyHeader | None:
        received = self.received
        if len(received) > len(_SIGNATURE):
            _check_command(received[12])
        if len(received) < _FIXED:
            return None
        end = _FIXED + int.from_bytes(received[14:_FIXED], "big")
        if end > BINARY_LIMIT:
            raise NotProxyHeader(f"a header of {end} bytes, of which {BINARY_LIMIT} are allowed")
        if len(received) < end:
            return None
        header = parse_binary(bytes(received[:end]))
        self.size = end
        return header


def parse_text(line: bytes) -> ProxyHeader:
    """
    Read a header of version 1, without its line end.

    :raise NotProxyHeader: when it is none.
    """
    words = line.decode("latin-1").split(" ")
    if words[1:2] == ["UNKNOWN"]:  # whatever follows it is to be ignored
        return ProxyHeader()
    family = _TEXT_FAMILIES.get(words[1]) if len(words) == 6 else None
    if family is None:
        raise NotProxyHeader("neither UNKNOWN, nor TCP4 or TCP6 with two addresses and two ports")
    source, destination, *ports = words[2:]
    return ProxyHeader(
        (_address(family, source), _port(ports[0])),
        (_address(family, destination), _port(ports[1])),
    )


def parse_binary(header: bytes) -> ProxyHeader:
    """
    Read a whole header of version 2.

    :raise NotProxyHeader: when a length does not fit, the family is not one of streams, or the checksum is wrong.
    """
    if _check_command(header[12]) == _LOCAL:  # the proxy's own connection: the block is to be discarded unseen
        return ProxyHeader()
    kind = header[13]
    if kind == _UNSPECIFIED:  # the real addresses hold, and nobody knows how many bytes of others there are
        return ProxyHeader()
    if kind in _INET:
        size, family = _INET[kind]
        at = _FIXED + 2 * size + 4
        _fits(header, at)
        hosts = [inet_ntop(family, header[start : start + size]) for start in (_FIXED, _FIXED + size)]
        ports = [int.from_bytes(header[start : start + 2], "big") for start in (at - 4, at - 2)]
        ends: list[tuple[str, int] | bytes] = list(zip(hosts, ports, strict=True))
    elif kind == _UNIX:
        at = _FIXED + 2 * _UNIX_PATH
        _fits(header, at)
        ends = [header[start : start + _UNIX_PATH].rstrip(b"\0") for start in (_FIXED, _FIXED + _UNIX_PATH)]
    elif kind in _DATAGRAM:
        raise NotProxyHeader("it speaks of datagrams, and this is a stream")
    else:
        raise NotProxyHeader(f"an address family or transport that does not exist (0x{kind:02x})")
    places = tuple(_tlvs(header, at))
    _check_sum(header, places)
    tlvs = tuple((kind, header[start:end]) for kind, start, end in places if kind not in (NOOP, CRC32C))
    tls = next((_parse_tls(value) for kind, value in tlvs if kind == SSL), None)
    return ProxyHeader(ends[0], ends[1], tlvs, tls)


def _check_command(byte: int) -> int:
    version, command = byte >> 4, byte & 0x0F
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise NotProxyHeader(f"a version or a command that does not exist (0x{byte:02x})")
    return command


def _fits(header: bytes, end: int) -> None:
    if end > len(header):
        raise NotProxyHeader("it is too short for its addresses")


def _address(family: int, text: str) -> str:
    """
    An address of version 1, in the one form that it has everywhere.
    """
    try:
        return inet_ntop(family, inet_pton(family, text))
    except (OSError, ValueError):
        raise NotProxyHeader("an address that is none of its family") from None


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 0xFFFF:
        raise NotProxyHeader("a port that is none")
    return int(text)


def _tlvs(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """
    The kind of each TLV from ``at`` on, and where its value begins and ends.
    """
    while at < len(data):
        start = at + 3
        end = start + int.from_bytes(data[at + 1 : start], "big")
        if start > len(data) or end > len(data):
            raise NotProxyHeader("a TLV does not fit")
        yield data[at], start, end
        at = end


def _parse_tls(value: bytes) -> TLSInformation:
    if len(value) < _SSL_FIXED:
        raise NotProxyHeader("the TLV of TLS is too short")
    tlvs = tuple((kind, value[start:end]) for kind, start, end in _tlvs(value, _SSL_FIXED))
    return TLSInformation(bool(value[0] & _CLIENT_SSL), int.from_bytes(value[1:_SSL_FIXED], "big"), tlvs)


def _first(tlvs: tuple[tuple[int, bytes], ...], kind: int) -> bytes:
    for each, value in tlvs:
        if each == kind:
            return value
    return b""


# The checksum (section 2.2.3): CRC-32C, over the header with zeros in its place.


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901  # shifted in place, bit by bit
        table.append(byte)
    return tuple(table)


_CRC_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """
    The CRC-32C (Castagnoli; RFC 3720, section 12.1) of ``data``.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _check_sum(header: bytes, tlvs: tuple[tuple[int, int, int], ...]) -> None:
    sums = [(start, end) for kind, start, end in tlvs if kind == CRC32C]
    if not sums:
        return
    ((start, end), *others) = sums
    if others or end - start != 4:
        raise NotProxyHeader("a checksum that is none")
    if crc32c(header[:start] + bytes(4) + header[end:]) != int.from_bytes(header[start:end], "big"):
        raise NotProxyHeader("the checksum is wrong")


# What templates can say of a header.  The names are those of config.template.PROXY_PROTOCOL.

#: ``(header) -> bytes``: one thing of a header; empty when that does not say it.
Reading = Callable[[ProxyHeader], bytes]


def _host_of(end: tuple[str, int] | bytes | None) -> bytes:
    return end[0].encode() if isinstance(end, tuple) else end or b""


def _port_of(end: tuple[str, int] | bytes | None) -> bytes:
    return b"%d" % end[1] if isinstance(end, tuple) else b""


def _of_kind(kind: int) -> Reading:
    return lambda header: header.tlv(kind)


def _of_tls(kind: int) -> Reading:
    return lambda header: b"" if header.tls is None else _first(header.tls.tlvs, kind)


_READINGS: Final[dict[str, Reading]] = {
    "address": lambda header: _host_of(header.source),
    "port": lambda header: _port_of(header.source),
    "server_address": lambda header: _host_of(header.destination),
    "server_port": lambda header: _port_of(header.destination),
    "alpn": _of_kind(ALPN),
    "authority": _of_kind(AUTHORITY),
    "unique_id": _of_kind(UNIQUE_ID),
    "netns": _of_kind(NETNS),
    "ssl_verify": lambda header: b"" if header.tls is None else b"%d" % header.tls.verify,
    **{f"ssl_{name}": _of_tls(kind) for name, kind in _SSL_KINDS.items()},
}


def reading_of(name: str) -> Reading:
    """
    What reads the value that is called ``name``: one of the table's, or ``tlv_0xE0`` for a TLV by its number.

    :raise KeyError: when nothing is called so.
    """
    if name.startswith("tlv_0x"):
        return _of_kind(int(name.removeprefix("tlv_"), 16))
    return _READINGS[name]
