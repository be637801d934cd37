"""
Tests for L{twistginx.http.maps}, L{twistginx.config.definitions}, and what they define, in a whole configuration.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.policies.answers import Answers
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.config.schema import Map
from twistginx.http.maps import compile_map


def looked_up(value: bytes, **table: Any) -> bytes:
    """
    What a map has for a query.
    """
    find = compile_map(structure({"of": "{query}", **table}, Map))
    return find(SimpleNamespace(head=SimpleNamespace(query=value, method=b"GET")))


class MapTests(Answers):
    """
    A value for a value.
    """

    def test_table(self) -> None:
        """
        The whole value, then the longest prefix, then the first regex, then the default.
        """
        table = {
            "exact": {"a": "exact", "": "nothing"},
            "prefix": {"a": "short {method}", "ab": "long"},
            "regex": {"^(?P<x>b+)c": "<{x}{1}>", "b": "second {0}"},
            "default": "other {{",
        }
        for value, expected in (
            (b"a", b"exact"),
            (b"", b"nothing"),
            (b"ax", b"short GET"),
            (b"abx", b"long"),
            (b"bbc", b"<bbbb>"),
            (b"xb", b"second b"),
            (b"z", b"other {"),
            (b"\xff", b"other {"),
        ):
            self.assertEqual(looked_up(value, **table), expected)
        self.assertEqual(looked_up(b"x"), b"")
        self.assertEqual(looked_up(b"\xc3\xbc", exact={"ü": "found"}), b"found")

    def test_networks(self) -> None:
        """
        By the smallest network, behind whole values; what is no address is in none.
        """
        table = {
            "exact": {"10.1.2.3": "me"},
            "network": {
                "10.0.0.0/8": "big",
                "10.1.0.0/16": "small {method}",
                "0.0.0.0/0": "any",
                "2001:db8::/32": "six",
            },
            "prefix": {"10.": "text"},
            "default": "none",
        }
        for value, expected in (
            (b"10.1.2.3", b"me"),
            (b"10.1.2.4", b"small GET"),
            (b"10.2.0.1", b"big"),
            (b"::ffff:10.2.0.1", b"big"),
            (b"192.0.2.1", b"any"),
            (b"2001:db8::1", b"six"),
            (b"[2001:db8::1]", b"six"),
            (b"2001:db9::1", b"none"),
            (b"10.", b"text"),
            (b"", b"none"),
            (b"\xff", b"none"),
        ):
            for _ in range(2):  # the second time from memory
                self.assertEqual(looked_up(value, **table), expected, value)
        for network in ("10.0.0.1/8", "unix", "x"):
            self.assertRaises(Faults, structure, {"of": "{client}", "network": {network: "x"}}, Map)

    def test_ignore_case(self) -> None:
        """
        Large letters are small ones.
        """
        table = {"exact": {"AbC": "1"}, "prefix": {"X": "2"}, "ignore_case": True}
        self.assertEqual((looked_up(b"aBc", **table), looked_up(b"xyz", **table)), (b"1", b"2"))
        self.assertEqual(looked_up(b"abc", exact={"AbC": "1"}), b"")

    def test_in_a_configuration(self) -> None:
        """
        Maps use variables, and these maps; what stands nearer goes before; names of sites capture.
        """
        server = self.serve(
            """
            [variables]
            who = "all"
            where = "{host}/{var.who}"
            [map.tier]
            of = "{var.where}"
            exact = { "a.example.com/route" = "gold" }
            default = "{map.inner}"
            [map.inner]
            of = "{query}"
            prefix = { x = "inner" }
            [[site]]
            listen = "tcp:80"
            names = ["~^(?P<sub>[a-z]+)[.]example[.]com$", "example.com"]
            variables = { who = "site {sub}" }
            [[site.route]]
            path = "/route"
            variables = { who = "route" }
            respond = { body = "{map.tier} {var.where}" }
            [[site.route]]
            path = "/secure"
            respond = { json = { who = "{var.who}", tier = "{map.tier}" } }
            [[site.route]]
            respond = { body = "{map.tier} {var.where}" }
            """
        )
        for target, host, expected in (
            ("/route", "a.example.com", "gold a.example.com/route"),
            ("/route?xy", "b.example.com", "inner b.example.com/route"),
            ("/", "b.example.com", " b.example.com/site b"),
            ("/", "example.com", " example.com/site "),
            ("/secure?x", "c.example.com", '{"who":"site c","tier":"inner"}'),
        ):
            self.assertEqual(self.body(server, target, f"X-Host: {host}\r\n"), expected)

    def test_values_are_safe(self) -> None:
        """
        What a client sends ends no line, by whichever way it comes.
        """
        server = self.serve(
            '[[site]]\nlisten = "tcp:80"\n[[site.route]]\nregex = "^/(.*)$"\nvariables = { v = "{1}" }\n'
            'respond = { headers = { X-A = "{1}", X-B = "{var.v}" } }\n'
        )
        _, fields, _ = self.ask(server, "/a%0d%0aX-Evil:%20b")
        self.assertEqual((fields["x-a"], fields["x-b"]), ("a  X-Evil: b", "a  X-Evil: b"))
        self.assertNotIn("x-evil", fields)

    def test_refused(self) -> None:
        """
        Circles, and names that there are not.
        """
        site = '[[site]]\nlisten = "tcp:80"\n[[site.route]]\nrespond = {}\n'
        for config, key, words in (
            ('[variables]\na = "{var.b}"\nb = "{var.a}"\n', "variables", "var.a needs var.b needs var.a"),
            ('[variables]\na = "{map.m}"\n[map.m]\nof = "{var.a}"\n', "map", "map.m needs var.a needs map.m"),
            ('[map.m]\nof = "{host}"\nregex = { "x" = "{map.m}" }\n', "map", "map.m needs map.m"),
            ('[map.m]\nof = "{hots}"\n', "map.m.of", 'did you mean "{host}"?'),
            ('[map.m]\nof = "{host}"\nregex = { "(" = "" }\n', "map.m.regex", "missing )"),
            ('[map.m]\nof = "{host}"\nregex = { "(a)" = "{2}" }\n', "map.m.regex", "captured by no regex"),
            ("[map.m]\n", "map.m", 'the key "of" is missing'),
            ('[variables]\n"a-b" = "x"\n', "variables", "cannot be the name of a variable"),
            ('[variables]\na = "{var.c}"\n', "variables.a", "unknown variable {var.c}"),
            ('[match.m]\nall = "m"\n', "match.m.all[0]", "is a part of itself"),
        ):
            problems = self.refused(config + site)
            self.assertEqual(len(problems), 1, problems)
            self.assertEqual(problems[0][0], key, problems)
            self.assertIn(words, problems[0][1])
        nearer = '[variables]\na = "{var.b}"\nb = "x"\n[[site]]\nlisten = "tcp:80"\nvariables = { b = "{var.a}" }\n'
        problems = self.refused(nearer + "[[site.route]]\nrespond = {}\n")
        self.assertEqual(problems[0][0], "site[0].variables")


class WhenTests(Answers):
    """
    Policies for some of the requests.
    """

    def test_when(self) -> None:
        """
        A table, or a name; several of one policy, of which all act that are for the request; also over inherited ones.
        """
        server = self.serve(
            """
            [match.debug]
            query = { debug = true }
            [[site]]
            listen = "tcp:80"
            [site.defaults.headers]
            set = { X-All = "1", X-Over = "inherited" }
            [[site.route]]
            headers = [
                { when = "debug", set = { X-Debug = "1", X-Over = "own" } },
                { when = { methods = "HEAD" }, set = { X-Head = "1" } },
                { set = { X-Plain = "1" } },
            ]
            respond = {}
            """
        )
        for target, method, expected in (
            ("/", "GET", {"x-all": "1", "x-over": "inherited", "x-plain": "1"}),
            ("/?debug", "GET", {"x-all": "1", "x-over": "own", "x-plain": "1", "x-debug": "1"}),
            ("/", "HEAD", {"x-all": "1", "x-over": "inherited", "x-plain": "1", "x-head": "1"}),
        ):
            _, fields, _ = self.ask(server, target, method=method)
            self.assertEqual({name: value for name, value in fields.items() if name.startswith("x-")}, expected)

    def test_decisions(self) -> None:
        """
        Who may come in where; and no spelling of a path leads around it.
        """
        server = self.serve(
            '[[site.route]]\naccess = { deny = ["all"], when = { path = "/admin", not = { cookie = { s = "1" } } } }\n'
            "respond = {}\n"
        )
        for target, fields, expected in (
            ("/", "", 200),
            ("/admin/x", "", 403),
            ("/admin/x", "Cookie: s=1\r\n", 200),
            ("/x/..%2fadmin", "", 400),
            ("/x/../admin", "", 403),
            ("/x%20y", "", 200),
        ):
            self.assertEqual(self.ask(server, target, fields)[0], expected, target)

    def test_refused(self) -> None:
        """
        Where it would not do what it says.
        """
        any_of = 'satisfy = "any"\naccess = { allow = ["10.0.0.0/8"], when = { methods = "GET" } }'
        for config, key in (
            ('[[site.route]]\nheaders = { when = "nobody" }\nrespond = {}\n', "site[0].route[0].headers.when"),
            ("[[site.route]]\nheaders = [{ }, { }]\nrespond = {}\n", "site[0].route[0].headers"),
            ("[[site.route]]\nheaders = { when = { foo = 1 } }\nrespond = {}\n", "site[0].route[0].headers.when.foo"),
            ('[[site.route]]\nmatch = "nobody"\nrespond = {}\n', "site[0].route[0].match"),
            (f"[[site.route]]\nrespond = {{}}\n{any_of}\n", "site[0].route[0].access.when"),
        ):
            self.assertEqual([each for each, _ in self.refused(config)], [key])
