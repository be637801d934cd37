"""
Tests for ``twistginx.service.control``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import ConfigError
from twistginx.service.control import Control


class Reactor:
    """
    Makes no sockets, and notes where they would be.
    """

    def __init__(self) -> None:
        self.ports: list[Any] = []

    def listenUNIX(self, path: str, factory: Any, backlog: int, mode: int) -> Any:
        Path(path).touch(mode)
        self.ports.append(Port(path))
        return self.ports[-1]


class Port:
    owns_path = True

    def __init__(self, path: str) -> None:
        self.path = path
        self.stopped = False

    def stopListening(self) -> None:
        self.stopped = True


class ControlTests(SynchronousTestCase):
    """
    A line of JSON in, a line of JSON out.
    """

    def setUp(self) -> None:
        self.requests: list[Any] = []
        self.outcome: Any = None
        self.reactor = Reactor()
        self.control = Control(self.reactor, self.act)
        self.protocol: Any = self.control.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def act(self, request: Any) -> Any:
        self.requests.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def ask(self, line: bytes) -> list[Any]:
        self.protocol.dataReceived(line + b"\n")
        answers = [json.loads(answer) for answer in self.transport.value().splitlines()]
        self.transport.clear()
        return answers

    def test_well(self) -> None:
        """
        What was done is said, with whatever there is to say.
        """
        self.assertEqual(self.ask(b'{"command": "quit"}'), [{"ok": True}])
        self.outcome = {"text": "sites ~a"}
        self.assertEqual(self.ask(b'{"command": "reload", "x": 1}'), [{"ok": True, "text": "sites ~a"}])
        self.assertEqual(self.requests, [{"command": "quit"}, {"command": "reload", "x": 1}])

    def test_refused(self) -> None:
        """
        What was not done is said to be so, and why.
        """
        for error in (ValueError("no such server"), ConfigError("no such server")):
            self.outcome = error
            (answer,) = self.ask(b'{"command": "drain"}')
            self.assertEqual((answer["ok"], "no such server" in answer["error"]), (False, True))

    def test_fault(self) -> None:
        """
        A fault is an answer, too, and a traceback in the log.
        """
        self.outcome = ZeroDivisionError("boom")
        self.assertEqual(self.ask(b'{"command": "drain"}'), [{"ok": False, "error": "boom"}])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_wrong(self) -> None:
        """
        What is no request is answered, and changes nothing.
        """
        for line in (b"", b"reload", b"[]", b"{}", b'{"command": 1}', b"\xff", b"[" * 10_000):
            (answer,) = self.ask(line)
            self.assertFalse(answer["ok"], line)
        self.assertEqual(self.requests, [])

    def test_too_long(self) -> None:
        """
        A request without an end is cut off.
        """
        self.protocol.dataReceived(b"x" * 100_000)
        self.assertTrue(self.transport.disconnecting)

    def test_too_many(self) -> None:
        """
        So is who asks and asks, and waits for no answer.
        """
        self.outcome = Deferred()
        for _ in range(17):
            self.ask(b'{"command": "reload"}')
        self.assertTrue(self.transport.disconnecting)

    def test_path(self) -> None:
        """
        The directory is made; the same path stays as it is; another one takes its place; a path that another process
        has taken meanwhile is left to it.
        """
        directory = Path(self.mktemp()).absolute()
        path = directory / "run" / "control.sock"
        self.control.open(path)
        self.control.open(path)
        (first,) = self.reactor.ports
        self.control.open(directory / "other.sock")
        self.assertEqual((first.stopped, first.owns_path), (True, True))
        (directory / "other.sock").rename(directory / "kept")
        (directory / "other.sock").touch()
        self.control.close()
        self.control.close()
        self.assertEqual((self.reactor.ports[1].stopped, self.reactor.ports[1].owns_path), (True, False))
