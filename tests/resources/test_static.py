"""
Tests for L{twistginx.resources.static}, over the real channel.
"""

from __future__ import annotations

import os
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import static as twisted_static
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.test.requesthelper import DummyRequest
from zope.interface.verify import verifyObject

from tests.resources.serving import Context, Served
from twistginx.errors import ConfigError
from twistginx.interfaces import IResourceModule, IStreaming
from twistginx.resources import static
from twistginx.resources.representation import SMALL, SmallFiles

#: 9 September 2001, 01:46:40.
THEN = 1_000_000_000
DATE = b"Sun, 09 Sep 2001 01:46:40 GMT"
LARGE = bytes(range(256)) * 1024


class StaticTestCase(SynchronousTestCase):
    """
    A directory that is served.
    """

    def setUp(self):
        self.top = Path(self.mktemp()).absolute()
        self.root = self.top / "www"
        self.root.mkdir(parents=True)
        self.context = Context(self.top)

    def write(self, name: str, content: bytes = b"", then: int = THEN) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (then, then))
        return path

    def serve(self, **options) -> Served:
        config = static.Config(**{"root": Path("www"), **options})
        return Served(static.make(config, self.context), self.context)

    def reason(self, served: Served) -> str:
        return served.records[-1].reason


class FileTests(StaticTestCase):
    """
    What a plain GET gets.
    """

    def test_module(self):
        """
        It is a resource's module, and makes a streaming resource that is a File of Twisted's.
        """
        verifyObject(IResourceModule, static)
        made = static.make(static.Config(Path("www")), self.context)
        self.assertTrue(IStreaming.providedBy(made))
        self.assertTrue(IResource.providedBy(made))
        self.assertIsInstance(made, twisted_static.File)

    def test_small_and_large(self):
        """
        Files of all sizes come whole, with type, length, tag and date.
        """
        served = self.serve()
        for size in (0, 1, SMALL, SMALL + 1, len(LARGE)):
            self.write(f"{size}.txt", LARGE[:size])
            for _ in range(2):
                answer = served.get(b"/%d.txt" % size)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.body, LARGE[:size])
                self.assertEqual(answer[b"Content-Length"], b"%d" % size)
                self.assertEqual(answer[b"Content-Type"], b"text/plain; charset=utf-8")
                self.assertEqual(answer[b"Accept-Ranges"], b"bytes")
                self.assertEqual(answer[b"Last-Modified"], DATE)
                self.assertTrue(answer[b"ETag"].startswith(b'"'))

    def test_head(self):
        """
        HEAD says the same as GET, without the body.
        """
        served = self.serve()
        for size in (100, len(LARGE)):
            self.write("f.bin", LARGE[:size])
            whole, head = served.get(b"/f.bin"), served.get(b"/f.bin", b"HEAD")
            self.assertEqual(head.body, b"")
            self.assertEqual(sorted(head.fields), sorted(whole.fields))
            self.context.reactor.advance(2)

    def test_other_methods(self):
        """
        Files can only be read, and the client is told how.
        """
        self.write("a.txt")
        served = self.serve()
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS"):
            answer = served.get(b"/a.txt", method, b"x")
            self.assertEqual(answer.status, 405)
            self.assertEqual(answer[b"Allow"], b"GET, HEAD")

    def test_types(self):
        """
        The type is that of the extension in any case; text is UTF-8; an archive is an archive; else it is just bytes.
        """
        served = self.serve()
        for name, expected in (
            ("a.html", b"text/html; charset=utf-8"),
            ("A.HTML", b"text/html; charset=utf-8"),
            ("a.js", b"text/javascript; charset=utf-8"),
            ("a.json", b"application/json"),
            ("a.svg", b"image/svg+xml"),
            ("a.wasm", b"application/wasm"),
            ("a.tar.gz", b"application/gzip"),
            ("a.woff2", b"font/woff2"),
            ("README", b"application/octet-stream"),
            ("a.nobody", b"application/octet-stream"),
        ):
            self.write(name)
            answer = served.get(b"/" + name.encode())
            self.assertEqual(answer[b"Content-Type"], expected, name)
            self.assertIsNone(answer[b"Content-Encoding"])

    def test_missing(self):
        """
        What is not there is 404; so is a file with a slash behind it.
        """
        self.write("a.txt")
        self.write("large.txt", LARGE)
        served = self.serve()
        for target in (b"/b.txt", b"/a.txt/", b"/large.txt/", b"/a.txt/b", b"/" + b"x" * 5000, b"/a.tx"):
            self.assertEqual(served.get(target).status, 404, target)
            self.assertEqual(self.reason(served), "destination_not_found")

    def test_any_name(self):
        """
        Names are bytes: spaces, UTF-8, and what is no UTF-8 at all.
        """
        for name in (b"with space+.txt", "grüße.txt".encode(), b"\xff\xfe.txt", b"100%.txt", b"a\\b.txt", b"q?.txt"):
            path = os.fsencode(self.root) + b"/" + name
            with open(path, "wb") as file:
                file.write(name)
            target = b"/" + b"".join(b"%%%02x" % byte for byte in name)
            self.assertEqual(self.serve().get(target).body, name)

    def test_hidden(self):
        """
        Files and directories whose names begin with a dot are not served, unless they are wanted.
        """
        for name in (".env", ".git/config", "sub/.htaccess", ".well-known/acme/x"):
            self.write(name, b"x")
        served = self.serve()
        for target in (b"/.env", b"/.git/config", b"/%2egit/config", b"/sub/.htaccess", b"/.git/", b"/.git"):
            self.assertEqual(served.get(target).status, 404, target)
        self.assertEqual(served.get(b"/.well-known/acme/x").status, 200)
        self.assertEqual(self.serve(hidden=True).get(b"/.env").body, b"x")

    def test_denied(self):
        """
        A link out of the root is 403, and what is no regular file too.
        """
        (self.top / "secret").write_bytes(b"SECRET")
        (self.root / "out").symlink_to("../secret")
        os.mkfifo(self.root / "fifo")
        served = self.serve()
        for target in (b"/out", b"/fifo"):
            self.assertEqual(served.get(target).status, 403)
            self.assertEqual(self.reason(served), "http_request_denied")
        self.assertEqual(self.serve(symlinks="follow").get(b"/out").body, b"SECRET")

    def test_unreadable_while_read(self):
        """
        A file that cannot be read after all is our failure, not an empty file.
        """
        self.write("a.txt", b"abc")

        def fail(*args):
            raise OSError(5, "Input/output error")

        self.patch(os, "pread", fail)
        served = self.serve()
        self.assertEqual(served.get(b"/a.txt").status, 500)
        self.assertIn("Input/output error", served.records[-1].detail)


class DirectoryTests(StaticTestCase):
    """
    What a directory gets.
    """

    def test_index(self):
        """
        The first index file that there is answers for its directory.
        """
        self.write("index.html", b"root")
        self.write("sub/home.htm", b"home")
        self.write("both/index.html", b"index")
        self.write("both/home.htm", b"home")
        served = self.serve(index=("index.html", "home.htm"))
        for target, body in ((b"/", b"root"), (b"/sub/", b"home"), (b"/both/", b"index")):
            for _ in range(2):
                answer = served.get(target)
                self.assertEqual((answer.status, answer.body), (200, body))
                self.assertEqual(answer[b"Content-Type"], b"text/html; charset=utf-8")

    def test_no_index(self):
        """
        A directory without one is not found; an index that is a directory is none.
        """
        (self.root / "sub" / "index.html").mkdir(parents=True)
        served = self.serve()
        self.assertEqual(served.get(b"/").status, 404)
        self.assertEqual(served.get(b"/sub/").status, 404)
        self.assertEqual(self.serve(index=()).get(b"/").status, 404)

    def test_slash(self):
        """
        A directory is asked for with a slash, so that its relative links are right.
        """
        self.write("sub/index.html")
        served = self.serve()
        for target, location in (
            (b"/sub", b"./sub/"),
            (b"/sub?a=1&b", b"./sub/?a=1&b"),
            (b"/x/../sub", b"./sub/"),
            (b"/s%75b", b"./s%75b/"),
        ):
            for method in (b"GET", b"HEAD"):
                answer = served.get(target, method)
                self.assertEqual((answer.status, answer[b"Location"]), (301, location))

    def test_slash_leads_nowhere_else(self):
        """
        The redirect stays on this host, however the path is spelled.
        """
        self.write("evil.example/index.html")
        (self.root / "javascript:alert(1)").mkdir()
        (self.root / "evil\\..").mkdir()
        served = self.serve()
        for target in (
            b"//evil.example",
            b"///evil.example",
            b"//x/%2e%2e/evil.example",
            b"http://example.com//evil.example",
            b"/javascript:alert(1)",
            b"/evil%5c..",
        ):
            answer = served.get(target)
            self.assertEqual(answer.status, 301, target)
            self.assertTrue(answer[b"Location"].startswith(b"./"), answer[b"Location"])
            self.assertNotIn(b"//", answer[b"Location"])
            self.assertNotIn(b"\\", answer[b"Location"])

    def test_strip_prefix(self):
        """
        With strip_prefix the files are found beneath the prefix, whose own slash matters.
        """
        self.write("index.html", b"index")
        self.write("a.txt", b"a")
        context = self.context
        made = static.make(static.Config(Path("www")), context)
        served = Served(made, context, prefix=b"/static", strip=True)
        self.assertEqual(served.get(b"/static/a.txt").body, b"a")
        self.assertEqual(served.get(b"/static/").body, b"index")
        for _ in range(2):
            self.assertEqual(served.get(b"/static")[b"Location"], b"./static/")
        self.assertEqual(served.get(b"/static/static/a.txt").status, 404)


class KeptTests(StaticTestCase):
    """
    Small files are kept, and changes are seen.
    """

    def opened(self) -> list[bytes]:
        """
        What is opened from now on.
        """
        real = os.open
        names = []

        def recorded(path, *args, **options):
            names.append(os.path.basename(os.fsencode(path)))
            return real(path, *args, **options)

        self.patch(os, "open", recorded)
        return names

    def test_kept(self):
        """
        Within a second a file is opened once, and read once as long as it does not change.
        """
        self.write("a.txt", b"abc")
        served = self.serve()
        opened = self.opened()
        reads = []
        pread = os.pread
        self.patch(os, "pread", lambda *args: reads.append(args) or pread(*args))
        served.connect()
        for _ in range(5):
            self.assertEqual(served.get(b"/a.txt").body, b"abc")
        self.assertEqual(opened.count(b"a.txt"), 1)
        self.context.reactor.advance(1.5)
        self.assertEqual(served.get(b"/a.txt").body, b"abc")
        self.assertEqual(opened.count(b"a.txt"), 2)
        self.assertEqual(len(reads), 1)

    def test_changed(self):
        """
        A change is served a second later: of the content, the name's file, the type of the file, and its absence.
        """
        path = self.write("a.txt", b"old")
        served = self.serve()
        keeping = served.connect()
        tag = served.get(b"/a.txt")[b"ETag"]

        def after(change) -> bytes:
            change()
            self.context.reactor.advance(1.5)
            return served.get(b"/a.txt").body

        self.assertEqual(after(lambda: self.write("a.txt", b"new", THEN + 1)), b"new")
        self.assertNotEqual(served.get(b"/a.txt")[b"ETag"], tag)
        other = self.write("b.txt", b"one")
        self.assertEqual(after(lambda: os.replace(other, path)), b"one")
        self.assertEqual(after(lambda: self.write("a.txt", LARGE)), LARGE)
        self.assertEqual(after(lambda: self.write("a.txt", b"small")), b"small")
        path.unlink()
        self.context.reactor.advance(1.5)
        self.assertEqual(served.get(b"/a.txt").status, 404)
        keeping.loseConnection()

    def test_better_index(self):
        """
        An index file that comes first is seen when it comes.
        """
        self.write("home.htm", b"second")
        served = self.serve(index=("index.html", "home.htm"))
        keeping = served.connect()
        self.assertEqual(served.get(b"/").body, b"second")
        self.write("index.html", b"first")
        self.context.reactor.advance(1.5)
        self.assertEqual(served.get(b"/").body, b"first")
        keeping.loseConnection()

    def test_young(self):
        """
        A file that has just been written may change without showing it, so it is read again each time we look.
        """
        path = self.write("a.txt", b"one")
        os.utime(path)
        status = path.stat()
        served = self.serve()
        keeping = served.connect()
        self.assertEqual(served.get(b"/a.txt").body, b"one")
        path.write_bytes(b"two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.context.reactor.advance(1.5)
        self.assertEqual(served.get(b"/a.txt").body, b"two")
        keeping.loseConnection()

    def test_bounds(self):
        """
        What is kept is bounded, in bytes and in files; what was looked at last stays.
        """

        class Kept:
            def __init__(self, size):
                self.content = bytes(size)

        files = SmallFiles(bound=100, entries=3)
        for name in (b"a", b"b", b"c"):
            files.keep(name, Kept(30))
        files.keep(b"a", Kept(40))
        self.assertEqual((list(files.files), files.size), ([b"b", b"c", b"a"], 100))
        files.keep(b"d", Kept(1))
        self.assertEqual((list(files.files), files.size), ([b"c", b"a", b"d"], 71))
        files.keep(b"e", Kept(99))
        self.assertEqual((list(files.files), files.size), ([b"d", b"e"], 100))
        files.drop(b"d")
        files.drop(b"d")
        self.assertEqual((list(files.files), files.size), ([b"e"], 99))


class ConditionalTests(StaticTestCase):
    """
    Requests with conditions; what they mean is tested in test_conditions.
    """

    def test_not_modified(self):
        """
        A client that has the file is told so, without a body, and with the validators.
        """
        served = self.serve()
        for size in (100, len(LARGE)):
            self.write(f"{size}.txt", LARGE[:size])
            target = b"/%d.txt" % size
            tag = served.get(target)[b"ETag"]
            for condition in ({"if_none_match": tag}, {"if_modified_since": DATE}):
                for method in (b"GET", b"HEAD"):
                    answer = served.get(target, method, **condition)
                    self.assertEqual((answer.status, answer.body), (304, b""))
                    self.assertEqual((answer[b"ETag"], answer[b"Last-Modified"]), (tag, DATE))
                    self.assertIsNone(answer[b"Content-Length"])
                    self.assertIsNone(answer[b"Content-Type"])
            self.assertEqual(served.get(target, if_none_match=b'"x"').status, 200)

    def test_precondition_failed(self):
        """
        A client that wants another state gets 412.
        """
        served = self.serve()
        for size in (100, len(LARGE)):
            self.write(f"{size}.txt", LARGE[:size])
            self.assertEqual(served.get(b"/%d.txt" % size, if_match=b'"x"').status, 412)
            self.assertEqual(served.get(b"/%d.txt" % size, if_match=b"*").status, 200)

    def test_future(self):
        """
        A file from the future has no date that could be sent.
        """
        self.write("a.txt", b"x", 4_000_000_000)
        served = self.serve()
        answer = served.get(b"/a.txt", if_modified_since=b"Tue, 02 Oct 2096 07:06:40 GMT")
        self.assertEqual(answer.status, 200)
        self.assertIsNone(answer[b"Last-Modified"])


class RangeTests(StaticTestCase):
    """
    Requests for parts; which parts is tested in test_ranges.
    """

    def files(self):
        served = self.serve()
        for size in (1000, len(LARGE)):
            self.write(f"{size}.txt", LARGE[:size])
            yield served, b"/%d.txt" % size, LARGE[:size]

    def test_one(self):
        """
        One range is the whole answer.
        """
        for served, target, content in self.files():
            answer = served.get(target, range=b"bytes=10-19")
            self.assertEqual((answer.status, answer.body), (206, content[10:20]))
            self.assertEqual(answer[b"Content-Range"], b"bytes 10-19/%d" % len(content))
            self.assertEqual(answer[b"Content-Length"], b"10")
            self.assertEqual(answer[b"Content-Type"], b"text/plain; charset=utf-8")
            self.assertEqual(served.get(target, range=b"bytes=-7").body, content[-7:])

    def test_several(self):
        """
        Several ranges come in parts, each with its place and type.
        """
        for served, target, content in self.files():
            answer = served.get(target, range=b"bytes=900-909,0-0,-5")
            self.assertEqual(answer.status, 206)
            self.assertEqual(answer[b"Content-Length"], b"%d" % len(answer.body))
            self.assertIsNone(answer[b"Content-Range"])
            self.assertEqual(
                [(part["Content-Range"], part.get_payload(decode=True)) for part in self.parts(answer)],
                [
                    (f"bytes 900-909/{len(content)}", content[900:910]),
                    (f"bytes 0-0/{len(content)}", content[:1]),
                    (f"bytes {len(content) - 5}-{len(content) - 1}/{len(content)}", content[-5:]),
                ],
            )
            self.assertEqual({part["Content-Type"] for part in self.parts(answer)}, {"text/plain; charset=utf-8"})

    def parts(self, answer) -> list[Message]:
        """
        The parts, as Python's own parser of MIME sees them.
        """
        head = b"MIME-Version: 1.0\r\nContent-Type: " + answer[b"Content-Type"] + b"\r\n\r\n"
        return BytesParser().parsebytes(head + answer.body).get_payload()

    def test_unsatisfiable(self):
        """
        A range that does not exist is 416, and the client is told the size.
        """
        for served, target, content in self.files():
            answer = served.get(target, range=b"bytes=9999999-")
            self.assertEqual((answer.status, answer.body), (416, b""))
            self.assertEqual(answer[b"Content-Range"], b"bytes */%d" % len(content))

    def test_ignored(self):
        """
        HEAD, nonsense, and an If-Range that does not hold get the whole.
        """
        for served, target, content in self.files():
            tag = served.get(target)[b"ETag"]
            self.assertEqual(served.get(target, b"HEAD", range=b"bytes=0-1").status, 200)
            self.assertEqual(served.get(target, range=b"bytes=a-").body, content)
            self.assertEqual(served.get(target, range=b"bytes=0-1", if_range=b'"x"').body, content)
            self.assertEqual(served.get(target, range=b"bytes=0-1", if_range=tag).body, content[:2])
            self.assertEqual(served.get(target, range=b"bytes=0-1", if_range=DATE).body, content[:2])
            self.assertEqual(served.get(target, range=b"bytes=0-1", if_none_match=tag).status, 304)


class DescriptorTests(StaticTestCase):
    """
    Nothing stays open.
    """

    def test_all_answers(self):
        """
        After answers of every kind no file is open.
        """
        if not os.path.isdir("/proc/self/fd"):
            self.skipTest("there is no list of descriptors")
        self.write("large.txt", LARGE)
        self.write("small.txt", b"x")
        self.write("sub/index.html", b"x")
        served = self.serve()
        before = len(os.listdir("/proc/self/fd"))
        tag = served.get(b"/large.txt")[b"ETag"]
        for target in (b"/large.txt", b"/large.txt/", b"/small.txt", b"/sub", b"/sub/", b"/none"):
            for fields in ({}, {"if_none_match": tag}, {"if_match": b'"x"'}, *RANGES):
                served.get(target, **fields)
                served.get(target, b"HEAD", **fields)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_client_leaves(self):
        """
        A client that leaves in the middle of a large file leaves nothing open.
        """
        self.write("large.txt", LARGE)
        served = self.serve()
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for fields in ({}, *RANGES):
            transport = served.connect()
            transport.room = 1000
            lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in fields.items())
            transport.protocol.dataReceived(b"GET /large.txt HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
            self.assertTrue(transport.connected)
            transport.loseConnection()
        if before:
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)


RANGES = ({"range": b"bytes=0-99"}, {"range": b"bytes=0-99,70000-200000"}, {"range": b"bytes=99999999-"})

#: What paths that mean to escape are made of.
PIECES = st.sampled_from(
    [
        *(b"/", b"..", b".", b"%2e", b"%2E%2e", b"%252e", b"%2f", b"%5c", b"\\", b"%00", b"%c0%ae", b"%c0%af", b"//"),
        *(b"%ff", b";", b"~", b":", b"www", b"a.txt", b"sub", b"secret.txt", b".hidden", b"out", b"outdir", b"up"),
        *(b"abs", b"in", b"indir", b"?", b"etc", b"passwd", b"proc", b"self", b"%uff0e", b"\xc0\xae"),
    ]
)


class EscapeTests(StaticTestCase):
    """
    No path that a client can spell opens anything outside of the root, or hidden in it.
    """

    def setUp(self):
        super().setUp()
        (self.top / "secret.txt").write_bytes(b"SECRET")
        (self.top / "wwwx").mkdir()
        (self.top / "wwwx" / "secret.txt").write_bytes(b"SECRET")
        self.write(".hidden/secret.txt", b"SECRET")
        self.write("sub/.hidden", b"SECRET")
        self.write("a.txt", b"fine")
        for name, target in (
            ("out", "../secret.txt"),
            ("outdir", ".."),
            ("sub/up", "../.."),
            ("abs", self.top),
            ("in", "a.txt"),
            ("indir", "sub/../sub"),
        ):
            (self.root / name).symlink_to(target)
        self.served = self.serve()

    def test_known_spellings(self):
        """
        The usual ones.
        """
        for target in (
            b"/../secret.txt",
            b"/%2e%2e/secret.txt",
            b"/%2e%2e%2fsecret.txt",
            b"/..%2fsecret.txt",
            b"/..%5csecret.txt",
            b"/..\\secret.txt",
            b"/%252e%252e/secret.txt",
            b"/%c0%ae%c0%ae/secret.txt",
            b"/..%c0%afsecret.txt",
            b"/sub/../../secret.txt",
            b"/sub/%2e%2e/%2e%2e/secret.txt",
            b"//" + os.fsencode(self.top) + b"/secret.txt",
            b"/%2f" + os.fsencode(self.top) + b"/secret.txt",
            b"/a.txt%00/../../secret.txt",
            b"/.%2e/secret.txt",
            b"/..;/secret.txt",
            b"/.hidden/secret.txt",
            b"/out",
            b"/outdir/secret.txt",
            b"/sub/up/secret.txt",
            b"/abs/secret.txt",
        ):
            answer = self.served.get(target)
            self.assertNotIn(b"SECRET", answer.body, target)
            self.assertIn(answer.status, (400, 403, 404), target)
        self.assertEqual(self.served.get(b"/in").body, b"fine")

    @settings(max_examples=300)
    @given(st.lists(PIECES, max_size=9).map(lambda pieces: b"/" + b"".join(pieces)))
    def test_any_spelling(self, target):
        """
        Whatever is put together of what escapes are made of: a file of ours, or a refusal.
        """
        answer = self.served.get(target)
        self.assertNotIn(b"SECRET", answer.body)
        self.assertIn(answer.status, (200, 301, 400, 403, 404))
        if answer.status == 200:
            self.assertEqual(answer.body, b"fine")


class ConfigTests(StaticTestCase):
    """
    Configurations.
    """

    def test_shorthand(self):
        """
        A string is the root.
        """
        self.assertEqual(static.Config.from_shorthand("www"), static.Config(Path("www")))
        self.assertRaises(ValueError, static.Config.from_shorthand, 3)
        self.assertRaises(ValueError, static.Config.from_shorthand, "")

    def test_root(self):
        """
        A root that is missing, or is a file, is reported before anything is served.
        """
        self.write("file")
        for root, message in (("nowhere", '"nowhere" does not exist'), ("www/file", '"www/file" is not a directory')):
            error = self.assertRaises(ConfigError, static.make, static.Config(Path(root)), self.context)
            self.assertEqual((error.message, error.key), (message, "root"))

    def test_index(self):
        """
        An index is a name, not a path.
        """
        for name in ("", "..", "/etc/passwd", "a/b", "a\0"):
            config = static.Config(Path("www"), index=("index.html", name))
            error = self.assertRaises(ConfigError, static.make, config, self.context)
            self.assertEqual(error.key, "index.1")


class StockTests(StaticTestCase):
    """
    What is inherited works for those who walk the tree as Twisted's.
    """

    def test_children(self):
        """
        C{getChild} gives Twisted's own Files.
        """
        self.write("sub/a.txt", b"abc")
        made = static.make(static.Config(Path("www")), self.context)
        made.isLeaf = False
        child = getChildForRequest(made, DummyRequest([b"sub", b"a.txt"]))
        self.assertIs(type(child), twisted_static.File)
        self.assertEqual(child.getContent(), b"abc")
        self.assertEqual(made.listNames(), ["sub"])
