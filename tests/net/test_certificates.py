"""
Certificates and keys are read with understanding, and refused in sentences.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from tests.net.authority import CA, CA_PEM
from twistginx.errors import ConfigError
from twistginx.net.certificates import (
    Certificate,
    load_authorities,
    load_certificate,
    service_id,
    uncovered,
    verify_identity,
)


class CertificateTestCase(SynchronousTestCase):
    """
    A directory, a certificate ``cert.pem`` and its key ``key.pem`` in it.
    """

    names = ("www.example.com", "*.example.org", "192.0.2.7")

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.issued = CA.issue_cert(*self.names)
        self.cert = self.write("cert.pem", self.issued.cert_chain_pems[0].bytes())
        self.key = self.write("key.pem", self.issued.private_key_pem.bytes())

    def write(self, name: str, content: bytes) -> Path:
        """
        A file.
        """
        path = self.directory / name
        path.write_bytes(content)
        return path

    def refused(self, cert: Path, key: Path | None, where: str) -> str:
        """
        Why the pair is refused; the error is at the key ``where``.
        """
        error = self.assertRaises(ConfigError, load_certificate, cert, key)
        self.assertEqual(error.key, where)
        return str(error)


class LoadTests(CertificateTestCase):
    """
    What can be served is loaded.
    """

    def test_pair(self) -> None:
        """
        A certificate and its key, and the names it is for.
        """
        certificate = load_certificate(self.cert, self.key)
        self.assertEqual(certificate.names, frozenset(self.names))
        self.assertEqual(certificate.warnings(), ())
        self.assertNotIn("PRIVATE", repr(certificate))

    def test_one_file(self) -> None:
        """
        Certificate and key may share a file, in any order.
        """
        both = self.write("both.pem", self.key.read_bytes() + self.cert.read_bytes())
        self.assertEqual(load_certificate(both), load_certificate(both, both))

    def test_kept_in_memory(self) -> None:
        """
        What was read is what is used, whatever becomes of the files.
        """
        certificate = load_certificate(self.cert, self.key)
        pem = self.cert.read_bytes()
        self.cert.unlink()
        self.assertEqual(certificate.pem, pem)

    def test_authorities(self) -> None:
        """
        Authorities are text, with nothing else that was in the file.
        """
        path = self.write("ca.pem", b"a comment\n" + CA_PEM.encode() + self.key.read_bytes())
        self.assertEqual(load_authorities(path).strip(), CA_PEM.strip())
        error = self.assertRaises(ConfigError, load_authorities, self.key, "client_ca")
        self.assertEqual(error.key, "client_ca")


class RefusalTests(CertificateTestCase):
    """
    What cannot be served is refused, with the option that is at fault and a sentence that helps.
    """

    def test_missing(self) -> None:
        """
        Files that are not there.
        """
        absent = self.directory / "absent.pem"
        self.assertIn("No such file", self.refused(absent, self.key, "cert"))
        self.assertIn("No such file", self.refused(self.cert, absent, "key"))

    def test_garbage(self) -> None:
        """
        Files that are something else, or broken.
        """
        begin, end = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"
        for content in (b"", b"hello", begin, begin + b"AAAA" + end, begin + b"!" + end):
            path = self.write("garbage.pem", content)
            self.assertIn("garbage.pem holds no certificate", self.refused(path, self.key, "cert"))
            self.refused(self.cert, path, "key")

    def test_exchanged(self) -> None:
        """
        The key for the certificate, and the other way round.
        """
        self.assertIn("holds a key and no certificate", self.refused(self.key, self.cert, "cert"))
        self.assertIn("holds a certificate and no key", self.refused(self.cert, self.cert, "key"))

    def test_der(self) -> None:
        """
        The binary form is named, with the tool that converts it.
        """
        certificate = load_certificate(self.cert, self.key)
        der = self.write("cert.der", certificate.leaf.public_bytes(Encoding.DER))
        self.assertIn("openssl x509", self.refused(der, self.key, "cert"))
        self.assertIn("openssl pkey", self.refused(self.cert, der, "key"))

    def test_wrong_key(self) -> None:
        """
        The key of another certificate.
        """
        other = self.write("other.pem", CA.issue_cert("other.test").private_key_pem.bytes())
        self.assertIn("other.pem is not the key of", self.refused(self.cert, other, "key"))

    def test_chain_turned_round(self) -> None:
        """
        A chain that begins with the issuer is told from a wrong key.
        """
        turned = self.write("turned.pem", CA_PEM.encode() + self.cert.read_bytes())
        self.assertIn("is the key of certificate 2", self.refused(turned, self.key, "cert"))

    def test_encrypted_key(self) -> None:
        """
        A key with a password is refused; nobody is asked for it.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        self.assertIn("has a password", self.refused(self.cert, self.write("locked.pem", pem), "key"))


class CoverTests(CertificateTestCase):
    """
    Which names a certificate is for.
    """

    def test_covers(self) -> None:
        """
        Whole names, addresses, one label for a wildcard, and a wildcard as such.
        """
        certificate = load_certificate(self.cert, self.key)
        for name in ("www.example.com", "WWW.example.com", "a.example.org", "*.example.org", "192.0.2.7"):
            self.assertTrue(certificate.covers(name), name)
        for name in ("example.com", "a.b.example.org", "example.org", "*.example.com", "192.0.2.8", "", "not a name"):
            self.assertFalse(certificate.covers(name), name)
        self.assertEqual(uncovered(["x.example.org", "y.test"], [certificate]), ("y.test",))

    def test_reason(self) -> None:
        """
        A certificate for another name is refused with both names.
        """
        leaf = load_certificate(self.cert, self.key).leaf
        self.assertEqual(verify_identity(leaf, service_id("www.example.com.")), "")
        self.assertEqual(
            verify_identity(leaf, service_id("other.test")),
            "the certificate is for *.example.org, 192.0.2.7, www.example.com, not for other.test",
        )
        self.assertIn("not for 192.0.2.8", verify_identity(leaf, service_id("192.0.2.8")))

    def test_no_name(self) -> None:
        """
        What is no name is an error of whoever wrote it.
        """
        for name in ("", "a b", "a/b"):
            self.assertRaises(ValueError, service_id, name)


class WarningTests(SynchronousTestCase):
    """
    What can be served and will not please clients.
    """

    now = datetime(2030, 1, 1, tzinfo=UTC)

    def certificate(self, begins: timedelta, ends: timedelta, named: bool = True) -> Certificate:
        """
        A certificate for a time relative to ``now``.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.test")])
        builder = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(self.now + begins)
            .not_valid_after(self.now + ends)
        )
        if named:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.test")]), critical=False)
        path = Path(self.mktemp())
        path.write_bytes(
            builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return load_certificate(path)

    def test_time(self) -> None:
        """
        Expired, about to, not yet valid, and none of that.
        """
        day = timedelta(days=1)
        for begins, ends, words in (
            (-30 * day, -day, "expired on 2029-12-31"),
            (-30 * day, 3 * day, "expires soon"),
            (day, 30 * day, "is not valid before 2030-01-02"),
        ):
            (warning,) = self.certificate(begins, ends).warnings(self.now)
            self.assertIn(words, warning)
        self.assertEqual(self.certificate(-30 * day, 30 * day).warnings(self.now), ())

    def test_short_lived(self) -> None:
        """
        A certificate that lives six days only is not about to expire when it is new.
        """
        day = timedelta(days=1)
        self.assertEqual(self.certificate(-day, 5 * day).warnings(self.now), ())

    def test_nameless(self) -> None:
        """
        A common name alone is no name (RFC 9525).
        """
        (warning,) = self.certificate(-timedelta(30), timedelta(30), named=False).warnings(self.now)
        self.assertIn("subjectAltName", warning)

    def test_chain(self) -> None:
        """
        Certificates that did not issue each other.
        """
        stranger = trustme.CA().cert_pem.bytes()
        issued = CA.create_child_ca().issue_cert("a.test")
        leaf, intermediate = (each.bytes() for each in issued.cert_chain_pems)
        key = issued.private_key_pem.bytes()
        path = Path(self.mktemp())
        for content, count in ((leaf + intermediate, 0), (leaf + stranger, 1), (leaf + CA_PEM.encode(), 1)):
            path.write_bytes(content + key)
            self.assertEqual(len(load_certificate(path).warnings()), count, count)
