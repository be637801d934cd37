"""
Parts of the values of fields, replaced: an address in a Location, an attribute of a cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

from twistginx.config.regex import Regex, Spans
from twistginx.config.tables.match import captures_in, check_captures
from twistginx.config.template import CAPTURE, ResponseTemplate, Template, Variable
from twistginx.http.message import Fields
from twistginx.http.variables import compile_template, safe_value


@frozen
class Replacement:
    """
    What is put in place of what.

    :ivar regex: what is looked for in a value; all that is found is replaced.
    :ivar to: what is put in its place, a template; ``{1}`` and ``{name}`` are what ``regex`` captures.
    """

    regex: Regex = field(validator=check_captures)
    to: ResponseTemplate

    captures_of = staticmethod(captures_in)


@frozen
class RequestReplacement:
    """
    The same, where there is no response yet.

    :ivar regex: what is looked for in a value; all that is found is replaced.
    :ivar to: what is put in its place, a template; ``{1}`` and ``{name}`` are what ``regex`` captures.
    """

    regex: Regex = field(validator=check_captures)
    to: Template

    captures_of = staticmethod(captures_in)


#: ``(value, spans, request, outcome)`` to what is put in.
_Piece = Callable[[bytes, Spans, Any, Any], bytes]


class Replacements:
    """
    Those of several fields.
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Mapping[bytes, Iterable[Replacement | RequestReplacement]]) -> None:
        """
        :param rules: by the name of the field, in lower case.
        """
        self._rules: Final = {name: [(each.regex.find, _filler(each)) for each in own] for name, own in rules.items()}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def apply(self, fields: Fields, request: Any, outcome: Any) -> None:
        """
        Replace in ``fields``; one of which nothing is left is taken out.
        """
        changed = False
        for position, (lower, name, value) in enumerate(fields):
            rules = self._rules.get(lower)
            if rules is None:
                continue
            new = value
            for find, fill in rules:
                new = _replaced(new, find, fill, request, outcome)
            if new != value:
                changed = True
                fields[position] = (lower, name, safe_value(new))
        if changed:
            fields[:] = [each for each in fields if each[2] or each[0] not in self._rules]


def _replaced(value: bytes, find: Callable[..., Spans | None], fill: _Piece, request: Any, outcome: Any) -> bytes:
    pieces: list[bytes] = []
    done = start = 0
    while start <= len(value):
        spans = find(value, start)
        if spans is None:
            break
        first, last = spans[0]
        pieces += (value[done:first], fill(value, spans, request, outcome))
        done = last
        # What is empty is found once at each place.
        start = last if last > first else last + 1
    return b"".join((*pieces, value[done:]))


def _filler(rule: Replacement | RequestReplacement) -> _Piece:
    pieces = [_piece(part, rule.regex) for part in rule.to.parts]

    def fill(value: bytes, spans: Spans, request: Any, outcome: Any) -> bytes:
        return b"".join([piece(value, spans, request, outcome) for piece in pieces])

    return fill


def _piece(part: str | Variable, regex: Regex) -> _Piece:
    if isinstance(part, Variable) and part.name == CAPTURE and part.argument in regex.captures:
        group = int(regex.names.get(part.argument, part.argument))

        def captured(value: bytes, spans: Spans, request: Any, outcome: Any) -> bytes:
            first, last = spans[group]
            return b"" if first < 0 else value[first:last]

        return captured
    get = compile_template(ResponseTemplate("", (part,)))
    return lambda value, spans, request, outcome: get(request, outcome)
