"""
What a request must have, compiled: ``match`` of a route, ``when`` of a policy.  Pure.

A condition is called with the request and its normalised path, and says by ``why_not`` what a request lacks.  The path
is an argument, because a path that others read differently is judged in all its readings (``routing.spelling``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from attrs import frozen

from twistginx.config.address import HostName
from twistginx.config.regex import Regex
from twistginx.config.tables.match import Condition as Written
from twistginx.config.tables.match import Match, Wanted
from twistginx.errors import ConfigError
from twistginx.http.variables import cookies_of
from twistginx.routing.match import under

Test = Callable[[Any, bytes], bool]


Values = Callable[[Any], Sequence[bytes]]


@frozen
class Choice:
    """
    What a request must say, for a condition that wants one of certain texts: many routes are told apart by it.

    :ivar of: the kind and the name of what is looked at: ``("header", "x-tenant")``.
    :ivar values: ``(request)`` to what it says there.
    :ivar wanted: one of these must be among that.
    """

    of: tuple[str, str]
    values: Values
    wanted: frozenset[bytes]


class Condition(Protocol):
    """
    :ivar reads_path: does it depend on the path?
    :ivar choices: it holds for no request that one of these does not hold for.
    """

    reads_path: bool
    choices: tuple[Choice, ...]

    def __call__(self, request: Any, path: bytes) -> bool: ...

    def why_not(self, request: Any, path: bytes) -> str:
        """
        What is missing, in words; empty where nothing is.
        """


class One:
    """
    One thing that is wanted.
    """

    __slots__ = ("_test", "_words", "choices", "reads_path")

    def __init__(self, test: Test, words: str, reads_path: bool = False, choice: Choice | None = None) -> None:
        """
        :param words: what is wanted: ``the method is GET or HEAD``.
        """
        self._test = test
        self._words = words
        self.reads_path = reads_path
        self.choices: tuple[Choice, ...] = () if choice is None else (choice,)

    def __call__(self, request: Any, path: bytes) -> bool:
        return self._test(request, path)

    def why_not(self, request: Any, path: bytes) -> str:
        return "" if self._test(request, path) else f"it is for requests where {self._words}"


#: A route is for what the site itself asks for, and for nobody else.
INTERNAL: Final = One(lambda request, path: request.reroutes > 0, "the site itself asks, by try_files or on_error")


class All:
    """
    All of these.
    """

    __slots__ = ("_conditions", "choices", "reads_path")

    def __init__(self, conditions: Iterable[Condition]) -> None:
        self._conditions = tuple(conditions)
        self.choices = tuple(choice for each in self._conditions for choice in each.choices)
        self.reads_path = any(each.reads_path for each in self._conditions)

    def __call__(self, request: Any, path: bytes) -> bool:
        for each in self._conditions:  # noqa: SIM110  # it is on the way of requests, and all() makes a generator
            if not each(request, path):
                return False
        return True

    def why_not(self, request: Any, path: bytes) -> str:
        return next(filter(None, (each.why_not(request, path) for each in self._conditions)), "")


class Any_:  # noqa: N801  # typing has the other
    """
    One of these.
    """

    __slots__ = ("_conditions", "reads_path")

    choices: tuple[Choice, ...] = ()

    def __init__(self, conditions: Iterable[Condition]) -> None:
        self._conditions = tuple(conditions)
        self.reads_path = any(each.reads_path for each in self._conditions)

    def __call__(self, request: Any, path: bytes) -> bool:
        for each in self._conditions:  # noqa: SIM110  # see above
            if each(request, path):
                return True
        return False

    def why_not(self, request: Any, path: bytes) -> str:
        reasons = [each.why_not(request, path) for each in self._conditions]
        return "" if "" in reasons else "; and ".join(reasons)


class Not:
    """
    Not this.
    """

    __slots__ = ("_condition", "_words", "reads_path")

    choices: tuple[Choice, ...] = ()

    def __init__(self, condition: Condition, words: str) -> None:
        self._condition = condition
        self._words = words
        self.reads_path = condition.reads_path

    def __call__(self, request: Any, path: bytes) -> bool:
        return not self._condition(request, path)

    def why_not(self, request: Any, path: bytes) -> str:
        return f"it is not for requests that match {self._words}" if self._condition(request, path) else ""


#: ``(entries, key)`` to what says of an address whether it is meant (``IContext.addresses``).
Addresses = Callable[[Sequence[Any], str], Any]


class Conditions:
    """
    The conditions of one configuration.
    """

    def __init__(self, named: Mapping[str, Match], addresses: Addresses) -> None:
        self._named = named
        self._addresses = addresses

    def compiled(self, written: Written, key: str = "") -> Condition:
        """
        A condition.

        :param key: where it stands, for errors.
        :raise ConfigError: for a name that nothing has.
        """
        return self._compiled(written, key, ())

    def _compiled(self, written: Written, key: str, inside: tuple[str, ...]) -> Condition:
        if isinstance(written, str):
            if written in inside:
                raise ConfigError(f'"{written}" is a part of itself', key=key)
            if written not in self._named:
                names = ", ".join(self._named) or "a table, or [match.NAME] for the name"
                raise ConfigError(f"there is no [match.{written}]", key=key, expected=f"expected {names}")
            return self._compiled(self._named[written], key, (*inside, written))
        parts = list(self._own(written, _joined(key, "client", inside)))
        for name in ("any", "all", "none"):
            shown = "not" if name == "none" else name
            below = [
                self._compiled(each, _joined(key, f"{shown}.{index}", inside), inside)
                for index, each in enumerate(getattr(written, name))
            ]
            if name == "any" and below:
                parts.append(Any_(below))
            elif name == "all":
                parts += below
            else:
                parts += [Not(each, _words(said)) for each, said in zip(below, getattr(written, name), strict=True)]
        return parts[0] if len(parts) == 1 else All(parts)

    def _own(self, match: Match, client_key: str) -> Iterable[Condition]:
        """
        What is wanted of the request itself; what is cheap to look at comes first.
        """
        if match.methods:
            methods = {each.encode() for each in match.methods}
            methods |= {b"HEAD"} if b"GET" in methods else set()
            wanted = frozenset(methods)
            yield One(
                lambda request, path: request.head.method in wanted,
                f"the method is {_or(match.methods)}",
                choice=Choice(("method", ""), lambda request: (request.head.method,), wanted),
            )
        paths = list(_path_tests(match))
        if paths:
            words = f"the path is {_or([*match.path, *match.exact, *map(str, (*match.glob, *match.regex))])}"
            yield One(lambda request, path: any(test(path) for test in paths), words, reads_path=True)
        if match.scheme is not None:
            scheme = match.scheme.encode()
            yield One(lambda request, path: request.scheme == scheme, f"the scheme is {match.scheme}")
        if match.protocol:
            yield _protocol(match.protocol)
        if match.host:
            hosts = HostTest(match.host)
            yield One(
                lambda request, path: hosts(request.head.host), f"the host is {_or(match.host)}", choice=hosts.choice
            )
        if match.client:
            networks = self._addresses(match.client, client_key)
            yield One(
                lambda request, path: networks.contains(request.client_ip),
                f"the client is {_or(map(str, match.client))}",
            )
        for kind, values in (("header", _headers), ("cookie", _cookies), ("query", _arguments)):
            for name, wanted_of in getattr(match, kind).items():
                yield _value_test(kind, name, values(name), wanted_of)


def _joined(key: str, below: str, inside: tuple[str, ...]) -> str:
    """
    Where something stands in a condition; what has a name stands elsewhere, and is placed where it is named.
    """
    return key if inside else f"{key}.{below}" if key else below


def _or(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _words(written: Written) -> str:
    if isinstance(written, str):
        return f"[match.{written}]"
    said = [name for name in ("path", "exact", "glob", "regex", "methods", "host", "client") if getattr(written, name)]
    said += [
        name for name in ("scheme", "protocol", "header", "cookie", "query", "any", "all") if getattr(written, name)
    ]
    return " and ".join(said) or "anything"


def _path_tests(match: Match) -> Iterable[Callable[[bytes], object]]:
    exact = frozenset(each.encode() for each in match.exact)
    if exact:
        yield exact.__contains__
    yield from (_below(each.rstrip("/").encode()) for each in match.path)
    yield from (regex.find for regex in (*(each.regex for each in match.glob), *match.regex))


def _below(prefix: bytes) -> Callable[[bytes], bool]:
    return lambda path: under(path, prefix)


def _protocol(names: Sequence[str]) -> Condition:
    versions = frozenset(name.encode() for name in names if name.startswith("HTTP/"))
    upgrade = "websocket" in names

    def test(request: Any, path: bytes) -> bool:
        head = request.head
        return head.version in versions or (
            upgrade and head.upgrade is not None and head.upgrade.lower() == b"websocket"
        )

    return One(test, f"the protocol is {_or(names)}")


class HostTest:
    """
    Is a host one of several names, wildcards and regexes?
    """

    __slots__ = ("_names", "_regexes", "_suffixes")

    def __init__(self, names: Iterable[HostName]) -> None:
        plain = [name for name in names if name.regex is None]
        self._names: Final = frozenset(name.encode() for name in plain if not name.is_wildcard)
        self._suffixes: Final = tuple(name[1:].encode() for name in plain if name.is_wildcard)
        self._regexes: Final[list[Regex]] = [each for name in names if (each := name.regex) is not None]

    @property
    def choice(self) -> Choice | None:
        """
        The names, where they are all that there is.
        """
        if self._suffixes or self._regexes:
            return None
        return Choice(("host", ""), lambda request: (_name_of(request.head.host),), self._names)

    def __call__(self, authority: bytes) -> bool:
        """
        :param authority: in lower case, with or without a port.
        """
        host = _name_of(authority)
        return (
            host in self._names
            or (host.endswith(self._suffixes) and not host.startswith(b"."))
            or any(regex.find(host) is not None for regex in self._regexes)
        )


def _name_of(authority: bytes) -> bytes:
    """
    An authority without its port.
    """
    return authority[: authority.find(b"]") + 1] if authority[:1] == b"[" else authority.partition(b":")[0]


def _headers(name: str) -> Values:
    lower = name.lower().encode()
    line = b"\r\n" + lower + b":"

    def values(request: Any) -> Sequence[bytes]:
        head = request.head
        if head.block is None:
            return head.fields.every(lower)  # type: ignore[no-any-return]  # a request is anything that is like one
        # The list of fields is not made for this: a head that has none passes to an upstream in one piece.
        count = head.lowered.count(line)
        return [head.first(lower)] if count == 1 else head.fields.every(lower) if count else ()

    return values


def _cookies(name: str) -> Values:
    wanted = name.encode()
    return lambda request: [value for cookie, value in cookies_of(request) if cookie == wanted]


def _arguments(name: str) -> Values:
    wanted = name.encode()

    def values(request: Any) -> Sequence[bytes]:
        pairs = [pair.partition(b"=") for pair in (request.head.query or b"").split(b"&")]
        return [_plain(value) for key, _, value in pairs if _plain(key) == wanted]

    return values


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text


def _value_test(kind: str, name: str, values: Values, wanted: tuple[Wanted, ...] | Wanted | bool) -> Condition:
    shown = f"the {'argument' if kind == 'query' else kind} {name}"
    if isinstance(wanted, bool):
        return One(lambda request, path: bool(values(request)) is wanted, f"{shown} is {'' if wanted else 'not '}there")
    choices = wanted if isinstance(wanted, tuple) else (wanted,)
    exact = frozenset(each.exact for each in choices if each.exact is not None)
    finds = tuple(each.regex.find for each in choices if each.regex is not None)

    def test(request: Any, path: bytes) -> bool:
        return any(value in exact or any(find(value) is not None for find in finds) for value in values(request))

    words = f"{shown} is {_or(str(each) for each in choices)}"
    of = kind, name.lower() if kind == "header" else name
    return One(test, words, choice=None if finds else Choice(of, values, exact))
