"""
Four servers under constant load that are killed, stopped, slowed down and restarted: what the suite has time for.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.upstream_faults import FAULTS, Chapter, Trial, Unnoticed

#: What the log may say first of a server that this was done to: words of L{twistginx.errors.REASONS}.
WORDS = {
    "killed": ("connection_refused", "connection_terminated"),
    "restarted": ("connection_refused", "connection_terminated"),
    "stopped": ("http_response_timeout", "connection_timeout"),
    "slowed down": ("http_response_timeout",),
}


class UpstreamFaultsTests(SynchronousTestCase):
    """
    The whole of issue and answer: health, retries, the log.
    """

    def test_in_turn(self) -> None:
        """
        No idempotent request is lost, no POST is processed twice, whatever happens.  And the log tells it in order: in
        one of three trials, because on a machine with other work any server may be late, and is told of then.
        """
        told = ""
        for _ in range(3):
            told = self.what_is_wrong()
            if not told:
                return
            sys.stderr.write(f"{told}\n")
        self.fail(told)

    def what_is_wrong(self) -> str:
        """
        One trial: what is wrong with the story that the log tells; empty when nothing is.
        """
        directory = Path(mkdtemp(prefix="twistginx-"))
        self.addCleanup(_remove, directory)
        trial = Trial(directory)
        self.addCleanup(trial.end)
        trial.begin()
        try:
            asyncio.run(trial.run(rounds=1, seconds=0.1))
        except Unnoticed as error:
            return str(error)
        finally:
            trial.end()
        tally = trial.tally
        log = trial.log.read_text()
        self.assertEqual((tally.lost, tally.twice, tally.invented, tally.unexplained), ([], [], [], []), log)
        self.assertGreater(tally.answers["GET 200"], 200)
        # All that is lost is what nobody may send again: as many POSTs as there are clients, for each fault, at most.
        self.assertLessEqual(len(tally.refused), 10 * len(FAULTS))
        self.assertNotIn("Traceback", log)
        try:
            self.assertIn("is tried again at 127.0.0.1:", log)
            self.check_story(trial)
        except (AssertionError, ValueError) as error:
            return f"{error}: {trial.story()}"
        return ""

    def check_story(self, trial: Trial) -> None:
        """
        Each worker tells of one server after the other: first what is wrong with it, at last that it is up.
        """
        story = trial.story()
        told = [list(chapters) for _, chapters in groupby(story, key=lambda chapter: chapter.port)]
        if len(told) < len(trial.done):
            told.append([])  # of a server that is back at once, there may be nothing to tell
        for (fault, port), chapters in zip(trial.done, told, strict=True):
            self.assertEqual({chapter.port for chapter in chapters} - {port}, set(), story)
            workers = {chapter.worker for chapter in chapters}
            if FAULTS[fault].lasting:
                self.assertEqual(len(workers), 2)
            for worker in workers:
                self.check_chapters(fault, [chapter for chapter in chapters if chapter.worker == worker])

    def check_chapters(self, fault: str, chapters: list[Chapter]) -> None:
        """
        What one worker has told of one fault.
        """
        self.assertIn(chapters[0].state, ("down", "out"), chapters)
        self.assertTrue(chapters[0].why.startswith(WORDS[fault]), (fault, chapters))
        for before, after in pairwise(chapters):
            self.assertNotEqual(before.state, after.state, chapters)
        if FAULTS[fault].lasting:
            self.assertIn("down", [chapter.state for chapter in chapters])
            self.assertEqual(chapters[-1].state, "up", chapters)


def _remove(directory: Path) -> None:
    for each in directory.iterdir():
        each.unlink()
    directory.rmdir()
