"""
``match`` and ``when``: what a request must have, beside its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from attrs import Attribute, field, fields, frozen

from twistginx.config.address import HostName
from twistginx.config.glob import Glob
from twistginx.config.networks import Entry
from twistginx.config.regex import Regex
from twistginx.config.tables.fields import SINGLE
from twistginx.config.template import VARIABLES
from twistginx.config.text import written

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse_path(text: str) -> str:
    """
    ``text`` as a path that routes can match.

    :raise ValueError: with a short reason.
    """
    if not text.startswith("/"):
        raise ValueError(f'"{text}" does not begin with a slash; expected "/{text}"')
    if "?" in text or "#" in text:
        raise ValueError(f'"{text}" has a query or a fragment, which no path has')
    if "%" in text.replace("%2F", ""):
        raise ValueError(f'"{text}" is encoded; expected the decoded path, in which only "%2F" may stand')
    segments = text.split("/")[1:]
    if "" in segments[:-1] or "." in segments or ".." in segments:
        raise ValueError(f'"{text}" matches nothing, because "//", "." and ".." are resolved before')
    return text


def parse_method(text: str) -> str:
    """
    ``text`` as a method (RFC 9110 section 9.1), whose case matters.

    :raise ValueError: with a short reason.
    """
    if not _TOKEN.fullmatch(text):
        raise ValueError(f'"{text}" is not a method such as "GET"')
    if text.upper() != text and text.isalpha():
        raise ValueError(f'"{text}" is not the method "{text.upper()}": the case matters')
    return text


def check_captures(_: Any, attribute: Attribute[Any], value: Regex | None) -> None:
    """
    A validator of regexes whose captures templates name.
    """
    for name in value.names if value is not None else ():
        if name in VARIABLES:
            raise ValueError(f"captures {{{name}}}, which is a variable of every request; expected another name")


def captures_in(table: Mapping[str, object]) -> Iterable[str]:
    """
    What the ``regex`` of a table captures, as it is written: for the templates beside it.
    """
    pattern = table.get("regex")
    try:
        return Regex.parse(pattern).captures if isinstance(pattern, str) else ()
    except ValueError:
        return ()  # it is reported where it stands


RoutePath = Annotated[str, parse_path]
Method = Annotated[str, parse_method]


@frozen
class Wanted:
    """
    A text that is wanted of a header, a cookie or an argument: ``"gzip"`` is that, ``"~^Mozilla"`` a regex.

    :ivar text: as written.
    :ivar exact: bytes; None where it is a regex.
    """

    text: str
    exact: bytes | None = field(eq=False, repr=False)
    regex: Regex | None = field(eq=False, repr=False)
    _value: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """
        What ``text`` says.

        :raise ValueError: with a short reason.
        """
        value = str.__str__(text)
        shown = written(text)
        if value.startswith("~"):
            return cls(shown, None, Regex.parse(value[1:]), value)
        return cls(shown, value.encode("utf-8", "surrogateescape"), None, value)

    def __str__(self) -> str:
        return self.text


@frozen
class Match:
    """
    What a request must have: all that is said here, and of each list at least one.

    A name, instead of a table, is that of a ``[match.NAME]``.

    :ivar path: paths, with all that is below them.
    :ivar exact: paths alone.
    :ivar glob: patterns for paths: ``"/img/**/*.png"``.
    :ivar regex: regexes for paths; they match anywhere, unless ``^`` and ``$`` hold them.
    :ivar methods: methods; GET has HEAD with it.
    :ivar host: names of hosts: "example.com", "*.example.com", "~^shop-[0-9]+[.]".
    :ivar client: addresses of clients, by the rule of trusted proxies: networks, "file:PATH", or names of [networks].
    :ivar scheme: "http" or "https".
    :ivar protocol: "HTTP/1.0", "HTTP/1.1", "HTTP/2", or "websocket" for a request to change to that.
    :ivar header: name to what one of its values must be: a text, "~regex", a list of these; true: it is there; false:
        it is not.
    :ivar cookie: the same of cookies.
    :ivar query: the same of the arguments of the query, decoded.
    :ivar any: of these, one at least must hold.
    :ivar all: of these, all must hold.
    :ivar not: of these, none may hold.
    """

    path: tuple[RoutePath, ...] = field(default=(), metadata=SINGLE)
    exact: tuple[RoutePath, ...] = field(default=(), metadata=SINGLE)
    glob: tuple[Glob, ...] = field(default=(), metadata=SINGLE)
    regex: tuple[Regex, ...] = field(default=(), metadata=SINGLE)
    methods: tuple[Method, ...] = field(default=(), metadata=SINGLE)
    host: tuple[HostName, ...] = field(default=(), metadata=SINGLE)
    client: tuple[Entry, ...] = field(default=(), metadata=SINGLE)
    scheme: Literal["http", "https"] | None = None
    protocol: tuple[Literal["HTTP/1.0", "HTTP/1.1", "HTTP/2", "websocket"], ...] = field(default=(), metadata=SINGLE)
    header: dict[str, tuple[Wanted, ...] | Wanted | bool] = field(factory=dict)
    cookie: dict[str, tuple[Wanted, ...] | Wanted | bool] = field(factory=dict)
    query: dict[str, tuple[Wanted, ...] | Wanted | bool] = field(factory=dict)
    any: tuple[Match | str, ...] = field(default=(), metadata=SINGLE)
    all: tuple[Match | str, ...] = field(default=(), metadata=SINGLE)
    none: tuple[Match | str, ...] = field(default=(), metadata={**SINGLE, "key": "not"})

    def __attrs_post_init__(self) -> None:
        for name in ("header", "cookie", "query"):
            for key, value in getattr(self, name).items():
                if value == ():
                    raise ValueError(f"{name}.{key} is empty, so that nothing matches; expected at least one")
                if name != "query" and not _TOKEN.fullmatch(key):
                    raise ValueError(f'has "{key}", which no {name} is called; expected a name')

    @property
    def is_empty(self) -> bool:
        """
        Is nothing wanted?
        """
        return not any(getattr(self, each.name) for each in fields(Match))


#: A table, or the name of one.
Condition = Match | str
