"""
What was found out about a request, as values and in words.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen


@frozen
class Passed:
    """
    A route that was not taken.
    """

    route: str
    where: str
    reason: str


@frozen
class Step:
    """
    A policy, and what it would do.

    :ivar applies: is it for this request?
    :ivar lines: what it would do, or, where it does not apply, why.
    """

    policy: str
    applies: bool
    lines: tuple[str, ...]


@frozen
class Answer:
    """
    What was found out.

    :ivar failure: the word of a failure, with its status and why; empty when there is none.
    :ivar site: its label; empty when none answers for the host.
    :ivar matched_path: the path as routes compare it.
    :ivar dropped: names of headers that would not be let in.
    :ivar resource: the table that answers, a policy's where that would not let the request pass.
    :ivar status: of the answer, where it is known; 0 where it is not.
    :ivar lines: what it would do.
    """

    request: str
    listener: str = ""
    site: str = ""
    site_where: str = ""
    matched_path: str = ""
    route: str = ""
    route_where: str = ""
    passed: tuple[Passed, ...] = ()
    dropped: tuple[str, ...] = ()
    policies: tuple[Step, ...] = ()
    resource: str = ""
    lines: tuple[str, ...] = ()
    status: int = 0
    failure: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return "\n".join(self._text())

    def _text(self) -> Iterator[str]:
        yield self.request
        if self.listener:
            yield f"listener  {self.listener}"
        if self.site:
            yield f"site      {self.site}{_at(self.site_where)}"
        if self.matched_path:
            yield f"path      {self.matched_path}"
        for name in self.dropped:
            yield f"header    {name} is dropped, because servers may take it for another; allow_header_names lets it in"
        for passed in self.passed:
            yield f"not       {passed.route}{_at(passed.where)}: {passed.reason}"
        if self.route:
            yield f"route     {self.route}{_at(self.route_where)}"
        for step in self.policies:
            if not step.applies:
                yield f"policy    {step.policy} does not apply: {'; '.join(step.lines)}"
            else:
                first, *rest = step.lines or ("",)
                yield f"policy    {step.policy}{': ' if first else ''}{first}"
                yield from (f"          {line}" for line in rest)
        if self.resource:
            first, *rest = self.lines or ("",)
            yield f"answer    {self.resource}{': ' if first else ''}{first}"
            yield from (f"          {line}" for line in rest)
        if self.failure:
            yield f"answer    {f'{self.status} ' if self.status else ''}{self.failure}: {self.reason}"


def _at(where: str) -> str:
    return f" ({where})" if where else ""
