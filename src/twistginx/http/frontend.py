"""
What one listener serves by HTTP, in one generation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from attrs import define, field, frozen
from twisted.internet.interfaces import IAddress, IProtocol

from twistginx.config.regex import Regex
from twistginx.http.channel import Channel
from twistginx.http.farewell import farewell
from twistginx.http.message import Record
from twistginx.http.tally import Tally
from twistginx.net.timers import Ticker

#: How many names ``site_for`` remembers.
_SITES_BOUND = 4096


@frozen
class Timeouts:
    """
    Seconds.

    :ivar header: for a whole request head, from its first byte (from the connection, for the first).
    :ivar idle: between two reads of a request's body.
    :ivar keepalive: between a response and the next request.
    :ivar write: that a client may take nothing of a response.
    """

    header: float = 10.0
    idle: float = 30.0
    keepalive: float = 60.0
    write: float = 60.0


@define(eq=False)
class Frontend:
    """
    What one listener serves in one generation.

    :ivar sites: by name, in lower case and without port.
    :ivar wildcards: ``(suffix, site)`` for ``*.example.com``, the suffix being ``.example.com``; longest first.
    :ivar patterns: ``(regex, site)``, in the order of the file; after the wildcards.
    :ivar default: answers for every other name; None: nobody does.
    :ivar min_rate: bytes per second that a client must send of a body, and take of a response, on average; 0: any.
    :ivar key: what stands before the names of the settings above, for errors: ``listener.edge.``, say.
    :ivar tally: counts.
    :ivar terms: of the contexts (``net.tls.ServerTLS.context``) that connections are made under, what a site may insist
        on; a site whose own terms are others is not served on such a connection.
    :ivar requests_bound: how many requests a connection may make; the last is answered with ``Connection: close``.
    :ivar log: called with the request and its record when all is over, or None.
    :ivar found: what ``site_for`` has answered, by authority; bounded.
    """

    ticker: Ticker
    sites: dict[bytes, Any] = field(factory=dict)
    wildcards: tuple[tuple[bytes, Any], ...] = ()
    patterns: tuple[tuple[Regex, Any], ...] = ()
    default: Any = None
    timeouts: Timeouts = Timeouts()
    head_bound: int = 32768
    fields_bound: int = 100
    min_rate: int = 240
    key: str = ""
    tally: Tally = field(factory=Tally)
    terms: dict[Any, Any] = field(factory=dict)
    requests_bound: int = 1000
    log: Callable[[Any, Record], None] | None = None
    found: dict[bytes, Any] = field(factory=dict, init=False)

    #: What is spoken here, by its names in ALPN (RFC 7301).
    alpn: ClassVar = (b"http/1.1", b"http/1.0")

    def build_protocol(self, listener: Any, address: IAddress) -> IProtocol:
        """
        A channel for a connection from ``address``.
        """
        return Channel(listener, address)

    def turn_away(self, listener: Any) -> IProtocol | None:
        """
        A protocol for a connection too many; None closes it without a word.
        """
        self.tally.failed("connection_limit")
        return farewell(listener, self.ticker)

    def setting(self, name: str, value: object) -> str:
        """
        How one of the settings is written, for errors.
        """
        return f"{self.key}{name} = {value}"

    def site_for(self, host: bytes) -> Any:
        """
        The site that answers for an authority (lower case, with or without port), or None.
        """
        try:
            return self.found[host]
        except KeyError:
            pass
        name = host[: host.rindex(b"]") + 1] if host[:1] == b"[" else host.partition(b":")[0]
        site = self.sites.get(name)
        if site is None:
            for suffix, candidate in self.wildcards:
                if name.endswith(suffix) and len(name) > len(suffix):
                    site = candidate
                    break
            else:
                site = next((each for regex, each in self.patterns if regex.find(name) is not None), self.default)
        if len(self.found) >= _SITES_BOUND:  # names are the clients' to invent
            self.found.clear()
        self.found[host] = site
        return site
