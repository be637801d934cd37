"""
Tests for ``twistginx.observe.accesslog``.
"""

from __future__ import annotations

import errno
import json as standard_json
import os
import re
import time
from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.template import LogTemplate
from twistginx.http.message import Fields, Record, RequestHead
from twistginx.observe.accesslog import BATCH, AccessLog, combined, escape, format_of, json
from twistginx.observe.counters import Counters
from twistginx.observe.sink import Sink


class Route:
    name = "api"


class Request:
    """
    As much of a request as a log line needs.
    """

    client_ip = b"192.0.2.7"
    request_id = b"1234"
    remote_user = b""
    split = b""
    scheme = b"https"
    route = None

    def __init__(self, target=b"/a?b=c", fields=(), method=b"GET"):
        self.head = RequestHead(method, target, b"HTTP/1.1", Fields.of(fields))
        self.head.path, found, query = target.partition(b"?")
        self.head.query = query if found else None
        self.head.host = b"example.com"


def record(status=200, sent=1024, upstream="", reason="", detail=""):
    return Record(status, sent, 0.0123456, reason, detail, upstream)


def noon():
    return 1791633336.25  # 2026-10-10 11:55:36 UTC


def read(path):
    return Path(path).read_bytes()


class EscapeTests(SynchronousTestCase):
    """
    Values from outside cannot break a line, a field or a terminal.
    """

    def test_nginx(self):
        r"""
        Control characters, quote, backslash and what is not ASCII become ``\xHH``, in upper case.
        """
        self.assertEqual(escape(b'a"b\\c\r\n\x1b\x7f\xc3\xa9~ '), rb"a\x22b\x5Cc\x0D\x0A\x1B\x7F\xC3\xA9~ ")

    @given(strategies.binary(max_size=50))
    @settings(max_examples=200, deadline=None)
    def test_any(self, value):
        """
        Whatever it is, what is written is safe, and tells what it was.
        """
        written = escape(value)
        self.assertRegex(written, rb"\A(?:\\x[0-9A-F]{2}|[ !#-\[\]-~])*\Z")
        told = re.sub(rb"\\x([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), written)
        self.assertEqual(told, value)


class CombinedTests(SynchronousTestCase):
    """
    The combined format is nginx's, byte for byte.
    """

    def line(self, request, what=None):
        return combined(noon)(request, what or record())

    def zone(self, name):
        old = os.environ.get("TZ")

        def restore():
            os.environ.pop("TZ", None) if old is None else os.environ.update(TZ=old)
            time.tzset()

        self.addCleanup(restore)
        os.environ["TZ"] = name
        time.tzset()

    def test_line(self):
        """
        A usual request.
        """
        self.zone("UTC")
        fields = [(b"User-Agent", b"curl/8"), (b"Referer", b"http://example.com/")]
        self.assertEqual(
            self.line(Request(fields=fields)),
            b'192.0.2.7 - - [10/Oct/2026:11:55:36 +0000] "GET /a?b=c HTTP/1.1" 200 1024 "http://example.com/" "curl/8"',
        )

    def test_missing(self):
        """
        What the client did not send is a dash.
        """
        self.zone("UTC")
        self.assertEqual(
            self.line(Request(), record(404, 0)),
            b'192.0.2.7 - - [10/Oct/2026:11:55:36 +0000] "GET /a?b=c HTTP/1.1" 404 0 "-" "-"',
        )
        empty = Request(fields=[(b"User-Agent", b""), (b"Referer", b"")])
        self.assertTrue(self.line(empty).endswith(b' 200 1024 "" ""'))

    def test_zone(self):
        """
        The time is local, with its offset, and English in every locale.
        """
        self.zone("XYZ-05:30")
        self.assertIn(b"[10/Oct/2026:17:25:36 +0530]", self.line(Request()))

    def test_user(self):
        """
        The name of a Basic authorization stands in its place; other schemes and broken ones do not.
        """
        for value, user in (
            (b"Basic YWxpY2U6c2VjcmV0", b"alice"),
            (b"basic YWxpY2U6c2VjcmV0", b"alice"),
            (b"Basic YSJiOng=", rb"a\x22b"),
            (b"Basic OnNlY3JldA==", b"-"),
            (b"Basic not base64!", b"-"),
            (b"Bearer YWxpY2U6c2VjcmV0", b"-"),
            (b"", b"-"),
        ):
            line = self.line(Request(fields=[(b"Authorization", value)]))
            self.assertTrue(line.startswith(b"192.0.2.7 - " + user + b" ["), line)
            self.assertNotIn(b"secret", line)

    def test_hostile(self):
        """
        Nothing that a client sends can end a field or a line.
        """
        fields = [(b"User-Agent", b'x" 200 0 "\xff\x1b[2J'), (b"Referer", b"\\")]
        line = self.line(Request(b'/"\xe9', fields))
        self.assertIn(rb'"GET /\x22\xE9 HTTP/1.1"', line)
        self.assertTrue(line.endswith(rb'"\x5C" "x\x22 200 0 \x22\xFF\x1B[2J"'), line)

    def test_time_moves(self):
        """
        The text of the time is kept for its second only.
        """
        self.zone("UTC")
        now = [noon()]
        line = combined(lambda: now[0])
        self.assertIn(b":11:55:36 ", line(Request(), record()))
        now[0] += 0.9
        self.assertIn(b":11:55:37 ", line(Request(), record()))


class JSONTests(SynchronousTestCase):
    """
    The JSON format is one flat object in a line.
    """

    def test_line(self):
        """
        Everything that there can be.
        """
        request = Request(fields=[(b"User-Agent", b"curl/8"), (b"Referer", b"http://example.com/")])
        request.route = Route
        request.split = b"canary"
        line = json(noon)(request, record(502, 7, "127.0.0.1:9001", "connection_refused", "no"))
        self.assertEqual(
            standard_json.loads(line),
            {
                "time": "2026-10-10T11:55:36.250Z",
                "client.address": "192.0.2.7",
                "http.request.method": "GET",
                "url.scheme": "https",
                "server.address": "example.com",
                "url.path": "/a",
                "url.query": "b=c",
                "network.protocol.version": "1.1",
                "http.response.status_code": 502,
                "http.response.body.size": 7,
                "t_total": 0.012346,
                "request_id": "1234",
                "user_agent.original": "curl/8",
                "http.request.header.referer": "http://example.com/",
                "route": "api",
                "split": "canary",
                "upstream": "127.0.0.1:9001",
                "reason": "connection_refused",
                "detail": "no",
            },
        )

    def test_left_out(self):
        """
        What there is not is not mentioned.
        """
        told = standard_json.loads(json(noon)(Request(b"/"), record()))
        self.assertEqual(
            {"url.query", "user_agent.original", "http.request.header.referer", "route", "split", "upstream", "reason"}
            & set(told),
            set(),
        )

    @given(strategies.binary(max_size=40), strategies.binary(max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_any_bytes(self, target, agent):
        """
        Whatever the client sent, the line is one line of valid JSON.
        """
        line = json(noon)(Request(target, [(b"User-Agent", agent)]), record())
        self.assertNotIn(b"\n", line)
        told = standard_json.loads(line.decode("utf-8"))
        self.assertEqual(told["user_agent.original"], agent.decode("utf-8", "backslashreplace"))


class OwnFormatTests(SynchronousTestCase):
    """
    A template of the user's is a format too.
    """

    def line(self, text, request, what=None):
        return format_of(LogTemplate.parse(text))(request, what or record())

    def test_template(self):
        """
        Variables are filled in, literal text is left as it is, and what is missing is a dash.
        """
        fields = [(b"X-Id", b"7")]
        self.assertEqual(
            self.line(
                '"{method} {uri}" {status} {bytes_sent} {duration} {header.x-id} {{{header.x-no}}}\u00e9',
                Request(fields=fields),
            ),
            '"GET /a?b=c" 200 1024 0.012 7 {-}\u00e9'.encode(),
        )

    def test_hostile(self):
        """
        Values are escaped: they end no line and no quote.
        """
        fields = [(b"User-Agent", b'a" "\xff\x1b')]
        self.assertEqual(self.line('"{header.user-agent}"', Request(fields=fields)), rb'"a\x22 \x22\xFF\x1B"')

    def test_names(self):
        """
        The other formats have names.
        """
        self.assertTrue(format_of("json")(Request(), record()).startswith(b"{"))
        self.assertTrue(format_of("combined")(Request(), record()).startswith(b"192.0.2.7 - - ["))


class AccessLogTests(SynchronousTestCase):
    """
    Lines are gathered and written together, soon; and never at the cost of a request.
    """

    def setUp(self):
        self.clock = Clock()
        self.path = str(Path(self.mktemp()).absolute())
        self.counters = Counters()
        self.events = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.log = self.make(self.path)

    def make(self, path):
        log = AccessLog(self.clock, path, lambda request, _: request, self.counters)
        self.addCleanup(log.close)
        return log

    def observe(self, event):
        if event.get("log_namespace") == "twistginx.observe.accesslog":
            self.events.append((event["log_level"], event["error"] if "error" in event else event["lost"]))

    def test_written_within_a_second(self):
        """
        A line waits, but no longer than a second; an idle log has no timer.
        """
        self.log.open()
        self.log.log(b"one", None)
        self.log.log(b"two", None)
        self.assertEqual(read(self.path), b"")
        self.clock.advance(1)
        self.assertEqual(read(self.path), b"one\ntwo\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_written_when_there_are_many(self):
        """
        64 KiB are written at once.
        """
        line = b"x" * 1000
        for _ in range(BATCH // 1000 + 1):
            self.log.log(line, None)
        self.assertEqual(read(self.path), (line + b"\n") * (BATCH // 1000 + 1))

    def test_close(self):
        """
        Closing writes what there is.  A request that ends later is logged all the same.
        """
        self.log.log(b"one", None)
        self.log.close()
        self.assertEqual(read(self.path), b"one\n")
        self.log.log(b"late", None)
        self.assertEqual(read(self.path), b"one\nlate\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reopen(self):
        """
        Lines of before a rotation go to the old file, later ones to the new.
        """
        self.log.open()
        self.log.log(b"old", None)
        Path(self.path).rename(self.path + ".1")
        self.log.reopen()
        self.log.log(b"new", None)
        self.log.flush()
        self.assertEqual((read(self.path + ".1"), read(self.path)), (b"old\n", b"new\n"))

    def test_cannot_be_opened(self):
        """
        Where no file can be, opening says so.
        """
        Path(self.path).touch()
        self.assertRaises(OSError, self.make(f"{self.path}/a.log").open)

    def test_disk_full(self):
        """
        A full disk costs lines, not requests: they are counted, and it is said once.
        """
        log = self.make("/dev/full")
        for _ in range(3):
            log.log(b"one", None)
            log.log(b"two", None)
            self.clock.advance(1)
        self.assertEqual(self.counters.lost_lines, 6)
        self.assertEqual(self.events, [(LogLevel.error, "No space left on device")])

    def test_recovers(self):
        """
        When writing works again, it goes on, and the error log says what was lost.
        """
        directory = Path(f"{self.path}.d")
        log = self.make(str(directory / "a.log"))
        directory.touch()
        log.log(b"lost", None)
        self.clock.advance(1)
        directory.unlink()
        log.log(b"kept", None)
        self.clock.advance(1)
        self.assertEqual(read(log.path), b"kept\n")
        self.assertEqual([level for level, _ in self.events], [LogLevel.error, LogLevel.warn])
        self.assertEqual((self.events[1][1], self.counters.lost_lines), (1, 1))

    def test_pipe(self):
        """
        Into a pipe, which other processes may write to as well, go whole lines, as many as stay together.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        sink = Sink("stdout")
        sink._descriptor = writing
        self.addCleanup(os.close, writing)
        self.log._sink = sink
        lines = [b"%d " % number + b"x" * 1000 for number in range(20)] + [b"y" * 9000, b"z"]
        written = []
        self.patch(os, "write", lambda descriptor, data: written.append(bytes(data)) or len(data))
        for line in lines:
            self.log.log(line, None)
        self.log.flush()
        self.assertEqual(b"".join(written), b"\n".join([*lines, b""]))
        self.assertTrue(all(data.endswith(b"\n") for data in written))
        self.assertEqual([len(data) > 4096 for data in written].count(True), 1)

    def test_torn(self):
        """
        When the disk is full in the middle of a line, the lines after that are whole.
        """
        taken = []
        room = [7]

        class Disk:
            path = "disk"
            at_once = 1 << 20

            def write(self, data):
                if not room[0]:
                    raise OSError(errno.ENOSPC, "full")
                data = bytes(data[: room[0]])
                room[0] -= len(data)
                taken.append(data)
                return len(data)

            def close(self):
                pass

        self.log._sink = Disk()
        for line in (b"one", b"two", b"three"):
            self.log.log(line, None)
        self.log.flush()
        self.assertEqual((b"".join(taken), self.counters.lost_lines), (b"one\ntwo", 2))
        room[0] = 100
        self.log.log(b"four", None)
        self.log.flush()
        self.assertEqual(b"".join(taken), b"one\ntwo\nfour\n")

    def test_closed_pipe(self):
        """
        A pipe whose reader is gone raises nothing into a request.
        """
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        log = self.make(f"/proc/self/fd/{writer}")
        log.open()
        os.close(reader)
        log.log(b"one", None)
        self.clock.advance(1)
        self.assertEqual(self.counters.lost_lines, 1)
        self.assertEqual(self.events, [(LogLevel.error, "Broken pipe")])

    test_closed_pipe.skip = None if Path("/proc/self/fd").is_dir() else "no /proc here"
