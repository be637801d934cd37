"""
What no table can know by itself: the checks between tables, and of the files that they name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from twistginx.config.address import is_listener_name
from twistginx.config.definitions import circle
from twistginx.config.faults import did_you_mean
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Listener, Root, Route, Site, SiteTLS, Stream, Upstream, UpstreamTLS
from twistginx.config.shadows import shadowed
from twistginx.config.source import Source
from twistginx.config.tables.site import PATHS
from twistginx.config.template import Template
from twistginx.errors import Problem

_PLAIN: Final = "plain HTTP"
_TLS: Final = "HTTP under TLS"
_STREAM: Final = "a stream"


@frozen
class _Use:
    """
    Who listens on an endpoint, and how.
    """

    kind: str
    where: KeyPath


class Checks:
    """
    The checks of one configuration.

    What is wrong already is not looked at again: something may stand there that was never written.

    :ivar problems: what was found.
    :ivar warnings: what is valid, and yet may not be meant.
    """

    def __init__(self, source: Source, touched: Collection[KeyPath]) -> None:
        """
        :param touched: the key paths at or under which something is wrong.
        """
        self.source = source
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._touched = touched
        self._listeners: dict[str, Listener] = {}
        #: By endpoint string.
        self._uses: dict[str, _Use] = {}
        self._names: dict[tuple[str, str], KeyPath] = {}
        self._default_sites: dict[str, KeyPath] = {}

    def report(self, path: KeyPath, message: str, expected: str = "", of_key: bool = False) -> None:
        self.problems.append(self.source.problem(path, message, expected, of_key=of_key))

    def warn(self, path: KeyPath, message: str, expected: str = "") -> None:
        self.warnings.append(self.source.problem(path, message, expected, warning=True))

    def sound(self, *path: str | int) -> bool:
        return path not in self._touched

    def at(self, path: KeyPath) -> str:
        return str(self.source.position(path, of_key=True))

    def whole(self, root: Root) -> None:
        """
        The configuration, of which nothing else is wrong.
        """
        if not root.sites and not root.streams:
            name = self.source.files[0].name
            self.problems.append(Problem(name, 0, 0, "", "serves nothing", "expected a [[site]] or a [[stream]]"))
        used = {each for site in root.sites for each in (*site.listen, *site.listen_tls)}
        used.update(each for stream in root.streams for each in stream.listen)
        for name in root.listeners.keys() - used:
            self.warn(("listener", name), "is used by no site and no stream")

    def listeners(self, listeners: Mapping[KeyPath, Listener]) -> None:
        """
        Remember the named listeners, of which no two may have the same endpoint.
        """
        endpoints: dict[str, KeyPath] = {}
        for path, listener in listeners.items():
            self._listeners[listener.name] = listener
            other = endpoints.setdefault(listener.endpoint, path)
            if other != path:
                message = f'is also the endpoint of the listener "{other[1]}" at {self.at(other)}'
                self.report((*path, "endpoint"), message)

    def upstreams(self, upstreams: Mapping[KeyPath, Upstream]) -> None:
        """
        How upstreams keep connections, and speak TLS.
        """
        for path, upstream in upstreams.items():
            if upstream.warm > upstream.keepalive:
                self.report((*path, "warm"), f"is more than keepalive, which is {upstream.keepalive}")
            if upstream.warm and upstream.proxy_protocol is not None:
                message = "has no effect with proxy_protocol: a connection says for whom it is when it is made"
                self.report((*path, "warm"), message)
            if upstream.tls is None or not self.sound(*path, "servers"):
                continue
            if not upstream.discover and not any(server.to.secure for server in upstream.servers):
                hint = 'expected "https://host" or "tls:host:port" in servers'
                self.report((*path, "tls"), "has no effect, because no server is spoken to under TLS", hint)
            if not upstream.tls.verify:
                self.warn((*path, "tls", "verify"), "is false: the servers are not authenticated")
            self.files(upstream.tls, (*path, "tls"), ("ca", "client_cert", "client_key"))

    def sites(self, sites: Mapping[KeyPath, Site]) -> None:
        """
        Where sites listen, what they are called, and the order of their routes.
        """
        for path, site in sites.items():
            if self.sound(*path, "listen") and self.sound(*path, "listen_tls"):
                self.site(path, site)
            if site.tls is not None:
                self.certificates(site.tls, (*path, "tls"))
            if site.routes or not self.sound(*path):
                self.shadows(site.routes, path)
                self.stars(site.routes, path)
            else:
                self.report(path, "has no routes, so that it answers nothing", "expected a [[site.route]]")

    def site(self, path: KeyPath, site: Site) -> None:
        secure = False
        endpoints = []
        if not site.listen and not site.listen_tls:
            self.report(path, "listens nowhere", 'expected listen = "tcp:8080", for one')
        for key, entries in (("listen", site.listen), ("listen_tls", site.listen_tls)):
            for index, entry in enumerate(entries):
                where = self.element((*path, key), index)
                endpoint = self.endpoint(entry, where)
                if endpoint is None:
                    continue
                tls = key == "listen_tls" or (is_listener_name(entry) and self._listeners[entry].tls)
                secure |= tls
                if self.claim(endpoint, _Use(_TLS if tls else _PLAIN, where), path):
                    endpoints.append(endpoint)
        if secure and site.tls is None and self.sound(*path, "tls"):
            self.report(path, "listens under TLS, and has no certificates", "expected tls = { certificates = [...] }")
        if site.tls is not None and not secure:
            message = "has no effect, because the site does not listen under TLS"
            self.report((*path, "tls"), message, "expected listen_tls")
        if self.sound(*path, "names"):
            self.names(path, site, endpoints)

    def names(self, path: KeyPath, site: Site, endpoints: list[str]) -> None:
        if not site.names:
            for endpoint in endpoints:
                other = self._default_sites.setdefault(endpoint, path)
                if other != path:
                    message = f'has no names, like the site at {self.at(other)}, and both listen on "{endpoint}"'
                    self.report(path, message, "expected names in all but one: that is the default site")
                    return
        for index, name in enumerate(site.names):
            where = self.element((*path, "names"), index)
            for endpoint in endpoints:
                other = self._names.setdefault((endpoint, name), where)
                if other != where:
                    self.report(where, f'"{name}" is named already at {self.at(other)}, on the same "{endpoint}"')
                    break

    def streams(self, streams: Mapping[KeyPath, Stream], upstreams: Any) -> None:
        """
        Where streams listen, and that their upstreams are there.
        """
        for path, stream in streams.items():
            if not stream.listen and self.sound(*path, "listen"):
                self.report(path, "listens nowhere", 'expected listen = "tcp:5432", for one')
            for index, entry in enumerate(stream.listen if self.sound(*path, "listen") else ()):
                where = self.element((*path, "listen"), index)
                endpoint = self.endpoint(entry, where)
                if is_listener_name(entry) and endpoint is not None and self._listeners[entry].tls:
                    self.report(where, f'the listener "{entry}" has tls = true, which is for sites')
                elif endpoint is not None:
                    self.claim(endpoint, _Use(_STREAM, where), path)
            for index in range(1, len(stream.routes)):
                first = self.at((*path, "route", 0))
                self.report((*path, "route", index), f"can never match: the route at {first} takes everything")
            name = self.raw((*path, "upstream"))
            if isinstance(name, str) and isinstance(upstreams, dict) and name not in upstreams and self.source.complete:
                self.report((*path, "upstream"), f'there is no upstream "{name}"', did_you_mean(name, upstreams))

    def endpoint(self, entry: str, where: KeyPath) -> str | None:
        """
        The endpoint string that ``entry`` stands for; None when there is no such listener, or a bad one.
        """
        if not is_listener_name(entry):
            return entry
        if entry in self._listeners:
            return self._listeners[entry].endpoint
        if self.sound("listener", entry):
            hint = did_you_mean(entry, self._listeners) or 'expected an endpoint, "tcp:8080" for one'
            self.report(where, f'there is no listener "{entry}"', hint)
        return None

    def claim(self, endpoint: str, use: _Use, owner: KeyPath) -> bool:
        """
        Note that ``endpoint`` is used; False when it cannot be used like this.
        """
        first = self._uses.setdefault(endpoint, use)
        if first is use:
            return True
        if first.where[: len(owner)] == owner and first.kind == use.kind:
            self.report(use.where, f'"{endpoint}" stands twice in the same {owner[0]}')
            return False
        if first.kind != use.kind or use.kind == _STREAM:
            self.report(use.where, f'"{endpoint}" is used for {first.kind} already, at {self.at(first.where)}')
            return False
        return True

    def shadows(self, routes: tuple[Route | None, ...], path: KeyPath) -> None:
        """
        Routes that can never match, because an earlier one takes all that they would.
        """
        keys = (*PATHS, "match")
        sound = [
            (index, route)
            for index, route in enumerate(routes)
            if route is not None and all(self.sound(*path, "route", index, key) for key in keys)
        ]
        for index, taker in shadowed(sound):
            where = (*path, "route", taker)
            other = routes[taker]
            name = f'route "{other.name}"' if other is not None and other.name else "the route"
            self.warn((*path, "route", index), f"can never match: it is shadowed by {name} at {self.at(where)}")

    def stars(self, routes: tuple[Route | None, ...], path: KeyPath) -> None:
        """
        Paths that are meant as patterns, and are none.
        """
        for index, route in enumerate(routes):
            for key in ("path", "exact"):
                value = None if route is None else getattr(route, key)
                if value is not None and "*" in value:
                    hint = f'expected glob = "{value}", or path without it, which has all that is below'
                    self.warn((*path, "route", index, key), 'has a "*", which stands for itself here', hint)

    def definitions(self, root: Root, sites: Mapping[KeyPath, Site]) -> None:
        """
        Maps and variables.
        """
        self.circles(root, root.variables, ("map",) if root.maps else ("variables",))
        for path, site in sites.items():
            variables = {**root.variables, **site.variables}
            if site.variables:
                self.circles(root, variables, (*path, "variables"))
            for index, route in enumerate(site.routes):
                if not is_whole(route):
                    continue
                where = (*path, "route", index)
                if route.variables:
                    self.circles(root, {**variables, **route.variables}, (*where, "variables"))

    def circles(self, root: Root, variables: Mapping[str, Template], where: KeyPath) -> None:
        found = circle(root.maps, variables)
        if found:
            self.report(where, f"goes in a circle: {' needs '.join(found)}")

    # Files.

    def certificates(self, tls: SiteTLS, path: KeyPath) -> None:
        for index, certificate in enumerate(tls.certificates):
            self.files(certificate, (*path, "certificates", index), ("cert", "key"))
        self.files(tls, path, ("client_ca",))

    def files(self, table: UpstreamTLS | SiteTLS | Any, path: KeyPath, keys: tuple[str, ...]) -> None:
        for key in keys:
            file: Path | None = getattr(table, key)
            if file is None or not self.sound(*path, key):
                continue
            try:
                self.source.contents[file] = self.source.disk.read(file)
            except OSError as error:
                self.report((*path, key), f'the file "{file}" cannot be read: {error.strerror}')

    # Places.

    def raw(self, path: KeyPath) -> Any:
        value: Any = self.source.tree
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def element(self, path: KeyPath, index: int) -> KeyPath:
        """
        The path of an element; of the key where one value stands for an array.
        """
        return (*path, index) if isinstance(self.raw(path), list) else path


def is_whole(part: Any) -> bool:
    """
    Is it there?  In a draft, None stands in for a part that has a problem, whatever its type says.
    """
    return part is not None
