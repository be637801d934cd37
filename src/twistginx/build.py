"""
A configuration -> a generation: everything that serves it, built and not started.

The only module that knows all the others.  It opens no socket and starts nothing, so that a configuration can be built
to be checked, or beside a running one, and be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from zope.interface import implementer

from twistginx.config import schema
from twistginx.config.address import ServerAddress
from twistginx.config.load import draft
from twistginx.config.template import Template
from twistginx.errors import ConfigError, Problem
from twistginx.http.channel import Frontend, Timeouts
from twistginx.http.fieldnames import DoubtfulNames
from twistginx.http.variables import compile_template
from twistginx.interfaces import IContext, IStreaming
from twistginx.net import certificates, tlscontext
from twistginx.net.capacity import Capacity, Limit
from twistginx.net.listener import Listener
from twistginx.net.proxied import ProxyProtocol
from twistginx.net.timers import Ticker
from twistginx.net.tls import TLSServer
from twistginx.observe import accesslog
from twistginx.observe.counters import Counters
from twistginx.registry import Registry
from twistginx.routing.router import Route, RouteTimeouts, Site
from twistginx.stream.tcp import StreamFrontend
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream

Key = tuple[str | int, ...]
T = TypeVar("T")

#: The protocols that a TLS listener offers (ALPN, RFC 7301).
ALPN = ("http/1.1",)

_log = Logger(namespace="twistginx.http")

_PHASES = ("received", "admit", "prepare", "responding", "finished")


@define(eq=False)
class Runtime:
    """
    What outlives generations.

    :ivar kept: what modules keep over reloads, by their keys; of the live generation.
    :ivar capacity: what all listeners together may hold; its limit is that of the live generation.
    """

    reactor: Any
    ticker: Ticker
    counters: Counters = field(factory=Counters)
    kept: dict[Hashable, Any] = field(factory=dict)
    capacity: Capacity = field(factory=Capacity)

    def adopt(self, generation: Generation) -> None:
        """
        ``generation`` is the live one: what it keeps is kept, and nothing else.
        """
        self.kept = generation.kept
        self.capacity.allow(generation.root.process.max_connections)


@frozen(eq=False)
class ListenerPlan:
    """
    What a listener is to be in a generation.

    :ivar endpoint: the server endpoint string.
    :ivar frontend: answers its connections.
    :ivar tls: what stands before it, or None.
    :ivar proxy_protocol: what stands before that, or None.
    :ivar limit: of connections, or None.
    """

    endpoint: str
    backlog: int
    frontend: Any
    tls: TLSServer | None
    proxy_protocol: ProxyProtocol | None = None
    limit: Limit | None = None

    def give_to(self, listener: Listener) -> None:
        """
        From now on ``listener`` serves as this says.
        """
        listener.frontend = self.frontend
        listener.tls = self.tls
        listener.proxy_protocol = self.proxy_protocol
        listener.limit = self.limit


@define(eq=False)
class Generation:
    """
    All that was built of one version of the configuration.

    :ivar listeners: by endpoint string; a listener that is in two generations goes on with its socket.
    :ivar lives: what wants to be started when the generation is committed, and stopped when it is replaced.
    :ivar kept: what is to be kept over reloads, by key.
    :ivar warnings: what is risky, and yet valid.
    """

    root: schema.Root
    listeners: dict[str, ListenerPlan] = field(factory=dict)
    upstreams: dict[str, Upstream] = field(factory=dict)
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


def build(root: schema.Root, registry: Registry, runtime: Runtime) -> Generation:
    """
    Build a generation.

    :raise ConfigError: with every problem that building has found.
    """
    return _Builder(root, registry, runtime).build()


def prepare(path: str | Path, registry: Registry, environment: Mapping[str, str], runtime: Runtime) -> Generation:
    """
    Read and build the configuration at ``path``.

    What cannot be built is reported together with what cannot be read, so that nobody has to mend a file twice.

    :param environment: where ``{env.X}`` is looked up.
    :raise ConfigError: with every problem; complaints about plugins are with them, as warnings.
    """
    drafted = draft(path, registry, environment)
    builder = _Builder(drafted.root, registry, runtime)
    try:
        generation = builder.build()
        problems: list[Problem] = []
    except ConfigError:
        # Of what was wrong already, building can only say again that it is.
        said = {problem.key for problem in drafted.problems}
        problems = [
            problem for key, problem in builder.problems if key not in drafted.touched and problem.key not in said
        ]
    if not drafted.problems and not builder.problems:
        return generation
    problems += drafted.problems
    raise ConfigError(problems=(*drafted.root.source.sorted(problems), *builder.complaints()))


@implementer(IContext)
@frozen(eq=False)
class Context:
    """
    What one module is given to build with.
    """

    reactor: Any
    ticker: Ticker
    log: Logger
    base: Path
    _builder: _Builder
    _where: Key

    def upstream(self, name: str) -> Upstream:
        return self._builder.upstream(name)

    def inline_upstream(self, servers: Iterable[ServerAddress]) -> Upstream:
        """
        The upstream of one route alone: its ``to``.
        """
        return self._builder.inline_upstream(tuple(servers), self._where)

    def keep(self, key: Hashable, factory: Callable[[], T]) -> T:
        return self._builder.keep(key, factory)

    def template(self, text: Template) -> Callable[..., bytes]:
        return compile_template(text)


class _Builder:
    """
    One run of :func:`build`; it collects problems, and goes on as long as it can.
    """

    def __init__(self, root: schema.Root, registry: Registry, runtime: Runtime) -> None:
        self._root = root
        self._registry = registry
        self._runtime = runtime
        self._generation = Generation(root)
        self.problems: list[tuple[Key, Problem]] = []
        self._certificates: dict[tuple[Path, Path], certificates.Certificate] = {}

    def build(self) -> Generation:
        root = self._root
        generation = self._generation
        generation.warnings.extend(root.warnings)
        generation.warnings.extend(self.complaints())
        for name, config in root.upstreams.items():
            self._attempt(("upstream", name), partial(self._add_upstream, config))
        self._attempt(("log", "access"), self._open_access_log)
        endpoints = _Endpoints(root)
        for site in root.sites:
            self._site(site, endpoints)
        for stream in root.streams:
            self._stream(stream, endpoints)
        for text, place in endpoints.places.items():
            self._attempt(place.where, partial(_parse_endpoint, text))
        if self.problems:
            raise ConfigError(problems=root.source.sorted(problem for _, problem in self.problems))
        for text, place in endpoints.places.items():
            generation.listeners[text] = place.plan(text, self._runtime.ticker)
        return generation

    # Problems.

    def complaints(self) -> list[Problem]:
        """
        What the registry has to say about plugins.
        """
        return [Problem("", 0, 0, "", complaint, warning=True) for complaint in self._registry.complaints]

    def _attempt(self, where: Key, make: Callable[[], T], who: str = "") -> T | None:
        """
        What ``make`` returns; None when it cannot, and the problem is noted.

        :param where: the table that is being built; keys of errors are relative to it.
        :param who: the module that is at work, named when it breaks.
        """
        try:
            return make()
        except ConfigError as error:
            for problem in error.problems:
                keys = tuple(int(key) if key.isdigit() else key for key in problem.key.split(".") if key)
                self._report((*where, *keys), problem.message, problem.expected)
        except Exception as error:
            who = who or "building this"
            text = f"{who} failed: {type(error).__name__}: {error}"
            self._report(where, text)
        return None

    def _report(self, where: Key, message: str, expected: str = "") -> None:
        self.problems.append((where, self._root.source.problem(where, message, expected)))

    def _warn(self, where: Key, message: str) -> None:
        problem = self._root.source.problem(where, message)
        self._generation.warnings.append(
            Problem(problem.file, problem.line, problem.column, problem.key, problem.message, warning=True)
        )

    def keep(self, key: Hashable, factory: Callable[[], T]) -> T:
        kept = self._generation.kept
        try:
            if key not in kept:
                kept[key] = self._runtime.kept[key] if key in self._runtime.kept else factory()
        except TypeError:
            hash(key)  # the error was the factory's, when this does not raise it again
            raise
        value: T = kept[key]
        return value

    def _lives(self, made: Any) -> None:
        """
        Start ``made`` with the generation, and stop it after, if it wants that.
        """
        lives = self._generation.lives
        if callable(getattr(made, "start", None)) and callable(getattr(made, "stop", None)):
            if not any(made is life for life in lives):
                lives.append(made)

    def _make(self, use: schema.Use) -> Any:
        """
        The live object of a resource, a policy, a balancer or a stream's table; None when it has a problem.
        """
        module = use.module
        context = Context(
            self._runtime.reactor,
            self._runtime.ticker,
            Logger(namespace=module.__name__),
            self._root.source.base(use.where),
            self,
            use.where,
        )
        made = self._attempt(use.where, lambda: module.make(use.config, context), f"{use.name!r} ({module.__name__})")
        self._lives(made)
        return made

    # Upstreams.

    def upstream(self, name: str) -> Upstream:
        """
        The upstream of that name.

        :raise ConfigError: when there is none.
        """
        found = self._generation.upstreams.get(name)
        if found is None:
            if name in self._root.source.tree.get("upstream", {}):  # it has a problem, which is reported already
                return _Stub(name)  # type: ignore[return-value]
            names = ", ".join(self._root.upstreams) or "there is none"
            raise ConfigError(f"there is no upstream {name!r}", expected=f"expected one of: {names}")
        return found

    def inline_upstream(self, servers: tuple[ServerAddress, ...], where: Key) -> Upstream:
        """
        An upstream without a name, with the defaults of a named one.
        """
        module = self._registry.find("balance", "round_robin")
        config = schema.Upstream(
            name=", ".join(map(str, servers)),
            servers=tuple(schema.Server(to=to) for to in servers),
            balance=schema.Use("round_robin", module.Config(), module, where),
        )
        return self._upstream(config, where)

    def _add_upstream(self, config: schema.Upstream) -> None:
        if not _is_whole(config.balance) or not _is_whole(config.servers):
            return
        self._generation.upstreams[config.name] = self._upstream(config, ("upstream", config.name))

    def _upstream(self, config: schema.Upstream, where: Key) -> Upstream:
        runtime = self._runtime
        tls = config.tls
        ca = certificate = None
        if tls is not None:
            ca = certificates.load_authorities(tls.ca, "tls.ca") if tls.ca is not None else None
            if tls.client_cert is not None:
                certificate = certificates.load_certificate(tls.client_cert, tls.client_key)

        def make() -> Upstream:
            context = None
            if any(server.to.secure for server in config.servers):
                verify = tls is None or tls.verify
                context = tlscontext.client_context(ca, certificate, verify, alpn=ALPN)
            server_name = tls.server_name if tls is not None else None
            peers = []
            for index, server in enumerate(config.servers):
                peer = self._attempt(
                    (*where, "servers", index),
                    partial(Peer, server.to, runtime.reactor, runtime.ticker, server.weight, context, server_name),
                )
                if peer is not None:
                    peers.append(peer)
            return Upstream(config.name, config, peers, self._make(config.balance), runtime.ticker)

        # The files are part of the key, so that a new certificate is used after a reload.
        files = (ca, certificate.pem, certificate.key_pem) if certificate is not None else ca
        upstream = self.keep(("upstream", where, config, files), make)
        self._lives(upstream)
        return upstream

    # Logs.

    def _open_access_log(self) -> None:
        access = self._root.log.access
        if access.path == "off":
            return
        runtime = self._runtime

        def make() -> accesslog.AccessLog:
            line = accesslog.format_of(access.format)
            return accesslog.AccessLog(runtime.reactor, str(access.path), line, runtime.counters)

        self._generation.access_log = self.keep(("access_log", access), make)

    # Sites.

    def _site(self, config: schema.Site, endpoints: _Endpoints) -> None:
        # A draft may lack sites and routes, so their numbers are those of what is there: ("site", 0, "route", 2, ...).
        drafted = [route for route in config.routes if _is_whole(route.resource)]
        if not drafted:
            return
        where = drafted[0].resource.where[:2]
        routes = [made for route in drafted if (made := self._route(route)) is not None]
        label = config.names[0] if config.names else ", ".join((*config.listen, *config.listen_tls))
        sessions: dict[bytes, Any] = self.keep(("sessions", label), dict)
        context, terms = None, None
        if config.tls is not None:
            context, terms = self._attempt((*where, "tls"), lambda: self._server_context(config, where)) or (None, None)
        site = Site(
            label,
            tuple(routes),
            self._runtime.reactor,
            config.trusted_proxies,
            sessions,
            terms,
            self._doubtful_names(label, config.allow_header_names),
        )
        self._generation.sites.append(site)
        for key, addresses in (("listen", config.listen), ("listen_tls", config.listen_tls)):
            for index, address in enumerate(addresses):
                place = endpoints.place(address, (*where, key, index), tls=key == "listen_tls")
                if place.frontend is None:
                    place.frontend = self._frontend(place.options)
                place.add(site, config.names, context)

    def _doubtful_names(self, label: str, allowed: tuple[str, ...]) -> DoubtfulNames:
        """
        It outlives reloads, so that a name is told of once.
        """

        def tell(name: str) -> None:
            _log.warn(
                "{site}: header {name!r} was dropped, because servers may take it for another one; "
                "allow_header_names lets it in",
                site=label,
                name=name,
            )

        names: DoubtfulNames = self.keep(("header names", label, allowed), lambda: DoubtfulNames(allowed, tell))
        return names

    def _frontend(self, options: schema.Listener) -> Frontend:
        log = self._generation.access_log
        times = options.timeouts
        return Frontend(
            self._runtime.ticker,
            timeouts=Timeouts(times.header, times.idle, times.keepalive, times.write),
            head_bound=options.limits.header,
            fields_bound=options.limits.fields,
            requests_bound=options.limits.requests,
            min_rate=options.limits.min_rate,
            # A listener that has no name yet needs one to have a setting.
            key=f"listener.{'NAME' if ':' in options.name else options.name}.",
            tally=self._runtime.counters,
            log=log.log if log is not None else None,
        )

    def _route(self, config: schema.Route) -> Route | None:
        made = self._make(config.resource)
        policies = self._policies(config)
        if made is None:
            return None
        exact = config.exact
        return Route(
            name=config.name or f"#{int(config.resource.where[3]) + 1}",
            resource=made,
            exact=exact.encode() if exact is not None else None,
            prefix=(config.path or "").rstrip("/").encode(),
            strip=config.strip_prefix,
            streaming=IStreaming.providedBy(made),
            body_limit=config.limits.body,
            timeouts=RouteTimeouts(config.timeouts.first_byte, config.timeouts.idle),
            **policies,
        )

    def _policies(self, config: schema.Route) -> dict[str, tuple[Any, ...]]:
        """
        The phases of a route: each a flat tuple of bound methods, in the order of the published ranks.
        """
        ranked = []
        guard: list[Any] = []  # what is decided, however many routes have a policy of their own that decides so
        for uses in config.policies.values():
            for use in uses if isinstance(uses, tuple) else (uses,):
                policy = self._make(use)
                if policy is not None:
                    ranked.append((use.module.rank, use.name, policy))
                    if hasattr(policy, "admit"):
                        guard.append((use.name, use.config))
        ranked.sort(key=lambda entry: entry[:2])
        phases = {}
        for phase in _PHASES:
            hooks = [getattr(policy, phase) for _, _, policy in ranked if hasattr(policy, phase)]
            phases[phase] = tuple(reversed(hooks) if phase == "responding" else hooks)
        phases["guard"] = tuple(guard)
        return phases

    # TLS.

    def _server_context(self, config: schema.Site, where: Key) -> tuple[Any, Any]:
        """
        The site's own context, made of all its certificates, and what it insists on (``Site.terms``).
        """
        tls = config.tls
        assert tls is not None
        loaded = []
        for index, pair in enumerate(tls.certificates):
            place = (*where, "tls", "certificates", index)
            certificate = self._attempt(place, partial(self._certificate, pair.cert, pair.key))
            if certificate is not None:
                loaded.append(certificate)
                for warning in certificate.warnings():
                    self._warn((*place, "cert"), warning)
        if len(loaded) != len(tls.certificates):
            return None, None
        for name in certificates.uncovered(config.names, loaded):
            self._warn((*where, "tls"), f"no certificate of this site is for the name {name!r}")
        client_ca = certificates.load_authorities(tls.client_ca, "client_ca") if tls.client_ca else None
        return tlscontext.server_context(loaded, tls.min_version, client_ca, ALPN), (tls.min_version, client_ca)

    def _certificate(self, cert: Path, key: Path) -> certificates.Certificate:
        found = self._certificates.get((cert, key))
        if found is None:
            found = self._certificates[cert, key] = certificates.load_certificate(cert, key)
        return found

    # Streams.

    def _stream(self, config: schema.Stream, endpoints: _Endpoints) -> None:
        if not config.routes or not _is_whole(config.routes[0].resource):
            return
        where = config.routes[0].resource.where[:2]
        made = [self._make(route.resource) for route in config.routes]
        for index, address in enumerate(config.listen):
            place = endpoints.place(address, (*where, "listen", index), tls=False)
            place.frontend = StreamFrontend(made[0])


@define(eq=False)
class _Place:
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
            if name.startswith("*."):
                wildcards = [*frontend.wildcards, (name[1:].encode(), site)]
                frontend.wildcards = tuple(sorted(wildcards, key=lambda entry: -len(entry[0])))
            else:
                frontend.sites[name.encode()] = site
            self._contexts.append((name, context))

    def plan(self, endpoint: str, ticker: Ticker) -> ListenerPlan:
        """
        What its listener is to be.
        """
        options = self.options
        peers, connections = options.proxy_protocol, options.limits.connections
        return ListenerPlan(
            endpoint,
            options.backlog,
            self.frontend,
            self._server(ticker),
            None if peers is None else ProxyProtocol(peers, ticker, options.timeouts.header),
            None if connections is None else Limit(connections, f"limits.connections = {connections}"),
        )

    def _server(self, ticker: Ticker) -> TLSServer | None:
        """
        The TLS that stands before the sites, or None.
        """
        if not self.tls:
            return None
        return TLSServer(tlscontext.TLSTable.of(self._contexts, self._default), ticker)


class _Endpoints:
    """
    The addresses of a configuration, each once.

    :ivar places: by endpoint string, in file order.
    """

    def __init__(self, root: schema.Root) -> None:
        self._root = root
        self.places: dict[str, _Place] = {}

    def place(self, address: str, where: Key, tls: bool) -> _Place:
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
            place = self.places[text] = _Place(where, options, tls or options.tls)
        return place


def _is_whole(part: Any) -> bool:
    """
    Is it there?  In a draft, None stands in for a part that has a problem, whatever its type says.
    """
    return part is not None


def _parse_endpoint(text: str) -> None:
    """
    Twisted's parser has the last word on an endpoint string; a memory reactor has no sockets to open.

    :raise ConfigError: with what it says.
    """
    try:
        serverFromString(MemoryReactorClock(), text)
    except Exception as error:
        if text.startswith("systemd:") and isinstance(error, LookupError):
            return  # systemd passes its sockets to the server, not to whoever checks the file
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"{text!r} is not a server endpoint that can be used: {reason}",
            expected='an endpoint string such as "tcp:8080", "tcp:8080:interface=127.0.0.1" or "unix:/run/app.sock"',
        ) from error


class _Stub:
    """
    Stands in for an upstream whose own problem is reported, so that it is reported once.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.peers: tuple[Peer, ...] = ()
        self.patience = None
