"""
What a program tells systemd: that it serves, reloads, ends, and lives (sd_notify(3)).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import Final

from twistginx.service.status import Status

#: The variables of sd_notify(3) and sd_watchdog_enabled(3).
_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHED: Final = "WATCHDOG_PID"

#: Seconds between two texts that differ in how many are connected, and in nothing else: each goes to all who watch the
#: service.
QUIET: Final = 10.0

#: Seconds beyond ``drain_timeout`` that we may take to end.
_MARGIN: Final = 15.0

#: Characters of a text, at most: it is one line of ``systemctl status``.
_LONGEST: Final = 500


class SystemdStatus(Status):
    """
    Tells systemd, by datagrams.

    A message that cannot be sent is dropped: whoever does not listen does not keep us from serving.

    :ivar interval: seconds between two calls of ``alive``.
    """

    def __init__(self, address: str, watchdog: float | None = None, *, succeeds: bool = False) -> None:
        """
        :param address: of the socket: a path, or an abstract name after an ``@``.
        :param watchdog: seconds without a sign of life after which systemd ends us; None: it does not look.
        :param succeeds: is another process the main one still, which will name us when we serve?  Until then, systemd
            takes no word from us.
        """
        self.interval = Status.interval if watchdog is None else min(Status.interval, watchdog / 2)
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watched = watchdog is not None
        self._silent = succeeds
        self._text = self._said = ""
        self._quiet = 0.0
        self._succeeded = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ, *, succeeds: bool = False) -> Status:
        """
        What the environment asks for: a :class:`SystemdStatus`, or one that tells nobody.

        ``WATCHDOG_PID`` is taken out: a process that is to replace us is watched as we are.
        """
        address = environment.get(_SOCKET, "")
        watched = environment.pop(_WATCHED, "")
        if not address.startswith(("/", "@")):
            return Status()
        if not succeeds and watched not in ("", str(os.getpid())):
            return cls(address)
        return cls(address, _watchdog_of(environment), succeeds=succeeds)

    def ready(self, text: str) -> None:
        self._text = self._said = text
        self._tell("READY=1", _status(text))

    def reloading(self) -> None:
        # systemd compares it with when it asked (Type=notify-reload), so it is to be of now.
        self._tell("RELOADING=1", f"MONOTONIC_USEC={clock_gettime_ns(CLOCK_MONOTONIC) // 1000}", _status("reloading"))

    def stopping(self, text: str, seconds: float = 0.0) -> None:
        self._tell("STOPPING=1", _status(text), f"EXTEND_TIMEOUT_USEC={round((seconds + _MARGIN) * 1e6)}")
        self._text = ""

    def failed(self, text: str) -> None:
        self._tell(_status(text))

    def succeeded(self, pid: int) -> None:
        # In our name, because until this is read nobody hears the other one.
        self._tell(f"MAINPID={pid}", "READY=1", _status(self._text))
        self._succeeded = True

    def alive(self, connections: int) -> None:
        text = f"{connections} connected; {self._text}" if self._text else ""
        self._quiet -= self.interval
        if self._silent or (text and text != self._said and self._quiet <= 0):
            self._silent = False
            self._said, self._quiet = text, QUIET
            self._tell(_status(text))
        elif self._watched:
            self._tell()

    def _tell(self, *assignments: str) -> None:
        """
        Send a message; where somebody looks, it is a sign of life too.
        """
        if self._silent or self._succeeded:
            return
        lines = (*assignments, "WATCHDOG=1") if self._watched else assignments
        with suppress(OSError):
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def _status(text: str) -> str:
    """
    A text for people, on one line.
    """
    return f"STATUS={' '.join(text.split())[:_LONGEST]}"


def _watchdog_of(environment: Mapping[str, str]) -> float | None:
    """
    Seconds of the watchdog; None where there is none.
    """
    value = environment.get(_WATCHDOG, "")
    return int(value) / 1e6 if value.isascii() and value.isdigit() and int(value) else None
