"""
Tests for twistginx.config.ranges.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.networks import Network, NetworkSet
from twistginx.config.ranges import Ranges, interval_of, read_list

#: Networks that are near each other, so that they touch, overlap and repeat; and some of all sizes.
_NETWORKS = st.one_of(
    st.builds(lambda low, prefix: f"10.0.0.{low}/{prefix}", st.integers(0, 255), st.integers(26, 32)),
    st.builds(lambda low, prefix: f"fd00::{low:x}/{prefix}", st.integers(0, 255), st.integers(120, 128)),
    st.builds(lambda top, prefix: f"{top}.0.0.0/{prefix}", st.integers(0, 255), st.integers(0, 12)),
    st.builds(lambda top, prefix: f"{top:x}::/{prefix}", st.integers(0, 0xFFFF), st.integers(0, 20)),
).map(lambda text: str(ip_network(text, strict=False)))

_ADDRESSES = st.one_of(
    st.integers(0, 255).map(lambda low: f"10.0.0.{low}"),
    st.integers(0, 255).map(lambda low: f"fd00::{low:x}"),
    st.integers(0, 255).map(lambda low: f"::ffff:10.0.0.{low}"),
    st.ip_addresses().map(str),
)


class RangesTests(SynchronousTestCase):
    """
    Sets of addresses.
    """

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(_NETWORKS, max_size=12), st.lists(_ADDRESSES, min_size=1, max_size=20))
    def test_same_as_few(self, networks, addresses):
        """
        A sorted set, from a file or from objects, has the addresses that the simple one has.
        """
        few = NetworkSet.parse(networks)
        read = read_list("\n".join(networks))
        made = Ranges.of(map(Network.parse, networks))
        for address in addresses:
            expected = few.contains(address)
            self.assertEqual(read.contains(address.encode()), expected, (networks, address))
            self.assertEqual(made.contains(address.encode()), expected, (networks, address))

    def test_edges(self):
        """
        The first and the last address of a network are in it, those beside it are not.
        """
        ranges = read_list("10.0.0.8/29\n10.0.0.16/30\n")
        found = [low for low in range(32) if ranges.contains(b"10.0.0.%d" % low)]
        self.assertEqual(found, list(range(8, 20)))
        self.assertEqual(len(ranges), 1)

    def test_everything(self):
        """
        The whole of both worlds, and nobody on a UNIX socket unless he is named.
        """
        ranges = read_list("0.0.0.0/0\n::/0")
        for address in (b"0.0.0.0", b"255.255.255.255", b"::", b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"):
            self.assertTrue(ranges.contains(address))
        self.assertFalse(ranges.contains(b"unix"))
        self.assertTrue(read_list("unix").contains(b"unix"))

    def test_no_address(self):
        """
        What is no address is in no set; a zone says nothing.
        """
        ranges = read_list("0.0.0.0/0\n::/0")
        for nothing in (b"", b"10.0.0", b"10.0.0.1.2", b"host", b"\xff", b"1.2.3.4\0", b"10.0.0.1/8"):
            self.assertFalse(ranges.contains(nothing), nothing)
        self.assertTrue(read_list("fe80::/10").contains(b"fe80::1%eth0"))

    def test_forgetful(self):
        """
        Answers are remembered, and not without end.
        """
        ranges = read_list("10.0.0.0/16")
        for number in range(10_000):
            self.assertTrue(ranges.contains(b"10.0.%d.%d" % divmod(number, 256)))
        self.assertLess(len(ranges._answers), 5000)

    def test_quick(self):
        """
        A hundred thousand networks: an address is looked up in microseconds (here, with room for a busy machine, 50).
        """
        text = "\n".join(f"{a}.{b}.{c}.0/25" for a in range(1, 5) for b in range(100) for c in range(250))
        ranges = read_list(text)
        self.assertEqual(len(ranges), 100_000)
        addresses = [b"%d.%d.%d.%d" % (n % 5, n % 100, n % 250, n % 256) for n in range(5000)]
        best = 1.0
        for _ in range(5):
            ranges._answers.clear()
            begun = perf_counter()
            found = sum(map(ranges.contains, addresses))
            best = min(best, (perf_counter() - begun) / len(addresses))
        self.assertEqual(found, sum(n % 5 > 0 and n % 256 < 128 for n in range(5000)))
        self.assertLess(best, 50e-6)


class ReadListTests(SynchronousTestCase):
    """
    Files with a network to a line.
    """

    def test_comments(self):
        """
        Comments, white space and empty lines say nothing.
        """
        ranges = read_list("\n# all\n 192.0.2.1 \n198.51.100.0/24 ; SBL1\r\n203.0.113.0/24#x\n")
        for address in (b"192.0.2.1", b"198.51.100.9", b"203.0.113.1"):
            self.assertTrue(ranges.contains(address))
        self.assertFalse(ranges.contains(b"192.0.2.2"))

    def test_wrong(self):
        """
        The first line that is wrong is named, with its number.
        """
        for line, reason in (
            ("10.0.0.1/8", "bits set beyond its prefix"),
            ("10.0.0.0/33", "not a network"),
            ("10.0.0.0/-1", "not a network"),
            ("10.0.0", "not an IP address"),
            ("::ffff:0:0/90", "bits set beyond its prefix"),
            ("deny 10.0.0.0/8;", "not an IP address"),
            ("::1/129", "not a network"),
        ):
            error = self.assertRaises(ValueError, read_list, f"# x\n{line}\n")
            self.assertIn("line 2: ", str(error))
            self.assertIn(reason, str(error), line)

    def test_mapped(self):
        """
        Networks of mapped addresses are those of IPv4.
        """
        self.assertEqual(
            interval_of("::ffff:10.0.0.0/104"), (4, int(ip_address("10.0.0.0")), int(ip_address("11.0.0.0")))
        )
