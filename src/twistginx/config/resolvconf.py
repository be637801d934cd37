"""
What ``resolv.conf(5)`` says: whom to ask, and which names stand for a short one.  Pure.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from attrs import frozen

#: As many servers as the system's own resolver would ask.
_SERVERS: Final = 3
#: The most dots that ``ndots`` may ask for, as in the system's own.
_DOTS: Final = 15
_PORT: Final = 53


@frozen
class ResolvConf:
    """
    :ivar servers: addresses and ports of name servers, in the order in which they are asked.
    :ivar search: domains that a short name may be of.
    :ivar dots: a name with fewer dots is short.
    """

    servers: tuple[tuple[str, int], ...] = ()
    search: tuple[str, ...] = ()
    dots: int = 1

    @classmethod
    def parse(cls, text: str) -> ResolvConf:
        """
        What the file's ``text`` says; what cannot be understood is passed over, as everywhere.
        """
        servers: list[tuple[str, int]] = []
        search: tuple[str, ...] = ()
        dots = 1
        for line in text.splitlines():
            keyword, *words = line.split("#")[0].split(";")[0].split() or [""]
            if keyword == "nameserver" and words and _is_address(words[0]):
                servers.append((words[0], _PORT))
            elif keyword in ("search", "domain"):
                search = tuple(word.strip(".").lower() for word in words if word.strip("."))
            elif keyword == "options":
                for word in words:
                    name, _, value = word.partition(":")
                    if name == "ndots" and value.isdigit():
                        dots = min(int(value), _DOTS)
        return cls(tuple(servers[:_SERVERS]), search, dots)

    def candidates(self, name: str) -> tuple[str, ...]:
        """
        The whole names that ``name`` may stand for, in the order in which they are tried.
        """
        longer = tuple(f"{name}.{domain}" for domain in self.search)
        return (name, *longer) if name.count(".") >= self.dots else (*longer, name)


def parse_nameserver(text: str) -> tuple[str, int]:
    """
    The address and the port of a name server: ``127.0.0.1``, ``127.0.0.1:5353``, ``::1``, ``[::1]:5353``.

    :raise ValueError: with a short reason.
    """
    host, port = text, str(_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not _is_address(host) or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'{text!r} is not the address of a name server, such as "10.0.0.2" or "127.0.0.1:5353"')
    return host, int(port)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
