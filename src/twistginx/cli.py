"""
The ``twistginx`` command: check a configuration, or run it in the foreground.
"""

# a command prints

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import asdict
from twisted.application.app import run as run_twistd
from twisted.application.service import ServiceMaker
from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]  # not in __all__

from twistginx import __version__
from twistginx.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """
    The entry point.

    :param argv: without the name of the command; by default the process's.
    :return: the exit status: 1 when the configuration has problems.
    """
    arguments, rest = _parser().parse_known_args(argv)
    if rest and arguments.act is not _run:
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    return int(arguments.act(arguments, rest))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="twistginx", description="A web server and reverse proxy on Twisted.")
    parser.add_argument("--version", action="version", version=f"twistginx {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="check a configuration; nothing is bound or started")
    check.add_argument("file", metavar="FILE", help="the configuration file")
    check.add_argument("--json", action="store_true", help="print the problems as a JSON array")
    check.add_argument("--dump", action="store_true", help="print the effective configuration, as TOML")
    check.set_defaults(act=_check)

    run = commands.add_parser("run", help="serve in the foreground; twistd's own options may follow")
    run.add_argument("file", metavar="FILE", nargs="?", default="etc/site.toml", help="the configuration file")
    run.set_defaults(act=_run)
    return parser


def _check(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    """
    Load and build, and say what is wrong.
    """
    # Only now: modules of Twisted import the reactor when they are imported, and it is to be ours.
    if "twisted.internet.reactor" not in sys.modules:
        from twistginx.net.reactor import install

        install()
    from twisted.internet import reactor

    from twistginx.config.dump import dump
    from twistginx.service import Service

    try:
        generation = Service(reactor, arguments.file).prepare()
        problems = tuple(generation.warnings)
    except ConfigError as error:
        generation = None
        problems = error.problems
    if arguments.json:
        print(json.dumps([asdict(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
    if generation is None:
        return 1
    if arguments.dump:
        print(dump(generation.root), end="")
    elif not arguments.json:
        print(f"{arguments.file}: ok")
    return 0


def _run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    """
    ``twistd -n [its options] twistginx --config FILE``.
    """
    sys.argv = ["twistginx", "--nodaemon", "--pidfile=", *rest, "twistginx", "--config", arguments.file]
    run_twistd(runApp, _ServerOptions)
    return 0


class _ServerOptions(ServerOptions):
    """
    ``twistd``'s options, with one command: ours.  So it need not be found as a plugin, which an editable installation
    may hide, and nobody else's is imported.
    """

    @property
    def subCommands(self) -> Iterator[tuple[str, None, Any, str]]:
        plugin = ServiceMaker("twistginx", "twistginx.tap", "Serve a configuration.", "twistginx")
        self.loadedPlugins = {plugin.tapname: plugin}
        yield plugin.tapname, None, plugin.options, plugin.description
