"""
The URL of a service that we ask something ourselves: ``https://auth.internal/verify``.  Pure.
"""

from __future__ import annotations

import re
from typing import Final, Self

from attrs import field, frozen

from twistginx.config.address import ServerAddress
from twistginx.config.text import Text, written

_URL: Final = re.compile(r"(https?)://([^/?#@\s]+)([/?][^#\s]*)?")


@frozen(repr=False)
class ServiceURL:
    """
    Where to ask, and for what.  Its text is for people: what was put in by ``{env.X}`` and the like is not in it.

    :ivar server: the address.
    :ivar authority: for the Host field.
    :ivar target: path and query.
    """

    server: ServerAddress
    authority: bytes
    target: bytes
    _written: str = field(eq=False)

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
        return cls(server, authority.encode(), target.encode(), written(text))

    def __str__(self) -> str:
        return self._written

    def __repr__(self) -> str:
        return f"<ServiceURL {self}>"
