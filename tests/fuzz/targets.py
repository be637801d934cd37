"""
What is fuzzed, and what must hold of any bytes at all.

A target takes bytes, and raises when something does not hold.  It uses nothing that is not pure, but for the file that
a configuration is read from.
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import h11

from tests.http.smuggling.oracle import answered, proxied
from twistginx.config.load import load
from twistginx.config.scanner import scan
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.parser import RequestParser
from twistginx.http.response_parser import ResponseParser
from twistginx.net.clienthello import ClientHelloReader, NotClientHello
from twistginx.net.proxyprotocol import NotProxyHeader, ProxyHeaderReader
from twistginx.registry import Registry

#: What is parsed of one input, in bytes: more is slower and finds no more.
_BOUND: Final = 4096


def cut(seed: int, data: bytes) -> list[bytes]:
    """
    ``data`` in pieces: whole, byte by byte, or in pieces of a few sizes, as the seed (0 to 255) says.
    """
    if seed < 64:
        return [data]
    step = 1 if seed < 128 else seed - 126
    return [data[at : at + step] for at in range(0, len(data), step)]


def _split(data: bytes) -> tuple[int, bytes]:
    """
    The first byte says how the others are cut.
    """
    return data[:1][0] if data else 0, data[1:_BOUND]


# Requests.


def _requests(pieces: Sequence[bytes]) -> tuple[list[Any], bool]:
    """
    The requests that a parser sees, and whether it refuses what follows them.
    """
    parser = RequestParser()
    taken: list[Any] = []
    for piece in pieces:
        parser.feed(piece)
        while parser.messages:
            taken.extend(parser.messages)
            parser.messages.clear()
            if parser.leftover and not parser.suspended:
                parser.resume()
    seen = []
    for head, body in taken:
        content = None if body is None else (b"".join(body._held), body.complete, list(body.trailers))
        seen.append(
            (
                *(head.method, head.target, head.path, head.query, head.host, head.version, head.length),
                *(head.keep_alive, head.upgrade, head.expects_continue, list(head.fields), content),
            )
        )
    return seen, parser.refusal is not None


def requests(data: bytes) -> None:
    """
    The same requests are seen however the bytes are cut, and no other body than h11 sees.
    """
    seed, data = _split(data)
    whole, refused = _requests([data])
    again = _requests(cut(seed or 64, data))
    assert again == (whole, refused), (whole, refused, again)
    theirs = _by_h11(data)
    for ours, other in zip(whole, theirs, strict=False):
        method, target, body = other
        content = ours[-1]
        assert (ours[0], content[0] if content else b"") == (method, body) or (content and not content[1]), (
            ours,
            other,
        )
        assert target.endswith(ours[1]) or ours[1] == b"/" or ours[1].startswith(b"/?"), (ours, other)


def _by_h11(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """
    The whole requests, as h11 sees them.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    seen = []
    request: Any = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen.append((request.method, request.target, body))
                if connection.their_state is not h11.DONE:
                    return seen
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    return seen
                connection.start_next_cycle()
            else:
                return seen
    except h11.RemoteProtocolError:
        return seen


def proxy(data: bytes) -> None:
    """
    Whatever a client sends, an upstream server is sent one unambiguous request after the other.
    """
    seed, data = _split(data)
    seen = proxied([piece for piece in cut(seed, data) if piece], answers=False)
    for ours, (method, _, body) in zip(seen.requests, _by_h11(data), strict=False):
        assert (ours.method, ours.body) == (method, body) or seen.pending or ours is seen.requests[-1], (ours, data)


# Responses.


class _Receiver:
    """
    Notes what it is told.
    """

    def __init__(self) -> None:
        self.interim: list[int] = []
        self.head: Any = None
        self.body = b""

    def response_informational(self, head: Any) -> None:
        self.interim.append(head.status)

    def response_head(self, head: Any, more: bool) -> None:
        assert self.head is None
        self.head = head

    def response_data(self, data: bytes) -> None:
        assert data
        assert self.head is not None
        self.body += data


def _response(pieces: Sequence[bytes], bodiless: bool, parser: ResponseParser | None = None) -> tuple[Any, bool]:
    """
    A whole answer (status, fields, body, trailers) or None, and whether its connection may be used again.

    :param parser: that has read other answers; None: a fresh one.
    """
    if parser is None:
        parser = ResponseParser()
    receiver = _Receiver()
    parser.expect(receiver, bodiless)  # type: ignore[arg-type]
    try:
        complete = False
        for piece in pieces:
            if complete:
                return _told(parser, receiver), False
            complete = parser.feed(piece)
        if not complete:
            parser.eof(True)
    except ProxyError:
        return None, False
    return _told(parser, receiver), parser.reusable


def _told(parser: ResponseParser, receiver: _Receiver) -> Any:
    head = parser.head
    assert head is not None
    if parser.upgrade is not None:
        return 101, list(head.fields), b"", None
    if parser.body is not None:  # it came whole, and nothing has been told of it
        assert receiver.head is None
        return head.status, list(head.fields), parser.body, None
    assert head is receiver.head
    return head.status, list(head.fields), receiver.body, parser.trailers


def responses(data: bytes) -> None:
    """
    The same answer is seen however the bytes are cut, behind another one or not, and what is taken for a whole one is
    what h11 sees.
    """
    seed, data = _split(data)
    bodiless = bool(seed & 1)
    whole, reusable = _response([data], bodiless)
    again, reusable_again = _response([piece for piece in cut(seed or 64, data) if piece], bodiless)
    assert again == whole, (whole, again)
    assert reusable or not reusable_again
    if reusable:
        parser = ResponseParser()
        _response([data], bodiless, parser)
        behind, _ = _response([piece for piece in cut(seed or 64, data) if piece], bodiless, parser)
        assert behind == whole, (whole, behind)
    if whole is None or whole[0] == 101:
        return
    theirs = _response_by_h11(data, bodiless)
    assert theirs is None or theirs == (whole[0], whole[2]), (whole, theirs)
    if theirs is None and reusable:
        _reason_of_h11(data)


def _reason_of_h11(data: bytes) -> None:
    """
    h11 takes less than we do (a status of 600, an empty line before), but never for a reason that lies in the framing.
    """
    head = data.lstrip(b"\r\n").partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"\ncontent-length") <= 1, data
    assert b"\ntransfer-encoding" not in head or b"chunked" in head, data


def _response_by_h11(data: bytes, bodiless: bool) -> tuple[int, bytes] | None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="HEAD" if bodiless else "GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    status = 0
    body = b""
    ended = False
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    return None
                ended = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


def answers(data: bytes) -> None:
    """
    Whatever an upstream server says, the client gets one unambiguous answer, or is cut off.
    """
    seed, data = _split(data)
    method = b"HEAD" if seed & 1 else b"GET"
    pieces = [piece for piece in cut(seed, data) if piece]
    answer = answered(pieces, method, clean=not seed & 2)
    if answer.whole and answer.status not in (502, 504):
        theirs = _response_by_h11(data, bool(seed & 1))
        assert theirs is None or theirs == (answer.status, answer.body), (answer, theirs)
        if theirs is None and answer.reused:
            _reason_of_h11(data)


# Chunks: the same bytes as a request's body and as a response's.

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\r\n\0]*)?\r\n")


def chunked(data: bytes) -> None:
    """
    Both parsers read the same body, and where they take it for whole, a third that knows nothing else does too.
    """
    seed, data = _split(data)
    pieces = [piece for piece in cut(seed, data) if piece]
    asked, refused = _requests([b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", *pieces])
    content, complete, _ = asked[0][-1]
    answered, _ = _response([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *pieces], False)
    if complete:
        assert answered is None or answered[2] == content, (content, answered)
    elif refused:
        assert answered is None, answered
    plain = _dechunked(data)
    if complete:
        assert plain is None or plain == content, (plain, content)
    elif plain is not None:
        raise AssertionError(f"not taken for whole: {data!r}")


def _dechunked(data: bytes) -> bytes | None:
    """
    The body, read in the plainest way; None where that way ends, in trailers at the latest.
    """
    body = b""
    while True:
        size = _SIZE.match(data)
        if size is None or b";" in size[0]:
            return None
        data = data[size.end() :]
        count = int(size[1], 16)
        if not count:
            return body if data.startswith(b"\r\n") else None
        body += data[:count]
        if data[count : count + 2] != b"\r\n":
            return None
        data = data[count + 2 :]


# What comes before HTTP.


def client_hello(data: bytes) -> None:
    """
    A ClientHello is the same however it is cut, or it is refused.
    """
    seed, data = _split(data)
    assert _client_hello([data]) == _client_hello(cut(seed or 64, data))


def _client_hello(pieces: Sequence[bytes]) -> Any:
    reader = ClientHelloReader()
    for piece in pieces:
        try:
            hello = reader.feed(piece)
        except NotClientHello:
            return "refused"
        if hello is not None:
            return hello
    return None


def proxy_header(data: bytes) -> None:
    """
    A PROXY header is the same however it is cut, or it is refused; what follows it is untouched.
    """
    seed, data = _split(data)
    whole = _proxy_header([data])
    again = _proxy_header([piece for piece in cut(seed or 64, data) if piece] if data else [data])
    assert whole == again, (whole, again)
    if isinstance(whole, tuple):
        header, size = whole
        assert (header.source is None) == (header.destination is None)
        assert _proxy_header([data[:size]]) == whole
        assert _proxy_header([data[: size - 1]]) is None


def _proxy_header(pieces: Sequence[bytes]) -> Any:
    reader = ProxyHeaderReader()
    for piece in pieces:
        try:
            header = reader.feed(piece)
        except NotProxyHeader:
            return "refused"
        if header is not None:
            return header, reader.size
    return None


# Configuration.


def config(data: bytes) -> None:
    """
    What is a configuration loads, what is none is a ConfigError, and every key of what TOML it is has a place.
    """
    text = data[:_BOUND].decode("utf-8", "replace")
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        table = None
    if table is not None:
        places = scan(text)
        for path in _paths(table):
            assert path in places, (path, text)
    descriptor, name = tempfile.mkstemp(suffix=".toml", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    try:
        os.write(descriptor, text.encode())
        load(name, _registry(), {"NAME": "value"})
    except ConfigError as error:
        assert error.problems
        assert all(map(str, error.problems))
    finally:
        os.close(descriptor)
        os.unlink(name)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, each in items:
        found += _paths(each, (*path, key))
    return found


_made: list[Registry] = []


def _registry() -> Registry:
    if not _made:
        _made.append(Registry())
    return _made[0]


Target = Callable[[bytes], None]

#: By name.
TARGETS: Final[dict[str, Target]] = {
    each.__name__: each for each in (requests, proxy, responses, answers, chunked, client_hello, proxy_header, config)
}
