"""
Tests of twistginx.config.dump.
"""

from __future__ import annotations

import tomllib
from datetime import date, datetime, time, timedelta, timezone
from math import inf, nan
from typing import Any

import toml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.dump import DumpError, write

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
_VALUES: Any = st.recursive(
    _TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.dates()
    | st.times().map(lambda each: each.replace(fold=0))
    | st.datetimes(timezones=st.none() | st.just(timezone(timedelta(hours=2)))).map(lambda each: each.replace(fold=0)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=10,
)


class WriteTests(SynchronousTestCase):
    """
    Tables as TOML.
    """

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.dictionaries(_TEXTS, _VALUES, max_size=4))
    def test_reads_back(self, data):
        """
        Whatever TOML can say is written so that it reads back; ``write`` itself verifies that.
        """
        self.assertEqual(repr(_sorted(tomllib.loads(write(data)))), repr(_sorted(data)))

    def test_what_toml_alone_gets_wrong(self):
        """
        Strings, keys, empty tables and mixed arrays that the ``toml`` package by itself does not write.
        """
        data = {"a": "\\x00 \x00\x1f\x7f \\", 'k"\\ey': [{"x": {}}], "mixed": [1, {"a": [{}]}, "b"], "empty": {}}
        self.assertEqual(tomllib.loads(write(data)), data)

        self.assertNotEqual(tomllib.loads(toml.dumps({"a": data["a"]})), {"a": data["a"]})
        self.assertRaises(TypeError, toml.dumps, {"mixed": data["mixed"]})

    def test_form(self):
        """
        It is what a person would write.
        """
        data = {
            "top": 1,
            "table": {"key": "a\tb", "inner": {"deep": {"x": inf}}, "list": [1, 2]},
            "array": [{"a": 1, "sub": {"b": [{"c": True}]}}, {}],
            "none": [],
            "when": [date(2026, 1, 2), time(3, 4), datetime(2026, 1, 2, 3, 4)],  # noqa: DTZ001  # a local one
        }
        self.assertEqual(
            write(data),
            "top = 1\nnone = []\nwhen = [2026-01-02, 03:04:00, 2026-01-02T03:04:00]\n"
            '\n[table]\nkey = "a\\tb"\nlist = [1, 2]\n\n[table.inner.deep]\nx = inf\n'
            "\n[[array]]\na = 1\n\n[[array.sub.b]]\nc = true\n\n[[array]]\n",
        )
        self.assertEqual(write({}), "")
        self.assertEqual(write({"a": nan}), "a = nan\n")

    def test_what_cannot_be_written(self):
        """
        What does not read back as it was is refused, not printed.
        """
        self.assertRaises(DumpError, write, {"a": "\ud800"})
        self.assertRaises(DumpError, write, {"a": time(1, 2, fold=1)})


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, _sorted(each)) for key, each in value.items())
    return [_sorted(each) for each in value] if isinstance(value, list) else value
