"""
An incremental parser must not notice where its bytes were cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeVar
from unittest import TestCase

Events = TypeVar("Events")

#: How many random ways of cutting are tried.
WAYS = 6


def cuts(data: bytes, seed: int = 1) -> Iterator[list[bytes]]:
    """
    C{data} whole, byte by byte, in two at a few places, and in pieces of random sizes.
    """
    yield [data]
    yield [data[index : index + 1] for index in range(len(data))]
    random = Random(seed)
    for _ in range(WAYS):
        places = sorted(random.sample(range(len(data) + 1), min(len(data) + 1, random.randint(1, 8))))
        yield [piece for piece in map(data.__getitem__, map(slice, [0, *places], [*places, len(data)])) if piece]


def run_splits(
    test: TestCase, run: Callable[[Sequence[bytes]], Events], data: bytes, trailing: Sequence[bytes] = ()
) -> Events:
    """
    Run a parser over C{data}, cut in every way, and hold the results to be the same.

    @param run: makes a new parser, feeds it the pieces, and returns what came of it, in a form that can be compared.
    @param trailing: bytes that may follow and must change nothing of that.
    @return: what came of it.
    """
    expected = run([data])
    for pieces in cuts(data):
        test.assertEqual(run(pieces), expected, pieces)
    for more in trailing:
        test.assertEqual(run([data + more]), expected, more)
        test.assertEqual(run([data, more]), expected, more)
    return expected
