"""
``health`` and ``breaker`` of an upstream.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import Attribute, Factory, field, fields, frozen

from twistginx.config.address import parse_host
from twistginx.config.regex import Regex
from twistginx.config.statuses import parse_statuses
from twistginx.config.tables.fields import at_least, positive
from twistginx.config.units import Duration

#: The name in a Host, without the port.
_NAME: Final = re.compile(r"(\[.*\]|.*?)(?::[0-9]+)?", re.DOTALL)
_METHOD: Final = re.compile(r"[A-Z]+")
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Statuses:
    """
    Statuses of responses.

    :ivar text: as it was written: ``200-399``, ``2xx, 404``.
    """

    __slots__ = ("_statuses", "text")

    def __init__(self, text: str) -> None:
        self.text = str.__str__(text)
        self._statuses = parse_statuses(text)

    @classmethod
    def parse(cls, text: str) -> Statuses:
        """
        The statuses that ``text`` says.

        :raise ValueError: with a short reason.
        """
        return cls(text)

    def __contains__(self, status: int) -> bool:
        return status in self._statuses

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Statuses({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statuses) and self._statuses == other._statuses

    def __hash__(self) -> int:
        return hash(self._statuses)


class Octets:
    """
    Bytes to send: the text in UTF-8, or, after ``hex:``, in pairs of hexadecimal digits.

    :ivar data: the bytes, at least one.
    :ivar text: as it was written.
    """

    __slots__ = ("data", "text")

    def __init__(self, text: str) -> None:
        self.text = str.__str__(text)
        try:
            self.data = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
        except ValueError:
            raise ValueError(f'{text!r} has other things than pairs of hexadecimal digits after "hex:"') from None
        if not self.data:
            raise ValueError("is empty; expected something to send")

    @classmethod
    def parse(cls, text: str) -> Octets:
        """
        The bytes that ``text`` says.

        :raise ValueError: with a short reason.
        """
        return cls(text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Octets({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Octets) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)


#: Keys that only a request has.
_OF_HTTP: Final = frozenset(("path", "method", "send_headers", "status", "header", "body"))


@frozen
class Health:
    """
    ``health``: each server is asked, again and again, whether it is well; one that is not gets no requests.  A string
    is the path.

    A check is an HTTP request, unless ``connect``, ``send`` or ``expect`` make it one of connections or plain bytes.
    It goes to the server as requests do, TLS included.

    :ivar path: what is asked for, by HTTP.
    :ivar method: with which method.
    :ivar host: the Host of the request, and without a port the name that TLS asks for; None: the server's.
    :ivar send_headers: further fields of the request.
    :ivar status: which statuses say that the server is well, as in "200-399" or "2xx, 404".
    :ivar header: fields that the answer must have: names, and regular expressions that are found in their values.
    :ivar body: a regular expression that is found in the body, of which there may be 1 MiB.
    :ivar connect: true: it is enough that a connection can be had.
    :ivar send: what is sent on a new connection, as text, or after "hex:" in hexadecimal.
    :ivar expect: a regular expression that is found in the first 64 KiB of what the server says.
    :ivar port: to check another port than the server's.
    :ivar tls: whether TLS is spoken; None: as with the server.
    :ivar interval: between the end of a check and the next, give or take a tenth.
    :ivar timeout: for a check, all in all.
    :ivar rise: how many in a row must succeed before a server that was down is up.
    :ivar fall: how many in a row must fail before a server that was up is down.  The first check of all decides alone.
    """

    path: str = field(default="/")
    method: str = field(default="GET")
    host: str | None = field(default=None)
    send_headers: dict[str, str] = field(factory=dict, hash=False)
    status: Statuses = Statuses.parse("200-399")
    header: dict[str, Regex] = field(factory=dict, hash=False)
    body: Regex | None = None
    connect: bool = False
    send: Octets | None = None
    expect: Regex | None = None
    port: int | None = field(default=None)
    tls: bool | None = None
    interval: Duration = field(default=Duration(5), validator=positive)
    timeout: Duration = field(default=Duration(2), validator=positive)
    rise: int = field(default=2, validator=at_least(1))
    fall: int = field(default=3, validator=at_least(1))

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``health = "/healthz"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a path such as "/healthz", or a table')
        return {"path": value}

    @property
    def name(self) -> str | None:
        """
        The ``host`` without a port.
        """
        return None if self.host is None else parse_host(_NAME.fullmatch(self.host)[1])  # type: ignore[index]

    @property
    def is_http(self) -> bool:
        """
        Is the check a request?
        """
        return not (self.connect or self.send is not None or self.expect is not None)

    @path.validator
    def _check_path(self, attribute: Attribute[Any], value: str) -> None:
        if not re.fullmatch(r"/[!-~]*", value):
            raise ValueError(f'is {value!r}; expected a path such as "/healthz"')

    @method.validator
    def _check_method(self, attribute: Attribute[Any], value: str) -> None:
        if not _METHOD.fullmatch(value) or value == "CONNECT":
            raise ValueError(f'is {value!r}; expected a method such as "GET" or "HEAD"')

    @port.validator
    def _check_port(self, attribute: Attribute[Any], value: int | None) -> None:
        if value is not None and not 0 < value < 65536:
            raise ValueError(f"is {value}; expected a number from 1 to 65535")

    @host.validator
    def _check_host(self, attribute: Attribute[Any], value: str | None) -> None:
        if value is not None:
            parse_host(_NAME.fullmatch(value)[1])  # type: ignore[index]  # it matches anything

    @send_headers.validator
    def _check_send_headers(self, attribute: Attribute[Any], value: dict[str, str]) -> None:
        for name, text in value.items():
            if not _FIELD_NAME.fullmatch(name):
                raise ValueError(f"has {name!r}, which is no name of a header")
            if not re.fullmatch(r"[\t\x20-\x7e\x80-\U0010ffff]*", text):
                raise ValueError(f"has a value for {name} that no header can have")
            if name.lower() in ("host", "content-length", "transfer-encoding", "connection"):
                raise ValueError(f"has {name}, which is not for you to set" + (": use host" * (name.lower() == "host")))

    def __attrs_post_init__(self) -> None:
        if self.connect and (self.send is not None or self.expect is not None):
            raise ValueError("has connect beside send or expect, which connect by themselves")
        if self.is_http:
            return
        wrong = [
            each.name for each in fields(Health) if each.name in _OF_HTTP and getattr(self, each.name) != _unset(each)
        ]
        if wrong:
            raise ValueError(f"is a check of connections, which has no {' and no '.join(wrong)}")


def _unset(attribute: Attribute[Any]) -> Any:
    return {} if isinstance(attribute.default, Factory) else attribute.default  # type: ignore[arg-type]  # a class


@frozen
class Breaker:
    """
    ``breaker``: a server of whose answers too many are failures (5xx, broken or late answers, refused connections) gets
    no requests for a while, then one, and all again when that succeeds.  When it has happened to all servers, requests
    are answered 503 at once.  ``breaker = true`` has all defaults.

    :ivar ratio: the share of failures, above 0 and up to 1.
    :ivar window: over which they are counted.
    :ivar minimum: how many answers there must be in a window before it says anything.
    :ivar pause: how long the server is left alone.
    """

    ratio: float = field(default=0.5)
    window: Duration = field(default=Duration(10), validator=positive)
    minimum: int = field(default=20, validator=at_least(1))
    pause: Duration = field(default=Duration(5), validator=positive)

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``breaker = true``.
        """
        if value is not True:
            raise ValueError("expected true, or a table")
        return {}

    @ratio.validator
    def _check_ratio(self, attribute: Attribute[Any], value: float) -> None:
        if not 0 < value <= 1:
            raise ValueError(f"is {value:g}; expected a share above 0 and up to 1")
