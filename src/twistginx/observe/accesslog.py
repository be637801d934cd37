"""
The access log: one line for each request, written in batches.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from json.encoder import encode_basestring as quote
from time import gmtime, localtime, strftime, time
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twistginx.config.template import LogTemplate
from twistginx.http.message import Record
from twistginx.http.variables import compile_template
from twistginx.observe.counters import Counters
from twistginx.observe.sink import Sink

#: Makes the line of a request, without its end.
Format = Callable[[Any, Record], bytes]

#: Bytes that are gathered before they are written.
BATCH: Final = 64 * 1024

#: Seconds that a line waits at most.
PATIENCE: Final = 1.0

_log = Logger()

#: What a quoted value may hold as it is: printable ASCII without quote and backslash.
_SAFE: Final = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')

_ESCAPED: Final = [bytes((code,)) if code in _SAFE else b"\\x%02X" % code for code in range(256)]

#: Request fields that the JSON format tells, and what it calls them.
_JSON_FIELDS: Final = ((b"user-agent", "user_agent.original"), (b"referer", "http.request.header.referer"))

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def escape(value: bytes) -> bytes:
    r"""
    A value as nginx writes it: control characters, quote, backslash and what is not ASCII become ``\xHH``.
    """
    # The fast path deletes what is safe: nothing is left.
    if value.translate(None, _SAFE):
        return b"".join([_ESCAPED[code] for code in value])
    return value


def basic_user(authorization: bytes) -> bytes:
    """
    The name in a Basic ``Authorization`` value (RFC 7617), whether or not it was let in; ``-`` when there is none.
    """
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return b"-"
    try:
        return b64decode(credentials).partition(b":")[0] or b"-"
    except Base64Error:
        return b"-"


def combined(wall: Callable[[], float] = time) -> Format:
    """
    The format that is called ``combined`` in nginx and Apache, byte for byte.
    """
    second = -1
    stamp = b""

    def line(request: Any, record: Record) -> bytes:
        nonlocal second, stamp
        now = int(wall())
        if now != second:
            second, stamp = now, _local_time(now)
        head = request.head
        user = request.remote_user or b"-"
        if not request.remote_user and (head.marks is None or b"authorization:" in head.marks):
            authorization = head.first(b"authorization")
            if authorization is not None:
                user = basic_user(authorization)
        target = head.target
        section = head.section
        if section is None or section.block is not head.block:
            fields = _fields_told(head)
        else:
            fields = section.told
            if fields is None:
                fields = section.told = _fields_told(head)
        if (target + user).translate(None, _SAFE):
            target, user = escape(target), escape(user)
        return b'%b - %b [%b] "%b %b %b" %d %d %b' % (
            request.client_ip,
            user,
            stamp,
            head.method,
            target,
            head.version,
            record.status,
            record.sent,
            fields,
        )

    return line


def _fields_told(head: Any) -> bytes:
    """
    The fields that :func:`combined` tells, in quotes: Referer and User-Agent.
    """
    referer, agent = head.first(b"referer"), head.first(b"user-agent")
    # An empty one is told as such, as nginx does.
    return b'"%b" "%b"' % (b"-" if referer is None else escape(referer), b"-" if agent is None else escape(agent))


def json(wall: Callable[[], float] = time) -> Format:
    r"""
    One flat JSON object, with the names of OpenTelemetry where it has one; what is not there is left out.

    Bytes that are no UTF-8 are written as ``\xHH``.
    """
    second = -1
    stamp = ""

    def line(request: Any, record: Record) -> bytes:
        nonlocal second, stamp
        now = wall()
        if int(now) != second:
            second = int(now)
            stamp = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        head = request.head
        route = request.route
        text = (
            f'{{"time":"{stamp}.{int(now % 1 * 1000):03d}Z","client.address":{_quoted(request.client_ip)},'
            f'"http.request.method":{_quoted(head.method)},"url.scheme":{_quoted(request.scheme)},'
            f'"server.address":{_quoted(head.host)},"url.path":{_quoted(head.path)},'
            f'"network.protocol.version":{_quoted(head.version[5:])},"http.response.status_code":{record.status},'
            f'"http.response.body.size":{record.sent},"t_total":{record.seconds:.6f},'
            f'"request_id":"{request.request_id.decode()}"'
        )
        if head.query is not None:
            text += f',"url.query":{_quoted(head.query)}'
        for lower, name in _JSON_FIELDS:
            value = head.first(lower)
            if value is not None:
                text += f',"{name}":{_quoted(value)}'
        if route is not None and route.name:
            text += f',"route":{quote(route.name)}'
        if request.remote_user:
            text += f',"user.name":{_quoted(request.remote_user)}'
        if request.split:
            text += f',"split":{_quoted(request.split)}'
        if record.upstream:
            text += f',"upstream":{quote(record.upstream)}'
        if record.reason:
            text += f',"reason":{quote(record.reason)}'
            if record.detail:
                text += f',"detail":{quote(record.detail)}'
        return f"{text}}}".encode()

    return line


def own(template: LogTemplate) -> Format:
    """
    A format of the user's.  Values are escaped as in :func:`combined`; what is missing is ``-``.
    """
    parts = []
    for part in template.parts:
        get = compile_template(LogTemplate(template.text, (part,)), missing=b"-")
        parts.append(get if isinstance(part, str) else _escaping(get))

    def line(request: Any, record: Record) -> bytes:
        return b"".join([get(request, record) for get in parts])

    return line


def format_of(form: str | LogTemplate) -> Format:
    """
    What ``[log].access.format`` says: ``combined``, ``json`` or a template.
    """
    if isinstance(form, LogTemplate):
        return own(form)
    return {"combined": combined, "json": json}[form]()


def _escaping(get: Callable[..., bytes]) -> Format:
    return lambda request, record: escape(get(request, record))


def _quoted(value: bytes) -> str:
    """
    A JSON string.
    """
    return quote(value.decode("utf-8", "backslashreplace"))


def _local_time(now: float) -> bytes:
    """
    ``10/Oct/2026:13:55:36 +0000``, in English whatever the locale.
    """
    here = localtime(now)
    month = _MONTHS[here.tm_mon - 1]
    return f"{here.tm_mday:02d}/{month}/{here.tm_year}:{strftime('%H:%M:%S %z', here)}".encode()


def _pieces(lines: list[bytes], at_once: int) -> list[bytes]:
    """
    Lines as pieces to write, the last one first: whole lines, of ``at_once`` bytes together if they are not longer.
    """
    pieces: list[bytes] = []
    some: list[bytes] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > at_once and some:
            some.append(b"")
            pieces.append(b"\n".join(some))
            some, size = [], len(line) + 1
        some.append(line)
    some.append(b"")
    pieces.append(b"\n".join(some))
    pieces.reverse()
    return pieces


class AccessLog:
    """
    A batch of lines, and the sink that it goes to.

    Lines are written when there are 64 KiB of them, and after a second at the latest.  Nothing here raises into a
    request: lines that cannot be written (a full disk, a directory that is gone, a pipe that was closed) are counted
    and lost, which is said once in the error log, and again when it is over; memory never grows.
    """

    __slots__ = ("_batch", "_call", "_clock", "_closed", "_counters", "_format", "_lost", "_sink", "_size", "_torn")

    def __init__(self, clock: IReactorTime, path: str, line: Format, counters: Counters) -> None:
        """
        :param path: an absolute path, or ``stdout``.
        :param line: makes a line: :func:`format_of` what was configured.
        """
        self._clock = clock
        self._sink = Sink(path)
        self._format = line
        self._counters = counters
        self._batch: list[bytes] = []
        self._size = 0
        self._call: IDelayedCall | None = None
        self._closed = False
        # Since the last write that worked: lines lost, and whether the file ends in the middle of one.
        self._lost = 0
        self._torn = False

    @property
    def path(self) -> str:
        """
        An absolute path, or ``stdout``.
        """
        return self._sink.path

    def open(self) -> None:
        """
        :raise OSError: when the file cannot be opened.
        """
        self._sink.open()
        self._closed = False

    def log(self, request: Any, record: Record) -> None:
        """
        Add the line of a request that is over.
        """
        line = self._format(request, record)
        self._batch.append(line)
        self._size += len(line)
        if self._size > BATCH or self._closed:
            self.flush()
        elif self._call is None:
            self._call = self._clock.callLater(PATIENCE, self._late)

    def flush(self) -> None:
        """
        Write what there is, now.
        """
        if not self._batch:
            return
        pieces = _pieces(self._batch, self._sink.at_once)
        self._batch = []
        self._size = 0
        rest = memoryview(b"")
        try:
            if self._torn:
                self._sink.write(b"\n")
                self._torn = False
            while pieces:
                rest = memoryview(pieces.pop())
                while rest:
                    written = self._sink.write(rest)
                    self._torn = rest[written - 1] != 0x0A
                    rest = rest[written:]
        except OSError as error:
            self._lose(sum(bytes(piece).count(b"\n") for piece in (rest, *pieces)), error)
        else:
            if self._lost:
                _log.warn("access log {path}: writing again; {lost} lines were lost", path=self.path, lost=self._lost)
                self._lost = 0
        if self._closed:
            self._sink.close()

    def reopen(self) -> None:
        """
        Go on in a new file of the same path, after the old one was renamed.

        :raise OSError: when it cannot be opened; the old one is kept.
        """
        self.flush()
        self._sink.reopen()

    def close(self) -> None:
        """
        Write what there is, and give the file back.

        A request that ends later is still logged: its line opens the file once more.
        """
        self.flush()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._closed = True
        self._sink.close()

    def _late(self) -> None:
        self._call = None
        self.flush()

    def _lose(self, lines: int, error: OSError) -> None:
        if not self._lost:
            _log.error("access log {path}: {error}; lines are lost", path=self.path, error=error.strerror or error)
        self._lost += lines
        self._counters.lost_lines += lines
        # Opened anew for the next batch: the directory may be back, or the file be another.
        self._sink.close()
