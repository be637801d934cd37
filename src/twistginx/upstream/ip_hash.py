"""
``balance = "ip_hash"``: clients of the same network go to the same server.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from socket import AF_INET6, inet_aton, inet_pton
from typing import Any

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IBalanceModule
from twistginx.upstream.balance import Candidate
from twistginx.upstream.ring import Ring, position
from twistginx.upstream.round_robin import RoundRobin

moduleProvides(IBalanceModule)

name = "ip_hash"
api = 1


@frozen
class Config:
    """
    All clients of a network go to the same server, as long as it is up: the first 24 bits of an IPv4 address, and the
    first 64 of an IPv6 address, are what decides, because one user may come from several addresses of a network.  The
    client is the one of ``{client}``: what trusted proxies say of it is believed.

    Clients without an address (on UNIX sockets) take turns.

    :ivar ipv4: how many bits of an IPv4 address count.
    :ivar ipv6: how many bits of an IPv6 address count.
    """

    ipv4: int = field(default=24)
    ipv6: int = field(default=64)

    @ipv4.validator
    def _check_ipv4(self, attribute: Attribute[Any], value: int) -> None:
        if not 1 <= value <= 32:
            raise ValueError(f"is {value}; expected 1 to 32")

    @ipv6.validator
    def _check_ipv6(self, attribute: Attribute[Any], value: int) -> None:
        if not 1 <= value <= 128:
            raise ValueError(f"is {value}; expected 1 to 128")


def make(config: Config, context: Any) -> IPHash:
    """
    As ``IBalanceModule`` says.
    """
    return IPHash(config.ipv4, config.ipv6)


class IPHash:
    """
    A ring, and turns for those without an address.
    """

    def __init__(self, ipv4: int = 24, ipv6: int = 64) -> None:
        self._ipv4 = (1 << 32) - (1 << 32 - ipv4)
        self._ipv6 = (1 << 128) - (1 << 128 - ipv6)
        self._ring = Ring()
        self._turns = RoundRobin()
        self.forget = self._ring.forget

    def pick(self, peers: Sequence[Candidate], request: Any, tried: Collection[Candidate]) -> Candidate | None:
        """
        Whose the network of the client is.
        """
        address = b"" if request is None else request.client_ip
        at = self.position(address) if address else None
        if at is None:
            return self._turns.pick(peers, request, tried)
        return self._ring.owner(peers, at, tried)

    def position(self, address: bytes) -> int | None:
        """
        Where the network of ``address`` is on the ring; None when it is no address.
        """
        try:
            if b":" not in address:
                if address.count(b".") != 3:
                    return None
                bits = int.from_bytes(inet_aton(address.decode("ascii")))
            else:
                bits = int.from_bytes(inet_pton(AF_INET6, address.partition(b"%")[0].decode("ascii")))
                if bits >> 32 != 0xFFFF:
                    return position((bits & self._ipv6).to_bytes(16))
                bits &= 0xFFFFFFFF  # an IPv4 address, mapped (RFC 4291 section 2.5.5.2)
        except (OSError, ValueError):
            return None
        return position((bits & self._ipv4).to_bytes(4))
