"""
The table of attempts, sent through nginx and through twistginx: ``python tests/http/smuggling/against_nginx.py``.

It prints where the two differ, and what each has passed on.  It is a comparison, and no part of the suite.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import h11

ROOT: Final = Path(__file__).resolve().parent.parent.parent.parent

NGINX: Final = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    upstream app {{ server 127.0.0.1:{upstream}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
        }}
    }}
}}
"""

TWISTGINX: Final = """
[log]
access = "off"

[[site]]
listen = "tcp:{port}:interface=127.0.0.1"

[[site.route]]
proxy = "http://127.0.0.1:{upstream}"
"""

_OPTIONS: Final = ("--nodaemon", "--pidfile=", "twistginx", "--config")

#: Seconds to wait for more of an answer.
_QUIET: Final = 0.15


class Upstream(threading.Thread):
    """
    A server that answers what h11 takes for a request, and remembers it.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        while True:
            sock, _ = self._listening.accept()
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        request, body = None, b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(sock.recv(65536))
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert request is not None
                    self.seen.append((request.method, request.target, body))
                    sock.sendall(connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")])))
                    connection.send(h11.EndOfMessage())
                    if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                        return
                    connection.start_next_cycle()
                else:
                    return
        except h11.RemoteProtocolError as error:
            if request is None or "hunk" in str(error) or connection.their_state is h11.ERROR:
                self.wrong.append(str(error))
        except OSError:
            pass
        finally:
            sock.close()


def ask(port: int, raw: bytes) -> list[int]:
    """
    The statuses of what is answered to these bytes.
    """
    data = b""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.settimeout(_QUIET)
        try:
            sock.sendall(raw)
            while True:
                more = sock.recv(65536)
                if not more:
                    break
                data += more
        except OSError:
            pass
    return [int(part[2:5]) for part in data.split(b"HTTP/1.")[1:] if part[2:5].isdigit() and part[2:5] >= b"200"]


def start(directory: Path, upstream: int) -> dict[str, tuple[int, subprocess.Popen[bytes]]]:
    """
    Both servers, by name, with their ports.
    """
    servers = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    commands = {
        "nginx": (NGINX, "nginx.conf", [shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-p", str(directory), "-c"]),
        "twistginx": (TWISTGINX, "site.toml", [str(Path(sys.executable).with_name("twistd")), *_OPTIONS]),
    }
    for name, (text, file, command) in commands.items():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        path = directory / file
        path.write_text(text.format(directory=directory, port=port, upstream=upstream))
        process = subprocess.Popen(
            [*map(str, command), str(path)], cwd=directory, env=environment, stdout=subprocess.DEVNULL
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        servers[name] = (port, process)
    return servers


def main() -> int:
    """
    The command.
    """
    if shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
        print("skipped: nginx is not installed")
        return 0
    sys.path.insert(0, str(ROOT))
    from tests.http.smuggling.cases import CASES, SAME, Case
    from tests.http.smuggling.families import FAMILIES

    attempts = [*CASES]
    for family, members in FAMILIES.items():
        attempts += [Case(family, str(number), raw, SAME) for number, raw in enumerate(members)]

    upstream = Upstream()
    upstream.start()
    different = 0
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        servers = start(Path(name), upstream.port)
        try:
            for case in attempts:
                found = {}
                for server, (port, _) in servers.items():
                    upstream.seen.clear()
                    upstream.wrong.clear()
                    statuses = ask(port, case.raw)
                    time.sleep(0.01)
                    found[server] = (statuses, list(upstream.seen), list(upstream.wrong))
                if found["nginx"] != found["twistginx"]:
                    different += 1
                    print(f"{case.group}: {case.name}\n    {case.raw[:100]!r}")
                    for server, (statuses, seen, wrong) in found.items():
                        print(f"    {server:>9}: {statuses} {[(a, b, c[:40]) for a, b, c in seen]} {wrong or ''}")
        finally:
            for _, process in servers.values():
                process.terminate()
                process.wait(20)
    print(f"{len(attempts)} attempts, {different} with different outcomes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
