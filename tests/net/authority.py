"""
An authority for the tests, and what it has issued.
"""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from twistginx.net.certificates import Certificate, load_certificate
from twistginx.net.tlscontext import client_context, server_context

CA = trustme.CA()

#: The authority's certificate, as PEM text.
CA_PEM = CA.cert_pem.bytes().decode("ascii")


@cache
def certificate(*names: str) -> Certificate:
    """
    A certificate for names or addresses.
    """
    return loaded(CA.issue_cert(*names))


def loaded(issued: trustme.LeafCert) -> Certificate:
    """
    What trustme has issued, as we read it.
    """
    with TemporaryDirectory() as directory:
        cert, key = Path(directory, "cert.pem"), Path(directory, "key.pem")
        cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return load_certificate(cert, key)


@cache
def serving(*names: str, alpn: tuple[str, ...] = (), min_version: str = "1.2") -> ssl.SSLContext:
    """
    A server's context for names.
    """
    return server_context([certificate(*names)], alpn=alpn, min_version=min_version)


@cache
def asking(alpn: tuple[str, ...] = (), verify: bool = True) -> ssl.SSLContext:
    """
    A client's context that trusts the authority.
    """
    return client_context(CA_PEM, alpn=alpn, verify=verify)
