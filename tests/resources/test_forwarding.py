"""
Tests for twistginx.resources.forwarding.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistginx.http.parser import RequestParser
from twistginx.http.plain import HOSTS
from twistginx.resources.forwarding import forwarded_head, forwarded_target, prepared_head


def request(data: bytes, trusted: bool = False, **more: Any) -> Any:
    """
    A request, as far as forwarding looks at it.
    """
    parser = RequestParser()
    parser.feed(data)
    if parser.refusal is not None:
        raise parser.refusal
    head, body = parser.messages[0]
    values = {
        "head": head,
        "body": body,
        "peer_ip": b"10.0.0.1",
        "scheme": b"http",
        "from_trusted": trusted,
        "target_path": head.path,
        "target_query": head.query,
        "request_id": b"1234",
        "vouched": frozenset(),
        "channel": SimpleNamespace(peer_ip=b"10.0.0.1", scheme=b"http"),
        **more,
    }
    return SimpleNamespace(**values)


def lines(data: bytes, trusted: bool = False, **more: Any) -> list[bytes]:
    """
    The lines of the head that leaves.
    """
    asked = request(data, trusted, **more)
    head = forwarded_head(asked, asked.head, forwarded_target(asked))
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


FORWARDED = [
    b"X-Forwarded-For: 10.0.0.1",
    b"X-Forwarded-Proto: http",
    b"X-Forwarded-Host: a.example",
    b"Forwarded: for=10.0.0.1;host=a.example;proto=http",
    b"X-Request-ID: 1234",
]


class ForwardedHeadTests(SynchronousTestCase):
    """
    What leaves is what came, but for what must not.
    """

    def test_order_and_duplicates(self) -> None:
        """
        Fields keep their order, their spelling and their number.
        """
        self.assertEqual(
            lines(
                b"GET /a%2Fb//c/../d;x?q=%20 HTTP/1.1\r\nHost: a.example\r\nCookie: a=1\r\naccept: x\r\nX-Own: 1\r\n"
                b"Cookie: b=2\r\nX-Own:\r\n\r\n"
            ),
            [
                b"GET /a%2Fb//c/../d;x?q=%20 HTTP/1.1",
                b"Host: a.example",
                b"Cookie: a=1",
                b"accept: x",
                b"X-Own: 1",
                b"Cookie: b=2",
                b"X-Own:",
                *FORWARDED,
            ],
        )

    def test_hop_by_hop(self) -> None:
        """
        Fields of the connection are taken out, and those that Connection names, but for what it may not name.
        """
        self.assertEqual(
            lines(
                b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Hop: 1\r\nConnection: keep-alive, X-Hop\r\n"
                b"Connection: host, content-length\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\n"
                b"Proxy-Connection: y\r\nContent-Length: 0\r\nTrailer: z\r\nX-Stays: 1\r\n\r\n"
            ),
            [b"GET / HTTP/1.1", b"Host: a.example", b"Content-Length: 0", b"X-Stays: 1", *FORWARDED],
        )

    def test_connection_cannot_take_ours(self) -> None:
        """
        Naming X-Forwarded-For in Connection does not keep the server from hearing it.
        """
        self.assertEqual(
            lines(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: X-Forwarded-For, close\r\n\r\n")[2:], FORWARDED
        )

    def test_claims_are_dropped(self) -> None:
        """
        Nobody but a trusted proxy says for whom a request is, in any spelling.
        """
        claims = b"".join(
            name + b": evil\r\n"
            for name in (
                b"X-Forwarded-For",
                b"x_forwarded_for",
                b"X.Forwarded.Proto",
                b"X-Forwarded_Host",
                b"X-FORWARDED-PREFIX",
                b"X-Forwarded-Anything",
                b"Forwarded",
            )
        )
        self.assertEqual(lines(b"GET / HTTP/1.1\r\nHost: a.example\r\n" + claims + b"\r\n")[2:], FORWARDED)

    def test_trusted(self) -> None:
        """
        What a trusted proxy says is kept, and the proxy's own address appended; odd spellings are still dropped.
        """
        self.assertEqual(
            lines(
                b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
                b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\nX-Forwarded-Prefix: /p\r\n"
                b"X_Forwarded_For: evil\r\nForwarded: for=1.1.1.1\r\n\r\n",
                trusted=True,
            )[2:],
            [
                b"X-Forwarded-Prefix: /p",
                b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Host: b.example",
                b"Forwarded: for=1.1.1.1, for=10.0.0.1;host=a.example;proto=http",
                b"X-Request-ID: 1234",
            ],
        )

    def test_body_framing(self) -> None:
        """
        A known length stays, a chunked body is chunked again, and Expect is not passed on.
        """
        known = lines(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(known[2:], [b"Content-Length: 3", *FORWARDED])
        chunked = lines(b"POST / HTTP/1.1\r\nHost: a.example\r\ntransfer-encoding: Chunked\r\n\r\n")
        self.assertEqual(chunked[2:], [*FORWARDED, b"Transfer-Encoding: chunked"])

    def test_http_1_0(self) -> None:
        """
        A request of HTTP/1.0 leaves as one of HTTP/1.1, which has a Host.
        """
        self.assertEqual(
            lines(b"GET / HTTP/1.0\r\n\r\n"),
            [
                *(b"GET / HTTP/1.1", b"Host: "),
                *FORWARDED[:2],
                b"Forwarded: for=10.0.0.1;proto=http",
                b"X-Request-ID: 1234",
            ],
        )

    def test_absolute_target(self) -> None:
        """
        The authority of an absolute target is the Host, whatever Host said (RFC 9112 section 3.2.2).
        """
        self.assertEqual(
            lines(b"GET http://a.example/x?y HTTP/1.1\r\nHost: evil\r\n\r\n"),
            [b"GET /x?y HTTP/1.1", b"Host: a.example", *FORWARDED],
        )

    def test_upgrade(self) -> None:
        """
        An upgrade is asked for in our own words; h2c is not.
        """
        upgrade = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
        self.assertEqual(lines(upgrade)[2:], [*FORWARDED, b"Upgrade: websocket", b"Connection: Upgrade"])
        h2c = (
            b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: x\r\n\r\n"
        )
        self.assertEqual(lines(h2c)[2:], FORWARDED)

    def test_te(self) -> None:
        """
        That trailers are welcome is said again, and nothing else of TE.
        """
        self.assertEqual(
            lines(b"GET / HTTP/1.1\r\nHost: a.example\r\nTE: gzip;q=0.5, trailers\r\nConnection: TE\r\n\r\n")[2:],
            [*FORWARDED, b"Connection: TE", b"TE: trailers"],
        )

    def test_stripped(self) -> None:
        """
        Where the route takes a prefix away, the rest goes out, with the query.
        """
        data = b"GET /api/x?q HTTP/1.1\r\nHost: a.example\r\n\r\n"
        self.assertEqual(lines(data, target_path=b"/x")[0], b"GET /x?q HTTP/1.1")


class ForwardedTests(SynchronousTestCase):
    """
    RFC 7239: C{Forwarded} says the same as the three older fields.
    """

    def said(self, data: bytes = b"", host: bytes = b"a.example", trusted: bool = False, **more: Any) -> list[bytes]:
        """
        The lines that say for whom a request is.
        """
        sent = lines(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n" + data + b"\r\n", trusted, **more)
        return [line for line in sent if b"forwarded" in line.lower()]

    def test_quotes(self) -> None:
        """
        What is no token stands in quotes, an IPv6 address in brackets, too (sections 4 and 6).
        """
        for address, node in (
            (b"10.0.0.1", b"10.0.0.1"),
            (b"2001:db8::7", b'"[2001:db8::7]"'),
            (b"::ffff:1.2.3.4", b'"[::ffff:1.2.3.4]"'),
            (b"unix", b"_unix"),
        ):
            for host, quoted in (
                (b"a.example", b"a.example"),
                (b"a.example:8080", b'"a.example:8080"'),
                (b"[::1]:80", b'"[::1]:80"'),
            ):
                for scheme in (b"http", b"https"):
                    channel = SimpleNamespace(peer_ip=address, scheme=scheme)
                    said = self.said(host=host, peer_ip=address, scheme=scheme, channel=channel)
                    self.assertEqual(said[-1], b"Forwarded: for=%b;host=%b;proto=%b" % (node, quoted, scheme))

    def test_both_ways_alike(self) -> None:
        """
        A head that passes in one piece, and one that is put together, say the same.
        """
        HOSTS[b"known.example:81"] = b"known.example:81"
        self.addCleanup(HOSTS.pop, b"known.example:81")
        for extra in (b"", b"X-Request-ID: taken-out\r\n"):
            data = b"GET / HTTP/1.1\r\nHost: known.example:81\r\n" + extra + b"\r\n"
            self.assertEqual(request(data).head.block is not None and not extra, not extra)
            self.assertEqual(
                lines(data)[2:],
                [
                    *FORWARDED[:2],
                    b"X-Forwarded-Host: known.example:81",
                    b'Forwarded: for=10.0.0.1;host="known.example:81";proto=http',
                    b"X-Request-ID: 1234",
                ],
            )

    def test_switched_off(self) -> None:
        """
        Without it, the older fields alone; what a trusted proxy says passes as it is.
        """
        for data, trusted, own in (
            (b"", False, []),
            (b"Forwarded: for=evil\r\n", False, []),
            (b"Forwarded: for=1.1.1.1\r\n", True, [b"Forwarded: for=1.1.1.1"]),
        ):
            asked = request(b"GET / HTTP/1.1\r\nHost: a.example\r\n" + data + b"\r\n", trusted)
            sent = forwarded_head(asked, asked.head, b"/", forwarded=False).split(b"\r\n")
            self.assertEqual(sent[2:-2], [*FORWARDED[:3], *own, FORWARDED[-1]])

    def test_trusted_without_it(self) -> None:
        """
        A trusted proxy that knows the older fields alone: what it says is said in both (section 7.4).
        """
        self.assertEqual(
            self.said(
                b"X-Forwarded-For: 2001:db8::7, 1.1.1.1:4000,  ,2.2.2.2\r\nX-Forwarded-Proto: https, http\r\n"
                b'X-Forwarded-Host: b"\\.example\r\n',
                trusted=True,
                scheme=b"https",
            )[-1],
            b'Forwarded: for="[2001:db8::7]";host="b\\"\\\\.example";proto=https, '
            b'for="1.1.1.1:4000", for=unknown, for=2.2.2.2, for=10.0.0.1',
        )

    def test_trusted_with_it(self) -> None:
        """
        Lines of it are joined, in order, and what we have seen is added: not what the proxy before us has.
        """
        self.assertEqual(
            self.said(
                b"Forwarded: for=a\r\nForwarded: for=b;proto=https\r\nX-Forwarded-Proto: https\r\n",
                trusted=True,
                scheme=b"https",
            )[-1],
            b"Forwarded: for=a, for=b;proto=https, for=10.0.0.1;host=a.example;proto=http",
        )

    def test_vouched(self) -> None:
        """
        What a policy has put there stands instead of ours, in Forwarded, too.
        """

        def said(*names: bytes, data: bytes) -> list[bytes]:
            return self.said(data, vouched=frozenset(names))

        self.assertEqual(
            said(b"x-forwarded-proto", data=b"X-Forwarded-Proto: https\r\n"),
            [
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-For: 10.0.0.1",
                b"X-Forwarded-Host: a.example",
                b"Forwarded: for=10.0.0.1;host=a.example;proto=https",
            ],
        )
        self.assertEqual(
            said(b"x-forwarded-for", b"x-forwarded-host", data=b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: c\r\n"),
            [
                b"X-Forwarded-For: 9.9.9.9",
                b"X-Forwarded-Host: c",
                b"X-Forwarded-Proto: http",
                b"Forwarded: for=9.9.9.9;host=c;proto=http",
            ],
        )
        self.assertEqual(said(b"forwarded", data=b"Forwarded: for=mine\r\n"), [b"Forwarded: for=mine", *FORWARDED[:3]])
        # It was vouched for, and yet is not there: a template that was empty.
        self.assertEqual(said(b"x-forwarded-proto", data=b""), FORWARDED[:4])


class PreparedHeadTests(SynchronousTestCase):
    """
    Policies may change what leaves.
    """

    def prepared(
        self, *prepare: Any, data: bytes = b"POST /api/x?q HTTP/1.1\r\nHost: A.example\r\nContent-Length: 3\r\n\r\n"
    ) -> Any:
        asked = request(data, target_path=b"/x", route=SimpleNamespace(prepare=prepare))
        head, filters = prepared_head(asked, forwarded_target(asked))
        return asked, head, filters

    def test_copy(self) -> None:
        """
        They see what would leave, and changing it does not change the request.
        """

        def prepare(request: Any, head: Any) -> None:
            self.assertEqual((head.target, head.path, head.query), (b"/x?q", b"/x", b"q"))
            self.assertEqual(head.fields.first(b"host"), b"a.example")
            head.fields.put(b"Host", b"inner")
            head.target = b"/y"

        asked, head, filters = self.prepared(prepare)
        self.assertEqual(filters, ())
        self.assertEqual(asked.head.fields.first(b"host"), b"A.example")
        self.assertEqual(
            forwarded_head(asked, head, head.target).split(b"\r\n"),
            [b"POST /y HTTP/1.1", b"Content-Length: 3", b"Host: inner", *FORWARDED, b"", b""],
        )

    def test_filter(self) -> None:
        """
        A filter makes the length unknown; without a body there is nothing to filter.
        """
        marker = object()
        asked, head, filters = self.prepared(lambda request, head: marker)
        self.assertEqual(filters, (marker,))
        sent = forwarded_head(asked, head, head.target)
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", sent)
        self.assertNotIn(b"Content-Length", sent)
        _, _, filters = self.prepared(lambda request, head: marker, data=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(filters, ())

    def test_claims_are_not_seen(self) -> None:
        """
        What a client claims cannot pass for what a policy adds; what one has put there before stays.
        """

        def prepare(request: Any, head: Any) -> None:
            head.fields.add(b"X-Forwarded-For", b"9.9.9.9")
            request.vouched |= {b"x-forwarded-for"}

        data = (
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: evil\r\nForwarded: for=evil\r\nX-Forwarded-User: me\r\n\r\n"
        )
        asked = request(data, route=SimpleNamespace(prepare=(prepare,)), vouched=frozenset((b"x-forwarded-user",)))
        head, _ = prepared_head(asked, b"/")
        self.assertEqual(
            [field[1:] for field in head.fields],
            [(b"Host", b"a"), (b"X-Forwarded-User", b"me"), (b"X-Forwarded-For", b"9.9.9.9")],
        )

    def test_split(self) -> None:
        """
        A policy cannot split a request.
        """
        self.assertRaises(ValueError, self.prepared, lambda request, head: head.fields.add(b"X", b"a\r\nY: b"))
