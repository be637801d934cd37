"""
``rewrite``: the resource sees another path, or another query, than was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.regex import Regex
from twistginx.config.schema import Match
from twistginx.config.tables.fields import SINGLE, not_empty
from twistginx.config.tables.match import RoutePath, captures_in, check_captures
from twistginx.config.template import Template
from twistginx.errors import ProxyError
from twistginx.http.message import Reply
from twistginx.http.targets import climbs, editable, quoted
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.policies.edits import (
    Edit,
    QueryEdit,
    QueryEdits,
    Target,
    add_prefix,
    add_slash,
    lower,
    remove_slash,
    strip,
    to_template,
    upper,
)
from twistginx.routing.match import normalised, resolved, under

moduleProvides(IPolicyModule)

name = "rewrite"
api = 1
rank = 450
applies_to = frozenset(("http",))
many = False

#: An array is one policy: its rules come one after the other.
takes_arrays = True

#: It decides nothing about who may come in.
decides = False

#: How often the rules may be begun with again.
PASSES: Final = 10


@frozen
class Rule:
    """
    One rule.  What it says is done in the order of its keys.

    :ivar when: what a request must have, as in ``match``: a table, or the name of a ``[match.NAME]``.  Paths in it are
        those that were asked for.
    :ivar regex: the rule is for paths that this is found in; ``{1}`` and ``{name}`` are what it captures.
    :ivar to: the new path, and the new query where there is a "?" in it; ``{query}`` is the old one.
    :ivar strip_prefix: this is taken away from the front of the path; the rule is for paths below it.
    :ivar add_prefix: this is put before the path.
    :ivar case: "lower" or "upper": of the path.
    :ivar trailing_slash: "add": a path ends with a slash, unless its last segment has a dot in it; "remove": it does
        not.
    :ivar query: what is done to the query.
    :ivar redirect: the client is sent there, with this status, where the rule has changed something.
    :ivar then: after a rule that was for the request: "next", the next rule; "stop", none; "again", the first one, ten
        times at most.
    """

    when: Match | str | None = None
    regex: Regex | None = field(default=None, validator=check_captures)
    to: Template | None = None
    strip_prefix: RoutePath | None = None
    add_prefix: Template | None = None
    case: Literal["lower", "upper"] | None = None
    trailing_slash: Literal["add", "remove"] | None = None
    query: QueryEdits = QueryEdits()
    redirect: Literal[301, 302, 303, 307, 308] | None = None
    then: Literal["next", "stop", "again"] = field(default="next")

    @then.validator
    def _check(self, attribute: Attribute[Any], value: str) -> None:
        edits = (self.to, self.strip_prefix, self.add_prefix, self.case, self.trailing_slash)
        if all(each is None for each in edits) and self.query == QueryEdits() and value != "stop":
            raise ValueError("changes nothing; expected to, strip_prefix, add_prefix, case, trailing_slash or query")

    @classmethod
    def from_shorthand(cls, value: object) -> Mapping[str, object]:
        """
        ``rewrite = "/index.php{path}"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a path such as "/index.php{path}", or a table')
        return {"to": value}

    @classmethod
    def captures_of(cls, table: Mapping[str, object]) -> Iterable[str]:
        """
        What its own regex captures.
        """
        return captures_in(table)


@frozen
class Config:
    """
    Show the resource another target.  An array of rules is short for ``rules``, a table for one rule, a text for its
    ``to``.

    A path is edited decoded, but for ``%2F`` and ``%25``, and is encoded again when it leaves; one that no rule is for
    leaves as it came.  Where ``strip_prefix`` of the route takes something away, the rules see what is left.  What the
    variables put into a path can lead up from nowhere: a path with ``..`` in it is refused.

    :ivar rules: in the order of the file.
    """

    rules: tuple[Rule, ...] = field(metadata=SINGLE, validator=not_empty)

    @classmethod
    def from_shorthand(cls, value: object) -> Mapping[str, object]:
        """
        ``rewrite = [{ ... }, { ... }]``, or one of them alone.
        """
        return {"rules": value}

    @classmethod
    def is_shorthand(cls, table: Mapping[str, object]) -> bool:
        """
        Is it a rule?
        """
        return "rules" not in table


def make(config: Config, context: IContext) -> Rewrite:
    """
    The policy.
    """
    return Rewrite([CompiledRule(rule, f"rules.{index}", context) for index, rule in enumerate(config.rules)])


class Rewrite:
    """
    The rules of one route.
    """

    __slots__ = ("_rules",)

    #: The resource may see another target than was sent.
    retargets = True

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self._rules: Final = tuple(rules)

    def admit(self, request: Any) -> Reply | None:
        """
        Rewrite, or send the client elsewhere.
        """
        target, status, _ = self._rewritten(request)
        if target is None:
            return None
        raw = quoted(target.path)
        if climbs(raw):
            # A slash that was data, or the like, and has another path before it now.
            raise ProxyError("http_request_error", "a rewrite would lead out of where it leads")
        if status:
            return Reply(status, [(b"Location", _location(request, raw, target.query))])
        request.retarget(normalised(raw), raw, target.query)
        return None

    def explain(self, request: Any) -> list[str | Reply]:
        """
        What the rules do to a request, a line for each that is for it.
        """
        _, _, said = self._rewritten(request)
        reply = self.admit(request)
        return [*said, *([] if reply is None else [reply])] or ["no rule is for this request"]

    def _rewritten(self, request: Any) -> tuple[Target | None, int, list[str]]:
        """
        The new target, None where it is the old one; the status of a redirect, or 0; and what was done, in words.
        """
        path = request.target_path
        said: list[str] = []
        if path[:1] != b"/":
            return None, 0, said
        first = resolved(editable(path))
        target = Target(first, request.target_query)
        index = passes = 0
        while index < len(self._rules):
            rule = self._rules[index]
            index += 1
            before = target.path, target.query
            if not rule.apply(target, request):
                continue
            if (target.path, target.query) != before:
                said.append(f"{rule.shown}: {_shown(*before)} becomes {_shown(target.path, target.query)}")
                if rule.redirect:
                    return target, rule.redirect, said
            if rule.then == "stop":
                break
            if rule.then == "again":
                passes += 1
                if passes > PASSES:
                    raise ProxyError("proxy_internal_error", "the rules of rewrite go in a circle", "rewrite")
                index = 0
        changed = target.path != first or target.query != request.target_query
        return target if changed else None, 0, said


def _shown(path: bytes, query: bytes | None) -> str:
    raw = quoted(path)
    return (raw if query is None else raw + b"?" + query).decode("ascii", "replace")


def _location(request: Any, raw: bytes, query: bytes | None) -> bytes:
    """
    Where a client finds what the resource would see.
    """
    route = request.route
    path = (quoted(route.prefix) if route.strip else b"") + raw
    path = b"/" + path.lstrip(b"/")  # two slashes would begin the name of another host (RFC 3986 section 4.2)
    return path if query is None else path + b"?" + query


class CompiledRule:
    """
    One rule.

    :ivar shown: what it is called.
    """

    __slots__ = ("_applies", "_edits", "_find", "_prefix", "redirect", "shown", "then")

    def __init__(self, rule: Rule, key: str, context: IContext) -> None:
        self.shown = key.replace("rules.", "rule ")
        self.redirect = rule.redirect or 0
        self.then = rule.then
        self._applies = None if rule.when is None else context.condition(rule.when, f"{key}.when")
        self._find = None if rule.regex is None else rule.regex.find
        self._prefix = None if rule.strip_prefix is None else rule.strip_prefix.rstrip("/").encode()
        self._edits: Final = tuple(_edits_of(rule, key))

    def apply(self, target: Target, request: Any) -> bool:
        """
        Edit ``target``, if the rule is for it.
        """
        if self._applies is not None and not self._applies(request, request.routed_path or request.matched_path):
            return False
        if self._prefix is not None and not under(target.path, self._prefix):
            return False
        spans = None
        if self._find is not None:
            spans = self._find(target.path)
            if spans is None:
                return False
        for edit in self._edits:
            edit(target, request, spans)
        return True


def _edits_of(rule: Rule, key: str) -> Iterable[Edit]:
    """
    What a rule does, in order.
    """
    names = None if rule.regex is None else rule.regex.names
    if rule.to is not None:
        yield to_template(rule.to, names, f"{key}.to")
    if rule.strip_prefix is not None:
        yield strip(rule.strip_prefix.rstrip("/").encode())
    if rule.add_prefix is not None:
        yield add_prefix(rule.add_prefix, names, f"{key}.add_prefix")
    if rule.case is not None:
        yield lower if rule.case == "lower" else upper
    if rule.trailing_slash is not None:
        yield add_slash if rule.trailing_slash == "add" else remove_slash
    if rule.query != QueryEdits():
        yield QueryEdit(rule.query, names)
