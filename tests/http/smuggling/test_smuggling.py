"""
No request is smuggled past the proxy: tests of the whole way from a client's bytes to an upstream server's.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.http.smuggling.cases import CASES, SAME, As, Broken, Case, G
from tests.http.smuggling.families import FAMILIES
from tests.http.smuggling.oracle import Request, Seen, proxied

#: What we take out of every head, or say in it.
_OURS = frozenset(
    (
        *(b"transfer-encoding", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"),
        b"x-request-id",
    )
)

#: Byte by byte is how the shorter ones are sent too.
_SHORT = 3000


def by_h11(data: bytes) -> list[Request]:
    """
    The requests that h11 reads from a client.
    """
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    seen: list[Request] = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            seen.append(Request(b"", event.method, event.target, list(event.headers)))
        elif isinstance(event, h11.Data):
            seen[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            seen[-1].trailers = list(event.headers)
            if connection.their_state is not h11.DONE:
                return seen
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return seen
            connection.start_next_cycle()
        else:
            return seen


def comparable(requests: list[Request]) -> list[object]:
    """
    What of requests must be the same on both sides.
    """
    return [
        (each.method, each.target, [pair for pair in each.fields if pair[0] not in _OURS], each.body, each.trailers)
        for each in requests
    ]


class SmugglingTests(SynchronousTestCase):
    """
    The table of attempts.
    """

    def check(self, case: Case, seen: Seen, whole: bool) -> None:
        """
        Hold what was seen against the verdict.

        @param whole: it came in one read, so that what is refused has not begun to be passed on.
        """
        verdict = case.verdict
        if isinstance(verdict, int):
            if whole:
                self.assertEqual(seen.requests, [])
                self.assertEqual(seen.statuses, [verdict])
            else:
                self.assertTrue(not seen.requests or seen.pending)
                self.refused(seen.statuses, verdict)
        elif isinstance(verdict, Broken):
            self.assertEqual(len(seen.requests), 1)
            self.assertTrue(seen.pending)
            if verdict.status:
                self.refused(seen.statuses, verdict.status)
                self.assertTrue(seen.ended)
            else:
                self.assertEqual(seen.statuses, [])
        elif verdict is SAME:
            self.assertEqual(comparable(seen.requests), comparable(by_h11(case.raw)))
            self.assertEqual(seen.statuses, [200] * len(seen.requests))
        else:
            self.assertEqual([As(each.head, each.body, each.trailers) for each in seen.requests], verdict.requests)
            self.assertEqual(seen.statuses[: len(seen.requests)], [200] * len(seen.requests))
            if verdict.then:
                self.refused(seen.statuses[len(seen.requests) :], verdict.then)

    def refused(self, statuses: list[int], expected: int) -> None:
        """
        One refusal.  Whether what stands where a method should is none, or an unknown one, depends on how much of it
        has come.
        """
        alike = {400, 501} if expected in (400, 501) else {expected}
        self.assertEqual(len(statuses), 1, statuses)
        self.assertIn(statuses[0], alike)

    def test_table(self) -> None:
        """
        Each attempt is refused, or passed on as exactly what is written down, however its bytes are cut.
        """
        self.assertGreater(len(CASES), 300)
        random = Random(7)
        failed = []
        for case in CASES:
            raw = case.raw
            ways = [[raw]]
            if len(raw) < _SHORT:
                ways.append([raw[at : at + 1] for at in range(len(raw))])
                places = sorted(random.sample(range(len(raw) + 1), 3))
                ways.append([raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True) if a < b])
            for number, pieces in enumerate(ways):
                try:
                    self.check(case, proxied(pieces), whole=not number)
                except AssertionError as error:
                    failed.append(f"{case.group}: {case.name} (cut {number}): {error}\n{raw[:300]!r}")
        self.assertEqual(failed, [], "\n" + "\n".join(failed))

    def test_behind_plain_ones(self) -> None:
        """
        What a connection remembers of plain requests before does not change what becomes of an attempt, and none is
        passed on in a way that can be read in two.
        """
        attempts = [(f"{case.group}: {case.name}", case.raw) for case in CASES]
        attempts += [(family, raw) for family, members in FAMILIES.items() for raw in members]
        self.assertGreater(len(attempts), 800)
        first = [G(b"Cookie: a=%d" % number, b"Accept: */*") for number in range(2)]
        failed = []
        for name, raw in attempts:
            try:
                alone, behind = proxied([raw]), proxied([*first, raw])
            except AssertionError as error:
                failed.append(f"{name}: {error}\n{raw[:300]!r}")
                continue
            if (comparable(alone.requests), alone.statuses, alone.ended, alone.pending) != (
                *(comparable(behind.requests[2:]), behind.statuses[2:], behind.ended, behind.pending),
            ):
                failed.append(f"{name}: {alone} is {behind}")
        self.assertEqual(failed, [], "\n" + "\n".join(failed))

    def test_names(self) -> None:
        """
        Each is there once.
        """
        names = [(case.group, case.name) for case in CASES]
        self.assertEqual(len(set(names)), len(names))

    _short = [case for case in CASES if len(case.raw) < 1000]

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_combined(self, data: st.DataObject) -> None:
        """
        One behind the other, a byte of them changed, cut anywhere: the upstream server still gets one unambiguous
        request after the other, which the oracle holds.
        """
        chosen = data.draw(st.lists(st.sampled_from(self._short), min_size=1, max_size=3))
        raw = bytearray(b"".join(case.raw for case in chosen))
        for _ in range(data.draw(st.integers(0, 2))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(
                st.sampled_from(list(b"\r\n\0\t :;,0aX_-\x0b\xff"))
            )
        places = sorted({0, *data.draw(st.lists(st.integers(0, len(raw)), max_size=4)), len(raw)})
        proxied([bytes(raw[a:b]) for a, b in pairwise(places)], answers=False)
