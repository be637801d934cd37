"""
Content codings that bodies are compressed with on their way: gzip, Brotli, Zstandard.  Pure.

Each has ``feed(data)``, ``flush()`` (all that was fed can be read from what was returned) and ``finish()``.  All three
libraries release the interpreter's lock while they work.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol

from attrs import frozen

#: Where Zstandard is: in the standard library since 3.14, and the same from PyPI before.
_ZSTD: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


class Encoder(Protocol):
    """
    One body, being compressed.
    """

    def feed(self, data: bytes) -> bytes:
        """
        Take bytes; return what is ready.
        """

    def flush(self) -> bytes:
        """
        What was kept back, for the sake of a better compression.
        """

    def finish(self) -> bytes:
        """
        The end.
        """


@frozen
class Algorithm:
    """
    A content coding that there is.

    :ivar coding: its name in HTTP.
    :ivar levels: the lowest, the usual and the highest.  The usual takes about 1 ms for 64 KiB of JSON or HTML.
    :ivar module: what must be there for it.
    :ivar make: ``(module, level, small)`` to an Encoder; ``small``: for one of thousands that stay open for hours.
    """

    coding: bytes
    levels: tuple[int, int, int]
    module: str
    make: Callable[[Any, int, bool], Encoder]

    def load(self) -> Any:
        """
        Its library.

        :raise ImportError: when it is not installed.
        """
        return import_module(self.module)


class _Gzip:
    """
    RFC 1952.
    """

    __slots__ = ("_object", "feed", "finish")

    def __init__(self, library: Any, level: int, small: bool) -> None:
        # 16 more is the header of gzip.  The window is 32 KiB, or 8.
        deflate = library.compressobj(level, library.DEFLATED, 16 + (13 if small else 15), 6 if small else 8)
        self._object = deflate
        self.feed = deflate.compress
        self.finish = deflate.flush

    def flush(self) -> bytes:
        flushed: bytes = self._object.flush(zlib.Z_SYNC_FLUSH)
        return flushed


class _Brotli:
    """
    RFC 7932.
    """

    __slots__ = ("feed", "finish", "flush")

    def __init__(self, library: Any, level: int, small: bool) -> None:
        compressor = library.Compressor(quality=level, lgwin=16 if small else 19)
        self.feed = compressor.process
        self.flush = compressor.flush
        self.finish = compressor.finish


class _Zstandard:
    """
    RFC 8878; the window stays below the 8 MiB of RFC 9659.
    """

    __slots__ = ("_block", "_object", "feed")

    def __init__(self, library: Any, level: int, small: bool) -> None:
        options = {
            library.CompressionParameter.compression_level: level,
            library.CompressionParameter.window_log: 16 if small else 20,
        }
        if small:
            options[library.CompressionParameter.hash_log] = 14
            options[library.CompressionParameter.chain_log] = 14
        compressor = library.ZstdCompressor(options=options)
        self._object = compressor
        self._block = library.ZstdCompressor.FLUSH_BLOCK
        self.feed = compressor.compress

    def flush(self) -> bytes:
        flushed: bytes = self._object.flush(self._block)
        return flushed

    def finish(self) -> bytes:
        rest: bytes = self._object.flush()
        return rest


#: All that there are, the one that we like best first: it compresses as well as the next in half of its time.
ALGORITHMS: Final = {
    "zstd": Algorithm(b"zstd", (1, 3, 19), _ZSTD, _Zstandard),
    "br": Algorithm(b"br", (0, 4, 11), "brotli", _Brotli),
    "gzip": Algorithm(b"gzip", (1, 4, 9), "zlib", _Gzip),
}
