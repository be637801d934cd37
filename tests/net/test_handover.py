"""
Tests for L{twistginx.net.handover}.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.testing import AccumulatingProtocol, StringTransport, StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net.handover import hand_over


class First(Protocol):
    """
    Must hear nothing any more.
    """

    def dataReceived(self, data: bytes) -> None:
        raise AssertionError("the old protocol was given data")

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        raise AssertionError("the old protocol was told of the end")


class HandOverTests(SynchronousTestCase):
    """
    A connection changes hands.
    """

    def assert_has_it(self, speaker: Protocol, new: AccumulatingProtocol, transport: StringTransport) -> None:
        self.assertIs(new.transport, transport)
        self.assertEqual(new.made, 1)
        speaker.dataReceived(b"data")
        self.assertEqual(new.data, b"data")
        speaker.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(new.closed)

    def test_named(self) -> None:
        """
        A transport that names its protocol names the new one, and the old one is out of the way.
        """
        old, new, transport = First(), AccumulatingProtocol(), StringTransportWithDisconnection()
        transport.protocol = old
        old.makeConnection(transport)
        hand_over(old, new)
        self.assertIs(transport.protocol, new)
        self.assert_has_it(transport.protocol, new, transport)

    def test_kept_elsewhere(self) -> None:
        """
        Where the transport's protocol is kept elsewhere, the old one passes on what it is told.
        """
        old, new, transport = First(), AccumulatingProtocol(), StringTransport()
        old.makeConnection(transport)
        hand_over(old, new)
        self.assert_has_it(old, new, transport)

    def test_another_protocol(self) -> None:
        """
        A transport whose protocol is a layer in between keeps that layer.
        """
        old, new, layer, transport = First(), AccumulatingProtocol(), Protocol(), StringTransportWithDisconnection()
        transport.protocol = layer
        old.makeConnection(transport)
        hand_over(old, new)
        self.assertIs(transport.protocol, layer)
        self.assert_has_it(old, new, transport)

    def test_twice(self) -> None:
        """
        It can go on from hand to hand.
        """
        for transport in (StringTransport(), StringTransportWithDisconnection()):
            first, second, third = First(), AccumulatingProtocol(), AccumulatingProtocol()
            transport.protocol = first
            first.makeConnection(transport)
            hand_over(first, second)
            hand_over(second, third)
            self.assert_has_it(transport.protocol, third, transport)
            self.assertEqual(second.data, b"")
