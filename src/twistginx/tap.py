"""
The door for ``twistd``: ``twistd -n twistginx --config etc/site.toml``.

Importing this module installs our reactor, if none is installed yet: ``twistd`` imports it to parse the options, before
anything has asked for a reactor, and ``twistd --reactor=epoll twistginx`` has installed another one by then.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.logger import Logger
from twisted.python import usage

from twistginx import __version__

if "twisted.internet.reactor" not in sys.modules:
    from twistginx.net.reactor import install

    install()

# After the reactor is installed: modules of Twisted import it when they are imported.
from twisted.internet import reactor

from twistginx.config import schema
from twistginx.errors import ConfigError
from twistginx.observe.errorlog import ErrorLog, TwistdLog
from twistginx.observe.sink import STANDARD
from twistginx.service.heap import freeze_heap
from twistginx.service.notify import SystemdStatus
from twistginx.service.program import Program
from twistginx.service.server import Service
from twistginx.service.signals import hear_early
from twistginx.service.upgrade import Predecessor
from twistginx.workers.master import Master, count_of_workers

#: What ``twistd`` logs to when it is a daemon and is told nothing.
_DAEMON_LOG: Final = "twistd.log"

_log = Logger()


class Options(usage.Options):
    """
    The options of ``twistd twistginx``.

    :ivar service: what is to run, with its configuration loaded and built; set by ``postOptions``.
    """

    synopsis = "[--config FILE]"
    longdesc = "Serves what a TOML file says: files, reverse proxies, raw TCP.  `twistginx check FILE` checks the file."
    optParameters: ClassVar = [["config", "c", "etc/site.toml", "The configuration file."]]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml")})

    service: Program

    def opt_version(self) -> None:
        """
        Print the version of twistginx and exit.
        """
        print(f"twistginx {__version__}")  # noqa: T201  # it is what was asked for
        sys.exit(0)

    def postOptions(self) -> None:
        """
        Load and build, so that nothing is started when anything is wrong.

        A file that is wrong is no wrong use of ``twistd``, whose usage is not what the user needs to read: all problems
        go to standard error, and the exit status is 1.
        """
        predecessor = Predecessor.from_environment()
        status = SystemdStatus.from_environment(succeeds=predecessor is not None)
        self.service = Service(reactor, self["config"], settle=freeze_heap, status=status)
        try:
            generation = self.service.prepare_first()
        except ConfigError as error:
            text = "\n".join(map(str, error.problems))
            if predecessor is not None:
                predecessor.failed(text)
            status.failed(text)
            sys.exit(text)
        if count_of_workers(generation) > 1:
            self.service = Master(reactor, self["config"], settle=freeze_heap, status=status)
            generation = self.service.prepare_first()
        self.service.predecessor = predecessor
        self.service.twistd = self._twistd
        log = generation.root.log
        self.service.error_log = self._error_log(log.error)
        if log.access.path == "stdout" and self._is_daemon:
            _log.warn("[log].access is stdout, which a daemon does not have: name a file")

    @property
    def _twistd(self) -> MutableMapping[str, Any]:
        """
        The options of ``twistd`` itself, or of ``twist``.
        """
        return getattr(self, "parent", None) or {}

    @property
    def _is_daemon(self) -> bool:
        twistd = self._twistd
        return "nodaemon" in twistd and not (twistd["nodaemon"] or twistd["debug"])

    def _error_log(self, configured: schema.ErrorLog) -> ErrorLog | TwistdLog | None:
        """
        The log observer that is to be in force; None when ``twistd`` is to make its own.

        :param configured: ``[log].error``, with a path and a level.
        """
        twistd = self._twistd
        if "nodaemon" not in twistd:  # ``twist`` logs by options of its own
            return None
        if (twistd["logger"] or twistd["syslog"] or twistd["logfile"]) and configured != schema.ErrorLog():
            _log.warn("[log].error is not used: twistd was told where to log")
        if twistd["logger"] or twistd["syslog"] or twistd["logfile"] == "-":
            return None
        if twistd["logfile"]:
            return TwistdLog(str(Path(twistd["logfile"]).absolute()))
        if self._is_daemon and configured.path in STANDARD:
            return TwistdLog(str(Path(_DAEMON_LOG).absolute()))  # a daemon has neither
        return ErrorLog(str(configured.path), configured.level)


def makeService(options: Options) -> Program:
    """
    What ``twistd`` starts.
    """
    hear_early()  # twistd writes the pid file next
    return options.service
