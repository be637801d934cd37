"""
Which of many routes may match a path: those whose paths have its first segments in common with it.  Pure.

A route is looked at only where the beginning of its path is that of the request's, so a thousand routes cost a request
what the few do that share its first segments.  Patterns are looked for all at once, and routes that want a certain text
of a header, say, are found by it.  The order of the file is kept everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from twistginx.config.regex import among

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


#: By the entries that they are made of.
Forks = dict[Entries, "Fork"]


class Branch:
    """
    Routes by the next segment of the path.  It stands among entries as a route that knows which one matches.

    :ivar start: where in the path that segment begins.
    :ivar table: by the path to the end of that segment.
    :ivar rest: for all other paths.
    """

    __slots__ = ("rest", "start", "table")

    def __init__(self, entries: Sequence[Entry], start: int, forks: Forks | None = None) -> None:
        """
        :param forks: those that there are already: many paths share theirs.
        """
        forks = {} if forks is None else forks
        self.start = start
        keys = [_key(entry, start) for entry in entries]
        keyless = [entry for entry, key in zip(entries, keys, strict=True) if not key]
        self.rest: Entries = _bundled(_until_taken(keyless, b""), forks)
        self.table: dict[bytes, Entries] = {}
        for key in {key for key in keys if key}:
            here = [
                entry
                for entry, own in zip(entries, keys, strict=True)
                if own == key or (not own and _may_match_below(entry, key))
            ]
            self.table[key] = _folded(_until_taken(here, key), len(key) + 1, forks)

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

    def candidates(self, path: bytes, request: Any = None) -> Iterator[Any]:
        """
        The routes whose paths match, in the order of the file; of patterns, those that may.

        :param request: leaves out routes that are not for it, where they are many.
        """
        cut = path.find(b"/", self.start)
        return _within(self.table.get(path if cut < 0 else path[:cut], self.rest), path, request)


class Bundle:
    """
    Routes with patterns that follow one another.  One search for all of them says which are found; where they are too
    many for that, it is one for each half.

    It stands among entries as a route that knows which one matches.
    """

    __slots__ = ("_among", "_parts")

    def __init__(self, routes: Sequence[Any]) -> None:
        few = len(routes) <= _FEW_PATTERNS
        self._among: Final = None if few else among(route.pattern for route in routes)
        half = len(routes) // 2
        #: What ``_among`` counts; without it, routes and bundles to be looked at in turn.
        self._parts: Final[tuple[Any, ...]] = (
            tuple(routes) if few or self._among is not None else (Bundle(routes[:half]), Bundle(routes[half:]))
        )

    def choose(self, request: Any, path: bytes) -> Any:
        """
        The route, or None.
        """
        parts = self._parts
        for each in parts if self._among is None else [parts[index] for index in self._among(path)]:
            found = each.choose(request, path)
            if found is not None:
                return found
        return None

    def candidates(self, path: bytes, request: Any = None) -> Iterator[Any]:
        """
        The routes that may match.
        """
        if self._among is not None:
            yield from [self._parts[index] for index in self._among(path)]
            return
        for each in self._parts:
            if each.__class__ is Bundle:
                yield from each.candidates(path, request)
            else:
                yield each


class Fork:
    """
    Routes that follow one another and each want one of certain texts in the same place of a request: a header, a
    cookie, an argument, the host, the method.  Only those are looked at that want what the request says there.

    It stands among entries as a route that knows which one matches.
    """

    __slots__ = ("_entries", "_table", "_values")

    def __init__(self, entries: Entries, of: tuple[str, str]) -> None:
        """
        :param of: the place; see ``conditions.Choice``.
        """
        self._entries: Final = entries
        self._table: Final[dict[bytes, list[int]]] = {}
        for index, entry in enumerate(entries):
            choice = _choices_of(entry)[of]
            self._values = choice.values
            for text in choice.wanted:
                self._table.setdefault(text, []).append(index)

    def choose(self, request: Any, path: bytes) -> Any:
        """
        The route, or None.
        """
        for route in self.candidates(path, request):
            found = route.choose(request, path)
            if found is not None:
                return found
        return None

    def candidates(self, path: bytes, request: Any = None) -> Iterator[Any]:
        """
        The routes that may match.
        """
        if request is None:
            return _within(self._entries, path, None)
        table = self._table
        found = {index for text in self._values(request) for index in table.get(text, ())}
        return _within([self._entries[index] for index in sorted(found)], path, request)


def _within(entries: Iterable[Entry], path: bytes, request: Any) -> Iterator[Any]:
    """
    The routes of the entries that a path matches.
    """
    for exact, prefix, below, route in entries:
        if path == exact if exact is not None else (path.startswith(below) or path == prefix):
            if route.__class__ in _GROUPS:
                yield from route.candidates(path, request)
            else:
                yield route


_GROUPS: Final[frozenset[Any]] = frozenset((Branch, Bundle, Fork))


def _choices_of(entry: Entry) -> dict[tuple[str, str], Any]:
    """
    What the condition of a route wants, by where in a request.
    """
    return {choice.of: choice for choice in getattr(entry[3].condition, "choices", ())}


def _forked(entries: Entries, forks: Forks) -> Iterator[Entry]:
    """
    Entries with those in forks that follow one another and can be told apart.
    """
    index = 0
    while index < len(entries):
        common = set(_choices_of(entries[index]))
        end = index + 1
        while common and end < len(entries) and not common.isdisjoint(further := _choices_of(entries[end])):
            common.intersection_update(further)
            end += 1
        run = entries[index:end]
        index = end
        texts = {of: {text for each in run for text in _choices_of(each)[of].wanted} for of in common}
        best = max(sorted(texts), key=lambda of: len(texts[of]), default=None)
        if best is not None and len(run) > _FEW and len(texts[best]) > _FEW:
            yield None, b"", b"/", forks.get(run) or forks.setdefault(run, Fork(run, best))
        else:
            yield from run


def _bundled(entries: Entries, forks: Forks) -> Entries:
    """
    Entries with all patterns that follow one another in bundles, and what can be told apart in forks, where there are
    many.
    """
    made: list[Entry] = []
    for patterned, run in groupby(entries, key=lambda entry: entry[3].pattern is not None):
        group = list(run)
        if patterned and len(group) > _FEW_PATTERNS:
            made.append((None, b"", b"/", Bundle([entry[3] for entry in group])))
        else:
            made += _forked(tuple(group), forks)
    return tuple(made)


def _folded(entries: Entries, start: int, forks: Forks) -> Entries:
    """
    Many entries as one, which knows the next segment too; those that have none are as they are.
    """
    if len(entries) <= _FEW or sum(1 for entry in entries if _key(entry, start)) <= _FEW:
        return _bundled(entries, forks)
    return ((None, b"", b"/", Branch(entries, start, forks)),)


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
