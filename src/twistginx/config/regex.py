"""
Regular expressions of a configuration, which are safe on whatever a client sends.

They are RE2's: a search takes time in proportion to the length of the text, so that nobody can make one slow by sending
the right bytes.  For that, RE2 knows no look-around and no back references.  It searches bytes, and a dot is any byte,
a line end and what is no UTF-8 too: ``^/admin/.*$`` cannot be evaded by a byte that a dot would not match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import re2
from attrs import field, frozen

#: Characters of a pattern; what is longer is data, and belongs in a map.
LONGEST: Final = 1000

#: Bytes that RE2 may take for one pattern, its caches included.
_MEMORY: Final = 1 << 20

#: Where each group of a match begins and ends, the whole match first; ``(-1, -1)`` for a group that took no part.
Spans = Sequence[tuple[int, int]]

#: What a character of a pattern is when it is not itself.
_MEANT: Final = frozenset(r".+*?()|[]{}^$" + "\\")

_NOWHERE: Final = (-1, -1)
_HERE: Final = re2.Options.Encoding.LATIN1
_ANYWHERE: Any = getattr(re2, "_Anchor").UNANCHORED if hasattr(re2, "_Anchor") else None  # noqa: B009

#: What RE2 says, and what to write instead.
_HINTS: Final = (
    (r"\(\?<?[=!]", "look-around is not known, because it can take very long; match what is wanted, or use not"),
    (r"\\[1-9]", "back references are not known, because they can take very long"),
    (r"\\Z", r"the end of the text is \z, or $"),
    (r"\(\?>|[*+?}]\+", "possessive and atomic groups are not known, and not needed: nothing goes back"),
)

#: Escapes, character classes, and groups, as far as it matters where they are.
_TOKENS: Final = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?[a-zA-Z-]+[:)]|.", re.DOTALL
)


#: A group that sets flags for what follows.
_FLAGS: Final = re.compile(r"\(\?[a-zA-Z-]*\)")


@frozen
class Regex:
    """
    A regular expression, compiled.

    :ivar text: as written.
    :ivar literal: what a text that is matched begins with; empty where that is not known.
    :ivar groups: how many groups it captures.
    :ivar names: of those that have one, to their numbers.
    :ivar find: where ``(subject)`` matches, ``(subject, start)`` from there on: the spans, or None.
    """

    text: str
    literal: bytes = field(eq=False, repr=False)
    groups: int = field(eq=False, repr=False)
    names: Mapping[str, int] = field(eq=False, repr=False)
    find: Callable[..., Spans | None] = field(eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Regex:
        """
        The regular expression that ``text`` says, in RE2's syntax; ``(?P<name>...)`` and ``(?<name>...)`` are captures.

        :raise ValueError: with a short reason.
        """
        return _parsed(str.__str__(text))

    @property
    def captures(self) -> frozenset[str]:
        """
        What may stand in the braces of a template: the numbers and names of the groups, 0 for all that was matched.
        """
        return frozenset((*map(str, range(self.groups + 1)), *self.names))

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Regex:
    if not text:
        raise ValueError("is empty, and would match everything")
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    try:
        compiled = re2.compile(_as_bytes(text), options=_options())
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown error"
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, text)), "")
        raise ValueError(f'"{text}" is no regular expression: {hint or reason}') from None
    names = {_text(name): number for name, number in compiled.groupindex.items()}
    return Regex(text, _literal_of(text), compiled.groups, names, _finder(compiled))


def among(regexes: Iterable[Regex]) -> Callable[[bytes], Sequence[int]] | None:
    """
    Which of these are found in ``(subject)``: their positions, in order.  One pass finds all.

    None when they are too much for one automaton.
    """
    options = _options()
    options.never_capture = True
    options.max_mem = _MEMORY << 3
    together = re2.Set.SearchSet(options)
    try:
        for regex in regexes:
            together.Add(_as_bytes(regex.text))
        nothing = together.Add(rb"\A\z")
        together.Compile()
    except re2.error:
        return None
    match = together.Match
    # An automaton that has no room says that nothing is found.  Whether it has is settled before the first byte.
    if nothing not in (match(b"") or ()):
        return None

    def find(subject: bytes) -> Sequence[int]:
        found: Sequence[int] = match(subject) or ()
        return [index for index in sorted(found) if index < nothing] if len(found) > 1 or not subject else found

    return find


def _options() -> Any:
    options = re2.Options()
    options.encoding = _HERE
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _finder(compiled: Any) -> Callable[..., Spans | None]:
    # re2's own search makes a generator and an object for every call, and takes three times as long as the call that is
    # in it.  That one is not public: without it, the public way does.
    match = getattr(getattr(compiled, "_regexp", None), "Match", None)
    if match is None or _ANYWHERE is None:

        def search(subject: bytes, start: int = 0) -> Spans | None:
            found = compiled.search(subject, start)
            return None if found is None else [found.span(group) for group in range(compiled.groups + 1)]

        return search

    def find(subject: bytes, start: int = 0) -> Spans | None:
        spans: Spans = match(_ANYWHERE, subject, start, len(subject))
        return None if spans[0] == _NOWHERE else spans

    return find


def _as_bytes(text: str) -> bytes:
    """
    The pattern for bytes: a character that is several is one thing to what follows it.

    :raise ValueError: where it stands in a class, which is of single bytes.
    """
    if text.isascii():
        return text.encode("ascii")
    pattern = b""
    for token in _TOKENS.findall(text):
        encoded = token.encode("utf-8", "surrogateescape")
        if len(token) == 1 and not token.isascii():
            encoded = b"(?:" + encoded + b")"
        elif token[0] == "[" and not token.isascii():
            raise ValueError(f'"{token}" has a character in it that is no ASCII; write the choice as (a|b)')
        pattern += encoded
    return pattern


def _literal_of(text: str) -> bytes:
    """
    What a matched text begins with, where the pattern is held at the beginning by a ``^`` before all of it.
    """
    # Flags are nothing that could be repeated: in "^/a(?i)?" and "^/a+(?i)?", that is what stands before them.
    if not text.startswith("^") or _FLAGS.search(text):
        return b""
    depth = 0
    tokens = _TOKENS.findall(text)
    for piece in tokens:
        if piece.startswith("(?") and piece[-1] in ":)" and len(piece) > len("(?"):
            if "m" in piece:  # then ^ is the beginning of any line
                return b""
            depth += piece[-1] == ":"
        elif piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif piece == "|" and not depth:
            return b""
    literal = b""
    for piece, after in zip(tokens[1:], [*tokens[2:], ""], strict=False):
        plain = piece if piece not in _MEANT else ""
        if len(piece) == len(r"\.") and piece[0] == "\\" and not piece[1].isalnum():
            plain = piece[1]
        if len(plain) != 1 or after in ("?", "*", "{"):
            break
        literal += plain.encode("utf-8", "surrogateescape")
        if after == "+":
            break
    return literal
