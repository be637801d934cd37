"""
Fuzz: ``python tests/fuzz/run.py --seconds 60 [target ...]``.

It needs atheris (``pip install '.[fuzz]'``), and runs each target in a process of its own.  An input that breaks one is
left in ``--found``; put it into ``tests/fuzz/corpus/TARGET`` and the suite has it from then on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

#: In the order of what they are worth.
NAMES = ("requests", "proxy", "responses", "answers", "chunked", "client_hello", "proxy_header", "config")

#: Seconds that one input may take.
_SLOW = 5


def fuzz(name: str, seconds: int, found: Path, kept: Path) -> int:
    """
    Fuzz one target in another process; its exit status.
    """
    corpus = kept / name
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    arguments = [f"-max_total_time={seconds}", f"-timeout={_SLOW}", "-rss_limit_mb=2048", "-print_final_stats=1"]
    arguments += [f"-artifact_prefix={found / name}-", "-max_len=4096", "-len_control=20", str(corpus)]
    log = found / f"{name}.log"
    with log.open("wb") as output:
        status = subprocess.run(
            [sys.executable, __file__, "--inside", name, *arguments],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    text = log.read_text("utf-8", "replace")
    ran = [line for line in text.splitlines() if "number_of_executed_units" in line or line.startswith("Done ")]
    print(f"{name}: {'nothing found' if not status else f'FOUND SOMETHING, see {log}'}; {' '.join(ran)}", flush=True)
    return status


def inside(name: str, arguments: list[str]) -> None:
    """
    The process that fuzzes: it never returns.
    """
    import atheris

    with atheris.instrument_imports(include=["twistginx"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.seeds import seeds

    corpus = Path(arguments[-1])
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number:04}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    """
    The command.
    """
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"some of {', '.join(NAMES)}; all without any")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="where what is found is left")
    parser.add_argument("--keep", type=Path, help="a directory of inputs that reach far, to go on from the next time")
    options = parser.parse_args()
    unknown = set(options.targets) - set(NAMES)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if find_spec("atheris") is None:
        print("skipped: atheris is not installed (pip install '.[fuzz]')")
        return 0
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.jobs) as pool:
        kept = (options.keep or Path(scratch)).resolve()
        found = options.found.resolve()
        runs = [pool.submit(fuzz, name, options.seconds, found, kept) for name in options.targets or NAMES]
        return max(bool(run.result()) for run in runs)


if __name__ == "__main__":
    raise SystemExit(main())
