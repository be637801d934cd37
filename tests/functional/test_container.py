"""
The server as the first process of a container, and the recipe of the image.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.functional.peers import PATIENCE, REPOSITORY, Running, free_port, program, python_environment
from tests.functional.test_lifecycle import TWISTGINX, Client, LifecycleTestCase, get, site
from tests.functional.test_workers import alive, children, shared

CONTAINER = Path(REPOSITORY[1]) / "etc" / "container"


def unshared() -> tuple[str, ...]:
    """
    The command that runs another one as process 1, with a /proc of its own.

    @raise SkipTest: where we may not.
    """
    unshare = (program("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc")
    for more in ((), ("--user", "--map-root-user")):
        if subprocess.run([*unshare, *more, "true"], capture_output=True, check=False).returncode == 0:
            return (*unshare, *more)
    raise SkipTest("unshare --pid is not permitted here")


class FirstProcessTests(LifecycleTestCase):
    """
    Process 1, which gets no signal that it has no handler for.
    """

    def serve_first(self, config: str) -> tuple[Running, int]:
        """
        :return: what runs it, and the process id of the first process, as it is seen from outside.
        """
        self.rewrite(config)
        # The command that the image has, by its entry point.
        running = self.start(*unshared(), *TWISTGINX, "run", "site.toml", environment=python_environment())
        running.wait_for(lambda: "serving on" in running.output(), "serving")
        [first] = children(running.pid)
        status = Path(f"/proc/{first}/status").read_text()
        self.assertEqual(re.findall(r"NSpid:\s+\d+\s+(\d+)$", status, re.MULTILINE), ["1"])
        return running, first

    def until(self, ready: Callable[[], object], running: Running) -> None:
        limit = time.monotonic() + PATIENCE
        while not ready():
            self.assertLess(time.monotonic(), limit, running.output())
            time.sleep(0.02)

    def test_signals(self) -> None:
        """
        SIGTERM ends it at once and SIGQUIT drains, both with status 0: nobody can kill the first process by a signal
        that it handles.  SIGHUP reloads.
        """
        port = free_port()
        for number in (signal.SIGTERM, signal.SIGQUIT):
            running, first = self.serve_first(site(port))
            client = Client(port)
            self.addCleanup(client.socket.close)
            client.ask()
            self.assertEqual(client.answer(), b"one")
            self.rewrite(site(port, body="two"))
            os.kill(first, signal.SIGHUP)
            self.until(lambda: get(port) == b"two", running)
            os.kill(first, number)
            self.until(lambda first=first: not alive(first), running)
            self.assertEqual(running.stop(0), 0, running.output())
            self.assertNotIn("Traceback", running.output())

    def test_workers(self) -> None:
        """
        Workers that die are waited for, and replaced; an upgrade, which would end the container, is refused.
        """
        port = free_port()
        running, first = self.serve_first(shared(site(port)))
        victim = children(first)[0]
        os.kill(victim, signal.SIGKILL)
        self.until(lambda: running.output().count(" serves, process ") == 3, running)
        self.assertFalse(Path(f"/proc/{victim}").exists())
        os.kill(first, signal.SIGUSR2)
        self.until(lambda: "was not upgraded, and serves on: this is the first process" in running.output(), running)
        self.assertEqual(get(port), b"one")
        # What the health check of the image asks.
        done = self.run_to_end(*TWISTGINX, "ctl", "--config", "site.toml", "status")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["pid"], 1)
        os.kill(first, signal.SIGQUIT)
        self.until(lambda: not alive(first), running)
        self.assertEqual(running.stop(0), 0)
        self.assertEqual(self.run_to_end(*TWISTGINX, "ctl", "--config", "site.toml", "status").returncode, 1)

    def test_read_only(self) -> None:
        """
        It serves where nothing can be written but what the recipe names: its directory in /run.
        """
        port = free_port()
        config = shared(site(port)).replace("control.sock", "run/control.sock")
        (self.directory / "run").mkdir()
        (self.directory / "www").mkdir()
        self.rewrite(config)
        script = (
            f"mount --bind {self.directory} {self.directory} && "
            f"mount --bind {self.directory}/run {self.directory}/run && "
            f"mount -o remount,bind,ro {self.directory} && "
            "mount -o remount,bind,ro / 2>/dev/null; "
            'exec "$@"'
        )
        running = self.start(
            *unshared(),
            *("--mount", "sh", "-c", script, "sh", *TWISTGINX, "run", str(self.directory / "site.toml")),
            environment=python_environment(),
        )
        running.wait_for(lambda: "serving on" in running.output(), "serving")
        [first] = children(running.pid)
        with contextlib.suppress(OSError):
            Path(f"/proc/{first}/root{self.directory}/written").write_text("x")
            raise SkipTest("a file system cannot be made read-only here")
        self.assertEqual(get(port), b"one")
        self.assertNotIn("[error]", running.output())
        self.assertNotIn("[warn]", running.output())
        os.kill(first, signal.SIGTERM)
        self.until(lambda: not alive(first), running)
        self.assertEqual(running.stop(0), 0, running.output())


class ImageTests(LifecycleTestCase):
    """
    The files that the image is made of.
    """

    def test_configuration(self) -> None:
        """
        What the image serves is a configuration without problems, where its paths are.
        """
        text = (CONTAINER / "site.toml").read_text()
        (self.directory / "www").mkdir()
        self.rewrite(text.replace("/srv/www", "www").replace("/run/twistginx/", ""))
        done = self.run_to_end(*TWISTGINX, "check", "site.toml")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "site.toml: ok\n", ""))

    def test_recipe(self) -> None:
        """
        Everything that is copied is there; no shell stands between the container and the server, which is not root's.
        """
        lines = (CONTAINER / "Containerfile").read_text().replace("\\\n", " ").splitlines()
        words = [line.split() for line in lines if line and not line.startswith("#")]
        for _, *sources, _ in (line for line in words if line[0] == "COPY"):
            for source in sources:
                self.assertTrue((Path(REPOSITORY[1]) / source).exists(), source)
        said = {line[0]: " ".join(line[1:]) for line in words}
        self.assertEqual(said["STOPSIGNAL"], "SIGQUIT")
        self.assertEqual(said["USER"], "10001:10001")
        self.assertEqual(json.loads(said["ENTRYPOINT"]), ["twistginx"])
        self.assertEqual(json.loads(said["CMD"]), ["run", "/etc/twistginx/site.toml"])
