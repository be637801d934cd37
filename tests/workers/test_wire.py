"""
Tests for ``twistginx.workers.wire``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.protocols.amp import ASK
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twistginx.workers.wire import GoneError, Line, RefusalError


class Wire:
    """
    The transport of one end, and what it has written.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.descriptors: list[int] = []
        self.lost = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def sendFileDescriptor(self, descriptor: int) -> None:
        self.descriptors.append(descriptor)

    def loseConnection(self) -> None:
        self.lost = True


class LineTests(SynchronousTestCase):
    """
    Orders are followed, and words heard.
    """

    def setUp(self) -> None:
        self.heard: list[Any] = []
        self.ordered: list[Any] = []
        self.master = Line({}, lambda *word: self.heard.append(word))
        self.worker = Line({"do": self.do}, lambda *word: self.heard.append(word))
        self.wires = {self.master: Wire(), self.worker: Wire()}
        for line, wire in self.wires.items():
            line.makeConnection(wire)
        self.outcome: Any = {}

    def do(self, details: Any, sockets: Any) -> Any:
        self.ordered.append((details, sockets))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def flush(self) -> None:
        """
        Deliver what was written, descriptors first, as the system does.
        """
        while any(wire.written for wire in self.wires.values()):
            for line, other in ((self.master, self.worker), (self.worker, self.master)):
                wire = self.wires[line]
                for descriptor in wire.descriptors:
                    other.fileDescriptorReceived(1000 + descriptor)
                wire.descriptors.clear()
                data, wire.written = b"".join(wire.written), []
                if data:
                    other.dataReceived(data)

    def test_order(self) -> None:
        """
        An order takes details and sockets there, and the answer back, of whatever size.
        """
        self.outcome = {"text": "\N{SNOWMAN}" * 100_000}
        answered = self.master.order("do", {"text": "x" * 200_000, "number": 1.5}, [("a", 7), ("b", 8)])
        self.flush()
        self.assertEqual(self.successResultOf(answered), self.outcome)
        self.assertEqual(self.ordered, [({"text": "x" * 200_000, "number": 1.5}, {"a": 1007, "b": 1008})])

    def test_later(self) -> None:
        """
        What takes its time is waited for, and does not keep others waiting.
        """
        self.outcome = slow = Deferred()
        first = self.master.order("do")
        self.flush()
        self.outcome = None
        second = self.master.order("do")
        self.flush()
        self.assertNoResult(first)
        self.assertEqual(self.successResultOf(second), {})
        slow.callback({"late": True})
        self.flush()
        self.assertEqual(self.successResultOf(first), {"late": True})

    def test_refusal(self) -> None:
        """
        A refusal says why; however much there is to say.
        """
        self.outcome = RefusalError("site.toml:1:1: wrong\n" * 10_000)
        answered = self.master.order("do")
        self.flush()
        self.assertTrue(str(self.failureResultOf(answered, RefusalError).value).startswith("site.toml:1:1: wrong\n"))

    def test_fault(self) -> None:
        """
        A fault of ours or of a plugin is a refusal too, and a traceback in the worker's log; the line goes on.
        """
        self.outcome = ZeroDivisionError("boom")
        answered = self.master.order("do")
        self.flush()
        self.assertEqual(str(self.failureResultOf(answered, RefusalError).value), "boom")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.outcome = {}
        again = self.master.order("do")
        self.flush()
        self.successResultOf(again)

    def test_words(self) -> None:
        """
        Words go both ways, and nobody answers.
        """
        self.master.say("health:a", ["down", 1])
        self.worker.say("health:b", None)
        self.assertFalse(any(ASK in data for wire in self.wires.values() for data in wire.written))
        self.flush()
        self.assertEqual(self.heard, [("health:a", ["down", 1]), ("health:b", None)])

    def test_lost(self) -> None:
        """
        When the other end goes, what it owed fails, and so does what is asked after that.
        """
        self.outcome = Deferred()
        again: list[Deferred[Any]] = []
        waiting = self.master.order("do")
        waiting.addErrback(lambda why: (again.append(self.master.order("do", {}, [("a", 7)])), why)[1])
        self.wires[self.master].sendFileDescriptor = None  # type: ignore[assignment, method-assign]  # it is closed
        self.flush()
        self.master.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(waiting, ConnectionDone)
        self.failureResultOf(again[0], GoneError)
        self.successResultOf(self.master.lost)
        self.failureResultOf(self.master.order("do"), RefusalError)
        self.master.say("a", 1)
        self.master.hang_up()

    def test_hang_up(self) -> None:
        """
        It can be ended.
        """
        self.master.hang_up()
        self.assertTrue(self.wires[self.master].lost)
