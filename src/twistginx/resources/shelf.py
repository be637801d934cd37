"""
The files beneath a root, opened when they are asked for; small ones stay at hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from time import time
from typing import Final

from twistginx.errors import ProxyError
from twistginx.http.coding import Offer, accepted_codings
from twistginx.http.message import RequestHead
from twistginx.net.timers import Ticker
from twistginx.resources.cachecontrol import CacheRules
from twistginx.resources.files import Root, Symlinks
from twistginx.resources.mediatypes import FileTypes
from twistginx.resources.representation import (
    SMALL,
    KeptFile,
    OpenFile,
    Representation,
    SmallFiles,
    identity_of,
)

#: How long, in seconds, a kept file is served without a look whether it has changed.
FRESH: Final = 1.0

#: What the names of precompressed siblings end with, by their codings; the one that we like best first.
SUFFIXES: Final = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}


class Shelf:
    """
    The files of one root, and what is said of them.

    :ivar kept: small files, by keys: of a file that a path names, the normalised path; of one that is served in place
        of another, or of another route's failure, ``//`` and its own path; of a sibling, what ``_sibling_key`` makes.
        No two are ever equal.
    """

    __slots__ = ("_offer", "_rules", "_small", "kept", "root", "ticker", "types")

    def __init__(
        self,
        root: bytes,
        symlinks: Symlinks,
        ticker: Ticker,
        types: FileTypes,
        cache_control: CacheRules,
        codings: tuple[bytes, ...] = (),
    ) -> None:
        """
        :param cache_control: the value of Cache-Control of each file that has one.
        :param codings: of the siblings that may be there.
        """
        self.root = Root(root, symlinks)
        self.ticker = ticker
        self.types = types
        self._rules = cache_control
        self._offer = Offer(codings) if codings else None
        self._small = SmallFiles()
        self.kept = self._small.files

    def fresh(self, key: bytes) -> KeptFile | None:
        """
        A file that is kept, and was looked at just now.
        """
        kept = self.kept.get(key)
        return kept if kept is not None and self.ticker.now < kept.until else None

    def fetch(self, key: bytes, names: Sequence[bytes]) -> KeptFile | OpenFile | None:
        """
        A file, to be closed by the caller; None when it is a directory.

        :param key: what it is kept by, if it is small.
        :raise ProxyError: when there is no file of that name, or it may not be read.
        """
        kept = self.fresh(key)
        if kept is not None:
            return kept
        opened = self.root.open(names)
        return None if opened is None else self._load(key, names, *opened)

    def exists(self, names: Sequence[bytes]) -> bool:
        """
        Is there a file, or a directory, that may be served?
        """
        return self.root.status(names) is not None

    def in_coding(self, head: RequestHead, file: KeptFile | OpenFile) -> KeptFile | OpenFile:
        """
        The precompressed sibling that the client likes best, or ``file`` where it likes none.  The other is closed.
        """
        if self._offer is None or file.codings == ():
            return file
        for coding in self._offer.ranked(accepted_codings(head)):
            if file.codings is None or coding in file.codings:
                sibling = self._sibling(file, coding)
                if sibling is not None:
                    file.close()
                    return sibling
        return file

    def _sibling(self, file: KeptFile | OpenFile, coding: bytes) -> KeptFile | OpenFile | None:
        key = b"%b\0%b" % (b"/".join(file.names), coding)
        kept = self.fresh(key)
        if kept is not None:
            return kept
        try:
            opened = self.root.open(_sibling_names(file.names, coding))
        except ProxyError:
            return None
        if opened is None:
            return None
        if opened[1].st_mtime_ns // 1_000_000_000 < file.representation.changed:  # made of an earlier state of the file
            os.close(opened[0])
            return None
        return self._load(key, file.names, *opened, coding)

    def _codings_of(self, file: KeptFile) -> Iterator[bytes]:
        """
        The codings that there is a sibling in.
        """
        if self._offer is not None:
            for coding in self._offer.codings:
                status = self.root.status(_sibling_names(file.names, coding))
                if status is not None and status.st_mtime_ns // 1_000_000_000 >= file.representation.changed:
                    yield coding

    def _load(
        self, key: bytes, names: Sequence[bytes], descriptor: int, status: os.stat_result, coding: bytes = b""
    ) -> KeptFile | OpenFile:
        """
        The file to answer with; ``descriptor`` is closed, or belongs to it.

        :param names: of the file that it stands for, if it is a sibling.
        """
        now = time()
        identity = identity_of(status, now)
        if status.st_size > SMALL:
            self._small.drop(key)
            return OpenFile(names, self._represent(names, status, status.st_size, now, coding), descriptor, identity)
        kept = self.kept.get(key)
        try:
            if kept is None or identity is None or kept.identity != identity:
                content = os.pread(descriptor, status.st_size, 0)
                if len(content) != status.st_size:  # It is being cut off under our hands.
                    identity = None
                kept = KeptFile(names, self._represent(names, status, len(content), now, coding), content, identity)
        except OSError as error:
            raise ProxyError("proxy_internal_error", f"reading a file: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if not coding:
            kept.codings = tuple(self._codings_of(kept))
        kept.until = self.ticker.now + FRESH
        self._small.keep(key, kept)
        return kept

    def _represent(
        self, names: Sequence[bytes], status: os.stat_result, size: int, now: float, coding: bytes
    ) -> Representation:
        always = []
        rule = self._rules.find(b"/".join(names))
        if rule is not None:
            always.append((b"Cache-Control", rule))
        if self._offer is not None:
            # Said of files without siblings, too: there may be one tomorrow.
            always.append((b"Vary", b"Accept-Encoding"))
        return Representation(status, size, self.types.of(names[-1]), now, coding, always)


def _sibling_names(names: Sequence[bytes], coding: bytes) -> list[bytes]:
    return [*names[:-1], names[-1] + SUFFIXES[coding]]
