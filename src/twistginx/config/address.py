"""
Addresses: of servers (where we connect), of listeners (where we accept), and the names of hosts.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final, Literal

import idna
from attrs import evolve, field, frozen

from twistginx.config.regex import Regex
from twistginx.config.text import Secret, Text

_URL: Final = re.compile(r"(https?)://(.*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^\[\]:/]*)(?::([0-9]*))?")
_PREFIXED: Final = re.compile(r"[a-z][a-z0-9_+-]*:", re.IGNORECASE)
_ARGUMENT: Final = re.compile(r"(?:((?:[^=\\]|\\.)*)(=))?(.*)", re.DOTALL)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")

#: The prefixes that begin a client endpoint string of Twisted's own and are never the name of a host.
_PREFIXES: Final = frozenset({"tcp", "tls", "ssl", "unix"})

#: Where paths stand in the server endpoint strings of Twisted's own: positions, and names of arguments.
_ENDPOINT_PATHS: Final[dict[str, tuple[frozenset[int], frozenset[str]]]] = {
    "unix": (frozenset({0}), frozenset({"address"})),
    "ssl": (frozenset(), frozenset({"privateKey", "certKey", "extraCertChain", "dhParameters"})),
    "tls": (frozenset({0}), frozenset({"path"})),
}


def base_of(text: str) -> Path:
    """
    The directory that relative paths in ``text`` resolve against: that of its file, or the current one.
    """
    return text.base if isinstance(text, Text) else Path.cwd()


@frozen
class ServerAddress:
    """
    Where a server is.

    :ivar kind: ``tcp``, ``unix``, or ``endpoint``: an opaque client endpoint string, which is ``text``.
    :ivar host: a name in ASCII, or an IP address without brackets; empty unless ``tcp``.
    :ivar port: 0 unless ``tcp``.
    :ivar path: of the socket, absolute; None unless ``unix``.
    :ivar secure: TLS is to be spoken.  An opaque endpoint does its own.
    :ivar text: the canonical text.
    :ivar written: as it stands in the file, where ``{env.X}`` or ``{file.P}`` is in it; else empty.
    :ivar opaque: the text of an ``endpoint``, by which alone two of them differ; else empty.
    """

    kind: Literal["tcp", "unix", "endpoint"]
    host: str
    port: int
    path: Path | None
    secure: bool
    text: str = field(eq=False)
    written: str = field(default="", eq=False, repr=False)
    opaque: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """
        The address that ``text`` says: ``host:port``, ``[::1]:port``, ``http://host``, ``https://host:port``,
        ``tcp:host:port``, ``tls:host:port``, ``unix:path``, or any other client endpoint string.

        :raise ValueError: with a short reason.
        """
        address = cls._parse(text)
        return evolve(address, written=text.written) if isinstance(text, Secret) else address

    @classmethod
    def _parse(cls, text: str) -> ServerAddress:
        url = _URL.fullmatch(text)
        if url is not None:
            return cls._url(text, url[1].lower(), url[2])
        if "://" in text:
            raise ValueError(f'{text!r}: only "http://" and "https://" are known')
        prefix, _, rest = text.partition(":")
        if prefix in _PREFIXES and not rest:
            raise ValueError(f"{text!r} says nothing after its prefix")
        if prefix == "unix" and ":" not in rest:
            path = base_of(text) / rest
            return cls("unix", "", 0, path, False, f"unix:{path}")
        if prefix in ("tcp", "tls") and "=" not in rest and "\\" not in rest:
            host, port = _authority(text, rest, None)
            return cls("tcp", host, port, None, prefix == "tls", f"{prefix}:{_joined(host, port)}")
        if prefix in _PREFIXES and rest and ("=" in rest or ":" in rest or "\\" in rest):
            return cls("endpoint", "", 0, None, False, str(text), opaque=str(text))
        if text.count(":") > 1 and not text.startswith("["):
            if re.fullmatch(r"[0-9a-fA-F:.]+", text):
                raise ValueError(f'{text!r}: an IPv6 address stands in brackets, as in "[::1]:8000"')
            if _PREFIXED.match(text):
                return cls("endpoint", "", 0, None, False, str(text), opaque=str(text))
        host, port = _authority(text, text, None)
        return cls("tcp", host, port, None, False, _joined(host, port))

    @classmethod
    def _url(cls, text: str, scheme: str, rest: str) -> ServerAddress:
        authority, path = re.fullmatch(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
        if path:
            raise ValueError(
                f"{text!r} has a path, but the path of a request is sent as it is; "
                "leave it out here, and use strip_prefix in the route to take a prefix away"
            )
        if "@" in authority:
            raise ValueError(f"{text!r}: a user and a password cannot stand here")
        secure = scheme == "https"
        host, port = _authority(text, authority, 443 if secure else 80)
        return cls("tcp", host, port, None, secure, f"{scheme}://{_joined(host, port)}")

    def __str__(self) -> str:
        return _joined(self.host, self.port) if self.kind == "tcp" else self.text


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _authority(text: str, authority: str, default: int | None) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None or (match[2] == "" and match[1]):
        raise ValueError(f'{text!r} is not an address such as "127.0.0.1:8000" or "http://127.0.0.1:8000"')
    host, port = match.groups()
    if not host:
        raise ValueError(f'{text!r} has no host, as in "127.0.0.1:{port or 8000}"')
    if port is None:
        if default is None and host.isdigit():
            raise ValueError(f'{text!r} has no host, as in "{text.removesuffix(host)}127.0.0.1:{host}"')
        if default is None:
            raise ValueError(f'{text!r} has no port, as in "{authority}:8000"')
        return parse_host(host), default
    if not 0 < int(port) < 65536:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    if host in _PREFIXES:
        raise ValueError(f'{text!r} has no host, as in "{host}:127.0.0.1:{port}"')
    return parse_host(host), int(port)


def parse_host(text: str) -> str:
    """
    ``text`` as the name of a host (lower case, ASCII by IDNA 2008, RFC 5891) or an IP address without brackets.

    :raise ValueError: with a short reason.
    """
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f'"{text}" is not an IPv6 address') from None
    name = text.lower().removesuffix(".")
    if re.fullmatch(r"[0-9.]+", name):
        try:
            return str(ip_address(name))
        except ValueError:
            raise ValueError(f'"{text}" is not an IP address') from None
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f'"{text}" is not the name of a host: {error}') from None
    if len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError(f'"{text}" is not the name of a host')
    return name


class HostName(str):
    """
    A name that a site answers to: ``example.com``, ``*.example.com`` (any one or more labels before it), an IP
    address as it stands in a Host field, or ``~`` and a regex.  All but that in lower case, ASCII.
    """

    __slots__ = ()

    @property
    def is_wildcard(self) -> bool:
        """
        Does it begin with ``*.``?
        """
        return self.startswith("*.")

    @property
    def regex(self) -> Regex | None:
        """
        What names are to match; None for a name.
        """
        return Regex.parse(self[1:]) if self.startswith("~") else None

    @classmethod
    def parse(cls, text: str) -> HostName:
        """
        The name that ``text`` says.

        :raise ValueError: with a short reason.
        """
        if text in ("*", "_", ""):
            raise ValueError(f"{text!r} is not a name: leave names out, and the site is the default of its listeners")
        if text.startswith("~"):
            Regex.parse(text[1:])
            return cls(text)
        if "://" in text or "/" in text:
            raise ValueError(f'{text!r} is not a name: write the host alone, as in "example.com"')
        stem = text.removeprefix("*.")
        if "*" in stem:
            raise ValueError(f'{text!r}: a wildcard stands for whole labels at the start, as in "*.example.com"')
        if re.search(r"(^[^:\[]*|\]):\d+$", stem):
            raise ValueError(f"{text!r}: a name has no port; the port is that of the listener")
        if stem.count(":") > 1 and not stem.startswith("["):
            stem = f"[{stem}]"
        host = parse_host(stem)
        if ":" in host:
            host = f"[{host}]"
        return cls(f"*.{host}" if text.startswith("*.") else host)


def parse_endpoint(text: str) -> str:
    """
    ``text`` as a server endpoint string, or the name of a listener (which has no colon).

    Relative paths in the strings of Twisted's own endpoints are resolved.  Whether it can be listened on is checked by
    build.  A plain str, because Twisted's parser takes no subclass.

    :raise ValueError: with a short reason.
    """
    if not text or text != text.strip():
        raise ValueError(f'{text!r} is not an endpoint such as "tcp:8080" or "unix:/run/web.sock"')
    if text.isdigit():
        raise ValueError(f'{text!r} is only a port: write "tcp:{text}"')
    if re.fullmatch(r"(\d+\.\d+\.\d+\.\d+|\*|\[.*\]|localhost|):\d+", text):
        host, _, port = text.rpartition(":")
        host = host.strip("[]").replace(":", "\\:")
        interface = "" if host in ("", "*") else f":interface={'127.0.0.1' if host == 'localhost' else host}"
        raise ValueError(f'{text!r} is not an endpoint: write "tcp:{port}{interface}"')
    return _resolved(str(text), base_of(text))


def is_listener_name(listen: str) -> bool:
    """
    Is this entry of ``listen`` the name of a listener, and no endpoint string?
    """
    return ":" not in listen


def _resolved(text: str, base: Path) -> str:
    """
    ``text`` with its relative paths made absolute; the syntax is that of ``twisted.internet.endpoints``.
    """
    prefix, colon, rest = text.partition(":")
    if prefix == "haproxy":
        return f"haproxy:{_resolved(rest, base)}"
    if not colon or prefix not in _ENDPOINT_PATHS:
        return text
    positions, names = _ENDPOINT_PATHS[prefix]
    arguments = re.findall(r"(?:[^:\\]|\\.)*(?::|$)", rest)
    position = 0
    resolved = ""
    for raw in arguments:
        argument, end = (raw[:-1], ":") if raw.endswith(":") else (raw, "")
        name, equals, value = _ARGUMENT.fullmatch(argument).groups("")  # type: ignore[union-attr]  # it may be empty
        if value and (name in names if equals else position in positions):
            path = os.path.join(base, re.sub(r"\\(.)", r"\1", value))
            value = re.sub(r"([:\\=])", r"\\\1", path)
        position += not equals
        resolved += f"{name}{equals}{value}{end}"
    return f"{prefix}:{resolved}"
