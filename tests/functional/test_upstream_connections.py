"""
How connections to servers are made: what a real nginx hears of them.
"""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing

import trustme

from tests.functional.peers import PeerTestCase, free_port, program

NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_timeout 20 20;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.key;
    ssl_client_certificate {directory}/ca.pem;
    ssl_session_cache shared:a:1m;
    server {{
        listen 127.0.0.1:{announced} proxy_protocol;
        listen 127.0.0.1:{both} ssl proxy_protocol;
        listen 127.0.0.1:{tls} ssl;
        listen 127.0.0.1:{plain};
        listen unix:{directory}/nginx.sock;
        ssl_verify_client optional;
        location / {{
            return 200 '{{"client": "$proxy_protocol_addr", "port": "$proxy_protocol_port", "from": "$remote_addr",
                "connection": $connection, "requests": $connection_requests, "name": "$ssl_server_name",
                "who": "$ssl_client_s_dn", "verified": "$ssl_client_verify", "resumed": "$ssl_session_reused"}}';
        }}
    }}
}}
"""

SITE = """
[log]
access = "off"

[upstream.v1]
servers = ["127.0.0.1:{announced}"]
proxy_protocol = "v1"
bind = "127.0.0.2"
health = {{ path = "/", interval = "100ms" }}

[upstream.v2]
servers = ["https://127.0.0.1:{both}"]
proxy_protocol = "v2"
tls = {{ server_name = "app.internal", ca = "ca.pem" }}
health = {{ connect = true, interval = "100ms" }}

[upstream.raw]
servers = ["127.0.0.1:{announced}"]
proxy_protocol = "v2"
health = {{ send = "GET / HTTP/1.0\\r\\n\\r\\n", expect = "^HTTP/1.1 200", interval = "100ms" }}

[upstream.tls]
servers = ["https://127.0.0.1:{tls}"]
tls = {{ server_name = "app.internal", ca = "ca.pem", client_cert = "client.pem" }}
max_requests = 1

[upstream.anonymous]
servers = ["https://127.0.0.1:{tls}"]
tls = {{ server_name = "app.internal", ca = "ca.pem" }}

[upstream.other]
servers = ["https://127.0.0.1:{tls}"]
tls = {{ server_name = "other.internal", ca = "ca.pem" }}

[upstream.stranger]
servers = ["https://127.0.0.1:{tls}"]
tls = {{ server_name = "app.internal" }}

[upstream.bound]
servers = ["127.0.0.1:{plain}"]
bind = "127.0.0.3"
warm = 3

[upstream.unix]
servers = ["unix:nginx.sock"]

[[site]]
listen = ["tcp:{site}:interface=127.0.0.1"]
trusted_proxies = ["127.0.0.9"]
routes
[[stream]]
listen = ["tcp:{stream}:interface=127.0.0.1"]
upstream = "raw"
"""

UPSTREAMS = ("v1", "v2", "tls", "anonymous", "other", "stranger", "bound", "unix")


class NginxTests(PeerTestCase):
    """
    nginx says what it sees.
    """

    def setUp(self) -> None:
        super().setUp()
        nginx = program("nginx")
        self.directory.chmod(0o755)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.directory / "ca.pem")
        server = authority.issue_cert("app.internal")
        server.private_key_pem.write_to_path(self.directory / "server.key")
        server.cert_chain_pems[0].write_to_path(self.directory / "server.pem")
        authority.issue_cert(
            "twistginx.internal", common_name="twistginx"
        ).private_key_and_cert_chain_pem.write_to_path(self.directory / "client.pem")
        names = ("announced", "both", "tls", "plain", "site", "stream")
        self.ports = {name: free_port() for name in names}
        config = self.directory / "nginx.conf"
        config.write_text(NGINX.format(directory=self.directory, **self.ports))
        prefix = str(self.directory)
        self.start(nginx, "-p", prefix, "-e", "stderr", "-c", str(config), port=self.ports["plain"])
        routes = "\n".join(f'[[site.route]]\npath = "/{name}"\nproxy = {{ upstream = "{name}" }}' for name in UPSTREAMS)
        site = SITE.format(**self.ports).replace("routes", routes)
        self.server = self.twistginx(site, self.ports["site"], self.ports["stream"])

    def connect(self, address: str = "127.0.0.1") -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["site"], 10, source_address=(address, 0))
        self.addCleanup(connection.close)
        return connection

    def ask(
        self, connection: http.client.HTTPConnection, upstream: str, status: int = 200, **fields: str
    ) -> dict[str, object]:
        """
        What nginx has seen; where it is not the answer, what the failure is called.
        """
        connection.request(
            "GET", f"/{upstream}", headers={name.replace("_", "-"): text for name, text in fields.items()}
        )
        response = connection.getresponse()
        body = response.read()
        self.assertEqual(response.status, status, (body, self.server.output()))
        seen: dict[str, object] = json.loads(body) if status == 200 else {"why": response.headers["Proxy-Status"]}
        return seen

    def test_all(self) -> None:
        """
        The PROXY protocol, with connections kept for one client alone; source addresses; names, authorities,
        certificates and sessions of TLS; UNIX sockets.
        """
        self.check_announced()
        self.check_tls()
        self.check_others()
        self.assertNotIn(" is down", self.server.output())
        self.assertNotIn("Traceback", self.server.output())

    def check_announced(self) -> None:
        for upstream, name in (("v1", ""), ("v2", "app.internal")):
            one, other = self.connect(), self.connect("127.0.0.4")
            first, again, second = self.ask(one, upstream), self.ask(one, upstream), self.ask(other, upstream)
            port = one.sock.getsockname()[1]
            self.assertEqual([first["client"], first["port"], first["name"]], ["127.0.0.1", str(port), name])
            self.assertEqual([again["client"], again["connection"]], ["127.0.0.1", first["connection"]])
            self.assertEqual((first["requests"], again["requests"]), (1, 2))
            self.assertEqual(second["client"], "127.0.0.4")
            self.assertNotEqual(second["connection"], first["connection"])
            self.assertEqual(first["from"], "127.0.0.2" if upstream == "v1" else "127.0.0.1")
            # One connection of a proxy has many clients: each of them is announced.
            proxy = self.connect("127.0.0.9")
            for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
                seen = self.ask(proxy, upstream, X_Forwarded_For=client)
                self.assertEqual([seen["client"], seen["port"]], [client, ""])
        with closing(socket.create_connection(("127.0.0.1", self.ports["stream"]), 10)) as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: stream.recv(4096), b""))
            self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["port"], str(stream.getsockname()[1]))

    def check_tls(self) -> None:
        client = self.connect()
        seen = [self.ask(client, "tls") for _ in range(3)]
        self.assertEqual({each["name"] for each in seen}, {"app.internal"})
        self.assertEqual({each["verified"] for each in seen}, {"SUCCESS"})
        self.assertIn("CN=twistginx", str(seen[0]["who"]))
        self.assertEqual([each["requests"] for each in seen], [1, 1, 1])
        self.assertEqual([each["resumed"] for each in seen], [".", "r", "r"])
        self.assertEqual(self.ask(client, "anonymous")["verified"], "NONE")
        for upstream in ("other", "stranger"):
            self.assertIn("tls_certificate_error", str(self.ask(client, upstream, 502)["why"]))

    def check_others(self) -> None:
        client = self.connect()
        self.assertEqual(self.ask(client, "bound")["from"], "127.0.0.3")
        self.assertEqual(self.ask(client, "unix")["from"], "unix:")
