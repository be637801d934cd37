"""
Every failure that there is, provoked: what the client is told, what the log and the counters say.

A reason that nothing here provokes is one that the program cannot have, and does not belong into the table.
"""

from __future__ import annotations

import errno
import json
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import fail
from twisted.internet.error import DNSLookupError, NoRouteError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.http.conversation import Answer, answers
from tests.net.authority import CA, CA_PEM
from twistginx.errors import REASONS, Fault, ProxyError
from twistginx.http import requestid
from twistginx.policies import spool
from twistginx.testing import Connection, MemoryServer

SITE = """
    [upstream.app]
    servers = ["127.0.0.1:9001"]
    [upstream.secure]
    servers = ["https://127.0.0.1:9001"]
    [upstream.named]
    servers = ["app.invalid:9001"]
    [listener.edge]
    endpoint = "tcp:80"
    [[site]]
    listen = "edge"
    trusted_proxies = ["10.0.0.0/8"]
    [[site.route]]
    path = "/files"
    strip_prefix = true
    static = "www"
    [[site.route]]
    path = "/small"
    limits = { body = "1KiB" }
    proxy = { upstream = "app" }
    [[site.route]]
    path = "/secure"
    proxy = { upstream = "secure" }
    [[site.route]]
    path = "/named"
    proxy = { upstream = "named" }
    [[site.route]]
    path = "/broken"
    app = "tests.test_failures:Broken"
    [[site.route]]
    path = "/key"
    api_key = { keys = { ann = "sha256:0000000000000000000000000000000000000000000000000000000000000000" } }
    proxy = { upstream = "app" }
    [[site.route]]
    path = "/asked"
    forward_auth = { upstream = "app", path = "/verify" }
    proxy = { upstream = "app" }
    [[site.route]]
    path = "/spooled"
    spool = { quota = "1MB" }
    proxy = { upstream = "app" }
    [[site.route]]
    path = "/rated"
    rate_limit = "1/d"
    concurrency = 1
    proxy = { upstream = "app" }
    [[site.route]]
    path = "/app"
    proxy = { upstream = "app" }
"""

TLS_SITES = """
    [[site]]
    listen_tls = "tcp:443"
    names = "open.example"
    tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }] }
    [[site.route]]
    respond = { body = "open" }
    [[site]]
    listen_tls = "tcp:443"
    names = "closed.example"
    tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }], client_ca = "ca.pem" }
    [[site.route]]
    respond = { body = "closed" }
    [[site]]
    listen_tls = "tcp:443"
    names = "too.example"
    tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }] }
    [[site.route]]
    respond = { body = "open, too" }
"""

ISSUED = CA.issue_cert("open.example", "closed.example", "too.example", "127.0.0.1")
FILES = {
    "cert.pem": b"".join(each.bytes() for each in ISSUED.cert_chain_pems),
    "key.pem": ISSUED.private_key_pem.bytes(),
    "ca.pem": CA_PEM.encode(),
}

HTML = b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


class Broken(Resource):
    """
    An app with a mistake.
    """

    isLeaf = True

    def render(self, request: Any) -> bytes:
        raise ZeroDivisionError


def ask(path: str = "/app", method: str = "GET", *fields: str, host: str = "a") -> bytes:
    """
    The bytes of a request.
    """
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


class TLS:
    """
    TLS in memory, on the other end of a connection: a client's, or a server's.
    """

    def __init__(self, connection: Connection, context: ssl.SSLContext, name: str | None = None) -> None:
        self._connection = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=name is None, server_hostname=name)
        for _ in range(4):
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange()
            except ssl.SSLError:
                break
        self._exchange()

    def _exchange(self) -> None:
        if self._out.pending:
            self._connection.send(self._out.read())
        self._in.write(self._connection.take())

    def ask(self, data: bytes) -> bytes:
        """
        Send, and what comes back.
        """
        self._tls.write(data)
        self._exchange()
        return self._tls.read(65536)


class FailureCase(SynchronousTestCase):
    """
    A site that everything goes wrong with.
    """

    def serve(self, config: str = SITE) -> MemoryServer:
        self.server = server = MemoryServer(config, {"www/index.html": b"ok", **FILES})
        self.addCleanup(server.close)
        return server

    def says(self, data: bytes, peer: str = "192.0.2.1") -> Connection:
        """
        A client that has sent something; C{self.client}.
        """
        self.client = client = self.server.connect(peer=peer)
        client.send(data)
        return client

    def upstream(self, data: bytes = b"", request: bytes = b"") -> Connection:
        """
        The server that the request goes to, which has answered with C{data}.
        """
        self.says(request or ask("/app", "GET", *self.fields))
        connection = self.server.accept()
        if data:
            connection.send(data)
        return connection

    fields: tuple[str, ...] = ()


# How each of them comes about.  They are given the test, and leave what the client has received in its connection.


def http_request_error(test: FailureCase) -> None:
    test.says(b"GET / HTTP/1.1\r\n" + ask("/", "GET", *test.fields)[len("GET / HTTP/1.1\r\nHost: a\r\n") :])


def http_request_denied(test: FailureCase) -> None:
    os.symlink("/", test.server.directory / "www" / "out")
    test.says(ask("/files/out/etc/passwd", "GET", *test.fields))


def destination_not_found(test: FailureCase) -> None:
    test.says(ask("/nowhere", "GET", *test.fields))


def method_not_allowed(test: FailureCase) -> None:
    test.says(ask("/app", "TRACE", *test.fields))


def request_header_timeout(test: FailureCase) -> None:
    test.says(ask("/app", "GET", *test.fields)[:-2])
    test.server.advance(11)


def request_body_timeout(test: FailureCase) -> None:
    test.says(ask("/app", "POST", "Content-Length: 10", *test.fields))
    test.server.accept()
    test.server.advance(31)


def request_body_too_large(test: FailureCase) -> None:
    test.says(ask("/small", "POST", "Content-Length: 1025", *test.fields))


def request_target_too_long(test: FailureCase) -> None:
    test.says(ask("/" + "x" * 40000, "GET", *test.fields))


def expectation_failed(test: FailureCase) -> None:
    test.says(ask("/app", "POST", "Expect: x", "Content-Length: 1", *test.fields))


def request_header_too_large(test: FailureCase) -> None:
    test.says(ask("/app", "GET", *test.fields, "X: " + "x" * 40000))


def client_disconnected(test: FailureCase) -> None:
    test.upstream()
    test.client.close()


def response_write_timeout(test: FailureCase) -> None:
    test.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    test.client.stall()
    test.server.advance(61)


def method_not_implemented(test: FailureCase) -> None:
    test.says(ask("/app", "FROBNICATE", *test.fields))


def http_version_not_supported(test: FailureCase) -> None:
    test.says(ask("/app", "GET", *test.fields).replace(b"HTTP/1.1", b"HTTP/2.0"))


def dns_error(test: FailureCase) -> None:
    peer = test.server.generation.upstreams["named"].peers[0]
    test.patch(peer._endpoint, "connect", lambda factory: fail(DNSLookupError("no such name")))
    test.says(ask("/named", "GET", *test.fields))


def connection_refused(test: FailureCase) -> None:
    test.says(ask("/app", "GET", *test.fields))
    test.server.refuse()


def destination_ip_unroutable(test: FailureCase) -> None:
    test.says(ask("/app", "GET", *test.fields))
    factory = test.server.reactor.tcpClients[-1][2]
    factory.clientConnectionFailed(None, Failure(NoRouteError()))


def connection_timeout(test: FailureCase) -> None:
    test.says(ask("/app", "GET", *test.fields))
    test.server.advance(4)


def tls_protocol_error(test: FailureCase) -> None:
    test.says(ask("/secure", "GET", *test.fields))
    test.server.accept().send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def tls_alert_received(test: FailureCase) -> None:
    test.says(ask("/secure", "GET", *test.fields))
    test.server.accept().send(b"\x15\x03\x03\x00\x02\x02\x28")


def tls_certificate_error(test: FailureCase) -> None:
    test.says(ask("/secure", "GET", *test.fields))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ISSUED.configure_cert(context)
    TLS(test.server.accept(), context)


def connection_terminated(test: FailureCase) -> None:
    test.upstream().close()


def connection_write_timeout(test: FailureCase) -> None:
    test.says(ask("/app", "POST", "Content-Length: 100000", *test.fields))
    test.server.accept().stall()
    test.client.send(b"x" * 1000)
    test.server.advance(61)


def http_response_timeout(test: FailureCase) -> None:
    test.upstream()
    test.server.advance(61)


def connection_read_timeout(test: FailureCase) -> None:
    test.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    test.server.advance(61)


def http_response_incomplete(test: FailureCase) -> None:
    test.upstream(b"HTTP/1.1 200 OK\r\nContent-").close()


def http_response_header_section_size(test: FailureCase) -> None:
    test.upstream(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000)


def http_response_trailer_section_size(test: FailureCase) -> None:
    test.upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").send(
        b"0\r\nX: " + b"x" * 140000, cut=10000
    )


def http_response_transfer_coding(test: FailureCase) -> None:
    test.upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")


def http_protocol_error(test: FailureCase) -> None:
    test.upstream(b"220 mail.example ESMTP\r\n")


def http_upgrade_failed(test: FailureCase) -> None:
    test.upstream(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")


def destination_unavailable(test: FailureCase) -> None:
    test.server.generation.upstreams["app"]._balance = lambda peers, request, tried: None
    test.says(ask("/app", "GET", *test.fields))


def connection_limit_reached(test: FailureCase) -> None:
    upstream = test.server.generation.upstreams["app"]
    upstream.peers[0].max_connections = 0
    upstream.begin(upstream.peers[0])
    upstream.roster.queue.size = 0
    test.says(ask("/app", "GET", *test.fields))


def authentication_required(test: FailureCase) -> None:
    test.says(ask("/key", "GET", *test.fields))


def authentication_unavailable(test: FailureCase) -> None:
    test.says(ask("/asked", "GET", *test.fields))
    test.server.refuse()


def limit(test: FailureCase, name: str) -> Any:
    """
    The policy of that name of the route that has limits.
    """
    (route,) = [route for route in test.server.generation.sites[0].routes if route.prefix == b"/rated"]
    (policy,) = [admit.__self__ for admit in route.admit if type(admit.__self__).__module__.endswith(name)]
    return policy


def rate_limited(test: FailureCase) -> None:
    limit(test, "rate_limit").admit(SimpleNamespace(client_ip=b"192.0.2.1", limits=None))
    test.says(ask("/rated", "GET", *test.fields))


def concurrency_limited(test: FailureCase) -> None:
    limit(test, "concurrency").admit(SimpleNamespace(client_ip=b"192.0.2.1", limits=None))
    test.says(ask("/rated", "GET", *test.fields))


def store_away(test: FailureCase) -> None:
    def take(*_: object) -> None:
        raise ProxyError("store_away", setting="shared.on_failure = deny")

    limit(test, "rate_limit")._take = take
    test.says(ask("/rated", "GET", *test.fields))


def spool_full(test: FailureCase) -> None:
    test.says(ask("/spooled", "POST", "Content-Length: 900000", *test.fields))
    test.says(ask("/spooled", "POST", "Content-Length: 900000", *test.fields))


def storage_full(test: FailureCase) -> None:
    def write_all(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    test.patch(spool, "_write_all", write_all)
    test.says(ask("/spooled", "POST", "Content-Length: 900000", *test.fields) + b"x" * 300000)


def shutting_down(test: FailureCase) -> None:
    test.upstream()
    for listener in test.server.listeners.values():
        listener.drain()
        listener.abort()


def proxy_internal_error(test: FailureCase) -> None:
    test.says(ask("/broken", "GET", *test.fields))


#: Failures after which there is nobody to tell, or after which an answer can only be broken off.
UNTOLD = frozenset(
    (
        *("client_disconnected", "response_write_timeout", "shutting_down"),
        *("connection_read_timeout", "http_response_trailer_section_size"),
    )
)

#: These have tests of their own below: they are met before there is a request, and with TLS.
ELSEWHERE = frozenset(("connection_limit", "misdirected_request"))

#: Settings that must be named, as the file has them.
SETTINGS = {
    "request_header_timeout": "listener.edge.timeouts.header = 10s",
    "request_body_timeout": "listener.edge.timeouts.idle = 30s",
    "response_write_timeout": "listener.edge.timeouts.write = 60s",
    "request_header_too_large": "listener.edge.limits.header = 32KiB",
    "request_target_too_long": "listener.edge.limits.header = 32KiB",
    "request_body_too_large": "limits.body = 1KiB",
    "connection_timeout": "upstream.app.timeouts.connect = 3s",
    "connection_write_timeout": "upstream.app.timeouts.idle = 60s",
    "http_response_timeout": "upstream.app.timeouts.first_byte = 60s",
    "connection_read_timeout": "upstream.app.timeouts.idle = 60s",
    "shutting_down": "process.drain_timeout",
}


def provoker(word: str) -> Callable[[FailureCase], None]:
    """
    How that failure comes about.
    """
    found: Callable[[FailureCase], None] = globals()[word]
    return found


class EveryReasonTests(FailureCase):
    """
    Each reason of the table, one after the other.
    """

    def provoke(self, word: str, fields: tuple[str, ...] = ()) -> Any:
        """
        Have that failure happen; what the log says about it.
        """
        self.fields = fields
        self.serve()
        provoker(word)(self)
        self.flushLoggedErrors(ZeroDivisionError)
        ((self.request, record),) = self.server.records
        return record

    def answer(self) -> Answer:
        """
        What the client was told.
        """
        (answer,) = answers(self.client.take())
        return answer

    def test_table(self) -> None:
        """
        There is no reason that nothing provokes.
        """
        provoked = {word for word in REASONS if word in globals()}
        self.assertEqual(set(REASONS) - ELSEWHERE, provoked)
        self.assertTrue(30 <= len(REASONS) <= 48, len(REASONS))

    def test_one_word(self) -> None:
        """
        The word is the same in Proxy-Status, on the page, in the log and in the counters, and the status is the row's.
        What a client did is never held against the upstream.
        """
        for word, reason in REASONS.items():
            if word in ELSEWHERE:
                continue
            record = self.provoke(word)
            self.assertEqual(record.reason, word)
            self.assertEqual(self.server.runtime.counters.failures, {word: 1})
            # Of one more, the body is still on its way: it has the room that the other one wants.
            asked = 2 if word == "spool_full" else 1
            self.assertEqual(self.server.runtime.counters.requests, asked, word)
            upstreams = self.server.generation.upstreams.values()  # type: ignore[union-attr]
            held = sum(upstream.peers[0].failures for upstream in upstreams)
            # The service that was to say who asks has failed as an upstream, too.
            blamed = reason.fault is Fault.UPSTREAM or word == "authentication_unavailable"
            self.assertEqual(held, 1 if blamed else 0, word)
            if word in UNTOLD:
                continue
            answer = self.answer()
            self.assertEqual((answer.status, record.status), (reason.status, reason.status), word)
            status = answer.get(b"Proxy-Status") or b""
            self.assertEqual(status.split(b"; ")[:2], [b"twistginx", b"error=" + word.encode()])
            self.assertIn(f"[{word}]".encode(), answer.body)
            self.assertIn(reason.text.encode(), answer.body)
            self.assertEqual(answer.get(b"Cache-Control"), b"no-store")

    def test_untold(self) -> None:
        """
        Where nobody can be told, nothing that looks complete is sent: the connection is broken.
        """
        for word in sorted(UNTOLD):
            record = self.provoke(word)
            self.assertTrue(self.client.closed, word)
            if word != "client_disconnected":
                self.assertTrue(self.client.transport.aborted, word)
            data = self.client.take()
            self.assertEqual(record.status, 200 if data else REASONS[word].status, word)
            self.assertNotIn(b"Proxy-Status", data)
            self.assertFalse(data.endswith(b"0\r\n\r\n"))

    def test_settings(self) -> None:
        """
        Every timeout and every limit says which setting it is, in the page, in Proxy-Status and in the log.
        """
        timeouts = {word for word in REASONS if word.endswith("_timeout")}
        self.assertEqual(timeouts - set(SETTINGS), set())
        for word, setting in SETTINGS.items():
            self.assertIn(setting, self.provoke(word).detail)
            if word not in UNTOLD:
                answer = self.answer()
                self.assertIn(setting.encode(), answer.body)
                self.assertIn(f'details="{setting}"'.encode(), answer.get(b"Proxy-Status") or b"")

    def test_forms(self) -> None:
        """
        There is a page for people and one for programs, with the request's name; tests of the page have all words.
        """
        for word in ("request_target_too_long", "connection_refused", "proxy_internal_error"):
            self.provoke(word, (f"Accept: {HTML.decode()}",))
            answer = self.answer()
            name = answer.get(b"X-Request-ID") or b""
            self.assertEqual(answer.get(b"Content-Type"), b"text/html; charset=utf-8", word)
            self.assertIn(b"<dd>%b</dd>" % word.encode(), answer.body)
            self.assertIn(b"<dd>%b</dd>" % name, answer.body)
            self.provoke(word, ("Accept: application/json",))
            answer = self.answer()
            self.assertEqual(answer.get(b"Content-Type"), b"application/problem+json", word)
            problem = json.loads(answer.body)
            self.assertEqual(problem["reason"], word)
            self.assertEqual(problem["status"], answer.status)
            self.assertEqual(problem["request_id"].encode(), answer.get(b"X-Request-ID"))

    def test_no_addresses(self) -> None:
        """
        Where the upstream is, is nobody's business: only a trusted proxy is told.
        """
        for word in ("dns_error", "connection_refused", "connection_timeout", "tls_certificate_error"):
            self.provoke(word)
            self.assertNotRegex(self.client.take(), rb"127\.0\.0\.1|9001|app\.invalid", word)
        self.serve()
        self.says(ask("/app"), peer="10.0.0.1")
        self.server.refuse()
        self.assertEqual(
            self.answer().get(b"Proxy-Status"),
            b'twistginx; error=connection_refused; details="127.0.0.1:9001: connection refused"',
        )

    def test_received_status(self) -> None:
        """
        Where the upstream had said a status that is not passed on, Proxy-Status tells it.
        """
        for word, status in (("http_upgrade_failed", b"101"), ("http_response_transfer_coding", b"200")):
            self.provoke(word)
            self.assertIn(b"; received-status=" + status, self.answer().get(b"Proxy-Status") or b"")

    def test_connection_limit(self) -> None:
        """
        A client too many is told so before it has asked for anything.
        """
        server = self.serve(SITE.replace('endpoint = "tcp:80"', 'endpoint = "tcp:80"\nlimits = { connections = 1 }'))
        first, second = self.says(b""), self.says(b"")
        answer = self.answer()
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.get(b"Proxy-Status"), b"twistginx; error=connection_limit")
        self.assertEqual(server.runtime.counters.failures, {"connection_limit": 1})
        self.assertEqual(REASONS["connection_limit"].status, 503)
        first.close()
        second.close()

    def test_client_connection_limit(self) -> None:
        """
        So is a client that has too many connections of its own.
        """
        limits = 'endpoint = "tcp:80"\nlimits = { connections_per_client = 1 }'
        server = self.serve(SITE.replace('endpoint = "tcp:80"', limits))
        first, second = self.says(b""), self.says(b"")
        self.assertEqual((self.answer().status, first.closed), (503, False))
        first.close()
        second.close()
        self.says(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").close()
        self.assertEqual(server.runtime.counters.failures["connection_limit"], 1)


class MisdirectedTests(FailureCase):
    """
    421: a site that asks for more than the TLS connection has shown is not served on it (RFC 9110 section 15.5.20).
    """

    def connect(self, name: str) -> TLS:
        context = ssl.create_default_context(cadata=CA_PEM)
        self.client = self.server.connect()
        return TLS(self.client, context, name)

    def test_client_certificate(self) -> None:
        """
        A site that wants client certificates cannot be reached through one that does not.
        """
        self.serve(TLS_SITES)
        connection = self.connect("open.example")
        (answer,) = answers(connection.ask(ask("/", host="open.example")))
        self.assertEqual(answer.body, b"open")
        (answer,) = answers(connection.ask(ask("/", host="closed.example")))
        self.assertEqual(answer.status, 421)
        self.assertEqual(answer.get(b"Proxy-Status"), b"twistginx; error=misdirected_request")
        self.assertEqual(self.server.runtime.counters.failures, {"misdirected_request": 1})
        self.assertEqual(self.server.records[-1][1].reason, "misdirected_request")

    def test_same_terms(self) -> None:
        """
        Sites on the same terms share connections, whatever their certificates; the connection of a 421 can be used on.
        """
        self.serve(TLS_SITES)
        connection = self.connect("open.example")
        connection.ask(ask("/", host="closed.example"))
        (answer,) = answers(connection.ask(ask("/", host="too.example")))
        self.assertEqual(answer.body, b"open, too")

    def test_reload(self) -> None:
        """
        A reload that does not change the terms leaves connections alone; one that does ends their use.
        """
        server = self.serve(TLS_SITES)
        connection = self.connect("open.example")
        server.load(TLS_SITES)
        (answer,) = answers(connection.ask(ask("/", host="open.example")))
        self.assertEqual(answer.body, b"open")
        server.load(TLS_SITES.replace("}] }", '}], client_ca = "ca.pem" }', 1))
        (answer,) = answers(connection.ask(ask("/", host="open.example")))
        self.assertEqual(answer.status, 421)


class RequestIdTests(FailureCase):
    """
    A request has one name, in all logs.
    """

    def test_sent_and_returned(self) -> None:
        """
        The upstream is sent a new name, and the client is told it, whatever either of them says.
        """
        self.serve()
        self.says(ask("/app", "GET", "X-Request-ID: mine"))
        upstream = self.server.accept()
        (name,) = re.findall(rb"(?i)\r\nx-request-id: (.*)\r\n", upstream.take())
        self.assertRegex(name, rb"\A[0-9a-f]{32}\Z")
        upstream.send(b"HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\nContent-Length: 0\r\n\r\n")
        (answer,) = answers(self.client.take())
        self.assertEqual(answer.get(b"X-Request-ID"), name)
        self.assertEqual(self.server.records[0][0].request_id, name)

    def test_trusted(self) -> None:
        """
        A trusted proxy's name is taken over, if it can be one.
        """
        self.serve()
        for said, taken in ((b"01-ab.c", True), (b"x" * 128, True), (b"x" * 129, False), (b'a"b', False), (b"", False)):
            self.says(ask("/nowhere", "GET", f"X-Request-ID: {said.decode()}"), peer="10.0.0.1")
            (answer,) = answers(self.client.take())
            self.assertEqual(answer.get(b"X-Request-ID") == said, taken, said)

    def test_static(self) -> None:
        """
        What nobody asks for is not made: a file has no name, and costs none.
        """
        self.serve()
        self.patch(requestid, "made", lambda: self.fail("a name was made"))
        self.says(ask("/files/index.html"))
        (answer,) = answers(self.client.take())
        self.assertEqual((answer.status, answer.get(b"X-Request-ID")), (200, None))


class PageTests(SynchronousTestCase):
    """
    C{docs/failures.rst} is the table, with more words.
    """

    def test_rows(self) -> None:
        """
        It has every reason, in the order of the table, with its status and whose fault it is.
        """
        text = (Path(__file__).parent.parent / "docs" / "failures.rst").read_text("utf-8")
        rows = re.findall(r"(?m)^``(\w+)`` — (\d+), (\w+)$", text)
        self.assertEqual(rows, [(word, str(reason.status), reason.fault.value) for word, reason in REASONS.items()])

    def test_errors_name_rows(self) -> None:
        """
        What the sources raise is in the table.
        """
        source = Path(__file__).parent.parent / "src" / "twistginx"
        for path in source.rglob("*.py"):
            for word in re.findall(r'ProxyError\(\s*"(\w+)"', path.read_text("utf-8")):
                self.assertEqual(ProxyError(word).reason.word, word, path)
