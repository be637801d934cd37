"""
Tests for L{twistginx.policies.send_file}.
"""

from __future__ import annotations

import gzip
import os

from zope.interface.verify import verifyObject

from tests.policies.answers import Answers
from tests.resources.serving import Answer
from twistginx.interfaces import IPolicyModule
from twistginx.policies import send_file
from twistginx.testing import MemoryServer

CONFIG = """
[[site]]
listen = "tcp:80"
[[site.route]]
send_file = { root = "protected", prefix = "/internal" }
headers = { set = { X-Ours = "1" } }
compress = "gzip"
proxy = "http://127.0.0.1:9001"
"""

FILES = {
    "protected/a b.pdf": b"0123456789",
    "protected/.hidden": b"hidden",
    "protected/large.txt": b"large " * 20000,
    "secret": b"secret",
}


class SendFileTests(Answers):
    """
    Files that an application names.
    """

    def setUp(self) -> None:
        self.server = MemoryServer(CONFIG, FILES)
        self.addCleanup(self.server.close)
        os.symlink("../secret", self.server.directory / "protected" / "link")

    def answered(self, said: str, asks: str = "", method: str = "GET", status: str = "200 OK") -> Answer:
        """
        What the client gets where the application says C{said}.
        """
        client = self.server.connect()
        client.send(f"{method} /x HTTP/1.1\r\nHost: a\r\n{asks}\r\n".encode())
        upstream = self.server.accept()
        upstream.take()
        upstream.send(f"HTTP/1.1 {status}\r\nConnection: close\r\n{said}Content-Length: 0\r\n\r\n".encode())
        answer = Answer(client.take())
        client.close()
        return answer

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, send_file)

    def test_sent(self) -> None:
        """
        The file, with what the application says of it; what it says of its own body goes.
        """
        answer = self.answered(
            'X-Accel-Redirect: /internal/a%20b.pdf?x\r\nContent-Type: application/x-mine\r\nETag: "its"\r\n'
            "Content-Disposition: attachment\r\nSet-Cookie: a=1\r\nCache-Control: private\r\n",
        )
        self.assertEqual((answer.status, answer.body), (200, b"0123456789"))
        self.assertEqual(answer[b"Content-Type"], b"application/x-mine")
        self.assertEqual((answer[b"Content-Disposition"], answer[b"Set-Cookie"]), (b"attachment", b"a=1"))
        self.assertEqual((answer[b"Cache-Control"], answer[b"X-Ours"]), (b"private", b"1"))
        self.assertNotEqual(answer[b"ETag"], b'"its"')
        self.assertIsNone(answer[b"X-Accel-Redirect"])
        self.assertEqual(answer[b"Content-Length"], b"10")

    def test_by_its_place(self) -> None:
        """
        Or by its path in the file system.
        """
        answer = self.answered(f"X-Sendfile: {self.server.directory}/protected/a b.pdf\r\n")
        self.assertEqual((answer.body, answer[b"Content-Type"]), (b"0123456789", b"application/pdf"))
        self.assertIsNone(answer[b"X-Sendfile"])

    def test_selected(self) -> None:
        """
        Parts and conditions are of the file.
        """
        said = "X-Accel-Redirect: /internal/a b.pdf\r\nContent-Type: a/b\r\n"
        part = self.answered(said, "Range: bytes=2-3\r\n")
        self.assertEqual((part.status, part.body, part[b"Content-Range"]), (206, b"23", b"bytes 2-3/10"))
        self.assertEqual(part[b"Content-Type"], b"a/b")
        parts = self.answered(said, "Range: bytes=0-0,2-2\r\n")
        self.assertTrue((parts[b"Content-Type"] or b"").startswith(b"multipart/byteranges"))
        tag = (part[b"ETag"] or b"").decode()
        same = self.answered(said, f"If-None-Match: {tag}\r\n")
        self.assertEqual((same.status, same[b"Content-Type"]), (304, None))
        self.assertEqual(self.answered(said, 'If-Match: "other"\r\n').status, 412)
        self.assertEqual(self.answered(said, "Range: bytes=10-\r\n").status, 416)
        head = self.answered(said, method="HEAD")
        self.assertEqual((head.status, head[b"Content-Length"], head.body), (200, b"10", b""))
        posted = self.answered(said, "Content-Length: 0\r\nRange: bytes=2-3\r\n", method="POST", status="201 Made")
        self.assertEqual((posted.status, posted.body), (201, b"0123456789"))

    def test_other_policies(self) -> None:
        """
        The file is an answer like any other.
        """
        client = self.server.connect()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        upstream = self.server.accept()
        upstream.send(b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /internal/large.txt\r\nContent-Length: 0\r\n\r\n")
        answer = Answer(client.take())
        self.assertEqual(gzip.decompress(answer.body), FILES["protected/large.txt"])

    def test_application_decides(self) -> None:
        """
        What it does not name is what it says itself, and it may name what begins with a dot.
        """
        self.assertEqual(self.answered("X-Other: 1\r\n").body, b"")
        self.assertEqual(self.answered("X-Accel-Redirect: /internal/.hidden\r\n").body, b"hidden")

    def test_nothing_else(self) -> None:
        """
        Nothing that is not beneath the root.
        """
        directory = self.server.directory
        for field, status in (
            ("X-Accel-Redirect: /internal/../secret", 404),
            ("X-Accel-Redirect: /internal/%2e%2e/secret", 404),
            ("X-Accel-Redirect: /internal/link", 403),
            ("X-Accel-Redirect: /internal//a b.pdf", 404),
            ("X-Accel-Redirect: /internalx/a b.pdf", 404),
            ("X-Accel-Redirect: /a b.pdf", 404),
            ("X-Accel-Redirect: /internal/", 404),
            ("X-Accel-Redirect: /internal/a b.pdf/", 404),
            ("X-Accel-Redirect: /internal/a b.pdf%00", 404),
            ("X-Accel-Redirect: ", 404),
            (f"X-Sendfile: {directory}/secret", 404),
            (f"X-Sendfile: {directory}/protected/../secret", 404),
            (f"X-Sendfile: {directory}/protectedx", 404),
            ("X-Sendfile: a b.pdf", 404),
        ):
            answer = self.answered(f"{field}\r\nSet-Cookie: a=1\r\n")
            self.assertEqual(answer.status, status, field)
            self.assertNotIn(b"secret", answer.body)

    def test_refused(self) -> None:
        """
        A directory is needed.
        """
        for value, key in (
            ('"nowhere"', "send_file.root"),
            ("{}", "send_file"),
            ('{ root = ".", prefix = "x" }', "send_file.prefix"),
        ):
            problems = self.refused(f"[[site.route]]\nsend_file = {value}\nrespond = {{}}\n")
            self.assertEqual([each for each, _ in problems], [f"site[0].route[0].{key}"], value)
