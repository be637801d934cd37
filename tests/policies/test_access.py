"""
Tests for twistginx.policies.access, net.addresslist and build.networks.
"""

from __future__ import annotations

from types import SimpleNamespace

from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from tests.policies.guarded import SITE, GuardedCase
from twistginx.errors import ConfigError
from twistginx.interfaces import IPolicyModule
from twistginx.policies import access
from twistginx.testing import MemoryServer


class AddressTests(GuardedCase):
    """
    By address.
    """

    def lets_in(self, *clients: str) -> None:
        """
        Of these clients, those without an exclamation mark before them come in.
        """
        for client in clients:
            status = 403 if client.startswith("!") else 200
            if status == 403:
                answer = self.told(client=client[1:])
                self.assertEqual(answer.status, 403, client)
                self.assertEqual(self.record[0], "http_request_denied")
            else:
                self.passed(client=client)

    def test_module(self) -> None:
        """
        It is a policy's module, for requests and for connections.
        """
        verifyObject(IPolicyModule, access)
        self.assertEqual((access.rank, access.applies_to), (200, {"http", "stream"}))

    def test_allow(self) -> None:
        """
        Only who is in one of the networks, of either version; the short form says the same.
        """
        for policies in ('access = ["10.0.0.0/8", "2001:db8::/32"]', 'access.allow = ["10.0.0.0/8", "2001:db8::/32"]'):
            self.serve(policies)
            self.lets_in("10.1.2.3", "!11.0.0.1", "2001:db8::7", "!2001:db9::7", "::ffff:10.0.0.1")

    def test_deny(self) -> None:
        """
        Everybody but those; with allow, those of them who are not denied.
        """
        self.serve('access = { deny = "192.0.2.0/24" }')
        self.lets_in("10.0.0.1", "!192.0.2.1")
        self.serve('access = { allow = "10.0.0.0/8", deny = ["10.0.0.13"] }')
        self.lets_in("10.0.0.12", "!10.0.0.13", "!192.0.2.1")

    def test_detail(self) -> None:
        """
        The log says why, by the names of the configuration; the client is not told.
        """
        self.serve('access = { allow = "all", deny = ["bad"] }\n[networks]\nbad = "192.0.2.0/24"')
        answer = self.told(client="192.0.2.1")
        self.assertIn("access.deny: the client's address is in it (networks.bad)", self.record[1])
        self.assertNotIn(b"networks.bad", answer.body)

    def test_all(self) -> None:
        """
        Nobody; a proxy's word is taken only from a trusted one.
        """
        self.serve('access = { deny = "all" }')
        self.lets_in("!10.0.0.1", "!::1")
        self.serve('access = "10.0.0.0/8"')
        client = self.server.connect(peer="192.0.2.9")
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
        self.assertIn(b" 403 ", client.take())

    def test_named(self) -> None:
        """
        Lists by name: networks, files, and what is not meant although it is in them.
        """
        self.serve(
            """
            access = { allow = ["office", "192.0.2.1"] }
            [networks]
            other = "203.0.113.0/24"
            [networks.office]
            addresses = ["10.0.0.0/8", "file:lists/vpn.txt"]
            without = ["10.6.6.0/24", "file:lists/gone.txt"]
            """,
            {"lists/vpn.txt": b"# VPN\n198.51.100.0/24\n", "lists/gone.txt": b"198.51.100.7"},
        )
        self.lets_in("10.0.0.1", "!10.6.6.1", "198.51.100.1", "!198.51.100.7", "192.0.2.1", "!203.0.113.1")

    def test_watched(self) -> None:
        """
        A list is read again when it changes, without a reload, and a wrong one changes nothing.
        """
        self.serve('access = { deny = ["file:blocked.txt"] }', {"blocked.txt": b"192.0.2.1\n"})
        path = self.server.directory / "blocked.txt"
        self.lets_in("!192.0.2.1", "192.0.2.22")
        path.write_bytes(b"192.0.2.22\n192.0.2.33\n")
        self.server.advance(3)
        self.lets_in("192.0.2.1", "!192.0.2.22")
        with capturedLogs() as events:
            path.write_bytes(b"everybody")
            self.server.advance(3)
        self.assertIn("line 1: 'everybody' is not an IP address", events[0]["complaint"])
        self.lets_in("!192.0.2.22", "192.0.2.1")

    def test_reload(self) -> None:
        """
        One look at a file serves all who use it, goes on over a reload, and ends with the last of them.
        """
        both = 'access = { deny = ["file:a.txt", "list"] }\n[networks]\nlist = "file:a.txt"'
        server = self.serve(both, {"a.txt": b"192.0.2.1"})
        self.assertEqual(len(server.runtime.ticker), 1)
        server.load(SITE + both + "\nother = '10.0.0.0/8'")
        self.assertEqual(len(server.runtime.ticker), 1)
        self.lets_in("!192.0.2.1")
        server.load(SITE)
        self.assertEqual(len(server.runtime.ticker), 0)

    def test_trusted(self) -> None:
        """
        Proxies are trusted by lists and files as well, from right to left, for as long as they stand there.
        """
        config = """
            [networks]
            cdn = "file:cdn.txt"
            [[site]]
            listen = "tcp:80"
            trusted_proxies = ["cdn", "10.0.0.1"]
            [[site.route]]
            respond = { body = "{client}" }
        """
        self.server = server = MemoryServer(config, {"cdn.txt": b"198.51.100.0/24\n127.0.0.1\n"})
        self.addCleanup(server.close)
        chain = "6.6.6.6, 192.0.2.7, 198.51.100.9, 10.0.0.1, 198.51.100.8"
        self.assertEqual(self.told(client=chain).body, b"192.0.2.7")
        (server.directory / "cdn.txt").write_bytes(b"127.0.0.1\n")
        server.advance(3)
        self.assertEqual(self.told(client=chain).body, b"198.51.100.8")
        (server.directory / "cdn.txt").write_bytes(b"")
        server.advance(3)
        self.assertEqual(self.told(client=chain).body, b"127.0.0.1")
        for everybody in ("all", "0.0.0.0/0", "::/0"):
            server.load(config.replace("10.0.0.1", everybody))
            (warning,) = server.generation.warnings  # type: ignore[union-attr]
            self.assertIn("site[0].trusted_proxies[1]: trusts everybody", str(warning))
        for wrong, problem in (("nobody", 'there is no list "nobody"'), ("file:none.txt", "cannot be read")):
            error = self.assertRaises(ConfigError, server.load, config.replace('"10.0.0.1"', f'"{wrong}"'))
            self.assertIn(f"site[0].trusted_proxies[1]: {problem}" if wrong == "nobody" else problem, str(error))

    def test_wrong(self) -> None:
        """
        What is wrong is said where it stands.
        """
        for policies, problem in (
            ('access.allow = ["10.0.0.1/8"]', "access.allow[0]: '10.0.0.1/8' has bits set beyond its prefix"),
            ('access.deny = ["ofice"]\n[networks]\noffice = "::1"', 'there is no list "ofice"; did you mean "office"?'),
            ('access.deny = ["::1", "file:none"]', "access.deny[1]: the file"),
            ("access.allow = []", "access.allow: is empty, so that nobody could come in"),
            ("access = {}", "access: says nothing, so that everybody may come in"),
            ("access = { deny = [] }", "access: says nothing"),
            ('access.headers = { "X Y" = "1" }', "'X Y' is not the name of a header"),
            (
                'access = "all"\n[networks]\na = ["b"]\nb = "::1"',
                'networks.a.addresses: has the name of a list in it, "b"',
            ),
            ('access = "all"\n[networks]\nall = "::1"', "networks.all: cannot be the name of a list"),
            ('access = "all"\n[networks]\n"1a" = "::1"', "cannot be the name of a list"),
            ('access = "all"\n[networks]\na = "file:none"', "networks.a.addresses[0]: the file"),
        ):
            self.assertIn(problem, self.refused(policies), policies)

    def test_connections(self) -> None:
        """
        For streams: False closes a connection; a UNIX socket has a word of its own.
        """
        self.serve('access = { allow = ["10.0.0.0/8", "unix"] }')
        policy = self.server.generation.sites[0].routes[0].admit[0].__self__  # type: ignore[union-attr]
        for address, outcome in ((b"10.0.0.1", None), (b"192.0.2.1", False), (b"", None)):
            self.assertIs(policy.connected(SimpleNamespace(client_ip=address)), outcome)


class HeaderTests(GuardedCase):
    """
    By header.
    """

    def test_secret(self) -> None:
        """
        A field with a secret, as a CDN sends it to prove that it is itself: exactly once, exactly that.
        """
        self.serve('access.headers = { X-Origin-Verify = "{env.KEY}" }', KEY="a*b")
        self.passed("X-Origin-Verify: a*b")
        for fields in ((), ("X-Origin-Verify: axb",), ("X-Origin-Verify: a*b", "X-Origin-Verify: a*b")):
            self.assertEqual(self.told(*fields).status, 403)
        self.assertIn("access.headers.X-Origin-Verify", self.record[1])
        self.assertNotIn("a*b", self.record[1])

    def test_patterns(self) -> None:
        """
        A star stands for any characters, and other characters for themselves.
        """
        self.serve('access.deny_headers = { User-Agent = ["*[Bot]?*", "curl"], X-Old = "*" }')
        self.passed("User-Agent: Bot")
        self.passed("User-Agent: curl/8")
        for field in ("User-Agent: a [Bot]? b", "User-Agent: curl", "X-Old: ", "X-Old: 1"):
            self.assertEqual(self.told(field).status, 403, field)

    def test_with_addresses(self) -> None:
        """
        All that is written must hold.
        """
        self.serve('access = { allow = "10.0.0.0/8", headers = { X-A = "1" } }')
        self.passed("X-A: 1", client="10.0.0.1")
        self.assertEqual(self.told("X-A: 1").status, 403)
        self.assertEqual(self.told(client="10.0.0.1").status, 403)
