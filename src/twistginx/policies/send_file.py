"""
``send_file``: files that an application has sent, without sending them itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.config.tables.match import RoutePath
from twistginx.errors import ProxyError
from twistginx.http.message import Fields, Reply, ResponseHead
from twistginx.interfaces import IPolicyModule
from twistginx.routing.match import under

moduleProvides(IPolicyModule)

name = "send_file"
api = 1
# It sees what the resource has answered before anybody else does, but for ``on_error``, which sees what comes of it.
rank = 850
applies_to = frozenset(("http",))
many = False

#: What an application names a file by: nginx's field has a path as in a URL, Apache's one of the file system.
_PATH: Final = b"x-accel-redirect"
_FILE: Final = b"x-sendfile"

#: Fields of the application's answer that speak of its own body, or are for us.
_NOT_KEPT: Final = frozenset(
    (
        *(_PATH, _FILE, b"accept-ranges", b"content-encoding", b"content-length", b"content-range", b"etag"),
        *(b"last-modified", b"transfer-encoding", b"content-md5", b"digest", b"content-digest", b"repr-digest"),
    )
)

_WHOLE: Final = 200
_PARTIAL: Final = 206


@frozen
class Config:
    """
    Send the file that an application names in its answer, by ``X-Accel-Redirect`` or ``X-Sendfile``: it decides who
    gets what, and has done with it.  ``send_file = "protected"`` is short for ``root``.

    Ranges and conditions of the request hold for the file; status, type and all other fields that the application has
    said stay, but for those that speak of its own body.

    :ivar root: the directory of the files.  No route need lead there.
    :ivar prefix: what paths in ``X-Accel-Redirect`` begin with, for this directory: with "/protected",
        /protected/a.pdf is a.pdf in it.  ``X-Sendfile`` has the path of a file beneath the root.
    :ivar symlinks: as in ``static``.
    """

    root: Path
    prefix: RoutePath = "/"
    symlinks: Literal["inside", "follow", "deny"] = "inside"

    @classmethod
    def from_shorthand(cls, value: object) -> Mapping[str, object]:
        """
        ``send_file = "protected"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a directory, as in send_file = "protected"')
        return {"root": value}


def make(config: Config, context: Any) -> SendFile:
    """
    The policy.

    :raise ConfigError: when there is no such directory.
    """
    options = {"root": config.root, "symlinks": config.symlinks, "hidden": True}
    return SendFile(context.resource("static", options, "root"), config.prefix.rstrip("/").encode())


class SendFile:
    """
    The policy of one route.
    """

    __slots__ = ("_files", "_prefix", "_roots")

    def __init__(self, files: Any, prefix: bytes) -> None:
        """
        :param files: a resource of ``static``.
        """
        self._files: Final = files
        self._prefix: Final = prefix
        self._roots: Final = tuple(os.fsencode(path) for path in (files.path, os.path.realpath(files.path)))

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return [f"sends the file beneath {self._files.path} that the answer names, if it names one"]

    def responding(self, request: Any, head: ResponseHead) -> Reply | None:
        """
        Answer with the file that the resource names.

        :raise ProxyError: when it is not there, or may not be read.
        """
        fields = head.fields
        if _PATH not in fields and _FILE not in fields:
            return None
        if request.error is not None:
            return None
        reply: Reply = self._files.reply_with(request.head, self._below(fields))
        typed = reply.status == _WHOLE or (reply.status == _PARTIAL and b"content-range" in reply.fields)
        kept = [each for each in fields if each[0] not in _NOT_KEPT and (typed or not each[0].startswith(b"content-"))]
        said = {each[0] for each in kept}
        return Reply(
            head.status if reply.status == _WHOLE else reply.status,
            Fields([*kept, *(each for each in reply.fields if each[0] not in said)]),
            reply.body,
            reply.length,
        )

    def _below(self, fields: Fields) -> bytes:
        """
        The path of the file beneath the root.

        :raise ProxyError: when it is not beneath it.
        """
        path = fields.first(_PATH)
        if path is not None:
            path = unquote_to_bytes(path.partition(b"?")[0])
            if under(path, self._prefix):
                return path[len(self._prefix) :]
        else:
            path = fields.first(_FILE) or b""
            for root in self._roots:
                if under(path, root):
                    return path[len(root) :]
        raise ProxyError(
            "destination_not_found", "send_file: the application names a file that is not beneath the root"
        )
