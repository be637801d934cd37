"""
``access``: who may come in, by address and by header.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from hmac import compare_digest
from typing import Any, Final, Protocol

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.networks import Entry
from twistginx.config.text import Secret
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.wire import is_token
from twistginx.interfaces import IPolicyModule
from twistginx.policies.credentials import only_value

moduleProvides(IPolicyModule)

name = "access"
api = 1
rank = 200
applies_to = frozenset(("http", "stream"))
many = False
guards = True

#: Several may be written as an array, one as itself.
_SINGLE: Final = {"single": True}


@frozen
class Config:
    """
    Who may come in.  All that is written must hold; there is no order, and none wins over another: a request comes in
    when its address is in ``allow`` (where there is one) and not in ``deny``, when it has all of ``headers`` and none
    of ``deny_headers``.  Else it is answered 403.

    The address is the client's by the rule of trusted proxies.  An entry is a network ("10.0.0.0/8"), an address,
    "unix" (everybody who comes over a UNIX socket), "all", a list of ``[networks]`` by its name, or a file
    ("file:lists/blocked.txt") with a network or an address to a line, which is read again when it changes.
    ``access = ["10.0.0.0/8"]`` is short for ``allow``.

    :ivar allow: who may come in; nobody else may.  None: everybody.
    :ivar deny: who may not.
    :ivar headers: fields that a request must have, name to value; ``*`` stands for any characters.  A value that comes
        of ``{file.X}`` and the like is compared as it is, and in constant time.
    :ivar deny_headers: fields that a request must not have: name to value, or to several of which none may match.
    """

    allow: tuple[Entry, ...] | None = field(default=None, metadata=_SINGLE)
    deny: tuple[Entry, ...] = field(default=(), metadata=_SINGLE)
    headers: dict[str, str] = field(factory=dict)
    deny_headers: dict[str, tuple[str, ...] | str] = field(factory=dict)

    @allow.validator
    def _check_allow(self, attribute: Attribute[Any], value: tuple[Entry, ...] | None) -> None:
        if value is not None and not value:
            raise ValueError('is empty, so that nobody could come in; expected networks, or deny = ["all"]')

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``access = ["10.0.0.0/8"]``.
        """
        if isinstance(value, list | str):
            return {"allow": value}
        raise ValueError("expected networks, or a table with allow, deny or headers")


def make(config: Config, context: Any) -> Access:
    """
    The policy.
    """
    allow = context.addresses(config.allow, "allow") if config.allow is not None else None
    deny = context.addresses(config.deny, "deny") if config.deny else None
    required = tuple(
        (_field_name(each, f"headers.{each}"), _pattern(value), each) for each, value in config.headers.items()
    )
    refused = tuple(
        (_field_name(each, f"deny_headers.{each}"), _pattern(value), each)
        for each, values in config.deny_headers.items()
        for value in ((values,) if isinstance(values, str) else values)
    )
    if allow is None and deny is None and not required and not refused:
        raise ConfigError("says nothing, so that everybody may come in", expected="expected allow, deny or headers")
    return Access(allow, deny, required, refused)


def _field_name(text: str, key: str) -> bytes:
    """
    The name of a field, in lower case.

    :raise ConfigError: when it is none.
    """
    encoded = text.encode("utf-8", "surrogateescape")
    if not is_token(encoded):
        raise ConfigError(f"{text!r} is not the name of a header", key=key, expected="expected one such as User-Agent")
    return encoded.lower()


class Pattern(Protocol):
    """
    A test of the values of a field.
    """

    def matches(self, value: bytes) -> bool: ...


@frozen
class _Exactly:
    """
    This value, in a time that says nothing about it.
    """

    _value: bytes = field(repr=False)

    def matches(self, value: bytes) -> bool:
        return compare_digest(self._value, value)


@frozen
class _Like:
    """
    Values with ``*`` for any characters, compared as they are.
    """

    _pattern: str

    def matches(self, value: bytes) -> bool:
        return fnmatchcase(value.decode("latin-1"), self._pattern)


def _pattern(text: str) -> Pattern:
    encoded = text.encode("utf-8", "surrogateescape")
    if isinstance(text, Secret) or "*" not in text:
        return _Exactly(encoded)
    # Of the characters of a file name pattern, only the star is one here.
    literal = encoded.decode("latin-1").replace("[", "[[]").replace("?", "[?]")
    return _Like(literal)


class _Addresses(Protocol):
    """
    ``net.addresslist.AddressList``.
    """

    def contains(self, address: bytes) -> bool: ...
    def found_in(self, address: bytes) -> str: ...


_Headers = tuple[tuple[bytes, Pattern, str], ...]


class Access:
    """
    The policy of one route, or of one stream.
    """

    __slots__ = ("_allow", "_deny", "_headers", "_refused", "_required")

    def __init__(
        self, allow: _Addresses | None, deny: _Addresses | None, required: _Headers = (), refused: _Headers = ()
    ) -> None:
        """
        :param required: name in lower case, pattern, and the name as it was written.
        :param refused: the same.
        """
        self._allow: Final = allow
        self._deny: Final = deny
        self._required: Final = required
        self._refused: Final = refused
        self._headers: Final = bool(required or refused)

    def admit(self, request: Any) -> None:
        """
        :raise ProxyError: when the request may not come in.
        """
        refusal = self._by_address(request.client_ip)
        if not refusal and self._headers:
            refusal = self._by_headers(request.head)
        if refusal:
            raise ProxyError("http_request_denied", f"access.{refusal}")

    def explain(self, request: Any) -> list[str]:
        """
        Whether it lets the request in.

        :raise ProxyError: when it does not.
        """
        self.admit(request)
        return ["lets the request in"]

    def connected(self, connection: Any) -> bool | None:
        """
        False: the connection may not come in.
        """
        return False if self._by_address(connection.client_ip or b"unix") else None

    def _by_address(self, address: bytes) -> str:
        """
        Why not; empty: there is no reason.
        """
        if self._allow is not None and not self._allow.contains(address):
            return "allow: the client's address is not in it"
        if self._deny is not None and self._deny.contains(address):
            return f"deny: the client's address is in it ({self._deny.found_in(address)})"
        return ""

    def _by_headers(self, head: Any) -> str:
        for lower, pattern, written in self._required:
            value = only_value(head, lower)
            if value is None or not pattern.matches(value):
                return f"headers.{written}: the request does not have it"
        for lower, pattern, written in self._refused:
            if head.first(lower) is not None and any(map(pattern.matches, head.fields.every(lower))):
                return f"deny_headers.{written}: the request has it"
        return ""
