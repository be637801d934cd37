"""
Tests for L{twistginx.policies.compress}, over the real channel.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import Any

import brotli
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.resources.serving import Answer, Context, Served
from twistginx.config.convert import structure
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.message import Fields, Reply, ResponseHead
from twistginx.interfaces import IPolicyModule, IStreaming
from twistginx.policies import compress
from twistginx.policies.encoders import ALGORITHMS
from twistginx.resources import static

ZSTD = ALGORITHMS["zstd"].load()
HTML = b"text/html; charset=utf-8"
TEXT = b"".join(b"<li>%d, which is not %x</li>\n" % (number, number * 7919) for number in range(400))

DECODE = {
    b"gzip": lambda data: zlib.decompress(data, 31),
    b"br": brotli.decompress,
    b"zstd": ZSTD.decompress,
}


def config(**table: Any) -> compress.Config:
    return structure(table, compress.Config)


@implementer(IStreaming)
class Page(Resource):
    """
    Answers with what it is given.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.fields: list[tuple[bytes, bytes]] = [(b"Content-Type", HTML)]
        self.body: Any = TEXT
        self.act: Any = None
        self.requests: list[Any] = []

    def render(self, request: Any) -> int:
        self.requests.append(request)
        if self.act is not None:
            self.act(request)
        else:
            request.respond(Reply(self.status, self.fields, self.body))
        return NOT_DONE_YET


class Workshop:
    """
    Threads whose work is done when the test says so.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Any]] = []

    def run(self, work: Any, *arguments: Any) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((waiting, lambda: work(*arguments)))
        return waiting

    def work(self) -> None:
        waiting, work = self.waiting.pop(0)
        waiting.callback(work())


class CompressTestCase(SynchronousTestCase):
    """
    A page behind the policy.
    """

    def setUp(self) -> None:
        self.context = Context()
        self.page = Page()
        self.policy(config())

    def policy(self, table: compress.Config) -> None:
        made = compress.make(table, self.context)
        self.served = Served(self.page, self.context, responding=(made.responding,))

    def get(self, accept: bytes = b"gzip", method: bytes = b"GET", **fields: bytes) -> Answer:
        return self.served.get(b"/", method, accept_encoding=accept, **fields)

    def assertPlain(self, answer: Answer, body: bytes = TEXT) -> None:
        self.assertIsNone(answer[b"Content-Encoding"])
        self.assertEqual(answer.body, body)

    def assertCoded(self, answer: Answer, coding: bytes, body: bytes = TEXT) -> None:
        self.assertEqual(answer[b"Content-Encoding"], coding)
        self.assertEqual(DECODE[coding](answer.body), body)


class NegotiationTests(CompressTestCase):
    """
    What is compressed, for whom, and with what.
    """

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, compress)

    def test_codings(self) -> None:
        """
        The client's liking decides, and of equals ours.
        """
        for accept, coding in (
            (b"gzip", b"gzip"),
            (b"br", b"br"),
            (b"zstd", b"zstd"),
            (b"gzip, deflate, br, zstd", b"zstd"),
            (b"gzip, br", b"br"),
            (b"gzip;q=1.0, br;q=0.5, zstd;q=0.1", b"gzip"),
            (b"*", b"zstd"),
            (b"*;q=0.5, gzip", b"gzip"),
            (b"zstd;q=0, *", b"br"),
            (b"x-gzip", b"gzip"),
            (b"GZIP", b"gzip"),
            (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        ):
            self.assertCoded(self.get(accept), coding)

    def test_refused(self) -> None:
        """
        Who accepts none, or likes it better plain, gets it plain; caches are told all the same.
        """
        for accept in (b"", b"identity", b"deflate", b"gzip;q=0", b"*;q=0", b"gzip;q=0.5, identity", b"gzip;q=2"):
            answer = self.get(accept)
            self.assertPlain(answer)
            self.assertEqual(answer[b"Vary"], b"Accept-Encoding")
            self.assertEqual(answer[b"Content-Length"], b"%d" % len(TEXT))

    def test_fields(self) -> None:
        """
        What was true of the bytes is not said of others; what caches need is.
        """
        self.page.fields += [
            (b"ETag", b'"1"'),
            (b"Accept-Ranges", b"bytes"),
            (b"Content-MD5", b"x"),
            (b"Repr-Digest", b"sha-256=:eA==:"),
            (b"Vary", b"Origin"),
        ]
        answer = self.get()
        self.assertCoded(answer, b"gzip")
        self.assertEqual(answer[b"ETag"], b'W/"1"')
        self.assertEqual(answer[b"Vary"], b"Origin, Accept-Encoding")
        for gone in (b"Accept-Ranges", b"Content-MD5", b"Repr-Digest", b"Content-Length"):
            self.assertIsNone(answer[gone])
        plain = self.get(b"")
        self.assertEqual(plain[b"ETag"], b'"1"')
        self.assertEqual(plain[b"Accept-Ranges"], b"bytes")

    def test_vary_once(self) -> None:
        """
        What says already that it varies is not told again.
        """
        for said in (b"Accept-Encoding", b"accept-encoding, Origin", b"*"):
            self.page.fields = [(b"Content-Type", HTML), (b"Vary", said)]
            self.assertEqual(self.get()[b"Vary"], said)

    def test_left_alone(self) -> None:
        """
        Never twice, never pictures, never what is small, and never against the word of the page.
        """
        for fields in (
            [(b"Content-Type", HTML), (b"Content-Encoding", b"br")],
            [(b"Content-Type", b"image/png")],
            [(b"Content-Type", b"application/octet-stream")],
            [],
            [(b"Content-Type", HTML), (b"Cache-Control", b"public, No-Transform")],
        ):
            self.page.fields = fields
            answer = self.get()
            self.assertEqual(answer.body, TEXT)
            self.assertEqual(answer[b"Content-Length"], b"%d" % len(TEXT))
            self.assertIsNone(answer[b"Vary"])
        self.page.fields = [(b"Content-Type", HTML)]
        self.page.body = b"x" * 1023
        self.assertPlain(self.get(), b"x" * 1023)
        self.page.body = b"x" * 1024
        self.assertCoded(self.get(), b"gzip", b"x" * 1024)

    def test_identity(self) -> None:
        """
        A body that says that it is not encoded is not.
        """
        self.page.fields = [(b"Content-Type", HTML), (b"Content-Encoding", b"Identity")]
        self.assertCoded(self.get(), b"gzip")

    def test_statuses(self) -> None:
        """
        Errors are pages like others; what has no body, or a part of one, stays as it is.
        """
        for status in (404, 500, 201):
            self.page.status = status
            self.assertCoded(self.get(), b"gzip")
        self.page.status = 206
        self.page.fields = [(b"Content-Type", HTML), (b"Content-Range", b"bytes 0-1/9"), (b"ETag", b'"1"')]
        answer = self.get()
        self.assertPlain(answer)
        self.assertEqual(answer[b"ETag"], b'"1"')
        self.page.status, self.page.body = 204, b""
        self.assertIsNone(self.get()[b"Content-Encoding"])

    def test_head(self) -> None:
        """
        HEAD says what GET would.
        """
        self.page.fields.append((b"ETag", b'"1"'))
        got, head = self.get(), self.get(method=b"HEAD")
        self.assertEqual(head.body, b"")
        self.assertEqual(
            sorted(field for field in head.fields if field[0] != b"Transfer-Encoding"),
            sorted(field for field in got.fields if field[0] != b"Transfer-Encoding"),
        )

    def test_not_modified(self) -> None:
        """
        The tag of a 304 is that of the page that was compressed; the weak tag that came back is that of the file.
        """
        root = Path(self.mktemp())
        root.mkdir()
        (root / "a.html").write_bytes(TEXT)
        made = compress.make(config(), self.context)
        files = static.make(static.Config(root.absolute()), self.context)
        served = Served(files, self.context, responding=(made.responding,))
        whole = served.get(b"/a.html", accept_encoding=b"gzip")
        self.assertCoded(whole, b"gzip")
        tag = whole[b"ETag"]
        self.assertTrue(tag.startswith(b'W/"'))
        again = served.get(b"/a.html", accept_encoding=b"gzip", if_none_match=tag)
        self.assertEqual((again.status, again[b"ETag"], again[b"Vary"]), (304, tag, b"Accept-Encoding"))
        strong = served.get(b"/a.html")[b"ETag"]
        self.assertEqual(served.get(b"/a.html", if_none_match=strong)[b"ETag"], strong)
        # What is never compressed keeps its tag, so that parts of it can be had.
        (root / "a.png").write_bytes(TEXT)
        picture = served.get(b"/a.png", accept_encoding=b"gzip")[b"ETag"]
        for tags in (picture, b'W/"x", ' + picture, picture + b', "x"'):
            again = served.get(b"/a.png", accept_encoding=b"gzip", if_none_match=tags)
            self.assertEqual((again.status, again[b"ETag"]), (304, picture))
        # A part is of the file; a part of what was compressed cannot be had, and gets the whole.
        self.assertEqual(served.get(b"/a.html", accept_encoding=b"gzip", range=b"bytes=0-3").body, TEXT[:4])
        self.assertCoded(served.get(b"/a.html", accept_encoding=b"gzip", range=b"bytes=0-3", if_range=tag), b"gzip")

    def test_old_clients(self) -> None:
        """
        A HTTP/1.0 connection is kept rather than compressed.
        """
        transport = self.served.connect()
        transport.protocol.dataReceived(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
        self.assertPlain(Answer(transport.value()))


class ConfigTests(CompressTestCase):
    """
    What can be said.
    """

    def test_shorthand(self) -> None:
        """
        C{true}, a name, and a list of names.
        """
        for value, table in (
            (True, {}),
            ("gzip", {"algorithms": ["gzip"]}),
            (["br", "gzip"], {"algorithms": ["br", "gzip"]}),
        ):
            self.assertEqual(compress.Config.from_shorthand(value), table)
        self.assertRaises(ValueError, compress.Config.from_shorthand, 3)

    def test_order(self) -> None:
        """
        The order is that of the list, and what is not listed is not used.
        """
        self.policy(config(algorithms=["gzip", "br"]))
        self.assertCoded(self.get(b"zstd, br, gzip"), b"gzip")
        self.assertPlain(self.get(b"zstd"))

    def test_types(self) -> None:
        """
        Types by pattern.
        """
        self.policy(config(types=["application/*", "*+json"]))
        for kind, coded in ((b"text/html", False), (b"application/x", True), (b"Image/X+JSON", True)):
            self.page.fields = [(b"Content-Type", kind)]
            self.assertEqual(self.get()[b"Content-Encoding"], b"gzip" if coded else None)

    def test_wrong(self) -> None:
        """
        What cannot be is refused, with its key.
        """
        for table, key in (
            ({"levels": {"gzip": 10}}, "levels.gzip"),
            ({"levels": {"lzma": 1}}, "levels.lzma"),
            ({"types": ["html"]}, "types"),
        ):
            error = self.assertRaises(ConfigError, compress.make, config(**table), self.context)
            self.assertEqual(error.key, key)

    def test_not_installed(self) -> None:
        """
        What is named must be there; what is not named is used where it is.
        """

        def missing() -> None:
            raise ImportError

        def load(algorithm: Any) -> Any:
            return missing() if algorithm.coding == b"br" else zlib if algorithm.coding == b"gzip" else ZSTD

        self.patch(type(ALGORITHMS["br"]), "load", load)
        error = self.assertRaises(ConfigError, compress.make, config(algorithms=["gzip", "br"]), self.context)
        self.assertEqual(error.key, "algorithms.1")
        self.assertIn("twistginx[compress]", str(error))
        self.policy(config())
        self.assertCoded(self.get(b"br, gzip;q=0.5"), b"gzip")


class StreamTests(CompressTestCase):
    """
    Bodies that come in pieces.
    """

    def stream(self, content_type: bytes = HTML, accept: bytes = b"gzip", *fields: tuple[bytes, bytes]) -> Any:
        """
        A request whose response has started; C{self.transport}.
        """
        self.page.act = lambda request: request.start(
            ResponseHead(200, Fields.of([(b"Content-Type", content_type), *fields]))
        )
        self.served.send(b"/", accept_encoding=accept)
        self.transport = self.served.transport
        return self.page.requests[-1]

    def received(self, coding: bytes = b"gzip") -> bytes:
        """
        What a client makes of what it has by now.
        """
        decoded: list[bytes] = []
        rest = self.transport.value().partition(b"\r\n\r\n")[2]
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            decoded.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        decoder = {
            b"gzip": lambda: zlib.decompressobj(31).decompress,
            b"br": lambda: brotli.Decompressor().process,
            b"zstd": lambda: ZSTD.ZstdDecompressor().decompress,
        }[coding]()
        return b"".join(decoder(each) for each in decoded if each)

    def assertNoTimers(self) -> None:
        calls = [call.func.__qualname__ for call in self.context.reactor.getDelayedCalls()]
        self.assertEqual([each for each in calls if each != "Ticker._tick"], [])

    def test_events(self) -> None:
        """
        An event is there when it was sent, whatever it is compressed with.
        """
        for coding in (b"gzip", b"br", b"zstd"):
            request = self.stream(b"text/event-stream", coding)
            for number in range(3):
                request.send(b"data: %d\n\n" % number)
                self.assertTrue(self.received(coding).endswith(b"data: %d\n\n" % number))
            request.end()
            self.assertEqual(self.received(coding), b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
            self.transport.loseConnection()

    def test_events_by_gzip(self) -> None:
        """
        A stream of events is compressed with what takes the least memory, if the client likes it as well as others.
        """
        for accept, coding in ((b"gzip, deflate, br, zstd", b"gzip"), (b"gzip;q=0.9, br", b"br"), (b"zstd", b"zstd")):
            self.stream(b"text/event-stream", accept)
            self.assertIn(b"\r\nContent-Encoding: %b\r\n" % coding, self.transport.value())
            self.transport.loseConnection()

    def test_not_buffered(self) -> None:
        """
        An app that asks for no buffering gets none.
        """
        request = self.stream(HTML, b"gzip", (b"X-Accel-Buffering", b"no"))
        request.send(b"now")
        self.assertEqual(self.received(), b"now")

    def test_patience(self) -> None:
        """
        What comes slowly waits a moment for more, and no longer.
        """
        request = self.stream()
        request.send(b"some")
        self.assertEqual(self.received(), b"")
        self.context.reactor.advance(0.05)
        self.assertEqual(self.received(), b"some")
        request.send(b" more")
        request.send(b", and more")
        self.context.reactor.advance(0.05)
        self.assertEqual(self.received(), b"some more, and more")
        request.end()
        self.assertNoTimers()

    def test_client_leaves(self) -> None:
        """
        Nothing is left of a response that nobody waits for.
        """
        request = self.stream()
        request.send(b"some")
        self.transport.loseConnection()
        self.assertNoTimers()

    def test_fails(self) -> None:
        """
        A response that breaks off is seen to be broken.
        """
        request = self.stream()
        request.send(b"some")
        request.fail(ProxyError("http_response_incomplete"))
        self.assertTrue(self.transport.aborted)
        self.assertNotIn(b"0\r\n\r\n", self.transport.value())
        self.assertNoTimers()

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.integers(0, 100_000), max_size=8),
        st.sampled_from([b"gzip", b"br", b"zstd"]),
        st.integers(0, 2**32),
    )
    def test_any_pieces(self, sizes: list[int], coding: bytes, seed: int) -> None:
        """
        In whatever pieces it comes, it is the same at the other end.
        """
        source = random.Random(seed)
        pieces = [source.randbytes(size // 2) + b"a" * (size // 2) for size in sizes]
        request = self.stream(accept=coding)
        for piece in pieces:
            request.send(piece)
            if source.random() < 0.3:
                self.context.reactor.advance(0.05)
        request.end()
        self.assertEqual(DECODE[coding](Answer(self.transport.value()).body), b"".join(pieces))
        self.transport.loseConnection()


class Source:
    """
    Produces a response.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")


class ThreadTests(StreamTests):
    """
    Large pieces, which are compressed elsewhere.
    """

    def setUp(self) -> None:
        self.workshop = Workshop()
        super().setUp()

    def policy(self, table: compress.Config) -> None:
        self.context.keep(("threads",), lambda: self.workshop)
        super().policy(table)

    def test_any_pieces(self) -> None:
        """
        Not here: somebody has to do the work.
        """

    def test_order(self) -> None:
        """
        What comes behind a large piece waits for it, and so does the end; the source rests meanwhile.
        """
        large = TEXT * 10
        request = self.stream()
        source = request.source = Source()
        request.send(b"first")
        request.send(large)
        self.assertEqual(source.calls, ["pause"])
        request.send(b"second")
        request.resume_source()  # the client reads; we are busy all the same
        self.assertEqual(source.calls, ["pause"])
        self.context.reactor.advance(0.05)
        self.workshop.work()
        self.assertEqual(source.calls, ["pause"])
        self.workshop.work()
        self.assertEqual(source.calls, ["pause", "resume"])
        self.assertEqual(self.received(), b"first" + large + b"second")
        request.send(large)
        request.end()
        self.assertFalse(request.ended)
        self.workshop.work()
        self.assertTrue(request.ended)
        self.assertEqual(DECODE[b"gzip"](Answer(self.transport.value()).body), b"first" + large + b"second" + large)

    def test_whole(self) -> None:
        """
        A large Reply is compressed in one go.
        """
        self.page.body = TEXT * 10
        self.served.send(b"/", accept_encoding=b"br")
        self.assertEqual(self.served.transport.value(), b"")
        self.workshop.work()
        self.assertCoded(Answer(self.served.transport.value()), b"br", TEXT * 10)
        self.assertEqual(self.workshop.waiting, [])

    def test_large_file(self) -> None:
        """
        A file is read no faster than it is compressed.
        """
        root = Path(self.mktemp())
        root.mkdir()
        content = TEXT * 100
        (root / "a.html").write_bytes(content)
        made = compress.make(config(), self.context)
        self.served = Served(
            static.make(static.Config(root.absolute()), self.context), self.context, responding=(made.responding,)
        )
        self.served.send(b"/a.html", accept_encoding=b"zstd")
        turns = 0
        while self.workshop.waiting:
            self.assertEqual(len(self.workshop.waiting), 1)
            self.workshop.work()
            self.context.reactor.advance(0)
            turns += 1
        self.assertGreaterEqual(turns, len(content) // 131072)
        self.assertCoded(Answer(self.served.transport.value()), b"zstd", content)

    def test_leaves_meanwhile(self) -> None:
        """
        Work for a client that has left is thrown away.
        """
        request = self.stream()
        request.send(TEXT * 10)
        request.end()
        self.transport.loseConnection()
        self.assertTrue(request.ended)
        self.workshop.work()
        self.assertEqual(self.served.records[-1].reason, "client_disconnected")

    def test_breaks(self) -> None:
        """
        Work that fails breaks the response.
        """
        request = self.stream()
        request.send(TEXT * 10)
        self.workshop.waiting[0][0].errback(ValueError("out of memory"))
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class PolicyOrderTests(CompressTestCase):
    """
    Beside other filters.
    """

    def test_flushed_through_others(self) -> None:
        """
        What is let go late passes the filters behind.
        """

        class Counted:
            def __init__(self) -> None:
                self.seen = b""

            def feed(self, data: bytes) -> bytes:
                self.seen += data
                return data

            def finish(self) -> bytes:
                return b""

        counted = Counted()
        made = compress.make(config(), self.context)
        self.served = Served(self.page, self.context, responding=(made.responding, lambda request, head: counted))
        self.page.act = lambda request: request.start(ResponseHead(200, Fields.of([(b"Content-Type", HTML)])))
        self.served.send(b"/", accept_encoding=b"gzip")
        request = self.page.requests[-1]
        request.send(b"some")
        self.context.reactor.advance(0.05)
        request.send(b" more")
        request.end()
        self.assertEqual(DECODE[b"gzip"](counted.seen), b"some more")
