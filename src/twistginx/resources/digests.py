"""
Digests of whole representations: ``Want-Repr-Digest`` is answered with ``Repr-Digest`` (RFC 9530).
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64encode
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from twistginx.net.threads import Threads
from twistginx.resources.representation import Identity, KeptFile, OpenFile

#: The algorithms of RFC 9530 that are fit for adversaries, the one that we like best first: it is the one that
#: processors have instructions for.
_ALGORITHMS: Final = {b"sha-256": hashlib.sha256, b"sha-512": hashlib.sha512}

#: No digest is made of files larger than this, in bytes: whoever asks for one costs us a second of a core.
_LARGEST: Final = 1 << 30

_READ: Final = 1 << 18

#: How many digests of large files are remembered.
_REMEMBERED: Final = 1024

# A member of the dictionary (RFC 8941 section 3.2): a key, and an integer from 0 to 10.  Without one it is true, which
# is no preference.
_MEMBER: Final = re.compile(rb"([a-z*][a-z0-9_.*-]*)[ \t]*=[ \t]*(10|[0-9])[ \t]*(?:;.*)?\Z")

#: The identity of a file's state, or an object that is equal to nothing else; and the algorithm.
_Key = tuple[Identity | object, bytes]


def wanted_algorithm(value: bytes) -> bytes | None:
    """
    The algorithm to answer a Want-Repr-Digest with; None when it wants none that there is.
    """
    best, chosen = 0, None
    wanted = {}
    for member in value.split(b","):
        found = _MEMBER.match(member.strip(b" \t"))
        if found:
            wanted[found[1]] = int(found[2])
    for algorithm in _ALGORITHMS:
        if wanted.get(algorithm, 0) > best:
            best, chosen = wanted[algorithm], algorithm
    return chosen


class Digests:
    """
    Makes the values of Repr-Digest: of small files at once, of large ones in a thread, once for each state of a file.
    """

    __slots__ = ("_known", "_pending", "_threads")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._known: dict[_Key, bytes] = {}
        self._pending: dict[_Key, list[Deferred[bytes | None]]] = {}

    def of(self, file: KeptFile | OpenFile, algorithm: bytes) -> Deferred[bytes | None]:
        """
        The field's value; None when there is to be none.

        :param file: its descriptor stays the caller's, who keeps it open until there is a result.
        """
        if isinstance(file, KeptFile):
            return succeed(_value(algorithm, _ALGORITHMS[algorithm](file.content).digest()))
        if file.representation.size > _LARGEST:
            return succeed(None)
        # What may still change without showing it has a digest of its own each time.
        key = (file.identity or object(), algorithm)
        known = self._known.get(key)
        if known is not None:
            return succeed(known)
        waiting: Deferred[bytes | None] = Deferred()
        others = self._pending.get(key)
        if others is not None:
            others.append(waiting)
            return waiting
        self._pending[key] = [waiting]
        work = self._threads.run(_read, file.descriptor, file.representation.size, algorithm)
        work.addBoth(partial(self._made, key))
        return waiting

    def _made(self, key: _Key, outcome: bytes | Failure | None) -> None:
        value = None if isinstance(outcome, Failure) else outcome
        if value is not None and isinstance(key[0], tuple):
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = value
        for waiting in self._pending.pop(key, ()):
            waiting.callback(value)


def _value(algorithm: bytes, digest: bytes) -> bytes:
    """
    A dictionary with one byte sequence (RFC 8941 section 3.3.5).
    """
    return b"%b=:%b:" % (algorithm, b64encode(digest))


def _read(descriptor: int, size: int, algorithm: bytes) -> bytes | None:
    """
    Runs in a thread.  None when the file is not what it was.
    """
    digest = _ALGORITHMS[algorithm]()
    position = 0
    while position < size:
        data = os.pread(descriptor, min(_READ, size - position), position)
        if not data:
            return None
        digest.update(data)
        position += len(data)
    return _value(algorithm, digest.digest())
