"""
What a file is to a client: its type and validators, and where its bytes come from.

A small file is read once and kept ready; a large one is open, and is sent by the channel.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
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

    :ivar changed: when the file was, in whole seconds since the epoch.
    :ivar modified: the same; None when it lies in the future, because no Last-Modified may (RFC 9110 section 8.8.2.1).
    :ivar size: in bytes.
    :ivar tag: the strong entity tag.
    :ivar type: the value of Content-Type; None where none is said.
    :ivar validators: the fields of a 304.
    :ivar fields: of a 200, without its framing.
    """

    __slots__ = ("changed", "fields", "modified", "size", "tag", "type", "validators")

    def __init__(
        self,
        status: os.stat_result,
        size: int,
        content_type: bytes | None,
        now: float,
        coding: bytes = b"",
        always: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """
        :param now: seconds since the epoch.
        :param coding: what the bytes of the file are encoded with; empty: they are what they are.
        :param always: fields that a 304 has as well (RFC 9110 section 15.4.5): Cache-Control, Vary.
        """
        modified = self.changed = status.st_mtime_ns // 1_000_000_000
        self.modified = modified if modified <= now else None
        self.size = size
        # Another coding is another representation (RFC 9110 section 8.8.3.3).
        self.tag = b'"%x-%x%b"' % (status.st_mtime_ns, size, b"-" + coding if coding else b"")
        self.type = content_type
        self.validators = Fields.of([(b"ETag", self.tag)])
        if self.modified is not None:
            self.validators.add(b"Last-Modified", datetimeToString(modified))
        self.validators.extend(Fields.of(always))
        self.fields = Fields()
        if content_type is not None:
            self.fields.add(b"Content-Type", content_type)
        if coding:
            self.fields.add(b"Content-Encoding", coding)
        self.fields.add(b"Accept-Ranges", b"bytes")
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

    :ivar names: the directories from the root down to it, and its own.
    :ivar codings: that there are siblings of it in.
    :ivar identity: of the state that was read; None: it cannot be told from a later one.
    :ivar whole: the 200.
    :ivar unchanged: the 304.
    :ivar until: on the ticker's clock: when to look again whether the file has changed.
    """

    __slots__ = ("codings", "content", "identity", "names", "representation", "unchanged", "until", "whole")

    def __init__(
        self, names: Sequence[bytes], representation: Representation, content: bytes, identity: Identity | None
    ) -> None:
        self.names = names
        self.codings: tuple[bytes, ...] = ()
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

    def read(self) -> bytes:
        """
        All of it.
        """
        return self.content

    def close(self) -> None:
        """
        There is nothing to close.
        """


class OpenFile:
    """
    A large file, open for one response.

    :ivar names: the directories from the root down to it, and its own.
    :ivar codings: None: it is not known which siblings there are.
    :ivar identity: of its state; None: it cannot be told from a later one.
    :ivar descriptor: what reads it; None once it belongs to a body.
    """

    __slots__ = ("descriptor", "identity", "names", "representation")

    codings = None

    def __init__(
        self, names: Sequence[bytes], representation: Representation, descriptor: int, identity: Identity | None
    ) -> None:
        self.names = names
        self.identity = identity
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

    def read(self) -> bytes:
        """
        All of it; not for files of any size.
        """
        assert self.descriptor is not None
        return os.pread(self.descriptor, self.representation.size, 0)

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
