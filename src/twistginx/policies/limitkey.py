"""
Whose limit it is: what ``key``, ``per`` and ``exempt`` of a limit say.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from twisted.logger import Logger

from twistginx.config.networks import Entry, network_of
from twistginx.config.template import Template, Variable
from twistginx.errors import ConfigError
from twistginx.interfaces import IContext

#: Seconds between two lines of the log about what would have been refused.
_QUIET: Final = 10.0

#: The client, as the one rule of trusted proxies has it.
CLIENT: Final = Template.parse("{client}")


class LimitKey:
    """
    Finds the key of a request, or of a connection, in the store.

    :ivar prefix: what tells this limit from all others.
    """

    __slots__ = ("_exempt", "_getters", "_plain", "prefix")

    def __init__(self, kind: str, template: Template, per: str, exempt: tuple[Entry, ...], context: IContext) -> None:
        """
        :param kind: the name of the policy.
        :param per: what limits that are one share; empty: this one is alone.
        :raise ConfigError: for what cannot be known of a raw connection, and for lists that there are not.
        """
        variables = [part for part in template.parts if isinstance(part, Variable)]
        self._plain: Final = variables == [Variable("client")] and len(template.parts) == 1
        if context.place.startswith("stream") and any(each.name != "client" for each in variables):
            raise ConfigError(
                f"{template} is not known of a raw connection", key="key", expected='expected "{client}", or a constant'
            )
        self._getters: Final = tuple(_getter(template, part, context) for part in variables)
        self._exempt: Final = context.addresses(exempt, "exempt") if exempt else None
        self.prefix: Final = f"{kind}/{per or context.place}/".encode()

    def of_request(self, request: Any) -> bytes | None:
        """
        The key, of a bounded length; None for a client that is exempt.
        """
        client: bytes = request.client_ip
        if self._exempt is not None and self._exempt.contains(client):
            return None
        if self._plain:
            return self.prefix + (network_of(client) if b":" in client else client)
        values = [get(request) for get in self._getters]
        if self._getters and not any(values):
            # Who leaves out what he is to be known by is known by his address.
            return self.prefix + b"client/" + network_of(client)
        # What clients choose may be long, or a secret, and is nobody's to read.
        return self.prefix + blake2b(b"\0".join(values), digest_size=16).hexdigest().encode()

    def of_connection(self, connection: Any) -> bytes | None:
        """
        The same for a raw connection.
        """
        client = connection.client_ip or b"unix"
        if self._exempt is not None and self._exempt.contains(client):
            return None
        return self.prefix + (network_of(client) if self._getters else b"")


def _getter(template: Template, part: Variable, context: IContext) -> Callable[..., bytes]:
    if part.name == "client":
        return lambda request: network_of(request.client_ip)
    get: Callable[..., bytes] = context.template(Template(template.text, (part,)))
    return get


class DryRun:
    """
    Tells of what would have been refused: a line at a time, however many there are.
    """

    __slots__ = ("_count", "_log", "_next", "_place", "_seconds", "refused")

    def __init__(self, context: IContext) -> None:
        self._log: Final[Logger] = context.log
        self._place: Final = context.place
        self._seconds: Final[Callable[[], float]] = context.reactor.seconds
        self._next = 0.0
        self._count = 0
        self.refused = 0

    def note(self, who: bytes) -> None:
        """
        One more.

        :param who: the client's address.
        """
        self.refused += 1
        self._count += 1
        now = self._seconds()
        if now >= self._next:
            self._next = now + _QUIET
            self._log.info(
                "{place}: dry run: {count} would have been refused, the last from {client}",
                place=self._place,
                count=self._count,
                client=who.decode("latin-1"),
            )
            self._count = 0
