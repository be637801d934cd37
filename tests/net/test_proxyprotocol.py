"""
A PROXY header is read alike however it arrives, and what is none is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.splits import run_splits
from twistginx.config.template import PROXY_PROTOCOL
from twistginx.net.proxyprotocol import (
    BINARY_LIMIT,
    NotProxyHeader,
    ProxyHeader,
    ProxyHeaderReader,
    crc32c,
    reading_of,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

TCP4, TCP6, UNIX = 0x11, 0x21, 0x31

INET = b"\xc0\x00\x02\x07" + b"\xc0\x00\x02\x01" + b"\x13\x88" + b"\x01\xbb"

HEADER = ProxyHeader(("192.0.2.7", 5000), ("192.0.2.1", 443))


def binary(family: int, block: bytes, command: int = 0x21) -> bytes:
    """
    A header of version 2.
    """
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def tlv(kind: int, value: bytes) -> bytes:
    """
    A TLV.
    """
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def summed(family: int, block: bytes, *after: bytes) -> bytes:
    """
    A header of version 2 with its checksum, made without the code that is tested.
    """
    whole = binary(family, block + tlv(0x03, bytes(4)) + b"".join(after))
    at = 16 + len(block) + 3
    return whole[:at] + slow_crc32c(whole).to_bytes(4, "big") + whole[at + 4 :]


def slow_crc32c(data: bytes) -> int:
    """
    CRC-32C by polynomial division, bit by bit.
    """
    remainder = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            remainder ^= byte >> bit & 1
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


class ReaderTestCase(SynchronousTestCase):
    """
    Reads headers in every way in which their bytes may come.
    """

    def outcome(self, pieces: Sequence[bytes]) -> tuple[ProxyHeader, int] | str:
        """
        The header and its size; the reason of a refusal; "more" when there is neither yet.
        """
        reader = ProxyHeaderReader()
        rest = list(pieces)
        while rest:
            try:
                header = reader.feed(rest.pop(0))
            except NotProxyHeader as error:
                return str(error)
            if header is not None:
                self.assertEqual(reader.rest + b"".join(rest), b"".join(pieces)[reader.size :])
                return header, reader.size
        return "more"

    def read(self, data: bytes) -> ProxyHeader:
        """
        The header that ``data`` is, no byte less and no byte more.
        """
        following = (b"G", b"\r\n", b"PROXY UNKNOWN\r\n", SIGNATURE, bytes(200))
        found = run_splits(self, self.outcome, data, following)
        assert isinstance(found, tuple), found
        header, size = found
        self.assertEqual(size, len(data))
        for end in range(len(data)):
            self.assertEqual(self.outcome([data[:end]]) if end else "more", "more", end)
        return header

    def refused(self, data: bytes, reason: str) -> None:
        """
        ``data`` is refused, however it comes.
        """
        self.assertRegex(run_splits(self, self.outcome, data, (b"x", bytes(100))), reason)


class TextTests(ReaderTestCase):
    """
    Version 1.
    """

    def test_addresses(self) -> None:
        """
        Both ends of the connection to the proxy, in the one form that addresses have.
        """
        self.assertEqual(self.read(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n"), HEADER)
        self.assertEqual(
            self.read(b"PROXY TCP6 2001:DB8:0::7 ::ffff:192.0.2.1 0 65535\r\n"),
            ProxyHeader(("2001:db8::7", 0), ("::ffff:192.0.2.1", 65535)),
        )

    def test_longest(self) -> None:
        """
        The longest line that there may be is read; one more byte is too many.
        """
        line = b"PROXY UNKNOWN " + b"f" * (107 - len(b"PROXY UNKNOWN \r\n")) + b"\r\n"
        self.assertEqual(self.read(line), ProxyHeader())
        self.refused(line[:14] + b"f" + line[14:], "does not end within 107 bytes")

    def test_unknown(self) -> None:
        """
        UNKNOWN is valid, whatever follows it: the connection's own addresses hold.
        """
        for line in (
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff:f...f:ffff ::1 65535 65535\r\n",
            b"PROXY UNKNOWN \0 \r\n",
        ):
            self.assertEqual(self.read(line), ProxyHeader())

    def test_malformed(self) -> None:
        """
        Everything else is refused.
        """
        for line in (
            b"PROXY\r\n",
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY UNKNOWNX\r\n",
            b"PROXY unknown\r\n",
            b"PROXY UDP4 192.0.2.7 192.0.2.1 5000 443\r\n",
            b"PROXY TCP4  192.0.2.7 192.0.2.1 5000 443\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443 \r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443 1\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 5000\r\n",
            b"PROXY TCP4\t192.0.2.7 192.0.2.1 5000 443\r\n",
            b"PROXY TCP4 192.0.2 192.0.2.1 5000 443\r\n",
            b"PROXY TCP4 192.0.2.07 192.0.2.1 5000 443\r\n",
            b"PROXY TCP4 192.0.2.7\0 192.0.2.1 5000 443\r\n",
            b"PROXY TCP4 ::1 ::1 5000 443\r\n",
            b"PROXY TCP6 192.0.2.7 192.0.2.1 5000 443\r\n",
            b"PROXY TCP6 fe80::1%lo fe80::2 5000 443\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 05000 443\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 443\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 443\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 5\xb2 443\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\r\n",
        ):
            self.refused(line, "begin with|neither UNKNOWN|none of its family|a port that is none")

    def test_line_end(self) -> None:
        """
        A line feed alone ends no header: another reader would take what follows it for a part of it.
        """
        self.refused(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\n", "without a carriage return")
        self.refused(b"PROXY UNKNOWN x\ny\r\n", "without a carriage return")

    def test_something_else(self) -> None:
        """
        What is no header is refused at its first byte that shows it, because its sender may wait for us to speak.
        """
        for data in (b"G", b"POST", b"\x16", b"\0", b"PROXZ", b"proxy ", b" PROXY", b"\r\n\r\n\0\r\nQUIt", b"\r\nP"):
            self.refused(data, "does not begin with a PROXY header")

    @given(st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 65535), st.integers(0, 65535))
    @settings(max_examples=100, deadline=None)
    def test_any_address(self, four: IPv4Address, six: IPv6Address, port: int, other: int) -> None:
        """
        Every address and port is read as what it is.
        """
        for name, address in (("TCP4", four), ("TCP6", six)):
            header = ProxyHeaderReader().feed(f"PROXY {name} {address} {address} {port} {other}\r\n".encode())
            assert header is not None and isinstance(header.source, tuple)
            self.assertEqual(type(address)(header.source[0]), address)
            self.assertEqual((header.source[1], header.destination), (port, (header.source[0], other)))


class BinaryTests(ReaderTestCase):
    """
    Version 2.
    """

    def test_families(self) -> None:
        """
        TCP over both versions of IP, and UNIX sockets.
        """
        self.assertEqual(self.read(binary(TCP4, INET)), HEADER)
        six = IPv6Address("2001:db8::7").packed + IPv6Address("::1").packed + b"\0\x50\0\x51"
        self.assertEqual(self.read(binary(TCP6, six)), ProxyHeader(("2001:db8::7", 80), ("::1", 81)))
        paths = b"/run/a".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")
        self.assertEqual(self.read(binary(UNIX, paths)), ProxyHeader(b"/run/a", b"\0abstract"))
        self.assertEqual(self.read(binary(UNIX, bytes(216))), ProxyHeader(b"", b""))

    def test_local(self) -> None:
        """
        The proxy's own connection (a health check): whatever the block says, the real addresses hold.
        """
        for family in (0, TCP4, 0x12, 0xFF):
            for block in (b"", INET, b"\xff" * 5):
                self.assertEqual(self.read(binary(family, block, command=0x20)), ProxyHeader())

    def test_unspecified(self) -> None:
        """
        A family that is not said leaves the real addresses.
        """
        for block in (b"", b"\xff" * 30):
            self.assertEqual(self.read(binary(0, block)), ProxyHeader())

    def test_datagrams(self) -> None:
        """
        A header about datagrams has nothing to say of a stream.
        """
        for family in (0x12, 0x22, 0x32):
            self.refused(binary(family, bytes(216)), "datagrams")

    def test_unassigned(self) -> None:
        """
        Versions, commands and families that do not exist are refused; of the first byte, before more has come.
        """
        for command in (0x01, 0x11, 0x22, 0x2F, 0x31, 0xFF):
            self.refused(binary(TCP4, INET, command), "a version or a command")
            self.refused((SIGNATURE + bytes((command,))), "a version or a command")
        for family in (0x01, 0x10, 0x13, 0x41, 0xFF):
            self.refused(binary(family, bytes(216)), "address family or transport")

    def test_too_short(self) -> None:
        """
        Addresses must fit.
        """
        for family, size in ((TCP4, 12), (TCP6, 36), (UNIX, 216)):
            self.assertIsInstance(self.read(binary(family, bytes(size))), ProxyHeader)
            for less in (0, size - 1):
                self.refused(binary(family, bytes(less)), "too short")

    def test_too_long(self) -> None:
        """
        A header is refused for its length as soon as that is known.
        """
        room = BINARY_LIMIT - 16 - len(INET) - 3
        whole = binary(TCP4, INET + tlv(0xE0, bytes(room)))
        self.assertEqual(len(whole), BINARY_LIMIT)
        self.assertEqual(self.outcome([whole]), (ProxyHeader(*_ends(HEADER), ((0xE0, bytes(room)),)), BINARY_LIMIT))
        self.refused(binary(TCP4, INET + tlv(0xE0, bytes(room + 1)))[:16], "4097 bytes, of which 4096")
        self.refused(SIGNATURE + b"\x20\0\xff\xff", "65551 bytes")


def _ends(header: ProxyHeader) -> tuple[object, object]:
    return header.source, header.destination


class TLVTests(ReaderTestCase):
    """
    What version 2 says beside the addresses.
    """

    def test_kept(self) -> None:
        """
        All are kept in order, those that nobody knows too; padding is not.
        """
        tlvs = ((0x01, b"h2"), (0x02, b"example.com"), (0xE0, b""), (0xE0, b"\0\xff"), (0x05, b"id"))
        block = INET + b"".join(tlv(*each) + tlv(0x04, bytes(3)) for each in tlvs)
        header = self.read(binary(TCP4, block))
        self.assertEqual((_ends(header), header.tlvs, header.tls), (_ends(HEADER), tlvs, None))
        self.assertEqual(header.tlv(0x02), b"example.com")
        self.assertEqual(header.tlv(0xE0), b"")
        self.assertEqual(header.tlv(0x77), b"")

    def test_unix(self) -> None:
        """
        They follow the paths of UNIX sockets too.
        """
        self.assertEqual(self.read(binary(UNIX, bytes(216) + tlv(0x05, b"id"))).tlvs, ((0x05, b"id"),))

    def test_do_not_fit(self) -> None:
        """
        One that ends beyond the header is refused, and so is half of one.
        """
        for wrong in (b"\xe0", b"\xe0\0", b"\xe0\0\x01", tlv(0xE0, b"abc")[:-1], tlv(0xE0, b"abc") + b"\0"):
            self.refused(binary(TCP4, INET + wrong), "a TLV does not fit")

    def test_tls(self) -> None:
        """
        What the proxy knows about the client's TLS.
        """
        inner = tlv(0x21, b"TLSv1.3") + tlv(0x22, b"alice") + tlv(0x23, b"TLS_AES_128_GCM_SHA256") + tlv(0x99, b"?")
        raw = b"\x07" + bytes(4) + inner
        header = self.read(binary(TCP4, INET + tlv(0x20, raw)))
        self.assertEqual(header.tlv(0x20), raw)
        assert header.tls is not None
        self.assertEqual((header.by_tls, header.tls.verify, len(header.tls.tlvs)), (True, 0, 4))
        for name, value in (
            ("ssl_version", b"TLSv1.3"),
            ("ssl_cn", b"alice"),
            ("ssl_verify", b"0"),
            ("ssl_group", b""),
        ):
            self.assertEqual(reading_of(name)(header), value)
        header = self.read(binary(TCP4, INET + tlv(0x20, b"\x06\0\0\0\x0a")))
        self.assertEqual((header.by_tls, header.tls and header.tls.verify), (False, 10))

    def test_tls_malformed(self) -> None:
        """
        What it says must be well-formed too.
        """
        self.refused(binary(TCP4, INET + tlv(0x20, bytes(4))), "too short")
        self.refused(binary(TCP4, INET + tlv(0x20, bytes(5) + tlv(0x22, b"alice")[:-1])), "a TLV does not fit")

    def test_checksum(self) -> None:
        """
        A checksum is checked where there is one, wherever it stands.
        """
        for after in ((), (tlv(0xE0, b"x"),)):
            good = summed(TCP4, INET, *after)
            self.assertEqual(_ends(self.read(good)), _ends(HEADER))
            for at in (16, 20, len(good) - 1):
                bad = good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
                self.refused(bad, "the checksum is wrong")
        self.refused(binary(TCP4, INET + tlv(0x03, bytes(3))), "a checksum that is none")
        self.refused(binary(TCP4, INET + tlv(0x03, bytes(4)) * 2), "a checksum that is none")

    def test_crc32c(self) -> None:
        """
        The checksum is that of RFC 3720, appendix B.4, and not the one of zlib.
        """
        for data, expected in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
            self.assertEqual(crc32c(data), expected)
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertNotEqual(crc32c(b"123456789"), zlib.crc32(b"123456789"))

    def test_names(self) -> None:
        """
        Everything that a template may ask for can be read from any header.
        """
        for name in (*PROXY_PROTOCOL, "tlv_0xff"):
            for header in (ProxyHeader(), HEADER, ProxyHeader(b"/a", b"")):
                self.assertIsInstance(reading_of(name)(header), bytes)
        self.assertRaises(KeyError, reading_of, "nonsense")

    @given(
        st.lists(st.tuples(st.integers(0, 255).filter(lambda kind: kind not in (3, 4, 0x20)), st.binary(max_size=40)))
    )
    @settings(max_examples=60, deadline=None)
    def test_any(self, tlvs: list[tuple[int, bytes]]) -> None:
        """
        What is written is read.
        """
        block = INET + b"".join(tlv(*each) for each in tlvs)
        header = ProxyHeaderReader().feed(binary(TCP4, block))
        self.assertEqual(header, ProxyHeader(*_ends(HEADER), tuple(tlvs)))


class GarbageTests(ReaderTestCase):
    """
    Bytes of any kind get an answer, which does not depend on how they are cut.
    """

    @given(
        st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x20", summed(TCP4, INET))),
        st.binary(max_size=300),
    )
    @settings(max_examples=200, deadline=None)
    def test_any(self, start: bytes, rest: bytes) -> None:
        """
        A header, a refusal, or the wish for more; never anything else.
        """
        data = start + rest
        whole = self.outcome([data])
        self.assertEqual(self.outcome([data[index : index + 1] for index in range(len(data))]), whole)
        if whole == "more":
            self.assertLess(len(data), BINARY_LIMIT)
