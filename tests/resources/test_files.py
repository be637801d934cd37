"""
Tests for L{twistginx.resources.files}.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.errors import ProxyError
from twistginx.resources.files import Root, names_in

NAMES = st.sampled_from(
    [b"", b".", b"..", b"...", b"a", b".git", b".well-known", b"..\\..", b"\0", b"\xff\xfe", b"%2e%2e"]
)


class NamesTests(SynchronousTestCase):
    """
    From a path to names.
    """

    def test_names(self):
        """
        A path is its segments; a slash at the end is none.
        """
        for path, expected in (
            (b"/", []),
            (b"", []),
            (b"/a", [b"a"]),
            (b"/a/b.txt", [b"a", b"b.txt"]),
            (b"/a/", [b"a"]),
            (b"/\xe4\xff", [b"\xe4\xff"]),
            (b"/a%2Fb", [b"a%2Fb"]),
            (b"/..\\b", None),
        ):
            self.assertEqual(names_in(path, hidden=False), expected, path)

    def test_refused(self):
        """
        Empty names, dots and NUL are no names, whether hidden ones are allowed or not.
        """
        for path in (b"//", b"//a", b"/a//b", b"/a//", b"/..", b"/a/../b", b"/.", b"/a/.", b"/a\0", b"/\0"):
            self.assertIsNone(names_in(path, hidden=False), path)
            self.assertIsNone(names_in(path, hidden=True), path)

    def test_hidden(self):
        """
        What begins with a dot is hidden, except C{.well-known} at the root (RFC 8615).
        """
        for path in (b"/.git/config", b"/a/.htaccess", b"/...", b"/a/.well-known", b"/.well-known/.x"):
            self.assertIsNone(names_in(path, hidden=False), path)
            self.assertIsNotNone(names_in(path, hidden=True), path)
        self.assertEqual(names_in(b"/.well-known/x", hidden=False), [b".well-known", b"x"])

    @given(st.lists(NAMES, max_size=5), st.booleans())
    def test_never_up(self, names, hidden):
        """
        No name goes up, stays where it is, or ends early for the system.
        """
        for name in names_in(b"/" + b"/".join(names), hidden) or ():
            self.assertNotIn(name, (b"", b".", b".."))
            self.assertNotIn(b"\0", name)
            self.assertNotIn(b"/", name)


class RootTests(SynchronousTestCase):
    """
    Opening beneath a root.
    """

    def setUp(self):
        top = Path(self.mktemp()).absolute()
        self.top = top
        self.root = top / "root"
        (self.root / "sub" / "deep").mkdir(parents=True)
        (self.root / "a.txt").write_bytes(b"a")
        (self.root / "sub" / "b.txt").write_bytes(b"b")
        (top / "secret.txt").write_bytes(b"SECRET")
        (top / "rootbeer").mkdir()
        (top / "rootbeer" / "secret.txt").write_bytes(b"SECRET")

    def link(self, name, target):
        os.symlink(target, self.root / name)

    def read(self, *names, symlinks="inside"):
        opened = Root(os.fsencode(self.root), symlinks).open([name.encode() for name in names])
        if opened is None:
            return None
        descriptor, status = opened
        try:
            self.assertTrue(stat.S_ISREG(status.st_mode))
            return os.read(descriptor, 100)
        finally:
            os.close(descriptor)

    def refused(self, word, *names, symlinks="inside"):
        error = self.assertRaises(ProxyError, self.read, *names, symlinks=symlinks)
        self.assertEqual(error.reason.word, word)
        self.assertNotIn("secret", error.detail)

    def test_files_and_directories(self):
        """
        A file is opened, a directory is said to be one, and what is not there is not found.
        """
        for symlinks in ("inside", "follow", "deny"):
            self.assertEqual(self.read("a.txt", symlinks=symlinks), b"a")
            self.assertEqual(self.read("sub", "b.txt", symlinks=symlinks), b"b")
            self.assertIsNone(self.read("sub", symlinks=symlinks))
            self.assertIsNone(self.read(symlinks=symlinks))
            for names in (["x"], ["sub", "x"], ["a.txt", "x"], ["x" * 300]):
                self.refused("destination_not_found", *names, symlinks=symlinks)

    def test_links_inside(self):
        """
        Links that stay beneath the root are followed: to files and directories, relative and absolute, in chains.
        """
        self.link("file", "a.txt")
        self.link("chain", "file")
        self.link("directory", "sub")
        self.link("absolute", self.root / "sub")
        self.link("sub/up", "../a.txt")
        self.link("winding", "./sub//deep/../../sub/up")
        self.assertEqual(self.read("file"), b"a")
        self.assertEqual(self.read("chain"), b"a")
        self.assertEqual(self.read("directory", "b.txt"), b"b")
        self.assertEqual(self.read("absolute", "b.txt"), b"b")
        self.assertEqual(self.read("absolute", "up"), b"a")
        self.assertEqual(self.read("winding"), b"a")
        self.assertIsNone(self.read("absolute"))

    def test_links_outside(self):
        """
        Links that leave the root are refused, however they do it; with "all" they are followed.
        """
        self.link("relative", "../secret.txt")
        self.link("absolute", self.top / "secret.txt")
        self.link("directory", "..")
        self.link("chain", "relative")
        self.link("sub/up", "../..")
        self.link("back", "../root/../secret.txt")
        self.link("neighbour", self.top / "rootbeer")
        self.link("sly", str(self.root) + "/../secret.txt")
        for names in (
            ["relative"],
            ["absolute"],
            ["directory", "secret.txt"],
            ["chain"],
            ["sub", "up", "secret.txt"],
            ["back"],
            ["neighbour", "secret.txt"],
            ["sly"],
        ):
            self.refused("http_request_denied", *names)
            self.assertEqual(self.read(*names, symlinks="follow"), b"SECRET", names)

    def test_leaving_and_coming_back(self):
        """
        A link that goes out and in again has been outside, and is refused.
        """
        self.link("around", "../root/a.txt")
        self.refused("http_request_denied", "around")

    def test_no_links(self):
        """
        With "none" not even a link that stays inside is followed.
        """
        self.link("file", "a.txt")
        self.link("directory", "sub")
        self.refused("http_request_denied", "file", symlinks="deny")
        self.refused("http_request_denied", "directory", "b.txt", symlinks="deny")

    def test_loops(self):
        """
        Links that lead to each other lead nowhere.
        """
        self.link("one", "two")
        self.link("two", "one")
        self.link("self", "self/x")
        for symlinks in ("inside", "follow"):
            self.refused("destination_not_found", "one", symlinks=symlinks)
            self.refused("destination_not_found", "self", symlinks=symlinks)

    def test_dangling(self):
        """
        A link to nothing is nothing.
        """
        self.link("dangling", "nowhere")
        self.refused("destination_not_found", "dangling")

    def test_root_is_a_link(self):
        """
        The root may be a link, and may be switched while it is served.
        """
        other = self.top / "other"
        other.mkdir()
        (other / "a.txt").write_bytes(b"other")
        (other / "self").symlink_to(other / "a.txt")
        current = self.top / "current"
        current.symlink_to("root")
        root = Root(os.fsencode(current))

        def read(name):
            descriptor, _ = root.open([name])
            with os.fdopen(descriptor, "rb") as file:
                return file.read()

        self.assertEqual(read(b"a.txt"), b"a")
        current.unlink()
        current.symlink_to("other")
        self.assertEqual(read(b"a.txt"), b"other")
        self.assertEqual(read(b"self"), b"other")

    def test_special_files(self):
        """
        FIFOs, sockets and devices are refused, and not even opened.
        """
        os.mkfifo(self.root / "fifo")
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        here = os.getcwd()  # the path of a socket is short
        os.chdir(self.root)
        self.addCleanup(os.chdir, here)
        sock.bind("sock")
        self.link("null", "/dev/null")
        for symlinks in ("inside", "follow"):
            self.refused("http_request_denied", "fifo", symlinks=symlinks)
            self.refused("http_request_denied", "sock", symlinks=symlinks)
            self.refused("http_request_denied", "null", symlinks=symlinks)

    def test_exchanged_while_opening(self):
        """
        A file or directory that becomes a link between the look and the opening is looked at again, as the link that it
        is now.
        """
        real = os.stat
        for names, victim, target in (
            (["a.txt"], self.root / "a.txt", "../secret.txt"),
            (["sub", "secret.txt"], self.root / "sub", "../rootbeer"),
        ):

            def stat_and_exchange(path, victim=victim, target=target, **options):
                status = real(path, **options)
                if path == os.fsencode(victim.name) and not victim.is_symlink():
                    victim.rename(self.top / f"was-{victim.name}")
                    victim.symlink_to(target)
                return status

            patched = self.patch(os, "stat", stat_and_exchange)
            self.refused("http_request_denied", *names)
            patched.restore()

    def test_exchanged_for_another(self):
        """
        A link that has become a directory, and the other way round, is what it is now; what changes all the time is not
        there.
        """
        (self.root / "real").mkdir()
        (self.root / "real" / "x").write_bytes(b"there")
        place = self.root / "place"
        look = os.stat

        def exchange():
            if place.is_symlink():
                place.unlink()
                place.mkdir()
                (place / "x").write_bytes(b"there")
            else:
                (place / "x").unlink()
                place.rmdir()
                place.symlink_to("real")

        for times in (1, 2, 3, 4, 5):
            place.symlink_to("real")
            left = times

            def stat_and_exchange(path, **options):
                nonlocal left
                status = look(path, **options)
                if path == b"place" and left:
                    left -= 1
                    exchange()
                return status

            patched = self.patch(os, "stat", stat_and_exchange)
            try:
                if times < 4:
                    descriptor, _ = Root(os.fsencode(self.root)).open([b"place", b"x"])
                    self.assertEqual(os.read(descriptor, 9), b"there")
                    os.close(descriptor)
                else:
                    self.assertRaises(ProxyError, Root(os.fsencode(self.root)).open, [b"place", b"x"])
            finally:
                patched.restore()
                if not place.is_symlink():
                    exchange()
                place.unlink()

    def test_words_of_failures(self):
        """
        What may not be read is denied; what we are short of is our failure.
        """
        for number, word in (
            (errno.EACCES, "http_request_denied"),
            (errno.EMFILE, "proxy_internal_error"),
            (errno.EIO, "proxy_internal_error"),
        ):

            def fail(*args, number=number, **options):
                raise OSError(number, os.strerror(number))

            patched = self.patch(os, "open", fail)
            self.refused(word, "a.txt")
            patched.restore()

    def test_nothing_stays_open(self):
        """
        Whatever the outcome, only the file that is returned is open.
        """
        if not os.path.isdir("/proc/self/fd"):
            self.skipTest("there is no list of descriptors")
        self.link("out", "../secret.txt")
        self.link("loop", "loop")
        before = os.listdir("/proc/self/fd")
        for names in (["a.txt"], ["sub", "b.txt"], ["sub"], ["x"], ["out"], ["loop"], ["sub", "deep", "x"]):
            with contextlib.suppress(ProxyError):
                self.read(*names)
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))
