"""
What fields of several tables have in common: their types, marks and validators.
"""

from __future__ import annotations

from typing import Annotated, Any

from attrs import Attribute, field, frozen

from twistginx.config.address import parse_endpoint
from twistginx.config.headernames import parse_header_pattern
from twistginx.config.scanner import KeyPath
from twistginx.config.units import Duration

#: A server endpoint string, or the name of a listener.
Endpoint = Annotated[str, parse_endpoint]

#: The name of a header, or several by ``*``.
HeaderPattern = Annotated[str, parse_header_pattern]

#: The field is not a key of the table: load puts it together.
COMPOSED = {"composed": True}

#: One value may stand for an array of one.
SINGLE = {"single": True}


def at_least(smallest: int) -> Any:
    """
    A validator of numbers.
    """

    def check(_: Any, attribute: Attribute[Any], value: int | None) -> None:
        if value is not None and value < smallest:
            raise ValueError(f"is {value}; expected {smallest} or more")

    return check


def between(smallest: int, largest: int) -> Any:
    """
    A validator of numbers.
    """

    def check(_: Any, attribute: Attribute[Any], value: int) -> None:
        if not smallest <= value <= largest:
            raise ValueError(f"is {value}; expected a number from {smallest} to {largest}")

    return check


def positive(_: Any, attribute: Attribute[Any], value: Duration | None) -> None:
    """
    A validator of times in which something must be possible.
    """
    if value is not None and not value:
        raise ValueError("is 0, so that everything would be too late; expected a duration")


def not_empty(_: Any, attribute: Attribute[Any], value: tuple[Any, ...]) -> None:
    """
    A validator of arrays.
    """
    if not value:
        raise ValueError("is empty; expected at least one")


@frozen
class Use:
    """
    A module and its options: what a resource table, a policy table or ``balance`` says.

    :ivar name: of the module.
    :ivar config: an instance of the module's ``Config``.
    :ivar module: the module.
    :ivar where: the key path of the table, for problems that are found at build.
    :ivar when: a ``Match``, or the name of one: of a policy, the requests that it is for; None: all.
    """

    name: str
    config: Any
    module: Any = field(eq=False, repr=False)
    where: KeyPath = field(eq=False)
    when: Any = None


#: A policy that is in use: several of them where its module says ``many``, or where they are for different requests.
Policy = Use | tuple[Use, ...]
