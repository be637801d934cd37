"""
Tests for twistginx.config.resolvconf.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.resolvconf import ResolvConf, parse_nameserver


class ResolvConfTests(SynchronousTestCase):
    """
    What the system's file says.
    """

    def test_kubernetes(self) -> None:
        """
        As a pod has it.
        """
        conf = ResolvConf.parse(
            "# made by kubelet\nsearch default.svc.cluster.local svc.cluster.local cluster.local.\n"
            "nameserver 10.96.0.10\noptions ndots:5 edns0\n"
        )
        self.assertEqual(conf.servers, (("10.96.0.10", 53),))
        self.assertEqual(conf.dots, 5)
        self.assertEqual(
            conf.candidates("app"),
            ("app.default.svc.cluster.local", "app.svc.cluster.local", "app.cluster.local", "app"),
        )
        self.assertEqual(conf.candidates("app.example.com")[-1], "app.example.com")

    def test_long_name(self) -> None:
        """
        A name with enough dots is whole, and only then short for something.
        """
        conf = ResolvConf.parse("domain internal\n")
        self.assertEqual(conf.candidates("app.example.com"), ("app.example.com", "app.example.com.internal"))
        self.assertEqual(conf.candidates("app"), ("app.internal", "app"))

    def test_nonsense(self) -> None:
        """
        What cannot be understood is passed over, and there are three servers at most.
        """
        text = "nameserver\nnameserver x\nnameserver ::1 ; local\noptions ndots:x ndots:99\nsearch . \nfoo bar\n"
        self.assertEqual(ResolvConf.parse(text), ResolvConf((("::1", 53),), (), 15))
        self.assertEqual(len(ResolvConf.parse("nameserver 10.0.0.1\n" * 9).servers), 3)
        self.assertEqual(ResolvConf.parse(""), ResolvConf())

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """
        Any text is a file.
        """
        self.assertIn("app", ResolvConf.parse(text).candidates("app"))


class NameserverTests(SynchronousTestCase):
    """
    Addresses of name servers.
    """

    def test_forms(self) -> None:
        """
        With and without a port.
        """
        for text, address in (
            ("10.0.0.2", ("10.0.0.2", 53)),
            ("127.0.0.1:5353", ("127.0.0.1", 5353)),
            ("::1", ("::1", 53)),
            ("[::1]", ("::1", 53)),
            ("[::1]:5353", ("::1", 5353)),
        ):
            self.assertEqual(parse_nameserver(text), address)

    def test_mistakes(self) -> None:
        """
        Anything else is none: a name would have to be looked up.
        """
        for text in ("", "ns.internal", "10.0.0.2:", "10.0.0.2:0", "10.0.0.2:70000", "[::1]:x", "udp:10.0.0.2"):
            self.assertRaises(ValueError, parse_nameserver, text)
