"""
``[upstream.NAME]``, and ``to`` of a route -> upstreams.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from itertools import chain, count
from ssl import SSLContext
from typing import Any

from twistginx.build.building import Building, Key, is_whole
from twistginx.build.servers import attend, is_found
from twistginx.config import schema
from twistginx.config.address import ServerAddress
from twistginx.errors import ConfigError
from twistginx.net import certificates, tlscontext
from twistginx.net.announcement import announcement
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream
from twistginx.upstream.roster import PeerMaker, Roster
from twistginx.upstream.sticky import Sticky, machine_secret

#: The protocols that we offer to servers (ALPN, RFC 7301).
_ALPN = ("http/1.1",)


class Upstreams:
    """
    The upstreams of one generation.
    """

    def __init__(self, building: Building) -> None:
        self._building = building
        self._inline: dict[Hashable, Upstream] = {}

    def find(self, name: str) -> Upstream:
        """
        The upstream of that name.

        :raise ConfigError: when there is none.
        """
        found = self._building.generation.upstreams.get(name)
        if found is None:
            if name in self._building.root.source.tree.get(
                "upstream", {}
            ):  # it has a problem, which is reported already
                return _Stub(name)  # type: ignore[return-value]
            names = ", ".join(self._building.root.upstreams) or "there is none"
            raise ConfigError(f"there is no upstream {name!r}", expected=f"expected one of: {names}")
        return found

    def inline(self, servers: tuple[ServerAddress, ...], where: Key) -> Upstream:
        """
        An upstream without a name, with the defaults of a named one.

        It is known by its servers: whoever names the same ones has the same upstream, wherever it stands in the file, now
        and after a reload.
        """
        key = ("servers", servers)
        if key in self._inline:
            return self._inline[key]
        module = self._building.registry.find("balance", "round_robin")
        config = schema.Upstream(
            name=", ".join(map(str, servers)),
            servers=tuple(schema.Server(to=to) for to in servers),
            balance=schema.Use("round_robin", module.Config(), module, where),
        )
        upstream = self._inline[key] = self._upstream(config, where, key)
        own = self._building.generation.own
        # Two may look the same, and differ in TLS.
        names = chain((config.name,), (f"{config.name} ({number})" for number in count(2)))
        own[next(name for name in names if name not in own)] = upstream
        return upstream

    def add(self, config: schema.Upstream) -> None:
        if not is_whole(config.balance) or not is_whole(config.servers):
            return
        self._building.generation.upstreams[config.name] = self._upstream(
            config, ("upstream", config.name), ("upstream", config.name)
        )

    def _upstream(self, config: schema.Upstream, where: Key, identity: Hashable) -> Upstream:
        """
        :param where: its table, for problems.
        :param identity: what it is known by over reloads.
        """
        runtime = self._building.runtime
        read = self._building.root.source.disk.read
        tls = config.tls
        ca = certificate = None
        if tls is not None:
            ca = certificates.load_authorities(tls.ca, "tls.ca", read) if tls.ca is not None else None
            if tls.client_cert is not None:
                certificate = certificates.load_certificate(tls.client_cert, tls.client_key, read)

        files = (ca, certificate.pem, certificate.key_pem) if certificate is not None else ca
        context = self._context(config, ca, certificate, files)
        server_name = None if tls is None else tls.server_name
        # What we say on connections of our own, such as those of health checks.
        preface = announcement(config.proxy_protocol, None, None) if config.proxy_protocol else b""
        maker = PeerMaker(runtime.reactor, runtime.ticker, context, server_name, config.bind, preface)
        # Peers, their connections and what was set by hand are kept whatever is configured anew.
        roster = self._building.keep(("roster", identity), lambda: Roster(runtime.ticker))

        secret = b"" if config.sticky is None else self._secret(config.sticky, where)

        def make() -> Upstream:
            balancer = self._building.make(config.balance)
            sticky = None if config.sticky is None else Sticky(config.name, config.sticky, secret)
            upstream = Upstream(
                config.name, config, (), balancer, runtime.ticker, maker, roster, sticky, runtime.workers
            )
            found = [
                self._building.attempt((*where, "servers", index), partial(upstream.peer_for, server.to, server))
                for index, server in enumerate(config.servers)
            ]
            if None not in found and not is_found(config):
                upstream.members(config.servers)
            return upstream

        # The files are part of the key, so that a new certificate is used after a reload.
        key = ("upstream", identity, config, files, runtime.workers)
        upstream = self._building.keep(key, make)
        attend(self._building, config, identity, key, upstream, maker)
        return upstream

    def _secret(self, config: schema.Sticky, where: Key) -> bytes:
        """
        What sticky cookies are signed with.
        """
        if config.secret is not None:
            return config.secret.encode("utf-8", "surrogateescape")
        secret = machine_secret()
        if secret is None:
            # Containers often have no machine-id.
            self._building.warn((*where, "sticky"), "has no secret, nor has this machine: a restart forgets who was where")
            secret = self._building.runtime.secret
        return secret

    def _context(self, config: schema.Upstream, ca: str | None, certificate: Any, files: Hashable) -> SSLContext | None:
        """
        The context of TLS, which is kept while nothing about it is another: sessions belong to it, and peers are known
        by it.
        """
        if not config.discover and not any(server.to.secure for server in config.servers):
            return None
        verify = config.tls is None or config.tls.verify

        def make() -> SSLContext:
            return tlscontext.client_context(ca, certificate, verify, alpn=_ALPN)

        return self._building.keep(("upstream TLS", verify, files), make)


class _Stub:
    """
    Stands in for an upstream whose own problem is reported, so that it is reported once.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.peers: tuple[Peer, ...] = ()
        self.patience = None
