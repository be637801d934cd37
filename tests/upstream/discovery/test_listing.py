"""
Tests for twistginx.upstream.discovery.listing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.address import ServerAddress
from twistginx.config.schema import Server
from twistginx.upstream.discovery.listing import MOST, read_json, read_lines, read_toml, servers_of

A = ServerAddress.parse("10.0.0.1:8000")
B = ServerAddress.parse("10.0.0.2:8000")
BASE = Path("/srv")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class ListTests(SynchronousTestCase):
    """
    What a list says.
    """

    def test_forms(self) -> None:
        """
        The same two servers in each form.
        """
        servers = (Server(A), Server(B, weight=2, backup=True))
        table = {"to": "10.0.0.2:8000", "weight": 2, "backup": True}
        for read in (
            servers_of(["10.0.0.1:8000", table], True),
            servers_of({"servers": ["10.0.0.1:8000", table], "other": 1}, True),
            read_json(b'["10.0.0.1:8000", {"to": "10.0.0.2:8000", "weight": 2, "backup": true}]', True),
            read_toml(b'servers = ["10.0.0.1:8000", { to = "10.0.0.2:8000", weight = 2, backup = true }]', BASE),
            read_lines(b"# the servers\n10.0.0.1:8000\n\n10.0.0.2:8000 weight=2 backup # spare\n", BASE),
        ):
            self.assertEqual(read, servers)

    def test_mistakes(self) -> None:
        """
        Each says where and what.
        """
        cases: tuple[tuple[Any, str], ...] = (
            ({}, 'without "servers"'),
            ("10.0.0.1:8000", "not a list"),
            (["10.0.0.1"], "servers.0: .*has no port"),
            ([{"to": "a:1", "wieght": 2}], 'servers.0.wieght: unknown key did you mean "weight"'),
            ([{"to": "a:1", "weight": 0}], "servers.0.weight: is 0"),
            ([{"to": "a:1", "weight": 10**400}], "servers.0.weight: .*expected a number from 1 to 1000000"),
            ([7], "servers.0"),
            (["a:1"] * (MOST + 1), "more than"),
            (["unix:/run/app.sock"], "is not an address"),
            (["tcp:host=a:port=1"], "is not an address"),
        )
        for value, reason in cases:
            with self.subTest(value=str(value)[:40]), self.assertRaisesRegex(ValueError, reason):
                servers_of(value, True)

    def test_mistakes_of_syntax(self) -> None:
        """
        What is no JSON, or no TOML, is said to be none.
        """
        with self.assertRaisesRegex(ValueError, "not JSON"):
            read_json(b"[" * 100_000, True)
        with self.assertRaisesRegex(ValueError, "not JSON"):
            read_json(b"\xff", True)
        with self.assertRaisesRegex(ValueError, "not TOML"):
            read_toml(b"servers = [", BASE)

    def test_local_sockets(self) -> None:
        """
        A file of this machine may name sockets; relative ones are beside it.
        """
        (server,) = read_lines(b"unix:app.sock", BASE)
        self.assertEqual(server.to.path, BASE / "app.sock")

    def test_twice(self) -> None:
        """
        An address that is there twice is one server, the first.
        """
        self.assertEqual(
            servers_of([{"to": "10.0.0.1:8000", "weight": 3}, "10.0.0.1:8000"], True), (Server(A, weight=3),)
        )

    def test_nobody(self) -> None:
        """
        No server is a list, too.
        """
        self.assertEqual(servers_of([], True), ())

    @given(JSON)
    def test_anything(self, value: Any) -> None:
        """
        Anything that JSON can say is servers, or a ValueError.
        """
        try:
            servers_of(value, True)
        except ValueError:
            pass

    @given(st.binary())
    def test_any_bytes(self, content: bytes) -> None:
        """
        So is any file.
        """
        for read in (read_lines, read_toml):
            try:
                read(content, BASE)
            except ValueError:
                pass
