"""
Templates of targets: each value is encoded as the place wants it that it is put in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from twistginx.config.regex import Spans
from twistginx.config.template import CAPTURE, Template, Variable
from twistginx.http.targets import quoted, quoted_argument, quoted_match, quoted_text, quoted_url
from twistginx.http.variables import compile_template, encoded

#: Variables whose values are parts of targets, as they were sent: what is encoded in them is so already.
_SENT: Final = frozenset(("path", "uri", "target", "query", "arg"))

_AMPERSANDS: Final = re.compile(rb"&{2,}")

#: ``(request, subject, spans)`` to bytes.
_Piece = Callable[[Any, bytes, Spans | None], bytes]


class TargetTemplate:
    """
    A template of a path, and of the query behind a "?" that is written in it.

    :ivar has_query: is there one?
    """

    __slots__ = ("_path", "_query", "has_query")

    def __init__(self, template: Template, names: Mapping[str, int] | None) -> None:
        """
        :param names: of the groups that the rule's own regex captures, to their numbers; None when it has no regex.
        """
        path: list[_Piece] = []
        query: list[_Piece] = []
        self.has_query = False
        for part in template.parts:
            if isinstance(part, str):
                before, mark, after = part.partition("?") if not self.has_query else ("", "", part)
                path.append(_constant(quoted_url(encoded(before))))
                query.append(_constant(quoted_url(encoded(after)).replace(b"#", b"%23")))
                self.has_query = self.has_query or bool(mark)
            elif self.has_query:
                query.append(_in_query(part, names))
            else:
                path.append(_in_path(part, names))
        self._path: Final = tuple(path)
        self._query: Final = tuple(query)

    def fill(self, request: Any, subject: bytes, spans: Spans | None) -> tuple[bytes, bytes]:
        """
        The path and the query, as they are sent.

        :param subject: what the rule's own regex was found in; ``spans``: where.
        """
        path = b"".join([piece(request, subject, spans) for piece in self._path])
        if not self.has_query:
            return path, b""
        # An empty variable leaves its ampersand.
        query = b"".join([piece(request, subject, spans) for piece in self._query])
        return path, _AMPERSANDS.sub(b"&", query).strip(b"&")


def compile_argument(template: Template, names: Mapping[str, int] | None) -> _Piece:
    """
    A template of the value of an argument.
    """
    pieces = [
        _constant(quoted_argument(encoded(part))) if isinstance(part, str) else _in_query(part, names)
        for part in template.parts
    ]
    return lambda request, subject, spans: b"".join([piece(request, subject, spans) for piece in pieces])


def _constant(text: bytes) -> _Piece:
    return lambda request, subject, spans: text


def _in_path(variable: Variable, names: Mapping[str, int] | None) -> _Piece:
    own = _own_capture(variable, names, quoted)
    if own is not None:
        return own
    get = compile_template(Template("", (variable,)))
    encode = quoted_match if variable.name == CAPTURE else quoted_url if variable.name in _SENT else quoted_text

    def piece(request: Any, subject: bytes, spans: Spans | None) -> bytes:
        # A question mark would begin a query.
        return encode(get(request)).replace(b"?", b"%3F")

    return piece


def _in_query(variable: Variable, names: Mapping[str, int] | None) -> _Piece:
    own = _own_capture(variable, names, lambda value: quoted_argument(unquote_to_bytes(value)))
    if own is not None:
        return own
    get = compile_template(Template("", (variable,)))
    encode = quoted_url if variable.name in _SENT else quoted_argument
    return lambda request, subject, spans: encode(get(request))


def _own_capture(
    variable: Variable, names: Mapping[str, int] | None, encode: Callable[[bytes], bytes]
) -> _Piece | None:
    """
    What the rule's own regex captures; None where the variable is something else.
    """
    if variable.name != CAPTURE or names is None:
        return None
    text = variable.argument
    number = int(text) if text.isdecimal() else names.get(text)
    if number is None:
        return None

    def piece(request: Any, subject: bytes, spans: Spans | None) -> bytes:
        if spans is None or number >= len(spans):
            return b""
        start, end = spans[number]
        return encode(subject[start:end]) if start >= 0 else b""

    return piece
