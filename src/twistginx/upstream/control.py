"""
What can be done to servers while they serve: looked at, drained, taken out, taken in, given another weight.

It is plain data in and plain data out, for a socket, a command line or a page.  What is done holds for one process,
until it ends: a reload changes nothing about it, and neither does a server that leaves and comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from attrs import evolve

from twistginx.config.tables.upstream import HEAVIEST
from twistginx.errors import ConfigError
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream


class Control:
    """
    The servers of a process, for its operator.

    A server is named by its address, as ``state`` shows it: ``127.0.0.1:9001``; ``*`` stands for all of an upstream.
    """

    def __init__(self, upstreams: Callable[[], Mapping[str, Upstream]]) -> None:
        """
        :param upstreams: returns those that serve now, by name.
        """
        self._upstreams = upstreams

    def state(self, upstream: str | None = None) -> dict[str, Any]:
        """
        How they are, by name.

        :param upstream: that one alone; None: all.
        :raise ConfigError: when there is none of that name.
        """
        names = self._upstreams() if upstream is None else (upstream,)
        return {name: _upstream_state(self._find(name)) for name in names}

    def drain(self, upstream: str, server: str) -> dict[str, Any]:
        """
        Send nothing new to ``server`` but the requests of clients that have a session there (``sticky``).

        :return: the state of the servers that were meant, as all that follow.
        :raise ConfigError: when there is no such server, as all that follow.
        """
        return self._order(upstream, server, state="draining")

    def disable(self, upstream: str, server: str) -> dict[str, Any]:
        """
        Send nothing at all to ``server``.  What it is doing is not interrupted.
        """
        return self._order(upstream, server, state="disabled")

    def enable(self, upstream: str, server: str) -> dict[str, Any]:
        """
        Use ``server`` as it is configured, unless health checks say otherwise.
        """
        return self._order(upstream, server, state="")

    def weigh(self, upstream: str, server: str, weight: int | None) -> dict[str, Any]:
        """
        Give ``server`` another weight.

        :param weight: at least 1; None: the configured one.
        """
        if weight is not None and (type(weight) is not int or not 1 <= weight <= HEAVIEST):
            raise ConfigError(f"{weight!r} is no weight", "weight", f"a number from 1 to {HEAVIEST}; or drain it")
        return self._order(upstream, server, weight=weight)

    def _order(self, upstream: str, server: str, **changes: Any) -> dict[str, Any]:
        found = self._find(upstream)
        peers = _peers(found, server)
        for peer in peers:
            found.give_order(peer, evolve(found.roster.order(peer), **changes))
        return {"servers": [_peer_state(found, peer) for peer in peers]}

    def _find(self, name: str) -> Upstream:
        upstreams = self._upstreams()
        if name not in upstreams:
            raise ConfigError(f"there is no upstream {name!r}", "upstream", _one_of(upstreams))
        return upstreams[name]


def _peers(upstream: Upstream, server: str) -> list[Peer]:
    label = server.encode("utf-8", "surrogateescape")
    peers = [peer for peer in upstream.peers if server == "*" or peer.label == label]
    if not peers:
        labels = (peer.label.decode() for peer in upstream.peers)
        raise ConfigError(f"upstream {upstream.name!r} has no server {server!r}", "server", _one_of(labels))
    return peers


def _one_of(names: Iterable[str]) -> str:
    return f"one of: {', '.join(names) or 'there is none'}"


def _upstream_state(upstream: Upstream) -> dict[str, Any]:
    roster = upstream.roster
    return {
        "servers": [_peer_state(upstream, peer) for peer in (*upstream.peers, *roster.leaving.values())],
        "waiting": len(roster.queue),
        "idle": upstream.resting,
        "stale": upstream.stale,
        **{name: attendant.report() for name, attendant in upstream.attendants.items()},
    }


def _peer_state(upstream: Upstream, peer: Peer) -> dict[str, Any]:
    """
    Times are seconds; ``since`` is counted from 1970.
    """
    order: Literal["", "draining", "disabled"] = peer.order
    return {
        "server": peer.label.decode("utf-8", "backslashreplace"),
        "state": peer.state,
        "since": round(peer.since, 3),
        "used": peer in upstream.available,
        "last_error": peer.last_error,
        "weight": peer.weight,
        "by_hand": {"state": order, "weight": upstream.roster.order(peer).weight},
        "backup": peer.backup,
        "max_connections": peer.max_connections,
        "active": peer.active,
        "idle": len(peer.resting),
        "requests": peer.begun,
        "failed": peer.failed,
        "failures": peer.failures,
        "first_byte": round(peer.latency, 6) or None,
    }
