"""
Questions by HTTP to who knows the servers.
"""

from __future__ import annotations

import ssl

from twisted.internet.defer import Deferred

from twistginx.config.address import ServerAddress
from twistginx.config.tables.upstream import UpstreamTLS
from twistginx.errors import ConfigError
from twistginx.http.message import Fields
from twistginx.interfaces import IContext
from twistginx.net import certificates, tlscontext
from twistginx.upstream.fetch import Answer, Bounds, Question, fetch_from
from twistginx.upstream.peer import Peer

#: Bytes of an answer.
_SIZE = 4 << 20


class Asking:
    """
    Somebody whom we ask.

    :ivar peer: where it is.
    """

    def __init__(self, address: ServerAddress, tls: UpstreamTLS | None, context: IContext) -> None:
        """
        :param tls: None: as is usual.
        :raise ConfigError: when the address cannot work, or a file of ``tls`` cannot be used.
        """
        name = tls.server_name if tls is not None else None
        self.peer = Peer(address, context.reactor, context.ticker, context=_context(address, tls), server_name=name)
        self._host = str(address).encode()
        self._ticker = context.ticker

    def ask(
        self, method: bytes, target: bytes, timeout: float, fields: list[tuple[bytes, bytes]], body: bytes = b""
    ) -> Deferred[Answer]:
        """
        :param timeout: seconds for all of it.
        :return: a Deferred that fails with a ``ProxyError``.
        """
        return fetch_from(self.question(method, target, fields, body), self.peer, self._ticker, Bounds(timeout, _SIZE))

    def question(self, method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes = b"") -> Question:
        """
        The request, with what each one has.
        """
        usual = [(b"Host", self._host), (b"User-Agent", b"twistginx"), (b"Accept", b"application/json")]
        return Question(method, target, Fields.of([*usual, *fields]), body)


def _context(address: ServerAddress, tls: UpstreamTLS | None) -> ssl.SSLContext | None:
    if not address.secure:
        if tls is not None:
            raise ConfigError("has no effect, because TLS is not spoken there", "tls", 'expected "https://..."')
        return None
    if tls is None:
        return tlscontext.client_context(alpn=("http/1.1",))
    ca = certificates.load_authorities(tls.ca, "tls.ca") if tls.ca is not None else None
    certificate = (
        certificates.load_certificate(tls.client_cert, tls.client_key) if tls.client_cert is not None else None
    )
    return tlscontext.client_context(ca, certificate, tls.verify, alpn=("http/1.1",))
