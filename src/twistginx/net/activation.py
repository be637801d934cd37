"""
Sockets that systemd has bound for us (sd_listen_fds(3)).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from attrs import frozen
from twisted.internet.endpoints import _SystemdParser

#: What Twisted has found in our environment when it was imported, which it has taken out of there.
_FOUND: Final = _SystemdParser._sddaemon


@frozen
class Passed:
    """
    A socket.

    :ivar name: its ``FileDescriptorName=``; several have the same where one unit has several addresses.
    """

    descriptor: int
    name: str


def passed() -> tuple[Passed, ...]:
    """
    All, in the order of their descriptors.
    """
    return tuple(map(Passed, _FOUND.inheritedDescriptors(), _FOUND._names))


def unwanted(taken: Iterable[int]) -> list[str]:
    """
    Those that nobody accepts from: whoever connects there would wait for ever.

    :param taken: descriptors of listening sockets, the same or duplicates.
    :return: a sentence each.
    """
    files = {_file(each) for each in taken}
    return [
        f"systemd passed the socket {each.name!r} ({_address(each.descriptor)}), and no listener is for it"
        for each in passed()
        if _file(each.descriptor) not in files
    ]


def mismatch(descriptor: int, family: int) -> str:
    """
    Why a socket cannot be what an endpoint string says.

    :param family: that it says.
    :return: a sentence; empty where it can.
    """
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        if sock.type != socket.SOCK_STREAM:
            return "it is no stream socket (ListenStream=)"
        if sock.family != family:
            return f"it is of another family: expected domain={socket.AddressFamily(sock.family).name[3:]}"
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return "it does not listen (is it of a unit with Accept=yes?)"
    return ""


def _file(descriptor: int) -> tuple[int, int]:
    """
    What duplicates of a descriptor have in common.
    """
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _address(descriptor: int) -> str:
    """
    Where a socket is bound, for people.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
        name = sock.getsockname()
        if isinstance(name, tuple):
            return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        return os.fsdecode(name).replace("\0", "@")  # as abstract names are written
    return "which is closed"
