"""
``cors``: which pages of other sites may use this one from a browser (the Fetch standard's CORS protocol).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.units import Duration
from twistginx.http.message import Fields, Reply, ResponseHead
from twistginx.http.wire import is_token
from twistginx.interfaces import IContext, IPolicyModule

moduleProvides(IPolicyModule)

name = "cors"
api = 1
# Before access and authentication: a browser sends a preflight without any credentials, and is to be able to read what
# they refuse.
rank = 150
applies_to = frozenset(("http",))
many = False

#: What the protocol allows without asking, and so need not be said.
_ANY: Final = "*"

#: One value may stand for a list of one.
_SINGLE: Final = {"single": True}


def _tokens(_: Any, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
    for each in value:
        if not is_token(each.encode("utf-8", "surrogateescape")):
            raise ValueError(f'has "{each}", which is no name; expected names such as "X-Total-Count", or "*"')


@frozen
class Config:
    """
    Allow pages of other origins to use what is served here.  Preflights are answered at once, before any access rule,
    and never reach the resource.

    ``cors = true`` allows every origin, without credentials; ``cors = "https://app.example.com"``, or a list, those.
    The fields that the resource sends itself for this are replaced.

    :ivar origins: who may: "https://app.example.com", "https://*.example.com", or "*" for everybody.
    :ivar methods: what they may do.
    :ivar headers: the fields that their requests may have beside the usual ones; "*": those that they ask for.
    :ivar expose: the fields of a response that they may read beside the usual ones.
    :ivar credentials: their requests may come with cookies and logins.  The origins must be named then.
    :ivar max_age: for how long a browser may remember a preflight's answer.
    :ivar private_network: pages of public sites may reach this one in a private network.
    """

    origins: tuple[str, ...] = field(default=(_ANY,), metadata=_SINGLE)
    methods: tuple[str, ...] = field(
        default=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), validator=_tokens, metadata=_SINGLE
    )
    headers: tuple[str, ...] = field(default=(_ANY,), validator=_tokens, metadata=_SINGLE)
    expose: tuple[str, ...] = field(default=(), validator=_tokens, metadata=_SINGLE)
    credentials: bool = field(default=False)
    max_age: Duration = Duration(600)
    private_network: bool = False

    @origins.validator
    def _check_origins(self, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
        if not value:
            raise ValueError("is empty, so that nobody may; remove the table instead")
        for each in value:
            scheme, mark, host = each.partition("://")
            if each not in (_ANY, "null") and (not mark or not scheme or not host or "/" in host or not host.isascii()):
                raise ValueError(
                    f'has "{each}", which is no origin; expected one such as "https://app.example.com", with no path'
                )

    @credentials.validator
    def _check_credentials(self, attribute: Attribute[Any], value: bool) -> None:
        anybody = next((each for each in self.origins if _is_anybody(each)), None)
        if value and anybody is not None:
            raise ValueError(
                f'cannot be with origins = ["{anybody}"]: every site could act as its visitor; name the origins'
            )

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``cors = true``, an origin, or a list of them.
        """
        if value is True:
            return {}
        if isinstance(value, str):
            return {"origins": [value]}
        if isinstance(value, list):
            return {"origins": value}
        raise ValueError('expected true, an origin such as "https://app.example.com", a list of them, or a table')


def _is_anybody(origin: str) -> bool:
    """
    Can any site have this origin?  ``null`` is that of a frame in a sandbox, which all can make.
    """
    return origin in (_ANY, "null") or not origin.partition("://")[2].partition(":")[0].strip("*.")


def make(config: Config, context: IContext) -> CORS:
    """
    The policy.
    """
    return CORS(config)


class CORS:
    """
    The policy of one route.
    """

    def __init__(self, config: Config) -> None:
        self._everybody: Final = _ANY in config.origins
        self._exact: Final = frozenset(each.lower().encode() for each in config.origins if "*" not in each)
        self._patterns: Final = tuple(each.lower() for each in config.origins if "*" in each and each != _ANY)
        self._methods: Final = ", ".join(config.methods).encode()
        self._headers: Final = None if _ANY in config.headers else ", ".join(config.headers).encode()
        self._age: Final = b"%d" % int(config.max_age)
        self._private: Final = config.private_network
        always = [(b"Access-Control-Allow-Credentials", b"true")] if config.credentials else []
        self._always: Final = tuple(always)
        exposed = ", ".join(config.expose).encode()
        self._exposed: Final = ((b"Access-Control-Expose-Headers", exposed),) if exposed else ()

    def admit(self, request: Any) -> Reply | None:
        """
        Answer a preflight.  One from an origin that may not gets no leave, which is all that a browser wants to know.
        """
        if request.head.method != b"OPTIONS":
            return None
        fields = request.fields
        origin = fields.first(b"origin")
        if not origin or not fields.first(b"access-control-request-method"):
            return None
        answer = Fields()
        if self._may(origin):
            asked = fields.joined(b"access-control-request-headers")
            allowed = asked if self._headers is None else self._headers
            answer.add(b"Access-Control-Allow-Methods", self._methods)
            if allowed:
                answer.add(b"Access-Control-Allow-Headers", allowed)
            answer.add(b"Access-Control-Max-Age", self._age)
            if self._private and fields.first(b"access-control-request-private-network") == b"true":
                answer.add(b"Access-Control-Allow-Private-Network", b"true")
        answer.add(b"Vary", b"Access-Control-Request-Method, Access-Control-Request-Headers")
        return Reply(204, answer)

    def explain(self, request: Any) -> list[str | Reply]:
        """
        See ``IExplaining``.
        """
        reply = self.admit(request)
        origin = request.fields.first(b"origin")
        if not origin:
            return ["the request names no origin: it is no page of another site's"]
        leave = "gives leave" if self._may(origin) else "gives no leave"
        said = f"{leave} to pages of {origin.decode('latin-1')}"
        return [said] if reply is None else [f"{said}, and answers their preflight", reply]

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        Say who may read the response.
        """
        fields = head.fields
        for each in fields:
            if each[0] in _OURS:
                fields[:] = [kept for kept in fields if kept[0] not in _OURS]
                break
        if self._everybody:
            fields.add(b"Access-Control-Allow-Origin", b"*")
        else:
            # Also without an origin: what a cache has from that must not be given to one.
            fields.add(b"Vary", b"Origin")
            origin = request.fields.first(b"origin")
            if not origin or not self._may(origin):
                return
            fields.add(b"Access-Control-Allow-Origin", origin)
        for name, value in (*self._always, *self._exposed):
            fields.add(name, value)

    def _may(self, origin: bytes) -> bool:
        if self._everybody:
            return True
        lower = origin.lower()
        if lower in self._exact:
            return True
        if not self._patterns:
            return False
        text = lower.decode("latin-1")
        return any(fnmatchcase(text, pattern) for pattern in self._patterns)


#: What the resource may have said of this, and is ours to say.
_OURS: Final = frozenset(
    (b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers")
)
