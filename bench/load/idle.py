"""
Connections that do nothing: C{idle PORT CONNECTIONS REQUEST}.

Each asks once and is then kept.  It prints C{ready}, waits until its standard input ends, and prints how many of the
connections the server still had.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from bench.load.wire import NUMBER, receive


def alive(connection: socket.socket) -> bool:
    """
    Has the server kept it?
    """
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def main(port: str, count: str, request: str) -> None:
    """
    Hold them.
    """
    head = Path(request).read_bytes()
    buffer = bytearray(65536)
    connections = []
    for number in range(int(count)):
        connection = socket.create_connection(("127.0.0.1", int(port)), 30)
        connection.sendall(head.replace(NUMBER, b"%d" % number))
        receive(connection, buffer)
        connections.append(connection)
    print("ready", flush=True)
    sys.stdin.read()
    print(sum(map(alive, connections)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
