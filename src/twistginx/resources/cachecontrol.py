"""
How long files may be kept by those who get them, by patterns for their names.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twistginx.config.glob import Glob
from twistginx.config.regex import Spans
from twistginx.errors import ConfigError
from twistginx.http.variables import safe_value

_EXPECTED: Final = 'expected a pattern such as "*.html" or "assets/**"'


class CacheRules:
    """
    Patterns, and the values of Cache-Control that they stand for.

    A pattern without a slash is for the name of a file, wherever it is; one with a slash begins at the root.
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Mapping[str, str]) -> None:
        """
        :param rules: as the configuration has them, in its order.
        :raise ConfigError: for a pattern that is none, and a value that no field can have.
        """
        self._rules = [(_compiled(pattern), _value(pattern, value)) for pattern, value in rules.items()]

    def find(self, path: bytes) -> bytes | None:
        """
        The value for a file, by the first pattern that matches; None when none does.

        :param path: of the file, without a slash before it.
        """
        for find, value in self._rules:
            if find(b"/" + path):
                return value
        return None


def _compiled(pattern: str) -> Callable[..., Spans | None]:
    path = "/" + pattern.removeprefix("/") if "/" in pattern else f"/**/{pattern}"
    if pattern and not path.endswith("/"):
        try:
            return Glob.parse(path).regex.find
        except ValueError:
            pass  # said below
    raise ConfigError(f'"{pattern}" matches no file', key=f"cache_control.{pattern}", expected=_EXPECTED)


def _value(pattern: str, value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogateescape")
    if not encoded or encoded != safe_value(encoded):
        raise ConfigError(
            f"{value!r} is no value of a field", key=f"cache_control.{pattern}", expected='expected "no-cache", say'
        )
    return encoded
