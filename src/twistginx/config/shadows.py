"""
Routes that can never match, because an earlier one takes all that they would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from twistginx.config.tables.match import Condition, Match
from twistginx.config.tables.site import Route

#: What a route is for: the kind of its key, and the text of it.
_Key = tuple[str, str]

#: So many routes for the same path are looked at for one that takes more than another: a thousand may be told apart by
#: what they want.
_MOST: Final = 64

#: What a glob ends with that takes all that is below a path.
_BELOW: Final = "/**"


def shadowed(routes: Iterable[tuple[int, Route]]) -> Iterator[tuple[int, int]]:
    """
    The number of each route that can never match, and of the one that takes what it would.

    Only what is certain is said: a route that is for some requests takes all of another only where every request that
    is for the other is for that one too, and it can be seen.

    :param routes: with their numbers, in file order.
    """
    takers: dict[_Key, list[tuple[int, Route]]] = {}
    patterns: list[tuple[int, Route]] = []
    for index, route in routes:
        if route.internal:  # it is found by its name, and takes nothing that clients ask for
            continue
        candidates = (taker for key in _keys_of_takers(route) for taker in takers.get(key, ())[:_MOST])
        taker = next((number for number, other in candidates if implies(route.match, other.match)), None)
        if taker is None and route.exact is not None:
            taker = _pattern_that_takes(route, patterns)
        if taker is not None:
            yield index, taker
            continue
        takers.setdefault(_key_of(route), []).append((index, route))
        if route.glob is not None or route.regex is not None:
            patterns.append((index, route))


def implies(narrow: Condition | None, wide: Condition | None) -> bool:
    """
    Has every request what ``wide`` wants that has what ``narrow`` wants?  False where that cannot be seen.
    """
    if wide is None or narrow == wide or (isinstance(wide, Match) and wide.is_empty):
        return True
    if isinstance(wide, str):
        return isinstance(narrow, Match) and wide in narrow.all
    if isinstance(narrow, str) or narrow is None:
        return False
    return (
        _is_within(_paths_of(narrow), _paths_of(wide))
        and _is_within(_methods_of(narrow), _methods_of(wide))
        and all(
            _is_within(getattr(narrow, name), getattr(wide, name)) for name in ("host", "client", "protocol", "any")
        )
        and wide.scheme in (None, narrow.scheme)
        and all(_values_within(getattr(narrow, name), getattr(wide, name)) for name in ("header", "cookie", "query"))
        and all(each in narrow.all for each in wide.all)
        and all(each in narrow.none for each in wide.none)
    )


def _paths_of(match: Match) -> list[tuple[str, str]]:
    """
    Which paths are wanted: one of all these.
    """
    return [(kind, str(each)) for kind in ("path", "exact", "glob", "regex") for each in getattr(match, kind)]


def _methods_of(match: Match) -> tuple[str, ...]:
    return (*match.methods, "HEAD") if "GET" in match.methods else match.methods


def _is_within(narrow: Sequence[Any], wide: Sequence[Any]) -> bool:
    """
    Is one of ``narrow`` always one of ``wide``?  Empty stands for anything.
    """
    return not wide or (bool(narrow) and all(each in wide for each in narrow))


def _values_within(narrow: Any, wide: Any) -> bool:
    """
    The same of the values of headers, cookies and arguments, by name.
    """
    for name, wanted in wide.items():
        own = narrow.get(name)
        if own is None:
            return False
        if own == wanted or (wanted is True and own is not False):
            continue
        if isinstance(own, bool) or isinstance(wanted, bool):
            return False
        if not _is_within(
            own if isinstance(own, tuple) else (own,), wanted if isinstance(wanted, tuple) else (wanted,)
        ):
            return False
    return True


def _key_of(route: Route) -> _Key:
    if route.glob is not None:
        text = str(route.glob)
        above = text.removesuffix(_BELOW)
        # "/img/**" takes what is below /img, and not that itself.
        return ("below", above) if text != above and not set(above) & set("*?[]{}") else ("glob", text)
    for kind in ("exact", "regex"):
        value = getattr(route, kind)
        if value is not None:
            return kind, str(value)
    return "path", (route.path or "").rstrip("/")


def _keys_of_takers(route: Route) -> Iterator[_Key]:
    """
    What an earlier route may be for that takes all paths of this one.
    """
    kind, text = _key_of(route)
    pattern = route.glob.regex if route.glob is not None else route.regex
    if pattern is not None:
        yield kind, text
        # All that it matches begins with this; what stands behind the last slash may be the beginning of a segment.
        path, slash, _ = pattern.literal.decode("utf-8", "replace").rpartition("/")
        if slash:
            yield "below", path
    else:
        path = text
        if kind != "path":
            yield kind, text
    above = path
    while above:
        yield "path", above
        above = above.rpartition("/")[0]
        yield "below", above
    yield "path", ""


def _pattern_that_takes(route: Route, patterns: Iterable[tuple[int, Route]]) -> int | None:
    exact = (route.exact or "").encode("utf-8", "surrogateescape")
    for index, other in patterns:
        pattern = other.glob.regex if other.glob is not None else other.regex
        if pattern is not None and implies(route.match, other.match) and pattern.find(exact) is not None:
            return index
    return None
