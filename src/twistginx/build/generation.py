"""
A generation: everything that serves one version of the configuration, and what outlives it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from secrets import token_bytes
from typing import Any

from attrs import define, field, frozen

from twistginx.config import schema
from twistginx.errors import Problem
from twistginx.net.board import Board
from twistginx.net.capacity import Capacity, Limit
from twistginx.net.crowd import Census
from twistginx.net.listener import Listener
from twistginx.net.proxied import ProxyProtocol
from twistginx.net.timers import Ticker
from twistginx.net.tls import TLSServer
from twistginx.observe import accesslog
from twistginx.observe.counters import Counters
from twistginx.routing.router import Site
from twistginx.shared.embedded import EmbeddedStore
from twistginx.upstream.pool import Upstream


@define(eq=False)
class Runtime:
    """
    What outlives generations.

    :ivar kept: what modules keep over reloads, by their keys; of the live generation.
    :ivar capacity: what all listeners together may hold; its limit is that of the live generation.
    :ivar memory: what the master has made for all its workers to share (``shared.embedded``); None: this process is
        alone.
    :ivar board: where the workers tell each other what they have found out.
    :ivar workers: how many processes share the work.  What the configuration allows the server as a whole is divided by
        it.
    :ivar secret: what all workers have, and nobody else, for as long as they serve.
    :ivar reports: what there is to report of this process beside its counters, as JSON, by name.
    :ivar commands: what an operator can do to the running configuration, by name; each takes the request and gives the
        answer, as JSON, and raises ValueError when it cannot.
    """

    reactor: Any
    ticker: Ticker
    counters: Counters = field(factory=Counters)
    kept: dict[Hashable, Any] = field(factory=dict)
    capacity: Capacity = field(factory=Capacity)
    memory: EmbeddedStore | None = None
    board: Board = field(factory=Board)
    workers: int = 1
    secret: bytes = field(factory=partial(token_bytes, 32), repr=False)
    reports: dict[str, Callable[[], Any]] = field(factory=dict)
    commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = field(factory=dict)

    def adopt(self, generation: Generation) -> None:
        """
        ``generation`` is the live one: what it keeps is kept, and nothing else.
        """
        self.kept = generation.kept
        self.capacity.allow(generation.root.process.max_connections, self.workers)


@frozen(eq=False)
class ListenerPlan:
    """
    What a listener is to be in a generation.

    :ivar endpoint: the server endpoint string.
    :ivar frontend: answers its connections.
    :ivar tls: what stands before it, or None.
    :ivar proxy_protocol: what stands before that, or None.
    :ivar limit: of connections, or None.
    :ivar client_limit: of those of one client, or None.
    :ivar census: where these are counted for all workers; None: in this process, or not at all.
    """

    endpoint: str
    backlog: int
    frontend: Any
    tls: TLSServer | None
    proxy_protocol: ProxyProtocol | None = None
    limit: Limit | None = None
    client_limit: Limit | None = None
    census: Census | None = None

    def give_to(self, listener: Listener) -> None:
        """
        From now on ``listener`` serves as this says.
        """
        listener.frontend = self.frontend
        listener.tls = self.tls
        listener.proxy_protocol = self.proxy_protocol
        listener.limit = self.limit
        listener.client_limit = self.client_limit
        listener.connections.count_in(self.census)


@define(eq=False)
class Generation:
    """
    All that was built of one version of the configuration.

    :ivar listeners: by endpoint string; a listener that is in two generations goes on with its socket.
    :ivar upstreams: by the names that the configuration gives them.
    :ivar own: those that have no name there, by their servers: of a route, or of a policy that asks somebody.
    :ivar lives: what wants to be started when the generation is committed, and stopped when it is replaced.
    :ivar kept: what is to be kept over reloads, by key.
    :ivar warnings: what is risky, and yet valid.
    """

    root: schema.Root
    listeners: dict[str, ListenerPlan] = field(factory=dict)
    upstreams: dict[str, Upstream] = field(factory=dict)
    own: dict[str, Upstream] = field(factory=dict)
    sites: list[Site] = field(factory=list)
    access_log: accesslog.AccessLog | None = None
    lives: list[Any] = field(factory=list)
    kept: dict[Hashable, Any] = field(factory=dict)
    warnings: list[Problem] = field(factory=list)

    @property
    def drain_timeout(self) -> float:
        """
        Seconds that connections may take to end their work.
        """
        return self.root.process.drain_timeout

    @property
    def all_upstreams(self) -> dict[str, Upstream]:
        """
        For operators.  What a request may choose by its name is in ``upstreams`` alone.
        """
        return {**self.own, **self.upstreams}
