"""
What the garbage collector is spared.
"""

from __future__ import annotations

import gc
from typing import Final

#: What lets the collector run.  The data plane makes no cycles (tests hold that), so what it finds is of apps and
#: plugins; with Python's own numbers it walks all connections again and again, and everybody waits for it: thousands of
#: slow ones made the 99th percentile of a normal client five times what it was.
_THRESHOLDS: Final = (50_000, 20, 100)


def freeze_heap() -> None:
    """
    Take what there is out of the garbage collector's sight, but for what is garbage.

    What was built and imported lives as long as the process, and a collection that walked it would make every client
    wait for 30 ms.  What the last freeze hid is looked at once more, so that a generation that was replaced can go.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
