"""
The contexts of TLS: what a side of a connection is willing to do, decided at build and never changed.

A listener picks one complete context for a connection before it handshakes.  (Changing contexts in the middle, in
OpenSSL's server name callback, keeps what the first one said about versions and client certificates.)
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from twistginx.config.regex import Regex
from twistginx.errors import ConfigError
from twistginx.net.certificates import Certificate

#: The versions that can be asked for.
VERSIONS: Final = MappingProxyType({"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3})

#: Of TLS 1.2, only what gives forward secrecy and authenticated encryption (RFC 9325, section 4.2).
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(
    certificates: Sequence[Certificate],
    min_version: str = "1.2",
    client_ca: str | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """
    The context of a site.

    :param certificates: at least one; several of different kinds of key (ECDSA, RSA) are chosen from by what the client
        can do.
    :param client_ca: PEM text; clients must show a certificate that one of these issued.  None: they are not asked.
    :param alpn: the application protocols we speak, by our preference.  A client that offers only others gets none.
    :raise ConfigError: with the key ``min_version``, ``cert`` or ``client_ca``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context, min_version)
    for certificate in certificates:
        _load(context, certificate)
    if client_ca is not None:
        _trust(context, client_ca, "client_ca")
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def client_context(
    ca: str | None = None,
    certificate: Certificate | None = None,
    verify: bool = True,
    min_version: str = "1.2",
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """
    The context of connections to an upstream.  That the certificate is the right server's is checked by ``net.tls``.

    :param ca: PEM text of what to trust, instead of the system's authorities.  It may be the server's own certificate.
    :param certificate: ours, for servers that want one.
    :param verify: False trusts anyone who answers.
    :raise ConfigError: with the key ``min_version``, ``client_cert`` or ``ca``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _restrict(context, min_version)
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, ca, "ca")
        # Who names a certificate that is not a root means that one.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if certificate is not None:
        _load(context, certificate, "client_cert")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def verifies(context: ssl.SSLContext) -> bool:
    """
    Does a context of ``client_context`` want to know who it talks to?
    """
    return context.verify_mode is ssl.CERT_REQUIRED


def _restrict(context: ssl.SSLContext, min_version: str) -> None:
    if min_version not in VERSIONS:
        raise ConfigError(f"TLS {min_version!r} is not spoken here", "min_version", '"1.2" or "1.3"')
    context.minimum_version = VERSIONS[min_version]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load(context: ssl.SSLContext, certificate: Certificate, key: str = "cert") -> None:
    try:
        with _as_file(certificate.pem) as chain, _as_file(certificate.key_pem) as private:
            context.load_cert_chain(chain, private)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise ConfigError(f"{certificate.path} cannot be used: {reason}", key, "one that OpenSSL takes") from error


def _trust(context: ssl.SSLContext, pem: str, key: str) -> None:
    try:
        context.load_verify_locations(cadata=pem)
    except ssl.SSLError as error:
        raise ConfigError(f"not certificates: {error.reason}", key, "certificates in PEM") from error


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """
    A path under which ``content`` can be read; the ssl module takes keys from files only.
    """
    if hasattr(os, "memfd_create"):  # Linux: in memory, so that a key is not written to a disk
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


@frozen
class TLSTable:
    """
    The contexts of a listener, by the name that the client asks for.  Immutable: a reload makes another.

    :ivar exact: whole names, in lower case.
    :ivar wildcard: ``*.example.com`` under ``example.com``.
    :ivar patterns: by regex, in the order of the file.
    :ivar default: for clients that name nothing, or nothing we know; None refuses them.
    """

    exact: Mapping[bytes, ssl.SSLContext] = field(factory=dict)
    wildcard: Mapping[bytes, ssl.SSLContext] = field(factory=dict)
    default: ssl.SSLContext | None = None
    patterns: tuple[tuple[Regex, ssl.SSLContext], ...] = ()

    @classmethod
    def of(cls, named: Iterable[tuple[str, ssl.SSLContext]], default: ssl.SSLContext | None = None) -> TLSTable:
        """
        From pairs of a name, ``example.com``, ``*.example.com`` or ``~regex``, and its context; of equal names the
        first counts.
        """
        patterns: list[tuple[Regex, ssl.SSLContext]] = []
        exact: dict[bytes, ssl.SSLContext] = {}
        wildcard: dict[bytes, ssl.SSLContext] = {}
        for name, context in named:
            if name.startswith("~"):
                patterns.append((Regex.parse(name[1:]), context))
                continue
            raw = name.lower().removesuffix(".").encode("idna" if not name.isascii() else "ascii")
            if raw.startswith(b"*."):
                wildcard.setdefault(raw[2:], context)
            else:
                exact.setdefault(raw, context)
        return cls(exact, wildcard, default, tuple(patterns))

    def context_for(self, server_name: bytes | None) -> ssl.SSLContext | None:
        """
        The context for a name as ``ClientHello.server_name`` has it; None: refuse.

        The whole name first, then the longest wildcard, then the first regex.
        """
        if server_name is None:
            return self.default
        context = self.exact.get(server_name)
        if context is not None:
            return context
        if self.wildcard:
            rest = server_name
            while True:
                _, dot, rest = rest.partition(b".")
                if not dot:
                    break
                context = self.wildcard.get(rest)
                if context is not None:
                    return context
        for regex, context in self.patterns:
            if regex.find(server_name) is not None:
                return context
        return self.default
