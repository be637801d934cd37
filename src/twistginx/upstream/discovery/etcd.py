"""
``discover = { etcd = { endpoints = "http://127.0.0.1:2379", prefix = "/services/app/" } }``: servers that are
registered in etcd, by its gateway for JSON.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any, Final

from attrs import Attribute, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import UNAUTHORIZED
from zope.interface import implementer, moduleProvides

from twistginx.config.address import ServerAddress
from twistginx.config.tables.fields import SINGLE, not_empty, positive
from twistginx.config.tables.upstream import Server, UpstreamTLS
from twistginx.config.units import Duration
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.client import ClientConnection, Patience
from twistginx.http.message import Fields, ResponseHead
from twistginx.interfaces import IContext, IDiscovery, IDiscoveryModule, IFinding
from twistginx.upstream.discovery.asking import Asking
from twistginx.upstream.discovery.listing import MOST, servers_of
from twistginx.upstream.discovery.names import next_look
from twistginx.upstream.fetch import Question
from twistginx.upstream.standing import pause

moduleProvides(IDiscoveryModule)

name = "etcd"
api = 1

#: Seconds between two reads, however much happens.
_SETTLE: Final = 1.0
#: Bytes of one message of a watch.
_MESSAGE: Final = 4 << 20


@frozen
class Config:
    """
    Servers from etcd: the values of all keys with a prefix, each an address, or a table as in ``servers`` in JSON.

    The keys are watched, so that what changes is known within a second; they are read again after ``interval`` all the
    same.  While etcd cannot be asked, what it said last holds.  A value that is no server is passed over, and logged.

    :ivar endpoints: "http://" or "https://" addresses of its members; when one fails, the next is asked.
    :ivar prefix: of the keys.
    :ivar watch: false: they are only read, every ``interval``.
    :ivar interval: between two reads when nothing has changed.
    :ivar timeout: for an answer, all in all.
    :ivar user: who we are, where etcd wants to know.
    :ivar password: of that user.
    :ivar tls: how TLS is spoken with etcd; None: with what is usual.
    """

    endpoints: tuple[ServerAddress, ...] = field(metadata=SINGLE, validator=not_empty)
    prefix: str = field()
    watch: bool = True
    interval: Duration = field(default=Duration(60), validator=positive)
    timeout: Duration = field(default=Duration(5), validator=positive)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: UpstreamTLS | None = None

    @prefix.validator
    def _check_prefix(self, attribute: Attribute[Any], value: str) -> None:
        if not value:
            raise ValueError('is empty; expected the beginning of the keys, such as "/services/app/"')

    @password.validator
    def _check_password(self, attribute: Attribute[Any], value: str | None) -> None:
        if (value is None) is not (self.user is None):
            raise ValueError("stands alone; expected user and password together")


def make(config: Config, context: IContext) -> Keys:
    """
    The provider.

    :raise ConfigError: when an endpoint cannot work.
    """
    for index, address in enumerate(config.endpoints):
        if address.kind != "tcp":
            raise ConfigError(
                f"{address} is no URL", f"endpoints.{index}", 'expected one such as "http://127.0.0.1:2379"'
            )
    members = [Asking(address, config.tls if address.secure else None, context) for address in config.endpoints]
    return Keys(config, members, context)


def end_of(prefix: bytes) -> bytes:
    r"""
    The first key that is behind all keys with ``prefix``; ``\0``, which etcd takes for the end of all, where there is
    none.
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else b"\0"


def server_of(value: bytes) -> Server:
    """
    The server that a value says.

    :raise ValueError: with a short reason.
    """
    text = value.decode("utf-8").strip()
    entry = json.loads(text) if text.startswith(("{", '"')) else text
    (server,) = servers_of([entry], remote=True)
    return server


@implementer(IDiscovery)
class Keys:
    """
    Reads the keys, then waits until the watch says that they have changed, and reads them again: what is believed is
    only ever what was read.
    """

    def __init__(self, config: Config, members: list[Asking], context: IContext) -> None:
        self.label = f"etcd {config.prefix}"
        self._config = config
        self._members = members
        self._reactor = context.reactor
        self._ticker = context.ticker
        self._log: Logger = context.log
        self._range = {
            "key": b64encode(config.prefix.encode()).decode(),
            "range_end": b64encode(end_of(config.prefix.encode())).decode(),
        }
        self._finding: Any = None
        self._following: Deferred[Any] | None = None
        self._token: str | None = None
        self._complained: dict[bytes, bytes] = {}

    def begin(self, finding: IFinding) -> None:
        """
        See IDiscovery.
        """
        self._finding = finding
        self._following = Deferred.fromCoroutine(self._follow())
        self._following.addErrback(self._broke)

    def end(self) -> None:
        """
        See IDiscovery.
        """
        following, self._following = self._following, None
        self._finding = None
        if following is not None:
            following.cancel()

    async def _follow(self) -> None:
        failures = 0
        members = self._members
        while True:
            member = members[0]
            try:
                revision = await self._read(member)
                failures = 0
                if self._finding is None:
                    return  # whoever was told has had enough
                if self._config.watch:
                    await self._listen(member, revision)
                    await self._sleep(_SETTLE)
                else:
                    await self._sleep(pause(self._config.interval))
            except (ProxyError, ValueError, KeyError, TypeError) as error:
                self._token = None  # it may have expired
                failures += 1
                # Who answers is asked again the next time; who does not is asked last.
                members = [*members[1:], member]
                label = f"{member.peer.label.decode()}: "
                self._finding.missed(label + str(error).replace(label, ""))
                if self._finding is None:
                    return
                # All members are asked before there is a pause.
                rounds, rest = divmod(failures, len(self._members))
                await self._sleep(0 if rest else next_look(0, rounds))

    async def _read(self, member: Asking) -> int:
        """
        :return: the revision that was read.
        """
        answer = await self._ask(member, b"/v3/kv/range", {**self._range, "limit": str(MOST + 1)})
        servers = []
        for pair in answer.get("kvs", ()):
            key, value = b64decode(pair["key"]), b64decode(pair.get("value", ""))
            try:
                servers.append(server_of(value))
            except ValueError as error:
                if self._complained.get(key) != value:
                    if len(self._complained) > MOST:
                        self._complained.clear()
                    self._complained[key] = value
                    self._log.warn(
                        "{label}: {key} is no server: {error}",
                        label=self.label,
                        key=key.decode("utf-8", "replace"),
                        error=error,
                    )
        self._finding.found(servers)
        return int(answer["header"]["revision"])

    async def _ask(self, member: Asking, target: bytes, question: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(question).encode()
        known = self._token
        answer = await member.ask(b"POST", target, self._config.timeout, await self._fields(member), body)
        if answer.status == UNAUTHORIZED and known is not None:
            self._token = None  # it has expired
            answer = await member.ask(b"POST", target, self._config.timeout, await self._fields(member), body)
        return _result(answer.status, answer.body)

    async def _fields(self, member: Asking) -> list[tuple[bytes, bytes]]:
        fields = [(b"Content-Type", b"application/json")]
        if self._config.user is not None:
            if self._token is None:
                who = {"name": self._config.user, "password": self._config.password}
                body = json.dumps(who).encode()
                answer = await member.ask(b"POST", b"/v3/auth/authenticate", self._config.timeout, fields, body)
                self._token = str(_result(answer.status, answer.body)["token"])
            fields.append((b"Authorization", self._token.encode()))
        return fields

    async def _listen(self, member: Asking, revision: int) -> None:
        """
        Wait until something has changed after ``revision``, or for the interval.
        """
        create = {"create_request": {**self._range, "start_revision": str(revision + 1)}}
        question = member.question(b"POST", b"/v3/watch", await self._fields(member), json.dumps(create).encode())
        watch = Watch(question, self._ticker, self._config.timeout)
        connecting = member.peer.connect(watch, self._config.timeout, "timeout")
        connection = await connecting
        try:
            watch.begin(connection)
            watch.done.addTimeout(pause(self._config.interval), self._reactor, _nothing_changed)
            await watch.done
        finally:
            connection.abort()

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    def _broke(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("{label} is not followed any more, which is a fault of ours", failure, label=self.label)


def _nothing_changed(result: Any, seconds: float) -> None:
    """
    The interval is over: it is no failure.
    """


def _result(status: int, body: bytes) -> dict[str, Any]:
    """
    What etcd says.

    :raise ValueError: when it says that it cannot.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ValueError(f"the answer is {status}, and not JSON")
    if status != 200:
        raise ValueError(f"the answer is {status}: {said.get('error') or said.get('message')}")
    return said


class Watch(Factory):
    """
    The answer to a watch, which does not end: it is whole as soon as it tells of something.  It is a
    ``ResponseReceiver``, and makes its connection.

    :ivar done: fires when something has changed, and fails with a ``ProxyError`` or a ``ValueError``.
    """

    noisy = False

    def __init__(self, question: Question, ticker: Any, timeout: float) -> None:
        self.done: Deferred[None] = Deferred()
        self._question = question
        self._ticker = ticker
        self._timeout = timeout
        self._rest = b""
        self._status = 0

    def buildProtocol(self, addr: Any) -> ClientConnection:
        """
        A connection that nobody owns.
        """
        return ClientConnection(self._ticker, None)

    def begin(self, connection: ClientConnection) -> None:
        """
        Ask.
        """
        # Silence says nothing: the interval bounds it.
        connection.send(self._question.wire(), self, Patience(self._timeout, 86400.0, "timeout"))

    def response_informational(self, head: ResponseHead) -> None:
        """
        Not of interest.
        """

    def response_head(self, head: ResponseHead, more: bool) -> None:
        """
        It begins.
        """
        self._status = head.status

    def response_data(self, data: bytes) -> None:
        """
        Messages, a line each.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in filter(None, lines):
            self._take(line)
        if len(self._rest) > _MESSAGE:
            self._end("a message of the watch is too large")

    def response_whole(self, head: ResponseHead, body: bytes) -> None:
        """
        An answer that ends is an error, or a watch that etcd has ended.
        """
        self.response_head(head, True)
        self.response_data(body)
        self.response_end(None)

    def response_end(self, trailers: Fields | None) -> None:
        """
        See ``response_whole``.
        """
        if self._rest or self._status != 200:
            self._take(self._rest)
        self._end()

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """
        It was not asked for.
        """

    def response_failed(self, error: ProxyError) -> None:
        """
        The connection is gone.
        """
        if not self.done.called:
            self.done.errback(error)

    def _take(self, line: bytes) -> None:
        try:
            message = _result(self._status, line)
        except ValueError as error:
            self._end(str(error))
            return
        result = message.get("result") or {}
        if "error" in message:
            self._end(str(message["error"]))
        elif result.get("events") or result.get("canceled"):
            self._end()

    def _end(self, error: str = "") -> None:
        if self.done.called:
            return
        if error:
            self.done.errback(ValueError(error))
        else:
            self.done.callback(None)
