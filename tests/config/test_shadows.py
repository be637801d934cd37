"""
Tests for L{twistginx.config.shadows}.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.policies.answers import Answers
from tests.routing.test_conditions import asked, compiled
from twistginx.config.convert import structure
from twistginx.config.schema import Match
from twistginx.config.shadows import implies

VALUES = st.sampled_from(["1", "2", "~1", ["1", "2"], ["1", "~2"], True, False])

CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "methods": st.sampled_from(["GET", "HEAD", "POST", ["GET", "POST"], ["HEAD", "POST"]]),
        "path": st.sampled_from(["/a", ["/a", "/b"]]),
        "exact": st.sampled_from(["/a", "/b"]),
        "regex": st.sampled_from(["a", "b"]),
        "scheme": st.sampled_from(["http", "https"]),
        "client": st.sampled_from(["10.0.0.0/8", ["10.0.0.0/8", "192.0.2.0/24"]]),
        "host": st.sampled_from(["shop.example.com", ["shop.example.com", "*.example.org"]]),
        "header": st.fixed_dictionaries({}, optional={"X-A": VALUES, "X-B": VALUES}),
        "query": st.fixed_dictionaries({}, optional={"q": VALUES}),
    },
)

TABLES = st.tuples(
    CONDITIONS,
    st.fixed_dictionaries(
        {},
        optional={name: st.lists(CONDITIONS, min_size=1, max_size=2) for name in ("any", "all", "not")},
    ),
).map(lambda pair: {**pair[0], **pair[1]})

REQUESTS = [
    asked(fields, f"{method} {path} HTTP/1.1", scheme=scheme, client_ip=client)
    for method, path, fields, scheme, client in product(
        ("GET", "HEAD", "POST", "PUT"),
        ("/a", "/a/x?q=1", "/b?q=2", "/c?q=3"),
        ("", "X-A: 1\r\n", "X-A: 2\r\nX-B: 1\r\n", "X-A: 3\r\nX-B: 2\r\n"),
        (b"http", b"https"),
        (b"10.1.2.3", b"192.0.2.1", b"203.0.113.1"),
    )
]


class ImpliesTests(SynchronousTestCase):
    """
    What one condition wants, and another wants too.
    """

    def test_seen(self) -> None:
        """
        More that is wanted, and fewer of a list, is narrower.
        """
        for narrow, wide, expected in (
            ({}, {}, True),
            ({"methods": "GET"}, {}, True),
            ({}, {"methods": "GET"}, False),
            ({"methods": "HEAD"}, {"methods": "GET"}, True),
            ({"methods": "GET"}, {"methods": "HEAD"}, False),
            ({"methods": "GET", "scheme": "http"}, {"methods": ["GET", "PUT"]}, True),
            ({"header": {"A": "1"}}, {"header": {"A": True}}, True),
            ({"header": {"A": False}}, {"header": {"A": True}}, False),
            ({"header": {"A": "1", "B": "2"}}, {"header": {"A": ["1", "3"]}}, True),
            ({"header": {"A": ["1", "2"]}}, {"header": {"A": "1"}}, False),
            ({"path": "/a", "exact": "/b"}, {"path": "/a"}, False),
            ({"path": "/a"}, {"path": "/a", "exact": "/b"}, True),
            ({"not": [{"methods": "GET"}, {"methods": "PUT"}]}, {"not": {"methods": "PUT"}}, True),
            ({"any": [{"methods": "GET"}]}, {"any": [{"methods": "GET"}, {"methods": "PUT"}]}, True),
            ({"any": [{"methods": "GET"}, {"methods": "PUT"}]}, {"any": [{"methods": "GET"}]}, False),
        ):
            self.assertEqual(implies(structure(narrow, Match), structure(wide, Match)), expected, (narrow, wide))
        self.assertTrue(implies("name", "name"))
        self.assertFalse(implies("name", "other"))
        self.assertTrue(implies(structure({"all": ["name"]}, Match), "name"))
        self.assertTrue(implies("name", None))
        self.assertFalse(implies(None, "name"))

    @given(TABLES, TABLES)
    @settings(max_examples=300, deadline=None)
    def test_certain(self, narrow: dict[str, Any], wide: dict[str, Any]) -> None:
        """
        Nothing is said that is not so.
        """
        # Half of what is drawn is compared with a part of itself, because two of any seldom imply each other.
        for other in (wide, dict(list(narrow.items())[::2])):
            if implies(structure(narrow, Match), structure(other, Match)):
                inner, outer = compiled(narrow), compiled(other)
                for request in REQUESTS:
                    if inner(request, request.head.path):
                        self.assertTrue(outer(request, request.head.path), (narrow, other, request.head.target))


class ShadowTests(Answers):
    """
    Routes that can never match.
    """

    def test_pairs(self) -> None:
        """
        An earlier route, and one that comes after it.
        """
        for first, second, shadowed in (
            ('glob = "/g/**"', 'path = "/g"', False),
            ('glob = "/g/**"', 'path = "/g/"', False),
            ('glob = "/g/**"', 'exact = "/g"', False),
            ('glob = "/g/**"', 'exact = "/g/"', True),
            ('glob = "/g/**"', 'path = "/g/x"', True),
            ('glob = "/g/**"', 'path = "/gx"', False),
            ('glob = "/g/**"', 'regex = "^/g/x"', True),
            ('glob = "/g/**"', 'regex = "^/gx"', False),
            ('glob = "/g/**"', 'glob = "/g/*/x"', True),
            ('glob = "/g/*"', 'path = "/g/x"', False),
            ('glob = "/**"', 'path = "/"', False),
            ('path = "/g/"', 'glob = "/g/**"', True),
            ('path = "/g"\nmatch = { methods = "GET" }', 'path = "/g/x"\nmatch = { methods = "HEAD" }', True),
            ('path = "/g"\nmatch = { methods = "HEAD" }', 'path = "/g/x"\nmatch = { methods = "GET" }', False),
            ('glob = "/g/**"\nmatch = { scheme = "http" }', 'exact = "/g/y"\nmatch = { scheme = "http" }', True),
        ):
            server = self.serve(f"[[site.route]]\n{first}\nrespond = {{}}\n[[site.route]]\n{second}\nrespond = {{}}\n")
            assert server.generation is not None
            self.assertEqual(bool(server.generation.warnings), shadowed, (first, second))
