"""
``store = "redis://..."``: state on a Redis that several machines share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from attrs import Attribute, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer, moduleProvides

from twistginx.config.text import Secret
from twistginx.config.units import Duration
from twistginx.errors import ConfigError, ProxyError
from twistginx.interfaces import IContext, IStore, IStoreModule
from twistginx.net.certificates import load_authorities
from twistginx.net.timers import NEVER
from twistginx.shared import redis_scripts as scripts
from twistginx.shared.local import LONGEST_VALUE
from twistginx.shared.redis_link import RedisLink
from twistginx.shared.verdict import Verdict

moduleProvides(IStoreModule)

name = "redis"
api = 1

#: Seconds that a worker holds something without saying so again, and between two times that it says so.
LEASE: Final = 15.0
_BEAT: Final = 5.0

#: Counters that are renewed by one command.
_AT_ONCE: Final = 500

_SCHEMES: Final = ("redis", "rediss", "redis+unix")

T = TypeVar("T")


@frozen
class Config:
    """
    A Redis (5 or later), or a server that speaks its protocol and runs its scripts.  Each decision is one round trip.

    :ivar store: where it is: "redis://user:password@host:6379/0", "rediss://..." under TLS, or
        "redis+unix:///run/redis.sock".
    :ivar on_failure: what happens while it is away: "allow" lets everything pass, "deny" answers 503, "local" has each
        machine keep the limits for itself, all its workers together.
    :ivar timeout: how long an answer may take, before it counts as away.
    :ivar prefix: what its keys begin with; servers that have the same one share their limits.
    :ivar ca: a PEM file of authorities, for "rediss"; without it those of the system.
    """

    store: str = field(repr=False)
    on_failure: Literal["allow", "deny", "local"] = "allow"
    timeout: Duration = field(default=Duration(0.1))
    prefix: str = "twistginx:"
    ca: Path | None = None

    @store.validator
    def _check_store(self, attribute: Attribute[Any], value: str) -> None:
        try:
            url = urlsplit(value)
            _ = url.port
            database = url.path.strip("/")
        except ValueError:
            raise ValueError("is not a URL; expected one such as redis://127.0.0.1:6379/0") from None
        if url.scheme not in _SCHEMES:
            raise ValueError(f"is a URL of an unknown kind; expected one of {', '.join(_SCHEMES)}")
        if url.scheme == "redis+unix":
            if not database:
                raise ValueError("has no path; expected one such as redis+unix:///run/redis.sock")
        elif not url.hostname:
            raise ValueError("has no host; expected one such as redis://127.0.0.1:6379/0")
        elif database and not database.isdecimal():
            raise ValueError(
                "has a path that is no number of a database; expected one such as redis://127.0.0.1:6379/0"
            )

    @timeout.validator
    def _check_timeout(self, attribute: Attribute[Any], value: Duration) -> None:
        if not value:
            raise ValueError("is 0, so that everything would be too late; expected a duration")


def make(config: Config, context: IContext) -> RedisStore:
    """
    As ``IStoreModule`` says.
    """
    try:
        from txredisapi import RedisProtocol  # it imports the reactor
    except ImportError:
        raise ConfigError("needs txredisapi", key="store", expected='pip install "twistginx[redis]"') from None
    url = urlsplit(config.store)
    if url.password and not isinstance(config.store, Secret):
        context.log.warn(
            "the password of {host} stands in the configuration in plain text, and in all that shows it: "
            "expected {hint}",
            host=url.hostname or url.path,
            hint="redis://:{env.NAME}@..., {file.PATH} or {credential.NAME}",
        )
    user = unquote(url.username) if url.username else None
    password = unquote(url.password) if url.password is not None else None
    database = None
    if url.scheme == "redis+unix":
        where = url.path
        endpoint: Any = UNIXClientEndpoint(context.reactor, url.path, timeout=2)
    else:
        host, port = str(url.hostname), url.port or 6379
        where = f"{host}:{port}"
        endpoint = HostnameEndpoint(context.reactor, host, port, timeout=2)
        database = int(url.path.strip("/") or 0) or None
        if url.scheme == "rediss":
            endpoint = wrapClientTLS(_tls_for(host, config.ca), endpoint)

    def protocol() -> Any:
        made = RedisProtocol(
            charset=None, password=password, username=user, dbid=database, convertNumbers=False, replyTimeout=None
        )
        made.callLater = context.reactor.callLater
        return made

    return RedisStore(context, endpoint, protocol, f"redis {where}", config)


def _tls_for(host: str, ca: Path | None) -> Any:
    if ca is None:
        return optionsForClientTLS(host)
    pem = load_authorities(ca, "ca")
    blocks = pem.split("-----END CERTIFICATE-----")[:-1]
    authorities = [Certificate.loadPEM(f"{block}-----END CERTIFICATE-----\n".encode()) for block in blocks]
    return optionsForClientTLS(host, trustRootFromCertificates(authorities))


@implementer(IStore)
class RedisStore:
    """
    Every answer is a Deferred while Redis is there, and comes at once while it is away.

    What this worker holds is counted here too: it is renewed while it is held, and told again to a Redis that has
    forgotten it, or has not been told that it was given back.
    """

    def __init__(
        self, context: IContext, endpoint: Any, protocol: Callable[[], Any], label: str, config: Config
    ) -> None:
        self._prefix = config.prefix.encode()
        self._on_failure = config.on_failure
        self._setting = f"shared.on_failure = {config.on_failure}"
        self._local: Any = context.memory
        self._log = context.log
        self._ticker = context.ticker
        self._reactor = context.reactor
        self._me = f"{os.getpid()}.{os.urandom(6).hex()}".encode()
        self._held: dict[bytes, int] = {}
        self._unsure: set[bytes] = set()  # counters of which Redis may think that we hold more than we do
        self._locally: dict[bytes, int] = {}  # what was acquired while Redis was away
        self._complained = False
        self._link = RedisLink(context.reactor, endpoint, protocol, label, config.timeout, self._greet)
        self.deadline = NEVER

    # ILife.

    def start(self) -> None:
        """
        Connect.
        """
        self._link.start()
        self._ticker.watch(self)
        self.deadline = self._ticker.now + _BEAT

    def stop(self) -> Deferred[Any]:
        """
        Disconnect.  What is held is released by then, or when its lease ends.
        """
        self._ticker.forget(self)
        return self._link.stop()

    # IStore.

    def take(self, key: bytes, rate: float, burst: float, now: float, cost: float = 1.0, delay: float = 0.0) -> Any:
        """
        See ``IStore``.
        """

        def without() -> Verdict:
            if self._on_failure == "local":
                local: Verdict = self._local.take(key, rate, burst, self._reactor.seconds(), cost, delay)
                return local
            self._let_pass()
            return Verdict(True, 0.0, burst)

        def verdict(reply: list[int]) -> Verdict:
            admitted, wait, left = reply
            if not admitted:
                return Verdict(False, wait / 1e6, max(0.0, left * rate / 1e6))
            return Verdict(True, max(0, wait) / 1e6, max(0.0, -wait * rate / 1e6))

        microseconds = tuple(round(seconds * 1e6) for seconds in (burst / rate, cost / rate, delay))
        return self._ask(scripts.TAKE, (b"r:" + key,), microseconds, verdict, without)

    def acquire(self, key: bytes, limit: int, now: float) -> Any:
        """
        See ``IStore``.
        """

        def without() -> bool:
            if self._on_failure == "local":
                held: bool = self._local.acquire(key, limit, self._reactor.seconds())
            else:
                self._let_pass()
                held = True
            if held:
                self._locally[key] = self._locally.get(key, 0) + 1
            return held

        def acquired(reply: int) -> bool:
            if reply:
                self._held[key] = self._held.get(key, 0) + 1
            return bool(reply)

        def unanswered() -> bool:
            self._unsure.add(key)  # Redis may have heard it all the same, and would have us hold it for ever
            return without()

        arguments = (self._me, limit, int(LEASE * 1000))
        return self._ask(scripts.ACQUIRE, (b"c:" + key,), arguments, acquired, without, unanswered)

    def release(self, key: bytes) -> None:
        """
        See ``IStore``.
        """
        if key in self._locally:
            if _count_down(self._locally, key) >= 0 and self._on_failure == "local":
                self._local.release(key)
            return
        _count_down(self._held, key)
        if not self._link.there:
            self._unsure.add(key)
            return
        released = self._link.run(scripts.RELEASE, (self._prefix + b"c:" + key,), (self._me,))
        released.addErrback(lambda _: self._unsure.add(key))

    def put(self, key: bytes, value: bytes, ttl: float, now: float) -> Any:
        """
        See ``IStore``.
        """
        if len(value) > LONGEST_VALUE:
            raise ValueError(f"a value of {len(value)} bytes; {LONGEST_VALUE} are the most")
        keys = (b"v:" + key, b"version")
        arguments = (value, max(1, round(ttl * 1000)))
        return self._ask(scripts.PUT, keys, arguments, int, lambda: self._local.put(key, value, ttl, now))

    def get(self, key: bytes, now: float) -> Any:
        """
        See ``IStore``.
        """

        def without() -> tuple[bytes, int] | None:
            value: tuple[bytes, int] | None = self._local.get(key, now)
            return value

        def found(reply: bytes | None) -> tuple[bytes, int] | None:
            if reply is None:
                return None
            version, _, value = reply.partition(b" ")
            return value, int(version)

        return self._ask(scripts.GET, (b"v:" + key,), (), found, without)

    # Redis.

    def _ask(
        self,
        script: str,
        keys: tuple[bytes, ...],
        arguments: tuple[Any, ...],
        understand: Callable[[Any], T],
        without: Callable[[], T],
        unanswered: Callable[[], T] | None = None,
    ) -> Deferred[T] | T:
        """
        :param understand: makes a result of the reply.
        :param without: makes one while Redis is away.
        :param unanswered: makes one where Redis was asked, and has not answered; None: ``without`` does.
        """
        if not self._link.there:
            return without()
        prefix = self._prefix
        answer = self._link.run(script, tuple([prefix + key for key in keys]), arguments)

        def failed(failure: Failure) -> T:
            # A client that has left does not want to know.
            if not self._complained and self._link.there and failure.check(CancelledError) is None:
                self._complained = True
                self._log.error("redis refuses: {error}", error=failure.getErrorMessage())
            return (unanswered or without)()

        return answer.addCallbacks(understand, failed)

    def _let_pass(self) -> None:
        """
        :raise ProxyError: if nothing is to pass.
        """
        if self._on_failure == "deny":
            raise ProxyError("store_away", setting=self._setting)

    def _greet(self, protocol: Any) -> Deferred[Any]:
        """
        The first words on a new connection: what we hold.
        """
        self._complained = False
        for script in scripts.ALL:
            protocol.script_load(script).addErrback(lambda _: None)
            protocol.script_hashes.add(sha1(script.encode(), usedforsecurity=False).hexdigest())
        unsure, self._unsure = self._unsure | self._held.keys(), set()
        if not unsure:
            return protocol.ping()  # type: ignore[no-any-return]
        return self._renew(protocol, sorted(unsure), 1)

    def _renew(self, protocol: Any, keys: list[bytes], anew: int) -> Deferred[Any]:
        done: Deferred[Any] = succeed(None)
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            counts = [self._held.get(key, 0) for key in some]
            names = [self._prefix + b"c:" + key for key in some]
            done = protocol.eval(scripts.RENEW, names, [self._me, int(LEASE * 1000), anew, *counts])
        return done

    def deadline_passed(self) -> None:
        """
        Called by the ticker: what we hold goes on being held.
        """
        self.deadline = self._ticker.now + _BEAT
        if self._link.there and (self._held or self._unsure):
            anew, self._unsure = sorted(self._unsure), set()
            for keys, right in ((sorted(self._held.keys() - set(anew)), 0), (anew, 1)):
                if keys:
                    self._link.watched(partial(self._renew, keys=keys, anew=right)).addErrback(lambda _: None)


def _count_down(counts: dict[bytes, int], key: bytes) -> int:
    """
    One fewer of ``key``; how many are left.
    """
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
    return left
