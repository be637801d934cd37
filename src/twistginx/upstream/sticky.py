"""
``sticky``: a client comes back to the server that it had first, known by a cookie.

The cookie names the server by a code that only who knows the secret can make: nobody learns addresses from it, and
nobody can choose a server that he was not given.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from twistginx.upstream.peer import Peer

#: Bytes of a code: too many to guess, few enough for every request.
_CODE: Final = 12

#: A secret that each installation has for itself (machine-id(5)).  It must not be shown, and so is hashed.
_MACHINE: Final = Path("/etc/machine-id")

_NOT_TOKEN: Final = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")


class CookieOptions(Protocol):
    """
    What is said of a cookie beside its name.
    """

    @property
    def ttl(self) -> float | None: ...
    @property
    def secure(self) -> bool | None: ...
    @property
    def same_site(self) -> str: ...


class StickyOptions(CookieOptions, Protocol):
    """
    See ``config.schema.Sticky``.
    """

    @property
    def cookie(self) -> str | None: ...


def machine_secret() -> bytes | None:
    """
    A secret that all processes of this machine have, over restarts; None where there is none.
    """
    try:
        text = _MACHINE.read_bytes().strip()
    except OSError:
        return None
    return hmac.digest(text, b"twistginx sticky", "sha256") if text else None


class CookieAttributes:
    """
    What follows the value in a Set-Cookie (RFC 6265 section 4.1).
    """

    __slots__ = ("_secure", "_text")

    def __init__(self, options: CookieOptions) -> None:
        text = b"; Path=/; HttpOnly; SameSite=" + options.same_site.capitalize().encode("ascii")
        if options.ttl is not None:
            text += b"; Max-Age=%d" % max(1, round(options.ttl))
        self._text = text
        # A browser refuses SameSite=None without Secure.
        self._secure = True if options.same_site == "none" else options.secure

    def of(self, request: Any) -> bytes:
        """
        For the answer to ``request``.
        """
        secure = request.scheme == b"https" if self._secure is None else self._secure
        return self._text + b"; Secure" if secure else self._text


class Sticky:
    """
    The cookies of one upstream.

    :ivar secret: what codes are made with.
    """

    def __init__(self, name: str, options: StickyOptions, secret: bytes) -> None:
        """
        :param name: of the upstream.
        """
        self.secret = secret
        cookie = (options.cookie or "sticky_" + _NOT_TOKEN.sub("_", name)).encode("ascii")
        self._scope = name.encode("utf-8", "surrogateescape")
        self._code = re.compile(
            rb'(?:^|[; ])%b="?([A-Za-z0-9_-]{%d})"?(?:$|[; ])' % (re.escape(cookie), _CODE * 4 // 3)
        )
        self._start = cookie + b"="
        self._attributes = CookieAttributes(options)
        self._peers: dict[bytes, Peer] = {}
        self._codes: dict[Peer, bytes] = {}

    def know(self, peers: Iterable[Peer]) -> None:
        """
        From now on these are the peers.
        """
        self._codes = {peer: self.code(peer.label) for peer in peers}
        self._peers = {code: peer for peer, code in self._codes.items()}

    def code(self, label: bytes) -> bytes:
        """
        What the cookie says for the server of that label.
        """
        digest = hmac.digest(self.secret, self._scope + b"\0" + label, "sha256")
        return urlsafe_b64encode(digest[:_CODE])

    def peer_of(self, request: Any) -> Peer | None:
        """
        The peer that ``request`` names, if it is there and may be used; None on a raw stream.
        """
        head = getattr(request, "head", None)
        said = None if head is None else head.first(b"cookie")
        if not said:
            return None
        found = self._code.search(said)
        peer = None if found is None else self._peers.get(found[1])
        return peer if peer is not None and peer.state in ("up", "draining") else None

    def hold(self, request: Any, peer: Peer, head: Any, full: set[Peer]) -> None:
        """
        ``peer`` has answered: have the client come back to it, unless it has a server that is only busy.

        :param head: of the answer; the cookie is added to it.
        """
        before = self.peer_of(request)
        code = self._codes.get(peer)
        if before is peer or code is None or (before is not None and before in full):
            return
        head.fields.add(b"Set-Cookie", self._start + code + self._attributes.of(request))
