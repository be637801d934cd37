"""
``static``: files of a directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen
from zope.interface import moduleProvides

from twistginx.config.template import Template
from twistginx.errors import ConfigError
from twistginx.interfaces import IContext, IResourceModule
from twistginx.net.threads import threads_of
from twistginx.resources.cachecontrol import CacheRules
from twistginx.resources.directory import StaticResource
from twistginx.resources.files import Symlinks, names_in
from twistginx.resources.manner import Manner
from twistginx.resources.mediatypes import FileTypes
from twistginx.resources.shelf import SUFFIXES, Shelf
from twistginx.resources.tryfiles import PROGRAMS, compile_try_files

moduleProvides(IResourceModule)

name = "static"
api = 1

T = TypeVar("T")


@frozen
class Config:
    """
    Serve the files of a directory.

    Files up to 64 KiB are kept in memory, 32 MiB of them, and are looked at for changes once a second; larger ones are
    sent as they are read.  One of ``root`` and ``alias`` is needed.  ``static = "www"`` is short for ``root``.

    :ivar root: the directory that paths begin at: with ``path = "/docs"``, /docs/a.html is docs/a.html in it, unless
        ``strip_prefix`` takes /docs away.  It may be a symbolic link, and be switched while it is served.
    :ivar alias: the directory that stands for the route's ``path``: /docs/a.html is a.html in it.  Or a file, which
        answers for all paths of the route.
    :ivar index: the files that answer for a directory; the first that exists does.
    :ivar try_files: paths beneath the root, templates: the first that there is answers.  One with a slash at its end is
        a directory.  "{path}" is the path that was asked for.  The last is a failure, "=404", or else, where it is no
        file, what the site is asked for instead: "/index.php?{query}".
    :ivar spa: for apps that route in the browser: what is not found is answered with the first of ``index`` at the
        root, or with the file that this names, unless it has the name of a file (/logo.png).
    :ivar listing: show what is in a directory that has no index file: a page, or JSON for who accepts that.
    :ivar precompressed: siblings to send to who accepts them: ["br", "zstd", "gzip"], a.css.br for a.css; the first is
        preferred.  ``true`` is all three.  One that is older than its file is not sent.
    :ivar cache_control: pattern to the value of Cache-Control: { "*.html" = "no-cache", "assets/**" =
        "max-age=31536000, immutable" }.  The first that matches the file counts; without a slash it is for names,
        anywhere.
    :ivar types: extension to media type, over those that are known: { ".foo" = "text/x-foo" }.
    :ivar default_type: the type of all other files; empty: none is said.
    :ivar charset: the charset of text; empty: none is said.
    :ivar symlinks: "inside": a symbolic link is followed while it stays beneath the root; "follow": wherever it leads;
        "deny": never.
    :ivar hidden: serve files and directories whose names begin with a dot.  ``/.well-known`` is served always.
    :ivar error_pages: status to a file beneath the root, which is shown instead of our own page:
        { 404 = "404.html" }.
    """

    root: Path | None = None
    alias: Path | None = None
    index: tuple[str, ...] = field(default=("index.html",), metadata={"single": True})
    try_files: tuple[Template, ...] = field(default=(), metadata={"single": True})
    spa: bool | str = False
    listing: bool = False
    precompressed: bool | tuple[str, ...] = False
    cache_control: dict[str, str] = field(factory=dict)
    types: dict[str, str] = field(factory=dict)
    default_type: str = "application/octet-stream"
    charset: str = "utf-8"
    symlinks: Symlinks = "inside"
    hidden: bool = False
    error_pages: dict[str, str] = field(factory=dict)

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
    root, only = _place(config, context.base)
    for position, index in enumerate(config.index):
        if index in ("", ".", "..") or "/" in index or "\0" in index:
            raise ConfigError(
                f"{index!r} is not the name of a file", key=f"index.{position}", expected="expected a name"
            )
        if index.endswith(PROGRAMS):
            raise ConfigError(
                f'"{index}" would be sent as it is, and not run',
                key=f"index.{position}",
                expected=f'expected "/{index}?{{query}}" at the end of try_files, and a route that runs it',
            )
    if config.spa and config.try_files:
        raise ConfigError("stands beside try_files, which says it all", key="spa", expected="expected one of the two")
    resource = StaticResource(str(root))
    types = _at(
        "types",
        lambda: FileTypes(resource.contentTypes, config.types, config.default_type or None, config.charset or None),
    )
    spa = (config.index or ("index.html",))[0] if config.spa is True else config.spa
    manner = Manner(
        index=tuple(map(os.fsencode, config.index)),
        hidden=config.hidden,
        listing=config.listing,
        stripped=config.alias is not None,
        only=only,
        try_files=compile_try_files(config.try_files) if config.try_files else None,
        spa=_names(spa, "spa") if spa else None,
        error_pages=_error_pages(config.error_pages),
    )
    shelf = Shelf(
        os.fsencode(root), config.symlinks, context.ticker, types, CacheRules(config.cache_control), _codings(config)
    )
    resource.serve(manner, shelf, threads_of(context), context.reactor)
    return resource


def _place(config: Config, base: Path) -> tuple[Path, bytes | None]:
    """
    The directory, and the name of the one file that is served of it, if it is one.
    """
    if (config.root is None) is (config.alias is None):
        raise ConfigError("one of root and alias is needed, and not both", key="alias" if config.root else "")
    key, given = ("alias", config.alias) if config.root is None else ("root", config.root)
    place = base / str(given)
    if key == "alias" and place.is_file():
        return place.parent, os.fsencode(place.name)
    if not place.is_dir():
        problem = "is not a directory" if place.exists() else "does not exist"
        raise ConfigError(f'"{given}" {problem}', key=key, expected="expected a directory")
    return place, None


def _at(key: str, check: Callable[[], T]) -> T:
    """
    What ``check`` returns; its ValueErrors are errors of ``key``.
    """
    try:
        return check()
    except ValueError as error:
        raise ConfigError(str(error), key=key) from None


def _names(path: str, key: str) -> list[bytes]:
    """
    A file beneath the root, as its names.
    """
    names = names_in(os.fsencode("/" + path.removeprefix("/")), hidden=True)
    if not names or path.endswith("/"):
        raise ConfigError(f'"{path}" is no file beneath the root', key=key, expected='expected one such as "404.html"')
    return names


def _error_pages(pages: dict[str, str]) -> dict[int, list[bytes]]:
    made = {}
    for status, path in pages.items():
        key = f"error_pages.{status}"
        if not (status.isascii() and status.isdigit() and 400 <= int(status) <= 599):
            raise ConfigError(f"{status} is no failure", key=key, expected="expected a status from 400 to 599")
        made[int(status)] = _names(path, key)
    return made


def _codings(config: Config) -> tuple[bytes, ...]:
    """
    The codings of the siblings that may be there.
    """
    if isinstance(config.precompressed, bool):
        return tuple(SUFFIXES) if config.precompressed else ()
    for position, coding in enumerate(config.precompressed):
        if coding.encode() not in SUFFIXES:
            known = ", ".join(f'"{each.decode()}"' for each in SUFFIXES)
            raise ConfigError(
                f'"{coding}" is no coding', key=f"precompressed.{position}", expected=f"expected one of {known}"
            )
    return tuple(coding.encode() for coding in config.precompressed)
