"""
``[process]`` and ``[log]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import Attribute, field, frozen

from twistginx.config.tables.fields import at_least
from twistginx.config.template import LogTemplate
from twistginx.config.units import Duration


@frozen
class Process:
    """
    ``[process]``: the process itself.

    :ivar drain_timeout: how long, at the end, connections may go on with what they are doing.
    :ivar max_connections: how many clients may be connected at once, on all listeners together; one more is answered
        503, or under TLS and in a stream closed.  None: half as many as the process may have open files, because a
        connection that is proxied has two.
    """

    drain_timeout: Duration = Duration(30)
    max_connections: int | None = field(default=None, validator=at_least(1))


@frozen
class AccessLog:
    """
    ``access`` in ``[log]``: one line for each request.  A string is the path.

    :ivar path: a file, "stdout", or "off".
    :ivar format: "combined" (as nginx writes it), "json", or a template such as "{client} {status} {duration}".
    """

    path: Literal["stdout", "off"] | Path = "stdout"
    format: Literal["combined", "json"] | LogTemplate = field(default="combined")

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
