"""
A policy with ``when``: it acts on the requests that it is for, and on no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twistginx.routing.conditions import Condition


class Conditional:
    """
    A policy in all phases that the one within it has.

    Whether it applies is asked once for each request, when it would first act: what it has begun, it ends.
    """

    def __init__(self, policy: Any, condition: Condition, phases: Iterable[str]) -> None:
        self._condition = condition
        for phase in phases:
            if hasattr(policy, phase):
                setattr(self, phase, self._only_then(getattr(policy, phase)))

    def _only_then(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        applies = self.applies

        def conditional(request: Any, *rest: Any) -> Any:
            return hook(request, *rest) if applies(request) else None

        return conditional

    def applies(self, request: Any) -> bool:
        """
        Is the policy for this request?
        """
        decided: dict[Any, bool] | None = request.decided
        if decided is None:
            decided = request.decided = {}
        answer = decided.get(self)
        if answer is None:
            # A rewrite does not change what the request was about.
            answer = decided[self] = self._condition(request, request.routed_path or request.matched_path)
        return answer
