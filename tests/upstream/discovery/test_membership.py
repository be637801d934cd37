"""
Tests for twistginx.upstream.discovery.membership.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.discovery.test_names import Oracle
from tests.upstream.options import options
from twistginx.config.address import ServerAddress
from twistginx.config.schema import Server
from twistginx.net.timers import Ticker
from twistginx.upstream.causes import Causes
from twistginx.upstream.discovery.membership import Known, Membership
from twistginx.upstream.discovery.names import Names
from twistginx.upstream.pool import Upstream
from twistginx.upstream.roster import PeerMaker, Roster
from twistginx.upstream.round_robin import RoundRobin


def server(text: str, **keys: Any) -> Server:
    """
    An entry of ``servers``.
    """
    return Server(ServerAddress.parse(text), **keys)


class Source:
    """
    A provider that says what the test says.
    """

    label = "source"

    def __init__(self) -> None:
        self.finding: Any = None
        self.ended = 0

    def begin(self, finding: Any) -> None:
        """
        See IDiscovery.
        """
        self.finding = finding

    def end(self) -> None:
        """
        See IDiscovery.
        """
        self.ended += 1


class MembershipCase(SynchronousTestCase):
    """
    An upstream whose servers are found.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.ticker = Ticker(self.reactor)
        self.oracle = Oracle()
        oracle: Any = self.oracle
        self.names = Names(oracle, self.ticker)
        self.roster = Roster(self.ticker)
        self.causes = Causes()
        self.known = Known()

    def member(self, *servers: Server, source: Source | None = None, **more: Any) -> Membership:
        """
        A membership, started, with its upstream.
        """
        maker = PeerMaker(self.reactor, self.ticker, **more)
        upstream = Upstream("app", options(), (), RoundRobin(), self.ticker, maker, self.roster)
        providers = [] if source is None else [(source, self.known)]
        membership = Membership(upstream, servers, providers, self.names, self.causes)
        membership.start()
        upstream.start()
        return membership

    def labels(self, membership: Membership) -> list[str]:
        """
        Of the peers.
        """
        return [peer.label.decode() for peer in membership.upstream.peers]

    def texts(self, events: list[LogEvent]) -> list[str]:
        """
        What was logged of finding servers.
        """
        return [formatEvent(event) for event in events if event["log_namespace"] == "twistginx.discovery"]


class NameTests(MembershipCase):
    """
    Names among the servers.
    """

    def test_addresses(self) -> None:
        """
        Until a name is known it is a peer itself, and then each of its addresses is one.
        """
        membership = self.member(server("app.internal:8000", weight=3))
        self.assertEqual(self.labels(membership), ["app.internal:8000"])
        self.oracle.say("10.0.0.1", "10.0.0.2")
        self.assertEqual(self.labels(membership), ["10.0.0.1:8000", "10.0.0.2:8000"])
        self.assertEqual([peer.weight for peer in membership.upstream.peers], [3, 3])
        self.assertEqual([peer.state for peer in membership.upstream.available], ["up", "up"])

    def test_peers_stay(self) -> None:
        """
        A peer that stays is the same object, with its counters and its health.
        """
        membership = self.member(server("app.internal:8000"))
        self.oracle.say("10.0.0.1", "10.0.0.2", ttl=5)
        first, second = membership.upstream.peers
        second.begun = second.ended = 7
        membership.upstream.set_health(second, False, "ill")
        with capturedLogs() as events:
            self.reactor.pump([0.25] * 40)
            self.oracle.say("10.0.0.2", "10.0.0.3")
        self.assertIs(membership.upstream.peers[0], second)
        self.assertEqual((second.begun, second.state), (7, "down"))
        self.assertNotIn(first, membership.upstream.peers)
        self.assertEqual(self.texts(events), ["upstream app: new: 10.0.0.3:8000, gone: 10.0.0.1:8000; 2 servers"])

    def test_unresolvable(self) -> None:
        """
        A name that cannot be resolved makes a server that is down; it comes when it can be.
        """
        membership = self.member(server("app.internal:8000"), server("10.0.0.9:80"))
        self.oracle.fail("nobody answered")
        down, up = membership.upstream.peers
        self.assertEqual((down.state, down.last_error), ("down", "dns_error: nobody answered"))
        self.assertEqual(membership.upstream.available, (up,))
        self.reactor.pump([0.25] * 30)
        self.oracle.say("10.0.0.1")
        self.assertEqual(self.labels(membership), ["10.0.0.1:8000", "10.0.0.9:80"])
        self.assertEqual([peer.state for peer in membership.upstream.peers], ["up", "up"])

    def test_tls_name(self) -> None:
        """
        The certificate must be for the name, whatever its address.
        """
        membership = self.member(server("https://app.internal"))
        self.oracle.say("10.0.0.1")
        (peer,) = membership.upstream.peers
        self.assertTrue(peer.secure)
        self.assertEqual(cast(Any, peer)._tls._server_name, "app.internal")

    def test_two_servers_of_one_name(self) -> None:
        """
        A name is asked for once, whatever ports there are.
        """
        membership = self.member(server("app.internal:1"), server("app.internal:2"))
        self.assertEqual(len(self.oracle.asked), 1)
        self.oracle.say("10.0.0.1")
        self.assertEqual(self.labels(membership), ["10.0.0.1:1", "10.0.0.1:2"])

    def test_named_twice(self) -> None:
        """
        What is named twice takes twice its share.
        """
        membership = self.member(server("a.internal:1", weight=2), server("10.0.0.1:1", weight=3))
        self.oracle.say("10.0.0.1")
        (peer,) = membership.upstream.peers
        self.assertEqual(peer.weight, 5)
        self.roster = Roster(self.ticker)
        heaviest = self.member(server("a.internal:1", weight=1_000_000), server("10.0.0.1:1", weight=3))
        (peer,) = heaviest.upstream.peers
        self.assertEqual(peer.weight, 1_000_000)

    def test_stop(self) -> None:
        """
        When it has stopped, nothing is asked and nothing changes.
        """
        membership = self.member(server("app.internal:8000"))
        self.successResultOf(membership.stop())
        self.assertEqual(len(self.ticker), 0)
        self.assertEqual(self.labels(membership), ["app.internal:8000"])


class SourceTests(MembershipCase):
    """
    Servers that a provider finds.
    """

    def test_found(self) -> None:
        """
        They stand beside those of the configuration.
        """
        source = Source()
        membership = self.member(server("10.0.0.9:80", backup=True), source=source)
        source.finding.found(["10.0.0.1:80", {"to": "10.0.0.2:80", "weight": 4}])
        self.assertEqual(self.labels(membership), ["10.0.0.9:80", "10.0.0.1:80", "10.0.0.2:80"])
        self.assertEqual([peer.weight for peer in membership.upstream.peers], [1, 1, 4])
        source.finding.found([])
        self.assertEqual(self.labels(membership), ["10.0.0.9:80"])

    def test_names_among_them(self) -> None:
        """
        Names that are found are looked up, and no longer than they are there.
        """
        source = Source()
        membership = self.member(source=source)
        source.finding.found(["app.internal:80"])
        self.oracle.say("10.0.0.1")
        self.assertEqual(self.labels(membership), ["10.0.0.1:80"])
        source.finding.found(["10.0.0.2:80"])
        self.assertEqual(self.labels(membership), ["10.0.0.2:80"])
        self.assertEqual(len(self.ticker), 0)

    def test_new_options(self) -> None:
        """
        A server with another weight is the same peer.
        """
        source = Source()
        membership = self.member(source=source)
        source.finding.found(["10.0.0.1:80"])
        (peer,) = membership.upstream.peers
        source.finding.found([{"to": "10.0.0.1:80", "weight": 9, "max_connections": 5}])
        self.assertEqual(membership.upstream.peers, (peer,))
        self.assertEqual((peer.weight, peer.max_connections), (9, 5))

    def test_mistake(self) -> None:
        """
        A list with a mistake changes nothing; the log says it once, until it is right again.
        """
        source = Source()
        membership = self.member(source=source)
        source.finding.found(["10.0.0.1:80"])
        with capturedLogs() as events:
            for _ in range(3):
                source.finding.found(["10.0.0.1"])
                source.finding.missed("nobody answered")
            source.finding.found(["10.0.0.1:80"])
        self.assertEqual(self.labels(membership), ["10.0.0.1:80"])
        first, second = self.texts(events)
        self.assertIn("source: what it says cannot be used: servers.0: ", first)
        self.assertIn("its 1 servers stay", first)
        self.assertEqual(second, "upstream app: source is heard again")

    def test_broken(self) -> None:
        """
        A provider that breaks is said to; servers of the configuration are there all the same.
        """

        class Broken(Source):
            def begin(self, finding: Any) -> None:
                raise RuntimeError("no such registry")

        with capturedLogs() as events:
            membership = self.member(Server(ServerAddress.parse("10.0.0.1:80")), source=Broken())
        self.assertEqual(self.labels(membership), ["10.0.0.1:80"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn("source: it broke: RuntimeError: no such registry", self.texts(events)[1])
        self.assertEqual(membership.report()[0]["error"], "it broke: RuntimeError: no such registry")

    def test_nothing_yet(self) -> None:
        """
        An upstream without servers has none to pick.
        """
        source = Source()
        membership = self.member(source=source)
        source.finding.missed("nobody answered")
        self.assertIsNone(membership.upstream.pick(None, ()))

    def test_reload(self) -> None:
        """
        When the configuration is another, what was found stays known, and the peers stay, until the provider says more.
        """
        first = Source()
        before = self.member(source=first)
        first.finding.found(["10.0.0.1:80", "app.internal:80"])
        self.oracle.say("10.0.0.7")
        peers = before.upstream.peers
        second = Source()
        after = self.member(source=second)
        self.successResultOf(before.stop())
        before.upstream.stop()
        self.assertEqual(first.ended, 1)
        self.assertEqual(after.upstream.peers, peers)
        self.assertEqual([peer.state for peer in peers], ["up", "up"])
        self.assertEqual(len(self.oracle.asked), 1)
        second.finding.found(["10.0.0.1:80"])
        self.assertEqual(after.upstream.peers, peers[:1])

    def test_report(self) -> None:
        """
        Who says what, and who could not be asked.
        """
        source = Source()
        membership = self.member(server("app.internal:1"), source=source)
        source.finding.found(["10.0.0.1:80"])
        source.finding.missed("nobody answered")
        self.oracle.say("10.0.0.7")
        self.assertEqual(
            membership.report(),
            [
                {"source": "source", "servers": ["10.0.0.1:80"], "error": "nobody answered"},
                {"name": "app.internal", "addresses": ["10.0.0.7"], "error": ""},
            ],
        )
