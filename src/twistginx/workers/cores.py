"""
How many cores this process may use.
"""

from __future__ import annotations

import os
from contextlib import suppress
from math import ceil
from pathlib import Path

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """
    The cores that this process may run on, or, where a control group allows it less time than they have, as many as are
    busy in that time.

    A container with two of 64 cores' time (``--cpus 2``, ``limits.cpu``, ``CPUQuota=200%``) can run on all 64, and with
    64 processes each would be stopped for most of the time.

    :param root: of the file system.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *_quotas(root)]))


def _quotas(root: Path) -> list[int]:
    """
    What the groups that we are in allow, in cores, rounded up (cgroups(7), version 2).
    """
    quotas = []
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines():
            hierarchy, _, group = line.rpartition(":")
            if hierarchy == "0:":
                top = root / "sys/fs/cgroup"
                place = top / group.strip("/")
                while True:
                    quotas += _quota(place / "cpu.max")
                    if place == top:
                        break
                    place = place.parent
    return quotas


def _quota(path: Path) -> list[int]:
    """
    Of a file such as ``200000 100000``: microseconds of each period, or ``max``.
    """
    with suppress(OSError, ValueError):
        allowed, period = path.read_text("ascii").split()
        if allowed != "max":
            return [ceil(int(allowed) / int(period))]
    return []
