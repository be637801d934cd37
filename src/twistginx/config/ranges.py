"""
Very many networks: sorted, so that looking an address up costs the same microsecond for ten and for a million.

``config.networks`` is for the few that a person writes; this is for lists that a program writes.  Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from re import compile as pattern
from socket import AF_INET, AF_INET6, inet_pton
from time import sleep
from typing import Final, NamedTuple

from twistginx.config.networks import UNIX, Network

#: How many answers a set remembers.
_REMEMBERED: Final = 4096

#: ``::ffff:0:0/96``: IPv4 addresses that were mapped into IPv6.
_MAPPED: Final = 0xFFFF

#: Lines that are read before others may have the interpreter.
_PIECE: Final = 128

#: What ends a line of a list before its end.
_COMMENT: Final = pattern(r"[#;]")


class Interval(NamedTuple):
    """
    A network as numbers.

    :ivar version: 4 or 6.
    :ivar start: the first address.
    :ivar stop: the one behind the last.
    """

    version: int
    start: int
    stop: int


def number_of(address: str) -> tuple[int, int]:
    """
    The version and the number of an IP address; an IPv4 address that was mapped into IPv6 is the IPv4 address, and a
    zone (``%eth0``) says nothing.

    :raise ValueError: when it is none.
    """
    try:
        if ":" not in address:
            return 4, int.from_bytes(inet_pton(AF_INET, address))
        number = int.from_bytes(inet_pton(AF_INET6, address.partition("%")[0]))
    except (OSError, ValueError):
        raise ValueError(f"{address!r} is not an IP address") from None
    return (4, number & 0xFFFFFFFF) if number >> 32 == _MAPPED else (6, number)


def interval_of(text: str) -> Interval:
    """
    The network that ``text`` says: an address, or an address and a prefix.

    :raise ValueError: with a short reason.
    """
    address, slash, prefix = text.partition("/")
    version, start = number_of(address)
    if not slash:
        return Interval(version, start, start + 1)
    bits = 32 if ":" not in address else 128
    if not prefix.isdigit() or int(prefix) > bits:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8")
    shift = bits - int(prefix)
    size = 1 << shift
    if start & (size - 1) or (version == 4 and shift > 32):
        raise ValueError(f"{text!r} has bits set beyond its prefix")
    return Interval(version, start, start + size)


def read_list(text: str) -> Ranges:
    """
    A list as a file has it: a network or an address to a line; ``#`` and ``;`` begin a comment; ``unix`` stands for
    everybody on a UNIX socket.

    :raise ValueError: for the first line that is something else, with its number.
    """
    intervals = []
    unix = False
    for number, line in enumerate(text.splitlines(), 1):
        if not number % _PIECE:
            sleep(0)  # a thread that serves would wait five milliseconds in each turn for one that never lets go
        entry = line.strip()
        if entry and not entry.isalnum() and (";" in entry or "#" in entry):
            entry = _COMMENT.split(entry, maxsplit=1)[0].rstrip()
        if not entry:
            continue
        if entry == UNIX:
            unix = True
            continue
        try:
            intervals.append(interval_of(entry))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return Ranges(intervals, unix)


class Ranges:
    """
    A set of addresses.  Networks may overlap and repeat.

    :ivar unix: is everybody in it who comes over a UNIX socket?
    """

    __slots__ = ("_answers", "_borders", "unix")

    def __init__(self, intervals: Iterable[Interval] = (), unix: bool = False) -> None:
        self.unix = unix
        by_version: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for version, start, stop in intervals:
            by_version[version].append((start, stop))
        # Where the set begins, where it ends, where it begins again: an address with an odd number of borders up to it
        # is in it.
        self._borders = {version: _borders(pairs) for version, pairs in by_version.items()}
        self._answers: dict[bytes, bool] = {}

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Ranges:
        """
        The same addresses as ``networks``.
        """
        networks = tuple(networks)
        intervals = [
            Interval(each.range.version, int(each.range.network_address), int(each.range.broadcast_address) + 1)
            for each in networks
            if each.range is not None
        ]
        return cls(intervals, any(each.range is None for each in networks))

    def contains(self, address: bytes) -> bool:
        """
        Is ``address`` (the text of an IP address, or ``unix``) in the set?  What is no address is in none.
        """
        answer = self._answers.get(address)
        if answer is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[address] = self._find(address.decode("ascii", "replace"))
        return answer

    def _find(self, address: str) -> bool:
        if address == UNIX:
            return self.unix
        try:
            version, number = number_of(address)
        except ValueError:
            return False
        return bisect_right(self._borders[version], number) % 2 == 1

    def __len__(self) -> int:
        """
        How many stretches of addresses there are, when those that touch are one.
        """
        return sum(len(borders) for borders in self._borders.values()) // 2


def _borders(pairs: list[tuple[int, int]]) -> list[int]:
    stops: dict[int, int] = {}
    for start, stop in pairs:
        stops[start] = max(stop, stops.get(start, 0))
    borders: list[int] = []
    for start in sorted(stops):  # numbers, and no pairs: nobody else runs meanwhile, and it takes a third of the time
        stop = stops[start]
        if borders and start <= borders[-1]:
            borders[-1] = max(borders[-1], stop)
        else:
            borders += (start, stop)
    return borders
