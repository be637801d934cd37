"""
What the master and a worker say to each other: Twisted's AMP, over a socket pair.

There is one command for orders, which are answered, and one for words, which are not.  Values are JSON; sockets go
along as descriptors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from twistginx.errors import TwistginxError

_log = Logger(namespace="twistginx.workers")

#: The most bytes of a value in AMP.
_MOST: Final = 0xFFFF

#: The most bytes of the description of an error.
_MOST_OF_ERROR: Final = 0x8000

Details: TypeAlias = dict[str, Any]


class RefusalError(TwistginxError):
    """
    An order was not followed, and nothing has changed; the text says why.
    """


class GoneError(RefusalError):
    """
    The other end is gone, and did not say anything.
    """


class Document(amp.Argument):
    """
    A JSON value of any size, in as many pieces as it takes.
    """

    def toBox(self, name: bytes, strings: Any, objects: Any, proto: Any) -> None:
        data = json.dumps(self.retrieve(objects, name.decode("ascii"), proto)).encode("ascii")
        pieces = [data[start : start + _MOST] for start in range(0, len(data), _MOST)]
        strings[name] = b"%d" % len(pieces)
        for number, piece in enumerate(pieces):
            strings[b"%s.%d" % (name, number)] = piece

    def fromBox(self, name: bytes, strings: Any, objects: Any, proto: Any) -> None:
        count = int(self.retrieve(strings, name, proto))
        data = b"".join([strings.pop(b"%s.%d" % (name, number)) for number in range(count)])
        objects[name.decode("ascii")] = json.loads(data)


class Order(amp.Command):
    """
    Do something, and say how it went.
    """

    arguments: ClassVar = [
        (b"name", amp.Unicode()),
        (b"details", Document()),
        (b"sockets", amp.AmpList([(b"key", amp.Unicode()), (b"descriptor", amp.Descriptor())])),
    ]
    response: ClassVar = [(b"answer", Document())]
    errors: ClassVar = {RefusalError: b"REFUSED"}


class Word(amp.Command):
    """
    Something about a topic.
    """

    arguments: ClassVar = [(b"topic", amp.Unicode()), (b"value", Document())]
    requiresAnswer = False


#: Follows an order: ``(details, sockets) -> details or a Deferred``, where sockets are descriptors by key, and the
#: follower's to close.
Act = Callable[[Details, dict[str, int]], Any]


class Line(amp.AMP):
    """
    One end of the connection between the master and a worker.

    :ivar lost: fires with None when it has ended.
    """

    def __init__(self, acts: dict[str, Act], heard: Callable[[str, Any], object]) -> None:
        """
        :param acts: what follows which order.
        :param heard: told the words of the other end.
        """
        super().__init__()
        self.lost: Deferred[None] = Deferred()
        self._acts = acts
        self._heard = heard

    def order(
        self, name: str, details: Details | None = None, sockets: Iterable[tuple[str, int]] = ()
    ) -> Deferred[Details]:
        """
        Give an order.

        :return: the answer; fails with :exc:`RefusalError`, or, when the other end is gone, with :exc:`GoneError` or an
            error of Twisted's.
        """
        passed = [{"key": key, "descriptor": descriptor} for key, descriptor in sockets]
        if self.transport is None:
            return Deferred.fromCoroutine(_gone())
        # Its own, because AMP ends a connection on which an error comes that nobody has handled yet.
        answered: Deferred[Details] = Deferred()
        remote = self.callRemote(Order, name=name, details=details or {}, sockets=passed)
        remote.addCallbacks(lambda answer: answered.callback(answer["answer"]), answered.errback)
        return answered

    def say(self, topic: str, value: Any) -> None:
        """
        Say something; nobody answers.
        """
        if self.transport is not None:
            self.callRemote(Word, topic=topic, value=value)

    def hang_up(self) -> None:
        """
        End the connection.
        """
        if self.transport is not None:
            self.transport.loseConnection()

    @Order.responder
    def _ordered(self, name: str, details: Details, sockets: list[dict[str, Any]]) -> Deferred[dict[str, Any]]:
        passed = {each["key"]: each["descriptor"] for each in sockets}
        following = maybeDeferred(self._acts[name], details, passed)
        return following.addCallbacks(lambda answer: {"answer": answer or {}}, self._failed)

    @staticmethod
    def _failed(failure: Failure) -> dict[str, Any]:
        if not failure.check(RefusalError):
            _log.failure("a fault in twistginx or in a plugin", failure)
        text = failure.getErrorMessage() or type(failure.value).__name__
        raise RefusalError(text.encode("utf-8", "replace")[:_MOST_OF_ERROR].decode("utf-8", "ignore"))

    @Word.responder
    def _said(self, topic: str, value: Any) -> dict[str, Any]:
        self._heard(topic, value)
        return {}

    def makeConnection(self, transport: Any) -> None:
        """
        Without AMP's line in the log.
        """
        self._transportHost = self._transportPeer = None
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Without AMP's line in the log.
        """
        # First this: who hears that an order has failed may give the next one.
        self.transport = None
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.lost.callback(None)


async def _gone() -> Details:
    raise GoneError("it is gone")


class OneLine(Factory):
    """
    For ``adoptStreamConnection``.
    """

    noisy = False

    def __init__(self, line: Line) -> None:
        self._line = line

    def buildProtocol(self, addr: object) -> Line:
        return self._line
