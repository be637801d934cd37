"""
The orders about servers, as the control interface takes them: ``{"command": "drain", "upstream": "app", "server":
"10.0.0.1:8000"}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twistginx.errors import ConfigError
from twistginx.upstream.control import Control

#: The arguments of each, which are named as the parameters of ``Control``.
_ARGUMENTS: Final = {
    "drain": ("upstream", "server"),
    "disable": ("upstream", "server"),
    "enable": ("upstream", "server"),
    "weigh": ("upstream", "server", "weight"),
}

#: Follows a request, and gives the answer.
Command = Callable[[dict[str, Any]], dict[str, Any]]


def commands_of(control: Control) -> dict[str, Command]:
    """
    What there is for ``build.generation.Runtime.commands``.
    """
    return {name: _command(getattr(control, name), arguments) for name, arguments in _ARGUMENTS.items()}


def _command(act: Callable[..., dict[str, Any]], names: tuple[str, ...]) -> Command:
    def command(request: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in request.items() if name != "command"}
        if given.keys() != set(names):
            raise ValueError(f"{request['command']} takes {' '.join(f'{name}=...' for name in names)}")
        for name in ("upstream", "server"):
            # What looks like a number on a command line is a name here.
            given[name] = str(given[name])
        try:
            return act(**given)
        except ConfigError as error:
            raise ValueError(str(error)) from error

    return command
