"""
What the templates at one place of a file may name, beside the variables that there always are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from attrs import frozen


@frozen
class Scope:
    """
    Names that the file itself defines.

    A template is parsed deep within a table, by whatever module describes that table, and what it may name depends on
    what stands around it.  So whoever goes down into a table says where that is: ``with scope.entered(): ...``.

    :ivar maps: of ``[map.NAME]``.
    :ivar variables: of ``[variables]``, of the site and of the route.
    :ivar captures: numbers and names of groups, of the regexes of the route and of the site's names.
    """

    maps: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    captures: frozenset[str] = frozenset()

    def within(self, variables: Iterable[str] = (), captures: Iterable[str] = ()) -> Scope:
        """
        The scope of a table in this one, which defines more.
        """
        return Scope(self.maps, self.variables.union(variables), self.captures.union(captures))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """
        Until the block ends, templates are parsed in this scope.
        """
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


def current() -> Scope:
    """
    Where we are.
    """
    return _CURRENT.get()


_NOTHING: Final = Scope()

_CURRENT: Final[ContextVar[Scope]] = ContextVar("scope", default=_NOTHING)
