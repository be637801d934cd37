"""
twistginx among the programs that people use: each test starts a real server behind it, or a real client before it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import trustme

from tests.functional.peers import PeerTestCase, free_port, module, program, python_environment, unprivileged

ETC = Path(__file__).parent.parent.parent / "etc"

LOG = '[log]\naccess = "stdout"\n'


def proxy_config(port: int, *servers: str) -> str:
    """
    A site that sends everything to C{servers}.
    """
    return f"""{LOG}
[upstream.app]
servers = {json.dumps(servers)}

[[site]]
listen = ["tcp:{port}:interface=127.0.0.1"]

    [[site.route]]
    proxy = {{ upstream = "app" }}
"""


def stream_config(port: int, *servers: str) -> str:
    """
    A raw TCP listener in front of C{servers}.
    """
    return f"""{LOG}
[upstream.db]
servers = {json.dumps(servers)}

[[stream]]
listen = ["tcp:{port}:interface=127.0.0.1"]
upstream = "db"
"""


WSGI = '''
import hashlib, json

def application(environ, start_response):
    """
    /upload: the digest of the body.  /download: 3 MiB.  Else: what was asked.
    """
    path = environ["PATH_INFO"]
    if path == "/upload":
        digest, length = hashlib.sha256(), 0
        while data := environ["wsgi.input"].read(65536):
            digest.update(data)
            length += len(data)
        answer = json.dumps([length, digest.hexdigest()]).encode()
    elif path == "/download":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (bytes([number]) * 65536 for number in range(48))
    else:
        asked = {name: value for name, value in environ.items() if isinstance(value, str)}
        answer = json.dumps(asked).encode()
    cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer))), *cookies])
    return [answer]
'''


class GunicornTests(PeerTestCase):
    """
    A WSGI application under gunicorn, behind twistginx.
    """

    def setUp(self) -> None:
        super().setUp()
        module("gunicorn")
        self.port, app = free_port(), free_port()
        (self.directory / "app.py").write_text(WSGI)
        arguments = ("--bind", f"127.0.0.1:{app}", "--worker-class", "gthread", "--threads", "4", "--no-control-socket")
        gunicorn = (sys.executable, "-m", "gunicorn", *arguments, "--worker-tmp-dir", str(self.directory), "app")
        self.start(*gunicorn, port=app, environment=python_environment())
        self.server = self.twistginx(proxy_config(self.port, f"127.0.0.1:{app}"), self.port)

    def connection(self) -> http.client.HTTPConnection:
        """
        A client's connection, closed when the test ends.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        return connection

    def test_request(self) -> None:
        """
        The application sees who asked for what by which name; the client sees each of its fields; the log has a line.
        """
        connection = self.connection()
        for number in range(3):
            connection.request("GET", f"/some/path?x={number}", headers={"Host": "example.com"})
            response = connection.getresponse()
            asked = json.load(response)
            self.assertEqual(response.status, 200)
            self.assertEqual(response.headers.get_all("Set-Cookie"), ["a=1", "b=2"])
            self.assertEqual((asked["PATH_INFO"], asked["QUERY_STRING"]), ("/some/path", f"x={number}"))
            self.assertEqual(asked["HTTP_X_FORWARDED_FOR"], "127.0.0.1")
            self.assertEqual(asked["HTTP_X_FORWARDED_PROTO"], "http")
            self.assertEqual(asked["HTTP_X_FORWARDED_HOST"], "example.com")
        self.server.wait_for(lambda: "/some/path?x=2" in self.server.output(), "a line in the access log")

    def test_upload(self) -> None:
        """
        A body of known length and one in chunks arrive whole.
        """
        body = os.urandom(3 * 1024 * 1024 + 17)
        expected = [len(body), hashlib.sha256(body).hexdigest()]
        connection = self.connection()
        connection.request("POST", "/upload", body)
        self.assertEqual(json.load(connection.getresponse()), expected)
        pieces = (body[start : start + 70000] for start in range(0, len(body), 70000))
        connection.request("POST", "/upload", pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(json.load(connection.getresponse()), expected)

    def test_download(self) -> None:
        """
        An answer in chunks arrives whole, to a client that is slow to begin to read as well.
        """
        connection = self.connection()
        connection.request("GET", "/download")
        response = connection.getresponse()
        self.assertEqual(response.read(), b"".join(bytes([number]) * 65536 for number in range(48)))


WEBSOCKET_SERVER = '''
import asyncio, sys
from websockets.asyncio.server import serve

async def echo(connection):
    """
    Say what path and protocol it was, then whatever is said.
    """
    await connection.send(connection.request.path)
    async for message in connection:
        await connection.send(message)

async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), subprotocols=["chat"], max_size=None) as server:
        await server.serve_forever()

asyncio.run(main())
'''


class WebSocketTests(PeerTestCase):
    """
    A WebSocket client and server by the package websockets, with twistginx in between and no setting for it.
    """

    def test_conversation(self) -> None:
        """
        Text, megabytes of binary, ping, subprotocol, compression and the closing handshake pass.
        """
        module("websockets")
        from websockets.sync.client import connect

        port, behind = free_port(), free_port()
        self.start_python(WEBSOCKET_SERVER, behind)
        self.twistginx(proxy_config(port, f"127.0.0.1:{behind}"), port)
        address = f"ws://127.0.0.1:{port}/chat/room?who=me"
        with connect(address, subprotocols=["chat"], max_size=None, close_timeout=10) as client:
            self.assertEqual(client.subprotocol, "chat")
            self.assertEqual(client.recv(20), "/chat/room?who=me")
            for message in ("hello", "", "x" * 100_000, os.urandom(2_000_000)):
                client.send(message)
                self.assertEqual(client.recv(20), message)
            self.assertTrue(client.ping().wait(20))
        self.assertEqual(client.close_code, 1000)

    def test_demo_echo(self) -> None:
        """
        The demo's own WebSocket satisfies a client that checks everything.
        """
        module("websockets")
        from websockets.sync.client import connect

        port = free_port()
        config = f"""{LOG}
[[site]]
listen = ["tcp:{port}:interface=127.0.0.1"]

    [[site.route]]
    app = "twistginx.demo:echo"
"""
        self.twistginx(config, port)
        with connect(f"ws://127.0.0.1:{port}/ws", compression=None, close_timeout=10) as client:
            for message in ("hello", b"\x00\xff", "x" * 60_000):
                client.send(message)
                self.assertEqual(client.recv(20), message)
            self.assertTrue(client.ping().wait(20))
        self.assertEqual(client.close_code, 1000)


class RedisTests(PeerTestCase):
    """
    Redis through the raw TCP proxy.
    """

    def setUp(self) -> None:
        super().setUp()
        self.port, behind, nobody = free_port(), free_port(), free_port()
        redis = (program("redis-server"), "--port", str(behind), "--bind", "127.0.0.1", "--save", "")
        self.start(*redis, "--dir", str(self.directory), port=behind)
        self.twistginx(stream_config(self.port, f"127.0.0.1:{nobody}", f"127.0.0.1:{behind}"), self.port)

    def test_redis_cli(self) -> None:
        """
        Redis' own client works, on every connection, although one of the two servers is not there.
        """
        client = (program("redis-cli"), "-p", str(self.port))
        for number in range(4):
            self.assertEqual(self.run_program(*client, "INCR", "visits").strip(), str(number + 1))

    def test_pipeline(self) -> None:
        """
        A pipeline of commands with large values comes back whole and in order; the end of what the client sends
        reaches Redis, and the end of what Redis sends reaches the client.
        """
        value = os.urandom(200_000)
        with closing(socket.create_connection(("127.0.0.1", self.port), 20)) as client:
            for number in range(10):
                key = b"key%d" % number
                client.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\n%b\r\n$%d\r\n%b\r\n" % (key, len(value), value))
                client.sendall(b"*2\r\n$3\r\nGET\r\n$4\r\n%b\r\n" % key)
                expected = b"+OK\r\n$%d\r\n%b\r\n" % (len(value), value)
                received = bytearray()
                while len(received) < len(expected) and (data := client.recv(65536)):
                    received += data
                self.assertEqual(bytes(received), expected)
            client.sendall(b"*1\r\n$4\r\nQUIT\r\n")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(100), b"+OK\r\n")
            self.assertEqual(client.recv(100), b"")


class PostgreSQLTests(PeerTestCase):
    """
    PostgreSQL and psql, with the raw TCP proxy in between.
    """

    def test_psql(self) -> None:
        """
        Queries, a large result and a large COPY pass unchanged.
        """
        initdb, postgres, psql = program("initdb"), program("postgres"), program("psql")
        data = self.directory / "data"
        data.mkdir()
        self.directory.chmod(0o755)
        become = unprivileged("postgres", data)
        port, behind = free_port(), free_port()
        self.run_program(
            *(*become, initdb, "--pgdata", str(data), "--username", "tester"),
            *("--auth", "trust", "--no-sync", "--no-locale", "--encoding", "UTF8"),
            timeout=60,
        )
        # runuser passes no signal on: we stop the postmaster itself, by the process id that it writes down.
        settings = [f"port={behind}", "listen_addresses=127.0.0.1", f"unix_socket_directories={data}", "fsync=off"]
        options = [part for setting in settings for part in ("-c", setting)]
        server = self.start(*become, postgres, "-D", str(data), *options, port=behind)
        if become:
            postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
            self.addCleanup(server.wait_for, lambda: not Path(f"/proc/{postmaster}").exists(), "the end")
            self.addCleanup(os.kill, postmaster, 2)
        self.twistginx(stream_config(port, f"127.0.0.1:{behind}"), port)

        def query(*commands: str) -> str:
            where = f"host=127.0.0.1 port={port} user=tester dbname=postgres sslmode=prefer"
            options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")
            return self.run_program(psql, where, *options, *(f"--command={each}" for each in commands), timeout=60)

        self.assertEqual(query("select 6 * 7").strip(), "42")
        self.assertEqual(query("select inet_server_port()").strip(), str(behind))
        rows = query("select n, repeat('x', 90) from generate_series(1, 20000) n").splitlines()
        self.assertEqual(len(rows), 20000)
        self.assertEqual(rows[-1], "20000|" + "x" * 90)
        (self.directory / "rows").write_text("".join(f"{number}\t{'y' * 50}\n" for number in range(20000)))
        query("create table t (n int, text text)", f"\\copy t from '{self.directory / 'rows'}'")
        self.assertEqual(query("select count(*), sum(length(text)) from t").strip(), "20000|1000000")


class CurlTests(PeerTestCase):
    """
    curl before a static site, with and without TLS.
    """

    def setUp(self) -> None:
        super().setUp()
        self.curl = program("curl")
        self.plain, self.secure, self.twisted = free_port(), free_port(), free_port()
        root = self.directory / "www"
        root.mkdir()
        self.content = os.urandom(300_000)
        (root / "file.bin").write_bytes(self.content)
        (root / "index.html").write_text("<h1>Welcome</h1>")
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(self.directory / "ca.pem")
        certificate.private_key_pem.write_to_path(self.directory / "site.key")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(self.directory / "site.crt", append=True)
        self.twistginx(
            f"""{LOG}
[[site]]
listen = [
    "tcp:{self.plain}:interface=127.0.0.1",
    "ssl:{self.twisted}:interface=127.0.0.1:privateKey=site.key:certKey=site.crt",
]
listen_tls = ["tcp:{self.secure}:interface=127.0.0.1"]
tls = {{ certificates = [{{ cert = "site.crt", key = "site.key" }}] }}

    [[site.route]]
    path = "/here"
    respond = {{ body = "{{scheme}} {{host}} {{uri}}" }}

    [[site.route]]
    static = {{ root = "www" }}
""",
            *(self.plain, self.secure, self.twisted),
        )
        self.addresses = (
            f"http://localhost:{self.plain}",
            f"https://localhost:{self.secure}",
            f"https://localhost:{self.twisted}",
        )

    def fetch(self, *arguments: str) -> str:
        """
        What curl prints.
        """
        options = ("--silent", "--show-error", "--ipv4", "--noproxy", "*", "--cacert", str(self.directory / "ca.pem"))
        return self.run_program(self.curl, *options, *arguments)

    def test_all(self) -> None:
        """
        One server for all that follows.
        """
        self.check_file()
        self.check_range_and_conditional()
        self.check_versions_of_tls()
        self.check_negotiated()
        self.check_two_requests_on_a_connection()

    def check_file(self) -> None:
        """
        The same bytes by every way, with the length and an entity tag; by HTTP/1.0 as well.
        """
        target = self.directory / "fetched"
        for address in self.addresses:
            for version in ("--http1.1", "--http1.0"):
                head = self.fetch(version, "-D", "-", "-o", str(target), f"{address}/file.bin")
                self.assertEqual(target.read_bytes(), self.content)
                self.assertRegex(head, r"HTTP/1\.[01] 200 ")
                self.assertRegex(head.lower(), r"content-length: 300000\r")
                self.assertIn("etag: ", head.lower())
            self.assertEqual(self.fetch(f"{address}/"), "<h1>Welcome</h1>")

    def check_range_and_conditional(self) -> None:
        """
        A part of a file, the rest of a download that was broken off, and nothing when nothing has changed.
        """
        target = self.directory / "fetched"
        for address in self.addresses:
            self.fetch("-r", "1000-1999", "-o", str(target), f"{address}/file.bin")
            self.assertEqual(target.read_bytes(), self.content[1000:2000])
            target.write_bytes(self.content[:12345])
            self.fetch("-C", "-", "-o", str(target), f"{address}/file.bin")
            self.assertEqual(target.read_bytes(), self.content)
            tags = self.directory / "etag"
            self.fetch("--etag-save", str(tags), "-o", str(target), f"{address}/file.bin")
            code = self.fetch(
                "--etag-compare", str(tags), "-o", "/dev/null", "-w", "%{http_code}", f"{address}/file.bin"
            )
            self.assertEqual(code, "304")

    def check_versions_of_tls(self) -> None:
        """
        TLS 1.2 and 1.3 are spoken; the site knows that it is spoken to by https.
        """
        for version, option in (("1.2", ("--tlsv1.2", "--tls-max", "1.2")), ("1.3", ("--tlsv1.3",))):
            said = self.fetch(*option, "--verbose", f"{self.addresses[1]}/here?x=1")
            self.assertEqual(said, "https localhost /here?x=1", version)
        self.assertEqual(self.fetch(f"{self.addresses[0]}/here"), "http localhost /here")
        self.assertEqual(self.fetch(f"{self.addresses[2]}/here"), "https localhost /here")

    def check_negotiated(self) -> None:
        """
        What was agreed: HTTP/1.1 by ALPN, and TLS 1.3 when the client can.
        """
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            closing(socket.create_connection(("127.0.0.1", self.secure), 20)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            self.assertEqual(secure.version(), "TLSv1.3")
            self.assertEqual(secure.selected_alpn_protocol(), "http/1.1")

    def check_two_requests_on_a_connection(self) -> None:
        """
        The second request uses the first one's connection.
        """
        for address in self.addresses:
            target = f"{address}/file.bin"
            counts = self.fetch("-w", "%{num_connects} ", "-o", "/dev/null", target, "-o", "/dev/null", target)
            self.assertEqual(counts.split(), ["1", "0"])


NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {directory}/www;
        location /gzip {{ alias {directory}/www; gzip on; gzip_min_length 0; gzip_types *; }}
        location /connection {{ return 200 $connection; }}
    }}
}}
"""


class NginxTests(PeerTestCase):
    """
    nginx as the server behind.
    """

    def test_files(self) -> None:
        """
        Files, ranges, conditional answers, chunks and errors come through as nginx gives them, over one connection
        that is kept open.
        """
        nginx = program("nginx")
        port, behind = free_port(), free_port()
        self.directory.chmod(0o755)
        root = self.directory / "www"
        root.mkdir()
        content = os.urandom(1_500_000)
        (root / "file.bin").write_bytes(content)
        (root / "page.txt").write_text("hello " * 1000)
        config = self.directory / "nginx.conf"
        config.write_text(NGINX.format(directory=self.directory, port=behind))
        error_log = str(self.directory / "error.log")
        self.start(nginx, "-p", str(self.directory), "-e", error_log, "-c", str(config), port=behind)
        self.twistginx(proxy_config(port, f"127.0.0.1:{behind}"), port)

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.addCleanup(connection.close)

        def ask(path: str, method: str = "GET", **fields: str) -> tuple[int, dict[str, str], bytes]:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

        status, head, body = ask("/file.bin")
        self.assertEqual((status, body), (200, content))
        self.assertEqual(ask("/file.bin", "HEAD")[1]["content-length"], str(len(content)))
        self.assertEqual(ask("/file.bin", Range="bytes=5-9")[::2], (206, content[5:10]))
        self.assertEqual(ask("/file.bin", If_None_Match=head["etag"])[::2], (304, b""))
        status, head, body = ask("/gzip/page.txt", Accept_Encoding="gzip")
        self.assertEqual((status, head["content-encoding"]), (200, "gzip"))
        self.assertEqual(ask("/nothing")[0], 404)
        self.assertEqual(ask("/file.bin", "DELETE")[0], 405)
        self.assertEqual(len({ask("/connection")[2] for _ in range(5)}), 1)


class ChromiumTests(PeerTestCase):
    """
    A browser that looks at the demo site.
    """

    def test_demo_page(self) -> None:
        """
        The page loads, its requests are balanced by weight over both servers, its WebSocket opens and answers, and
        nothing that it loads comes from anywhere else or fails.
        """
        browser = program("chromium", "chromium-browser", "google-chrome")
        module("websockets")
        site, port = self.demo_site()
        self.twistginx_file(site, port)
        page = Page(self, browser, f"http://127.0.0.1:{port}/")
        self.assertEqual(page.wait_for("document.body.dataset.seen"), "Balanced over one and two; WebSocket open.")
        self.assertEqual(page.evaluate("document.title"), "twistginx: it works")
        # The WebSocket has taken a turn as well.
        counts = re.findall(
            r"one: (\d+), two: (\d+)", str(page.evaluate("document.getElementById('count').textContent"))
        )
        ((one, two),) = [tuple(map(int, each)) for each in counts]
        self.assertEqual(one + two, 12)
        self.assertIn(one, (3, 4, 5))
        self.assertIn("\u2190 hello, twistginx", page.evaluate("document.getElementById('talk').textContent"))
        self.assertEqual(page.evaluate("JSON.parse(document.getElementById('answer').textContent).path"), "/hello")
        loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
        self.assertEqual([name for name in loaded if not name.startswith((f"http://127.0.0.1:{port}/", "data:"))], [])

    def test_links(self) -> None:
        """
        Every address that the page offers answers as the page says.
        """
        site, port = self.demo_site()
        self.twistginx_file(site, port)
        offered = re.findall(r'<a href="([^"]*)">', (ETC / "demo" / "index.html").read_text("utf-8"))
        expected = dict.fromkeys(offered, 200) | {"/home": 302, "/nothing/here": 404, "/broken": 502, "/rescued": 502}
        self.assertTrue(set(offered) <= set(expected) and len(offered) >= 5)
        for path, status in expected.items():
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                connection.request("GET", path)
                self.assertEqual(connection.getresponse().status, status, path)

    def demo_site(self) -> tuple[Path, int]:
        """
        The site that C{make run} serves, on ports that are free.
        """
        shutil.copytree(ETC, self.directory / "etc", ignore=shutil.ignore_patterns("logs"))
        site = self.directory / "etc" / "site.toml"
        ports = {text: str(free_port()) for text in ("8080", "8081", "8082", "8090")}
        site.write_text(re.sub(r"\b80(80|81|82|90)\b", lambda match: ports[match[0]], site.read_text("utf-8")))
        return site, int(ports["8080"])


class Page:
    """
    One page in a headless Chromium, spoken to by the DevTools protocol.
    """

    OPTIONS = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-proxy-server",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-sync",
        "--remote-debugging-port=0",
    )

    def __init__(self, test: PeerTestCase, browser: str, address: str) -> None:
        from websockets.sync.client import connect

        profile = test.directory / "profile"
        running = self._browser = test.start(browser, *self.OPTIONS, f"--user-data-dir={profile}", address)
        # The browser writes down where it listens.
        where = profile / "DevToolsActivePort"
        running.wait_for(lambda: where.exists() and where.read_text().count("\n") >= 1, "DevToolsActivePort")
        port = int(where.read_text().split()[0])
        pages: list[dict[str, str]] = []

        def find() -> list[dict[str, str]]:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                connection.request("GET", "/json/list")
                pages[:] = [each for each in json.load(connection.getresponse()) if each["url"] == address]
            return pages

        running.wait_for(find, f"a page at {address}")
        self._socket = connect(pages[0]["webSocketDebuggerUrl"], max_size=None)
        test.addCleanup(self._socket.close)
        self._number = 0

    def wait_for(self, expression: str) -> object:
        """
        The value of an expression, once it has one that is true.
        """
        found: list[object] = []

        def look() -> object:
            # While the page is being loaded, it may not answer at all.
            answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
            found[:] = [answer.get("result", {}).get("result", {}).get("value")]
            return found[0]

        self._browser.wait_for(look, expression)
        return found[0]

    def evaluate(self, expression: str) -> object:
        """
        The value of an expression of JavaScript.
        """
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        value = answer.get("result", {}).get("result", {})
        if "value" not in value:
            raise AssertionError(f"{expression}: {answer}")
        return value["value"]

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer: dict[str, Any] = json.loads(self._socket.recv(30))
            if answer.get("id") == self._number:
                return answer
