"""
The ClientHello is read alike however it arrives, and what is none is refused.
"""

from __future__ import annotations

import ssl

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.clienthello import LIMIT, ClientHello, ClientHelloReader, NotClientHello, parse_client_hello

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
NAMES = st.none() | st.lists(LABEL, min_size=2, max_size=5).map(".".join).filter(lambda name: not name[-1].isdigit())
PROTOCOLS = st.lists(st.sampled_from(["h2", "http/1.1", "acme-tls/1", "imap"]), unique=True)


def hello_of(
    server_name: str | None, alpn: list[str] | None = None, oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
) -> bytes:
    """
    What OpenSSL says first.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = oldest
    if alpn:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake with nobody")


def vector(size: int, content: bytes) -> bytes:
    """
    Content with its length before it.
    """
    return len(content).to_bytes(size, "big") + content


def extension(kind: int, content: bytes) -> bytes:
    """
    An extension of a ClientHello.
    """
    return kind.to_bytes(2, "big") + vector(2, content)


def body_of(*extensions: bytes) -> bytes:
    """
    The body of a ClientHello with these extensions.
    """
    return (
        b"\x03\x03"
        + bytes(32)
        + vector(1, b"")
        + vector(2, b"\x13\x01")
        + vector(1, b"\x00")
        + vector(2, b"".join(extensions))
    )


def records(message: bytes, size: int) -> bytes:
    """
    A handshake message in records of ``size`` bytes.
    """
    return b"".join(
        b"\x16\x03\x01" + vector(2, message[start : start + size]) for start in range(0, len(message), size)
    )


class WholeTests(SynchronousTestCase):
    """
    What a real client says is understood.
    """

    def test_everything(self) -> None:
        """
        Name, protocols and versions are told.
        """
        hello = ClientHelloReader().feed(hello_of("www.Example.com", ["h2", "http/1.1"]))
        self.assertEqual(hello, ClientHello(b"www.example.com", (b"h2", b"http/1.1"), (0x0304, 0x0303)))

    def test_nothing(self) -> None:
        """
        A client that asks for no name and no protocol has said so.
        """
        hello = ClientHelloReader().feed(hello_of(None, oldest=ssl.TLSVersion.TLSv1_3))
        self.assertEqual(hello, ClientHello(None, (), (0x0304,)))

    def test_old_client(self) -> None:
        """
        Without the list of versions, the one version stands; extensions may be missing altogether.
        """
        whole = body_of()
        self.assertEqual(parse_client_hello(whole[:-2]), ClientHello(None, (), (0x0303,)))
        self.assertEqual(parse_client_hello(whole), ClientHello(None, (), (0x0303,)))

    def test_grease(self) -> None:
        """
        Versions that do not exist are left out.
        """
        versions = extension(43, vector(1, b"\x2a\x2a\x03\x04"))
        self.assertEqual(parse_client_hello(body_of(extension(0x3A3A, b""), versions)).versions, (0x0304,))

    def test_name_is_made_comparable(self) -> None:
        """
        Capitals and a final dot say nothing; a name of another kind is not a host.
        """
        for names, expected in (
            (b"\x00" + vector(2, b"A.Test."), b"a.test"),
            (b"\x00" + vector(2, b""), None),
            (b"\x07" + vector(2, b"other"), None),
        ):
            body = body_of(extension(0, vector(2, names)))
            self.assertEqual(parse_client_hello(body).server_name, expected)


class PiecesTests(SynchronousTestCase):
    """
    Reads and records may be cut anywhere.
    """

    def test_every_split(self) -> None:
        """
        Two reads give what one gives, wherever the cut is, and the bytes are all kept.
        """
        whole = hello_of("a.test", ["http/1.1"])
        expected = ClientHelloReader().feed(whole)
        for cut in range(1, len(whole)):
            reader = ClientHelloReader()
            self.assertIsNone(reader.feed(whole[:cut]))
            self.assertEqual(reader.feed(whole[cut:]), expected)
            self.assertEqual(reader.received, whole)

    @settings(max_examples=60, deadline=None)
    @given(NAMES, PROTOCOLS, st.integers(1, 700), st.lists(st.integers(1, 200)), st.binary(max_size=20))
    def test_any(self, name: str | None, alpn: list[str], size: int, cuts: list[int], after: bytes) -> None:
        """
        Any name and protocols, in records of any size, in reads of any size, with anything behind.
        """
        wire = records(hello_of(name, alpn)[5:], size) + after
        reader = ClientHelloReader()
        hello = None
        at = 0
        for cut in [*cuts, len(wire)]:
            piece = wire[at : at + cut]
            at += cut
            hello = reader.feed(piece)
            if hello is not None:
                break
        assert hello is not None
        self.assertEqual(hello.server_name, name.encode() if name else None)
        self.assertEqual(hello.alpn, tuple(each.encode() for each in alpn))
        self.assertEqual(reader.received, wire[:at])


class RefusalTests(SynchronousTestCase):
    """
    What is no ClientHello is refused, and no other exception gets out.
    """

    def refused(self, data: bytes) -> NotClientHello:
        """
        How ``data`` is refused.
        """
        return self.assertRaises(NotClientHello, ClientHelloReader().feed, data)

    def test_other_protocols(self) -> None:
        """
        Who speaks something else is told from the first byte on.
        """
        for data in (b"G", b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01", b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x02"):
            self.assertFalse(self.refused(data).is_tls, data)

    def test_broken_records(self) -> None:
        """
        Records that are empty or too large, or that stop being a handshake in its middle.
        """
        whole = hello_of("a.test")
        for data in (
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x40\x01",
            records(whole[5:], 100)[:105] + b"\x17\x03\x01",
            b"\x16\x03\x01" + vector(2, b"\x02\x00\x00\x01\x00"),
        ):
            self.assertTrue(self.refused(data).is_tls, data)

    def test_too_large(self) -> None:
        """
        An announced length beyond the limit is refused at once; one that never ends, when it has gone on for too long.
        """
        self.refused(b"\x16\x03\x01" + vector(2, b"\x01" + LIMIT.to_bytes(3, "big")))
        reader = ClientHelloReader()
        step = b"\x16\x03\x01" + vector(2, b"\x01\x00\xff\x00" + bytes(12))
        self.assertIsNone(reader.feed(step))
        with self.assertRaises(NotClientHello):
            for _ in range(LIMIT):
                reader.feed(b"\x16\x03\x01\x00\x01\x00")
        self.assertLess(len(reader.received), LIMIT + 10)

    def test_lengths(self) -> None:
        """
        A ClientHello that ends too early anywhere is malformed.
        """
        content = vector(2, b"\x00" + vector(2, b"a.test"))
        body = body_of(extension(0, content), extension(16, vector(2, vector(1, b"h2"))))
        self.assertEqual(parse_client_hello(body).server_name, b"a.test")
        without_extensions = len(body_of()) - 2
        for end in range(len(body)):
            if end != without_extensions:
                self.assertRaises(NotClientHello, parse_client_hello, body[:end])

    def test_twice(self) -> None:
        """
        Two names could be read as one here and as the other by who is behind us.
        """
        name = extension(0, vector(2, b"\x00" + vector(2, b"a.test")))
        self.assertRaises(NotClientHello, parse_client_hello, body_of(name, name))

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_garbage(self, data: st.DataObject) -> None:
        """
        A ClientHello with bytes changed is read or refused.
        """
        wire = bytearray(HELLO)
        for _ in range(data.draw(st.integers(1, 4))):
            wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
        try:
            ClientHelloReader().feed(bytes(wire))
        except NotClientHello:
            pass


HELLO = hello_of("www.example.com", ["h2", "http/1.1"])
