"""
Tests for twistginx.upstream.sticky: whoever comes and goes, clients stay where they can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.options import options
from twistginx.config.address import ServerAddress
from twistginx.config.schema import Server
from twistginx.config.tables.upstream import Sticky as Options
from twistginx.http.message import Fields, ResponseHead
from twistginx.net.timers import Ticker
from twistginx.upstream.control import Control
from twistginx.upstream.least_connections import LeastConnections
from twistginx.upstream.pool import Upstream
from twistginx.upstream.random_two import RandomTwo
from twistginx.upstream.roster import PeerMaker
from twistginx.upstream.round_robin import RoundRobin
from twistginx.upstream.sticky import Sticky

#: How many servers there may be, and clients that ask.
SERVERS = 5
CLIENTS = 4

BALANCERS: tuple[Callable[[], Any], ...] = (RoundRobin, LeastConnections, RandomTwo)

#: What happens: to a server, or that a client asks.
EVENTS = ("ask", "ask", "ask", "down", "up", "drain", "disable", "enable", "leave", "join", "fill", "empty", "reload")


class Client:
    """
    A browser, and the request that it sends.
    """

    scheme = b"http"
    client_ip = b"192.0.2.1"

    def __init__(self) -> None:
        self.cookie: bytes | None = None
        self.head = self

    def first(self, name: bytes) -> bytes | None:
        """
        As of the fields of a request.
        """
        return b"a=b; " + self.cookie + b"; c=d" if name == b"cookie" and self.cookie else None


class House:
    """
    An upstream of servers that come and go, and its clients.
    """

    def __init__(self, balancer: Callable[[], Any]) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)
        self.maker = PeerMaker(self.reactor, self.ticker)
        self.balancer = balancer
        self.members = set(range(SERVERS))
        self.clients = [Client() for _ in range(CLIENTS)]
        self.homes: list[str | None] = [None] * CLIENTS
        self.upstream = self.make(None)
        self.control = Control(lambda: {"app": self.upstream})

    def make(self, roster: Any) -> Upstream:
        """
        An upstream, as a reload makes it.
        """
        sticky = Sticky("app", Options(), b"a secret of this test")
        upstream = Upstream("app", options(), (), self.balancer(), self.ticker, self.maker, roster, sticky)
        upstream.members(self.servers())
        upstream.start()
        return upstream

    def servers(self) -> list[Server]:
        return [
            Server(ServerAddress.parse(f"10.0.0.{number}:80"), max_connections=1) for number in sorted(self.members)
        ]

    def happen(self, event: str, number: int) -> None:
        """
        Do that to the server of that number, if it is there.
        """
        label = f"10.0.0.{number}:80"
        peer = next((peer for peer in self.upstream.peers if peer.label.decode() == label), None)
        if event in ("leave", "join"):
            self.members = self.members - {number} if event == "leave" else self.members | {number}
            self.upstream.members(self.servers())
        elif event == "reload":
            self.upstream = self.make(self.upstream.roster)
        elif peer is None:
            return
        elif event in ("down", "up"):
            self.upstream.set_health(peer, event == "up", "" if event == "up" else "ill")
        elif event == "fill":
            if not peer.active:
                peer.begun += 1
                self.upstream.begin(peer)
        elif event == "empty":
            if peer.active:
                peer.ended += 1
                self.upstream.done(peer)
        else:
            getattr(self.control, event)("app", label)

    def ask(self, number: int) -> tuple[str | None, bool]:
        """
        Who serves the client of that number; has it been given another cookie?
        """
        client = self.clients[number]
        peer = self.upstream.pick(client, ())
        if peer is None:
            return None, False
        head = ResponseHead(200, Fields())
        self.upstream.answered(peer, client, head, 0.0)
        said = head.fields.first(b"set-cookie")
        if said is not None:
            client.cookie = said.partition(b";")[0]
        return peer.label.decode(), said is not None


class StickyTests(SynchronousTestCase):
    """
    Any balancer, and anything that may happen to servers.
    """

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(BALANCERS),
        st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, SERVERS - 1)), min_size=30, max_size=60),
    )
    def test_stays(self, balancer: Callable[[], Any], events: list[tuple[str, int]]) -> None:
        """
        A client is served by the server that it had, as long as that is up or drains and has room, over reloads, and
        over others that come and go.  One that is only full is passed over for once; in any other case the client gets
        another one, and stays there.
        """
        house = House(balancer)
        for event, number in events:
            if event != "ask":
                house.happen(event, number)
                continue
            which = number % CLIENTS
            home = house.homes[which]
            peers = {peer.label.decode(): peer for peer in house.upstream.peers}
            there = home in peers and peers[home].state in ("up", "draining")  # type: ignore[index]
            full = there and bool(peers[home].active)  # type: ignore[index]
            served, moved = house.ask(which)
            if there and not full:
                self.assertEqual((served, moved), (home, False))
            elif there:
                self.assertNotEqual(served, home)
                self.assertFalse(moved)
            elif served is not None:
                # A server that is down may have to do when there is no other.
                self.assertTrue(moved or served == home or peers[served].state == "down", (served, home))
                house.homes[which] = served if moved else home
