"""
Whole configurations in memory, and what they answer.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import ConfigError
from twistginx.testing import MemoryServer


class Answers(SynchronousTestCase):
    """
    Tests that ask a server.
    """

    def serve(self, config: str) -> MemoryServer:
        """
        A server of one site on port 80, of which C{config} is the rest.
        """
        server = MemoryServer('[[site]]\nlisten = "tcp:80"\n' + config if "[[site]]" not in config else config)
        self.addCleanup(server.close)
        return server

    def ask(
        self, server: MemoryServer, target: str, fields: str = "", method: str = "GET"
    ) -> tuple[int, dict[str, str], str]:
        """
        Status, fields (names in lower case, the last of each) and body of the answer to one request.
        """
        client = server.connect()
        client.send(f"{method} {target} HTTP/1.1\r\nHost: {server_host(fields)}\r\n{fields}\r\n".encode())
        head, _, body = client.take().decode("latin-1").partition("\r\n\r\n")
        lines = head.split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}, body

    def body(self, server: MemoryServer, target: str, fields: str = "") -> str:
        """
        The body of the answer, if it is a 200, else its status.
        """
        status, _, body = self.ask(server, target, fields)
        return body if status == 200 else str(status)

    def refused(self, config: str) -> list[tuple[str, str]]:
        """
        The keys and the messages of the problems of a configuration.
        """
        error: Any = self.assertRaises(ConfigError, self.serve, config)
        return [(problem.key, problem.message) for problem in error.problems]


def server_host(fields: str) -> str:
    """
    The host to ask: example.com, unless the C{fields} say another by C{X-Host}.
    """
    return next((line[8:] for line in fields.split("\r\n") if line.startswith("X-Host: ")), "example.com")
