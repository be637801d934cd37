"""
One check: a question to one server, and whether its answer is that of a server that is well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from twistginx.config.tables.health import Health
from twistginx.errors import ProxyError
from twistginx.http.message import Fields
from twistginx.net.timers import Ticker
from twistginx.upstream.fetch import Answer, Bounds, Question, fetch_from
from twistginx.upstream.peer import Peer

#: Bytes of an answer that are read: of a body, and of what a server says without HTTP.
_BODY: Final = 1 << 20
_WORDS: Final = 65536


class IllError(Exception):
    """
    A check has failed; the text says why, for people.
    """


Check = Callable[[Peer, bytes], Deferred[None]]


def make_check(config: Health, setting: str, ticker: Ticker, reactor: Any) -> Check:
    """
    What checks a peer: given the peer, and the Host that it is asked for, it returns a Deferred, which fails with
    ``IllError`` or ``ProxyError``, and may be cancelled.

    :param setting: the key of ``timeout``, for errors.
    """
    setting = f"{setting} = {config.timeout}"
    if config.is_http:
        return HttpCheck(config, setting, ticker)
    return BytesCheck(config, setting, reactor)


class HttpCheck:
    """
    A request.
    """

    def __init__(self, config: Health, setting: str, ticker: Ticker) -> None:
        self._config = config
        self._fields = [(name.encode("ascii"), value.encode()) for name, value in config.send_headers.items()]
        if not any(name.lower() == b"user-agent" for name, _ in self._fields):
            self._fields.append((b"User-Agent", b"twistginx health check"))
        self._wanted = [(name.encode("ascii").lower(), pattern) for name, pattern in config.header.items()]
        self._bounds = Bounds(config.timeout, _BODY, setting)
        self._ticker = ticker

    def __call__(self, peer: Peer, host: bytes) -> Deferred[None]:
        config = self._config
        fields = Fields.of([(b"Host", host), *self._fields])
        question = Question(config.method.encode("ascii"), config.path.encode("ascii"), fields)
        return fetch_from(question, peer, self._ticker, self._bounds).addCallback(self._judge)

    def _judge(self, answer: Answer) -> None:
        config = self._config
        if answer.status not in config.status:
            raise IllError(f"it answered {answer.status}, not {config.status}")
        for name, pattern in self._wanted:
            if not any(pattern.find(value) is not None for each, _, value in answer.fields if each == name):
                raise IllError(f"it answered without a {name.decode()} that has {pattern}")
        if config.body is not None and config.body.find(answer.body) is None:
            raise IllError(f"{config.body} is not in its answer")


class BytesCheck:
    """
    A connection, and what is said on it.
    """

    def __init__(self, config: Health, setting: str, reactor: Any) -> None:
        self._config = config
        self._setting = setting
        self._reactor = reactor

    def __call__(self, peer: Peer, host: bytes) -> Deferred[None]:
        words = Words(self._config)
        connecting: Deferred[Any] = peer.connect(
            Factory.forProtocol(lambda: words), self._config.timeout, self._setting
        )
        connecting.addCallback(lambda _: words.done)
        connecting.addTimeout(self._config.timeout, self._reactor, self._too_late)
        return connecting.addBoth(words.over)

    def _too_late(self, result: Any, seconds: float) -> Any:
        raise ProxyError("connection_timeout", "it did not say what was expected in time", self._setting)


class Words(Protocol):
    """
    Says its words, and waits for the server's.

    :ivar done: fires when the server has said what was expected.
    """

    def __init__(self, config: Health) -> None:
        self.done: Deferred[None] = Deferred()
        self._config = config
        self._heard = b""

    def connectionMade(self) -> None:
        """
        Our words.
        """
        if self._config.send is not None:
            self.transport.write(self._config.send.data)  # type: ignore[union-attr]  # it is connected
        if self._config.expect is None:
            self._end(None)

    def dataReceived(self, data: bytes) -> None:
        """
        The server's.
        """
        expected = self._config.expect
        if self.done.called or expected is None:
            return
        self._heard += data
        if expected.find(self._heard) is not None:
            self._end(None)
        elif len(self._heard) > _WORDS:
            self._end(IllError(f"{expected} is not in the first {_WORDS} bytes that it said"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        There will be no more.
        """
        said = "without a word" if not self._heard else f"and had not said {self._config.expect}"
        self._end(IllError(f"it closed the connection {said}"))

    def over(self, result: Any) -> Any:
        """
        The check is over, however it went.
        """
        if self.transport is not None:
            self.transport.loseConnection()
        return result

    def _end(self, error: IllError | None) -> None:
        if self.done.called:
            return
        if error is None:
            self.done.callback(None)
        else:
            self.done.errback(error)
