"""
Tests for twistginx.upstream.discovery.etcd, with a real etcd.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
from base64 import b64encode
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.functional.peers import Running, accepts, free_port, program
from tests.upstream.discovery.told import Told, context
from twistginx.config.address import ServerAddress
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.errors import ConfigError
from twistginx.http.message import Fields, ResponseHead
from twistginx.net.timers import Ticker
from twistginx.upstream.discovery import etcd
from twistginx.upstream.discovery.asking import Asking
from twistginx.upstream.fetch import Question


class Etcd:
    """
    A real etcd.

    :ivar address: where it listens.
    """

    def __init__(self) -> None:
        self._program = program("etcd")
        self._directory = Path(mkdtemp(prefix="twistginx-"))
        self._ports = (free_port(), free_port())
        self.address = f"http://127.0.0.1:{self._ports[0]}"
        self.start()

    def start(self) -> None:
        """
        Begin, with the keys that there were.
        """
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports)
        self._running = Running(
            (
                self._program,
                *("--data-dir", str(self._directory / "data"), "--name", "one"),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", f"one={peer}", "--unsafe-no-fsync"),
            ),
            self._directory,
        )
        self._running.wait_for(lambda: accepts(self._ports[0]), "listening")

    def stop(self) -> None:
        """
        End.
        """
        self._running.stop()

    def signal(self, signum: int) -> None:
        """
        Have it stand still, or go on.
        """
        os.kill(self._running.pid, signum)

    def remove(self) -> None:
        """
        For good.
        """
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


@cache
def running_etcd() -> Etcd:
    """
    One for all tests, which takes a second to begin; it goes with this process.

    :raise SkipTest: when it is not installed.
    """
    server = Etcd()
    atexit.register(server.remove)
    return server


def encoded(text: str) -> str:
    """
    As etcd's JSON has it.
    """
    return b64encode(text.encode()).decode()


class KeysTests(TestCase):
    """
    Keys, and who follows them.
    """

    timeout = 60

    def setUp(self) -> None:
        self.server = running_etcd()
        self.patch(etcd, "_SETTLE", 0.05)
        self.patch(etcd, "next_look", lambda ttl, failures: 0.2)
        self.prefix = f"/{self.id()}/"
        self.told = Told()
        address = ServerAddress.parse(self.server.address)
        self.client = Asking(address, None, context(reactor))

    async def ask(self, target: str, **question: Any) -> Any:
        """
        Ask etcd for something.
        """
        answer = await self.client.ask(b"POST", target.encode(), 5.0, [], json.dumps(question).encode())
        return json.loads(answer.body)

    async def put(self, key: str, value: str) -> None:
        """
        Set a key.
        """
        await self.ask("/v3/kv/put", key=encoded(self.prefix + key), value=encoded(value))

    async def delete(self, key: str) -> None:
        """
        Remove a key.
        """
        await self.ask("/v3/kv/deleterange", key=encoded(self.prefix + key))

    def begin(self, **config: Any) -> etcd.Keys:
        """
        Begin to follow.
        """
        table = {"endpoints": self.server.address, "prefix": self.prefix, **config}
        provider = etcd.make(structure(table, etcd.Config), context(reactor))
        told: Any = self.told
        provider.begin(told)
        self.addCleanup(self.end, provider)
        return provider

    def end(self, provider: etcd.Keys) -> Deferred[None]:
        """
        End, and let the connection be gone.
        """
        provider.end()
        return deferLater(reactor, 0.02)  # type: ignore[arg-type]  # it is one

    async def test_watch(self) -> None:
        """
        What is there is told, and what changes as soon as it does.
        """
        await self.put("a", "10.0.0.1:80")
        await self.put("b", '{"to": "10.0.0.2:80", "weight": 5}')
        self.begin()
        self.assertEqual(await self.told.next(), ["10.0.0.1:80", "10.0.0.2:80"])
        self.assertEqual(self.told.servers[1].weight, 5)
        await self.put("c", '"10.0.0.3:80"')
        self.assertEqual(await self.told.next(), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
        await self.delete("a")
        self.assertEqual(await self.told.next(), ["10.0.0.2:80", "10.0.0.3:80"])

    async def test_other_keys(self) -> None:
        """
        Keys with another prefix are none of ours.
        """
        await self.ask("/v3/kv/put", key=encoded(self.prefix[:-1] + "0"), value=encoded("10.0.0.9:80"))
        self.begin()
        self.assertEqual(await self.told.next(), [])

    async def test_no_watch(self) -> None:
        """
        Without a watch they are read again and again.
        """
        self.begin(watch=False, interval="50ms")
        self.assertEqual(await self.told.next(), [])
        await self.put("a", "10.0.0.1:80")
        while await self.told.next() != ["10.0.0.1:80"]:
            pass

    async def test_read_again(self) -> None:
        """
        With one, too, though not so often.
        """
        self.begin(interval="50ms")
        self.assertEqual(await self.told.next(), [])
        self.assertEqual(await self.told.next(), [])

    async def test_no_server(self) -> None:
        """
        A value that is no server is passed over.
        """
        await self.put("a", "10.0.0.1")
        await self.put("b", "10.0.0.2:80")
        self.begin()
        self.assertEqual(await self.told.next(), ["10.0.0.2:80"])

    async def test_next_member(self) -> None:
        """
        Where one member does not answer, the next one is asked.
        """
        await self.put("a", "10.0.0.1:80")
        self.begin(endpoints=[f"http://127.0.0.1:{free_port()}", self.server.address])
        self.assertIn("connection_refused", await self.told.next())
        self.assertEqual(await self.told.next(), ["10.0.0.1:80"])

    async def test_member_that_answers(self) -> None:
        """
        A member that is away is not asked again and again, and the log does not tell of it each time.
        """
        await self.put("a", "10.0.0.1:80")
        self.begin(endpoints=[f"http://127.0.0.1:{free_port()}", self.server.address], interval="50ms")
        self.assertIn("connection_refused", await self.told.next())
        for _ in range(3):
            self.assertEqual(await self.told.next(), ["10.0.0.1:80"])

    async def test_compacted(self) -> None:
        """
        A watch that would begin with what etcd has forgotten is ended, and the keys are read again.
        """
        await self.put("a", "10.0.0.1:80")
        await self.put("b", "10.0.0.2:80")
        now = (await self.ask("/v3/kv/range", key=encoded("x")))["header"]["revision"]
        await self.ask("/v3/kv/compaction", revision=now, physical=True)
        read = etcd.Keys._read

        async def stale(keys: etcd.Keys, member: Asking) -> int:
            await read(keys, member)
            self.patch(etcd.Keys, "_read", read)
            return 0

        self.patch(etcd.Keys, "_read", stale)
        self.begin()
        for _ in range(2):
            self.assertEqual(await self.told.next(), ["10.0.0.1:80", "10.0.0.2:80"])
        await self.delete("a")
        self.assertEqual(await self.told.next(), ["10.0.0.2:80"])

    async def test_standstill(self) -> None:
        """
        An etcd that stands still while it is watched is noticed, and asked until it goes on.
        """
        await self.put("a", "10.0.0.1:80")
        self.begin(interval="200ms", timeout="200ms")
        self.assertEqual(await self.told.next(), ["10.0.0.1:80"])
        self.server.signal(signal.SIGSTOP)
        try:
            while "in time" not in (said := await self.told.next()):
                self.assertEqual(said, ["10.0.0.1:80"])
        finally:
            self.server.signal(signal.SIGCONT)
        await self.put("a", "10.0.0.7:80")
        while await self.told.next() != ["10.0.0.7:80"]:
            pass

    async def test_restart(self) -> None:
        """
        When etcd was away, what it says then is told.
        """
        await self.put("a", "10.0.0.1:80")
        self.begin()
        self.assertEqual(await self.told.next(), ["10.0.0.1:80"])
        self.server.stop()
        await self.told.next()
        self.server.start()
        while await self.told.next() != ["10.0.0.1:80"]:
            pass

    async def test_user(self) -> None:
        """
        Where etcd wants to know who asks, it is told.
        """
        await self.put("a", "10.0.0.1:80")
        await self.ask("/v3/auth/user/add", name="root", password="secret")
        await self.ask("/v3/auth/role/add", name="root")
        await self.ask("/v3/auth/user/grant", user="root", role="root")
        await self.ask("/v3/auth/enable")
        try:
            provider = self.begin(user="root", password="secret", watch=False, interval="50ms")
            self.assertEqual(await self.told.next(), ["10.0.0.1:80"])
            provider._token = "expired.1"
            self.assertEqual(await self.told.next(), ["10.0.0.1:80"])
            self.assertNotEqual(provider._token, "expired.1")
            provider.end()
            self.told = Told()
            self.begin(user="root", password="wrong")
            self.assertIn("authentication failed", await self.told.next())
        finally:
            token = (await self.ask("/v3/auth/authenticate", name="root", password="secret"))["token"]
            await self.client.ask(b"POST", b"/v3/auth/disable", 5.0, [(b"Authorization", token.encode())], b"{}")


class PartsTests(SynchronousTestCase):
    """
    Pieces that need no etcd.
    """

    @given(st.binary(min_size=1, max_size=4), st.binary(max_size=4), st.binary(max_size=6))
    def test_range(self, prefix: bytes, rest: bytes, other: bytes) -> None:
        """
        A key is in the range when it has the prefix, and else not.
        """
        end = etcd.end_of(prefix)
        for key in (prefix + rest, other):
            inside = key >= prefix and (end == b"\0" or key < end)
            self.assertEqual(inside, key.startswith(prefix))

    def test_config(self) -> None:
        """
        What cannot work is refused.
        """
        for wrong in (
            {"endpoints": [], "prefix": "/a"},
            {"endpoints": "http://a:1", "prefix": ""},
            {"endpoints": "http://a:1", "prefix": "/a", "password": "x"},
            {"endpoints": "http://a:1", "prefix": "/a", "user": "x"},
            {"endpoints": "http://a:1/path", "prefix": "/a"},
        ):
            self.assertRaises(Faults, structure, wrong, etcd.Config)
        config = structure({"endpoints": "unix:/run/etcd", "prefix": "/a"}, etcd.Config)
        self.assertRaises(ConfigError, etcd.make, config, context(reactor))

    def test_secret(self) -> None:
        """
        The password is not shown.
        """
        config = structure({"endpoints": "http://a:1", "prefix": "/a", "user": "x", "password": "geheim"}, etcd.Config)
        self.assertNotIn("geheim", repr(config))


class WatchTests(SynchronousTestCase):
    """
    What a watch says.
    """

    CREATED = b'{"result":{"header":{"revision":"4"},"created":true}}\n'
    EVENT = b'{"result":{"header":{"revision":"5"},"events":[{"kv":{}}]}}\n'

    def watch(self, status: int, *pieces: bytes, ends: bool = False) -> Any:
        """
        The outcome of a watch that is answered so.
        """
        watch = etcd.Watch(Question(b"POST", b"/", Fields.of([])), Ticker(reactor), 1.0)  # type: ignore[arg-type]
        head: Any = ResponseHead.__new__(ResponseHead)
        head.status = status
        watch.response_head(head, False)
        for piece in pieces:
            watch.response_data(piece)
        if ends:
            watch.response_end(None)
        return watch.done

    def test_event(self) -> None:
        """
        It is over with the first event, wherever it is cut.
        """
        stream = self.CREATED + self.EVENT
        self.assertIsNone(self.successResultOf(self.watch(200, stream)))
        self.assertIsNone(self.successResultOf(self.watch(200, *(stream[i : i + 1] for i in range(len(stream))))))
        self.assertNoResult(self.watch(200, stream[:-1]))

    def test_end(self) -> None:
        """
        An end says that it is time to read again; so does a watch that was cancelled.
        """
        self.assertIsNone(self.successResultOf(self.watch(200, self.CREATED, ends=True)))
        self.assertIsNone(self.successResultOf(self.watch(200, b'{"result":{"canceled":true}}\n')))

    def test_errors(self) -> None:
        """
        Anything else is said.
        """
        for status, text, reason in (
            (200, b'{"error":{"message":"no leader"}}\n', "no leader"),
            (200, b"<html>\n", "not JSON"),
            (200, b"x" * 5_000_000, "too large"),
            (404, b"Not Found\n", "the answer is 404"),
            (401, b'{"error":"invalid auth token"}', "invalid auth token"),
        ):
            outcome = self.watch(status, text, ends=True)
            self.assertIn(reason, str(self.failureResultOf(outcome, ValueError).value))
