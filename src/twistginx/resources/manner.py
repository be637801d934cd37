"""
How a directory is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from twistginx.resources.tryfiles import TryFiles


@frozen(eq=False)
class Manner:
    """
    How a directory is served.

    :ivar index: names of files that answer for a directory.
    :ivar hidden: serve what begins with a dot.
    :ivar listing: show directories without an index.
    :ivar stripped: paths begin behind the prefix of the route.
    :ivar only: the one file that answers for all paths; None: each has its own.
    :ivar try_files: where to look; None: where the path says.
    :ivar spa: the names of the file that answers for what is not found, or None.
    :ivar error_pages: by status, the names of the file that is shown.
    """

    index: tuple[bytes, ...] = ()
    hidden: bool = False
    listing: bool = False
    stripped: bool = False
    only: bytes | None = None
    try_files: TryFiles | None = None
    spa: Sequence[bytes] | None = None
    error_pages: Mapping[int, Sequence[bytes]] = field(factory=dict)
