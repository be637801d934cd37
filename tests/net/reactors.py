"""
What the tests of the reactor share: a reactor of their own, on either kind of loop, and simple protocols.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.reactor import TwistginxReactor, new_loop

#: Seconds after which a test has failed.
LIMIT = 10


class Recorder(Protocol):
    """
    Notes what it is told.

    :ivar on_made, on_data, on_lost: are called with the protocol (and the data, or the reason).
    """

    on_made: Callable[[Any], Any] = staticmethod(lambda protocol: None)
    on_data: Callable[[Any, bytes], Any] = staticmethod(lambda protocol, data: None)
    on_lost: Callable[[Any, Any], Any] = staticmethod(lambda protocol, reason: None)

    def __init__(self) -> None:
        self.data = b""
        self.reason: Any = None

    def connectionMade(self) -> None:
        self.on_made(self)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.on_data(self, data)

    def connectionLost(self, reason: Any = None) -> None:
        assert self.reason is None, "connectionLost is called once"
        self.reason = reason
        self.on_lost(self, reason)


class OnUvloop:
    """
    Tests on the loop that we prefer.
    """

    @staticmethod
    def make_loop() -> Any:
        return new_loop()


class OnAsyncio:
    """
    The same on asyncio's own.
    """

    @staticmethod
    def make_loop() -> Any:
        return asyncio.SelectorEventLoop()


class ReactorCase(SynchronousTestCase):
    """
    A test with a reactor of its own, whatever trial itself runs on.
    """

    make_loop: Callable[[], Any]

    def setUp(self) -> None:
        self.renew()

    def renew(self) -> None:
        """
        Go on with a new reactor.
        """
        self.reactor = TwistginxReactor(self.make_loop())
        self.addCleanup(self._close, self.reactor)

    def _close(self, reactor: TwistginxReactor) -> None:
        reactor._uninstallHandler()
        reactor.disconnectAll()
        for reader in list(reactor._internalReaders):
            reactor.removeReader(reader)
            reader.connectionLost(None)
        for call in reactor.getDelayedCalls():
            call.cancel()
        reactor.loop.call_soon(reactor.loop.stop)
        reactor.loop.run_forever()
        reactor.loop.close()

    def go(self) -> None:
        """
        Run the reactor until somebody stops it.
        """
        late = self.reactor.callLater(LIMIT, self._too_late)
        self.late = False
        self.reactor.run(installSignalHandlers=False)
        if self.late:
            self.fail(f"still running after {LIMIT} s")
        late.cancel()

    def _too_late(self) -> None:
        self.late = True
        self.stop()

    def stop(self, *ignored: Any) -> None:
        """
        Stop the reactor, if it has not been stopped.
        """
        if self.reactor.running and not self.reactor._stopped:
            self.reactor.stop()

    def listen(self, protocol: Any) -> Any:
        """
        Serve one protocol instance, or instances of a class, on a free port.
        """
        factory = Factory()
        factory.buildProtocol = (lambda address: protocol()) if isinstance(protocol, type) else lambda address: protocol
        return self.reactor.listenTCP(0, factory, interface="127.0.0.1")

    def connect(self, port: Any, protocol: Any) -> Any:
        """
        Connect a protocol to a port.
        """
        factory = ClientFactory()
        factory.buildProtocol = lambda address: protocol
        return self.reactor.connectTCP("127.0.0.1", port.getHost().port, factory)

    def raw(self, port: Any) -> socket.socket:
        """
        A plain blocking socket, connected to a port.
        """
        sock = socket.create_connection(("127.0.0.1", port.getHost().port), LIMIT)
        self.addCleanup(sock.close)
        return sock

    def later(self, call: Callable[..., Any], *args: Any) -> None:
        """
        Call when what is going on now in the loop, sockets on loopback included, has settled.
        """
        self.reactor.callLater(0.02, call, *args)
