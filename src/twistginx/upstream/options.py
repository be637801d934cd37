"""
What an upstream is told by its configuration, and what it tells those who watch it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twistginx.errors import ProxyError
    from twistginx.upstream.peer import Peer
    from twistginx.upstream.retry import RetryOptions


class TimeoutOptions(Protocol):
    """
    Seconds; see ``http.client.Patience``.
    """

    @property
    def connect(self) -> float: ...
    @property
    def first_byte(self) -> float: ...
    @property
    def idle(self) -> float: ...


class QueueOptions(Protocol):
    """
    See ``upstream.queue.Queue``.
    """

    @property
    def size(self) -> int: ...
    @property
    def timeout(self) -> float: ...


class UpstreamOptions(Protocol):
    """
    What is configured of an upstream, beside its servers; ``config.schema.Upstream`` has it, and is the manual.
    """

    @property
    def keepalive(self) -> int: ...
    @property
    def max_age(self) -> float | None: ...
    @property
    def max_requests(self) -> int | None: ...
    @property
    def slow_start(self) -> float | None: ...
    @property
    def warm(self) -> int: ...
    @property
    def queue(self) -> QueueOptions: ...
    @property
    def proxy_protocol(self) -> str | None: ...
    @property
    def timeouts(self) -> TimeoutOptions: ...
    @property
    def retry(self) -> RetryOptions: ...


class Observer(Protocol):
    """
    Who wants to know how requests fare.
    """

    def answered(self, peer: Peer, status: int) -> None:
        """
        ``peer`` has sent the head of an answer.
        """

    def joined(self, peer: Peer) -> None:
        """
        ``peer`` has accepted the connection of a stream.
        """

    def failed(self, peer: Peer, error: ProxyError) -> None:
        """
        ``peer`` has failed a request.
        """
