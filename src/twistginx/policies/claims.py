"""
What a signed token (RFC 7519) says, if it is a good one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from twistginx.policies.jwks import Keys

#: Claims that are times (RFC 7519 section 4.1), and what is no second of any calendar.
_TIMES: Final = ("exp", "nbf", "iat")
_NO_TIME: Final = 1 << 53

#: What a library may raise, beside its own errors, over claims that are of no sensible kind.
_NONSENSE: Final = (ArithmeticError, RecursionError, TypeError, ValueError)


class BadToken(Exception):
    """
    A token that is not good; the text says why, for a log, without a word of the client's.
    """


class UnknownKey(BadToken):
    """
    Its key is not among those that are known.
    """


class Verifier:
    """
    What makes a token good.
    """

    __slots__ = ("_algorithms", "_decode", "_header", "_invalid", "_options")

    def __init__(
        self, algorithms: Iterable[str], issuer: Sequence[str], audience: Sequence[str], leeway: float
    ) -> None:
        """
        :param issuer: of which ``iss`` must be one; empty: it says nothing.
        :param audience: of which ``aud`` must have one; empty: there must be none.
        :param leeway: seconds by which clocks may differ.
        """
        import jwt

        self._algorithms: Final = frozenset(algorithms)
        self._decode: Final = jwt.decode
        self._header: Final = jwt.get_unverified_header
        self._invalid: Final = jwt.PyJWTError
        self._options: Final[dict[str, Any]] = {
            "audience": list(audience) or None,
            "issuer": list(issuer) or None,
            "leeway": float(leeway),
            "options": {"require": ["exp", *["iss"] * bool(issuer), *["aud"] * bool(audience)]},
        }

    def claims(self, token: bytes, keys: Keys) -> dict[str, Any]:
        """
        What a good token says.

        :raise BadToken: when it is not good.
        """
        try:
            header = self._header(token)
        except (self._invalid, *_NONSENSE):
            raise BadToken("it is not a signed token") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise BadToken("it is signed by another algorithm than is expected")
        if "crit" in header:  # RFC 7515 section 4.1.11
            raise BadToken("it demands extensions that are not known")
        usable = [each for each in keys if algorithm in each.algorithms and (kid is None or each.kid in (None, kid))]
        if not usable:
            raise UnknownKey("its key is not known")
        problem = "its signature is not right"
        for key in usable:
            try:
                claims: dict[str, Any] = self._decode(token, key.key, algorithms=[algorithm], **self._options)
            except (self._invalid, *_NONSENSE) as error:
                kind = type(error).__name__
                if kind != "InvalidSignatureError":
                    raise BadToken(_PROBLEMS.get(kind, f"it is refused ({kind})")) from None
            else:
                if not all(each not in claims or _is_time(claims[each]) for each in _TIMES):
                    raise BadToken("it has a time that is no number (exp, nbf, iat)")
                return claims
        raise BadToken(problem)


#: What the errors of PyJWT mean.
_PROBLEMS: Final = {
    "ExpiredSignatureError": "it has expired",
    "ImmatureSignatureError": "it is not valid yet",
    "InvalidAudienceError": "it is for somebody else (aud)",
    "InvalidIssuerError": "it is by another issuer (iss)",
    "MissingRequiredClaimError": "it does not say what it must (exp, and iss and aud where they are expected)",
    "DecodeError": "it cannot be decoded",
}


def _is_time(value: Any) -> bool:
    """
    Is it a NumericDate (RFC 7519 section 2)?  Some take a text for one, and then apps differ about when it ends.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and -_NO_TIME < value < _NO_TIME


def claim_of(claims: Mapping[str, Any], claim: str) -> Any:
    """
    A claim; a dot leads into one that is an object, unless there is one of the whole name.  None when it is not there.
    """
    if claim in claims:
        return claims[claim]
    first, dot, rest = claim.partition(".")
    inner = claims.get(first)
    return claim_of(inner, rest) if dot and isinstance(inner, dict) else None


def texts_of(value: Any) -> tuple[bytes, ...]:
    """
    A claim as the value of a header field; a list is joined by commas, an object is JSON.  Empty when there is none.
    """
    if value in (None, "", []):
        return ()
    if isinstance(value, list):
        return (b",".join(text for each in value for text in texts_of(each)),)
    return ((value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace"),)


def has_claim(claims: Mapping[str, Any], claim: str, values: frozenset[str]) -> bool:
    """
    Is one of ``values`` the claim, or a part of it?
    """
    value = claim_of(claims, claim)
    if isinstance(value, str) and claim in ("scope", "scp"):  # RFC 8693 section 4.2
        value = value.split(" ")
    parts = value if isinstance(value, list) else [value]
    return any((part if isinstance(part, str) else json.dumps(part)) in values for part in parts if part is not None)
