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
from bench.verify import Wrong, look


@frozen
class Outcome:
    """
    What came of a job.

    :ivar samples: peer to its measurements, one for each round.
    :ivar notes: peer to why it has none.
    :ivar remarks: peer to what one should know of its measurements.
    """

    job: Job
    samples: dict[str, list[Sample]] = field(factory=dict)
    notes: dict[str, str] = field(factory=dict)
    remarks: dict[str, str] = field(factory=dict)


def brief(error: Exception) -> str:
    """
    The end of what went wrong, on one line.
    """
    return " ".join(str(error).split())[-300:] or type(error).__name__


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
                try:
                    if not self._start(peer, job, directory, port, servers, stack):
                        outcome.remarks[peer.name] = "closes the connection after each answer"
                except (RuntimeError, Wrong, FileNotFoundError) as error:
                    outcome.notes[peer.name] = brief(error)
                    self._say(f"{job.name}: {peer.name} is left out: {brief(error)}")
            for number in range(self._rounds):
                for peer in able:
                    if peer.name in servers and peer.name not in outcome.notes:
                        self._sample(peer, job, outcome, servers, directory / f"round{number}", port)
        return outcome

    def _start(
        self, peer: Peer, job: Job, directory: Path, port: int, servers: dict[str, Server], stack: ExitStack
    ) -> bool:
        """
        Start a server, and look at its answers; one that is fresh for each measurement is stopped again.

        :return: does it keep connections, where it may?
        :raise RuntimeError: when it does not start.
        :raise Wrong: when it answers wrongly.
        """
        place = directory / peer.name.replace(" ", "-")
        server = launch(peer, place, self._run.material, port, self._run.server_core)
        stack.callback(server.process.stop)
        wait_for(server.ports[job.role], server.process)
        question = job.ask(self._run.material)
        kept = look(server.ports[job.role], question, tls=job.role == "tls")
        servers[peer.name] = server
        if job.fresh:
            server.process.stop()
        return kept or question.close

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
            except (RuntimeError, ValueError, OSError, Wrong) as error:
                outcome.notes[peer.name] = brief(error)
                outcome.samples.pop(peer.name, None)
                self._say(f"{job.name}: {peer.name} fails: {brief(error)}")
                return
        outcome.samples.setdefault(peer.name, []).append(sample)
        self._say(f"{job.name}: {peer.name}: {sample.figure:.4g} {job.unit}, {sample.errors} errors")

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
