"""
``mount = "/app"``: an application that thinks it is at the root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.config.tables.match import RoutePath
from twistginx.errors import ConfigError
from twistginx.http.message import Reply, RequestHead, ResponseHead
from twistginx.http.targets import quoted, with_slash
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.routing.match import under

moduleProvides(IPolicyModule)

name = "mount"
api = 1
rank = 620
applies_to = frozenset(("http",))
many = False

#: It decides nothing about who may come in.
decides = False

#: Methods that pages are asked for with.
_PAGES: Final = frozenset((b"GET", b"HEAD"))

_PREFIX: Final = b"x-forwarded-prefix"
_NAMES: Final = frozenset((_PREFIX,))
_LOCATIONS: Final = frozenset((b"location", b"content-location"))

_ABSOLUTE: Final = re.compile(rb"(?i)((?:https?:)?//)([^/?#]*)(.*)", re.DOTALL)
_USUAL: Final = {b"http://": b":80", b"https://": b":443"}
_COOKIE_PATH: Final = re.compile(rb"(?i)(;\s*path\s*=\s*)(/[^;]*)")


@frozen
class Config:
    """
    Serve what believes to be at the root beneath a path: ``mount = "/app"``.

    The route is for this path and all that is below it, and the resource sees paths without it, as with
    ``strip_prefix``.  It is told where it is: upstreams by ``X-Forwarded-Prefix``, applications in this process by
    SCRIPT_NAME or prepath.  Who asks for the path without a slash at its end is sent there, because the links on the
    page are relative to that.  What it answers is put right where it does not know it: Location and Content-Location,
    and the Path of its cookies, begin with the path, unless they do already.  Links in pages are the application's to
    make.

    :ivar prefix: the path.
    """

    prefix: RoutePath

    @classmethod
    def from_shorthand(cls, value: object) -> Mapping[str, object]:
        """
        ``mount = "/app"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a path, as in mount = "/app"')
        return {"prefix": value}


def path_of(config: Config) -> str:
    """
    The path of the route.
    """
    return config.prefix


def make(config: Config, context: IContext) -> Mount:
    """
    The policy.
    """
    if not config.prefix.strip("/"):
        raise ConfigError("is the root, where everything is already", key="prefix", expected='a path such as "/app"')
    return Mount(config.prefix.rstrip("/").encode())


class Mount:
    """
    The policy of one route.

    :ivar prefix: decoded, without a slash at its end.
    """

    __slots__ = ("_raw", "prefix")

    #: The resource sees paths without the prefix of the route.
    strips = True

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self._raw = quoted(prefix)

    def admit(self, request: Any) -> Reply | None:
        """
        Put the slash behind the prefix that the first page needs: relative links on it begin there.
        """
        head = request.head
        if (request.routed_path or request.matched_path) != self.prefix:
            return None
        if head.method not in _PAGES or head.upgrade is not None:
            return None
        return Reply(308, [(b"Location", with_slash(head.path, head.query))])

    def prepare(self, request: Any, head: RequestHead) -> None:
        """
        Tell an upstream where it is, behind what a trusted proxy has said of itself.
        """
        outer = head.fields.first(_PREFIX) if request.from_trusted else None
        head.fields.put(b"X-Forwarded-Prefix", (outer or b"").rstrip(b"/") + self._raw)
        request.vouched |= _NAMES

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        Put the prefix before the paths of a response that lack it.

        What a policy answers itself, such as one that sends clients to where they log in, is of no application, and
        speaks of paths as they are.
        """
        if not request.admitted and request.route.admit:
            return
        fields = head.fields
        for index, (lower, each, value) in enumerate(fields):
            if lower in _LOCATIONS:
                fields[index] = lower, each, self._location(value, request.head.host)
            elif lower == b"set-cookie" and not value.startswith(b"__Host-"):  # those are for the root (RFC 6265bis)
                fields[index] = lower, each, _COOKIE_PATH.sub(self._cookie_path, value)

    def explain(self, request: Any) -> list[str | Reply]:
        """
        What it does.
        """
        prefix = self._raw.decode()
        reply = self.admit(request)
        if reply is not None:
            return [f"sends the client to {prefix}/", reply]
        return [f"X-Forwarded-Prefix: {prefix}; Location and cookies of the answer begin with {prefix}"]

    def _location(self, value: bytes, host: bytes) -> bytes:
        absolute = _ABSOLUTE.fullmatch(value)
        if absolute is not None:
            scheme, authority, rest = absolute.groups()
            same = _without_port(authority.lower(), scheme) == _without_port(host, scheme)
            return scheme + authority + self._under(rest or b"/") if same else value
        return self._under(value) if value.startswith(b"/") else value

    def _cookie_path(self, match: re.Match[bytes]) -> bytes:
        path = match[2].rstrip()
        if under(path, self._raw):
            return match[0]
        # Of the root, "/app": a cookie of "/app/" is not sent for /app itself (RFC 6265 section 5.1.4).
        return match[1] + self._raw + (b"" if path == b"/" else path)

    def _under(self, reference: bytes) -> bytes:
        path = re.split(rb"[?#]", reference, maxsplit=1)[0]
        return reference if under(path, self._raw) else self._raw + reference


def _without_port(authority: bytes, scheme: bytes) -> bytes:
    """
    An authority without the port that its scheme has anyway (RFC 9110 section 4.2.3).

    :param scheme: with the slashes behind it; without a name, either.
    """
    usual = (b":80", b":443") if scheme == b"//" else (_USUAL[scheme.lower()],)
    return next((authority[: -len(port)] for port in usual if authority.endswith(port)), authority)
