"""
Tests for L{twistginx.http.fields}.
"""

from __future__ import annotations

from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.template import Template
from twistginx.errors import ConfigError
from twistginx.http.fields import ConfiguredFields
from twistginx.http.message import Fields


def configured(**table: str) -> ConfiguredFields:
    parsed = {name.replace("_", "-"): Template.parse(value) for name, value in table.items()}
    return ConfiguredFields.of(parsed, "headers")


class ConfiguredFieldsTests(SynchronousTestCase):
    """
    Fields that the configuration writes.
    """

    def refused(self, name: str, value: str = "x") -> ConfigError:
        error = self.assertRaises(ConfigError, configured, **{name: value})
        self.assertEqual(error.key, f"headers.{name}")
        return error

    def test_constant(self):
        """
        Fields without variables are made once.
        """
        fields = configured(X_A="1", X_B="{{2}}")
        self.assertEqual(fields.constant, [(b"x-a", b"X-A", b"1"), (b"x-b", b"X-B", b"{2}")])
        self.assertIs(fields.fill(None), fields.constant)
        self.assertEqual(fields.names, {b"x-a", b"x-b"})

    def test_variables(self):
        """
        Fields keep their order; one that comes out empty is left out; what a client sends adds no line.
        """
        fields = configured(X_A="{header.a}", X_B="b", X_C="<{header.a}>", X_D="{header.none}")
        self.assertIsNone(fields.constant)
        request = SimpleNamespace(head=SimpleNamespace(fields=Fields.of([(b"A", b"1\r\nEvil: 2\0")])))
        self.assertEqual(
            [(name, value) for _, name, value in fields.fill(request)],
            [(b"X-A", b"1  Evil: 2"), (b"X-B", b"b"), (b"X-C", b"<1  Evil: 2 >")],
        )

    def test_names(self):
        """
        What is no name, or belongs to the framing, is refused with its key.
        """
        for name in ("", "X A", "X:", "Grüße", "X\r\nY"):
            self.assertIn("not the name of a header", self.refused(name).message)
        for name in ("Content-Length", "transfer-encoding", "Connection", "Keep-Alive", "UPGRADE", "TE", "Trailer"):
            self.assertIn("belongs to the connection", self.refused(name).message)

    def test_values(self):
        """
        A value is one line.
        """
        for value in ("a\r\nb", "a\nb", "a\0", " a", "a\t", "\x7f"):
            self.assertIn("control character", self.refused("X", value).message)
        self.assertEqual(configured(X="a\tb, grüße").constant, [(b"x", b"X", "a\tb, grüße".encode())])
