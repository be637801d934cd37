"""
What a policy costs: microseconds per request, in memory, with and without it.

    python -m bench.policies                                  # all of the list below
    python -m bench.policies 'rate_limit = "1000000/s"'       # your own, a line of a route each

A kept-alive connection asks a small responder again and again, through the whole channel, with no socket and no
kernel; CPU time is counted.  A and B take turns, so that both meet the same machine; the best round of each is told,
because what else a machine does makes rounds slower and never faster.
"""

from __future__ import annotations

import gc
import sys
from time import process_time

from twistginx.shared.embedded import EmbeddedStore
from twistginx.testing import MemoryServer

SITE = """
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    respond = {{ body = "ok" }}
    {lines}
"""

REQUEST = b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench\r\nX-API-Key: 0123456789abcdef\r\n\r\n"

#: What is measured when nothing is named: a label, and the lines of the route.
POLICIES = (
    ("nothing (what a difference of 0 looks like)", ""),
    ("rate_limit, by client", 'rate_limit = "1000000/s"'),
    ("rate_limit, by client, headers", 'rate_limit = { rate = "1000000/s", headers = true }'),
    ("rate_limit, by API key", 'rate_limit = { rate = "1000000/s", key = "{header.x-api-key}" }'),
    ("rate_limit, exempt", 'rate_limit = { rate = "1/s", exempt = ["127.0.0.0/8"] }'),
    ("rate_limit, refusing", 'rate_limit = "1/h"'),
    ("concurrency, by client", "concurrency = 100"),
    ("bandwidth, not reached", 'bandwidth = { rate = "1GB/s", after = "1GB" }'),
    ("rate_limit and concurrency", 'rate_limit = "1000000/s"\n    concurrency = 100'),
)

ROUNDS = 150
REQUESTS = 200


class Subject:
    """
    One configuration, and a client of it.
    """

    def __init__(self, lines: str, embedded: bool = False) -> None:
        self.server = MemoryServer(SITE.format(lines=lines))
        if embedded:
            # As in one of several workers.
            self.server.runtime.memory = EmbeddedStore.create(ticker=self.server.runtime.ticker)
            self.server.load(SITE.format(lines=lines))
        for listener in self.server.listeners.values():
            listener.frontend.log = None  # what is kept of each request for tests is no part of it
        self.client = self.server.connect()

    def run(self) -> float:
        """
        CPU seconds of a round.
        """
        client = self.client
        begin = process_time()
        for number in range(REQUESTS):
            client.send(REQUEST)
            if number % 50 == 0:
                client.take()
            if client.closed:
                client = self.client = self.server.connect()
        spent = process_time() - begin
        client.take()
        self.server.reactor.advance(0.25)
        return spent


def cost(lines: str, embedded: bool = False) -> tuple[float, float]:
    """
    Microseconds per request: without the policy, and what it adds.
    """
    off, on = Subject(""), Subject(lines, embedded)
    for subject in (off, on):
        subject.run()
    gc.collect()
    gc.disable()
    pairs = [(off.run(), on.run()) for _ in range(ROUNDS)]
    gc.enable()
    scale = 1e6 / REQUESTS
    without = min(first for first, _ in pairs)
    return without * scale, (min(second for _, second in pairs) - without) * scale


def main(arguments: list[str]) -> int:
    """
    Print a table.
    """
    policies = [(lines, lines) for lines in arguments] or POLICIES
    print(f"{'policy':44} {'without':>8} {'adds':>8} {'adds, shared by workers':>24}")
    for label, lines in policies:
        base, alone = cost(lines)
        shared = f"{cost(lines, embedded=True)[1]:.2f}" if "rate_limit" in lines or "concurrency" in lines else "-"
        print(f"{label.splitlines()[0]:44} {base:8.2f} {alone:8.2f} {shared:>24}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
