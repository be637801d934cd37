"""
``[networks]``.
"""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from twistginx.config.networks import ALL, Entry
from twistginx.config.tables.fields import COMPOSED, SINGLE, not_empty


def _check_flat(_: Any, attribute: Attribute[Any], value: tuple[Entry, ...]) -> None:
    for entry in value:
        if entry.name and entry.name != ALL:
            raise ValueError(f'has the name of a list in it, "{entry.name}"; expected networks and files')


@frozen
class Networks:
    """
    ``[networks]``: lists of addresses, by the names that ``access`` and others call them.

    An array is short for ``addresses``.  A file (``"file:lists/office.txt"``) has a network or an address to a line;
    ``#`` and ``;`` begin a comment.  It is read again when it changes.  One that is wrong then, or gone, changes
    nothing, and the error log says why.

    :ivar name: the name.
    :ivar addresses: networks ("10.0.0.0/8"), addresses, "unix" (everybody who comes over a UNIX socket), files, "all".
    :ivar without: what is not meant, although it is in ``addresses``: the same again.
    """

    name: str = field(metadata=COMPOSED)
    addresses: tuple[Entry, ...] = field(metadata=SINGLE, validator=[not_empty, _check_flat])
    without: tuple[Entry, ...] = field(default=(), metadata=SINGLE, validator=_check_flat)
