"""
The command line.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from bench.install import CACHE, install_libraries, install_packages, present
from bench.jobs import BY_NAME, JOBS, Run
from bench.material import Material
from bench.peers import BASELINE, PEERS, TWISTGINX, Peer
from bench.processes import parse_stolen
from bench.report import as_json, markdown, rows, table
from bench.rounds import Bench


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """
    Read the command line.
    """
    parser = argparse.ArgumentParser(prog="bench", description="Compare twistginx with the servers beside it.")
    names = ", ".join(BY_NAME)
    parser.add_argument("--jobs", default="all", metavar="A,B", help=f"all, or some of: {names}")
    servers = ", ".join(peer.name for peer in PEERS)
    parser.add_argument("--peers", default="all", metavar="A,B", help=f"all, or some of: {servers}; nginx always is")
    parser.add_argument("--rounds", type=int, default=3, help="turns for each server (default: 3)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts (default: 3)")
    parser.add_argument("--out", type=Path, default=CACHE / "results", help="a folder for table.md and table.json")
    parser.add_argument(
        "--cores", default="auto", help="SERVER,LOAD: the cores to run on; auto: the last and the first; any: no matter"
    )
    return parser.parse_args(argv)


def chosen_jobs(names: str) -> list[str]:
    """
    The names of the jobs, in the order of the table.

    :raise SystemExit: for one that there is not.
    """
    wanted = list(BY_NAME) if names == "all" else names.split(",")
    unknown = [name for name in wanted if name not in BY_NAME]
    if unknown:
        sys.exit(f"there is no job {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    return [job.name for job in JOBS if job.name in wanted]


def chosen_peers(names: str) -> list[Peer]:
    """
    The servers, nginx first.

    :raise SystemExit: for one that there is not.
    """
    wanted = [peer.name for peer in PEERS] if names == "all" else names.split(",")
    unknown = [name for name in wanted if name not in {peer.name for peer in PEERS}]
    if unknown:
        sys.exit(f"there is no server {', '.join(unknown)}; there are {', '.join(peer.name for peer in PEERS)}")
    return [peer for peer in PEERS if peer is BASELINE or peer.name in wanted]


def chosen_cores(cores: str) -> tuple[int | None, int | None]:
    """
    Where servers run, and where loaders and the upstream do; None: anywhere.
    """
    there = sorted(os.sched_getaffinity(0))
    if cores == "any" or not present("taskset") or (cores == "auto" and len(there) < 2):
        return None, None
    if cores == "auto":
        return there[-1], there[0]
    server, _, load = cores.partition(",")
    return int(server), int(load)


def about(peers: Sequence[Peer], options: argparse.Namespace, cores: tuple[int | None, int | None]) -> dict[str, str]:
    """
    What one must know to make sense of the numbers.
    """
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        if line.startswith("model name"):
            processor = line.partition(": ")[2]
            break
    server, load = cores
    where = "anywhere" if server is None else f"servers on core {server}, load and upstream on core {load}"
    said = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {processor}, Linux {platform.release().partition('-')[0]}",
        "load average before": ", ".join(f"{each:.1f}" for each in os.getloadavg()),
        "rounds": f"{options.rounds} of {options.seconds} s; {where}",
    }
    for peer in peers:
        environment = {**os.environ, **peer.environment}
        try:
            done = subprocess.run(peer.version, capture_output=True, text=True, check=False, env=environment)
        except FileNotFoundError:
            continue
        said[peer.name] = ((done.stdout + done.stderr).strip().splitlines() or ["?"])[0]
    return said


_STAT: Final = Path("/proc/stat")


def _ended(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """
    Install, measure, print, write.

    :return: the exit status.
    """
    options = arguments(argv)
    jobs = chosen_jobs(options.jobs)
    peers = chosen_peers(options.peers)
    cores = chosen_cores(options.cores)
    signal.signal(signal.SIGTERM, _ended)  # what was started is stopped then, too
    CACHE.mkdir(exist_ok=True)
    install_packages()
    install_libraries()
    for program in ("nginx", "wrk", "openssl"):
        if not present(program):
            sys.exit(f"{program} is needed, and is not installed")
    material = Material(CACHE)
    material.make()
    directory = CACHE / f"run-{os.getpid()}"
    directory.mkdir()
    outcomes = []
    facts = about(peers, options, cores)
    worked, stolen = parse_stolen(_STAT.read_text("ascii"))
    try:
        bench = Bench(Run(material, options.seconds, *cores, directory), peers, options.rounds)
        for name in jobs:
            outcomes.append(bench.measure(BY_NAME[name]))  # noqa: PERF401  # what is done when it is stopped counts
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if not outcomes:
        return 1
    more_worked, more_stolen = parse_stolen(_STAT.read_text("ascii"))
    share = (more_stolen - stolen) / max(1, more_worked - worked + more_stolen - stolen)
    facts["taken by other virtual machines"] = f"{share:.1%} of the CPU time, which makes everything look dearer"
    lines = [row for outcome in outcomes for row in rows(outcome, BASELINE.name, TWISTGINX.name)]
    notes = [f"{each.job.title}: {peer}: {why}" for each in outcomes for peer, why in each.notes.items()]
    remarks = [f"{each.job.title}: {peer} {what}" for each in outcomes for peer, what in each.remarks.items()]
    print(table(lines))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(markdown(lines, notes, remarks, facts), "utf-8")
    (options.out / "table.json").write_text(as_json(outcomes, lines, facts), "utf-8")
    print(f"written to {options.out}", file=sys.stderr)
    return 0 if len(outcomes) == len(jobs) else 1
