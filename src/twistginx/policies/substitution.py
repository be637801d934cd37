"""
Replacing texts in a body that comes in pieces.  Pure.

A piece may end in the middle of what is to be replaced.  So as much of its end is kept back as may be the beginning of
it: of a literal, exactly that; before a regular expression, a window of fixed size, because nobody can say what its
match may begin with.  No more than that is ever kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

#: Groups of a match: where each begins and ends, the whole first.
Spans = Sequence[tuple[int, int]]

#: Bytes that a regular expression sees of what stands before the place where it looks on: for ``\b``.
_BEFORE: Final = 8

#: Bytes of an event without an end that are kept before it is taken for what it is not.
_LONGEST_EVENT: Final = 1 << 16

# A line that is empty.
_END_OF_EVENT: Final = re.compile(rb"\n\r?\n|\r\r")


class Rule(Protocol):
    """
    What to look for, and what to put in its place.

    :ivar once: the first time only.
    :ivar window: bytes that a match may have, to be found across the borders of pieces.
    """

    once: bool
    window: int

    def find(self, data: bytes, start: int) -> Spans | None:
        """
        The first place at or behind ``start``, or None.
        """

    def held(self, data: bytes, start: int) -> int:
        """
        How many bytes of the end may be the beginning of something to replace.
        """


class Literal:
    """
    A text.
    """

    __slots__ = ("once", "text", "window")

    def __init__(self, text: bytes, once: bool = False) -> None:
        self.text = text
        self.once = once
        self.window = len(text)

    def find(self, data: bytes, start: int) -> Spans | None:
        """
        See ``Rule``.
        """
        found = data.find(self.text, start)
        return None if found < 0 else ((found, found + len(self.text)),)

    def held(self, data: bytes, start: int) -> int:
        """
        See ``Rule``.
        """
        text = self.text
        first = text[:1]
        position = data.find(first, max(start, len(data) - len(text) + 1))
        while position >= 0:
            if text.startswith(data[position:]):
                return len(data) - position
            position = data.find(first, position + 1)
        return 0


class Pattern:
    """
    A regular expression.
    """

    __slots__ = ("_find", "once", "window")

    def __init__(self, find: Callable[[bytes, int], Spans | None], window: int, once: bool = False) -> None:
        """
        :param find: its search; it takes linear time.
        """
        self._find = find
        self.once = once
        self.window = window

    def find(self, data: bytes, start: int) -> Spans | None:
        """
        See ``Rule``.
        """
        spans = self._find(data, start)
        # What is empty replaces nothing, and would be found for ever.
        while spans is not None and spans[0][0] == spans[0][1]:
            if spans[0][1] >= len(data):
                return None
            spans = self._find(data, spans[0][1] + 1)
        return spans

    def held(self, data: bytes, start: int) -> int:
        """
        See ``Rule``.
        """
        return min(self.window, len(data) - start)


class Substitution:
    """
    One body, and what is replaced in it: a filter.

    At any place, the first rule that is found there counts, and what was put in is not looked at again.
    """

    __slots__ = ("_done", "_events", "_kept", "_rules", "_start")

    def __init__(self, rules: Sequence[tuple[Rule, Callable[[bytes, Spans], bytes]]], events: bool = False) -> None:
        """
        :param rules: and what makes the bytes to put in place of a match.
        :param events: it is a stream of events: nothing is found across the end of one, and none is kept back.
        """
        self._rules = list(rules)
        self._events = events
        self._kept = b""
        self._start = 0  # of what is still to be looked at; before it stands what was sent, for the patterns to see
        self._done: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """
        See ``IBodyFilter``.
        """
        buffer = self._kept + data
        if self._events:
            ends = [found.end() for found in _END_OF_EVENT.finditer(buffer, self._start)]
            pieces = [self._replace(buffer[:end], end) for end in ends]
            self._keep(buffer, self._start)
            if len(self._kept) < _LONGEST_EVENT:
                return b"".join(pieces)
            buffer = self._kept
            pieces.append(self._replace(buffer, len(buffer)))
            self._keep(buffer, self._start)
            return b"".join(pieces)
        held = max((rule.held(buffer, self._start) for rule, _ in self._alive()), default=0)
        cut = len(buffer) - held
        replaced = self._replace(buffer, cut)
        self._keep(buffer, self._start)
        return replaced

    def finish(self) -> bytes:
        """
        See ``IBodyFilter``.
        """
        buffer, self._kept = self._kept, b""
        return self._replace(buffer, len(buffer))

    def _alive(self) -> list[tuple[Rule, Callable[[bytes, Spans], bytes]]]:
        return [each for index, each in enumerate(self._rules) if index not in self._done]

    def _keep(self, buffer: bytes, start: int) -> None:
        """
        Keep what is to be looked at yet, and a little before it.
        """
        first = max(0, start - _BEFORE)
        self._kept = buffer[first:]
        self._start = start - first

    def _replace(self, buffer: bytes, cut: int) -> bytes:
        """
        What begins before ``cut``, with the replacements in it; ``_start`` is behind it then.
        """
        pieces: list[bytes] = []
        position = self._start
        # What each rule finds next; it is looked for again only when that has been passed.
        found: dict[int, Spans | None] = {}
        while position < cut:
            best = -1
            for index, (rule, _) in enumerate(self._rules):
                if index in self._done:
                    continue
                spans = found.get(index, _UNKNOWN)
                if spans is _UNKNOWN or (spans is not None and spans[0][0] < position):
                    spans = found[index] = rule.find(buffer, position)
                if spans is not None and (best < 0 or spans[0][0] < found[best][0][0]):  # type: ignore[index]
                    best = index
            chosen = found.get(best)
            if chosen is None or chosen[0][0] >= cut:
                break
            rule, make = self._rules[best]
            pieces += (buffer[position : chosen[0][0]], make(buffer, chosen))
            position = chosen[0][1]
            if rule.once:
                self._done.add(best)
        if position < cut:
            pieces.append(buffer[position:cut])
            position = cut
        self._start = position
        return b"".join(pieces)


_UNKNOWN: Final[Spans] = ()
