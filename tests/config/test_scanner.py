"""
Tests of twistginx.config.scanner.

The oracle is a writer of TOML that notes where it puts each key and value; ``tomllib`` says which paths there are.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.scanner import KeyPath, Lines, Place, opener, scan

_KEYS = st.one_of(
    st.sampled_from(
        ["a", "b", "key-1", "under_score", "1979", "true", "a.b", "", " ", "#", "é", '"', "'", "[x]", "=\t"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=4),
)

#: Values that are no tables and no arrays, as they are written.
_SCALARS = st.sampled_from(
    [
        "1",
        "-17",
        "0xdead_beef",
        "3.5e-2",
        "inf",
        "true",
        "1979-05-27T07:32:00Z",
        "07:32:00",
        "1979-05-27",
        '"plain"',
        '""',
        "''",
        "'#\"'",
        "1979-05-27 07:32:00",
        '"# no comment"',
        '"quote \\" and \\\\"',
        '"\\u00e9\\n"',
        "'literal \\'",
        '"""multi\nline # = [ {\n"""',
        '""""quoted""""',
        '"""two""at the end"""""',
        '"""\\"""\\\n   continued"""',
        "'''raw \\ ''\n[x]'''",
        "''''quoted'''''",
    ]
)
_BLANKS = st.sampled_from(["", " ", "\t", "  "])
_NEWLINES = st.sampled_from(["", "\n", ' # a comment, with ] and " in it\n', "\n\n  "])

_VALUES: Any = st.recursive(
    _SCALARS.map(lambda text: ("scalar", text)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: ("array", each)),
        st.dictionaries(_KEYS, inner, max_size=3).map(lambda each: ("inline", each)),
    ),
    max_leaves=6,
)
#: What stands under a key of a table: a value, a table by dotted keys, by a header, or an array of tables.
_TABLES: Any = st.recursive(
    st.dictionaries(_KEYS, _VALUES, max_size=3),
    lambda inner: st.dictionaries(
        _KEYS,
        st.one_of(
            _VALUES,
            st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=2).map(lambda each: ("dotted", each)),
            inner.map(lambda each: ("header", each)),
            st.lists(inner, min_size=1, max_size=2).map(lambda each: ("tables", each)),
        ),
        max_size=4,
    ),
    max_leaves=12,
)


class _Writer:
    """
    Writes a document, and notes what it put where.
    """

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.text = ""
        self.places: dict[KeyPath, Place] = {}

    def put(self, text: str) -> int:
        start = len(self.text)
        self.text += text
        return start

    def blank(self, blanks: Any = _BLANKS) -> None:
        self.put(self.data.draw(blanks))

    def key(self, key: str) -> int:
        styles = [json.dumps(key, ensure_ascii=self.data.draw(st.booleans())).replace("\x7f", "\\u007f")]
        if key and key.isascii() and all(each.isalnum() or each in "-_" for each in key):
            styles.append(key)
        if "'" not in key and "\t" not in key and "\x7f" not in key:
            styles.append(f"'{key}'")
        # JSON escapes what is not in the basic plane as surrogates, which TOML does not know.
        styles = [each for each in styles if "\\ud" not in each] or [json.dumps(key, ensure_ascii=False)]
        self.blank()
        start = self.put(self.data.draw(st.sampled_from(styles)))
        self.blank()
        return start

    def pair(self, path: KeyPath, value: Any, keys: tuple[str, ...]) -> None:
        starts = []
        for index, key in enumerate(keys):
            if index:
                self.put(".")
            starts.append(self.key(key))
        for index, start in enumerate(starts[:-1]):
            self.places.setdefault((*path, *keys[: index + 1]), Place(start, start))
        self.put("=")
        self.blank()
        self.places[(*path, *keys)] = Place(starts[-1], len(self.text))
        self.value((*path, *keys), value)

    def value(self, path: KeyPath, value: Any) -> None:
        kind, content = value
        if kind == "scalar":
            self.put(content)
        elif kind == "array":
            self.put("[")
            for index, each in enumerate(content):
                self.blank(_NEWLINES)
                self.places[(*path, index)] = Place(len(self.text), len(self.text))
                self.value((*path, index), each)
                self.blank(_NEWLINES)
                if index < len(content) - 1 or self.data.draw(st.booleans()):
                    self.put(",")
            self.blank(_NEWLINES)
            self.put("]")
        else:
            self.put("{")
            for index, (key, each) in enumerate(content.items()):
                self.put("," if index else "")
                self.pair(path, each, (key,))
                self.blank()
            self.put("}")

    def end_line(self) -> None:
        self.blank()
        self.put(self.data.draw(st.sampled_from(["\n", "# comment = [\n", "\n\n# [x]\n"])))

    def header(self, path: KeyPath, brackets: int) -> None:
        """
        The header of the table at ``path``, in which indices say which element is meant.
        """
        self.blank()
        self.put("[" * brackets)
        keys = [(end, key) for end, key in enumerate(path, 1) if isinstance(key, str)]
        for index, (end, key) in enumerate(keys):
            if index:
                self.put(".")
            start = self.key(key)
            if index < len(keys) - 1:
                self.places.setdefault(path[:end], Place(start, start))
            elif brackets == 1:
                self.places[path[:end]] = Place(start, start)
            else:
                self.places.setdefault(path[:end], Place(start, start))
                self.places[path] = Place(start, start)
        self.put("]" * brackets)
        self.end_line()

    def table(self, path: KeyPath, table: dict[str, Any]) -> None:
        for key, (kind, content) in table.items():
            if kind == "dotted":
                for inner, value in content.items():
                    self.pair(path, value, (key, inner))
                    self.end_line()
            elif kind not in ("header", "tables"):
                self.pair(path, (kind, content), (key,))
                self.end_line()
        for key, (kind, content) in table.items():
            if kind == "header":
                self.header((*path, key), 1)
                self.table((*path, key), content)
            elif kind == "tables":
                for index, each in enumerate(content):
                    self.header((*path, key, index), 2)
                    self.table((*path, key, index), each)


def _paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {path} if path else set()
    for key, each in items:
        found |= _paths(each, (*path, key))
    return found


class ScanTests(SynchronousTestCase):
    """
    Where keys and values stand.
    """

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(_TABLES, st.data())
    def test_everything_has_its_place(self, table, data):
        """
        Every path that ``tomllib`` finds has the place at which it was written, and nothing else has one.
        """
        writer = _Writer(data)
        writer.table((), table)
        document = tomllib.loads(writer.text)
        places = scan(writer.text)
        self.assertEqual(places, writer.places)
        self.assertEqual(set(places), _paths(document))

    def test_header_after_its_child(self):
        """
        A table whose header comes after that of a table in it has the place of its own header.
        """
        self.assertEqual(scan("[a.b]\n[a]\n")["a",], Place(7, 7))

    def test_tables_in_arrays(self):
        """
        A header below an array of tables belongs to the last element.
        """
        places = scan("[[a]]\n[a.b]\n[[a]]\n[[a.c]]\n[a.c.d]\nx.y = 1")
        self.assertEqual(
            list(places),
            [
                ("a",),
                ("a", 0),
                ("a", 0, "b"),
                ("a", 1),
                ("a", 1, "c"),
                ("a", 1, "c", 0),
                ("a", 1, "c", 0, "d"),
                ("a", 1, "c", 0, "d", "x"),
                ("a", 1, "c", 0, "d", "x", "y"),
            ],
        )


class LinesTests(SynchronousTestCase):
    """
    Offsets as people count.
    """

    def test_lines_and_columns(self):
        """
        Both begin at 1, and the end of a line belongs to it.
        """
        lines = Lines("ab\n\néc")
        self.assertEqual(
            [lines.at(offset) for offset in range(7)], [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2), (3, 3)]
        )


class OpenerTests(SynchronousTestCase):
    """
    What has not been closed.
    """

    def test_innermost(self):
        """
        Brackets in strings and comments are none; a string that goes on is open itself.
        """
        for text, expected in (
            ("", -1),
            ("a = [1, 2]", -1),
            ('a = [{ b = "]"', 5),
            ("a = [ # ]\n '''}'''", 4),
            ("a = ['x", 5),
            ('a = """\n[', 4),
            ("[a]\nb = {c = [1]", 8),
            ("a = [ # ", 4),
        ):
            self.assertEqual(opener(text, len(text)), expected, text)
