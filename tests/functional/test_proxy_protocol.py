"""
Behind HAProxy and nginx that speak the PROXY protocol, and more clients than there is room for.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from contextlib import ExitStack, closing
from pathlib import Path

import trustme

from tests.functional.peers import PeerTestCase, Running, free_port, program

#: Where our client connects from; the proxies connect from 127.0.0.1.
CLIENT = "127.0.0.5"

#: The name of each port that HAProxy listens on, and how it goes on from there; ``tls`` in the middle ends TLS itself.
HAPROXY_SERVERS = {
    "v1": "{site} send-proxy",
    "v2": "{site} send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 100ms check-send-proxy",
    "tls": "{site} send-proxy-v2 proxy-v2-options ssl,ssl-cipher,authority",
    "tls_behind": "{secure} send-proxy-v2",
    "stream": "{stream} send-proxy-v2",
    "without": "{site}",
}

HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
"""

NGINX = """
{module}
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 64; }}
stream {{
    server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{site}; proxy_protocol on; }}
}}
"""

SITE = """
[log]
access = "stdout"

[listener.site]
endpoint = "tcp:{site}:interface=127.0.0.1"
proxy_protocol = ["127.0.0.1"]

[listener.secure]
endpoint = "tcp:{secure}:interface=127.0.0.1"
proxy_protocol = ["127.0.0.1"]

[listener.stream]
endpoint = "tcp:{stream}:interface=127.0.0.1"
proxy_protocol = ["127.0.0.1"]

[[site]]
listen = ["site"]
listen_tls = ["secure"]
tls = {{ certificates = [{{ cert = "cert.pem", key = "key.pem" }}] }}

    [[site.route]]
    respond = {{ body = \"\"\"{{client}} {{scheme}} {{proxy_protocol.server_port}} {{proxy_protocol.authority}} \
{{proxy_protocol.ssl_version}} {{proxy_protocol.unique_id}}\"\"\" }}

[upstream.echo]
servers = ["127.0.0.1:{echo}"]

[[stream]]
listen = ["stream"]
upstream = "echo"
"""

ECHO = """
import socketserver, sys

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


class ProxiedTestCase(PeerTestCase):
    """
    twistginx on three ports where only 127.0.0.1 may connect, and must say for whom.
    """

    def serve(self, *options: str) -> Running:
        """
        Start it.
        """
        names = ("site", "secure", "stream", "echo")
        self.ports = {name: free_port() for name in names}
        authority = trustme.CA()
        issued = authority.issue_cert("a.test")
        (self.directory / "cert.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.directory / "key.pem")
        issued.private_key_and_cert_chain_pem.write_to_path(self.directory / "both.pem")
        self.context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        self.start_python(ECHO, self.ports["echo"])
        return self.twistginx(SITE.format_map(self.ports), *map(self.ports.__getitem__, names[:3]), options=options)

    def connect(self, port: int, tls: bool = False) -> socket.socket:
        """
        A client's connection.
        """
        sock = socket.create_connection(("127.0.0.1", port), 20, (CLIENT, 0))
        self.addCleanup(sock.close)
        if not tls:
            return sock
        secured = self.context.wrap_socket(sock, server_hostname="a.test")
        self.addCleanup(secured.close)
        return secured

    def ask(self, port: int, tls: bool = False) -> list[str]:
        """
        What the site says, word by word, twice over one connection.
        """
        answers = []
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.sock = self.connect(port, tls)
        with closing(connection):
            for _ in range(2):
                connection.request("GET", "/", headers={"Host": "a.test"})
                response = connection.getresponse()
                self.assertEqual(response.status, 200)
                answers.append(response.read().decode().split(" "))
        self.assertEqual(answers[0], answers[1])
        return answers[0]


class HAProxyTests(ProxiedTestCase):
    """
    HAProxy in front.
    """

    def haproxy(self) -> dict[str, int]:
        """
        Start HAProxy, and return its ports.
        """
        ports = {name: free_port() for name in HAPROXY_SERVERS}
        addresses = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        text = HAPROXY
        for name, server in HAPROXY_SERVERS.items():
            crypt = f" ssl crt {self.directory}/both.pem" if name == "tls" else ""
            text += f"\nlisten {name}\n    bind 127.0.0.1:{ports[name]}{crypt}\n"
            if "unique-id" in server:
                text += "    unique-id-format id-%pid\n"
            text += f"    server {name} {server.format_map(addresses)}\n"
        config = self.directory / "haproxy.cfg"
        config.write_text(text)
        self.start(program("haproxy"), "-db", "-f", str(config), port=ports["v1"])
        return ports

    def everything(self, *options: str) -> None:
        """
        Both versions, in front of HTTP, of TLS, and of a raw stream.
        """
        program("haproxy")
        server = self.serve(*options)
        ports = self.haproxy()
        self.assertEqual(self.ask(ports["v1"]), [CLIENT, "http", str(ports["v1"]), "", "", ""])
        client, scheme, port, _, _, unique = self.ask(ports["v2"])
        self.assertEqual((client, scheme, port), (CLIENT, "http", str(ports["v2"])))
        self.assertRegex(unique, r"^id-\d+$")
        self.assertEqual(
            self.ask(ports["tls"], tls=True), [CLIENT, "https", str(ports["tls"]), "a.test", "TLSv1.3", ""]
        )
        self.assertEqual(
            self.ask(ports["tls_behind"], tls=True), [CLIENT, "https", str(ports["tls_behind"]), "", "", ""]
        )
        with self.connect(ports["stream"]) as stream:
            stream.sendall(b"hello")
            self.assertEqual(stream.recv(100), b"hello")
        # The health checks of the second (LOCAL) have gone by without a word.
        self.assertNotIn("turned away", server.output())
        with self.connect(ports["without"]) as wrong:
            wrong.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            self.assertEqual(_read(wrong), b"")
        server.wait_for(lambda: "does not begin with a PROXY header" in server.output(), "the refusal in the log")
        with self.connect(self.ports["site"]) as stranger:
            stranger.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            self.assertEqual(_read(stranger), b"")
        server.wait_for(lambda: "not one of those in proxy_protocol" in server.output(), "the refusal in the log")
        server.wait_for(lambda: f"{CLIENT} - - [" in server.output(), "the client in the access log")

    def test_our_reactor(self) -> None:
        """
        The client is known by its address, and what HAProxy says of it can be used; others are cut off, and said to be.
        """
        self.everything()

    def test_epoll(self) -> None:
        """
        The same on Twisted's own reactor.
        """
        self.everything("--reactor=epoll")


class NginxTests(ProxiedTestCase):
    """
    nginx's stream module in front.
    """

    def test_version_1(self) -> None:
        """
        The client is known by its address.
        """
        nginx = program("nginx")
        self.serve()
        port = free_port()
        found = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        self.directory.chmod(0o755)
        config = self.directory / "nginx.conf"
        module = f"load_module {found};" if found.exists() else ""
        config.write_text(
            NGINX.format(module=module, directory=self.directory, port=port, site=self.ports["site"]),
        )
        error_log = str(self.directory / "error.log")
        self.start(nginx, "-p", str(self.directory), "-e", error_log, "-c", str(config), port=port)
        self.assertEqual(self.ask(port), [CLIENT, "http", str(port), "", "", ""])


LIMITED = """
[log]
access = "off"

[listener.small]
endpoint = "tcp:{port}:interface=127.0.0.1"
limits = {{ connections = 5 }}

[[site]]
listen = ["small"]

    [[site.route]]
    respond = {{ body = "ok" }}
"""


class TooManyTests(PeerTestCase):
    """
    A client too many.
    """

    def crowd(self, *options: str) -> None:
        """
        More clients than there is room for, which ask before or after they were turned away.
        """
        port = free_port()
        server = self.twistginx(LIMITED.format(port=port), port, options=options)
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        with ExitStack() as stack:

            def connect() -> socket.socket:
                return stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))

            served: list[socket.socket] = []

            def is_served() -> bool:
                sock = connect()
                sock.sendall(request)
                if not sock.recv(4096).startswith(b"HTTP/1.1 200 "):
                    return False
                served.append(sock)
                return True

            for _ in range(5):  # who has looked whether the server is up may still be going
                server.wait_for(is_served, "room for a client")
            for asks_first in (True, False):
                more = connect()
                if asks_first:
                    more.sendall(request)
                answer = _read(more, finish=False)
                if not asks_first:
                    more.sendall(request)
                self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
                self.assertTrue(answer.endswith(b"try again in a few seconds.\n"), answer)
                more.close()
            served[0].sendall(request)
            self.assertTrue(served[0].recv(4096).startswith(b"HTTP/1.1 200 "))
        self.assertIn("limits.connections = 5 is reached", server.output())

    def test_our_reactor(self) -> None:
        """
        Each reads a whole 503, and those who are being served do not notice.
        """
        self.crowd()

    def test_epoll(self) -> None:
        """
        The same on Twisted's own reactor.
        """
        self.crowd("--reactor=epoll")


def _read(sock: socket.socket, finish: bool = True) -> bytes:
    """
    All that comes, until the end or, with ``finish``, a reset.
    """
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        if not finish:
            raise
    return data
