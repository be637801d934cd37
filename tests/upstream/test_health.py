"""
Tests for twistginx.upstream.health, with a clock.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from tests.upstream.test_pool import PoolCase
from twistginx.config.address import ServerAddress
from twistginx.config.schema import Health
from twistginx.config.units import Duration
from twistginx.errors import ProxyError
from twistginx.net.board import Board
from twistginx.upstream.causes import Causes
from twistginx.upstream.health import HealthChecks
from twistginx.upstream.health_check import IllError
from twistginx.upstream.peer import Peer


class HealthCase(PoolCase):
    """
    An upstream of two peers, whose checks the test answers.

    :ivar cancelled: the peers whose checks nobody wanted any more.
    :ivar asked: the peers that were checked and the Deferreds of what the test will say, in order.
    """

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[Peer, Deferred[None]]] = []
        self.cancelled: list[Peer] = []
        self.causes = Causes()
        self.board = Board()
        self.checks = self.checks_of(self.board)

    def checks_of(self, board: Board, **config: Any) -> HealthChecks:
        """
        Checks of the upstream.
        """

        def check(peer: Peer, host: bytes) -> Deferred[None]:
            said: Deferred[None] = Deferred(lambda _: self.cancelled.append(peer))
            self.asked.append((peer, said))
            return said

        health = Health(interval=Duration(5), **config)
        return HealthChecks(self.upstream, health, check, self.ticker, self.causes, board, lambda peer: (peer, b"app"))

    def say(self, **said: str) -> None:
        """
        Answer all checks that wait: ``p9001="ill"``; who is not mentioned is well.
        """
        asked, self.asked = self.asked, []
        for peer, answer in asked:
            why = said.get(f"p{peer.label.decode().rpartition(':')[2]}")
            if why is None:
                answer.callback(None)
            else:
                answer.errback(Failure(IllError(why)))

    def states(self) -> list[str]:
        """
        Of the peers.
        """
        return [peer.state for peer in self.upstream.peers]


class HealthTests(HealthCase):
    """
    Servers are checked again and again.
    """

    def test_quick_start(self) -> None:
        """
        All are checked within a second, and the first check decides.
        """
        self.checks.start()
        self.assertEqual(self.states(), ["up", "up"])
        self.advance(1)
        self.assertEqual({peer for peer, _ in self.asked}, set(self.peers))
        with capturedLogs() as events:
            self.say(p9001="it answered 503, not 200-399")
        self.assertEqual(self.states(), ["down", "up"])
        self.assertEqual(
            [formatEvent(event) for event in events], ["app: 127.0.0.1:9001 is down: it answered 503, not 200-399"]
        )

    def test_rise_and_fall(self) -> None:
        """
        Then it takes ``fall`` and ``rise`` in a row.
        """
        self.checks.start()
        self.advance(1)
        self.say()
        story = []
        for well in (False, False, True, False, False, False, True, True):
            self.advance(6)
            self.say(**({} if well else {"p9001": "ill"}))
            story.append(self.states()[0])
        self.assertEqual(story, ["up"] * 5 + ["down", "down", "up"])

    def test_interval(self) -> None:
        """
        The next check is an interval after the end of the last, give or take a tenth.
        """
        self.checks.start()
        self.advance(1)
        self.say()
        self.advance(4.25)
        self.assertEqual(self.asked, [])
        self.advance(1.75)
        self.assertEqual(len(self.asked), 2)
        self.advance(30)
        self.assertEqual(len(self.asked), 2)

    def test_last_error(self) -> None:
        """
        What is said last of a server that is down is what is known.
        """
        self.checks.start()
        self.advance(1)
        self.say(p9001="one")
        self.advance(6)
        with capturedLogs() as events:
            self.say(p9001="two")
        self.assertEqual((self.peers[0].state, self.peers[0].last_error), ("down", "two"))
        self.assertEqual(events, [])

    def test_proxy_error(self) -> None:
        """
        Failures of connections are said without the name that the log says already.
        """
        self.checks.start()
        self.advance(1)
        for peer, answer in self.asked:
            answer.errback(ProxyError("connection_refused", f"{peer.label.decode()}: connection refused"))
        self.assertEqual(self.peers[0].last_error, "connection_refused: connection refused")

    def test_newcomer(self) -> None:
        """
        A server that joins others is used when it has passed its first check, which is at once.
        """
        self.checks.start()
        self.advance(1)
        self.say()
        third = Peer(ServerAddress.parse("127.0.0.1:9003"), self.reactor, self.ticker)
        with capturedLogs() as events:
            self.upstream.replace([*self.peers, third])
            self.advance(0.5)
        self.assertEqual(
            [(event["log_level"].name, formatEvent(event)) for event in events],
            [("info", "app: 127.0.0.1:9003 is checked before it is used")],
        )
        self.assertEqual((third.state, [peer for peer, _ in self.asked]), ("down", [third]))
        self.say()
        self.assertEqual(third.state, "up")

    def test_ill_newcomer(self) -> None:
        """
        When its first check fails, the log says what is wrong with it, once.
        """
        self.checks.start()
        self.advance(1)
        self.say()
        third = Peer(ServerAddress.parse("127.0.0.1:9003"), self.reactor, self.ticker)
        with capturedLogs() as events:
            self.upstream.replace([*self.peers, third])
            for _ in range(3):
                self.advance(6)
                self.say(p9003="connection_refused")
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["app: 127.0.0.1:9003 is checked before it is used", "app: 127.0.0.1:9003 is down: connection_refused"],
        )

    def test_nobody_else(self) -> None:
        """
        Where nobody else is up, it is used at once.
        """
        self.checks.start()
        self.advance(1)
        self.say(p9001="ill", p9002="ill")
        third = Peer(ServerAddress.parse("127.0.0.1:9003"), self.reactor, self.ticker)
        self.upstream.replace([*self.peers, third])
        self.advance(0.5)
        self.assertEqual(third.state, "up")

    def test_leaver(self) -> None:
        """
        Who leaves is not checked any more.
        """
        self.checks.start()
        self.advance(1)
        self.upstream.replace(self.peers[1:])
        self.advance(0.5)
        self.assertEqual(self.cancelled, self.peers[:1])
        self.assertEqual([each["server"] for each in self.checks.report()], ["127.0.0.1:9002"])

    def test_stop(self) -> None:
        """
        When checks end, nothing is left of them.
        """
        self.checks.start()
        self.advance(1)
        self.say(p9001="ill")
        self.advance(6)
        self.checks.stop()
        self.assertEqual(self.states(), ["up", "up"])
        self.assertEqual(len(self.ticker), 0)
        self.assertEqual(set(self.cancelled), set(self.peers))

    def test_reload(self) -> None:
        """
        Who was down stays down when the configuration is another, until it has been checked.
        """
        self.checks.start()
        self.advance(1)
        self.say(p9001="ill")
        after = self.checks_of(self.board, fall=1)
        after.start()
        self.checks.stop()
        self.assertEqual(self.states(), ["down", "up"])
        self.advance(1)
        self.say()
        self.assertEqual(self.states(), ["up", "up"])

    def test_fault(self) -> None:
        """
        A fault of ours is logged, and says nothing of the server.
        """
        self.checks.start()
        self.advance(1)
        for _, answer in self.asked:
            answer.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.states(), ["up", "up"])
        self.asked.clear()
        self.advance(6)
        self.assertEqual(len(self.asked), 2)

    def test_report(self) -> None:
        """
        What is known of each.
        """
        self.checks.start()
        self.advance(1)
        self.say(p9001="ill")
        first, second = self.checks.report()
        self.assertEqual((first["health"], first["failed"], first["passed"], first["error"]), ("down", 1, 0, "ill"))
        self.assertEqual((second["health"], second["failed"], second["passed"], second["error"]), ("up", 0, 1, ""))


class WorkersTests(HealthCase):
    """
    Several workers: one checks, and tells the others.
    """

    def setUp(self) -> None:
        super().setUp()
        self.other = Board()
        self.other.leads = False
        self.board.tell = self.other.hear

    def test_listener(self) -> None:
        """
        Who does not lead checks nobody that the leader has anything to say of.
        """
        self.checks.start()
        self.advance(1)
        self.say()
        self.checks.stop()
        self.checks_of(self.other).start()
        self.advance(60)
        self.assertEqual(self.asked, [])

    def test_unknown_to_the_leader(self) -> None:
        """
        What names and registries say to one worker they may not have said to the leader, or not yet: who has a server
        that the leader says nothing of checks it itself, keeps that to itself, and believes the leader again when it
        speaks.
        """
        first, second = self.peers
        listener = self.checks_of(self.other)
        self.board.broadcast("health/app/127.0.0.1:9001", "")
        self.upstream.replace([first])
        listener.start()
        self.upstream.replace([first, second])
        self.advance(1)
        self.assertEqual((self.states(), self.asked), (["up", "down"], []))
        self.advance(6)
        self.assertEqual([peer for peer, _ in self.asked], [second])
        self.say()
        self.assertEqual(self.states(), ["up", "up"])
        self.assertNotIn("health/app/127.0.0.1:9002", self.other.latest)
        self.board.broadcast("health/app/127.0.0.1:9002", "ill")
        self.assertEqual(self.states(), ["up", "down"])
        self.advance(20)
        self.assertEqual(self.asked, [])
        self.board.broadcast("health/app/127.0.0.1:9002", None)
        self.advance(12)
        self.assertEqual([peer for peer, _ in self.asked], [second])

    def test_told(self) -> None:
        """
        What the leader concludes the others take over; and those that come later are told as well.
        """
        self.checks.start()
        self.advance(1)
        self.say(p9001="ill")
        self.assertEqual(self.other.latest, {"health/app/127.0.0.1:9001": "ill", "health/app/127.0.0.1:9002": ""})
        self.checks.stop()
        self.assertEqual(self.states(), ["up", "up"])
        listener = self.checks_of(self.other)
        listener.start()
        self.assertEqual(self.states(), ["down", "up"])
        self.assertEqual(self.peers[0].last_error, "ill")
        self.board.broadcast("health/app/127.0.0.1:9001", "")
        self.assertEqual(self.states(), ["up", "up"])

    def test_new_leader(self) -> None:
        """
        Who leads from now on checks from now on.
        """
        self.checks_of(self.other).start()
        self.advance(2)
        self.other.leads = True
        self.advance(6)
        self.assertEqual(len(self.asked), 2)
        told: list[str] = []
        self.other.tell = lambda topic, value: told.append(topic)
        self.say()
        self.assertEqual(sorted(told), ["health/app/127.0.0.1:9001", "health/app/127.0.0.1:9002"])


class CausesTests(PoolCase):
    """
    Several may say that a server is down.
    """

    def test_all_take_back(self) -> None:
        """
        It is up when nobody says so any more.
        """
        causes = Causes()
        peer, _ = self.peers
        one, two = object(), object()
        causes.speak(self.upstream, peer, "a", one, "first")
        causes.speak(self.upstream, peer, "b", two, "second")
        causes.take_back(self.upstream, peer, "b", two)
        self.assertEqual((peer.state, peer.last_error), ("down", "first"))
        causes.take_back(self.upstream, peer, "a", one)
        self.assertEqual(peer.state, "up")

    def test_only_who_spoke_last(self) -> None:
        """
        Who was replaced cannot take back what its successor says.
        """
        causes = Causes()
        peer, _ = self.peers
        before, after = object(), object()
        causes.speak(self.upstream, peer, "a", before, "first")
        causes.speak(self.upstream, peer, "a", after, "second")
        causes.take_all_back(self.upstream, "a", before)
        self.assertEqual(peer.state, "down")
        causes.take_all_back(self.upstream, "a", after)
        self.assertEqual(peer.state, "up")
