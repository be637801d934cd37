"""
``static``: files of a directory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web import static
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer, moduleProvides

from twistginx.errors import ConfigError, ProxyError
from twistginx.http.message import Fields, Reply, RequestHead
from twistginx.http.variables import safe_location
from twistginx.interfaces import IContext, IResourceModule, IStreaming
from twistginx.net.timers import Ticker
from twistginx.resources.conditions import GO_ON, NOT_MODIFIED, conditions_in, evaluate, range_holds
from twistginx.resources.files import Root, Symlinks, names_in
from twistginx.resources.multipart import content_range, multipart
from twistginx.resources.ranges import parse_range
from twistginx.resources.representation import SMALL, KeptFile, OpenFile, Representation, SmallFiles, identity_of

moduleProvides(IResourceModule)

name = "static"
api = 1

#: How long, in seconds, a kept file is served without a look whether it has changed.
FRESH = 1.0


@frozen
class Config:
    """
    Serve the files of a directory.

    The type of a file is that of its extension; text is UTF-8.  Files up to 64 KiB are kept in memory, 32 MiB of them,
    and are looked at for changes once a second; larger ones are sent as they are read.

    :ivar root: the directory.  It may be a symbolic link, and be switched while it is served.
    :ivar index: the files that answer for a directory; the first that exists does.
    :ivar symlinks: "inside": a symbolic link is followed while it stays beneath the root; "all": wherever it leads;
        "none": never.
    :ivar hidden: serve files and directories whose names begin with a dot.  ``/.well-known`` is served always.
    """

    root: Path
    index: tuple[str, ...] = ("index.html",)
    symlinks: Symlinks = "inside"
    hidden: bool = False

    @classmethod
    def from_shorthand(cls, value: object) -> Config:
        """
        ``static = "www"``.
        """
        if not isinstance(value, str) or not value:
            raise ValueError('expected a directory, as in static = "www"')
        return cls(root=Path(value))


def make(config: Config, context: IContext) -> StaticResource:
    """
    The resource for a directory, which must exist.
    """
    root = context.base / config.root
    if not root.is_dir():
        problem = "is not a directory" if root.exists() else "does not exist"
        raise ConfigError(f'"{config.root}" {problem}', key="root", expected="expected a directory")
    for position, index in enumerate(config.index):
        if index in ("", ".", "..") or "/" in index or "\0" in index:
            raise ConfigError(
                f"{index!r} is not the name of a file", key=f"index.{position}", expected="expected a name"
            )
    resource = StaticResource(str(root))
    resource.serve(config, context.ticker, context.reactor)
    return resource


# What is missing on some machines, or is another type there than browsers need.
_TYPES = {
    ".avif": "image/avif",
    ".css": "text/css",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp4": "video/mp4",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}


@implementer(IStreaming)
class StaticResource(static.File):
    """
    A directory whose files answer for ``request.matched_path``, or what ``strip_prefix`` leaves of it.

    It finds files itself, because a tree of one ``File`` for each directory cannot promise that what it opens lies
    beneath the root.  What is inherited is for those who walk it themselves: ``getChild`` gives Twisted's own Files,
    with Twisted's own rules.
    """

    isLeaf = True
    contentTypes = {  # noqa: RUF012  # a table, as in the class above
        **static.File.contentTypes,
        **_TYPES,
    }

    def __init__(
        self,
        path: str,
        defaultType: str = "application/octet-stream",
        ignoredExts: Sequence[str] = (),
        registry: static.Registry | None = None,
    ) -> None:
        super().__init__(path, defaultType, ignoredExts, registry)

    def serve(self, config: Config, ticker: Ticker, reactor: IReactorTime) -> None:
        """
        Say how: to be called once, before the first request.
        """
        self._index = tuple(map(os.fsencode, config.index))
        self._hidden = config.hidden
        self._served = Root(os.fsencode(self.path), config.symlinks)
        self._small = SmallFiles()
        self._kept = self._small.files
        self._ticker = ticker
        self._reactor = reactor

    def createSimilarFile(self, path: str) -> static.File:
        """
        A child, for those who walk the tree: a File of Twisted's.
        """
        child = static.File(path, self.defaultType, self.ignoredExts, self.registry)
        child.processors = self.processors
        child.indexNames = self.indexNames[:]
        child.childNotFound = self.childNotFound
        return child

    def render(self, request: Any) -> int:
        """
        Answer at once.
        """
        # The straight line: a small file, unconditionally.
        kept = self._kept.get(request.matched_path)
        if kept is not None and self._ticker.now < kept.until:
            head = request.head
            marks = head.marks
            if head.method == b"GET" and marks is not None and b"if-" not in marks and b"range:" not in marks:
                request.respond(kept.whole)
                return NOT_DONE_YET
        try:
            reply = self._answer(request)
        except ProxyError as error:
            request.fail(error)
        else:
            request.respond(reply)
        return NOT_DONE_YET

    def _answer(self, request: Any) -> Reply:
        """
        What a request is answered.

        :raise ProxyError: when it is a failure.
        """
        head = request.head
        if head.method not in (b"GET", b"HEAD"):
            raise ProxyError("method_not_allowed", fields=((b"Allow", b"GET, HEAD"),))
        path = request.matched_path
        file: KeptFile | OpenFile | None = self._kept.get(path)
        if file is None or self._ticker.now >= file.until:  # type: ignore[union-attr]  # what is kept is a KeptFile
            route = request.route
            names = names_in(path[len(route.prefix) :] if route.strip else path, self._hidden)
            if names is None:
                raise ProxyError("destination_not_found", "no file can have such a path")
            opened = self._served.open(names)
            if opened is None:
                if not path.endswith(b"/"):
                    return _with_slash(head)
                names, opened = self._open_index(names)
            elif path.endswith(b"/"):
                os.close(opened[0])
                raise ProxyError("destination_not_found", "a file is not a directory")
            file = self._load(path, names[-1], *opened)
        try:
            return self._select(head, file)
        finally:
            file.close()

    def _open_index(self, names: list[bytes]) -> tuple[list[bytes], tuple[int, os.stat_result]]:
        """
        The first index file that a directory has.
        """
        for index in self._index:
            try:
                opened = self._served.open([*names, index])
            except ProxyError as error:
                if error.reason.word != "destination_not_found":
                    raise
            else:
                if opened is not None:
                    return [*names, index], opened
        raise ProxyError("destination_not_found", "the directory has no index file")

    def _load(self, path: bytes, last: bytes, descriptor: int, status: os.stat_result) -> KeptFile | OpenFile:
        """
        The file to answer with; ``descriptor`` is closed, or belongs to it.
        """
        now = time()
        if status.st_size > SMALL:
            self._small.drop(path)
            return OpenFile(Representation(status, status.st_size, self._type_of(last), now), descriptor)
        kept = self._kept.get(path)
        identity = identity_of(status, now)
        try:
            if kept is None or identity is None or kept.identity != identity:
                content = os.pread(descriptor, status.st_size, 0)
                if len(content) != status.st_size:  # It is being cut off under our hands.
                    identity = None
                representation = Representation(status, len(content), self._type_of(last), now)
                kept = KeptFile(representation, content, identity)
        except OSError as error:
            raise ProxyError("proxy_internal_error", f"reading a file: {error.strerror}") from error
        finally:
            os.close(descriptor)
        kept.until = self._ticker.now + FRESH
        self._small.keep(path, kept)
        return kept

    def _select(self, head: RequestHead, file: KeptFile | OpenFile) -> Reply:
        """
        The answer that the conditions and ranges of a request select (RFC 9110 sections 13.2 and 14.2).
        """
        conditions = conditions_in(head.fields)
        representation = file.representation
        tag, modified, size = representation.tag, representation.modified, representation.size
        now = time()
        verdict = evaluate(conditions, tag, modified, now)
        if verdict == NOT_MODIFIED:
            return file.unchanged
        if verdict != GO_ON:
            return Reply(verdict)
        if head.method == b"HEAD":
            return Reply(200, representation.fields, b"", size)
        wanted = conditions.get(b"range")
        ranges = None
        if wanted is not None and range_holds(conditions, tag, modified, now):
            ranges = parse_range(wanted, size)
        if ranges is None:
            return file.whole
        if not ranges:
            return Reply(416, [(b"Content-Range", b"bytes */%d" % size)])
        if len(ranges) > 1:
            return multipart(file, ranges, self._reactor)
        start, length = ranges[0]
        partial = Fields(representation.fields)
        partial.add(b"Content-Range", content_range(start, length, size))
        return Reply(206, partial, file.part(start, length))

    def _type_of(self, last: bytes) -> bytes:
        """
        The Content-Type of a file of that name.
        """
        extension = "." + os.fsdecode(last.rpartition(b".")[2]).lower()
        known: str = self.contentTypes.get(extension, self.defaultType)
        if known.startswith("text/"):
            known += "; charset=utf-8"
        return known.encode()


def _with_slash(head: RequestHead) -> Reply:
    """
    To the same path with a slash at its end.

    The reference is relative, and begins with a dot: so it can lead to no other host, whatever the path is, and is
    right under whatever prefix a proxy before us has taken away.
    """
    last = head.path[head.path.rfind(b"/") + 1 :]
    query = b"" if head.query is None else b"?" + head.query
    return Reply(301, [(b"Location", safe_location(b"./" + last + b"/" + query))])
