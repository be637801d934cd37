"""
Tests for what C{static} serves beside the file that a path names: C{try_files}, apps that route in the browser,
aliases, precompressed siblings, digests, error pages, lists of directories.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET

from tests.resources.serving import Answer, Context, Served
from twistginx.config.convert import structure
from twistginx.errors import ConfigError
from twistginx.explain.explanation import explain
from twistginx.explain.question import Question
from twistginx.http.message import Reply
from twistginx.resources import directory, static
from twistginx.resources.cachecontrol import CacheRules
from twistginx.resources.digests import wanted_algorithm
from twistginx.resources.listing import Directory, Entry, View, render, size_text
from twistginx.resources.mediatypes import FileTypes
from twistginx.routing.router import Route, Site
from twistginx.testing import MemoryServer

THEN = 1_000_000_000
LARGE = bytes(range(256)) * 1024


class DirectoryTestCase(SynchronousTestCase):
    """
    A directory that is served.
    """

    def setUp(self) -> None:
        self.top = Path(self.mktemp()).absolute()
        self.root = self.top / "www"
        self.root.mkdir(parents=True)
        self.context = Context(self.top)

    def write(self, name: str | bytes, content: bytes = b"", then: int = THEN) -> None:
        path = os.path.join(os.fsencode(self.root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, (then, then))

    def make(self, **options: Any) -> Any:
        if "alias" not in options:
            options.setdefault("root", "www")
        for key in ("root", "alias"):
            if key in options:
                options[key] = str(self.top / options[key])
        return static.make(structure(options, static.Config), self.context)

    def serve(self, route: dict[str, Any] | None = None, **options: Any) -> Served:
        self.served = Served(self.make(**options), self.context, **(route or {}))
        return self.served

    def get(self, path: bytes, method: bytes = b"GET", body: bytes = b"", **fields: bytes) -> Answer:
        return self.served.get(path, method, body, **fields)

    def assertBody(self, path: bytes, body: bytes | None) -> None:
        """
        Twice, because the second may be kept; None: there is none.
        """
        for _ in range(2):
            answer = self.get(path)
            self.assertEqual(answer.status, 404 if body is None else 200, path)
            if body is not None:
                self.assertEqual(answer.body, body, path)

    def refused(self, key: str, **options: Any) -> None:
        error = self.assertRaises(ConfigError, self.make, **options)
        self.assertEqual(error.key, key)


class AliasTests(DirectoryTestCase):
    """
    C{root} and C{alias}.
    """

    def test_root(self) -> None:
        """
        With C{root}, the path of the route is a part of the name of the file.
        """
        self.write("docs/a.txt", b"a")
        self.serve({"prefix": b"/docs"})
        self.assertBody(b"/docs/a.txt", b"a")

    def test_alias(self) -> None:
        """
        With C{alias}, it is not; and no more than the path of the route is taken away.
        """
        self.write("a.txt", b"a")
        self.write("docs/a.txt", b"deep")
        self.write("index.html", b"index")
        self.serve({"prefix": b"/docs"}, alias="www")
        self.assertBody(b"/docs/a.txt", b"a")
        self.assertBody(b"/docs/docs/a.txt", b"deep")
        self.assertBody(b"/docs/", b"index")
        self.assertEqual(self.get(b"/docs")[b"Location"], b"./docs/")

    def test_file(self) -> None:
        """
        A file stands for all paths of its route.
        """
        self.write("favicon.ico", b"icon")
        self.serve({"exact": b"/favicon.ico"}, alias="www/favicon.ico")
        self.assertBody(b"/favicon.ico", b"icon")
        self.assertEqual(self.get(b"/favicon.ico")[b"Content-Type"], b"image/x-icon")
        self.serve({"prefix": b"/any"}, alias="www/favicon.ico")
        self.assertBody(b"/any/thing/", b"icon")

    def test_wrong(self) -> None:
        """
        One of the two, and it must be there.
        """
        self.assertRaises(ConfigError, static.make, static.Config(), self.context)
        self.refused("alias", root="www", alias="www")
        self.refused("alias", alias="missing")


class TryFilesTests(DirectoryTestCase):
    """
    C{try_files}.
    """

    def setUp(self) -> None:
        super().setUp()
        for name in ("a.txt", "page.html", "docs/index.html", "empty/x.txt", "index.html", "what?.txt"):
            self.write(name, name.encode())

    def test_first_that_exists(self) -> None:
        """
        Files and directories, one after the other.
        """
        self.serve(try_files=["{path}", "{path}.html", "{path}/", "=404"])
        self.assertBody(b"/a.txt", b"a.txt")
        self.assertBody(b"/page", b"page.html")
        self.assertBody(b"/", b"index.html")
        self.assertBody(b"/docs/", b"docs/index.html")
        self.assertBody(b"/none", None)
        self.assertBody(b"/empty/", None)
        self.assertBody(b"/empty", None)
        self.assertBody(b"/what%3F.txt", b"what?.txt")
        self.assertEqual(self.get(b"/docs?x")[b"Location"], b"./docs/?x")

    def test_last_file(self) -> None:
        """
        The last is the file for all the rest.
        """
        self.serve(try_files=["{path}", "/index.html"])
        self.assertBody(b"/a.txt", b"a.txt")
        self.assertBody(b"/deep/down", b"index.html")
        self.assertBody(b"/", b"index.html")
        (self.root / "index.html").unlink()
        self.context.reactor.advance(2)
        self.assertBody(b"/deep/down", None)

    def test_explained(self) -> None:
        """
        Where it would look can be asked.
        """
        server = MemoryServer(
            """
            [[site]]
            listen = "tcp:80"
            [[site.route]]
            path = "/s"
            strip_prefix = true
            static = { root = "www", try_files = ["{path}.html", "/all.html"] }
            spool = true
            compress = ["gzip"]
            substitute = [{ find = "a", replace = "b" }]
            """,
            {"www/a": b""},
        )
        self.addCleanup(server.close)
        assert server.generation is not None
        text = str(explain(server.generation, Question.parse("http://a/s/x", ["Accept-Encoding: gzip"])))
        for words in ("/x.html beneath", "/all.html beneath", "with gzip", "replaces by 1", "takes the body whole"):
            self.assertIn(words, text)

    def test_below_a_prefix(self) -> None:
        """
        C{path} is what is looked for beneath the root.
        """
        self.serve({"prefix": b"/s", "strip": True}, try_files=["{path}.html", "=404"])
        self.assertBody(b"/s/page", b"page.html")

    def test_variables(self) -> None:
        """
        Files by the host; whoever says it names no file outside, and nothing is kept for another.
        """
        self.write("hosts/example.com/a.txt", b"by host")
        self.write("secret.txt", b"no")
        self.serve(try_files=["/hosts/{host}{path}", "=404"])
        self.assertBody(b"/a.txt", b"by host")
        self.serve(try_files=["/hosts/{arg.h}{path}", "=404"])
        self.assertEqual(self.get(b"/a.txt?h=example.com").body, b"by host")
        for other in (b"..", b"../..", b"%2e%2e", b"", b"nobody", b"example.com/..", b".."):
            self.assertEqual(self.get(b"/secret.txt?h=" + other).status, 404, other)
        self.assertEqual(self.get(b"/a.txt?h=nobody").status, 404)

    def test_status(self) -> None:
        """
        A failure of one's choice at the end.
        """
        for status in (403, 404, 410, 503):
            self.serve(try_files=["{path}", f"={status}"])
            self.assertEqual(self.get(b"/none").status, status)

    def test_hidden(self) -> None:
        """
        What is hidden is not found by another way.
        """
        self.write(".env", b"secret")
        self.serve(try_files=["{path}", "/index.html"])
        self.assertBody(b"/.env", b"index.html")

    def test_ask_site(self) -> None:
        """
        What is no file is asked of the site: the route that is there answers, and each of the two hears of the end.
        """
        finished: list[tuple[str, bytes]] = []

        def hook(name: str) -> Any:
            return lambda request, record: finished.append((name, request.head.target))

        class Front:
            isLeaf = True

            def render(self, request: Any) -> int:
                request.respond(Reply(200, (), b"%b %b" % (request.head.target, request.target_path)))
                return NOT_DONE_YET

        served = self.serve(try_files=["{path}", "{path}/", "/index.php?{query}"])
        files = served.site.routes[0].resource
        routes = (
            Route("php", Front(), exact=b"/index.php", streaming=True, finished=(hook("php"),)),
            Route("files", files, streaming=True, finished=(hook("files"),)),
        )
        served.site = Site("test", routes, self.context.reactor)
        served.frontend.default = served.site
        self.assertEqual(self.get(b"/blog/1?a=%20b").body, b"/index.php?a=%20b /index.php")
        self.assertEqual(finished, [("files", b"/blog/1?a=%20b"), ("php", b"/blog/1?a=%20b")])
        self.assertEqual(self.get(b"/a.txt").body, b"a.txt")
        self.assertEqual(served.records[0].status, 200)
        # A form goes there as well, and not to a file.
        self.assertEqual(self.get(b"/blog/2", b"POST", b"x").body, b"/index.php /index.php")
        for path in (b"/a.txt", b"/docs/", b"/"):
            self.assertEqual(self.get(path, b"POST", b"x").status, 405)
        self.assertEqual(self.get(b"/empty/", b"POST", b"x").status, 200)

    def test_in_circles(self) -> None:
        """
        Routes that lead to each other, or to themselves, end.
        """
        self.serve(try_files=["/none", "/x{path}"])
        self.assertEqual(self.get(b"/a").status, 500)
        self.serve(try_files=["/none", "{path}"])
        self.assertEqual(self.get(b"/nothing").status, 404)

    def test_wrong(self) -> None:
        """
        What can never work is refused.
        """
        for entries, key in (
            (["=404", "/a"], "try_files.0"),
            (["/a", "=200"], "try_files.1"),
            (["a"], "try_files.0"),
            ([""], "try_files.0"),
            (["/a?{query}", "/b"], "try_files.0"),
        ):
            self.refused(key, try_files=entries)
        self.refused("spa", try_files=["/a"], spa=True)

    def test_programs(self) -> None:
        """
        No program is sent as a text where one would expect it to run.
        """
        self.refused("index.1", root="www", index=["index.html", "index.php"])
        self.refused("try_files.1", try_files=["{path}", "/index.php"])
        self.refused("try_files.0", try_files=["{path}.php", "=404"])


class SinglePageTests(DirectoryTestCase):
    """
    C{spa}.
    """

    def test_fallback(self) -> None:
        """
        Pages are the app's; a script that is missing is missing.
        """
        self.write("index.html", b"app")
        self.write("app.js", b"js")
        self.serve(spa=True)
        for path in (b"/", b"/users/7", b"/users/john.doe", b"/users/"):
            self.assertBody(path, b"app")
        self.assertBody(b"/app.js", b"js")
        for path in (b"/old.js", b"/img/x.png", b"/.env", b"/a/.git/config"):
            self.assertBody(path, None)
        self.assertEqual(self.get(b"/users/7")[b"Content-Type"], b"text/html; charset=utf-8")
        self.assertEqual(self.get(b"/users/7", b"POST").status, 405)

    def test_named(self) -> None:
        """
        Another file than the index; without any, there is none.
        """
        self.write("200.html", b"app")
        self.serve(spa="200.html")
        self.assertBody(b"/users/7", b"app")
        self.serve(spa=True)
        self.assertBody(b"/users/7", None)
        self.refused("spa", spa="../x")


class CodedTests(DirectoryTestCase):
    """
    C{precompressed}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.write("a.css", b"plain")
        self.write("a.css.br", b"BR")
        self.write("a.css.gz", b"GZ")
        self.write("b.css", b"alone")
        self.write("big.css", LARGE)
        self.write("big.css.gz", LARGE[:70_000])
        self.serve(precompressed=True)

    def test_chosen(self) -> None:
        """
        What the client likes best of what there is, with the type of the file and a tag of its own.
        """
        tags = set()
        for accept, body, coding in (
            (b"", b"plain", None),
            (b"gzip", b"GZ", b"gzip"),
            (b"gzip, br", b"BR", b"br"),
            (b"zstd, gzip;q=0.5", b"GZ", b"gzip"),
            (b"zstd", b"plain", None),
            (b"br;q=0, gzip;q=0", b"plain", None),
        ):
            for _ in range(2):
                answer = self.get(b"/a.css", accept_encoding=accept)
                self.assertEqual((answer.body, answer[b"Content-Encoding"]), (body, coding))
                self.assertEqual(answer[b"Content-Type"], b"text/css; charset=utf-8")
                self.assertEqual(answer[b"Vary"], b"Accept-Encoding")
                tags.add((answer[b"ETag"], coding))
        self.assertEqual(len(tags), 3)
        self.assertEqual(self.get(b"/b.css", accept_encoding=b"gzip, br").body, b"alone")

    def test_large(self) -> None:
        """
        Large files as well; parts are of what was chosen.
        """
        self.assertEqual(self.get(b"/big.css", accept_encoding=b"br, gzip").body, LARGE[:70_000])
        self.assertEqual(self.get(b"/big.css").body, LARGE)
        answer = self.get(b"/big.css", accept_encoding=b"gzip", range=b"bytes=10-19")
        self.assertEqual((answer.status, answer.body, answer[b"Content-Encoding"]), (206, LARGE[10:20], b"gzip"))

    def test_conditions(self) -> None:
        """
        What has not changed has not changed in this coding.
        """
        tag = self.get(b"/a.css", accept_encoding=b"br")[b"ETag"] or b""
        again = self.get(b"/a.css", accept_encoding=b"br", if_none_match=tag)
        self.assertEqual((again.status, again[b"Vary"]), (304, b"Accept-Encoding"))
        self.assertEqual(self.get(b"/a.css", accept_encoding=b"gzip", if_none_match=tag).status, 200)

    def test_stale(self) -> None:
        """
        What was made of an earlier state of the file is not sent, and comes back when it is made anew.
        """
        self.write("a.css", b"changed", THEN + 10)
        self.context.reactor.advance(2)
        self.assertEqual(self.get(b"/a.css", accept_encoding=b"br").body, b"changed")
        self.write("a.css.br", b"NEW", THEN + 10)
        self.context.reactor.advance(2)
        self.assertEqual(self.get(b"/a.css", accept_encoding=b"br").body, b"NEW")
        (self.root / "a.css.br").unlink()
        self.context.reactor.advance(2)
        self.assertEqual(self.get(b"/a.css", accept_encoding=b"br").body, b"changed")

    def test_only_siblings(self) -> None:
        """
        What has no file of its own is not there; a sibling by its own name is a file like any.
        """
        self.write("c.css.gz", b"GZ")
        self.assertEqual(self.get(b"/c.css", accept_encoding=b"gzip").status, 404)
        answer = self.get(b"/a.css.gz", accept_encoding=b"gzip")
        self.assertEqual((answer[b"Content-Type"], answer[b"Content-Encoding"]), (b"application/gzip", None))

    def test_some(self) -> None:
        """
        Which, and in which order, can be said.
        """
        self.serve(precompressed=["gzip"])
        self.assertEqual(self.get(b"/a.css", accept_encoding=b"br, gzip").body, b"GZ")
        self.serve(precompressed=["gzip", "br"])
        self.assertEqual(self.get(b"/a.css", accept_encoding=b"br, gzip").body, b"GZ")
        self.refused("precompressed.0", precompressed=["lzma"])
        self.serve()
        answer = self.get(b"/a.css", accept_encoding=b"br")
        self.assertEqual((answer.body, answer[b"Vary"]), (b"plain", None))


class SaidTests(DirectoryTestCase):
    """
    What is said of files: their types, and how long they may be kept.
    """

    def test_cache_control(self) -> None:
        """
        The first pattern that matches the file counts; a 304 says it, too.
        """
        for name in ("index.html", "assets/a.js", "assets/deep/b.html", "c.js"):
            self.write(name, b"x")
        self.write("big.js", LARGE)
        self.serve(
            cache_control={"*.html": "no-cache", "assets/**": "max-age=31536000, immutable", "/big.js": "private"}
        )
        for path, value in (
            (b"/", b"no-cache"),
            (b"/index.html", b"no-cache"),
            (b"/assets/a.js", b"max-age=31536000, immutable"),
            (b"/assets/deep/b.html", b"no-cache"),
            (b"/c.js", None),
            (b"/big.js", b"private"),
        ):
            answer = self.get(path)
            self.assertEqual(answer[b"Cache-Control"], value, path)
            self.assertEqual(self.get(path, if_none_match=answer[b"ETag"] or b"")[b"Cache-Control"], value)
            self.assertEqual(self.get(path, range=b"bytes=0-0")[b"Cache-Control"], value)
        for rules in ({"": "x"}, {"a/": "x"}, {"*": "a\nb"}, {"*": ""}):
            error = self.assertRaises(ConfigError, CacheRules, rules)
            self.assertTrue(error.key.startswith("cache_control."))

    def test_types(self) -> None:
        """
        Types of one's own, by the longest extension; the charset of text; what the rest is.
        """
        types = FileTypes(
            {".html": "text/html", ".gz": "application/gzip"},
            {"foo": "text/x-foo", ".TAR.gz": "application/x-tgz", ".md": "text/markdown; charset=latin-1"},
            "text/plain",
            "utf-8",
        )
        for name, expected in (
            (b"a.html", b"text/html; charset=utf-8"),
            (b"a.FOO", b"text/x-foo; charset=utf-8"),
            (b"a.tar.gz", b"application/x-tgz"),
            (b"a.gz", b"application/gzip"),
            (b"a.md", b"text/markdown; charset=latin-1"),
            (b"README", b"text/plain; charset=utf-8"),
            (b".html", b"text/html; charset=utf-8"),
            (b"\xff.html", b"text/html; charset=utf-8"),
        ):
            self.assertEqual(types.of(name), expected, name)
        self.assertEqual(FileTypes({".html": "text/html"}, {}, None, None).of(b"a.html"), b"text/html")
        self.assertIsNone(FileTypes({}, {}, None, None).of(b"a"))
        for options in ({"types": {"a/b": "text/x"}}, {"types": {".x": "text"}}, {"charset": "a b"}):
            self.refused("types", **options)

    def test_no_type(self) -> None:
        """
        A file without a type says none, in its parts, too.
        """
        self.write("README", b"0123456789")
        self.serve(default_type="")
        self.assertIsNone(self.get(b"/README")[b"Content-Type"])
        answer = self.get(b"/README", range=b"bytes=0-1,4-5")
        self.assertNotIn(b"Content-Type:", answer.body)
        self.assertIn(b"\r\n\r\n01\r\n", answer.body)


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
        try:
            waiting.callback(work())
        except OSError:
            waiting.errback()


def repr_digest(data: bytes, name: str = "sha-256") -> bytes:
    return f"{name}=:{b64encode(hashlib.new(name.replace('-', ''), data).digest()).decode()}:".encode()


class DigestTests(DirectoryTestCase):
    """
    C{Want-Repr-Digest}.
    """

    def test_wanted(self) -> None:
        """
        The preferred of those that are fit for it.
        """
        for value, algorithm in (
            (b"sha-256=1", b"sha-256"),
            (b"sha-512=3, sha-256=10", b"sha-256"),
            (b"sha-512=3, sha-256=2", b"sha-512"),
            (b"sha-256=0", None),
            (b"md5=10", None),
            (b"", None),
            (b"sha-256", None),
            (b"sha-256=11", None),
            (b"sha-256=1;a=b,x", b"sha-256"),
        ):
            self.assertEqual(wanted_algorithm(value), algorithm, value)

    def test_answers(self) -> None:
        """
        It is of the whole, whatever is sent, and only for who wants it.
        """
        self.write("a.txt", b"abc")
        self.write("b.txt", LARGE)
        self.serve()
        for path, data in ((b"/a.txt", b"abc"), (b"/b.txt", LARGE)):
            self.assertIsNone(self.get(path)[b"Repr-Digest"])
            want = {"want_repr_digest": b"sha-256=1"}
            for _ in range(2):
                self.assertEqual(self.get(path, **want)[b"Repr-Digest"], repr_digest(data))
            self.assertEqual(self.get(path, b"HEAD", **want)[b"Repr-Digest"], repr_digest(data))
            part = self.get(path, range=b"bytes=1-1", **want)
            self.assertEqual((part.status, part.body, part[b"Repr-Digest"]), (206, data[1:2], repr_digest(data)))
            sha512 = self.get(path, want_repr_digest=b"sha-512=1")
            self.assertEqual(sha512[b"Repr-Digest"], repr_digest(data, "sha-512"))
            self.assertIsNone(self.get(path, if_none_match=b"*", **want)[b"Repr-Digest"])

    def test_once(self) -> None:
        """
        Who asks while it is made waits for the same; who leaves, leaves nothing open.
        """
        self.write("b.txt", LARGE)
        workshop = Workshop()
        self.context.keep(("threads",), lambda: workshop)
        self.serve()
        before = len(os.listdir("/proc/self/fd"))
        request = b"GET /b.txt HTTP/1.1\r\nHost: a\r\nWant-Repr-Digest: sha-256=1\r\n\r\n"
        clients = [self.served.connect() for _ in range(3)]
        for client in clients:
            client.protocol.dataReceived(request)
        clients[0].loseConnection()
        self.assertEqual(len(workshop.waiting), 1)
        workshop.work()
        for client in clients[1:]:
            while client.protocol.request is not None:
                self.context.reactor.advance(0.25)
            answer = Answer(client.value())
            self.assertEqual((answer.body, answer[b"Repr-Digest"]), (LARGE, repr_digest(LARGE)))
            client.loseConnection()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.get(b"/b.txt", want_repr_digest=b"sha-256=1")
        self.assertEqual(workshop.waiting, [])


class ErrorPageTests(DirectoryTestCase):
    """
    C{error_pages}.
    """

    def test_page(self) -> None:
        """
        The file is shown with the status of the failure, and what is said of failures is said.
        """
        self.write("errors/404.html", b"<h1>Lost</h1>")
        self.serve(error_pages={"404": "errors/404.html", "403": "missing.html"})
        answer = self.get(b"/none")
        self.assertEqual((answer.status, answer.body), (404, b"<h1>Lost</h1>"))
        self.assertEqual(answer[b"Content-Type"], b"text/html; charset=utf-8")
        self.assertEqual(answer[b"Cache-Control"], b"no-store")
        self.assertEqual(answer[b"Proxy-Status"], b"twistginx; error=destination_not_found")
        self.assertEqual(self.served.records[-1].reason, "destination_not_found")
        self.assertEqual(self.get(b"/none", b"HEAD").body, b"")
        (self.root / "out").symlink_to("/")
        self.assertIn(b"http_request_denied", self.get(b"/out/x").body)

    def test_wrong(self) -> None:
        """
        Statuses of failures, and files beneath the root.
        """
        for pages in ({"200": "a.html"}, {"x": "a.html"}, {"404": "../a.html"}, {"404": "a/"}):
            (key,) = pages
            self.refused(f"error_pages.{key}", error_pages=pages)


class Links(HTMLParser):
    """
    The links of a page, with their texts.
    """

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self._href: str | None = None
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._href = dict(attrs)["href"]
            self.links.append((self._href or "", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._href = None

    def handle_data(self, data: str) -> None:
        if self._href is not None:
            href, text = self.links.pop()
            self.links.append((href, text + data))


class ListingTests(DirectoryTestCase):
    """
    C{listing}.
    """

    def names(self, page: bytes) -> list[str]:
        """
        The entries of a page, in order.
        """
        rows = page.partition(b"<tbody>")[2].partition(b"</tbody>")[0]
        return [text for href, text in Links(rows).links if text != "../"]

    def setUp(self) -> None:
        super().setUp()
        self.write("b.txt", b"bb", THEN + 1)
        self.write("A.txt", b"a" * 2000, THEN)
        self.write("sub/x", b"x")
        self.write(".hidden", b"")
        self.serve(listing=True)

    def test_off(self) -> None:
        """
        Nothing is shown unless it is asked for; an index goes first.
        """
        self.serve()
        self.assertEqual(self.get(b"/").status, 404)
        self.write("sub/index.html", b"index")
        self.serve(listing=True)
        self.assertEqual(self.get(b"/sub/").body, b"index")
        self.assertEqual(self.get(b"/sub")[b"Location"], b"./sub/")

    def test_page(self) -> None:
        """
        Directories first, then files by name, whatever their case; nothing hidden.
        """
        answer = self.get(b"/")
        self.assertEqual(answer[b"Content-Type"], b"text/html; charset=utf-8")
        self.assertIn(b"default-src 'none'", answer[b"Content-Security-Policy"] or b"")
        self.assertEqual(answer[b"Vary"], b"Accept")
        self.assertEqual(self.names(answer.body), ["sub/", "A.txt", "b.txt"])
        self.assertIn(b"1 directory; 2 files, 2.0 KiB", answer.body)
        self.assertIn(b'<time datetime="2001-09-09T01:46:40Z">2001-09-09 01:46</time>', answer.body)
        self.assertEqual(self.get(b"/", b"HEAD").body, b"")
        self.assertEqual(self.get(b"/nothing/").status, 404)

    def test_sorted(self) -> None:
        """
        By name, size and time, both ways; what is asked wrongly is as usual.
        """
        for query, names in (
            (b"sort=name&order=desc", ["sub/", "b.txt", "A.txt"]),
            (b"sort=size", ["sub/", "b.txt", "A.txt"]),
            (b"sort=size&order=desc", ["sub/", "A.txt", "b.txt"]),
            (b"sort=time", ["sub/", "A.txt", "b.txt"]),
            (b"sort=time&order=desc", ["sub/", "b.txt", "A.txt"]),
            (b"sort=<script>&order=%22", ["sub/", "A.txt", "b.txt"]),
        ):
            page = self.get(b"/?" + query).body
            self.assertEqual(self.names(page), names, query)
            self.assertEqual(page.count(b"aria-sort"), 1 + page.count(b"th[aria-sort"))

    def test_json(self) -> None:
        """
        For who accepts JSON rather than HTML.
        """
        answer = self.get(b"/?sort=size", accept=b"application/json, text/html;q=0.5")
        self.assertEqual(answer[b"Content-Type"], b"application/json")
        self.assertEqual(
            json.loads(answer.body),
            {
                "path": "/",
                "complete": True,
                "entries": [
                    {
                        "name": "sub",
                        "type": "directory",
                        "modified": json.loads(answer.body)["entries"][0]["modified"],
                        "href": "./sub/",
                    },
                    {
                        "name": "b.txt",
                        "type": "file",
                        "size": 2,
                        "modified": "2001-09-09T01:46:41Z",
                        "href": "./b.txt",
                    },
                    {
                        "name": "A.txt",
                        "type": "file",
                        "size": 2000,
                        "modified": "2001-09-09T01:46:40Z",
                        "href": "./A.txt",
                    },
                ],
            },
        )
        for accept in (b"text/html,application/json;q=0.9", b"*/*", b""):
            self.assertEqual(self.get(b"/", accept=accept)[b"Content-Type"], b"text/html; charset=utf-8")

    def test_links(self) -> None:
        """
        Links are shown where they may be followed; what is no file is not shown.
        """
        (self.root / "inside").symlink_to("b.txt")
        (self.root / "outside").symlink_to("/etc/passwd")
        (self.root / "dangling").symlink_to("nowhere")
        os.mkfifo(self.root / "fifo")
        inside = {"deny": set(), "inside": {"inside"}, "follow": {"inside", "outside"}}
        for symlinks, shown in inside.items():
            self.serve(listing=True, symlinks=symlinks)
            self.assertEqual(set(self.names(self.get(b"/").body)), shown | {"A.txt", "b.txt", "sub/"})
        self.serve(listing=True, hidden=True)
        self.assertIn(".hidden", self.names(self.get(b"/").body))

    def test_bounded(self) -> None:
        """
        Of a huge directory, the first names are listed, and where those are that come behind; each is listed once.
        """
        self.patch(directory, "LISTED", 2)
        for name in ("c&d", "\u00e9", ".more"):
            self.write(name, b"")
        page = self.get(b"/?sort=size&order=desc").body
        self.assertEqual(self.names(page), ["A.txt", "b.txt"])
        onward = {text: href for href, text in Links(page).links}
        self.assertEqual(onward["More"], "?sort=size&order=desc&after=b.txt")
        self.assertNotIn("From the beginning", onward)
        seen, query = [], ""
        while True:
            answer = json.loads(self.get(b"/" + query.encode(), accept=b"application/json").body)
            seen += [entry["name"] for entry in answer["entries"]]
            self.assertEqual(answer["complete"], "next" not in answer)
            if answer["complete"]:
                break
            query = answer["next"]
        self.assertEqual(seen, ["A.txt", "b.txt", "sub", "c&d", "\u00e9"])
        self.assertIn("after=sub", query)
        last = self.get(b"/" + query.encode()).body
        self.assertEqual(self.names(last), ["\u00e9"])
        links = {text: href for href, text in Links(last).links}
        self.assertNotIn("More", links)
        self.assertEqual(links["From the beginning"], "?sort=name&order=asc")
        self.assertIn("after=sub", links["Size"])
        self.assertEqual(self.names(self.get(b"/?after=zzz").body), ["\u00e9"])
        self.assertEqual(self.names(self.get(b"/?after=%ff").body), [])

    def test_elsewhere(self) -> None:
        """
        It is read in a thread; a client that does not wait for it leaves nothing open, nor does a disk that fails.
        """
        workshop = Workshop()
        self.context = Context(self.top)
        self.context.keep(("threads",), lambda: workshop)
        self.serve(listing=True)
        before = len(os.listdir("/proc/self/fd"))
        self.served.send(b"/")
        self.served.transport.loseConnection()
        workshop.work()
        self.served.send(b"/")
        workshop.work()
        self.assertEqual(Answer(self.served.transport.value()).status, 200)

        def scan(*_: object) -> None:
            raise OSError(5, "Input/output error")

        self.patch(directory, "scan", scan)
        self.served.send(b"/")
        workshop.work()
        self.assertEqual(Answer(self.served.transport.value()).status, 500)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_prefix(self) -> None:
        """
        The way up is relative, so that it is right wherever a proxy has put us.
        """
        self.serve({"prefix": b"/files", "strip": True}, listing=True)
        page = self.get(b"/files/sub/").body
        links = {text: href for href, text in Links(page).links}
        self.assertEqual(urljoin("http://a/files/sub/", links["../"]), "http://a/files/")
        self.assertEqual(urljoin("http://a/files/sub/", links["files"]), "http://a/files/")
        self.assertEqual(urljoin("http://a/files/sub/", links["sub"]), "http://a/files/sub/")

    @settings(max_examples=60, deadline=None)
    @given(st.sets(st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & {0, 47}), max_size=4))
    def test_any_name(self, names: set[bytes]) -> None:
        """
        Whatever a file is called, in whatever encoding: its link leads to it, and it adds no tag to the page.
        """
        place = os.path.join(os.fsencode(self.root), b"any")
        for name in os.listdir(place) if os.path.isdir(place) else ():
            os.unlink(os.path.join(place, name))
        names = {name for name in names if name not in (b".", b"..") and not name.startswith(b".")}
        for name in names:
            self.write(b"any/" + name, name)
        os.makedirs(place, exist_ok=True)
        self.context.reactor.advance(2)
        page = self.get(b"/any/").body
        links = [href for href, text in Links(page.partition(b"<tbody>")[2]).links if text != "../"]
        found = set()
        for href in links:
            target = urljoin("http://a/any/", href).removeprefix("http://a").encode()
            found.add(unquote_to_bytes(target.rpartition(b"/")[2]))
            self.assertEqual(self.get(target).status, 200, target)
        self.assertEqual(found, names)
        self.assertEqual(page.count(b"<tr>"), len(names) + 2)
        listed = json.loads(self.get(b"/any/", accept=b"application/json").body)["entries"]
        self.assertEqual({unquote_to_bytes(entry["href"][2:]) for entry in listed}, names)

    def test_whole_page(self) -> None:
        """
        A page is one page: a path that looks like HTML is text in it.
        """
        _, page = render(Directory([Entry(b"<b>&\"'", False, 1, 0)]), View(b"/<script>/"))
        self.assertNotIn(b"<script>", page)
        self.assertNotIn(b"<b>&", page)
        self.assertEqual(len(re.findall(rb"<h1>", page)), 1)

    def test_sizes(self) -> None:
        """
        Sizes as people read them.
        """
        for size, text in (
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_188, "9.9 KiB"),
            (10_240, "10 KiB"),
            (1_048_064, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (1 << 62, "4096 PiB"),
        ):
            self.assertEqual(size_text(size), text)
