"""
Tests for twistginx.upstream.group, .roster, .queue, .slow_start and .control: who the peers are and how they are.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.options import options
from twistginx.config.address import ServerAddress
from twistginx.config.schema import Server
from twistginx.config.units import Duration
from twistginx.errors import ConfigError, ProxyError
from twistginx.net.timers import Ticker
from twistginx.upstream.control import Control
from twistginx.upstream.pool import Upstream
from twistginx.upstream.queue import Queue
from twistginx.upstream.roster import Order, PeerMaker
from twistginx.upstream.round_robin import RoundRobin

REFUSED = ProxyError("connection_refused")


class GroupCase(SynchronousTestCase):
    """
    An upstream of three servers, the last of them a backup.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)
        self.maker = PeerMaker(self.reactor, self.ticker)
        self.upstream = self.make()
        self.upstream.members([self.server(1), self.server(2), self.server(3, backup=True)])
        self.said: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_namespace") == "twistginx.upstream":
                self.said.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def make(self, roster: Any = None, **more: Any) -> Upstream:
        return Upstream("app", options(**more), (), RoundRobin(), self.ticker, self.maker, roster)

    def server(self, number: int, **more: Any) -> Server:
        return Server(ServerAddress.parse(f"10.0.0.{number}:80"), **more)

    def labels(self) -> list[str]:
        """
        Who is to be used.
        """
        return [peer.label.decode().removesuffix(":80") for peer in self.upstream.available]

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)


class StateTests(GroupCase):
    """
    Tiers, and what moves peers between them.
    """

    def test_tiers(self) -> None:
        """
        Those that are up, then backups, and when nobody is up all that were not taken out by hand.
        """
        one, two, three = self.upstream.peers
        self.assertEqual(self.labels(), ["10.0.0.1", "10.0.0.2"])
        self.upstream.set_health(one, False, "503")
        self.assertEqual(self.labels(), ["10.0.0.2"])
        self.upstream.set_health(two, False, "refused")
        self.assertEqual(self.labels(), ["10.0.0.3"])
        self.upstream.set_health(three, False, "refused")
        self.assertEqual(self.labels(), ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        self.control().disable("app", "10.0.0.2:80")
        self.assertEqual(self.labels(), ["10.0.0.1", "10.0.0.3"])
        self.upstream.set_health(three, True)
        self.assertEqual(self.labels(), ["10.0.0.3"])
        self.control().disable("app", "*")
        self.assertEqual(self.labels(), [])
        self.assertIsNone(self.upstream.pick(None, ()))

    def test_same_object(self) -> None:
        """
        What is available is another object when something changed, and only then.
        """
        one, _, three = self.upstream.peers
        before = self.upstream.available
        self.upstream.assess()
        self.upstream.set_health(one, True)
        self.upstream.set_health(three, False, "x")
        self.upstream.replace(self.upstream.peers)
        self.assertIs(self.upstream.available, before)
        self.control().weigh("app", "10.0.0.1:80", 3)
        self.assertIsNot(self.upstream.available, before)
        counted = Counter(self.upstream.pick(None, ()) for _ in range(40))
        self.assertEqual(counted[one], 30)

    def test_backup_takes_over(self) -> None:
        """
        The last of the usual servers may be left out while a backup is up, and the backup may not.
        """
        one, two, three = self.upstream.peers
        for peer in (one, two, three):
            for _ in range(5):
                self.upstream.failed(peer, REFUSED)
        self.assertEqual([peer.state for peer in self.upstream.peers], ["out", "out", "up"])
        self.assertEqual(self.labels(), ["10.0.0.3"])
        self.assertIs(self.upstream.pick(None, [three]), one)
        self.upstream.succeeded(two)
        self.assertEqual(self.labels(), ["10.0.0.2"])
        self.upstream.stop()

    def test_log(self) -> None:
        """
        The log tells what became of whom, and why.
        """
        one, two, _ = self.upstream.peers
        since = one.since
        self.upstream.set_health(one, False, "status 503")
        self.upstream.set_health(one, True)
        for _ in range(5):
            self.upstream.failed(two, REFUSED)
        self.advance(11)
        self.control().drain("app", "10.0.0.1:80")
        self.upstream.members([self.server(1)])
        self.assertEqual(
            self.said,
            [
                "app: 10.0.0.1:80 is down: status 503",
                "app: 10.0.0.1:80 is up",
                "app: 10.0.0.2:80 is left out for 10 s: connection_refused",
                "app: 10.0.0.2:80 is up",
                "app: 10.0.0.1:80 is draining",
                "app: 10.0.0.2:80 is draining",
                "app: 10.0.0.3:80 is draining",
            ],
        )
        self.assertGreaterEqual(one.since, since)
        self.assertEqual(two.last_error, "connection_refused")

    def test_checks_end_an_outage(self) -> None:
        """
        Who was left out, did not pass its checks, and passes them again, is used at once.
        """
        one, *_ = self.upstream.peers
        for _ in range(5):
            self.upstream.failed(one, REFUSED)
        self.upstream.set_health(one, True)
        self.assertEqual(one.state, "out")  # it was never found ill: its checks may not see what requests see
        self.upstream.set_health(one, False, "no answer")
        self.upstream.set_health(one, True)
        self.assertEqual(
            self.said,
            [
                "app: 10.0.0.1:80 is left out for 10 s: connection_refused",
                "app: 10.0.0.1:80 is down: no answer",
                "app: 10.0.0.1:80 is up",
            ],
        )
        self.assertEqual(len(self.ticker), 0)

    def control(self) -> Control:
        return Control(lambda: {"app": self.upstream})


class MemberTests(GroupCase):
    """
    Peers come and go.
    """

    def test_stay(self) -> None:
        """
        Who stays is the very same peer, whatever else is configured for it; who comes back later is a new one.
        """
        one, two, _ = self.upstream.peers
        one.begun = 7
        one.ended = 7
        self.upstream.members([self.server(1, weight=4, max_connections=9), self.server(4)])
        self.assertIs(self.upstream.peers[0], one)
        self.assertEqual((one.weight, one.share, one.max_connections, one.begun), (4, 40, 9, 7))
        self.upstream.members([self.server(1), self.server(2)])
        self.assertIsNot(self.upstream.peers[1], two)
        self.assertEqual((one.weight, one.max_connections), (1, None))

    def test_come_back_at_work(self) -> None:
        """
        Who leaves with work to do and comes back meanwhile is the same one.
        """
        two = self.upstream.peers[1]
        two.begun = 1
        self.upstream.members([self.server(1)])
        self.assertEqual((two.state, two.leaving), ("draining", True))
        self.upstream.members([self.server(1), self.server(2)])
        self.assertIs(self.upstream.peers[1], two)
        self.assertEqual((two.state, two.leaving), ("up", False))

    def test_addresses_of_a_name(self) -> None:
        """
        A name may be several peers, each with the server's weight; the certificate must be for the name.
        """
        server = Server(ServerAddress.parse("https://app.internal:443"), weight=2)
        addresses = [ServerAddress.parse(f"https://10.1.0.{number}:443") for number in (1, 2, 1)]
        peers = [self.upstream.peer_for(address, server) for address in addresses]
        self.assertIs(peers[0], peers[2])
        self.upstream.replace(peers)
        self.assertEqual(
            [(peer.label, peer.weight) for peer in self.upstream.peers], [(b"10.1.0.1:443", 2), (b"10.1.0.2:443", 2)]
        )
        other = Server(ServerAddress.parse("https://other.internal:443"))
        self.assertIsNot(self.upstream.peer_for(addresses[0], other), peers[0])

    def test_forget(self) -> None:
        """
        A balancer hears of who left.
        """
        gone: list[Any] = []

        class Balancer(RoundRobin):
            def forget(self, peer: Any) -> None:
                gone.append(peer)

        upstream = Upstream("app", options(), (), Balancer(), self.ticker, self.maker)
        upstream.members([self.server(1), self.server(2)])
        left = upstream.peers[0]
        upstream.members([self.server(2)])
        self.assertEqual(gone, [left])

    def test_plugins_function(self) -> None:
        """
        A balancer may be a mere function.
        """
        upstream = Upstream("app", options(), (), lambda peers, request, tried: peers[-1], self.ticker, self.maker)
        upstream.members([self.server(1), self.server(2)])
        self.assertIs(upstream.pick(None, ()), upstream.peers[1])

    def test_take_over(self) -> None:
        """
        One upstream takes the place of another when it is started, and not before; outages go on.
        """
        one, two, _ = self.upstream.peers
        for _ in range(5):
            self.upstream.failed(one, REFUSED)
        after = self.make(self.upstream.roster, slow_start=Duration(10))
        after.members([self.server(1, weight=3), self.server(2), self.server(5)])
        self.assertEqual((one.weight, self.upstream.roster.upstream), (1, self.upstream))
        after.start()
        self.upstream.stop()
        self.assertEqual((one.weight, one.state, two.state), (3, "out", "up"))
        self.assertEqual([peer.share for peer in after.peers], [30, 10, 1])
        self.advance(10.5)
        self.assertEqual((one.state, one.share), ("up", 3))
        self.upstream.failed(two, REFUSED)  # by a request that began before
        self.assertEqual(two.failures, 1)
        after.stop()
        self.assertEqual(len(self.ticker), 0)

    def test_slow_start(self) -> None:
        """
        Who comes back has a tenth of its share, and ten tenths after the time; others are not touched.
        """
        self.upstream = self.make(slow_start=Duration(20))
        self.upstream.members([self.server(1), self.server(2)])
        one, two = self.upstream.peers
        self.assertEqual((one.share, two.share), (10, 10))
        for out, back in (
            (lambda: self.upstream.set_health(one, False, "x"), lambda: self.upstream.set_health(one, True)),
            (lambda: self.upstream.trip(one, True), lambda: self.upstream.trip(one, False)),
            (
                lambda: self.upstream.give_order(one, Order(state="disabled")),
                lambda: self.upstream.give_order(one, Order()),
            ),
        ):
            out()
            back()
            seen = []
            for _ in range(11):
                seen.append(one.share)
                self.advance(2)
            self.assertEqual(seen[0], 1)
            self.assertEqual(seen, sorted(seen))
            self.assertEqual((seen[-1], two.share, len(self.ticker)), (10, 10, 0))
            self.assertIn(5, seen)
        self.upstream.give_order(one, Order(state="draining"))
        self.upstream.give_order(one, Order())
        self.assertEqual(one.share, 10)


class ControlTests(GroupCase):
    """
    What an operator does.
    """

    def setUp(self) -> None:
        super().setUp()
        self.control = Control(lambda: {"app": self.upstream})

    def test_orders(self) -> None:
        """
        Drain, disable, enable and weight say what became of it, and survive everything.
        """
        (state,) = self.control.drain("app", "10.0.0.1:80")["servers"]
        self.assertEqual((state["state"], state["used"]), ("draining", False))
        self.control.weigh("app", "10.0.0.1:80", 5)
        self.control.disable("app", "10.0.0.2:80")
        self.upstream.members([self.server(3)])
        self.upstream.members([self.server(1), self.server(2), self.server(3, backup=True)])
        after = self.make(self.upstream.roster, keepalive=3)
        after.members([self.server(1), self.server(2), self.server(3, backup=True)])
        after.start()
        self.upstream = after
        states = self.control.state()["app"]["servers"]
        self.assertEqual([each["state"] for each in states], ["draining", "disabled", "up"])
        self.assertEqual([each["weight"] for each in states], [5, 1, 1])
        self.assertEqual(states[0]["by_hand"], {"state": "draining", "weight": 5})
        self.control.enable("app", "*")
        self.control.weigh("app", "*", None)
        self.assertEqual(self.labels(), ["10.0.0.1", "10.0.0.2"])
        self.assertEqual([peer.weight for peer in self.upstream.peers], [1, 1, 1])

    def test_plain(self) -> None:
        """
        What it says is JSON.
        """
        self.upstream.set_health(self.upstream.peers[0], False, "status 503")
        state = json.loads(json.dumps(self.control.state("app")))["app"]
        self.assertEqual((state["waiting"], state["idle"]), (0, 0))
        self.assertEqual(state["servers"][0]["last_error"], "status 503")

    def test_wrong(self) -> None:
        """
        Who is not there is said, with who is; a weight is a number.
        """
        error = self.assertRaises(ConfigError, self.control.drain, "ap", "10.0.0.1:80")
        self.assertIn("there is no upstream 'ap'; one of: app", str(error))
        error = self.assertRaises(ConfigError, self.control.drain, "app", "10.0.0.9:80")
        self.assertIn("one of: 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80", str(error))
        self.assertRaises(ConfigError, self.control.state, "ap")
        for weight in (0, -1, True, "3", 10**7):
            self.assertRaises(ConfigError, self.control.weigh, "app", "*", weight)


class Waiter:
    """
    Waits, and writes down what comes of it.
    """

    def __init__(self, case: QueueTests, name: str, useless: int = 0) -> None:
        self.case = case
        self.name = name
        self.useless = useless

    def place_free(self) -> None:
        if self.useless:
            self.useless -= 1
            self.case.queue.enter(self)
            return
        self.case.room -= 1
        self.case.story.append(self.name)

    def give_up(self, error: ProxyError) -> None:
        self.case.story.append(f"{self.name}: {error.reason.word}")


class QueueTests(SynchronousTestCase):
    """
    First come, first served.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)
        self.queue = Queue(self.ticker)
        self.queue.size, self.queue.timeout = 4, 5.0
        self.room = 0
        self.story: list[str] = []

    def enter(self, names: str, **more: Any) -> list[Waiter]:
        waiters = [Waiter(self, name, **more) for name in names]
        self.assertTrue(all(self.queue.enter(waiter) for waiter in waiters))
        return waiters

    def free(self, room: int = 1) -> None:
        self.room = room
        self.queue.advance(lambda: self.room > 0)

    def test_order(self) -> None:
        """
        One place serves one, the first; two serve two.
        """
        _, b, _, _ = self.enter("abcd")
        self.queue.leave(b)
        self.queue.leave(b)
        self.free()
        self.assertEqual(self.story, ["a"])
        self.free(2)
        self.assertEqual((self.story, len(self.queue), len(self.ticker)), (["a", "c", "d"], 0, 0))

    def test_full(self) -> None:
        """
        One too many does not come in.
        """
        self.enter("abcd")
        self.assertFalse(self.queue.enter(Waiter(self, "e")))
        self.queue.deadline_passed()

    def test_no_use(self) -> None:
        """
        Who cannot use a place keeps its own, and its time, and lets others by.
        """
        self.enter("a", useless=1)
        self.reactor.advance(2)
        self.enter("b")
        self.free()
        self.assertEqual(self.story, ["b"])
        self.reactor.advance(3.25)
        self.assertEqual(self.story, ["b", "a: connection_limit_reached"])

    def test_time(self) -> None:
        """
        Each waits its own time.
        """
        self.enter("a")
        for _ in range(8):
            self.reactor.advance(0.25)
        self.enter("b")
        for _ in range(13):
            self.reactor.advance(0.25)
        self.assertEqual(self.story, ["a: connection_limit_reached"])
        for _ in range(8):
            self.reactor.advance(0.25)
        self.assertEqual(len(self.story), 2)
        self.assertEqual(len(self.ticker), 0)
