"""
A transport that stands on another one: what it merely passes on.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ILoggingContext


class Layer:
    """
    The base of a protocol that is a transport to another protocol.

    :ivar transport: below; None before there is one.
    :ivar protocol: above; it may be exchanged at any time (``net.handover``).
    """

    __slots__ = ("__weakref__", "factory", "protocol", "transport")

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport: Any = None
        self.factory: object = None

    def getPeer(self) -> Any:
        """
        The address of the peer.
        """
        return self.transport.getPeer()

    def getHost(self) -> Any:
        """
        Our own address.
        """
        return self.transport.getHost()

    def getTcpNoDelay(self) -> bool:
        """
        Does a small write leave at once?
        """
        return bool(self.transport.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Whether a small write leaves at once.
        """
        self.transport.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """
        Does the kernel ask a silent peer whether it is still there?
        """
        return bool(self.transport.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Whether the kernel asks a silent peer if it is still there.
        """
        self.transport.setTcpKeepAlive(enabled)

    def logPrefix(self) -> str:
        """
        The name in the log: that of the protocol above.
        """
        above = self.protocol
        prefix: str = above.logPrefix() if ILoggingContext.providedBy(above) else type(above).__name__
        return prefix
