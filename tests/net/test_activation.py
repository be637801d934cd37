"""
Tests for ``twistginx.net.activation``.
"""

from __future__ import annotations

import os
import socket

from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from twistginx.net import activation
from twistginx.net.activation import Passed, mismatch, passed, unwanted


class ActivationTests(SynchronousTestCase):
    """
    What systemd has passed, and what becomes of it.
    """

    def made(self, *args, listens=True):
        sock = socket.socket(*args)
        self.addCleanup(sock.close)
        if listens:
            sock.listen()
        return sock

    def test_passed(self):
        """
        All are known, those with the same name too, in their order.
        """
        self.patch(activation, "_FOUND", ListenFDs([3, 4, 5], ("a", "b", "a")))
        self.assertEqual(passed(), (Passed(3, "a"), Passed(4, "b"), Passed(5, "a")))

    def test_unwanted(self):
        """
        What no listener has, itself or a duplicate, is named with its address.
        """
        tcp, unix, tcp6, unlucky = (
            self.made(),
            self.made(socket.AF_UNIX, listens=False),
            self.made(socket.AF_INET6),
            self.made(),
        )
        name = f"twistginx-test-{os.getpid()}"
        unix.bind(f"\0{name}")
        numbers = [each.fileno() for each in (tcp, unix, tcp6, unlucky)]
        self.patch(activation, "_FOUND", ListenFDs(numbers, ("http", "app", "https", "x")))
        duplicate = tcp.dup()
        self.addCleanup(duplicate.close)
        self.assertEqual(
            unwanted([duplicate.fileno(), unlucky.fileno()]),
            [
                f"systemd passed the socket 'app' (@{name}), and no listener is for it",
                f"systemd passed the socket 'https' ([::]:{tcp6.getsockname()[1]}), and no listener is for it",
            ],
        )

    def test_nothing_passed(self):
        """
        Without systemd there is nothing to say.
        """
        self.patch(activation, "_FOUND", ListenFDs([]))
        self.assertEqual(unwanted([0, 1, 2]), [])

    def test_mismatch(self):
        """
        A socket must be what the endpoint says, and listen; the descriptor stays open.
        """
        for sock, family, expected in (
            (self.made(), socket.AF_INET, ""),
            (self.made(socket.AF_INET6), socket.AF_INET6, ""),
            (self.made(socket.AF_INET6), socket.AF_INET, "it is of another family: expected domain=INET6"),
            (self.made(), socket.AF_UNIX, "it is of another family: expected domain=INET"),
            (
                self.made(socket.AF_INET, socket.SOCK_DGRAM, listens=False),
                socket.AF_INET,
                "it is no stream socket (ListenStream=)",
            ),
            (
                self.made(listens=False),
                socket.AF_INET,
                "it does not listen (is it of a unit with Accept=yes?)",
            ),
        ):
            with self.subTest(expected=expected):
                self.assertEqual(mismatch(sock.fileno(), family), expected)
                sock.getsockname()
