"""
Sockets that change hands.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.inheritance import Binder, close_inherited, key_as_text, key_of_text, same_address, sockets_of
from twistginx.net.listener import Listener


class KeyTests(SynchronousTestCase):
    """
    What a socket is known by.
    """

    @settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine's fault
    @given(st.text(), st.integers(0, 65535), st.binary())
    def test_text(self, interface: str, port: int, path: bytes) -> None:
        """
        A key can be sent, and is the same where it arrives.
        """
        for key in (("tcp", interface, port), ("unix", path)):
            self.assertEqual(key_of_text(key_as_text(key)), key)

    def test_same_address(self) -> None:
        """
        Two ways to say all interfaces are one address.
        """
        every = {("tcp", "", 80), ("tcp", "0.0.0.0", 80)}
        self.assertEqual([set(same_address(key)) for key in every], [every, every])
        for key in (("tcp", "127.0.0.1", 80), ("tcp", "::", 80), ("unix", b"/a")):
            self.assertEqual(same_address(key), (key,))


class BinderTests(SynchronousTestCase):
    """
    Who binds for others accepts nothing.
    """

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.binder: Any = Binder(self.clock)

    def bound(self, endpoint: str) -> Listener:
        listener = Listener(self.binder, endpoint)
        self.successResultOf(listener.open())
        self.addCleanup(self.close, listener)
        return listener

    def close(self, listener: Listener) -> None:
        listener.close()
        self.clock.advance(0)

    def test_tcp(self) -> None:
        """
        Clients can connect, and wait; nobody else can have the address; the socket can be passed on, and has its key.
        """
        listener = self.bound("tcp:0:interface=127.0.0.1")
        ((key, sock),) = sockets_of([listener])
        self.assertEqual(key, ("tcp", "127.0.0.1", 0))
        address = sock.getsockname()
        with socket.create_connection(address, 5), socket.socket() as other:
            error = self.assertRaises(OSError, other.bind, address)
            self.assertEqual(error.errno, errno.EADDRINUSE)
            sock.accept()[0].close()
        self.close(listener)
        self.assertEqual(list(sockets_of([listener])), [])

    def test_unix(self) -> None:
        """
        The path goes when the listener is closed, unless it is given away.
        """
        path = Path(self.mktemp()).absolute()
        listener = self.bound(f"unix:{path}:mode=600")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.close(listener)
        self.assertFalse(path.exists())
        listener = self.bound(f"unix:{path}")
        listener.port.disown()
        self.close(listener)
        self.assertTrue(path.exists())

    def test_inherited(self) -> None:
        """
        What another process has bound is used instead.
        """
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.binder.inherited["tcp", "127.0.0.1", 1] = os.dup(sock.fileno())
            self.binder.inherited["tcp", "127.0.0.1", 2] = sock.dup()
            listener = self.bound("tcp:1:interface=127.0.0.1")
            self.assertEqual(listener.port.socket.getsockname(), sock.getsockname())
            close_inherited(self.binder.inherited)
            self.assertEqual(self.binder.inherited, {})

    def test_sharing(self) -> None:
        """
        Sockets that may share an address do, for as long as they may.
        """
        first = self.bound("tcp:0:interface=127.0.0.1")
        port = first.port.socket.getsockname()[1]
        first.port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.assertRaises(CannotListenError, self.binder.listenTCP, port, Factory(), interface="127.0.0.1")
        self.binder.sharing = True
        second = self.binder.listenTCP(port, Factory(), interface="127.0.0.1")
        second.stopListening()
        self.clock.advance(0)
