"""
Tests for L{twistginx.policies.headers}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.policies.answers import Answers
from tests.resources.serving import Context, Served
from twistginx.config.convert import structure
from twistginx.errors import ConfigError
from twistginx.http.message import Fields, RequestHead, ResponseHead
from twistginx.interfaces import IPolicyModule
from twistginx.policies import headers
from twistginx.resources import respond


def config(**table) -> headers.Config:
    return structure(table, headers.Config)


class Asking:
    """
    A request, as far as templates and the policy look.
    """

    client_ip = b"192.0.2.7"
    vouched: frozenset[bytes] = frozenset()


def changed(table: headers.Config, *pairs: tuple[bytes, bytes], request=None, status: int = 200):
    """
    The fields of a response after the policy.
    """
    head = ResponseHead(status, Fields.of(pairs))
    assert headers.make(table, Context()).responding(request, head) is None
    return [(name, value) for _, name, value in head.fields]


class HeadersTests(SynchronousTestCase):
    """
    What the policy does to a response.
    """

    def test_module(self):
        """
        It is a policy's module, of the published rank.
        """
        verifyObject(IPolicyModule, headers)
        self.assertEqual(headers.rank, 700)

    def test_set(self):
        """
        A field that is set has this one value, whatever the resource said and however it spelled the name.
        """
        table = config(set={"X-Frame-Options": "DENY"})
        self.assertEqual(changed(table), [(b"X-Frame-Options", b"DENY")])
        self.assertEqual(
            changed(table, (b"x-frame-options", b"a"), (b"ETag", b'"1"'), (b"X-FRAME-OPTIONS", b"b")),
            [(b"ETag", b'"1"'), (b"X-Frame-Options", b"DENY")],
        )

    def test_add(self):
        """
        A field that is added stands beside those that there are; a list is several fields.
        """
        table = config(add={"Set-Cookie": ["a=1", "b=2"], "Vary": "Origin"})
        self.assertEqual(
            changed(table, (b"Set-Cookie", b"c=3")),
            [(b"Set-Cookie", b"c=3"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Vary", b"Origin")],
        )

    def test_remove(self):
        """
        A field that is removed is not sent; others are untouched.
        """
        table = config(remove=["X-Powered-By"])
        self.assertEqual(changed(table, (b"x-powered-by", b"php"), (b"A", b"1")), [(b"A", b"1")])
        self.assertEqual(changed(table, (b"A", b"1")), [(b"A", b"1")])

    def test_shared_fields(self):
        """
        The constants of the table are not changed by what later policies do to one response.
        """
        made = headers.make(config(set={"X-A": "1"}), Context())
        for _ in range(2):
            head = ResponseHead(200, Fields())
            made.responding(None, head)
            self.assertEqual(head.fields, [(b"x-a", b"X-A", b"1")])
            head.fields.drop(b"x-a")

    def test_over_the_channel(self):
        """
        All responses are changed, error pages and kept replies included, and each is made of its own request.
        """
        table = config(set={"X-From": "{client} {status} {header.x}", "Content-Type": "a/b"}, remove=["Proxy-Status"])
        policy = headers.make(table, Context())
        resource = respond.make(structure({"body": "x"}, respond.Config), Context())
        served = Served(resource, Context(), responding=(policy.responding,))
        for value in (b"one", b"two"):
            answer = served.get(b"/", x=value)
            self.assertEqual(answer[b"X-From"], b"192.0.2.7 200 " + value)
            self.assertEqual(answer[b"Content-Type"], b"a/b")
            self.assertEqual(answer.body, b"x")
        served.route(resource, responding=(policy.responding,), body_limit=1)
        answer = served.get(b"/", b"POST", b"too large")
        self.assertEqual(answer.status, 413)
        self.assertEqual(answer[b"X-From"], b"192.0.2.7 413")
        self.assertIsNone(answer[b"Proxy-Status"])


class MergeTests(SynchronousTestCase):
    """
    A route's table over the inherited one.
    """

    def test_names(self):
        """
        Names that the route does not mention are inherited.
        """
        merged = headers.merge(
            config(set={"A": "1", "B": "1"}, add={"C": "1"}, remove=["D"]),
            config(set={"E": "2"}, add={"F": "2"}, remove=["G"]),
        )
        self.assertEqual(
            merged, config(set={"A": "1", "B": "1", "E": "2"}, add={"C": "1", "F": "2"}, remove=["D", "G"])
        )

    def test_own_wins(self):
        """
        A name that the route mentions is the route's, in whichever table, and however it is written.
        """
        inherited = config(set={"X-A": "1", "X-B": "1"}, add={"X-C": "1"}, remove=["X-D"])
        for own in (
            config(set={"x-a": "2", "x-b": "2", "x-c": "2", "x-d": "2"}),
            config(add={"x-a": "2", "x-b": "2", "x-c": "2", "x-d": "2"}),
            config(remove=["x-a", "x-b", "x-c", "x-d"]),
        ):
            self.assertEqual(headers.merge(inherited, own), own)

    def test_nothing(self):
        """
        An empty table changes nothing.
        """
        table = config(set={"A": "1"}, remove=["B"])
        self.assertEqual(headers.merge(table, config()), table)
        self.assertEqual(headers.merge(config(), table), table)


class ConfigTests(SynchronousTestCase):
    """
    What cannot be.
    """

    def refused(self, key: str, **table) -> None:
        error = self.assertRaises(ConfigError, headers.make, config(**table), Context())
        self.assertEqual(error.key, key)

    def test_framing(self):
        """
        The connection's own fields can be neither set, nor added, nor removed.
        """
        for name in ("Content-Length", "Transfer-Encoding", "connection", "Upgrade"):
            self.refused(f"set.{name}", set={name: "x"})
            self.refused(f"add.{name}", add={name: "x"})
            self.refused("remove.0", remove=[name])

    def test_names_and_values(self):
        """
        Names are tokens, values are lines.
        """
        self.refused("set.X Y", set={"X Y": "x"})
        self.refused("set.X", set={"X": "a\r\nb"})
        self.refused("add.X.1", add={"X": ["a", "b\n"]})
        self.refused("remove.1", remove=["X", ""])

    def test_twice(self):
        """
        A name that is mentioned twice has two meanings.
        """
        self.refused("set.x-a", set={"X-A": "1", "x-a": "2"})
        self.refused("remove.0", set={"X-A": "1"}, remove=["x-a"])
        self.refused("remove.1", remove=["X-A", "x-a"])

    def test_remove_and_add(self):
        """
        To remove a field and add it is to set it.
        """
        table = config(add={"X-A": ["1", "2"]}, remove=["x-a"])
        self.assertEqual(changed(table, (b"X-A", b"0")), [(b"X-A", b"1"), (b"X-A", b"2")])


class RequestTests(SynchronousTestCase):
    """
    What the policy does to a request on its way to an upstream.
    """

    def prepared(self, table: headers.Config, *pairs: tuple[bytes, bytes]):
        """
        The fields that leave, and the names that are vouched for.
        """
        request = Asking()
        head = RequestHead(b"GET", b"/", b"HTTP/1.1", Fields.of(pairs))
        made = headers.make(table, Context())
        assert made.prepare(request, head) is None
        return [(name, value) for _, name, value in head.fields], request.vouched

    def test_all(self):
        """
        Rename, remove, set and add, in this order.
        """
        table = config(
            request={
                "rename": {"X-Old": "X-New"},
                "remove": ["X-Debug-*", "Cookie"],
                "set": {"X-Real-IP": "{client}"},
                "add": {"Via": ["1.1 a", "1.1 b"]},
            }
        )
        fields, vouched = self.prepared(
            table,
            (b"x-old", b"1"),
            (b"X-Debug-Trace", b"1"),
            (b"x-debug-", b"2"),
            (b"cookie", b"a"),
            (b"X-REAL-IP", b"x"),
        )
        expected = [(b"X-New", b"1"), (b"X-Real-IP", b"192.0.2.7"), (b"Via", b"1.1 a"), (b"Via", b"1.1 b")]
        self.assertEqual(fields, expected)
        self.assertEqual(vouched, {b"x-new", b"x-real-ip", b"via"})

    def test_phases(self):
        """
        Only the phases that have something to do are there, so that the others cost nothing.
        """
        request = {"set": {"A": "1"}}
        for table, phases in (
            (config(set={"A": "1"}), {"responding"}),
            (config(request=request), {"prepare"}),
            (config(set={"A": "1"}, request=request), {"prepare", "responding"}),
        ):
            made = headers.make(table, Context())
            self.assertEqual({phase for phase in ("prepare", "responding") if hasattr(made, phase)}, phases)

    def test_merge(self):
        """
        Each direction is merged by itself.
        """
        inherited = config(set={"A": "1"}, request={"set": {"A": "2", "B": "3"}})
        own = config(request={"remove": ["a"]})
        self.assertEqual(
            headers.merge(inherited, own), config(set={"A": "1"}, request={"set": {"B": "3"}, "remove": ["a"]})
        )

    def test_refused(self):
        """
        Errors name the key.
        """
        for table, key in (
            (config(request={"set": {"Content-Length": "1"}}), "request.set.Content-Length"),
            (config(request={"remove": ["*"]}), "request.remove.0"),
            (config(rename={"A": "Transfer-Encoding"}), "rename.A"),
            (config(remove=["A*b"]), "remove.0"),
        ):
            with self.subTest(key=key):
                self.assertEqual(self.assertRaises(ConfigError, headers.make, table, Context()).key, key)


class ReplaceTests(Answers):
    """
    Parts of values.
    """

    def answer(self, table: str, fields: str, asks: str = "") -> tuple[list[str], list[str]]:
        """
        The lines of what the client, and of what the upstream gets, of a route with C{headers = table}.
        """
        server = self.serve(f'[[site.route]]\nheaders = {table}\nproxy = "http://127.0.0.1:9001"\n')
        client = server.connect()
        client.send(f"GET /x HTTP/1.1\r\nHost: example.com\r\n{asks}\r\n".encode())
        upstream = server.accept()
        asked = upstream.take().decode().split("\r\n")
        upstream.send(f"HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n".encode())
        return client.take().decode("latin-1").split("\r\n"), asked

    def test_answer(self) -> None:
        """
        All that is found, in all fields of the name, by one rule after the other; and nothing else.
        """
        for rules, value, expected in (
            (
                '{ regex = "^http://app/", to = "https://{host}/" }',
                "http://app/x?http://app/",
                "https://example.com/x?http://app/",
            ),
            ('{ regex = "(?i)a(?<n>[0-9])", to = "<{n}{1}>" }', "a1 A2 a", "<11> <22> a"),
            ('[{ regex = "a", to = "b" }, { regex = "b+", to = "c" }]', "aab", "c"),
            ('{ regex = "$", to = "; Secure" }', "a=1", "a=1; Secure"),
            ('{ regex = "x*", to = "-" }', "axb", "-a--b-"),
            ('{ regex = "x", to = "y" }', "a", "a"),
            ('{ regex = "(a)|(b)", to = "[{1}|{2}]" }', "ab", "[a|][|b]"),
        ):
            lines, _ = self.answer(
                f"{{ replace = {{ X-A = {rules} }} }}", f"X-A: {value}\r\nx-a: none\r\nX-B: {value}\r\n"
            )
            self.assertIn(f"X-A: {expected}", lines, rules)
            self.assertIn(f"X-B: {value}", lines)

    def test_nothing_left(self) -> None:
        """
        A field of which nothing is left is not sent.
        """
        lines, _ = self.answer('{ replace = { X-A = { regex = ".*", to = "" } } }', "X-A: a\r\nX-B: b\r\n")
        self.assertEqual([line for line in lines if line.startswith("X-")][:1], ["X-B: b"])

    def test_request(self) -> None:
        """
        What an upstream gets; a variable puts no line into it.
        """
        table = '{ request = { replace = { User-Agent = { regex = "curl/(?<v>[0-9.]+)", to = "c{v} {arg.x}" } } } }'
        _, asked = self.answer(table, "", "User-Agent: curl/8.1 x\r\n")
        self.assertIn("User-Agent: c8.1  x", asked)

    def test_merged(self) -> None:
        """
        A name that the route mentions is the route's.
        """
        server = self.serve(
            """
            [[site]]
            listen = "tcp:80"
            [site.defaults]
            headers = { replace = { X-A = { regex = "a", to = "b" }, X-B = { regex = "a", to = "b" } } }
            [[site.route]]
            headers = { replace = { x-a = { regex = "a", to = "c" } } }
            respond = { headers = { X-A = "a", X-B = "a" } }
            """
        )
        _, fields, _ = self.ask(server, "/")
        self.assertEqual((fields["x-a"], fields["x-b"]), ("c", "b"))

    def test_refused(self) -> None:
        """
        What cannot work is said where it stands.
        """
        for table, key in (
            ('{ Location = { regex = "(", to = "" } }', "headers.replace.Location.regex"),
            ('{ Location = { regex = "a", to = "{1}" } }', "headers.replace.Location.to"),
            ('{ Location = { regex = "(?<host>a)", to = "x" } }', "headers.replace.Location.regex"),
            ('{ Connection = { regex = "a", to = "b" } }', "headers.replace.Connection"),
            ('{ A = { regex = "a", to = "" }, a = { regex = "a", to = "" } }', "headers.replace.a"),
        ):
            problems = self.refused(f"[[site.route]]\nheaders = {{ replace = {table} }}\nrespond = {{}}\n")
            self.assertEqual([each for each, _ in problems], [f"site[0].route[0].{key}"], table)


class RenameTests(SynchronousTestCase):
    """
    Names of a response's fields.
    """

    def test_rename(self):
        """
        The value stays, and so does the place.
        """
        table = config(rename={"X-Upstream-Time": "Server-Timing"})
        self.assertEqual(
            changed(table, (b"x-upstream-time", b"1"), (b"A", b"2")), [(b"Server-Timing", b"1"), (b"A", b"2")]
        )
