"""
How many connections there may be, and what is said of those that were turned away.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from attrs import frozen
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger, LogLevel

if TYPE_CHECKING:
    from twistginx.net.listener import Listener

#: Seconds between two lines of the log about the same kind of refusal at the same listener.
QUIET: Final = 10.0

#: With fewer descriptors than this, a server on the Internet runs out of them soon.
_ENOUGH: Final = 4096

#: A process is not given more descriptors than this, even where the system would: a table of them is kept, in places.
_MANY: Final = 1 << 20

_log = Logger()


@frozen
class Limit:
    """
    A number of connections, and the key that sets it, as ``[listener.edge].limits.connections = 100``.
    """

    connections: int
    setting: str


class Capacity:
    """
    The connections of a process, on all its listeners together.

    :ivar descriptors: that the process may have; None: nobody has asked.
    :ivar limit: how many connections there may be; None: any number.
    :ivar scarcity: what is to be said about too few descriptors; empty when there are enough.
    """

    __slots__ = ("_listeners", "descriptors", "limit", "scarcity")

    def __init__(self) -> None:
        self.descriptors: int | None = None
        self.limit: Limit | None = None
        self.scarcity = ""
        # Those that are closed count too, for as long as a connection of theirs is open, and so refers to them.
        self._listeners: list[ref[Listener]] = []  # no WeakSet: it is walked for each connection

    def include(self, listener: Listener) -> None:
        """
        Count the connections of ``listener`` from now on.
        """
        self._listeners = [each for each in self._listeners if each() not in (None, listener)]
        self._listeners.append(ref(listener))

    def allow(self, connections: int | None, workers: int = 1) -> None:
        """
        Set the limit.

        :param connections: None: half as many as there are descriptors, since a connection that is proxied has two,
            and who is served already is to find some left.
        :param workers: among how many processes they are divided.
        """
        needed = _ENOUGH
        if connections is not None:
            share = -(-connections // workers)
            needed = 2 * share
            among = f", among {workers} workers" if workers > 1 else ""
            self.limit = Limit(share, f"[process].max_connections = {connections}{among}")
        elif self.descriptors is not None:
            number = max(1, self.descriptors // 2)
            of = f"half of the {self.descriptors} open files that are allowed"
            self.limit = Limit(number, f"[process].max_connections = {number} ({of})")
        else:
            self.limit = None
        self.scarcity = ""
        if self.descriptors is not None and self.descriptors < needed:
            self.scarcity = (
                f"this process may have no more than {self.descriptors} files open, and would do well with {needed}: "
                "raise the limit (ulimit -n, or LimitNOFILE= in systemd)"
            )

    @property
    def used(self) -> int:
        """
        How many connections there are.
        """
        used = 0
        for each in self._listeners:
            listener = each()
            if listener is not None:
                used += len(listener.connections)
        return used

    @property
    def reached(self) -> Limit | None:
        """
        The limit, if no connection more is allowed.
        """
        limit = self.limit
        return limit if limit is not None and self.used >= limit.connections else None


class Refusals:
    """
    Connections that a listener has turned away: all are counted, and a few logged, so that nobody can fill the log.

    :ivar counts: by word; what has not happened is not in it.
    """

    __slots__ = ("_clock", "_endpoint", "_next", "_untold", "counts")

    def __init__(self, endpoint: str, clock: IReactorTime) -> None:
        self.counts: dict[str, int] = {}
        self._endpoint = endpoint
        self._clock = clock
        self._next: dict[str, float] = {}  # when the next line of a word may be written
        self._untold: dict[str, int] = {}

    def note(self, word: str, peer: IAddress, why: str, level: LogLevel = LogLevel.info) -> None:
        """
        One more.

        :param word: what it is counted as.
        :param why: for the log.
        """
        self.counts[word] = self.counts.get(word, 0) + 1
        now = self._clock.seconds()
        if now < self._next.get(word, now):
            self._untold[word] = self._untold.get(word, 0) + 1
            return
        self._next[word] = now + QUIET
        _log.emit(
            level,
            "{endpoint}: {peer} was turned away: {why}{more}",
            endpoint=self._endpoint,
            peer=name_of(peer),
            why=why,
            word=word,
            more=f" ({untold} more since the last of these lines)" if (untold := self._untold.pop(word, 0)) else "",
        )


def name_of(address: Any) -> str:
    """
    A client, for the log.
    """
    host = getattr(address, "host", None)
    if host is None:
        return "a client on a UNIX socket"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def raise_descriptor_limit() -> int:
    """
    Let this process have as many descriptors as the system allows it.

    :return: how many that are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard == resource.RLIM_INFINITY else min(hard, _MANY)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _MANY if soft == resource.RLIM_INFINITY else soft
