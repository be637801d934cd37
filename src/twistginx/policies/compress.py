"""
``compress``: responses, compressed on their way.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import field, frozen
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import moduleProvides

from twistginx.config.units import Size
from twistginx.errors import ConfigError
from twistginx.http.coding import (
    MediaTypes,
    Offer,
    accepted_codings,
    add_vary,
    forget_bytes,
    is_encoded,
    is_transformable,
    weaken,
)
from twistginx.http.message import ResponseHead
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.net.threads import Threads, threads_of
from twistginx.policies.encoders import ALGORITHMS, Encoder

moduleProvides(IPolicyModule)

name = "compress"
api = 1
rank = 600
applies_to = frozenset(("http",))
many = False

#: What is text in one way or another.  Pictures, films and archives are compressed already.
TYPES: Final = (
    *("text/*", "*+json", "*+xml", "*+text"),
    *("application/javascript", "application/json", "application/x-ndjson", "application/xml", "application/wasm"),
    *("application/vnd.ms-fontobject", "application/x-javascript", "application/rtf", "application/toml"),
    *("application/yaml", "font/otf", "font/ttf", "image/bmp", "image/x-icon"),
)

#: How long, in seconds, bytes are kept back for what comes behind them; a stream of events never waits.
_PATIENCE: Final = 0.02

#: Pieces of at least so many bytes are compressed in a thread: that costs a tenth of a millisecond, and they would keep
#: everybody waiting for one or more.
LARGE: Final = 32768

_NOT_MODIFIED: Final = 304
_PARTIAL: Final = 206


@frozen
class Config:
    """
    Compress what is worth it and not compressed yet, for clients that accept it.  ``compress = true`` is all that is
    installed; ``compress = ["br", "gzip"]`` is short for ``algorithms``.

    Streams of events are flushed event by event.  Entity tags become weak.  What says ``Cache-Control: no-transform``
    is left alone.  Mind that a page that has both a secret and words of the client's in it tells the secret by its
    length (BREACH).

    :ivar algorithms: in the order of our liking, where the client has none: "zstd", "br", "gzip".  Empty: all that are
        installed; ``pip install twistginx[compress]`` brings them.
    :ivar levels: algorithm to level: { gzip = 6 }.  1 to 19 for zstd (3 if not said), 0 to 11 for br (4), 1 to 9 for
        gzip (4).
    :ivar types: media types, with ``text/*``, ``*+json`` and ``*`` for several.
    :ivar min_size: what is known to be smaller is sent as it is.
    """

    algorithms: tuple[Literal["zstd", "br", "gzip"], ...] = field(default=(), metadata={"single": True})
    levels: dict[str, int] = field(factory=dict)
    types: tuple[str, ...] = field(default=TYPES, metadata={"single": True})
    min_size: Size = Size(1024)

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``compress = true``, ``compress = "gzip"``, ``compress = ["br", "gzip"]``.
        """
        if value is True:
            return {}
        if isinstance(value, str):
            return {"algorithms": [value]}
        if isinstance(value, list):
            return {"algorithms": value}
        raise ValueError('expected true, or algorithms such as ["br", "gzip"]')


def make(config: Config, context: IContext) -> Compression:
    """
    The policy.
    """
    try:
        types = MediaTypes(config.types)
    except ValueError as error:
        raise ConfigError(str(error), key="types") from None
    for each, level in config.levels.items():
        if each not in ALGORITHMS:
            raise ConfigError(f'"{each}" is no algorithm', key=f"levels.{each}", expected=f"expected one of {_KNOWN}")
        lowest, _, highest = ALGORITHMS[each].levels
        if not lowest <= level <= highest:
            raise ConfigError(
                f"{each} has no level {level}", key=f"levels.{each}", expected=f"expected {lowest} to {highest}"
            )
    libraries = {}
    for position, each in enumerate(config.algorithms or ALGORITHMS):
        try:
            libraries[each] = ALGORITHMS[each].load()
        except ImportError:
            if config.algorithms:
                raise ConfigError(
                    f'"{each}" is not installed',
                    key=f"algorithms.{position}",
                    expected="expected pip install twistginx[compress]",
                ) from None
    return Compression(config, types, libraries, context)


_KNOWN: Final = ", ".join(f'"{each}"' for each in ALGORITHMS)


class Compression:
    """
    The policy of one route.
    """

    __slots__ = ("_least", "_makers", "_offer", "_reactor", "_streams", "_threads", "_types")

    def __init__(self, config: Config, types: MediaTypes, libraries: dict[str, Any], context: Any) -> None:
        self._least: Final = int(config.min_size)
        self._types: Final = types
        self._makers: Final = {
            ALGORITHMS[each].coding: (
                ALGORITHMS[each].make,
                library,
                config.levels.get(each, ALGORITHMS[each].levels[1]),
            )
            for each, library in libraries.items()
        }
        self._offer: Final = Offer(tuple(self._makers))
        # Thousands of streams may stay open, and of small pieces that are flushed one by one gzip makes the least, in
        # the least memory: 60 KiB for each stream, 200 with zstd, 580 with br.
        self._streams: Final = Offer(sorted(self._makers, key=lambda coding: coding != b"gzip"))
        self._reactor: Final = context.reactor
        self._threads: Final = threads_of(context)

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        codings = self._offer.ranked(accepted_codings(request.head))
        if not codings:
            return ["compresses nothing for this client"]
        return [f"compresses {', '.join(self._types.patterns)} from {self._least} bytes on with {codings[0].decode()}"]

    def responding(self, request: Any, head: ResponseHead) -> CompressedBody | None:
        """
        See ``IPolicy``.
        """
        status = head.status
        fields = head.fields
        if status == _NOT_MODIFIED:
            # It says what the 200 would have said (RFC 9110 section 15.4.5), which is not known here.
            # A client with a strong tag has what is not compressed, and is to go on asking for parts of that.
            add_vary(fields)
            tag = fields.first(b"etag")
            held = request.head.first(b"if-none-match") or b""
            if self._offer.ranked(accepted_codings(request.head)) and (tag is None or not _has_strong(held, tag)):
                weaken(fields)
            return None
        content_type = fields.first(b"content-type")
        if content_type is None or not self._types.has(content_type) or status in _LEFT_ALONE:
            return None
        if is_encoded(fields) or not is_transformable(fields):
            return None
        length = _length(head)
        if length is not None and length < self._least:
            return None
        add_vary(fields)
        eager = content_type.lower().startswith(b"text/event-stream") or fields.first(b"x-accel-buffering") == b"no"
        offer = self._streams if eager else self._offer
        codings = offer.ranked(accepted_codings(request.head))
        # To HTTP/1.0, a body of unknown length would cost the connection; and a part stays a part of what it is.
        if not codings or status == _PARTIAL or request.head.version == b"HTTP/1.0":
            return None
        forget_bytes(fields)
        fields.put(b"Content-Encoding", codings[0])
        head.length = None
        if request.head.method == b"HEAD":
            return None
        make_encoder, library, level = self._makers[codings[0]]
        return CompressedBody(
            make_encoder(library, level, eager), request, self._reactor, self._threads, eager=eager, length=length
        )


def _has_strong(tags: bytes, tag: bytes) -> bool:
    """
    Is the strong entity tag ``tag`` in a list?
    """
    found = tags.find(tag)
    return found >= 0 and tags[max(0, found - 2) : found] != b"W/"


#: Statuses whose responses have no body, or none that is a representation's.
_LEFT_ALONE: Final = frozenset((*range(100, 200), 204, 205, 416))


def _length(head: ResponseHead) -> int | None:
    """
    How long the body is, or would be if this were not the answer to a HEAD.
    """
    if head.length is not None:
        return head.length
    said = head.fields.first(b"content-length")
    return int(said) if said is not None and said.isdigit() else None


class CompressedBody:
    """
    A body that is being compressed: a filter.

    What is small is compressed as it passes; what is large, in a thread, while the source rests and whatever still
    comes from it waits in line.  So the order is kept, and no more is in memory than before.

    :ivar busy: something is in a thread, or waits for it.
    """

    __slots__ = ("_call", "_eager", "_encoder", "_left", "_line", "_reactor", "_request", "_threads", "busy")

    def __init__(
        self, encoder: Encoder, request: Any, reactor: Any, threads: Threads, *, eager: bool, length: int | None
    ) -> None:
        """
        :param eager: keep nothing back.
        :param length: of the body, as far as it is known.
        """
        self._encoder = encoder
        self._request = request
        self._reactor = reactor
        self._threads = threads
        self._eager = eager
        self._left = length
        self._call: IDelayedCall | None = None
        self._line: list[bytes] = []
        self.busy = False

    def feed(self, data: bytes) -> bytes:
        """
        See ``IBodyFilter``.
        """
        if self._left is not None:
            self._left -= len(data)
        if self.busy:
            self._line.append(data)
            return b""
        if len(data) >= LARGE:
            self.busy = True
            self._request.hold()
            self._compress(data)
            return b""
        if self._eager:
            return self._encoder.feed(data) + self._encoder.flush()
        if self._call is None and self._left != 0:
            self._call = self._reactor.callLater(_PATIENCE, self._flush)
        return self._encoder.feed(data)

    def finish(self) -> bytes:
        """
        See ``IBodyFilter``.
        """
        self.close()
        return self._encoder.finish()

    def close(self) -> None:
        """
        See ``IBodyFilter``.
        """
        self._request = None
        self._line.clear()
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _flush(self) -> None:
        """
        Nothing came for a while, or something did all the time: what is kept back has waited long enough.
        """
        self._call = None
        if not self.busy:
            self._request.push(self, self._encoder.flush())

    def _compress(self, data: bytes) -> None:
        self._threads.run(self._encoder.feed, data).addBoth(self._compressed)

    def _compressed(self, outcome: bytes | Failure) -> None:
        """
        A large piece is done: pass it on, and go on with what has come meanwhile.
        """
        request = self._request
        if request is None:  # the client has left
            return
        if isinstance(outcome, Failure):
            request.processingFailed(outcome)
            return
        if self._line:
            data = b"".join(self._line)
            self._line.clear()
            self._compress(data)
            if outcome:
                request.push(self, outcome)
            return
        self.busy = False
        if self._left != 0:
            outcome += self._encoder.flush()
        if outcome:
            request.push(self, outcome)
        request.go_on()
