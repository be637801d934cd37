"""
``redirect``: send the client elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer, moduleProvides

from twistginx.config.template import CAPTURE, Template
from twistginx.errors import ConfigError
from twistginx.http.message import Reply
from twistginx.http.variables import Getter, compile_template, safe_location, safe_value
from twistginx.interfaces import IContext, IResourceModule, IStreaming

moduleProvides(IResourceModule)

name = "redirect"
api = 1

_STATUSES: Final = (301, 302, 303, 307, 308)

#: Variables that are whatever the client likes; what is captured of a path may be another host, after its slash.
_CLIENTS: Final = frozenset(("header", "cookie", "arg", "query", CAPTURE))


@frozen
class Config:
    """
    Answer with a redirect.

    :ivar to: where to: "https://{host}{uri}", or a path.  What the request puts in is percent-encoded where it must
        be, and can lead to another host only where ``to`` says so.
    :ivar status: 301 or 308 for good, 302 or 307 for now; 307 and 308 keep the method, so that a form is sent again;
        303 says that the answer to a form is elsewhere.
    """

    to: Template
    status: int = 302

    @classmethod
    def from_shorthand(cls, value: object) -> Config:
        """
        ``redirect = "/new"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected an address, as in redirect = "https://{host}{uri}"')
        return cls(to=Template.parse(value))


def make(config: Config, context: IContext) -> RedirectResource:
    """
    The resource.
    """
    if config.status not in _STATUSES:
        expected = "expected one of " + ", ".join(map(str, _STATUSES))
        raise ConfigError(f"{config.status} is not the status of a redirect", key="status", expected=expected)
    parts = config.to.parts
    if not parts:
        raise ConfigError(
            "the address is empty", key="to", expected='expected an address such as "https://{host}{uri}"'
        )
    if not isinstance(parts[0], str) and parts[0].name in _CLIENTS:
        # It could be any address, so whoever makes a link could make us vouch for theirs.
        raise ConfigError(
            f"whoever makes the request would choose where {parts[0]} leads",
            key="to",
            expected=f'begin with a path or a host, as in "/{parts[0]}"',
        )
    fixed = "".join(part for part in parts if isinstance(part, str)).encode("utf-8", "surrogateescape")
    if fixed != safe_value(fixed):
        raise ConfigError("the address has a line end or white space around it", key="to", expected="expected one line")
    return RedirectResource(config)


@implementer(IStreaming)
class RedirectResource(Resource):
    """
    Answers every request with one redirect.
    """

    isLeaf = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._status = config.status
        self._to = _location(config.to)
        self._constant = Reply(config.status, [(b"Location", self._to(None))]) if config.to.is_constant else None

    def render(self, request: Any) -> int:
        """
        Answer at once.
        """
        request.respond(self._constant or Reply(self._status, [(b"Location", self._to(request))]))
        return NOT_DONE_YET

    def explain(self, request: Any) -> list[Reply]:
        """
        Where it leads.
        """
        return [Reply(self._status, [(b"Location", self._to(request))])]


def _location(template: Template) -> Getter:
    """
    ``template`` as a Location that stays where it says.
    """
    fill = compile_template(template)
    first = template.parts[0]
    if isinstance(first, str) and first.startswith("//"):
        return lambda request: safe_location(fill(request))

    def location(request: Any) -> bytes:
        to = safe_location(fill(request))
        # "//host" is another host (RFC 3986 section 4.2).  The path //evil.example/ must not become one.
        return b"/" + to.lstrip(b"/") if to.startswith(b"//") else to

    return location
