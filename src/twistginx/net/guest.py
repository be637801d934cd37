"""
A connection that an app has taken over, among those of its listener.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSet
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger(namespace="twistginx.net")


class Guest:
    """
    Stands for a protocol that knows nothing of listeners: it is counted, waited for, and cut in the end.

    :ivar transport: of the connection.
    """

    __slots__ = ("__weakref__", "_leave", "transport")

    #: For the log.
    doing = "in a tunnel to an app"

    def __init__(
        self, protocol: IProtocol, transport: Any, connections: MutableSet[Any], leave: Callable[[], object] | None
    ) -> None:
        """
        :param protocol: is going to have ``transport``, and has not got it yet.
        :param connections: those of the listener, which this is among until the protocol hears of its end.
        :param leave: asks the app to end; None: nobody knows how to.
        """
        self.transport = transport
        self._leave = leave
        lost = protocol.connectionLost

        def ended(reason: Failure = connectionDone) -> None:
            connections.discard(self)
            del protocol.connectionLost  # no cycle for the collector
            lost(reason)

        with suppress(AttributeError):  # one with slots: nobody hears of its end, so nobody counts it
            protocol.connectionLost = ended  # type: ignore[method-assign]  # as in net.handover
            connections.add(self)

    def drain(self) -> None:
        """
        Ask the app to end.
        """
        if self._leave is not None:
            try:
                self._leave()
            except Exception:  # an app's fault is not to keep the others from ending
                _log.failure("a fault in an app that was to end")
