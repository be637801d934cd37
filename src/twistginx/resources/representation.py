"""
What a file is to a client: its type and validators, and where its bytes come from.

A small file is read once and kept ready; a large one is open, and is sent by the channel.
"""

from __future__ import annotations

import os
from typing import Final

from twisted.web.http import datetimeToString

from twistginx.http.message import Fields, FileRange, Reply

#: Files up to this many bytes are kept in memory.
SMALL: Final = 65536

#: A file that was changed within so many nanoseconds may change again without showing it: clocks of file systems tick,
#: on Linux up to every 10 ms, on FAT every two seconds.
_TICK: Final = 2_000_000_000


class Representation:
    """
    What all answers about one state of a file say.

    The entity tag is of the time and the size, and not of the inode: a tree that was copied to two machines with its
    times is to have one set of tags.

    :ivar modified: seconds since the epoch; None when it lies in the future, because no Last-Modified may (RFC 9110
        section 8.8.2.1).
    :ivar size: in bytes.
    :ivar tag: the strong entity tag.
    :ivar type: the value of Content-Type.
    :ivar validators: the fields of a 304.
    :ivar fields: of a 200, without its framing.
    """

    __slots__ = ("fields", "modified", "size", "tag", "type", "validators")

    def __init__(self, status: os.stat_result, size: int, content_type: bytes, now: float) -> None:
        modified = status.st_mtime_ns // 1_000_000_000
        self.modified = modified if modified <= now else None
        self.size = size
        self.tag = b'"%x-%x"' % (status.st_mtime_ns, size)
        self.type = content_type
        self.validators = Fields.of([(b"ETag", self.tag)])
        if self.modified is not None:
            self.validators.add(b"Last-Modified", datetimeToString(modified))
        self.fields = Fields.of([(b"Content-Type", content_type), (b"Accept-Ranges", b"bytes")])
        self.fields.extend(self.validators)


#: What tells one state of a file from another.
Identity = tuple[int, int, int, int, int]


def identity_of(status: os.stat_result, now: float) -> Identity | None:
    """
    The identity of a file's state; None while it is too young to have one.

    :param now: seconds since the epoch.
    """
    if status.st_mtime_ns > now * 1e9 - _TICK:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class KeptFile:
    """
    A small file in memory, with its usual answers ready.

    :ivar identity: of the state that was read; None: it cannot be told from a later one.
    :ivar whole: the 200.
    :ivar unchanged: the 304.
    :ivar until: on the ticker's clock: when to look again whether the file has changed.
    """

    __slots__ = ("content", "identity", "representation", "unchanged", "until", "whole")

    def __init__(self, representation: Representation, content: bytes, identity: Identity | None) -> None:
        self.content = content
        self.identity = identity
        self.representation = representation
        self.unchanged = Reply(304, representation.validators)
        self.until = 0.0
        self.whole = Reply(200, representation.fields, content)

    def part(self, start: int, length: int) -> bytes:
        """
        Bytes of it.
        """
        return self.content[start : start + length]

    def close(self) -> None:
        """
        There is nothing to close.
        """


class OpenFile:
    """
    A large file, open for one response.

    :ivar descriptor: what reads it; None once it belongs to a body.
    """

    __slots__ = ("descriptor", "representation")

    def __init__(self, representation: Representation, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        self.representation = representation

    @property
    def whole(self) -> Reply:
        """
        The 200; its body has the descriptor.
        """
        return Reply(200, self.representation.fields, self.part(0, self.representation.size))

    @property
    def unchanged(self) -> Reply:
        """
        The 304.
        """
        return Reply(304, self.representation.validators)

    def take(self) -> int:
        """
        The descriptor, which is the caller's from now on.
        """
        descriptor, self.descriptor = self.descriptor, None
        assert descriptor is not None
        return descriptor

    def part(self, start: int, length: int) -> FileRange:
        """
        Bytes of it; they have the descriptor.
        """
        return FileRange(self.take(), start, length)

    def close(self) -> None:
        """
        Close it, if nobody has taken it.
        """
        if self.descriptor is not None:
            os.close(self.take())


class SmallFiles:
    """
    The files that are kept, within bounds.

    The order is that of the last look, which is at most a second older than that of the last use: what has gone longest
    without one goes first.

    :ivar files: normalised path -> what is kept.
    :ivar size: bytes of content.
    """

    __slots__ = ("_bound", "_entries", "files", "size")

    def __init__(self, bound: int = 32 << 20, entries: int = 16384) -> None:
        """
        :param bound: bytes of content to keep.
        :param entries: how many files to keep.
        """
        self._bound = bound
        self._entries = entries
        self.files: dict[bytes, KeptFile] = {}
        self.size = 0

    def keep(self, path: bytes, kept: KeptFile) -> None:
        """
        Keep it, as the one that was looked at last; others may have to go.
        """
        self.drop(path)
        self.files[path] = kept
        self.size += len(kept.content)
        while self.size > self._bound or len(self.files) > self._entries:
            self.drop(next(iter(self.files)))

    def drop(self, path: bytes) -> None:
        """
        Keep it no longer; dropping what is not kept does nothing.
        """
        kept = self.files.pop(path, None)
        if kept is not None:
            self.size -= len(kept.content)
