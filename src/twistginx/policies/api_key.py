"""
``api_key``: programs that show a key.

A key is long and random, so its plain SHA-256 can be kept: nobody guesses what it is of, and looking it up takes no
time that would say something about the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from zope.interface import moduleProvides

from twistginx.config.text import Secret
from twistginx.errors import ConfigError, ProxyError
from twistginx.interfaces import IPolicyModule
from twistginx.policies.credentials import Place, accept, find, places_of
from twistginx.policies.identity import IdentityFields

moduleProvides(IPolicyModule)

name = "api_key"
api = 1
rank = 320
applies_to = frozenset(("http",))
many = False
guards = True

_HASH: Final = re.compile(r"sha256:([0-9a-fA-F]{64})")

#: Letters that a key has at least: a shorter one can be found by trying.
_SHORTEST: Final = 16

Keys = Mapping[bytes, bytes]


@frozen
class Config:
    """
    Who asks must show a key.

    Keys are long and random (``openssl rand -hex 32``), and stand here as their hash:
    ``printf %s "$KEY" | sha256sum`` after ``sha256:``.  A file has ``name:sha256:HASH`` to a line, and is read again
    when it changes.  A key that worked goes no further: neither to the app nor to the access log.

    :ivar keys: name of the user to "sha256:HASH", or to several, so that keys can be changed one by one.  The key
        itself may stand here when it comes of ``{file.X}``, ``{env.X}`` or ``{credential.X}``.
    :ivar file: more of them.
    :ivar header: the header it is in; of ``Authorization``, what stands behind ``Bearer``.  Empty: none.
    :ivar query: the argument of the query it is in.  Such keys come into the logs of others.
    :ivar cookie: the cookie it is in.
    :ivar user_header: how the app is told whose key it is; empty: it is not.
    :ivar keep: the app sees the key, too.
    """

    keys: dict[str, tuple[str, ...] | str] = field(factory=dict, repr=False)
    file: Path | None = None
    header: str = "X-API-Key"
    query: str = ""
    cookie: str = ""
    user_header: str = "X-Auth-User"
    keep: bool = False


def make(config: Config, context: Any) -> APIKey:
    """
    The policy.
    """
    if not config.keys and config.file is None:
        raise ConfigError("has no keys", expected="expected keys or file")
    keys: dict[bytes, bytes] = {}
    for user, values in config.keys.items():
        for text in (values,) if isinstance(values, str) else values:
            try:
                keys[_digest_of(text)] = user.encode()
            except ValueError as error:
                raise ConfigError(str(error), key=f"keys.{user}") from None
    try:
        file = context.watched(config.file, read_keys) if config.file is not None else None
    except ConfigError as error:
        raise ConfigError(error.message, key="file") from error
    places = places_of(config.header, config.cookie, config.query)
    headers = [(config.user_header, "user_header")] if config.user_header else []
    return APIKey(config, places, keys, file, IdentityFields(headers))


def _digest_of(text: str) -> bytes:
    """
    The hash of a key, of what the configuration has for it.

    :raise ValueError: with a short reason, in which the text is not.
    """
    match = _HASH.fullmatch(text)
    if match is not None:
        return bytes.fromhex(match[1])
    if not isinstance(text, Secret):
        raise ValueError('is no hash; expected "sha256:" and 64 hexadecimal digits, or the key as {file.PATH}')
    if len(text) < _SHORTEST:
        raise ValueError(f"is a key that can be guessed; expected {_SHORTEST} characters or more")
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def read_keys(content: bytes) -> Keys:
    """
    A file of keys, ``name:sha256:HASH`` to a line, as names by hash.

    :raise ValueError: for the first line that is wrong, with its number.
    """
    keys: dict[bytes, bytes] = {}
    for number, line in enumerate(content.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith(b"#"):
            continue
        user, colon, hashed = entry.partition(b":")
        match = _HASH.fullmatch(hashed.decode("latin-1"))
        if not colon or not user or match is None:
            raise ValueError(f"line {number}: is not name:sha256:HASH")
        keys[bytes.fromhex(match[1])] = user
    return keys


class APIKey:
    """
    The policy of one route.
    """

    __slots__ = ("_fields", "_file", "_header", "_keep", "_keys", "_places", "identity")

    def __init__(self, config: Config, places: Iterable[Place], keys: Keys, file: Any, fields: IdentityFields) -> None:
        """
        :param file: a ``net.watchedfile.WatchedFile`` of more keys, or None.
        """
        self._places: Final = tuple(places)
        self._keys: Final = keys
        self._file: Final = file
        self._fields: Final = fields
        self.identity: Final = fields.names
        self._header: Final = config.user_header.lower().encode()
        self._keep: Final = config.keep

    def admit(self, request: Any) -> None:
        """
        :raise ProxyError: when there is no key, or nobody's.
        """
        found = find(self._places, request, name)
        if found is None:
            raise _refusal("there is no key")
        digest = sha256(found[1]).digest()
        user = self._keys.get(digest)
        if user is None and self._file is not None:
            user = self._file.value.get(digest)
        if user is None:
            raise _refusal("the key is nobody's")
        request.remote_user = user
        accept(self._places, found, request, name, self._keep)
        self._fields.say(request, {self._header: (user,)})

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        self.admit(request)
        return [f"lets {request.remote_user.decode('utf-8', 'replace')} in"]


def _refusal(detail: str) -> ProxyError:
    # RFC 9110 section 15.5.2 wants a challenge with every 401; there is no registered scheme for keys.
    return ProxyError(
        "authentication_required", f"api_key: {detail}", fields=((b"WWW-Authenticate", b'ApiKey realm="api"'),)
    )
