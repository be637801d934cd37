"""
Tests for twistginx.policies.forward_auth.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from zope.interface.verify import verifyObject

from tests.http.conversation import Answer, answers
from tests.policies.guarded import KEY, GuardedCase
from twistginx.interfaces import IPolicyModule
from twistginx.policies import forward_auth
from twistginx.testing import Connection

YES = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

SERVICE = 'forward_auth = { url = "http://127.0.0.1:9091/verify?x=1", copy_headers = ["X-Groups"] }'


class ForwardAuthTests(GuardedCase):
    """
    A service is asked.
    """

    def service(self) -> tuple[Connection, list[str]]:
        """
        Be the service: the connection, and the lines of what it is asked.
        """
        self.assertEqual(self.server.connecting(), [("127.0.0.1", 9091)])
        service = self.server.accept()
        return service, service.take().decode("latin-1").split("\r\n")

    def answered(self, connection: Any) -> Answer:
        """
        What the client is told.
        """
        self.assertEqual(self.server.connecting(), [])
        (answer,) = answers(connection.take())
        connection.close()
        return answer

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, forward_auth)

    def test_asked(self) -> None:
        """
        It is told what the client said, and what is asked for; nothing about a body, and nothing that the client says
        in our name.
        """
        self.serve(SERVICE)
        client = self.ask(
            *("Cookie: s=1", "Content-Length: 3", "Content-Type: text/plain", "If-None-Match: x", "Range: bytes=0-"),
            *("X-Forwarded-Uri: /evil", "X-Original-URL: /evil", "X-Forwarded-Method: EVIL", "X-Hop: 1"),
            *("X-Real-IP: 10.6.6.6", "X-Original-Method: EVIL"),
            *("Connection: X-Hop", "Expect: 100-continue", "Accept: text/html"),
            target="/a%20b?c=d",
            method="PUT",
        )
        _, lines = self.service()
        self.assertEqual(lines[0], "GET /verify?x=1 HTTP/1.1")
        self.assertEqual(
            lines[1:-3],
            [
                "Host: 127.0.0.1:9091",
                "Cookie: s=1",
                "Accept: text/html",
                "X-Forwarded-For: 192.0.2.7, 127.0.0.1",
                "X-Real-IP: 192.0.2.7",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: app.example",
                "X-Forwarded-Method: PUT",
                "X-Forwarded-Uri: /a%20b?c=d",
                "X-Original-Method: PUT",
                "X-Original-URL: http://app.example/a%20b?c=d",
            ],
        )
        client.close()

    def test_absolute(self) -> None:
        """
        Of a target with a host in it, it is told all that is asked for; and what another guard has found out, which no
        ``Connection`` takes out.
        """
        self.serve(SERVICE + f'\n    api_key = {{ keys = {{ ann = "sha256:{sha256(KEY.encode()).hexdigest()}" }} }}')
        client = self.ask(
            f"X-API-Key: {KEY}", "Connection: X-Auth-User", "X-Auth-User: root", target="http://app.example/a?c=d"
        )
        _, lines = self.service()
        self.assertIn("X-Forwarded-Uri: /a?c=d", lines)
        self.assertIn("X-Auth-User: ann", lines)
        client.close()

    def test_yes(self) -> None:
        """
        2xx: the request goes on, with what the service says and nobody else may.
        """
        self.serve(SERVICE)
        client = self.ask("X-Groups: root", "X_Groups: root", "Remote-User: root", "Connection: X-Groups, Remote-User")
        service, _ = self.service()
        service.send(
            b"HTTP/1.1 204 No Content\r\nRemote-User: ann\r\nX-Groups: a\r\nX-Groups: b\r\nX-Other: 1\r\n"
            b"Connection: close\r\n\r\n"
        )
        lines = self.seen(client)
        self.assertEqual([line for line in lines if "root" in line or "Other" in line], [])
        self.assertEqual([line for line in lines if "Groups" in line], ["X-Groups: a", "X-Groups: b"])
        self.assertIn("Remote-User: ann", lines)
        self.assertEqual(self.record[2], "ann")

    def test_forwarded_user(self) -> None:
        """
        X-Forwarded-User, as oauth2-proxy has it, is no field of forwarding: what the service says arrives, whether the
        head is passed on in one piece or not.
        """
        self.serve('forward_auth = { url = "http://127.0.0.1:9091", user = "X-Forwarded-User" }')
        for fields in ((), ("TE: trailers", "Connection: TE, X-Forwarded-User"), ("X-Forwarded-User: root",)):
            client = self.ask(*fields)
            self.service()[0].send(YES.replace(b"Content", b"X-Forwarded-User: ann\r\nContent"))
            lines = self.seen(client)
            self.assertEqual([line for line in lines if "User" in line], ["X-Forwarded-User: ann"], fields)

    def test_says_nothing(self) -> None:
        """
        Where the service names nobody, the app is told of nobody.
        """
        self.serve(SERVICE)
        client = self.ask("Remote-User: root", "X-Groups: root")
        self.service()[0].send(YES)
        self.assertEqual([line for line in self.seen(client) if "root" in line], [])
        self.assertEqual(self.record[2], "")

    def test_no(self) -> None:
        """
        Any other answer is the client's, whole; nothing of its connection is.
        """
        self.serve(SERVICE)
        for status, fields in (
            (b"302 Found", b"Location: https://login.example/?rd=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
            (b"401 Unauthorized", b"WWW-Authenticate: Basic\r\n"),
            (b"403 Forbidden", b""),
            (b"429 Too Many Requests", b"Retry-After: 3\r\n"),
        ):
            client = self.ask()
            service, _ = self.service()
            service.send(
                b"HTTP/1.1 %b\r\n%bTransfer-Encoding: chunked\r\nKeep-Alive: timeout=3\r\nConnection: close\r\n\r\n"
                b"3\r\nno!\r\n0\r\n\r\n" % (status, fields)
            )
            answer = self.answered(client)
            self.assertEqual((answer.status, answer.body), (int(status[:3]), b"no!"))
            kept = b"".join(b"%b: %b\r\n" % each for each in answer.fields if each[0] in fields)
            self.assertEqual(kept, fields)
            self.assertIsNone(answer.get(b"keep-alive"))

    def test_head(self) -> None:
        """
        A HEAD is asked about by a GET, and answered without a body.
        """
        self.serve(SERVICE)
        client = self.ask(method="HEAD")
        service, lines = self.service()
        self.assertTrue(lines[0].startswith("GET "))
        service.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        self.assertTrue(client.take().endswith(b"\r\n\r\n"))
        client.close()

    def test_fails_closed(self) -> None:
        """
        No answer, a broken one, one that is too large or late, a 5xx: 503, and the log says why.
        """
        self.serve(SERVICE.replace(" }", ', size = 10, timeout = "2s" }'))
        for act, detail in (
            (None, "connection_refused"),
            (b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", "the service answered 500"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", "more than 10 bytes"),
            (b"SMTP\r\n\r\n", "http_protocol_error"),
            (b"HTTP/1.1 200 OK\r\n", "http_response_timeout: no whole answer in time; forward_auth.timeout = 2s"),
        ):
            client = self.ask()
            if act is None:
                self.server.refuse()
            else:
                service, _ = self.service()
                service.send(act)
            self.server.advance(3)
            answer = self.answered(client)
            self.assertEqual(answer.status, 503, act)
            reason, said, _ = self.record
            self.assertEqual(reason, "authentication_unavailable")
            self.assertIn(detail, said)
            self.assertNotIn(b"9091", answer.body)

    def test_client_leaves(self) -> None:
        """
        Nobody waits for the answer: the service is told at once.
        """
        self.serve(SERVICE)
        client = self.ask()
        service, _ = self.service()
        client.reset()
        self.assertTrue(service.transport.aborted)
        self.assertEqual(self.record[0], "client_disconnected")

    def test_tells_the_client(self) -> None:
        """
        Fields of the service's answer that are for the client, beside those of the app.
        """
        self.serve(SERVICE.replace(" }", ', response_headers = "Set-Cookie" }'))
        client = self.ask()
        service, _ = self.service()
        service.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: s=2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        upstream = self.server.accept()
        self.assertNotIn(b"s=2", upstream.take())
        upstream.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer = self.answered(client)
        self.assertEqual([value for name, value in answer.fields if name == b"Set-Cookie"], [b"a=1", b"s=2"])

    def test_upstream(self) -> None:
        """
        By the name of an upstream: it sees the client's Host.
        """
        self.serve(
            'forward_auth = { upstream = "auth", path = "/v" }\n[upstream.auth]\nservers = "127.0.0.1:9091"',
        )
        client = self.ask()
        service, lines = self.service()
        self.assertEqual(lines[:2], ["GET /v HTTP/1.1", "Host: app.example"])
        service.send(YES)
        self.seen(client)

    def test_short(self) -> None:
        """
        A URL alone.
        """
        self.serve('forward_auth = "http://127.0.0.1:9091"')
        client = self.ask()
        service, lines = self.service()
        self.assertEqual(lines[0], "GET / HTTP/1.1")
        service.send(YES)
        self.seen(client)

    def test_wrong(self) -> None:
        """
        What is wrong is said where it stands.
        """
        for policies, problem in (
            ("forward_auth = {}", "forward_auth: one of url and upstream is needed"),
            ('forward_auth = "auth.local"', "'auth.local' is not a URL such as"),
            ('forward_auth = "http://a:b@c/"', "is not a URL such as"),
            ('forward_auth.upstream = "auth"', "forward_auth.upstream: there is no upstream 'auth'"),
            (
                'forward_auth = { url = "http://a:1", copy_headers = ["A", "Host"] }',
                "copy_headers[1]: Host has a meaning",
            ),
            ('forward_auth = { url = "http://a:1", timeout = "0s" }', "forward_auth.timeout: is 0"),
            ('forward_auth = { upstream = "a", path = "x y" }', "forward_auth.path: "),
        ):
            self.assertIn(problem, self.refused(policies), policies)
