"""
Tests for ``twistginx.cli``.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from time import time
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import twistginx
from twistginx import cli
from twistginx.http.signature import BadSignature, Signer

GOOD = """
[log]
access = "logs/access.log"

[[site]]
listen = "tcp:80"
    [[site.route]]
    exact = "/a"
    respond = { body = "x" }
"""


class CommandTestCase(SynchronousTestCase):
    """
    Runs the command in this process.
    """

    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.config = self.directory / "site.toml"
        self.config.write_text(GOOD)

    def command(self, *arguments):
        """
        Exit status, standard output and standard error.
        """
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = cli.main(arguments)
            except SystemExit as end:
                status = end.code
        return status, out.getvalue(), err.getvalue()


class CheckTests(CommandTestCase):
    """
    ``twistginx check`` reads and builds, and touches nothing.
    """

    def test_ok(self):
        """
        A good file is ok; no log is opened.
        """
        self.assertEqual(self.command("check", str(self.config)), (0, f"{self.config}: ok\n", ""))
        self.assertEqual(list(self.directory.iterdir()), [self.config])

    def test_problems(self):
        """
        Every problem is a line on standard error.
        """
        self.config.write_text("[logg]\n[proces]\n")
        status, out, err = self.command("check", str(self.config))
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(
            [line.partition(": ")[0] for line in err.splitlines()], [f"{self.config}:1:2", f"{self.config}:2:2"]
        )

    def test_problems_of_build(self):
        """
        What only building finds is found.
        """
        self.config.write_text(GOOD.replace("tcp:80", "carrier-pigeon:80"))
        status, _, err = self.command("check", str(self.config))
        self.assertEqual(status, 1)
        self.assertIn(f"{self.config}:6:", err)
        self.assertIn("carrier-pigeon", err)

    def test_json(self):
        """
        For programs, the problems are an array; an empty one when there are none.
        """
        self.assertEqual(self.command("check", "--json", str(self.config)), (0, "[]\n", ""))
        self.config.write_text("[logg]\n")
        status, out, err = self.command("check", "--json", str(self.config))
        (problem,) = json.loads(out)
        self.assertEqual((status, err), (1, ""))
        self.assertEqual((problem["file"], problem["line"], problem["warning"]), (str(self.config), 1, False))
        self.assertEqual(set(problem), {"file", "line", "column", "key", "message", "expected", "warning"})

    def test_dump(self):
        """
        The effective configuration has the defaults in it, and is a configuration.
        """
        status, out, err = self.command("check", "--dump", str(self.config))
        self.assertEqual((status, err), (0, ""))
        self.assertIn("drain_timeout", out)
        self.config.write_text(out)
        self.assertEqual(self.command("check", str(self.config))[0], 0)

    def test_missing(self):
        """
        A file that is not there is a problem, not a traceback.
        """
        status, out, err = self.command("check", str(self.directory / "nowhere.toml"))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("nowhere.toml", err)


class RunTests(CommandTestCase):
    """
    ``twistginx run`` is ``twistd -n`` with one command.
    """

    def ran(self, *arguments):
        """
        The options that ``twistd`` would have run with.
        """
        runs = []
        self.patch(sys, "argv", sys.argv)
        self.patch(cli, "runApp", runs.append)
        status, _, err = self.command("run", *arguments)
        self.assertEqual((status, err), (0, ""))
        return runs[0]

    def test_run(self):
        """
        In the foreground, without a pid file.
        """
        options = self.ran(str(self.config))
        self.assertEqual((options["nodaemon"], options["pidfile"], options.subCommand), (True, "", "twistginx"))
        self.assertEqual(options.subOptions["config"], str(self.config))
        self.assertEqual(options.subOptions.service.path, self.config)

    def test_twistd_options(self):
        """
        Options of twistd's may follow.
        """
        self.assertEqual(self.ran(str(self.config), "--logfile=-")["logfile"], "-")


class UsageTests(CommandTestCase):
    """
    The command explains itself.
    """

    def test_version(self):
        """
        ``--version``.
        """
        self.assertEqual(self.command("--version"), (0, f"twistginx {twistginx.__version__}\n", ""))

    def test_wrong(self):
        """
        Wrong use is status 2, and a line of usage.
        """
        for arguments in ((), ("chek", "x"), ("check",), ("check", "x", "--jsn")):
            status, out, err = self.command(*arguments)
            self.assertEqual((status, out), (2, ""))
            self.assertIn("usage: twistginx", err)


class SignURLTests(CommandTestCase):
    """
    ``twistginx sign-url``.
    """

    KEY = b"0123456789abcdef"

    def sign(self, *arguments, key=KEY + b"\n"):
        """
        With the key on standard input.
        """
        with mock.patch.object(sys, "stdin", TextIOWrapper(BytesIO(key))):
            return self.command("sign-url", "--key", "a", *arguments)

    def test_link(self):
        """
        The link that it prints holds as long as it says, and for whom it says.
        """
        signer = Signer({b"a": self.KEY})
        for url, start in (
            ("/a/b?c=d", ""),
            ("https://example.com/a/b", "https://example.com"),
            ("http://[::1]:8080/?x", "http://[::1]:8080"),
        ):
            for client in ("", "192.0.2.1"):
                status, out, err = self.sign(url, "--expires", "10m", "--client", client)
                self.assertEqual((status, err), (0, ""))
                self.assertTrue(out.startswith(url))
                target = out.strip().removeprefix(start).encode()
                signer.check(target, time() + 590, client.encode())
                self.assertRaises(BadSignature, signer.check, target, time() + 601, client.encode())

    def test_wrong(self):
        """
        What cannot be signed is said, and nothing printed.
        """
        for arguments, key, problem in (
            (("/a",), b"\n", "there is no key on standard input"),
            (("a",), self.KEY, "'a' has no path"),
            (("https://example.com",), self.KEY, "has no path"),
            (("/a b",), self.KEY, "has no path"),
            (("/ü",), self.KEY, "percent-encoded"),
            (("/a#b",), self.KEY, "has a fragment"),
            (("/a?key=1",), self.KEY, "an argument that is the signature's"),
            (("/a", "--expires", "1"), self.KEY, "has no unit"),
        ):
            status, out, err = self.sign(*arguments, key=key)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(problem, err)
