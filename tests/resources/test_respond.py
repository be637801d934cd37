"""
Tests for L{twistginx.resources.respond}, over the real channel.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.policies.answers import Answers
from tests.resources.serving import Context, Served
from twistginx.config.convert import structure
from twistginx.config.faults import Faults
from twistginx.errors import ConfigError
from twistginx.interfaces import IResourceModule, IStreaming
from twistginx.resources import respond


def make(**table):
    return respond.make(structure(table, respond.Config), Context())


def serve(**table) -> Served:
    return Served(make(**table), Context())


class RespondTests(SynchronousTestCase):
    """
    Fixed answers, and those that are made of the request.
    """

    def test_module(self):
        """
        It is a resource's module, and makes a streaming resource.
        """
        verifyObject(IResourceModule, respond)
        self.assertTrue(IStreaming.providedBy(make()))

    def test_body(self):
        """
        A body is text; a POST gets it as a GET does, and HEAD its length.
        """
        served = serve(body="pong\n")
        for method, sent in ((b"GET", b""), (b"POST", b"ping"), (b"DELETE", b"")):
            answer = served.get(b"/", method, sent)
            self.assertEqual((answer.status, answer.body), (200, b"pong\n"))
            self.assertEqual(answer[b"Content-Type"], b"text/plain; charset=utf-8")
        answer = served.get(b"/", b"HEAD")
        self.assertEqual((answer.body, answer[b"Content-Length"]), (b"", b"5"))

    def test_shorthands(self):
        """
        A text is the body, a number the status; nothing else is short for anything.
        """
        answer = Served(respond.make(structure("pong\n", respond.Config), Context()), Context()).get(b"/")
        self.assertEqual((answer.status, answer.body), (200, b"pong\n"))
        answer = Served(respond.make(structure(410, respond.Config), Context()), Context()).get(b"/")
        self.assertEqual((answer.status, answer.body), (410, b""))
        for value in (True, 1.5, ["x"]):
            self.assertRaises(Faults, structure, value, respond.Config)

    def test_constant(self):
        """
        What is always the same is made once.
        """
        replies = []

        class Request:
            respond = replies.append

        for resource in (make(body="x", headers={"X-A": "1"}), make(json={"a": [1, "{{}}"]}), make(status=404)):
            resource.render(Request())
            resource.render(Request())
        for first, second in zip(replies[::2], replies[1::2], strict=True):
            self.assertIs(first, second)

    def test_nothing(self):
        """
        An empty table is an empty 200; a status alone has no body either.
        """
        for table, status in (({}, 200), ({"status": 503}, 503), ({"status": 204}, 204)):
            answer = serve(**table).get(b"/")
            self.assertEqual((answer.status, answer.body), (status, b""))
            self.assertIsNone(answer[b"Content-Type"])

    def test_variables(self):
        """
        A body, and headers, may be made of the request.
        """
        served = serve(body="{client} {path}\n", headers={"X-Host": "{host}", "X-None": "{header.none}"})
        answer = served.get(b"/a%20b?c")
        self.assertEqual(answer.body, b"192.0.2.7 /a%20b\n")
        self.assertEqual(answer[b"X-Host"], b"example.com")
        self.assertIsNone(answer[b"X-None"])

    def test_type(self):
        """
        A type that is given is the only one.
        """
        answer = serve(body="<p>", headers={"content-type": "text/html"}).get(b"/")
        self.assertEqual(answer[b"Content-Type"], b"text/html")

    def test_json(self):
        """
        Any value becomes compact JSON.
        """
        value = {
            "text": "grüße",
            "number": 1,
            "float": 1.5,
            "true": True,
            "list": [1, [], {}],
            "day": date(2026, 10, 10),
            "time": time(1, 2, 3),
            "moment": datetime(2026, 10, 10, 1, 2, 3, tzinfo=UTC),
            "{host}": "{host}",
        }
        answer = serve(json=value).get(b"/")
        self.assertEqual(answer[b"Content-Type"], b"application/json")
        expected = {
            **value,
            "day": "2026-10-10",
            "time": "01:02:03",
            "moment": "2026-10-10T01:02:03+00:00",
            "{host}": "example.com",
        }
        self.assertEqual(json.loads(answer.body), expected)
        self.assertNotIn(b": ", answer.body)

    def test_json_scalars(self):
        """
        False, zero and an empty string are values too.
        """
        for value, text in ((False, b"false"), (0, b"0"), ("", b'""'), ([], b"[]")):
            self.assertEqual(serve(json=value).get(b"/").body, text)

    @given(st.binary(max_size=20).map(lambda raw: raw.translate(None, b"\r\n\0").strip(b" \t")))
    def test_json_of_anything(self, value):
        """
        Whatever a client sends, the JSON is valid, and the value is one string in it.
        """

        class Request:
            class head:
                class fields:
                    every = staticmethod(lambda lower: [value])

            @staticmethod
            def respond(reply):
                replies.append(reply)

        replies = []
        make(json={"a": "<{header.x}>", "b": 1}).render(Request())
        read = json.loads(replies[0].body)
        self.assertEqual(read, {"a": f"<{value.decode('utf-8', 'replace')}>", "b": 1})

    def test_split(self):
        """
        No header splits the response.
        """
        served = serve(headers={"X-Path": "{arg.x}"})
        answer = served.get(b"/?x=a%0d%0aEvil:1")
        self.assertEqual(answer[b"X-Path"], b"a%0d%0aEvil:1")
        self.assertIsNone(answer[b"Evil"])


class ConfigTests(SynchronousTestCase):
    """
    What cannot be an answer.
    """

    def refused(self, key: str, **table) -> None:
        error = self.assertRaises(ConfigError, make, **table)
        self.assertEqual(error.key, key)

    def test_refused(self):
        """
        Each with its key.
        """
        self.refused("status", status=100)
        self.refused("status", status=600)
        self.refused("json", body="a", json=1)
        self.refused("body", status=204, body="a")
        self.refused("json", status=304, json=1)
        self.refused("json.a.1", json={"a": ["ok", "{clinet}"]})
        self.refused("json.x", json={"x": float("nan")})
        self.refused("headers.Content-Length", headers={"Content-Length": "5"})
        self.refused("headers.X-A", headers={"X-A": "a\nb"})
        self.refused("headers.Server", headers={"Server": "me"})


class SilenceTests(Answers):
    """
    No answer at all.
    """

    def test_closed(self) -> None:
        """
        The connection is closed, when what was asked for before has been answered; what comes behind is dropped.
        """
        server = self.serve(
            '[[site.route]]\npath = "/x"\nrespond = { close = true }\n[[site.route]]\nrespond = "here"\n'
        )
        for method, rest in (
            ("GET", ""),
            ("POST", "Content-Length: 10\r\n"),
            ("POST", "Expect: 100-continue\r\nContent-Length: 1\r\n"),
        ):
            server.records.clear()
            client = server.connect()
            usual = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            client.send(f"{usual}{method} /x HTTP/1.1\r\nHost: a\r\n{rest}\r\n{usual}".encode())
            answer = client.take()
            self.assertEqual((answer.count(b"HTTP/1.1 "), answer[-4:]), (1, b"here"))
            self.assertTrue(client.closed and not client.transport.aborted)
            (_, record) = server.records[-1]
            self.assertEqual((record.status, record.reason, record.sent), (403, "http_request_denied", 0))

    def test_alone(self) -> None:
        """
        There is nothing to say beside it.
        """
        (problem,) = self.refused('[[site.route]]\nrespond = { close = true, body = "x" }\n')
        self.assertEqual(problem[0], "site[0].route[0].respond.close")
