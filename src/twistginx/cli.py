"""
The ``twistginx`` command: check a configuration, or run it in the foreground.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import asdict
from twisted.application.app import run as run_twistd
from twisted.application.service import ServiceMaker
from twisted.scripts.twistd import ServerOptions, runApp

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
