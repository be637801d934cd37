"""
Tests for L{twistginx.http.request}: policies, failures, files, and who the client is.
"""

from __future__ import annotations

import os
import tempfile
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from tests.http.conversation import GET, OK, ConversationTestCase
from twistginx.config.networks import NetworkSet
from twistginx.errors import ProxyError
from twistginx.http.filebody import READ_SIZE, TURN
from twistginx.http.message import Fields, FileRange, Reply, ResponseHead
from twistginx.routing.router import Route, Site


class Upper:
    """
    A body filter.
    """

    def feed(self, data: bytes) -> bytes:
        return data.upper()

    def finish(self) -> bytes:
        return b"!"


class Holding(Upper):
    """
    Gives nothing before the end.
    """

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        self.held += data
        return b""

    def finish(self) -> bytes:
        return self.held


def broken(*arguments: Any) -> Any:
    raise ZeroDivisionError


class PolicyTests(ConversationTestCase):
    """
    The phases of policies.
    """

    def test_order(self) -> None:
        """
        received, admit, the resource, responding, finished; each in the order of its tuple.
        """
        seen: list[str] = []

        def note(word: str) -> Any:
            return lambda *arguments: seen.append(word)

        self.stage.act = lambda request: (seen.append("render"), request.respond(OK))
        self.serve(
            received=(note("r1"), note("r2")),
            admit=(note("a1"), note("a2")),
            responding=(note("o1"), note("o2")),
            finished=(note("f1"), note("f2")),
        )
        self.connect(GET)
        self.assertEqual(seen, ["r1", "r2", "a1", "a2", "render", "o1", "o2", "f1", "f2"])
        self.assertEqual(self.answer().body, b"ok\n")

    def test_admit_replies(self) -> None:
        """
        A Reply ends it: nobody behind is asked, and the resource is not rendered.
        """
        self.serve(admit=(lambda request: Reply(403, (), b"no"), broken))
        self.connect(GET + GET)
        self.assertEqual(self.statuses(), [403, 403])
        self.assertEqual(self.stage.requests, [])

    def test_admit_later(self) -> None:
        """
        A Deferred is waited for, wherever it stands, and whatever it brings.
        """
        for outcome, status in ((None, 200), (Reply(429), 429)):
            waiting: Deferred[Any] = Deferred()
            self.serve(
                admit=(lambda request: succeed(None), lambda request, waiting=waiting: waiting, lambda request: None)
            )
            self.connect(GET)
            self.assertEqual(self.wire.value(), b"")
            waiting.callback(outcome)
            self.assertEqual(self.answer().status, status)
            self.lose()

    def test_proxy_error(self) -> None:
        """
        A ProxyError that is raised is what is answered, and nothing to log.
        """

        def refuse(request: Any) -> None:
            raise ProxyError("http_request_denied")

        for phases in ({"received": (refuse,)}, {"admit": (refuse,)}):
            self.serve(**phases)
            self.connect(GET)
            self.assertEqual(self.answer().status, 403)
            self.lose()

    def test_admit_client_gone(self) -> None:
        """
        When the client leaves, the Deferred is cancelled; what it brings nevertheless is let go, with its file.
        """
        cancelled: list[Any] = []
        waiting: Deferred[Any] = Deferred(cancelled.append)
        self.serve(admit=(lambda request: waiting,))
        self.connect(GET)
        self.lose()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.record.status, 499)
        stubborn: Deferred[Any] = Deferred(lambda deferred: deferred.callback(Reply(200, (), a_file(b"x"))))
        self.serve(admit=(lambda request: stubborn,))
        self.connect(GET)
        self.lose()
        self.assertEqual([record.status for record in self.records], [499, 499])
        self.assertEqual(self.wire.value(), b"")

    def test_admit_answered_meanwhile(self) -> None:
        """
        When the request fails while a policy thinks (its body is too slow), it is answered once.
        """
        self.serve(admit=(lambda request: Deferred(),))
        self.connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        self.wait(31)
        self.assertEqual(self.statuses(), [408])
        self.assertEqual(len(self.records), 1)

    def test_received_fails(self) -> None:
        """
        A policy may end the request as soon as it is received.
        """
        self.serve(received=(lambda request: request.fail(ProxyError("http_request_denied")),))
        self.connect(GET)
        self.assertEqual((self.statuses(), self.stage.requests), ([403], []))

    def test_responding_changes(self) -> None:
        """
        Every response passes, whole or in pieces, ours and errors too, and may be changed in place.
        """

        def mark(request: Any, head: ResponseHead) -> None:
            head.fields.put(b"X-Mark", b"%d" % head.status)

        self.serve(responding=(mark,))
        self.connect(GET)
        self.stage.act = lambda request: (request.start(ResponseHead(201, Fields())), request.end())
        self.send(GET)
        self.stage.act = broken
        self.expected_errors = [ZeroDivisionError]
        self.send(GET)
        self.assertEqual([answer.get(b"x-mark") for answer in self.answers()], [b"200", b"201", b"500"])
        self.assertEqual(OK.fields.first(b"x-mark"), None)

    def test_filters(self) -> None:
        """
        Filters see the body in their order, and their last words pass those behind.
        """
        self.serve(responding=(lambda request, head: Holding(), lambda request, head: Upper()))
        self.connect(GET)
        self.stage.act = lambda request: (
            request.start(ResponseHead(200, Fields.of([(b"Content-Length", b"4")]), length=4)),
            request.send(b"ab"),
            request.send(b"cd"),
            request.end(),
        )
        self.send(GET)
        first, second = self.answers()
        self.assertEqual((first.body, second.body), (b"OK\n!", b"ABCD!"))
        self.assertEqual(first.get(b"transfer-encoding"), b"chunked")
        self.assertEqual([record.sent for record in self.records], [4, 5])

    def test_filters_without_a_body(self) -> None:
        """
        A HEAD is filtered to nothing.
        """
        self.serve(responding=(lambda request, head: Upper(),))
        self.connect(b"HEAD" + GET[3:])
        self.assertEqual(self.answer(b"HEAD").get(b"content-length"), None)
        self.assertTrue(self.wire.value().endswith(b"\r\n\r\n"))

    def test_another_reply(self) -> None:
        """
        A policy may answer instead: all others see that response, the filters of the first one are gone, and whoever
        produced it is told.
        """
        seen: list[tuple[str, int]] = []
        gone: list[Any] = []

        class Watcher:
            client_gone = gone.append

        def first(request: Any, head: ResponseHead) -> Any:
            seen.append(("first", head.status))
            return Upper() if head.status == 200 else None

        def second(request: Any, head: ResponseHead) -> Any:
            return Reply(503, [(b"X", b"y")], b"instead") if head.status == 200 else None

        def third(request: Any, head: ResponseHead) -> None:
            seen.append(("third", head.status))

        self.serve(responding=(first, second, third))
        self.stage.act = lambda request: setattr(request, "watcher", Watcher)
        self.connect(GET)
        request = self.request()
        request.start(ResponseHead(200, Fields()))
        request.send(b"lost")
        request.end()
        self.assertEqual((self.answer().status, self.answer().body), (503, b"instead"))
        self.assertEqual(seen, [("first", 200), ("first", 503), ("third", 503)])
        self.assertEqual(len(gone), 1)
        self.assertEqual(self.record.status, 503)

    def test_another_reply_each(self) -> None:
        """
        Two policies that each answer instead of the other come to an end.
        """
        self.serve(responding=(lambda request, head: Reply(501), lambda request, head: Reply(502)))
        self.connect(GET)
        self.assertEqual(self.statuses(), [502])

    def test_another_file(self) -> None:
        """
        The file of a reply that was replaced is closed, and that of the one instead of it sent.
        """
        self.serve(responding=(lambda request, head: Reply(200, (), a_file(b"new")) if head.status == 201 else None,))
        self.stage.act = lambda request: request.respond(Reply(201, (), a_file(b"old")))
        self.connect(GET)
        self.assertEqual(self.answer().body, b"new")
        self.send(b"HEAD" + GET[3:])
        self.assertEqual(self.answers(b"GET", b"HEAD")[1].get(b"content-length"), b"3")

    def test_responding_fails(self) -> None:
        """
        A policy that fails on every response, error pages too, costs a plain 500, and the others hear of the end.
        """
        ended: list[int] = []
        for responding in ((broken,), (lambda request, head: request.fail(ProxyError("http_request_denied")),)):
            self.serve(responding=responding, finished=(lambda request, record: ended.append(record.status),))
            self.connect(GET)
            self.send(GET)
            self.lose()
        self.assertEqual(ended, [500, 500, 403, 403])
        self.expected_errors = [ZeroDivisionError] * 4

    def test_responding_fails_later(self) -> None:
        """
        Also where whoever starts the response is not in our hands.
        """
        self.serve(responding=(broken,))
        self.stage.act = None
        self.connect(GET)
        self.started(3).send(b"abc")
        self.assertEqual(self.statuses(), [500])
        self.expected_errors = [ZeroDivisionError] * 2

    def test_filter_fails(self) -> None:
        """
        A filter that fails breaks the connection visibly.
        """

        class Bad(Upper):
            feed = finish = broken

        self.serve(responding=(lambda request, head: Bad(),))
        for act in (lambda request: request.respond(OK), lambda request: request.respond(Reply(200))):
            self.stage.act = act
            self.connect(GET)
            self.assertTrue(self.wire.aborted)
            self.lose()
        self.expected_errors = [ZeroDivisionError] * 2

    def test_finished_fails(self) -> None:
        """
        A policy that fails in finished fails alone.
        """
        ended: list[Any] = []
        self.serve(finished=(broken, lambda request, record: ended.append(record)))
        self.connect(GET + GET)
        self.assertEqual((self.statuses(), len(ended), len(self.records)), ([200, 200], 2, 2))
        self.expected_errors = [ZeroDivisionError] * 2

    def test_resource_raises(self) -> None:
        """
        A resource that raises is a 500, and the connection goes on; when it had started, it is broken.
        """
        self.stage.act = broken
        self.connect(GET + GET)
        self.assertEqual(self.statuses(), [500, 500])
        self.lose()
        self.stage.act = lambda request: (self.started(5), broken())
        self.connect(GET)
        self.assertTrue(self.wire.aborted)
        self.expected_errors = [ZeroDivisionError] * 3


class FailClosedTests(ConversationTestCase):
    """
    A policy that cannot say yes says no.
    """

    def test_all(self) -> None:
        """
        However it fails, the resource is not rendered.
        """
        failing = {
            "at once": (broken,),
            "by a Deferred": (lambda request: fail(ZeroDivisionError()),),
            "behind a Deferred": (lambda request: succeed(None), broken),
            "cancelled by itself": (lambda request: fail(CancelledError()),),
        }
        for name, admit in failing.items():
            self.serve(admit=admit)
            self.connect(GET)
            self.assertEqual(self.answer().status, 500, name)
            self.lose()
        self.assertEqual(self.stage.requests, [])
        self.expected_errors = [ZeroDivisionError, ZeroDivisionError, ZeroDivisionError, CancelledError]

    def test_nonsense(self) -> None:
        """
        What is no decision lets nobody in, and the log says what it was.
        """
        for outcome in (True, False, "yes", succeed(True), succeed("no")):
            self.serve(admit=(lambda request, outcome=outcome: outcome,))
            self.connect(GET)
            self.assertEqual(self.answer().status, 500, outcome)
            self.lose()
        self.assertEqual(self.stage.requests, [])
        self.expected_errors = [TypeError] * 5

    def test_answers_by_itself(self) -> None:
        """
        A policy that answers, and then does not say so, has not let anybody in: nobody behind it is asked.
        """

        def answers(request: Any) -> None:
            request.respond(Reply(403, (), b"no"))

        def begins(request: Any) -> None:
            request.start(ResponseHead(403, Fields(), length=2))
            request.send(b"n")

        def later(request: Any) -> Any:
            answers(request)
            return succeed(None)

        for policy in (answers, begins, later):
            self.serve(admit=(policy, broken))
            self.connect(GET)
            self.assertTrue(self.wire.value().startswith(b"HTTP/1.1 403 "), policy)
            self.lose()
        self.assertEqual(self.stage.requests, [])


class DoorTests(ConversationTestCase):
    """
    Each response is made once, whatever its maker does.
    """

    def setUp(self) -> None:
        super().setUp()
        self.stage.act = None
        self.connect(GET)

    def test_twice(self) -> None:
        """
        A second response is none.
        """
        request = self.request()
        request.respond(OK)
        request.respond(Reply(500, (), a_file(b"closed")))
        request.start(ResponseHead(200, Fields()))
        request.send(b"x")
        request.end()
        request.fail(ProxyError("proxy_internal_error"))
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(len(self.records), 1)

    def test_started_and_responded(self) -> None:
        """
        Nor is one after a start.
        """
        request = self.started(3)
        request.respond(Reply(500, (), a_file(b"closed")))
        request.start(ResponseHead(500, Fields()))
        request.send(b"abc")
        request.end()
        self.assertEqual((self.answer().status, self.answer().body), (200, b"abc"))

    def test_no_head(self) -> None:
        """
        A body or an end without a head is our fault, and never a silent connection.
        """
        self.request().end()
        self.send(GET)
        self.request().send(b"x")
        self.request().end()
        self.assertEqual(self.statuses(), [500, 500])

    def test_splitting(self) -> None:
        """
        A response that would split is refused: in a field, its name, the phrase, and trailers.
        """
        self.request().respond(OK)
        self.lose()
        evil = b"a\r\nX: y"
        for head in (
            ResponseHead(200, Fields.of([(b"A", evil)])),
            ResponseHead(200, Fields.of([(evil, b"b")])),
            ResponseHead(200, Fields.of([(b"A", b"a\nb")])),
            ResponseHead(200, Fields.of([(b"A", b"a\rb")])),
            ResponseHead(200, Fields.of([(b"A", b"a\0b")])),
            ResponseHead(200, Fields(), phrase=evil),
            ResponseHead(1000, Fields()),
        ):
            self.connect(GET)
            self.request().start(head)
            self.request().send(b"x")
            self.request().end()
            self.assertEqual(self.answer().status, 500)
            self.lose()
        self.connect(GET)
        self.request().respond(Reply(200, [(b"A", evil)]))
        self.assertEqual(self.answer().status, 500)
        self.lose()
        self.connect(GET)
        self.started().end(Fields.of([(b"T", evil)]))
        self.assertTrue(self.wire.aborted)
        self.expected_errors = [ValueError] * 9

    def test_mismatch(self) -> None:
        """
        Fewer or more bytes than announced break the connection: what was sent is never a whole message of the wrong
        length.
        """
        request = self.started(5)
        request.send(b"abc")
        request.end()
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.record.reason, "proxy_internal_error")
        self.lose()
        self.connect(GET)
        request = self.started(5)
        request.send(b"abc")
        request.send(b"def")
        self.assertTrue(self.wire.aborted)
        self.assertTrue(self.wire.value().endswith(b"abc"))
        self.assertEqual([record.sent for record in self.records], [3, 3])

    def test_fail_after_start(self) -> None:
        """
        A failure after the head cannot be told in words.
        """
        request = self.started()
        request.send(b"abc")
        request.fail(ProxyError("http_response_incomplete", "the peer left"))
        self.assertTrue(self.wire.aborted)
        self.assertFalse(self.wire.value().endswith(b"0\r\n\r\n"))
        self.assertEqual((self.record.status, self.record.reason), (200, "http_response_incomplete"))
        self.send(GET * 3)
        self.assertEqual(len(self.records), 1)

    def test_informational(self) -> None:
        """
        1xx go before the final response, not after it, and not to HTTP/1.0.
        """
        request = self.request()
        request.inform(103, Fields.of([(b"Link", b"</a>")]))
        request.inform(103, Fields.of([(b"Link", b"\r\n")]))
        request.respond(OK)
        request.inform(103, Fields())
        self.assertEqual(self.statuses(), [103, 200])
        self.send(b"GET / HTTP/1.0\r\n\r\n")
        self.request().inform(103, Fields())
        self.request().respond(OK)
        self.assertEqual(self.statuses(), [103, 200, 200])

    def test_trailers(self) -> None:
        """
        Trailers follow a chunked body.
        """
        self.started().end(Fields.of([(b"X-Sum", b"1")]))
        self.assertEqual(self.answer().get(b"x-sum"), b"1")

    def test_upstream(self) -> None:
        """
        Who answered is in the record.
        """
        self.request().upstream_name = b"127.0.0.1:9001"
        self.request().respond(OK)
        self.assertEqual(self.record.upstream, "127.0.0.1:9001")

    def test_callable(self) -> None:
        """
        A body may be a callable; it is not called when there is no body.
        """

        def body(request: Any) -> None:
            request.send(b"abc")
            request.end()

        self.request().respond(Reply(200, (), body))
        self.send(b"HEAD" + GET[3:])
        self.request().respond(Reply(200, (), broken))
        self.assertEqual([answer.body for answer in self.answers(b"GET", b"HEAD")], [b"abc", b""])


def a_file(content: bytes, start: int = 0, length: int | None = None) -> FileRange:
    """
    An open file that nobody else knows.
    """
    descriptor, name = tempfile.mkstemp()
    os.write(descriptor, content)
    os.unlink(name)
    return FileRange(descriptor, start, len(content) if length is None else length)


class FileTests(ConversationTestCase):
    """
    Files as bodies; every test counts the descriptors at its end.
    """

    CONTENT = bytes(range(256)) * 2048  # four reads

    def test_whole(self) -> None:
        """
        A file is sent; a range of one; an empty one.
        """
        ranges = [(0, len(self.CONTENT)), (1000, 200_000), (5, 0)]
        bodies = iter(ranges)
        self.stage.act = lambda request: request.respond(Reply(200, (), a_file(self.CONTENT, *next(bodies))))
        self.connect(GET * 3)
        self.assertEqual(
            [answer.body for answer in self.answers()],
            [self.CONTENT[start : start + length] for start, length in ranges],
        )

    def test_head(self) -> None:
        """
        A HEAD reads nothing, and 304 has no body.
        """
        self.stage.act = lambda request: request.respond(Reply(200, (), a_file(b"", 0, 10**12)))
        self.connect(b"HEAD" + GET[3:])
        self.assertEqual(self.answer(b"HEAD").get(b"content-length"), b"1000000000000")
        self.stage.act = lambda request: request.respond(Reply(304, (), a_file(b"abc")))
        self.send(GET)
        self.assertEqual(self.answers(b"HEAD")[1].body, b"")

    def test_paused(self) -> None:
        """
        It waits while the client does not read, and holds one read at most.
        """
        self.stage.act = lambda request: request.respond(Reply(200, (), a_file(self.CONTENT)))
        self.connect()
        write = self.wire.write

        def pausing(data: bytes) -> None:
            write(data)
            self.channel.pauseProducing()

        self.wire.write = pausing
        self.wire.writeSequence = lambda pieces: pausing(b"".join(pieces))
        self.send(GET)
        for reads in range(1, 4):
            self.assertLess(len(self.wire.value()), reads * READ_SIZE + 500)
            self.channel.resumeProducing()
        self.assertEqual(self.answer().body, self.CONTENT)

    def test_turns(self) -> None:
        """
        A client that takes everything at once leaves some time to the others.
        """
        content = b"x" * (READ_SIZE * (TURN + 1))
        self.stage.act = lambda request: request.respond(Reply(200, (), a_file(content)))
        self.connect(GET)
        self.assertEqual(self.records, [])
        self.clock.advance(0)
        self.assertEqual(self.answer().body, content)

    def test_client_gone(self) -> None:
        """
        A client that leaves closes the file: while it waits, and between two turns.
        """
        self.stage.act = lambda request: request.respond(Reply(200, (), a_file(b"x" * (READ_SIZE * (TURN + 1)))))
        self.connect(GET)
        self.lose()
        self.clock.advance(0)
        self.stage.act = None
        self.connect(GET)
        self.channel.pauseProducing()
        self.request().respond(Reply(200, (), a_file(self.CONTENT)))
        self.lose()
        self.request().respond(Reply(200, (), a_file(b"too late")))

    def test_shorter(self) -> None:
        """
        A file that became shorter breaks the connection.
        """
        self.stage.act = lambda request: request.respond(Reply(200, (), a_file(b"abc", 0, 5)))
        self.connect(GET)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.record.reason, "proxy_internal_error")

    def test_unreadable(self) -> None:
        """
        So does one that cannot be read.
        """
        descriptor = os.open("/", os.O_RDONLY)
        self.stage.act = lambda request: request.respond(Reply(200, (), FileRange(descriptor, 0, 5)))
        self.connect(GET)
        self.assertTrue(self.wire.aborted)

    def test_stall(self) -> None:
        """
        So does a client that takes nothing.
        """
        self.stage.act = None
        self.connect(GET)
        self.channel.pauseProducing()
        self.request().respond(Reply(200, (), a_file(self.CONTENT)))
        self.wait(61)
        self.assertTrue(self.wire.aborted)

    def direct(self) -> Any:
        """
        Serve a file over a transport that sends files past us, and is sending.
        """
        self.stage.act = None
        self.connect(GET)
        wire: Any = self.wire
        sending = SimpleNamespace(left=0, ended=False, stops=0)

        def stop() -> None:
            sending.stops += 1
            sending.ended = True

        def send_file(descriptor: int, start: int, length: int) -> Any:
            sending.left = length
            self.channel.pauseProducing()
            return sending

        sending.stop = stop
        wire.send_file = send_file
        wire.unsent = lambda: sending.left
        self.request().respond(Reply(200, (), a_file(self.CONTENT)))
        return sending

    def test_direct(self) -> None:
        """
        A client that is slow, and yet takes something, is waited for; the next request is answered behind the file.
        """
        sending = self.direct()
        self.stage.act = lambda request: request.respond(OK)
        self.send(GET)
        for _ in range(3):
            self.wait(59)
            sending.left -= 20_000
        self.assertEqual(self.records, [])
        sending.left, sending.ended = 0, True
        self.channel.resumeProducing()
        self.assertEqual([record.sent for record in self.records], [len(self.CONTENT), 3])
        self.assertFalse(self.wire.aborted)

    def test_direct_stall(self) -> None:
        """
        One that takes nothing is not; the log says how much it took.
        """
        sending = self.direct()
        sending.left -= 20_000
        self.wait(119)
        self.assertFalse(self.wire.aborted)
        self.wait(2)
        self.assertTrue(self.wire.aborted)
        self.assertEqual((self.record.reason, self.record.sent), ("response_write_timeout", 20_000))
        self.assertEqual(sending.stops, 1)

    def test_direct_gives_up(self) -> None:
        """
        Where the transport cannot go on, the rest is read and written.
        """
        sending = self.direct()
        sending.left, sending.ended = 500, True
        self.channel.resumeProducing()
        self.assertEqual(self.wire.value().partition(b"\r\n\r\n")[2], self.CONTENT[-500:])
        self.assertEqual(self.record.sent, len(self.CONTENT))

    def test_filtered(self) -> None:
        """
        Filters see it, also where it could be sent past us.
        """
        self.serve(responding=(lambda request, head: Upper(),))
        self.stage.act = lambda request: request.respond(Reply(200, (), a_file(b"abc")))
        self.connect()
        self.wire.send_file = None  # type: ignore[attr-defined]  # it must not be called
        self.send(GET)
        self.assertEqual(self.answer().body, b"ABC!")

    def test_bad_head(self) -> None:
        """
        A head that cannot be sent closes it.
        """
        self.stage.act = lambda request: request.respond(Reply(200, [(b"a", b"\n")], a_file(b"abc")))
        self.connect(GET)
        self.assertEqual(self.answer().status, 500)
        self.expected_errors = [ValueError]


class ClientTests(ConversationTestCase):
    """
    Who the client is (RFC 7239 section 5.2, for the older field), and what it spoke.
    """

    def ask(self, peer: object, *fields: bytes, secure: bool = False) -> Any:
        """
        The request of a client at C{peer}.
        """
        trusted = NetworkSet.parse(["10.0.0.0/8", "192.0.2.7/32", "::1/128", "unix"])
        self.frontend.default = Site("test", (Route("stage", self.stage, streaming=True),), self.clock, trusted)
        self.frontend.found.clear()
        self.connect(b"", IPv4Address("TCP", peer, 1) if isinstance(peer, str) else peer)
        self.send(GET[:-2] + b"".join(field + b"\r\n" for field in fields) + b"\r\n")
        self.lose()
        return self.request()

    def test_untrusted(self) -> None:
        """
        What a stranger claims is not believed.
        """
        request = self.ask("192.0.2.1", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https")
        self.assertEqual((request.client_ip, request.peer_ip), (b"192.0.2.1", b"192.0.2.1"))
        self.assertEqual((request.scheme, request.isSecure(), request.from_trusted), (b"http", False, False))

    def test_right_to_left(self) -> None:
        """
        The first that is no proxy of ours, from the right, is the client.
        """
        for claim, client in (
            (b"1.2.3.4", b"1.2.3.4"),
            (b"6.6.6.6, 1.2.3.4", b"1.2.3.4"),
            (b"6.6.6.6, 1.2.3.4, 10.9.9.9, 192.0.2.7", b"1.2.3.4"),
            (b"10.1.1.1, 10.2.2.2", b"10.1.1.1"),
            (b"1.2.3.4:5678", b"1.2.3.4"),
            (b"[2001:db8::1]:5678", b"2001:db8::1"),
            (b"2001:db8::1", b"2001:db8::1"),
            (b"::ffff:1.2.3.4", b"1.2.3.4"),
            (b"[::FFFF:1.2.3.4]:5678", b"1.2.3.4"),
            (b"", b"10.0.0.1"),
            (b"unknown", b"10.0.0.1"),
            (b"<script>, 10.2.2.2", b"10.2.2.2"),
            (b"1.2.3.4, , 10.2.2.2", b"10.2.2.2"),
            (b"1.2.3.4\r\nX-Forwarded-For: 5.6.7.8", b"5.6.7.8"),
        ):
            self.assertEqual(self.ask("10.0.0.1", b"X-Forwarded-For: " + claim).client_ip, client, claim)
        self.assertEqual(self.ask("10.0.0.1").client_ip, b"10.0.0.1")

    def test_both_families(self) -> None:
        """
        On a socket for both families, an IPv4 client has its own address all the same.
        """
        request = self.ask(IPv6Address("TCP", "::ffff:192.0.2.1", 1))
        self.assertEqual((request.client_ip, request.peer_ip), (b"192.0.2.1", b"192.0.2.1"))
        self.assertTrue(self.ask(IPv6Address("TCP", "::ffff:10.0.0.1", 1)).from_trusted)

    def test_scheme(self) -> None:
        """
        A trusted proxy says what the client spoke.
        """
        for claim, scheme in ((b"HTTPS", b"https"), (b"http", b"http"), (b"gopher", b"http")):
            request = self.ask("10.0.0.1", b"X-Forwarded-Proto: " + claim)
            self.assertEqual((request.scheme, request.isSecure()), (scheme, scheme == b"https"))

    def test_unix(self) -> None:
        """
        A client without an address has a name for it, and can be trusted.
        """
        request = self.ask(UNIXAddress(b"/x"), b"X-Forwarded-For: 1.2.3.4")
        self.assertEqual((request.peer_ip, request.client_ip), (b"unix", b"1.2.3.4"))
