"""
What stands beside an upstream: what finds its servers, checks them, and cuts them off.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from attrs import evolve

from twistginx.build.building import Building
from twistginx.config import schema
from twistginx.config.address import ServerAddress
from twistginx.config.resolvconf import parse_nameserver
from twistginx.upstream.breakers import Breakers
from twistginx.upstream.causes import Causes
from twistginx.upstream.discovery.lookup import Resolver
from twistginx.upstream.discovery.membership import Known, Membership, is_name
from twistginx.upstream.discovery.names import Names
from twistginx.upstream.health import HealthChecks
from twistginx.upstream.health_check import make_check
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream
from twistginx.upstream.roster import PeerMaker


def attend(
    building: Building, config: schema.Upstream, identity: Hashable, key: Hashable, upstream: Upstream, maker: PeerMaker
) -> None:
    """
    Have ``upstream`` start with the generation, and with it all that its configuration wants beside it.

    :param identity: what the upstream is known by over reloads.
    :param key: of all that ``upstream`` was made of: what belongs to it is kept as long as it is.
    """
    # Who the servers are is known before the upstream takes over the peers of the one before it.
    causes = building.keep(("causes", identity), Causes)
    attendants = [
        _membership(building, config, identity, key, upstream, causes),
        upstream,
        _health_checks(building, config, key, upstream, maker, causes),
        _breakers(building, config, key, upstream),
    ]
    for each in attendants:
        if each is not None:
            building.start_and_stop(each)
    upstream.attendants = {each.name: each for each in attendants if each is not None and each is not upstream}


def is_found(config: schema.Upstream) -> bool:
    """
    Are the servers to be found out while we run?
    """
    return bool(config.discover) or any(is_name(server.to) for server in config.servers)


def _membership(
    building: Building, config: schema.Upstream, identity: Hashable, key: Hashable, upstream: Upstream, causes: Causes
) -> Membership | None:
    if not is_found(config):
        return None
    if None in config.discover:
        return None  # it has a problem, which is reported already
    runtime = building.runtime
    # Names, and what was found, are known whatever else is configured anew.
    names = building.keep(
        ("names", config.resolver, config.resolve),
        lambda: Names(
            Resolver(runtime.reactor, tuple(map(parse_nameserver, config.resolver))),
            runtime.ticker,
            config.resolve == "once",
        ),
    )
    knowns = [building.keep(("found", identity, use.name, use.config), Known) for use in config.discover]

    def make() -> Membership:
        providers = [(building.make(use), known) for use, known in zip(config.discover, knowns, strict=True)]
        whole = [(provider, known) for provider, known in providers if provider is not None]
        return Membership(upstream, config.servers, whole, names, causes)

    return building.keep(("membership", key), make)


def _health_checks(
    building: Building,
    config: schema.Upstream,
    key: Hashable,
    upstream: Upstream,
    maker: PeerMaker,
    causes: Causes,
) -> HealthChecks | None:
    health = config.health
    if health is None:
        return None
    runtime = building.runtime

    def make() -> HealthChecks:
        check = make_check(health, f"upstream.{config.name}.health.timeout", runtime.ticker, runtime.reactor)
        target = _target(health, upstream, maker)
        return HealthChecks(upstream, health, check, runtime.ticker, causes, runtime.board, target)

    return building.keep(("health", key), make)


def _breakers(building: Building, config: schema.Upstream, key: Hashable, upstream: Upstream) -> Breakers | None:
    breaker = config.breaker
    if breaker is None:
        return None
    ticker = building.runtime.ticker
    return building.keep(("breakers", key), lambda: Breakers(upstream, breaker, ticker))


def _target(health: schema.Health, upstream: Upstream, maker: PeerMaker) -> Callable[[Peer], tuple[Peer, bytes]]:
    """
    Where a peer is checked, and the Host that it is asked for.
    """
    elsewhere = health.port is not None or health.tls is not None
    made: dict[Peer, Peer] = {}

    def make(peer: Peer, name: ServerAddress) -> Peer:
        address = peer.address
        secure = address.secure if health.tls is None else health.tls
        address = evolve(address, port=health.port or address.port, secure=secure)
        server_name = health.name or maker.server_name or name.host or None
        context, bind, preface = maker.context, maker.bind, maker.preface
        return Peer(address, maker.reactor, maker.ticker, 1, context, server_name, bind=bind, preface=preface)

    def target(peer: Peer) -> tuple[Peer, bytes]:
        server: Any = upstream.server_of(peer)
        name = peer.address if server is None else server.to
        host = health.host or (str(evolve(name, port=health.port or name.port)) if name.kind == "tcp" else "localhost")
        if elsewhere or (health.host is not None and peer.secure):
            for gone in made.keys() - set(upstream.peers):
                del made[gone]
            if peer not in made:
                made[peer] = make(peer, name)
            peer = made[peer]
        return peer, host.encode()

    return target
