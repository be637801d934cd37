"""
Users and their hashed passwords, as ``htpasswd`` files have them.  Pure, and slow: verifying is for a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from hmac import compare_digest
from importlib import import_module
from typing import Any, Final

from attrs import frozen

#: Bytes of a password that are looked at: what is longer is wrong, because hashing it takes the client's time of ours.
LONGEST: Final = 1024

#: Bytes that bcrypt takes of a password; ``htpasswd`` cut them off, too.
_BCRYPT: Final = 72

_EXPECTED: Final = "expected bcrypt ($2y$), SHA-crypt ($5$, $6$), argon2 or $apr1$, as htpasswd -B makes them"


class MissingLibrary(ValueError):
    """
    What a hash is verified with is not installed.
    """


@frozen
class Scheme:
    """
    A way to hash passwords.

    :ivar name: for people.
    :ivar prefix: that its hashes begin with.
    :ivar form: what they look like, whole.
    :ivar library: the module that verifies them; empty: Python's own.
    :ivar verify: ``(module, password, hash)``; raises ValueError for a hash that is broken.
    """

    name: str
    prefix: str
    form: re.Pattern[str]
    library: str
    verify: Callable[[Any, bytes, str], bool]


def _bcrypt(module: Any, password: bytes, hashed: str) -> bool:
    # $2y$ is what the others call $2b$.  A NUL would be the end of a password to whoever has hashed it.
    return b"\0" not in password and bool(module.checkpw(password[:_BCRYPT], f"$2b${hashed[4:]}".encode()))


def _argon2(module: Any, password: bytes, hashed: str) -> bool:
    try:
        return bool(module.PasswordHasher().verify(hashed, password))
    except module.exceptions.VerificationError:
        return False


def _sha1(module: Any, password: bytes, hashed: str) -> bool:
    digest = hashlib.sha1(password, usedforsecurity=False).digest()
    return compare_digest(digest, b64decode(hashed.removeprefix("{SHA}")))


def _passlib(name: str) -> Callable[[Any, bytes, str], bool]:
    def verify(module: Any, password: bytes, hashed: str) -> bool:
        return bool(getattr(module, name).verify(password, hashed))

    return verify


_SCHEMES: Final = (
    *(
        Scheme("bcrypt", prefix, re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"), "bcrypt", _bcrypt)
        for prefix in ("$2y$", "$2b$", "$2a$")
    ),
    Scheme("argon2", "$argon2", re.compile(r"\$argon2(id|i|d)\$[A-Za-z0-9+/=,$.]+"), "argon2", _argon2),
    Scheme(
        "SHA-512-crypt",
        "$6$",
        re.compile(r"\$6\$(rounds=\d+\$)?[^$:\n]{0,16}\$[./A-Za-z0-9]{86}"),
        "passlib.hash",
        _passlib("sha512_crypt"),
    ),
    Scheme(
        "SHA-256-crypt",
        "$5$",
        re.compile(r"\$5\$(rounds=\d+\$)?[^$:\n]{0,16}\$[./A-Za-z0-9]{43}"),
        "passlib.hash",
        _passlib("sha256_crypt"),
    ),
    Scheme(
        "apr1",
        "$apr1$",
        re.compile(r"\$apr1\$[^$:\n]{0,8}\$[./A-Za-z0-9]{22}"),
        "passlib.hash",
        _passlib("apr_md5_crypt"),
    ),
    Scheme("SHA-1", "{SHA}", re.compile(r"\{SHA\}[A-Za-z0-9+/]{27}="), "", _sha1),
)

#: Schemes that protect nobody whose file is stolen.
WEAK: Final = frozenset(("SHA-1", "apr1"))


@frozen
class Password:
    """
    A hash, and how it is verified.
    """

    scheme: Scheme
    _hash: str
    _library: Any

    @classmethod
    def parse(cls, text: str) -> Password:
        """
        The password that ``text`` is the hash of.

        :raise ValueError: with a short reason, in which the text is not.
        """
        scheme = next((each for each in _SCHEMES if text.startswith(each.prefix)), None)
        if scheme is None:
            raise ValueError(f"is in a form that is not read; {_EXPECTED}")
        if not scheme.form.fullmatch(text):
            raise ValueError(f"is a broken hash of {scheme.name}")
        library = None
        if scheme.library:
            try:
                library = import_module(scheme.library)
            except ImportError:
                raise MissingLibrary(f"is of {scheme.name}, which needs pip install twistginx[auth]") from None
        return cls(scheme, text, library)

    def verify(self, password: bytes) -> bool:
        """
        Is it this one?  Takes its time.
        """
        try:
            return self.scheme.verify(self._library, password, self._hash)
        except (ValueError, Base64Error):
            return False

    def __repr__(self) -> str:
        return f"<Password {self.scheme.name}>"


class Users:
    """
    Users, by name; it never changes.
    """

    __slots__ = ("_key", "_passwords", "_stand_ins")

    def __init__(self, passwords: Mapping[bytes, Password]) -> None:
        self._passwords: Final = dict(passwords)
        self._stand_ins: Final = tuple(self._passwords.values())
        self._key: Final = os.urandom(32)

    def verify(self, name: bytes, password: bytes) -> bool:
        """
        Is there such a user, with this password?  It takes as long when there is none.
        """
        found = self._passwords.get(name)
        if found is None:
            # Always the same for a name, and any of them, so that schemes that differ in time say nothing either.
            if self._stand_ins:
                number = int.from_bytes(hashlib.blake2b(name, digest_size=8, key=self._key).digest(), "big")
                self._stand_ins[number % len(self._stand_ins)].verify(password)
            return False
        return found.verify(password)

    def __contains__(self, name: bytes) -> bool:
        return name in self._passwords

    def __len__(self) -> int:
        return len(self._passwords)

    @property
    def weak(self) -> list[str]:
        """
        The names of the weak schemes that are in use.
        """
        return sorted({each.scheme.name for each in self._passwords.values()} & WEAK)


def read_users(content: bytes) -> Users:
    """
    An ``htpasswd`` file: ``name:hash`` to a line; what follows another colon, empty lines and those with ``#`` say
    nothing.

    :raise ValueError: for the first line that is wrong, with its number; hashes are not repeated.
    """
    passwords: dict[bytes, Password] = {}
    for number, line in enumerate(content.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith(b"#"):
            continue
        name, colon, rest = entry.partition(b":")
        if not colon or not name:
            raise ValueError(f"line {number}: is not name:hash")
        if name in passwords:
            raise ValueError(f"line {number}: the user is there already")
        try:
            passwords[name] = Password.parse(rest.partition(b":")[0].decode("ascii"))
        except UnicodeDecodeError:
            raise ValueError(f"line {number}: the password is in a form that is not read") from None
        except ValueError as error:
            raise ValueError(f"line {number}: the password {error}") from None
    return Users(passwords)
