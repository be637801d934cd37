"""
``startTLS``: TLS from the middle of a connection on, by Twisted's own machinery (pyOpenSSL).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides

if TYPE_CHECKING:
    from twistginx.net.transport import Connection


def start_tls(connection: Connection, context_factory: Any, is_client: bool) -> None:
    """
    Put a TLS layer between a connection and its protocol.

    :param context_factory: an IOpenSSLContextFactory or a creator of pyOpenSSL connections.
    """
    producer, streaming = connection.producer, connection.streamingProducer
    if producer is not None:
        connection.unregisterProducer()
    factory = TLSMemoryBIOFactory(context_factory, is_client, None, connection.reactor)  # type: ignore[arg-type]  # no factory
    layer = factory.protocol(factory, connection.protocol, False)
    connection.protocol = layer
    connection.TLS = True
    connection.write = layer.write
    connection.writeSequence = layer.writeSequence
    connection.getHandle = layer.getHandle  # type: ignore[method-assign]
    connection.getPeerCertificate = layer.getPeerCertificate  # type: ignore[attr-defined]
    directlyProvides(connection, ISSLTransport)
    layer.makeConnection(_Below(connection))
    if producer is not None:
        connection.registerProducer(producer, streaming)


class _Below:
    """
    The transport of the TLS layer: the connection, without the detour through that layer.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.loseConnection = connection.lose_below
        self.registerProducer = connection.register_below
        self.unregisterProducer = connection.unregister_below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def write(self, data: bytes) -> None:
        """
        Send bytes of TLS.
        """
        self._connection.write_below(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """
        Send bytes of TLS.
        """
        self._connection.write_below(b"".join(pieces))
