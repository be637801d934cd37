"""
Tests of twistginx.config.regex and twistginx.config.glob.
"""

from __future__ import annotations

from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.glob import Glob
from twistginx.config.regex import LONGEST, Regex, among


class RegexTests(SynchronousTestCase):
    """
    Regular expressions of a configuration.
    """

    def test_find(self) -> None:
        """
        A match says where it and its groups are; a group that took no part is nowhere.
        """
        regex = Regex.parse(r"^/u/(?P<id>\d+)(/x)?$")
        self.assertEqual(regex.find(b"/u/12"), [(0, 5), (3, 5), (-1, -1)])
        self.assertIsNone(regex.find(b"/u/x"))
        self.assertEqual((regex.groups, dict(regex.names)), (2, {"id": 1}))
        self.assertEqual(regex.captures, {"0", "1", "2", "id"})
        self.assertEqual(str(regex), regex.text)
        self.assertEqual(Regex.parse("b").find(b"abab", 2), [(3, 4)])

    def test_any_byte(self) -> None:
        """
        A dot is any byte: neither a line end nor what is no UTF-8 evades a pattern; C{$} is the very end.
        """
        for path in (b"/admin/\n", b"/admin/\xff", b"/admin/a\nb", "/admin/é".encode()):
            self.assertIsNotNone(Regex.parse("^/admin/.*$").find(path), path)
        self.assertIsNone(Regex.parse("^/a$").find(b"/a\n"))

    def test_letters(self) -> None:
        """
        A letter of several bytes is one thing; it cannot stand among single bytes.
        """
        self.assertIsNotNone(Regex.parse("^/é+$").find("/éé".encode()))
        self.assertIsNone(Regex.parse("^/é?$").find(b"/\xc3"))
        self.assertRaises(ValueError, Regex.parse, "[é]")

    def test_linear(self) -> None:
        """
        What would take a backtracking engine longer than the world exists takes a moment.
        """
        regex = Regex.parse("^(a+)+(a|aa)+(.*)*$x")
        before = process_time()
        self.assertIsNone(regex.find(b"a" * 30_000 + b"b"))
        self.assertLess(process_time() - before, 1)

    def test_refused(self) -> None:
        """
        What RE2 does not know is named, with what to do instead.
        """
        for text, reason in (
            ("", "is empty"),
            ("a" * (LONGEST + 1), "is longer than"),
            ("(", "missing )"),
            ("(?=x)", "look-around"),
            ("(?<!x)y", "look-around"),
            (r"(a)\1", "back references"),
            (r"a\Z", "$"),
            ("a++", "possessive"),
            ("a{1000}{1000}", "no regular expression"),
        ):
            error = self.assertRaises(ValueError, Regex.parse, text)
            self.assertIn(reason, str(error), text)

    def test_literal(self) -> None:
        """
        What every matched text begins with, where that is certain.
        """
        for text, literal in (
            (r"^/users/(?<id>\d+)$", b"/users/"),
            (r"\.php$", b""),
            ("^/a|b", b""),
            ("^(?:/a|/ab)c", b""),
            ("(?i)^/a", b""),
            ("^(?i)/a", b""),
            ("^/a(?i:b)", b"/a"),
            ("^/a(?i)?b", b""),
            ("^/a+(?i)?", b""),
            ("^/a(?)*", b""),
            ("^/x(?m:^a)", b""),
            ("^/x[|]y", b"/x"),
            (r"^/a\|b", b"/a|b"),
            ("^/%2F?", b"/%2"),
            ("^/ab*c", b"/a"),
            ("^/ab{0,2}", b"/a"),
            ("^/ab+c", b"/ab"),
            ("^/é+$", "/é".encode()),
            ("^/img[/0]$", b"/img"),
            ("^", b""),
        ):
            self.assertEqual(Regex.parse(text).literal, literal, text)

    @given(
        st.lists(
            st.sampled_from(["/", "a", "b", ".", "?", "*", "+", "|", "(", ")", "[ab]", r"\.", "{2}", "(?i)"]),
            max_size=8,
        ),
        st.lists(st.sampled_from([b"/", b"a", b"b", b".", b"A"]), max_size=6).map(b"".join),
    )
    @settings(max_examples=400, deadline=None)
    def test_literal_holds(self, pieces: list[str], subject: bytes) -> None:
        """
        A text that does not begin with the literal is not matched.
        """
        try:
            regex = Regex.parse("^" + "".join(pieces))
        except ValueError:
            return
        if regex.find(subject) is not None:
            self.assertTrue(subject.startswith(regex.literal), (regex, subject))

    def test_among(self) -> None:
        """
        Many are looked for at once, also when they have groups of the same name.
        """
        regexes = [Regex.parse(text) for text in ("^/(?P<a>x)$", "^/(?P<a>y)$", "é|z$", "x", "^/.*\\n")]
        find = among(regexes)
        assert find is not None
        for subject in (b"/x", b"/y", b"/w", b"ez", "é".encode(), b"", b"/xz", b"/x\n", b"/\xffz"):
            expected = [index for index, regex in enumerate(regexes) if regex.find(subject) is not None]
            self.assertEqual(list(find(subject)), expected, subject)

    def test_too_many(self) -> None:
        """
        What does not fit is refused, and never said not to be found.
        """
        large = [Regex.parse(f"({'|'.join(f'{n}x{m}' for m in range(90))}).{{200}}{n}$") for n in range(400)]
        self.assertIsNone(among(large))
        find = among(large[:2])
        assert find is not None
        self.assertEqual(list(find(b"1x7" + b"." * 200 + b"1")), [1])


class GlobTests(SynchronousTestCase):
    """
    Patterns for paths.
    """

    def test_table(self) -> None:
        """
        A star stays in its segment, two do not, and all that is not special is itself.
        """
        for glob, path, expected in (
            ("/img/**/*.png", b"/img/x.png", True),
            ("/img/**/*.png", b"/img/a/b/x.png", True),
            ("/img/**/*.png", b"/imgx/x.png", False),
            ("/img/*.png", b"/img/a/x.png", False),
            ("/img/**", b"/img/a/b", True),
            ("/img/**", b"/img", False),
            ("/*.{png,jpg}", b"/a.jpg", True),
            ("/*.{png,jpg}", b"/a.gif", False),
            ("/?", b"/a", True),
            ("/?", b"//", False),
            ("/[a-c]x", b"/bx", True),
            ("/[!a-c]x", b"/bx", False),
            ("/a[!b]c", b"/a/c", False),
            ("/a.b", b"/axb", False),
            ("/a+(b)|^$", b"/a+(b)|^$", True),
            ("/a*", b"/a\nb", True),
            ("**.php", b"/x/y.php", True),
        ):
            self.assertIs(Glob.parse(glob).regex.find(path) is not None, expected, (glob, path))
        self.assertEqual(Glob.parse("/img/**/*.png").regex.literal, b"/img/")

    def test_refused(self) -> None:
        """
        A path begins with a slash.
        """
        for text in ("x", "", "/[z-a]"):
            self.assertRaises(ValueError, Glob.parse, text)
