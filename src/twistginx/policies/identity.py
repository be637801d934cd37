"""
Who has proved to be somebody, said to the app in fields of the request; and credentials, which go no further.

``http.identity`` sees to it that no client can say what these fields say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from twistginx.errors import ConfigError
from twistginx.http.fieldnames import PLAIN
from twistginx.http.fields import field_name
from twistginx.http.message import Fields
from twistginx.http.variables import safe_value

#: Names that are not for an app to be told who asks: they are written on the way to it.
_FORWARDING: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"))

#: Names that decide what a request is.
_ESSENTIAL: Final = frozenset((b"host", b"content-length", b"content-type", b"cookie", b"authorization", b"forwarded"))


class IdentityFields:
    """
    The fields that one policy sets.

    :ivar names: in lower case.
    """

    __slots__ = ("_written", "names")

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        """
        :param names: each with its key, for errors.
        :raise ConfigError: for what is no name of a field, or one that is not to be set.
        """
        self._written: dict[bytes, bytes] = {}
        for name, key in names:
            encoded = field_name(name, key)
            lower = encoded.lower()
            if lower in _FORWARDING or lower in _ESSENTIAL:
                raise ConfigError(
                    f"{name} has a meaning of its own", key=key, expected="expected another name, such as X-Auth-User"
                )
            if lower.translate(None, PLAIN):
                raise ConfigError(
                    f"{name} may be taken for another header", key=key, expected="expected letters, digits and hyphens"
                )
            self._written[lower] = encoded
        self.names: Final = frozenset(self._written)

    def say(self, request: Any, values: Mapping[bytes, Iterable[bytes]]) -> None:
        """
        Put fields into the head.

        :param values: by name in lower case; names that are not ours to say are left alone.
        """
        head = request.head
        for lower, name in self._written.items():
            said = [value for value in map(safe_value, values.get(lower, ())) if value]
            if len(said) == 1:
                head.put(lower, name, said[0])
            else:
                head.fields.extend(Fields((lower, name, value) for value in said))
        if self.names:
            request.vouched |= self.names


def without_field(request: Any, lower: bytes) -> None:
    """
    Take a credential out of the head, so that it goes no further.
    """
    request.head.drop(lower)


def without_cookie(request: Any, name: bytes) -> None:
    """
    Take one cookie out of the head.
    """
    head = request.head
    if head.first(b"cookie") is None:
        return
    fields = head.fields
    for index in range(len(fields) - 1, -1, -1):
        lower, written, value = fields[index]
        if lower == b"cookie":
            left = [pair for pair in value.split(b";") if pair.partition(b"=")[0].strip(b" \t") != name]
            if left:
                fields[index] = (lower, written, b";".join(left).strip(b" \t"))
            else:
                del fields[index]


def argument_name(pair: bytes) -> bytes:
    """
    The name in ``name=value`` as an app reads it: ``%6bey`` is ``key``.
    """
    name = pair.partition(b"=")[0]
    return unquote_to_bytes(name.replace(b"+", b" ")) if b"%" in name or b"+" in name else name


def without_arguments(request: Any, names: frozenset[bytes]) -> None:
    """
    Take arguments out of the query, so that neither the app nor the access log sees them.
    """
    head = request.head
    if head.query is None:
        return
    kept = [pair for pair in head.query.split(b"&") if argument_name(pair) not in names]
    query = b"&".join(kept)
    start = head.target.find(b"?")
    head.query = query or None
    head.target = head.target[:start] + (b"?" + query if query else b"")
