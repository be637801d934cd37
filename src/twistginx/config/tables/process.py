"""
``[process]`` and ``[log]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import Attribute, field, frozen

from twistginx.config.tables.fields import at_least, positive
from twistginx.config.tables.health import Statuses
from twistginx.config.tables.match import Match
from twistginx.config.template import LogTemplate
from twistginx.config.units import Duration

#: How many workers there may be: the memory that they share has room for twice as many, for replacements.
MOST_WORKERS = 120


@frozen
class Process:
    """
    ``[process]``: the process itself.

    :ivar workers: how many processes serve: a number, or "auto": one for each core that this one may use, or
        whose time its control group (a container's) allows.  With one, the process that was started serves; with more
        it is their master, and serves nothing itself.
    :ivar worker_timeout: how long a worker may be deaf, because something keeps it busy, until it is killed and another
        one takes its place.
    :ivar reload_on_change: reload when a file of the configuration changes: the file itself, what it includes,
        certificates, keys, and what ``{file.PATH}`` names.
    :ivar control: the path of a UNIX socket that takes orders (``twistginx ctl``), readable for this user alone.
    :ivar drain_timeout: how long, at the end, connections may go on with what they are doing.
    :ivar max_connections: how many clients may be connected at once, on all listeners together; one more is answered
        503, or under TLS and in a stream closed.  They are divided among the workers.  None: half as many as the
        process may have open files, because a connection that is proxied has two.
    """

    workers: Literal["auto"] | int = field(default=1)
    worker_timeout: Duration = field(default=Duration(30), validator=positive)
    reload_on_change: bool = False
    control: Path | None = None
    drain_timeout: Duration = Duration(30)
    max_connections: int | None = field(default=None, validator=at_least(1))

    @workers.validator
    def _check_workers(self, attribute: Attribute[Any], value: str | int) -> None:
        if value != "auto" and not 1 <= int(value) <= MOST_WORKERS:
            raise ValueError(f'is {value}; expected "auto", or a number from 1 to {MOST_WORKERS}')


@frozen
class AccessLog:
    """
    ``access`` in ``[log]``: one line for each request.  A string is the path.

    :ivar path: a file, "stdout", or "off".
    :ivar format: "combined" (as nginx writes it), "json", or a template such as "{client} {status} {duration}".
    :ivar when: what a request must have to get its line, as in ``match``: a table, or the name of a ``[match.NAME]``.
        { not = { exact = "/healthz" } } leaves out what a monitor asks for.
    :ivar status: the statuses of answers that get their line: "4xx, 5xx"; without it: all.
    """

    path: Literal["stdout", "off"] | Path = "stdout"
    format: Literal["combined", "json"] | LogTemplate = field(default="combined")
    when: Match | str | None = None
    status: Statuses | None = None

    @format.validator  # noqa: A003  # the field, not the builtin
    def _check_format(self, attribute: Attribute[Any], value: str | LogTemplate) -> None:
        if isinstance(value, LogTemplate) and value.is_constant:
            raise ValueError(f'is "{value.text}"; expected "combined", "json" or a template such as "{{client}}"')

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``access = "logs/access.log"``.
        """
        return _path_of(value, "off")


@frozen
class ErrorLog:
    """
    ``error`` in ``[log]``: what happens to the server.  A string is the path.

    :ivar path: a file, "stderr" or "stdout".
    :ivar level: the least level that is written.
    """

    path: Literal["stderr", "stdout"] | Path = "stderr"
    level: Literal["debug", "info", "warn", "error", "critical"] = "info"

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``error = "logs/error.log"``.
        """
        return _path_of(value, "stderr")


def _path_of(value: object, word: str) -> dict[str, object]:
    if isinstance(value, str):
        return {"path": value}
    raise ValueError(f'expected a path, "{word}" or a table with a path')


@frozen
class Log:
    """
    ``[log]``: the logs.  SIGUSR1 opens their files again.
    """

    access: AccessLog = AccessLog()
    error: ErrorLog = ErrorLog()
