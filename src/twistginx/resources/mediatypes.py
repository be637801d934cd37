"""
The types of files, by their names.  Pure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

# What is missing on some machines, or is another type there than browsers need.
TYPES: Final = {
    ".7z": "application/x-7z-compressed",
    ".aac": "audio/aac",
    ".apk": "application/vnd.android.package-archive",
    ".atom": "application/atom+xml",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".bz2": "application/x-bzip2",
    ".css": "text/css",
    ".csv": "text/csv",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".eot": "application/vnd.ms-fontobject",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".ics": "text/calendar",
    ".jar": "application/java-archive",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonld": "application/ld+json",
    ".jxl": "image/jxl",
    ".log": "text/plain",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpd": "application/dash+xml",
    ".ndjson": "application/x-ndjson",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".rss": "application/rss+xml",
    ".rtf": "application/rtf",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".toml": "application/toml",
    ".ts": "video/mp2t",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".vtt": "text/vtt",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
_TYPE: Final = re.compile(rf"{_NAME}/{_NAME}(?: *; *{_NAME}=(?:{_NAME}|\"[^\"\\\x00-\x1f]*\"))*\Z")
_EXTENSION: Final = re.compile(r"\.?([^./\0]+(?:\.[^./\0]+)*)\Z")
_CHARSET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*\Z")


def check_type(value: str) -> str:
    """
    A media type, with its parameters.

    :raise ValueError: when it is none.
    """
    if not _TYPE.match(value):
        raise ValueError(f'"{value}" is no media type; expected one such as "text/html"')
    return value


class FileTypes:
    """
    What the Content-Type of a file is.
    """

    __slots__ = ("_charset", "_default", "_known", "_longest")

    def __init__(
        self, known: Mapping[str, str], own: Mapping[str, str], default: str | None, charset: str | None
    ) -> None:
        """
        :param known: extension, with its dot and in lower case, to type.
        :param own: the same as a configuration has it, with or without the dot; it goes first.
        :param default: of all others; None: they have none.
        :param charset: of text; None: none is said.
        :raise ValueError: for an extension, a type or a charset that can be none.
        """
        if charset is not None and not _CHARSET.match(charset):
            raise ValueError(f'"{charset}" is no charset')
        self._charset = charset
        self._known = dict(known)
        self._longest = 1
        for extension, type_ in own.items():
            found = _EXTENSION.match(extension)
            if not found:
                raise ValueError(f'"{extension}" is no extension; expected one such as ".html"')
            check_type(type_)
            self._known["." + found[1].lower()] = type_
            self._longest = max(self._longest, found[1].count(".") + 1)
        self._default = default

    def of(self, name: bytes) -> bytes | None:
        """
        The value of Content-Type for a file of that name.
        """
        pieces = os.fsdecode(name).lower().split(".")
        for count in range(min(self._longest, len(pieces) - 1), 0, -1):
            known = self._known.get("." + ".".join(pieces[-count:]))
            if known is not None:
                return self._with_charset(known)
        return None if self._default is None else self._with_charset(self._default)

    def has(self, name: bytes) -> bool:
        """
        Is the type of such a name known?
        """
        _, dot, extension = os.fsdecode(name).rpartition(".")
        return bool(dot) and "." + extension.lower() in self._known

    def _with_charset(self, known: str) -> bytes:
        if self._charset is not None and known.startswith("text/") and ";" not in known:
            known += f"; charset={self._charset}"
        return known.encode("latin-1")
