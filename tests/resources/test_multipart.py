"""
Tests for L{twistginx.resources.multipart}: a body of parts, and a client that does not read.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from time import time

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.resources.multipart import FileParts, multipart
from twistginx.resources.representation import OpenFile, Representation

CONTENT = bytes(range(256)) * 16384  # 4 MiB


class FakeRequest:
    """
    A request whose client reads as many bytes as it is told.
    """

    def __init__(self, room: float = float("inf")) -> None:
        self.channel = self
        self.room = room
        self.sent = b""
        self.ended = False
        self.held = False
        self.failure = None
        self.source = self.watcher = None

    @property
    def writable(self) -> bool:
        return len(self.sent) < self.room

    def send(self, data: bytes) -> None:
        self.sent += data
        if self.source is not None:
            self.source.resumeProducing()  # a transport may say so at any time

    def end(self) -> None:
        self.ended = True

    def fail(self, error) -> None:
        self.failure = error


class FilePartsTests(SynchronousTestCase):
    """
    Parts of an open file, on their way to the client.
    """

    def setUp(self):
        self.path = Path(self.mktemp())
        self.path.write_bytes(CONTENT)
        self.reactor = MemoryReactorClock()

    def body(self, ranges=((0, 3_000_000), (5, 10))):
        descriptor = os.open(self.path, os.O_RDONLY)
        representation = Representation(os.fstat(descriptor), len(CONTENT), b"text/plain", time())
        file = OpenFile([b"a.txt"], representation, descriptor, None)
        reply = multipart(file, ranges, self.reactor)
        self.assertIsNone(file.descriptor)
        self.assertIsInstance(reply.body, FileParts)
        return descriptor, reply

    def assertClosed(self, descriptor):
        self.assertRaises(OSError, os.fstat, descriptor)

    def test_turns(self):
        """
        A client that takes all at once gets it in turns, so that others have theirs.
        """
        descriptor, reply = self.body()
        request = FakeRequest()
        reply.body(request)
        self.assertLess(len(request.sent), 1_200_000)
        while not request.ended:
            self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
            self.reactor.advance(0)
        self.assertEqual(len(request.sent), reply.length)
        self.assertIn(CONTENT[:3_000_000] + b"\r\n--", request.sent)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertClosed(descriptor)

    def test_back_pressure(self):
        """
        To a client that does not read nothing is sent, and nothing is read for it.
        """
        descriptor, reply = self.body()
        request = FakeRequest(100_000)
        reply.body(request)
        self.reactor.advance(10)
        self.assertLess(len(request.sent), 200_000)
        request.room = float("inf")
        request.source.resumeProducing()
        while not request.ended:
            self.reactor.advance(0)
        self.assertEqual(len(request.sent), reply.length)
        self.assertClosed(descriptor)

    def test_client_leaves(self):
        """
        When the client leaves, the file is closed and nothing more is sent, not even what was due in the next turn.
        """
        descriptor, reply = self.body()
        request = FakeRequest()
        reply.body(request)
        sent = len(request.sent)
        request.watcher.client_gone(None)
        self.assertClosed(descriptor)
        self.reactor.advance(0)
        self.assertEqual((len(request.sent), request.ended, request.failure), (sent, False, None))

    def test_cut(self):
        """
        A file that becomes shorter while it is sent makes a failure, never an answer that looks complete.
        """
        descriptor, reply = self.body()
        request = FakeRequest(100_000)
        reply.body(request)
        os.truncate(self.path, 1000)
        request.room = float("inf")
        request.source.resumeProducing()
        self.assertEqual(request.failure.reason.word, "proxy_internal_error")
        self.assertFalse(request.ended)
        self.assertClosed(descriptor)

    def test_dropped(self):
        """
        A body that nobody wants after all closes its file.
        """
        descriptor, reply = self.body()
        del reply
        gc.collect()
        self.assertClosed(descriptor)
