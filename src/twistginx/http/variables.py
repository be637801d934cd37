"""
Templates, compiled: the variables of a request as bytes.

Values are as they were sent.  They are made safe where they are put: ``safe_value`` for a field of a message,
``safe_location`` for a Location.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from time import time
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from twistginx.config.template import Template, Variable
from twistginx.net.proxyprotocol import reading_of

#: ``(request, outcome)`` to bytes; all have this one signature.  The outcome is a Record, or the ResponseHead while
#: there is no Record; None while there is no response.
Getter = Callable[..., bytes]

# Controls end a line or a message; a space ends nothing.  A tab may stand in a value (RFC 9110 section 5.5).
_SAFE_VALUE: Final = bytes(0x20 if byte == 0x7F or (byte < 0x20 and byte != 0x09) else byte for byte in range(256))

# What may stand in a URI reference (RFC 3986 section 2), percent signs included.
_URI: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+,;=%")
_NOT_URI: Final = bytes(byte for byte in range(256) if byte not in _URI)


def safe_value(value: bytes) -> bytes:
    """
    ``value`` as the value of a field: no control character in it, no white space around it.
    """
    return value.translate(_SAFE_VALUE).strip(b" \t")


def safe_location(value: bytes) -> bytes:
    """
    ``value`` as a URI reference: what cannot stand in one is percent-encoded.

    That includes the backslash, which browsers take for a slash.
    """
    if len(value) == len(value.translate(None, _NOT_URI)):
        return value
    return b"".join([b"%c" % byte if byte in _URI else b"%%%02X" % byte for byte in value])


def compile_template(template: Template, missing: bytes = b"") -> Getter:
    """
    A callable ``(request, outcome=None)`` that fills ``template``.

    :param missing: what stands for a variable without a value.
    """
    if template.is_constant:
        constant = encoded(template.constant)
        return lambda request, outcome=None: constant
    getters = tuple(_getter(part, missing) for part in template.parts)
    if len(getters) == 1:
        return getters[0]

    def fill(request: Any, outcome: Any = None) -> bytes:
        return b"".join([get(request, outcome) for get in getters])

    return fill


def encoded(text: str) -> bytes:
    """
    A text of the configuration, as bytes.
    """
    # The environment may hold bytes that are no UTF-8; they leave as they came.
    return text.encode("utf-8", "surrogateescape")


def _getter(part: str | Variable, missing: bytes) -> Getter:
    if isinstance(part, str):
        literal = encoded(part)
        return lambda request, outcome=None: literal
    look_up = _LOOKED_UP.get(part.name)
    get = _VARIABLES[part.name] if look_up is None else look_up(encoded(part.argument))
    if not missing:
        return get
    return lambda request, outcome=None: get(request, outcome) or missing


# One function for each variable.


def _host(request: Any, outcome: Any = None) -> bytes:
    host: bytes = request.head.host
    if host[:1] == b"[":
        return host[: host.find(b"]") + 1]
    return host.partition(b":")[0]


def _request_line(request: Any, outcome: Any = None) -> bytes:
    head = request.head
    return b"%b %b %b" % (head.method, head.target, head.version)


def _status(request: Any, outcome: Any = None) -> bytes:
    return b"" if outcome is None else b"%d" % outcome.status


def _recorded(attribute: str, form: str) -> Getter:
    def get(request: Any, outcome: Any = None) -> bytes:
        value = getattr(outcome, attribute, None)
        return b"" if value is None else format(value, form).encode()

    return get


# The two times of the current second: (second, local, ISO 8601).
_times = (0, b"", b"")


def _times_now() -> tuple[int, bytes, bytes]:
    global _times  # noqa: PLW0603  # a cache of one value, in a process with one thread of HTTP
    second = int(time())
    if _times[0] != second:
        now = datetime.fromtimestamp(second).astimezone()
        # strftime would write the month in the language of the locale.
        month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][now.month - 1]
        local = f"{now:%d}/{month}/{now:%Y:%H:%M:%S %z}"
        _times = (second, local.encode(), now.isoformat().encode())
    return _times


def _header(lower: bytes) -> Getter:
    def get(request: Any, outcome: Any = None) -> bytes:
        # Cookie lines are joined by another separator than lists are (RFC 6265 section 5.4, RFC 9113 section 8.2.3).
        values: list[bytes] = request.head.fields.every(lower)
        return values[0] if len(values) == 1 else (b"; " if lower == b"cookie" else b", ").join(values)

    return get


def cookies_of(request: Any) -> Iterator[tuple[bytes, bytes]]:
    """
    The cookies of a request, by name, in order; values without the quotes around them.
    """
    lines: list[bytes] = request.head.fields.every(b"cookie")
    for line in lines:
        for pair in line.split(b";"):
            name, equals, value = pair.partition(b"=")
            if equals:
                value = value.strip(b" \t")
                quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
                yield name.strip(b" \t"), value[1:-1] if quoted else value


def _cookie(wanted: bytes) -> Getter:
    def get(request: Any, outcome: Any = None) -> bytes:
        return next((value for name, value in cookies_of(request) if name == wanted), b"")

    return get


def _argument(wanted: bytes) -> Getter:
    def get(request: Any, outcome: Any = None) -> bytes:
        for pair in (request.head.query or b"").split(b"&"):
            name, _, value = pair.partition(b"=")
            if name == wanted or (b"%" in name and unquote_to_bytes(name) == wanted):
                return value
        return b""

    return get


def _proxy_protocol(name: bytes) -> Getter:
    read = reading_of(name.decode("ascii"))

    def get(request: Any, outcome: Any = None) -> bytes:
        header = request.channel.proxy_header
        return b"" if header is None else read(header)

    return get


def _target(request: Any, outcome: Any = None) -> bytes:
    path, query = request.target_path, request.target_query
    return path if query is None else b"%b?%b" % (path, query)


def _port(request: Any, outcome: Any = None) -> bytes:
    port = getattr(request.channel.getHost(), "port", None)
    return b"" if port is None else b"%d" % port


def _client_port(request: Any, outcome: Any = None) -> bytes:
    port = getattr(request.channel.getPeer(), "port", None)
    return b"" if port is None else b"%d" % port


def _capture(name: bytes) -> Getter:
    text = name.decode()
    number = int(text) if text.isdecimal() else None

    def get(request: Any, outcome: Any = None) -> bytes:
        captured = request.captured
        if captured is not None:
            subject, spans, names = captured
            index = names.get(text) if number is None else number
            if index is not None:
                start, end = spans[index] if index < len(spans) else (0, 0)
                return subject[start:end] if start >= 0 else b""
        return _captured_of_host(request, text) if number is None else b""

    return get


def _captured_of_host(request: Any, name: str) -> bytes:
    """
    What a regex among the names of the site has captured.
    """
    for pattern in getattr(request.site, "patterns", ()):
        if name in pattern.names:
            host = _host(request)
            spans = pattern.find(host)
            if spans is not None:
                start, end = spans[pattern.names[name]]
                return host[start:end] if start >= 0 else b""
    return b""


def _map(name: bytes) -> Getter:
    text = name.decode()

    def get(request: Any, outcome: Any = None) -> bytes:
        find = getattr(request.site, "maps", _NOTHING).get(text)
        return b"" if find is None else find(request, outcome)

    return get


def _var(name: bytes) -> Getter:
    text = name.decode()

    def get(request: Any, outcome: Any = None) -> bytes:
        # Without a route, those of all routes are the site's to know.
        fill = getattr(request.route or request.site, "variables", _NOTHING).get(text)
        return b"" if fill is None else fill(request, outcome)

    return get


_TLS: Final[dict[str, Callable[[Any], str | bytes | None]]] = {
    "version": lambda transport: transport.getHandle().version(),
    "cipher": lambda transport: transport.getHandle().cipher()[0],
    "server_name": lambda transport: transport.hello.server_name,
    "alpn": lambda transport: transport.negotiatedProtocol,
    "client_cn": lambda transport: transport.getPeerCertificate().get_subject().CN,
}


def _tls(name: bytes) -> Getter:
    read = _TLS[name.decode()]

    def get(request: Any, outcome: Any = None) -> bytes:
        try:
            value = read(request.channel.transport)
        except (AttributeError, TypeError):  # no TLS, none of ours, no certificate, or gone
            return b""
        return value.encode("utf-8", "replace") if isinstance(value, str) else value or b""

    return get


_NOTHING: Final[dict[str, Getter]] = {}

_VARIABLES: Final[dict[str, Getter]] = {
    "client": lambda request, outcome=None: request.client_ip,
    "host": _host,
    "method": lambda request, outcome=None: request.head.method,
    "path": lambda request, outcome=None: request.head.path,
    "query": lambda request, outcome=None: request.head.query or b"",
    "uri": lambda request, outcome=None: request.head.target,
    "target": _target,
    "protocol": lambda request, outcome=None: request.head.version,
    "scheme": lambda request, outcome=None: request.scheme,
    "authority": lambda request, outcome=None: request.head.host,
    "port": _port,
    "client_port": _client_port,
    "site": lambda request, outcome=None: request.site.label.encode() if request.site is not None else b"",
    "route": lambda request, outcome=None: request.route.name.encode() if request.route is not None else b"",
    "time": lambda request, outcome=None: b"%d" % time(),
    "request_id": lambda request, outcome=None: request.request_id,
    "user": lambda request, outcome=None: request.remote_user,
    "split": lambda request, outcome=None: request.split,
    "status": _status,
    "upstream": lambda request, outcome=None: request.upstream_name,
    "time_local": lambda request, outcome=None: _times_now()[1],
    "time_iso": lambda request, outcome=None: _times_now()[2],
    "request": _request_line,
    "bytes_sent": _recorded("sent", "d"),
    "duration": _recorded("seconds", ".3f"),
    "reason": _recorded("reason", ""),
    "detail": _recorded("detail", ""),
}

#: Those that take an argument.
_LOOKED_UP: Final[dict[str, Callable[[bytes], Getter]]] = {
    "header": _header,
    "cookie": _cookie,
    "arg": _argument,
    "proxy_protocol": _proxy_protocol,
    "capture": _capture,
    "map": _map,
    "var": _var,
    "tls": _tls,
}
