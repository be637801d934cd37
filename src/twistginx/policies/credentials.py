"""
Where a token stands in a request: in a header, a cookie, or the query; and how it is taken out.

What stands there twice is not taken, and of several places one alone goes on: an app that reads the other one would
believe something that nobody has verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from twistginx.errors import ConfigError
from twistginx.http.fields import field_name
from twistginx.http.wire import is_token
from twistginx.policies.identity import argument_name, without_arguments, without_cookie, without_field

#: Bytes that a token may have: what is longer is none.
LONGEST: Final = 16384


def only_value(head: Any, lower: bytes) -> bytes | None:
    """
    The value of the field of that name; None when there is none, or more than one.
    """
    if head.block is None:
        values: list[bytes] = head.fields.every(lower)
        return values[0] if len(values) == 1 else None
    if head.lowered.count(b"\r\n%b:" % lower) != 1:
        return None
    value: bytes | None = head.first(lower)
    return value


@frozen
class InHeader:
    """
    The value of a field; with a scheme, what stands behind it (``Authorization: Bearer TOKEN``).

    :ivar lower: the name, in lower case.
    :ivar scheme: in lower case, or empty.
    """

    lower: bytes
    scheme: bytes = b""

    def find(self, head: Any) -> bytes | None:
        """
        The token, or None.
        """
        value = only_value(head, self.lower)
        if value is None or not self.scheme:
            return value
        scheme, _, token = value.partition(b" ")
        return token.strip(b" ") if scheme.lower() == self.scheme else None

    def take_out(self, request: Any) -> None:
        """
        So that it goes no further.
        """
        without_field(request, self.lower)


@frozen
class InCookie:
    """
    The value of a cookie.
    """

    name: bytes

    def find(self, head: Any) -> bytes | None:
        """
        The token, or None.
        """
        pairs = [pair.partition(b"=") for line in head.fields.every(b"cookie") for pair in line.split(b";")]
        found: list[bytes] = [value.strip(b" \t") for name, _, value in pairs if name.strip(b" \t") == self.name]
        return found[0] if len(found) == 1 else None

    def take_out(self, request: Any) -> None:
        """
        So that it goes no further.
        """
        without_cookie(request, self.name)


@frozen
class InQuery:
    """
    The value of an argument of the query, as it stands there.
    """

    name: bytes

    def find(self, head: Any) -> bytes | None:
        """
        The token, or None.
        """
        pairs = (head.query or b"").split(b"&")
        found: list[bytes] = [pair.partition(b"=")[2] for pair in pairs if argument_name(pair) == self.name]
        return found[0] if len(found) == 1 else None

    def take_out(self, request: Any) -> None:
        """
        So that it goes no further, and into no log.
        """
        without_arguments(request, frozenset((self.name,)))


Place = InHeader | InCookie | InQuery


def places_of(header: str, cookie: str, query: str) -> tuple[Place, ...]:
    """
    Where to look, in order; what is empty is not looked at.  ``Authorization`` has the scheme ``Bearer`` (RFC 6750).

    :raise ConfigError: for what can be no name, and when there is no place at all.
    """
    places: list[Place] = []
    if header:
        lower = field_name(header, "header").lower()
        places.append(InHeader(lower, b"bearer" if lower == b"authorization" else b""))
    for text, key, kind in ((cookie, "cookie", InCookie), (query, "query", InQuery)):
        if text:
            name = text.encode("utf-8", "surrogateescape")
            if not is_token(name):
                raise ConfigError(f"{text!r} cannot be a name there", key=key, expected="expected letters and digits")
            places.append(kind(name))
    if not places:
        raise ConfigError("is looked for nowhere", expected="expected header, cookie or query")
    return tuple(places)


def find(places: Sequence[Place], request: Any, policy: str) -> tuple[Place, bytes] | None:
    """
    The first token that there is, and where; None when there is none.

    :param policy: its name.  What it was shown on another route (``request.reroute``) counts where there is none.
    """
    for place in places:
        token = place.find(request.head)
        if token and len(token) <= LONGEST:
            return place, token
    shown: tuple[Place, bytes] | None = shown_before(request, policy)
    return shown


def accept(places: Sequence[Place], found: tuple[Place, bytes], request: Any, policy: str, keep: bool) -> None:
    """
    A token was good: it goes no further, unless it is to be kept, and nothing of the other places does.
    """
    for place in places:
        if not keep or place is not found[0]:
            place.take_out(request)
    note_shown(request, policy, found)


def note_shown(request: Any, policy: str, credential: Any) -> None:
    """
    Keep a credential that was good, for the same policy of another route that may be asked about this request.
    """
    if request.shown is None:
        request.shown = {policy: credential}
    else:
        request.shown[policy] = credential


def shown_before(request: Any, policy: str) -> Any:
    """
    What :func:`note_shown` has kept, or None.
    """
    return None if request.shown is None else request.shown.get(policy)
