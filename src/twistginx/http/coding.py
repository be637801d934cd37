"""
Content codings: which of them a client takes, and what a response must say about them.  Pure; RFC 9110 sections 8.4,
12.5.3 and 12.5.5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from twistginx.http.message import Fields, RequestHead

#: A coding that is none.
IDENTITY: Final = b""

#: Fields that speak of the very bytes of a body, and are wrong when these are changed: digests (RFC 9530, and what was
#: there before it), and that parts of it can be had.
OF_THE_BYTES: Final = (
    b"accept-ranges",
    b"content-digest",
    b"content-length",
    b"content-md5",
    b"digest",
    b"repr-digest",
)

# RFC 9110 section 12.4.2.
_WEIGHT: Final = re.compile(rb"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z")

#: Old names that are equivalent (RFC 9110 section 8.4.1).
_SYNONYMS: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}

#: Answers that are remembered; browsers send a handful of values, and clients can invent any.
_REMEMBERED: Final = 256


def accepted_codings(head: RequestHead) -> bytes:
    """
    The value of Accept-Encoding; empty when there is none.  Of several lines, which nobody sends, the first counts.
    """
    return head.first(b"accept-encoding") or b""


def weights(accept: bytes) -> dict[bytes, float]:
    """
    The members of a list such as Accept-Encoding, in lower case, and how much each is wanted: 0 to 1.

    A member whose weight is malformed is not wanted; of a member that stands twice, the first counts.
    """
    found: dict[bytes, float] = {}
    for member in accept.lower().split(b","):
        name, *parameters = [part.strip(b" \t") for part in member.split(b";")]
        if not name:
            continue
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith(b"q="):
                match = _WEIGHT.match(parameter)
                weight = float(match[1]) if match else 0.0
        found.setdefault(_SYNONYMS.get(name, name), weight)
    return found


class Offer:
    """
    Codings that can be had.

    :ivar codings: their names, in lower case; the one that we like best first.
    """

    __slots__ = ("_answers", "codings")

    def __init__(self, codings: Sequence[bytes]) -> None:
        self.codings = tuple(codings)
        self._answers: dict[bytes, tuple[bytes, ...]] = {}

    def ranked(self, accept: bytes) -> tuple[bytes, ...]:
        """
        The codings that a client takes, best first: what it likes best, and of equals what we do.

        Empty when it had rather have none, which is always an answer, even to who refuses it: RFC 9110 section 12.5.3
        lets us send it, and a client is better off with something that it can read than with a failure.

        :param accept: the value of Accept-Encoding; empty for one that does not say.
        """
        answer = self._answers.get(accept)
        if answer is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[accept] = self._rank(weights(accept))
        return answer

    def _rank(self, wanted: dict[bytes, float]) -> tuple[bytes, ...]:
        others = wanted.get(b"*", 0.0)
        plain = wanted.get(b"identity", 0.0)
        weighed = [(wanted.get(coding, others), coding) for coding in self.codings]
        chosen = [pair for pair in weighed if pair[0] > 0.0 and pair[0] >= plain]
        return tuple(coding for _, coding in sorted(chosen, key=lambda pair: -pair[0]))


def add_vary(fields: Fields, name: bytes = b"Accept-Encoding") -> None:
    """
    Say that the response depends on the request's field ``name``, unless that has been said.
    """
    said = fields.joined(b"vary")
    if not said:
        fields.add(b"Vary", name)
        return
    members = {member.strip(b" \t") for member in said.lower().split(b",")}
    if name.lower() not in members and b"*" not in members:
        fields.put(b"Vary", said + b", " + name)


def weaken(fields: Fields) -> None:
    """
    Make the entity tag weak: the bytes are others now, what they mean is not (RFC 9110 section 8.8.1).
    """
    for position, (lower, name, value) in enumerate(fields):
        if lower == b"etag" and not value.startswith(b"W/"):
            fields[position] = (lower, name, b"W/" + value)


def is_encoded(fields: Fields) -> bool:
    """
    Is the body encoded?  ``identity`` says that it is not, although nobody is to say so (RFC 9110 section 8.4.1).
    """
    coding = fields.first(b"content-encoding")
    return coding is not None and coding.strip(b" \t").lower() != b"identity"


def is_transformable(fields: Fields) -> bool:
    """
    May the body be changed on its way?  Not when it is said that it must not (RFC 9111 section 5.2.2.6).
    """
    return b"no-transform" not in fields.joined(b"cache-control").lower()


def forget_bytes(fields: Fields) -> None:
    """
    Take out what was true of the very bytes of a body that is being changed, and weaken the entity tag.
    """
    fields[:] = [field for field in fields if field[0] not in OF_THE_BYTES]
    weaken(fields)


# What a pattern of media types may be (the names: RFC 6838 section 4.2, in lower case).
_NAME: Final = rb"[a-z0-9][a-z0-9!#$&^_.+-]*"
_PATTERN: Final = re.compile(rb"(?:\*|%b/\*|\*\+[a-z0-9.-]+|%b/%b)\Z" % (_NAME, _NAME, _NAME))


class MediaTypes:
    """
    Media types that something is done to.

    :ivar patterns: ``text/html``, ``text/*``, ``*+json`` or ``*``.
    """

    __slots__ = ("_answers", "_exact", "_prefixes", "_suffixes", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        """
        :raise ValueError: for a pattern that is none.
        """
        self.patterns = tuple(patterns)
        exact, prefixes, suffixes = set(), [], []
        for pattern in patterns:
            lower = pattern.lower().encode()
            if not _PATTERN.match(lower):
                raise ValueError(
                    f'"{pattern}" is no media type; expected one such as "text/html", "text/*" or "*+json"'
                )
            if lower == b"*":
                prefixes.append(b"")
            elif lower.endswith(b"/*"):
                prefixes.append(lower[:-1])
            elif lower.startswith(b"*"):
                suffixes.append(lower[1:])
            else:
                exact.add(lower)
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self._answers: dict[bytes, bool] = {}

    def has(self, content_type: bytes) -> bool:
        """
        Is the type of a Content-Type among them?
        """
        answer = self._answers.get(content_type)
        if answer is None:
            if len(self._answers) >= _REMEMBERED:  # an upstream can invent any
                self._answers.clear()
            media = content_type.partition(b";")[0].strip(b" \t").lower()
            answer = self._answers[content_type] = media in self._exact or (
                b"/" in media and (media.startswith(self._prefixes) or media.endswith(self._suffixes))
            )
        return answer
