"""
``on_error``: another answer in place of a failure: a page, another route's, or another upstream's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import Attribute, evolve, field, frozen
from zope.interface import moduleProvides

from twistginx.config.statuses import parse_statuses
from twistginx.errors import ConfigError
from twistginx.http.message import PHRASES, Diversion, Fields, Reply, ResponseHead
from twistginx.http.wire import BODYLESS
from twistginx.interfaces import IContext, IPolicyModule, IStreaming

moduleProvides(IPolicyModule)

name = "on_error"
api = 1
# Outside of all others that change a response: it sees what failed before they have dressed it.
rank = 900
applies_to = frozenset(("http",))
many = False

#: Bytes that a page may have: it is held in memory.
_LARGEST: Final = 1 << 20

#: Fields of a failure that stand in the answer that replaces it.
_KEPT: Final = frozenset((b"proxy-status", b"x-request-id", b"retry-after", b"allow", b"www-authenticate"))

#: Those of them that a redirect has as well.
_ALWAYS: Final = frozenset((b"proxy-status", b"x-request-id"))

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))

#: Fields of a request that have a part of an answer sent, or none of it.
_SELECTING: Final = frozenset(
    (b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"range")
)

T = TypeVar("T")


def _statuses(_: Any, attribute: Attribute[Any], value: Mapping[str, object]) -> None:
    for key in value:
        if min(parse_statuses(key)) < 400:
            raise ValueError(f'has "{key}", which is no failure; expected a status from 400 on')


def _statuses_told(_: Any, attribute: Attribute[Any], value: Mapping[str, int]) -> None:
    _statuses(_, attribute, value)
    for each in value.values():
        if not 200 <= each <= 599 or each in BODYLESS:
            raise ValueError(f"says {each}, which is no status of a page; expected one such as 200 or 503")


@frozen
class Config:
    """
    Answer failures otherwise.  The status stays what it was, unless ``status`` says another, or the answer leads
    elsewhere.

    The keys of the tables are statuses: "404", "5xx", "502-504", "401,403"; of two that have the same one, the
    first is taken.  Where several of the first three have it, an upstream is tried first, then a route, then the page
    is sent.

    :ivar pages: files to send, such as ``{ "404" = "errors/404.html" }``.
    :ivar routes: routes of the same site that answer, by their names.  They see the request as it was.  Who failed may
        be anybody, and their policies do not decide again who may come in, so that they can have none that do: access
        and authentication that they inherit are to be switched off (``basic_auth = false``).  Where one redirects, the
        client is redirected: ``{ "401" = "login" }``.
    :ivar upstreams: upstreams that get the request instead, if it can be sent again: nothing of it has been processed,
        or its method is idempotent, and nothing of a body has been taken.  Their answer has its own status.  Where
        access or authentication decide who may come in, they get nothing that has not been let in.
    :ivar status: what is said in place of the status that a page or a route answers for: ``{ "404" = 200 }``.
    :ivar intercept: also what the resource itself answers is replaced.  Without, only our own error pages are.
    """

    pages: dict[str, Path] = field(factory=dict, validator=_statuses)
    routes: dict[str, str] = field(factory=dict, validator=_statuses)
    upstreams: dict[str, str] = field(factory=dict, validator=_statuses)
    status: dict[str, int] = field(factory=dict, validator=_statuses_told)
    intercept: bool = False


def make(config: Config, context: IContext) -> OnError:
    """
    The policy.

    :raise ConfigError: for a page that cannot be read, and an upstream that there is not.
    """
    if config.status and not (config.pages or config.routes):
        raise ConfigError("is for pages and routes", key="status", expected="expected pages or routes as well")
    if not (config.pages or config.routes or config.upstreams):
        raise ConfigError("replaces nothing", expected="expected pages, routes or upstreams")
    return OnError(config, context)


class OnError:
    """
    The policy of one route.
    """

    def __init__(self, config: Config, context: Any) -> None:
        self._intercept: Final = config.intercept
        self._pages: Final = _by_status(config.pages, lambda key, path: _page(path, f"pages.{key}", context))
        self._names: Final = config.routes
        #: For each table, what it does about which statuses, in words.
        self._said: Final = tuple(
            f"{statuses}: {words}"
            for table, words_of in (
                (config.upstreams, lambda each: f"asks the upstream {each}"),
                (config.routes, lambda each: f'the route "{each}" answers'),
                (config.pages, lambda each: f"sends {each}"),
            )
            for statuses, each in table.items()
            for words in (words_of(each),)
        )
        self._proxies: Final = _by_status(
            config.upstreams,
            lambda key, upstream: context.resource("proxy", {"upstream": upstream}, f"upstreams.{key}"),
        )
        # By status: resolved routes, which ``link`` makes.
        self._upstreams: dict[int, Any] = {}
        self._routes: dict[int, Any] = {}
        self._guarded = False
        self._told: Final = _by_status(config.status, lambda key, status: status)

    def link(self, own: Any, routes: Mapping[str, Any]) -> None:
        """
        See the site's routes, once, when all are made.

        :param own: the route that has this policy.
        :param routes: all of the site, by name.
        :raise ConfigError: when one that is named is not there.
        """
        if self._intercept and (self._names or self._proxies) and not own.streaming:
            raise ConfigError(
                "goes with pages alone here, because this resource writes its answers as it likes",
                key="intercept",
                expected="remove it, or routes and upstreams",
            )

        def fallback(key: str, name: str) -> Any:
            found = routes.get(name)
            if found is None:
                there = ", ".join(f'"{each}"' for each in routes)
                raise ConfigError(
                    f'there is no route "{name}"', key=f"routes.{key}", expected=f"expected one of {there}"
                )
            if found.guards:
                written = " and ".join(f"{each} = false" for each in found.guards)
                raise ConfigError(
                    f'the route "{name}" has {", ".join(found.guards)}, and nobody is asked for that here',
                    key=f"routes.{key}",
                    expected=f"expected a route for everybody: {written}",
                )
            return _answered_by(found.resource, own, (partial(_as_failed, self._told), *found.responding))

        self._guarded = bool(own.guards)
        self._routes = _by_status(self._names, fallback)
        self._upstreams = {status: _answered_by(proxy, own, own.responding) for status, proxy in self._proxies.items()}

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        whose = "failures, the resource's own as well" if self._intercept else "our own failures"
        return [f"replaces {whose}", *self._said]

    def responding(self, request: Any, head: ResponseHead) -> Reply | Diversion | None:
        """
        Replace the response, if it is a failure that is to be replaced.
        """
        status = head.status
        if status < 400 or request.diverted is not None or (request.error is None and not self._intercept):
            return None
        route = self._upstreams.get(status)
        # "5xx" is also what is said where it could not be found out who asks: nobody comes in by that.
        if route is not None and request.repeatable and (request.admitted or not self._guarded):
            return Diversion(route)
        route = self._routes.get(status)
        if route is not None:
            # Of a failure there are no conditions and no parts (RFC 9110 sections 13.2.1 and 14.2): it is sent whole.
            fields = request.head.fields
            kept = [each for each in fields if each[0] not in _SELECTING]
            if len(kept) != len(fields):
                fields[:] = kept
            return Diversion(route)
        page = self._pages.get(status)
        if page is None:
            return None
        return Reply(self._told.get(status, status), Fields([*page.fields, *_kept(head)]), page.body)


def _as_failed(told: Mapping[int, int], request: Any, head: ResponseHead) -> None:
    """
    A phase of the routes that answer in place of a failure: they say what failed.

    :param told: the statuses that are said in place of others.
    """
    failed = request.diverted
    kept = _kept(failed)
    if head.status in _REDIRECTS and b"location" in head.fields:
        # It leads to where it is better; what would have helped here does not matter there.
        kept = [each for each in kept if each[0] in _ALWAYS]
    elif head.status < 400:
        other = told.get(failed.status)
        head.status, head.phrase = (failed.status, failed.phrase) if other is None else (other, PHRASES.get(other, b""))
    head.fields.extend(each for each in kept if each[0] not in head.fields)


def _kept(head: ResponseHead) -> list[tuple[bytes, bytes, bytes]]:
    return [each for each in head.fields if each[0] in _KEPT]


def _answered_by(resource: Any, own: Any, responding: tuple[Any, ...]) -> Any:
    """
    ``own`` with another resource: the path that it sees, and what hears of the end of the request, stay those of
    ``own``.
    """
    others = tuple(each for each in responding if not isinstance(getattr(each, "__self__", None), OnError))
    return evolve(own, resource=resource, streaming=IStreaming.providedBy(resource), responding=others)


def _by_status(table: Mapping[str, Any], make: Callable[[str, Any], T]) -> dict[int, T]:
    """
    What ``make(key, value)`` returns, by each of the statuses that the key means; the first key wins.
    """
    found: dict[int, T] = {}
    for key, value in table.items():
        made = make(key, value)
        for status in parse_statuses(key):
            found.setdefault(status, made)
    return found


def _page(path: Path, key: str, context: Any) -> Reply:
    """
    A file as an answer, held in memory.

    :raise ConfigError: when it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            body = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", key=key, expected="expected a file") from error
    if len(body) > _LARGEST:
        raise ConfigError(f"{path} is larger than {_LARGEST >> 20} MiB", key=key, expected="expected a page")
    kind = guess_type(path.name)[0] or "text/html"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return Reply(0, [(b"Content-Type", kind.encode()), (b"Cache-Control", b"no-store")], body)
