"""
``balance = "hash"``: requests with the same key go to the same server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.template import Template
from twistginx.interfaces import IBalanceModule
from twistginx.upstream.balance import Candidate
from twistginx.upstream.ring import Ring, position
from twistginx.upstream.round_robin import RoundRobin

moduleProvides(IBalanceModule)

name = "hash"
api = 1


@frozen
class Config:
    """
    Requests with the same key go to the same server, as long as it is up: caches stay warm, sessions find their data.
    When a server leaves, its keys go to all others, and no other key changes hands (consistent hashing).  Requests
    without a key take turns.

    ``balance = "hash"`` beside ``hash_key = "{cookie.user}"`` is short for
    ``balance = { hash = { hash_key = "{cookie.user}" } }``.

    On a raw stream ``{client}`` alone is known; other keys are empty there.

    :ivar hash_key: the key, a template.
    :ivar bounded_load: no server gets more than this many times its part of all that is under way, so that a popular
        key does not drown it: what is too much goes to the next server.  0 has no bound.
    """

    hash_key: Template = field()
    bounded_load: float = field(default=1.25)

    @hash_key.validator
    def _check_key(self, attribute: Attribute[Any], value: Template) -> None:
        if value.is_constant:
            raise ValueError('is the same for all requests; expected variables, as in "{cookie.user}"')

    @bounded_load.validator
    def _check_bound(self, attribute: Attribute[Any], value: float) -> None:
        if value != 0 and not 1 < value <= 100:
            raise ValueError(f"is {value:g}; expected more than 1, such as 1.25, or 0")


def make(config: Config, context: Any) -> Hash:
    """
    As ``IBalanceModule`` says.
    """
    needs_head = any(getattr(part, "name", "client") != "client" for part in config.hash_key.parts)
    return Hash(context.template(config.hash_key), config.bounded_load, needs_head)


class Hash:
    """
    A ring, and turns for those without a key.
    """

    def __init__(self, key: Callable[..., bytes], bound: float, needs_head: bool = True) -> None:
        """
        :param needs_head: without the head of a request there is no key.
        """
        self._key = key
        self._needs_head = needs_head
        self._ring = Ring(bound)
        self._turns = RoundRobin()
        self.forget = self._ring.forget
        if bound:
            self.began = self._ring.began
            self.ended = self._ring.ended

    def pick(self, peers: Sequence[Candidate], request: Any, tried: Collection[Candidate]) -> Candidate | None:
        """
        Whose the key of ``request`` is.
        """
        if request is None or (self._needs_head and getattr(request, "head", None) is None):
            key = b""
        else:
            key = self._key(request)
        if not key:
            return self._turns.pick(peers, request, tried)
        return self._ring.owner(peers, position(key), tried)
