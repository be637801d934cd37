"""
One connection to a Redis, supervised: it is there, or it is known to be away.

Commands are pipelined, in the order in which they are given.  A Redis that is stopped, and neither answers nor closes
the connection, is away after ``timeout`` without any answer.  It is tried again and again, and counts as there when it
has answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

_log = Logger(namespace="twistginx.shared")

#: Seconds before the first new try, and between two at most.
_SOON: Final = 0.1
_LATEST: Final = 2.0


class _Quietly(ClientService):
    """
    One that does not log each try, which of a Redis that is away for long would be all that there is in the log.
    """

    _log = Logger(observer=LogPublisher())  # which tells nobody


class RedisLink(Factory):
    """
    The connection, and what becomes of it.

    :ivar there: may commands be given?
    :ivar outages: how often Redis has gone away.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        protocol: Callable[[], Any],
        name: str,
        timeout: float,
        greet: Callable[[Any], Deferred[Any]],
    ) -> None:
        """
        :param protocol: makes a ``txredisapi.RedisProtocol``.
        :param name: for the log; no secrets.
        :param timeout: seconds.
        :param greet: what is said first on a new connection, and must be answered; given the protocol.
        """
        self._reactor = reactor
        self._make = protocol
        self._name = name
        self._timeout = timeout
        self._greet = greet
        self._service = _Quietly(endpoint, self, self._pause, clock=reactor)
        self._protocol: Any = None  # the one that has answered
        self._newest: Any = None
        self._timer: IDelayedCall | None = None
        self._waiting = 0  # commands without an answer
        self._answered = 0
        self._failures = 0  # since Redis was there
        self._told = False
        self.outages = 0

    @property
    def there(self) -> bool:
        return self._protocol is not None

    def start(self) -> None:
        """
        Connect, and go on trying.
        """
        self._service.startService()

    def stop(self) -> Deferred[Any]:
        """
        Disconnect, for good.
        """
        self._protocol = None
        return self._service.stopService() if self._service.running else succeed(None)

    def run(self, script: str, keys: tuple[bytes, ...], arguments: tuple[Any, ...]) -> Deferred[Any]:
        """
        Run a script.  Only while it is ``there``.
        """
        return self.watched(lambda protocol: protocol.eval(script, keys, arguments))

    def watched(self, command: Callable[[Any], Deferred[Any]]) -> Deferred[Any]:
        """
        Give any command; ``command`` is given the protocol.  Only while it is ``there``.
        """
        return self._ask(self._protocol, command)

    def _ask(self, protocol: Any, command: Callable[[Any], Deferred[Any]]) -> Deferred[Any]:
        self._waiting += 1
        if self._timer is None:
            self._watch()
        return command(protocol).addBoth(self._answer)

    def _answer(self, result: Any) -> Any:
        self._waiting -= 1
        self._answered += 1
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return result

    # Is it alive?

    def _watch(self, again: bool = False) -> None:
        """
        Look after half of the time, and ``again`` after the other half.
        """
        half = self._timeout / 2
        due = self._reactor.seconds() + half
        self._timer = self._reactor.callLater(half, self._look, self._answered, due, again)

    def _look(self, answered: int, due: float, again: bool) -> None:
        self._timer = None
        if not self._waiting:
            return
        if self._answered != answered or self._reactor.seconds() > due + self._timeout / 4:
            # An answer has come; or we have been slow ourselves, and what we asked has only just left.
            self._watch()
        elif not again:
            self._watch(again=True)
        elif self._newest is not None:
            self._away(self._newest, "it does not answer")
            self._newest.transport.abortConnection()

    # What ClientService, and the protocol, call.

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        A connection; it counts when it has been greeted.
        """
        protocol = self._newest = self._make()
        protocol.factory = self
        lost = protocol.connectionLost

        def connection_lost(reason: Failure) -> None:
            self._away(protocol, reason.getErrorMessage())
            lost(reason)

        protocol.connectionLost = connection_lost
        protocol.whenConnected().addCallback(self._greeting).addErrback(self._unwelcome, protocol)
        return protocol

    def _greeting(self, protocol: Any) -> Deferred[None]:
        return self._ask(protocol, self._greet).addCallback(self._welcome, protocol)

    def _welcome(self, _: Any, protocol: Any) -> None:
        if protocol is self._newest and protocol.connected:
            self._protocol = protocol
            self._failures = 0
            if self._told:
                self._told = False
                _log.info("{name} is there again", name=self._name)

    def _unwelcome(self, failure: Failure, protocol: Any) -> None:
        self._away(protocol, failure.getErrorMessage())
        if protocol.transport is not None:
            protocol.transport.abortConnection()

    def _away(self, protocol: Any, why: str) -> None:
        if protocol is self._protocol:
            self._protocol = None
            self.outages += 1
        if protocol is self._newest and self._service.running:
            self._tell(why)

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            _log.error("{name} is away: {why}", name=self._name, why=why)

    def _pause(self, attempt: int) -> float:
        """
        How long until the next try.  A connection that is made and not answered is a failure too.
        """
        self._failures += 1
        if self._failures > 1 or attempt > 1:
            self._tell("it cannot be reached")
        return min(_SOON * 2.0 ** min(self._failures - 1, 10), _LATEST)

    def stopTrying(self) -> None:
        """
        Called by txredisapi when it was not let in: to try again is right all the same, once somebody has mended it.
        """

    def connectionError(self, why: str) -> None:
        """
        Called by txredisapi, with the reason.
        """
        self._tell(why)

    isLazy = False
