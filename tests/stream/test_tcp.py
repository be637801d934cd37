"""
A stream's frontend: policies, the listener's set, counters.
"""

from __future__ import annotations

import warnings
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.wire import HalfCloser, Recorder, Wire
from twistginx.net.handover import hand_over
from twistginx.stream.tcp import StreamFrontend

ADDRESS = IPv4Address("TCP", "192.0.2.1", 50000)


class FakeListener:
    """
    What a frontend sees of a listener.
    """

    def __init__(self) -> None:
        self.connections: set[Any] = set()


class Resource:
    """
    Answers with what it was given.
    """

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol

    def build_protocol(self, address: Any) -> Any:
        return self.protocol


class StreamFrontendTests(SynchronousTestCase):
    """
    Connections of a listener that go to a resource.
    """

    def setUp(self) -> None:
        self.listener = FakeListener()
        self.client = Recorder()
        self.resource: Any = Recorder()

    def accept(self, *policies: Any) -> tuple[StreamFrontend, Wire]:
        """
        One connection.
        """
        frontend = StreamFrontend(Resource(self.resource), policies)
        connection = frontend.build_protocol(self.listener, ADDRESS)
        return frontend, Wire(self.client, connection)

    def test_life(self) -> None:
        """
        The resource's protocol has the connection, and the listener knows of it while it is open.
        """
        frontend, wire = self.accept()
        (connection,) = self.listener.connections
        self.assertIs(connection.transport, self.resource.transport)
        self.assertEqual((frontend.accepted, frontend.active, frontend.refused), (1, 1, 0))
        self.client.transport.write(b"hello")
        self.resource.transport.write(b"welcome")
        wire.flush()
        self.assertEqual((self.resource.received, self.client.received), (b"hello", b"welcome"))
        self.client.transport.loseConnection()
        wire.flush()
        self.assertEqual(self.resource.events, ["made", "lost"])
        self.assertEqual((frontend.accepted, frontend.active, self.listener.connections), (1, 0, set()))

    def test_policies(self) -> None:
        """
        Every policy is shown the connection; the first that says False closes it, and the resource never hears of it.
        """
        seen: list[Any] = []

        def allows(connection: Any) -> None:
            seen.append(connection.client_ip)

        def refuses(connection: Any) -> bool:
            return False

        for kind in (Recorder, HalfCloser):
            seen.clear()
            self.client, self.resource = Recorder(), kind()
            self.client.on_connect = lambda client: client.transport.write(b"hello")
            frontend, wire = self.accept(allows, refuses, allows)
            wire.flush()
            self.assertEqual(seen, [b"192.0.2.1"])
            self.assertEqual((self.client.events, self.resource.events), (["made", "lost"], []))
            self.assertEqual((frontend.refused, frontend.active, self.listener.connections), (1, 0, set()))
            self.accept(allows, allows)
            self.assertEqual(self.resource.events, ["made"])
            self.listener.connections.clear()

    def test_policy_says_nonsense(self) -> None:
        """
        Whatever else a policy says than that the connection may stay closes it; the log says what that was.
        """

        async def forgotten(connection: Any) -> None:
            raise AssertionError

        policies: Any = {"coroutine": forgotten, "str": lambda _: "yes", "list": lambda _: succeed(["yes"])}
        for kind, says in policies.items():
            self.client, self.resource = Recorder(), Recorder()
            with capturedLogs() as events, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the coroutine
                frontend, wire = self.accept(says)
                wire.flush()
            self.assertEqual((self.client.events, self.resource.events), (["made", "lost"], []))
            self.assertEqual((frontend.refused, [event["kind"] for event in events]), (1, [kind]))
        for says in (lambda _: True, lambda _: succeed(True), lambda _: succeed(None)):
            self.resource = Recorder()
            self.accept(says)
            self.assertEqual(self.resource.events, ["made"])

    def test_not_wanted(self) -> None:
        """
        A resource may want no connection.
        """
        frontend = StreamFrontend(Resource(None))
        self.assertIsNone(frontend.build_protocol(self.listener, ADDRESS))
        self.assertEqual((frontend.accepted, frontend.refused, frontend.active), (1, 1, 0))

    def test_half_close(self) -> None:
        """
        A connection knows half-close exactly when its protocol does.
        """
        for kind, events in ((Recorder, ["made", "lost"]), (HalfCloser, ["made", "read lost"])):
            self.client, self.resource = HalfCloser(), kind()
            _, wire = self.accept()
            (connection,) = self.listener.connections
            verifyObject(IProtocol, connection)
            self.assertEqual(IHalfCloseableProtocol.providedBy(connection), kind is HalfCloser)
            self.client.transport.loseWriteConnection()
            wire.flush()
            self.assertEqual(self.resource.events, events)
            self.listener.connections.clear()
        self.resource.transport.loseWriteConnection()
        wire.flush()
        self.assertEqual(self.resource.events, ["made", "read lost", "write lost"])

    def test_hand_over(self) -> None:
        """
        The protocol may hand the connection over, and it is still in the listener's set until it ends.
        """
        _, wire = self.accept()
        second = Recorder()
        hand_over(self.resource, second)
        self.client.transport.write(b"hello")
        wire.flush()
        self.assertEqual((self.resource.received, second.received), (b"", b"hello"))
        self.client.transport.loseConnection()
        wire.flush()
        self.assertEqual((second.events, self.listener.connections), (["made", "lost"], set()))

    def test_drain(self) -> None:
        """
        A protocol that can end its work is asked to; one that cannot is left alone.
        """
        self.accept()
        (connection,) = self.listener.connections
        connection.drain()
        self.resource.drain = lambda: self.resource.events.append("drain")
        connection.drain()
        self.assertEqual(self.resource.events, ["made", "drain"])

    def test_unix(self) -> None:
        """
        A client on a UNIX socket has no address.
        """
        frontend = StreamFrontend(Resource(self.resource))
        connection = frontend.build_protocol(self.listener, UNIXAddress(""))
        assert connection is not None
        self.assertEqual(connection.client_ip, b"")
