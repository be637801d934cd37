"""
Tests for twistginx.upstream.discovery.lookup and nameservers, with a real name server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorFDSet, IReactorPluggableNameResolver, IReactorUDP
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.upstream.discovery.zone import NameServer, Zone
from twistginx.upstream.discovery.lookup import Found, Resolver, reachable
from twistginx.upstream.discovery.nameservers import Answer, ResolveError, ask


class ZoneCase(TestCase):
    """
    A name server.
    """

    timeout = 10

    def setUp(self) -> None:
        self.zone = Zone()
        self.server = NameServer(reactor, self.zone)
        self.addCleanup(self.server.stop)
        self.resolver = Resolver(reactor, (self.server.address,))

    def look_up(self, name: str) -> Deferred[Found]:
        """
        The addresses of a name.
        """
        return ensureDeferred(self.resolver.look_up(name))


class LookUpTests(ZoneCase):
    """
    What a name is.
    """

    async def test_both_families(self) -> None:
        """
        A and AAAA are asked for once each, and the shorter time to live holds.
        """
        self.zone.set(
            "app.internal", dns.Record_A("10.0.0.1", 30), dns.Record_A("10.0.0.2", 30), dns.Record_AAAA("::1", 20)
        )
        found = await self.look_up("app.internal")
        self.assertEqual(found, Found((("10.0.0.1", "10.0.0.2"), ("::1",)), 20))
        self.assertEqual(sorted(self.zone.asked), [("app.internal", dns.A), ("app.internal", dns.AAAA)])

    async def test_one_family(self) -> None:
        """
        A name without IPv6 has none.
        """
        self.zone.set("app.internal", dns.Record_A("10.0.0.1", 7))
        self.assertEqual(await self.look_up("app.internal"), Found((("10.0.0.1",), ()), 7))

    async def test_alias(self) -> None:
        """
        What a CNAME leads to counts, and so does its time to live.
        """
        self.zone.set("app.internal", dns.Record_CNAME("real.internal", 6), dns.Record_A("10.0.0.1", 30))
        self.assertEqual(await self.look_up("app.internal"), Found((("10.0.0.1",), ()), 6))

    async def test_broken_family(self) -> None:
        """
        A family that cannot be looked up is not known; it is not empty.
        """
        self.zone.set("app.internal", dns.Record_A("10.0.0.1", 30))
        self.zone.broken = {dns.AAAA}
        found = await self.look_up("app.internal")
        self.assertEqual(found.families, (("10.0.0.1",), None))
        self.assertIn("failed", found.failure)

    async def test_no_such_name(self) -> None:
        """
        The error says so.
        """
        with self.assertRaisesRegex(ResolveError, "there is no such name"):
            await self.look_up("nobody.internal")

    async def test_no_address(self) -> None:
        """
        A name that has neither is no better.
        """
        self.zone.set("app.internal")
        with self.assertRaisesRegex(ResolveError, "or it has no address"):
            await self.look_up("app.internal")

    async def test_failing_server(self) -> None:
        """
        The error names the server and what it did.
        """
        self.zone.broken = {dns.A, dns.AAAA}
        host, port = self.server.address
        with self.assertRaisesRegex(ResolveError, f"{host}:{port} failed"):
            await self.look_up("app.internal")

    async def test_next_server(self) -> None:
        """
        Where one server is not there, the next one answers.
        """
        absent = NameServer(reactor, Zone())
        await absent.stop()
        self.zone.set("app.internal", dns.Record_A("10.0.0.1", 30))
        self.resolver = Resolver(reactor, (absent.address, self.server.address))
        self.assertEqual((await self.look_up("app.internal")).families[0], ("10.0.0.1",))

    async def test_next_server_after_failure(self) -> None:
        """
        Where one server fails, the next one answers.
        """
        other = Zone()
        other.broken = {dns.A, dns.AAAA}
        failing = NameServer(reactor, other)
        self.addCleanup(failing.stop)
        self.zone.set("app.internal", dns.Record_A("10.0.0.1", 30))
        self.resolver = Resolver(reactor, (failing.address, self.server.address))
        self.assertEqual((await self.look_up("app.internal")).families[0], ("10.0.0.1",))

    async def test_long_answer(self) -> None:
        """
        What does not fit into a datagram comes by TCP.
        """
        addresses = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(600)]
        self.zone.set("app.internal", *(dns.Record_A(address, 30) for address in addresses))
        found = await self.look_up("app.internal")
        self.assertEqual(found.families[0], tuple(addresses))
        self.assertEqual(self.zone.asked.count(("app.internal", dns.A)), 2)

    async def test_services(self) -> None:
        """
        SRV records come as they are.
        """
        self.zone.set("_http._tcp.app.internal", dns.Record_SRV(10, 5, 8000, "a.internal", 9))
        answer = await self.resolver.services("_http._tcp.app.internal")
        self.assertEqual(answer.ttl, 9)
        (record,) = answer.records
        self.assertEqual(
            (record.priority, record.weight, record.port, record.target.name), (10, 5, 8000, b"a.internal")
        )

    async def test_no_services(self) -> None:
        """
        No record is an answer, too.
        """
        self.assertEqual((await self.resolver.services("_http._tcp.app.internal")).records, ())

    def test_cancel(self) -> Any:
        """
        A question that nobody wants answered any more leaves nothing behind.
        """
        asking = Deferred.fromCoroutine(ask(reactor, [self.server.address], "app.internal", dns.A))
        asking.cancel()
        return self.assertFailure(asking, Exception)


class SystemTests(ZoneCase):
    """
    What the system's files say.
    """

    def system(self, hosts: str = "", conf: str = "") -> Resolver:
        """
        A resolver of a system with these files.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, text in (("hosts", hosts), ("resolv.conf", conf)):
            (directory / name).write_text(text)
        return Resolver(reactor, (), directory / "hosts", directory / "resolv.conf")

    def test_hosts(self) -> None:
        """
        The hosts file comes first, and is known at once.
        """
        resolver = self.system("127.0.0.1 localhost app # one\n::1 localhost\n127.0.0.2 App\n")
        self.assertEqual(
            self.successResultOf(ensureDeferred(resolver.look_up("app"))), Found((("127.0.0.1", "127.0.0.2"), ()), 5)
        )
        found = self.successResultOf(ensureDeferred(resolver.look_up("localhost")))
        self.assertEqual(found.families, (("127.0.0.1",), ("::1",)))

    async def test_own_servers(self) -> None:
        """
        Servers of the configuration know nothing of the system's hosts.
        """
        self.zone.set("localhost", dns.Record_A("10.9.9.9", 30))
        self.assertEqual((await self.look_up("localhost")).families[0], ("10.9.9.9",))

    async def test_system_resolver(self) -> None:
        """
        What the name servers do not know, the system may know otherwise.
        """
        resolver = self.system("", "nameserver 127.0.0.1\n")
        asked: list[str] = []

        class Other:
            def resolveHostName(self, receiver: Any, name: str, port: int, types: Any) -> None:
                asked.append(name)
                receiver.resolutionBegan(None)
                receiver.addressResolved(type("Address", (), {"host": "10.7.7.7"}))
                receiver.resolutionComplete()

        @implementer(IReactorFDSet, IReactorUDP, IReactorPluggableNameResolver)
        class Wrapped:
            nameResolver = Other()

            def __getattr__(self, name: str) -> Any:
                return getattr(reactor, name)

        resolver = Resolver(Wrapped(), (), resolver.hosts, resolver.conf)
        self.assertEqual(await resolver.look_up("printer.local"), Found((("10.7.7.7",), ()), 30))
        self.assertEqual(asked, ["printer.local"])


class ReachableTests(SynchronousTestCase):
    """
    Which addresses are of use.
    """

    def test_order(self) -> None:
        """
        Their order is that of numbers, not that in which they come.
        """
        self.assertEqual(reachable(["10.0.0.10", "10.0.0.9", "10.0.0.9"]), ("10.0.0.9", "10.0.0.10"))

    def test_nothing_else(self) -> None:
        """
        When there is no way to any, all stay.
        """
        self.assertEqual(reachable(["2001:db8::2", "2001:db8::1"]), ("2001:db8::1", "2001:db8::2"))

    def test_nobody(self) -> None:
        """
        No address is none.
        """
        self.assertEqual(reachable(()), ())

    def test_answer(self) -> None:
        """
        An answer is a value.
        """
        self.assertEqual(Answer((), 5), Answer((), 5))
