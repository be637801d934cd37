"""
Opening files beneath a root, whatever a client spells.

Why a walk.  A path that is checked and then opened can change in between, so nothing here is looked up twice by its
path.  The root is opened, and then each name relative to the descriptor of the directory before it, without following
links.  A symbolic link is read and its names are walked in its place, so that at every moment it is known that what is
open lies beneath the root: ``..`` goes back to the descriptor that we came from, and never above the first.  This needs
POSIX only (``openat``), and costs two system calls for each name; small files do not pay it, because they are kept.

The root itself is opened by its path each time, so that a root that is a link (``current -> releases/42``) can be
switched while we serve.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final, Literal

from twistginx.errors import ProxyError

#: What is done with symbolic links: followed while they stay beneath the root, followed always, never followed.
Symlinks = Literal["inside", "follow", "deny"]

#: As many links in one path as Linux follows.
_LINKS: Final = 40

# Never wait for the writer of a FIFO, and never make a terminal our own.
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
# O_PATH, where there is one, opens a directory that may be passed through and not listed.
_DIRECTORY: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LISTED: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

#: What opening says of something that has just been seen to be something else: it is no link any more, or it is one, or
#: it is no directory any more.
_EXCHANGED: Final = frozenset((errno.EINVAL, errno.ELOOP, errno.ENOTDIR))

#: How often to begin again then.
_AGAIN: Final = 3

#: Where files are public although their names begin with a dot (RFC 8615).
_WELL_KNOWN: Final = b".well-known"

#: The word of a failure to open; of all others it is ``proxy_internal_error``.
_WORDS: Final = {
    errno.ENOENT: "destination_not_found",
    errno.ENOTDIR: "destination_not_found",
    errno.ENAMETOOLONG: "destination_not_found",
    errno.ELOOP: "destination_not_found",
    errno.EACCES: "http_request_denied",
    errno.EPERM: "http_request_denied",
}


def names_in(path: bytes, hidden: bool) -> list[bytes] | None:
    """
    The names of directories and file that a path stands for; None when it can stand for none.

    An empty name is none: a file has one path, so that a route for ``/private`` cannot be walked around by
    ``//private``.  What is left in percent-encoding, or is a backslash, is part of a name.

    :param path: normalised and decoded, as ``request.matched_path`` is; a final ``/`` is not a name.
    :param hidden: are names that begin with a dot allowed?  ``.well-known`` is always, as the first.
    """
    names = path.removeprefix(b"/").removesuffix(b"/").split(b"/")
    if names == [b""]:
        return [] if len(path) <= 1 else None
    for position, name in enumerate(names):
        if name in (b"", b".", b"..") or b"\0" in name:
            return None
        if name[0] == 0x2E and not hidden and (position or name != _WELL_KNOWN):
            return None
    return names


class Root:
    """
    A directory that is served.

    :ivar path: as bytes, absolute.
    """

    __slots__ = ("path", "symlinks")

    def __init__(self, path: bytes, symlinks: Symlinks = "inside") -> None:
        self.path = path
        self.symlinks = symlinks

    def open(self, names: Sequence[bytes]) -> tuple[int, os.stat_result] | None:
        """
        Open a file for reading.

        :param names: from :func:`names_in`.
        :return: a descriptor, which is the caller's to close, and its status; None when it is a directory.
        :raise ProxyError: when there is no file of that name, or it may not be read.
        """
        try:
            return self._open_path(names) if self.symlinks == "follow" else self._walk(names)
        except OSError as error:
            raise _refusal(error) from error

    def open_directory(self, names: Sequence[bytes]) -> int:
        """
        Open a directory, to see what is in it.

        :return: a descriptor, which is the caller's to close.
        :raise ProxyError: when there is no directory of that name, or it may not be read.
        """
        try:
            if self.symlinks == "follow":
                return os.open(b"/".join((self.path, *names)), _LISTED)
            found = self._walk(names, listed=True)
        except OSError as error:
            raise _refusal(error) from error
        if found is None:
            raise ProxyError("destination_not_found", "not a directory")
        return found[0]

    def status(self, names: Sequence[bytes]) -> os.stat_result | None:
        """
        What is known of a file or a directory that may be served; None when there is none, or it may not.
        """
        try:
            return self.known(names)
        except ProxyError:
            return None

    def known(self, names: Sequence[bytes]) -> os.stat_result:
        """
        What is known of a file or a directory that may be served.

        :raise ProxyError: when there is none, or it may not.
        """
        try:
            if self.symlinks == "follow":
                return os.stat(b"/".join((self.path, *names)))
            opened = self._walk(names, listed=None)
        except OSError as error:
            raise _refusal(error) from error
        assert opened is not None  # both are opened
        os.close(opened[0])
        return opened[1]

    def _open_path(self, names: Sequence[bytes]) -> tuple[int, os.stat_result] | None:
        path = b"/".join((self.path, *names))
        status = os.stat(path)  # names are bytes
        if stat.S_ISDIR(status.st_mode):
            return None
        return _open_regular(path, status)

    def _walk(self, names: Sequence[bytes], listed: bool | None = False) -> tuple[int, os.stat_result] | None:
        """
        What ``names`` lead to; once more where something was exchanged for something else under our hands.

        :param listed: open directories; True: and nothing else; None: both.
        """
        for _ in range(_AGAIN):
            try:
                return self._walk_once(names, listed)
            except OSError as error:
                if error.errno not in _EXCHANGED:
                    raise
        return self._walk_once(names, listed)

    def _walk_once(self, names: Sequence[bytes], listed: bool | None) -> tuple[int, os.stat_result] | None:
        # The descriptors from the root down to where we are; and all that are to be closed.
        trail = [os.open(self.path, _DIRECTORY)]
        opened = [trail[0]]
        pending = list(reversed(names))
        links = 0
        try:
            while pending:
                name = pending.pop()
                if name == b"..":  # Of a link's target only.
                    if len(trail) == 1:
                        raise _leaving()
                    trail.pop()
                    continue
                status = os.stat(name, dir_fd=trail[-1], follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    # It has just been seen to be no link, and must still be none.
                    trail.append(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=trail[-1]))
                    opened.append(trail[-1])
                elif stat.S_ISLNK(status.st_mode):
                    links += 1
                    if self.symlinks == "deny":
                        raise ProxyError("http_request_denied", "the path has a symbolic link")
                    if links > _LINKS:
                        raise _refusal(OSError(errno.ELOOP, "too many symbolic links"))
                    target = os.readlink(name, dir_fd=trail[-1])
                    if target.startswith(b"/"):
                        target = self._inside(target)
                        del trail[1:]
                    pending.extend(part for part in reversed(target.split(b"/")) if part not in (b"", b"."))
                elif pending:
                    raise _refusal(OSError(errno.ENOTDIR, "not a directory"))
                else:
                    return None if listed else _open_regular(name, status, trail[-1])
            if listed is False:
                return None
            directory = os.open(b".", _LISTED, dir_fd=trail[-1])
            return directory, os.fstat(directory)
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _inside(self, target: bytes) -> bytes:
        """
        The part of an absolute link target that lies beneath the root.
        """
        for root in (self.path, os.path.realpath(self.path)):
            if target == root or target.startswith(root.rstrip(b"/") + b"/"):
                return target[len(root) :]
        raise _leaving()


def _refusal(error: OSError) -> ProxyError:
    word = _WORDS.get(error.errno or 0, "proxy_internal_error")
    return ProxyError(word, f"opening a file: {os.strerror(error.errno or 0)}")


def _leaving() -> ProxyError:
    return ProxyError("http_request_denied", "a symbolic link leaves the root")


def _open_regular(name: bytes, status: os.stat_result, above: int | None = None) -> tuple[int, os.stat_result]:
    """
    Open what ``status`` says is a regular file, and nothing else: opening a device or a FIFO has effects.
    """
    if stat.S_ISREG(status.st_mode):
        descriptor = os.open(name, _READ if above is None else _READ | os.O_NOFOLLOW, dir_fd=above)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return descriptor, status
        os.close(descriptor)
    raise ProxyError("http_request_denied", "not a regular file")
