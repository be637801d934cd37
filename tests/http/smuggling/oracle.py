"""
What an upstream server gets to see of what a client has sent: the real channel, pool and client in memory, and h11 as
the server.

h11 was written from the RFC, by others.  What it reads has to be what the client is answered for, request for request;
and because there are servers that read less strictly than h11, no byte may reach it that any of them could read in two
ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import h11
from attrs import define, field
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from tests.resources.conversation import Conversation, Wire

#: The client's address, and what we say about it and its request in every head that leaves.
CLIENT = "10.0.0.1"
_SAID = re.compile(
    rb"X-Forwarded-For: 10\.0\.0\.1\r\nX-Forwarded-Proto: http\r\n(?:X-Forwarded-Host: [^\r\n]*\r\n)?"
    rb"(?:Forwarded: for=10\.0\.0\.1;(?:host=[^\r\n]*;)?proto=http\r\n)?(?:X-Request-ID: [^\r\n]*\r\n)?"
)

_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1\Z")
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\Z")
_FRAMING = re.compile(rb"(?:content-length: [0-9]+|transfer-encoding: chunked)\Z", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.1 [1-9][0-9][0-9] [\t\x20-\x7e\x80-\xff]*\Z")
_HOST = re.compile(rb"(?<=\r\n)host:[^\r\n]*", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")

#: What h11 is given: a head that we let pass is not to be refused for its size.
_ROOM = 1 << 20


class AmbiguousError(AssertionError):
    """
    Bytes reached the upstream server that are not exactly one request after the other.
    """


@define
class Request:
    """
    One request as h11 has read it.

    :ivar head: its bytes, without what we say about the client (``X-Forwarded-*``, ``Forwarded``).
    :ivar trailers: as ``(name, value)``, names in lower case.
    """

    head: bytes
    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(factory=list)

    def get(self, name: bytes) -> bytes | None:
        """
        The value of the first field of that name, in lower case.
        """
        return next((value for key, value in self.fields if key == name), None)


class _Server:
    """
    An upstream server's end of one connection.
    """

    def __init__(self, wire: Wire, requests: list[Request]) -> None:
        self.wire = wire
        self._requests = requests
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_ROOM)
        self._raw = b""
        self._request: Request | None = None
        self._framed: tuple[str, int] = ("none", 0)

    @property
    def within(self) -> bool:
        """
        Has a part of a request come, and not all of it?
        """
        return self._request is not None or bool(self._raw)

    def read(self) -> bool:
        """
        Take what was sent, and answer what is complete: was there anything?
        """
        data = self.wire.taken()
        if not data:
            return False
        self._raw += data
        self._h11.receive_data(data)
        try:
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._request = self._head(event)
                    self._requests.append(self._request)
                elif isinstance(event, h11.Data):
                    assert self._request is not None
                    self._request.body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._end(event)
                    break
                else:
                    break
        except h11.RemoteProtocolError as error:
            raise AmbiguousError(f"no request: {error}: {self._raw!r}") from error
        return True

    def _head(self, event: h11.Request) -> Request:
        head, separator, self._raw = self._raw.partition(b"\r\n\r\n")
        if not separator:
            raise AmbiguousError(f"a head without its end: {self._raw!r}")
        line, *fields = head.split(b"\r\n")
        if not _LINE.match(line):
            raise AmbiguousError(f"a request line that may be read in two ways: {line!r}")
        for each in fields:
            if not _FIELD.match(each):
                raise AmbiguousError(f"a field that may be read in two ways: {each!r}")
        names = [each.partition(b":")[0].lower() for each in fields]
        spellings = [name.replace(b"_", b"-") for name in names]
        if names.count(b"host") != 1:
            raise AmbiguousError(f"{names.count(b'host')} Host fields: {head!r}")
        framing = [
            each
            for name, each in zip(spellings, fields, strict=True)
            if name in (b"content-length", b"transfer-encoding")
        ]
        if len(framing) > 1 or not all(map(_FRAMING.match, framing)):
            raise AmbiguousError(f"framed in two ways: {head!r}")
        found = _SAID.search(head + b"\r\n")
        if found is None:
            raise AmbiguousError(f"nothing is said about the client: {head!r}")
        rest = (head + b"\r\n")[: found.start()] + (head + b"\r\n")[found.end() :]
        # The name of Host is compared without case, and sent on as it came; the value is in lower case.
        rest = _HOST.sub(lambda match: b"Host" + match[0][4:], rest)
        return Request(rest, event.method, event.target, list(event.headers))

    def _end(self, event: h11.EndOfMessage) -> None:
        request, self._request = self._request, None
        assert request is not None
        request.trailers = list(event.headers)
        self._check_body(request)
        if self._h11.trailing_data[0]:
            raise AmbiguousError(f"bytes behind a request: {self._h11.trailing_data!r}")
        body = b"%d" % len(self._requests)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._h11.send(h11.Response(status_code=200, headers=[("Content-Length", str(len(body)))]))
        if request.method != b"HEAD":
            self._h11.send(h11.Data(data=body))
        self._h11.send(h11.EndOfMessage())
        if self._h11.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._h11.start_next_cycle()
        if not self.wire.gone:
            self.wire.says(answer + (b"" if request.method == b"HEAD" else body))

    def _check_body(self, request: Request) -> None:
        """
        The body's bytes, read a second time and in the plainest way.
        """
        raw, self._raw = self._raw, b""
        if request.get(b"transfer-encoding") is None:
            if raw != request.body:
                raise AmbiguousError(f"a body that may be read in two ways: {raw!r}")
            return
        body = b""
        while True:
            size = _CHUNK.match(raw)
            if size is None:
                raise AmbiguousError(f"a chunk that may be read in two ways: {raw!r}")
            raw = raw[size.end() :]
            count = int(size[1], 16)
            if not count:
                break
            body += raw[:count]
            if raw[count : count + 2] != b"\r\n":
                raise AmbiguousError(f"a chunk that does not end: {raw!r}")
            raw = raw[count + 2 :]
        *trailers, end, rest = raw.split(b"\r\n") if raw != b"\r\n" else (b"", b"")
        if body != request.body or end or rest or not all(map(_FIELD.match, trailers)):
            raise AmbiguousError(f"the end of a body that may be read in two ways: {raw!r}")


@define
class Seen:
    """
    What became of what a client sent.

    :ivar requests: that the upstream server was sent, in order; the last one may be without its end.
    :ivar statuses: of the answers to the client, 1xx left out.
    :ivar answers: all that the client was sent.
    :ivar ended: the client's connection was closed, or half-closed.
    :ivar pending: the upstream server waits for the rest of a request.
    """

    requests: list[Request]
    statuses: list[int]
    answers: bytes
    ended: bool
    pending: bool


def proxied(pieces: Sequence[bytes], answers: bool = True) -> Seen:
    """
    Send ``pieces`` through the proxy.

    :param answers: read the answers, which are few: False where nobody looks at them.
    :raise AmbiguousError: when what the upstream server gets is not one request after the other.
    """
    talk = Conversation(idle=60)
    wire = talk.client(CLIENT)
    requests: list[Request] = []
    servers: list[_Server] = []

    def settle() -> None:
        moved = True
        while moved:
            moved = False
            while len(servers) < len(talk.attempts):
                servers.append(_Server(talk.accept(), requests))
                moved = True
            for server in servers:
                moved = server.read() or moved

    for piece in pieces:
        if wire.gone:
            break
        wire.says(piece)
        settle()
    talk.reactor.advance(0)
    settle()
    data = wire.taken()
    ended = wire.gone or bool(getattr(wire.protocol, "closing", False))
    seen = Seen(
        requests, _statuses(data, requests) if answers else [], data, ended, any(server.within for server in servers)
    )
    wire.leaves()
    settle()
    talk.upstream.stop()
    for server in servers:
        server.wire.leaves()
    if talk.listener.connections or len(talk.ticker):
        raise AssertionError("something was left behind")
    return seen


def _statuses(data: bytes, requests: Sequence[Any]) -> list[int]:
    statuses = []
    methods = [request.method for request in requests]
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, head
        line, *fields = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 (\d\d\d) [^\r\n]*", line)
        assert match, line
        status = int(match[1])
        if status < 200:
            continue
        lengths = [int(each[16:]) for each in fields if each.lower().startswith(b"content-length: ")]
        silent = len(statuses) < len(methods) and methods[len(statuses)] == b"HEAD" and status == 200
        statuses.append(status)
        if not silent and status not in (204, 304):
            (length,) = lengths
            assert len(data) >= length, "an answer without its end"
            data = data[length:]
    return statuses


@define
class Answered:
    """
    What became of what an upstream server said.

    :ivar status: of the answer that the client got.
    :ivar fields: of it.
    :ivar whole: it has an end, and the client was not cut off.
    :ivar reused: the connection to the server was kept for the next request.
    """

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool
    reused: bool


def answered(pieces: Sequence[bytes], method: bytes = b"GET", clean: bool = True) -> Answered:
    """
    Have an upstream server answer ``pieces``, and close.

    :param clean: it closes in order; False: it resets.
    :raise AmbiguousError: when what the client gets is not exactly one answer, or may be read in two ways.
    """
    talk = Conversation()
    client = talk.client(CLIENT)
    client.says(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    server = talk.accept()
    server.taken()
    for piece in pieces:
        if not server.gone:
            server.says(piece)
    reused = talk.upstream.resting == 1
    if not server.aborted:
        server.leaves(ConnectionDone if clean else ConnectionLost)
    elif server.gone:
        server.leaves(ConnectionAborted)
    data = client.taken()
    aborted = client.aborted
    if not talk.records:
        raise AssertionError("the request has no end")
    client.leaves()
    talk.upstream.stop()
    if talk.listener.connections or len(talk.ticker):
        raise AssertionError("something was left behind")
    return _answer(data, method, aborted, reused)


def _answer(data: bytes, method: bytes, aborted: bool, reused: bool) -> Answered:
    """
    The answer as h11 reads it, and as anybody does.
    """
    reading = h11.Connection(h11.CLIENT, max_incomplete_event_size=_ROOM)
    reading.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    reading.send(h11.EndOfMessage())
    answer = Answered(0, [], b"", False, reused)
    raw = data
    try:
        reading.receive_data(data)
        while True:
            event = reading.next_event()
            if isinstance(event, h11.InformationalResponse):
                raw = _check_head(raw)
            elif isinstance(event, h11.Response):
                raw = _check_head(raw)
                answer.status, answer.fields = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.whole = not aborted
                break
            else:
                break
    except h11.RemoteProtocolError as error:
        raise AmbiguousError(f"no answer: {error}: {data!r}") from error
    if answer.whole and reading.trailing_data[0]:
        raise AmbiguousError(f"bytes behind an answer: {reading.trailing_data!r}")
    if not answer.whole and not aborted:
        raise AmbiguousError(f"an answer without an end, and the client is not cut off: {data!r}")
    return answer


def _check_head(raw: bytes) -> bytes:
    head, separator, rest = raw.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    if not separator or not _STATUS.match(line):
        raise AmbiguousError(f"a status line that may be read in two ways: {line!r}")
    for each in fields:
        if not _FIELD.match(each):
            raise AmbiguousError(f"a field that may be read in two ways: {each!r}")
    framing = [each for each in fields if each.lower().startswith((b"content-length:", b"transfer-encoding:"))]
    if len(framing) > 1 or not all(map(_FRAMING.match, framing)):
        raise AmbiguousError(f"framed in two ways: {head!r}")
    return rest
