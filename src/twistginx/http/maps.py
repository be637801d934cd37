"""
``[map.NAME]``, compiled: a value for a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final

from twistginx.config.networks import Network, unmapped
from twistginx.config.tables.map import Map, parse_rules
from twistginx.config.template import CAPTURE, Template, Variable
from twistginx.http.variables import Getter, compile_template, encoded

#: How many addresses a map remembers.
_REMEMBERED: Final = 4096


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
    network = _by_network({Network.parse(text): compile_template(value) for text, value in config.network.items()})
    rules = [(regex.find, _compile_captured(value, regex.names)) for regex, value in parse_rules(config.regex).items()]
    default = compile_template(config.default)

    def find(request: Any, outcome: Any = None) -> bytes:
        subject = of(request, outcome)
        if lowered:
            subject = subject.lower()
        value = exact.get(subject)
        if value is not None:
            return value(request, outcome)
        if network is not None:
            value = network(subject)
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


def _by_network(values: Mapping[Network, Getter]) -> Callable[[bytes], Getter | None] | None:
    """
    A callable that takes an address to what the smallest of the networks has that it is in.  None: there are none.
    """
    if not values:
        return None
    tables: dict[tuple[int, int], dict[int, Getter]] = {}
    for network, value in values.items():
        assert network.range is not None
        shift = network.range.max_prefixlen - network.range.prefixlen
        tables.setdefault((network.range.version, shift), {})[int(network.range.network_address) >> shift] = value
    # The smallest first.
    ordered = sorted(tables.items(), key=lambda entry: entry[0])

    @lru_cache(_REMEMBERED)
    def find(subject: bytes) -> Getter | None:
        try:
            address = ip_address(unmapped(subject.decode("ascii", "replace").strip("[]")))
        except ValueError:
            return None
        for (version, shift), table in ordered:
            if version == address.version:
                value = table.get(int(address) >> shift)
                if value is not None:
                    return value
        return None

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
