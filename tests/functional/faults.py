"""
What tests of faults are made of: a real twistginx on real sockets, on a reactor of the test's own, and both its
neighbours written down as coroutines.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import h11
import trustme
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twistginx.http.channel import Channel
from twistginx.http.client import ClientConnection
from twistginx.http.request import Request
from twistginx.http.upload import Upload
from twistginx.net.relay import Relay
from twistginx.net.tlslayer import TLSLayer
from twistginx.resources.exchange import Exchange
from twistginx.service.server import Service

#: Seconds after which a part has failed.
LIMIT = 10

#: How often it is looked for what is left behind, 10 ms apart, before it counts as left.
_LOOKS = 100

#: Whose instances are counted: none is to be left when all connections are gone.
COUNTED = (Channel, ClientConnection, Exchange, Relay, Request, TLSLayer, Upload)

CONFIG = """
[log]
access = "off"

[upstream.app]
servers = ["127.0.0.1:{port}"]
timeouts = {{ connect = "1s", first_byte = "250ms", idle = "250ms" }}

[listener.edge]
endpoint = "tcp:0:interface=127.0.0.1"
timeouts = {{ header = "250ms", idle = "250ms", keepalive = "5s", write = "250ms" }}

[[site]]
listen = "edge"

[[site.route]]
proxy = {{ upstream = "app" }}
"""


#: The same, with TLS on both sides.
TLS = (
    CONFIG.replace('"127.0.0.1:{port}"', '"https://127.0.0.1:{port}"')
    .replace("timeouts = {{ connect", "tls = {{ verify = false }}\ntimeouts = {{ connect", 1)
    .replace(
        'listen = "edge"', 'listen_tls = "edge"\ntls = {{ certificates = [{{ cert = "cert.pem", key = "key.pem" }}] }}'
    )
)


class End(Protocol):
    """
    One end of a connection, to be waited for.

    :ivar data: what has come, and was not taken yet.
    :ivar lost: why the connection ended, an exception; None while it has not.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.data = b""
        self.lost: BaseException | None = None
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost = reason.value
        self._look()

    def _look(self) -> None:
        for entry in tuple(self._waiting):
            holds, waiting = entry
            if entry in self._waiting and holds():  # a callback may have looked meanwhile
                self._waiting.remove(entry)
                waiting.callback(None)

    def until(self, holds: Callable[[], bool]) -> Deferred[None]:
        """
        Fires when ``holds()``.
        """
        waiting: Deferred[None] = Deferred()
        self._waiting.append((holds, waiting))
        self._look()
        return waiting

    def turn(self) -> Deferred[None]:
        """
        Let what was sent arrive by itself.
        """
        waiting: Deferred[None] = Deferred()
        self.reactor.callLater(0.005, waiting.callback, None)
        return waiting

    def after(self, seconds: float) -> Deferred[None]:
        """
        Fires then.
        """
        waiting: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waiting.callback, None)
        return waiting

    def flood(self, piece: bytes, times: int) -> None:
        """
        Send ``piece`` so many times, as fast as it is read, while there is a connection.
        """
        assert self.transport is not None
        self.transport.registerProducer(_Flood(self.transport, piece, times), False)

    # What scripts say.

    async def head(self) -> bytes:
        """
        Take a head.
        """
        await self.until(lambda: b"\r\n\r\n" in self.data or self.lost is not None)
        head, separator, self.data = self.data.partition(b"\r\n\r\n")
        return head + separator

    async def take(self, size: int) -> bytes:
        """
        Take so many bytes.
        """
        await self.until(lambda: len(self.data) >= size or self.lost is not None)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    async def gone(self) -> BaseException:
        """
        Wait for the end of the connection.
        """
        await self.until(lambda: self.lost is not None)
        assert self.lost is not None
        return self.lost

    def say(self, data: bytes) -> None:
        """
        Send.
        """
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        """
        End in order.
        """
        assert self.transport is not None
        self.transport.loseConnection()

    def cut(self) -> None:
        """
        End in order, but below TLS, without its word.
        """
        self.transport.transport.loseConnection()  # type: ignore[union-attr]

    def reset(self) -> None:
        """
        Send RST, for what has been sent before has arrived.
        """
        self.transport.abortConnection()  # type: ignore[union-attr]

    def stop_reading(self) -> None:
        """
        Let the buffers fill.
        """
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def go_on_reading(self) -> None:
        """
        Empty them.
        """
        self.transport.resumeProducing()  # type: ignore[union-attr]

    # What clients ask.

    async def answer(self, method: bytes = b"GET") -> Answer:
        """
        The next answer, as h11 reads it.
        """
        reading = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        reading.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        reading.send(h11.EndOfMessage())
        answer = Answer()
        ended = False
        while True:
            try:
                event = reading.next_event()
                if event is h11.NEED_DATA:
                    if ended:
                        return answer
                    await self.until(lambda: bool(self.data) or self.lost is not None)
                    data, self.data = self.data, b""
                    if not data and not isinstance(self.lost, ConnectionDone):
                        return answer  # reset: what has come is all there is, and it is not whole
                    ended = not data
                    reading.receive_data(data)
                    continue
            except h11.RemoteProtocolError:
                return answer
            if isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.fields = dict(event.headers)
            elif isinstance(event, h11.InformationalResponse):
                answer.interim.append(event.status_code)
                if event.status_code == 101:
                    answer.status = 101
                    answer.whole = True
                    self.data = reading.trailing_data[0] + self.data
                    return answer
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.whole = True
                self.data = reading.trailing_data[0] + self.data
                return answer
            else:
                return answer


@implementer(IPullProducer)
class _Flood:
    """
    Sends the same thing again and again.
    """

    def __init__(self, transport: Any, piece: bytes, times: int) -> None:
        self._transport = transport
        self._piece = piece
        self._times = times

    def resumeProducing(self) -> None:
        if not self._times:
            self._transport.unregisterProducer()
            return
        self._times -= 1
        self._transport.write(self._piece)

    def stopProducing(self) -> None:
        self._times = 0


class Answer:
    """
    What a strict client has made of what it was sent.

    :ivar whole: the message has an end, by its own framing or by an orderly close.
    """

    def __init__(self) -> None:
        self.status = 0
        self.interim: list[int] = []
        self.fields: dict[bytes, bytes] = {}
        self.body = b""
        self.whole = False


#: A server's part in a test: what it does with one connection.
Server = Callable[[End], Coroutine[Any, Any, Any]]


class Rig:
    """
    A twistginx between clients and an upstream server.

    :ivar servers: the ends of the connections that the upstream server has accepted, in order.
    :ivar records: ``(status, reason)`` of what twistginx has answered.
    """

    def __init__(self, reactor: Any, config: str = CONFIG) -> None:
        self.reactor = reactor
        self.servers: list[End] = []
        self.records: list[tuple[int, str]] = []
        self._server: Server = self._nothing
        self._config = config
        self._clients: list[End] = []
        self._playing: list[Deferred[Any]] = []
        self._directory = Path(mkdtemp(prefix="twistginx-"))
        self._before: Any = None
        self.service: Any = None
        self.listener: Any = None

    async def start(self) -> None:
        """
        Listen, and serve; from here on is counted.
        """
        inside: Any = self._factory(self._accepted)
        if self._config == TLS:
            inside = TLSMemoryBIOFactory(self._issue(), False, inside, self.reactor)
        self._inside = self.reactor.listenTCP(0, inside, interface="127.0.0.1")
        path = self._directory / "site.toml"
        path.write_text(self._config.format(port=self._inside.getHost().port))
        self.service = service = Service(self.reactor, path)
        service.ticker.resolution = 0.05
        generation = service.prepare_first()
        await service.commit(await service.bind(generation))
        (self.listener,) = service.listeners.values()
        self.listener.frontend.log = lambda request, record: self.records.append((record.status, record.reason))
        # What is made once in a process, or in a reactor, is made now.
        await self._play(self._no_content, self._ask)
        gc.collect()
        gc.freeze()
        self._before = self._left()

    def _issue(self) -> CertificateOptions:
        """
        A certificate, for ourselves and for twistginx.
        """
        issued = trustme.CA().issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(self._directory / "cert.pem")
        issued.private_key_pem.write_to_path(self._directory / "key.pem")
        both = PrivateCertificate.loadPEM(issued.private_key_and_cert_chain_pem.bytes())
        # With nothing to choose from, it fails where a client wants to choose.
        return CertificateOptions(both.privateKey.original, both.original, acceptableProtocols=[b"http/1.1"])

    async def stop(self) -> None:
        """
        Give everything back.
        """
        gc.unfreeze()
        await self.service.stopService()
        await self._inside.stopListening()
        shutil.rmtree(self._directory)

    async def play(self, server: Server, client: Callable[[Rig], Coroutine[Any, Any, Any]]) -> Any:
        """
        Run both parts, end all connections, and check that nothing of them is left.

        :return: what the client's part returned.
        :raise AssertionError: when something is left.
        """
        outcome = await self._play(server, client)
        # What is on its way needs longer on a busy machine; what is left behind stays, however long one waits.
        for _ in range(_LOOKS):
            gc.collect()
            left = self._left()
            if left == self._before:
                break
            await self.settled()
        assert left == self._before, f"left behind: {left}, before: {self._before}"
        return outcome

    async def _play(self, server: Server, client: Callable[[Rig], Coroutine[Any, Any, Any]]) -> Any:
        self._server = server
        self.records.clear()
        playing = Deferred.fromCoroutine(client(self))
        playing.addTimeout(LIMIT, self.reactor)
        try:
            outcome = await playing
            await self.settled()
        finally:
            for end in (*self._clients, *self.servers):
                if end.lost is None:
                    end.reset()
            for end in (*self._clients, *self.servers):
                await end.gone()
            await gatherResults([each.addTimeout(LIMIT, self.reactor) for each in self._playing])
            self._clients.clear()
            self.servers.clear()
            self._playing.clear()
            self._server = self._nothing
            await self.settled()
        return outcome

    @property
    def told(self) -> list[tuple[int, str]]:
        """
        The records of the last parts.
        """
        return list(self.records)

    def _left(self) -> dict[str, Any]:
        calls = [call for call in self.reactor.getDelayedCalls() if call.active()]
        return {
            "connections": len(self.listener.connections),
            "deadlines": len(self.service.ticker),
            "timers": len(calls),
            "descriptors": descriptors(),
            "objects": counted(),
        }

    async def client(self) -> End:
        """
        A client's connection.
        """
        made: Deferred[End] = Deferred()
        factory: Any = self._factory(made.callback)
        factory.startedConnecting = factory.clientConnectionLost = lambda *_: None
        factory.clientConnectionFailed = lambda connector, reason: made.errback(reason)
        if self._config == TLS:
            factory = TLSMemoryBIOFactory(CertificateOptions(), True, factory, self.reactor)
        self.reactor.connectTCP("127.0.0.1", self.listener.address.port, factory)
        end = await made
        self._clients.append(end)
        return end

    def after(self, seconds: float) -> Deferred[None]:
        """
        Fires then.
        """
        waiting: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waiting.callback, None)
        return waiting

    def settled(self) -> Deferred[None]:
        """
        Fires when what is on its way through the sockets of this machine has arrived.
        """
        return self.after(0.01)

    @property
    def resting(self) -> int:
        """
        How many connections to the upstream server rest.
        """
        return sum(life.resting for life in self.service.generation.lives if hasattr(life, "resting"))

    def _factory(self, made: Callable[[End], None]) -> Factory:
        def build(address: Any) -> End:
            end = End(self.reactor)
            end.connectionMade = lambda: made(end)  # type: ignore[method-assign]
            return end

        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = build  # type: ignore[assignment,method-assign]
        return factory

    def _accepted(self, end: End) -> None:
        self.servers.append(end)
        self._playing.append(Deferred.fromCoroutine(self._server(end)))

    @staticmethod
    async def _nothing(end: End) -> None:
        end.reset()

    @staticmethod
    async def _no_content(end: End) -> None:
        await end.head()
        end.say(b"HTTP/1.1 204 No Content\r\n\r\n")

    @staticmethod
    async def _ask(rig: Rig) -> None:
        end = await rig.client()
        end.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await end.head()


def counted() -> dict[str, int]:
    """
    How many objects of ours there are, but for those that were there at the start.
    """
    counts: dict[str, int] = {}
    for each in gc.get_objects():
        if isinstance(each, COUNTED):
            counts[type(each).__name__] = counts.get(type(each).__name__, 0) + 1
    return counts


def descriptors() -> dict[str, int]:
    """
    The open sockets and files of this process, by what they are.
    """
    kinds: dict[str, int] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            kind = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
        except OSError:  # that of the directory itself
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


class FaultTestCase(SynchronousTestCase):
    """
    Runs parts on a reactor of its own.
    """

    #: Makes the reactor of a test.
    make_reactor: Callable[[], Any]

    def setUp(self) -> None:
        self.failed: list[str] = []

    @contextmanager
    def naming(self, name: str) -> Iterator[None]:
        """
        Note what fails in here, and go on with the others.
        """
        try:
            yield
        except Exception as error:
            self.failed.append(f"{name}: {type(error).__name__}: {error}")

    def tearDown(self) -> None:
        self.assertEqual(self.failed, [], "\n" + "\n".join(self.failed))

    def with_rig(self, use: Callable[[Rig], Coroutine[Any, Any, Any]], config: str = CONFIG) -> Any:
        """
        Return what ``use(rig)`` returns.
        """
        reactor = self.make_reactor()
        outcome: list[Any] = []

        async def run() -> Any:
            rig = Rig(reactor, config)
            await rig.start()
            try:
                return await use(rig)
            finally:
                await rig.stop()

        def begin() -> None:
            Deferred.fromCoroutine(run()).addBoth(outcome.append).addBoth(lambda _: reactor.stop())

        reactor.callWhenRunning(begin)
        try:
            reactor.run(installSignalHandlers=False)
        finally:
            _give_up(reactor)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]


def _give_up(reactor: Any) -> None:
    """
    Close what a reactor holds open.
    """
    reactor.disconnectAll()
    for reader in list(reactor._internalReaders):
        reactor.removeReader(reader)
        reader.connectionLost(None)
    for call in reactor.getDelayedCalls():
        call.cancel()
    loop = getattr(reactor, "loop", None)
    if loop is not None:
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
    poller = getattr(reactor, "_poller", None)
    if poller is not None:
        poller.close()
