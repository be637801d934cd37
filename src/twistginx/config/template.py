"""
Texts with variables in them: ``https://{host}{uri}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from typing import ClassVar, Final

from attrs import field, frozen

from twistginx.config.scope import current
from twistginx.config.text import Secret, written

#: The variables of a request, and what they are.  Those that end with a dot take the name of what they look up.
REQUEST_VARIABLES: Final = {
    "client": "the client's address, by the rule of trusted proxies",
    "host": "the host that the request is for, in lower case, without its port",
    "method": "the method",
    "path": "the path, as sent",
    "query": "what follows the question mark, as sent; empty when there is none",
    "uri": "the path and the query, as sent",
    "target": "the path and the query that the resource sees: without a stripped prefix, and rewritten",
    "protocol": "the version of HTTP, as in HTTP/1.1",
    "scheme": "http or https",
    "authority": "the host that the request is for, in lower case, with its port where one was sent",
    "port": "the port that the client has connected to",
    "client_port": "the port of whoever is connected",
    "site": "the first name of the site, or where it listens; empty when no site answers for the host",
    "route": "the name of the route, or its number, #1; empty when none matches",
    "time": "the seconds since 1970",
    "time_iso": "the time, as in 2026-10-10T13:55:36+00:00",
    "request_id": "the name of the request, by which it is found in the logs of all servers",
    "user": "who has proved to be somebody, by one of the authentications; empty where nobody has",
    "split": "the upstream that the request is given to, where the route splits; empty where it does not",
    "header.": "a field of the request",
    "cookie.": "a cookie of the request",
    "arg.": "an argument of the query",
    "map.": "what a map of the configuration, [map.NAME], has for this request",
    "var.": "a variable of the configuration: of [variables], of the site or of the route",
    "tls.": "of the client's TLS; empty when it speaks none to us",
    "proxy_protocol.": "what the PROXY header of the connection says; empty when there is none, or it does not say it",
}

#: What may stand behind ``proxy_protocol.``; beside these, ``tlv_0xE0`` is a TLV by its number.
PROXY_PROTOCOL: Final = {
    "address": "the client's address",
    "port": "the client's port",
    "server_address": "the address that the client has connected to",
    "server_port": "its port",
    "alpn": "the application protocol that the client and the proxy have agreed on",
    "authority": "the host that the client has asked for (SNI, say)",
    "unique_id": "the proxy's name for the connection",
    "netns": "the network namespace that the connection came in by",
    "ssl_version": "the client's version of TLS",
    "ssl_cipher": "its cipher",
    "ssl_group": "its key exchange",
    "ssl_cn": "the common name of its certificate",
    "ssl_key_alg": "the algorithm of the key of the certificate that the proxy has shown it",
    "ssl_sig_alg": "the algorithm that this certificate is signed with",
    "ssl_sig_scheme": "the scheme that the handshake was signed with",
    "ssl_verify": "0 when the client has shown a certificate that is good",
}

#: What may stand behind ``tls.``.
TLS: Final = {
    "version": "the version, as in TLSv1.3",
    "cipher": "the name of the cipher suite",
    "server_name": "the name that the client has asked for (SNI)",
    "alpn": "the protocol that was agreed on",
    "client_cn": "the common name of the client's certificate, which has been verified",
}

#: What is known when there is a response.
RESPONSE_VARIABLES: Final = {
    **REQUEST_VARIABLES,
    "status": "the status of the response",
    "upstream": "the server that answered; empty when none did",
}

#: What is known when all is over.
LOG_VARIABLES: Final = {
    **RESPONSE_VARIABLES,
    "time_local": "the time, as in 10/Oct/2026:13:55:36 +0000",
    "request": "the request line",
    "bytes_sent": "the bytes of body that were sent",
    "duration": "the seconds from the first byte of the request to the last of the response",
    "reason": "the word of a failure; empty when there was none",
    "detail": "what went wrong, in words, and the setting that decided it; empty when nothing did",
}

#: Every variable that there is.
VARIABLES: Final = LOG_VARIABLES

_IN_LOWER_CASE: Final = frozenset(("header", "proxy_protocol"))

#: A variable that looks up what a regex of the configuration has captured: ``{1}``, ``{name}``.
CAPTURE: Final = "capture"

_TLV: Final = re.compile("tlv_0x[0-9a-f]{1,2}")

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@frozen
class Variable:
    """
    A place in a template that is filled for each request.

    :ivar name: without its argument: ``client``, ``header``.
    :ivar argument: what is looked up, for ``header`` and ``proxy_protocol`` in lower case; empty for a variable that
        takes none.  That of a :data:`CAPTURE` is the number or the name of a group.
    """

    name: str
    argument: str = ""

    def __str__(self) -> str:
        if self.name == CAPTURE:
            return f"{{{self.argument}}}"
        return f"{{{self.name}.{self.argument}}}" if self.argument else f"{{{self.name}}}"


@frozen
class Template:
    """
    A text whose variables are known when a request has come in.

    :ivar text: as written; what ``{env.X}`` and ``{file.P}`` put in is only in ``parts``.
    :ivar parts: literal text (str, braces already single, never empty) and variables, in order.
    """

    #: The variables that such a template may have.
    variables: ClassVar[dict[str, str]] = REQUEST_VARIABLES

    text: str
    parts: tuple[str | Variable, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str, variables: dict[str, str] | None = None) -> Template:
        """
        The template that ``text`` says.

        :param variables: those that are allowed; by default those of the class.
        :raise ValueError: with a short reason.
        """
        pieces = text.pieces if isinstance(text, Secret) else ((text, False),)
        allowed = cls.variables if variables is None else variables
        parts: list[str | Variable] = []
        for piece, inserted in pieces:
            for part in [piece] if inserted else _parse(piece, allowed):
                if isinstance(part, str) and parts and isinstance(parts[-1], str):
                    parts[-1] += part
                elif part:
                    parts.append(part)
        return cls(written(text), tuple(parts))

    @property
    def is_constant(self) -> bool:
        """
        Has it no variables?
        """
        return all(isinstance(part, str) for part in self.parts)

    @property
    def constant(self) -> str:
        """
        The text of a constant template.

        :raise ValueError: when it has variables.
        """
        if not self.is_constant:
            raise ValueError(f"{self.text!r} has variables")
        return "".join(map(str, self.parts))

    def __str__(self) -> str:
        return self.text


class ResponseTemplate(Template):
    """
    A text whose variables are known when there is a response.
    """

    __slots__ = ()
    variables = RESPONSE_VARIABLES


class LogTemplate(Template):
    """
    A text whose variables are known when all is over.
    """

    __slots__ = ()
    variables = LOG_VARIABLES


def _parse(text: str, allowed: dict[str, str]) -> list[str | Variable]:
    parts: list[str | Variable] = []
    end = 0
    for match in _TOKEN.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        token = match[0]
        if match[1] is not None:
            parts.append(_variable(match[1], allowed))
        elif len(token) == 1:
            raise ValueError(f'a lone "{token}": write "{token * 2}" for a brace')
        else:
            parts.append(token[0])
    parts.append(text[end:])
    return parts


def _variable(text: str, allowed: dict[str, str]) -> Variable:
    name, dot, argument = text.partition(".")
    if name + dot in allowed and bool(argument) is bool(dot):
        if name in _IN_LOWER_CASE:
            argument = argument.lower()
        if name == "proxy_protocol" and argument not in PROXY_PROTOCOL and not _TLV.fullmatch(argument):
            raise ValueError(f"unknown variable {{{text}}}; {_proxy_protocol_hint(argument)}")
        if name in _DEFINED:
            _check_defined(name, argument)
        return Variable(name, argument)
    if text in current().captures:
        return Variable(CAPTURE, text)
    if text.isdecimal():
        raise ValueError(f"{{{text}}} is captured by no regex here; expected {_listed(current().captures)}")
    if f"{name}." in VARIABLES:
        example = {"proxy_protocol": "address", "tls": "version"}.get(name, "x")
        raise ValueError(f'{{{text}}} needs a name, as in "{{{name}.{example}}}"')
    if name in VARIABLES and dot:
        raise ValueError(f'{{{text}}}: "{{{name}}}" takes no name')
    if name in VARIABLES:
        raise ValueError(f"{{{text}}} is not known at this point of a request")
    captures = current().captures
    close = get_close_matches(name, [*captures, *(known.rstrip(".") for known in allowed)], 1)
    names = sorted((*allowed, *(each for each in captures if not each.isdecimal())))
    hint = f'did you mean "{{{close[0]}{dot}{argument}}}"?' if close else f"there are {', '.join(names)}"
    raise ValueError(f"unknown variable {{{text}}}; {hint}")


def _check_defined(kind: str, name: str) -> None:
    """
    :raise ValueError: for a name that the configuration does not define here.
    """
    known, expected = _DEFINED[kind]()
    if name in known:
        return
    close = get_close_matches(name, known, 1)
    hint = f'did you mean "{{{kind}.{close[0]}}}"?' if close else expected
    raise ValueError(f"unknown variable {{{kind}.{name}}}; {hint}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names)) or "a regex with groups in the route"


#: What is behind the dot is for the configuration to define; the names that there are, and what to do without.
_DEFINED: Final[dict[str, Callable[[], tuple[Collection[str], str]]]] = {
    "map": lambda: (current().maps, "there is no [map.NAME] of that name"),
    "var": lambda: (current().variables, "no [variables] of the file, the site or the route has it"),
    "tls": lambda: (TLS, f"there are {', '.join(TLS)}"),
}


def _proxy_protocol_hint(argument: str) -> str:
    close = get_close_matches(argument, PROXY_PROTOCOL, 1)
    if close:
        return f'did you mean "{{proxy_protocol.{close[0]}}}"?'
    return f"there are {', '.join(PROXY_PROTOCOL)}, and TLVs by number, tlv_0xE0"
