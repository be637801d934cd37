"""
The servers, and how each is started: one worker, its access log in a file, connections kept open on both sides.

A role is what a server is asked to be: C{static} and C{tls} serve the files, C{proxy} passes HTTP on to the upstream,
C{stream} raw TCP.  A server has all its roles at once, on a port each, by one configuration.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, get_args

from attrs import field, frozen

from bench.install import PYPI_PYTHON
from bench.material import SMALL_ANSWER, Material
from bench.processes import Process, free_port, wait_for

Role = Literal["static", "tls", "proxy", "stream"]

#: All of them.
ROLES: Final[tuple[Role, ...]] = get_args(Role)

#: The repository.
ROOT: Final = Path(__file__).resolve().parent.parent

CONFIGS: Final = Path(__file__).parent / "configs"
SERVERS: Final = Path(__file__).parent / "servers"

#: What makes nginx faster than its defaults are.
NGINX_TUNED: Final = """
    open_file_cache max=1000 inactive=60s;
    open_file_cache_valid 1s;
    proxy_buffer_size 16k;
    proxy_buffers 8 128k;
    proxy_busy_buffers_size 256k;
"""


@frozen
class Peer:
    """
    A server.

    In the command line, the environment and the configuration, C{@NAME@} stands for a port or a path.

    :ivar name: what it is called in the table.
    :ivar roles: what it can do.
    :ivar argv: how it is started.
    :ivar version: a command that prints its version.
    :ivar config: the name of a file in C{configs}, which becomes C{@CONFIG@}; None: it has none.
    :ivar environment: variables that it needs.
    :ivar values: what else stands in its configuration.
    """

    name: str
    roles: tuple[Role, ...]
    argv: tuple[str, ...]
    version: tuple[str, ...]
    config: str | None = None
    environment: Mapping[str, str] = field(factory=dict)
    values: Mapping[str, str] = field(factory=dict)


def _pypi(package: str) -> tuple[str, ...]:
    code = f"from importlib.metadata import version; print({package!r}, version({package!r}))"
    return (str(PYPI_PYTHON), "-c", code)


_NGINX: Final = ("nginx", "-e", "stderr", "-c", "@CONFIG@")
_HTTP: Final[tuple[Role, ...]] = ("static", "tls", "proxy")
_PORTS: Final = ("@STATIC@", "@TLS@", "@PROXY@", "@UPSTREAM@", "@ROOT@", "@CERT@", "@KEY@", "@HERE@/access.log")

#: With which the others are compared.
BASELINE: Final = Peer("nginx", ROLES, _NGINX, ("nginx", "-v"), "nginx.conf", values={"TUNED": ""})

#: The server that the others are there for.
TWISTGINX: Final = Peer(
    "twistginx",
    ROLES,
    (str(Path(sys.executable).parent / "twistd"), "--nodaemon", "--pidfile=", "twistginx", "--config", "@CONFIG@"),
    (
        sys.executable,
        "-c",
        "import twistginx, platform as p; print(twistginx.__version__, 'Python', p.python_version())",
    ),
    "twistginx.toml",
    # The package that is installed, or this source tree.
    {} if find_spec("twistginx") else {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
)

#: Every server, in the order of the table.
PEERS: Final = (
    BASELINE,
    TWISTGINX,
    Peer("nginx tuned", ROLES, _NGINX, ("nginx", "-v"), "nginx.conf", values={"TUNED": NGINX_TUNED}),
    Peer("haproxy", ("proxy", "stream"), ("haproxy", "-db", "-f", "@CONFIG@"), ("haproxy", "-v"), "haproxy.cfg"),
    Peer(
        "caddy",
        _HTTP,
        ("caddy", "run", "--adapter", "caddyfile", "--config", "@CONFIG@"),
        ("caddy", "version"),
        "Caddyfile",
        {"GOMAXPROCS": "1", "XDG_DATA_HOME": "@HERE@", "XDG_CONFIG_HOME": "@HERE@"},
    ),
    Peer("aiohttp", _HTTP, (str(PYPI_PYTHON), str(SERVERS / "aiohttp_server.py"), *_PORTS), _pypi("aiohttp")),
    Peer(
        "fastapi + httpx",
        ("proxy",),
        (str(PYPI_PYTHON), str(SERVERS / "fastapi_proxy.py"), "@PROXY@", "@UPSTREAM@", "@HERE@/access.log"),
        _pypi("fastapi"),
    ),
    Peer(
        # Threaded: as it is started by default, it never answers the second request of a connection.
        "proxy.py",
        ("proxy",),
        (
            *(str(PYPI_PYTHON), "-m", "proxy", "--hostname", "127.0.0.1", "--port", "@PROXY@"),
            *(
                "--num-workers",
                "1",
                "--num-acceptors",
                "1",
                "--threaded",
                "--log-file",
                "@HERE@/access.log",
                "--log-level",
                "INFO",
            ),
            *("--enable-reverse-proxy", "--disable-http-proxy", "--plugins", "proxypy_plugin.Forward"),
        ),
        _pypi("proxy.py"),
        environment={"PYTHONPATH": str(SERVERS), "UPSTREAM": "@UPSTREAM@"},
    ),
    Peer(
        "twisted.web",
        _HTTP,
        (sys.executable, str(SERVERS / "stock_twisted.py"), *_PORTS),
        (sys.executable, "-c", "import twisted; print('Twisted', twisted.__version__)"),
    ),
)

_UPSTREAM: Final = Peer("upstream", (), _NGINX, ("nginx", "-v"), "upstream.conf")


@frozen
class Server:
    """
    A server that runs.

    :ivar ports: where it listens.
    """

    peer: Peer
    process: Process
    ports: Mapping[Role, int]


def filled(text: str, values: Mapping[str, object]) -> str:
    """
    C{text} with what its C{@NAME@}s stand for.

    :raise KeyError: for a name that stands for nothing.
    """
    return re.sub(r"@([A-Z]+)@", lambda match: str(values[match[1]]), text)


def launch(peer: Peer, directory: Path, material: Material, upstream: int, core: int | None) -> Server:
    """
    Start a server, on ports that are free.  It may not listen yet.

    :param directory: is made, for its configuration and its logs.
    :param core: where it may run; None: anywhere.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ports = {role: free_port() for role in ROLES}
    values = {
        **{role.upper(): port for role, port in ports.items()},
        "UPSTREAM": upstream,
        "ROOT": material.root,
        "CERT": material.certificate,
        "KEY": material.key,
        "HERE": directory,
        "ANSWER": SMALL_ANSWER.decode(),
        "MODULES": "/usr/lib/nginx/modules",
        # Started by root, nginx would go on as somebody who may not see the files.
        "USER": "user root;" if os.geteuid() == 0 else "",
        **peer.values,
    }
    if peer.config is not None:
        config = directory / peer.config
        config.write_text(filled((CONFIGS / peer.config).read_text("utf-8"), values), "utf-8")
        values["CONFIG"] = config
    argv = [filled(each, values) for each in peer.argv]
    environment = {name: filled(value, values) for name, value in peer.environment.items()}
    return Server(peer, Process(argv, directory, core, environment), ports)


def launch_upstream(directory: Path, material: Material, core: int | None) -> tuple[Process, int]:
    """
    Start the upstream.

    :return: it, and its port.
    :raise RuntimeError: when it does not start.
    """
    port = free_port()
    server = launch(_UPSTREAM, directory, material, port, core)
    try:
        wait_for(port, server.process)
    except RuntimeError:
        server.process.stop()
        raise
    return server.process, port
