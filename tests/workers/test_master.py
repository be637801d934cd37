"""
Tests for ``twistginx.workers.master``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twistginx.build.generation import Generation, Runtime
from twistginx.build.prepare import prepare
from twistginx.errors import ConfigError
from twistginx.net.inheritance import Binder
from twistginx.net.listener import Listener
from twistginx.net.timers import Ticker
from twistginx.registry import Registry
from twistginx.service.opening import Opening, RefusedError
from twistginx.shared.embedded import EmbeddedStore
from twistginx.workers.master import Master, count_of_workers


class Crew:
    """
    Does what it is told, and remembers it.
    """

    def __init__(self) -> None:
        self.orders: list[Any] = []
        self.reasons: list[str] = []
        self.held = 0
        self.timeout = 0.0

    async def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1

    def allow_drain(self, seconds: float) -> None:
        self.drain = seconds

    async def resize(self, size: int) -> None:
        self.size = size
        self.held_at_resize = self.held

    async def all(self, name: str, details: Any = None, sockets: Any = ()) -> Any:
        self.orders.append((name, details))
        self.held_at_order = self.held
        return ([{"worker": 1}], self.reasons if name in ("prepare", "control") else [])

    async def insist(self, name: str) -> None:
        self.orders.append((name, None))


CONFIG = """
[process]
workers = {workers}
{more}

[log]
access = "off"

[[site]]
listen = "tcp:0:interface=127.0.0.1"
    [[site.route]]
    respond = {{ body = "x" }}
"""


class MasterTests(SynchronousTestCase):
    """
    What all workers are told, and when.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.clock = Clock()
        self.write()
        self.master = Master(self.clock, self.path)
        self.crew: Any = Crew()
        self.master.crew = self.crew

    def write(self, workers: object = 2, more: str = "") -> None:
        self.path.write_text(CONFIG.format(workers=workers, more=more))

    def generation(self) -> Generation:
        return prepare(self.path, Registry(), {}, Runtime(self.clock, Ticker(self.clock)))

    def put_in_force(self) -> Deferred[None]:
        opening = Opening(self.master.prepare(), {})
        return Deferred.fromCoroutine(self.master.put_in_force(opening))

    def test_count(self) -> None:
        """
        A number, or the cores that this process may use.
        """
        self.assertEqual(count_of_workers(self.generation()), 2)
        self.write('"auto"')
        self.assertEqual(count_of_workers(self.generation()), len(os.sched_getaffinity(0)))
        for wrong in (0, -1, 1000, '"many"'):
            self.write(wrong)
            self.assertIn("workers", str(self.assertRaises(ConfigError, self.generation)))

    def test_two_phases(self) -> None:
        """
        All prepare, from the bytes that the master has read; then all commit; what the master waits for is the new
        configuration's.
        """
        self.write(3, 'worker_timeout = "7s"\ndrain_timeout = "9s"')
        self.successResultOf(self.put_in_force())
        (prepare_, details), commit = self.crew.orders
        self.assertEqual((prepare_, commit), ("prepare", ("commit", None)))
        self.assertEqual(details["workers"], 3)
        self.assertEqual([path for path, _ in details["disk"]["contents"]], [str(self.path)])
        self.assertEqual((self.crew.size, self.crew.timeout, self.crew.drain, self.crew.held), (3, 7.0, 9.0, 0))
        self.assertEqual(self.crew.held_at_resize, 1)

    def test_size_of_memory(self) -> None:
        """
        The memory that workers share keeps its size; who changes it is told.
        """
        self.successResultOf(self.put_in_force())
        with capturedLogs() as logs:
            self.successResultOf(self.put_in_force())
            self.write(more='[shared]\nsize = "32MiB"')
            self.successResultOf(self.put_in_force())
        self.assertEqual(
            [event["log_format"] for event in logs if event["log_level"] is LogLevel.warn],
            ["[shared].size: another size takes a restart, or an upgrade (SIGUSR2)"],
        )

    def test_refused(self) -> None:
        """
        When one cannot, all forget it, and the reasons are given once each.
        """
        self.crew.reasons = ["site.toml:1:1: wrong\nsite.toml:2:1: wrong too"]
        failure = self.failureResultOf(self.put_in_force(), RefusedError)
        self.assertEqual(failure.value.reasons, ("site.toml:1:1: wrong", "site.toml:2:1: wrong too"))
        self.assertEqual([name for name, _ in self.crew.orders], ["prepare", "abandon"])
        self.assertIsNone(self.master.generation)
        self.assertEqual(self.crew.held, 0)

    def test_not_shareable(self) -> None:
        """
        An endpoint that has bound something that cannot be passed on is refused.
        """
        opening = Opening(self.master.prepare(), {})

        class Listener:
            endpoint = "onion:80"
            port = object()

        opening.added = {"onion:80": Listener()}  # type: ignore[dict-item]  # as a listener, to those who look
        failure = self.failureResultOf(Deferred.fromCoroutine(self.master.put_in_force(opening)), RefusedError)
        self.assertIn("onion:80: workers cannot share this kind of endpoint", str(failure.value))
        self.assertEqual(self.crew.orders, [])

    def test_beginning_while_a_listener_goes(self) -> None:
        """
        A worker that begins when a reload has just been committed is given no socket that is about to be closed: the
        number of its descriptor would be another one's when it is sent.
        """
        binder = Binder(MemoryReactorClock())
        opening = Opening(self.master.prepare(), {})
        (wanted,) = opening.generation.listeners
        self.master.runtime.memory = EmbeddedStore.create(1 << 20, 4)
        self.addCleanup(self.master.runtime.memory.close)
        self.master._use(opening.generation, opening)
        for endpoint in ("tcp:0:interface=127.0.0.2", wanted):
            listener = self.master.listeners[endpoint] = Listener(binder, endpoint)
            self.successResultOf(listener.open())
            self.addCleanup(listener.port.socket.close)
        _, sockets = self.master._beginning(1)
        ours = self.master.listeners[wanted].port.fileno()
        self.assertEqual([number for key, number in sockets if key != "memory"], [ours])

    def test_commands(self) -> None:
        """
        A command of an operator goes to all workers, and, once it was done, to those that come later: each once, in the
        order of the last times.
        """
        one, two = {"command": "drain", "server": "a"}, {"command": "drain", "server": "b"}
        for command in (one, two, one):
            self.assertEqual(self.successResultOf(self.master.apply(command)), {"workers": [{"worker": 1}]})
            # One that began just then would have neither been told nor begun with it.
            self.assertEqual((self.crew.held_at_order, self.crew.held), (1, 0))
        self.crew.reasons = ["there is no such server"]
        error = self.failureResultOf(self.master.apply({"command": "drain", "server": "c"}), ValueError)
        self.assertEqual(error.getErrorMessage(), "there is no such server")
        self.assertEqual(list(self.master._applied.values()), [two, one])

    def test_not_running(self) -> None:
        """
        Before it runs there is nobody to ask.
        """
        self.master.crew = None
        self.assertRaises(ValueError, self.master.gather)
        self.failureResultOf(self.master.apply({"command": "x"}), ValueError)
        self.failureResultOf(self.master.restart_workers(), ValueError)
