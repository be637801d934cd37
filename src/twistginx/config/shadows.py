"""
Routes that can never match, because an earlier one takes all that they would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twistginx.config.tables.site import Route

#: What a route is for: the kind of its key, the text of it, and what else it wants, as text.
_Key = tuple[str, str, str]


def shadowed(routes: Iterable[tuple[int, Route]]) -> Iterator[tuple[int, int]]:
    """
    The number of each route that can never match, and of the one that takes what it would.

    Only what is certain is said: a route that is for some requests takes all of another only where that one is for the
    same requests.

    :param routes: with their numbers, in file order.
    """
    takers: dict[_Key, int] = {}
    patterns: list[tuple[int, Route]] = []
    for index, route in routes:
        taker = next((takers[key] for key in _keys_of_takers(route) if key in takers), None)
        if taker is None and route.exact is not None:
            taker = _pattern_that_takes(route, patterns)
        if taker is not None:
            yield index, taker
            continue
        takers[_key_of(route)] = index
        if route.glob is not None or route.regex is not None:
            patterns.append((index, route))


def _key_of(route: Route) -> _Key:
    for kind in ("exact", "glob", "regex"):
        value = getattr(route, kind)
        if value is not None:
            return kind, str(value), _wanted(route)
    return "path", (route.path or "").rstrip("/"), _wanted(route)


def _wanted(route: Route) -> str:
    match = route.match
    return "" if match is None or (not isinstance(match, str) and match.is_empty) else repr(match)


def _keys_of_takers(route: Route) -> Iterator[_Key]:
    kind, text, wanted = _key_of(route)
    pattern = route.glob.regex if route.glob is not None else route.regex
    if pattern is not None:
        # All that it matches begins with this; what stands behind the last slash may be the beginning of a segment.
        path = pattern.literal.decode("utf-8", "replace").rpartition("/")[0]
    else:
        path = text
    for want in ("", wanted) if wanted else ("",):
        if kind != "path":
            yield kind, text, want
        above = path
        while above:
            yield "path", above, want
            above = above.rpartition("/")[0]
        yield "path", "", want


def _pattern_that_takes(route: Route, patterns: Iterable[tuple[int, Route]]) -> int | None:
    exact = (route.exact or "").encode("utf-8", "surrogateescape")
    wants = ("", _wanted(route))
    for index, other in patterns:
        pattern = other.glob.regex if other.glob is not None else other.regex
        if _wanted(other) in wants and pattern is not None and pattern.find(exact) is not None:
            return index
    return None
