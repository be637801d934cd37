"""
What choosing a route costs, with one route and with a thousand: ``python -m bench.routing``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from types import SimpleNamespace
from typing import Final

from twisted.internet.task import Clock

from twistginx.config.convert import structure
from twistginx.config.regex import Regex
from twistginx.config.tables.match import Match
from twistginx.http.frontend import Frontend
from twistginx.http.message import Fields, RequestHead
from twistginx.net.timers import Ticker
from twistginx.routing.conditions import Condition, Conditions
from twistginx.routing.router import Route, Site

#: How many.
MANY: Final = 1000

Make = Callable[[int], Route]


def of_tenant(number: int) -> Condition:
    """
    The condition that a request is of a tenant.
    """
    match = structure({"header": {"X-Tenant": str(number)}}, Match)
    return Conditions({}, lambda entries, key: None).compiled(match)


#: What is measured: how it is written, the route of a number, and the path of one.
CASES: Final[tuple[tuple[str, Make, str], ...]] = (
    ('path = "/sN"', lambda n: Route(str(n), None, prefix=b"/s%d" % n), "/s{n}/x"),
    ('path = "/api/v1/sN"', lambda n: Route(str(n), None, prefix=b"/api/v1/s%d" % n), "/api/v1/s{n}/x"),
    ('exact = "/api/v1/sN"', lambda n: Route(str(n), None, exact=b"/api/v1/s%d" % n), "/api/v1/s{n}"),
    (
        'regex = "^/api/sN/([0-9]+)$"',
        lambda n: Route(str(n), None, pattern=Regex.parse(f"^/api/s{n}/([0-9]+)$")),
        "/api/s{n}/12",
    ),
    ('regex = "[.]xN$"', lambda n: Route(str(n), None, pattern=Regex.parse(f"[.]x{n}$")), "/api/v1.x{n}"),
    ('match = { header = { X-Tenant = "N" } }', lambda n: Route(str(n), None, condition=of_tenant(n)), "/api/v1"),
)


def cost(call: Callable[[], object], rounds: int = 20_000) -> float:
    """
    Microseconds of processor time of one call, the least of five rounds.
    """
    least = float("inf")
    for _ in range(5):
        begun = process_time()
        for _ in range(rounds):
            call()
        least = min(least, process_time() - begun)
    return least / rounds * 1e6


def choosing(make: Make, count: int, path: str) -> float:
    """
    What it costs to choose the last of so many routes.
    """
    site = Site("bench", tuple(make(number) for number in range(count)), Clock())
    head = RequestHead(b"GET", path.format(n=count - 1).encode(), b"HTTP/1.1", Fields())
    head.fields.add(b"X-Tenant", b"%d" % (count - 1))
    request = SimpleNamespace(head=head, matched_path=b"", captured=None)
    assert site.route_for(request) is site.routes[-1]
    return cost(lambda: site.route_for(request))


def finding(count: int) -> float:
    """
    What it costs to find the last of so many sites.
    """
    names = {b"host-%d.example.com" % number: number for number in range(count)}
    frontend = Frontend(Ticker(Clock()), sites=names)
    host = b"host-%d.example.com:8080" % (count - 1)
    return cost(lambda: frontend.site_for(host))


def main() -> None:
    """
    Measure, and print a table.
    """
    print(f"{'us for each request':32} {'one':>8} {MANY:>8}")
    for words, make, path in CASES:
        print(f"{words:32} {choosing(make, 1, path):8.2f} {choosing(make, MANY, path):8.2f}")
    print(f"{'names':32} {finding(1):8.2f} {finding(MANY):8.2f}")


if __name__ == "__main__":
    main()
