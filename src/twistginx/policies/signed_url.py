"""
``signed_url``: links that hold for a while, and for nothing but what they say.

A link is signed by HMAC-SHA256 over all that stands before its signature: path, query, and the time at which it
expires; and the address of the client, where it is for one client alone.  It is the last thing in the link, so that
nothing can be added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import time
from typing import Any, Final

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.text import Secret
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.signature import BadSignature, Signer
from twistginx.interfaces import IPolicyModule
from twistginx.policies.credentials import note_shown, shown_before
from twistginx.policies.identity import without_arguments

moduleProvides(IPolicyModule)

name = "signed_url"
api = 1
rank = 350
applies_to = frozenset(("http",))
many = False
guards = True

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")

#: Bytes that a key has at least.
_SHORTEST: Final = 16


@frozen
class Config:
    """
    Lets in who has a signed link: ``/files/report.pdf?expires=1795000000&key=2026&signature=...``.

    ``twistginx sign-url`` makes such links, and docs/authentication.rst says how others can.  The three arguments are
    taken out before the app, or the access log, sees them.

    :ivar keys: name to key, which comes of ``{file.X}``, ``{env.X}`` or ``{credential.X}``.  Links name theirs, so that
        a new key can be added before the old one is removed.
    :ivar client: links are for one client's address alone.
    :ivar methods: that may be used with a link.
    """

    keys: dict[str, str] = field(repr=False)
    client: bool = False
    methods: tuple[str, ...] = field(default=("GET", "HEAD"), metadata={"single": True})

    @keys.validator
    def _check_keys(self, attribute: Attribute[Any], value: dict[str, str]) -> None:
        if not value:
            raise ValueError("is empty; expected a name and a key")


def make(config: Config, context: Any) -> SignedURL:
    """
    The policy.
    """
    keys = {}
    for key_name, key in config.keys.items():
        where = f"keys.{key_name}"
        if not _NAME.fullmatch(key_name):
            raise ConfigError(
                "has a name that cannot stand in a link", key=where, expected="expected letters and digits"
            )
        if not isinstance(key, Secret):
            raise ConfigError(
                "is a secret in plain text", key=where, expected="expected it as {file.PATH} or {env.NAME}"
            )
        if len(key) < _SHORTEST:
            raise ConfigError("can be guessed", key=where, expected=f"expected {_SHORTEST} characters or more")
        keys[key_name.encode()] = key.encode("utf-8", "surrogateescape")
    return SignedURL(keys, config.client, frozenset(method.encode() for method in config.methods))


class SignedURL:
    """
    The policy of one route.
    """

    __slots__ = ("_client", "_methods", "_signer", "_wall")

    def __init__(
        self, keys: Mapping[bytes, bytes], client: bool, methods: frozenset[bytes], wall: Callable[[], float] = time
    ) -> None:
        """
        :param wall: the time of day, in seconds.
        """
        self._signer: Final = Signer(keys)
        self._client: Final = client
        self._methods: Final = methods
        self._wall: Final = wall

    def admit(self, request: Any) -> None:
        """
        :raise ProxyError: when the link is not signed, or not by us, or not any more.
        """
        head = request.head
        if head.method not in self._methods:
            raise _refusal("the method is not one that a link is for")
        link = shown_before(request, name) or head.target
        try:
            self._signer.check(link, self._wall(), request.client_ip if self._client else b"")
        except BadSignature as error:
            raise _refusal(str(error)) from None
        note_shown(request, name, link)
        without_arguments(request, Signer.ARGUMENTS)

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        self.admit(request)
        return ["lets the request in: the link is signed, and still good"]


def _refusal(detail: str) -> ProxyError:
    return ProxyError("http_request_denied", f"signed_url: {detail}")
