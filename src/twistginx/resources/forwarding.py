"""
A request's head on its way to an upstream.  Pure.

What leaves is what came, byte for byte and in order, but for these: fields of the one connection (RFC 9110 section
7.6.1) are taken out, and ``Expect``, which the channel has answered for; ``Host`` is the authority that the request was
routed by; ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are said anew, so that nobody can claim them, and so is
``X-Request-ID``.  No ``Via`` is said: servers take it as a reason not to compress, and the answer must not depend on
us.
"""

from __future__ import annotations

from typing import Any, Final

from twistginx.http import requestid
from twistginx.http.message import Fields, RequestHead
from twistginx.http.wire import HOP_BY_HOP, connection_options

#: Fields that pass as they are.  Looking them up here is all that most fields cost.
_PLAIN: Final = frozenset(
    (
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"access-control-request-headers",
        b"access-control-request-method",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-type",
        b"cookie",
        b"date",
        b"dnt",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"origin",
        b"pragma",
        b"priority",
        b"range",
        b"referer",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"traceparent",
        b"tracestate",
        b"upgrade-insecure-requests",
        b"user-agent",
        b"x-requested-with",
    )
)

#: Names that Connection may list and that are not the names of fields to take out.
_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"", b"host", b"content-length"))

#: What clients say who know of no hop-by-hop fields of their own.
_USUAL: Final = frozenset((b"close", b"keep-alive", b"upgrade", b"keep-alive, upgrade"))

_TAKEN_OUT: Final = HOP_BY_HOP | {b"expect", b"http2-settings"}


_NOTHING: Final[frozenset[bytes]] = frozenset()

#: Marks of a head (``http.message.MARKS``) that passes as it is.
_PASSED: Final = frozenset((b"host:", b"connection:", b"if-", b"range:", b"want-", b"authorization:"))
_NOT_KNOWN: Final = (b"?",)


def forwarded_target(request: Any) -> bytes:
    """
    The request-target for the upstream: as it came, unless the route takes a prefix away, or rewrites it.
    """
    head: RequestHead = request.head
    path: bytes = request.target_path
    query: bytes | None = request.target_query
    if path is head.path and query is head.query:
        return head.target
    return path if query is None else b"%b?%b" % (path, query)


def forwarded_head(request: Any, head: RequestHead, target: bytes, named: frozenset[bytes] = _NOTHING) -> bytes:
    """
    The bytes of the head for the upstream, with the empty line.

    :param request: says who asks, and through whom: ``peer_ip``, ``scheme``, ``from_trusted``, ``request_id``.
    :param head: what to send: ``request.head``, or a copy that policies have had, whose Host is then as it stands.
    :param named: fields that Connection names, to be taken out.
    """
    if head.block is not None and _PASSED.issuperset(head.marks or _NOT_KNOWN):
        return _spliced_head(request, head, target)
    authority = request.head.host
    fields = [field for field in head.fields if field[0] not in named] if named else head.fields
    unchanged = head is request.head
    lines = [b"%b %b HTTP/1.1" % (head.method, target)]
    forwarded_for = forwarded_proto = forwarded_host = connection = te = None
    hosted = False
    for lower, name, value in fields:
        if lower in _PLAIN:
            lines.append(name + b": " + value)
        elif lower == b"host":
            hosted = True
            lines.append(name + b": " + (authority if unchanged else value))
        elif lower in _TAKEN_OUT:
            if lower == b"connection":
                connection = value if connection is None else connection + b"," + value
            elif lower == b"te":
                te = value
        elif lower[2:11] == b"forwarded" and lower[:1] == b"x":
            # X-Forwarded-anything, and its spellings with other separators, which some servers take for the same.
            if lower in request.vouched:
                lines.append(name + b": " + value)
            elif request.from_trusted and b"_" not in lower and b"." not in lower:
                if lower == b"x-forwarded-for":
                    forwarded_for = value if forwarded_for is None else forwarded_for + b", " + value
                elif lower == b"x-forwarded-proto":
                    forwarded_proto = value
                elif lower == b"x-forwarded-host":
                    forwarded_host = value
                else:
                    lines.append(name + b": " + value)
        elif (lower != b"forwarded" or request.from_trusted) and lower != requestid.LOWER:
            lines.append(name + b": " + value)
    if connection is not None and connection.lower() not in _USUAL:
        listed = frozenset([option.strip(b" \t") for option in connection.lower().split(b",")])
        listed = listed - _OPTIONS - request.vouched
        if not listed <= named:
            return forwarded_head(request, head, target, listed | named)
    if not hosted:
        lines.insert(1, b"Host: " + authority)  # HTTP/1.0 clients need not send one; servers need one
    address = request.peer_ip
    lines.append(b"X-Forwarded-For: " + (address if forwarded_for is None else forwarded_for + b", " + address))
    lines.append(b"X-Forwarded-Proto: " + (request.scheme if forwarded_proto is None else forwarded_proto))
    if authority:
        lines.append(b"X-Forwarded-Host: " + (authority if forwarded_host is None else forwarded_host))
    lines.append(b"X-Request-ID: " + request.request_id)
    if head.length is None:
        lines.append(b"Transfer-Encoding: chunked")
    takes_trailers = te is not None and b"trailers" in te.lower()
    if head.upgrade is not None:
        lines.append(b"Upgrade: " + head.upgrade)
        lines.append(b"Connection: Upgrade, TE" if takes_trailers else b"Connection: Upgrade")
    elif takes_trailers:
        lines.append(b"Connection: TE")
    if takes_trailers:
        lines.append(b"TE: trailers")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _spliced_head(request: Any, head: RequestHead, target: bytes) -> bytes:
    """
    The same for a head of which nothing but Connection is to be taken out: its field section passes as it was received,
    in one piece.
    """
    block: bytes = head.block  # type: ignore[assignment]  # the caller has looked
    section = head.section
    if section is not None and section.block is block:
        block = section.passed or section.without_connection()
    elif b"connection:" in head.marks:  # type: ignore[operator]
        start = head.lowered.find(b"\r\nconnection:")
        block = block[:start] + block[head.lowered.find(b"\r\n", start + 2) :]
    channel = request.channel
    return (
        b"%b %b HTTP/1.1%b"
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Request-ID: %b\r\n\r\n"
        % (head.method, target, block, channel.peer_ip, channel.scheme, head.host, request.request_id)
    )


def prepared_head(request: Any, target: bytes) -> tuple[RequestHead, tuple[Any, ...]]:
    """
    A copy of the head, after the policies of the route have had it, and the filters that they want for the body.

    The copy's ``target`` is what leaves, its ``Host`` what the request was routed by.

    :raise ValueError: when a policy has put a line end where it would split the request.
    """
    original: RequestHead = request.head
    # What Connection names goes before the policies come, so that a client cannot have their fields taken out again.
    named = connection_options(original.fields) - _OPTIONS - request.vouched | {b"connection"}
    fields = Fields([field for field in original.fields if field[0] not in named])
    head = RequestHead(original.method, target, original.version, fields)
    head.host = original.host
    head.path, mark, query = target.partition(b"?")
    head.query = query if mark else None
    head.length = original.length
    head.upgrade = original.upgrade
    if original.host and original.fields.first(b"host") != original.host:
        head.fields.put(b"Host", original.host)
    filters = []
    for prepare in request.route.prepare:
        wanted = prepare(request, head)
        if wanted is not None and request.body is not None:
            filters.append(wanted)
    if filters:
        head.length = None
        head.fields.drop(b"content-length")
    for part in (head.method, head.target, *[part for field in head.fields for part in field[1:]]):
        if b"\n" in part or b"\r" in part or b"\0" in part:
            raise ValueError("a policy has put a line end into the request's head")
    return head, tuple(filters)
