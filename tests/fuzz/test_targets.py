"""
The fuzzed properties, held for what fuzzing starts from, for what it has found, and for changes of both.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.run import NAMES
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

_SEEDS = {name: seeds(name) for name in NAMES}


@st.composite
def _changed(draw: st.DrawFn, name: str) -> bytes:
    """
    A seed, with some of its bytes replaced, repeated or left out.
    """
    data = draw(st.sampled_from(_SEEDS[name]))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 8)))
        data = (
            data[:start]
            + draw(st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b":", b"0", data[start:stop] * 2]))
            + (data[stop:])
        )
    return data


class TargetTests(SynchronousTestCase):
    """
    Every target, without a fuzzer.
    """

    def test_names(self) -> None:
        """
        The runner runs all there are.
        """
        self.assertEqual(set(NAMES), set(TARGETS))

    def test_seeds(self) -> None:
        """
        Each holds for all that fuzzing starts from, and for what it has found.
        """
        for name, target in TARGETS.items():
            self.assertTrue(_SEEDS[name])
            for data in _SEEDS[name]:
                target(data)

    @given(st.data())
    @settings(max_examples=300, deadline=None)
    def test_changed(self, data: st.DataObject) -> None:
        """
        And for what is almost that.
        """
        name = data.draw(st.sampled_from(NAMES))
        TARGETS[name](data.draw(_changed(name)))
