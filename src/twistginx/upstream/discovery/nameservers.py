"""
Questions to name servers (RFC 1035), and their answers.

Each question goes to the servers in their order, by UDP from a port of its own, and by TCP when the answer is too long
for that.  A server that is silent, refuses or fails is passed over.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from secrets import randbelow
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorFDSet, IReactorUDP, IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.config.address import ServerAddress
from twistginx.upstream.connecting import way_to

#: Seconds that a server has for its answer: in the first round, and in the second.
_PATIENCE: Final = (1.0, 3.0)
#: The same by TCP.
_TCP_PATIENCE: Final = 5.0
#: Bytes of a datagram.
_DATAGRAM: Final = 65536
#: Seconds that an answer without records holds.
_NEGATIVE: Final = 5

#: What an answer's code means, where it is no answer (RFC 1035 section 4.1.1).
_CODES: Final = {
    dns.EFORMAT: "did not understand the question",
    dns.ESERVER: "failed",
    dns.ENOTIMP: "does not answer such questions",
    dns.EREFUSED: "refused to answer",
}

Address = tuple[str, int]


class ResolveError(Exception):
    """
    Nobody answered.  Its text says why, for people.
    """


@frozen
class Answer:
    """
    :ivar records: of the kind that was asked for; none where there is none, or no such name.
    :ivar ttl: seconds that they hold.
    """

    records: tuple[Any, ...]
    ttl: int


async def ask(reactor: Any, servers: Iterable[Address], name: str, kind: int) -> Answer:
    """
    :param kind: of record: ``dns.A``, ``dns.AAAA``, ``dns.SRV``.
    :raise ResolveError: when no server has answered.
    """
    failures: dict[Address, str] = {}
    for patience in _PATIENCE:
        for server in servers:
            try:
                message = await _ask(reactor, server, dns.Query(name.encode("ascii"), kind), patience)
            except CancelledError:
                raise
            except (TimeoutError, dns.DNSQueryTimeoutError):
                failures[server] = "did not answer"
            except Exception as error:  # whatever sockets say
                failures[server] = str(error) or type(error).__name__
            else:
                if message.rCode in (dns.OK, dns.ENAME):
                    return _answer(message, kind)
                failures[server] = _CODES.get(message.rCode, f"answered with code {message.rCode}")
    said = "; ".join(f"{host}:{port} {why}" for (host, port), why in failures.items())
    raise ResolveError(said or "there is no name server to ask")


def _answer(message: dns.Message, kind: int) -> Answer:
    # What a CNAME led to is in the same answer (RFC 1034 section 4.3.1).
    found = tuple(record for record in message.answers if record.type == kind)
    ttl = min((record.ttl for record in message.answers), default=_NEGATIVE) if found else _NEGATIVE
    return Answer(tuple(record.payload for record in found), ttl)


async def _ask(reactor: Any, server: Address, query: dns.Query, patience: float) -> dns.Message:
    clock: Any = reactor
    if not IReactorUDP.providedBy(reactor) or not IReactorFDSet.providedBy(reactor):
        raise ResolveError("cannot be asked, because there are no datagrams here")
    asked = Datagram(reactor, server, query)
    try:
        message = await asked.answer.addTimeout(patience, clock)
    finally:
        asked.close()
    return await _ask_by_tcp(reactor, server, query) if message.trunc else message


async def _ask_by_tcp(reactor: Any, server: Address, query: dns.Query) -> dns.Message:
    factory = Factory.forProtocol(lambda: dns.DNSProtocol(_Nobody(), reactor))
    host, port = server
    address = ServerAddress.parse(f"tcp:{f'[{host}]' if ':' in host else host}:{port}")
    connecting: Deferred[Any] = way_to(address, reactor).connect(factory)
    protocol = await connecting.addTimeout(_TCP_PATIENCE, reactor)
    try:
        message: dns.Message = await protocol.query([query], _TCP_PATIENCE)
        return message
    finally:
        protocol.transport.loseConnection()


@implementer(IReadDescriptor)
class Datagram:
    """
    One question on a socket of its own, and its answer.  (``listenUDP`` would log a line when each begins and ends.)

    The socket is connected, so that nobody else's packets are received, and that a port without a server is noticed.
    What does not have the question's number and name is not the answer.

    :ivar answer: fires with the answer; fails with ``ResolveError``.
    """

    def __init__(self, reactor: Any, server: Address, query: dns.Query) -> None:
        """
        :raise OSError: when the question cannot be sent.
        """
        self.answer: Deferred[dns.Message] = Deferred()
        self._reactor = reactor
        self._query = query
        self._id = randbelow(1 << 16)
        self._socket = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        message = dns.Message(self._id, recDes=1)
        message.queries = [query]
        try:
            self._socket.setblocking(False)
            self._socket.connect(server)
            self._socket.send(message.toStr())
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def close(self) -> None:
        """
        Wait no more.
        """
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()

    # IReadDescriptor.

    def fileno(self) -> int:
        """
        Of the socket; -1 when it is closed.
        """
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """
        For logs of the reactor's.
        """
        return "DNS"

    def doRead(self) -> None:
        """
        Something has come.
        """
        try:
            data = self._socket.recv(_DATAGRAM)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        message = dns.Message()
        try:
            message.fromStr(data)
        except (EOFError, ValueError):
            return
        if message.id == self._id and message.answer and message.queries == [self._query] and not self.answer.called:
            self.answer.callback(message)

    def connectionLost(self, reason: Failure) -> None:
        """
        Some reactors take an error of a socket for its end.
        """
        self._fail("refused the connection")

    def _fail(self, why: str) -> None:
        if not self.answer.called:
            self.answer.errback(ResolveError(why))


class _Nobody:
    """
    Hears of connections, and of answers that nobody waits for.
    """

    def connectionMade(self, protocol: Any) -> None:
        pass

    def connectionLost(self, protocol: Any) -> None:
        pass

    def messageReceived(self, message: Any, protocol: Any, address: Any = None) -> None:
        pass
