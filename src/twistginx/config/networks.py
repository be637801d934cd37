"""
Sets of addresses: who is trusted, who may come in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Final, Self

from attrs import frozen

from twistginx.config.address import base_of

#: How many answers a set remembers.
_REMEMBERED: Final = 4096

#: The word for whoever is connected over a UNIX socket.
UNIX: Final = "unix"


@frozen
class Network:
    """
    A range of IP addresses, or everything that comes over UNIX sockets.

    :ivar range: None for ``unix``.
    """

    range: IPv4Network | IPv6Network | None

    @classmethod
    def parse(cls, text: str) -> Network:
        """
        The network that ``text`` says: ``10.0.0.0/8``, ``192.168.1.7``, ``::1``, ``fd00::/8``, ``unix``.

        :raise ValueError: with a short reason.
        """
        if text == UNIX:
            return cls(None)
        try:
            return cls(ip_network(text))
        except (AddressValueError, NetmaskValueError, ValueError):
            pass
        try:
            loose = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f'{text!r} is not an address, a network such as "10.0.0.0/8", or "unix"') from None
        raise ValueError(f'{text!r} has bits set beyond its prefix; did you mean "{loose}"?')

    def __str__(self) -> str:
        if self.range is None:
            return UNIX
        if self.range.prefixlen == self.range.max_prefixlen:
            return str(self.range.network_address)
        return str(self.range)


def unmapped(address: str) -> str:
    """
    An IPv4 address that was mapped into IPv6, as a socket for both families has it (``::ffff:10.0.0.1``), as itself.
    """
    return address[7:] if address[:7].lower() == "::ffff:" and "." in address else address


@lru_cache(_REMEMBERED)
def network_of(address: bytes) -> bytes:
    """
    Who an address stands for: itself, or for IPv6 its /64, which is what one customer has to choose from.
    """
    try:
        parsed = ip_address(address.decode("ascii", "replace").partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped).encode() if mapped is not None else parsed.packed[:8].hex().encode() + b"/64"
    return address


class NetworkSet(tuple[Network, ...]):  # noqa: SLOT001  # a tuple can have no slots of its own
    """
    Networks in the order that they were written, with a quick test for membership.
    """

    _answers: dict[str | bytes, bool]
    _tables: dict[int, tuple[tuple[int, frozenset[int]], ...]]
    _unix: bool

    def __new__(cls, networks: Iterable[Network] = ()) -> Self:
        self = super().__new__(cls, networks)
        self._answers = {}
        self._unix = any(network.range is None for network in self)
        grouped: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for network in self:
            if network.range is not None:
                shift = network.range.max_prefixlen - network.range.prefixlen
                first = int(network.range.network_address) >> shift
                grouped[network.range.version].setdefault(shift, set()).add(first)
        self._tables = {
            version: tuple((shift, frozenset(firsts)) for shift, firsts in shifts.items())
            for version, shifts in grouped.items()
        }
        return self

    @classmethod
    def parse(cls, texts: Iterable[str]) -> NetworkSet:
        """
        The set of the networks that ``texts`` say.

        :raise ValueError: with a short reason, for the first that is not a network.
        """
        return cls(map(Network.parse, texts))

    def contains(self, address: str | bytes) -> bool:
        """
        Is ``address`` (the text of an IP address, or ``unix``) in one of the networks?

        An IPv4 address that was mapped into IPv6 (``::ffff:10.0.0.1``) is the IPv4 address.  What is no address is in
        no network.
        """
        answer = self._answers.get(address)
        if answer is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[address] = bool(self) and self._find(address)
        return answer

    def _find(self, address: str | bytes) -> bool:
        text = address.decode("ascii", "replace") if isinstance(address, bytes) else address
        if text == UNIX:
            return self._unix
        try:
            parsed = ip_address(text)
        except ValueError:
            return False
        if parsed.version == 6:
            parsed = parsed.ipv4_mapped or parsed
        number = int(parsed)
        return any(number >> shift in firsts for shift, firsts in self._tables[parsed.version])


#: The word for everybody.
ALL: Final = "all"

#: What stands before the path of a list.
_FILE: Final = "file:"

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@frozen
class Entry:
    """
    One entry of a list of addresses.  One of its parts is set, the others are not.

    :ivar network: a network, an address, or ``unix``.
    :ivar file: ``file:PATH``, a file with a network to a line, which is watched.
    :ivar name: of a ``[networks]`` list; ``all`` is everybody.
    """

    network: Network | None = None
    file: Path | None = None
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Entry:
        """
        The entry that ``text`` says.

        :raise ValueError: with a short reason.
        """
        if text.startswith(_FILE):
            path = text.removeprefix(_FILE)
            if not path or "\0" in path:
                raise ValueError(f'{text!r} has no path, as in "file:lists/office.txt"')
            return cls(file=base_of(text) / path)
        if text != UNIX and _NAME.fullmatch(text):
            return cls(name=str(text))
        try:
            return cls(network=Network.parse(text))
        except ValueError as error:
            raise ValueError(f'{error}; or a list: its name in [networks], or "file:PATH"') from None

    def __str__(self) -> str:
        if self.network is not None:
            return str(self.network)
        return self.name if self.file is None else f"{_FILE}{self.file}"
