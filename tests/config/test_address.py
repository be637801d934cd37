"""
Tests of twistginx.config.address.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.address import HostName, ServerAddress, is_listener_name, parse_endpoint
from twistginx.config.text import Text


def _at(text: str) -> Text:
    return Text.at(text, Path("/etc/twistginx"))


class ServerAddressTests(SynchronousTestCase):
    """
    Where servers are.
    """

    def test_tcp(self):
        """
        Hosts, ports and URLs; the ports of URLs have defaults.
        """
        for text, host, port, secure, canonical in (
            ("127.0.0.1:9001", "127.0.0.1", 9001, False, "127.0.0.1:9001"),
            ("app:1", "app", 1, False, "app:1"),
            ("my_app.local:65535", "my_app.local", 65535, False, "my_app.local:65535"),
            ("[::1]:80", "::1", 80, False, "[::1]:80"),
            ("[0:0::1]:80", "::1", 80, False, "[::1]:80"),
            ("http://App", "app", 80, False, "http://app:80"),
            ("HTTPS://app", "app", 443, True, "https://app:443"),
            ("https://[::1]:8443", "::1", 8443, True, "https://[::1]:8443"),
            ("tcp:db:5432", "db", 5432, False, "tcp:db:5432"),
            ("tls:db:5432", "db", 5432, True, "tls:db:5432"),
            ("tls:[::1]:5432", "::1", 5432, True, "tls:[::1]:5432"),
            ("http://münchen.example", "xn--mnchen-3ya.example", 80, False, "http://xn--mnchen-3ya.example:80"),
        ):
            address = ServerAddress.parse(text)
            self.assertEqual(address, ServerAddress("tcp", host, port, None, secure, ""))
            self.assertEqual(address.text, canonical)
            self.assertEqual(ServerAddress.parse(canonical), address)

    def test_unix(self):
        """
        A path resolves against the file that it is written in.
        """
        address = ServerAddress.parse(_at("unix:run/app.sock"))
        self.assertEqual((address.kind, address.path), ("unix", Path("/etc/twistginx/run/app.sock")))
        self.assertEqual(address.text, "unix:/etc/twistginx/run/app.sock")
        self.assertEqual(ServerAddress.parse("unix:/run/app.sock").path, Path("/run/app.sock"))

    def test_endpoint(self):
        """
        Any other client endpoint string is opaque.
        """
        for text in (
            "tor:x.onion:80",
            "tcp:host=db:port=5432",
            "tcp:db:5432:timeout=3",
            "tls:db:5432:trustRoots=ca",
            "ssl:db:443",
            "unix:path=/run/x:timeout=3",
            "tcp:\\:\\:1:80",
        ):
            address = ServerAddress.parse(text)
            self.assertEqual((address.kind, address.text, str(address)), ("endpoint", text, text))
        one, other = (ServerAddress.parse(f"tcp:host={host}:port=1") for host in "ab")
        self.assertNotEqual(one, other)

    def test_peer_name(self):
        """
        As text it is the name of the peer, without the scheme.
        """
        self.assertEqual(str(ServerAddress.parse("https://app")), "app:443")
        self.assertEqual(str(ServerAddress.parse("[::1]:80")), "[::1]:80")

    def test_refused(self):
        """
        What is wrong is told with what to write.
        """
        for text, reason in (
            ("localhost", 'as in "localhost:8000"'),
            ("http://a:80/api", "strip_prefix"),
            ("http://a/", "has a path"),
            ("http://a?x", "has a path"),
            ("http://", "has no host"),
            ("http://a:", "is not an address"),
            ("http://u@a", "a user and a password"),
            ("ws://a", "only"),
            ("a:0", "from 1 to 65535"),
            ("a:65536", "from 1 to 65535"),
            ("a:x", "is not an address"),
            ("::1:80", "brackets"),
            ("[::1]", "has no port"),
            ("[::g]:80", "is not an IPv6 address"),
            ("tcp:9001", "tcp:127.0.0.1:9001"),
            ("ssl:9001", "has no host"),
            ("256.1.1.1:80", "is not an IP address"),
            ("unix:", "says nothing"),
            ("a b:80", "not the name of a host"),
            ("", "has no host"),
        ):
            error = self.assertRaises(ValueError, ServerAddress.parse, text)
            self.assertIn(reason, str(error), text)


class HostNameTests(SynchronousTestCase):
    """
    The names of sites.
    """

    def test_parse(self):
        """
        Names are lower case and ASCII.
        """
        for text, name in (
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("*.Example.com", "*.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("::1", "[::1]"),
        ):
            self.assertEqual(HostName.parse(text), name)
        self.assertTrue(HostName.parse("*.a").is_wildcard)
        self.assertFalse(HostName.parse("a").is_wildcard)

    def test_refused(self):
        """
        No URL, no port, no wildcard but at the start.
        """
        bad = (
            "http://a|a/b|a:80|[::1]:80|*|_||a.*|*a.b|*.*.a|a..b|-a|a b|999.1.1.1|" + "a" * 64 + "|" + "a." * 127 + "a"
        )
        for text in bad.split("|"):
            self.assertRaises(ValueError, HostName.parse, text)


class EndpointTests(SynchronousTestCase):
    """
    Where is listened.
    """

    def test_paths_resolve(self):
        """
        Relative paths in the endpoint strings of Twisted's own resolve against the file; the rest stays.  They are
        plain strings, because Twisted's parser takes no others.
        """
        for text, resolved in (
            ("tcp:8080", "tcp:8080"),
            ("edge", "edge"),
            ("unix:run/a.sock", "unix:/etc/twistginx/run/a.sock"),
            ("unix:/run/a.sock:mode=600", "unix:/run/a.sock:mode=600"),
            ("unix:address=a.sock", "unix:address=/etc/twistginx/a.sock"),
            ("unix:a\\:b\\\\c", "unix:/etc/twistginx/a\\:b\\\\c"),
            (
                "ssl:443:privateKey=k.pem:certKey=/c.pem:interface=\\:\\:1",
                "ssl:443:privateKey=/etc/twistginx/k.pem:certKey=/c.pem:interface=\\:\\:1",
            ),
            ("tls:certs:port=443", "tls:/etc/twistginx/certs:port=443"),
            ("haproxy:unix:a.sock", "haproxy:unix:/etc/twistginx/a.sock"),
            ("acme:x=y:z", "acme:x=y:z"),
        ):
            self.assertEqual(parse_endpoint(_at(text)), resolved)
            self.assertIs(type(parse_endpoint(_at(text))), str)

    def test_twisted_reads_it(self):
        """
        Twisted finds the resolved path in the string, whatever is in it.
        """
        base = Path("/odd: \\dir=1")
        reactor = MemoryReactor()
        endpoint = parse_endpoint(Text.at("unix:a=b.sock:mode=600".replace("=b", "\\=b"), base))
        self.assertEqual(serverFromString(reactor, endpoint)._address, "/odd: \\dir=1/a=b.sock")

    def test_is_name(self):
        """
        What has no colon is the name of a listener.
        """
        self.assertTrue(is_listener_name(parse_endpoint("edge")))
        self.assertFalse(is_listener_name(parse_endpoint("tcp:80")))

    def test_refused(self):
        """
        What other servers would take is told how it is written here.
        """
        for text, reason in (
            ("8080", 'write "tcp:8080"'),
            ("127.0.0.1:8080", 'write "tcp:8080:interface=127.0.0.1"'),
            ("[::1]:8080", 'write "tcp:8080:interface=\\:\\:1"'),
            ("*:8080", 'write "tcp:8080"'),
            ("localhost:8080", 'write "tcp:8080:interface=127.0.0.1"'),
            ("", "is not an endpoint"),
            (" tcp:80", "is not an endpoint"),
        ):
            error = self.assertRaises(ValueError, parse_endpoint, text)
            self.assertIn(reason, str(error))
