"""
``basic_auth``: a name and a password, as browsers ask for them (RFC 7617).

Verifying a password takes up to a quarter of a second on purpose, so it is done in a thread; how many may wait for that
is bounded.  What was right is remembered for a while, under a keyed hash that is of use to nobody but this process.
"""

from __future__ import annotations

import os
from base64 import b64decode
from binascii import Error as Base64Error
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from attrs import Attribute, field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import moduleProvides

from twistginx.config.networks import network_of
from twistginx.config.units import Duration
from twistginx.errors import ConfigError, ProxyError
from twistginx.interfaces import IPolicyModule
from twistginx.net.threads import Threads
from twistginx.net.timers import Ticker
from twistginx.policies.credentials import note_shown, only_value, shown_before
from twistginx.policies.identity import IdentityFields, without_field
from twistginx.policies.passwords import LONGEST, Password, Users, read_users

moduleProvides(IPolicyModule)

name = "basic_auth"
api = 1
rank = 310
applies_to = frozenset(("http",))
many = False
guards = True

#: Passwords that may be waiting to be verified, in the whole process, and those of one client among them: who guesses
#: keeps nobody else out.
QUEUE: Final = 64
SHARE: Final = 16

#: Users that are remembered.
_REMEMBERED: Final = 4096


@frozen
class Config:
    """
    Who asks must give a name and a password.  ``basic_auth = "htpasswd"`` is short for ``file``.

    Passwords are hashed, by bcrypt, argon2, SHA-crypt ($5$, $6$) or apr1 (``htpasswd -B``; needs
    ``pip install twistginx[auth]``).  The file is read again when it changes.

    :ivar file: an ``htpasswd`` file.
    :ivar users: name to hash; the hash may come of ``{file.X}``.
    :ivar realm: what browsers call it.
    :ivar cache: how long a password that was right is not verified again; "0s" verifies it each time.
    :ivar user_header: how the app is told who it is; empty: it is not.
    :ivar keep_authorization: the app sees the password, too.
    """

    file: Path | None = None
    users: dict[str, str] = field(factory=dict, repr=False)
    realm: str = field(default="Restricted")
    cache: Duration = Duration(300)
    user_header: str = "X-Auth-User"
    keep_authorization: bool = False

    @realm.validator
    def _check_realm(self, attribute: Attribute[Any], value: str) -> None:
        if not value.isascii() or not value.isprintable():
            raise ValueError("is not one line of ASCII")

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``basic_auth = "htpasswd"``.
        """
        if isinstance(value, str):
            return {"file": value}
        raise ValueError("expected the path of an htpasswd file, or a table")


def make(config: Config, context: Any) -> BasicAuth:
    """
    The policy.
    """
    if config.file is None and not config.users:
        raise ConfigError("has no users", expected="expected file or users")
    passwords = {}
    for user, hashed in config.users.items():
        try:
            passwords[user.encode()] = Password.parse(str(hashed))
        except ValueError as error:
            raise ConfigError(str(error), key=f"users.{user}") from error
        if ":" in user:
            raise ConfigError("a name has no colon in it", key=f"users.{user}")
    inline = Users(passwords)
    try:
        file = context.watched(config.file, read_users) if config.file is not None else None
    except ConfigError as error:
        raise ConfigError(error.message, key="file") from error
    for users in (inline, file.value if file is not None else inline):
        for scheme in users.weak:
            context.log.warn("basic_auth: passwords hashed by {scheme} are quickly guessed; use bcrypt", scheme=scheme)
    desk = context.keep(("basic_auth", "desk"), lambda: Desk(Threads(context.reactor)))
    # Over a reload that leaves the users alone, nobody has to be verified again.
    book = context.keep(
        ("basic_auth", config.file, tuple(sorted(config.users.items()))),
        lambda: Book(inline, file, desk, context.ticker),
    )
    headers = [(config.user_header, "user_header")] if config.user_header else []
    return BasicAuth(config, book, IdentityFields(headers))


class Desk:
    """
    Where passwords are verified, one after the other.

    :ivar waiting: how many wait for it.
    """

    __slots__ = ("_clients", "_threads", "waiting")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._clients: dict[bytes, int] = {}  # how many wait of each
        self.waiting = 0

    def verify(self, users: Users, user: bytes, password: bytes, client: bytes) -> Deferred[bool]:
        """
        :param client: who asks.
        :raise ProxyError: when too many wait already.
        """
        of_client = self._clients.get(client, 0)
        if self.waiting >= QUEUE or of_client >= SHARE:
            whose = " of this client" if of_client >= SHARE else ""
            raise ProxyError(
                "authentication_unavailable",
                f"basic_auth: too many passwords{whose} wait to be verified",
                fields=((b"Retry-After", b"1"),),
            )
        self.waiting += 1
        self._clients[client] = of_client + 1
        return self._threads.run(users.verify, user, password).addBoth(self._done, client)

    def _done(self, result: Any, client: bytes) -> Any:
        self.waiting -= 1
        left = self._clients.pop(client) - 1
        if left:
            self._clients[client] = left
        return result


class Book:
    """
    Users, and who of them has been verified lately.
    """

    __slots__ = ("_clock", "_desk", "_file", "_inline", "_key", "_known", "_pending")

    def __init__(self, inline: Users, file: Any, desk: Desk, clock: Ticker) -> None:
        """
        :param file: a ``net.watchedfile.WatchedFile`` of Users, or None.
        """
        self._inline = inline
        self._file = file
        self._desk = desk
        self._clock = clock
        self._key = os.urandom(32)
        #: By keyed hash: name, users among whom it was found, and until when (on the ticker's clock).
        self._known: dict[bytes, tuple[bytes, Users, float]] = {}
        #: The same credentials are verified once, for all who wait for it.
        self._pending: dict[bytes, list[Deferred[bytes]]] = {}

    def look_up(self, credentials: bytes, seconds: float, client: bytes) -> bytes | Deferred[bytes]:
        """
        The name of the user.

        :param credentials: what stands behind ``Basic``.
        :param client: who asks: an address, or a network.
        :param seconds: for which it is remembered when it is right.
        :return: empty when they are wrong; a Deferred where it is not known yet.
        :raise ProxyError: when there are too many to verify.
        """
        digest = blake2b(credentials, key=self._key, digest_size=16).digest()
        known = self._known.get(digest) if seconds else None
        if known is not None:
            user, users, until = known
            if until > self._clock.now and (users is self._inline or users is self._file.value):
                return user
            del self._known[digest]
        parted = _parted(credentials)
        return b"" if parted is None else self._verified(digest, *parted, seconds, client)

    def verify(self, credentials: bytes) -> bytes:
        """
        The name of the user; empty when they are wrong.  It remembers nothing, and takes its time.
        """
        parted = _parted(credentials)
        return parted[0] if parted is not None and self._among(parted[0]).verify(*parted) else b""

    def _among(self, user: bytes) -> Users:
        """
        Those among whom a name is looked for; one that nobody has, always among the same, by chance of either.
        """
        inline = self._inline
        if self._file is None or user in inline:
            return inline
        listed: Users = self._file.value
        if user not in listed and inline:
            number = int.from_bytes(blake2b(user, key=self._key, digest_size=8).digest(), "big")
            if number % (len(inline) + len(listed)) < len(inline):
                return inline
        return listed

    def _verified(self, digest: bytes, user: bytes, password: bytes, seconds: float, client: bytes) -> Deferred[bytes]:
        pending = self._pending.get(digest)
        waiting: Deferred[bytes] = Deferred()
        if pending is not None:
            pending.append(waiting)
            return waiting
        users = self._among(user)
        verifying = self._desk.verify(users, user, password, client)
        waiters = self._pending[digest] = [waiting]

        def done(result: bool | Failure) -> None:
            del self._pending[digest]
            if result is True and seconds:
                if len(self._known) >= _REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[digest] = user, users, self._clock.now + seconds
            outcome = result if isinstance(result, Failure) else (user if result else b"")
            for each in waiters:
                if not each.called:
                    each.callback(outcome)

        verifying.addBoth(done)
        return waiting


def _parted(credentials: bytes) -> tuple[bytes, bytes] | None:
    """
    Name and password; None where there are none.
    """
    try:
        user, colon, password = b64decode(credentials, validate=True).partition(b":")
    except Base64Error:
        return None
    return (user, password) if colon and len(password) <= LONGEST else None


class BasicAuth:
    """
    The policy of one route.
    """

    __slots__ = ("_book", "_challenge", "_fields", "_header", "_keep", "_seconds", "identity")

    def __init__(self, config: Config, book: Book, fields: IdentityFields) -> None:
        self._book: Final = book
        self._fields: Final = fields
        self.identity: Final = fields.names
        self._header: Final = config.user_header.lower().encode()
        self._keep: Final = config.keep_authorization
        self._seconds: Final = float(config.cache)
        realm = config.realm.replace("\\", "\\\\").replace('"', '\\"')
        self._challenge: Final = ((b"WWW-Authenticate", f'Basic realm="{realm}", charset="UTF-8"'.encode()),)

    def admit(self, request: Any) -> Deferred[None] | None:
        """
        :raise ProxyError: when the client has not proved who it is.
        """
        value, credentials = self._shown(request)
        user = self._book.look_up(credentials, self._seconds, network_of(request.client_ip))
        if isinstance(user, Deferred):
            return user.addCallback(self._decide, value, request)
        self._decide(user, value, request)
        return None

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        value, credentials = self._shown(request)
        self._decide(self._book.verify(credentials), value, request)
        return [f"lets {request.remote_user.decode('utf-8', 'replace')} in"]

    def _shown(self, request: Any) -> tuple[bytes, bytes]:
        """
        The field that credentials stand in, and these.

        :raise ProxyError: where there are none.
        """
        value = only_value(request.head, b"authorization") or shown_before(request, name)
        if value is None:
            raise self._refusal("no credentials")
        scheme, _, credentials = value.partition(b" ")
        if scheme.lower() != b"basic":
            raise self._refusal("credentials of another kind")
        return value, credentials.strip(b" ")

    def _decide(self, user: bytes, value: bytes, request: Any) -> None:
        if not user:
            raise self._refusal("wrong name or password")
        request.remote_user = user
        note_shown(request, name, value)
        if not self._keep:
            without_field(request, b"authorization")
        self._fields.say(request, {self._header: (user,)})

    def _refusal(self, detail: str) -> ProxyError:
        return ProxyError("authentication_required", f"basic_auth: {detail}", fields=self._challenge)
