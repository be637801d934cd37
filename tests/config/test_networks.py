"""
Tests of twistginx.config.networks.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.networks import Entry, Network, NetworkSet
from twistginx.config.text import Text


class NetworkTests(SynchronousTestCase):
    """
    One network.
    """

    def test_text(self):
        """
        A network is written as it was read; one address is written without a prefix.
        """
        for text in ("10.0.0.0/8", "192.168.0.7", "::1", "fd00::/8", "unix", "0.0.0.0/0"):
            self.assertEqual(str(Network.parse(text)), text)
        self.assertEqual(str(Network.parse("::1/128")), "::1")

    def test_refused(self):
        """
        Bits beyond the prefix are a mistake, and the network that was meant is named.
        """
        error = self.assertRaises(ValueError, Network.parse, "10.1.2.3/8")
        self.assertIn('did you mean "10.0.0.0/8"?', str(error))
        for text in ("", "localhost", "10.0.0.0/33", "10.0.0", "::1%eth0/64", "1.2.3.4:80"):
            self.assertRaises(ValueError, Network.parse, text)


class NetworkSetTests(SynchronousTestCase):
    """
    Is an address in one of the networks?
    """

    def test_contains(self):
        """
        Text and bytes are asked alike; IPv4 that was mapped into IPv6 is IPv4; what is no address is in no network.
        """
        networks = NetworkSet.parse(["10.0.0.0/8", "192.168.0.7", "fd00::/8", "unix"])
        for address in ("10.255.0.1", "192.168.0.7", "fd12::1", "::ffff:10.0.0.1", "unix"):
            self.assertTrue(networks.contains(address), address)
            self.assertTrue(networks.contains(address.encode()), address)
        for address in ("11.0.0.1", "192.168.0.8", "fe80::1%eth0", "::ffff:11.0.0.1", "", "x", "10.0.0.1:80", "é"):
            self.assertFalse(networks.contains(address), address)
            self.assertFalse(networks.contains(address.encode()), address)
        self.assertFalse(NetworkSet().contains("10.0.0.1"))
        self.assertFalse(NetworkSet.parse(["0.0.0.0/0", "::/0"]).contains("unix"))

    def test_is_a_tuple(self):
        """
        It compares, and iterates in the order that was written.
        """
        self.assertEqual(NetworkSet.parse(["::1", "10.0.0.0/8"]), NetworkSet.parse(["::1", "10.0.0.0/8"]))
        self.assertEqual([str(each) for each in NetworkSet.parse(["::1", "10.0.0.0/8"])], ["::1", "10.0.0.0/8"])

    def test_remembers_little(self):
        """
        However many addresses ask, the answers that are remembered are bounded.
        """
        networks = NetworkSet.parse(["10.0.0.0/8"])
        for number in range(10_000):
            networks.contains(str(IPv4Address(number)))
        self.assertLessEqual(len(networks._answers), 4096)
        self.assertTrue(networks.contains("10.0.0.1"))

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.data())
    def test_as_ipaddress(self, data):
        """
        The answer is that of the ``ipaddress`` module.
        """
        family, width = data.draw(st.sampled_from([(IPv4Address, 32), (IPv6Address, 128)]))
        address = family(data.draw(st.integers(0, 2**width - 1)))
        near = st.tuples(st.integers(0, width), st.integers(0, width - 1))
        networks = [
            ip_network((int(address) ^ (1 << flip) if flip else int(address), prefix), strict=False)
            for prefix, flip in data.draw(st.lists(near, max_size=4))
        ]
        expected = any(ip_address(address) in network for network in networks)
        self.assertIs(NetworkSet.parse(map(str, networks)).contains(str(address)), expected)


class EntryTests(SynchronousTestCase):
    """
    Entries of lists.
    """

    def test_parse(self) -> None:
        """
        A network, a file, or a name.
        """
        for text in ("10.0.0.0/8", "::1", "unix"):
            entry = Entry.parse(text)
            self.assertEqual((str(entry.network), entry.file, entry.name, str(entry)), (text, None, "", text))
        for text in ("office", "a_b-1", "all", "fe80"):
            entry = Entry.parse(text)
            self.assertEqual((entry.network, entry.file, entry.name, str(entry)), (None, None, text, text))
        entry = Entry.parse(Text.at("file:lists/a.txt", Path("/etc/x")))
        self.assertEqual((entry.file, str(entry)), (Path("/etc/x/lists/a.txt"), "file:/etc/x/lists/a.txt"))

    def test_wrong(self) -> None:
        """
        What is none of them.
        """
        for text in ("", "10.0.0.1/8", "10.0.0", "a b", "lists/a.txt", "file:", "1office", "@office"):
            self.assertRaises(ValueError, Entry.parse, text)
