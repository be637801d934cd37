"""
Connections that all workers count together.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.crowd import Census, Crowd
from twistginx.shared.embedded import EmbeddedStore
from twistginx.shared.local import LocalStore

ANN, BOB = IPv4Address("TCP", "192.0.2.7", 1), IPv4Address("TCP", "192.0.2.8", 1)


class Worker:
    """
    A listener's connections, in one worker.
    """

    def __init__(self, store: Any) -> None:
        self.crowd = Crowd()
        self.crowd.count_in(Census(store, b"connections/tcp:80/", lambda: 1000.0))

    def connect(self, peer: Any = ANN, limit: int = 3, serve: bool = True) -> Protocol | None:
        """
        A connection, if there may be one; C{serve}: a protocol comes of it.
        """
        if not self.crowd.admits(peer, limit):
            return None
        return self.open(peer) if serve else None

    def open(self, peer: Any = ANN) -> Protocol:
        """
        One that nobody has asked about, as those are that were there before there was a limit.
        """
        connection = Protocol()
        connection.transport = StringTransport(peerAddress=peer)
        self.crowd.add(connection)
        return connection


class SharedTests(SynchronousTestCase):
    """
    Two workers of one machine.
    """

    def setUp(self) -> None:
        store = EmbeddedStore.create(1 << 20)
        other = EmbeddedStore.attach(os.dup(store.fileno()))
        self.addCleanup(store.close)
        self.addCleanup(other.close)
        self.one, self.two = Worker(store), Worker(other)

    def test_together(self) -> None:
        """
        What one has counts for the other; a connection that has ended makes room in both; another client has his own.
        """
        opened = [self.one.connect(), self.two.connect(), self.two.connect()]
        self.assertNotIn(None, opened)
        self.assertEqual([self.one.connect(), self.two.connect()], [None, None])
        self.assertIsNotNone(self.one.connect(BOB))
        self.two.crowd.discard(opened[1])
        self.two.crowd.discard(opened[1])
        self.assertIsNotNone(self.one.connect())
        self.assertIsNone(self.two.connect())

    def test_networks(self) -> None:
        """
        An IPv6 /64 is one; who comes over a UNIX socket is nobody.
        """
        self.assertIsNotNone(self.one.connect(IPv6Address("TCP", "2001:db8::1", 1), 1))
        self.assertIsNone(self.two.connect(IPv6Address("TCP", "2001:db8::2", 1), 1))
        for _ in range(3):
            self.assertIsNotNone(self.one.connect(UNIXAddress(None), 1))

    def test_not_served(self) -> None:
        """
        Nobody keeps the place of one that came to nothing.
        """
        for _ in range(5):
            self.one.connect(serve=False)
        self.one.connect(BOB)
        self.assertNotIn(None, [self.two.connect() for _ in range(3)])

    def test_late(self) -> None:
        """
        A limit that a reload brings finds those that are open; one that a reload takes away leaves nothing behind.
        """
        for _ in range(3):
            self.one.open()
        self.assertIsNone(self.one.connect())
        self.assertIsNone(self.two.connect())
        self.one.crowd.count_in(None)
        self.assertIsNotNone(self.two.connect())

    def test_layers(self) -> None:
        """
        The protocol above a layer takes its place, in whatever order.
        """
        layer = self.one.connect(limit=2)
        self.one.open()
        self.one.crowd.discard(layer)
        self.assertIsNotNone(self.two.connect(limit=2))
        self.assertIsNone(self.two.connect(limit=2))


class AnyOrderTests(SynchronousTestCase):
    """
    Whatever happens.
    """

    @given(st.lists(st.tuples(st.sampled_from(["connect", "fail", "open", "close"]), st.integers(0, 1), st.booleans())))
    def test_all(self, steps: list[tuple[str, int, bool]]) -> None:
        """
        The store holds as many as are open, and those that are about to be.
        """
        store = LocalStore()
        workers = [Worker(store), Worker(store)]
        for worker in workers:
            worker.crowd.count(ANN)
        for step, number, is_ann in steps:
            worker, peer = workers[number], ANN if is_ann else BOB
            if step == "close":
                for connection in list(worker.crowd)[:1]:
                    worker.crowd.discard(connection)
            elif step == "open":
                worker.open(peer)
            else:
                worker.connect(peer, 3, step == "connect")
        expected = sum(len(worker.crowd._expected) for worker in workers)
        self.assertEqual(sum(store._held.values()), sum(len(worker.crowd) for worker in workers) + expected)
        for worker in workers:
            for connection in list(worker.crowd):
                worker.crowd.discard(connection)
            worker.crowd.count_in(None)
        self.assertEqual(store._held, {})
