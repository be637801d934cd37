"""
The addresses of a configuration, and what each is planned to be.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorSocket, IReactorSSL, IReactorTCP, IReactorUDP, IReactorUNIX
from twisted.internet.task import Clock
from zope.interface import implementer

from twistginx.build.building import Key
from twistginx.build.generation import ListenerPlan, Runtime
from twistginx.config import schema
from twistginx.config.regex import Regex
from twistginx.errors import ConfigError
from twistginx.net import tlscontext
from twistginx.net.capacity import Limit
from twistginx.net.crowd import Census
from twistginx.net.proxied import ProxyProtocol
from twistginx.net.timers import Ticker
from twistginx.net.tls import TLSServer
from twistginx.routing.router import Site


@define(eq=False)
class Place:
    """
    One address, while its listener is planned.
    """

    where: Key
    options: schema.Listener
    tls: bool
    frontend: Any = None
    _contexts: list[tuple[str, Any]] = field(factory=list)
    _default: Any = None

    def add(self, site: Site, names: tuple[str, ...], context: Any) -> None:
        """
        ``site`` answers here.
        """
        frontend = self.frontend
        if context is not None:
            frontend.terms[context] = site.terms
        if not names:
            frontend.default = site
            self._default = context
        for name in names:
            if name.startswith("~"):
                frontend.patterns = (*frontend.patterns, (Regex.parse(name[1:]), site))
            elif name.startswith("*."):
                wildcards = [*frontend.wildcards, (name[1:].encode(), site)]
                frontend.wildcards = tuple(sorted(wildcards, key=lambda entry: -len(entry[0])))
            else:
                frontend.sites[name.encode()] = site
            self._contexts.append((name, context))

    def plan(self, endpoint: str, runtime: Runtime) -> ListenerPlan:
        """
        What its listener is to be.
        """
        options, ticker = self.options, runtime.ticker
        peers, limits = options.proxy_protocol, options.limits
        census = None
        if limits.connections_per_client is not None and runtime.memory is not None:
            census = Census(runtime.memory, b"connections/%b/" % endpoint.encode(), runtime.reactor.seconds)

        def limit(key: str, connections: int | None, workers: int) -> Limit | None:
            return None if connections is None else Limit(-(-connections // workers), f"limits.{key} = {connections}")

        return ListenerPlan(
            endpoint,
            options.backlog,
            self.frontend,
            self._server(ticker),
            None if peers is None else ProxyProtocol(peers, ticker, options.timeouts.header),
            limit("connections", limits.connections, runtime.workers),
            limit("connections_per_client", limits.connections_per_client, 1),
            census,
        )

    def _server(self, ticker: Ticker) -> TLSServer | None:
        """
        The TLS that stands before the sites, or None.
        """
        if not self.tls:
            return None
        return TLSServer(tlscontext.TLSTable.of(self._contexts, self._default), ticker)


class Endpoints:
    """
    The addresses of a configuration, each once.

    :ivar places: by endpoint string, in file order.
    """

    def __init__(self, root: schema.Root) -> None:
        self._root = root
        self.places: dict[str, Place] = {}

    def place(self, address: str, where: Key, tls: bool) -> Place:
        """
        :param address: an endpoint string, or a listener's name.
        """
        options = self._root.listeners.get(address)
        if options is None:
            same = [each for each in self._root.listeners.values() if each.endpoint == address]
            options = same[0] if same else schema.Listener(name=address, endpoint=address)
        text = str(options.endpoint)  # Twisted's parser wants no subclass of str
        place = self.places.get(text)
        if place is None:
            place = self.places[text] = Place(where, options, tls or options.tls)
        return place


@implementer(IReactorTCP, IReactorSSL, IReactorUNIX, IReactorUDP, IReactorSocket)
class Nowhere(Clock):
    """
    A reactor for who parses endpoint strings: it has time, and no sockets.

    Twisted's own for tests imports all of trial, which is 50 ms and 3 MiB of every process.
    """

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("nothing is opened while a configuration is read")

    listenTCP = connectTCP = listenSSL = connectSSL = listenUNIX = connectUNIX = listenUDP = _refuse
    adoptStreamPort = adoptStreamConnection = adoptDatagramPort = _refuse


def parse_endpoint(text: str) -> None:
    """
    Twisted's parser has the last word on an endpoint string, and opens nothing.

    :raise ConfigError: with what it says.
    """
    try:
        serverFromString(Nowhere(), text)
    except Exception as error:
        if text.startswith("systemd:") and isinstance(error, LookupError):
            return  # systemd passes its sockets to the server, not to whoever checks the file
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"{text!r} is not a server endpoint that can be used: {reason}",
            expected='an endpoint string such as "tcp:8080", "tcp:8080:interface=127.0.0.1" or "unix:/run/app.sock"',
        ) from error
