"""
``[upstream.NAME]``, and ``to`` of a route -> upstreams.
"""

from __future__ import annotations

from functools import partial

from twistginx.build.building import Building, Key, is_whole
from twistginx.config import schema
from twistginx.config.address import ServerAddress
from twistginx.errors import ConfigError
from twistginx.net import certificates, tlscontext
from twistginx.upstream.peer import Peer
from twistginx.upstream.pool import Upstream

#: The protocols that we offer to servers (ALPN, RFC 7301).
_ALPN = ("http/1.1",)


class Upstreams:
    """
    The upstreams of one generation.
    """

    def __init__(self, building: Building) -> None:
        self._building = building

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
        """
        module = self._building.registry.find("balance", "round_robin")
        config = schema.Upstream(
            name=", ".join(map(str, servers)),
            servers=tuple(schema.Server(to=to) for to in servers),
            balance=schema.Use("round_robin", module.Config(), module, where),
        )
        return self._upstream(config, where)

    def add(self, config: schema.Upstream) -> None:
        if not is_whole(config.balance) or not is_whole(config.servers):
            return
        self._building.generation.upstreams[config.name] = self._upstream(config, ("upstream", config.name))

    def _upstream(self, config: schema.Upstream, where: Key) -> Upstream:
        runtime = self._building.runtime
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
                context = tlscontext.client_context(ca, certificate, verify, alpn=_ALPN)
            server_name = tls.server_name if tls is not None else None
            peers = []
            for index, server in enumerate(config.servers):
                peer = self._building.attempt(
                    (*where, "servers", index),
                    partial(Peer, server.to, runtime.reactor, runtime.ticker, server.weight, context, server_name),
                )
                if peer is not None:
                    peers.append(peer)
            return Upstream(config.name, config, peers, self._building.make(config.balance), runtime.ticker)

        # The files are part of the key, so that a new certificate is used after a reload.
        files = (ca, certificate.pem, certificate.key_pem) if certificate is not None else ca
        upstream = self._building.keep(("upstream", where, config, files), make)
        self._building.start_and_stop(upstream)
        return upstream


class _Stub:
    """
    Stands in for an upstream whose own problem is reported, so that it is reported once.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.peers: tuple[Peer, ...] = ()
        self.patience = None
