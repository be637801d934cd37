"""
Tests for L{twistginx.routing.router}.
"""

from __future__ import annotations

from json import dumps, loads
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import NoResource, Resource

from tests.policies.answers import Answers
from twistginx.config.convert import structure
from twistginx.config.glob import Glob
from twistginx.config.networks import NetworkSet
from twistginx.config.regex import Regex
from twistginx.config.tables.match import Match
from twistginx.errors import ProxyError
from twistginx.explain.explanation import explain
from twistginx.explain.question import Question
from twistginx.http.frontend import Frontend
from twistginx.http.message import Fields, RequestHead
from twistginx.http.request import Request
from twistginx.net.timers import Ticker
from twistginx.routing.conditions import Conditions
from twistginx.routing.router import Route, Site
from twistginx.routing.spelling import leads_above, taken_for


def asked(path: bytes) -> Any:
    """
    As much of a request as the table looks at.
    """
    return SimpleNamespace(head=SimpleNamespace(path=path), matched_path=b"", route=None)


class TableTests(SynchronousTestCase):
    """
    The first route that matches, in file order, wins.
    """

    def names(self, routes: tuple[Route, ...], *paths: bytes) -> list[str | None]:
        """
        The name of the route of each path.
        """
        site = Site("x", routes, Clock())
        found = [site.route_for(asked(path)) for path in paths]
        return [None if route is None else route.name for route in found]

    def test_order(self) -> None:
        """
        An earlier one wins, however much better a later one would fit.
        """
        routes = (
            Route("ping", None, exact=b"/ping"),
            Route("api", None, prefix=b"/api"),
            Route("never", None, prefix=b"/api/v2"),
            Route("all", None),
            Route("never either", None, exact=b"/x"),
        )
        self.assertEqual(
            self.names(routes, b"/ping", b"/ping/", b"/api", b"/api/v2", b"/apix", b"/x", b"/", b"/%61pi/../api/z"),
            ["ping", "all", "api", "api", "all", "all", "all", "api"],
        )

    def test_none(self) -> None:
        """
        A path that no route matches has none; the asterisk is no path.
        """
        self.assertEqual(
            self.names((Route("a", None, exact=b"/a"), Route("/", None, exact=b"/")), b"/b", b"/", b"/a"),
            [None, "/", "a"],
        )
        self.assertEqual(self.names((Route("all", None),), b"*"), [None])
        self.assertEqual(self.names((), b"/"), [None])

    def test_matched_path(self) -> None:
        """
        The request learns the path that was matched.
        """
        request = asked(b"/a/../%62")
        Site("x", (Route("all", None),), Clock()).route_for(request)
        self.assertEqual(request.matched_path, b"/b")

    @given(
        st.lists(
            st.tuples(
                st.booleans(),
                st.lists(st.sampled_from([b"a", b"b", b"ab"]), max_size=3).map(lambda p: b"".join(b"/" + s for s in p)),
            ),
            max_size=6,
        ),
        st.lists(st.sampled_from([b"a", b"b", b"ab", b"", b".."]), max_size=4)
        .map(lambda p: b"/" + b"/".join(p))
        # Those that are refused have tests of their own: test_spelling.
        .filter(lambda path: (b"//" not in path or b".." not in path) and not leads_above(taken_for(path))),
    )
    @settings(max_examples=300, deadline=None)
    def test_index(self, table: list[tuple[bool, bytes]], path: bytes) -> None:
        """
        Looking up by first segment finds what looking at each route in turn finds.
        """
        routes = tuple(
            Route(str(number), None, exact=text or b"/") if exact else Route(str(number), None, prefix=text)
            for number, (exact, text) in enumerate(table)
        )
        request = asked(path)
        found = Site("x", routes, Clock()).route_for(request)
        plainly = next((route for route in routes if route.matches(request.matched_path)), None)
        self.assertIs(found, plainly)


def odd(request: Any, path: bytes) -> bool:
    """
    A condition.
    """
    return bool(request.odd)


class ChoiceTests(SynchronousTestCase):
    """
    Routes with patterns and conditions.
    """

    def test_captures(self) -> None:
        """
        What the pattern of the chosen route captures is the request's; not that of a route whose condition fails.
        """
        numbers = Route("numbers", None, pattern=Regex.parse("^/(?P<n>[0-9]+)$"), condition=odd)
        all_ = Route("all", None, pattern=Regex.parse("^/(.*)$"))
        site = Site("x", (numbers, all_), Clock())
        request = asked(b"/12")
        request.odd, request.captured = False, None
        self.assertIs(site.route_for(request), all_)
        self.assertEqual(request.captured, (b"/12", [(0, 3), (1, 3)], {}))
        request.odd = True
        self.assertIs(site.route_for(request), numbers)
        self.assertEqual(request.captured[2], {"n": 1})
        plain = Site("x", (Route("plain", None, prefix=b"/12"),), Clock())
        request.captured = None
        plain.route_for(request)
        self.assertIsNone(request.captured)

    def test_no_path(self) -> None:
        """
        The asterisk is no path, whatever the pattern.
        """
        route = Route("all", None, pattern=Regex.parse(".*"))
        self.assertIsNone(Site("x", (route,), Clock()).route_for(asked(b"*")))

    def test_why_not(self) -> None:
        """
        A route says why a request is not for it.
        """
        for route, reason in (
            (Route("a", None, prefix=b"/a"), "its path is /a"),
            (Route("a", None, exact=b"/a"), "its path is /a alone"),
            (Route("a", None, pattern=Regex.parse("^/a")), "its pattern is ^/a"),
            (Route("a", None), ""),
        ):
            self.assertEqual(route.why_not(asked(b"/b"), b"/b"), reason)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["exact", "prefix", "glob", "regex"]),
                st.lists(st.sampled_from(["a", "b", "ab", "c"]), max_size=4).map(lambda p: "".join("/" + s for s in p)),
                st.sampled_from([None, None, odd]),
            ),
            max_size=40,
        ),
        st.lists(st.sampled_from(["a", "b", "ab", "c", "d"]), max_size=5).map(lambda p: "/" + "/".join(p)),
        st.booleans(),
        st.booleans(),
    )
    @settings(max_examples=400, deadline=None)
    def test_index(self, table: list[tuple[str, str, Any]], text: str, slash: bool, is_odd: bool) -> None:
        """
        However many there are, of whatever kind and however deep: the first that matches is found.
        """
        routes = []
        for number, (kind, path, condition) in enumerate(table):
            if kind == "exact":
                route = Route(str(number), None, exact=path.encode() or b"/", condition=condition)
            elif kind == "prefix":
                route = Route(str(number), None, prefix=path.encode(), condition=condition)
            elif kind == "glob":
                pattern = Glob.parse(f"{path}/*b").regex
                route = Route(str(number), None, pattern=pattern, condition=condition)
            else:
                pattern = Regex.parse(f"^{path or '/'}" if number % 3 else f"{path or '/'}$")
                route = Route(str(number), None, pattern=pattern, condition=condition)
            routes.append(route)
        request = asked(text.encode() + (b"/" if slash and len(text) > 1 else b""))
        request.odd = is_odd
        site = Site("x", tuple(routes), Clock())
        found = site.route_for(request)
        plainly = next((route for route in routes if route.matches(request.matched_path, request)), None)
        self.assertIs(found, plainly)
        self.assertIs(site._first(request, request.matched_path), plainly)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"", b"/a", b"/b", b"/a/b"]),
                st.dictionaries(
                    st.sampled_from(["header", "cookie", "query", "host", "methods"]),
                    st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=2, unique=True),
                    max_size=2,
                ),
                st.booleans(),
            ),
            max_size=60,
        ),
        st.lists(st.sampled_from("abcdefghijklm"), min_size=5, max_size=5),
        st.sampled_from([b"/", b"/a", b"/a/b/c", b"/b/x", b"/a;x/b"]),
    )
    @settings(max_examples=300, deadline=None)
    def test_told_apart(
        self, table: list[tuple[bytes, dict[str, list[str]], bool]], said: list[str], path: bytes
    ) -> None:
        """
        Routes that differ in what they want of a request: the first that matches is found.
        """
        conditions = Conditions({}, lambda entries, key: None)
        routes = []
        for number, (prefix, wanted, exact) in enumerate(table):
            match = {
                kind: {"x": texts}
                if kind in ("header", "cookie", "query")
                else [text.upper() if kind == "methods" else text for text in texts]
                for kind, texts in wanted.items()
            }
            condition = conditions.compiled(structure(match, Match)) if match else None
            exactly = prefix if exact and prefix else None
            routes.append(Route(str(number), None, exact=exactly, prefix=prefix, condition=condition))
        header, cookie, query, host, method = (text.encode() for text in said)
        fields = Fields.of([(b"X", header), (b"X", b"l"), (b"Cookie", b"x=" + cookie)])
        head = RequestHead(method.upper(), path, b"HTTP/1.1", fields)
        head.query = b"x=" + query
        head.host = host + b":80"
        request: Any = Request(SimpleNamespace(), head, None)  # type: ignore[arg-type]
        site = Site("x", tuple(routes), Clock())
        try:
            found = site.route_for(request)
        except ProxyError:  # it is read differently, and leads elsewhere then
            return
        plainly = next((route for route in routes if route.matches(request.matched_path, request)), None)
        self.assertIs(found, plainly)
        self.assertIs(site._first(request, request.matched_path), plainly)

    def test_scale(self) -> None:
        """
        A thousand routes that share their first segments are not looked at one by one.
        """
        kinds = (
            lambda n: Route(str(n), None, prefix=b"/api/v1/r%d" % n),
            lambda n: Route(str(n), None, exact=b"/api/v1/r%d" % n),
            lambda n: Route(str(n), None, pattern=Regex.parse(f"^/api/v1/r{n}/[0-9]+$")),
            lambda n: Route(str(n), None, pattern=Regex.parse(f"[.]x{n}$")),
            lambda n: Route(str(n), None, pattern=Regex.parse(f"^/r{n}-")),
        )
        for kind in kinds:
            site = Site("x", tuple(kind(number) for number in range(1000)), Clock())
            for path in (b"/api/v1/r999", b"/api/v1/r999/12", b"/y.x999", b"/r999-z"):
                looked_at = list(site._branch.candidates(path))
                self.assertLess(len(looked_at), 20)

    def test_scale_of_conditions(self) -> None:
        """
        A thousand routes that differ in what they want of a request are not looked at one by one either.
        """
        conditions = Conditions({}, lambda entries, key: None)
        for match in (
            {"header": {"X-Tenant": "t%d"}},
            {"cookie": {"tenant": "t%d"}},
            {"query": {"tenant": "t%d"}},
            {"host": "t%d.example"},
            {"methods": ["T%d"]},
            {"methods": ["GET", "T999"], "header": {"X-Tenant": "t%d"}},
        ):
            tables = [loads(dumps(match).replace("%d", str(number))) for number in range(1000)]
            routes = [
                Route(str(number), None, condition=conditions.compiled(structure(table, Match)))
                for number, table in enumerate(tables)
            ]
            site = Site("x", tuple(routes), Clock())
            fields = Fields.of([(b"X-Tenant", b"t999"), (b"Cookie", b"tenant=t999")])
            head = RequestHead(b"T999", b"/x", b"HTTP/1.1", fields)
            head.query = b"tenant=t999"
            head.host = b"t999.example"
            request: Any = Request(SimpleNamespace(), head, None)  # type: ignore[arg-type]
            self.assertEqual(list(site._branch.candidates(b"/x", request)), [routes[999]], match)
            self.assertIs(site.route_for(request), routes[999])


class TreeTests(SynchronousTestCase):
    """
    To Twisted, a site is a tree.
    """

    def request(self, target: bytes, site: Site) -> Request:
        head = RequestHead(b"GET", target, b"HTTP/1.1", Fields())
        request = Request(SimpleNamespace(), head, None)  # type: ignore[arg-type]
        request.site = site
        return request

    def test_down_the_tree(self) -> None:
        """
        The resource's own children are found, with or without the prefix, with the right prepath and postpath.
        """
        leaf = Resource()
        leaf.isLeaf = True
        root = Resource()
        middle = Resource()
        root.putChild(b"app", middle)
        middle.putChild(b"leaf", leaf)
        for strip, top in ((False, root), (True, middle)):
            site = Site("x", (Route("app", top, prefix=b"/app", strip=strip),), Clock())
            request = self.request(b"/app/leaf/a%20b", site)
            self.assertIs(site.getResourceFor(request), leaf)
            self.assertEqual((request.prepath, request.postpath), ([b"app", b"leaf"], [b"a b"]))
            self.assertEqual(request.sitepath, [b"app"] if strip else [])

    def test_nothing(self) -> None:
        """
        Without a route there is a 404.
        """
        site = Site("x", (), Clock())
        self.assertIsInstance(site.getResourceFor(self.request(b"/", site)), NoResource)

    def test_sessions(self) -> None:
        """
        Sessions may outlive the site.
        """
        kept: dict[bytes, object] = {}
        self.assertIs(Site("x", (), Clock(), sessions=kept).sessions, kept)
        self.assertIsNot(Site("x", (), Clock()).sessions, Site("y", (), Clock()).sessions)

    def test_trust(self) -> None:
        """
        Nobody is trusted who is not named.
        """
        self.assertIsNone(Site("x", (), Clock()).trusted)
        self.assertIsNone(Site("x", (), Clock(), NetworkSet()).trusted)
        networks = NetworkSet.parse(["10.0.0.0/8"])
        self.assertIs(Site("x", (), Clock(), networks).trusted, networks)


class FrontendTests(SynchronousTestCase):
    """
    Which site answers for a name.
    """

    def test_names(self) -> None:
        """
        A name, then the longest wildcard, then the default; ports do not matter.
        """
        frontend = Frontend(
            Ticker(Clock()),
            sites={b"example.com": "named", b"[::1]": "six"},
            wildcards=((b".a.example.com", "longer"), (b".example.com", "wild")),
            patterns=((Regex.parse("^shop-[0-9]+[.]"), "shop"), (Regex.parse("^shop-1"), "never")),
            default="default",
        )
        for host, site in (
            (b"example.com", "named"),
            (b"example.com:8080", "named"),
            (b"www.example.com", "wild"),
            (b"x.a.example.com", "longer"),
            (b"a.example.com", "wild"),
            (b".example.com", "default"),
            (b"badexample.com", "default"),
            (b"shop-12.org:80", "shop"),
            (b"shop-12.example.com", "wild"),
            (b"shop-x.org", "default"),
            (b"[::1]", "six"),
            (b"[::1]:80", "six"),
            (b"", "default"),
        ):
            for _ in range(2):  # the second time from memory
                self.assertEqual(frontend.site_for(host), site, host)

    def test_nobody(self) -> None:
        """
        Without a default, nobody answers for a name that is not known.
        """
        self.assertIsNone(Frontend(Ticker(Clock())).site_for(b"x"))

    def test_bounded(self) -> None:
        """
        The names that clients invent are not all remembered.
        """
        frontend = Frontend(Ticker(Clock()), default="default")
        for number in range(10_000):
            frontend.site_for(b"h%d" % number)
        self.assertLess(len(frontend.found), 5000)


class InternalTests(Answers):
    """
    Routes that no client gets to by asking.
    """

    def test_try_files(self) -> None:
        """
        A front controller is asked by the site alone; what it is called is a file that is not there, for clients.
        """
        server = self.serve(
            """
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/index.php"
            internal = true
            match = { methods = ["GET", "POST"] }
            respond = "program {query}"
            [[site.route]]
            static = { root = ".", try_files = ["{path}", "/index.php?{query}"] }
            """
        )
        self.assertEqual(self.body(server, "/page?x=1"), "program x=1")
        self.assertEqual(self.body(server, "/index.php"), "404")
        self.assertEqual(self.body(server, "/x/..//index.php"), "404")
        self.assertEqual(self.ask(server, "/page", method="PUT")[0], 404)

    def test_on_error(self) -> None:
        """
        A route that answers for failures has no address, shadows nothing, and is shadowed by nothing.
        """
        server = self.serve(
            """
            [[site]]
            listen = "tcp:80"
            [site.defaults]
            on_error = { routes = { "403" = "sorry" } }
            [[site.route]]
            name = "sorry"
            internal = true
            respond = "sorry"
            [[site.route]]
            path = "/closed"
            access = { deny = ["all"] }
            respond = "closed"
            [[site.route]]
            respond = "open"
            """
        )
        assert server.generation is not None
        self.assertEqual(server.generation.warnings, [])
        self.assertEqual(self.body(server, "/"), "open")
        self.assertEqual(self.ask(server, "/closed")[::2], (403, "sorry"))
        answer = explain(server.generation, Question.parse("http://example.com/"))
        self.assertEqual(
            answer.passed[0].reason, "it is for requests where the site itself asks, by try_files or on_error"
        )
