"""
The ``twistginx`` command: check a configuration, run it in the foreground, or give orders to what runs.
"""

# a command prints

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from time import time
from typing import Any

from attrs import asdict
from twisted.application.app import run as run_twistd
from twisted.application.service import ServiceMaker
from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]  # not in __all__

from twistginx import __version__
from twistginx.config.reader import read
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

    explain = commands.add_parser("explain", help="say what a configuration would do with a request; nothing is sent")
    explain.add_argument("request", metavar="REQUEST", help="a URL, with a method before it: 'GET https://host/path'")
    explain.add_argument("--config", "-c", default="etc/site.toml", help="the configuration file")
    explain.add_argument("--header", "-H", metavar="LINE", action="append", default=[], help="'Name: value'")
    explain.add_argument("--client", metavar="ADDRESS", default="127.0.0.1", help="of who is connected")
    explain.add_argument("--json", action="store_true", help="print a JSON object")
    explain.set_defaults(act=_explain)

    sign = commands.add_parser("sign-url", help="sign a link for signed_url; the key is read from standard input")
    sign.add_argument("url", metavar="URL", help="the link, or its path and query")
    sign.add_argument("--key", metavar="NAME", required=True, help="the name of the key, as signed_url.keys has it")
    sign.add_argument("--expires", metavar="DURATION", default="1h", help='how long the link holds, "1h" by default')
    sign.add_argument("--client", metavar="ADDRESS", default="", help="the client that it is for alone")
    sign.set_defaults(act=_sign_url)

    run = commands.add_parser("run", help="serve in the foreground; twistd's own options may follow")
    run.add_argument("file", metavar="FILE", nargs="?", default="etc/site.toml", help="the configuration file")
    run.set_defaults(act=_run)

    ctl = commands.add_parser(
        "ctl",
        help="give an order to a running server, by the socket that [process].control names",
        description="Commands: status, stats, reload, reopen-logs, restart-workers, upgrade, quit, stop, and those of "
        "modules.  What follows the command is NAME=VALUE for each of its arguments.",
    )
    ctl.add_argument("--config", "-c", default="etc/site.toml", help="the configuration file; it names the socket")
    ctl.add_argument("--socket", "-s", help="the path of the socket, instead")
    ctl.add_argument("command", metavar="COMMAND")
    ctl.add_argument("arguments", metavar="NAME=VALUE", nargs="*")
    ctl.set_defaults(act=_ctl)
    return parser


def _check(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    """
    Load and build, and say what is wrong.
    """
    reactor = _our_reactor()

    from twistginx.config.dump import dump
    from twistginx.service.server import Service

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


def _explain(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    """
    Say what would become of a request: 0 when a route would answer it, 1 when none would, 2 when nothing can be said.
    """
    reactor = _our_reactor()

    from twistginx.explain.explanation import explain
    from twistginx.explain.question import Question, QuestionError
    from twistginx.service.server import Service

    try:
        question = Question.parse(arguments.request, arguments.header, arguments.client)
        generation = Service(reactor, arguments.config).prepare()
    except (QuestionError, ConfigError) as error:
        print(f"twistginx explain: {error}" if isinstance(error, QuestionError) else error, file=sys.stderr)
        return 2
    answer = explain(generation, question)
    print(json.dumps(asdict(answer), indent=2) if arguments.json else answer)
    return 1 if answer.failure else 0


def _our_reactor() -> Any:
    """
    The reactor, ours if none is installed.
    """
    # Only now: modules of Twisted import the reactor when they are imported, and it is to be ours.
    if "twisted.internet.reactor" not in sys.modules:
        from twistginx.net.reactor import install

        install()
    from twisted.internet import reactor

    return reactor


def _sign_url(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    """
    Print a link that holds for a while.  The key comes by a pipe, because others can read a command's arguments.
    """
    from twistginx.config.units import Duration
    from twistginx.http.signature import Signer

    key = sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")
    scheme, mark, rest = arguments.url.partition("://")
    start = f"{scheme}{mark}{rest.partition('/')[0]}" if mark else ""
    target = arguments.url.removeprefix(start)
    problem = link = ""
    if not key:
        problem = "there is no key on standard input"
    elif not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target:
        problem = f"{arguments.url!r} has no path that can be signed; write it percent-encoded"
    else:
        name, client = arguments.key.encode(), arguments.client.encode()
        try:
            expires = int(time() + Duration.parse(arguments.expires))
            link = Signer({name: key}).sign(target.encode(), name, expires, client).decode()
        except ValueError as error:
            problem = str(error)
    print(f"twistginx sign-url: {problem}" if problem else start + link, file=sys.stderr if problem else sys.stdout)
    return 1 if problem else 0


def _run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    """
    ``twistd -n [its options] twistginx --config FILE``.
    """
    sys.argv = ["twistginx", "--nodaemon", "--pidfile=", *rest, "twistginx", "--config", arguments.file]
    run_twistd(runApp, _ServerOptions)
    return 0


def _ctl(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    """
    Send one request to a running server, and print the answer: 0 when it was done.
    """
    request = {"command": arguments.command}
    for argument in arguments.arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            print(f"{argument}: expected NAME=VALUE", file=sys.stderr)
            return 2
        try:
            request[name] = json.loads(value)
        except ValueError:
            request[name] = value
    try:
        answer = _asked(arguments.socket or _control_of(arguments.config), request)
    except (OSError, ValueError, ConfigError) as error:
        print(f"twistginx ctl: {error}", file=sys.stderr)
        return 1
    if not answer.pop("ok"):
        print(answer["error"], file=sys.stderr)
        return 1
    print(answer["text"] if set(answer) == {"text"} else json.dumps(answer, indent=2))
    return 0


def _control_of(config: str) -> str:
    """
    The path of the control socket, without a look at the rest of the configuration, which may be wrong.
    """
    source, _ = read(config, os.environ)
    control = source.tree.get("process", {}).get("control")
    if not control:
        raise ValueError(f"{config}: [process].control names no socket; name one there, or by --socket")
    return str(source.files[0].base / control)


def _asked(path: str, request: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            raise OSError(f"{path}: {error.strerror}: is the server running?") from error
        connection.sendall(json.dumps(request).encode("ascii") + b"\n")
        with connection.makefile("rb") as answers:
            answer = answers.readline()
    if not answer:
        raise OSError(f"{path}: the server has ended before it answered")
    told: dict[str, Any] = json.loads(answer)
    return told


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
