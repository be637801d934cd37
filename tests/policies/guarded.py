"""
A route with guards before an upstream, in memory.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.http.conversation import Answer, answers
from twistginx.errors import ConfigError
from twistginx.testing import MemoryServer

SITE = """
    [[site]]
    listen = "tcp:80"
    trusted_proxies = ["127.0.0.1"]
    [[site.route]]
    proxy = "http://127.0.0.1:9001"
"""

#: A key for whatever wants one, and what the configurations call it.
KEY = "0123456789abcdef0123456789abcdef"
ENVIRONMENT = {"KEY": KEY, "OTHER": KEY[::-1]}


def basic(user: str, password: str) -> str:
    """
    The header field with a name and a password.
    """
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class GuardedCase(SynchronousTestCase):
    """
    A server, and what a client and the upstream see of it.
    """

    server: MemoryServer

    def serve(self, policies: str, files: dict[str, bytes] | None = None, **environment: str) -> MemoryServer:
        """
        Serve one route with ``policies``, before an upstream.
        """
        self.server = MemoryServer(SITE + policies, files, environment={**ENVIRONMENT, **environment})
        self.addCleanup(self.end)
        return self.server

    def end(self) -> None:
        """
        Nothing is left behind.
        """
        for upstream in self.server.generation.upstreams.values():  # type: ignore[union-attr]
            upstream.stop()
        self.server.close()

    def refused(self, policies: str, files: dict[str, bytes] | None = None) -> str:
        """
        What is wrong with a configuration; the KEY is not repeated.
        """
        error = self.assertRaises(ConfigError, MemoryServer, SITE + policies, files, (), ENVIRONMENT)
        text = str(error)
        self.assertNotIn(KEY, text)
        return text.partition("site.toml:")[2].partition(": ")[2]

    def ask(self, *fields: str, target: str = "/", method: str = "GET", client: str = "192.0.2.7") -> Any:
        """
        A client that has asked.
        """
        connection = self.server.connect()
        lines = [f"{method} {target} HTTP/1.1", "Host: app.example", f"X-Forwarded-For: {client}", *fields]
        connection.send("\r\n".join([*lines, "", ""]).encode())
        return connection

    def told(self, *fields: str, **more: str) -> Answer:
        """
        What a client is told that does not get through to the upstream.
        """
        connection = self.ask(*fields, **more)
        self.assertEqual(self.server.connecting(), [])
        (answer,) = answers(connection.take())
        connection.close()
        return answer

    def passed(self, *fields: str, **more: str) -> list[str]:
        """
        The lines of the head that the upstream sees of a request that gets through.
        """
        connection = self.ask(*fields, **more)
        return self.seen(connection)

    def seen(self, connection: Any) -> list[str]:
        """
        Be the upstream, see the head, and answer.
        """
        self.assertEqual(connection.take(), b"")
        self.assertEqual(self.server.connecting(), [("127.0.0.1", 9001)])
        upstream = self.server.accept()
        lines: list[str] = upstream.take().decode("latin-1").split("\r\n")
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        upstream.close()
        (answer,) = answers(connection.take())
        self.assertEqual((answer.status, answer.body), (200, b"ok"))
        connection.close()
        return lines

    @property
    def record(self) -> tuple[str, str, str]:
        """
        What the log knows of the last request: reason, detail, user.
        """
        request, record = self.server.records[-1]
        return record.reason, record.detail, request.remote_user.decode()
