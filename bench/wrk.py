"""
What loaders say: one line of JSON, from wrk through C{load/browser.lua} and from our own alike.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from bench.processes import pinned

#: Connections that wrk keeps open.
CONNECTIONS: Final = 50

SCRIPT: Final = Path(__file__).parent / "load" / "browser.lua"


@frozen
class Load:
    """
    What came of a load.

    :ivar requests: how many were answered.
    :ivar size: bytes that were carried, heads and bodies.
    :ivar seconds: how long it took.
    :ivar p50: the median of the latency, in seconds.
    :ivar p99: what 99 of 100 requests did not exceed, in seconds.
    :ivar errors: answers that were not 2xx or 3xx, connections that broke, timeouts.
    """

    requests: int
    size: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        """
        Requests per second.
        """
        return self.requests / self.seconds


def parse(output: str) -> Load:
    """
    Read the last line of a loader's output.

    :raise ValueError: when it is no such line; the output is in the message.
    """
    line = output.rstrip().rpartition("\n")[2]
    try:
        said = json.loads(line)
        return Load(
            said["requests"],
            said["bytes"],
            said["duration"] / 1e6,
            said["p50"] / 1e6,
            said["p99"] / 1e6,
            said["errors"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not the output of a loader: {output[-500:]!r}") from error


def command(url: str, seconds: int, request: Path, body: Path | None = None) -> list[str]:
    """
    The command that has wrk load a server.

    :param request: a file with the head of a request.
    :param body: one with its body.
    """
    return [
        *("wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", str(seconds), "--timeout", "10"),
        *("--script", str(SCRIPT), url, "--", str(request)),
        *([] if body is None else [str(body)]),
    ]


def run(argv: Sequence[str], core: int | None, timeout: float) -> Load:
    """
    Run a loader to its end.

    :raise ValueError: when it fails.
    """
    done = subprocess.run(
        pinned(argv, core),
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{argv[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return parse(done.stdout)
