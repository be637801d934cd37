"""
Connections at rest, between requests.

They are used last in, first out, so that as few as possible are kept, and those that are kept are warm.  How long one
may rest is the server's to say: a server closes connections that rest, and a request that crosses such a close on its
way is lost.  So we close first: 1.5 s before the time that the server announces (``Keep-Alive: timeout=``), after four
seconds when it announces nothing, and sooner where a peer has been seen to close sooner.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import uniform
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from twistginx.http.client import ClientConnection
from twistginx.net.timers import Ticker
from twistginx.upstream.peer import Peer

#: Seconds that a connection rests, where nothing better is known.
LINGER: Final = 4.0
#: Seconds before the announced end of a connection at rest, at which we end it.
_MARGIN: Final = 1.5
#: A close of the server's after less rest (seconds) than this is a restart, or a limit of requests: no lesson.
_LESSON: Final = 1.0
#: The least rest (seconds) that can be learned.
_LEAST: Final = 0.5


class Rest:
    """
    The connections of one upstream that rest, over all its peers; ``http.client.ConnectionOwner`` of all of them.

    It outlives reloads, so that connections do.

    :ivar keepalive: how many connections may rest.
    :ivar max_age: seconds after which a connection is not used again; None: whatever its age.  Each connection has up
        to a tenth less, so that those that were made together do not go together.
    :ivar max_requests: after which a connection is not used again; None: however many.
    :ivar stopped: none may rest.
    :ivar count: how many rest.
    :ivar stale: how many were found dead by a request.
    """

    def __init__(self, ticker: Ticker) -> None:
        self.keepalive = 0
        self.max_age: float | None = None
        self.max_requests: int | None = None
        self.stopped = False
        self.count = 0
        self.stale = 0
        self._ticker = ticker
        self._wears = False

    def limit(self, keepalive: int, max_age: float | None, max_requests: int | None) -> None:
        """
        What holds from now on.  What is too much already goes in its time.
        """
        self.keepalive = keepalive
        self.max_age = max_age
        self.max_requests = max_requests
        self._wears = max_age is not None or max_requests is not None
        self.stopped = False

    # What requests call.

    def take(self, peer: Peer, request: Any = None) -> ClientConnection | None:
        """
        A connection at rest, the one that came to rest last; None when there is none.

        :param request: what it is for, which makes no difference.
        """
        resting = peer.resting
        if not resting:
            return None
        self.count -= 1
        return resting.pop()

    def take_own(self, peer: Peer, preface: bytes) -> ClientConnection | None:
        """
        A connection that has begun with ``preface``: who has said for whom it is, is of use for that client alone.
        """
        resting = peer.resting
        for index in range(len(resting) - 1, -1, -1):
            if resting[index].preface == preface:
                self.count -= 1
                return resting.pop(index)
        return None

    def connect(
        self, peer: Peer, timeout: float, setting: str, preface: bytes | None = None
    ) -> Deferred[ClientConnection]:
        """
        A new connection, which comes to rest here after its first response.  Fails and cancels as ``Peer.connect``.
        """
        return peer.connect(_ConnectionMaker(self, peer, self._ticker, preface or b""), timeout, setting, preface)

    def found_dead(self, connection: ClientConnection) -> None:
        """
        A connection that had rested died before the first byte of an answer.
        """
        self.stale += 1
        self._learn(connection)

    # What connections call (http.client.ConnectionOwner).

    def connection_free(self, connection: ClientConnection) -> None:
        """
        Let it rest, or close it.
        """
        peer = connection.label
        linger = peer.linger
        announced = connection.parser.linger
        if announced is not None:
            linger = announced - _MARGIN if announced >= 2 * _MARGIN else announced / 2
        if (
            self.count >= self.keepalive
            or self.stopped
            or not linger
            or peer.leaving
            or (self._wears and self._is_worn(connection))
        ):
            connection.close()
            return
        if connection.served == 1 and peer.secure:
            connection.transport.keep_session()  # type: ignore[union-attr]  # it is a ClientTLS
        connection.deadline = self._ticker.now + linger
        self.count += 1
        peer.resting.append(connection)

    def connection_gone(self, connection: ClientConnection, by_server: bool) -> None:
        """
        Forget it.
        """
        resting = connection.label.resting
        if connection in resting:
            resting.remove(connection)
            self.count -= 1
            if by_server:
                self._learn(connection)

    # What the upstream calls.

    def settle(self, peer: Peer, connection: ClientConnection) -> None:
        """
        A connection that was made before it is needed: it waits at the cold end.
        """
        connection.rested_since = self._ticker.now
        if self.count >= self.keepalive or self.stopped or peer.leaving:
            connection.close()
            return
        connection.deadline = self._ticker.now + peer.linger
        self.count += 1
        peer.resting.insert(0, connection)

    def close(self, peers: Iterable[Peer]) -> None:
        """
        Close the connections to ``peers`` that rest.
        """
        for peer in peers:
            closing, peer.resting[:] = peer.resting[:], []
            self.count -= len(closing)
            for connection in closing:
                connection.close()

    # Pieces.

    def _is_worn(self, connection: ClientConnection) -> bool:
        if self.max_requests is not None and connection.served >= self.max_requests:
            return True
        return self._ticker.now >= connection.retires

    def _learn(self, connection: ClientConnection) -> None:
        """
        The server closed a connection at rest: rest less the next time.
        """
        rested = self._ticker.now - connection.rested_since
        if rested >= _LESSON:
            peer = connection.label
            peer.linger = max(_LEAST, min(peer.linger, rested - _LEAST))


class _ConnectionMaker(Factory):
    """
    Builds one connection to one peer.
    """

    noisy = False

    def __init__(self, rest: Rest, peer: Peer, ticker: Ticker, preface: bytes) -> None:
        self._rest = rest
        self._peer = peer
        self._ticker = ticker
        self._preface = preface

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        """
        A connection, at rest here when it is done.
        """
        connection = ClientConnection(self._ticker, self._rest, self._peer)
        connection.preface = self._preface
        if self._rest.max_age is not None:
            connection.retires = self._ticker.now + self._rest.max_age * uniform(0.9, 1.0)  # noqa: S311  # no secret
        return connection
