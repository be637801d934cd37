"""
What of an upstream's failures is tried again: the rules, and the budget.  Pure.

A connection that was not made costs no server any work: the next server is tried, always, and that is not counted here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

from attrs import field, frozen

from twistginx.config.statuses import parse_statuses
from twistginx.http.wire import IDEMPOTENT

#: The words of ``on``, and the reasons that they stand for.
CAUSES: Final = {
    "terminated": frozenset(("connection_terminated",)),
    "timeout": frozenset(("http_response_timeout", "connection_write_timeout")),
    "protocol": frozenset(
        (
            "http_protocol_error",
            "http_response_header_section_size",
            "http_response_transfer_coding",
            "http_upgrade_failed",
        )
    ),
}

#: How many retries may be saved up, at least: a server that dies takes all at once that it was working on.
_SAVED: Final = 100.0


class RetryOptions(Protocol):
    """
    What is configured; ``config.schema.Retry`` has it, and is the manual.
    """

    @property
    def attempts(self) -> int: ...
    @property
    def on(self) -> Sequence[str]: ...
    @property
    def methods(self) -> Sequence[str]: ...
    @property
    def idempotency_key(self) -> bool: ...
    @property
    def body(self) -> int: ...
    @property
    def per_try(self) -> float | None: ...
    @property
    def total(self) -> float | None: ...
    @property
    def budget(self) -> float: ...


@frozen(eq=False)
class Rules:
    """
    When a request may be sent again.

    :ivar attempts: how often a request is sent, at most.
    :ivar words: the reasons of failures that are tried again.
    :ivar statuses: those of answers that are; an answer that is not tried again is passed on.
    :ivar methods: of requests that may be processed twice.
    :ivar keyed: so may one with an Idempotency-Key, whatever its method.
    :ivar body: bytes of a request's body that are kept to be sent again.
    :ivar per_try: seconds for the first byte of an answer, where it is not the last try; None: as for the last.
    :ivar total: seconds for all tries together, up to the first byte of an answer; None: there is no such time.
    """

    attempts: int
    words: frozenset[str]
    statuses: frozenset[int]
    methods: frozenset[bytes]
    keyed: bool = False
    body: int = 0
    per_try: float | None = None
    total: float | None = None
    timed: bool = field(init=False)

    @timed.default
    def _is_timed(self) -> bool:
        return self.per_try is not None or self.total is not None

    @classmethod
    def of(cls, options: RetryOptions) -> Rules:
        """
        As configured.
        """
        words: set[str] = set()
        statuses: set[int] = set()
        for each in options.on:
            if each in CAUSES:
                words |= CAUSES[each]
            else:
                statuses |= parse_statuses(each)
        once = options.attempts <= 1
        return cls(
            options.attempts,
            frozenset() if once else frozenset(words),
            frozenset() if once else frozenset(statuses),
            frozenset(method.encode() for method in options.methods) or IDEMPOTENT,
            options.idempotency_key,
            0 if once else options.body,
            options.per_try,
            options.total,
        )

    def allow(self, request: Any) -> bool:
        """
        May ``request`` be processed twice?
        """
        if request.method in self.methods:
            return True
        return self.keyed and bool(request.fields.first(b"idempotency-key"))


class Budget:
    """
    A share of all requests, to be spent on retries: when everything fails, trying again would be the load that keeps
    it failing.
    """

    __slots__ = ("_seen", "_share", "saved", "spent")

    def __init__(self, share: float) -> None:
        """
        :param share: of the requests, from 0 to 1; 0 means none.
        """
        self._share = share
        self._seen = 0
        self.saved = _SAVED if share else 0.0
        self.spent = 0

    def take(self, peers: Collection[Any]) -> bool:
        """
        May one be sent again?  It is counted, if it may.

        :param peers: all of the upstream; they have counted what they were sent.
        """
        begun = sum(peer.begun for peer in peers)
        under_way = begun - sum(peer.ended for peer in peers)
        # What is earned since the last time; peers that left have taken their counts with them.
        self.saved = min(self.saved + self._share * max(0, begun - self._seen), max(_SAVED, under_way))
        self._seen = begun
        if self.saved < 1 or not self._share:
            return False
        self.saved -= 1
        self.spent += 1
        return True
