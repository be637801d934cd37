"""
``redirect``: send the client elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer, moduleProvides

from twistginx.config.template import CAPTURE, Template, Variable
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.message import Reply
from twistginx.http.targets import quoted_argument, quoted_match
from twistginx.http.variables import Getter, compile_template, safe_location, safe_value
from twistginx.interfaces import IContext, IResourceModule, IStreaming

moduleProvides(IResourceModule)

name = "redirect"
api = 1

_STATUSES: Final = (301, 302, 303, 307, 308)

#: Variables that are whatever the client likes; what is captured of a path may be another host, after its slash.
_SAID: Final = frozenset(("header", "cookie", "arg", "query"))
_CLIENTS: Final = _SAID | {CAPTURE}

#: Variables that begin with a slash.
_PATHS: Final = frozenset(("path", "uri", "target"))

#: Where in an address a variable may stand (RFC 3986 section 3): as the host and its port, as a part of them, behind
#: them, in the path, in the query.
_WHOLE_HOST, _HOST, _BEHIND_HOST, _PATH, _QUERY = range(5)

#: The beginning of an address that has not got past its host.
_TO_HOST: Final = re.compile(r"(?:[^/?#]*:)?//[^/?#]*\Z")

#: An address whose host is not said: a request of HTTP/1.0 needs none.
_NO_HOST: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:///")

#: What is in no host and no port.
_NOT_HOST: Final = re.compile(rb"[^A-Za-z0-9._~:\[\]-]")


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
    chosen = [part for part, place in _placed(config.to) if place == _WHOLE_HOST and part.name in _SAID]
    if not isinstance(parts[0], str) and parts[0].name in _CLIENTS:
        chosen.append(parts[0])
    if chosen:
        # It could be any address, so whoever makes a link could make us vouch for theirs.
        raise ConfigError(
            f"whoever makes the request would choose where {chosen[0]} leads",
            key="to",
            expected=f'begin with a path or a host, as in "/{chosen[0]}"',
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
    if any(part.name in _CLIENTS for part, _ in _placed(template)):
        places = iter(_placed(template))
        pieces = [
            compile_template(Template("", (part,))) if isinstance(part, str) else _piece(*next(places))
            for part in template.parts
        ]

        def fill(request: Any, outcome: Any = None) -> bytes:
            return b"".join([piece(request) for piece in pieces])

    first = template.parts[0]
    if isinstance(first, str) and first.startswith("//"):
        return lambda request: safe_location(fill(request))

    def location(request: Any) -> bytes:
        to = safe_location(fill(request))
        if _NO_HOST.match(to):
            # Browsers would take the beginning of the path for one.
            raise ProxyError("http_request_error", "there is no host to lead to")
        # "//host" is another host (RFC 3986 section 4.2).  The path //evil.example/ must not become one.
        return b"/" + to.lstrip(b"/") if to.startswith(b"//") else to

    return location


def _placed(template: Template) -> Iterator[tuple[Variable, int]]:
    """
    The variables of a template, and where in the address each stands.
    """
    before = ""
    for part, behind in zip(template.parts, (*template.parts[1:], ""), strict=True):
        if isinstance(part, str):
            before += part
            continue
        if "?" in before:
            place = _QUERY
        elif not _TO_HOST.match(before):
            place = _PATH
        elif isinstance(behind, str) and behind and behind[0] not in "/?#":
            place = _HOST
        else:
            place = _BEHIND_HOST if before[-1].isalnum() else _WHOLE_HOST
        yield part, place
        before += "/" if part.name in _PATHS else "x"


def _piece(variable: Variable, place: int) -> Getter:
    """
    What a variable puts into the address: neither a host that was not asked for, nor a query that was none.
    """
    get = compile_template(Template("", (variable,)))
    if variable.name not in _CLIENTS:
        return get
    captured = variable.name == CAPTURE
    if place == _HOST or (place == _WHOLE_HOST and not captured):
        return lambda request, outcome=None: _NOT_HOST.sub(lambda found: b"%%%02X" % found[0][0], get(request))
    if captured and place == _QUERY:
        return lambda request, outcome=None: quoted_argument(get(request).replace(b"%2F", b"/"))

    def piece(request: Any, outcome: Any = None) -> bytes:
        # What is captured of a path is decoded, but for its slashes that are data.
        value = quoted_match(get(request)) if captured else get(request)
        if place == _BEHIND_HOST and value[:1] not in (b"", b"/", b"?", b"#"):
            return b"/" + value
        return value

    return piece
