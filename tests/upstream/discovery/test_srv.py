"""
Tests for twistginx.upstream.discovery.srv, with a real name server.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.discovery.test_lookup import ZoneCase
from tests.upstream.discovery.told import Told, context
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.upstream.discovery import srv
from twistginx.upstream.discovery.nameservers import Answer, ResolveError

NAME = "_http._tcp.app.internal"


def records(*each: tuple[int, int, int, str]) -> tuple[dns.Record_SRV, ...]:
    """
    Priority, weight, port and target of each.
    """
    return tuple(dns.Record_SRV(*values, 30) for values in each)


class ServersTests(SynchronousTestCase):
    """
    Records -> servers.
    """

    def test_priorities(self) -> None:
        """
        The lowest is first choice, and the others are backups; weights are as they are, and none is 1.
        """
        found = srv.servers_of(
            records((20, 5, 80, "c.internal"), (10, 0, 8001, "B.internal"), (10, 7, 8000, "a.internal")), False
        )
        self.assertEqual(
            [(str(each.to), each.weight, each.backup) for each in found],
            [("b.internal:8001", 1, False), ("a.internal:8000", 7, False), ("c.internal:80", 5, True)],
        )

    def test_no_service(self) -> None:
        """
        A target that is the root says that there is none.
        """
        self.assertEqual(srv.servers_of(records((0, 0, 0, "")), False), [])

    def test_tls(self) -> None:
        """
        TLS is the configuration's to say.
        """
        (found,) = srv.servers_of(records((0, 0, 443, "a.internal")), True)
        self.assertTrue(found.to.secure)

    def test_address(self) -> None:
        """
        A target may look like an address, which is no name of a host but is understood.
        """
        (found,) = srv.servers_of(records((0, 0, 80, "10.0.0.1")), False)
        self.assertEqual(str(found.to), "10.0.0.1:80")

    def test_config(self) -> None:
        """
        A name alone, or a table.
        """
        self.assertEqual(structure(NAME, srv.Config), srv.Config(NAME))
        for wrong in (7, "not a name", ""):
            self.assertRaises(Faults, structure, wrong, srv.Config)


class ServicesTests(ZoneCase):
    """
    The provider, and a real server.
    """

    async def test_found(self) -> None:
        """
        What the server says is told.
        """
        self.zone.set(NAME, *records((1, 1, 8000, "a.internal"), (1, 1, 8000, "b.internal")))
        told = Told(self.resolver)
        provider = srv.make(srv.Config(NAME), context(reactor))
        provider.begin(told)  # type: ignore[arg-type]  # it is one
        self.addCleanup(provider.end)
        self.assertEqual(await told.next(), ["a.internal:8000", "b.internal:8000"])

    async def test_nobody(self) -> None:
        """
        So is that it says nothing.
        """
        told = Told(self.resolver)
        provider = srv.make(srv.Config(NAME), context(reactor))
        provider.begin(told)  # type: ignore[arg-type]  # it is one
        self.addCleanup(provider.end)
        self.assertEqual(await told.next(), "there is no such record")


class Oracle:
    """
    A resolver that says what the test has set.
    """

    def __init__(self) -> None:
        self.answer: Any = Answer(records((1, 1, 80, "a.internal")), 20)
        self.asked = 0

    async def services(self, name: str) -> Answer:
        """
        The answer.
        """
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Answer = self.answer
        return answer


class ScheduleTests(SynchronousTestCase):
    """
    When it is asked again.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.oracle = Oracle()
        self.told = Told(self.oracle)
        context_ = context(self.clock)
        self.ticker = context_.ticker
        self.provider = srv.make(srv.Config(NAME), context_)

    def advance(self, seconds: int) -> None:
        """
        Time passes.
        """
        self.clock.pump([0.25] * seconds * 4)

    def test_time_to_live(self) -> None:
        """
        When the time to live is over.
        """
        told: Any = self.told
        self.provider.begin(told)
        self.advance(17)
        self.assertEqual(self.oracle.asked, 1)
        self.advance(6)
        self.assertEqual(self.oracle.asked, 2)

    def test_failures(self) -> None:
        """
        When it fails, soon, and then later and later.
        """
        told: Any = self.told
        self.oracle.answer = ResolveError("nobody answered")
        self.provider.begin(told)
        self.assertEqual(self.successResultOf(self.told.next()), "nobody answered")
        self.advance(6)
        self.assertEqual(self.oracle.asked, 2)
        self.advance(600)
        self.assertTrue(10 <= self.oracle.asked <= 18, self.oracle.asked)

    def test_bad_record(self) -> None:
        """
        A record that names no host is a failure like any other.
        """
        told: Any = self.told
        self.oracle.answer = Answer(records((1, 1, 80, "a b.internal")), 20)
        self.provider.begin(told)
        self.assertIn("is not the name of a host", str(self.successResultOf(self.told.next())))

    def test_end(self) -> None:
        """
        After the end nothing is asked.
        """
        told: Any = self.told
        self.provider.begin(told)
        self.provider.end()
        self.assertEqual((len(self.ticker), self.clock.getDelayedCalls()), (0, []))
