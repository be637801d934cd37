"""
Other people's resources behave behind our channel as they do behind Twisted's own.

The same conversations are had with C{twisted.web.server.Site} and with us, and the answers are compared.
"""

from __future__ import annotations

import os
from pathlib import Path

from klein import Klein
from twisted.internet import _producer_helpers
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import NoResource, Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import Data, File
from twisted.web.util import Redirect, redirectTo
from twisted.web.wsgi import WSGIResource

from tests.resources.serving import Answer, Context, Served

#: What each server says of itself, or of the moment; and how a body is framed, which is each server's own.
_OWN = frozenset((b"server", b"date", b"transfer-encoding", b"content-length", b"connection"))


class Reactor(MemoryReactorClock):
    """
    A reactor whose threads run at once.
    """

    def callInThread(self, function, *args, **options):
        function(*args, **options)

    def callFromThread(self, function, *args, **options):
        function(*args, **options)


class Echo(Resource):
    """
    Says what it has seen, by every way that there is to see it.
    """

    isLeaf = True

    def render_GET(self, request):
        seen = [
            request.method,
            request.uri,
            request.path,
            request.clientproto,
            repr(request.prepath),
            repr(request.postpath),
            repr(sorted(request.args.items())),
            repr(request.content.read()),
            repr(request.getHeader("x-one")),
            repr(request.getAllHeaders().get(b"x-one")),
            repr(request.requestHeaders.getRawHeaders(b"x-one")),
            repr(request.getCookie(b"a")),
            repr(request.getUser()),
            repr(request.getPassword()),
            request.getClientAddress().host,
            repr(request.getRequestHostname()),
            repr(request.getHost().port),
            repr(request.isSecure()),
            request.prePathURL(),
            request.URLPath().click(b"x").path,
        ]
        return b"\n".join(each if isinstance(each, bytes) else str(each).encode() for each in seen)

    render_POST = render_GET


class Branch(Resource):
    """
    Answers itself, and has children.
    """

    def render_GET(self, request):
        return b"branch"


class Setting(Resource):
    """
    Sets all that can be set.
    """

    isLeaf = True

    def render_GET(self, request):
        request.setResponseCode(418, b"Short")
        request.setHeader(b"content-type", b"text/x-a")
        request.responseHeaders.addRawHeader(b"X-Two", b"1")
        request.responseHeaders.addRawHeader(b"X-Two", b"2")
        request.addCookie("c", "1", path="/", httpOnly=True)
        request.addCookie("d", "2", max_age=b"5")
        return b"set"


class Pieces(Resource):
    """
    Writes in pieces, now and later.
    """

    isLeaf = True

    def render_GET(self, request):
        request.write(b"one ")
        request.write(b"")
        succeed(None).addCallback(lambda _: request.write(b"two"))
        request.finish()
        return NOT_DONE_YET


class Cached(Resource):
    """
    Has validators.
    """

    isLeaf = True

    def render_GET(self, request):
        if request.setETag(b'"1"') or request.setLastModified(1_000_000_000):
            return b""
        return b"fresh"


class Elsewhere(Resource):
    """
    Redirects in Twisted's way.
    """

    isLeaf = True

    def render_GET(self, request):
        return redirectTo(b"/elsewhere", request)


def wsgi(environ, start_response):
    """
    A WSGI application that says what it was given.
    """
    names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH")
    names = (*names, "SERVER_PROTOCOL", "HTTP_X_ONE", "HTTP_COOKIE", "wsgi.url_scheme", "REMOTE_ADDR")
    start_response("201 Made", [("Content-Type", "text/plain"), ("X-Two", "1"), ("X-Two", "2")])
    yield repr([environ.get(name) for name in names]).encode()
    yield environ["wsgi.input"].read()


klein = Klein()


@klein.route("/k/<name>", methods=["GET", "POST"])
def hello(request, name):
    """
    Says its argument, later.
    """
    request.setHeader("X-K", "1")
    return succeed(f"hello {name}")


REQUESTS = (
    b"GET %s HTTP/1.1\r\nHost: example.com:8080\r\n\r\n",
    b"HEAD %s HTTP/1.1\r\nHost: example.com:8080\r\n\r\n",
    b"GET %s?a=1&b=%%20&a=3 HTTP/1.1\r\nHost: example.com\r\nX-One: 1\r\nx-one: 2\r\nCookie: a=b; c=d\r\n\r\n",
    b"GET %s HTTP/1.0\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dTpw\r\n\r\n",
    b'GET %s HTTP/1.1\r\nHost: a\r\nIf-None-Match: "1"\r\n\r\n',
    b"GET %s HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n",
    (
        b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 11\r\n\r\nx=1&y=2&x=3"
    ),
    b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    b"DELETE %s HTTP/1.1\r\nHost: a\r\n\r\n",
)


class StockTests(SynchronousTestCase):
    """
    One test for each kind of resource.
    """

    def setUp(self):
        # Twisted turns pull producers into push producers on the global reactor; here, on a clock.
        clock = self.clock = Clock()
        cooperator = Cooperator(scheduler=lambda call: clock.callLater(0.01, call))
        self.patch(_producer_helpers, "cooperate", cooperator.cooperate)

    def twisted(self, resource, request: bytes) -> Answer:
        address = IPv4Address("TCP", "192.0.2.7", 54321)
        transport = StringTransportWithDisconnection(IPv4Address("TCP", "127.0.0.1", 80), address)
        protocol = Site(resource, reactor=Reactor()).buildProtocol(address)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(request)
        self.clock.pump([0.01] * 10)
        answer = Answer(transport.value())
        if transport.connected:
            transport.loseConnection()
        return answer

    def ours(self, resource, request: bytes) -> Answer:
        served = Served(resource, Context(reactor=Reactor()))
        transport = served.connect()
        transport.protocol.dataReceived(request)
        answer = Answer(transport.value())
        if transport.connected:
            transport.loseConnection()
        return answer

    def compare(self, make, *targets: bytes) -> None:
        for target in targets:
            for request in REQUESTS:
                # Each has its own, for resources that keep state.
                theirs, ours = self.twisted(make(), request % target), self.ours(make(), request % target)
                said = request % target
                self.assertEqual(ours.status, theirs.status, said)
                self.assertEqual(ours.body, theirs.body, said)
                self.assertEqual(self.told(ours), self.told(theirs), said)
                # A length that they know, we know; what is chunked with them may have a length with us.  (Theirs on
                # a 304 is 0, which RFC 9110 section 8.6 forbids.)
                if theirs[b"Content-Length"] is not None and theirs.status != 304:
                    self.assertEqual(ours[b"Content-Length"], theirs[b"Content-Length"], said)

    def told(self, answer: Answer) -> list[tuple[bytes, bytes]]:
        return sorted((name.lower(), value) for name, value in answer.fields if name.lower() not in _OWN)

    def test_echo(self):
        """
        All ways to look at a request show the same.
        """
        self.compare(Echo, b"/", b"/a//b%20c%2Fd/")

    def test_tree(self):
        """
        Paths are walked as Twisted walks them.
        """

        def make():
            root = Resource()
            root.putChild(b"", Data(b"root", "text/plain"))
            child = Branch()
            child.putChild(b"leaf", Echo())
            root.putChild(b"child", child)
            root.putChild(b"gone", NoResource())
            root.putChild(b"moved", Redirect(b"/x"))
            return root

        self.compare(make, b"/", b"/child", b"/child/leaf", b"/child/leaf/x/y", b"/gone", b"/moved", b"/none")

    def test_setting(self):
        """
        All that can be set arrives.
        """
        self.compare(Setting, b"/")

    def test_pieces(self):
        """
        A body that is written in pieces is whole.
        """
        self.compare(Pieces, b"/")

    def test_validators(self):
        """
        Conditions that a resource leaves to the request are met by it.
        """
        self.compare(Cached, b"/")

    def test_redirect(self):
        """
        So do Twisted's own ways to redirect.
        """
        self.compare(Elsewhere, b"/")

    def test_file(self):
        """
        A stock C{File} serves files, parts of them, and directories.
        """
        root = Path(self.mktemp())
        (root / "sub").mkdir(parents=True)
        (root / "a.txt").write_bytes(b"abc")
        (root / "large.bin").write_bytes(bytes(300_000))
        (root / "sub" / "index.html").write_bytes(b"index")
        for path in (root / "a.txt", root / "large.bin", root / "sub" / "index.html"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        self.compare(lambda: File(str(root)), b"/", b"/a.txt", b"/large.bin", b"/sub", b"/sub/", b"/none")

    def test_wsgi(self):
        """
        A WSGI application sees the same environment.
        """

        def make():
            reactor = Reactor()
            return WSGIResource(reactor, reactor, wsgi)

        self.compare(make, b"/", b"/a%20b/c")

    def test_klein(self):
        """
        A Klein app routes, answers later, and says 404 and 405.
        """
        self.compare(klein.resource, b"/k/x", b"/none")
