"""
``satisfy = "any"``: several policies that decide who may come in, of which one is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistginx.errors import ProxyError
from twistginx.http.message import Reply
from twistginx.http.response import release

Admit = Callable[[Any], Any]


class AnyOf:
    """
    Asks one after the other, in the order of their ranks, until one lets the request in.

    When none does, the request fails closed.  It is told what may help it: how it could prove who it is, if one of them
    says so, then whatever else the first of them has said.  A policy that could not decide is told of before one that
    decided against it, so that a fault is not taken for a refusal.
    """

    __slots__ = ("_admits",)

    def __init__(self, admits: Sequence[Admit]) -> None:
        self._admits: Final = tuple(admits)

    def admit(self, request: Any) -> Any:
        """
        None, or a Deferred of None or of a Reply.

        :raise ProxyError: when none lets it in.
        """
        return self._ask(request, 0, [])

    def _ask(self, request: Any, index: int, refusals: list[Reply | ProxyError]) -> Any:
        admits = self._admits
        while index < len(admits):
            try:
                outcome = admits[index](request)
            except ProxyError as error:
                outcome = error
            index += 1
            if isinstance(outcome, Deferred):
                waiting: Deferred[Any] = outcome
                waiting.addErrback(_refusal)
                return waiting.addCallback(self._answered, request, index, refusals)
            if outcome is None:
                return _let_in(refusals)
            refusals.append(outcome)
        return verdict(refusals)

    def _answered(self, outcome: Any, request: Any, index: int, refusals: list[Reply | ProxyError]) -> Any:
        if outcome is None:
            return _let_in(refusals)
        refusals.append(outcome)
        return self._ask(request, index, refusals)


def _refusal(failure: Failure) -> ProxyError:
    failure.trap(ProxyError)
    error = failure.value
    assert isinstance(error, ProxyError)
    return error


def _let_in(refusals: list[Reply | ProxyError]) -> None:
    for each in refusals:
        if isinstance(each, Reply):
            release(each.body)


def _urgency(refusal: Reply | ProxyError) -> int:
    """
    The lower, the sooner it is what the client is told.
    """
    if isinstance(refusal, Reply):
        return 1
    return {401: 2, 403: 3}.get(refusal.status, 0)


def verdict(refusals: list[Reply | ProxyError]) -> Reply:
    """
    What a client is told that nobody lets in.

    :raise ProxyError: unless a Reply is what the client is to be told.
    """
    told = min(refusals, key=_urgency)
    for each in refusals:
        if isinstance(each, Reply) and each is not told:
            release(each.body)
    if isinstance(told, Reply):
        return told
    if told.status == 401:
        # Each way in has its own challenge (RFC 9110 section 11.6.1).
        same = [each for each in refusals if isinstance(each, ProxyError) and each.reason is told.reason]
        challenges = tuple(dict.fromkeys(field for each in same for field in each.fields))
        details = "; ".join(dict.fromkeys(each.detail for each in same if each.detail))
        told = ProxyError(told.reason.word, details, told.setting, challenges)
    raise told
