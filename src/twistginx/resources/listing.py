"""
What is in a directory: a page for people, JSON for programs.

All here blocks, and runs in a thread: a directory may have a hundred thousand entries, or lie on a disk that sleeps.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from html import escape
from typing import Final, Literal
from urllib.parse import quote_from_bytes

from attrs import field, frozen

from twistginx.http.coding import weights

#: What entries can be sorted by.
Sort = Literal["name", "size", "time"]

_HTML: Final = b"text/html; charset=utf-8"
_JSON: Final = b"application/json"

#: The page brings its style, and needs nothing else from anywhere.
FIELDS: Final = (
    (b"Cache-Control", b"no-cache"),
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"),
    (b"Vary", b"Accept"),
    (b"X-Content-Type-Options", b"nosniff"),
)

_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>
:root{{color-scheme:light dark;--text:#1c1f24;--soft:#59626c;--line:#e3e6ea;--page:#fbfbfc;--over:#f0f2f5;
--link:#0b57d0}}
@media(prefers-color-scheme:dark){{:root{{--text:#e6e8eb;--soft:#9aa4ae;--line:#2b3138;--page:#16191d;--over:#1f2429;
--link:#8ab4f8}}}}
body{{font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page);max-width:60rem;margin:0 auto;
padding:2.5rem 1.5rem 4rem}}
h1{{font-size:1.25rem;font-weight:600;margin:0 0 1.5rem;overflow-wrap:anywhere}}h1 span{{color:var(--soft);
font-weight:400;padding:0 .2em}}
a{{color:var(--link);text-decoration:none}}a:hover,a:focus-visible{{text-decoration:underline}}
table{{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}}
th,td{{padding:.45rem .6rem;text-align:left;border-bottom:1px solid var(--line)}}
th{{font-size:.8125rem;font-weight:600}}th a{{color:var(--soft)}}tbody tr:hover{{background:var(--over)}}
td:first-child{{overflow-wrap:anywhere;white-space:pre-wrap}}
.n{{text-align:right;white-space:nowrap}}td.n{{color:var(--soft);font-size:.875rem}}
th[aria-sort] a::after{{content:" \\2191"}}th[aria-sort=descending] a::after{{content:" \\2193"}}
p{{color:var(--soft);font-size:.875rem;margin:1.25rem .6rem}}
@media(max-width:34rem){{th:last-child,td:last-child{{display:none}}}}
</style></head><body><main><h1>{trail}</h1>
<table><thead><tr>{heads}</tr></thead>
<tbody>
{rows}</tbody></table>
<p>{summary}</p></main></body></html>
"""

_COLUMNS: Final[tuple[tuple[Sort, str, str], ...]] = (
    ("name", "Name", ""),
    ("size", "Size", ' class="n"'),
    ("time", "Modified (UTC)", ' class="n"'),
)


_EMPTY: Final = '<td class="n"></td>'
_UP: Final = f'<tr><td><a href="../" aria-label="Parent directory">../</a></td>{_EMPTY}{_EMPTY}</tr>\n'


@frozen
class Entry:
    """
    A file, or a directory.

    :ivar name: its bytes.
    :ivar size: in bytes; 0 of a directory.
    :ivar modified: seconds since the epoch.
    """

    name: bytes
    is_directory: bool
    size: int
    modified: int

    @property
    def text(self) -> str:
        """
        Its name, for people: what is no UTF-8 is shown as a replacement character.
        """
        return self.name.decode("utf-8", "replace")

    @property
    def reference(self) -> str:
        """
        Its name as a relative reference, exact in any encoding (RFC 3986 section 4.2).
        """
        return "./" + quote_from_bytes(self.name, safe="!$()*,=@~:+") + ("/" if self.is_directory else "")


@frozen
class View:
    """
    How a request wants to see a directory.

    :ivar path: the directory's, decoded, with a slash at its end.
    :ivar as_json: JSON rather than HTML.
    """

    path: bytes
    as_json: bool = False
    sort: Sort = "name"
    descending: bool = False

    @classmethod
    def of(cls, path: bytes, query: bytes | None, accept: bytes) -> View:
        """
        What ``?sort=size&order=desc`` and Accept say; what they do not, or not rightly, is as usual.
        """
        arguments = dict(pair.partition(b"=")[::2] for pair in (query or b"").split(b"&", 8))
        sorts: dict[bytes, Sort] = {b"name": "name", b"size": "size", b"time": "time"}
        liked = weights(accept)
        return cls(
            path,
            liked.get(b"application/json", 0.0) > max(liked.get(b"text/html", 0.0), 0.0),
            sorts.get(arguments.get(b"sort", b""), "name"),
            arguments.get(b"order") == b"desc",
        )


@frozen
class Directory:
    """
    What was found in a directory.

    :ivar complete: False: there are more, which were not looked at.
    """

    entries: list[Entry] = field(factory=list)
    complete: bool = True


def scan(
    descriptor: int,
    bound: int,
    hidden: bool,
    follow: Callable[[bytes], os.stat_result | None],
) -> Directory:
    """
    Look at what is in an open directory.

    Only what can be had is listed: files, directories, and links to these that may be followed.

    :param bound: how many entries to list at most.
    :param hidden: list names that begin with a dot.
    :param follow: the status of what a symbolic link leads to, by its name; None when it may not be followed.
    """
    entries: list[Entry] = []
    with os.scandir(descriptor) as found:
        for each in found:
            name = os.fsencode(each.name)
            if name.startswith(b".") and not hidden:
                continue
            try:
                status = follow(name) if each.is_symlink() else each.stat(follow_symlinks=False)
            except OSError:  # it is gone already
                continue
            if status is None or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                continue
            if len(entries) >= bound:
                return Directory(entries, complete=False)
            directory = stat.S_ISDIR(status.st_mode)
            entries.append(Entry(name, directory, 0 if directory else status.st_size, int(status.st_mtime)))
    return Directory(entries)


def render(directory: Directory, view: View) -> tuple[bytes, bytes]:
    """
    The type and the bytes of the answer.
    """
    entries = _sorted(directory.entries, view)
    if view.as_json:
        return _JSON, _json(entries, directory.complete, view)
    return _HTML, _html(entries, directory.complete, view).encode("utf-8", "replace")


def size_text(size: int) -> str:
    """
    A number of bytes for people: ``0 B``, ``1.5 KiB``, ``12 MiB``.
    """
    number, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if number < 1023.5:
            break
        number, unit = number / 1024, larger
    return f"{size} B" if unit == "B" else f"{number:.1f} {unit}" if number < 9.95 else f"{number:.0f} {unit}"


def _sorted(entries: Iterable[Entry], view: View) -> list[Entry]:
    """
    In the order of the view; directories first, and what is equal by its name.
    """
    ordered = sorted(entries, key=lambda entry: (entry.text.casefold(), entry.name))
    keys: dict[Sort, Callable[[Entry], int]] = {"size": lambda entry: entry.size, "time": lambda entry: entry.modified}
    key = keys.get(view.sort)
    if key is not None:
        ordered.sort(key=key, reverse=view.descending)
    elif view.descending:
        ordered.reverse()
    ordered.sort(key=lambda entry: not entry.is_directory)
    return ordered


def _time(modified: int) -> str:
    """
    ISO 8601, in UTC; empty for what no calendar has.
    """
    try:
        return datetime.fromtimestamp(modified, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def _json(entries: Iterable[Entry], complete: bool, view: View) -> bytes:
    listed = [
        {
            "name": entry.text,
            "type": "directory" if entry.is_directory else "file",
            **({} if entry.is_directory else {"size": entry.size}),
            "modified": _time(entry.modified),
            "href": entry.reference,
        }
        for entry in entries
    ]
    whole = {"path": view.path.decode("utf-8", "replace"), "complete": complete, "entries": listed}
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _html(entries: list[Entry], complete: bool, view: View) -> str:
    rows = [_UP] if view.path != b"/" else []
    for entry in entries:
        when = _time(entry.modified)
        shown = f"{when[:10]} {when[11:16]}"
        label = escape(entry.text) + ("/" if entry.is_directory else "")
        rows.append(
            f'<tr><td><a href="{escape(entry.reference)}">{label}</a></td>'
            f'<td class="n">{"" if entry.is_directory else size_text(entry.size)}</td>'
            f'<td class="n"><time datetime="{when}">{shown}</time></td></tr>\n'
        )
    return _PAGE.format(
        title=escape(view.path.decode("utf-8", "replace")),
        trail=_trail(view.path),
        heads="".join(_column(*column, view) for column in _COLUMNS),
        rows="".join(rows),
        summary=_summary(entries, complete),
    )


def _trail(path: bytes) -> str:
    """
    The directories above, each a link to itself by going up from here, so that no prefix of a proxy is missing in it.
    """
    names = path.strip(b"/").split(b"/") if path.strip(b"/") else []
    parts = []
    for above, name in zip(range(len(names), -1, -1), [b"", *names], strict=True):
        label = escape(name.decode("utf-8", "replace")) if name else "/"
        parts.append(f'<a href="{"../" * above or "./"}">{label}</a>')
    return parts[0] + "<span>/</span>".join(parts[1:])


def _column(key: Sort, label: str, style: str, view: View) -> str:
    current = key == view.sort
    order = "desc" if current and not view.descending else "asc"
    state = f' aria-sort="{"descending" if view.descending else "ascending"}"' if current else ""
    return f'<th scope="col"{style}{state}><a href="?sort={key}&amp;order={order}">{label}</a></th>'


def _summary(entries: list[Entry], complete: bool) -> str:
    directories = sum(entry.is_directory for entry in entries)
    files = len(entries) - directories
    size = sum(entry.size for entry in entries)
    words = [
        f"{directories:,} {'directory' if directories == 1 else 'directories'}" if directories else "",
        f"{files:,} {'file' if files == 1 else 'files'}, {size_text(size)}" if files else "",
    ]
    text = "; ".join(filter(None, words)) or "Nothing is here."
    return text if complete else f"{text}. There is more here than is listed."
