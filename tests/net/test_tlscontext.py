"""
Contexts are safe by default, and the right one is found by name.
"""

from __future__ import annotations

import ssl

from attrs import evolve
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.net.authority import CA, CA_PEM, certificate, loaded, serving
from twistginx.errors import ConfigError
from twistginx.net.tlscontext import TLSTable, client_context, server_context, verifies


class ContextTests(SynchronousTestCase):
    """
    What a context allows.
    """

    def test_safe(self) -> None:
        """
        Both sides speak TLS 1.2 and later with forward secrecy, do not compress, and do not renegotiate.
        """
        for context in (serving("a.test"), client_context()):
            self.assertIs(context.minimum_version, ssl.TLSVersion.TLSv1_2)
            self.assertTrue(context.options & ssl.OP_NO_COMPRESSION)
            self.assertTrue(context.options & ssl.OP_NO_RENEGOTIATION)
            for cipher in context.get_ciphers():
                self.assertTrue(cipher["aead"] and cipher["kea"] in ("kx-ecdhe", "kx-any"), cipher)

    def test_version(self) -> None:
        """
        The oldest version can be chosen; one that is not spoken is refused.
        """
        self.assertIs(serving("a.test", min_version="1.3").minimum_version, ssl.TLSVersion.TLSv1_3)
        error = self.assertRaises(ConfigError, server_context, [certificate("a.test")], "1.1")
        self.assertEqual(error.key, "min_version")

    def test_clients(self) -> None:
        """
        Clients are asked for a certificate where there are authorities for it.
        """
        self.assertIs(serving("a.test").verify_mode, ssl.CERT_NONE)
        self.assertIs(server_context([certificate("a.test")], client_ca=CA_PEM).verify_mode, ssl.CERT_REQUIRED)

    def test_verification(self) -> None:
        """
        A client's context verifies unless told not to.
        """
        self.assertTrue(verifies(client_context()))
        self.assertTrue(verifies(client_context(CA_PEM)))
        self.assertFalse(verifies(client_context(verify=False)))

    def test_openssl_has_the_last_word(self) -> None:
        """
        A pair that OpenSSL does not take is refused with the reason.
        """
        wrong = evolve(certificate("a.test"), key_pem=certificate("b.test").key_pem)
        self.assertEqual(self.assertRaises(ConfigError, server_context, [wrong]).key, "cert")
        error = self.assertRaises(ConfigError, client_context, certificate=wrong)
        self.assertEqual(error.key, "client_cert")
        self.assertIn("key values mismatch", str(error))

    def test_garbage_authorities(self) -> None:
        """
        Authorities that are none.
        """
        self.assertEqual(self.assertRaises(ConfigError, client_context, "hello").key, "ca")

    def test_chain_is_sent(self) -> None:
        """
        The intermediate certificates are part of the context.
        """
        pair = loaded(CA.create_child_ca().issue_cert("a.test"))
        self.assertEqual(pair.pem.count(b"BEGIN CERTIFICATE"), 2)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = server_context([pair]).wrap_bio(incoming, outgoing, server_side=True)
        ask = client_context(CA_PEM)
        ask.maximum_version = ssl.TLSVersion.TLSv1_2  # the chain is sent in the clear
        replies, requests = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.assertRaises(ssl.SSLWantReadError, ask.wrap_bio(replies, requests).do_handshake)
        incoming.write(requests.read())
        self.assertRaises(ssl.SSLWantReadError, server.do_handshake)
        self.assertIn(pair.chain[0].public_bytes(Encoding.DER), outgoing.read())


class TableTests(SynchronousTestCase):
    """
    A listener's contexts, by name.
    """

    def setUp(self) -> None:
        a, wide, deep, default = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(4))
        self.contexts = {a: "a", wide: "wide", deep: "deep", default: "default", None: None}
        self.default = default
        self.named = [("A.test", a), ("*.test", wide), ("*.deep.test", deep), ("a.test", wide), ("bücher.test", deep)]

    def test_choice(self) -> None:
        """
        The whole name goes before the longest wildcard, that before shorter ones, and the default comes last.
        """
        table = TLSTable.of(self.named, self.default)
        for name, expected in (
            (b"a.test", "a"),
            (b"b.test", "wide"),
            (b"a.deep.test", "deep"),
            (b"deep.test", "wide"),
            (b"x.y.test", "wide"),
            (b"xn--bcher-kva.test", "deep"),
            (b"test", "default"),
            (b"other", "default"),
            (None, "default"),
        ):
            self.assertEqual(self.contexts[table.context_for(name)], expected, name)

    def test_patterns(self) -> None:
        """
        A regex is asked after the names and wildcards, the first one that is found counts.
        """
        a, wide, deep, default = self.contexts.keys() - {None}
        named = [("~^shop-[0-9]+[.]", a), ("~^shop-", wide), ("*.test", deep)]
        table = TLSTable.of(named, default)
        for name, context in (
            (b"shop-1.example", a),
            (b"shop-x.example", wide),
            (b"shop-1.test", deep),
            (b"other.example", default),
        ):
            self.assertIs(table.context_for(name), context, name)

    def test_no_default(self) -> None:
        """
        Without a default, nobody is served who does not ask for a name of ours.
        """
        table = TLSTable.of(self.named)
        self.assertIsNone(table.context_for(None))
        self.assertIsNone(table.context_for(b"other.example"))
        self.assertIsNone(TLSTable().context_for(b"a.test"))
