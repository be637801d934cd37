"""
A request's head on its way to an upstream.  Pure.

What leaves is what came, byte for byte and in order, but for these: fields of the one connection (RFC 9110 section
7.6.1) are taken out, and ``Expect``, which the channel has answered for; ``Host`` is the authority that the request was
routed by; ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are said anew, so that nobody can claim them, and so is
``X-Request-ID``; ``Forwarded`` (RFC 7239) says the same as the three.  What policies have put there stands instead of
ours.  No ``Via`` is said: servers take it as a reason not to compress, and the answer must not depend on us.
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

#: What a value of Forwarded may have without quotes (RFC 9110 section 5.6.2).
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: What ``_asked`` has made: who asks once asks again.
_ASKED: Final[dict[tuple[bytes, bytes, bytes, bool], bytes]] = {}
_ASKED_BOUND: Final = 4096

#: Fields that we say ourselves, and what they begin with; of them, those that each proxy adds to.
_SAID: Final = {
    b"x-forwarded-for": b"X-Forwarded-For: ",
    b"x-forwarded-proto": b"X-Forwarded-Proto: ",
    b"x-forwarded-host": b"X-Forwarded-Host: ",
    b"forwarded": b"Forwarded: ",
}
_LISTS: Final = frozenset((b"x-forwarded-for", b"forwarded"))

#: Marks of a head (``http.message.MARKS``) that passes as it is.
_PASSED: Final = frozenset((b"host:", b"connection:", b"if-", b"range:", b"want-", b"authorization:"))


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


def forwarded_head(
    request: Any, head: RequestHead, target: bytes, forwarded: bool = True, named: frozenset[bytes] = _NOTHING
) -> bytes:
    """
    The bytes of the head for the upstream, with the empty line.

    :param request: says who asks, and through whom: ``peer_ip``, ``scheme``, ``from_trusted``, ``request_id``.
    :param head: what to send: ``request.head``, or a copy that policies have had, whose Host is then as it stands.
    :param forwarded: say ``Forwarded``, too.
    :param named: fields that Connection names, to be taken out.
    """
    block = head.block
    if block is not None:
        section = head.section
        # A client that says the same again has been looked at.
        known = section.passed if section is not None and section.block is block else None
        passed = known or _passed(head, block)
        if passed is not None:
            channel = request.channel
            asked = (channel.peer_ip, channel.scheme, head.host, forwarded)
            asks = _ASKED.get(asked) or _asked(*asked)
            words = (head.method, target, passed, asks, request.request_id)
            return b"%b %b HTTP/1.1%b%bX-Request-ID: %b\r\n\r\n" % words
    authority = request.head.host
    fields = [field for field in head.fields if field[0] not in named] if named else head.fields
    unchanged = head is request.head
    lines = [b"%b %b HTTP/1.1" % (head.method, target)]
    connection = te = None
    hosted = False
    # By name: what policies have put there, and what a trusted proxy says.
    vouched: dict[bytes, bytes] | None = None
    claimed: dict[bytes, bytes] | None = None
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
        elif says_for_whom(lower):
            if lower in request.vouched:
                vouched = {**(vouched or {}), lower: value}
                lines.append(name + b": " + value)
            elif request.from_trusted and b"_" not in lower and b"." not in lower:
                if lower not in _SAID:
                    lines.append(name + b": " + value)
                elif claimed is None:
                    claimed = {lower: value}
                else:
                    claimed[lower] = claimed[lower] + b", " + value if lower in _LISTS and lower in claimed else value
        elif lower != requestid.LOWER:
            lines.append(name + b": " + value)
    if connection is not None and connection.lower() not in _USUAL:
        listed = frozenset([option.strip(b" \t") for option in connection.lower().split(b",")])
        listed = listed - _OPTIONS - request.vouched
        if not listed <= named:
            return forwarded_head(request, head, target, forwarded, listed | named)
    if not hosted:
        lines.insert(1, b"Host: " + authority)  # HTTP/1.0 clients need not send one; servers need one
    if vouched is None and claimed is None:
        asked = (request.peer_ip, request.scheme, authority, forwarded)
        lines.append((_ASKED.get(asked) or _asked(*asked))[:-2])
    else:
        lines += _for_whom(request, vouched or {}, claimed or {}, forwarded)
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


def says_for_whom(lower: bytes) -> bool:
    """
    Is that the name of a field by which a proxy says for whom a request is?

    That is Forwarded, and X-Forwarded-anything, and its spellings with other separators, which some servers take for
    the same.
    """
    return lower == b"forwarded" or (lower[2:11] == b"forwarded" and lower[:1] == b"x")


def _for_whom(request: Any, vouched: dict[bytes, bytes], claimed: dict[bytes, bytes], forwarded: bool) -> list[bytes]:
    """
    The lines by which we say for whom the request is, but for those that policies have put there.

    :param vouched: what these say.
    :param claimed: what a trusted proxy says.
    """
    address, authority = request.peer_ip, request.head.host
    hops = claimed.get(b"x-forwarded-for")
    said = {
        b"x-forwarded-for": address if hops is None else hops + b", " + address,
        b"x-forwarded-proto": claimed.get(b"x-forwarded-proto", request.scheme),
        b"x-forwarded-host": claimed.get(b"x-forwarded-host", authority) if authority else b"",
    }
    chain = claimed.get(b"forwarded")
    if not forwarded:
        if chain is not None:
            said[b"forwarded"] = chain
    elif chain is not None:
        # Each proxy says what it has seen itself (RFC 7239 section 4).
        said[b"forwarded"] = chain + b", " + _element(address, authority, request.channel.scheme)
    else:
        told = {**said, **vouched}
        first, *others = [hop.strip(b" \t") for hop in told[b"x-forwarded-for"].split(b",")]
        host, scheme = [
            told[lower].partition(b",")[0].strip(b" \t") for lower in (b"x-forwarded-host", b"x-forwarded-proto")
        ]
        elements = [_element(first, host, scheme), *[b"for=" + _node(other) for other in others]]
        said[b"forwarded"] = b", ".join(elements)
    return [_SAID[lower] + value for lower, value in said.items() if value and lower not in vouched]


def _element(address: bytes, host: bytes, scheme: bytes) -> bytes:
    """
    What Forwarded says of one proxy: who has asked it for which host, and how.
    """
    # Most addresses have nothing that needs quotes.
    node = address if b"." in address and b":" not in address else _node(address)
    if not host:
        return b"for=%b;proto=%b" % (node, _quoted(scheme))
    return b"for=%b;host=%b;proto=%b" % (node, _quoted(host), _quoted(scheme))


def _node(address: bytes) -> bytes:
    """
    Who an entry of X-Forwarded-For names, in the words of RFC 7239 section 6.
    """
    if address == b"unix":
        return b"_unix"
    if address.count(b":") > 1 and address[:1] != b"[":
        return b'"[%b]"' % address
    return _quoted(address) if address else b"unknown"


def _quoted(value: bytes) -> bytes:
    """
    ``value`` as it is, or in quotes where it needs them.
    """
    if value and not value.translate(None, _TOKEN):
        return value
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _passed(head: RequestHead, block: bytes) -> bytes | None:
    """
    ``block`` of ``head`` as it passes, in one piece: without Connection.  None: more than that is to be taken out.
    """
    marks = head.marks
    if not marks or not _PASSED.issuperset(marks):
        return None
    section = head.section
    if section is not None and section.block is block:
        return section.without_connection()
    if b"connection:" in marks:
        start = head.lowered.find(b"\r\nconnection:")
        block = block[:start] + block[head.lowered.find(b"\r\n", start + 2) :]
    return block


def _asked(address: bytes, scheme: bytes, host: bytes, forwarded: bool) -> bytes:
    """
    The lines by which we say for whom a request is, when nobody else has said anything.
    """
    lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address, scheme)
    if host:
        lines += b"X-Forwarded-Host: %b\r\n" % host
    if forwarded:
        lines += b"Forwarded: %b\r\n" % _element(address, host, scheme)
    if len(_ASKED) >= _ASKED_BOUND:
        _ASKED.clear()
    _ASKED[address, scheme, host, forwarded] = lines
    return lines


def prepared_head(request: Any, target: bytes) -> tuple[RequestHead, tuple[Any, ...]]:
    """
    A copy of the head, after the policies of the route have had it, and the filters that they want for the body.

    The copy's ``target`` is what leaves, its ``Host`` what the request was routed by.

    :raise ValueError: when a policy has put a line end where it would split the request.
    """
    original: RequestHead = request.head
    # What Connection names goes before the policies come, so that a client cannot have their fields taken out again; so
    # does what only a trusted proxy may say, so that it cannot pass for theirs.
    vouched = request.vouched
    named = connection_options(original.fields) - _OPTIONS - vouched | {b"connection"}
    trusted = request.from_trusted
    fields = Fields(
        [
            field
            for field in original.fields
            if field[0] not in named and (trusted or field[0] in vouched or not says_for_whom(field[0]))
        ]
    )
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
