"""
Tests for the balancers: how even they are, how little changes when servers come and go, who comes back to whom.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twistginx.interfaces import IBalanceModule
from twistginx.registry import Registry
from twistginx.upstream.balance import load, moving_average
from twistginx.upstream.first import First
from twistginx.upstream.hash import Hash
from twistginx.upstream.ip_hash import IPHash
from twistginx.upstream.least_connections import LeastConnections
from twistginx.upstream.least_time import LeastTime
from twistginx.upstream.random_two import RandomTwo
from twistginx.upstream.ring import FREE, Ring, position
from twistginx.upstream.round_robin import RoundRobin


class Server:
    """
    A peer, as far as balancers know it.
    """

    def __init__(self, number: int, share: int = 10, latency: float = 0.0) -> None:
        self.label = b"10.0.0.%d:80" % number
        self.share = share
        self.begun = self.ended = 0
        self.latency = latency
        self.measured = 0.0

    @property
    def active(self) -> int:
        return self.begun - self.ended


def servers(*shares: int) -> tuple[Server, ...]:
    return tuple(Server(number, share) for number, share in enumerate(shares))


class Work:
    """
    Requests that begin and end, with the calls that an upstream makes.
    """

    def __init__(self, balancer: Any, peers: Sequence[Server]) -> None:
        self.balancer = balancer
        self.peers = peers
        self.active: deque[Server] = deque()

    def begin(self, request: Any = None, tried: Any = ()) -> Server:
        peer: Server = self.balancer.pick(self.peers, request, tried)
        peer.begun += 1
        self.active.append(peer)
        getattr(self.balancer, "began", lambda peer: None)(peer)
        return peer

    def end(self, index: int = 0) -> None:
        peer = self.active[index]
        del self.active[index]
        peer.ended += 1
        getattr(self.balancer, "ended", lambda peer: None)(peer)


def keyed(key: bytes) -> SimpleNamespace:
    return SimpleNamespace(key=key, head=object(), client_ip=b"")


def by_key(bound: float = 0.0) -> Hash:
    return Hash(lambda request: request.key, bound)


ALL: tuple[Callable[[], Any], ...] = (
    RoundRobin,
    LeastConnections,
    RandomTwo,
    LeastTime,
    First,
    IPHash,
    by_key,
    lambda: by_key(1.25),
)
some = st.lists(st.integers(1, 40), min_size=1, max_size=12)


class EveryBalancerTests(SynchronousTestCase):
    """
    What all of them promise.
    """

    def test_modules(self) -> None:
        """
        They are found by their names, and are what the contract says.
        """
        registry = Registry(())
        names = registry.names("balance")
        self.assertEqual(
            names, ["first", "hash", "ip_hash", "least_connections", "least_time", "random_two", "round_robin"]
        )
        for name in names:
            module = registry.find("balance", name)
            self.assertTrue(verifyObject(IBalanceModule, module))
            if name != "hash":
                self.assertTrue(callable(module.make(module.Config(), None).pick))

    @settings(max_examples=60, deadline=None)
    @given(some, st.sets(st.integers(0, 11)), st.integers(0, len(ALL) - 1), st.binary(max_size=8))
    def test_tried(self, shares: list[int], numbers: set[int], which: int, key: bytes) -> None:
        """
        Nobody is picked who was tried, and somebody is as long as somebody is left; then nobody.
        """
        peers = servers(*shares)
        balancer = ALL[which]()
        tried = {peers[number] for number in numbers if number < len(peers)}
        request = SimpleNamespace(key=key, head=object(), client_ip=b"10.1.2.3")
        for _ in range(len(peers) - len(tried)):
            peer = balancer.pick(peers, request, tried)
            self.assertIn(peer, peers)
            self.assertNotIn(peer, tried)
            tried.add(peer)
        self.assertIsNone(balancer.pick(peers, request, tried))
        self.assertIsNone(balancer.pick((), request, ()))

    @settings(max_examples=60, deadline=None)
    @given(some, some, st.integers(0, len(ALL) - 1))
    def test_other_peers(self, before: list[int], after: list[int], which: int) -> None:
        """
        After any change of the peers, those that are there now are picked, in the middle of any work.
        """
        work = Work(ALL[which](), servers(*before))
        requests = [SimpleNamespace(key=b"%d" % n, head=object(), client_ip=b"10.0.%d.1" % n) for n in range(30)]
        for request in requests:
            work.begin(request)
        forget = getattr(work.balancer, "forget", lambda peer: None)
        for peer in work.peers[1:]:
            forget(peer)
        work.peers = (*work.peers[:1], *servers(*after))
        for request in requests:
            self.assertIn(work.begin(request), work.peers)
            work.end()
        while work.active:
            work.end()
        self.assertEqual([peer.active for peer in work.peers], [0] * len(work.peers))


class LeastConnectionsTests(SynchronousTestCase):
    """
    ``balance = "least_connections"``.
    """

    @settings(max_examples=100, deadline=None)
    @given(some, st.lists(st.tuples(st.booleans(), st.integers(0, 1000)), max_size=120))
    def test_least(self, shares: list[int], steps: list[tuple[bool, int]]) -> None:
        """
        Whatever began and ended before, nobody has less to do, by weight, than who is picked.
        """
        work = Work(LeastConnections(), servers(*shares))
        for begins, which in steps:
            if begins or not work.active:
                least = min(map(load, work.peers))
                peer = work.balancer.pick(work.peers, None, ())
                self.assertEqual(load(peer), least)
                peer.begun += 1
                work.active.append(peer)
            else:
                work.end(which % len(work.active))

    def test_idle(self) -> None:
        """
        One request after the other is spread by weight, too.
        """
        work = Work(LeastConnections(), servers(30, 10, 10))
        counted: Counter[bytes] = Counter()
        for _ in range(500):
            counted[work.begin().label] += 1
            work.end()
        self.assertEqual(sorted(counted.values()), [100, 100, 300])

    def test_others_begin(self) -> None:
        """
        What was begun without a pick (a client with a session) counts as well.
        """
        peers = servers(10, 10)
        balancer = LeastConnections()
        balancer.pick(peers, None, ())
        peers[0].begun = peers[1].begun = 3
        peers[0].begun += 1
        self.assertIs(balancer.pick(peers, None, ()), peers[1])

    def test_memory(self) -> None:
        """
        What is void does not pile up.
        """
        work = Work(LeastConnections(), servers(*[10] * 10))
        for _ in range(3000):
            work.begin()
            if len(work.active) > 40:
                work.end()
        self.assertLess(len(work.balancer._heap), 60)


class RandomTests(SynchronousTestCase):
    """
    ``balance = "random_two"`` and ``least_time``.
    """

    def test_two(self) -> None:
        """
        The busiest of all is never picked, and the others are, by their weights.
        """
        peers = servers(10, 10, 20, 10)
        peers[3].begun = 1000
        counted = Counter(RandomTwo().pick(peers, None, ()) for _ in range(4000))
        self.assertNotIn(peers[3], counted)
        work = Work(RandomTwo(), servers(10, 10, 20))
        for _ in range(4000):
            work.begin()
        for peer in work.peers:
            self.assertLess(abs(peer.begun - 1000 * peer.share / 10), 60)

    def test_soonest(self) -> None:
        """
        Who answers sooner gets more, until what it has under way makes up for it.
        """
        fast, slow = Server(1, latency=0.01), Server(2, latency=0.04)
        work = Work(LeastTime(lambda: 0.0), (fast, slow))
        for _ in range(100):
            work.begin()
        self.assertEqual((fast.begun, slow.begun), (80, 20))

    def test_unknown(self) -> None:
        """
        Who was never asked is asked, by one request at a time.
        """
        known, unknown = Server(1, latency=0.01), Server(2)
        work = Work(LeastTime(lambda: 0.0), (known, unknown))
        for _ in range(10):
            work.begin()
        self.assertEqual(unknown.begun, 1)

    def test_forgiven(self) -> None:
        """
        Who was slow long ago is tried again; of many, any may be.
        """
        peers = tuple(Server(number, latency=0.01) for number in range(20))
        peers[0].latency = 10.0
        self.assertEqual(Counter(LeastTime(lambda: 0.0).pick(peers, None, ()) for _ in range(1000))[peers[0]], 0)
        for peer in peers[1:]:
            peer.measured = 1e6
        counted = Counter(LeastTime(lambda: 1e6).pick(peers, None, ()) for _ in range(1000))
        self.assertGreater(counted[peers[0]], 50)
        self.assertEqual(len(counted), 20)

    def test_without_answers(self) -> None:
        """
        On raw streams, where nothing is measured, the one with less to do is taken.
        """
        work = Work(LeastTime(), servers(10, 10))
        for _ in range(20):
            work.begin()
        self.assertEqual([peer.begun for peer in work.peers], [10, 10])

    def test_average(self) -> None:
        """
        The average follows the samples, sooner after a pause, and begins with the first one.
        """
        self.assertEqual(moving_average(0.0, 3.0, 1e9), 3.0)
        self.assertAlmostEqual(moving_average(1.0, 2.0, 0.0), 1.0)
        self.assertAlmostEqual(moving_average(1.0, 2.0, 1e9), 2.0)
        self.assertTrue(1.0 < moving_average(1.0, 2.0, 1.0) < moving_average(1.0, 2.0, 2.0) < 2.0)


class FullTests(SynchronousTestCase):
    """
    Some of many have been tried, or are full.
    """

    def test_looked_at(self) -> None:
        """
        A pick does not look at all of a hundred servers, also when ten of them are not to be taken.
        """
        peers = tuple(Counted(number) for number in range(100))
        for peer in peers:
            peer.begun = 2 if peer.number % 10 else 1
        full = {peer for peer in peers if not peer.number % 10}
        for make in (RoundRobin, LeastConnections, RandomTwo, LeastTime, First):
            balancer: Any = make()
            balancer.pick(peers, None, full)
            Counted.looked = 0
            picked = [balancer.pick(peers, None, full) for _ in range(200)]
            self.assertEqual(full.intersection(picked), set())
            self.assertLess(Counted.looked / 200, 40, make)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(0, 5), min_size=20, max_size=40), st.sets(st.integers(0, 39)))
    def test_least_of_the_others(self, loads: list[int], tried: set[int]) -> None:
        """
        The least connections are those of who has not been tried, and that changes nothing for the next pick.
        """
        peers = servers(*[10] * len(loads))
        balancer = LeastConnections()
        for peer, begun in zip(peers, loads, strict=True):
            peer.begun = begun
        out = {peer for number, peer in enumerate(peers) if number in tried}
        for without in (out, out, set(), out, set()):
            least = min((peer.begun for peer in peers if peer not in without), default=None)
            picked: Any = balancer.pick(peers, None, without)
            self.assertEqual(None if picked is None else picked.begun, least)
            if picked is not None:
                picked.begun += 1


class Counted(Server):
    """
    One that counts how often any is looked at.
    """

    looked = 0

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __hash__(self) -> int:
        Counted.looked += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class RingTests(SynchronousTestCase):
    """
    Consistent hashing.
    """

    keys = tuple(position(b"user-%d" % number) for number in range(3000))

    def owners(self, peers: Sequence[Server], ring: Ring | None = None) -> list[bytes]:
        ring = ring or Ring()
        return [ring.owner(peers, key, ()).label for key in self.keys]  # type: ignore[union-attr]

    def test_even(self) -> None:
        """
        Everybody has about the part that its weight says.
        """
        peers = servers(10, 10, 10, 20, 50)
        counted = Counter(self.owners(peers))
        for peer in peers:
            self.assertLess(abs(counted[peer.label] / 3000 * 100 / peer.share - 1), 0.3, peer.label)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(1, 30), min_size=2, max_size=10), st.integers(0, 9))
    def test_one_leaves(self, shares: list[int], which: int) -> None:
        """
        When one leaves, the keys of the others stay where they are; when it comes back, all is as before.
        """
        peers = servers(*shares)
        gone = peers[which % len(peers)]
        ring = Ring()
        before = self.owners(peers, ring)
        fewer = tuple(peer for peer in peers if peer is not gone)
        ring.forget(gone)
        after = self.owners(fewer, ring)
        moved = [was for was, now in zip(before, after, strict=True) if was != now]
        self.assertEqual(set(moved), {gone.label} & set(before))
        self.assertEqual(self.owners(peers, ring), before)
        # And who is left out of one request only has its keys go to the same others.
        for key, now in zip(self.keys[:100], after, strict=False):
            self.assertEqual(ring.owner(peers, key, (gone,)).label, now)  # type: ignore[union-attr]

    def test_weight_changes(self) -> None:
        """
        One that gets more weight gets keys from the others, who get none from each other: a slow start is gentle.
        """
        peers = servers(10, 10, 10, 1)
        before = self.owners(peers)
        for share in (2, 5, 10):
            peers[3].share = share
            after = self.owners(peers)
            self.assertEqual({now for was, now in zip(before, after, strict=True) if was != now}, {peers[3].label})
            before = after

    def test_everywhere_the_same(self) -> None:
        """
        Another process with the same servers, in another order, agrees.
        """
        peers = servers(*[10] * 7)
        self.assertEqual(self.owners(peers), self.owners(tuple(reversed(peers))))
        self.assertEqual(position(b"user-1"), 16559112875182747556)

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.integers(5, 20), min_size=2, max_size=6),
        st.floats(1.05, 3),
        st.lists(st.tuples(st.sampled_from([b"hot"] * 5 + [b"a", b"b", b"c"]), st.booleans()), max_size=300),
    )
    def test_bound(self, shares: list[int], bound: float, requests: list[tuple[bytes, bool]]) -> None:
        """
        Nobody gets one more than the bound allows, however popular a key is.
        """
        work = Work(by_key(bound), servers(*shares))
        total = sum(shares)
        for key, ends in requests:
            peer = work.begin(keyed(key))
            part = bound * len(work.active) * peer.share / total
            self.assertLess(peer.active - 1, max(FREE, part))
            if ends:
                work.end(len(work.active) // 2)

    def test_hot_key(self) -> None:
        """
        A key that everybody wants is shared out; without a bound it is not.
        """
        for bound, most in ((1.25, 29), (0.0, 90)):
            work = Work(by_key(bound), servers(10, 10, 10, 10))
            for _ in range(90):
                work.begin(keyed(b"hot"))
            self.assertEqual(max(peer.active for peer in work.peers), most)

    def test_popular_keys_are_remembered(self) -> None:
        """
        That a key is known to be popular changes nothing about whose it is, also when servers come and go.
        """
        peers = servers(*[10] * 30)
        balancer, forgetful = by_key(1.25), by_key(1.25)
        work = Work(balancer, peers)
        for number in range(700):
            if number == 400:
                work.peers = peers = peers[:20]
            request = keyed(b"hot" if number % 3 else b"%d" % number)
            forgetful._ring._orders.clear()
            expected = forgetful.pick(peers, request, ())
            self.assertIs(work.begin(request), expected)
            forgetful.began(expected)
        self.assertLess(len(balancer._ring._orders), 65)
        self.assertGreater(len(balancer._ring._orders), 0)

    def test_few_stay_together(self) -> None:
        """
        The parallel requests of one client are not torn apart while there is little to do.
        """
        work = Work(by_key(1.25), servers(10, 10, 10))
        self.assertEqual(len({work.begin(keyed(b"me")) for _ in range(FREE)}), 1)

    def test_heavy(self) -> None:
        """
        Weights of any size make a ring of bounded size, on which the light are not lost.
        """
        peers = servers(10_000_000, 10_000_000, 10)
        ring = Ring()
        self.owners(peers, ring)
        self.assertLess(len(ring._points), 70_000)
        self.assertEqual(ring.owner(peers, 0, peers[:2]), peers[2])


class KeyTests(SynchronousTestCase):
    """
    What is hashed.
    """

    def test_without_key(self) -> None:
        """
        Who has no key takes turns; so does a raw stream, where there are no heads.
        """
        peers = servers(10, 10, 10)
        for request in (keyed(b""), None, SimpleNamespace(client_ip=b"10.0.0.1")):
            balancer = by_key()
            self.assertEqual([balancer.pick(peers, request, ()) for _ in range(6)], [*peers, *peers])

    def test_client_as_key(self) -> None:
        """
        ``{client}`` is known of a raw stream.
        """
        peers = servers(10, 10, 10)
        balancer = Hash(lambda request: request.client_ip, 0.0, needs_head=False)
        request = SimpleNamespace(client_ip=b"10.0.0.1")
        self.assertEqual(len({balancer.pick(peers, request, ()) for _ in range(5)}), 1)

    def test_networks(self) -> None:
        """
        The first 24 bits of IPv4 and 64 of IPv6 count, or as many as is said; mapped addresses are IPv4.
        """
        usual, exact = IPHash(), IPHash(32, 128)
        for one, other, same in (
            (b"192.0.2.1", b"192.0.2.254", True),
            (b"192.0.2.1", b"192.0.3.1", False),
            (b"2001:db8::1", b"2001:db8::ffff:1", True),
            (b"2001:db8::1", b"2001:db8:0:1::1", False),
            (b"::ffff:192.0.2.1", b"192.0.2.9", True),
            (b"fe80::1%eth0", b"fe80::2", True),
        ):
            self.assertEqual(usual.position(one) == usual.position(other), same, one)
            if not one.startswith(b"::ffff"):
                self.assertNotEqual(exact.position(one), exact.position(other))
        for wrong in (b"", b"unix", b"1.2.3", b"a.b.c.d", b"::g"):
            self.assertIsNone(usual.position(wrong))

    def test_spread(self) -> None:
        """
        Neighbouring networks do not all go to one server.
        """
        peers = servers(10, 10, 10, 10)
        balancer = IPHash()
        counted = Counter(
            balancer.pick(peers, SimpleNamespace(client_ip=b"10.0.%d.7" % number), ()).label for number in range(256)
        )
        self.assertGreater(min(counted.values()), 30)
