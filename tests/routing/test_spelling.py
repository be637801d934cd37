"""
How paths can be spelled, and what becomes of each: no spelling leads around a decision.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.glob import Glob
from twistginx.config.regex import Regex
from twistginx.errors import ProxyError
from twistginx.http.message import Fields, RequestHead
from twistginx.routing.conditions import One
from twistginx.routing.match import normalised
from twistginx.routing.router import Route, Site
from twistginx.routing.spelling import impossible, is_doubtful, readings, taken_for

REFUSED = "400"


def judge(request: Any) -> None:
    """
    A policy.
    """


ROUTES = (
    Route("admin", None, prefix=b"/admin", admit=(judge,)),
    Route("closed", None, prefix=b"/closed"),  # what stands before it decides nothing, its resource may: 403, say
    Route("public", None, prefix=b"/public"),
    Route("home", None, exact=b"/"),
    Route("rest", None),
)


def route_of(path: bytes, routes: tuple[Route, ...] = ROUTES) -> str | None:
    """
    The name of the route that a path is given, None for none, or C{REFUSED}.
    """
    site = Site("a", routes, Clock())
    request = SimpleNamespace(head=RequestHead(b"GET", path, b"HTTP/1.1", Fields()), matched_path=b"")
    try:
        route = site.route_for(request)
    except ProxyError as error:
        assert error.reason.word == "http_request_error", error
        return REFUSED
    return None if route is None else route.name


#: Each spelling, and what is decided.
SPELLINGS = {
    # Plain, and what stands for the same thing everywhere.
    b"/": "home",
    b"/public": "public",
    b"/public/": "public",
    b"/admin/x": "admin",
    b"/%61dmin/x": "admin",
    b"/%41dmin/x": "rest",  # case matters
    b"/public/caf%C3%A9": "public",
    b"/public/%20a%22": "public",
    b"/.well-known/x": "rest",
    b"/public/.x/..y/...": "public",
    b"/public/./x/../y": "public",
    # Dots that climb, in the open: the route is that of where they lead.
    b"/public/../closed": "closed",
    b"/public/../admin": "admin",
    b"/public/%2e%2E/admin": "admin",
    b"/public/.%2e/closed": "closed",
    b"/a/b/../../admin": "admin",
    # They lead above the root, where nothing is; not everybody stays there.
    b"/..": REFUSED,
    b"/../../admin": REFUSED,
    b"/%2e%2e/admin": REFUSED,
    b"/./..//public": REFUSED,
    b"/public/../..": REFUSED,
    b"/public//../../x": REFUSED,
    b"/..%2fpublic": REFUSED,
    b"/..;/public": REFUSED,
    b"/%252e%252e/public": REFUSED,
    b"/...": "rest",
    b"/..public": "rest",
    # They lead away from a decision: a server that does not resolve them would skip it.
    b"/admin/../public": REFUSED,
    b"/admin/%2e%2e/public": REFUSED,
    b"/closed/../public": "public",
    # Slashes: merged, unless somebody else would find a decision that was skipped.
    b"//public": "public",
    b"//closed//x": "closed",
    b"//admin": "admin",
    b"/public//x": "public",
    b"/admin/x//../../public": REFUSED,
    b"/closed/x//../../public": REFUSED,
    b"/public/x//../y": "public",
    # %2F is data of a segment, where all servers stay on the same route.
    b"/public/a%2Fb": "public",
    b"/public/a%2fb%2F..%2Fc": "public",
    b"/public%2Fx": REFUSED,
    b"/%2Fadmin": REFUSED,
    b"/admin%2Fx": REFUSED,
    b"/closed%2fx": REFUSED,
    b"/public/..%2Fadmin": REFUSED,
    b"/public/..%2Fclosed": REFUSED,
    b"/public%2F..%2Fadmin": REFUSED,
    b"/public/%2e%2e%2fadmin": REFUSED,
    b"/x%2Fy": "rest",
    # Decoded twice by somebody.
    b"/public/%252e%252e/admin": REFUSED,
    b"/public/..%252Fadmin": REFUSED,
    b"/%2561dmin": REFUSED,
    b"/public/100%25": "public",
    b"/public/%2525": "public",
    # Parameters, which some servers cut off.
    b"/public/x;v=1": "public",
    b"/public/x;a=b/y": "public",
    b"/public/..;/admin": REFUSED,
    b"/public/..;a=b/admin": REFUSED,
    b"/public/..%3B/admin": REFUSED,
    b"/admin;x=1/y": REFUSED,
    b"/closed;/y": REFUSED,
    b"/;x": REFUSED,
    b"/x;y": "rest",
    # Backslashes: no URI has one, and encoded they are data.
    b"/public\\x": REFUSED,
    b"/public/..\\admin": REFUSED,
    b"/public/a%5Cb": "public",
    b"/public/..%5cadmin": REFUSED,
    b"/public%5c..%5cclosed": REFUSED,
    b"/admin%5Cx": REFUSED,
    # Dots, slashes and backslashes of two and three bytes, which are no UTF-8.
    b"/public/%c0%ae%C0%AE/admin": REFUSED,
    b"/public/..%c0%afadmin": REFUSED,
    b"/public/%e0%80%ae.%e0%80%afadmin": REFUSED,
    b"/public%c1%9c..%C1%9Cadmin": REFUSED,
    b"/public/%c0%25ae%25c0%ae/admin": REFUSED,
    b"/public/%C3%A9%E0%A4%AE%c0": "public",
    # What can be no path.
    b"/public/%00": REFUSED,
    b"/public/x%00.html": REFUSED,
    b"/public/%": REFUSED,
    b"/public/%4": REFUSED,
    b"/public/%zz": REFUSED,
    b"/public/%%41": REFUSED,
    b"/public/%u0041": REFUSED,
}

#: From what spellings are made.
PIECES = st.sampled_from(
    (
        *(b"/", b"//", b".", b"..", b"%2e", b"%2F", b"%2f", b"%5C", b";", b";a=b", b"%25", b"2e", b"2F", b"%252e"),
        *(b"%3b", b"admin", b"public", b"closed", b"x", b"%61dmin"),
    )
)


def as_read(path: bytes, decode: int, backslash: bool, parameters: bool, merge: bool) -> bytes:
    """
    What a server makes of a path, written down again, plainly.
    """
    for _ in range(decode):
        text, path = path, b""
        while text:
            if text[:1] == b"%" and len(text) >= 3:
                path += bytes((int(text[1:3], 16),)) if all(c in b"0123456789abcdefABCDEF" for c in text[1:3]) else b"%"
                text = text[3:] if all(c in b"0123456789abcdefABCDEF" for c in text[1:3]) else text[1:]
            else:
                path, text = path + text[:1], text[1:]
    if backslash:
        path = path.replace(b"\\", b"/")
    kept: list[bytes] = []
    for segment in path.split(b"/")[1:]:
        name = segment.split(b";")[0] if parameters else segment
        if name == b"..":
            del kept[-1:]
        elif name != b"." and (name or not merge):
            kept.append(name)
    return b"/" + b"/".join(name for name in kept if name)


class SpellingTests(SynchronousTestCase):
    """
    The table, and what no table can have all of.
    """

    def test_table(self) -> None:
        """
        Each spelling has the decision that the table says.
        """
        self.assertEqual({path: route_of(path) for path in SPELLINGS}, SPELLINGS)

    def test_same_decision(self) -> None:
        """
        Where the same is decided on both sides, slashes and dots in the open may be spelled as anybody likes.
        """
        rule = (("access", "10.0.0.0/8"),)
        for own, other, expected in (
            (rule, rule, "public"),
            (rule, (("access", "all"),), REFUSED),
            (rule, (), "public"),
        ):
            routes = (
                Route("admin", None, prefix=b"/admin", admit=(judge,) if other else (), guard=other),
                Route("public", None, prefix=b"/public", admit=(judge,), guard=own),
            )
            self.assertEqual(route_of(b"/admin/../public", routes), expected)

    def test_no_route(self) -> None:
        """
        What leads nowhere is not found, unless somebody else would find something behind it.
        """
        routes = ROUTES[:1]
        self.assertIsNone(route_of(b"/x%2Fy//z", routes))
        self.assertEqual(route_of(b"/x/..%2Fadmin", routes), REFUSED)

    def test_reasons(self) -> None:
        """
        A path that cannot be one is refused with the reason.
        """
        for path, word in ((b"/%00", "NUL"), (b"/\\", "backslash"), (b"/%", "percent"), (b"/%20%2F", "")):
            self.assertIn(word, impossible(path))
            self.assertEqual(bool(word), bool(impossible(path)))

    def test_patterns_and_conditions(self) -> None:
        """
        What a pattern or a condition would decide of another reading counts as well.
        """
        admin = One(lambda request, path: path.startswith(b"/admin"), "", reads_path=True)
        for routes in (
            (Route("admin", None, pattern=Regex.parse("^/admin/"), admit=(judge,)), Route("rest", None)),
            (Route("admin", None, pattern=Glob.parse("/admin/**").regex, admit=(judge,)), Route("rest", None)),
            (Route("admin", None, condition=admin, admit=(judge,)), Route("rest", None)),
            # One route, and a decision that is for some of its paths.
            (Route("rest", None, admit=(judge,), judges=(admin,)),),
        ):
            for path in (
                b"/public/..%2Fadmin/x",
                b"/public/..;/admin/x",
                b"/%2561dmin/x",
                b"/x/%2e%2e%2fadmin/x",
                b"/admin/x/../../public",
            ):
                self.assertEqual(route_of(path, routes), REFUSED, (path, routes[0]))
            for path in (b"/public/x%2Fy", b"/public/x;v=1", b"/public//x", b"/admin/x%20y"):
                self.assertNotEqual(route_of(path, routes), REFUSED, (path, routes[0]))

    @given(st.lists(PIECES, max_size=9).map(lambda pieces: b"/" + b"".join(pieces)))
    @settings(max_examples=400, deadline=None)
    def test_no_way_around(self, path: bytes) -> None:
        """
        However a server reads a path that was let through, it is on the same route; or the routes differ by slashes and
        dots in the open only, and then no decision was skipped.
        """
        decided = route_of(path)
        if decided == REFUSED:
            return
        for decode in (1, 2):
            for backslash, parameters in ((False, False), (True, False), (True, True)):
                for merge in (True, False) if b"/.." in as_read(path, decode, backslash, False, False) else (True,):
                    reading = as_read(path, decode, backslash, parameters, merge)
                    first = next((route.name for route in ROUTES if route.matches(reading)), None)
                    self.assertEqual(first, decided, (path, reading))
        self.assertFalse(decided != "admin" and (path == b"/admin" or path.startswith(b"/admin/")), path)

    @given(st.lists(PIECES, max_size=9).map(lambda pieces: b"/" + b"".join(pieces)))
    @settings(max_examples=200, deadline=None)
    def test_doubtless(self, path: bytes) -> None:
        """
        A path without anything doubtful has one reading: the normalised one.
        """
        if not is_doubtful(path) and not impossible(path):
            self.assertEqual(readings(taken_for(path)), {normalised(path)})
