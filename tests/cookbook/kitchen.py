"""
Recipes, served in memory as they are written.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.cookbook.pages import Recipe, recipes
from tests.http.conversation import Answer, answers
from tests.net.authority import CA
from tests.test_failures import TLS
from twistginx.testing import Connection, MemoryServer


def certificate(*names: str) -> dict[str, bytes]:
    """
    C{NAME.crt} and C{NAME.key}, by the first of the names, of an authority that clients of the tests trust.
    """
    issued = CA.issue_cert(*names)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    return {f"{names[0]}.crt": chain, f"{names[0]}.key": issued.private_key_pem.bytes()}


def ok(body: bytes, *fields: str) -> bytes:
    """
    A whole answer of a server.
    """
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", ""])
    return head.encode() + body


class Asked:
    """
    What a server behind was asked.

    :ivar host: the server.
    :ivar port: of it.
    """

    def __init__(self, host: str, port: int, data: bytes) -> None:
        self.host = host
        self.port = port
        head, _, self.body = data.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = line.split(" ")
        self.fields = {name.lower(): value for name, _, value in (each.partition(": ") for each in fields)}


class Secure(TLS):
    """
    TLS on the other end of a connection.
    """

    def send(self, data: bytes) -> None:
        """
        Send.
        """
        self._tls.write(data)
        self._exchange()

    def take(self) -> bytes:
        """
        What has come.
        """
        self._exchange()
        try:
            return self._tls.read(1 << 20)
        except ssl.SSLWantReadError:
            return b""


class Behind:
    """
    A connection to a server behind, seen from there.
    """

    def __init__(self, host: str, port: int, connection: Connection) -> None:
        self._place = host, port
        self._connection = connection
        self._held = b""

    def hears(self) -> bool:
        """
        Has anything come?
        """
        data = b"" if self._connection.closed else self._connection.take()
        self._held += data
        return bool(data)

    def read(self) -> Asked | None:
        """
        A whole request; None: there is none yet.
        """
        if b"\r\n\r\n" not in self._held:
            return None
        asked = Asked(*self._place, self._held)
        if len(asked.body) < int(asked.fields.get("content-length", 0)):
            return None
        self._held = b""
        return asked

    def answer(self, reply: bytes | None) -> None:
        """
        Answer, or hang up.
        """
        if self._connection.closed:
            return
        if reply is None:
            self._connection.close()
        else:
            self._connection.send(reply)


class KitchenCase(SynchronousTestCase):
    """
    One page of the cookbook.  Each test is named as its recipe.

    :cvar page: the name of the page.
    :ivar server: that serves the recipe.
    :ivar asked: what servers behind have been asked, in order.
    """

    page: ClassVar[str]

    server: MemoryServer

    def setUp(self) -> None:
        self.asked: list[Asked] = []
        self.behind: list[Behind] = []
        self.replies: Callable[[Asked], bytes | None] = self.tells

    def tells(self, asked: Asked) -> bytes:
        """
        What servers behind answer if the test says nothing else: who they are and what they see.
        """
        return ok(f"{asked.port} {asked.target}".encode())

    def serve(self, files: Mapping[str, bytes] | None = None, **environment: str) -> MemoryServer:
        """
        Serve the recipe that the test is named after.
        """
        return self.cook(recipes(self.page)[self._testMethodName.removeprefix("test_")], files, **environment)

    def cook(self, recipe: Recipe, files: Mapping[str, bytes] | None = None, **environment: str) -> MemoryServer:
        """
        Serve a recipe.
        """
        self.server = MemoryServer(recipe.toml, files, environment=environment)
        assert self.server.generation is not None
        self.assertEqual(self.server.generation.warnings, [])
        self.addCleanup(self.end, self.server)
        return self.server

    def end(self, server: MemoryServer) -> None:
        """
        Nothing is left behind.
        """
        for behind in self.behind:
            behind.answer(None)
        for upstream in server.generation.upstreams.values():  # type: ignore[union-attr]
            upstream.stop()
        server.close()

    def work(self) -> None:
        """
        Servers behind accept connections, read and answer, until there is nothing more to do.
        """
        busy = True
        while busy:
            busy = False
            while self.server.connecting():
                host, port = self.server.connecting()[0]
                self.behind.append(Behind(host, port, self.server.accept()))
            for behind in self.behind:
                busy |= behind.hears()
                asked = behind.read()
                if asked is not None:
                    self.asked.append(asked)
                    behind.answer(self.replies(asked))
            self.server.reactor.advance(0)

    def client(
        self,
        target: str,
        *fields: str,
        method: str = "GET",
        host: str = "example.com",
        body: bytes = b"",
        peer: str = "192.0.2.7",
        endpoint: str | None = None,
    ) -> Connection:
        """
        A client that has sent a request.
        """
        connection = self.server.connect(endpoint, peer)
        more = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, *more, "", ""])
        connection.send(head.encode() + body)
        return connection

    def ask(self, target: str, *fields: str, **more: Any) -> Answer:
        """
        The answer to one request.
        """
        connection = self.client(target, *fields, **more)
        self.work()
        (answer,) = answers(connection.take(), (str(more.get("method", "GET")).encode(),))
        connection.close()
        return answer

    def status(self, target: str, *fields: str, **more: Any) -> int:
        """
        Its status.
        """
        return self.ask(target, *fields, **more).status

    def says(self, target: str, *fields: str, **more: Any) -> bytes:
        """
        The body of a 200.
        """
        answer = self.ask(target, *fields, **more)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body

    def leads(self, target: str, *fields: str, **more: Any) -> tuple[int, bytes | None]:
        """
        Status and address of a redirect.
        """
        answer = self.ask(target, *fields, **more)
        return answer.status, answer.get(b"location")
