"""
``forward_auth``: a service decides who may come in, and says who it is.

The service is asked with a request of its own, without a body: the fields of the client's, and what was asked for, in
``X-Forwarded-Method``, ``-Uri`` and so on.  2xx lets the client in; any other answer is the client's, but for 5xx,
which says nothing about the client.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import Attribute, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import moduleProvides

from twistginx.config.serviceurl import ServiceURL
from twistginx.config.tables.fields import positive
from twistginx.config.units import Duration, Size
from twistginx.errors import ConfigError, ProxyError
from twistginx.http import requestid
from twistginx.http.fields import field_name
from twistginx.http.message import Fields, Reply, ResponseHead
from twistginx.http.wire import HOP_BY_HOP, connection_options
from twistginx.interfaces import IPolicyModule
from twistginx.net.timers import Ticker
from twistginx.policies.identity import IdentityFields
from twistginx.upstream.fetch import Answer, Bounds, Question, fetch
from twistginx.upstream.pool import Upstream

moduleProvides(IPolicyModule)

name = "forward_auth"
api = 1
rank = 330
applies_to = frozenset(("http",))
many = False
guards = True

#: Fields of the client's request that are about its body, or about a response that the service does not make.
_NOT_ASKED: Final = HOP_BY_HOP | {
    *(b"host", b"content-length", b"content-type", b"content-encoding", b"expect", b"http2-settings"),
    *(b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
    *(b"forwarded", b"x-real-ip", requestid.LOWER),
}

#: What is ours to say to the service, and so nobody else's: ``X-Forwarded-Uri``, ``X-Original-URL`` and their kind.
_OURS: Final = (b"x-forwarded-", b"x-original-")

#: Fields of the answer that belong to its connection.
_FRAMING: Final = HOP_BY_HOP | {b"content-length"}


@frozen
class Config:
    """
    Asks a service who may come in.  ``forward_auth = "http://127.0.0.1:9091/api/verify"`` is short for ``url``.

    The service is sent a GET with the client's header fields, and X-Forwarded-Method, -Proto, -Host, -Uri and -For;
    X-Original-Method, X-Original-URL and X-Real-IP say the same.  When it answers 2xx, the request goes on.  Any other
    answer goes to the client, body and all: a redirect to a login page, a 401, a Set-Cookie.  When it answers 5xx, or
    nothing, the client is answered 503.

    :ivar url: of the service.
    :ivar upstream: instead of ``url``: an ``[upstream.NAME]``; it is sent the client's Host.
    :ivar path: with ``upstream``: the path, and query, that is asked for.
    :ivar copy_headers: fields of its answer that the app is sent; whatever the client says in them is taken out first.
    :ivar response_headers: fields of its answer that the client is sent, "Set-Cookie" for instance.
    :ivar user: the field of its answer that says who it is, for logs and ``{user}``; it is copied as well.
    :ivar timeout: for the whole answer.
    :ivar size: of the body of an answer, at most.
    """

    url: ServiceURL | None = field(default=None)
    upstream: str | None = None
    path: str = field(default="/")
    copy_headers: tuple[str, ...] = field(default=(), metadata={"single": True})
    response_headers: tuple[str, ...] = field(default=(), metadata={"single": True})
    user: str = "Remote-User"
    timeout: Duration = field(default=Duration(5), validator=positive)
    size: Size = Size(64 << 10)

    @url.validator
    def _check_url(self, attribute: Attribute[Any], value: ServiceURL | None) -> None:
        if (value is None) is (self.upstream is None):
            raise ValueError("one of url and upstream is needed, and not both")

    @path.validator
    def _check_path(self, attribute: Attribute[Any], value: str) -> None:
        if not value.startswith("/") or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(f'"{value}" is not a path such as "/verify"')

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``forward_auth = "http://127.0.0.1:9091/api/verify"``.
        """
        if isinstance(value, str):
            return {"url": value}
        raise ValueError('expected a URL such as "http://127.0.0.1:9091/verify", or a table')


def make(config: Config, context: Any) -> ForwardAuth:
    """
    The policy.
    """
    names = [(each, f"copy_headers.{index}") for index, each in enumerate(config.copy_headers)]
    if config.user:
        names.append((config.user, "user"))
    fields = IdentityFields(names)
    told = frozenset(
        field_name(each, f"response_headers.{index}").lower() for index, each in enumerate(config.response_headers)
    )
    bounds = Bounds(config.timeout, config.size, f"forward_auth.timeout = {config.timeout}")
    if config.url is not None:
        upstream = context.inline_upstream((config.url.server,))
        asking = Asking(upstream, context.ticker, bounds, config.url.target, config.url.authority)
    else:
        try:
            upstream = context.upstream(config.upstream)
        except ConfigError as error:
            raise ConfigError(error.message, "upstream", error.expected) from error
        asking = Asking(upstream, context.ticker, bounds, config.path.encode(), None)
    user = config.user.lower().encode()
    return TellingForwardAuth(asking, fields, user, told) if told else ForwardAuth(asking, fields, user)


@frozen
class Asking:
    """
    How the service is asked.

    :ivar authority: for the Host field; None: the client's.
    """

    upstream: Upstream
    ticker: Ticker
    bounds: Bounds
    target: bytes
    authority: bytes | None

    def about(self, request: Any) -> Deferred[Answer]:
        """
        Ask about ``request``.
        """
        fields = question_fields(request, request.head.host if self.authority is None else self.authority)
        question = Question(b"GET", self.target, fields)
        return fetch(question, self.upstream, self.ticker, self.bounds, request)


def question_fields(request: Any, authority: bytes) -> Fields:
    """
    The fields that the service is sent.
    """
    head = request.head
    named = connection_options(head.fields) - request.vouched
    fields = Fields([(b"host", b"Host", authority)])
    chain = b""
    for each in head.fields:
        lower = each[0]
        if lower in _NOT_ASKED or lower in named:
            continue
        if lower.replace(b"_", b"-").replace(b".", b"-").startswith(_OURS):
            if lower == b"x-forwarded-for" and request.from_trusted:
                chain += each[2] + b", "
            continue
        fields.append(each)
    uri = head.path if head.query is None else b"%b?%b" % (head.path, head.query)
    for name, value in (
        (b"X-Forwarded-For", chain + request.peer_ip),
        (b"X-Real-IP", request.client_ip),
        (b"X-Forwarded-Proto", request.scheme),
        (b"X-Forwarded-Host", head.host),
        (b"X-Forwarded-Method", head.method),
        (b"X-Forwarded-Uri", uri),
        (b"X-Original-Method", head.method),
        (b"X-Original-URL", b"%b://%b%b" % (request.scheme, head.host, uri)),
        (requestid.NAME, request.request_id),
    ):
        fields.add(name, value)
    return fields


class ForwardAuth:
    """
    The policy of one route.
    """

    __slots__ = ("_asking", "_fields", "_user", "identity")

    def __init__(self, asking: Asking, fields: IdentityFields, user: bytes) -> None:
        """
        :param fields: that are copied.
        :param user: the field with the name of the user, in lower case, or empty.
        """
        self._asking: Final = asking
        self._fields: Final = fields
        self.identity: Final = fields.names
        self._user: Final = user

    def admit(self, request: Any) -> Deferred[Reply | None]:
        """
        Ask.
        """
        return self._asking.about(request).addCallbacks(self._answered, _unknown, callbackArgs=(request,))

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        asking = self._asking
        authority = request.head.host if asking.authority is None else asking.authority
        copied = ", ".join(sorted(each.decode() for each in self._fields.names))
        return [
            f"asks {(authority + asking.target).decode('latin-1')} whether the request may go on",
            *([f"an upstream gets {copied} as the service says"] if copied else []),
        ]

    def _answered(self, answer: Answer, request: Any) -> Reply | None:
        status = answer.status
        if status >= 500:
            raise ProxyError(
                "authentication_unavailable", f"forward_auth: the service answered {status}", received=status
            )
        if not 200 <= status < 300:
            return Reply(status, Fields(each for each in answer.fields if each[0] not in _FRAMING), answer.body)
        fields = answer.fields
        self._fields.say(request, {lower: fields.every(lower) for lower in self._fields.names})
        if self._user:
            request.remote_user = fields.first(self._user) or request.remote_user
        return None


class TellingForwardAuth(ForwardAuth):
    """
    One that has something to tell the client beside what the resource answers.
    """

    __slots__ = ("_told",)

    def __init__(self, asking: Asking, fields: IdentityFields, user: bytes, told: frozenset[bytes]) -> None:
        """
        :param told: names of fields of the service's answer, in lower case.
        """
        super().__init__(asking, fields, user)
        self._told: Final = told

    def _answered(self, answer: Answer, request: Any) -> Reply | None:
        reply = super()._answered(answer, request)
        if reply is None:
            request.forward_auth_tells = [each for each in answer.fields if each[0] in self._told]
        return reply

    def responding(self, request: Any, head: ResponseHead) -> None:
        """
        Tell it.
        """
        tells = getattr(request, "forward_auth_tells", None)
        if tells:
            head.fields.extend(tells)


def _unknown(failure: Failure) -> Failure:
    """
    The service has not answered: nobody comes in, and the log says why.
    """
    if failure.check(CancelledError):
        return failure
    if failure.check(ProxyError) is None:
        return failure
    error = failure.value
    assert isinstance(error, ProxyError)
    return Failure(
        ProxyError(
            "authentication_unavailable",
            f"forward_auth: {error.reason.word}" + (f": {error.detail}" if error.detail else ""),
            error.setting,
            received=error.received,
        )
    )
