"""
Tests for twistginx.net.announcement: what we say is what our own reader, which is tested against HAProxy's, reads.
"""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.announcement import announcement, end_of
from twistginx.net.proxyprotocol import ProxyHeaderReader

addresses = st.ip_addresses().map(str)
ports = st.integers(0, 65535)


class AnnouncementTests(SynchronousTestCase):
    """
    Headers that go out.
    """

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(["v1", "v2"]), st.tuples(addresses, ports), st.tuples(addresses, ports))
    @example("v2", ("::ffff:0:0", 1), ("::1", 2))
    def test_read_back(self, version: str, source: tuple[str, int], destination: tuple[str, int]) -> None:
        """
        Both ends are said, in one family.
        """
        header = announcement(version, source, destination)
        reader = ProxyHeaderReader()
        read = reader.feed(header + b"GET /")
        assert read is not None and isinstance(read.source, tuple) and isinstance(read.destination, tuple)
        self.assertEqual(reader.size, len(header))
        same = (":" in source[0]) is (":" in destination[0])
        for end, said in ((source, read.source), (destination, read.destination)):
            self.assertEqual(said[1], end[1])
            if same:
                self.assertEqual(ip_address(said[0]), ip_address(end[0]))  # ::ffff:0:0 has two spellings
            else:
                self.assertTrue(said[0].endswith(end[0]) or ":" in end[0], said)

    def test_nobody(self) -> None:
        """
        On a connection of our own, or for a client on a UNIX socket, there are no addresses.
        """
        for version in ("v1", "v2"):
            for ends in ((None, None), (("unix", 0), None), (None, ("1.2.3.4", 5)), (("x", 1), ("1.2.3.4", 5))):
                read = ProxyHeaderReader().feed(announcement(version, *ends))
                assert read is not None
                self.assertIsNone(read.source)
        self.assertEqual(announcement("v1", None, None), b"PROXY UNKNOWN\r\n")

    def test_through_a_unix_socket(self) -> None:
        """
        A client that a proxy on a UNIX socket has named is named on.
        """
        for client, nowhere in (("192.0.2.1", "0.0.0.0"), ("2001:db8::1", "::")):
            for version in ("v1", "v2"):
                read = ProxyHeaderReader().feed(announcement(version, (client, 0), None))
                assert read is not None
                self.assertEqual((read.source, read.destination), ((client, 0), (nowhere, 0)))

    def test_text(self) -> None:
        """
        As the specification writes it; a zone says nothing to others.
        """
        self.assertEqual(
            announcement("v1", ("192.0.2.1", 1), ("192.0.2.2", 80)), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n"
        )
        self.assertEqual(announcement("v1", ("fe80::1%eth0", 1), ("::1", 2)), b"PROXY TCP6 fe80::1 ::1 1 2\r\n")

    def test_ends(self) -> None:
        """
        What Twisted's addresses say.
        """
        self.assertEqual(end_of(IPv4Address("TCP", "10.0.0.1", 5)), ("10.0.0.1", 5))
        self.assertIsNone(end_of(UNIXAddress("/x")))
