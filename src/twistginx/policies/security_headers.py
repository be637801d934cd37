"""
``security_headers``: what a browser is told so that it takes fewer risks.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.units import Duration
from twistginx.http.message import Fields, ResponseHead
from twistginx.interfaces import IContext, IPolicyModule

moduleProvides(IPolicyModule)

name = "security_headers"
api = 1
# Inside of headers, which has the last word about what is sent.
rank = 710
applies_to = frozenset(("http",))
many = False

#: What browsers ask of sites that they are to know beforehand.
_YEAR: Final = Duration(365 * 86400)

#: Fields that tell a client what an app is made of.
_TELLTALE: Final = frozenset((b"x-powered-by", b"x-aspnet-version", b"x-aspnetmvc-version", b"x-generator"))

_FRAMES: Final = {"deny": "DENY", "same_origin": "SAMEORIGIN", "allow": ""}


def _one_line(_: Any, attribute: Attribute[Any], value: str) -> None:
    if value != value.strip() or not value.isprintable() or not value.isascii():
        raise ValueError("cannot be the value of a header; expected one line of ASCII text")


@frozen
class Config:
    """
    Send the fields that make browsers careful, and take out those that say what an app is made of (X-Powered-By).

    ``security_headers = true`` is the whole of it.  A field that the resource has sent itself is left as it is, and
    ``headers`` may change all of them.  An empty text leaves a field out.

    :ivar hsts: for how long browsers are to come by TLS only (Strict-Transport-Security, RFC 6797); it is sent over TLS
        alone.  "0s" has them forget what they were told.
    :ivar hsts_subdomains: that holds for all names below this one, too.
    :ivar hsts_preload: browsers may ship with that.  It takes months to get out of their lists.
    :ivar frames: who may show the pages in a frame: "deny", "same_origin" or "allow" (X-Frame-Options).
    :ivar sniffing: browsers may guess what a file is; False: they take its Content-Type's word for it
        (X-Content-Type-Options).
    :ivar referrer: Referrer-Policy: what other sites are told about where a visitor comes from.
    :ivar permissions: Permissions-Policy: what of the visitor's machine the pages may use.
    :ivar opener: Cross-Origin-Opener-Policy: whether windows of other sites can be reached.
    :ivar embedder: Cross-Origin-Embedder-Policy.
    :ivar resource: Cross-Origin-Resource-Policy: who may load what is served here.
    :ivar content: Content-Security-Policy.  What is right depends on the app, so there is none until it is said.
    """

    hsts: Duration = _YEAR
    hsts_subdomains: bool = False
    hsts_preload: bool = field(default=False)
    frames: Literal["deny", "same_origin", "allow"] = "same_origin"
    sniffing: bool = False
    referrer: str = field(default="strict-origin-when-cross-origin", validator=_one_line)
    permissions: str = field(default="camera=(), geolocation=(), microphone=()", validator=_one_line)
    opener: str = field(default="same-origin", validator=_one_line)
    embedder: str = field(default="", validator=_one_line)
    resource: str = field(default="", validator=_one_line)
    content: str = field(default="", validator=_one_line)

    @hsts_preload.validator
    def _check_preload(self, attribute: Attribute[Any], value: bool) -> None:
        if value and not (self.hsts >= _YEAR and self.hsts_subdomains):
            raise ValueError('is not taken by browsers without hsts = "365d" or more, and hsts_subdomains = true')

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``security_headers = true``.
        """
        if value is not True:
            raise ValueError("expected true, false or a table")
        return {}


def make(config: Config, context: IContext) -> SecurityHeaders:
    """
    The policy.
    """
    return SecurityHeaders(config)


class SecurityHeaders:
    """
    The policy of one route.
    """

    __slots__ = ("_names", "_plain", "_secure")

    def __init__(self, config: Config) -> None:
        hsts = f"max-age={int(config.hsts)}"
        hsts += "; includeSubDomains" if config.hsts_subdomains else ""
        hsts += "; preload" if config.hsts_preload else ""
        values = {
            "X-Content-Type-Options": "" if config.sniffing else "nosniff",
            "X-Frame-Options": _FRAMES[config.frames],
            "Referrer-Policy": config.referrer,
            "Permissions-Policy": config.permissions,
            "Cross-Origin-Opener-Policy": config.opener,
            "Cross-Origin-Embedder-Policy": config.embedder,
            "Cross-Origin-Resource-Policy": config.resource,
            "Content-Security-Policy": config.content,
        }
        plain = [(name.encode(), value.encode()) for name, value in values.items() if value]
        self._plain: Final = Fields.of(plain)
        # Over http anybody between could have said it, and browsers do not listen (RFC 6797 section 8.1).
        self._secure: Final = Fields.of([*plain, (b"Strict-Transport-Security", hsts.encode())])
        self._names: Final = frozenset(lower for lower, _, _ in self._secure) | _TELLTALE

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        ours = self._secure if request.scheme == b"https" else self._plain
        return [
            f"adds {', '.join(name.decode() for _, name, _ in ours)}, where the answer does not say them",
            f"takes out {', '.join(sorted(lower.decode() for lower in _TELLTALE))}",
        ]

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        Add what is not there, and take out what tells too much.
        """
        fields = head.fields
        ours = self._secure if request.scheme == b"https" else self._plain
        said = self._names.intersection([field[0] for field in fields])
        if said:
            ours = Fields([field for field in ours if field[0] not in said])
            if not said.isdisjoint(_TELLTALE):
                fields[:] = [field for field in fields if field[0] not in _TELLTALE]
        fields.extend(ours)
