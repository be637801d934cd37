"""
Start, verify, measure in turns: A B C, A B C, A B C.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import field, frozen

from bench.jobs import Job, Run, Sample
from bench.peers import BASELINE, Peer, Server, launch, launch_upstream
from bench.processes import wait_for
from bench.verify import wrong


@frozen
class Outcome:
    """
    What came of a job.

    :ivar samples: peer to its measurements, one for each round.
    :ivar notes: peer to why it has none.
    """

    job: Job
    samples: dict[str, list[Sample]] = field(factory=dict)
    notes: dict[str, str] = field(factory=dict)


class Bench:
    """
    Jobs, on servers.

    :param peers: nginx among them.
    :param directory: for configurations and logs; it is emptied.
    """

    def __init__(self, run: Run, peers: Sequence[Peer], rounds: int) -> None:
        self._run = run
        self._peers = peers
        self._rounds = rounds

    def measure(self, job: Job) -> Outcome:
        """
        Do one job, with every server that can.  Whatever was started is stopped.
        """
        outcome = Outcome(job)
        directory = self._run.directory / job.name
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            upstream, port = launch_upstream(directory / "upstream", self._run.material, self._run.load_core)
            stack.callback(upstream.stop)
            able = [peer for peer in self._peers if job.role in peer.roles]
            servers: dict[str, Server] = {}
            for peer in able:
                complaint = self._start(peer, job, directory, port, servers, stack)
                if complaint:
                    outcome.notes[peer.name] = complaint
                    self._say(f"{job.name}: {peer.name} is left out: {complaint}")
            for number in range(self._rounds):
                for peer in able:
                    if peer.name in servers and peer.name not in outcome.notes:
                        self._sample(peer, job, outcome, servers, directory / f"round{number}", port)
        return outcome

    def _start(
        self, peer: Peer, job: Job, directory: Path, port: int, servers: dict[str, Server], stack: ExitStack
    ) -> str | None:
        """
        Start a server, and look at its answers; one that is fresh for each measurement is stopped again.

        :return: what is wrong with it.
        """
        try:
            server = launch(peer, directory / peer.name.replace(" ", "-"), self._run.material, port, self._run.server_core)
        except FileNotFoundError:
            return "not installed"
        stack.callback(server.process.stop)
        try:
            wait_for(server.ports[job.role], server.process)
        except RuntimeError as error:
            return f"does not start: {error}"
        for question in job.questions(self._run.material):
            complaint = wrong(server.ports[job.role], question, tls=job.role == "tls")
            if complaint:
                return complaint
        servers[peer.name] = server
        if job.fresh:
            server.process.stop()
        return None

    def _sample(
        self, peer: Peer, job: Job, outcome: Outcome, servers: dict[str, Server], directory: Path, port: int
    ) -> None:
        with ExitStack() as stack:

            def server() -> Server:
                if not job.fresh:
                    return servers[peer.name]
                place = directory / peer.name.replace(" ", "-")
                fresh = launch(peer, place, self._run.material, port, self._run.server_core)
                stack.callback(fresh.process.stop)
                return fresh

            try:
                sample = job.sample(self._run, server, lambda: servers[BASELINE.name])
            except (RuntimeError, ValueError, OSError) as error:
                outcome.notes[peer.name] = str(error)
                outcome.samples.pop(peer.name, None)
                self._say(f"{job.name}: {peer.name} fails: {error}")
                return
        outcome.samples.setdefault(peer.name, []).append(sample)
        self._say(f"{job.name}: {peer.name}: {sample.figure:.4g} {job.unit}, {sample.errors} errors")

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
