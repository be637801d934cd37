"""
Who is meant by a list of addresses, now: its files are watched, so the answer may change while we run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol, Self

from attrs import frozen

from twistginx.config.ranges import Ranges, read_list


class Addresses(Protocol):
    """
    A set of addresses.
    """

    def contains(self, address: bytes) -> bool:
        """
        Is ``address`` (the text of an IP address, or ``unix``) in it?
        """


class Everybody:
    """
    All addresses.
    """

    def contains(self, address: bytes) -> bool:
        """
        Yes.
        """
        return True


class _Part(Protocol):
    """
    Something whose ``value`` is a set of addresses now; ``net.watchedfile.WatchedFile`` is one.
    """

    @property
    def value(self) -> Addresses: ...


@frozen
class Fixed:
    """
    A part that stays as it is.
    """

    value: Addresses


class AddressList:
    """
    Several sets of addresses as one.
    """

    __slots__ = ("_excepted", "_parts")

    def __init__(self, parts: Iterable[tuple[str, _Part]], excepted: Self | None = None) -> None:
        """
        :param parts: each with what it is called, for the log.
        :param excepted: who is not meant, although one of the parts has him.
        """
        self._parts: Final = tuple(parts)
        self._excepted: Final = excepted

    def contains(self, address: bytes) -> bool:
        """
        Is ``address`` (the text of an IP address, or ``unix``) in it?
        """
        for _, part in self._parts:
            if part.value.contains(address):
                return self._excepted is None or not self._excepted.contains(address)
        return False

    def found_in(self, address: bytes) -> str:
        """
        What the part is called that has ``address``; empty where none has.
        """
        return next((label for label, part in self._parts if part.value.contains(address)), "")


def read_addresses(content: bytes) -> Ranges:
    """
    What a file of addresses says (``config.ranges.read_list``).

    :raise ValueError: with a short reason.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    return read_list(text)


def fixed(networks: Iterable[Any]) -> Fixed:
    """
    The part that ``config.networks.Network`` objects make.
    """
    return Fixed(Ranges.of(networks))
