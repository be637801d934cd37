"""
Limits of connections, and the log of those that broke them.
"""

from __future__ import annotations

import gc
import resource
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.capacity import Capacity, Limit, Refusals, raise_descriptor_limit
from twistginx.net.listener import Listener

PEER = IPv4Address("TCP", "192.0.2.7", 1)


class Frontend:
    """
    Has a protocol for everybody, and a word for those who are too many.
    """

    def build_protocol(self, listener: Any, address: Any) -> Any:
        return "served"

    def turn_away(self, listener: Any) -> Any:
        return "turned away"


class TLS:
    """
    Wraps by name.
    """

    def wrap(self, protocol: Any, connections: Any) -> Any:
        return f"TLS {protocol}"


class LimitTests(SynchronousTestCase):
    """
    How many connections a listener takes.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.capacity = Capacity()
        self.one, self.other = (Listener(self.clock, f"tcp:{port}", capacity=self.capacity) for port in (1, 2))
        self.one.frontend = self.other.frontend = Frontend()

    def connect(self, listener: Listener) -> Any:
        """
        What a connection gets.
        """
        with capturedLogs() as self.logs:
            return listener.buildProtocol(PEER)

    def test_listener(self) -> None:
        """
        At its limit a listener turns away, until a connection has ended; other listeners go on.
        """
        self.one.limit = Limit(2, "limits.connections = 2")
        self.one.connections.update("ab")
        self.assertEqual(self.connect(self.one), "turned away")
        (event,) = self.logs
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertIn("limits.connections = 2 is reached", event["log_format"].format(**event))
        self.assertEqual(self.connect(self.other), "served")
        self.one.connections.discard("a")
        self.assertEqual(self.connect(self.one), "served")
        self.assertEqual((self.one.refusals.counts, self.one.accepted), ({"connection_limit": 1}, 2))

    def test_client(self) -> None:
        """
        One client too many times is turned away, and no other; for IPv6 one is a /64.  A connection is counted once,
        whatever layers it has, by who is at its far end then; one that has not said yet for whom it is, not at all.
        """
        self.one.client_limit = Limit(2, "limits.connections_per_client = 2")
        connected = [self.open(PEER), self.open(PEER)]
        self.assertEqual(self.connect(self.one), "turned away")
        self.assertIn("connections_per_client = 2 is reached", str(self.logs))
        self.assertEqual(self.connect(self.other), "served")
        self.assertIsNotNone(self.one.protocol_for(IPv4Address("TCP", "192.0.2.99", 1)))
        self.one.connections.add(connected[0])
        self.one.connections.discard(connected[0])
        self.one.connections.discard(connected[0])
        self.assertEqual(self.connect(self.one), "served")
        for host, other in (("2001:db8::1", "2001:db8::ffff:2"), ("::ffff:192.0.2.77", "192.0.2.77")):
            self.open(IPv6Address("TCP", host, 1))
            self.open(IPv6Address("TCP", host, 2))
            self.assertEqual(self.one.connections.count(IPv4Address("TCP", other, 1)), 2)
        self.open(UNIXAddress(None))
        self.open(UNIXAddress(None))
        self.open(UNIXAddress(None))
        self.assertEqual(self.one.connections.count(UNIXAddress(None)), 0)
        self.open(IPv4Address("TCP", "192.0.2.88", 1), proxied=True)
        self.assertEqual(self.one.connections.count(IPv4Address("TCP", "192.0.2.88", 1)), 0)
        self.one.client_limit = None
        self.assertEqual(self.connect(self.one), "served")

    def test_counted_late(self) -> None:
        """
        A limit that a reload brings finds those that are open.
        """
        connection = self.open(PEER)
        self.open(PEER)
        self.assertEqual(self.one.connections.count(PEER), 2)
        self.one.connections.discard(connection)
        self.assertEqual(self.one.connections.count(PEER), 1)

    def open(self, peer: Any, **attributes: Any) -> Any:
        """
        A connection that is open.
        """
        connection = Protocol()
        connection.transport = StringTransport(peerAddress=peer)
        vars(connection).update(attributes)
        self.one.connections.add(connection)
        return connection

    def test_workers(self) -> None:
        """
        What the process may have is divided among workers, and nobody gets less than one.
        """
        for connections, workers, share in ((10, 1, 10), (10, 3, 4), (1, 8, 1)):
            self.capacity.allow(connections, workers)
            limit = self.capacity.limit
            assert limit is not None
            self.assertEqual(limit.connections, share)
        self.assertEqual(limit.setting, "[process].max_connections = 1, among 8 workers")

    def test_process(self) -> None:
        """
        The limit of the process is for all its listeners together, those that were closed and still drain included.
        """
        self.capacity.allow(3)
        self.one.connections.update("ab")
        self.assertEqual(self.connect(self.other), "served")
        self.other.connections.add("c")
        self.assertEqual(self.capacity.used, 3)
        for listener in (self.one, self.other):
            self.assertEqual(self.connect(listener), "turned away")
            self.assertIn("max_connections = 3", str(self.logs))
        self.capacity.allow(None)
        self.assertEqual(self.connect(self.one), "served")

    def test_gone(self) -> None:
        """
        A listener that is gone counts no more.
        """
        self.other.connections.add("c")
        self.assertEqual(self.capacity.used, 1)
        del self.other
        gc.collect()
        self.assertEqual(self.capacity.used, 0)

    def test_tls(self) -> None:
        """
        Under TLS nothing can be said without a handshake, which is too dear for a connection too many.
        """
        self.one.tls = TLS()
        self.assertEqual(self.connect(self.one), "TLS served")
        self.one.limit = Limit(1, "")
        self.one.connections.add("a")
        self.assertIsNone(self.connect(self.one))

    def test_leaving(self) -> None:
        """
        Those who are being told do not count, and are cut with the others.
        """
        self.one.limit = Limit(1, "")
        self.one.leaving.update("abc")
        self.assertEqual(self.connect(self.one), "served")


class DefaultTests(SynchronousTestCase):
    """
    What the number of descriptors says about the number of connections.
    """

    def capacity(self, descriptors: int | None, connections: int | None) -> Capacity:
        capacity = Capacity()
        capacity.descriptors = descriptors
        capacity.allow(connections)
        return capacity

    def test_default(self) -> None:
        """
        Half as many as there are descriptors; none where nobody has asked for those.
        """
        limit = self.capacity(20000, None).limit
        assert limit is not None
        self.assertEqual(limit.connections, 10000)
        self.assertIn("half of the 20000 open files", limit.setting)
        self.assertIsNone(self.capacity(None, None).limit)

    def test_own(self) -> None:
        """
        What is configured holds.
        """
        self.assertEqual(self.capacity(100, 70).limit, Limit(70, "[process].max_connections = 70"))

    def test_scarcity(self) -> None:
        """
        Too few descriptors, for what is configured or for a server at all, are said to be that.
        """
        for descriptors, connections, scarce in (
            (1024, None, True),
            (4096, None, False),
            (1024, 512, False),
            (1024, 513, True),
            (None, 10**6, False),
        ):
            said = self.capacity(descriptors, connections).scarcity
            self.assertEqual("LimitNOFILE" in said, scarce, said)


class DescriptorLimitTests(SynchronousTestCase):
    """
    The limit of the process on open files.
    """

    def setUp(self) -> None:
        self.limits = (64, 128)
        self.patch(resource, "getrlimit", lambda which: self.limits)
        self.patch(resource, "setrlimit", self.set)

    def set(self, which: int, limits: tuple[int, int]) -> None:
        self.assertEqual(which, resource.RLIMIT_NOFILE)
        self.limits = limits

    def test_raised(self) -> None:
        """
        The soft limit becomes the hard one, which stays.
        """
        self.assertEqual((raise_descriptor_limit(), self.limits), (128, (128, 128)))
        self.assertEqual((raise_descriptor_limit(), self.limits), (128, (128, 128)))

    def test_bounded(self) -> None:
        """
        A hard limit without sense is not taken literally, and nothing is ever lowered.
        """
        many, more, infinite = 1 << 20, 1 << 30, resource.RLIM_INFINITY
        for before, number, after in (
            ((64, more), many, (many, more)),
            ((64, infinite), many, (many, infinite)),
            ((more, more), more, (more, more)),
            ((infinite, infinite), many, (infinite, infinite)),
        ):
            self.limits = before
            self.assertEqual((raise_descriptor_limit(), self.limits), (number, after))


class RefusalTests(SynchronousTestCase):
    """
    Many are turned away, and few of them logged.
    """

    def test_flood(self) -> None:
        """
        The first of a kind is logged, then one in a while, with the number of the others.
        """
        clock = Clock()
        refusals = Refusals("tcp:1", clock)
        with capturedLogs() as logs:
            for _ in range(1000):
                refusals.note("a", PEER, "too many")
                clock.advance(0.03125)
            refusals.note("b", PEER, "too slow", LogLevel.warn)
        said = [event["log_format"].format(**event).partition("away: ")[2] for event in logs]
        self.assertEqual(
            said,
            [
                "too many",
                *["too many (319 more since the last of these lines)"] * 3,
                "too slow",
            ],
        )
        self.assertEqual(refusals.counts, {"a": 1000, "b": 1})
