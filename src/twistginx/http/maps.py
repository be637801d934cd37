"""
``[map.NAME]``, compiled: a value for a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twistginx.config.tables.map import Map, parse_rules
from twistginx.config.template import CAPTURE, Template, Variable
from twistginx.http.variables import Getter, compile_template, encoded


def compile_map(config: Map) -> Getter:
    """
    A callable ``(request, outcome=None)`` that looks up what the map has for a request.
    """
    of = compile_template(config.of)
    lowered = config.ignore_case
    exact = {_key(text, lowered): compile_template(value) for text, value in config.exact.items()}
    prefixes = sorted(
        ((_key(text, lowered), compile_template(value)) for text, value in config.prefix.items()),
        key=lambda entry: -len(entry[0]),
    )
    rules = [(regex.find, _compile_captured(value, regex.names)) for regex, value in parse_rules(config.regex).items()]
    default = compile_template(config.default)

    def find(request: Any, outcome: Any = None) -> bytes:
        subject = of(request, outcome)
        if lowered:
            subject = subject.lower()
        value = exact.get(subject)
        if value is not None:
            return value(request, outcome)
        for prefix, value in prefixes:
            if subject.startswith(prefix):
                return value(request, outcome)
        for search, fill in rules:
            spans = search(subject)
            if spans is not None:
                return fill(request, outcome, subject, spans)
        return default(request, outcome)

    return find


def _key(text: str, lowered: bool) -> bytes:
    return encoded(text.lower() if lowered else text)


def _compile_captured(template: Template, names: Mapping[str, int]) -> Callable[..., bytes]:
    """
    ``(request, outcome, subject, spans)`` to bytes: the captures are those of the map's own regex.
    """
    parts: list[Getter | int] = []
    for part in template.parts:
        if isinstance(part, Variable) and part.name == CAPTURE:
            parts.append(int(part.argument) if part.argument.isdecimal() else names[part.argument])
        else:
            parts.append(compile_template(Template("", (part,))))

    def fill(request: Any, outcome: Any, subject: bytes, spans: Any) -> bytes:
        pieces = []
        for part in parts:
            if isinstance(part, int):
                start, end = spans[part]
                pieces.append(subject[start:end] if start >= 0 else b"")
            else:
                pieces.append(part(request, outcome))
        return b"".join(pieces)

    return fill
