"""
The addresses of a name: what ``/etc/hosts`` says, or the name servers, or whatever else the system asks.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import (
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorUDP,
    IResolutionReceiver,
)
from twisted.names import dns
from twisted.names.hosts import searchFileForAll
from twisted.python.filepath import FilePath
from zope.interface import implementer

from twistginx.config.resolvconf import ResolvConf
from twistginx.upstream.discovery.nameservers import Address, Answer, ResolveError, ask

#: Seconds that hold where nobody says how long: of a file, and of the system's own resolver.
_FILE_TTL: Final = 5
_SYSTEM_TTL: Final = 30

_KINDS: Final = (dns.A, dns.AAAA)


@frozen
class Found:
    """
    What a name is.

    :ivar families: for IPv4 and for IPv6, the addresses; None where that could not be found out.
    :ivar ttl: seconds that they hold.
    :ivar failure: why a family is None; empty where none is.
    """

    families: tuple[tuple[str, ...] | None, ...]
    ttl: int
    failure: str = ""


@frozen
class Resolver:
    """
    Where names are looked up.

    :ivar servers: the name servers; empty: those of the system, after its ``hosts``, and before its own resolver.
    :ivar hosts: that file, and ``conf`` is ``resolv.conf``; both are read at each look, because both may change.
    """

    reactor: Any = field(repr=False)
    servers: tuple[Address, ...] = ()
    hosts: Path = Path("/etc/hosts")
    conf: Path = Path("/etc/resolv.conf")

    async def look_up(self, name: str) -> Found:
        """
        The addresses of ``name``.

        :raise ResolveError: when none could be found.
        """
        listed = [] if self.servers else searchFileForAll(FilePath(str(self.hosts)), name.encode("ascii"))
        if listed:
            return Found((_of_family(listed, 4), _of_family(listed, 6)), _FILE_TTL)
        try:
            return await self._ask(name)
        except ResolveError:
            # NSS may know other ways: mDNS, a container's, a directory.
            found = None if self.servers else await self._ask_system(name)
            if found is None:
                raise
            return found

    async def services(self, name: str) -> Answer:
        """
        The SRV records of ``name`` (RFC 2782).

        :raise ResolveError: when they cannot be had.
        """
        conf = self._conf()
        answer = Answer((), 0)
        for candidate in conf.candidates(name):
            answer = await ask(self.reactor, conf.servers, candidate, dns.SRV)
            if answer.records:
                break
        return answer

    def _conf(self) -> ResolvConf:
        if self.servers:
            return ResolvConf(self.servers)
        text = ""
        with suppress(OSError):
            text = self.conf.read_text("utf-8", "replace")
        conf = ResolvConf.parse(text)
        # As the system's own does, where nothing is said.
        return conf if conf.servers else ResolvConf((("127.0.0.1", dns.PORT),), conf.search, conf.dots)

    async def _ask(self, name: str) -> Found:
        conf = self._conf()
        failure = ""
        for candidate in conf.candidates(name):
            # Both at once; what fails in one family says nothing of the other.
            asking = [Deferred.fromCoroutine(ask(self.reactor, conf.servers, candidate, kind)) for kind in _KINDS]
            families: list[tuple[str, ...] | None] = []
            ttls = []
            outcomes: list[tuple[bool, Any]] = await DeferredList(asking, consumeErrors=True)
            for good, answer in outcomes:
                if good:
                    families.append(
                        tuple(
                            record.dottedQuad() if record.TYPE == dns.A else _ipv6(record) for record in answer.records
                        )
                    )
                    ttls += [answer.ttl] if answer.records else []
                elif answer.check(CancelledError):
                    answer.raiseException()
                else:
                    families.append(None)
                    failure = failure or answer.getErrorMessage()
            if not any(family is not None for family in families):
                break  # The servers will not answer the next question either.
            if any(families):
                return Found(tuple(families), min(ttls), failure if None in families else "")
        raise ResolveError(failure or "there is no such name, or it has no address")

    async def _ask_system(self, name: str) -> Found | None:
        # A reactor in memory has a resolver that makes its answers up.
        if not IReactorPluggableNameResolver.providedBy(self.reactor) or not IReactorUDP.providedBy(self.reactor):
            return None
        receiver = _Receiver()
        self.reactor.nameResolver.resolveHostName(receiver, name, 0, [IPv4Address, IPv6Address])
        listed = await receiver.done
        return Found((_of_family(listed, 4), _of_family(listed, 6)), _SYSTEM_TTL) if listed else None


def reachable(addresses: Iterable[str]) -> tuple[str, ...]:
    """
    ``addresses`` in their numeric order, IPv4 first, without those of IPv6 to which this machine knows no way; all,
    when it knows no way to any.
    """
    ordered = sorted(set(addresses), key=_order)
    routed = [address for address in ordered if ":" not in address or _has_route(address)]
    return tuple(routed or ordered)


def _order(address: str) -> tuple[int, int]:
    number = ip_address(address)
    return number.version, int(number)


def _has_route(address: str) -> bool:
    """
    Connecting a socket of datagrams sends nothing: it only asks for the route.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def _ipv6(record: Any) -> str:
    return socket.inet_ntop(socket.AF_INET6, record.address)


def _of_family(addresses: Sequence[str], version: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(ip_address(each)) for each in addresses if ip_address(each).version == version))


@implementer(IResolutionReceiver)
class _Receiver:
    """
    Gathers what the system's resolver finds.
    """

    def __init__(self) -> None:
        self._found: list[str] = []
        self.done: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """
        It cannot be stopped: it is in a thread.
        """

    def addressResolved(self, address: Any) -> None:
        self._found.append(address.host)

    def resolutionComplete(self) -> None:
        if not self.done.called:
            self.done.callback(self._found)
