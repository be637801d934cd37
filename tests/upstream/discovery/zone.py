"""
A real name server, in this process, for tests.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred, succeed
from twisted.names import common, dns, error
from twisted.names.server import DNSServerFactory

_TYPES = {dns.Record_A: dns.A, dns.Record_AAAA: dns.AAAA, dns.Record_SRV: dns.SRV, dns.Record_CNAME: dns.CNAME}


class Zone(common.ResolverBase):
    """
    What the server knows, to be changed at any time.

    :ivar asked: names and types, in order.
    :ivar broken: it fails (SERVFAIL) whatever it is asked; None: only for these types.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, int]] = []
        self.broken: set[int] = set()

    def set(self, name: str, *records: Any) -> None:
        """
        From now on ``name`` has these.
        """
        self.records[name] = list(records)

    def _lookup(self, name: bytes, cls: int, kind: int, timeout: Any) -> Deferred[Any]:
        text = name.decode()
        self.asked.append((text, kind))
        if kind in self.broken:
            return fail(RuntimeError())
        if text not in self.records:
            return fail(error.DNSNameError())
        answers = [
            dns.RRHeader(name, _TYPES[type(each)], cls, each.ttl, each, auth=True)
            for each in self.records[text]
            if _TYPES[type(each)] in (kind, dns.CNAME)
        ]
        return succeed((answers, [], []))


class NameServer:
    """
    The server, by UDP and TCP at one port.

    :ivar address: of it.
    """

    def __init__(self, reactor: Any, zone: Zone) -> None:
        factory = _Answers(clients=[zone])
        factory.noisy = False
        protocol = _Short(factory, reactor)
        while True:
            self._tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
            port = self._tcp.getHost().port
            try:
                self._udp = reactor.listenUDP(port, protocol, interface="127.0.0.1")
            except OSError:
                self._tcp.stopListening()
            else:
                break
        self._factory = factory
        self.address = ("127.0.0.1", port)

    def stop(self) -> Deferred[Any]:
        """
        Be gone.
        """
        for connection in list(self._factory.connections):
            connection.transport.loseConnection()
        return gatherResults([maybeDeferred(self._udp.stopListening), maybeDeferred(self._tcp.stopListening)])


class _Answers(DNSServerFactory):
    """
    Twisted's server logs a failure as an error; here they are wanted.
    """

    def gotResolverError(self, failure: Any, protocol: Any, message: dns.Message, address: Any) -> None:
        """
        Say that it failed.
        """
        code = dns.ENAME if failure.check(dns.DomainError) else dns.ESERVER
        self.sendReply(protocol, self._responseFromMessage(message, rCode=code), address)


class _Short(dns.DNSDatagramProtocol):
    """
    Datagrams have no more than they may (RFC 1035 section 4.2.1); Twisted's server says nothing of it.
    """

    noisy = False

    def writeMessage(self, message: dns.Message, address: tuple[str, int]) -> None:
        """
        Say that it is not all, where it is not.
        """
        message.maxSize = 512
        super().writeMessage(message, address)
