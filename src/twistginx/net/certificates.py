"""
Certificates and keys, read from PEM files and checked before anything is served with them.

What is read here is held in memory, so that a context is made of the very bytes that were checked, however the files
change meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from service_identity.cryptography import extract_patterns
from service_identity.exceptions import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity

from twistginx.errors import ConfigError

_PEM: Final = "a PEM file, which begins with -----BEGIN"
_DER_SEQUENCE: Final = b"\x30"
_SOON: Final = timedelta(days=7)


def service_id(name: str) -> DNS_ID | IPAddress_ID:
    """
    What a certificate must say to speak for ``name``, a host name or an IP address.

    :raise ValueError: when it is neither.
    """
    name = name.removesuffix(".")
    try:
        ip_address(name)
    except ValueError:
        return DNS_ID(name)
    return IPAddress_ID(name)


def verify_identity(certificate: x509.Certificate, identity: DNS_ID | IPAddress_ID) -> str:
    """
    Does the certificate speak for ``identity``?  (RFC 9525.)

    :return: why not, in words; empty when it does.
    """
    try:
        verify_service_identity(extract_patterns(certificate), [identity], [])
    except VerificationError:
        names = ", ".join(sorted(_names(certificate)))
        wanted = identity.hostname.decode("ascii") if isinstance(identity, DNS_ID) else str(identity.ip)
        return f"the certificate is for {names}, not for {wanted}"
    except (CertificateError, ValueError) as error:
        return str(error)
    return ""


@frozen
class Certificate:
    """
    A certificate with its chain and its key.

    :ivar path: the file it was read from, for messages.
    :ivar leaf: the certificate itself.
    :ivar chain: the certificates that follow it in the file, issuers after the issued.
    :ivar pem: the whole chain, leaf first.
    :ivar key_pem: the private key.
    :ivar names: what it speaks for: DNS names in lower case (wildcards as ``*.example.com``) and IP addresses.
    """

    path: str
    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    names: frozenset[str]

    def covers(self, name: str) -> bool:
        """
        May a server called ``name`` use it?  ``*.example.com`` asks for exactly that wildcard.
        """
        name = name.lower()
        if name.startswith("*."):
            return name in self.names
        try:
            return not verify_identity(self.leaf, service_id(name))
        except ValueError:
            return False

    def warnings(self, now: datetime | None = None) -> tuple[str, ...]:
        """
        What clients will not like about it, a sentence each; it can be served all the same.
        """
        now = now or datetime.now(UTC)
        found = []
        ends, begins = self.leaf.not_valid_after_utc, self.leaf.not_valid_before_utc
        if ends < now:
            found.append(f"{self.path}: the certificate expired on {ends:%Y-%m-%d %H:%M} UTC")
        elif ends - now < min(_SOON, (ends - begins) / 3):
            found.append(f"{self.path}: the certificate expires soon, on {ends:%Y-%m-%d %H:%M} UTC")
        if begins > now:
            found.append(f"{self.path}: the certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC")
        if not self.names:
            found.append(f"{self.path}: the certificate names no host in its subjectAltName, so no client accepts it")
        links = [self.leaf, *self.chain]
        for place, (issued, issuer) in enumerate(pairwise(links), 1):
            if not _issued_by(issued, issuer):
                found.append(f"{self.path}: certificate {place + 1} of the chain did not issue certificate {place}")
        return tuple(found)


def load_certificate(
    cert: Path, key: Path | None = None, read: Callable[[Path], bytes] = Path.read_bytes
) -> Certificate:
    """
    Read a certificate with its chain, and its key.

    :param key: None where ``cert`` holds the key as well.
    :param read: reads a file, or raises OSError.
    :raise ConfigError: with the key ``cert`` or ``key``, when a file cannot be read, is something else, or the two do
        not belong together.
    """
    pem = _read(cert, "cert", read)
    certificates = _parse_certificates(pem, cert, "cert")
    key_pem = pem if key is None else _read(key, "key", read)
    private_key = _parse_key(key_pem, key or cert, "cert" if key is None else "key")
    ours = _public_bytes(private_key.public_key())
    matching = [place for place, each in enumerate(certificates) if _public_bytes(each.public_key()) == ours]
    if not matching:
        raise ConfigError(f"{key or cert} is not the key of {cert}", "key", "the key it was made with")
    if matching[0]:
        raise ConfigError(
            f"{key or cert} is the key of certificate {matching[0] + 1} in {cert}",
            "cert",
            "the server's own certificate first, then the one that issued it, and so on",
        )
    leaf, *chain = certificates
    return Certificate(
        path=str(cert),
        leaf=leaf,
        chain=tuple(chain),
        pem=b"".join(each.public_bytes(Encoding.PEM) for each in certificates),
        key_pem=key_pem,
        names=frozenset(_names(leaf)),
    )


def load_authorities(path: Path, key: str = "ca", read: Callable[[Path], bytes] = Path.read_bytes) -> str:
    """
    Read the certificates of authorities that are to be trusted, as PEM text.

    :param key: the name of the option, for the error.
    :param read: reads a file, or raises OSError.
    :raise ConfigError: when the file cannot be read or holds no certificate.
    """
    certificates = _parse_certificates(_read(path, key, read), path, key)
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates).decode("ascii")


def uncovered(names: Iterable[str], certificates: Iterable[Certificate]) -> tuple[str, ...]:
    """
    Those of ``names`` that none of the certificates speaks for.
    """
    certificates = tuple(certificates)
    return tuple(name for name in names if not any(each.covers(name) for each in certificates))


def _read(path: Path, key: str, read: Callable[[Path], bytes]) -> bytes:
    try:
        return read(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}", key, "a PEM file") from error


def _parse_certificates(pem: bytes, path: Path, key: str) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        if pem.startswith(_DER_SEQUENCE):
            raise ConfigError(f"{path} is in DER form", key, f"{_PEM}; openssl x509 converts it") from error
        if b"PRIVATE KEY-----" in pem and b"-----BEGIN CERTIFICATE" not in pem:
            raise ConfigError(f"{path} holds a key and no certificate", key, "the certificate") from error
        raise ConfigError(f"{path} holds no certificate that can be read", key, f"{_PEM} CERTIFICATE-----") from error
    for certificate in certificates:
        try:
            _names(certificate)
            certificate.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{path} holds a certificate that is not valid: {error}", key, _PEM) from error
    return certificates


def _parse_key(pem: bytes, path: Path, key: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ConfigError(f"{path} has a password", key, "a key without one; openssl pkey removes it") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if pem.startswith(_DER_SEQUENCE):
            raise ConfigError(f"{path} is in DER form", key, f"{_PEM}; openssl pkey converts it") from error
        if b"-----BEGIN CERTIFICATE" in pem and b"PRIVATE KEY-----" not in pem:
            raise ConfigError(f"{path} holds a certificate and no key", key, "the private key") from error
        raise ConfigError(f"{path} holds no key that can be read", key, f"{_PEM} PRIVATE KEY-----") from error


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = [name.lower() for name in san.get_values_for_type(x509.DNSName)]
    return names + [str(address) for address in san.get_values_for_type(x509.IPAddress)]


def _issued_by(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
