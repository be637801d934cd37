"""
What one kept-alive request costs, counted: speed cannot rot unseen.

Time depends on the machine; the number of Python calls does not.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.http.conversation import OK, Listener, Stage, Wire
from tests.resources.conversation import Conversation
from twistginx.http.channel import Channel
from twistginx.http.frontend import Frontend
from twistginx.net.timers import Ticker
from twistginx.routing.router import Route, Site

#: A request as a browser sends it.
NAMES = (
    *(b"Host", b"User-Agent", b"Accept", b"Accept-Language", b"Accept-Encoding", b"Referer", b"Cookie"),
    *(b"Sec-Fetch-Dest", b"Sec-Fetch-Mode", b"Sec-Fetch-Site", b"Cache-Control", b"Priority"),
)
REQUEST = b"GET /hello?x=1 HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % (name, b"v" * 40) for name in NAMES) + b"\r\n"

#: Calls of Python functions for that request and a prepared Reply.  Lower it when you can.
CEILING = 17


class CallBudgetTests(SynchronousTestCase):
    """
    The straight line of a request stays straight.
    """

    def setUp(self) -> None:
        clock = Clock()
        stage = Stage(None)
        stage.render = lambda request: request.respond(OK)
        frontend = Frontend(Ticker(clock), log=lambda request, record: None)
        frontend.default = Site("test", (Route("hello", stage, prefix=b"/hello", streaming=True),), clock)
        self.channel = Channel(Listener(frontend), None)
        self.wire = Wire()
        self.channel.makeConnection(self.wire)
        # Caches are filled; what is counted is a request like any.
        self.channel.dataReceived(REQUEST)
        self.channel.dataReceived(REQUEST)
        self.wire.clear()

    def calls(self) -> Counter[str]:
        """
        What one more request calls.
        """
        counted: Counter[str] = Counter()

        def count(frame: Any, event: str, argument: object) -> None:
            if event == "call":
                counted[frame.f_code.co_qualname] += 1

        self.wire.write = lambda data: None  # the transport's calls are the transport's
        sys.setprofile(count)
        try:
            self.channel.dataReceived(REQUEST)
        finally:
            sys.setprofile(None)
        return counted

    def test_calls(self) -> None:
        """
        A kept-alive GET stays within its number of calls, and not far below it, so that what was won is kept.
        """
        counted = self.calls()
        total = counted.total()
        self.assertLessEqual(total, CEILING, counted)
        self.assertGreater(total, CEILING - 4, f"it has become faster: lower the ceiling to {total}")

    def test_nothing_asynchronous(self) -> None:
        """
        No Deferred, no coroutine, no Headers, no log event.
        """
        before = Deferred.__init__
        made: list[object] = []

        def init(self: Any, *arguments: Any) -> None:
            made.append(self)
            before(self, *arguments)

        self.patch(Deferred, "__init__", init)
        names = set(self.calls())
        self.assertEqual(made, [])
        for word in ("Deferred", "Headers", "Logger", "providedBy", "coroutine", "Componentized"):
            self.assertEqual([name for name in names if word in name], [])


#: What an upstream answers.
ANSWER = b"HTTP/1.1 200 OK\r\nServer: s\r\nDate: now\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"

#: Calls of Python functions for a request that is passed on, and its answer that is passed back.
PROXIED_CEILING = 38


class ProxiedCallBudgetTests(SynchronousTestCase):
    """
    So does that of a request that an upstream answers.
    """

    def test_calls(self) -> None:
        """
        A kept-alive GET, on a kept connection to a server, stays within its number of calls.
        """
        conversation = Conversation()
        client = conversation.client()
        client.says(REQUEST)
        server = conversation.accept()
        server.says(ANSWER)
        client.says(REQUEST)
        server.says(ANSWER)
        client.taken()
        counted: Counter[str] = Counter()

        def count(frame: Any, event: str, argument: object) -> None:
            if event == "call":
                counted[frame.f_code.co_qualname] += 1

        for wire in (client, server):
            self.patch(wire, "write", [].append)  # the transport's calls are the transport's
        channel, connection = client.protocol, server.protocol
        sys.setprofile(count)
        try:
            channel.dataReceived(REQUEST)
            connection.dataReceived(ANSWER)
        finally:
            sys.setprofile(None)
        total = counted.total()
        self.assertIsNone(channel.request)
        self.assertLessEqual(total, PROXIED_CEILING, counted)
        self.assertGreater(total, PROXIED_CEILING - 4, f"it has become faster: lower the ceiling to {total}")
        for word in ("Deferred", "Headers", "Logger", "providedBy", "coroutine", "Componentized"):
            self.assertEqual([name for name in counted if word in name], [])
