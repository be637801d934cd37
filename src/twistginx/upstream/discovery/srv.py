"""
``discover = { srv = "_http._tcp.app.internal" }``: servers that the DNS names (RFC 2782).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import Attribute, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer, moduleProvides

from twistginx.config.address import ServerAddress, parse_host
from twistginx.config.tables.upstream import Server
from twistginx.interfaces import IContext, IDiscovery, IDiscoveryModule, IFinding
from twistginx.net.timers import NEVER, Ticker
from twistginx.upstream.discovery.names import next_look
from twistginx.upstream.discovery.nameservers import Answer

moduleProvides(IDiscoveryModule)

name = "srv"
api = 1


@frozen
class Config:
    """
    Servers from the SRV records of a name.  The text alone is the name.

    Records of the lowest priority are the servers, those of higher ones are backups; weights are as in ``servers``.
    They are asked for again when their time to live is over, at least after 5 and at most after 60 seconds; while they
    cannot be had, the last ones hold.

    :ivar name: of the service, such as "_http._tcp.app.internal".
    :ivar tls: true: the servers are spoken to under TLS.
    """

    name: str = field()
    tls: bool = False

    @name.validator
    def _check_name(self, attribute: Attribute[Any], value: str) -> None:
        parse_host(value)

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``srv = "_http._tcp.app.internal"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a name such as "_http._tcp.app.internal", or a table with name = "..."')
        return {"name": value}


def make(config: Config, context: IContext) -> Services:
    """
    The provider.
    """
    return Services(config, context.ticker)


def servers_of(records: Iterable[Any], tls: bool) -> list[Server]:
    """
    The servers that SRV records say, in an order that does not depend on theirs.

    :param records: ``twisted.names.dns.Record_SRV``.
    :raise ValueError: when one of them names no host.
    """
    # A target that is the root means: there is no such service here.
    useful = [each for each in records if each.target.name and each.port]
    first = min((each.priority for each in useful), default=0)
    found = []
    for record in sorted(useful, key=lambda each: (each.priority, each.target.name, each.port)):
        host = parse_host(record.target.name.decode("ascii", "replace"))
        address = ServerAddress.parse(f"{'tls' if tls else 'tcp'}:{f'[{host}]' if ':' in host else host}:{record.port}")
        found.append(Server(address, weight=max(1, record.weight), backup=record.priority > first))
    return found


@implementer(IDiscovery)
class Services:
    """
    Asks for the records of one name.

    :ivar deadline: of the next question, on the ticker's clock.
    """

    def __init__(self, config: Config, ticker: Ticker) -> None:
        self.label = f"srv {config.name}"
        self.deadline = NEVER
        self._name = parse_host(config.name)
        self._tls = config.tls
        self._ticker = ticker
        self._finding: Any = None
        self._asking: Deferred[Any] | None = None
        self._failures = 0

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
        self._asking = asking = Deferred.fromCoroutine(self._finding.resolver.services(self._name))
        asking.addCallback(self._answered)
        asking.addErrback(self._failed)

    def _answered(self, answer: Answer) -> None:
        self._asking = None
        if not answer.records:
            self._miss("there is no such record")
            return
        servers = servers_of(answer.records, self._tls)
        self._failures = 0
        self.deadline = self._ticker.now + next_look(answer.ttl)
        self._finding.found(servers)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._asking = None
            self._miss(failure.getErrorMessage())

    def _miss(self, reason: str) -> None:
        self._failures += 1
        self.deadline = self._ticker.now + next_look(0, self._failures)
        self._finding.missed(reason)
