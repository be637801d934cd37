"""
How a request ends, well or not, and who is told of it.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.errors import ProxyError
from twistginx.http.body import RequestBody
from twistginx.http.message import Fields, Record, RequestHead
from twistginx.http.twistedrequest import TwistedRequest

NOTHING: Final[tuple[Any, ...]] = ()


class Ending(TwistedRequest):
    """
    What is done once, whichever way a response has ended; ``http.response.Response`` has the ways.
    """

    # State, until it is set.
    body: RequestBody | None = None
    _began: float  # seconds, when the head was complete
    route: Any = None
    status = 0
    ended = False
    sent_bytes = 0
    source: Any = None
    watcher: Any = None
    upstream_name = b""
    _filters: tuple[Any, ...] = NOTHING
    error: ProxyError | None = None  # the failure that is answered
    _waiting: Deferred[Any] | None = None
    _asked: RequestHead | None = None  # as it was received, when ``reroute`` has put another in its place
    _told: tuple[Any, ...] = NOTHING  # hooks of the routes that it was on before
    held = False  # a filter has more than it can do: whatever produces the response is to wait
    _ending: tuple[Fields | None] | None = None  # ``end`` was called, and waits for a filter: its argument

    _log = Logger(namespace="twistginx.http")

    def give_up(self, error: ProxyError) -> None:
        """
        The client is as good as gone; nothing more is sent.
        """
        if self.ended:
            return
        self.error = error
        self._disconnected = True
        self._detach(error)
        self._finished(done=False)

    def _broken(self, error: ProxyError) -> None:
        """
        A response that cannot be completed must not look complete.
        """
        self.error = error
        self._disconnected = True
        self._detach(error)
        self._finished(done=False)
        self.channel.abort()

    def connectionLost(self, reason: Failure) -> None:
        """
        The client is gone.
        """
        if self.ended:
            return
        if self.error is None:
            self.error = ProxyError("client_disconnected")
        self._disconnected = True
        self._detach(self.error)
        self._finished(reason, done=False)

    def _detach(self, error: ProxyError) -> None:
        """
        Whoever produces the response is not wanted any more, and is told so; nothing it does about it counts.
        """
        ended, self.ended = self.ended, True
        watcher, self.watcher = self.watcher, None
        producer, self.producer = self.producer, None
        waiting, self._waiting = self._waiting, None
        self.source = None
        try:
            if watcher is not None:
                watcher.client_gone(error)
            if producer is not None:
                producer.stopProducing()
            if waiting is not None:
                waiting.cancel()
        except Exception:
            self._log.failure("{watcher} failed as it was told of {word}", watcher=watcher, word=error.reason.word)
        self.ended = ended

    def _drop_filters(self) -> None:
        """
        The response that they were for is not sent, or no further.
        """
        filters, self._filters = self._filters, NOTHING
        self.held = False
        self._ending = None
        for each in filters:
            close = getattr(each, "close", None)
            if close is not None:
                close()

    def _finished(self, reason: Failure | None = None, done: bool = True) -> None:
        """
        The response is over, one way or another: tell everyone, once.
        """
        self.ended = True
        self.finished = 1
        channel = self.channel
        route = self.route
        log = channel.frontend.log
        if self.error is not None:
            channel.frontend.tally.failed_with(self.error, self, channel.ticker.now)
        hooks = route.finished if route is not None else NOTHING
        if self._asked is not None:
            self.head = self._asked
            hooks = (*self._told, *hooks)
        if log is not None or hooks:
            error = self.error
            record = Record(
                self.status or (error.status if error is not None else 499),
                self.sent_bytes,
                monotonic() - self._began,
                error.reason.word if error is not None else "",
                error.told if error is not None else "",
                self.upstream_name.decode("latin-1") if self.upstream_name else "",
            )
            for hook in hooks:
                try:
                    hook(self, record)
                except Exception:
                    self._log.failure("a policy failed in finished")
            if log is not None:
                try:
                    log(self, record)
                except Exception:
                    self._log.failure("the access log failed")
        self.source = None
        self.watcher = None
        if self._filters:
            self._drop_filters()
        if self.body is not None:
            self.body.discard()
        if self._untidy:
            self._tidy_up(reason)
        if done:
            channel.request_done(self)

    def _tidy_up(self, reason: Failure | None) -> None:
        """
        What somebody made has to be cleaned up, and who asked for it is told of the end.
        """
        made = self.__dict__
        if "content" in made:
            self.content.close()
        notifications = made.get("notifications")
        if notifications:
            self.notifications = []
            if reason is None and self._disconnected:
                reason = Failure(self.error or ProxyError("client_disconnected"))
            for deferred in notifications:
                if reason is None:
                    deferred.callback(None)
                else:
                    deferred.errback(reason)

    # Flow control, from the channel.

    def pause_source(self) -> None:
        """
        The client does not read.
        """
        if self.source is not None:
            self.source.pauseProducing()

    def resume_source(self) -> None:
        """
        The client reads again.
        """
        if self.source is not None and not self.held:
            self.source.resumeProducing()
