"""
Who the servers of an upstream are now: what the configuration says, what others say, and what names stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from twistginx.config.address import ServerAddress
from twistginx.config.tables.upstream import HEAVIEST, Server
from twistginx.errors import ConfigError
from twistginx.interfaces import IFinding, ILife
from twistginx.upstream.causes import Causes
from twistginx.upstream.discovery.listing import MOST, servers_of
from twistginx.upstream.discovery.names import Name, Names
from twistginx.upstream.peer import Peer

_log = Logger(namespace="twistginx.discovery")

#: How many servers the log names when they come or go.
_NAMED: Final = 8


@implementer(ILife)
class Membership:
    """
    Keeps the peers of one upstream what its servers are.

    A server whose name is not known yet is one peer, which has that name, and looks it up for each connection; it is
    marked as down when the name cannot be resolved.  As soon as the name is known, there is a peer for each address.
    """

    name = "discovery"

    def __init__(
        self,
        upstream: Any,
        servers: Sequence[Server],
        providers: Iterable[tuple[Any, Known]],
        names: Names,
        causes: Causes,
    ) -> None:
        """
        :param upstream: an ``upstream.pool.Upstream``, which is started after this.
        :param servers: those of the configuration; they stay, whatever is found.
        :param providers: each an ``IDiscovery``, and what it has said.
        :param names: looks names up.
        """
        self.upstream = upstream
        self._servers = tuple(servers)
        self.names = names
        self._causes = causes
        self._watched: dict[str, Name] = {}
        self._findings = [Finding(self, provider, known) for provider, known in providers]
        self._started = False

    # ILife.

    def start(self) -> None:
        """
        Look.
        """
        for finding in self._findings:
            finding.start()
        self._started = True
        self.update()

    def stop(self) -> Deferred[Any]:
        """
        Look no more; the peers stay as they are.
        """
        self._started = False
        stopping = gatherResults([finding.stop() for finding in self._findings])
        self._watch(())
        return stopping

    # What findings and names call.

    def name_changed(self, host: str) -> None:
        """
        See ``names.Watcher``.
        """
        self.update()

    def update(self) -> None:
        """
        Make the peers what they are to be.
        """
        if not self._started:
            return
        servers = [*self._servers, *(server for finding in self._findings for server in finding.known.servers)]
        self._watch(server.to.host for server in servers if is_name(server.to))
        wanted: dict[Peer, Server] = {}
        unknown: dict[Peer, str] = {}
        for server in servers:
            name = self._watched.get(server.to.host) if is_name(server.to) else None
            found = name is not None and name.addresses is not None
            addresses = [evolve(server.to, host=host) for host in name.addresses] if found else [server.to]  # type: ignore[union-attr]
            for address in addresses:
                try:
                    peer = self.upstream.peer_for(address, server)
                except ConfigError as error:
                    _log.error(
                        "upstream {upstream}: {address} cannot be used: {error}",
                        upstream=self.upstream.name,
                        address=str(address),
                        error=error,
                    )
                    continue
                if peer in wanted:
                    # What is named twice takes twice its share.
                    both = evolve(server, weight=min(HEAVIEST, server.weight + wanted[peer].weight))
                    wanted[peer] = both
                    self.upstream.peer_for(address, both)
                wanted.setdefault(peer, server)
                if name is not None and not found:
                    unknown[peer] = name.error
        self._replace(tuple(wanted))
        for peer, why in unknown.items():
            if why:
                self._causes.speak(self.upstream, peer, "dns", self, f"dns_error: {why}")

    def report(self) -> list[dict[str, Any]]:
        """
        What each provider has said last, and each name; plain values.
        """
        providers = [finding.report() for finding in self._findings]
        names = [
            {"name": name.host, "addresses": list(name.addresses or ()), "error": name.error}
            for name in self._watched.values()
        ]
        return providers + names

    # Pieces.

    def _watch(self, hosts: Iterable[str]) -> None:
        wanted = set(hosts)
        for host in wanted - self._watched.keys():
            self._watched[host] = self.names.watch(host, self)
        for host in self._watched.keys() - wanted:
            del self._watched[host]
            self.names.unwatch(host, self)

    def _replace(self, peers: tuple[Peer, ...]) -> None:
        before = self.upstream.peers
        self.upstream.replace(peers)
        come = [peer for peer in peers if peer not in before]
        gone = [peer for peer in before if peer not in peers]
        for peer in gone:
            self._causes.forget(peer)
        if come or gone:
            level = _log.info if peers else _log.warn
            level(
                "upstream {name}: {changes}; {count} servers",
                name=self.upstream.name,
                changes=", ".join(part for part in (_named("new: ", come), _named("gone: ", gone)) if part),
                count=len(peers),
            )


class Known:
    """
    What a provider has said; it outlives the provider when the configuration is another.

    :ivar servers: as it said last.
    :ivar heard: it has said something.
    """

    def __init__(self) -> None:
        self.servers: tuple[Server, ...] = ()
        self.heard = False


@implementer(IFinding)
class Finding:
    """
    What one provider has found.

    :ivar known: what that is.
    :ivar resolver: see ``IFinding``.
    """

    def __init__(self, membership: Membership, provider: Any, known: Known) -> None:
        self.known = known
        self.resolver = membership.names.resolver
        self._membership = membership
        self._label = provider.label
        self._provider = provider
        self._error = ""

    def start(self) -> None:
        """
        Set the provider to work.  One that breaks, a plugin's, is said to, and takes nobody with it.
        """
        try:
            self._provider.begin(self)
        except Exception as error:
            _log.failure("{label} broke when it was to begin", label=self._label)
            self.missed(f"it broke: {type(error).__name__}: {error}")

    def stop(self) -> Deferred[Any]:
        """
        Have it end.
        """
        return maybeDeferred(self._provider.end)

    def found(self, servers: Iterable[Any]) -> None:
        """
        See ``IFinding``.
        """
        try:
            found = _checked(list(servers))
        except ValueError as error:
            self.missed(f"what it says cannot be used: {error}")
            return
        if self._error:
            _log.info("upstream {name}: {label} is heard again", name=self._membership.upstream.name, label=self._label)
        self._error = ""
        known = self.known
        if found != known.servers or not known.heard:
            known.heard = True
            known.servers = found
            self._membership.update()

    def missed(self, reason: str) -> None:
        """
        See ``IFinding``.
        """
        if reason == self._error:
            return
        first, self._error = not self._error, reason
        if not first:
            return
        _log.warn(
            "upstream {name}: {label}: {reason}; {rest}",
            name=self._membership.upstream.name,
            label=self._label,
            reason=reason,
            rest=f"its {len(self.known.servers)} servers stay"
            if self.known.heard
            else "no servers are known from it yet",
        )

    def report(self) -> dict[str, Any]:
        """
        As plain values.
        """
        return {
            "source": self._label,
            "servers": [str(server.to) for server in self.known.servers],
            "error": self._error,
        }


def _checked(entries: list[Any]) -> tuple[Server, ...]:
    """
    :raise ValueError: with a short reason.
    """
    plain = [entry for entry in entries if not isinstance(entry, Server)]
    if plain:
        return servers_of(entries, remote=True)
    if len(entries) > MOST:
        raise ValueError(f"it has more than {MOST} servers")
    return tuple(entries)


def is_name(address: ServerAddress) -> bool:
    """
    Must something be looked up to get there?
    """
    if address.kind != "tcp":
        return False
    try:
        ip_address(address.host)
    except ValueError:
        return True
    return False


def _named(what: str, peers: Sequence[Peer]) -> str:
    labels = [peer.label.decode() for peer in peers[:_NAMED]]
    more = [f"{len(peers) - _NAMED} more"] if len(peers) > _NAMED else []
    return what + ", ".join(labels + more) if peers else ""
