"""
A request that somebody asks about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from twistginx.config.networks import UNIX

#: The usual port of each scheme.
PORTS: Final = {"http": 80, "https": 443}


class QuestionError(ValueError):
    """
    A request that cannot be asked about; its text says why.
    """


@frozen
class Question:
    """
    A request.

    :ivar port: that the client connects to; None: any.
    :ivar target: path and query.
    :ivar fields: lines, as ``Name: value``.
    :ivar client: the address of who is connected.
    """

    method: str
    scheme: str
    authority: str
    port: int | None
    target: str
    fields: tuple[str, ...] = ()
    client: str = "127.0.0.1"

    @classmethod
    def parse(cls, text: str, fields: Sequence[str] = (), client: str = "127.0.0.1") -> Question:
        """
        ``GET https://host/path``, or the URL alone.

        :raise QuestionError: when it is no request.
        """
        method, space, url = text.strip().rpartition(" ")
        method = method.strip() if space else "GET"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise QuestionError(f"{url!r} is no URL: {error}") from None
        if parts.scheme not in PORTS or not parts.netloc:
            raise QuestionError(f"{url!r} is no URL such as https://example.com/path")
        for line in fields:
            if not re.fullmatch(r"[^\s:]+:[^\r\n\0]*", line):
                raise QuestionError(f'{line!r} is no header such as "Accept: text/html"')
        if client != UNIX:
            try:
                ip_address(client)
            except ValueError:
                raise QuestionError(f"{client!r} is no address") from None
        # As it was written: urlsplit would decode nothing, and takes out nothing but line ends.
        rest = url[len(parts.scheme) + len("://") + len(parts.netloc) :].partition("#")[0]
        target = rest if rest.startswith("/") else f"/{rest}"
        return cls(method, parts.scheme, parts.netloc.rpartition("@")[2], port, target, tuple(fields), client)

    @property
    def wire(self) -> bytes:
        """
        The request as it is sent.
        """
        host = [] if any(line.lower().startswith("host:") for line in self.fields) else [f"Host: {self.authority}"]
        lines = [f"{self.method} {self.target} HTTP/1.1", *host, *self.fields, "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape")
