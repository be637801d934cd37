"""
Tests for ``twistginx.tap`` and the twistd plugin.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.application.reactors import getReactorTypes
from twisted.application.service import IServiceMaker
from twisted.logger import globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

import twistginx
from twistginx.observe.errorlog import ErrorLog, TwistdLog
from twistginx.service.signals import SIGNALS
from twistginx.tap import Options, makeService

GOOD = """
[log]
access = "off"
error = { path = %r, level = "warn" }

[[site]]
listen = "tcp:0"
    [[site.route]]
    respond = { body = "x" }
"""


class OptionsTests(SynchronousTestCase):
    """
    The options of ``twistd twistginx`` load and build, so that nothing is started when anything is wrong.
    """

    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.config = self.directory / "site.toml"
        self.events = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def options(self, text=GOOD % "stderr", **twistd):
        """
        The options after a command line of ``twistd`` with these options.
        """
        self.config.write_text(text)
        options = Options()
        options.parent = {"nodaemon": True, "debug": False, "logfile": None, "logger": None, "syslog": False, **twistd}
        options.parseOptions(["--config", str(self.config)])
        self.addCleanup(self.close, options.service.error_log)
        return options

    @staticmethod
    def close(log):
        if isinstance(log, TwistdLog):
            log._file.close()

    def warnings(self):
        return [event["log_format"] for event in self.events if event.get("log_namespace") == "twistginx.tap"]

    def test_service(self):
        """
        The service is made of the file, with an absolute path, because twistd changes directories.
        """
        options = self.options()
        for number in SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        service = makeService(options)
        self.assertEqual(service.path, self.config)
        self.assertIsNone(service.generation)

    def test_default(self):
        """
        Without ``--config`` it is etc/site.toml.
        """
        self.assertEqual(Options()["config"], "etc/site.toml")

    def test_problems(self):
        """
        A wrong file ends the process with status 1 and the list of problems, not with twistd's usage.
        """
        error = self.assertRaises(SystemExit, self.options, "[logg]\n[proces]\n")
        self.assertEqual(len(str(error.code).splitlines()), 2)
        self.assertTrue(str(error.code).startswith(f"{self.config}:1:"), error.code)

    def test_wrong_use(self):
        """
        A wrong option is wrong use of twistd, and its business.
        """
        self.assertRaises(usage.UsageError, Options().parseOptions, ["--konfig", "x"])

    def test_our_log(self):
        """
        In the foreground, ``[log].error`` is in force, with its level.
        """
        log = self.options().service.error_log
        self.assertIsInstance(log, ErrorLog)
        self.assertEqual((log.path, log.level), ("stderr", "warn"))
        self.assertEqual(self.warnings(), [])

    def test_daemon(self):
        """
        A daemon has no standard error: without a file of ours it logs where twistd would.
        """
        working = Path.cwd()
        self.addCleanup(os.chdir, working)
        os.chdir(self.directory)
        log = self.options(nodaemon=False).service.error_log
        self.assertIsInstance(log, TwistdLog)
        self.assertEqual(log.path, str(self.directory / "twistd.log"))

    def test_daemon_without_stdout(self):
        """
        A daemon's access log on standard output goes nowhere, and that is said.
        """
        self.options((GOOD % "error.log").replace('"off"', '"stdout"'), nodaemon=False)
        self.assertEqual(self.warnings(), ["[log].access is stdout, which a daemon does not have: name a file"])

    def test_daemon_with_a_file(self):
        """
        With one, it is used.
        """
        log = self.options(GOOD % "error.log", nodaemon=False).service.error_log
        self.assertIsInstance(log, ErrorLog)
        self.assertEqual(log.path, str(self.directory / "error.log"))

    def test_twistd_logfile(self):
        """
        ``twistd --logfile`` wins, and it is said that ours does not.
        """
        path = self.directory / "t.log"
        log = self.options(logfile=str(path)).service.error_log
        self.assertIsInstance(log, TwistdLog)
        self.assertEqual(log.path, str(path))
        self.assertEqual(self.warnings(), ["[log].error is not used: twistd was told where to log"])

    def test_twistd_logger(self):
        """
        So do its other ways to log, which we leave to it altogether.
        """
        for twistd in ({"logger": "acme.observer"}, {"syslog": True}, {"logfile": "-"}):
            self.assertIsNone(self.options(**twistd).service.error_log)
        self.assertEqual(len(self.warnings()), 3)

    def test_no_complaint(self):
        """
        Who configured no error log is not told about it.
        """
        self.options((GOOD % "stderr").replace("error =", "# error ="), logfile="-")
        self.assertEqual(self.warnings(), [])

    def test_twist(self):
        """
        ``twist`` has other options, and its own log.
        """
        self.config.write_text(GOOD % "stderr")
        options = Options()
        options.parent = {"logFile": None}
        options.parseOptions(["--config", str(self.config)])
        self.assertIsNone(options.service.error_log)


class PluginTests(SynchronousTestCase):
    """
    ``twistd`` finds the server and the reactor.
    """

    def test_server(self):
        """
        The command is there, and its options are ours.
        """
        (maker,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "twistginx"]
        self.assertIs(maker.options, Options)
        self.assertIs(maker.makeService, makeService)

    def test_reactor(self):
        """
        ``twistd --reactor=twistginx`` is there.
        """
        (reactor,) = [each for each in getReactorTypes() if each.shortName == "twistginx"]
        self.assertEqual(reactor.moduleName, "twistginx.net.reactor")

    def run_python(self, code):
        source = str(Path(twistginx.__file__).parent.parent)
        path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout.strip()

    def test_installs(self):
        """
        Importing the module installs our reactor.
        """
        code = "import twistginx.tap; from twisted.internet import reactor; print(type(reactor).__name__)"
        self.assertEqual(self.run_python(code), "TwistginxReactor")

    def test_leaves_another(self):
        """
        A reactor that is installed already stays.
        """
        code = "from twisted.internet import selectreactor as s; s.install(); import twistginx.tap; "
        code += "from twisted.internet import reactor; print(type(reactor).__name__)"
        self.assertEqual(self.run_python(code), "SelectReactor")
