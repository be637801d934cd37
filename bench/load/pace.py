"""
Requests at a rate, whatever the server does: C{pace PORT CONNECTIONS SECONDS RATE REQUEST}.

They are due at random times, independent of each other as those of many clients are, and a latency counts from when a
request was due: one that had to wait for a connection, or for this program, shows it.  That is what wrk does not do.
"""

from __future__ import annotations

import gc
import select
import socket
import sys
from pathlib import Path
from random import Random
from time import perf_counter

from bench.load.wire import NUMBER, Failed, content_length, report


class Pace:
    """
    The load.

    :ivar latencies: in seconds.
    :ivar size: bytes that were read.
    """

    def __init__(self, port: int, connections: int, head: bytes) -> None:
        self.latencies: list[float] = []
        self.size = self.errors = 0
        self._port = port
        self._before, _, self._after = head.partition(NUMBER)
        self._epoll = select.epoll()
        self._connections: dict[int, socket.socket] = {}
        self._idle: list[int] = []
        self._due: dict[int, float] = {}  # of the request that is under way, by descriptor
        self._read: dict[int, bytes] = {}  # of an answer that came in pieces
        for _ in range(connections):
            self._connect()

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        number = connection.fileno()
        self._connections[number] = connection
        self._epoll.register(number, select.EPOLLIN)
        self._idle.append(number)

    def run(self, seconds: float, rate: float, patience: float = 1.0) -> None:
        """
        Send for so many seconds, and wait for what is still under way, C{patience} seconds at most.
        """
        intervals = Random(rate)
        due = perf_counter()
        end = due + seconds
        number = 0
        while True:
            now = perf_counter()
            while due <= now and due < end and self._idle:
                number += 1
                self._send(self._idle.pop(), number, due)
                due += intervals.expovariate(rate)
            if now >= end and (not self._due or now >= end + patience):
                break
            for each, _ in self._epoll.poll(0):
                self._receive(each)
        self.errors += len(self._due)

    def close(self) -> None:
        """
        Close all connections.
        """
        for connection in self._connections.values():
            connection.close()
        self._epoll.close()

    def _send(self, each: int, number: int, due: float) -> None:
        self._due[each] = due
        try:
            self._connections[each].send(b"%b%d%b" % (self._before, number, self._after))
        except OSError:
            self._broken(each)

    def _receive(self, each: int) -> None:
        try:
            piece = self._connections[each].recv(65536)
            if not piece:
                raise Failed("closed")
            data = self._read.pop(each, b"") + piece
            head, blank, body = data.partition(b"\r\n\r\n")
            if not blank or len(body) < content_length(head + b"\r\n"):
                self._read[each] = data
                return
            self.latencies.append(perf_counter() - self._due.pop(each))
        except (OSError, Failed, KeyError):
            self._broken(each)
        else:
            self.size += len(data)
            self._idle.append(each)
            if b"\r\nconnection: close" in head.lower():
                self._broken(each)  # it has said that it takes no more

    def _broken(self, each: int) -> None:
        """
        Take a new connection.  One that the server closed while it was idle is no error.
        """
        if self._due.pop(each, None) is not None:
            self.errors += 1
        else:
            self._idle.remove(each)
        self._read.pop(each, None)
        self._epoll.unregister(each)
        self._connections.pop(each).close()
        self._connect()


def main(port: str, connections: str, seconds: str, rate: str, request: str) -> None:
    """
    Load, and print what came of it.
    """
    pace = Pace(int(port), int(connections), Path(request).read_bytes())
    gc.disable()  # its pauses would be ours, not the server's
    started = perf_counter()
    pace.run(float(seconds), float(rate))
    pace.close()
    report(pace.latencies, pace.size, started, pace.errors)


if __name__ == "__main__":
    main(*sys.argv[1:])
