"""
Which of many routes may match a path: those whose paths have its first segments in common with it.  Pure.

A route is looked at only where the beginning of its path is that of the request's, so a thousand routes cost a request
what the few do that share its first segments.  The order of the file is kept everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from twistginx.config.regex import either

#: Up to so many patterns are looked for one by one; more are first looked for together.
_FEW_PATTERNS: Final = 4

#: Up to so many routes are looked at one by one; it takes as long as looking up the next segment.
_FEW: Final = 6

#: A route as it is compared: the one path, or None; the prefix; what a path below that begins with; the route.  That of
#: a pattern has twice what all that it matches begins with.
Entry = tuple[bytes | None, bytes, bytes, Any]
Entries = tuple[Entry, ...]


def entry_of(route: Any) -> Entry:
    """
    A route, as it is compared.
    """
    if route.pattern is not None:
        literal = route.pattern.literal or b"/"  # the asterisk of OPTIONS is no path
        return None, literal, literal, route
    return route.exact, route.prefix, route.prefix + b"/", route


class Branch:
    """
    Routes by the next segment of the path.  It stands among entries as a route that knows which one matches.

    :ivar start: where in the path that segment begins.
    :ivar table: by the path to the end of that segment.
    :ivar rest: for all other paths.
    """

    __slots__ = ("rest", "start", "table")

    def __init__(self, entries: Sequence[Entry], start: int) -> None:
        self.start = start
        keys = [_key(entry, start) for entry in entries]
        keyless = [entry for entry, key in zip(entries, keys, strict=True) if not key]
        self.rest: Entries = _bundled(_until_taken(keyless, b""))
        self.table: dict[bytes, Entries] = {}
        for key in {key for key in keys if key}:
            here = [
                entry
                for entry, own in zip(entries, keys, strict=True)
                if own == key or (not own and _may_match_below(entry, key))
            ]
            self.table[key] = _folded(_until_taken(here, key), len(key) + 1)

    def choose(self, request: Any, path: bytes) -> Any:
        """
        The route, or None.
        """
        for route in self.candidates(path):
            choose = route.choose
            if choose is None:
                return route
            found = choose(request, path)
            if found is not None:
                return found
        return None

    def candidates(self, path: bytes) -> Iterator[Any]:
        """
        The routes whose paths match, in the order of the file; of patterns, those that may.
        """
        cut = path.find(b"/", self.start)
        for exact, prefix, below, route in self.table.get(path if cut < 0 else path[:cut], self.rest):
            if path == exact if exact is not None else (path.startswith(below) or path == prefix):
                if route.__class__ is Branch or route.__class__ is Bundle:
                    yield from route.candidates(path)
                else:
                    yield route


class Bundle:
    """
    Routes with patterns that follow one another.  One search for all of them says whether any can be found; half of
    them are looked at then, so that the first is found in a few searches.

    It stands among entries as a route that knows which one matches.
    """

    __slots__ = ("_find", "_halves", "_routes")

    def __init__(self, routes: Sequence[Any]) -> None:
        self._routes: Final = tuple(routes)
        self._find: Final = either(route.pattern for route in routes)
        half = len(routes) // 2
        few = len(routes) <= _FEW_PATTERNS
        self._halves: Final = () if few else (Bundle(routes[:half]), Bundle(routes[half:]))

    def choose(self, request: Any, path: bytes) -> Any:
        """
        The route, or None.
        """
        if self._find is not None and self._find(path) is None:
            return None
        for each in self._halves or self._routes:
            found = each.choose(request, path)
            if found is not None:
                return found
        return None

    def candidates(self, path: bytes) -> Iterator[Any]:
        """
        The routes that may match.
        """
        if self._find is None or self._find(path) is not None:
            for each in self._halves:
                yield from each.candidates(path)
            if not self._halves:
                yield from self._routes


def _bundled(entries: Entries) -> Entries:
    """
    Entries with all patterns that follow one another in bundles, where there are many.
    """
    made: list[Entry] = []
    for patterned, run in groupby(entries, key=lambda entry: entry[3].pattern is not None):
        group = list(run)
        if patterned and len(group) > _FEW_PATTERNS:
            made.append((None, b"", b"/", Bundle([entry[3] for entry in group])))
        else:
            made += group
    return tuple(made)


def _folded(entries: Entries, start: int) -> Entries:
    """
    Many entries as one, which knows the next segment too; those that have none are as they are.
    """
    if len(entries) <= _FEW or sum(1 for entry in entries if _key(entry, start)) <= _FEW:
        return _bundled(entries)
    return ((None, b"", b"/", Branch(entries, start)),)


def _key(entry: Entry, start: int) -> bytes:
    """
    The path to the end of the segment that begins at ``start``, of all paths that an entry matches; empty where they
    differ there, or end before.
    """
    exact, prefix, _, route = entry
    text = prefix if exact is None else exact
    cut = text.find(b"/", start)
    if cut < 0 and getattr(route, "pattern", None) is not None:
        return b""  # the segment may go on
    key = text if cut < 0 else text[:cut]
    return key if len(key) > start else b""


def _may_match_below(entry: Entry, key: bytes) -> bool:
    """
    May an entry without a key match ``key`` or what is below it?
    """
    exact, _, below, _ = entry
    if exact is not None:
        return False  # it ends above
    return (key + b"/").startswith(below)


def _until_taken(entries: Iterable[Entry], key: bytes) -> Entries:
    """
    The entries up to one that takes every path that gets there.
    """
    kept = []
    for entry in entries:
        kept.append(entry)
        exact, prefix, below, route = entry
        whole = exact is None and route.choose is None and route.pattern is None
        if whole and (not prefix or (key + b"/").startswith(below)):
            break
    return tuple(kept)
