"""
The URL of a service that we ask something ourselves: ``https://auth.internal/verify``.  Pure.
"""

from __future__ import annotations

import re
from typing import Final, Self

from attrs import frozen

from twistginx.config.address import ServerAddress
from twistginx.config.text import Text

_URL: Final = re.compile(r"(https?)://([^/?#@\s]+)([/?][^#\s]*)?")


@frozen
class ServiceURL:
    """
    Where to ask, and for what.

    :ivar server: the address.
    :ivar authority: for the Host field.
    :ivar target: path and query.
    """

    server: ServerAddress
    authority: bytes
    target: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        :raise ValueError: with a short reason.
        """
        match = _URL.fullmatch(text)
        if match is None or not text.isascii():
            raise ValueError(f'{text!r} is not a URL such as "http://127.0.0.1:9091/verify"')
        scheme, authority, target = match.groups()
        base = f"{scheme}://{authority}"
        server = ServerAddress.parse(Text.at(base, text.base) if isinstance(text, Text) else base)
        if not target or target.startswith("?"):
            target = f"/{target or ''}"
        return cls(server, authority.encode(), target.encode())

    def __str__(self) -> str:
        scheme = "https" if self.server.secure else "http"
        return f"{scheme}://{self.authority.decode()}{self.target.decode()}"
