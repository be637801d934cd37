"""
Fields that the configuration writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twistginx.config.template import Template
from twistginx.errors import ConfigError
from twistginx.http.message import Fields
from twistginx.http.variables import Getter, compile_template, safe_value
from twistginx.http.wire import HOP_BY_HOP, is_token

#: Names, in lower case, that are the channel's to write: framing, and the connection's own.
OURS = HOP_BY_HOP | {b"content-length"}


def field_name(name: str, key: str) -> bytes:
    """
    A field name of the configuration, checked.

    :param key: where it stands, for the error.
    :raise ConfigError: when it is no token, or is of the framing.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    if not is_token(encoded):
        raise ConfigError(
            f"{name!r} is not the name of a header",
            key=key,
            expected="expected letters, digits and hyphens, such as X-Frame-Options",
        )
    if encoded.lower() in OURS:
        raise ConfigError(
            f"{name} belongs to the connection, which the server keeps in order itself",
            key=key,
            expected="remove it",
        )
    return encoded


class ConfiguredFields:
    """
    Fields with templates as values, compiled.

    :ivar constant: all of them, when none has variables; None otherwise.
    :ivar names: in lower case.
    """

    __slots__ = ("_compiled", "constant", "names")

    def __init__(self, entries: Iterable[tuple[str, Template, str]]) -> None:
        """
        :param entries: ``(name, value, key)``; the key is where it stands, for errors.
        :raise ConfigError: when a name or a value cannot be one.
        """
        compiled: list[tuple[bytes, bytes, bytes | Getter]] = []
        for name, template, key in entries:
            encoded = field_name(name, key)
            value: bytes | Getter = compile_template(template)
            if template.is_constant:
                value = template.constant.encode("utf-8", "surrogateescape")
                if value != safe_value(value):
                    raise ConfigError(
                        f"the value of {name} has a control character in it, or white space around it",
                        key=key,
                        expected="expected one line of text",
                    )
            compiled.append((encoded.lower(), encoded, value))
        self._compiled = tuple(compiled)
        self.names = frozenset(lower for lower, _, _ in compiled)
        constant = Fields((lower, name, value) for lower, name, value in compiled if isinstance(value, bytes))
        self.constant = constant if len(constant) == len(compiled) else None

    @classmethod
    def of(cls, table: Mapping[str, Template], key: str) -> ConfiguredFields:
        """
        The fields of a table; ``key`` is its own.
        """
        return cls((name, template, f"{key}.{name}") for name, template in table.items())

    def fill(self, request: Any, outcome: Any = None) -> Fields:
        """
        The fields for one request.  One whose variables have no value at all is left out.
        """
        if self.constant is not None:
            return self.constant
        filled = Fields()
        for lower, name, value in self._compiled:
            if isinstance(value, bytes):
                filled.append((lower, name, value))
            else:
                text = safe_value(value(request, outcome))
                if text:
                    filled.append((lower, name, text))
        return filled
