"""
Twisted's own reactor tests, run on our reactor and on Twisted's epoll reactor.

    python tests/twisted_suite.py [--loop uvloop|asyncio] [module ...]

Every module runs in a process of its own.  Prints what differs, and ends with status 1 when something fails that does
not fail on epoll and is not listed below with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
if __name__ == "__main__":
    # Instead of this directory, whose packages have names of the standard library's.
    sys.path[:1] = [str(HERE.parent.parent / "src"), str(HERE.parent.parent)]

#: Modules of twisted.internet.test that build reactors, or that concern what we have replaced.
MODULES = (
    "test_base",
    "test_core",
    "test_endpoints",
    "test_fdset",
    "test_filedescriptor",
    "test_inotify",
    "test_pollingfile",
    "test_posixbase",
    "test_posixprocess",
    "test_process",
    "test_resolver",
    "test_sigchld",
    "test_socket",
    "test_stdio",
    "test_tcp",
    "test_threads",
    "test_time",
    "test_tls",
    "test_udp",
    "test_udp_internals",
    "test_unix",
)

#: What fails on ours and not on epoll, and why that is right: "module.Class.test" to reason, the class without the
#: name of the reactor.
KNOWN: dict[str, str] = {
    **dict.fromkeys(
        (
            "test_tcp.TCPTransportTestsBuilder.test_streamingProducer",
            "test_tcp.AdoptStreamConnectionTestsBuilder.test_streamingProducer",
            "test_unix.UNIXAdoptStreamConnectionTestsBuilder.test_streamingProducer",
        ),
        "sets bufferSize to 500 and expects the 1,000 bytes that it then writes to wait in the process; here the "
        "kernel has them when the turn of the loop ends",
    ),
    "test_unix.UNIXTestsBuilder.test_avoidLeakingFileDescriptors": (
        "expects a line in the log for a descriptor that nobody wanted; here the kernel has closed it, unseen"
    ),
}

#: What else fails with --loop asyncio.
KNOWN_ON_ASYNCIO: dict[str, str] = {
    **dict.fromkeys(
        (
            "test_tcp.TCPFDPortTestsBuilder.test_closePeerOnEMFILE",
            "test_tcp.TCPPortTestsBuilder.test_closePeerOnEMFILE",
            "test_tls.TLSPortTestsBuilder.test_closePeerOnEMFILE",
            "test_unix.UNIXFDPortTestsBuilder.test_closePeerOnEMFILE",
            "test_unix.UNIXPortTestsBuilder.test_closePeerOnEMFILE",
        ),
        "expects connections to be closed when there are no more descriptors; asyncio has them wait for a second",
    ),
    "test_fdset.ReactorFDSetTestsBuilder.test_lostFileDescriptor": (
        "epoll does not say that a descriptor was closed, for which Twisted skips its own asyncio reactor here, by name"
    ),
}


def known() -> dict[str, str]:
    """
    What fails for a reason, on the loop that was chosen.
    """
    return {**KNOWN, **KNOWN_ON_ASYNCIO} if os.environ.get("TWISTGINX_LOOP") == "asyncio" else KNOWN


#: Seconds that one test, and that one module, may take.
TEST_LIMIT, LIMIT = 20, 600


def twistginx(test: Any) -> Any:
    """
    A reactor for one test, on a loop of its own.
    """
    from twistginx.net.reactor import TwistginxReactor, new_loop

    if os.environ.get("TWISTGINX_LOOP") == "asyncio":
        import asyncio

        loop: Any = asyncio.SelectorEventLoop()
    else:
        loop = new_loop()
    reactor = TwistginxReactor(loop)
    test.addCleanup(reactor.loop.close)
    return reactor


REACTORS = {
    "twistginx": "tests.twisted_suite.twistginx",
    "epoll": "twisted.internet.epollreactor.EPollReactor",
}


def run_here(name: str, module: str, output: Path) -> None:
    """
    Run a module's tests in this process, and write their outcomes.
    """
    from twisted.internet.test.reactormixins import ReactorBuilder

    ReactorBuilder._reactors = [REACTORS[name]]
    ReactorBuilder.timeout = TEST_LIMIT
    from twisted.trial._asyncrunner import _iterateTests
    from twisted.trial.reporter import Reporter
    from twisted.trial.runner import TestLoader, TestSuite, TrialRunner

    short = "_" + REACTORS[name].rsplit(".", 1)[-1] + "Tests"
    outcomes: dict[str, tuple[str, str]] = {}

    def key_of(test: Any) -> str:
        return str(test.id()).replace(short, "").removeprefix("twisted.internet.test.")

    class Outcomes(Reporter):  # type: ignore[misc]
        """
        Notes the worst that is said of each test.
        """

        def note(self, test: Any, outcome: str, detail: object = "") -> None:
            key = key_of(test)
            if key not in outcomes or outcome in ("failed", "skipped"):
                outcomes[key] = (outcome, str(detail))
                output.write_text(json.dumps(outcomes))

        def startTest(self, test: Any) -> None:
            self.note(test, "lost", "the process ended in this test")

        def addSuccess(self, test: Any) -> None:
            key = key_of(test)
            if outcomes[key][0] == "lost":
                outcomes[key] = ("passed", "")

        def addSkip(self, test: Any, reason: object) -> None:
            self.note(test, "skipped", reason)

        def addFailure(self, test: Any, failure: Any) -> None:
            self.note(test, "failed", failure.getTraceback() if hasattr(failure, "getTraceback") else failure)

        addError = addFailure

        def addExpectedFailure(self, test: Any, failure: Any, todo: Any = None) -> None:
            self.note(test, "todo", todo)

        def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
            self.note(test, "passed")

        def done(self) -> None:
            output.write_text(json.dumps(outcomes))

    suite = TestLoader().loadByName("twisted.internet.test." + module)
    # Those that are known to fail come last, as what they leave behind is counted against the next.
    tests = sorted(_iterateTests(suite), key=lambda test: key_of(test) in known())
    TrialRunner(Outcomes, workingDirectory=str(output) + ".trial").run(TestSuite(tests))
    output.write_text(json.dumps(outcomes))


def run(name: str, module: str) -> dict[str, tuple[str, str]]:
    """
    Run a module's tests on a reactor, in a process of its own.

    :return: test to (outcome, detail).
    """
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "outcomes")
        command = [sys.executable, str(HERE), "--here", str(output), "--reactor", name, module]
        child = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        try:
            complaints = child.communicate(timeout=LIMIT)[1]
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            complaints = child.communicate()[1]
        if not output.exists():
            return {f"{module}": ("failed", complaints.decode(errors="replace"))}
        return {test: tuple(outcome) for test, outcome in json.loads(output.read_text()).items()}


def main() -> int:
    """
    Compare.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="that our reactor runs on")
    parser.add_argument("--verbose", action="store_true", help="print the tracebacks")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--reactor", help=argparse.SUPPRESS)
    parser.add_argument("modules", nargs="*", metavar="module", help=f"of {', '.join(MODULES)}")
    options = parser.parse_args()
    if options.here:
        run_here(options.reactor, options.modules[0], options.here)
        return 0

    os.environ["TWISTGINX_LOOP"] = options.loop
    reasons = known()
    totals: dict[str, Counter[str]] = {name: Counter() for name in REACTORS}
    unexplained = unneeded = 0
    bad = ("failed", "lost")
    for module in options.modules or MODULES:
        results = {name: run(name, module) for name in REACTORS}
        for name, outcomes in results.items():
            totals[name].update(outcome for outcome, _ in outcomes.values())
        for test, (outcome, detail) in sorted(results["twistginx"].items()):
            elsewhere = results["epoll"].get(test, ("absent", ""))[0]
            if outcome in bad and elsewhere not in bad:
                reason = reasons.get(test)
                unexplained += reason is None
                print(f"{outcome}, {elsewhere} on epoll: {test}: {reason or 'NOT EXPLAINED'}", flush=True)
                if options.verbose:
                    print(detail)
            elif outcome in bad:
                print(f"{outcome}, {elsewhere} on epoll: {test}", flush=True)
                if options.verbose:
                    print(detail)
            elif outcome == "skipped" and elsewhere == "passed":
                print(f"skipped, passed on epoll: {test}: {detail}", flush=True)
                unexplained += test not in reasons
            elif test in reasons and outcome == "passed":
                print(f"passes, though listed: {test}")
                unneeded += 1
    for name, counts in totals.items():
        print(f"{name:>10}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    print(f"{unexplained} without a reason, {unneeded} listed without need")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
