"""
Signed request-targets: ``/path?query&expires=SECONDS&key=NAME&signature=BASE64URL``.  Pure.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hmac import compare_digest, digest
from typing import ClassVar, Final

from attrs import field, frozen

_SIGNATURE: Final = b"&signature="

#: Digits that a time in seconds may have.
_LONGEST: Final = 12


class BadSignature(Exception):
    """
    A target that is not signed, or not rightly; the text says why, for a log.
    """


@frozen
class Signer:
    """
    Signs, and checks.

    :ivar keys: by name.
    """

    #: The arguments that are the signature's.
    ARGUMENTS: ClassVar = frozenset((b"expires", b"key", b"signature"))

    keys: Mapping[bytes, bytes] = field(repr=False)

    def sign(self, target: bytes, key: bytes, expires: int, client: bytes = b"") -> bytes:
        """
        ``target`` (path, and perhaps query) as a link that holds until ``expires``.

        :param key: its name.
        :param expires: seconds since 1970.
        :param client: the address that it is for; empty: anybody.
        :raise ValueError: when there are arguments of these names in ``target`` already, or a fragment.
        """
        _, mark, query = target.partition(b"?")
        if b"#" in target or any(pair.partition(b"=")[0] in self.ARGUMENTS for pair in query.split(b"&")):
            raise ValueError("has a fragment, or an argument that is the signature's")
        signed = b"%b%bexpires=%d&key=%b" % (target, b"&" if query else (b"" if mark else b"?"), expires, key)
        return signed + _SIGNATURE + _mac(self.keys[key], signed, client)

    def check(self, target: bytes, now: float, client: bytes = b"") -> None:
        """
        :param now: seconds since 1970.
        :raise BadSignature: when the link does not hold.
        """
        signed, mark, signature = target.rpartition(_SIGNATURE)
        if not mark:
            raise BadSignature("there is no signature at the end of the link")
        # The last two arguments before it are ours, in this order.
        _, begun, arguments = signed.rpartition(b"expires=")
        expires, ampersand, key = arguments.partition(b"&key=")
        if not begun or not ampersand or not expires.isdigit() or len(expires) > _LONGEST:
            raise BadSignature("the link does not say until when it holds, and by which key")
        secret = self.keys.get(key)
        if secret is None:
            raise BadSignature("the link is signed by a key that there is not")
        if not compare_digest(_mac(secret, signed, client), signature):
            raise BadSignature("the signature is not right")
        if now >= int(expires):
            raise BadSignature("the link has expired")


def _mac(secret: bytes, signed: bytes, client: bytes) -> bytes:
    # A line end cannot stand in a target.
    message = b"%b\n%b" % (signed, client) if client else signed
    return urlsafe_b64encode(digest(secret, message, "sha256")).rstrip(b"=")
