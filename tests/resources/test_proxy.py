"""
Tests for twistginx.resources.proxy and twistginx.resources.exchange, with the real channel on memory transports.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, DNSLookupError, TimeoutError
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.proxy import ReverseProxyResource
from zope.interface.verify import verifyObject

from tests.resources.conversation import GET, OK, Conversation, Wire
from twistginx.config.address import ServerAddress
from twistginx.errors import ConfigError
from twistginx.http import requestid
from twistginx.http.message import Reply
from twistginx.interfaces import IResourceModule, IStreaming
from twistginx.net.crowd import Crowd
from twistginx.resources import proxy
from twistginx.routing.router import RouteTimeouts
from twistginx.testing import MemoryServer

UPLOAD = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def status(data: bytes) -> int:
    """
    Of the first response in ``data``.
    """
    assert data.startswith(b"HTTP/1.1 "), data
    return int(data[9:12])


def fields(data: bytes) -> list[bytes]:
    """
    The fields of the response, without those that are ours to add.
    """
    lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return [line for line in lines if not line.startswith((b"Date: ", b"Server: twistginx"))]


def body(data: bytes) -> bytes:
    """
    Of the response.
    """
    return data.partition(b"\r\n\r\n")[2]


class ModuleTests(SynchronousTestCase):
    """
    The table in the configuration, and what is built of it.
    """

    def test_module(self) -> None:
        """
        The module and the resource are what the contracts say.
        """
        self.assertTrue(verifyObject(IResourceModule, proxy))
        resource = Conversation().resource
        self.assertTrue(IStreaming.providedBy(resource))
        self.assertIsInstance(resource, ReverseProxyResource)
        self.assertIs(resource.getChildWithDefault(b"x", None), resource)
        self.assertTrue(resource.isLeaf)

    def test_host(self) -> None:
        """
        An upstream gets the Host as it is read, the first time and every other.
        """
        server = MemoryServer('[[site]]\nlisten = "tcp:80"\n[[site.route]]\nproxy = "http://127.0.0.1:1"\n')
        self.addCleanup(server.close)
        for host, sent in (("A.example", "a.example"), ("b.example.:80", "b.example:80"), ("c.example", "c.example")):
            for _ in range(2):
                client = server.connect()
                client.send(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                upstream = server.accept()
                self.assertIn(f"\r\nHost: {sent}\r\n".encode(), upstream.take(), host)
                upstream.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                client.close()

    def test_shorthand(self) -> None:
        """
        A server, or a list of them, is short for ``to``.
        """
        one = proxy.Config.from_shorthand("http://127.0.0.1:9001")
        self.assertEqual(one.to, (ServerAddress.parse("127.0.0.1:9001"),))
        two = proxy.Config.from_shorthand(["127.0.0.1:1", "unix:/run/x"])
        self.assertEqual([address.kind for address in two.to], ["tcp", "unix"])
        for wrong in (True, [], {}, [1], "http://a/path"):
            self.assertRaises(ValueError, proxy.Config.from_shorthand, wrong)
        error = self.assertRaises(ValueError, proxy.Config.from_shorthand, "app")
        self.assertIn('where there is an [upstream.app], { upstream = "app" }', str(error))

    def test_either_or(self) -> None:
        """
        A route has an upstream by name, or its own servers.
        """
        self.assertRaises(ValueError, proxy.Config)
        self.assertRaises(ValueError, proxy.Config, upstream="a", to=(ServerAddress.parse("127.0.0.1:1"),))

    def test_make(self) -> None:
        """
        The upstream is the context's; an unknown one is an error at its key.
        """
        conversation = Conversation()

        def unknown(name: str) -> Any:
            raise ConfigError("there is none", expected="app")

        context = SimpleNamespace(
            reactor=conversation.reactor,
            upstream=lambda name: conversation.upstream,
            inline_upstream=lambda servers: conversation.upstream,
        )
        self.assertIsInstance(proxy.make(proxy.Config(upstream="app"), context), proxy.ProxyResource)
        self.assertIsInstance(proxy.make(proxy.Config.from_shorthand("127.0.0.1:1"), context), proxy.ProxyResource)
        context.upstream = unknown
        error = self.assertRaises(ConfigError, proxy.make, proxy.Config(upstream="ap"), context)
        self.assertEqual((error.key, error.expected), ("upstream", "app"))


class ProxyCase(SynchronousTestCase):
    """
    A conversation with one client.
    """

    def begin(self, **options: Any) -> None:
        """
        A proxied site, and a client that is connected.
        """
        self.patch(requestid, "made", lambda: b"1234")
        self.conversation = Conversation(**options)
        self.client = self.conversation.client()

    def asks(self, data: bytes = GET) -> Wire:
        """
        The client sends a request, and the server accepts the connection and takes what was sent.
        """
        self.client.says(data)
        server = self.conversation.accept()
        self.sent = server.taken()
        return server

    def reason(self) -> str:
        """
        Why the last request failed, as the log says it.
        """
        return self.conversation.records[-1].reason

    def warm(self) -> Wire:
        """
        A server connection that has answered once, and rests.
        """
        server = self.asks()
        server.says(OK)
        self.client.taken()
        return server


class PassedOnTests(ProxyCase):
    """
    Requests and answers pass, and only what must not pass is changed.
    """

    def test_get(self) -> None:
        """
        The simplest request; head and body of the answer leave in one write, and the log knows who answered.
        """
        self.begin()
        server = self.asks()
        self.assertTrue(self.sent.startswith(b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 10.0.0.1\r\n"))
        writes: list[bytes] = []
        self.client.write = writes.append  # type: ignore[method-assign]
        server.says(OK)
        self.assertEqual(len(writes), 1)
        self.assertEqual((status(writes[0]), body(writes[0])), (200, b"ok"))
        self.assertEqual(self.conversation.records[-1].upstream, "127.0.0.1:9001")

    def test_connection_is_used_again(self) -> None:
        """
        One upstream connection serves request after request, also of other clients.
        """
        self.begin()
        server = self.warm()
        for client in (self.client, self.conversation.client()):
            client.says(GET)
            self.assertTrue(server.taken().startswith(b"GET / "))
            server.says(OK)
            self.assertEqual(body(client.taken()), b"ok")
        self.assertEqual(len(self.conversation.attempts), 1)

    def test_pipelined(self) -> None:
        """
        Requests that are sent at once are answered in order, over one connection.
        """
        self.begin()
        server = self.asks(GET + GET.replace(b"/ ", b"/2 ", 1))
        server.says(OK)
        self.assertTrue(server.taken().startswith(b"GET /2 "))
        server.says(OK.replace(b"ok", b"no"))
        data = self.client.taken()
        self.assertEqual(data.count(b"HTTP/1.1 200"), 2)
        self.assertLess(data.index(b"ok"), data.index(b"no"))

    def test_response_fields(self) -> None:
        """
        Fields of the answer keep order and number, Date and Server are the upstream's, and hop-by-hop fields are not
        passed.
        """
        self.begin()
        server = self.asks()
        server.says(
            b"HTTP/1.1 201 Made\r\nServer: inner\r\nSet-Cookie: a\r\nDate: then\r\nSet-Cookie: b\r\nKeep-Alive: x\r\n"
            b"Connection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertEqual(
            self.client.taken(),
            b"HTTP/1.1 201 Made\r\nServer: inner\r\nSet-Cookie: a\r\nDate: then\r\nSet-Cookie: b\r\n"
            b"X-Request-ID: 1234\r\nContent-Length: 0\r\n\r\n",
        )

    def test_chunked_answer(self) -> None:
        """
        A chunked answer is decoded and framed again, once, as it comes; trailers are passed.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na")
        data = self.client.taken()
        self.assertIn(b"Transfer-Encoding: chunked", fields(data))
        self.assertEqual(body(data), b"1\r\na\r\n")
        server.says(b"\r\n2\r\nbc\r\n0\r\nX-Sum: 9\r\n\r\n")
        self.assertEqual(self.client.taken(), b"2\r\nbc\r\n0\r\nX-Sum: 9\r\n\r\n")

    def test_head_at_once(self) -> None:
        """
        The head of an answer does not wait for its body.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        self.assertEqual(status(self.client.taken()), 200)
        server.says(b"data: 1\n\n")
        self.assertEqual(self.client.taken(), b"9\r\ndata: 1\n\n\r\n")

    def test_until_close(self) -> None:
        """
        An answer without framing ends with its connection, and the client's stays.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.0 200 OK\r\n\r\nabc")
        server.leaves()
        self.assertEqual(body(self.client.taken()), b"3\r\nabc\r\n0\r\n\r\n")
        self.assertFalse(self.client.gone)

    def test_head_request(self) -> None:
        """
        HEAD passes its length, and no body; the connection is used again.
        """
        self.begin()
        server = self.asks(GET.replace(b"GET", b"HEAD"))
        server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        data = self.client.taken()
        self.assertIn(b"Content-Length: 1000", fields(data))
        self.assertEqual(body(data), b"")
        self.client.says(GET)
        server.says(OK)
        self.assertEqual(body(self.client.taken()), b"ok")

    def test_not_modified(self) -> None:
        """
        304 and 204 have no body, and the client knows.
        """
        for line in (b"304 Not Modified", b"204 No Content"):
            self.begin()
            server = self.asks()
            server.says(b"HTTP/1.1 " + line + b"\r\nETag: x\r\n\r\n")
            self.assertEqual(fields(self.client.taken()), [b"ETag: x", b"X-Request-ID: 1234"])
            self.assertFalse(self.client.gone)

    def test_informational(self) -> None:
        """
        103 (Early Hints) is passed on; 100 (Continue) is between us and the server.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        self.assertEqual(self.client.taken(), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        server.says(OK)
        self.assertEqual(status(self.client.taken()), 200)

    def test_informational_to_http_1_0(self) -> None:
        """
        An HTTP/1.0 client is not sent what it does not know.
        """
        self.begin()
        server = self.asks(b"GET / HTTP/1.0\r\n\r\n")
        server.says(
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )
        data = self.client.taken()
        self.assertEqual((status(data), body(data)), (200, b"ok"))
        self.assertTrue(self.client.gone)

    def test_strip_prefix(self) -> None:
        """
        Where the route says so, the server sees the path without the prefix, as raw as it came.
        """
        self.begin(prefix=b"/api", strip=True)
        self.asks(b"GET /api/a%2Fb?c HTTP/1.1\r\nHost: example.com\r\n\r\n")
        self.assertTrue(self.sent.startswith(b"GET /a%2Fb?c HTTP/1.1\r\n"), self.sent)

    def test_prepare(self) -> None:
        """
        Policies of the route change what leaves.
        """
        self.begin(prepare=(lambda request, head: head.fields.put(b"X-By", b"policy"),))
        self.asks()
        self.assertIn(b"\r\nX-By: policy\r\n", self.sent)

    def test_prepared_fields_stay(self) -> None:
        """
        A client that names a policy's field in Connection does not have it taken out again: what Connection names goes
        before policies come.
        """
        self.begin(prepare=(lambda request, head: head.fields.put(b"X-User", b"guest"),))
        self.asks(
            b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: X-User, X-Other\r\nX-User: root\r\nX-Other: a\r\n\r\n"
        )
        self.assertIn(b"\r\nX-User: guest\r\n", self.sent)
        self.assertNotIn(b"root", self.sent)
        self.assertNotIn(b"X-Other", self.sent)

    def test_responding(self) -> None:
        """
        A policy may answer instead; the server's work is stopped, and its connection not used again.
        """
        self.begin(responding=(lambda request, head: Reply(403, (), b"no") if head.status == 200 else None,))
        server = self.asks()
        server.says(OK[:-1])
        data = self.client.taken()
        self.assertEqual((status(data), body(data)), (403, b"no"))
        self.assertTrue(server.aborted)

    def test_responding_to_whole(self) -> None:
        """
        A policy may answer instead of an answer that has come whole; the server's connection is used again.
        """
        self.begin(responding=(lambda request, head: Reply(403, (), b"no") if head.status == 200 else None,))
        server = self.asks()
        server.says(OK)
        data = self.client.taken()
        self.assertEqual((status(data), body(data)), (403, b"no"))
        self.assertFalse(server.aborted)


class UploadTests(ProxyCase):
    """
    Bodies of requests stream to the server.
    """

    def test_as_it_comes(self) -> None:
        """
        The server is asked before the body is there, and gets each piece as it comes.
        """
        self.begin()
        server = self.asks(UPLOAD)
        self.assertIn(b"Content-Length: 5\r\n", self.sent)
        self.client.says(b"he")
        self.assertEqual(server.taken(), b"he")
        self.client.says(b"llo" + GET)
        self.assertEqual(server.taken(), b"llo")
        server.says(OK)
        self.assertTrue(server.taken().startswith(b"GET / "), "the pipelined request was not next")

    def test_chunked(self) -> None:
        """
        A chunked body is framed again, with trailers; what came in one read is one chunk.
        """
        self.begin()
        server = self.asks(
            b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n"
        )
        self.client.says(b"0\r\nX-Sum: 1\r\n\r\n")
        data = self.sent + server.taken()
        self.assertIn(b"Transfer-Encoding: chunked\r\n", data)
        framed = body(data)
        self.assertTrue(framed.endswith(b"0\r\nX-Sum: 1\r\n\r\n"))
        self.assertEqual(framed[: -len(b"0\r\nX-Sum: 1\r\n\r\n")], b"3\r\nabc\r\n")

    def test_continue(self) -> None:
        """
        A client that waits is told to go on when there is a server to go on to.
        """
        self.begin()
        self.client.says(UPLOAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.assertEqual(self.client.taken(), b"")
        self.conversation.accept()
        self.assertEqual(self.client.taken(), b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_no_continue_without_server(self) -> None:
        """
        Without a server it is answered at once, and need not send its body.
        """
        self.begin()
        self.client.says(UPLOAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.conversation.refuse()
        self.assertEqual(status(self.client.taken()), 502)

    def test_back_pressure(self) -> None:
        """
        While the server does not read, neither do we.
        """
        self.begin()
        server = self.asks(UPLOAD.replace(b"5", b"500000"))
        server.producer.pauseProducing()
        self.client.says(b"x" * 1000)
        self.assertEqual(self.client.producerState, "paused")
        self.assertEqual(server.taken(), b"")
        server.producer.resumeProducing()
        self.assertEqual(server.taken(), b"x" * 1000)
        self.assertEqual(self.client.producerState, "producing")

    def test_early_answer(self) -> None:
        """
        An answer before the end of the upload is passed on, and the upload not.
        """
        self.begin()
        server = self.asks(UPLOAD)
        self.client.says(b"he")
        server.taken()
        server.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(status(self.client.taken()), 413)
        self.client.says(b"llo")
        self.assertEqual(server.taken(), b"")
        self.assertTrue(server.gone)
        self.assertEqual(self.conversation.upstream.resting, 0)

    def test_too_large(self) -> None:
        """
        A body beyond the limit is refused on the way, and the server does not get a whole one.
        """
        self.begin(body_limit=4)
        server = self.asks(b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.client.says(b"5\r\nhello\r\n")
        self.assertEqual(status(self.client.taken()), 413)
        self.assertTrue(server.aborted)

    def test_broken_upload(self) -> None:
        """
        A client that breaks off its upload has the server's request broken off too.
        """
        self.begin()
        server = self.asks(UPLOAD)
        self.client.says(b"he")
        self.client.leaves(ConnectionLost)
        self.assertTrue(server.aborted)


class BackPressureTests(ProxyCase):
    """
    A client that does not read costs no memory.
    """

    def test_paused(self) -> None:
        """
        While the client does not read, the server is not read; and it is not blamed for it.
        """
        self.begin(idle=5.0)
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nx")
        self.client.producer.pauseProducing()
        self.assertEqual(server.producerState, "paused")
        self.conversation.advance(30)
        self.assertEqual(self.conversation.records, [])
        self.client.producer.resumeProducing()
        self.assertEqual(server.producerState, "producing")
        self.conversation.advance(6)
        self.assertEqual(self.reason(), "connection_read_timeout")

    def test_already_full(self) -> None:
        """
        A client that stopped reading before the answer came (at a 103, say) is waited for from its start.
        """
        self.begin()
        server = self.asks()
        self.client.producer.pauseProducing()
        server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")
        self.assertEqual(server.producerState, "paused")

    def test_next_request_reads(self) -> None:
        """
        A connection that was paused reads again when it is free.
        """
        self.begin()
        server = self.asks()
        server.says(OK[:-1])
        self.client.producer.pauseProducing()
        server.says(b"k")
        self.assertEqual(server.producerState, "producing")
        self.assertEqual(self.conversation.upstream.resting, 1)


class FailureTests(ProxyCase):
    """
    Every failure has its word and its status, and none looks like success.
    """

    def fails(self, code: int, word: str) -> None:
        """
        The client was answered with an error, and is still connected.
        """
        data = self.client.taken()
        self.assertEqual(status(data), code, data)
        self.assertEqual(self.reason(), word)

    def test_refused(self) -> None:
        """
        No connection.
        """
        for error, code, word in (
            (ConnectionRefusedError, 502, "connection_refused"),
            (TimeoutError, 504, "connection_timeout"),
            (DNSLookupError, 502, "dns_error"),
        ):
            self.begin()
            self.client.says(GET)
            self.conversation.refuse(error)
            self.fails(code, word)

    def test_connect_timeout(self) -> None:
        """
        No connection in time; the log names the setting.
        """
        self.begin()
        self.client.says(GET)
        self.conversation.advance(3.5)
        self.fails(504, "connection_timeout")
        self.assertIn("upstream.app.timeouts.connect = 3s", self.conversation.records[-1].detail)

    def test_no_answer(self) -> None:
        """
        A server that closes without a word.
        """
        self.begin()
        self.asks().leaves()
        self.fails(502, "connection_terminated")

    def test_garbage(self) -> None:
        """
        A server that does not speak HTTP.
        """
        for garbage in (
            b"SSH-2.0-OpenSSH_9\r\n",
            b"\0\0",
            b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
        ):
            self.begin()
            server = self.asks()
            server.says(garbage)
            self.fails(502, "http_protocol_error")
            self.assertTrue(server.aborted)

    def test_half_a_head(self) -> None:
        """
        A server that closes within the head.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\nContent-")
        server.leaves()
        self.fails(502, "http_response_incomplete")

    def test_large_head(self) -> None:
        """
        A server whose head has no end.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000)
        self.fails(502, "http_response_header_section_size")

    def test_truncated(self) -> None:
        """
        A body that is cut short breaks the client's connection: nobody takes it for whole.
        """
        for framing in (b"Content-Length: 1000", b"Transfer-Encoding: chunked"):
            self.begin()
            server = self.asks()
            server.says(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n3\r\nabc\r\n")
            server.leaves()
            self.assertTrue(self.client.aborted)
            self.assertFalse(self.client.taken().endswith(b"0\r\n\r\n"))
            self.assertEqual(self.reason(), "http_response_incomplete")

    def test_reset(self) -> None:
        """
        A body without framing that ends in a reset is not whole either.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
        server.leaves(ConnectionLost)
        self.assertTrue(self.client.aborted)

    def test_bad_chunk(self) -> None:
        """
        Garbage in the middle of a body.
        """
        self.begin()
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        server.says(b"zz\r\n")
        self.assertTrue(self.client.aborted)
        self.assertEqual(self.reason(), "http_protocol_error")

    def test_first_byte(self) -> None:
        """
        A server that does not answer in time; the log names the setting.
        """
        self.begin(first_byte=5.0)
        server = self.asks()
        self.conversation.advance(6)
        self.fails(504, "http_response_timeout")
        self.assertIn("upstream.app.timeouts.first_byte = 5s", self.conversation.records[-1].detail)
        self.assertTrue(server.aborted)

    def test_route_timeouts(self) -> None:
        """
        The route's own timeouts come first, and are named as such.
        """
        self.begin(first_byte=5.0, timeouts=RouteTimeouts(first_byte=2.0))
        self.asks()
        self.conversation.advance(3)
        self.fails(504, "http_response_timeout")
        self.assertIn("timeouts.first_byte = 2s", self.conversation.records[-1].detail)
        self.begin(idle=5.0, timeouts=RouteTimeouts(first_byte=2.0))
        server = self.asks()
        server.says(b"HTTP/1.1 200 OK\r\n\r\n")
        self.conversation.advance(6)
        self.assertIn("upstream.app.timeouts.idle = 5s", self.conversation.records[-1].detail)

    def test_stalled_answer(self) -> None:
        """
        An answer that stops in the middle breaks the connection.
        """
        self.begin(idle=5.0)
        server = self.asks()
        server.says(OK[:-1])
        self.conversation.advance(6)
        self.assertTrue(self.client.aborted)
        self.assertEqual(self.reason(), "connection_read_timeout")

    def test_broken_policy(self) -> None:
        """
        A policy that raises on an answer is our fault, not the server's.
        """

        def broken(request: Any, head: Any) -> None:
            raise RuntimeError("policy")

        self.begin(responding=(broken,))
        self.asks().says(OK)
        self.assertEqual(self.reason(), "proxy_internal_error")
        self.assertEqual(status(self.client.taken()), 500)
        self.assertEqual(self.conversation.peers[0].failures, 0)
        self.flushLoggedErrors(RuntimeError)

    def test_unasked_upgrade(self) -> None:
        """
        A server that changes the protocol without being asked.
        """
        self.begin()
        self.asks().says(SWITCH)
        self.fails(502, "http_upgrade_failed")


class RetryTests(ProxyCase):
    """
    A request is sent again where that is safe, and nowhere else.
    """

    def test_next_peer(self) -> None:
        """
        Without a connection the next peer is tried, for any request, with its body.
        """
        self.begin(peers=3)
        self.client.says(UPLOAD + b"hello")
        self.conversation.refuse()
        self.conversation.refuse()
        server = self.conversation.accept()
        self.assertEqual(self.conversation.attempts, [9001, 9002, 9003])
        self.assertEqual(body(server.taken()), b"hello")
        server.says(OK)
        self.assertEqual(status(self.client.taken()), 200)
        self.assertEqual(self.conversation.records[-1].upstream, "127.0.0.1:9003")

    def test_all_refuse(self) -> None:
        """
        Each peer is tried once.
        """
        self.begin(peers=2)
        self.client.says(GET)
        self.conversation.refuse()
        self.conversation.refuse(TimeoutError)
        self.assertEqual(status(self.client.taken()), 504)
        self.assertEqual(len(self.conversation.attempts), 2)

    def test_stale_connection(self) -> None:
        """
        A connection that had rested and dies without an answer: once more, on a fresh one.
        """
        self.begin(peers=2)
        server = self.warm()
        self.conversation.upstream._balance = lambda peers, request, tried: peers[0]
        self.client.says(GET)
        self.assertTrue(server.taken())
        server.leaves()
        self.assertEqual(self.conversation.attempts, [9001, 9001])
        fresh = self.conversation.accept()
        self.assertTrue(fresh.taken().startswith(b"GET / "))
        fresh.says(OK)
        self.assertEqual(status(self.client.taken()), 200)
        self.assertEqual(self.conversation.upstream.stale, 1)
        self.assertEqual(self.conversation.peers[0].failures, 0)

    def test_only_once(self) -> None:
        """
        The fresh connection's failure is the answer.
        """
        self.begin()
        server = self.warm()
        self.client.says(GET)
        server.leaves()
        self.conversation.accept().leaves()
        self.assertEqual(status(self.client.taken()), 502)
        self.assertEqual(len(self.conversation.attempts), 2)

    def test_fresh_connection(self) -> None:
        """
        A fresh connection that dies has shown that the server is at fault: another one is asked, and only one.
        """
        self.begin(peers=3)
        self.asks().leaves()
        self.assertEqual(self.client.taken(), b"")
        self.conversation.accept().leaves()
        self.assertEqual(status(self.client.taken()), 502)
        self.assertEqual(len(self.conversation.attempts), 2)
        self.assertEqual([peer.failures for peer in self.conversation.peers], [1, 1, 0])

    def test_after_the_first_byte(self) -> None:
        """
        Once any byte of an answer has come, nothing is sent again.
        """
        self.begin()
        server = self.warm()
        self.client.says(GET)
        server.says(b"H")
        server.leaves()
        self.assertEqual(status(self.client.taken()), 502)
        self.assertEqual(len(self.conversation.attempts), 1)

    def test_no_post_twice(self) -> None:
        """
        A request that is not idempotent is not sent again.
        """
        for method in (b"POST", b"PATCH"):
            self.begin()
            server = self.warm()
            self.client.says(UPLOAD.replace(b"POST", method) + b"hello")
            server.leaves()
            self.assertEqual(status(self.client.taken()), 502, method)
            self.assertEqual(len(self.conversation.attempts), 1)
        self.begin()
        server = self.warm()
        self.client.says(GET.replace(b"GET", b"POST"))
        server.leaves()
        self.assertEqual(status(self.client.taken()), 502)

    def test_left_out(self) -> None:
        """
        A peer that refuses again and again is no longer asked first.
        """
        self.begin(peers=2)
        answered = 0
        for _ in range(20):
            self.client.says(GET)
            if self.conversation.attempts and self.conversation.attempts[-1] == 9001:
                self.conversation.refuse()
            if len(self.conversation.accepted) == 0:
                self.conversation.accept()
            self.conversation.accepted[-1].says(OK)
            answered += status(self.client.taken()) == 200
        self.assertEqual(answered, 20)
        self.assertEqual(self.conversation.attempts.count(9001), 5)


class AbortTests(ProxyCase):
    """
    A client that is gone has its request stopped.
    """

    def test_while_waiting(self) -> None:
        """
        The server's connection is cut, so that it stops working; it is not blamed.
        """
        self.begin()
        server = self.asks()
        self.client.leaves()
        self.assertTrue(server.aborted)
        server.leaves()
        self.assertEqual(self.conversation.records[-1].status, 499)
        self.assertEqual(self.conversation.peers[0].failures, 0)

    def test_while_connecting(self) -> None:
        """
        The attempt is given up, and no other is made.
        """
        self.begin(peers=2)
        self.client.says(GET)
        self.client.leaves()
        self.assertTrue(self.conversation.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(len(self.conversation.attempts), 1)
        self.assertEqual(self.conversation.peers[0].failures, 0)
        self.assertEqual(self.reason(), "client_disconnected")

    def test_within_the_answer(self) -> None:
        """
        In the middle of an answer too.
        """
        self.begin()
        server = self.asks()
        server.says(OK[:-1])
        self.client.leaves()
        self.assertTrue(server.aborted)

    def test_after_the_answer(self) -> None:
        """
        After the answer, the server's connection is kept.
        """
        self.begin()
        server = self.warm()
        self.client.leaves()
        self.assertFalse(server.gone)
        self.assertEqual(self.conversation.upstream.resting, 1)

    def test_nothing_left(self) -> None:
        """
        When all is over, no clock runs.
        """
        self.begin()
        server = self.asks()
        self.client.leaves()
        server.leaves(ConnectionDone)
        self.assertEqual(len(self.conversation.ticker), 0)
        self.assertEqual(self.conversation.reactor.getDelayedCalls(), [])


class UpgradeTests(ProxyCase):
    """
    WebSocket, and whatever else upgrades, needs no setting.
    """

    def upgraded(self) -> Wire:
        """
        A tunnel.
        """
        self.begin()
        server = self.asks(UPGRADE)
        self.assertIn(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", self.sent)
        server.says(SWITCH + b"\x81\x01a")
        return server

    def test_tunnel(self) -> None:
        """
        After the 101, bytes go both ways, those that came with it included.
        """
        server = self.upgraded()
        data = self.client.taken()
        self.assertEqual(status(data), 101)
        self.assertIn(b"Upgrade: websocket", fields(data))
        self.assertEqual(body(data), b"\x81\x01a")
        self.client.says(b"ping")
        self.assertEqual(server.taken(), b"ping")
        server.says(b"pong")
        self.assertEqual(self.client.taken(), b"pong")

    def test_counts_as_success(self) -> None:
        """
        A server that upgrades connections has not failed so many times in a row, whatever was in between.
        """
        self.begin()
        (peer,) = self.conversation.peers
        peer.failures = 4
        self.asks(UPGRADE).says(SWITCH)
        self.assertEqual(peer.failures, 0)

    def test_counted(self) -> None:
        """
        The listener knows of the tunnel for as long as one side is there, and whose it is.
        """
        crowd, client = Crowd(), IPv4Address("TCP", "10.0.0.1", 1)
        self.begin()
        self.conversation.listener.connections = crowd
        self.assertEqual(crowd.count(client), 0)
        server = self.asks(UPGRADE)
        server.says(SWITCH)
        self.assertEqual((len(crowd), crowd.count(client)), (1, 1))
        self.client.leaves()
        self.assertEqual(len(crowd), 1)
        server.leaves()
        self.assertEqual((len(crowd), crowd.count(client)), (0, 0))

    def test_sent_too_early(self) -> None:
        """
        What the client sent before the 101 reaches the server after it.
        """
        self.begin()
        server = self.asks(UPGRADE + b"early")
        self.assertNotIn(b"early", self.sent)
        server.says(SWITCH)
        self.assertEqual(server.taken(), b"early")

    def test_end(self) -> None:
        """
        When one side is gone, so is the other.
        """
        server = self.upgraded()
        self.client.leaves()
        self.assertTrue(server.gone)
        server = self.upgraded()
        server.leaves()
        self.assertTrue(self.client.gone)

    def test_declined(self) -> None:
        """
        A server that does not upgrade is heard, and both connections go on.
        """
        self.begin()
        server = self.asks(UPGRADE)
        server.says(OK)
        self.assertEqual(status(self.client.taken()), 200)
        self.client.says(GET)
        server.says(OK)
        self.assertEqual(status(self.client.taken()), 200)

    def test_to_something_else(self) -> None:
        """
        A server that upgrades to what was not asked for.
        """
        self.begin()
        server = self.asks(UPGRADE)
        server.says(SWITCH.replace(b"websocket", b"h2c"))
        self.assertEqual(status(self.client.taken()), 502)
        self.assertTrue(server.aborted)


class CallBudgetTests(ProxyCase):
    """
    What a proxied GET over kept-alive connections costs, counted in Python calls, so that speed cannot rot unseen.
    """

    #: Files of the way to the upstream and back; the channel's own are counted elsewhere.
    OURS = (
        "/client.py",
        "/response_parser.py",
        "/exchange.py",
        "/proxy.py",
        "/forwarding.py",
        "/pool.py",
        "/round_robin.py",
    )

    def test_budget(self) -> None:
        """
        26 calls and one per field of the answer; no Deferred.
        """
        self.begin(peers=2)
        calls: list[str] = []

        def count(frame: Any, event: str, argument: Any) -> None:
            if event == "call":
                calls.append(frame.f_code.co_filename)

        for _ in range(2):
            self.client.says(GET)
            server = self.conversation.accept()
            server.says(OK)
        servers = self.conversation.accepted
        sys.setprofile(count)
        try:
            self.client.says(GET)
            servers[0].says(b"HTTP/1.1 200 OK\r\nDate: x\r\nServer: y\r\nX: z\r\nContent-Length: 2\r\n\r\nok")
        finally:
            sys.setprofile(None)
        ours = [name for name in calls if name.endswith(self.OURS)]
        self.assertLessEqual(len(ours), 26 + 4)
        self.assertEqual([name for name in calls if name.endswith("/defer.py")], [])
        self.assertEqual(len(self.conversation.records), 3)
