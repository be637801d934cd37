"""
Tests for ``twistginx.service``.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import weakref
from pathlib import Path
from types import SimpleNamespace

from attrs import evolve
from twisted.application.service import Application, IServiceCollection
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import twistginx.net.listener
import twistginx.service.start
from twistginx.build.generation import Generation, ListenerPlan
from twistginx.config import schema
from twistginx.errors import ConfigError, Problem
from twistginx.net.inheritance import Binder
from twistginx.observe.errorlog import ErrorLog
from twistginx.service.heap import freeze_heap
from twistginx.service.server import GRACE, Service
from twistginx.service.signals import hear_early, hear_twice
from twistginx.service.start import StartError


class Port:
    """
    A bound port of the fake reactor.
    """

    def __init__(self, reactor, number):
        self.reactor = reactor
        self.number = number

    def getHost(self):
        return self.number

    def stopListening(self):
        self.reactor.ports.discard(self.number)


class Reactor(MemoryReactorClock):
    """
    A reactor whose ports can be taken by somebody else.

    :ivar taken: ports that others have.
    :ivar ports: ports that we have.
    """

    def __init__(self):
        super().__init__()
        self.taken = set()
        self.ports = set()

    def listenTCP(self, port, factory, backlog=50, interface=""):
        if port in self.taken | self.ports:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "Address already in use"))
        self.ports.add(port)
        return Port(self, port)

    def callFromThread(self, function, *arguments):
        self.callLater(0, function, *arguments)


class Connection:
    """
    An open connection, as a listener sees it.
    """

    def __init__(self, listener, ends=True):
        self.listener = listener
        self.ends = ends
        self.drained = self.aborted = False
        self.transport = self
        listener.connections.add(self)

    def drain(self):
        self.drained = True
        if self.ends:
            self.listener.connections.discard(self)

    def getPeer(self):
        return IPv4Address("TCP", "192.0.2.7", 1)

    def abortConnection(self):
        self.aborted = True
        self.listener.connections.discard(self)


class Life:
    """
    Something that a module made, and that starts and stops.
    """

    def __init__(self, events, name, error=None, stopped=None):
        self.events = events
        self.name = name
        self.error = error
        self.stopped = stopped

    def start(self):
        self.events.append(f"start {self.name}")
        if self.error:
            raise self.error

    def stop(self):
        self.events.append(f"stop {self.name}")
        return self.stopped


class Log:
    """
    An access log.
    """

    def __init__(self, events, path="access.log", error=None):
        self.events = events
        self.path = path
        self.error = error

    def do(self, what):
        self.events.append(f"{what} {self.path}")
        if self.error and what != "close":
            raise self.error

    def open(self):
        self.do("open")

    def reopen(self):
        self.do("reopen")

    def close(self):
        self.do("close")


ROOT = schema.Root(
    process=schema.Process(),
    log=schema.Log(),
    defaults=schema.Defaults(),
    upstreams={},
    listeners={},
    sites=(),
    streams=(),
    source=SimpleNamespace(files=(), contents={}),
)


def generation(*ports, root=ROOT, **parts):
    """
    A generation that listens on ``ports``; its frontends are its own.
    """
    frontend = object()
    listeners = {f"tcp:{port}": ListenerPlan(f"tcp:{port}", 100, frontend, None) for port in ports}
    return Generation(root, listeners=listeners, **parts)


class ServiceTestCase(SynchronousTestCase):
    """
    A service whose configuration is whatever the test says.

    :ivar next: what the next ``prepare`` returns or raises.
    :ivar events: what lives and logs did.
    :ivar descriptors: how many the process may have.
    """

    descriptors = 10_000

    def setUp(self):
        self.reactor = Reactor()
        self.events = []
        self.said = []
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.patch(twistginx.service.start, "raise_descriptor_limit", lambda: self.descriptors)
        self.service = Service(self.reactor, "site.toml", settle=lambda: self.settled.append(self.service.generation))
        self.settled = []
        self.patch(self.service, "prepare", self.prepare)

    def observe(self, event):
        if event.get("log_namespace") == "twistginx.service":
            self.said.append((event["log_level"], formatEvent(event)))

    def prepare(self):
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def start(self, first):
        self.next = first
        self.service.privilegedStartService()
        self.service.startService()

    def slow(self):
        """
        From now on endpoints take their time: until the Deferred that is returned fires.
        """
        answer = Deferred()

        class Endpoint:
            def listen(self, factory):
                return answer

        self.patch(twistginx.net.listener, "serverFromString", lambda *_: Endpoint())
        return answer

    def texts(self, level):
        return [text for said, text in self.said if said is level]

    def frontends(self):
        return {key: listener.frontend for key, listener in self.service.listeners.items()}


class StartTests(ServiceTestCase):
    """
    A server binds all, or says why not and is gone.
    """

    def test_log_of_root(self):
        """
        The error log that root has begun is given to whom twistd is to become.
        """
        given = []
        self.patch(os, "chown", lambda *arguments: given.append(arguments))
        for twistd, log, expected in (
            ({"uid": 7, "gid": 8}, ErrorLog("/a/log"), [("/a/log", 7, 8)]),
            ({"uid": 7, "gid": None}, ErrorLog("/a/log"), [("/a/log", 7, -1)]),
            ({"uid": None, "gid": None}, ErrorLog("/a/log"), []),
            ({"uid": 7}, ErrorLog("stderr"), []),
            ({"uid": 7}, None, []),
        ):
            self.setUp()
            given.clear()
            self.next = generation(80)
            self.service.twistd, self.service.error_log = twistd, log
            self.service.privilegedStartService()
            self.assertEqual(given, expected)

    def test_sockets_of_root(self):
        """
        So are sockets that can be bound beside, which are all of TCP.
        """
        binder = Binder(self.reactor)
        self.patch(type(self.service), "endpoint_reactor", binder)
        plans = [ListenerPlan(text, 10, object(), None) for text in ("tcp:0:interface=127.0.0.1", "unix:web.sock")]
        given = []
        self.patch(os, "chown", lambda *arguments: given.append(arguments))
        self.next = Generation(ROOT, listeners={plan.endpoint: plan for plan in plans})
        self.service.twistd = {"uid": 7, "gid": 8}
        self.service.privilegedStartService()
        self.service.startService()
        numbers = [each.port.fileno() for each in self.service.listeners.values() if each.endpoint.startswith("tcp:")]
        self.assertEqual(given, [(number, 7, 8) for number in numbers])
        stopping = self.service.stopService()
        self.reactor.pump([0.1] * 10)
        self.successResultOf(stopping)

    def test_start(self):
        """
        Bound first, opened and served then.
        """
        self.next = first = generation(80, 81, lives=[Life(self.events, "pool")], access_log=Log(self.events))
        self.service.privilegedStartService()
        self.assertEqual(self.reactor.ports, {80, 81})
        self.assertEqual(self.events, [])
        self.assertIsNone(self.service.generation)
        self.service.startService()
        self.assertEqual(self.events, ["open access.log", "start pool"])
        self.assertEqual(self.frontends(), {key: plan.frontend for key, plan in first.listeners.items()})
        self.assertEqual(self.texts(LogLevel.info), ["serving on tcp:80, tcp:81"])
        self.assertEqual(self.settled, [first])

    def test_without_the_privileged_part(self):
        """
        ``twist`` only starts the service; it binds then.
        """
        self.next = generation(80)
        self.service.startService()
        self.assertIs(self.service.generation, self.next)

    def test_ports_in_use(self):
        """
        All ports that cannot be had are reported together; none is kept; the process ends with status 1, in a way that
        ``twistd`` takes for an exception and the interpreter for an exit.
        """
        self.reactor.taken = {80, 82}
        self.next = generation(80, 81, 82)
        error = self.assertRaises(StartError, self.service.privilegedStartService)
        self.assertEqual((error.code, self.reactor.ports), (1, set()))
        self.assertIsInstance(error, Exception)
        self.assertIsInstance(error, SystemExit)
        self.assertEqual(
            self.texts(LogLevel.critical),
            ["twistginx cannot start:\ntcp:80: address already in use\ntcp:82: address already in use"],
        )

    def test_bad_access_log(self):
        """
        An access log that cannot be opened ends the process too.
        """
        log = Log(self.events, error=PermissionError(errno.EACCES, "Permission denied"))
        error = self.assertRaises(StartError, self.start, generation(80, access_log=log))
        self.assertEqual(str(error), "twistginx cannot start:\naccess log access.log: permission denied")

    def test_said_on_the_terminal(self):
        """
        When the error log is a file, whoever started the server reads the reason on standard error.
        """
        written = []
        self.patch(os, "write", lambda descriptor, data: written.append((descriptor, data)))
        self.service.error_log = ErrorLog("/somewhere/error.log")
        self.reactor.taken = {80}
        self.next = generation(80)
        self.assertRaises(StartError, self.service.privilegedStartService)
        self.assertEqual(written, [(2, b"twistginx cannot start:\ntcp:80: address already in use\n")])

    def test_slow_endpoint(self):
        """
        An endpoint that takes its time is waited for, and nothing is served before.
        """
        slow = self.slow()
        self.start(generation(80))
        self.assertIsNone(self.service.generation)
        slow.callback(Port(self.reactor, 80))
        self.assertIs(self.service.generation, self.next)

    def test_slow_endpoint_fails(self):
        """
        One that fails late ends the process late, with the same status.
        """
        registered = []
        self.patch(__import__("atexit"), "register", lambda *call: registered.append(call))
        slow = self.slow()
        self.start(generation(80))
        self.reactor.running = True
        slow.errback(OSError(errno.EACCES, "Permission denied"))
        self.assertEqual(registered, [(os._exit, 1)])
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(len(self.texts(LogLevel.critical)), 1)

    def test_warnings(self):
        """
        What is risky is logged at the start.
        """
        self.start(generation(80, warnings=[Problem("site.toml", 1, 1, "log", "risky", warning=True)]))
        self.assertEqual(self.texts(LogLevel.warn), ["site.toml:1:1: warning: log: risky"])

    def test_connections(self):
        """
        The process has room for half as many clients as it may have files open, or for as many as the file says; a
        reload may change that.
        """
        self.start(generation(80))
        listener = self.service.listeners["tcp:80"]
        address = IPv4Address("TCP", "192.0.2.7", 1)

        class Frontend:
            def build_protocol(self, listener, address):
                return "served"

            def turn_away(self, listener):
                return "turned away"

        def connect(connections):
            listener.frontend = Frontend()
            listener.connections.clear()
            listener.connections.update(range(connections))
            self.addCleanup(listener.connections.clear)
            return listener.buildProtocol(address)

        self.assertEqual((connect(4999), connect(5000)), ("served", "turned away"))
        self.next = generation(80, root=evolve(ROOT, process=schema.Process(max_connections=10)))
        self.successResultOf(self.service.reload())
        self.assertEqual((connect(9), connect(10)), ("served", "turned away"))
        listener.connections.clear()

    def test_few_descriptors(self):
        """
        A limit of open files that is too low for a server is said to be that.
        """
        self.descriptors = 1024
        self.start(generation(80))
        (text,) = self.texts(LogLevel.warn)
        self.assertIn("no more than 1024 files open", text)

    def test_log_observer(self):
        """
        ``twistd`` finds our error log among the components of its application.
        """
        self.service.error_log = ErrorLog("stderr")
        application = Application("twistginx")
        self.service.setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), self.service.error_log)
        self.assertEqual(list(IServiceCollection(application)), [self.service])

    def test_twistd_log_observer(self):
        """
        When twistd is to log by itself, we do not interfere.
        """
        application = Application("twistginx")
        self.service.setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))


class ReloadTests(ServiceTestCase):
    """
    A reload swaps everything at once, or changes nothing.
    """

    def reload(self, replacement):
        self.next = replacement
        self.successResultOf(self.service.reload())

    def test_swap(self):
        """
        Listeners that stay keep their socket and their connections; new ones are bound, old ones closed and drained.
        """
        self.start(generation(80, 81))
        stays, goes = self.service.listeners["tcp:80"], self.service.listeners["tcp:81"]
        staying, going = Connection(stays), Connection(goes)
        self.reload(generation(80, 82))
        self.assertEqual(self.settled[1:], [self.next])
        self.assertEqual(self.reactor.ports, {80, 82})
        self.assertIs(self.service.listeners["tcp:80"], stays)
        self.assertEqual(self.frontends(), {key: plan.frontend for key, plan in self.next.listeners.items()})
        self.assertEqual((staying.drained, going.drained), (False, True))
        self.assertTrue(self.texts(LogLevel.info)[-1].startswith("reloaded: "))
        self.assertEqual((self.service.counters.reloads, self.service.counters.refused_reloads), (1, 0))

    def test_lives(self):
        """
        What is in both generations is left alone; the new is started before the old is stopped.
        """
        old, both, new = (Life(self.events, name) for name in ("old", "both", "new"))
        self.start(generation(80, lives=[old, both]))
        self.events.clear()
        self.reload(generation(80, lives=[both, new]))
        self.assertEqual(self.events, ["start new", "stop old"])

    def test_broken_life(self):
        """
        What a plugin raises when it starts or stops is logged, and stops nothing else.
        """
        broken = Life(self.events, "broken", ValueError("boom"))
        self.start(generation(80, lives=[broken, Life(self.events, "fine")]))
        self.assertEqual(self.events, ["start broken", "start fine"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_bad_file(self):
        """
        With a bad file, all of its problems are logged, and nothing has changed.
        """
        first = generation(80)
        self.start(first)
        problems = (Problem("site.toml", 3, 1, "site", "wrong"), Problem("site.toml", 4, 1, "log", "wrong too"))
        self.reload(ConfigError(problems=problems))
        self.assertIs(self.service.generation, first)
        (text,) = self.texts(LogLevel.error)
        self.assertEqual(
            text.splitlines(),
            [
                "the configuration was not reloaded, and nothing has changed:",
                "site.toml:3:1: site: wrong",
                "site.toml:4:1: log: wrong too",
            ],
        )
        self.assertEqual((self.service.counters.reloads, self.service.counters.refused_reloads), (0, 1))

    def test_port_in_use(self):
        """
        When one new address cannot be had, the others are given back, and the old configuration serves on.
        """
        first = generation(80)
        self.start(first)
        frontends = self.frontends()
        self.reactor.taken = {82}
        self.reload(generation(81, 82, access_log=Log(self.events)))
        self.assertEqual((self.reactor.ports, self.frontends(), self.events), ({80}, frontends, []))
        self.assertIs(self.service.generation, first)
        self.assertIn("tcp:82: address already in use", self.texts(LogLevel.error)[0])

    def test_address_of_one_that_goes(self):
        """
        A new listener cannot have the address of an old one in the same reload; who tries is told.
        """
        self.start(generation(80))
        plan = ListenerPlan("tcp:80:interface=127.0.0.1", 100, object(), None)
        self.reload(Generation(ROOT, listeners={plan.endpoint: plan}))
        text = self.texts(LogLevel.error)[0]
        self.assertIn("tcp:80:interface=127.0.0.1: address already in use\nonly a restart", text)
        self.assertTrue(text.endswith("(tcp:80)"))

    def test_backlog(self):
        """
        The kernel is told of another backlog; where it cannot be, the operator is.
        """
        self.start(generation(80))
        self.reload(Generation(ROOT, listeners={"tcp:80": ListenerPlan("tcp:80", 200, object(), None)}))
        self.assertEqual(self.texts(LogLevel.warn), ["tcp:80: another backlog takes a restart"])
        self.said.clear()
        sock = self.service.listeners["tcp:80"].port.socket = socket.socket()
        self.addCleanup(sock.close)
        sock.bind(("127.0.0.1", 0))
        self.reload(Generation(ROOT, listeners={"tcp:80": ListenerPlan("tcp:80", 300, object(), None)}))
        self.assertEqual(self.texts(LogLevel.warn), [])
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        self.reload(Generation(ROOT, listeners={"tcp:80": ListenerPlan("tcp:80", 300, object(), None)}))
        self.assertEqual(self.service.listeners["tcp:80"].backlog, 300)

    def test_scarcity(self):
        """
        A reload that allows more connections than there are descriptors for says so, once.
        """
        self.start(generation(80))
        for _ in range(2):
            self.reload(generation(80, root=evolve(ROOT, process=schema.Process(max_connections=6000))))
        (text,) = self.texts(LogLevel.warn)
        self.assertIn("no more than 10000 files open, and would do well with 12000", text)

    def test_bad_access_log(self):
        """
        An access log that cannot be opened refuses the reload, and new addresses are given back.
        """
        first = generation(80)
        self.start(first)
        self.reload(generation(81, access_log=Log(self.events, error=IsADirectoryError(21, "Is a directory"))))
        self.assertEqual(self.reactor.ports, {80})
        self.assertIs(self.service.generation, first)
        self.assertIn("access log access.log: is a directory", self.texts(LogLevel.error)[0])

    def test_fault(self):
        """
        A plugin that breaks while it is built is a refusal, and a traceback for its author.
        """
        first = generation(80)
        self.start(first)
        self.reload(ZeroDivisionError("boom"))
        self.assertIs(self.service.generation, first)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.reload(generation(80))
        self.assertIs(self.service.generation, self.next)

    def test_access_log(self):
        """
        Another access log is opened before the old one is closed; the same one is left alone.
        """
        first, second = Log(self.events, "first"), Log(self.events, "second")
        self.start(generation(80, access_log=first))
        self.reload(generation(80, access_log=first))
        self.assertNotIn("close first", self.events)
        self.events.clear()
        self.reload(generation(80, access_log=second))
        self.assertEqual(self.events, ["open second", "close first"])

    def test_error_log(self):
        """
        The error log moves to where the new configuration says.
        """
        old, new = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        self.service.error_log = log = ErrorLog(str(old))
        self.addCleanup(log.close)

        def root(**error):
            return evolve(ROOT, log=schema.Log(error=schema.ErrorLog(**error)))

        self.start(generation(80, root=root(path=old)))
        self.reload(generation(80, root=root(path=new, level="warn")))
        self.assertIs(self.service.error_log, log)
        self.assertEqual((log.path, log.level), (str(new), "warn"))
        self.reload(generation(80, root=root(path=new / "not-a-directory")))
        self.assertEqual(log.path, str(new))
        self.assertEqual(len(self.texts(LogLevel.error)), 1)

    def test_one_after_the_other(self):
        """
        A reload that is asked for while one waits for an endpoint comes after it, with the file as it is then.
        """
        self.start(generation(80))
        endpoint = twistginx.net.listener.serverFromString
        slow = self.slow()
        self.next = generation(80, 81)
        first = self.service.reload()
        self.assertNoResult(first)
        self.patch(twistginx.net.listener, "serverFromString", endpoint)
        self.next = last = generation(80, 82)
        second = self.service.reload()
        self.assertNoResult(second)
        slow.callback(Port(self.reactor, 81))
        self.assertTrue(self.successResultOf(first).done)
        self.assertTrue(self.successResultOf(second).done)
        self.assertIs(self.service.generation, last)
        self.assertEqual(self.service.counters.reloads, 2)

    def test_stopped_meanwhile(self):
        """
        What a reload has bound is given back when the server stops before it is used.
        """
        self.start(generation(80))
        slow = self.slow()
        self.next = generation(80, 81)
        reload = self.service.reload()
        self.successResultOf(self.service.stopService())
        self.reactor.ports.add(81)
        slow.callback(Port(self.reactor, 81))
        self.successResultOf(reload)
        self.assertEqual(self.reactor.ports, set())

    def test_removed_listener_is_drained_in_time(self):
        """
        Connections of a listener that is gone may end their work, and are cut when drain_timeout has passed.
        """
        self.start(generation(80, 81))
        connection = Connection(self.service.listeners["tcp:81"], ends=False)
        self.reload(generation(80))
        self.reactor.pump([1] * 29)
        self.assertEqual((connection.drained, connection.aborted), (True, False))
        self.reactor.pump([1] * 2)
        self.assertTrue(connection.aborted)
        self.assertEqual(self.texts(LogLevel.warn), ["1 connections were cut after 30 s"])


class SignalTests(ServiceTestCase):
    """
    Signals do what an operator of nginx expects.
    """

    def raised(self, number):
        signal.raise_signal(number)
        self.reactor.advance(0)

    def test_hangup(self):
        """
        SIGHUP reloads.
        """
        self.start(generation(80))
        self.next = generation(81)
        self.raised(signal.SIGHUP)
        self.assertIs(self.service.generation, self.next)

    def test_early(self):
        """
        A signal that comes before there is a server is not its end, and is acted on then.
        """
        hear_early()
        signal.raise_signal(signal.SIGHUP)
        self.start(generation(80))
        self.next = generation(81)
        self.reactor.advance(0)
        self.assertIs(self.service.generation, self.next)

    def test_during_an_upgrade(self):
        """
        A reload waits for an upgrade that runs; when that has succeeded, the new process is told to.
        """
        told = []
        self.patch(os, "kill", lambda *call: told.append(call))
        self.start(generation(80))
        first = self.service.generation
        self.successResultOf(self.service.changing.acquire())
        self.next = generation(81)
        outcome = self.service.reload()
        self.assertNoResult(outcome)
        self.service.successor = 4711
        self.service.changing.release()
        self.assertTrue(self.successResultOf(outcome).done)
        self.assertEqual((told, self.service.generation), ([(4711, signal.SIGHUP)], first))

    def test_usr1(self):
        """
        SIGUSR1 reopens the logs; one that cannot be reopened does not keep the others from it.
        """
        log = Log(self.events)
        self.service.error_log = error_log = ErrorLog(self.mktemp())
        self.addCleanup(error_log.close)
        self.start(generation(80, access_log=log))
        log.error = PermissionError(errno.EACCES, "Permission denied")
        self.raised(signal.SIGUSR1)
        self.assertEqual(self.events, ["open access.log", "reopen access.log"])
        self.assertEqual(self.texts(LogLevel.error), ["access.log was not reopened: permission denied"])
        self.assertTrue(Path(error_log.path).exists())

    def test_quit(self):
        """
        SIGQUIT stops accepting, waits for connections to end, and stops the reactor.
        """
        self.start(generation(80))
        connection = Connection(self.service.listeners["tcp:80"], ends=False)
        self.raised(signal.SIGQUIT)
        self.assertEqual((self.reactor.ports, connection.drained), (set(), True))
        self.reactor.advance(5)
        self.assertFalse(self.reactor.hasStopped)
        connection.listener.connections.discard(connection)
        self.reactor.advance(1)
        self.assertTrue(self.reactor.hasStopped)
        self.assertFalse(connection.aborted)

    def test_quit_in_time(self):
        """
        What has not ended within drain_timeout is cut, and it is said how many.
        """
        self.start(generation(80))
        connection = Connection(self.service.listeners["tcp:80"], ends=False)
        self.raised(signal.SIGQUIT)
        self.reactor.pump([1] * 32)
        self.assertTrue(connection.aborted)
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(self.texts(LogLevel.warn), ["1 connections were cut after 30 s"])


class StopTests(ServiceTestCase):
    """
    A server that stops leaves nothing behind.
    """

    def test_stop(self):
        """
        Ports are closed, idle connections end, lives stop, and then the log is closed.
        """
        self.start(generation(80, lives=[Life(self.events, "pool")], access_log=Log(self.events)))
        connection = Connection(self.service.listeners["tcp:80"])
        self.events.clear()
        self.successResultOf(self.service.stopService())
        self.assertEqual((self.reactor.ports, self.events), (set(), ["stop pool", "close access.log"]))
        self.assertEqual((connection.drained, connection.aborted), (True, False))

    def test_busy_connection(self):
        """
        A request that is being answered gets a moment to end, and is cut then.
        """
        self.start(generation(80))
        connection = Connection(self.service.listeners["tcp:80"], ends=False)
        stopped = self.service.stopService()
        self.reactor.pump([0.05] * round(GRACE / 0.05 - 2))
        self.assertFalse(connection.aborted)
        self.reactor.pump([0.05] * 4)
        self.assertTrue(connection.aborted)
        self.successResultOf(stopped)

    def test_slow_life(self):
        """
        What does not stop is not waited for for ever.
        """
        self.start(generation(80, lives=[Life(self.events, "stuck", stopped=Deferred())], access_log=Log(self.events)))
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        self.reactor.advance(5)
        self.successResultOf(stopped)
        self.assertEqual(self.events[-1], "close access.log")
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_term_after_quit(self):
        """
        A second signal means now, whichever the first one was; that both end the reactor is no fault.
        """
        stops = []
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, lambda *_: stops.append(self.service.stopService()))

        def stop():
            raise ReactorNotRunning

        self.patch(self.reactor, "stop", stop)
        self.start(generation(80))
        hear_twice(self.service, self.reactor)
        connection = Connection(self.service.listeners["tcp:80"], ends=False)
        self.service.quit()
        self.reactor.advance(1)
        signal.raise_signal(signal.SIGTERM)
        self.reactor.pump([0.05] * 4)
        self.assertTrue(connection.aborted)
        self.reactor.pump([1] * 40)
        self.successResultOf(stops[0])

    def test_term_while_draining(self):
        """
        What stops the service does not wait for the drain.
        """
        self.start(generation(80))
        connection = Connection(self.service.listeners["tcp:80"], ends=False)
        self.service.quit()
        stopped = self.service.stopService()
        self.reactor.pump([0.05] * 25)
        self.assertTrue(connection.aborted)
        self.successResultOf(stopped)

    def test_never_started(self):
        """
        Stopping what did not come to serve is harmless.
        """
        self.successResultOf(self.service.stopService())


class FreezeTests(SynchronousTestCase):
    """
    The garbage collector does not look at what was built.
    """

    def setUp(self):
        self.addCleanup(gc.unfreeze)

    def test_freeze(self):
        """
        What is alive is frozen, and what is garbage is gone, also when it was frozen while it lived.
        """

        class Cycle:
            def __init__(self):
                self.itself = self

        kept, garbage, later = Cycle(), weakref.ref(Cycle()), Cycle()
        freeze_heap()
        self.assertIsNone(garbage())
        self.assertFalse(any(each is kept for each in gc.get_objects()))
        was_frozen = weakref.ref(later)
        del later
        freeze_heap()
        self.assertIsNone(was_frozen())
