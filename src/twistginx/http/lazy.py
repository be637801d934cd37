"""
Attributes that are made when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801  # reads as a decorator, like property
    """
    A method that becomes an attribute at its first use.

    Like ``functools.cached_property`` without its lock: what nobody reads costs nothing, and it may be assigned to.
    """

    __slots__ = ("_make", "_name")

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> lazy[T] | T:
        if instance is None:
            return self
        value = self._make(instance)
        setattr(instance, self._name, value)  # not by the __dict__, which would be made for it
        return value
