"""
Tests for L{twistginx.policies.rate_limit}, and of the keys that all limits have.
"""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.http.conversation import Answer, answers
from twistginx.errors import ConfigError, ProxyError
from twistginx.interfaces import IPolicyModule
from twistginx.policies import rate_limit
from twistginx.policies.limitkey import network_of
from twistginx.registry import Plugin
from twistginx.shared.local import LocalStore
from twistginx.shared.verdict import Verdict
from twistginx.testing import Connection, MemoryServer

SITE = """
    [[site]]
    listen = "tcp:80"
    trusted_proxies = ["10.0.0.0/8"]
    [[site.route]]
    path = "/free"
    respond = {{ body = "free" }}
    [[site.route]]
    respond = {{ body = "ok" }}
    rate_limit = {limit}
"""


class LimitCase(SynchronousTestCase):
    """
    A site with limits, in memory.
    """

    def serve(self, limit: str, site: str = SITE, **options) -> MemoryServer:
        self.server = MemoryServer(site.format(limit=limit), **options)
        self.addCleanup(self.server.close)
        return self.server

    def ask(self, target: str = "/", peer: str = "192.0.2.1", **fields: str) -> Connection:
        """
        A client that has asked, and waits.
        """
        client = self.server.connect(peer=peer)
        lines = [f"GET {target} HTTP/1.1", "Host: a"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        client.send("\r\n".join([*lines, "", ""]).encode())
        return client

    def get(self, target: str = "/", peer: str = "192.0.2.1", **fields: str) -> Answer:
        """
        One answer, at once.
        """
        client = self.ask(target, peer, **fields)
        (answer,) = answers(client.take())
        client.close()
        return answer

    def statuses(self, number: int, target: str = "/", peer: str = "192.0.2.1", **fields: str) -> list[int]:
        return [self.get(target, peer, **fields).status for _ in range(number)]

    def admitted(self, number: int, target: str = "/", peer: str = "192.0.2.1", **fields: str) -> int:
        return self.statuses(number, target, peer, **fields).count(200)


class RateLimitTests(LimitCase):
    """
    What is admitted.
    """

    def test_module(self) -> None:
        """
        It is a policy's module, of the published rank, for requests and for streams.
        """
        verifyObject(IPolicyModule, rate_limit)
        self.assertEqual((rate_limit.rank, rate_limit.many), (400, True))
        self.assertEqual(rate_limit.applies_to, {"http", "stream"})

    def test_parallel(self) -> None:
        """
        1,000 requests that are there at the same time, against 10/s with a burst of 20: 20, and 10 a second later.
        """
        server = self.serve('{ rate = "10/s", burst = 20 }')
        clients = [server.connect() for _ in range(1000)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        said = [answers(client.take())[0].status for client in clients]
        self.assertEqual((said.count(200), said.count(429)), (20, 980))
        server.advance(1)
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual([answers(client.take())[0].status for client in clients].count(200), 10)

    def test_refusal(self) -> None:
        """
        One too many is told when it may come again, and what the limit is.
        """
        self.serve('{ rate = "10/min", burst = 2, per = "api" }')
        self.assertEqual(self.statuses(2), [200, 200])
        refused = self.get()
        self.assertEqual(refused.status, 429)
        self.assertEqual(refused.get(b"Retry-After"), b"6")
        self.assertEqual(refused.get(b"RateLimit"), b'"api";r=0;t=6')
        self.assertEqual(refused.get(b"RateLimit-Policy"), b'"api";q=2;w=12')
        self.assertTrue((refused.get(b"Proxy-Status") or b"").startswith(b"twistginx; error=rate_limited"))
        self.assertEqual(self.server.records[-1][1].reason, "rate_limited")
        self.server.advance(5.75)
        self.assertEqual(self.get().get(b"Retry-After"), b"1")
        self.server.advance(0.25)
        self.assertEqual(self.statuses(2), [200, 429])

    def test_shorthand(self) -> None:
        """
        A text is the rate, and as many as it names may come at once.
        """
        self.serve('"5/s"')
        self.assertEqual(self.admitted(9), 5)

    def test_503(self) -> None:
        """
        503, where that is asked for.
        """
        self.serve('{ rate = "1/s", status = 503 }')
        self.assertEqual(self.statuses(2), [200, 503])
        self.assertEqual(self.server.records[-1][1].status, 503)

    def test_other_routes(self) -> None:
        """
        A route without a limit has none.
        """
        self.serve('"1/h"')
        self.statuses(3)
        self.assertEqual(self.admitted(5, "/free"), 5)

    def test_headers(self) -> None:
        """
        With C{headers}, every response tells how the client stands, and once.
        """
        self.serve('{ rate = "10/s", burst = 3, headers = true }')
        told = [self.get().get(b"RateLimit") for _ in range(4)]
        self.assertEqual(told, [b'"default";r=2', b'"default";r=1', b'"default";r=0;t=1', b'"default";r=0;t=1'])
        self.assertEqual(self.get().get(b"RateLimit-Policy"), b'"default";q=3;w=1')

    def test_silent(self) -> None:
        """
        Without it, nobody is told but who is refused.
        """
        self.serve('"2/s"')
        self.assertIsNone(self.get().get(b"RateLimit"))

    def test_dry_run(self) -> None:
        """
        A dry run refuses nothing, and says so, though not a thousand times.
        """
        self.serve('{ rate = "1/h", dry_run = true }')
        told = []
        route = self.server.generation.sites[0].routes[1]  # type: ignore[union-attr]
        dry = route.admit[0].__self__._dry
        self.patch(dry._log, "info", lambda *_, **more: told.append((more["count"], more["client"])))
        self.assertEqual(self.admitted(50), 50)
        self.server.advance(10)
        self.get()
        self.assertEqual(told, [(1, "192.0.2.1"), (49, "192.0.2.1")])
        self.assertEqual(dry.refused, 50)

    def test_array(self) -> None:
        """
        Of several limits all must agree.
        """
        self.serve('[{ rate = "100/s", burst = 3 }, { rate = "1/h", burst = 4, key = "all" }]')
        self.assertEqual(self.admitted(5), 3)
        self.assertEqual(self.admitted(5, peer="192.0.2.2"), 1)

    def test_array_takes_nothing(self) -> None:
        """
        Who is refused by one limit takes nothing of another: one client alone does not use up what all share.
        """
        self.serve('[{ rate = "1/h", burst = 5, key = "all" }, { rate = "1/h", burst = 2 }]')
        self.assertEqual(self.admitted(20), 2)
        self.assertEqual(self.admitted(20, peer="192.0.2.2"), 2)
        self.assertEqual(self.admitted(20, peer="192.0.2.3"), 1)
        self.assertEqual(self.admitted(20, peer="192.0.2.4"), 0)

    def test_reload(self) -> None:
        """
        A reload forgets nothing, wherever the route has moved to; a limit that was changed is the new one.
        """
        server = self.serve('{ rate = "1/h", burst = 2 }')
        self.assertEqual(self.admitted(3), 2)
        new = '    [[site.route]]\n    path = "/new"\n    respond = {{}}\n'
        moved = SITE.replace("    [[site.route]]\n", new + "    [[site.route]]\n", 1)
        server.load(moved.format(limit='{ rate = "1/h", burst = 2 }'))
        self.assertEqual(self.admitted(3), 0)
        server.load(moved.format(limit='{ rate = "10/s", burst = 5 }'))
        self.assertEqual(self.admitted(1), 0)  # who had used up the old one begins the new one with nothing
        server.advance(0.5)
        self.assertEqual(self.admitted(9), 5)

    def test_bounded(self) -> None:
        """
        The memory is bounded by C{[shared]}.
        """
        self.serve('"1/h"', '    [shared]\n    size = "1MiB"\n' + SITE)
        (store,) = [kept for kept in self.server.runtime.kept.values() if isinstance(kept, LocalStore)]
        for number in range(9000):
            store.take(b"%d" % number, 1.0, 1.0, 0.0)
        self.assertEqual(len(store), 4096)


class ExplainTests(LimitCase):
    """
    What C{twistginx explain} is told.
    """

    SITE = """
        [[site]]
        listen = "tcp:80"
        [[site.route]]
        respond = {{}}
        rate_limit = {{ rate = "10/s", burst = 20, delay = "500ms", exempt = "192.0.2.7" }}
        concurrency = {{ limit = 5, status = 503, dry_run = true }}
        bandwidth = {{ rate = "1MB/s", after = "10MB", upload = "1KiB/s", key = "{{client}}" }}
    """

    def test_explain(self) -> None:
        """
        What would be done, and nothing is counted for it.
        """
        self.serve("", self.SITE)
        route = self.server.generation.sites[0].routes[0]  # type: ignore[union-attr]
        policies = [admit.__self__ for admit in route.admit]

        def said(client: bytes) -> list[str]:
            request = SimpleNamespace(client_ip=client)
            return [line for policy in policies for line in policy.explain(request)]

        self.assertEqual(
            said(b"192.0.2.1") * 2,
            [
                "admits 20 at once and 10 a second, and holds up what comes up to 0.5 s too early, else answers 429",
                "admits 5 at the same time, else answers 503 (dry run)",
                "sends 1MB/s after 10MB, which all of the same key share",
                "takes 1KiB/s of bodies, which all of the same key share",
            ]
            * 2,
        )
        self.assertEqual(said(b"192.0.2.7")[0], "the client is exempt")
        stores = [kept for kept in self.server.runtime.kept.values() if isinstance(kept, LocalStore)]
        self.assertEqual([len(store) for store in stores], [0])


class DelayTests(LimitCase):
    """
    Smoothing.
    """

    def test_smooth(self) -> None:
        """
        Those that come too early are held up, each until it is its turn, and only what would wait too long is refused.
        """
        self.serve('{ rate = "4/s", burst = 1, delay = "500ms" }')
        clients = [self.ask() for _ in range(5)]
        self.assertEqual([bool(each.take()) for each in clients[:3]], [True, False, False])
        self.assertTrue(clients[3].take().startswith(b"HTTP/1.1 429 "))
        self.assertTrue(clients[4].take().startswith(b"HTTP/1.1 429 "))
        self.server.advance(0.25)
        self.assertEqual([bool(each.take()) for each in clients], [False, True, False, False, False])
        self.server.advance(0.25)
        self.assertEqual([bool(each.take()) for each in clients], [False, False, True, False, False])

    def test_client_leaves(self) -> None:
        """
        Who leaves while he waits is waited for no more.
        """
        self.serve('{ rate = "1/s", burst = 1, delay = "5s" }')
        self.ask()
        client = self.ask()
        calls = len(self.server.reactor.getDelayedCalls())
        client.reset()
        self.assertEqual(len(self.server.reactor.getDelayedCalls()), calls - 1)
        self.assertEqual(self.server.records[-1][1].reason, "client_disconnected")


class KeyTests(LimitCase):
    """
    Whose limit it is.
    """

    def test_network(self) -> None:
        """
        IPv4 addresses stand for themselves, IPv6 ones for their /64, and those that are mapped for the IPv4 address.
        """
        for address, same in (
            (b"192.0.2.1", b"192.0.2.1"),
            (b"::ffff:192.0.2.1", b"192.0.2.1"),
            (b"2001:db8:0:1::1", b"2001:db8:0:1:ffff::9"),
            (b"2001:0DB8:0000:0001::1", b"2001:db8:0:1::"),
            (b"fe80::1%eth0", b"fe80::2"),
            (b"unix", b"unix"),
        ):
            self.assertEqual(network_of(address), network_of(same))
        self.assertNotEqual(network_of(b"2001:db8:0:1::1"), network_of(b"2001:db8:0:2::1"))

    @given(st.binary(max_size=40))
    def test_any_bytes(self, address: bytes) -> None:
        """
        It takes what there is.
        """
        self.assertIsInstance(network_of(address), bytes)

    def test_client(self) -> None:
        """
        Each client has his own; an IPv6 customer has one for all his addresses.
        """
        self.serve('"2/h"')
        self.assertEqual(self.admitted(3), 2)
        self.assertEqual(self.admitted(3, peer="192.0.2.2"), 2)
        self.assertEqual(sum(self.admitted(1, peer=f"2001:db8::{number}") for number in range(1, 6)), 2)

    def test_trusted(self) -> None:
        """
        The client is who the trusted proxy says, and a claim in X-Forwarded-For of nobody's changes nothing.
        """
        self.serve('"1/h"')
        self.assertEqual(self.statuses(2, peer="10.0.0.1", x_forwarded_for="203.0.113.1"), [200, 429])
        self.assertEqual(self.statuses(1, peer="10.0.0.1", x_forwarded_for="203.0.113.2"), [200])
        self.assertEqual(self.statuses(2, x_forwarded_for="203.0.113.7"), [200, 429])
        self.assertEqual(self.statuses(1, x_forwarded_for="203.0.113.8"), [429])

    def test_header(self) -> None:
        """
        An API key; who sends none is known by his address.
        """
        self.serve('{ rate = "2/h", key = "{header.x-api-key}" }')
        self.assertEqual(self.admitted(3, x_api_key="ann"), 2)
        self.assertEqual(self.admitted(3, x_api_key="bob", peer="192.0.2.9"), 2)
        self.assertEqual(self.admitted(3, x_api_key="ann", peer="192.0.2.9"), 0)
        self.assertEqual(self.admitted(3), 2)
        self.assertEqual(self.admitted(3, peer="192.0.2.2"), 2)

    def test_several(self) -> None:
        """
        Of several variables each counts, and none can pretend to be a part of the next.
        """
        self.serve('{ rate = "1/h", key = "{header.a}{header.b}" }')
        self.assertEqual(self.statuses(2, a="x", b="yz"), [200, 429])
        self.assertEqual(self.statuses(2, a="xy", b="z"), [200, 429])

    def test_constant(self) -> None:
        """
        A constant is one limit for all.
        """
        self.serve('{ rate = "2/h", key = "all" }')
        self.assertEqual(sum(self.admitted(1, peer=f"192.0.2.{number}") for number in range(1, 6)), 2)

    def test_no_secrets(self) -> None:
        """
        A store sees neither keys of APIs nor cookies, and nothing of more than a moderate length.
        """
        self.serve('{ rate = "2/h", key = "{header.x-api-key}" }')
        self.get(x_api_key="sesame" * 1000)
        (store,) = [kept for kept in self.server.runtime.kept.values() if isinstance(kept, LocalStore)]
        (key,) = store._tats
        self.assertNotIn(b"sesame", key)
        self.assertLess(len(key), 128)

    def test_exempt(self) -> None:
        """
        Who is exempt has no limit, by network and by list.
        """
        site = '    [networks]\n    office = ["203.0.113.0/24"]\n' + SITE
        self.serve('{ rate = "1/h", exempt = ["192.0.2.7", "office"] }', site)
        self.assertEqual(self.admitted(5, peer="192.0.2.7"), 5)
        self.assertEqual(self.admitted(5, peer="203.0.113.9"), 5)
        self.assertEqual(self.admitted(5), 1)

    def test_inherited(self) -> None:
        """
        A limit of C{[site.defaults]} is one for all routes that inherit it; one of a route is its own; those of one
        name are one, wherever they stand.
        """
        self.serve(
            "",
            """
            [[site]]
            listen = "tcp:80"
            [site.defaults]
            rate_limit = "3/h"
            [[site.route]]
            path = "/a"
            respond = {{}}
            [[site.route]]
            path = "/b"
            respond = {{}}
            [[site.route]]
            path = "/own"
            respond = {{}}
            rate_limit = "2/h"
            [[site.route]]
            path = "/one"
            respond = {{}}
            rate_limit = {{ rate = "2/h", per = "shared" }}
            [[site.route]]
            path = "/two"
            respond = {{}}
            rate_limit = {{ rate = "2/h", per = "shared" }}
            [[site.route]]
            path = "/none"
            respond = {{}}
            rate_limit = false
            """,
        )
        self.assertEqual(self.statuses(2, "/a") + self.statuses(2, "/b"), [200, 200, 200, 429])
        self.assertEqual(self.admitted(5, "/own"), 2)
        self.assertEqual(self.statuses(1, "/one") + self.statuses(2, "/two"), [200, 200, 429])
        self.assertEqual(self.admitted(5, "/none"), 5)


class StreamTests(LimitCase):
    """
    New connections.
    """

    STREAM = """
        [upstream.db]
        servers = ["127.0.0.1:5432"]
        [[stream]]
        listen = "tcp:5000"
        upstream = "db"
        rate_limit = {limit}
    """

    def test_connections(self) -> None:
        """
        One too many is closed before anybody is connected to.
        """
        server = self.serve('"2/h"', self.STREAM)
        clients = [server.connect(peer="192.0.2.1") for _ in range(3)]
        self.assertEqual([client.closed for client in clients], [False, False, True])
        self.assertEqual(len(server.connecting()), 2)
        other = server.connect(peer="192.0.2.2")
        self.assertFalse(other.closed)

    def test_dry_run(self) -> None:
        """
        Or not, in a dry run.
        """
        server = self.serve('{ rate = "1/h", dry_run = true }', self.STREAM)
        self.assertFalse(any(server.connect().closed for _ in range(3)))

    def test_unknown_key(self) -> None:
        """
        What is not known of a connection is refused at build.
        """
        error = self.assertRaises(ConfigError, self.serve, '{ rate = "1/h", key = "{header.x}" }', self.STREAM)
        self.assertIn("stream[0].rate_limit.key", str(error))

    def test_policy_for_requests(self) -> None:
        """
        A policy that is for requests alone is refused in a stream.
        """
        site = self.STREAM.replace("rate_limit = {limit}", "headers = {{}}")
        error = self.assertRaises(ConfigError, self.serve, "", site)
        self.assertIn("is for requests, and a stream has none", str(error))
        limit = '{ rate = "1/h", when = { path = "/x" } }'
        error = self.assertRaises(ConfigError, self.serve, limit, self.STREAM)
        self.assertIn("has when, which is about requests", str(error))


class SlowStore(LocalStore):
    """
    A store that answers later.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Deferred, object]] = []

    def later(self, result):
        waiting: Deferred = Deferred()
        self.asked.append((waiting, result))
        return waiting

    def take(self, *arguments, **more):
        return self.later(super().take(*arguments, **more))

    def acquire(self, *arguments, **more):
        return self.later(super().acquire(*arguments, **more))

    def answer(self, result=None) -> None:
        waiting, own = self.asked.pop(0)
        if not waiting.called:
            waiting.callback(own if result is None else result)


class SlowStoreTests(LimitCase):
    """
    A store on another machine, and one of a plugin's.
    """

    SITE = '    [shared]\n    store = "slow"\n' + SITE

    def slow(self, limit: str, site: str = "") -> SlowStore:
        self.serve(limit, site or self.SITE, plugins=[Plugin("store", "slow", "tests.policies.slow_store")])
        (store,) = [kept for kept in self.server.runtime.kept.values() if isinstance(kept, LocalStore)]
        return store  # type: ignore[return-value]

    def test_waits(self) -> None:
        """
        The request goes on when the store has decided.
        """
        store = self.slow('{ rate = "1/h", headers = true }')
        clients = [self.ask() for _ in range(2)]
        self.assertEqual([client.take() for client in clients], [b"", b""])
        store.answer()
        store.answer()
        said = [answers(client.take())[0] for client in clients]
        self.assertEqual([each.status for each in said], [200, 429])
        self.assertEqual([each.get(b"RateLimit") for each in said], [b'"default";r=0;t=3600', b'"default";r=0;t=3600'])

    def test_delay(self) -> None:
        """
        A delay that the store gives out is kept.
        """
        store = self.slow('{ rate = "1/s", delay = "2s" }')
        client = self.ask()
        store.answer(Verdict(True, 1.0, 0.0))
        self.server.advance(0.75)
        self.assertEqual(client.take(), b"")
        self.server.advance(0.25)
        self.assertEqual(answers(client.take())[0].status, 200)

    def test_away(self) -> None:
        """
        A store that fails closed answers 503, and says why.
        """
        store = self.slow('"1/s"')
        client = self.ask()
        store.asked.pop()[0].errback(ProxyError("store_away"))
        (answer,) = answers(client.take())
        self.assertEqual((answer.status, self.server.records[-1][1].reason), (503, "store_away"))

    def test_client_leaves(self) -> None:
        """
        A client that leaves meanwhile is forgotten.
        """
        store = self.slow('"1/s"')
        self.ask().reset()
        store.answer()
        self.assertEqual(self.server.records[-1][1].reason, "client_disconnected")

    def test_stream(self) -> None:
        """
        A connection is held until the store has decided, and what it has said meanwhile is not lost.
        """
        site = '    [shared]\n    store = "slow"\n' + StreamTests.STREAM
        store = self.slow('"1/h"', site)
        first, second, third = (self.server.connect() for _ in range(3))
        self.assertFalse(first.reading)
        first.send(b"hello")
        third.reset()
        self.assertEqual(self.server.connecting(), [])
        for _ in range(3):
            store.answer()
        self.assertTrue(second.closed)
        upstream = self.server.accept()
        self.assertEqual(upstream.take(), b"hello")
        first.close()
        upstream.close()


class ConfigTests(LimitCase):
    """
    What is refused, and how.
    """

    def test_bad(self) -> None:
        """
        Each mistake, where it stands.
        """
        for limit, said in (
            ('"10"', "is not a rate such as"),
            ('"10r/s"', 'is how nginx writes "10/s"'),
            ('"10/m"', 'write "10/min"'),
            ('"0/s"', "lets nothing pass"),
            ("10", 'expected a rate such as "10/s"'),
            ('{ rate = "1/s", burst = 0 }', "is 0, so that nothing could pass"),
            ('{ rate = "1/s", delay = "2m" }', "a client that waits for so long has left"),
            ('{ rate = "1/s", status = 500 }', "429 or 503"),
            ('{ rate = "1/s", exempt = ["nobody"] }', 'there is no list "nobody"'),
            ('{ rate = "1/s", key = "{nothing}" }', "unknown variable {nothing}"),
        ):
            error = self.assertRaises(ConfigError, self.serve, limit)
            self.assertIn(said, str(error), limit)
            self.assertIn("rate_limit", str(error))
