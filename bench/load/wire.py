"""
The little HTTP that loaders need: send a head, read an answer.
"""

from __future__ import annotations

import json
import socket
from time import perf_counter

NUMBER = b"@NUMBER@"


class Failed(Exception):
    """
    The answer is not a success, or it is none.
    """


def content_length(head: bytes) -> int:
    """
    The length of an answer's body.

    :param head: the answer's head, which must be one of a success.
    :raise Failed: when it is not, or does not say how long the body is.
    """
    if head[9:10] not in {b"2", b"3"}:
        raise Failed(head.partition(b"\r\n")[0].decode("latin-1"))
    lower = head.lower()
    start = lower.find(b"\r\ncontent-length:")
    if start < 0:
        raise Failed("no Content-Length")
    return int(lower[start + 17 : lower.index(b"\r\n", start + 2)])


def receive(connection: socket.socket, buffer: bytearray) -> tuple[int, bool]:
    """
    Read one answer.

    :return: its length in bytes, and whether the connection is kept.
    :raise Failed: when it is not a success, or ends too soon.
    """
    read = 0
    end = -1
    view = memoryview(buffer)
    while end < 0:
        got = connection.recv_into(view[read:])
        if not got:
            raise Failed("closed")
        read += got
        end = buffer.find(b"\r\n\r\n", 0, read)
    head = bytes(buffer[: end + 2])
    total = end + 4 + content_length(head)
    while read < total:
        got = connection.recv_into(view[: min(len(view), total - read)])
        if not got:
            raise Failed("closed in the body")
        read += got
    return total, b"\r\nconnection: close\r\n" not in head.lower()


def percentile(ordered: list[float], share: float) -> float:
    """
    What C{share} of the values do not exceed; 0 of none.
    """
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def report(latencies: list[float], size: int, started: float, errors: int) -> None:
    """
    Print what came of it, as C{browser.lua} does.
    """
    latencies.sort()
    said = {
        "requests": len(latencies),
        "bytes": size,
        "duration": round((perf_counter() - started) * 1e6),
        "p50": round(percentile(latencies, 0.5) * 1e6),
        "p99": round(percentile(latencies, 0.99) * 1e6),
        "errors": errors,
    }
    print(json.dumps(said), flush=True)
