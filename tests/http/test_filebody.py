"""
Tests for L{twistginx.http.filebody}, apart from conversations (test_request).
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.http.filebody import READ_SIZE, TURN, FileBody
from twistginx.http.message import FileRange
from twistginx.net.timers import Ticker


class Request:
    """
    Takes what a body sends.
    """

    def __init__(self, clock: Clock) -> None:
        self.channel = SimpleNamespace(writable=True, ticker=Ticker(clock))
        self.sent: list[bytes] = []
        self.ends: list[object] = []
        self.on_send: Any = None
        self.held = False

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        if self.on_send is not None:
            self.on_send()

    def end(self) -> None:
        self.ends.append("end")

    def fail(self, error: object) -> None:
        self.ends.append(error)


class FileBodyTests(SynchronousTestCase):
    """
    A file on its way.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.request = Request(self.clock)
        path = self.mktemp()
        self.content = os.urandom(READ_SIZE * (TURN + 2) + 5)
        with open(path, "wb") as file:
            file.write(self.content)
        self.part = FileRange(os.open(path, os.O_RDONLY), 3, len(self.content) - 3)
        self.descriptor = self.part.descriptor
        self.body = FileBody(self.part, self.request)  # type: ignore[arg-type]
        self.addCleanup(self.body.close)

    def assert_closed(self) -> None:
        self.assertRaises(OSError, os.fstat, self.descriptor)
        self.assertEqual(self.part.descriptor, -1)

    def test_all(self) -> None:
        """
        Every byte is sent, in turns, and the file closed before the end is told.
        """
        self.body.resumeProducing()
        self.assertEqual(len(self.request.sent), TURN)
        self.assertEqual(self.request.ends, [])
        self.clock.advance(0)
        self.assertEqual(b"".join(self.request.sent), self.content[3:])
        self.assertEqual(self.request.ends, ["end"])
        self.assert_closed()

    def test_resumed_inside(self) -> None:
        """
        A transport that drains at once may ask for more before C{send} returns: the order stays.
        """
        self.request.on_send = self.body.resumeProducing
        self.body.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(b"".join(self.request.sent), self.content[3:])
        self.assertEqual(self.request.ends, ["end"])

    def test_waits(self) -> None:
        """
        It reads no further than the client; being resumed twice does no harm.
        """
        self.request.on_send = lambda: setattr(self.request.channel, "writable", False)
        for number in range(1, 4):
            self.body.resumeProducing()
            self.body.resumeProducing()
            self.assertEqual(len(self.request.sent), number)
            self.request.channel.writable = True
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dropped(self) -> None:
        """
        When the client is gone, the file is closed, in whichever way it is told and however often; and nothing is sent.
        """
        self.body.client_gone(None)  # type: ignore[arg-type]
        self.body.stopProducing()
        self.body.resumeProducing()
        self.assertEqual((self.request.sent, self.request.ends), ([], []))
        self.assert_closed()

    def test_dropped_between_turns(self) -> None:
        """
        Also where its next turn was waited for.
        """
        self.body.resumeProducing()
        self.body.close()
        self.clock.advance(0)
        self.assertEqual(len(self.request.sent), TURN)

    def test_ended_inside(self) -> None:
        """
        And where the client was found to be gone by sending.
        """
        self.request.on_send = self.body.close
        self.body.resumeProducing()
        self.assertEqual(len(self.request.sent), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
