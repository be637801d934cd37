"""
What ``[listener.NAME]`` and ``[process]`` say of connections, from the TOML to the bytes.
"""

from __future__ import annotations

import ssl
from typing import Any

import trustme
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from twistginx.errors import ConfigError
from twistginx.http.farewell import AT_ONCE, PATIENCE
from twistginx.testing import Connection, MemoryServer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

CLIENT = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n"


class Whoami(Resource):
    """
    Somebody's resource of twisted.web, which asks in Twisted's ways who is there.
    """

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        client, host = request.getClientAddress(), request.getHost()
        return f"{client.host}:{client.port} {host.host}:{host.port} {request.isSecure()}".encode()


class ListenerTestCase(SynchronousTestCase):
    """
    A server in memory, which must leave nothing behind.
    """

    def serve(self, config: str, **options: Any) -> MemoryServer:
        server = MemoryServer(config, **options)
        self.addCleanup(server.close)
        return server

    def body(self, answer: bytes) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), answer)
        return body


class ProxyProtocolTests(ListenerTestCase):
    """
    ``proxy_protocol``.
    """

    CONFIG = """
        [listener.edge]
        endpoint = "tcp:80"
        proxy_protocol = ["127.0.0.0/8", "unix"]

        [[site]]
        listen = "edge"
        trusted_proxies = ["192.0.2.99"]

            [[site.route]]
            path = "/app"
            app = "tests.test_listeners:Whoami"

            [[site.route]]
            path = "/proxied"
            proxy = "http://127.0.0.1:9001"

            [[site.route]]
            respond = { body = "{client} {scheme} [{proxy_protocol.authority}] [{proxy_protocol.tlv_0xE0}]" }
    """

    def test_client(self) -> None:
        """
        The address in the header is the client's, for every request of the connection.
        """
        client = self.serve(self.CONFIG).connect()
        client.send(CLIENT + GET, cut=7)
        self.assertEqual(self.body(client.take()), b"192.0.2.7 http [] []")
        client.send(GET)
        self.assertEqual(self.body(client.take()), b"192.0.2.7 http [] []")

    def test_own_address(self) -> None:
        """
        With UNKNOWN, the proxy speaks for itself.
        """
        client = self.serve(self.CONFIG).connect(peer="127.0.0.3")
        client.send(b"PROXY UNKNOWN\r\n" + GET)
        self.assertEqual(self.body(client.take()), b"127.0.0.3 http [] []")

    def test_twisted(self) -> None:
        """
        An application on twisted.web sees the client, and where that has connected to.
        """
        client = self.serve(self.CONFIG).connect()
        client.send(CLIENT + GET.replace(b"/ ", b"/app "))
        self.assertEqual(self.body(client.take()), b"192.0.2.7:5000 192.0.2.1:443 False")

    def test_trusted_proxies(self) -> None:
        """
        ``trusted_proxies`` is asked about the address in the header: a chain of proxies may lead on from there.
        """
        server = self.serve(self.CONFIG)
        request = GET.replace(b"Host", b"X-Forwarded-For: 198.51.100.1\r\nHost")
        for source, expected in ((b"192.0.2.99", b"198.51.100.1 "), (b"192.0.2.98", b"192.0.2.98 ")):
            client = server.connect()
            client.send(CLIENT.replace(b"192.0.2.7", source) + request)
            self.assertTrue(self.body(client.take()).startswith(expected))

    def test_passed_on(self) -> None:
        """
        The upstream is told of the client, not of the proxy.
        """
        server = self.serve(self.CONFIG)
        client = server.connect()
        client.send(CLIENT + GET.replace(b"/ ", b"/proxied "))
        self.assertIn(b"\r\nX-Forwarded-For: 192.0.2.7\r\n", server.accept().take())

    def test_values(self) -> None:
        """
        What else the header says can stand in templates; a client that came to the proxy by TLS came by https.
        """
        tlvs = b"\x02\0\x05a.com" + b"\xe0\0\x04blue" + b"\x20\0\x05\x01\0\0\0\0"
        block = b"\xc0\0\x02\x07\xc0\0\x02\x01\x13\x88\x01\xbb" + tlvs
        client = self.serve(self.CONFIG).connect()
        client.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(block).to_bytes(2, "big") + block + GET)
        self.assertEqual(self.body(client.take()), b"192.0.2.7 https [a.com] [blue]")

    def test_refused(self) -> None:
        """
        Strangers get no connection; proxies without a header lose it.
        """
        server = self.serve(self.CONFIG)
        (listener,) = server.listeners.values()
        with capturedLogs() as logs:
            self.assertIsNone(listener.buildProtocol(IPv4Address("TCP", "192.0.2.7", 1)))
            self.assertIsNotNone(listener.buildProtocol(UNIXAddress(None)))
            client = server.connect()
            client.send(GET)
        self.assertTrue(client.transport.aborted)
        self.assertEqual(client.take(), b"")
        self.assertEqual(listener.refusals.counts, {"proxy_protocol_denied": 1, "proxy_protocol_error": 1})
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.info] * 2)

    def test_deadline(self) -> None:
        """
        ``timeouts.header`` is the header's time, and then the request's.
        """
        server = self.serve(self.CONFIG.replace("[[site]]", 'timeouts = { header = "2s" }\n[[site]]'))
        late, early = server.connect(), server.connect()
        server.advance(1.5)
        early.send(CLIENT)
        server.advance(1.0)
        self.assertEqual((late.closed, early.closed), (True, False))
        server.advance(1.5)
        self.assertTrue(early.closed)

    def test_reload(self) -> None:
        """
        A reload changes who must say what, for new connections.
        """
        server = self.serve(self.CONFIG)
        client = server.connect()
        client.send(CLIENT)
        server.load(self.CONFIG.replace('proxy_protocol = ["127.0.0.0/8", "unix"]', ""))
        client.send(GET)
        self.assertTrue(self.body(client.take()).startswith(b"192.0.2.7 "))
        self.assertTrue(self.body(server.get()).startswith(b"127.0.0.1 "))

    def test_stream(self) -> None:
        """
        A raw stream begins after the header.
        """
        server = self.serve("""
            [listener.db]
            endpoint = "tcp:5432"
            proxy_protocol = "127.0.0.1"
            [upstream.db]
            servers = ["127.0.0.1:5433"]
            [[stream]]
            listen = "db"
            upstream = "db"
        """)
        client = server.connect()
        self.assertEqual(server.connecting(), [])
        client.send(CLIENT + b"hello", cut=11)
        (connection,) = next(iter(server.listeners.values())).connections
        self.assertEqual((connection.client_ip, connection.proxy_header.source), (b"192.0.2.7", ("192.0.2.7", 5000)))
        upstream = server.accept()
        self.assertEqual(upstream.take(), b"hello")
        upstream.send(b"welcome")
        self.assertEqual(client.take(), b"welcome")
        upstream.close()

    def test_under_tls(self) -> None:
        """
        With ``listen_tls`` the header comes before the handshake.
        """
        authority = trustme.CA()
        issued = authority.issue_cert("a.test")
        files = {
            "cert.pem": b"".join(each.bytes() for each in issued.cert_chain_pems),
            "key.pem": issued.private_key_pem.bytes(),
        }
        config = self.CONFIG.replace('listen = "edge"', 'listen_tls = "edge"\ntls = { certificates = [CERT] }')
        server = self.serve(config.replace("CERT", '{ cert = "cert.pem", key = "key.pem" }'), files=files)
        client = server.connect()
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        tls = Secured(client, context, "a.test", CLIENT)
        self.assertEqual(self.body(tls.ask(GET)), b"192.0.2.7 https [] []")

    def test_config(self) -> None:
        """
        A list that admits nobody, and an endpoint that would read what comes first itself, are mistakes.
        """
        for old, new, said in (
            ('["127.0.0.0/8", "unix"]', "[]", "is empty, so that nobody could connect"),
            ('"tcp:80"', '"ssl:80:privateKey=k:certKey=c"', 'the layer that "ssl:" brings along'),
            ('"tcp:80"', '"haproxy:tcp:80"', 'the layer that "haproxy:" brings along'),
        ):
            error = self.assertRaises(ConfigError, MemoryServer, self.CONFIG.replace(old, new))
            self.assertIn(said, str(error))
            self.assertIn("listener.edge.proxy_protocol", str(error))


class Secured:
    """
    A client that speaks TLS, by OpenSSL alone.
    """

    def __init__(self, connection: Connection, context: ssl.SSLContext, name: str, before: bytes) -> None:
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._before = before
        self._until(self._tls.do_handshake)

    def ask(self, request: bytes) -> bytes:
        """
        The answer to a request.
        """
        self._tls.write(request)
        answer: bytes = self._until(lambda: self._tls.read(65536))
        return answer

    def _until(self, act: Any) -> Any:
        for _ in range(10):
            try:
                return act()
            except ssl.SSLWantReadError:
                self._flush()
        raise AssertionError("TLS does not come to an end")

    def _flush(self) -> None:
        self._connection.send(self._before + self._outgoing.read())
        self._before = b""
        self._incoming.write(self._connection.take())


class LimitTests(ListenerTestCase):
    """
    How many connections, and how many requests on each.
    """

    CONFIG = """
        [listener.edge]
        endpoint = "tcp:80"
        limits = { connections = 2, requests = 3 }

        [[site]]
        listen = "edge"

            [[site.route]]
            respond = { body = "ok" }
    """

    def test_connections(self) -> None:
        """
        A client too many is answered 503, before it has asked, and may read that in peace; then there is room again.
        """
        server = self.serve(self.CONFIG)
        first, _ = server.connect(), server.connect()
        with capturedLogs() as logs:
            third = server.connect()
        answer = third.take()
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n"), answer)
        for field in (b"Connection: close", b"Retry-After: 5", b"Content-Length: %d" % len(body)):
            self.assertIn(field, head.split(b"\r\n"))
        self.assertEqual((third.transport.half_closed, third.closed), (True, False))
        third.send(GET)
        self.assertEqual(third.take(), b"")
        self.assertIn("limits.connections = 2", str(logs))
        first.send(GET)
        self.assertEqual(self.body(first.take()), b"ok")
        server.advance(PATIENCE + 0.5)
        self.assertTrue(third.transport.aborted)
        first.close()
        self.assertEqual(self.body(server.get()), b"ok")

    def test_read_and_gone(self) -> None:
        """
        A client that closes after it has read the answer leaves nothing behind.
        """
        server = self.serve(self.CONFIG)
        _ = server.connect(), server.connect()
        server.connect().close()
        (listener,) = server.listeners.values()
        self.assertEqual((listener.leaving, listener.refusals.counts), (set(), {"connection_limit": 1}))

    def test_too_many_too_many(self) -> None:
        """
        Only so many are told; the others get no connection at all.
        """
        server = self.serve(self.CONFIG)
        _ = server.connect(), server.connect()
        told = [server.connect() for _ in range(AT_ONCE)]
        (listener,) = server.listeners.values()
        self.assertIsNone(listener.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        told[0].close()
        self.assertEqual(len(listener.leaving), AT_ONCE - 1)
        self.assertIsNotNone(listener.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))

    def test_process(self) -> None:
        """
        ``max_connections`` is for all listeners together; a stream just closes.
        """
        server = self.serve("""
            [process]
            max_connections = 2
            [[site]]
            listen = "tcp:80"
                [[site.route]]
                respond = { body = "ok" }
            [[stream]]
            listen = "tcp:81"
                [[stream.route]]
                proxy = "db"
            [upstream.db]
            servers = ["127.0.0.1:5433"]
        """)
        first, _ = server.connect("tcp:80"), server.connect("tcp:81")
        self.assertIsNone(server.listeners["tcp:81"].buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        self.assertIn(b" 503 ", server.connect("tcp:80").take())
        first.close()
        self.assertEqual(self.body(server.get()), b"ok")

    def test_requests(self) -> None:
        """
        The last request that a connection may make is answered with ``Connection: close``, and then it is closed.
        """
        client = self.serve(self.CONFIG).connect()
        for closes in (False, False, True):
            client.send(GET)
            answer = client.take()
            self.assertEqual(self.body(answer), b"ok")
            self.assertEqual((b"\r\nConnection: close\r\n" in answer, client.closed), (closes, closes))

    def test_pipelined_requests(self) -> None:
        """
        What is pipelined behind the last is not answered.
        """
        client = self.serve(self.CONFIG).connect()
        client.send(GET * 7)
        answer = client.take()
        self.assertEqual((answer.count(b"HTTP/1.1 200 "), answer.count(b"Connection: close")), (3, 1))
        # Ended so that the client can read the three.
        self.assertEqual((client.transport.half_closed, client.closed), (True, False))
