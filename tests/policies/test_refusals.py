"""
What guards and limits have refused, in the error log (L{twistginx.http.troubles}).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from constantly import NamedConstant
from twisted.logger import LogLevel, capturedLogs, formatEvent

from tests.policies.guarded import GuardedCase


class RefusalTests(GuardedCase):
    """
    What the error log says of a route with guards.
    """

    @contextmanager
    def log(self, *expected: str, level: NamedConstant = LogLevel.info) -> Iterator[None]:
        """
        These are the lines, with the name of the request left out.
        """
        with capturedLogs() as events:
            yield
        lines = [event for event in events if event.get("log_namespace") == "twistginx.http"]
        self.assertEqual([formatEvent(line).replace(line["request_id"], "ID") for line in lines], list(expected))
        self.assertEqual({line["log_level"] for line in lines}, {level})

    def test_why(self) -> None:
        """
        It says which rule it was, and who asked for what; the client is not told.
        """
        self.serve('name = "api"\n    access.deny = "192.0.2.66"\n    jwt.secret = "{env.KEY}"\n    rate_limit = "1/h"')
        with self.log(
            "tcp:80, route api: 403 http_request_denied: access.deny: the client's address is in it (deny) "
            "(GET app.example/, client 192.0.2.66, request ID)",
            "tcp:80, route api: 401 authentication_required: jwt: there is no token "
            "(GET app.example/, client 192.0.2.7, request ID)",
            "tcp:80, route api: 401 authentication_required: jwt: it is not a signed token "
            "(GET app.example/, client 192.0.2.7, request ID)",
        ):
            self.assertNotIn(b"deny", self.told(client="192.0.2.66").body)
            self.told()
            self.assertNotIn(b"signed", self.told("Authorization: Bearer x").body)

    def test_many(self) -> None:
        """
        The same is said once in ten seconds, with how often it was; another route's is another.
        """
        self.serve('name = "api"\n    api_key.keys = { a = "{env.KEY}" }')
        said = (
            "tcp:80, route api: 401 authentication_required: api_key: there is no key "
            "(GET app.example/, client 192.0.2.7, request ID){}"
        )
        with self.log(said.format("")):
            for _ in range(5):
                self.told()
        self.server.advance(10)
        with self.log(said.format("; 4 more since the last of these lines")):
            for _ in range(3):
                self.told()

    def test_others(self) -> None:
        """
        What a guard could not decide is not the client's fault, and a warning.
        """
        self.serve('forward_auth = "http://127.0.0.1:9091"')
        with self.log(
            "tcp:80, route #1: 503 authentication_unavailable: forward_auth: connection_refused: 127.0.0.1:9091: "
            "connection refused (GET app.example/, client 192.0.2.7, request ID)",
            level=LogLevel.warn,
        ):
            connection = self.ask()
            self.server.refuse()
            self.assertTrue(connection.take().startswith(b"HTTP/1.1 503 "))
