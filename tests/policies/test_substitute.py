"""
Tests for L{twistginx.policies.substitute}.
"""

from __future__ import annotations

import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.http.conversation import answers
from twistginx.config.regex import Regex
from twistginx.errors import ConfigError
from twistginx.interfaces import IPolicyModule
from twistginx.policies import substitute
from twistginx.policies.substitution import Literal, Pattern, Substitution
from twistginx.testing import MemoryServer

HTML = "text/html"


def constant(text: bytes) -> Any:
    return lambda buffer, spans: text


def literal(find: bytes, replace: bytes, once: bool = False) -> Any:
    return Literal(find, once), constant(replace)


def pattern(regex: str, replace: bytes, window: int = 16, once: bool = False) -> Any:
    return Pattern(Regex.parse(regex).find, window, once), constant(replace)


def run(rules: list[Any], *pieces: bytes, events: bool = False) -> bytes:
    """
    What comes out for a body in C{pieces}.
    """
    substitution = Substitution(rules, events)
    return b"".join([*map(substitution.feed, pieces), substitution.finish()])


class SubstitutionTests(SynchronousTestCase):
    """
    Replacing in a stream.
    """

    def test_rules(self) -> None:
        """
        The leftmost match counts, and of those the first rule; what was put in is not looked at again.
        """
        for rules, before, after in (
            ([literal(b"a", b"b")], b"banana", b"bbnbnb"),
            ([literal(b"a", b"aa")], b"aa", b"aaaa"),
            ([literal(b"aa", b"x")], b"aaaaa", b"xxa"),
            ([literal(b"ab", b"1"), literal(b"abc", b"2")], b"abc ab", b"1c 1"),
            ([literal(b"abc", b"2"), literal(b"ab", b"1")], b"abc ab", b"2 1"),
            ([literal(b"b", b"a"), literal(b"a", b"b")], b"ab", b"ba"),
            ([literal(b"a", b"x", once=True)], b"aaa", b"xaa"),
            ([literal(b"a", b"x", once=True), literal(b"a", b"y")], b"aaa", b"xyy"),
            ([pattern("[0-9]+", b"#")], b"a1b22c333", b"a#b#c#"),
            ([pattern("^a", b"x")], b"aaa", b"xaa"),
            ([pattern("a$", b"x")], b"aaa", b"aax"),
            ([pattern(r"\bcat\b", b"dog")], b"cat concat cat", b"dog concat dog"),
            ([pattern("a*", b"x")], b"baac", b"bxc"),
            ([literal(b"zz", b"")], b"", b""),
        ):
            self.assertEqual(run(rules, before), after, before)
            self.assertEqual(run(rules, *[before[i : i + 1] for i in range(len(before))]), after, before)

    def test_keeps_little(self) -> None:
        """
        Of what cannot be the beginning of a match, nothing is kept back.
        """
        substitution = Substitution([literal(b"needle", b"pin")])
        self.assertEqual(substitution.feed(b"hay"), b"hay")
        self.assertEqual(substitution.feed(b"hay nee"), b"hay ")
        self.assertEqual(substitution.feed(b"d a need"), b"need a ")
        self.assertEqual(substitution.feed(b"le"), b"pin")
        self.assertEqual(substitution.finish(), b"")
        substitution = Substitution([pattern("n.*e", b"pin", 10)])
        self.assertEqual(len(substitution.feed(b"x" * 100)), 90)

    def test_events(self) -> None:
        """
        An event that is whole is not kept back, whatever is looked for.
        """
        substitution = Substitution([pattern("A.*B", b"x", 100)], events=True)
        self.assertEqual(substitution.feed(b"data: A1B\n\ndata: A"), b"data: x\n\n")
        self.assertEqual(substitution.feed(b"2B\r\n\r"), b"")
        self.assertEqual(substitution.feed(b"\n"), b"data: x\r\n\r\n")
        self.assertEqual(substitution.feed(b"data: A\n\ndata: B\n\n"), b"data: A\n\ndata: B\n\n")
        long = b"x" * 200_000
        self.assertGreater(len(first := substitution.feed(long)), 100_000)
        self.assertEqual(first + substitution.finish(), long)

    @settings(max_examples=200, deadline=None)
    @given(
        st.text("ab", max_size=60),
        st.lists(st.integers(0, 60), max_size=5),
        st.lists(st.tuples(st.text("ab", min_size=1, max_size=4), st.booleans()), min_size=1, max_size=3),
        st.sampled_from([None, "a{2,3}b", "(ab|ba)+?b", r"\ba"]),
    )
    def test_borders(self, text: str, cuts: list[int], found: list[tuple[str, bool]], regex: str | None) -> None:
        """
        Wherever a body is cut, it comes out the same.
        """
        body = text.encode()

        def rules() -> list[Any]:
            made = [literal(find.encode(), b"<%d>" % index, once) for index, (find, once) in enumerate(found)]
            return made if regex is None else [*made, pattern(regex, b"<r>")]

        borders = sorted({min(cut, len(body)) for cut in cuts})
        pieces = [body[a:b] for a, b in zip([0, *borders], [*borders, len(body)], strict=True)]
        self.assertEqual(run(rules(), *filter(None, pieces)), run(rules(), body))

    @settings(max_examples=100, deadline=None)
    @given(st.text("abc", max_size=80), st.text("abc", min_size=1, max_size=4), st.text("xa", max_size=3))
    def test_as_python_does(self, text: str, find: str, replace: str) -> None:
        """
        One literal is what C{bytes.replace} does.
        """
        made = run([literal(find.encode(), replace.encode())], *[each.encode() for each in text])
        self.assertEqual(made, text.replace(find, replace).encode())


SITE = """
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    proxy = "http://127.0.0.1:9001"
    substitute = %s
    %s
"""


class PolicyTests(SynchronousTestCase):
    """
    The policy, before an upstream.
    """

    def serve(self, rules: str, more: str = "") -> None:
        self.server = MemoryServer(SITE % (rules, more))
        self.addCleanup(self.server.close)

    def ask(self, body: bytes, *fields: bytes, request: bytes = b"GET /?q=<b> HTTP/1.1\r\nHost: a\r\n") -> Any:
        """
        The answer, when the upstream answers C{body}; C{self.asked} is what it was asked.
        """
        client = self.server.connect()
        client.send(request + b"Accept-Encoding: gzip\r\n\r\n")
        upstream = self.server.accept()
        self.asked = upstream.take()
        status, *fields = fields if fields and fields[0][:1].isdigit() else (b"200 OK", *fields)
        lines = [b"HTTP/1.1 " + status, *(fields or [b"Content-Type: text/html; charset=utf-8"])]
        upstream.send(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body]))
        (answer,) = answers(client.take(), (request.partition(b" ")[0],))
        client.close()
        upstream.close()
        return answer

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, substitute)

    def test_replaced(self) -> None:
        """
        The upstream is asked for plain text, and what was true of its bytes is said no more.
        """
        self.serve('[{ find = "old.example", replace = "new.example" }]')
        answer = self.ask(b"<a href=//old.example/>", b"Content-Type: text/html", b'ETag: "1"', b"Accept-Ranges: bytes")
        self.assertIn(b"\r\nAccept-Encoding: identity\r\n", self.asked)
        self.assertEqual(answer.body, b"<a href=//new.example/>")
        self.assertEqual(answer.get(b"ETag"), b'W/"1"')
        self.assertIsNone(answer.get(b"Content-Length"))
        self.assertIsNone(answer.get(b"Accept-Ranges"))

    def test_captures(self) -> None:
        """
        What the regex has captured, by number and by name.
        """
        self.serve(r"""[{ regex = '(\d+)-(?P<unit>\w+)', replace = "{unit}:{1}" }]""")
        self.assertEqual(self.ask(b"12-cm, 3-m").body, b"cm:12, m:3")

    def test_variables(self) -> None:
        """
        What a client sends becomes no tag.
        """
        self.serve('[{ find = "@q", replace = "{arg.q}" }, { find = "@s", replace = "{status}" }]')
        self.assertEqual(self.ask(b"@q @s").body, b"&lt;b&gt; 200")

    def test_left_alone(self) -> None:
        """
        Other types, parts, what is encoded, and what is not to be touched.
        """
        self.serve('[{ find = "a", replace = "b" }]')
        for fields in (
            (b"Content-Type: text/plain",),
            (b"Content-Type: text/html", b"Content-Encoding: gzip"),
            (b"Content-Type: text/html", b"Cache-Control: no-transform"),
            (b"206 Partial Content", b"Content-Type: text/html", b"Content-Range: bytes 0-0/2"),
            (b"X: 1",),
        ):
            answer = self.ask(b"a", *fields)
            self.assertEqual((answer.body, answer.get(b"Content-Length")), (b"a", b"1"), fields)

    def test_head(self) -> None:
        """
        HEAD announces no length that GET would not have.
        """
        self.serve('[{ find = "a", replace = "b" }]')
        client = self.server.connect()
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        upstream = self.server.accept()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n")
        (answer,) = answers(client.take(), (b"HEAD",))
        self.assertIsNone(answer.get(b"Content-Length"))
        client.close()

    def test_before_compress(self) -> None:
        """
        It comes first, and is compressed for the client, whom nobody has told that it was not.
        """
        self.serve('[{ find = "a", replace = "b" }]', 'compress = ["gzip"]')
        answer = self.ask(b"a" * 2000)
        self.assertEqual(answer.get(b"Content-Encoding"), b"gzip")
        self.assertEqual(zlib.decompress(answer.body, 31), b"b" * 2000)

    def test_wrong(self) -> None:
        """
        What cannot be is refused where it stands.
        """
        for rules, words in (
            ("[]", "is empty"),
            ('[{ replace = "x" }]', "one of find and regex"),
            ('[{ find = "a", regex = "b", replace = "x" }]', "one of find and regex"),
            ('[{ regex = "a*", replace = "x" }]', "matches nothing"),
            ('[{ regex = "(", replace = "x" }]', "no regular expression"),
            ('[{ regex = "(a)", replace = "{2}" }]', "{2}"),
            ('[{ find = "a", replace = "{nobody}" }]', "unknown variable"),
            ('{ rules = [{ find = "a", replace = "" }], types = ["html"] }', "no media type"),
            ('{ rules = [{ find = "a", replace = "" }], window = "1MiB" }', "64KiB"),
        ):
            error = self.assertRaises(ConfigError, MemoryServer, SITE % (rules, ""))
            self.assertIn(words, str(error), rules)
            self.assertIn("substitute", str(error))
