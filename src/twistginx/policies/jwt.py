"""
``jwt``: signed tokens (RFC 7519), as identity providers issue them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import Any, Final

from attrs import Attribute, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import moduleProvides

from twistginx.config.serviceurl import ServiceURL
from twistginx.config.tables.fields import positive
from twistginx.config.text import Secret
from twistginx.config.units import Duration
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.message import Fields
from twistginx.interfaces import IPolicyModule
from twistginx.net.addresslist import Fixed
from twistginx.policies.claims import BadToken, UnknownKey, Verifier, claim_of, has_claim, texts_of
from twistginx.policies.credentials import Place, accept, find, places_of
from twistginx.policies.identity import IdentityFields
from twistginx.policies.jwks import PUBLIC, SHARED, FetchedKeys, FixedKeys, Key, Keys, KeySource, read_key_set
from twistginx.upstream.fetch import Bounds, Question, fetch

moduleProvides(IPolicyModule)

name = "jwt"
api = 1
rank = 340
applies_to = frozenset(("http",))
many = False
guards = True

#: Seconds for which a token that was good is not verified again, and how many are remembered.
_REMEMBER: Final = 60.0
_REMEMBERED: Final = 4096

#: Bytes of a key set at most.
_SET_BOUND: Final = 1 << 20

#: Bytes that a secret has at least (RFC 7518 section 3.2).
_SHORTEST: Final = 32

_SINGLE: Final = {"single": True}


@frozen
class Config:
    """
    Who asks must have a signed token that has not expired.  Needs ``pip install twistginx[auth]``.

    The keys come of one of ``jwks_url``, ``key_file`` and ``secret``.  A key is used with the algorithms of its own
    kind alone.  A token without an end (``exp``) is refused.

    :ivar jwks_url: a JSON Web Key Set, fetched at the start, every ``refresh``, and when a token names a key that is
        not in it.  While it has never been fetched, requests are answered 503.
    :ivar key_file: a key set, a public key or a certificate (PEM), which is read again when it changes.
    :ivar secret: a key that is shared with the issuer, as ``{file.X}``, ``{env.X}`` or ``{credential.X}``.
    :ivar algorithms: those that tokens may be signed with; RS256 and ES256, or with ``secret`` HS256.
    :ivar issuer: ``iss`` must be one of these.
    :ivar audience: ``aud`` must have one of these.  Where there is none, a token that is for somebody is refused.
    :ivar leeway: by how much clocks may differ.
    :ivar refresh: how long a key set from a URL is good.
    :ivar timeout: for the whole answer with the key set.
    :ivar require: claims that a token must have: name to value, or to several of which one is enough.  Of a list, and
        of ``scope``, one part must be it.  Else the request is answered 403.
    :ivar claims: header fields that the app is sent: name to claim; ``realm_access.roles`` is a claim in a claim, a
        list is joined by commas.
    :ivar user: the claim that says who it is.
    :ivar user_header: how the app is told who it is; empty: it is not.
    :ivar header: the header that has the token; of ``Authorization``, what stands behind ``Bearer``.  Empty: none.
    :ivar cookie: the cookie that has it.
    :ivar query: the argument of the query that has it.
    :ivar keep: the app sees the token, too.
    """

    jwks_url: ServiceURL | None = None
    key_file: Path | None = None
    secret: str | None = field(default=None, repr=False)
    algorithms: tuple[str, ...] = field(default=(), metadata=_SINGLE)
    issuer: tuple[str, ...] = field(default=(), metadata=_SINGLE)
    audience: tuple[str, ...] = field(default=(), metadata=_SINGLE)
    leeway: Duration = Duration(30)
    refresh: Duration = field(default=Duration(3600))
    timeout: Duration = field(default=Duration(5), validator=positive)
    require: dict[str, tuple[str, ...] | str] = field(factory=dict)
    claims: dict[str, str] = field(factory=dict)
    user: str = "sub"
    user_header: str = "X-Auth-User"
    header: str = "Authorization"
    cookie: str = ""
    query: str = ""
    keep: bool = True

    @secret.validator
    def _check_secret(self, attribute: Attribute[Any], value: str | None) -> None:
        if [self.jwks_url, self.key_file, value].count(None) != 2:
            raise ValueError("one of jwks_url, key_file and secret is needed, and no other")

    @algorithms.validator
    def _check_algorithms(self, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
        known = PUBLIC if self.secret is None else SHARED
        for each in value:
            if each not in known:
                raise ValueError(f'has "{each}"; expected {", ".join(sorted(known))}')

    @refresh.validator
    def _check_refresh(self, attribute: Attribute[Any], value: Duration) -> None:
        if value < 60:
            raise ValueError("is less than a minute")


def make(config: Config, context: Any) -> JWT:
    """
    The policy.
    """
    try:
        import jwt
    except ImportError:
        raise ConfigError("needs a library that is not installed", expected="pip install twistginx[auth]") from None
    del jwt
    source = _source(config, context)
    algorithms = config.algorithms or (("HS256",) if config.secret is not None else ("RS256", "ES256"))
    places = places_of(config.header, config.cookie, config.query)
    names = [(each, f"claims.{each}") for each in config.claims]
    if config.user_header:
        names.append((config.user_header, "user_header"))
    verifier = Verifier(algorithms, config.issuer, config.audience, config.leeway)
    return JWT(config, source, verifier, places, IdentityFields(names))


def _source(config: Config, context: Any) -> KeySource:
    if config.secret is not None:
        if not isinstance(config.secret, Secret):
            raise ConfigError(
                "is a secret in plain text", key="secret", expected="expected it as {file.PATH} or {env.NAME}"
            )
        secret = config.secret.encode("utf-8", "surrogateescape")
        if len(secret) < _SHORTEST:
            raise ConfigError("can be guessed", key="secret", expected=f"expected {_SHORTEST} bytes or more")
        shared: Any = Fixed((Key(None, SHARED, secret),))  # type: ignore[arg-type]  # it is any value that stays
        return FixedKeys(shared)
    if config.key_file is not None:
        try:
            return FixedKeys(context.watched(config.key_file, read_key_set))
        except ConfigError as error:
            raise ConfigError(error.message, key="key_file") from error
    url = config.jwks_url
    assert url is not None
    upstream = context.inline_upstream((url.server,))
    bounds = Bounds(config.timeout, _SET_BOUND, f"jwt.timeout = {config.timeout}")
    fields = Fields.of([(b"Host", url.authority), (b"Accept", b"application/json")])
    question = Question(b"GET", url.target, fields)
    ticker = context.ticker
    source: FetchedKeys = context.keep(
        ("jwt", url, config.refresh, config.timeout),
        lambda: FetchedKeys(lambda: fetch(question, upstream, ticker, bounds), ticker, config.refresh, str(url)),
    )
    context.start_and_stop(source)
    return source


@frozen
class _Good:
    """
    What is remembered of a token that was good.

    :ivar user: or empty.
    :ivar said: the header fields that it is worth, by name in lower case.
    :ivar lacks: a claim that was to be there; empty: there is none.
    :ivar keys: that it was verified with.
    :ivar until: when it is to be verified again, in seconds since 1970.
    """

    user: bytes
    said: Mapping[bytes, tuple[bytes, ...]]
    lacks: str
    keys: Keys
    until: float


class JWT:
    """
    The policy of one route.
    """

    __slots__ = (
        "_claims",
        "_fields",
        "_good",
        "_keep",
        "_key",
        "_leeway",
        "_places",
        "_require",
        "_source",
        "_user",
        "_user_header",
        "_verifier",
        "_wall",
        "identity",
    )

    def __init__(
        self,
        config: Config,
        source: KeySource,
        verifier: Verifier,
        places: Iterable[Place],
        fields: IdentityFields,
        wall: Callable[[], float] = time,
    ) -> None:
        """
        :param wall: the time of day, in seconds.
        """
        self._source: Final = source
        self._verifier: Final = verifier
        self._places: Final = tuple(places)
        self._fields: Final = fields
        self.identity: Final = fields.names
        self._claims: Final = tuple((each.lower().encode(), claim) for each, claim in config.claims.items())
        self._require: Final = tuple(
            (claim, frozenset((values,) if isinstance(values, str) else values))
            for claim, values in config.require.items()
        )
        self._user: Final = config.user
        self._user_header: Final = config.user_header.lower().encode()
        self._leeway: Final = float(config.leeway)
        self._keep: Final = config.keep
        self._wall: Final = wall
        self._key: Final = os.urandom(32)
        self._good: Final[dict[bytes, _Good]] = {}

    def admit(self, request: Any) -> Deferred[None] | None:
        """
        :raise ProxyError: when there is no good token.
        """
        found = find(self._places, request, name)
        if found is None:
            raise _refusal("there is no token")
        return self._verify(found, request, True)

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        if self._source.value is None and find(self._places, request, name) is not None:
            return ["verifies the token by keys that are fetched where a server runs"]
        self.admit(request)
        user = request.remote_user.decode("utf-8", "replace")
        return [f"lets {user or 'the request'} in: the token is good"]

    def _verify(self, found: tuple[Place, bytes], request: Any, again: bool) -> Deferred[None] | None:
        """
        :param again: the keys may be refreshed for it.
        """
        token = found[1]
        keys = self._source.value
        if keys is None:
            waiting = self._source.refresh() if again else None
            if waiting is None:
                raise ProxyError("authentication_unavailable", "jwt: the keys could not be fetched")
            return waiting.addCallback(lambda _: self._verify(found, request, False))
        digest = blake2b(token, key=self._key, digest_size=16).digest()
        good = self._good.get(digest)
        if good is None or good.keys is not keys or good.until <= self._wall():
            try:
                good = self._remember(digest, self._verifier.claims(token, keys), keys)
            except UnknownKey as error:
                waiting = self._source.refresh() if again else None
                if waiting is None:
                    raise _refusal(str(error), b"invalid_token") from None
                return waiting.addCallback(lambda _: self._verify(found, request, False))
            except BadToken as error:
                raise _refusal(str(error), b"invalid_token") from None
        self._let_in(good, found, request)
        return None

    def _remember(self, digest: bytes, claims: dict[str, Any], keys: Keys) -> _Good:
        said = {lower: value for lower, claim in self._claims if (value := texts_of(claim_of(claims, claim)))}
        user = b"".join(texts_of(claim_of(claims, self._user))[:1])
        if user and self._user_header:
            said[self._user_header] = (user,)
        lacks = next((claim for claim, values in self._require if not has_claim(claims, claim, values)), "")
        until = min(self._wall() + _REMEMBER, float(claims["exp"]) + self._leeway)
        if len(self._good) >= _REMEMBERED:
            del self._good[next(iter(self._good))]
        good = self._good[digest] = _Good(user, said, lacks, keys, until)
        return good

    def _let_in(self, good: _Good, found: tuple[Place, bytes], request: Any) -> None:
        if good.lacks:
            challenge = b'Bearer error="insufficient_scope"'  # RFC 6750 section 3.1
            raise ProxyError(
                "http_request_denied",
                f"jwt: the token does not have the claim {good.lacks}",
                fields=((b"WWW-Authenticate", challenge),),
            )
        if good.user:
            request.remote_user = good.user
        accept(self._places, found, request, name, self._keep)
        self._fields.say(request, good.said)


def _refusal(detail: str, error: bytes = b"") -> ProxyError:
    challenge = b'Bearer error="%b"' % error if error else b"Bearer"  # RFC 6750 section 3
    return ProxyError("authentication_required", f"jwt: {detail}", fields=((b"WWW-Authenticate", challenge),))
