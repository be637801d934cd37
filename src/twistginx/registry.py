"""
Names in the TOML file -> modules; ours and third parties' through the same door.

A declaration is light: the module behind it is imported when a configuration uses its name, after the reactor is
installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import attrs
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.plugin import IPlugin, getPlugins
from zope.interface import implementer

import twisted.plugins
from twistginx.errors import ConfigError
from twistginx.interfaces import (
    IBalanceModule,
    IDeclaration,
    IDiscoveryModule,
    IPolicyModule,
    IResourceModule,
    IStoreModule,
    IStreamModule,
)

#: The version of the plugin contract that we offer.
API = 1

_KINDS = {
    "resource": IResourceModule,
    "policy": IPolicyModule,
    "balance": IBalanceModule,
    "stream": IStreamModule,
    "store": IStoreModule,
    "discovery": IDiscoveryModule,
}

#: Resources and policies are keys of the same table.
_SHARED = frozenset(("resource", "policy"))


@implementer(IPlugin, IDeclaration)
@attrs.frozen
class Plugin:
    """
    Declares a module.

    :ivar kind: ``resource``, ``policy``, ``balance``, ``stream``, ``store`` or ``discovery``.
    :ivar name: the key in the TOML file; the module's ``name`` says the same.
    :ivar module: its dotted name.
    """

    kind: str = attrs.field(validator=attrs.validators.in_(_KINDS))
    name: str
    module: str


BUILT_IN = (
    Plugin("resource", "app", "twistginx.resources.app"),
    Plugin("resource", "proxy", "twistginx.resources.proxy"),
    Plugin("resource", "redirect", "twistginx.resources.redirect"),
    Plugin("resource", "respond", "twistginx.resources.respond"),
    Plugin("resource", "static", "twistginx.resources.static"),
    Plugin("policy", "access", "twistginx.policies.access"),
    Plugin("policy", "api_key", "twistginx.policies.api_key"),
    Plugin("policy", "bandwidth", "twistginx.policies.bandwidth"),
    Plugin("policy", "basic_auth", "twistginx.policies.basic_auth"),
    Plugin("policy", "compress", "twistginx.policies.compress"),
    Plugin("policy", "concurrency", "twistginx.policies.concurrency"),
    Plugin("policy", "cors", "twistginx.policies.cors"),
    Plugin("policy", "on_error", "twistginx.policies.on_error"),
    Plugin("policy", "forward_auth", "twistginx.policies.forward_auth"),
    Plugin("policy", "mount", "twistginx.policies.mount"),
    Plugin("policy", "redirects", "twistginx.policies.redirects"),
    Plugin("policy", "rewrite", "twistginx.policies.rewrite"),
    Plugin("policy", "headers", "twistginx.policies.headers"),
    Plugin("policy", "jwt", "twistginx.policies.jwt"),
    Plugin("policy", "rate_limit", "twistginx.policies.rate_limit"),
    Plugin("policy", "security_headers", "twistginx.policies.security_headers"),
    Plugin("policy", "send_file", "twistginx.policies.send_file"),
    Plugin("policy", "signed_url", "twistginx.policies.signed_url"),
    Plugin("policy", "spool", "twistginx.policies.spool"),
    Plugin("policy", "substitute", "twistginx.policies.substitute"),
    Plugin("balance", "first", "twistginx.upstream.first"),
    Plugin("balance", "hash", "twistginx.upstream.hash"),
    Plugin("balance", "ip_hash", "twistginx.upstream.ip_hash"),
    Plugin("balance", "least_connections", "twistginx.upstream.least_connections"),
    Plugin("balance", "least_time", "twistginx.upstream.least_time"),
    Plugin("balance", "random_two", "twistginx.upstream.random_two"),
    Plugin("balance", "round_robin", "twistginx.upstream.round_robin"),
    Plugin("stream", "proxy", "twistginx.stream.proxy"),
    Plugin("store", "memory", "twistginx.shared.memory"),
    Plugin("store", "redis", "twistginx.shared.redis"),
    Plugin("discovery", "etcd", "twistginx.upstream.discovery.etcd"),
    Plugin("discovery", "file", "twistginx.upstream.discovery.file"),
    Plugin("discovery", "http", "twistginx.upstream.discovery.http"),
    Plugin("discovery", "srv", "twistginx.upstream.discovery.srv"),
)


class Registry:
    """
    All modules that a configuration may name.

    :ivar complaints: sentences about third-party plugins that cannot be used; they break nothing else.
    """

    def __init__(self, declarations: Iterable[Any] | None = None) -> None:
        """
        :param declarations: of third parties; None: what ``twisted.plugin`` finds.
        """
        self.complaints: list[str] = []
        self._declared: dict[tuple[str, str], Any] = {}
        self._modules: dict[tuple[str, str], Any] = {}
        found = self._installed() if declarations is None else declarations
        for declaration in (*BUILT_IN, *found):
            self._declare(declaration)

    def names(self, kind: str) -> list[str]:
        """
        The names of a kind, sorted.
        """
        return sorted(name for declared, name in self._declared if declared == kind)

    def find(self, kind: str, name: str) -> Any:
        """
        The module of that name, imported; None when none is declared.

        :raise ConfigError: when it is declared and cannot be used: the error names the plugin.
        """
        declaration = self._declared.get((kind, name))
        if declaration is None:
            return None
        module = self._modules.get((kind, name))
        if module is None:
            module = self._modules[kind, name] = self._load(declaration)
        return module

    def _installed(self) -> Iterator[Any]:
        """
        What ``twisted/plugins`` directories on the path declare.  A file that fails is skipped, and complained about.
        """

        @implementer(ILogObserver)
        def failed(event: LogEvent) -> None:
            # Twisted's plugin code logs in the old way, which has a key of its own.
            failure = event.get("log_failure") or event.get("failure")
            if failure is not None:
                places = set(twisted.plugins.__path__)
                files = [frame[1] for frame in failure.frames if os.path.dirname(frame[1]) in places]
                file = files[0] if files else getattr(failure.value, "filename", None) or "a plugin file"
                self.complaints.append(f"{file} cannot be loaded: {failure.type.__name__}: {failure.value}")

        globalLogPublisher.addObserver(failed)
        try:
            yield from list(getPlugins(IDeclaration, twisted.plugins))
        finally:
            globalLogPublisher.removeObserver(failed)

    def _declare(self, declaration: Any) -> None:
        kind, name = getattr(declaration, "kind", None), getattr(declaration, "name", None)
        if kind not in _KINDS or not isinstance(name, str):
            self.complaints.append(f"{declaration!r} declares nothing that there could be; it is not used")
            return
        rivals = _SHARED if kind in _SHARED else {kind}
        for rival in rivals:
            earlier = self._declared.get((rival, name))
            if earlier is None:
                continue
            if earlier.module != declaration.module:
                self.complaints.append(
                    f"the plugin {declaration.module} declares the {kind} {name!r}, a name that {earlier.module} has "
                    f"already; it is not used"
                )
            return
        self._declared[kind, name] = declaration

    @staticmethod
    def _load(declaration: Any) -> Any:
        """
        Import a module, and hold it to the contract.
        """
        who = f"the {declaration.kind} {declaration.name!r} of the plugin {declaration.module}"
        try:
            module = import_module(declaration.module)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"{who} cannot be imported: {type(error).__name__}: {error}", expected="expected a plugin that imports"
            ) from error
        interface = _KINDS[declaration.kind]
        if not interface.providedBy(module):
            raise ConfigError(f"{who} does not say moduleProvides({interface.__name__})")
        missing = [name for name in interface if not hasattr(module, name)]
        if missing:
            raise ConfigError(f"{who} has no {', '.join(sorted(missing))}")
        if module.api != API:
            raise ConfigError(
                f"{who} is written for version {module.api} of the plugin contract", expected=f"expected version {API}"
            )
        if module.name != declaration.name:
            raise ConfigError(f"{who} calls itself {module.name!r}")
        if not attrs.has(module.Config):
            raise ConfigError(f"{who} has a Config that is no attrs class")
        return module
