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
from heapq import nsmallest
from html import escape
from operator import itemgetter
from typing import Final, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

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
th:first-child{{width:100%}}td:first-child{{overflow-wrap:anywhere;white-space:pre-wrap}}
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
    :ivar after: names that come behind this one, as bytes, are wanted; empty: all.
    """

    path: bytes
    as_json: bool = False
    sort: Sort = "name"
    descending: bool = False
    after: bytes = b""

    @classmethod
    def of(cls, path: bytes, query: bytes | None, accept: bytes) -> View:
        """
        What ``?sort=size&order=desc&after=name`` and Accept say; what they do not, or not rightly, is as usual.
        """
        arguments = dict(pair.partition(b"=")[::2] for pair in (query or b"").split(b"&", 8))
        sorts: dict[bytes, Sort] = {b"name": "name", b"size": "size", b"time": "time"}
        liked = weights(accept)
        return cls(
            path,
            liked.get(b"application/json", 0.0) > max(liked.get(b"text/html", 0.0), 0.0),
            sorts.get(arguments.get(b"sort", b""), "name"),
            arguments.get(b"order") == b"desc",
            unquote_to_bytes(arguments.get(b"after", b"")),
        )

    def query(self, sort: Sort, descending: bool, after: bytes) -> str:
        """
        The query of another view of the same directory.
        """
        behind = f"&after={quote_from_bytes(after, safe='')}" if after else ""
        return f"?sort={sort}&order={'desc' if descending else 'asc'}{behind}"


@frozen
class Directory:
    """
    What was found in a directory.

    :ivar more: the name behind which there are more, which were not looked at; empty: there are none.
    """

    entries: list[Entry] = field(factory=list)
    more: bytes = b""


def scan(
    descriptor: int,
    bound: int,
    hidden: bool,
    follow: Callable[[bytes], os.stat_result | None],
    after: bytes = b"",
) -> Directory:
    """
    Look at what is in an open directory.

    Only what can be had is listed: files, directories, and links to these that may be followed.

    :param bound: how many names to look at: the first ones, by their bytes.
    :param hidden: list names that begin with a dot.
    :param follow: the status of what a symbolic link leads to, by its name; None when it may not be followed.
    :param after: only names that come behind this one.
    """
    entries: list[Entry] = []
    with os.scandir(descriptor) as found:
        wanted = (
            (name, each)
            for each in found
            if (name := os.fsencode(each.name)) > after and (hidden or not name.startswith(b"."))
        )
        # Of a million names, no more are held at a time than are listed.
        first = nsmallest(bound + 1, wanted, key=itemgetter(0))
        for name, each in first[:bound]:
            try:
                status = follow(name) if each.is_symlink() else each.stat(follow_symlinks=False)
            except OSError:  # it is gone already
                continue
            if status is None or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                continue
            directory = stat.S_ISDIR(status.st_mode)
            entries.append(Entry(name, directory, 0 if directory else status.st_size, int(status.st_mtime)))
    return Directory(entries, first[bound - 1][0] if len(first) > bound else b"")


def render(directory: Directory, view: View) -> tuple[bytes, bytes]:
    """
    The type and the bytes of the answer.
    """
    entries = _sorted(directory.entries, view)
    if view.as_json:
        return _JSON, _json(entries, directory.more, view)
    return _HTML, _html(entries, directory.more, view).encode("utf-8", "replace")


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


def _json(entries: Iterable[Entry], more: bytes, view: View) -> bytes:
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
    whole = {
        "path": view.path.decode("utf-8", "replace"),
        "complete": not more,
        **({"next": view.query(view.sort, view.descending, more)} if more else {}),
        "entries": listed,
    }
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _html(entries: list[Entry], more: bytes, view: View) -> str:
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
        summary=_summary(entries) + _onward(more, view),
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
    query = escape(view.query(key, current and not view.descending, view.after))
    state = f' aria-sort="{"descending" if view.descending else "ascending"}"' if current else ""
    return f'<th scope="col"{style}{state}><a href="{query}">{label}</a></th>'


def _onward(more: bytes, view: View) -> str:
    """
    The links to the first names and to those that come behind, where not all are on this page.
    """
    links = [("From the beginning", b"")] if view.after else []
    links += [("More", more)] if more else []
    queries = [(words, escape(view.query(view.sort, view.descending, after))) for words, after in links]
    return "".join(f' \u00b7 <a href="{query}">{words}</a>' for words, query in queries)


def _summary(entries: list[Entry]) -> str:
    directories = sum(entry.is_directory for entry in entries)
    files = len(entries) - directories
    size = sum(entry.size for entry in entries)
    words = [
        f"{directories:,} {'directory' if directories == 1 else 'directories'}" if directories else "",
        f"{files:,} {'file' if files == 1 else 'files'}, {size_text(size)}" if files else "",
    ]
    return "; ".join(filter(None, words)) or "Nothing is here."
