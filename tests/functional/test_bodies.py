"""
Bodies in a real C{twistd}, with its threads and its disk: curl reads what was compressed, uploads are spooled, huge
directories are listed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
from contextlib import closing

from tests.functional.peers import PATIENCE, PeerTestCase, free_port, program

UPSTREAM = """
import hashlib, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(2):
            event = b"data: %d\\n\\n" % number
            self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(0 if number else 60)  # longer than anybody waits: the first event is there, or it is not
        self.wfile.write(b"0\\r\\n\\r\\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = hashlib.sha256(body).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        print("asked", flush=True)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

SITE = """
[log]
access = "off"

[[site]]
listen = "tcp:{port}:interface=127.0.0.1"

    [[site.route]]
    path = "/files"
    static = {{ alias = "www", listing = true }}
    compress = true

    [[site.route]]
    proxy = "http://127.0.0.1:{upstream}"
    compress = ["gzip"]
    spool = {{ memory = "16KiB", directory = "spool" }}
"""


class BodyTests(PeerTestCase):
    """
    One server, and what passes through it.
    """

    def test_bodies(self) -> None:
        """
        All of it, one after the other.
        """
        curl = program("curl")
        port, upstream = free_port(), free_port()
        (self.directory / "spool").mkdir()
        www = self.directory / "www"
        (www / "many").mkdir(parents=True)
        text = b"".join(b"%d: the same again, and %d\n" % (number, number * number) for number in range(60_000))
        (www / "big.txt").write_bytes(text)
        for number in range(3000):
            (www / "many" / f"{number}.txt").touch()
        self.start_python(UPSTREAM, upstream)
        self.twistginx(SITE.format(port=port, upstream=upstream), port)
        url = f"http://127.0.0.1:{port}"

        # Compressed in threads, from a file that is read in turns.
        got = self.directory / "got"
        self.run_program(curl, "-sf", "-H", "Accept-Encoding: gzip", "-o", str(got), f"{url}/files/big.txt")
        self.assertEqual(gzip.decompress(got.read_bytes()), text)
        self.assertLess(got.stat().st_size, len(text) / 2)

        # Listed in a thread.
        listed = json.loads(self.run_program(curl, "-sf", "-H", "Accept: application/json", f"{url}/files/many/"))
        self.assertEqual(len(listed["entries"]), 3000)
        page = self.run_program(curl, "-sf", "--compressed", f"{url}/files/many/?sort=size")
        self.assertEqual(page.count("</tr>"), 3002)

        # Spooled to a file without a name; as it is, and in chunks.
        body = os.urandom(3_000_000)
        (self.directory / "body").write_bytes(body)
        for more in ((), ("-H", "Transfer-Encoding: chunked")):
            answer = self.run_program(curl, "-sf", *more, "--data-binary", f"@{self.directory}/body", f"{url}/up")
            self.assertEqual(answer, hashlib.sha256(body).hexdigest())
        self.assertEqual(os.listdir(self.directory / "spool"), [])

        # An event is there before the next one is made.
        with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
            received = b""
            while b"Content-Encoding: gzip" not in received or not received.endswith(b"\x00\x00\xff\xff\r\n"):
                received += client.recv(65536)
