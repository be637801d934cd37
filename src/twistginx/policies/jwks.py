"""
The keys that tokens are signed with, and where they come from: a file, a secret, or a URL that is asked again.

A key is used with the algorithms of its own kind alone, so that nobody can have a public key taken for a secret, or a
signature for one that is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistginx.errors import ProxyError
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.fetch import Answer

#: Algorithms (RFC 7518 section 3.1, RFC 8037) by the kind of their keys; for elliptic curves, by the curve.
_KINDS: Final = {
    "RSA": frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    "P-256": frozenset(("ES256",)),
    "P-384": frozenset(("ES384",)),
    "P-521": frozenset(("ES512",)),
    "Ed25519": frozenset(("EdDSA",)),
}

#: Those of a shared secret.
SHARED: Final = frozenset(("HS256", "HS384", "HS512"))

#: All others that there are.
PUBLIC: Final = frozenset().union(*_KINDS.values())

#: Bits that an RSA key has at least (RFC 7518 section 3.3).
_RSA_BITS: Final = 2048

#: Seconds between two refreshes that tokens with unknown keys ask for, and before a failed one is tried again.
PAUSE: Final = 10.0

_log = Logger(namespace="twistginx.jwt")


@frozen
class Key:
    """
    One key.

    :ivar kid: its name, or None.
    :ivar algorithms: that it is used with.
    """

    kid: str | None
    algorithms: frozenset[str]
    key: Any = field(repr=False)


Keys = tuple[Key, ...]


def read_key_set(content: bytes) -> Keys:
    """
    A JSON Web Key Set (RFC 7517 section 5), or a public key or certificate in PEM.

    Keys that are secret, for encryption, too short or of unknown kinds are left out.

    :raise ValueError: with a short reason, when it is neither, or has no key that can be used.
    """
    if content.lstrip().startswith(b"-----BEGIN"):
        return (_pem_key(content),)
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is neither a JSON Web Key Set nor PEM") from None
    listed = read.get("keys") if isinstance(read, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is not a JSON Web Key Set: it has no array of keys")
    keys = tuple(key for each in listed if isinstance(each, dict) and (key := _listed_key(each)) is not None)
    if not keys:
        raise ValueError("it has no key that can be used")
    return keys


def _listed_key(jwk: dict[str, Any]) -> Key | None:
    from jwt import PyJWK, PyJWTError

    kind = jwk.get("kty")
    allowed = _KINDS.get(str(kind if kind == "RSA" else jwk.get("crv")), frozenset())
    said = jwk.get("alg")
    if said is not None:
        allowed = allowed & {said} if isinstance(said, str) else frozenset()
    if not allowed or jwk.get("use", "sig") != "sig":
        return None
    # A private key that has strayed into the set verifies as well as its public half; it is read as that.
    public = {name: value for name, value in jwk.items() if name in ("kty", "crv", "n", "e", "x", "y")}
    try:
        key = PyJWK(public, min(allowed)).key
    except (PyJWTError, ValueError, TypeError):
        return None
    if kind == "RSA" and key.key_size < _RSA_BITS:
        return None
    kid = jwk.get("kid")
    return Key(kid if isinstance(kid, str) else None, allowed, key)


def _pem_key(content: bytes) -> Key:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        if b"BEGIN CERTIFICATE" in content:
            key: Any = load_pem_x509_certificate(content).public_key()
        else:
            key = load_pem_public_key(content)
    except ValueError:
        raise ValueError("it is not a public key or a certificate") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS:
        return Key(None, _KINDS["RSA"], key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name, "")
        if curve:
            return Key(None, _KINDS[curve], key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Key(None, _KINDS["Ed25519"], key)
    raise ValueError("it is a key of a kind that is not used, or too short")


class KeySource(Protocol):
    """
    Where keys come from.
    """

    @property
    def value(self) -> Keys | None:
        """
        The keys; None: they are not known yet.  Another object when they have changed.
        """

    def refresh(self) -> Deferred[None] | None:
        """
        There may be others by now.

        :return: None when that cannot be, or was found out just now; a Deferred that fires, always with None, when it
            has been found out.
        """


@frozen
class FixedKeys:
    """
    Keys that stay as they are, or that a file has, which is watched by itself.

    :ivar source: with the keys as ``value``.
    """

    source: Any

    @property
    def value(self) -> Keys | None:
        keys: Keys = self.source.value
        return keys

    def refresh(self) -> None:
        """
        There are no others.
        """


class FetchedKeys:
    """
    Keys at a URL, fetched when the server starts, from time to time, and when a token names one that is not there: no
    more often than every ten seconds, however many such tokens there are.

    When they cannot be fetched, those that were fetched last are used.

    :ivar value: None before they have been fetched once.
    :ivar deadline: of the next fetch, in seconds on the ticker's clock.
    """

    def __init__(self, ask: Callable[[], Deferred[Answer]], ticker: Ticker, every: float, url: str) -> None:
        """
        :param ask: fetches the set.
        :param every: seconds.
        :param url: for the log.
        """
        self.value: Keys | None = None
        self.deadline = NEVER
        self._ask = ask
        self._ticker = ticker
        self._every = every
        self._url = url
        self._asking: Deferred[Answer] | None = None
        self._asked = -PAUSE
        self._content = b""
        self._waiting: list[Deferred[None]] = []
        self._complaint = ""

    def start(self) -> None:
        """
        Fetch them, now and from time to time.
        """
        self._ticker.watch(self)  # first, because the ticker may have slept
        self._asked = self._ticker.now - PAUSE
        self.refresh()

    def stop(self) -> None:
        """
        Fetch no more.
        """
        self._ticker.forget(self)
        if self._asking is not None:
            self._asking.cancel()

    def refresh(self) -> Deferred[None] | None:
        """
        See :class:`KeySource`.
        """
        if self._asking is None:
            if self._ticker.now - self._asked < PAUSE:
                return None
            self._asked = self._ticker.now
            self.deadline = self._ticker.now + self._every
            asking = self._asking = self._ask()
            asking.addCallback(self._take).addErrback(self._failed).addBoth(self._done)
            if asking.called and not asking.paused:
                return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def deadline_passed(self) -> None:
        """
        Time for a refresh.
        """
        self.refresh()

    def _take(self, answer: Answer) -> None:
        if answer.status != 200:
            raise ValueError(f"the answer is {answer.status}")
        keys = read_key_set(answer.body)
        if self.value is None or answer.body != self._content:
            self.value = keys
            self._content = answer.body
            _log.info("{count} keys for tokens from {url}", count=len(keys), url=self._url)
        self._complaint = ""

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):  # the server is being stopped
            return
        self.deadline = self._ticker.now + PAUSE
        if not failure.check(ProxyError, ValueError):
            _log.failure("the keys at {url} cannot be used", failure=failure, url=self._url)
            return
        complaint = str(failure.value)
        if complaint != self._complaint:
            self._complaint = complaint
            _log.error(
                "the keys for tokens cannot be fetched from {url}: {complaint}", url=self._url, complaint=complaint
            )

    def _done(self, _: object) -> None:
        self._asking = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)
