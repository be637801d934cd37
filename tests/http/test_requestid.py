"""
Tests for L{twistginx.http.requestid}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from twistginx.http import requestid


class MadeTests(SynchronousTestCase):
    """
    New names.
    """

    def test_unique(self) -> None:
        """
        32 hexadecimal digits, and never the same twice.
        """
        names = [requestid.made() for _ in range(2000)]
        self.assertEqual(len(set(names)), 2000)
        for name in names:
            self.assertRegex(name, rb"\A[0-9a-f]{32}\Z")

    def test_child(self) -> None:
        """
        A child process has names of its own.
        """
        requestid.made()
        upcoming = requestid._made[-1]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, requestid.made())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        self.assertNotEqual(os.read(reading, 100), upcoming)
        os.close(reading)
        self.assertEqual(requestid.made(), upcoming)


class AcceptedTests(SynchronousTestCase):
    """
    Names that others gave.
    """

    def test_accepted(self) -> None:
        """
        A token of 1 to 128 bytes; nothing that could break a log, a field or a page.
        """
        for value in (b"a", b"x" * 128, b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", b"Root=1-67891233"[5:], b"a.b_c~d"):
            self.assertEqual(requestid.accepted(value), value)
        for value in (None, b"", b"x" * 129, b"a b", b"a,b", b'"a"', b"a\n", b"<a>", b"a;b", b"\xe9"):
            self.assertIsNone(requestid.accepted(value), value)
