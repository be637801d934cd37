"""
``store = "memory"``: state in the memory of this machine.
"""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.units import Size
from twistginx.interfaces import IContext, IStoreModule
from twistginx.shared.local import LocalStore

moduleProvides(IStoreModule)

name = "memory"
api = 1


@frozen
class Config:
    """
    The memory of this machine, which all workers share.  It outlives reloads, and not the server.

    :ivar store: "memory".
    :ivar size: how much of it; what is oldest is forgotten first when that is full.  16MiB are half a million clients
        with several workers, and 65,000 with one.  With several workers, another size takes a restart.
    """

    store: str = "memory"
    size: Size = field(default=Size(16 << 20))

    @size.validator
    def _check_size(self, attribute: Attribute[Any], value: Size) -> None:
        if value < 1 << 20:
            raise ValueError('is too little; expected "1MiB" or more')


def make(config: Config, context: IContext) -> LocalStore:
    """
    As ``IStoreModule`` says, for a process that is alone; the workers of a master are given theirs by it
    (``shared.embedded``).
    """
    return LocalStore(config.size)
