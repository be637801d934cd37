"""
Third-party resources behave under us as they do under Twisted: the same conversations, with a stock
L{twisted.web.server.Site} over a stock L{twisted.web.http.HTTPChannel}, and with ours.

Compared are status, body, the fields that a resource decides about, and whether the connection goes on.  Where we
differ, we mean to:

  - C{Server} is our name.  Error pages that the server makes itself (an unhandled exception, a bad form) are ours, and
    never show a traceback; those that twisted.web's resources make are theirs.
  - HTTP/1.1 without Host is 400 (RFC 9112 section 3.2); so are two Hosts, folded lines and what else the tests of the
    parser list.  HTTP/1.0 is answered in HTTP/1.1, with its C{Connection} field said (RFC 9110 section 6.2).
  - 204 and 304 have no Content-Length; Twisted's have one of 0, which 204 must not have, and which a cache would
    believe of the 304 (RFC 9110 sections 8.6 and 15.4.5).
  - A HEAD of an encoded resource has no body; Twisted sends the encoder's last bytes.
  - An unknown method is 501 and a close: llhttp does not read it, so that a resource's C{render_FOO} is never asked.
    Twisted's own answer is 501 too, but for resources that have such a method.
  - The request target of an absolute form is split, so that C{request.path} is a path.
  - A connection is kept alive after a form that could not be parsed: its body has been read.
  - A response that is longer or shorter than its Content-Length breaks the connection; Twisted sends it as it is.
  - A large pull producer is asked again in the next turn of the reactor, not by a cooperator.
"""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any

from klein import Klein
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import _producer_helpers, defer, reactor, task
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from twisted.web import http, resource, rewrite, server, static, util, vhost
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.wsgi import WSGIResource
from zope.interface import implementer

from tests.http.conversation import Answer, Listener, answers
from twistginx.http.channel import Channel
from twistginx.http.frontend import Frontend
from twistginx.net.timers import Ticker
from twistginx.routing.router import Route, Site

#: Fields that are the server's own.
OURS = (b"server", b"date", b"connection")


class Transport(StringTransport):
    """
    Accepts what both channels do.
    """

    def abortConnection(self) -> None:
        self.disconnecting = True

    def loseWriteConnection(self) -> None:
        self.disconnecting = True


class Server:
    """
    One connection to one of the two.
    """

    def __init__(self, name: str, root: resource.IResource, clock: task.Clock) -> None:
        self.name = name
        self.clock = clock
        self.transport = Transport(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 80), peerAddress=IPv4Address("TCP", "192.0.2.1", 1234)
        )
        if name == "stock":
            self.site = server.Site(root, reactor=clock)
            self.site._updateLogDateTime = lambda: None
            self.site.logFile = open(os.devnull, "wb")
            self.site.startFactory = lambda: None
            self.protocol: Any = http._GenericHTTPChannelProtocol(http.HTTPChannel())
            self.protocol._channel.factory = self.site
            self.protocol._channel.site = self.site
            self.protocol._channel.requestFactory = server.Request
            self.protocol._channel.timeOut = None
            self.protocol.factory = self.site
        else:
            self.site = Site("test", (Route("app", root),), clock)
            frontend = Frontend(Ticker(clock), default=self.site)
            self.protocol = Channel(Listener(frontend), self.transport.getPeer())
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.transport.protocol.dataReceived(data)
        # A cooperator and a chain of turns, until nothing is left to do.
        for _ in range(200):
            if not self.clock.getDelayedCalls():
                break
            self.clock.advance(0.01)

    def lose(self) -> None:
        producer, self.transport.producer = self.transport.producer, None
        if producer is not None:
            producer.stopProducing()
        self.transport.protocol.connectionLost(Failure(ConnectionDone()))

    def close(self) -> None:
        if self.name == "stock":
            self.site.logFile.close()


def request(line: bytes, *fields: bytes, body: bytes | None = None) -> bytes:
    """
    The bytes of a request.
    """
    all_fields = [b"Host: example.com:8080", *fields]
    if body is not None:
        all_fields.append(b"Content-Length: %d" % len(body))
    return line + b" HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in all_fields) + b"\r\n" + (body or b"")


class ComparisonTestCase(SynchronousTestCase):
    """
    Holds the same conversation twice.
    """

    def setUp(self) -> None:
        # Twisted asks pull producers with a cooperator, which knows but the global reactor.
        self.clock = task.Clock()
        self.patch(_producer_helpers, "cooperate", self.cooperate)

    def cooperate(self, iterator: Any) -> task.CooperativeTask:
        clock = self.clock
        return task.Cooperator(scheduler=lambda call: clock.callLater(1e-9, call)).cooperate(iterator)

    def each(self, make: Any) -> Any:
        """
        Both servers, with a tree of their own each.
        """
        for name in ("stock", "ours"):
            self.clock = task.Clock()
            connection = Server(name, make(), self.clock)
            yield connection
            connection.close()

    def compare(self, make: Any, *requests: bytes, ignore: tuple[bytes, ...] = ()) -> list[Answer]:
        """
        Send C{requests} on one connection each, and hold the answers to be the same.
        """
        seen = []
        for connection in self.each(make):
            for data in requests:
                connection.send(data)
            methods = tuple(data.partition(b" ")[0] for data in requests)
            got = answers(connection.transport.value(), methods)
            self.assertEqual(len(got), len(requests), connection.name)
            seen.append((got, connection.transport.disconnecting))
            connection.lose()
        (stock, stock_closed), (ours, ours_closed) = seen
        for theirs, mine, data in zip(stock, ours, requests, strict=True):
            self.assertEqual(self.plain(mine, ignore), self.plain(theirs, ignore), data)
            self.assertEqual(mine.body, theirs.body, data)
        self.assertEqual(ours_closed, stock_closed)
        return ours

    @staticmethod
    def plain(answer: Answer, ignore: tuple[bytes, ...]) -> tuple[int, list[tuple[bytes, bytes]]]:
        fields = [(name.lower(), value) for name, value in answer.fields]
        if answer.status in (204, 304):
            ignore = (*ignore, b"content-length")
        return answer.status, sorted(field for field in fields if field[0] not in (*OURS, *ignore))


class Echo(resource.Resource):
    """
    Says all that a resource can see of a request.
    """

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"text/plain")
        return repr(
            (
                (request.method, request.uri, request.path, request.clientproto),
                (request.prepath, request.postpath, request.sitepath),
                sorted(request.args.items()),
                request.content.read(),
                sorted(request.requestHeaders.getAllRawHeaders()),
                sorted(request.getAllHeaders().items()),
                (request.getHeader("X-A"), request.getHeader(b"x-a"), request.getHeader(b"none")),
                request.getCookie(b"a"),
                sorted(request.received_cookies.items()),
                (request.getUser(), request.getPassword()),
                (request.prePathURL(), request.childLink(b"x"), request.sibLink(b"y"), request.getRootURL()),
                request.URLPath(),
                (request.getRequestHostname(), request.getHost(), request.isSecure()),
                (request.getClientAddress(), request.getClientIP(), request.client, request.host),
            )
        ).encode()


class RequestTests(ComparisonTestCase):
    """
    What a resource sees.
    """

    def tree(self) -> resource.Resource:
        root = resource.Resource()
        root.putChild(b"", Echo())
        root.putChild(b"echo", Echo())
        node = resource.Resource()
        root.putChild(b"node", node)
        node.putChild(b"leaf", Echo())
        return root

    def test_paths(self) -> None:
        """
        The tree is walked alike: children, leaves with more behind them, escapes, what is not there.
        """
        self.compare(
            self.tree,
            request(b"GET /"),
            request(b"GET /echo"),
            request(b"GET /echo/"),
            request(b"GET /echo/a%20b/c%2Fd//e"),
            request(b"GET /node/leaf/x?y=z&y=%41&e=&plain"),
            request(b"GET /node"),
            request(b"GET /nothing/here"),
            request(b"GET /echo/../node/leaf"),
        )

    def test_request(self) -> None:
        """
        Methods, fields, cookies, credentials, forms and bodies.
        """
        form = b"Content-Type: application/x-www-form-urlencoded"
        boundary = b"Content-Type: multipart/form-data; boundary=xyz"
        part = b'--xyz\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        self.compare(
            self.tree,
            request(b"GET /echo", b"X-A: 1", b"x-a: 2", b"Cookie: a=b; c=d=e; bad", b"Cookie: f=g"),
            request(b"GET /echo", b"Authorization: Basic " + b64encode(b"me:pass:word")),
            request(b"GET /echo", b"Authorization: Bearer x"),
            request(b"POST /echo?a=1", form, body=b"a=2&b=%20+"),
            request(b"POST /echo", form, body=b""),
            request(b"POST /echo", boundary, body=part % (b"a", b"1") + part % (b"b", b"\x00\xff") + b"--xyz--\r\n"),
            request(b"POST /echo", b"Content-Type: application/json", body=b'{"a": 1}'),
            request(b"PUT /echo", form, body=b"a=2"),
            request(b"DELETE /echo"),
            request(b"POST /echo", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        )

    def test_large_body(self) -> None:
        """
        A body that does not fit into memory is a file.
        """

        class Count(resource.Resource):
            isLeaf = True

            def render_POST(self, request: Any) -> bytes:
                first = request.content.read(10)
                request.content.seek(0, 2)
                return b"%d %b" % (request.content.tell(), first)

        (answer,) = self.compare(Count, request(b"POST /", body=b"0123456789" * 20_000))
        self.assertEqual(answer.body, b"200000 0123456789")

    def test_bad_multipart(self) -> None:
        """
        A form that cannot be parsed is 400; the words are each one's own.
        """
        data = request(b"POST /echo", b"Content-Type: multipart/form-data; boundary=xyz", body=b"--xyz\r\nno\r\n")
        statuses = []
        for connection in self.each(self.tree):
            connection.send(data)
            statuses.append(connection.transport.value()[9:12])
            connection.lose()
        self.assertEqual(statuses[0], statuses[1])

    def test_options_star(self) -> None:
        """
        C{OPTIONS *} is answered by the server.
        """
        self.compare(self.tree, request(b"OPTIONS *"))

    def test_http_1_0(self) -> None:
        """
        An old client is answered, and the connection closed.
        """
        for connection in self.each(self.tree):
            connection.send(b"GET /node/leaf HTTP/1.0\r\n\r\n")
            answer = answers(connection.transport.value().replace(b"HTTP/1.0", b"HTTP/1.1", 1))[0]
            self.assertEqual(answer.status, 200)
            self.assertTrue(connection.transport.disconnecting, connection.name)
            connection.lose()


class Page(resource.Resource):
    """
    One method each.
    """

    def __init__(self, **renders: Any) -> None:
        super().__init__()
        for name, render in renders.items():
            setattr(self, "render_" + name, render)
        self.isLeaf = True


def later(act: Any) -> Any:
    """
    A render that acts and is not done yet.
    """

    def render(request: Any) -> int:
        act(request)
        return server.NOT_DONE_YET

    return render


class ResponseTests(ComparisonTestCase):
    """
    What a resource says.
    """

    def page(self, render: Any) -> Any:
        return lambda: Page(GET=render)

    def test_fields(self) -> None:
        """
        Status, phrase, fields, cookies, types.
        """

        def render(request: Any) -> bytes:
            request.setResponseCode(201, b"Made")
            request.setHeader(b"X-A", b"1")
            request.responseHeaders.addRawHeader(b"x-a", b"2")
            request.addCookie(b"a", b"b", path=b"/", secure=True, httpOnly=True, sameSite="lax", max_age=b"5")
            request.addCookie("c", "d")
            request.setHeader(b"evil", b"a\r\nb: c")
            return b"body"

        self.compare(self.page(render), request(b"GET /"), request(b"HEAD /"))

    def test_types(self) -> None:
        """
        Who says no type gets Twisted's, unless there is nothing to have one.
        """

        def typeless(request: Any) -> bytes:
            request.defaultContentType = None
            return b"x"

        def empty(request: Any) -> bytes:
            return b""

        def status(code: int) -> Any:
            def render(request: Any) -> bytes:
                request.setResponseCode(code)
                return b""

            return render

        for render in (typeless, empty, status(204), status(304), status(404)):
            self.compare(self.page(render), request(b"GET /"), request(b"HEAD /"))

    def test_pieces(self) -> None:
        """
        A resource that writes in pieces: with and without a length, for HTTP/1.0 too, and HEAD.
        """

        def pieces(request: Any) -> None:
            for piece in (b"a", b"", b"bc" * 20_000):
                request.write(piece)
            request.finish()

        def with_length(request: Any) -> None:
            request.setHeader(b"Content-Length", b"3")
            request.write(b"ab")
            request.write(b"c")
            request.finish()

        def nothing(request: Any) -> None:
            request.finish()

        def flushed(request: Any) -> None:
            request.write(b"")
            request.write(b"x")
            request.finish()

        for act in (pieces, with_length, nothing, flushed):
            self.compare(self.page(later(act)), request(b"GET /"), request(b"HEAD /"))

    def test_head_is_written_at_once(self) -> None:
        """
        A first write, even of nothing, is on the wire.
        """
        held = []
        for connection in self.each(self.page(later(lambda request: (request.write(b""), held.append(request))))):
            connection.send(request(b"GET /"))
            self.assertTrue(connection.transport.value().endswith(b"\r\n\r\n"), connection.name)
            held[-1].finish()
            connection.lose()

    def test_later(self) -> None:
        """
        A resource that answers in a later turn.
        """

        def render(request: Any) -> int:
            request.site.reactor.callLater(0.05, lambda: (request.write(b"late"), request.finish()))
            return server.NOT_DONE_YET

        def make() -> Any:
            return Page(GET=render)

        for connection in self.each(make):
            connection.site.reactor = connection.clock
            connection.send(request(b"GET /") + request(b"GET /"))
            self.assertEqual([each.body for each in answers(connection.transport.value())], [b"late"] * 2)
            connection.lose()

    def test_producers(self) -> None:
        """
        Push and pull producers, that end and unregister themselves.
        """

        class Pull:
            def __init__(self, request: Any) -> None:
                self.request = request
                self.left = 50
                request.registerProducer(self, False)

            def resumeProducing(self) -> None:
                self.left -= 1
                if self.left:
                    self.request.write(b"pull")
                else:
                    self.request.unregisterProducer()
                    self.request.finish()

            def stopProducing(self) -> None:
                pass

        class Push(Pull):
            def __init__(self, request: Any) -> None:
                request.registerProducer(self, True)
                request.write(b"push")
                request.unregisterProducer()
                request.finish()

            def pauseProducing(self) -> None:
                pass

        for kind in (Pull, Push):
            self.compare(self.page(later(kind)), request(b"GET /"), request(b"GET /"))

    def test_producers_lost(self) -> None:
        """
        A client that leaves stops them, and fails notifyFinish; a finish after it raises.
        """
        for streaming in (True, False):
            seen = []
            held: list[Any] = []
            for connection in self.each(self.page(later(held.append))):
                held.clear()
                calls: list[str] = []

                class Producer:
                    def __getattr__(self, name: str, calls: list[str] = calls) -> Any:
                        return lambda: calls.append(name)

                connection.send(request(b"GET /"))
                (one,) = held
                failed = one.notifyFinish()
                one.registerProducer(Producer(), streaming)
                connection.clock.advance(0.01)
                connection.lose()
                self.failureResultOf(failed, ConnectionDone)
                one.write(b"x")
                self.assertRaises(RuntimeError, one.finish)
                seen.append([name for name in calls if name == "stopProducing"])
            self.assertEqual(seen, [["stopProducing"]] * 2)

    def test_second_producer(self) -> None:
        """
        Only one at a time.
        """

        def render(request: Any) -> bytes:
            producer = type("P", (), {"resumeProducing": lambda self: None, "stopProducing": lambda self: None})()
            request.registerProducer(producer, True)
            try:
                request.registerProducer(producer, True)
            except ValueError:
                return b"one"
            finally:
                request.unregisterProducer()
            return b"two"

        (answer,) = self.compare(self.page(render), request(b"GET /"))
        self.assertEqual(answer.body, b"one")

    def test_notify_finish(self) -> None:
        """
        It is told of the end.
        """
        ends: list[Any] = []

        def render(request: Any) -> bytes:
            request.notifyFinish().addBoth(ends.append)
            return b"x"

        self.compare(self.page(render), request(b"GET /"))
        self.assertEqual(ends, [None, None])

    def test_write_after_finish(self) -> None:
        """
        It raises.
        """

        def act(one: Any) -> None:
            one.finish()
            self.assertRaises(RuntimeError, one.write, b"x")

        self.compare(self.page(later(act)), request(b"GET /"))

    def test_conditions(self) -> None:
        """
        setETag and setLastModified answer 304 and 412.
        """

        def render(request: Any) -> bytes:
            if request.setETag(b'"x"') is http.CACHED:
                return b""
            if request.setLastModified(1_000_000_000) is http.CACHED:
                return b""
            return b"body"

        self.compare(
            self.page(render),
            request(b"GET /"),
            request(b"GET /", b'If-None-Match: "x"'),
            request(b"GET /", b'If-None-Match: "y"'),
            request(b"GET /", b'If-Match: "y"'),
            request(b"GET /", b"If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"),
            request(b"GET /", b"If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT"),
        )

    def test_redirect(self) -> None:
        """
        request.redirect, util.Redirect and redirectTo.
        """

        def render(request: Any) -> bytes:
            request.redirect(b"/else")
            return b""

        self.compare(self.page(render), request(b"GET /"))
        self.compare(lambda: util.Redirect(b"/there"), request(b"GET /"))
        self.compare(self.page(lambda request: util.redirectTo(b"/x", request)), request(b"GET /"))

    def test_methods(self) -> None:
        """
        What a resource does not do is 405, or 501; HEAD is faked from GET.
        """

        class Only(resource.Resource):
            isLeaf = True
            allowedMethods = (b"GET",)

            def render(self, request: Any) -> Any:
                if request.method != b"GET":
                    raise server.UnsupportedMethod(self.allowedMethods)
                return b"only"

        self.compare(
            Only,
            request(b"GET /"),
            request(b"HEAD /"),
            request(b"POST /", body=b"x"),
            request(b"PROPFIND /"),
        )
        self.compare(self.page(lambda request: b"x"), request(b"PUT /", body=b""), request(b"HEAD /"))

    def test_not_bytes(self) -> None:
        """
        A resource that returns text is told so.
        """
        statuses = []
        for connection in self.each(self.page(lambda request: "text")):
            connection.send(request(b"GET /"))
            (answer,) = answers(connection.transport.value())
            self.assertIn(b"Request did not return bytes", answer.body)
            statuses.append(answer.status)
            connection.lose()
        self.assertEqual(statuses, [500, 500])

    def test_raises(self) -> None:
        """
        A resource that raises, in render or in getChild, is 500, and is logged.
        """

        def raising(*arguments: Any) -> Any:
            raise ZeroDivisionError

        class Bad(resource.Resource):
            getChild = raising

        for make in (self.page(raising), Bad):
            statuses = []
            for connection in self.each(make):
                connection.send(request(b"GET /x"))
                statuses.append(answers(connection.transport.value())[0].status)
                connection.lose()
            self.assertEqual(statuses, [500, 500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)

    def test_encoding(self) -> None:
        """
        EncodingResourceWrapper compresses, whole and in pieces.
        """

        def pieces(request: Any) -> None:
            request.write(b"x" * 100)
            request.write(b"y" * 100)
            request.finish()

        for render in (lambda request: b"x" * 1000, later(pieces), lambda request: b""):
            self.compare(
                lambda render=render: resource.EncodingResourceWrapper(Page(GET=render), [server.GzipEncoderFactory()]),
                request(b"GET /", b"Accept-Encoding: gzip"),
                request(b"GET /"),
            )

    def test_session(self) -> None:
        """
        A session is found again by its cookie, wherever in the tree.
        """

        def count(request: Any) -> bytes:
            session = request.getSession()
            session.count = getattr(session, "count", 0) + 1
            return b"%d" % session.count

        def tree() -> resource.Resource:
            root = resource.Resource()
            root.putChild(b"a", Page(GET=count))
            root.putChild(b"b", Page(GET=count))
            return root

        for connection in self.each(tree):
            connection.protocol.dataReceived(request(b"GET /a"))
            (first,) = answers(connection.transport.value())
            cookie = first.get(b"set-cookie").partition(b";")[0]
            self.assertTrue(cookie.startswith(b"TWISTED_SESSION="), (connection.name, cookie))
            connection.protocol.dataReceived(request(b"GET /b/x", b"Cookie: " + cookie))
            second = answers(connection.transport.value())[1]
            self.assertEqual((second.body, second.get(b"set-cookie")), (b"2", None), connection.name)
            for session in list(connection.site.sessions.values()):
                session.expire()
            connection.lose()

    def test_websocket(self) -> None:
        """
        Twisted's own WebSocketResource has the connection.
        """
        try:
            from twisted.web.websocket import WebSocketResource
        except ImportError as error:
            raise SkipTest(f"Twisted's WebSockets need wsproto: {error}") from error

        heard: list[Any] = []

        class Talk:
            @classmethod
            def buildProtocol(cls, request: Any) -> Talk:
                return cls()

            def negotiationStarted(self, transport: Any) -> None:
                self.transport = transport

            def negotiationFinished(self) -> None:
                pass

            def textMessageReceived(self, message: str) -> None:
                heard.append(message)
                self.transport.sendTextMessage(message.upper())

            def connectionLost(self, reason: Failure) -> None:
                heard.append("lost")

        shake = request(
            b"GET /",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )

        def tree() -> resource.Resource:
            root = resource.Resource()
            root.putChild(b"", WebSocketResource(Talk))
            return root

        seen = []
        for connection in self.each(tree):
            connection.send(shake)
            connection.send(b"\x81\x82\0\0\0\0hi")
            seen.append(connection.transport.value())
            connection.lose()
        self.assertEqual(seen[0], seen[1])
        self.assertTrue(seen[1].startswith(b"HTTP/1.1 101"))
        self.assertTrue(seen[1].endswith(b"\x81\x02HI"))
        self.assertEqual(heard, ["hi", "lost"] * 2)


class LibraryTests(ComparisonTestCase):
    """
    What people mount.
    """

    def test_file(self) -> None:
        """
        A stock static.File: types, ranges, conditionals, directories, what is not there.
        """
        base = self.mktemp()
        os.makedirs(os.path.join(base, "sub"))
        content = bytes(range(256)) * 1024
        for name, data in (("a.bin", content), ("b.html", b"<p>"), ("empty.txt", b""), ("sub/index.html", b"index")):
            path = os.path.join(base, name)
            with open(path, "wb") as file:
                file.write(data)
            os.utime(path, (1_000_000_000, 1_000_000_000))
        self.compare(
            lambda: static.File(base),
            request(b"GET /a.bin"),
            request(b"HEAD /a.bin"),
            request(b"GET /b.html"),
            request(b"GET /empty.txt"),
            request(b"GET /a.bin", b"Range: bytes=10-19"),
            request(b"GET /a.bin", b"Range: bytes=-5"),
            request(b"GET /a.bin", b"Range: bytes=999999-"),
            request(b"GET /a.bin", b"Range: bytes=x"),
            request(b"GET /a.bin", b"If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"),
            request(b"GET /sub"),
            request(b"GET /sub/"),
            request(b"GET /sub/?x"),
            request(b"GET /nothing"),
            # Of a path above the root nothing is asked: the router has refused it (routing.spelling).
            request(b"POST /b.html", body=b"x"),
        )

    def test_multiple_ranges(self) -> None:
        """
        Several ranges; only the boundary differs.
        """
        base = self.mktemp()
        os.mkdir(base)
        with open(os.path.join(base, "a"), "wb") as file:
            file.write(b"0123456789")
        bodies = []
        for connection in self.each(lambda: static.File(base)):
            connection.send(request(b"GET /a", b"Range: bytes=0-1,4-5"))
            (answer,) = answers(connection.transport.value())
            boundary = answer.get(b"content-type").rpartition(b"boundary=")[2].strip(b'"')
            bodies.append((answer.status, answer.body.replace(boundary, b"---")))
            connection.lose()
        self.assertEqual(bodies[0], bodies[1])

    def test_file_client_gone(self) -> None:
        """
        A client that leaves closes the file.
        """
        base = self.mktemp()
        os.mkdir(base)
        with open(os.path.join(base, "a"), "wb") as file:
            file.write(b"x" * 1_000_000)
        for connection in self.each(lambda: static.File(base)):
            before = len(os.listdir("/proc/self/fd"))
            write = connection.transport.write

            def pausing(data: bytes, write: Any = write, connection: Any = connection) -> None:
                write(data)
                connection.transport.producer.pauseProducing()

            connection.transport.write = pausing
            connection.protocol.dataReceived(request(b"GET /a"))
            self.assertEqual(len(os.listdir("/proc/self/fd")), before + 1, connection.name)
            connection.lose()
            self.assertEqual(len(os.listdir("/proc/self/fd")), before, connection.name)

    def test_klein(self) -> None:
        """
        A Klein app: routes, Deferreds, errors, text, branches, forms.
        """

        def make() -> Any:
            app = Klein()

            @app.route("/")
            def index(request: Any) -> str:
                return "index"

            @app.route("/hello/<name>")
            def hello(request: Any, name: str) -> str:
                request.setHeader("X-Name", name)
                return f"hello {name}"

            @app.route("/later")
            def soon(request: Any) -> Any:
                return defer.succeed(b"later")

            @app.route("/coroutine")
            async def coroutine(request: Any) -> bytes:
                return await defer.succeed(b"coroutine")

            @app.route("/post", methods=["POST"])
            def post(request: Any) -> bytes:
                return request.args[b"a"][0] + request.content.read()

            @app.route("/branch/", branch=True)
            def branch(request: Any) -> Any:
                return Echo()

            @app.route("/raise")
            def bad(request: Any) -> Any:
                raise KeyError("x")

            @app.handle_errors(KeyError)
            def error(request: Any, failure: Failure) -> str:
                request.setResponseCode(418)
                return "handled"

            return app.resource()

        self.compare(
            make,
            request(b"GET /"),
            request(b"GET /hello/you"),
            request(b"HEAD /hello/you"),
            request(b"GET /later"),
            request(b"GET /coroutine"),
            request(b"POST /post", b"Content-Type: application/x-www-form-urlencoded", body=b"a=b"),
            request(b"GET /post"),
            request(b"GET /branch/a/b?c"),
            request(b"GET /raise"),
            request(b"GET /nothing"),
        )

    def test_guard(self) -> None:
        """
        HTTPAuthSessionWrapper asks for, refuses and accepts credentials.
        """

        def make() -> Any:
            @implementer(IRealm)
            class Realm:
                def requestAvatar(self, avatar: bytes, mind: object, *interfaces: Any) -> Any:
                    return interfaces[0], Page(GET=lambda request: b"hello " + avatar), lambda: None

            portal = Portal(Realm(), [InMemoryUsernamePasswordDatabaseDontUse(me=b"secret")])
            return HTTPAuthSessionWrapper(portal, [BasicCredentialFactory(b"realm")])

        self.compare(
            make,
            request(b"GET /x"),
            request(b"GET /x", b"Authorization: Basic " + b64encode(b"me:wrong")),
            request(b"GET /x", b"Authorization: Basic !!!"),
            request(b"GET /x", b"Authorization: Digest x"),
            request(b"GET /x", b"Authorization: Basic " + b64encode(b"me:secret")),
        )

    def test_virtual_hosts(self) -> None:
        """
        NameVirtualHost, VHostMonsterResource (setHost) and RewriterResource.
        """

        def hosts() -> Any:
            named = vhost.NameVirtualHost()
            named.addHost(b"example.com:8080", Echo())
            named.addHost(b"example.com", Echo())
            named.default = static.Data(b"default", "text/plain")
            return named

        self.compare(hosts, request(b"GET /"), b"GET / HTTP/1.1\r\nHost: other\r\n\r\n")

        def monster() -> Any:
            root = resource.Resource()
            root.putChild(b"vhost", vhost.VHostMonsterResource())
            root.putChild(b"echo", Echo())
            return root

        self.compare(monster, request(b"GET /vhost/http/public.example/echo/x"), request(b"GET /vhost/https/p:99/echo"))

        def rule(request: Any) -> None:
            request.postpath[0] = b"new"
            request.path = b"/" + b"/".join(request.prepath + request.postpath)

        def rewritten() -> Any:
            root = resource.Resource()
            root.putChild(b"new", Echo())
            return rewrite.RewriterResource(root, rule)

        self.compare(rewritten, request(b"GET /old/x"))


class StrippedTests(SynchronousTestCase):
    """
    An app below a prefix.
    """

    def test_prepath(self) -> None:
        """
        With strip_prefix, what was stripped is in prepath, as a parent resource would have left it.
        """
        seen = []

        def render(request: Any) -> bytes:
            seen.append((request.prepath, request.postpath, request.prePathURL(), request.childLink(b"x")))
            return b""

        stock = resource.Resource()
        stock.putChild(b"app", Page(GET=render))
        theirs = Server("stock", stock, task.Clock())
        theirs.send(request(b"GET /app/a/b"))
        theirs.close()
        ours = Server("ours", Page(GET=render), task.Clock())
        ours.protocol.listener.frontend.default = Site(
            "x", (Route("app", Page(GET=render), prefix=b"/app", strip=True),), ours.clock
        )
        ours.send(request(b"GET /app/a/b"))
        self.assertEqual(seen[0], seen[1])
        theirs.lose()
        ours.lose()


class WSGITests(TestCase):
    """
    A WSGI application, in threads.
    """

    def application(self, environ: Any, start_response: Any) -> Any:
        """
        Says what it was given.
        """
        body = environ["wsgi.input"].read()
        keys = (
            "REQUEST_METHOD",
            "SCRIPT_NAME",
            "PATH_INFO",
            "QUERY_STRING",
            "HTTP_X_A",
            "CONTENT_TYPE",
            "wsgi.url_scheme",
        )
        write = start_response("202 Taken", [("X-A", "1"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")])
        write(b"written ")
        return [repr([environ.get(key) for key in keys]).encode(), b" ", body]

    @defer.inlineCallbacks
    def test_same(self) -> Any:
        """
        It is given the same, and what it answers is the same.
        """
        from twisted.python.threadpool import ThreadPool

        pool = ThreadPool(0, 2)
        pool.start()
        self.addCleanup(pool.stop)
        requests = (
            request(b"GET /a%20b/c?d=e", b"X-A: y"),
            request(b"POST /p", b"Content-Type: text/plain", body=b"the body"),
            request(b"HEAD /h"),
        )
        seen = []
        for name in ("stock", "ours"):
            connection = Server(name, WSGIResource(reactor, pool, self.application), task.Clock())
            for number, data in enumerate(requests, 1):
                connection.protocol.dataReceived(data)
                methods = tuple(each.partition(b" ")[0] for each in requests)
                for _ in range(500):
                    try:
                        got = answers(connection.transport.value(), methods)
                    except AssertionError:
                        got = []
                    if len(got) == number and self.idle(connection):
                        break
                    yield task.deferLater(reactor, 0.005)
            seen.append([(*ComparisonTestCase.plain(each, ()), each.body) for each in got])
            connection.lose()
            connection.close()
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(len(seen[1]), 3)

    @staticmethod
    def idle(connection: Server) -> bool:
        """
        Has the last request been answered?
        """
        if connection.name == "ours":
            return connection.protocol.request is None
        return not connection.protocol._channel.requests
