"""
Large bodies, one after the other on each of a few connections: C{transfer PORT CONNECTIONS SECONDS REQUEST [BODY]}.

wrk reads 8 KiB at a time, which would measure wrk.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from threading import Thread
from time import perf_counter

from bench.load.wire import NUMBER, Failed, receive, report

BUFFER = 1024 * 1024


class Client(Thread):
    """
    One connection.

    :ivar latencies: how long each transfer took, in seconds.
    :ivar size: bytes that were carried, both ways.
    """

    def __init__(self, port: int, end: float, head: bytes, body: bytes) -> None:
        super().__init__(daemon=True)
        self.latencies: list[float] = []
        self.size = self.errors = 0
        self._port, self._end, self._head, self._body = port, end, head, body

    def run(self) -> None:
        """
        Transfer until the end.
        """
        buffer = bytearray(BUFFER)
        while perf_counter() < self._end:
            try:
                with socket.create_connection(("127.0.0.1", self._port), 30) as connection:
                    self._transfer(connection, buffer)
            except (OSError, Failed):
                self.errors += 1

    def _transfer(self, connection: socket.socket, buffer: bytearray) -> None:
        while (started := perf_counter()) < self._end:
            connection.sendall(self._head.replace(NUMBER, b"%d" % len(self.latencies)))
            if self._body:
                connection.sendall(self._body)
            size, kept = receive(connection, buffer)
            self.size += size + len(self._body)
            self.latencies.append(perf_counter() - started)
            if not kept:
                return


def main(port: str, connections: str, seconds: str, request: str, body: str = "") -> None:
    """
    Load, and print what came of it.
    """
    started = perf_counter()
    content = Path(body).read_bytes() if body else b""
    clients = [
        Client(int(port), started + float(seconds), Path(request).read_bytes(), content)
        for _ in range(int(connections))
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    latencies = [latency for client in clients for latency in client.latencies]
    report(latencies, sum(client.size for client in clients), started, sum(client.errors for client in clients))


if __name__ == "__main__":
    main(*sys.argv[1:])
