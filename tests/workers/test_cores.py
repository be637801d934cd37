"""
Tests for ``twistginx.workers.cores``.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistginx.workers.cores import usable_cores


class UsableCoresTests(SynchronousTestCase):
    """
    ``workers = "auto"`` is one for each core that we have the time of.
    """

    def usable(self, cores: int, group: str | None, quotas: dict[str, str]) -> int:
        root = Path(self.mktemp())
        if group is not None:
            (root / "proc/self").mkdir(parents=True)
            (root / "proc/self/cgroup").write_text(group)
        for place, text in quotas.items():
            path = root / "sys/fs/cgroup" / place / "cpu.max"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.patch(os, "sched_getaffinity", lambda _: set(range(cores)))
        return usable_cores(root)

    def test_table(self):
        """
        The least of what we may run on and of what each group above us allows; what cannot be read allows all.
        """
        for expected, cores, group, quotas in (
            (64, 64, None, {}),
            (64, 64, "0::/\n", {}),
            (64, 64, "0::/\n", {".": "max 100000\n"}),
            (2, 64, "0::/\n", {".": "200000 100000\n"}),
            (3, 64, "0::/\n", {".": "250000 100000\n"}),
            (1, 64, "0::/\n", {".": "5000 100000\n"}),
            (1, 1, "0::/\n", {".": "200000 100000\n"}),
            (4, 8, "0::/system.slice/twistginx.service\n", {"system.slice": "400000 100000\n"}),
            (
                2,
                8,
                "0::/a/b\n",
                {"a": "400000 100000", "a/b": "100000 50000"},
            ),
            (8, 8, "0::/a\n", {".": "nonsense\n", "a": "1 0 0\n", "b": "100000 100000"}),
            (8, 8, "4:cpu:/a\n1:name=systemd:/a\n", {"a": "100000 100000"}),
            (2, 8, "4:memory:/x\n0::/a\n", {"a": "200000 100000"}),
            # A group outside of what this container sees.
            (8, 8, "0::/../other\n", {}),
        ):
            with self.subTest(group=group, quotas=quotas, cores=cores):
                self.assertEqual(self.usable(cores, group, quotas), expected)
