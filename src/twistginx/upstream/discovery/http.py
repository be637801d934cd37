"""
``discover = { http = "http://registry.internal/servers.json" }``: servers that another server lists, which is asked
again and again.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer, moduleProvides

from twistginx.config.address import ServerAddress
from twistginx.config.tables.fields import positive
from twistginx.config.tables.upstream import UpstreamTLS
from twistginx.config.units import Duration
from twistginx.interfaces import IContext, IDiscovery, IDiscoveryModule, IFinding
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.discovery.asking import Asking
from twistginx.upstream.discovery.listing import read_json
from twistginx.upstream.fetch import Answer
from twistginx.upstream.standing import pause

moduleProvides(IDiscoveryModule)

name = "http"
api = 1


@frozen
class Config:
    """
    Servers from a list in JSON that a server has.  The text alone is its URL.

    The answer is 200 and a list as in ``servers``: ``["10.0.0.1:8000", {"to": "10.0.0.2:8000", "weight": 2}]``, or a
    table that has it as ``servers``.  Any other answer, or none, changes nothing, and is logged.

    :ivar url: "http://" or "https://", with path and query.
    :ivar interval: between an answer and the next question, give or take a tenth.
    :ivar timeout: for the answer, all in all.
    :ivar headers: fields of the request, such as Authorization.
    :ivar tls: how TLS is spoken with the server; None: with what is usual.
    """

    url: str = field()
    interval: Duration = field(default=Duration(10), validator=positive)
    timeout: Duration = field(default=Duration(5), validator=positive)
    headers: dict[str, str] = field(factory=dict, hash=False)
    tls: UpstreamTLS | None = None

    @url.validator
    def _check_url(self, attribute: Attribute[Any], value: str) -> None:
        split_url(value)

    @headers.validator
    def _check_headers(self, attribute: Attribute[Any], value: dict[str, str]) -> None:
        for field_name, text in value.items():
            if not field_name.isascii() or not field_name.isprintable() or set(field_name) & set(' :"(),/;<=>?@[\\]{}'):
                raise ValueError(f"has {field_name!r}, which is no name of a header")
            if not text.isprintable():
                raise ValueError(f"has a value for {field_name} that no header can have")

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``http = "http://registry.internal/servers.json"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a URL, or a table with url = "..."')
        return {"url": value}


def split_url(url: str) -> tuple[ServerAddress, bytes]:
    """
    Where to ask, and for what.

    :raise ValueError: with a short reason.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f'{url!r} is not a URL such as "http://registry.internal/servers.json"')
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError(f"{url!r} has characters that must be percent-encoded")
    return ServerAddress.parse(f"{parts.scheme}://{parts.netloc}"), target.encode("ascii")


def make(config: Config, context: IContext) -> Poll:
    """
    The provider.

    :raise ConfigError: when it cannot be asked.
    """
    address, target = split_url(config.url)
    return Poll(config, target, Asking(address, config.tls, context), f"http {address}", context.ticker)


@implementer(IDiscovery)
class Poll:
    """
    Asks for one list.

    :ivar deadline: of the next question, on the ticker's clock.
    """

    def __init__(self, config: Config, target: bytes, asking: Asking, label: str, ticker: Ticker) -> None:
        # The path may have a secret in it.
        self.label = label
        self.deadline = NEVER
        self._config = config
        self._target = target
        self._fields = [(each.encode("ascii"), value.encode()) for each, value in config.headers.items()]
        self._server = asking
        self._ticker = ticker
        self._finding: Any = None
        self._asking: Deferred[Any] | None = None

    def begin(self, finding: IFinding) -> None:
        """
        See IDiscovery.
        """
        self._finding = finding
        self._ticker.watch(self)
        self.deadline_passed()

    def end(self) -> None:
        """
        See IDiscovery.
        """
        self._ticker.forget(self)
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def deadline_passed(self) -> None:
        """
        Time to ask.
        """
        self._asking = asking = self._server.ask(b"GET", self._target, self._config.timeout, self._fields)
        asking.addCallback(self._answered)
        asking.addErrback(self._failed)

    def _answered(self, answer: Answer) -> None:
        self._plan()
        if answer.status != 200:
            self._finding.missed(f"the answer is {answer.status}")
            return
        try:
            servers = read_json(answer.body, remote=True)
        except ValueError as error:
            self._finding.missed(f"the answer cannot be used: {error}")
        else:
            self._finding.found(servers)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._plan()
            self._finding.missed(failure.getErrorMessage())

    def _plan(self) -> None:
        self._asking = None
        self.deadline = self._ticker.now + pause(self._config.interval)
