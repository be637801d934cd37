r"""
A whole twistginx in memory, for tests: bytes in, bytes out, no sockets, and a clock that you turn.

Third parties test their plugins with it as we test ours::

    server = MemoryServer('''
        [[site]]
        listen = "tcp:80"
        [[site.route]]
        proxy = "http://127.0.0.1:9001"
    ''')
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    upstream = server.accept()
    assert upstream.take().startswith(b"GET / HTTP/1.1\r\n")
    upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 204 No Content\r\n")
    server.close()
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.python.failure import Failure

from twistginx.build.generation import Generation, Runtime
from twistginx.build.prepare import prepare
from twistginx.net.listener import Listener
from twistginx.net.timers import Ticker
from twistginx.registry import Registry


class MemoryTransport(StringTransportWithDisconnection):
    """
    Our end of a connection in memory.

    :ivar aborted: it was broken, not closed.
    :ivar half_closed: our half was closed.
    """

    aborted = False
    half_closed = False

    def abortConnection(self) -> None:
        self.aborted = True
        self._lose(Failure(ConnectionLost()))

    def loseConnection(self) -> None:
        self._lose(Failure(ConnectionDone()))

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing waits here.
        """

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Nothing dies unseen here.
        """

    def _lose(self, reason: Failure) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(reason)


class Connection:
    """
    The other end of a connection: a client's, or an upstream server's.

    :ivar transport: our end, a :class:`MemoryTransport`.
    """

    def __init__(self, protocol: Any, local: IPv4Address, peer: IPv4Address) -> None:
        self.protocol = protocol
        self.transport = MemoryTransport(hostAddress=local, peerAddress=peer)
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def send(self, data: bytes, cut: int = 0) -> None:
        """
        Send ``data``, in one read, or in reads of ``cut`` bytes.
        """
        step = cut or max(len(data), 1)
        for start in range(0, len(data), step):
            if self.transport.connected:
                self.transport.protocol.dataReceived(data[start : start + step])

    def take(self) -> bytes:
        """
        What has been received since the last call.
        """
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def close(self) -> None:
        """
        End the connection in order, as seen from us: the other side closed it.
        """
        self.transport.loseConnection()

    def reset(self) -> None:
        """
        Break the connection.
        """
        self.transport._lose(Failure(ConnectionLost()))

    def stall(self) -> None:
        """
        Stop reading: what produces for this connection is paused.
        """
        if self.transport.producer is not None:
            self.transport.producer.pauseProducing()

    def unstall(self) -> None:
        """
        Read again.
        """
        if self.transport.producer is not None:
            self.transport.producer.resumeProducing()

    @property
    def reading(self) -> bool:
        """
        Do we read from this connection, or is it paused?
        """
        return self.transport.producerState == "producing"

    @property
    def closed(self) -> bool:
        return not self.transport.connected


class MemoryServer:
    """
    A configuration, served in memory.

    :ivar reactor: a ``MemoryReactorClock``.
    :ivar generation: the live one.
    """

    def __init__(
        self,
        config: str,
        files: Mapping[str, bytes] | None = None,
        plugins: Any = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        :param config: TOML text.
        :param files: by name relative to the configuration file.
        :param plugins: declarations (``registry.Plugin``) of modules that are not installed.
        :raise ConfigError: when the configuration is not valid.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="twistginx-"))
        for name, content in (files or {}).items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.reactor = MemoryReactorClock()
        self.registry = Registry(plugins)
        self.runtime = Runtime(self.reactor, Ticker(self.reactor))
        self.listeners: dict[str, Listener] = {}
        self.records: list[tuple[Any, Any]] = []
        self._environment = os.environ if environment is None else environment
        self._taken = 0
        self.generation: Generation | None = None
        try:
            self.load(config)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def load(self, config: str) -> Generation:
        """
        Serve another configuration from now on, as a reload does.

        :raise ConfigError: when it is not valid; nothing changes then.
        """
        path = self.directory / "site.toml"
        path.write_text(dedent(config))
        generation = prepare(path, self.registry, self._environment, self.runtime)
        old, self.generation = self.generation, generation
        self.runtime.adopt(generation)
        kept = [] if old is None else old.lives
        for life in generation.lives:
            if not any(life is each for each in kept):
                life.start()
        for key, plan in generation.listeners.items():
            listener = self.listeners.setdefault(
                key, Listener(self.reactor, plan.endpoint, capacity=self.runtime.capacity)
            )
            plan.give_to(listener)
            if hasattr(plan.frontend, "log"):
                plan.frontend.log = lambda request, record: self.records.append((request, record))
        for key in [key for key in self.listeners if key not in generation.listeners]:
            self.listeners.pop(key).drain()
        for life in kept:
            if not any(life is each for each in generation.lives):
                life.stop()
        return generation

    def connect(self, endpoint: str | None = None, peer: str = "127.0.0.1") -> Connection:
        """
        A client's connection.

        :param endpoint: the endpoint string of the listener; None: the first one.
        :param peer: the client's address.
        """
        listener = self.listeners[endpoint] if endpoint is not None else next(iter(self.listeners.values()))
        address = IPv4Address("TCP", peer, 54321)
        protocol = listener.buildProtocol(address)
        assert protocol is not None
        return Connection(protocol, IPv4Address("TCP", "127.0.0.1", 80), address)

    def get(self, target: str = "/", host: str = "localhost", **fields: str) -> bytes:
        """
        The answer, as bytes, to one GET on a connection of its own.  ``user_agent="x"`` sends ``User-Agent: x``.
        """
        client = self.connect()
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        client.send("\r\n".join([*lines, "", ""]).encode())
        answer = client.take()
        if not client.closed:
            client.close()
        return answer

    def connecting(self) -> list[tuple[str, int]]:
        """
        Where we are connecting to, and nobody has answered yet: ``(host, port)``.
        """
        return [client[:2] for client in self.reactor.tcpClients[self._taken :]]

    def accept(self) -> Connection:
        """
        Be the upstream server: accept the oldest connection that we are making.
        """
        host, port, factory, *_ = self.reactor.tcpClients[self._taken]
        self._taken += 1
        address = IPv4Address("TCP", host, port)
        return Connection(factory.buildProtocol(address), IPv4Address("TCP", "127.0.0.1", 40000), address)

    def refuse(self) -> None:
        """
        Be nobody: refuse the oldest connection that we are making.
        """
        factory = self.reactor.tcpClients[self._taken][2]
        connector = self.reactor.connectors[self._taken]
        self._taken += 1
        factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))

    def advance(self, seconds: float) -> None:
        """
        Let time pass, in steps that a ticker notices.
        """
        whole, rest = divmod(seconds, 0.25)
        for _ in range(int(whole)):
            self.reactor.advance(0.25)
        self.reactor.advance(rest)

    def close(self) -> None:
        """
        Stop everything, and remove the files.

        :raise AssertionError: when something was left behind: an open connection, a deadline, a timer.
        """
        for listener in self.listeners.values():
            listener.abort()
        if self.generation is not None:
            for life in self.generation.lives:
                life.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        left = [connection for listener in self.listeners.values() for connection in listener.connections]
        assert not left, f"connections left open: {left}"
        assert not len(self.runtime.ticker), "deadlines left"
